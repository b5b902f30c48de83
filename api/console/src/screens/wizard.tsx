//! Planning a campaign, in five steps that each have an address. Every change is saved; nothing is sent before the launch.
import { getRouteApi, Link, useNavigate } from "@tanstack/react-router";
import { useCallback, useEffect, useRef, useState, type ReactNode } from "react";
import {
  AccountsDocument, AudiencePreviewDocument, CampaignDocument, CampaignRecordDocument, CreateCampaignDocument, ForecastDocument, LaunchCampaignDocument, SegmentsDocument, TemplatesDocument, TestCampaignDocument, UpdateCampaignDocument,
  type AudienceInput, type AudiencePreviewQuery, type CampaignQuery, type ForecastQuery, type TestCampaignMutation, type TemplateRowFragment,
} from "~/gen/graphql";
import { t } from "~/i18n";
import { ask, refreshAll, tell, useCommand, once, useLoad, usePages, useReturn } from "~/lib/data";
import { isAbout, sentenceCase, type Problem } from "~/lib/errors";
import { browserZone, duration, money, number, offset, toInputValue, wallClock } from "~/lib/format";
import { audience as audienceOf, createInput, hasAudience, keepPlan, keptPlan, merge, planOf, take, updateInput, type Groups, type Part, type Plan } from "~/lib/plan";
import { later } from "~/lib/gateway";
import { bodyText, samplesOf } from "~/lib/template";
import { useViewer } from "~/lib/viewer";
import { Check, Choose, Radios, TextInput, ZoneField } from "~/ui/fields";
import { Dialog } from "~/ui/overlay";
import { isUnfilled, ParameterFields, parameterName, placeholders } from "~/ui/parameters";
import { Back, Button, ButtonLink, Callout, Card, Empty, Facts, Failure, Page, Skeleton, Stat, Time } from "~/ui/parts";
import { PickPeople } from "~/ui/people";
import { Phone } from "~/ui/phone";
import { TagWords } from "~/ui/tags";
import { announce } from "~/ui/toasts";

const route = getRouteApi("/campaigns/$id/edit/$step");
const steps = ["audience", "message", "schedule", "estimate", "review"] as const;
type Step = (typeof steps)[number];
type Campaign = NonNullable<CampaignQuery["campaign"]>;

const autosave_ms = 700;
/** So often in a row may somebody else be first before a person hears of it. */
const meetings_max = 5;
/** More people than this are only written to once somebody has typed how many they are. */
const typed_from = 250;

export function WizardScreen() {
  const { id } = route.useParams();
  return id === "new" ? <NewPlan key="new" /> : <ExistingPlan key={id} id={id} />;
}

function NewPlan() {
  const [plan, setPlan] = useState(() => keptPlan(browserZone()));
  const change = (part: Partial<Plan>) => setPlan((before) => {
    const next = { ...before, ...part };
    keepPlan(next);
    return next;
  });
  return <Wizard plan={plan} change={change} campaign={null} saved={t("wizard.onThisDevice")} problem={null} />;
}

/** Where the draft's record stood when it was read or written here: a change that is based on it says so. */
interface Mark {
  sequence: number;
  position: string;
  cursor: string | null;
}

/** The last of the draft's events, up to `until`. */
async function markOf(id: string, from: Mark | null = null, until?: string): Promise<Mark | null> {
  let mark = from;
  for (let more = true; more;) {
    const { data } = await ask(CampaignRecordDocument, { id, after: mark?.cursor ?? null });
    const record = data?.campaign?.history;
    if (!record) return mark;
    const edges = record.edges.filter(({ node }) => !until || !later(node.position, until));
    const last = edges[edges.length - 1];
    if (last) mark = { ...last.node, cursor: last.cursor };
    more = record.pageInfo.hasNextPage && edges.length === record.edges.length;
  }
  return mark;
}

function ExistingPlan({ id }: { id: string }) {
  const [mark, setMark] = useState<Mark | null>(null);
  // First where the record stands, then the draft as it is there or later: what is newer than what was read is never taken for read.
  useEffect(() => void markOf(id).then(setMark), [id]);
  const { data, problem, refresh } = useLoad(CampaignDocument, { id, ...(mark ? { minPosition: mark.position } : {}) }, { pause: !mark });
  if (!data?.campaign || !mark) return <Page title={t("nav.campaign")}><Failure problem={problem} retry={() => void refresh()} />{!problem && <Skeleton lines={6} />}</Page>;
  if (data.campaign.status !== "DRAFT")
    return <Page title={data.campaign.name}><section className="card"><Empty icon="campaign" title={t("wizard.noDraft")} action={<ButtonLink to="/campaigns/$id" params={{ id }} look="primary">{t("wizard.seeCampaign")}</ButtonLink>} /></section></Page>;
  return <Draft campaign={data.campaign} mark={mark} />;
}

