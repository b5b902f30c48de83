import { getRouteApi, Link, useNavigate } from "@tanstack/react-router";
import { useEffect, useState } from "react";
import {
  CampaignsDocument, CreateSegmentDocument, DeleteSegmentDocument, PreviewSegmentDocument, SegmentDocument, SegmentHistoryDocument, SegmentsDocument, UpdateSegmentDocument,
  type PreviewSegmentQuery,
} from "~/gen/graphql";
import { t } from "~/i18n";
import { ask, useCommand, once, useLoad, usePages } from "~/lib/data";
import type { Problem } from "~/lib/errors";
import { number } from "~/lib/format";
import { emptyCondition, formOf, isComplete, isGroup, limits, nodes, operators, outcomes, ruleOf, type Condition, type ConditionKind, type Join, type RuleForm } from "~/lib/rule";
import { useViewer } from "~/lib/viewer";
import { Choose, Radios, Switch, TextInput, ZoneField } from "~/ui/fields";
import { TagInput } from "~/ui/tags";
import { History } from "~/ui/history";
import { More, useConfirm } from "~/ui/overlay";
import { Back, Button, ButtonLink, Card, Empty, Failure, Page, Skeleton, Tabs } from "~/ui/parts";
import { ListCard } from "~/ui/table";

const kinds: ConditionKind[] = ["tag", "attribute", "consent", "language", "timeZone", "lastMessage", "campaign"];

export function SegmentsScreen() {
  const { can } = useViewer();
  const pages = usePages(SegmentsDocument, {}, (data) => data.segments);
  const make = can("MANAGE") && <ButtonLink to="/segments/new" look="primary" icon="plus">{t("segment.new")}</ButtonLink>;
  return (
    <Page title={t("nav.segments")} intro={t("segment.intro")} actions={make}>
      <ListCard pages={pages} label={t("nav.segments")} id={({ id }) => id} linked
        empty={<Empty icon="segment" title={t("segment.none")} action={make}>{t("segment.noneHelp")}</Empty>}
        columns={[
          { title: t("segment.name"), cell: ({ id, name }) => <Link className="row-link break" to="/segments/$id" params={{ id }}>{name}</Link> },
          { title: t("segment.rule"), cell: ({ rule }) => <span className="muted break">{inWords(rule)}</span>, width: "50%" },
          { title: t("segment.size"), end: true, cell: ({ size }) => <span className="num">{number(size)}</span> },
        ]} />
    </Page>
  );
}

function conditionInWords({ kind, isNot, value, name, op, when, date }: Condition): string {
  const said = kind === "attribute" ? `${name} ${t(`segment.op.${op as (typeof operators)[number]}`)}${op === "exists" || op === "missing" ? "" : ` “${value}”`}`
    : kind === "campaign" ? `${t("segment.kind.campaign")}: ${value ? t(`segment.outcome.${value as (typeof outcomes)[number]}`) : t("segment.anyOutcome")}`
    : kind === "lastMessage" ? [t("segment.kind.lastMessage"), value && t(`segment.outcome.${value as (typeof outcomes)[number]}`), when !== "any" && `${t(`segment.when.${when}`)} ${date}`].filter(Boolean).join(" ")
    : kind === "consent" ? `${t("contact.consent")}: ${t(`consent.${value as "OPTED_IN"}`)}`
    : `${t(`segment.kind.${kind}`)}: ${value}`;
  return isNot ? t("segment.notThis", { what: said }) : said;
}

function groupInWords({ join, items }: RuleForm): string {
  const words = items.map((item) => (isGroup(item) ? (item.join === "not" ? groupInWords(item) : `(${groupInWords(item)})`) : conditionInWords(item)));
  const said = words.join(join === "all" ? ` ${t("segment.and")} ` : ` ${t("segment.or")} `);
  return join === "not" ? t("segment.notThis", { what: said }) : said;
}

export function inWords(rule: unknown): string {
  const form = formOf(rule);
  return form ? groupInWords(form) : t("segment.nested");
}

export function NewSegmentScreen() {
  const navigate = useNavigate();
  const create = useCommand(CreateSegmentDocument);
  return (
    <Page title={t("segment.new")} back={<Back to="/segments">{t("nav.segments")}</Back>}>
      <SegmentEditor name="" rule={null} problem={create.problem} isBusy={create.isSaving} onSave={async (name, rule) => {
        const done = await create.run({ input: { name, rule, idempotencyKey: once } });
        if (done) void navigate({ to: "/segments/$id", params: { id: done.createSegment.segment.id } });
      }} />
    </Page>
  );
}

const route = getRouteApi("/segments/$id");

