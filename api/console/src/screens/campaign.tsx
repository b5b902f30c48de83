import { getRouteApi, Link, useNavigate } from "@tanstack/react-router";
import { lazy, Suspense, useEffect, useMemo, useState } from "react";
import {
  ApproveCampaignDocument, CampaignCurveDocument, CampaignDocument, CampaignHistoryDocument, CampaignMessagesDocument, CampaignProgressDocument, CancelCampaignDocument, CloneCampaignDocument,
  DeleteCampaignDocument, PauseCampaignDocument, ResumeCampaignDocument, RetryCampaignDocument, SegmentsDocument,
  type CampaignQuery, type MessageStatus, type ProgressFieldsFragment,
} from "~/gen/graphql";
import { t } from "~/i18n";
import { sentenceCase } from "~/lib/errors";
import { useCommand, useFollow, useLoad, usePages } from "~/lib/data";
import { age, money, number, offset, percent, wallClock } from "~/lib/format";
import { useViewer } from "~/lib/viewer";
import { CampaignBadge, MessageBadge, messageStatuses, remedy } from "~/lib/words";
import { AsOfBanner, AsOfButton } from "~/ui/asof";
import { Choose } from "~/ui/fields";
import { History } from "~/ui/history";
import { Icon } from "~/ui/icons";
import { More, useConfirm } from "~/ui/overlay";
import { Back, Button, ButtonLink, Callout, Card, Empty, Facts, Failure, Funnel, Page, Skeleton, Stat, Tabs, Time } from "~/ui/parts";
import { fromParameters } from "~/ui/parameters";
import { Phone } from "~/ui/phone";
import { ListCard } from "~/ui/table";

const Chart = lazy(() => import("~/ui/chart"));
const route = getRouteApi("/campaigns/$id");
type Campaign = NonNullable<CampaignQuery["campaign"]>;

const curve_every_ms = 10_000;