function Draft({ campaign, mark: givenMark }: { campaign: Campaign; mark: Mark }) {
  const [plan, setPlan] = useState(() => planOf(campaign, browserZone()));
  const [state, setState] = useState<"saved" | "saving" | "waiting">("saved");
  const [problem, setProblem] = useState<Problem | null>(null);
  const [clash, setClash] = useState<{ theirs: Plan; both: Part[] } | null>(null);
  const latest = useRef(plan);
  const base = useRef(plan);
  const mark = useRef(givenMark);
  const timer = useRef<ReturnType<typeof setTimeout>>(undefined);
  const isBusy = useRef(false);

  const adopt = (next: Plan) => {
    latest.current = next;
    setPlan(next);
  };

  /** Somebody else was first: what only one of the two changed is kept, about the rest a person decides. */
  const meet = useCallback(async (): Promise<"again" | "asked" | "over"> => {
    const now = await markOf(campaign.id, mark.current);
    const { data } = await ask(CampaignDocument, { id: campaign.id, ...(now ? { minPosition: now.position } : {}) });
    if (!now || !data?.campaign) return "over";
    if (data.campaign.status !== "DRAFT") {
      await refreshAll();
      return "over";
    }
    const theirs = planOf(data.campaign, browserZone());
    const merged = merge(base.current, latest.current, theirs);
    base.current = theirs;
    mark.current = now;
    adopt(merged.plan);
    if (merged.both.length > 0) {
      setClash({ theirs, both: merged.both });
      return "asked";
    }
    announce(t("wizard.merged"), "info");
    return "again";
  }, [campaign.id]);

  const save = useCallback(async () => {
    clearTimeout(timer.current);
    timer.current = undefined;
    // One at a time, so that nobody is in conflict with themselves; what was changed meanwhile follows.
    if (isBusy.current) return;
    isBusy.current = true;
    setState("saving");
    let meetings = 0;
    for (let more = true; more;) {
      more = false;
      const saving = latest.current;
      const answer = await tell(UpdateCampaignDocument, { input: updateInput(saving, campaign.id, mark.current.sequence) });
      if (answer.problem?.code === "CONFLICT") {
        const outcome = ++meetings > meetings_max ? "over" : await meet();
        if (outcome === "again") more = true;
        else {
          setProblem(outcome === "over" ? answer.problem : null);
          setState("waiting");
        }
        continue;
      }
      setProblem(answer.problem);
      if (answer.problem) {
        setState("waiting");
        continue;
      }
      base.current = saving;
      mark.current = (await markOf(campaign.id, mark.current, answer.data.updateCampaign.position)) ?? mark.current;
      await refreshAll();
      if (latest.current === saving) setState("saved");
      else more = timer.current === undefined && isWhole(latest.current);
    }
    isBusy.current = false;
  }, [campaign.id, meet]);

  const change = (part: Partial<Plan>) => {
    adopt({ ...latest.current, ...part });
    setState("waiting");
    clearTimeout(timer.current);
    timer.current = undefined;
    if (!isWhole(latest.current) || clash) return;
    timer.current = setTimeout(() => void save(), autosave_ms);
  };
  const settle = (isMine: boolean) => {
    if (!clash) return;
    if (!isMine) adopt(clash.both.reduce((into, part) => take(into, clash.theirs, part), latest.current));
    setClash(null);
    void save();
  };
  useReturn(() => problem && !clash && void save());
  // Whoever leaves within the moment of a change has made the change.
  useEffect(() => () => {
    if (timer.current !== undefined) void save();
  }, [save]);
  const saved = state === "saved" ? t("common.savedShort") : state === "saving" ? t("common.saving") : problem || clash ? t("wizard.notSaved") : t("wizard.willSave");
  return <Wizard plan={plan} change={change} campaign={campaign} saved={saved} problem={problem} isSettled={state === "saved"} clash={clash && <Clash mine={plan} {...clash} onSettle={settle} />} />;
}

/** Whether it can be kept as it is. */
const isWhole = (plan: Plan): boolean => !!plan.name.trim() && (plan.start === "now" || !!plan.startAt) && hasAudience(plan);

function partInWords(plan: Plan, part: Part): string {
  if (part === "name") return plan.name;
  if (part === "audience") return plan.all ? t("wizard.everyone") : [
    ...plan.groups.tags.map((tag) => t("contact.tagIs", { tag })),
    ...(plan.groups.segmentIds.length > 0 ? [`${t("nav.segments")}: ${number(plan.groups.segmentIds.length)}`] : []),
    ...(plan.contactIds.length > 0 ? [t("wizard.chosenPeople", { count: plan.contactIds.length, n: plan.contactIds.length })] : []),
  ].join(", ");
  if (part === "message") return Object.entries(plan.parameters).map(([name, value]) => `${parameterName(name)}: ${value}`).join(" · ") || t("common.none");
  if (part === "schedule") return plan.start === "now" ? t("wizard.atOnce") : `${wallClock(plan.startAt)} · ${plan.start === "recipient" ? t("campaign.atRecipients") : plan.timeZone.replaceAll("_", " ")}`;
  return [plan.messagesPerSecond && t("campaign.perSecond", { n: plan.messagesPerSecond }), plan.hasCap && `${plan.capMessages} / ${plan.capHours} h`].filter(Boolean).join(" · ") || t("common.none");
}

