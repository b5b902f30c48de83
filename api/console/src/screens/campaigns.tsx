import { getRouteApi, Link } from "@tanstack/react-router";
import { CampaignsDocument, type CampaignFilter, type CampaignStatus } from "~/gen/graphql";
import { t } from "~/i18n";
import { usePages } from "~/lib/data";
import { number, offset, percent, wallClock } from "~/lib/format";
import { useViewer } from "~/lib/viewer";
import { CampaignBadge, campaignStatuses } from "~/lib/words";
import { Choose, Search } from "~/ui/fields";
import { ButtonLink, Empty, Page, Time } from "~/ui/parts";
import { ListCard } from "~/ui/table";

const route = getRouteApi("/campaigns");
type Filter = "ALL" | CampaignStatus;

/** Nobody has been counted yet. */
const isPlanned = (status: CampaignStatus): boolean => status === "DRAFT" || status === "SCHEDULED";

export function CampaignsScreen() {
  const { q, status, account } = route.useSearch();
  const navigate = route.useNavigate();
  const { can } = useViewer();
  const filter: CampaignFilter = { ...(q ? { search: q } : {}), ...(status ? { status: [status as CampaignStatus] } : {}), ...(account ? { accountIds: [account] } : {}) };
  const pages = usePages(CampaignsDocument, { filter }, (data) => data.campaigns, { everyMs: 5_000 });
  const make = can("MANAGE") && <ButtonLink to="/campaigns/$id/edit/$step" params={{ id: "new", step: "audience" }} look="primary" icon="plus">{t("campaign.new")}</ButtonLink>;
  return (
    <Page title={t("nav.campaigns")} actions={make}>
      <div className="toolbar" role="search">
        <Search label={t("campaign.search")} value={q ?? ""} onChange={(text) => void navigate({ search: (before) => ({ ...before, q: text || undefined }), replace: true })} />
        <div className="filter">
          <Choose<Filter> hideLabel label={t("filter.status")} value={(status as Filter) ?? "ALL"} onChange={(value) => void navigate({ search: (before) => ({ ...before, status: value === "ALL" ? undefined : value }), replace: true })}
            options={[{ value: "ALL", label: t("filter.anyStatus") }, ...campaignStatuses.map((value) => ({ value, label: t(`campaign.status.${value}`) }))]} />
        </div>
      </div>
      <ListCard pages={pages} label={t("nav.campaigns")} id={({ id }) => id} linked
        empty={q || status || account ? <Empty icon="search" title={t("list.nothingFound")} action={<ButtonLink to="/campaigns">{t("list.showAll")}</ButtonLink>} />
          : <Empty icon="campaign" title={t("campaign.none")} action={make}>{t("campaign.noneHelp")}</Empty>}
        columns={[
          {
            title: t("campaign.name"), width: "36%",
            cell: ({ id, name, status: state, schedule, startAt, startedAt, createdAt }) => (
              <span style={{ minInlineSize: 0 }}>
                <Link className="row-link break" to="/campaigns/$id" params={{ id }}>{name}</Link>
                <span className="sub">
                  {state === "SCHEDULED" && schedule ? <>{wallClock(schedule.startAt)} · {schedule.recipientLocal ? t("campaign.atRecipients") : `${schedule.timeZone.replaceAll("_", " ")} (${offset(schedule.timeZone, startAt ? new Date(startAt) : undefined)})`}</>
                    : startedAt ? <>{t("campaign.startedAt")} <Time at={startedAt} /></> : <>{t("campaign.createdAt")} <Time at={createdAt} /></>}
                </span>
              </span>
            ),
          },
          { title: t("filter.status"), cell: ({ status: state, awaitsApproval }) => <CampaignBadge status={state} awaits={awaitsApproval} /> },
          { title: t("campaign.recipients"), end: true, cell: ({ status: state, progress }) => <span className="num">{isPlanned(state) ? "–" : number(progress.recipients - progress.skipped)}</span>, isBlank: ({ status: state }) => isPlanned(state) },
          { title: t("funnel.delivered"), end: true, cell: ({ progress }) => <span className="num">{percent(progress.delivered, progress.recipients - progress.skipped)}</span>, isBlank: ({ status: state }) => isPlanned(state) },
          { title: t("funnel.read"), end: true, cell: ({ progress }) => <span className="num">{percent(progress.read, progress.recipients - progress.skipped)}</span>, isBlank: ({ status: state }) => isPlanned(state) },
          { title: t("funnel.failed"), end: true, cell: ({ status: state, progress }) => <span className="num" style={progress.failed > 0 ? { color: "var(--bad)" } : undefined}>{isPlanned(state) ? "–" : number(progress.failed)}</span>, isBlank: ({ progress }) => progress.failed === 0 },
        ]} />
    </Page>
  );
}
