import { getRouteApi, useNavigate } from "@tanstack/react-router";
import { useMemo, useRef, useState } from "react";
import {
  AccountsDocument, CreateTemplateDocument, DeleteTemplateDocument, SubmitTemplateDocument, TemplateDocument, TemplateHistoryDocument, UpdateTemplateDocument, UploadTemplateSampleDocument,
  type TemplateCategory, type TemplateRowFragment,
} from "~/gen/graphql";
import { t } from "~/i18n";
import { useCommand, once, useLoad, usePages } from "~/lib/data";
import { check, components, draftOf, emptyDraft, headerFormats, limits, preview, samplesOf, variables, type ButtonKind, type Draft, type HeaderFormat } from "~/lib/template";
import { useViewer } from "~/lib/viewer";
import { QualityBadge, TemplateBadge } from "~/lib/words";
import { Check, Choose, Combo, Radios, TextInput } from "~/ui/fields";
import { History } from "~/ui/history";
import { Icon } from "~/ui/icons";
import { More, useConfirm } from "~/ui/overlay";
import { Back, Button, Callout, Card, Facts, Failure, Page, Skeleton, Time } from "~/ui/parts";
import { Phone } from "~/ui/phone";

const route = getRouteApi("/templates/$id");

/** The languages that WhatsApp has templates in and that are asked for most; any other code may be typed. */
const languages = [
  ["en", "English"], ["en_US", "English (US)"], ["en_GB", "English (UK)"], ["pt_BR", "Português (Brasil)"], ["pt_PT", "Português (Portugal)"],
  ["es", "Español"], ["es_AR", "Español (Argentina)"], ["es_ES", "Español (España)"], ["es_MX", "Español (México)"], ["fr", "Français"], ["de", "Deutsch"],
  ["it", "Italiano"], ["nl", "Nederlands"], ["pl", "Polski"], ["tr", "Türkçe"], ["ar", "العربية"], ["he", "עברית"], ["hi", "हिन्दी"], ["id", "Bahasa Indonesia"], ["ru", "Русский"],
] as const;

export function NewTemplateScreen() {
  const navigate = useNavigate();
  const { data } = useLoad(AccountsDocument, {});
  const usable = data?.accounts.nodes.filter(({ status }) => status !== "DISCONNECTED") ?? [];
  const [accountId, setAccount] = useState<string | null>(null);
  const [draft, setDraft] = useState(emptyDraft);
  const create = useCommand(CreateTemplateDocument, null);
  const submit = useCommand(SubmitTemplateDocument, t("template.submitted"));
  const account = accountId ?? usable[0]?.id ?? null;

  const save = async (andSubmit: boolean) => {
    if (!account) return;
    const made = await create.run({ input: { accountId: account, name: draft.name, language: draft.language, category: draft.category, components: components(draft), idempotencyKey: once } });
    if (!made) return;
    const { id } = made.createTemplate.template;
    if (andSubmit) await submit.run({ id });
    void navigate({ to: "/templates/$id", params: { id }, replace: true });
  };

  return (
    <Page title={t("template.new")} back={<Back to="/templates">{t("nav.templates")}</Back>}>
      {data && usable.length === 0 && <Callout tone="warn" title={t("template.needsNumber")} />}
      <Editor draft={draft} onChange={setDraft} accountId={account} isNew
        top={usable.length > 1 && <Choose label={t("nav.number")} value={account} onChange={setAccount} options={usable.map(({ id, name, phoneNumber }) => ({ value: id, label: name, hint: phoneNumber ?? undefined }))} />}
        problem={create.problem ?? submit.problem} isBusy={create.isSaving || submit.isSaving} isDisabled={!account} onSave={save} />
    </Page>
  );
}

