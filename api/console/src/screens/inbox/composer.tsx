//! The reply box. While the window is open it takes text and files; once it is closed it is the choice of a template, and says why.
import { useEffect, useRef, useState, type Dispatch, type FormEvent, type KeyboardEvent, type SetStateAction } from "react";
import { Label, TextArea, TextField } from "react-aria-components";
import { ReplyToConversationDocument, TemplatesDocument, type ConversationRowFragment, type MediaInput, type ReplyInput, type SkipReason, type TemplateRowFragment } from "~/gen/graphql";
import { t } from "~/i18n";
import { refreshAll, tell, usePages } from "~/lib/data";
import type { Problem } from "~/lib/errors";
import { instant, shortInstant } from "~/lib/format";
import { draftOf, keepDraft } from "~/lib/drafts";
import { mediaKind, upload } from "~/lib/inbox";
import { bodyText } from "~/lib/template";
import { useViewer } from "~/lib/viewer";
import { Choose, Radios, TextInput } from "~/ui/fields";
import { Icon } from "~/ui/icons";
import { Dialog } from "~/ui/overlay";
import { Button, ButtonLink, Callout, Failure } from "~/ui/parts";
import { Phone } from "~/ui/phone";
import { left, leftMs } from "./parts";

/** A reply on its way into the thread: gone from here once the read model has it. */
export interface Pending {
  key: string;
  preview: string;
  messageId: string | null;
  problem: Problem | null;
  again: () => Promise<void>;
}

type Part = Pick<ReplyInput, "text" | "media" | "template">;
type Send = (part: Part, preview: string) => void;

/** WhatsApp's own limit of a text. */
const text_max = 4_096;
const isMac = /Mac|iPhone|iPad/.test(navigator.userAgent);

export function Composer({ conversation, now, account, onPending }: {
  conversation: ConversationRowFragment; now: number; account: { id: string; status: string } | null; onPending: Dispatch<SetStateAction<Pending[]>>;
}) {
  const { can } = useViewer();
  const { id, windowExpiresAt, contact } = conversation;
  const ms = leftMs(windowExpiresAt, now);
  const isOpen = ms > 0;
  const [isTemplate, setTemplate] = useState(false);
  const [skipped, setSkipped] = useState<{ reason: SkipReason | null; detail: string | null } | null>(null);
  const [text, setText] = useState(() => draftOf(id));
  const [isAttaching, setAttaching] = useState(false);
  const box = useRef<HTMLTextAreaElement>(null);
  const write = (next: string) => {
    setText(next);
    keepDraft(id, next);
  };

  const send: Send = (part, preview) => {
    const key = crypto.randomUUID();
    const change = (to: Partial<Pending>) => onPending((before) => before.map((one) => (one.key === key ? { ...one, ...to } : one)));
    // The same key again: a reply whose answer was lost is sent once.
    const run = async () => {
      change({ problem: null });
      const { data, problem } = await tell(ReplyToConversationDocument, { input: { conversationId: id, idempotencyKey: key, ...part } });
      if (problem) return change({ problem });
      const { message } = data.replyToConversation;
      change({ messageId: message.id });
      await refreshAll();
      if (message.status !== "SKIPPED") return;
      setSkipped({ reason: message.skipReason ?? null, detail: message.statusReason ?? null });
      if (part.text) setText((before) => { if (before) return before; keepDraft(id, part.text ?? ""); return part.text ?? ""; });
    };
    setSkipped(null);
    onPending((before) => [...before, { key, preview, messageId: null, problem: null, again: run }]);
    void run();
  };

  if (!can("SEND")) return <div className="composer"><p className="muted row nowrap"><Icon name="warning" size={16} />{t("inbox.mayNotSend")}</p></div>;
  if (contact.erased) return <div className="composer"><p className="muted">{t("contact.erasedHelp")}</p></div>;
  if (account?.status === "DISCONNECTED") return <div className="composer"><p className="muted row nowrap"><Icon name="warning" size={16} />{t("inbox.disconnected")}</p></div>;

  const submit = (event?: FormEvent) => {
    event?.preventDefault();
    const said = text.trim();
    if (!said || said.length > text_max) return;
    send({ text: said }, said);
    write("");
    box.current?.focus();
  };
  const onKey = (event: KeyboardEvent) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      submit();
    } else if (event.key === "Escape") box.current?.blur();
  };
  const over = text.trim().length - text_max;
  const notes = (
    <>
      {skipped && <Callout tone="warn" title={t("inbox.skipped", { why: skipped.reason ? t(`skip.${skipped.reason}`) : t("message.status.SKIPPED") })}>{skipped.detail && <p className="small">{skipped.detail}</p>}</Callout>}
      {contact.consent.status === "OPTED_OUT" && <Callout tone="warn" title={t("inbox.optedOut")} />}
      {account?.status === "PAUSED" && <Callout tone="warn" title={t("inbox.paused")} />}
    </>
  );

  if (!isOpen || isTemplate) {
    return (
      <div className="composer">
        {notes}
        <TemplateReply conversation={conversation} isOpen={isOpen} hasDraft={!!text.trim()} onBack={isOpen ? () => setTemplate(false) : null} onSend={(part, preview) => { send(part, preview); setTemplate(false); }} />
      </div>
    );
  }
  return (
    <form className="composer" onSubmit={submit}>
      {notes}
      <p className="row nowrap small window-line" data-soon={ms < 2 * 3_600_000}>
        <Icon name="clock" size={14} /><span title={instant(windowExpiresAt as string, undefined, true)}>{t("inbox.freeUntil", { when: shortInstant(windowExpiresAt as string), left: left(ms) })}</span>
      </p>
      <TextField className="field" value={text} onChange={write} isInvalid={over > 0} validationBehavior="aria">
        <Label className="visually-hidden">{t("inbox.reply")}</Label>
        <TextArea ref={box} className="input" rows={2} dir="auto" placeholder={t("inbox.write")} onKeyDown={onKey} aria-keyshortcuts="Control+Enter Meta+Enter" />
      </TextField>
      {over > 0 && <p className="err">{t("inbox.tooLong", { n: over })}</p>}
      <div className="row between nowrap">
        <div className="row nowrap" style={{ gap: "var(--s1)" }}>
          <Button look="quiet" compact icon="attach" aria-label={t("inbox.attach")} onPress={() => setAttaching(true)} />
          <Button look="quiet" compact icon="template" onPress={() => setTemplate(true)}>{t("nav.template")}</Button>
        </div>
        <div className="row nowrap"><kbd className="wide-only">{isMac ? "⌘" : "Ctrl"} ↵</kbd><Button type="submit" look="primary" compact icon="send" isDisabled={!text.trim() || over > 0}>{t("inbox.send")}</Button></div>
      </div>
      {isAttaching && <Attach accountId={conversation.accountId} onClose={() => setAttaching(false)} onSend={(media, preview) => send({ media }, preview)} />}
    </form>
  );
}