function Clash({ mine, theirs, both, onSettle }: { mine: Plan; theirs: Plan; both: Part[]; onSettle: (isMine: boolean) => void }) {
  const words = (part: Part) => (part === "name" ? t("campaign.name") : part === "limits" ? t("wizard.limits") : t(`wizard.step.${part}`));
  return (
    <section className="callout" data-tone="warn" role="alert" aria-label={t("wizard.clash")}>
      <div className="body stack">
        <p className="strong">{t("wizard.clash")}</p>
        <p>{t("wizard.clashHelp")}</p>
        <Facts items={both.map((part) => [words(part), <span key={part} className="stack tight">
          <span><span className="muted">{t("wizard.mine")}</span> {partInWords(mine, part)}</span>
          <span><span className="muted">{t("wizard.theirs")}</span> {partInWords(theirs, part)}</span>
        </span>])} />
        <div className="row"><Button look="primary" onPress={() => onSettle(true)}>{t("wizard.keepMine")}</Button><Button onPress={() => onSettle(false)}>{t("wizard.takeTheirs")}</Button></div>
      </div>
    </section>
  );
}

interface StepProps {
  plan: Plan;
  change: (part: Partial<Plan>) => void;
  campaign: Campaign | null;
  problem: Problem | null;
}

function Wizard({ plan, change, campaign, saved, problem, isSettled = false, clash }: StepProps & { saved: string; isSettled?: boolean; clash?: ReactNode }) {
  const { step: asked } = route.useParams();
  const step: Step = steps.find((each) => each === asked) ?? "audience";
  const navigate = useNavigate();
  const id = campaign?.id ?? "new";
  const at = steps.indexOf(step);
  const create = useCommand(CreateCampaignDocument, null);
  const isDone: Record<Step, boolean> = {
    audience: hasAudience(plan) && !!plan.name.trim(),
    message: !!campaign && !!plan.templateId,
    schedule: !!campaign && (plan.start === "now" || !!plan.startAt),
    estimate: !!campaign, review: false,
  };
  const isOpen = (each: Step) => each === "audience" || (each === "message" ? isDone.audience : !!campaign);

  const next = async () => {
    if (step === "message" && !campaign) {
      const made = await create.run({ input: createInput(plan, once) });
      if (!made) return;
      keepPlan(null);
      void navigate({ to: "/campaigns/$id/edit/$step", params: { id: made.createCampaign.campaign.id, step: "message" }, replace: true });
      return;
    }
    const following = steps[at + 1];
    if (following) void navigate({ to: "/campaigns/$id/edit/$step", params: { id, step: following } });
  };
  const mayGoOn = step === "audience" ? isDone.audience : step === "message" ? !!plan.templateId && !!plan.accountId : step === "schedule" ? isDone.schedule : true;

  return (
    <Page title={plan.name.trim() || t("campaign.new")} status={<span className="small muted" role="status">{saved}</span>} back={<Back to="/campaigns">{t("nav.campaigns")}</Back>}>
      <nav aria-label={t("wizard.steps")}>
        <ol className="steps">
          {steps.map((each) => (
            <li key={each}>
              {isOpen(each)
                ? <Link to="/campaigns/$id/edit/$step" params={{ id, step: each }} aria-current={each === step ? "step" : undefined} activeProps={{ "aria-current": "step" }} inactiveProps={{}} data-done={isDone[each]}><span className="word">{t(`wizard.step.${each}`)}</span></Link>
                : <span><span className="word">{t(`wizard.step.${each}`)}</span></span>}
            </li>
          ))}
        </ol>
      </nav>
      {clash}
      {!(step === "message" && isAbout(problem ?? create.problem, "parameters")) && <Failure problem={problem ?? create.problem} />}
      {step === "audience" && <AudienceStep plan={plan} change={change} campaign={campaign} problem={problem} />}
      {step === "message" && <MessageStep plan={plan} change={change} campaign={campaign} problem={problem ?? create.problem} isSettled={isSettled} />}
      {step === "schedule" && <ScheduleStep plan={plan} change={change} campaign={campaign} problem={problem} />}
      {step === "estimate" && campaign && <EstimateStep campaign={campaign} isSettled={isSettled} />}
      {step === "review" && campaign && <ReviewStep campaign={campaign} plan={plan} isSettled={isSettled} />}
      {step !== "review" && (
        <div className="row between">
          {at > 0 ? <ButtonLink to="/campaigns/$id/edit/$step" params={{ id, step: steps[at - 1] as string }}>{t("wizard.back")}</ButtonLink> : <span />}
          <Button look="primary" isDisabled={!mayGoOn} busy={create.isSaving} onPress={() => void next()}>{step === "message" && !campaign ? t("wizard.saveDraft") : t("wizard.next", { step: t(`wizard.step.${steps[at + 1] as Step}`) })}</Button>
        </div>
      )}
    </Page>
  );
}

