import { Link } from "@tanstack/react-router";
import { AccountsDocument, DueNextDocument, HomeCountsDocument, MessageCountsDocument, type AccountRowFragment, type CampaignRowFragment } from "~/gen/graphql";
import { t } from "~/i18n";
import { useLoad } from "~/lib/data";
import { sentenceCase } from "~/lib/errors";
import { age, number, shownZone, startOfToday, total, wallClock, zoneWithOffset } from "~/lib/format";
import { useViewer } from "~/lib/viewer";
import { AccountBadge, CampaignBadge, QualityBadge } from "~/lib/words";
import { Health } from "~/ui/health";
import { Icon } from "~/ui/icons";
import { ButtonLink, Callout, Card, Failure, Funnel, Page, Skeleton, Time } from "~/ui/parts";

const often_ms = 5_000;
const seldom_ms = 30_000;

export function HomeScreen() {
  const accounts = useLoad(AccountsDocument, {}, { everyMs: seldom_ms });
  const counts = useLoad(HomeCountsDocument, {}, { everyMs: seldom_ms });
  const { can } = useViewer();
  const numbers = accounts.data?.accounts.nodes.filter(({ status }) => status !== "DISCONNECTED");

  return (
    <Page title={t("home.title")} actions={can("MANAGE") && numbers && numbers.length > 0 && <ButtonLink to="/campaigns/$id/edit/$step" params={{ id: "new", step: "audience" }} look="primary" icon="plus">{t("campaign.new")}</ButtonLink>}>
      <Failure problem={accounts.problem ?? counts.problem} retry={() => void accounts.refresh()} />
      {counts.data && numbers && <Checklist counts={counts.data} number={numbers[0]?.id ?? null} />}
      {!numbers && !accounts.problem && <Skeleton lines={6} />}
      {numbers && numbers.length > 0 && <div className="columns wide">
        <div className="stack loose">
          <Today />
          <DueNext />
        </div>
        <Card title={t("home.numbers")} actions={<ButtonLink to="/numbers" compact look="quiet">{t("home.allNumbers")}</ButtonLink>}>
          <ul className="list">{numbers.map((account) => <NumberHealth key={account.id} account={account} />)}</ul>
        </Card>
      </div>}
    </Page>
  );
}

function NumberHealth({ account }: { account: AccountRowFragment }) {
  const isWell = account.status === "CONNECTED" && account.health.every(({ ok }) => ok);
  return (
    <li className="stack tight">
      <div className="row between">
        <Link to="/numbers/$id" params={{ id: account.id }} className="strong">{account.name}</Link>
        <div className="row">{account.qualityRating !== "UNKNOWN" && <QualityBadge rating={account.qualityRating} />}<AccountBadge status={account.status} /></div>
      </div>
      <p className="muted num" dir="ltr" style={{ textAlign: "start" }}>{account.phoneNumber ?? t("account.numberUnknown")}</p>
      {account.statusReason && <p className="small">{sentenceCase(account.statusReason)}</p>}
      <Health checks={account.health} only={isWell ? "ages" : "important"} />
    </li>
  );
}

type Counts = NonNullable<ReturnType<typeof useLoad<import("~/gen/graphql").HomeCountsQuery, object>>["data"]>;

/** Nobody ticks these off: each is done when the log shows that it is. */
function Checklist({ counts, number: account }: { counts: Counts; number: string | null }) {
  const { can } = useViewer();
  const steps = [
    { what: t("home.step.number"), why: t("home.stepWhy.number"), done: !!account, go: <ButtonLink compact look="primary" to="/numbers/connect">{t("account.connect")}</ButtonLink> },
    { what: t("home.step.loop"), why: t("home.stepWhy.loop"), done: counts.loops.nodes.some(({ loopTest }) => loopTest?.state === "PASSED"),
      go: account && <ButtonLink compact look="primary" to="/numbers/$id" params={{ id: account }} search={{ tab: "test" }}>{t("home.testIt")}</ButtonLink> },
    { what: t("home.step.contacts"), why: t("home.stepWhy.contacts"), done: counts.contacts.nodes.length > 0, go: <ButtonLink compact look="primary" to="/contacts/import">{t("contact.import")}</ButtonLink> },
    { what: t("home.step.template"), why: t("home.stepWhy.template"), done: counts.approved.nodes.length > 0,
      go: counts.templates.nodes.length > 0 ? <ButtonLink compact look="primary" to="/templates">{t("home.seeTemplates")}</ButtonLink> : <ButtonLink compact look="primary" to="/templates/new">{t("template.new")}</ButtonLink> },
    { what: t("home.step.campaign"), why: t("home.stepWhy.campaign"), done: counts.campaigns.nodes.length > 0, go: <ButtonLink compact look="primary" to="/campaigns/$id/edit/$step" params={{ id: "new", step: "audience" }}>{t("campaign.new")}</ButtonLink> },
    { what: t("home.step.delivered"), why: t("home.stepWhy.delivered"), done: counts.outbound.nodes.length > 0, go: <ButtonLink compact look="primary" to="/messages">{t("home.seeMessages")}</ButtonLink> },
  ];
  const done = steps.filter((step) => step.done).length;
  if (done === steps.length) return null;
  const next = steps.findIndex((step) => !step.done);
  return (
    <Card title={t("home.setUp")} actions={<span className="muted">{t("home.setUpDone", { done, all: steps.length })}</span>} tight>
      <ol className="checklist">
        {steps.map((step, index) => (
          <li key={step.what} data-done={step.done}>
            <span className="mark" aria-hidden="true">{step.done ? <Icon name="check" size={14} /> : index + 1}</span>
            <span className="grow what"><span className="strong">{step.what}</span>{step.done && <span className="visually-hidden"> {t("home.done")}</span>}{!step.done && <span className="help" style={{ display: "block" }}>{step.why}</span>}</span>
            {index === next && can("MANAGE") && step.go}
          </li>
        ))}
      </ol>
    </Card>
  );
}