export function CampaignScreen() {
  const { id } = route.useParams();
  const { asOf, tab } = route.useSearch();
  const navigate = useNavigate();
  const { can } = useViewer();
  const { data, problem, refresh } = useLoad(CampaignDocument, { id, asOf }, asOf ? {} : { everyMs: 10_000 });
  const campaign = data?.campaign;
  const [live, setLive] = useState<ProgressFieldsFragment | null>(null);
  const isMoving = !asOf && (campaign?.status === "RUNNING" || campaign?.status === "PAUSED" || campaign?.status === "COMPLETED");

  useFollow(CampaignProgressDocument, { id }, ({ campaignProgress: next }) => setLive(next), !isMoving);
  const liveStatus = live?.status;
  useEffect(() => {
    if (liveStatus) void refresh();
  }, [liveStatus, refresh]);

  const pause = useCommand(PauseCampaignDocument, t("campaign.pausedNow"));
  const resume = useCommand(ResumeCampaignDocument, t("campaign.resumedNow"));
  const cancel = useCommand(CancelCampaignDocument, t("campaign.cancelledNow"));
  const approve = useCommand(ApproveCampaignDocument, t("campaign.approvedNow"));
  const retry = useCommand(RetryCampaignDocument, t("campaign.retriedNow"));
  const clone = useCommand(CloneCampaignDocument, t("campaign.clonedNow"));
  const remove = useCommand(DeleteCampaignDocument, t("campaign.deletedNow"));
  const commands = [pause, resume, cancel, approve, retry, clone, remove];
  const failed = commands.find((command) => command.problem)?.problem ?? null;
  const [dialog, confirm] = useConfirm(failed, commands.some((command) => command.isSaving));
  const travel = (to: string | undefined) => void navigate({ to: "/campaigns/$id", params: { id }, search: to ? { asOf: to } : {} });

  const progress = asOf || !live ? campaign?.progress : furthest(live, campaign?.progress);
  const status = asOf ? campaign?.status : (live?.status === "RUNNING" && campaign?.status === "COMPLETED" ? "COMPLETED" : campaign?.status);
  const isLive = !!campaign && !asOf;
  const copy = () => void clone.run({ id, name: t("campaign.copyOf", { name: campaign?.name ?? "" }).slice(0, 200) }).then((done) => done && void navigate({ to: "/campaigns/$id/edit/$step", params: { id: done.cloneCampaign.campaign.id, step: "audience" } }));

  return (
    <Page title={campaign?.name ?? t("nav.campaign")} status={campaign && status && <CampaignBadge status={status} awaits={campaign.awaitsApproval} />} back={<Back to="/campaigns">{t("nav.campaigns")}</Back>}
      actions={campaign && (
        <>
          {status !== "DRAFT" && <AsOfButton asOf={asOf} since={campaign.startedAt ?? campaign.createdAt} onChange={travel} />}
          {isLive && status === "DRAFT" && !campaign.awaitsApproval && can("MANAGE") && <ButtonLink to="/campaigns/$id/edit/$step" params={{ id, step: "audience" }} look="primary">{t("campaign.continue")}</ButtonLink>}
          {isLive && campaign.awaitsApproval && can("SEND") && <Button look="primary" busy={approve.isSaving} onPress={() => void approve.run({ id })}>{t("campaign.approve")}</Button>}
          {isLive && status === "RUNNING" && can("SEND") && <Button icon="pause" busy={pause.isSaving} onPress={() => void pause.run({ id })}>{t("campaign.pause")}</Button>}
          {isLive && status === "PAUSED" && can("SEND") && <Button look="primary" busy={resume.isSaving} onPress={() => void resume.run({ id })}>{t("campaign.resume")}</Button>}
          {isLive && <More label={t("common.more")} items={[
            ...(can("MANAGE") ? [{ label: t("campaign.clone"), run: copy }] : []),
            ...(can("SEND") && progress && progress.failed > 0 && status !== "DRAFT" ? [{ label: t("campaign.retryFailed"), run: () => void retry.run({ id, scope: "FAILED" }) }] : []),
            ...(can("SEND") && progress && progress.skipped > 0 && status !== "DRAFT" ? [{ label: t("campaign.retrySkipped"), run: () => void retry.run({ id, scope: "SKIPPED" }) }] : []),
            ...(can("SEND") && (status === "RUNNING" || status === "PAUSED" || status === "SCHEDULED") ? [{ label: t("campaign.cancel"), danger: true, run: () => confirm({ title: t("campaign.cancel"), danger: true, body: <p>{t("campaign.cancelBody", { n: number(progress?.pending ?? 0) })}</p>, action: t("campaign.cancel"), reason: t("common.reason"), run: (reason) => cancel.run({ id, reason }) }) }] : []),
            ...(can("MANAGE") && status === "DRAFT" ? [{ label: t("campaign.delete"), danger: true, run: () => confirm({ title: t("campaign.delete"), danger: true, body: <p>{t("campaign.deleteBody")}</p>, action: t("campaign.delete"), run: () => remove.run({ id }).then((done) => { if (done) void navigate({ to: "/campaigns" }); return done; }) }) }] : []),
          ]} />}
        </>
      )}>
      <AsOfBanner asOf={asOf} onChange={travel} />
      {asOf && problem?.code === "NOT_FOUND" ? <Callout title={t("asOf.notYet")} /> : <Failure problem={problem ?? failed} retry={() => void refresh()} />}
      {!campaign && !problem && <Skeleton lines={8} />}
      {campaign && progress && (
        <>
          {(campaign.waitingFor ?? campaign.statusReason) && <Callout tone="warn" title={sentenceCase(campaign.waitingFor ?? campaign.statusReason ?? "")} action={campaign.account?.status === "PAUSED" && <ButtonLink compact to="/numbers/$id" params={{ id: campaign.account.id }}>{t("campaign.seeNumber")}</ButtonLink>} />}
          {campaign.cancellation && <Callout title={t("campaign.cancellation", { left: number(campaign.cancellation.left), stopped: number(campaign.cancellation.stopped) })} />}
          {status !== "DRAFT" && !asOf && <Tabs label={t("nav.sections")} items={[{ label: t("account.tab.overview") }, { label: t("campaign.recipients"), value: "recipients" }, { label: t("history.title"), value: "history" }]} />}
          {(!tab || asOf) && <div className="columns wide">
            <div className="stack loose">
              {status !== "DRAFT" && <Outcome campaign={campaign} progress={progress} asOf={asOf} />}
              {progress.failures.length > 0 && <Failures progress={progress} />}
              {progress.skips.length > 0 && <Skips progress={progress} />}
            </div>
            <div className="stack loose">
              <Plan campaign={campaign} progress={progress} />
              <Phone components={campaign.template.components} values={fromParameters(campaign.parameters)} />
            </div>
          </div>}
          {tab === "recipients" && !asOf && <Recipients id={id} isRunning={status === "RUNNING"} />}
          {(tab === "history" || status === "DRAFT") && !asOf && <CampaignHistory id={id} />}
        </>
      )}
      {dialog}
    </Page>
  );
}