function GroupFields({ groups, onChange, segments, tagsLabel, segmentsLabel }: { groups: Groups; onChange: (groups: Groups) => void; segments: readonly { id: string; name: string; size: number }[]; tagsLabel: string; segmentsLabel: string }) {
  return (
    <div className="fields">
      <fieldset className="stack tight">
        <legend className="label" style={{ fontWeight: 550 }}>{segmentsLabel}</legend>
        {segments.length === 0 && <p className="muted small">{t("wizard.noSegments")} <Link to="/segments/new">{t("segment.new")}</Link></p>}
        {segments.map(({ id, name, size }) => (
          <Check key={id} value={groups.segmentIds.includes(id)} onChange={(isOn) => onChange({ ...groups, segmentIds: isOn ? [...groups.segmentIds, id] : groups.segmentIds.filter((other) => other !== id) })}>{name} <span className="muted">· {number(size)}</span></Check>
        ))}
      </fieldset>
      <TagWords label={tagsLabel} values={groups.tags} onChange={(tags) => onChange({ ...groups, tags })} />
    </div>
  );
}

function AudienceStep({ plan, change, problem }: StepProps) {
  const { can } = useViewer();
  const { data } = useLoad(SegmentsDocument, { first: 200 });
  const segments = data?.segments.nodes ?? [];
  const preview = useAudience(hasAudience(plan) ? audienceOf(plan) : null);
  const [hasLess, setLess] = useState(plan.exclude.segmentIds.length + plan.exclude.tags.length > 0);
  return (
    <div className="columns wide">
      <Card>
        <TextInput label={t("campaign.name")} help={t("wizard.nameHelp")} value={plan.name} onChange={(name) => change({ name })} isRequired error={isAbout(problem, "name") ? problem?.detail : null} maxLength={200} />
        <Radios cards label={t("wizard.who")} value={plan.all ? "all" : "groups"} onChange={(value) => change({ all: value === "all" })} options={[
          { value: "groups", label: t("wizard.groups"), hint: t("wizard.groupsHint") },
          { value: "all", label: t("wizard.everyone"), hint: t("wizard.everyoneHint") },
        ]} />
        {!plan.all && <GroupFields groups={plan.groups} onChange={(groups) => change({ groups })} segments={segments} segmentsLabel={t("wizard.inSegments")} tagsLabel={t("wizard.withTags")} />}
        {!plan.all && can("PERSONAL") && <PickPeople label={t("wizard.people")} help={t("wizard.peopleHelp")} ids={plan.contactIds} onChange={(contactIds) => change({ contactIds })} />}
        <Check value={hasLess} onChange={(isOn) => { setLess(isOn); if (!isOn) change({ exclude: { segmentIds: [], tags: [] } }); }}>{t("wizard.leaveOut")}</Check>
        {hasLess && <GroupFields groups={plan.exclude} onChange={(exclude) => change({ exclude })} segments={segments} segmentsLabel={t("wizard.notInSegments")} tagsLabel={t("wizard.notWithTags")} />}
      </Card>
      <div className="sticky">
        <Card title={t("wizard.count")}>
          <div aria-live="polite">
            {preview.data && <p><b className="num" style={{ fontSize: "var(--text-2xl)" }}>{number(preview.data.count)}</b> <span className="muted">{t("segment.people", { count: preview.data.count })}</span></p>}
            {!hasAudience(plan) && <p className="muted">{t("wizard.nobodyYet")}</p>}
            <Failure problem={preview.problem} />
          </div>
          {preview.data && preview.data.sample.length > 0 && <ul className="list small">{preview.data.sample.map((contact) => <li key={contact.id} className="row between"><span>{contact.name ?? t("contact.noName")}</span><span className="muted num" dir="ltr">{contact.phoneNumber}</span></li>)}</ul>}
          <p className="small muted">{t("wizard.countHelp")}</p>
        </Card>
      </div>
    </div>
  );
}

/** Whom an audience reaches now, counted by the gateway as it would count it at the launch. */
function useAudience(audience: AudienceInput | null) {
  const [state, setState] = useState<{ data: AudiencePreviewQuery["audiencePreview"] | null; problem: Problem | null }>({ data: null, problem: null });
  const key = JSON.stringify(audience);
  useEffect(() => {
    if (!audience) return setState({ data: null, problem: null });
    let isCurrent = true;
    const timer = setTimeout(async () => {
      const { data, problem } = await ask(AudiencePreviewDocument, { audience });
      if (isCurrent) setState({ data: data?.audiencePreview ?? null, problem });
    }, 350);
    return () => {
      isCurrent = false;
      clearTimeout(timer);
    };
  }, [key]);
  return state;
}