export function SegmentScreen() {
  const { id } = route.useParams();
  const { tab } = route.useSearch();
  const navigate = useNavigate();
  const { can } = useViewer();
  const { data, problem } = useLoad(SegmentDocument, { id });
  const update = useCommand(UpdateSegmentDocument);
  const remove = useCommand(DeleteSegmentDocument, t("segment.deletedNow"));
  const [dialog, confirm] = useConfirm(remove.problem, remove.isSaving);
  const segment = data?.segment;
  return (
    <Page title={segment?.name ?? t("nav.segment")} back={<Back to="/segments">{t("nav.segments")}</Back>}
      actions={segment && can("MANAGE") && <More label={t("common.more")} items={[{ label: t("segment.delete"), danger: true, run: () => confirm({ title: t("segment.delete"), danger: true, body: <p>{t("segment.deleteBody", { name: segment.name })}</p>, action: t("segment.delete"), run: () => remove.run({ id }).then((done) => { if (done) void navigate({ to: "/segments" }); return done; }) }) }]} />}>
      <Failure problem={problem} />
      {!segment && !problem && <Skeleton />}
      {segment && <Tabs label={t("nav.sections")} items={[{ label: t("segment.rule") }, { label: t("history.title"), value: "history" }]} />}
      {segment && tab === "history" && <SegmentHistory id={id} />}
      {segment && !tab && <SegmentEditor key={segment.id} name={segment.name} rule={segment.rule} problem={update.problem} isBusy={update.isSaving} isReadOnly={!can("MANAGE")} id={id} onSave={async (name, rule) => void (await update.run({ id, name, rule }))} />}
      {dialog}
    </Page>
  );
}

function SegmentHistory({ id }: { id: string }) {
  return <History pages={usePages(SegmentHistoryDocument, { id }, (data) => data.segment?.history)} />;
}

function SegmentEditor({ name: givenName, rule: givenRule, problem, isBusy, isReadOnly, id, onSave }: {
  name: string; rule: unknown; problem: Problem | null; isBusy: boolean; isReadOnly?: boolean; id?: string; onSave: (name: string, rule: unknown) => Promise<void>;
}) {
  const [name, setName] = useState(givenName);
  const [form, setForm] = useState<RuleForm | null>(() => (givenRule === null ? { join: "all", items: [emptyCondition()] } : formOf(givenRule)));
  const [json, setJson] = useState(() => JSON.stringify(givenRule, null, 2));
  const campaigns = useLoad(CampaignsDocument, { first: 100 });
  let rule: unknown = null;
  if (form) rule = isComplete(form) ? ruleOf(form) : null;
  else try { rule = JSON.parse(json); } catch { rule = null; }
  const preview = usePreview(rule);
  return (
    <div className="columns wide">
      <Card foot={!isReadOnly && <Button look="primary" busy={isBusy} isDisabled={!name.trim() || !rule} onPress={() => void onSave(name.trim(), rule)}>{t("common.save")}</Button>}>
        <TextInput label={t("segment.name")} value={name} onChange={setName} isDisabled={isReadOnly} isRequired />
        {form && <Group form={form} onChange={setForm} left={limits.nodes - nodes(form)} campaigns={campaigns.data?.campaigns.nodes ?? []} />}
        {!form && <TextInput label={t("segment.rule")} rows={12} mono help={t("segment.jsonHelp")} value={json} onChange={setJson} error={rule === null ? t("segment.badJson") : null} />}
        <Failure problem={problem} />
      </Card>
      <div className="sticky">
        <Card title={t("segment.now")} actions={id && <ButtonLink to="/contacts" search={{ segment: id }} compact look="quiet">{t("segment.seeAll")}</ButtonLink>}>
          {!rule && <p className="muted">{t("segment.incomplete")}</p>}
          {rule !== null && <Failure problem={preview.problem} />}
          {rule !== null && preview.data && (
            <>
              <p aria-live="polite"><b style={{ fontSize: "var(--text-2xl)" }} className="num">{number(preview.data.count)}</b> <span className="muted">{t("segment.people", { count: preview.data.count })}</span></p>
              <ul className="list">{preview.data.sample.map((contact) => <li key={contact.id} className="row between"><Link to="/contacts/$id" params={{ id: contact.id }}>{contact.name ?? t("contact.noName")}</Link><span className="muted num" dir="ltr">{contact.phoneNumber}</span></li>)}</ul>
            </>
          )}
        </Card>
      </div>
    </div>
  );
}