/** Of two readings the one that has more behind it: the subscription may have been cut, and a query may be behind it. */
function furthest(a: ProgressFieldsFragment, b: ProgressFieldsFragment | undefined): ProgressFieldsFragment {
  if (!b) return a;
  const behind = ({ pending, delivered, read, replied, failed, cancelled }: ProgressFieldsFragment) => delivered + read + replied + failed + cancelled - pending;
  return behind(b) > behind(a) ? b : a;
}

function Outcome({ campaign, progress, asOf }: { campaign: Campaign; progress: ProgressFieldsFragment; asOf: string | undefined }) {
  const aimed = progress.recipients - progress.skipped;
  const isRunning = campaign.status === "RUNNING";
  // Only marketing waits for them.
  const quiet = campaign.template.category === "MARKETING" ? campaign.account?.quietHours : null;
  return (
    <Card title={t("campaign.progress")}>
      {isRunning && (
        <div className="stats">
          <Stat label={t("campaign.rate")}>{t("campaign.perSecond", { n: number(progress.messagesPerSecond, 1) })}</Stat>
          <Stat label={t("campaign.left")}>{number(progress.pending)}</Stat>
          <Stat label={t("campaign.finish")}>{progress.estimatedCompletion ? <Time at={progress.estimatedCompletion} /> : "–"}</Stat>
        </div>
      )}
      {isRunning && progress.pending > 0 && progress.messagesPerSecond === 0 && quiet && <Callout title={t("campaign.quiet", { from: quiet.from.slice(0, 5), to: quiet.to.slice(0, 5) })}><p>{t("campaign.quietHelp")}</p></Callout>}
      <Funnel whole={aimed} bars={[
        { label: t("campaign.recipients"), value: aimed },
        { label: t("funnel.accepted"), value: progress.accepted, hint: t("funnel.acceptedHint") },
        { label: t("funnel.delivered"), value: progress.delivered },
        { label: t("funnel.read"), value: progress.read },
        { label: t("funnel.replied"), value: progress.replied },
        ...(progress.clicked > 0 || progress.buttons.length > 0 ? [{ label: t("funnel.clicked"), value: progress.clicked }] : []),
        ...(progress.failed > 0 ? [{ label: t("funnel.failed"), value: progress.failed, tone: "bad" as const }] : []),
        ...(progress.inDoubt > 0 ? [{ label: t("funnel.inDoubt"), value: progress.inDoubt, tone: "quiet" as const, hint: t("funnel.inDoubtHint") }] : []),
        ...(progress.cancelled > 0 ? [{ label: t("funnel.cancelled"), value: progress.cancelled, tone: "quiet" as const }] : []),
      ]} />
      {progress.buttons.length > 0 && <Facts items={progress.buttons.map(({ label, count }) => [t("campaign.tapped", { label }), `${number(count)} · ${percent(count, progress.delivered)}`])} />}
      {progress.optedOut > 0 && <p className="muted">{t("campaign.optedOut", { count: progress.optedOut, n: number(progress.optedOut) })}</p>}
      {!asOf && campaign.startedAt && <Curve campaign={campaign} progress={progress} />}
    </Card>
  );
}