function MessageStep({ plan, change, campaign, problem, isSettled }: StepProps & { isSettled: boolean }) {
  const accounts = useLoad(AccountsDocument, {});
  const usable = accounts.data?.accounts.nodes.filter(({ status }) => status !== "DISCONNECTED") ?? [];
  const accountId = plan.accountId || usable[0]?.id || "";
  const templates = usePages(TemplatesDocument, { filter: { status: ["APPROVED", "PENDING", "DRAFT"] as const, ...(accountId ? { accountIds: [accountId] } : {}) } }, (data) => data.templates);
  const template = templates.items?.find(({ id }) => id === plan.templateId) ?? (campaign?.template.id === plan.templateId ? campaign.template : null);
  useEffect(() => {
    if (accountId && accountId !== plan.accountId) change({ accountId });
  }, [accountId]);

  return (
    <div className="columns wide">
      <div className="stack loose">
        <Card>
          {accounts.data && usable.length === 0 && <Callout tone="warn" title={t("template.needsNumber")} action={<ButtonLink compact to="/numbers/connect">{t("account.connect")}</ButtonLink>} />}
          {usable.length > 1 && !campaign && <Choose label={t("wizard.from")} value={accountId || null} onChange={(next) => change({ accountId: next, templateId: "", parameters: {} })} options={usable.map(({ id, name, phoneNumber }) => ({ value: id, label: name, hint: phoneNumber ?? undefined }))} />}
          {templates.items?.length === 0 && <Empty icon="template" title={t("template.none")} action={<ButtonLink to="/templates/new" look="primary">{t("template.new")}</ButtonLink>}>{t("wizard.needsTemplate")}</Empty>}
          {templates.items && templates.items.length > 0 && (
            <Choose label={t("nav.template")} value={plan.templateId || null} onChange={(templateId) => change({ templateId, parameters: templateId === plan.templateId ? plan.parameters : {} })}
              options={templates.items.map((each) => ({ value: each.id, label: `${each.name} · ${each.language}`, hint: each.status === "APPROVED" ? short(bodyText(each.components)) : t(`template.status.${each.status}`) }))} error={isAbout(problem, "templateId") ? problem?.detail : null} />
          )}
          {template && template.status !== "APPROVED" && <Callout tone="warn" title={t("wizard.notApproved")}><p>{t("wizard.notApprovedHelp")}</p></Callout>}
        </Card>
        {template && template.parameters.length > 0 && <Parameters template={template} plan={plan} change={change} problem={problem} />}
        {campaign && template && <RealPreviews id={campaign.id} isSettled={isSettled} />}
      </div>
      <div className="sticky">{template ? <Phone components={template.components} values={plan.parameters} /> : <p className="muted">{t("wizard.chooseTemplate")}</p>}</div>
    </div>
  );
}

const short = (text: string): string => (text.length > 80 ? `${text.slice(0, 78)}…` : text);

function Parameters({ template, plan, change, problem }: { template: TemplateRowFragment; plan: Plan; change: (part: Partial<Plan>) => void; problem: Problem | null }) {
  return (
    <Card title={t("wizard.parameters")}>
      <p className="muted">{t("wizard.parametersHelp")}</p>
      {isAbout(problem, "parameters") && !isUnfilled(problem, template.parameters, plan.parameters) && <Failure problem={problem} />}
      <ParameterFields names={template.parameters} values={plan.parameters} onChange={(parameters) => change({ parameters })} problem={problem} withPlaceholders samples={samplesOf(template)} />
    </Card>
  );
}

/** The forecast is made from what the gateway has, so it waits until everything is saved. */
function useForecast(id: string, isSettled: boolean) {
  const [state, setState] = useState<{ data: ForecastQuery["campaignForecast"] | null; problem: Problem | null; isLoading: boolean }>({ data: null, problem: null, isLoading: true });
  const [turn, setTurn] = useState(0);
  useEffect(() => {
    if (!isSettled) return;
    let isCurrent = true;
    let timer: ReturnType<typeof setTimeout>;
    const load = async () => {
      const { data, problem } = await ask(ForecastDocument, { id });
      if (!isCurrent) return;
      // A large one is made in the background; until then the gateway says how far it is.
      if (problem?.code === "UNAVAILABLE") timer = setTimeout(() => void load(), 2_000);
      setState({ data: data?.campaignForecast ?? null, problem, isLoading: problem?.code === "UNAVAILABLE" });
    };
    setState((before) => ({ ...before, isLoading: true }));
    void load();
    return () => {
      isCurrent = false;
      clearTimeout(timer);
    };
  }, [id, isSettled, turn]);
  return { ...state, again: () => setTurn((before) => before + 1) };
}