function Today() {
  const from = startOfToday();
  const { data, problem, refresh } = useLoad(MessageCountsDocument, { from: from.slice(0, 16) + ":00.000Z" }, { everyMs: often_ms });
  const counts = data?.counts;
  const all = counts ? counts.recipients - counts.skipped : 0;
  const isAny = data && (all > 0 || data.received.totalCount > 0);
  return (
    <Card title={t("home.today")} actions={<span className="small muted">{t("home.sinceMidnight", { zone: zoneWithOffset(shownZone()) })}</span>}>
      <Failure problem={problem} retry={() => void refresh()} />
      {!data && !problem && <Skeleton />}
      {data && !isAny && <p className="muted">{t("home.nothingToday")}</p>}
      {data && counts && isAny && (
        <>
          <Funnel whole={all} bars={[
            { label: t("funnel.queued"), value: all },
            { label: t("funnel.accepted"), value: counts.accepted },
            { label: t("funnel.delivered"), value: counts.delivered },
            { label: t("funnel.read"), value: counts.read },
            ...(counts.failed > 0 ? [{ label: t("funnel.failed"), value: counts.failed, tone: "bad" as const }] : []),
          ]} />
          <div className="row between small">
            <Link to="/inbox" className="plain">{t("home.received", { count: data.received.totalCount, n: total(data.received.totalCount, data.received.totalCountExact) })}</Link>
            {counts.failed > 0 && <Link to="/messages" search={{ status: "FAILED" }}>{t("home.seeFailed")}</Link>}
          </div>
        </>
      )}
    </Card>
  );
}

function DueNext() {
  const { data, problem, refresh } = useLoad(DueNextDocument, {}, { everyMs: often_ms });
  const scheduled = [...(data?.scheduled.nodes ?? [])].sort((a, b) => (a.startAt ?? "").localeCompare(b.startAt ?? "")).slice(0, 5);
  const isNothing = data && data.running.nodes.length + scheduled.length + data.drafts.nodes.length === 0;
  return (
    <Card title={t("home.next")} actions={<ButtonLink to="/campaigns" compact look="quiet">{t("home.allCampaigns")}</ButtonLink>}>
      <Failure problem={problem} retry={() => void refresh()} />
      {!data && !problem && <Skeleton />}
      {isNothing && <p className="muted">{t("home.nothingNext")}</p>}
      {data && !isNothing && (
        <ul className="list">
          {[...data.running.nodes, ...scheduled, ...data.drafts.nodes].map((campaign) => <Due key={campaign.id} campaign={campaign} />)}
        </ul>
      )}
    </Card>
  );
}

function Due({ campaign }: { campaign: CampaignRowFragment }) {
  const { progress, schedule } = campaign;
  const settled = progress.recipients - progress.pending;
  return (
    <li className="stack tight">
      <div className="row between">
        <Link to="/campaigns/$id" params={{ id: campaign.id }} className="strong break">{campaign.name}</Link>
        <CampaignBadge status={campaign.status} awaits={campaign.awaitsApproval} />
      </div>
      {(campaign.status === "RUNNING" || campaign.status === "PAUSED") && (
        <p className="small muted">{t("home.progress", { done: number(settled), all: number(progress.recipients) })}{progress.messagesPerSecond > 0 && ` · ${t("campaign.perSecond", { n: number(progress.messagesPerSecond, 1) })}`}</p>
      )}
      {campaign.status === "SCHEDULED" && schedule && (
        <p className="small muted">
          {wallClock(schedule.startAt)} · {schedule.recipientLocal ? t("campaign.atRecipients") : zoneWithOffset(schedule.timeZone)}
          {campaign.startAt && <> · {t("home.starts", { when: age(campaign.startAt) })} (<Time at={campaign.startAt} />)</>}
        </p>
      )}
      {campaign.status === "DRAFT" && <p className="small muted">{t("home.drafted", { when: age(campaign.createdAt) })}</p>}
      {(campaign.waitingFor ?? campaign.statusReason) && <Callout tone="warn"><p className="small">{sentenceCase(campaign.waitingFor ?? campaign.statusReason ?? "")}</p></Callout>}
    </li>
  );
}