export function TemplateScreen() {
  const { id } = route.useParams();
  const navigate = useNavigate();
  const { can } = useViewer();
  const { data, problem, refresh } = useLoad(TemplateDocument, { id }, { everyMs: 10_000 });
  const history = usePages(TemplateHistoryDocument, { id }, (answer) => answer.template?.history);
  const remove = useCommand(DeleteTemplateDocument, t("template.deletedNow"));
  const submit = useCommand(SubmitTemplateDocument, t("template.submitted"));
  const [dialog, confirm] = useConfirm(remove.problem, remove.isSaving);
  const [isEditing, setEditing] = useState(false);
  const template = data?.template;
  const isEditable = !!template && can("MANAGE") && ["DRAFT", "REJECTED", "APPROVED", "PAUSED"].includes(template.status);

  return (
    <Page title={template?.name ?? t("nav.template")} status={template && <TemplateBadge status={template.status} />} back={<Back to="/templates">{t("nav.templates")}</Back>}
      actions={template && can("MANAGE") && !isEditing && (
        <>
          {template.status === "DRAFT" && <Button look="primary" busy={submit.isSaving} onPress={() => void submit.run({ id })}>{t("template.submit")}</Button>}
          {isEditable && <Button onPress={() => setEditing(true)}>{t("common.edit")}</Button>}
          {template.status !== "DELETED" && <More label={t("common.more")} items={[{
            label: t("template.delete"), danger: true,
            run: () => confirm({ title: t("template.delete"), danger: true, body: <p>{t("template.deleteBody", { name: template.name })}</p>, action: t("template.delete"), run: () => remove.run({ id }).then((done) => { if (done) void navigate({ to: "/templates" }); return done; }) }),
          }]} />}
        </>
      )}>
      <Failure problem={problem ?? submit.problem} retry={() => void refresh()} />
      {!template && !problem && <Skeleton />}
      {template?.statusReason && <Callout tone={template.status === "REJECTED" ? "bad" : "warn"} title={t("template.reason")}><p>{template.statusReason}</p></Callout>}
      {template && isEditing && <EditExisting template={template} onDone={() => setEditing(false)} />}
      {template && !isEditing && (
        <div className="columns wide">
          <div className="stack loose">
            <Card title={t("template.about")}>
              <Facts items={[
                [t("template.category"), t(`template.category.${template.category}`)],
                [t("template.language"), template.language],
                [t("account.quality"), <QualityBadge rating={template.quality} />],
                [t("template.parameters"), template.parameters.length > 0 ? <span className="row">{template.parameters.map((name) => <code key={name} className="chip">{name}</code>)}</span> : t("common.none")],
                [t("common.createdAt"), <Time at={template.createdAt} long />],
              ]} />
            </Card>
            <History pages={history} title={t("template.verdicts")} />
          </div>
          <div className="sticky"><Phone components={template.components} values={samplesOf(template)} /></div>
        </div>
      )}
      {dialog}
    </Page>
  );
}

/** As the gateway takes them. */
const sample_bytes_max = 3_000_000;
const sampleTypes: Record<Exclude<HeaderFormat, "TEXT">, string> = { IMAGE: "image/jpeg,image/png", VIDEO: "video/mp4", DOCUMENT: "application/pdf" };

function EditExisting({ template, onDone }: { template: TemplateRowFragment; onDone: () => void }) {
  const [draft, setDraft] = useState(() => draftOf(template));
  const update = useCommand(UpdateTemplateDocument, t("common.saved"));
  const submit = useCommand(SubmitTemplateDocument, t("template.submitted"));
  const isDraft = template.status === "DRAFT" || template.status === "REJECTED";
  const save = async (andSubmit: boolean) => {
    const done = await update.run({ input: { id: template.id, category: draft.category, components: components(draft) } });
    if (done && andSubmit) await submit.run({ id: template.id });
    if (done) onDone();
  };
  return (
    <Editor draft={draft} onChange={setDraft} accountId={template.accountId} problem={update.problem ?? submit.problem} isBusy={update.isSaving || submit.isSaving} onSave={save} canSubmit={isDraft} onCancel={onDone}
      top={!isDraft && <Callout tone="warn" title={t("template.editApproved")} />} />
  );
}

/** A line of text above the message, or a file whose sample WhatsApp's reviewers see. */
function Header({ draft, onChange, accountId, error }: { draft: Draft; onChange: (draft: Draft) => void; accountId: string | null; error: string | null }) {
  const input = useRef<HTMLInputElement>(null);
  const upload = useCommand(UploadTemplateSampleDocument, null);
  const [name, setName] = useState<string | null>(null);
  const [tooLarge, setTooLarge] = useState(false);
  const set = (part: Partial<Draft>) => onChange({ ...draft, ...part });
  const choose = async (file: File) => {
    setTooLarge(file.size > sample_bytes_max);
    if (!accountId || file.size > sample_bytes_max) return;
    const data = await new Promise<string>((done) => {
      const reader = new FileReader();
      reader.onload = () => done(String(reader.result).split(",")[1] ?? "");
      reader.readAsDataURL(file);
    });
    const done = await upload.run({ accountId, fileName: file.name, mimeType: file.type, data });
    if (!done) return;
    setName(file.name);
    set({ headerHandle: done.uploadTemplateSample.handle });
  };
  const format = draft.headerFormat;
  return (
    <>
      <Choose<HeaderFormat> label={t("template.headerKind")} value={format} onChange={(next) => { setName(null); set({ headerFormat: next, headerHandle: "" }); }} options={headerFormats.map((value) => ({ value, label: t(`template.headerKind.${value}`) }))} />
      {format === "TEXT" && <TextInput label={t("template.header")} optional help={<Count text={draft.header} max={limits.header} />} value={draft.header} onChange={(header) => set({ header })} error={error} />}
      {format === "TEXT" && variables(draft.header).length > 0 && <TextInput label={t("template.headerSample")} value={draft.headerSample} onChange={(headerSample) => set({ headerSample })} />}
      {format !== "TEXT" && (
        <div className="stack tight">
          <p className="help">{t("template.headerFileHelp")}</p>
          <input ref={input} type="file" accept={sampleTypes[format]} className="visually-hidden" tabIndex={-1} aria-label={t("template.headerFile")} onChange={(event) => { const [file] = event.currentTarget.files ?? []; if (file) void choose(file); event.currentTarget.value = ""; }} />
          <div className="row"><Button icon="upload" busy={upload.isSaving && t("import.sending")} isDisabled={!accountId} onPress={() => input.current?.click()}>{t("template.headerFile")}</Button>
            {draft.headerHandle && <span className="muted break" role="status">{name ?? t("template.headerKept")}</span>}</div>
          {tooLarge && <p className="err" role="alert">{t("template.headerTooLarge")}</p>}
          {error && <p className="err">{error}</p>}
          <Failure problem={upload.problem} />
        </div>
      )}
    </>
  );
}