/** How the run went, minute by minute, from nothing at its start to what is known now. */
function Curve({ campaign: { id, status, startedAt }, progress }: { campaign: Campaign; progress: ProgressFieldsFragment }) {
  const { data } = useLoad(CampaignCurveDocument, { id }, status === "RUNNING" ? { everyMs: curve_every_ms } : {});
  const { accepted, delivered, read, failed } = progress;
  const { times, lines } = useMemo(() => {
    const none = { at: startedAt as string, accepted: 0, delivered: 0, read: 0, failed: 0 };
    const known = data?.campaign?.progressOverTime ?? [];
    const last = known[known.length - 1];
    const end = status === "RUNNING" ? new Date().toISOString() : null;
    const points = [
      ...(known[0] && new Date(known[0].at) <= new Date(none.at) ? [] : [none]), ...known,
      ...(end && (!last || end > last.at) ? [{ at: end, accepted, delivered, read, failed }] : []),
    ];
    const of = (name: "accepted" | "delivered" | "read" | "failed") => points.map((point) => point[name]);
    return {
      times: points.map(({ at }) => new Date(at).getTime() / 1000),
      lines: [
        { name: t("funnel.accepted"), values: of("accepted"), colour: "--bar-2" }, { name: t("funnel.delivered"), values: of("delivered"), colour: "--bar-3" }, { name: t("funnel.read"), values: of("read"), colour: "--info" },
        ...(failed > 0 ? [{ name: t("funnel.failed"), values: of("failed"), colour: "--bad" }] : []),
      ],
    };
  }, [data, status, startedAt, accepted, delivered, read, failed]);
  if (!data || times.length < 2) return null;
  const label = t("campaign.curveChart", { accepted: number(accepted), delivered: number(delivered), read: number(read), failed: number(failed) });
  return <div><h3>{t("campaign.curve")}</h3><Suspense fallback={<div className="chart" />}><Chart times={times} lines={lines} label={label} /></Suspense></div>;
}

function Failures({ progress }: { progress: ProgressFieldsFragment }) {
  return (
    <Card title={t("campaign.failures")}>
      <ul className="list">
        {progress.failures.map(({ code, title, count }) => (
          <li key={`${code}${title}`} className="stack tight">
            <div className="row between nowrap"><span className="strong">{title}</span><span className="num">{number(count)}</span></div>
            <p className="small muted">{remedy(code) ?? t("remedy.none")}{code ? <> · <code>{code}</code></> : null}</p>
          </li>
        ))}
      </ul>
    </Card>
  );
}

function Skips({ progress }: { progress: Pick<ProgressFieldsFragment, "skips"> }) {
  return (
    <Card title={t("campaign.skipped")}>
      <ul className="list">
        {progress.skips.map(({ reason, count }) => (
          <li key={reason} className="row between nowrap"><span>{t(`skip.${reason}`)}</span><span className="num">{number(count)}</span></li>
        ))}
      </ul>
    </Card>
  );
}