function RealPreviews({ id, isSettled }: { id: string; isSettled: boolean }) {
  const { data, problem, isLoading } = useForecast(id, isSettled);
  const missing = data?.skipped.find(({ reason }) => reason === "MISSING_PARAMETER");
  return (
    <Card title={t("wizard.previews")}>
      {problem && !isLoading && <Failure problem={problem} />}
      {isLoading && !data && <Skeleton lines={3} />}
      {missing && <Callout tone="warn" title={t("wizard.missing", { count: missing.count, n: number(missing.count) })}><p>{t("wizard.missingHelp", { example: placeholders[0] as string })}</p></Callout>}
      {data && data.sample.length === 0 && <p className="muted">{t("wizard.noSample")}</p>}
      {data && <ul className="list">{data.sample.map((message) => <li key={message.contactId} className="stack tight"><p className="pre" dir="auto">{message.preview}</p><p className="small muted">{wallClock(message.localTime)} · {message.timeZone.replaceAll("_", " ")}</p></li>)}</ul>}
    </Card>
  );
}

function ScheduleStep({ plan, change, campaign, problem }: StepProps) {
  const wrong = (field: string) => (isAbout(problem, field) ? (problem?.detail ?? null) : null);
  const begin = (start: Plan["start"]) => change({ start, startAt: plan.startAt || toInputValue(new Date(Date.now() + 86_400_000)).slice(0, 11) + "09:00" });
  const pace = campaign?.account?.messagesPerSecond;
  return (
    <div className="stack loose measure">
      <Card title={t("wizard.when")}>
        <Radios cards label={t("wizard.start")} value={plan.start} onChange={begin} options={[
          { value: "now", label: t("wizard.start.now"), hint: t("wizard.startHint.now") },
          { value: "zone", label: t("wizard.start.zone"), hint: t("wizard.startHint.zone") },
          { value: "recipient", label: t("wizard.start.recipient"), hint: t("wizard.startHint.recipient") },
        ]} />
        {plan.start !== "now" && (
          <>
            <div className="fields">
              <TextInput label={t("wizard.startAt")} type="datetime-local" value={plan.startAt} onChange={(startAt) => change({ startAt })} error={wrong("schedule")} />
              <ZoneField label={plan.start === "recipient" ? t("wizard.fallbackZone") : t("wizard.zone")} help={plan.start === "recipient" ? t("wizard.fallbackZoneHelp") : undefined} value={plan.timeZone} onChange={(timeZone) => change({ timeZone })} />
            </div>
            {plan.startAt && plan.timeZone && <p className="muted">{plan.start === "zone" ? t("wizard.startsThen", { when: wallClock(plan.startAt), zone: `${plan.timeZone.replaceAll("_", " ")}, ${offset(plan.timeZone, new Date(plan.startAt))}` }) : t("wizard.startsLocal", { when: wallClock(plan.startAt) })}</p>}
            {plan.start === "recipient" && <Choose label={t("wizard.whenPast")} value={plan.whenPast} onChange={(whenPast) => change({ whenPast })} options={(["NEXT_DAY", "SEND_NOW", "SKIP"] as const).map((value) => ({ value, label: t(`wizard.whenPast.${value}`) }))} />}
            <Check value={plan.hasWindow} onChange={(hasWindow) => change({ hasWindow })}>{t("wizard.window")}</Check>
            {plan.hasWindow && <div className="fields"><TextInput label={t("account.quietFrom")} type="time" value={plan.windowFrom} onChange={(windowFrom) => change({ windowFrom })} /><TextInput label={t("account.quietTo")} type="time" value={plan.windowTo} onChange={(windowTo) => change({ windowTo })} /></div>}
            <div className="fields">
              <Choose label={t("wizard.repeat")} value={plan.repeat} onChange={(repeat) => change({ repeat })} options={[
                ...(["never", "DAILY", "WEEKLY", "MONTHLY"] as const).map((value) => ({ value: value as Plan["repeat"], label: t(`wizard.repeat.${value}`) })),
                ...(plan.repeat === "other" ? [{ value: "other" as const, label: plan.recurrence }] : []),
              ]} />
              {plan.repeat !== "never" && plan.repeat !== "other" && <TextInput label={t("wizard.times")} inputMode="numeric" value={plan.times} onChange={(times) => change({ times: times.replace(/\D/g, "").slice(0, 3) })} />}
            </div>
          </>
        )}
      </Card>
      <Card title={t("wizard.limits")}>
        <TextInput label={t("wizard.pace")} optional help={pace ? t("wizard.paceHelp", { n: number(pace) }) : undefined} inputMode="numeric" value={plan.messagesPerSecond} onChange={(value) => change({ messagesPerSecond: value.replace(/\D/g, "") })} error={wrong("messagesPerSecond")} />
        <Check value={plan.hasCap} onChange={(hasCap) => change({ hasCap })}>{t("wizard.cap")}</Check>
        {plan.hasCap && <div className="fields"><TextInput label={t("wizard.capMessages")} inputMode="numeric" value={plan.capMessages} onChange={(value) => change({ capMessages: value.replace(/\D/g, "") })} error={wrong("frequencyCap")} /><TextInput label={t("wizard.capHours")} inputMode="numeric" value={plan.capHours} onChange={(value) => change({ capHours: value.replace(/\D/g, "") })} /></div>}
      </Card>
    </div>
  );
}

