import { getRouteApi, Link } from "@tanstack/react-router";
import { AccountsDocument, SyncTemplatesDocument, TemplatesDocument, type TemplateStatus } from "~/gen/graphql";
import { t } from "~/i18n";
import { useCommand, useLoad, usePages } from "~/lib/data";
import { bodyText } from "~/lib/template";
import { useViewer } from "~/lib/viewer";
import { QualityBadge, TemplateBadge, templateStatuses } from "~/lib/words";
import { Choose, Search } from "~/ui/fields";
import { announce } from "~/ui/toasts";
import { Button, ButtonLink, Empty, Failure, Page } from "~/ui/parts";
import { ListCard } from "~/ui/table";

const route = getRouteApi("/templates");
type Filter = "ALL" | TemplateStatus;

export function TemplatesScreen() {
  const { q, status, account } = route.useSearch();
  const navigate = route.useNavigate();
  const { can } = useViewer();
  const accounts = useLoad(AccountsDocument, {});
  const names = new Map(accounts.data?.accounts.nodes.map(({ id, name }) => [id, name]));
  const sync = useCommand(SyncTemplatesDocument, null);
  const filter = {
    ...(q ? { search: q } : {}),
    ...(account ? { accountIds: [account] } : {}),
    status: status ? [status as TemplateStatus] : templateStatuses.filter((each) => each !== "DELETED"),
  };
  const pages = usePages(TemplatesDocument, { filter }, (data) => data.templates, { everyMs: 10_000 });
  const isFiltered = !!(q || status || account);

  const syncAll = async () => {
    let changes = 0;
    for (const { id, status: state } of accounts.data?.accounts.nodes ?? []) {
      if (state === "DISCONNECTED") continue;
      const answer = await sync.run({ accountId: id });
      if (!answer) return;
      const { added, changed, removed } = answer.syncTemplates;
      changes += added + changed + removed;
    }
    announce(changes > 0 ? t("template.synced", { count: changes, n: changes }) : t("template.syncedNothing"), "good");
  };

  return (
    <Page title={t("nav.templates")} intro={t("template.intro")} actions={can("MANAGE") && (
      <>
        <Button busy={sync.isSaving} isDisabled={!accounts.data?.accounts.nodes.length} onPress={() => void syncAll()}>{t("template.sync")}</Button>
        <ButtonLink to="/templates/new" look="primary" icon="plus">{t("template.new")}</ButtonLink>
      </>
    )}>
      <Failure problem={sync.problem} />
      <div className="toolbar" role="search">
        <Search label={t("template.search")} value={q ?? ""} onChange={(text) => void navigate({ search: (before) => ({ ...before, q: text || undefined }), replace: true })} />
        <div className="filter">
          <Choose<Filter> hideLabel label={t("filter.status")} value={(status as Filter) ?? "ALL"} onChange={(value) => void navigate({ search: (before) => ({ ...before, status: value === "ALL" ? undefined : value }), replace: true })}
            options={[{ value: "ALL", label: t("filter.anyStatus") }, ...templateStatuses.map((value) => ({ value, label: t(`template.status.${value}`) }))]} />
        </div>
      </div>
      <ListCard pages={pages} label={t("nav.templates")} id={({ id }) => id} linked
        empty={isFiltered ? <Empty icon="search" title={t("list.nothingFound")} action={<ButtonLink to="/templates">{t("list.showAll")}</ButtonLink>} />
          : <Empty icon="template" title={t("template.none")} action={can("MANAGE") && <ButtonLink to="/templates/new" look="primary">{t("template.new")}</ButtonLink>}>{t("template.noneHelp")}</Empty>}
        columns={[
          { title: t("template.name"), width: "45%", cell: ({ id, name, components }) => <span style={{ minInlineSize: 0 }}><Link className="row-link break" to="/templates/$id" params={{ id }}>{name}</Link><span className="sub break" dir="auto">{shortened(bodyText(components))}</span></span> },
          { title: t("template.language"), cell: ({ language }) => language },
          { title: t("template.category"), cell: ({ category }) => t(`template.category.${category}`) },
          { title: t("filter.status"), cell: ({ status: state }) => <TemplateBadge status={state} /> },
          { title: t("account.quality"), cell: ({ quality }) => <QualityBadge rating={quality} />, isBlank: ({ quality }) => quality === "UNKNOWN" },
          ...(names.size > 1 ? [{ title: t("nav.number"), cell: ({ accountId }: { accountId: string }) => names.get(accountId) ?? "–" }] : []),
        ]} />
    </Page>
  );
}

const shortened = (text: string): string => (text.length > 90 ? `${text.slice(0, 88).trimEnd()}…` : text);