function Plan({ campaign, progress }: { campaign: Campaign; progress: ProgressFieldsFragment }) {
  const { schedule, audience, account } = campaign;
  const segments = useLoad(SegmentsDocument, { first: 200 }, { pause: audience.segmentIds.length === 0 });
  const names = new Map(segments.data?.segments.nodes.map(({ id, name }) => [id, name]));
  const groups = [...audience.segmentIds.map((id) => names.get(id) ?? t("nav.segment")), ...audience.tags.map((tag) => t("contact.tagIs", { tag }))];
  return (
    <Card title={t("campaign.plan")}>
      <Facts items={[
        [t("nav.number"), account && <Link to="/numbers/$id" params={{ id: account.id }}>{account.name}</Link>],
        [t("nav.template"), <Link to="/templates/$id" params={{ id: campaign.template.id }} className="break">{campaign.template.name}</Link>],
        [t("wizard.step.audience"), audience.all ? t("wizard.everyone") : groups.join(", ") || t("wizard.chosenPeople", { count: audience.contactIds.length, n: audience.contactIds.length })],
        [t("campaign.starts"), schedule ? <span>{wallClock(schedule.startAt)}<br /><span className="small muted">{schedule.recipientLocal ? t("campaign.atRecipients") : `${schedule.timeZone.replaceAll("_", " ")} (${offset(schedule.timeZone)})`}{campaign.startAt && campaign.status === "SCHEDULED" ? ` · ${age(campaign.startAt)}` : ""}</span></span> : t("wizard.atOnce")],
        ...(schedule?.recurrence ? [[t("wizard.repeat"), <code className="break">{schedule.recurrence}</code>] as [string, React.ReactNode]] : []),
        [t("campaign.startedAtLabel"), <Time at={campaign.startedAt} long />],
        [t("campaign.completedAt"), <Time at={campaign.completedAt} long />],
        [t("campaign.cost"), progress.cost?.amount ? `${money(progress.cost.amount, progress.cost.currency)}${progress.cost.estimated ? ` · ${t("campaign.estimated")}` : ""}` : <Link to="/settings/prices">{t("campaign.noRates")}</Link>],
      ]} />
    </Card>
  );
}

type Filter = "ALL" | MessageStatus;

function Recipients({ id, isRunning }: { id: string; isRunning: boolean }) {
  const { recipients } = route.useSearch();
  const navigate = useNavigate();
  const status = recipients ? [recipients as MessageStatus] : null;
  const pages = usePages(CampaignMessagesDocument, { id, status }, (data) => data.messages, { everyMs: isRunning ? 2_000 : 5_000 });

  return (
    <section className="stack" aria-label={t("campaign.recipients")}>
      <div className="row between">
        <h2 className="visually-hidden">{t("campaign.recipients")}</h2>
        <div className="row between grow">
          <div style={{ minInlineSize: "11rem" }}>
            <Choose<Filter> hideLabel label={t("filter.status")} value={(recipients as Filter) ?? "ALL"} onChange={(value) => void navigate({ to: "/campaigns/$id", params: { id }, search: { tab: "recipients", ...(value === "ALL" ? {} : { recipients: value }) }, replace: true, resetScroll: false })}
              options={[{ value: "ALL", label: t("filter.anyStatus") }, ...messageStatuses.filter((value) => value !== "RECEIVED").map((value) => ({ value, label: t(`message.status.${value}`) }))]} />
          </div>
          <a className="btn" href={`/campaigns/${encodeURIComponent(id)}/report.csv`} download={`campaign-${id}.csv`}><Icon name="download" size={16} />{t("campaign.report")}</a>
        </div>
      </div>
      <ListCard pages={pages} label={t("campaign.recipients")} id={(message) => message.id} linked
        empty={<Empty icon="people" title={t("list.nothingFound")} />}
        columns={[
          { title: t("contact.name"), cell: (message) => <Link className="row-link break" to="/messages/$id" params={{ id: message.id }}>{message.contact?.name ?? message.to ?? t("contact.noName")}{message.isTest && <> <span className="chip">{t("message.test")}</span></>}</Link> },
          { title: t("account.number"), cell: ({ to }) => <span className="num" dir="ltr">{to ?? "–"}</span> },
          { title: t("filter.status"), cell: ({ status: state }) => <MessageBadge status={state} /> },
          { title: t("message.why"), width: "36%", isBlank: ({ failure, skipReason, statusReason }) => !failure && !skipReason && !statusReason, cell: ({ failure, skipReason, statusReason }) => <span className="muted break">{failure?.title ?? (skipReason ? t(`skip.${skipReason}`) : statusReason)}</span> },
        ]} />
    </section>
  );
}

function CampaignHistory({ id }: { id: string }) {
  return <History pages={usePages(CampaignHistoryDocument, { id }, (data) => data.campaign?.history)} />;
}