function EstimateStep({ campaign, isSettled }: { campaign: Campaign; isSettled: boolean }) {
  const { data, problem, isLoading, again } = useForecast(campaign.id, isSettled);
  return (
    <>
      {problem && !isLoading && <Failure problem={problem} retry={again} />}
      {isLoading && !data && <Card><p className="muted" role="status">{problem?.detail ?? t("wizard.estimating")}</p><Skeleton lines={3} /></Card>}
      {data && <Forecast forecast={data} campaign={campaign} again={again} />}
    </>
  );
}

function Forecast({ forecast, campaign, again }: { forecast: ForecastQuery["campaignForecast"]; campaign: Campaign; again: () => void }) {
  const { firstSendAt, lastSendAt, cost, limitedBy } = forecast;
  const takes = firstSendAt && lastSendAt ? (new Date(lastSendAt).getTime() - new Date(firstSendAt).getTime()) / 1000 : null;
  const reach = campaign.account?.reach;
  return (
    <div className="columns wide">
      <div className="stack loose">
        {forecast.warnings.map((warning) => <Callout key={warning} tone="warn" title={sentenceCase(warning)} />)}
        <Card title={t("wizard.step.estimate")} actions={<Button compact look="quiet" onPress={again}>{t("wizard.again")}</Button>}>
          <div className="stats">
            <Stat label={t("wizard.willGet")}>{number(forecast.toSend)}</Stat>
            <Stat label={t("wizard.leftOut")}>{number(forecast.skipped.reduce((sum, { count }) => sum + count, 0))}</Stat>
            <Stat label={t("campaign.cost")}>{cost?.amount ? money(cost.amount, cost.currency) : "–"}</Stat>
            <Stat label={t("wizard.takes")}>{takes === null ? "–" : duration(takes)}</Stat>
          </div>
          {!cost?.amount && <p className="small muted">{t("wizard.noRates")} <Link to="/settings/prices">{t("settings.prices")}</Link></p>}
          <Facts items={[
            [t("wizard.first"), firstSendAt ? <Time at={firstSendAt} long /> : t("wizard.unknown")],
            [t("wizard.last"), lastSendAt ? <Time at={lastSendAt} long /> : t("wizard.unknown")],
            ...(limitedBy ? [[t("wizard.limitedBy"), t(`limit.${limitedBy.replaceAll(" ", "_")}` as "limit.pace")] as [string, React.ReactNode]] : []),
            ...(reach?.limit ? [[t("account.reach"), t("account.reachOf", { used: number(reach.used), limit: number(reach.limit) })] as [string, React.ReactNode]] : []),
            ...(forecast.expired > 0 ? [[t("wizard.expired"), number(forecast.expired)] as [string, React.ReactNode]] : []),
          ]} />
        </Card>
        {forecast.skipped.length > 0 && (
          <Card title={t("wizard.leftOutWhy")}>
            <ul className="list">{forecast.skipped.map(({ reason, count }) => <li key={reason} className="row between nowrap"><span>{t(`skip.${reason}`)}</span><span className="num strong">{number(count)}</span></li>)}</ul>
          </Card>
        )}
      </div>
      <div className="stack loose">
        {forecast.zones.length > 0 && (
          <Card title={t("wizard.zones")}>
            <ul className="list">{forecast.zones.slice(0, 12).map((zone) => (
              <li key={zone.timeZone + zone.source} className="stack tight" style={{ gap: 0 }}>
                <div className="row between"><span>{zone.timeZone.replaceAll("_", " ")} <span className="small muted">{offset(zone.timeZone, zone.firstSendAt ? new Date(zone.firstSendAt) : undefined)}</span></span><span className="num">{number(zone.count)}</span></div>
                <span className="small muted">{t(`wizard.zoneFrom.${zone.source}` as "wizard.zoneFrom.contact")}{zone.firstSendAt && <> · <Time at={zone.firstSendAt} /></>}</span>
              </li>
            ))}</ul>
          </Card>
        )}
        <p className="small muted">{t("wizard.asOf")} <Time at={forecast.asOf} long /></p>
      </div>
    </div>
  );
}

