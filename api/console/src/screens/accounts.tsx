import { Link } from "@tanstack/react-router";
import { AccountsDocument, type AccountRowFragment } from "~/gen/graphql";
import { t } from "~/i18n";
import { useLoad } from "~/lib/data";
import { number } from "~/lib/format";
import { useViewer } from "~/lib/viewer";
import { AccountBadge, QualityBadge } from "~/lib/words";
import { Badge, ButtonLink, Empty, Failure, Page, Skeleton } from "~/ui/parts";
import { Table } from "~/ui/table";

export function AccountsScreen() {
  const { data, problem, refresh } = useLoad(AccountsDocument, {}, { everyMs: 15_000 });
  const { can } = useViewer();
  const rows = data?.accounts.nodes;
  const wrong = (account: AccountRowFragment) => account.health.filter(({ ok }) => !ok).length;
  const connect = can("MANAGE") && <ButtonLink to="/numbers/connect" look="primary" icon="plus">{t("account.connect")}</ButtonLink>;
  return (
    <Page title={t("nav.numbers")} intro={t("account.intro")} actions={rows && rows.length > 0 && connect}>
      <Failure problem={problem} retry={() => void refresh()} />
      <section className="card">
        {!rows && !problem && <div className="card-body"><Skeleton /></div>}
        {rows?.length === 0 && <Empty icon="phone" title={t("account.none")} action={connect}>{t("account.noneHelp")}</Empty>}
        {rows && rows.length > 0 && (
          <Table label={t("nav.numbers")} rows={rows} id={({ id }) => id} linked columns={[
            { title: t("account.name"), cell: ({ id, name, phoneNumber }) => <span><Link className="row-link" to="/numbers/$id" params={{ id }}>{name}</Link><span className="sub num" dir="ltr" style={{ textAlign: "start" }}>{phoneNumber ?? t("account.numberUnknown")}</span></span> },
            { title: t("account.statusLabel"), cell: (row) => <span className="row"><AccountBadge status={row.status} />{wrong(row) > 0 && <Badge tone="bad">{t("account.wrong", { count: wrong(row), n: wrong(row) })}</Badge>}</span> },
            { title: t("account.quality"), cell: ({ qualityRating }) => <QualityBadge rating={qualityRating} /> },
            { title: t("account.provider"), cell: ({ provider }) => t(`account.provider.${provider}`) },
            { title: t("account.reach"), end: true, cell: ({ reach }) => <span className="num">{reach.limit === null || reach.limit === undefined ? number(reach.used) : t("account.reachOf", { used: number(reach.used), limit: number(reach.limit) })}</span> },
            { title: t("account.pace"), end: true, cell: ({ messagesPerSecond }) => <span className="num">{t("campaign.perSecond", { n: number(messagesPerSecond) })}</span> },
          ]} />
        )}
      </section>
    </Page>
  );
}