const isLink = (value: string): boolean => /^https:\/\/\S+\.\S+/.test(value.trim());
const kinds = ["IMAGE", "VIDEO", "AUDIO", "DOCUMENT", "STICKER"] as const;
const words = { IMAGE: "image", VIDEO: "video", AUDIO: "audio", DOCUMENT: "document", STICKER: "sticker" } as const;

function Attach({ accountId, onClose, onSend }: { accountId: string; onClose: () => void; onSend: (media: MediaInput, preview: string) => void }) {
  const [from, setFrom] = useState<"file" | "link">("file");
  const [file, setFile] = useState<File | null>(null);
  const [link, setLink] = useState("");
  const [kind, setKind] = useState<MediaInput["kind"]>("IMAGE");
  const [caption, setCaption] = useState("");
  const [isBusy, setBusy] = useState(false);
  const [problem, setProblem] = useState<Problem | null>(null);
  const input = useRef<HTMLInputElement>(null);
  const sent = from === "file" && file ? mediaKind(file.type) : kind;
  const mayCaption = sent === "IMAGE" || sent === "VIDEO" || sent === "DOCUMENT";
  const isReady = from === "file" ? !!file : isLink(link);

  const submit = async (event: FormEvent) => {
    event.preventDefault();
    // A form in a dialog is, to React, inside of the reply box's.
    event.stopPropagation();
    if (!isReady) return;
    const more = { ...(mayCaption && caption.trim() ? { caption: caption.trim() } : {}), ...(sent === "DOCUMENT" ? { filename: file && from === "file" ? file.name : link.trim().split(/[?#]/)[0]?.split("/").pop() || undefined } : {}) };
    const preview = caption.trim() || (file && from === "file" ? file.name : link.trim());
    if (from === "link") {
      onSend({ kind: sent, link: link.trim(), ...more }, preview);
      return onClose();
    }
    setBusy(true);
    const answer = await upload(accountId, file as File);
    setBusy(false);
    if ("code" in answer) return setProblem(answer);
    onSend({ kind: sent, mediaId: answer.id, ...more }, preview);
    onClose();
  };
  return (
    <Dialog title={t("inbox.attach")} isOpen onClose={onClose}>
      <form className="stack" onSubmit={(event) => void submit(event)}>
        <Radios label={t("inbox.fileFrom")} value={from} onChange={setFrom} options={[{ value: "file", label: t("inbox.fromDevice") }, { value: "link", label: t("inbox.fromLink") }]} />
        {from === "file" && (
          <div className="row">
            <input ref={input} type="file" className="visually-hidden" tabIndex={-1} aria-label={t("inbox.chooseFile")} onChange={(event) => { setFile(event.currentTarget.files?.[0] ?? null); setProblem(null); }} />
            <Button icon="upload" onPress={() => input.current?.click()}>{t("inbox.chooseFile")}</Button>
            {file && <span className="break">{file.name} <span className="muted">· {t(`inbox.media.${words[sent]}`)}</span></span>}
          </div>
        )}
        {from === "link" && (
          <>
            <TextInput label={t("inbox.link")} type="url" help={t("inbox.linkHelp")} value={link} onChange={setLink} placeholder="https://example.com/menu.pdf" error={link && !isLink(link) ? t("inbox.linkWrong") : null} />
            <Choose label={t("inbox.kind")} value={kind} onChange={setKind} options={kinds.map((value) => ({ value, label: t(`inbox.media.${words[value]}`) }))} />
          </>
        )}
        {mayCaption && <TextInput label={t("inbox.caption")} optional value={caption} onChange={setCaption} maxLength={1_024} />}
        <Failure problem={problem} />
        <div className="row end"><Button onPress={onClose}>{t("common.cancel")}</Button><Button type="submit" look="primary" busy={isBusy && t("inbox.uploading")} isDisabled={!isReady}>{t("inbox.send")}</Button></div>
      </form>
    </Dialog>
  );
}

const isMedia = (name: string): boolean => /^header\.(image|video|document)$/.test(name);

function label(name: string): string {
  const [part, key] = name.split(".");
  if (isMedia(name)) return t("inbox.headerLink");
  if (part === "body") return t("wizard.inBody", { name: `{{${key}}}` });
  if (part === "header") return t("wizard.inHeader", { name: key === undefined ? "" : `{{${key}}}` });
  if (part === "button") return t("wizard.inButton", { n: Number(key) + 1 });
  return name;
}

const short = (text: string): string => (text.length > 80 ? `${text.slice(0, 78)}…` : text);

function TemplateReply({ conversation, isOpen, hasDraft, onBack, onSend }: { conversation: ConversationRowFragment; isOpen: boolean; hasDraft: boolean; onBack: (() => void) | null; onSend: Send }) {
  const { accountId, contact, openedAt } = conversation;
  const templates = usePages(TemplatesDocument, { filter: { status: ["APPROVED"] as const, accountIds: [accountId] } }, (data) => data.templates);
  const [templateId, setTemplateId] = useState<string | null>(null);
  const [values, setValues] = useState<Record<string, string>>({});
  const usable: TemplateRowFragment[] | undefined = templates.items?.filter(({ category }) => category !== "AUTHENTICATION");
  const template = usable?.find(({ id }) => id === templateId) ?? null;
  // A person's own language first.
  const sorted = usable && [...usable].sort((a, b) => Number(b.language.startsWith(contact.language ?? "–")) - Number(a.language.startsWith(contact.language ?? "–")));
  const missing = template?.parameters.filter((name) => !values[name]?.trim() || (isMedia(name) && !isLink(values[name] ?? ""))) ?? [];
  useEffect(() => setValues({}), [templateId]);

  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (!template || missing.length > 0) return;
    const parameters = Object.fromEntries(template.parameters.map((name) => [name, isMedia(name) ? { link: values[name]?.trim() } : values[name]?.trim()]));
    const preview = bodyText(template.components).replace(/\{\{\s*(\w+)\s*\}\}/g, (slot, name: string) => values[`body.${name}`] ?? slot);
    onSend({ template: { templateId: template.id, parameters } }, preview || template.name);
    setTemplateId(null);
  };
  return (
    <form className="stack tight template-reply" onSubmit={submit}>
      {isOpen ? <p className="small muted">{t("inbox.templateOpen")}</p> : (
        <div className="closed">
          <p className="strong">{t("inbox.closed")}</p>
          <p className="small muted">{t("inbox.closedWhy")}{hasDraft && ` ${t("inbox.draftKept")}`}</p>
        </div>
      )}
      <Failure problem={templates.problem} />
      {sorted?.length === 0 && <Callout title={t("inbox.noTemplates")} action={<ButtonLink compact to="/templates/new">{t("template.new")}</ButtonLink>} />}
      {sorted && sorted.length > 0 && (
        <Choose label={t("nav.template")} value={templateId} onChange={setTemplateId} options={sorted.map((each) => ({ value: each.id, label: `${each.name} · ${each.language}`, hint: short(bodyText(each.components)) }))} />
      )}
      {templates.hasMore && <Button compact onPress={templates.loadMore}>{t("common.showMore")}</Button>}
      {template && (
        <div className="template-fill">
          <div className="stack tight">
            {template.parameters.map((name) => (
              <TextInput key={`${openedAt}${name}`} label={label(name)} value={values[name] ?? ""} onChange={(value) => setValues((before) => ({ ...before, [name]: value }))} type={isMedia(name) ? "url" : "text"} isRequired />
            ))}
            {template.parameters.length === 0 && <p className="small muted">{t("inbox.nothingToFill")}</p>}
          </div>
          <Phone components={template.components} values={values} />
        </div>
      )}
      <div className="row end">
        {onBack && <Button compact onPress={onBack}>{t("inbox.backToText")}</Button>}
        <Button type="submit" look="primary" compact icon="send" isDisabled={!template || missing.length > 0}>{t("inbox.sendTemplate")}</Button>
      </div>
    </form>
  );
}