function ReviewStep({ campaign, plan, isSettled }: { campaign: Campaign; plan: Plan; isSettled: boolean }) {
  const navigate = useNavigate();
  const { can } = useViewer();
  const { data: forecast, problem, isLoading, again } = useForecast(campaign.id, isSettled);
  const launch = useCommand(LaunchCampaignDocument, t("campaign.launched"));
  const [isAsking, setAsking] = useState(false);
  const [typed, setTyped] = useState("");
  const needsTyping = (forecast?.toSend ?? 0) > typed_from;
  const isTyped = typed.replace(/\D/g, "") === String(forecast?.toSend);

  const go = async () => {
    if (!forecast) return;
    const done = await launch.run({ id: campaign.id, maxRecipients: forecast.recipients, idempotencyKey: once });
    if (!done) return;
    void navigate({ to: "/campaigns/$id", params: { id: campaign.id } });
  };
  return (
    <>
      <div className="columns wide">
        <div className="stack loose">
          {problem && !isLoading && <Failure problem={problem} retry={again} />}
          <Card title={t("wizard.step.review")}>
            {!forecast && isLoading && <Skeleton lines={4} />}
            {forecast && (
              <Facts items={[
                [t("wizard.willGet"), <b className="num">{number(forecast.toSend)}</b>],
                [t("wizard.leftOut"), number(forecast.skipped.reduce((sum, { count }) => sum + count, 0))],
                [t("nav.template"), `${campaign.template.name} · ${campaign.template.language} · ${t(`template.category.${campaign.template.category}`)}`],
                [t("nav.number"), campaign.account?.name],
                [t("campaign.starts"), plan.start === "now" ? t("wizard.atOnce") : `${wallClock(plan.startAt)} · ${plan.start === "recipient" ? t("campaign.atRecipients") : `${plan.timeZone.replaceAll("_", " ")} (${offset(plan.timeZone, new Date(plan.startAt))})`}`],
                [t("wizard.last"), forecast.lastSendAt ? <Time at={forecast.lastSendAt} long /> : t("wizard.unknown")],
                [t("campaign.cost"), forecast.cost?.amount ? `${money(forecast.cost.amount, forecast.cost.currency)} · ${t("campaign.estimated")}` : t("campaign.noRates")],
              ]} />
            )}
          </Card>
          <TestCard id={campaign.id} />
          {campaign.awaitsApproval && <Callout tone="warn" title={t("campaign.awaitsApproval")} />}
          <div className="row between">
            <ButtonLink to="/campaigns/$id/edit/$step" params={{ id: campaign.id, step: "estimate" }}>{t("wizard.back")}</ButtonLink>
            <Button look="primary" isDisabled={!can("SEND") || !forecast || forecast.toSend === 0 || !isSettled} onPress={() => setAsking(true)}>{plan.start === "now" ? t("wizard.launchNow") : t("wizard.launchLater")}</Button>
          </div>
          {!can("SEND") && <Callout tone="warn" title={t("wizard.noSend")} />}
        </div>
        <div className="sticky"><Phone components={campaign.template.components} values={plan.parameters} /></div>
      </div>
      {forecast && (
        <Dialog title={t("wizard.sure", { count: forecast.toSend, n: number(forecast.toSend) })} isOpen={isAsking} onClose={() => setAsking(false)} role="alertdialog">
          <p>{plan.start === "now" ? t("wizard.sureNow") : t("wizard.sureLater", { when: wallClock(plan.startAt) })}</p>
          {needsTyping && <TextInput label={t("wizard.typeCount", { n: number(forecast.toSend) })} inputMode="numeric" value={typed} onChange={setTyped} autoFocus />}
          <Failure problem={launch.problem} />
          <div className="row end"><Button onPress={() => setAsking(false)}>{t("common.cancel")}</Button><Button look="primary" busy={launch.isSaving} isDisabled={needsTyping && !isTyped} onPress={() => void go()}>{plan.start === "now" ? t("wizard.launchNow") : t("wizard.launchLater")}</Button></div>
        </Dialog>
      )}
    </>
  );
}

function TestCard({ id }: { id: string }) {
  const test = useCommand(TestCampaignDocument, null);
  const [to, setTo] = useState("");
  const [sent, setSent] = useState<TestCampaignMutation["testCampaign"]["message"] | null>(null);
  const send = async () => {
    setSent(null);
    const done = await test.run({ id, to: to.trim(), idempotencyKey: once });
    if (done) setSent(done.testCampaign.message);
  };
  return (
    <Card title={t("wizard.test")}>
      <p className="muted">{t("wizard.testHelp")}</p>
      <div className="row" style={{ alignItems: "flex-end" }}>
        <div className="grow" style={{ flexBasis: "14rem" }}><TextInput label={t("wizard.testTo")} type="tel" value={to} onChange={setTo} error={isAbout(test.problem, "to") ? test.problem?.detail : null} placeholder="+44 7700 900123" /></div>
        <Button isDisabled={!to.trim()} busy={test.isSaving} onPress={() => void send()}>{t("wizard.sendTest")}</Button>
      </div>
      <Failure problem={test.problem} />
      {sent && (
        <Callout tone={sent.skipReason ? "warn" : "good"} title={sent.skipReason ? t("wizard.testSkipped") : t("wizard.testSent")} action={<Link to="/messages/$id" params={{ id: sent.id }}>{t("wizard.followTest")}</Link>}>
          {sent.skipReason && <p>{t(`skip.${sent.skipReason}`)}. {sent.skipReason === "NO_CONSENT" && t("wizard.testNoConsent")}</p>}
        </Callout>
      )}
    </Card>
  );
}

