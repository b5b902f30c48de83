//! One message to one person, now or later.
import { useState, type FormEvent } from "react";
import { AccountsDocument, SendMessageDocument, TemplatesDocument, type SendMessageInput } from "~/gen/graphql";
import { t } from "~/i18n";
import { once, useCommand, useLoad, usePages } from "~/lib/data";
import { isAbout } from "~/lib/errors";
import { browserZone, toInputValue, zoneWithOffset } from "~/lib/format";
import { Choose, Radios, TextInput } from "~/ui/fields";
import { Dialog } from "~/ui/overlay";
import { ParameterFields, toParameters } from "~/ui/parameters";
import { Button, ButtonLink, Callout, Failure } from "~/ui/parts";
import { Phone } from "~/ui/phone";

const text_max = 4096;

export default function SendDialog({ contactId, name, onClose, onSent }: { contactId: string; name: string; onClose: () => void; onSent: (id: string) => void }) {
  const accounts = useLoad(AccountsDocument, {});
  const usable = accounts.data?.accounts.nodes.filter(({ status }) => status !== "DISCONNECTED") ?? [];
  const [chosen, setChosen] = useState<string | null>(null);
  const accountId = chosen ?? usable[0]?.id ?? null;
  const templates = usePages(TemplatesDocument, { filter: { status: ["APPROVED"] as const, ...(accountId ? { accountIds: [accountId] } : {}) } }, (data) => data.templates);
  const [kind, setKind] = useState<"template" | "text">("template");
  const [templateId, setTemplate] = useState<string | null>(null);
  const [values, setValues] = useState<Record<string, string>>({});
  const [text, setText] = useState("");
  const [when, setWhen] = useState<"now" | "later">("now");
  const [at, setAt] = useState(() => toInputValue(new Date(Date.now() + 3_600_000)));
  const send = useCommand(SendMessageDocument, null);
  const template = templates.items?.find(({ id }) => id === templateId);
  const isWhole = kind === "text" ? !!text.trim() : !!template && template.parameters.every((parameter) => values[parameter]?.trim());

  const submit = async (event: FormEvent) => {
    event.preventDefault();
    if (!accountId || !isWhole) return;
    const input: SendMessageInput = {
      accountId, contactId, idempotencyKey: once,
      ...(kind === "text" ? { text: text.trim() } : { template: { templateId, parameters: toParameters(values) } }),
      ...(when === "later" && at ? { sendAt: new Date(at).toISOString() } : {}),
    };
    const done = await send.run({ input });
    if (done) onSent(done.sendMessage.message.id);
  };

  return (
    <Dialog title={t("send.title", { who: name })} isOpen onClose={onClose} wide>
      <form className="stack" onSubmit={(event) => void submit(event)}>
        {accounts.data && usable.length === 0 && <Callout tone="warn" title={t("template.needsNumber")} action={<ButtonLink compact to="/numbers/connect">{t("account.connect")}</ButtonLink>} />}
        {usable.length > 1 && <Choose label={t("wizard.from")} value={accountId} onChange={(id) => { setChosen(id); setTemplate(null); setValues({}); }} options={usable.map(({ id, name: label, phoneNumber }) => ({ value: id, label, hint: phoneNumber ?? undefined }))} />}
        <Radios label={t("send.what")} value={kind} onChange={setKind} options={[{ value: "template", label: t("send.template"), hint: t("send.templateHint") }, { value: "text", label: t("send.text"), hint: t("send.textHint") }]} />
        {kind === "text" && <TextInput label={t("message.text")} rows={4} value={text} onChange={setText} maxLength={text_max} error={isAbout(send.problem, "text") ? send.problem?.detail : null} isRequired />}
        {kind === "template" && templates.items?.length === 0 && <Callout tone="warn" title={t("send.noTemplate")} action={<ButtonLink compact to="/templates/new">{t("template.new")}</ButtonLink>} />}
        {kind === "template" && (templates.items?.length ?? 0) > 0 && (
          <Choose label={t("nav.template")} value={templateId} onChange={(id) => { setTemplate(id); setValues({}); }} options={(templates.items ?? []).map((each) => ({ value: each.id, label: `${each.name} · ${each.language}` }))} />
        )}
        {kind === "template" && template && (
          <>
            <ParameterFields names={template.parameters} values={values} onChange={setValues} problem={send.problem} />
            <Phone components={template.components} values={values} />
          </>
        )}
        <Radios label={t("message.when")} value={when} onChange={setWhen} options={[{ value: "now", label: t("send.now") }, { value: "later", label: t("send.later") }]} />
        {when === "later" && <TextInput label={t("message.sendAt")} type="datetime-local" value={at} onChange={setAt} help={zoneWithOffset(browserZone(), at ? new Date(at) : undefined)} isRequired />}
        <p className="small muted">{t("send.rules")}</p>
        <Failure problem={send.problem} />
        <div className="row end"><Button onPress={onClose}>{t("common.cancel")}</Button><Button type="submit" look="primary" busy={send.isSaving} isDisabled={!accountId || !isWhole || (when === "later" && !at)}>{t("send.action")}</Button></div>
      </form>
    </Dialog>
  );
}