/** `at`: where the group stands, such as "2.1"; empty for the outermost. `left`: how many conditions and groups there is room for. */
function Group({ form, onChange, left, campaigns, at = "", depth = 1 }: {
  form: RuleForm; onChange: (form: RuleForm) => void; left: number; campaigns: readonly { id: string; name: string }[]; at?: string; depth?: number;
}) {
  const set = (index: number, item: Condition | RuleForm) => onChange({ ...form, items: form.items.map((other, place) => (place === index ? item : other)) });
  const add = (item: Condition | RuleForm) => onChange({ ...form, items: [...form.items, item] });
  const remove = (index: number) => onChange({ ...form, items: form.items.filter((_, place) => place !== index) });
  const joins = (["all", "any", "not"] as const).map((value) => ({ value, label: t(`segment.${value}`) }));
  return (
    <>
      {at === "" ? <Radios<Join> label={t("segment.who")} value={form.join} onChange={(join) => onChange({ ...form, join })} options={joins} />
        : <Choose<Join> label={t("segment.group", { n: at })} value={form.join} onChange={(join) => onChange({ ...form, join })} options={joins} />}
      <div className="stack">
        {form.items.map((item, index) => {
          const n = at ? `${at}.${index + 1}` : String(index + 1);
          const cross = <Button look="quiet" icon="close" aria-label={t(isGroup(item) ? "segment.removeGroup" : "segment.remove", { n })} isDisabled={form.items.length === 1} onPress={() => remove(index)} />;
          if (isGroup(item)) return (
            <section key={index} className="rule-group" aria-label={t("segment.group", { n })}>
              <div className="stack"><Group form={item} onChange={(next) => set(index, next)} left={left} campaigns={campaigns} at={n} depth={depth + 1} /></div>
              {cross}
            </section>
          );
          const change = (part: Partial<Condition>) => set(index, { ...item, ...part });
          return (
            <div key={index} className="rule-row">
              <Choose label={t("segment.condition", { n })} value={item.kind} onChange={(kind) => set(index, emptyCondition(kind))} options={kinds.map((kind) => ({ value: kind, label: t(`segment.kind.${kind}`) }))} />
              <div className="stack tight"><div className="parts"><Inputs condition={item} change={change} campaigns={campaigns} /></div>
                <Switch value={item.isNot} onChange={(isNot) => change({ isNot })}>{t("segment.isNot")}</Switch></div>
              {cross}
            </div>
          );
        })}
      </div>
      <div className="row">
        <Button compact icon="plus" isDisabled={left < 1} onPress={() => add(emptyCondition())}>{t("segment.addCondition")}</Button>
        {/* A group, what is in it, and a "not" of that are three levels. */}
        {depth < limits.depth - 2 && <Button compact look="quiet" icon="plus" isDisabled={left < 2} onPress={() => add({ join: form.join === "any" ? "all" : "any", items: [emptyCondition()] })}>{t("segment.addGroup")}</Button>}
      </div>
    </>
  );
}

function usePreview(rule: unknown) {
  const [state, setState] = useState<{ data: PreviewSegmentQuery["previewSegment"] | null; problem: Problem | null }>({ data: null, problem: null });
  const key = JSON.stringify(rule);
  useEffect(() => {
    if (rule === null) return setState({ data: null, problem: null });
    let isCurrent = true;
    const timer = setTimeout(async () => {
      const { data, problem } = await ask(PreviewSegmentDocument, { rule });
      if (isCurrent) setState({ data: data?.previewSegment ?? null, problem });
    }, 350);
    return () => {
      isCurrent = false;
      clearTimeout(timer);
    };
  }, [key]);
  return state;
}

function Inputs({ condition, change, campaigns }: { condition: Condition; change: (part: Partial<Condition>) => void; campaigns: readonly { id: string; name: string }[] }) {
  const { kind, value, name, op, when, date } = condition;
  const outcome = (optional: boolean) => (
    <Choose label={t("segment.outcomeLabel")} value={value || "ANY"} onChange={(next) => change({ value: next === "ANY" ? "" : next })} options={[...(optional ? [{ value: "ANY", label: t("segment.anyOutcome") }] : []), ...outcomes.map((each) => ({ value: each as string, label: t(`segment.outcome.${each}`) }))]} />
  );
  if (kind === "tag") return <TagInput label={t("segment.kind.tag")} value={value} onChange={(next) => change({ value: next })} />;
  if (kind === "language") return <TextInput label={t(`segment.kind.${kind}`)} value={value} onChange={(next) => change({ value: next })} placeholder="pt_BR" />;
  if (kind === "timeZone") return <ZoneField label={t("segment.kind.timeZone")} value={value} onChange={(next) => change({ value: next })} />;
  if (kind === "consent") return <Choose label={t("contact.consent")} value={value as "OPTED_IN"} onChange={(next) => change({ value: next })} options={(["OPTED_IN", "UNKNOWN", "OPTED_OUT"] as const).map((each) => ({ value: each, label: t(`consent.${each}`) }))} />;
  if (kind === "attribute") return (
    <>
      <TextInput label={t("segment.attributeName")} value={name} onChange={(next) => change({ name: next })} placeholder="city" />
      <Choose label={t("segment.compare")} value={op} onChange={(next) => change({ op: next })} options={operators.map((each) => ({ value: each as string, label: t(`segment.op.${each}`) }))} />
      {op !== "exists" && op !== "missing" && <TextInput label={t("segment.value")} value={value} onChange={(next) => change({ value: next })} />}
    </>
  );
  if (kind === "campaign") return (
    <>
      <Choose label={t("nav.campaign")} value={name || null} onChange={(next) => change({ name: next })} options={campaigns.map((campaign) => ({ value: campaign.id, label: campaign.name }))} />
      {outcome(true)}
    </>
  );
  return (
    <>
      {outcome(true)}
      <Choose label={t("segment.whenLabel")} value={when} onChange={(next) => change({ when: next })} options={(["any", "before", "after"] as const).map((each) => ({ value: each, label: t(`segment.when.${each}`) }))} />
      {when !== "any" && <TextInput label={t("segment.dayUtc")} type="date" value={date} onChange={(next) => change({ date: next })} />}
    </>
  );
}