function Editor({ draft, onChange, accountId, isNew, top, problem, isBusy, isDisabled, canSubmit = true, onSave, onCancel }: {
  draft: Draft; onChange: (draft: Draft) => void; accountId: string | null; isNew?: boolean; top?: React.ReactNode; problem: Parameters<typeof Failure>[0]["problem"]; isBusy: boolean; isDisabled?: boolean; canSubmit?: boolean;
  onSave: (andSubmit: boolean) => Promise<void>; onCancel?: () => void;
}) {
  const [isTried, setTried] = useState(false);
  const body = useRef<HTMLDivElement>(null);
  const set = <K extends keyof Draft>(field: K, value: Draft[K]) => onChange({ ...draft, [field]: value });
  const rules = useMemo(() => check(draft), [draft]);
  const wrong = rules.filter(({ level }) => level === "wrong");
  const about = (field: keyof Draft) => (isTried ? (wrong.find((rule) => rule.field === field)?.text ?? null) : null);
  const names = variables(draft.body);
  const isCode = draft.category === "AUTHENTICATION";
  const save = (andSubmit: boolean) => {
    setTried(true);
    if (wrong.length === 0) void onSave(andSubmit);
  };
  const insertVariable = () => {
    const field = body.current?.querySelector("textarea");
    const next = `{{${names.filter((name) => /^\d+$/.test(name)).length + 1}}}`;
    const at = field?.selectionStart ?? draft.body.length;
    set("body", draft.body.slice(0, at) + next + draft.body.slice(field?.selectionEnd ?? at));
    field?.focus();
  };

  return (
    <div className="columns wide">
      <div className="stack loose">
        <Card title={t("template.basics")}>
          {top}
          {isNew && (
            <div className="fields">
              <TextInput label={t("template.name")} help={t("template.nameHelp")} value={draft.name} onChange={(name) => set("name", name.toLowerCase().replace(/[\s-]+/g, "_"))} error={about("name")} maxLength={limits.name} placeholder="order_update" />
              <Combo label={t("template.language")} value={draft.language} onChange={(language) => set("language", language)} allowsOther options={languages.map(([value, label]) => ({ value, label: `${label} · ${value}` }))} />
            </div>
          )}
          <Radios<TemplateCategory> cards label={t("template.category")} value={draft.category} onChange={(category) => set("category", category)} options={[
            { value: "MARKETING", label: t("template.category.MARKETING"), hint: t("template.categoryHint.MARKETING") },
            { value: "UTILITY", label: t("template.category.UTILITY"), hint: t("template.categoryHint.UTILITY") },
            { value: "AUTHENTICATION", label: t("template.category.AUTHENTICATION"), hint: t("template.categoryHint.AUTHENTICATION") },
          ]} />
        </Card>
        {isCode && (
          <Card title={t("template.text")}>
            <p className="muted">{t("template.codeText")}</p>
            <Check value={draft.securityAdvice} onChange={(value) => set("securityAdvice", value)}>{t("template.securityAdvice")}</Check>
            <TextInput label={t("template.expiry")} optional value={draft.expiryMinutes} onChange={(value) => set("expiryMinutes", value.replace(/\D/g, ""))} inputMode="numeric" maxLength={2} />
          </Card>
        )}
        {!isCode && (
          <Card title={t("template.text")}>
            {draft.others.length > 0 && <Callout title={t("template.keptParts")} />}
            {!draft.others.some(({ type }) => type === "HEADER") && <Header draft={draft} onChange={onChange} accountId={accountId} error={about("header") ?? about("headerHandle")} />}
            <div ref={body} className="stack tight">
              <TextInput label={t("template.body")} rows={7} help={<><Count text={draft.body} max={limits.body} /> · {t("template.bodyHelp")}</>} value={draft.body} onChange={(text) => set("body", text)} error={about("body")} />
              <div><Button compact icon="plus" onPress={insertVariable}>{t("template.addVariable")}</Button></div>
            </div>
            {names.length > 0 && (
              <fieldset className="stack tight">
                <legend className="label" style={{ fontWeight: 550 }}>{t("template.samples")}</legend>
                <p className="help">{t("template.samplesHelp")}</p>
                <div className="fields">
                  {names.map((name) => <TextInput key={name} label={`{{${name}}}`} value={draft.samples[name] ?? ""} onChange={(sample) => set("samples", { ...draft.samples, [name]: sample })} error={isTried && !draft.samples[name]?.trim() ? t("rule.sampleMissing", { name: `{{${name}}}` }) : null} />)}
                </div>
              </fieldset>
            )}
            <TextInput label={t("template.footer")} optional help={<Count text={draft.footer} max={limits.footer} />} value={draft.footer} onChange={(footer) => set("footer", footer)} error={about("footer")} placeholder={t("template.footerSample")} />
          </Card>
        )}
        {!isCode && (
          <Card title={t("template.buttons")} actions={draft.buttons.length < limits.buttons && <Button compact icon="plus" onPress={() => set("buttons", [...draft.buttons, { kind: "QUICK_REPLY", text: "", value: "", sample: "" }])}>{t("template.addButton")}</Button>}>
            {draft.buttons.length === 0 && <p className="muted">{t("template.noButtons")}</p>}
            {draft.buttons.map((button, index) => {
              const change = (part: Partial<typeof button>) => set("buttons", draft.buttons.map((other, at) => (at === index ? { ...other, ...part } : other)));
              return (
                <div key={index} className="rule-row">
                  <Choose<ButtonKind> label={t("template.buttonKind", { n: index + 1 })} value={button.kind} onChange={(kind) => change({ kind })} options={(["QUICK_REPLY", "URL", "PHONE_NUMBER", "COPY_CODE"] as const).map((kind) => ({ value: kind, label: t(`template.button.${kind}`) }))} />
                  <div className="parts">
                    {button.kind !== "COPY_CODE" && <TextInput label={t("template.buttonText")} value={button.text} onChange={(text) => change({ text })} maxLength={limits.button} />}
                    {button.kind !== "QUICK_REPLY" && <TextInput label={t(`template.buttonValue.${button.kind}`)} value={button.value} onChange={(value) => change({ value })} placeholder={button.kind === "URL" ? "https://example.com/{{1}}" : undefined} />}
                    {button.kind === "URL" && variables(button.value).length > 0 && <TextInput label={t("template.sampleOf", { name: "{{1}}" })} value={button.sample} onChange={(sample) => change({ sample })} />}
                  </div>
                  <Button look="quiet" icon="close" aria-label={t("template.removeButton", { n: index + 1 })} onPress={() => set("buttons", draft.buttons.filter((_, at) => at !== index))} />
                </div>
              );
            })}
            {about("buttons") && <p className="err">{about("buttons")}</p>}
          </Card>
        )}
        <Failure problem={problem} />
        <div className="row end">
          {onCancel && <Button onPress={onCancel}>{t("common.cancel")}</Button>}
          <Button isDisabled={isBusy || isDisabled} onPress={() => save(false)}>{isNew ? t("template.saveDraft") : t("common.save")}</Button>
          {canSubmit && <Button look="primary" busy={isBusy} isDisabled={isDisabled} onPress={() => save(true)}>{t("template.submit")}</Button>}
        </div>
      </div>
      <div className="sticky stack">
        <Phone components={components(draft)} values={preview(draft)} />
        <Card title={t("template.checks")} tight>
          {rules.length === 0 && <p className="row" style={{ color: "var(--good)" }}><Icon name="check" size={16} /> {t("template.checksPass")}</p>}
          <ul className="stack tight" aria-live="polite">
            {rules.map((rule, index) => (
              <li key={index} className="row nowrap small" style={{ alignItems: "flex-start" }}>
                <span style={{ color: rule.level === "wrong" ? "var(--bad)" : "var(--warn)", marginBlockStart: "0.1rem" }}><Icon name={rule.level === "wrong" ? "close" : "warning"} size={14} /></span>
                <span>{rule.text}</span>
              </li>
            ))}
          </ul>
        </Card>
      </div>
    </div>
  );
}

const Count = ({ text, max }: { text: string; max: number }) => <span className="num" style={text.length > max ? { color: "var(--bad)" } : undefined}>{t("template.length", { n: text.length, max })}</span>;
