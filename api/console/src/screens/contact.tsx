import { getRouteApi, Link, useNavigate } from "@tanstack/react-router";
import { lazy, Suspense, useState, type FormEvent } from "react";
import {
  ContactDocument, ContactHistoryDocument, ContactMessagesDocument, EraseContactDocument, RecordConsentDocument, UpdateContactDocument,
  type ConsentStatus, type ContactQuery, type MessageRowFragment, type TemplateCategory,
} from "~/gen/graphql";
import { t } from "~/i18n";
import { forget, useCommand, useLoad, usePages } from "~/lib/data";
import { isAbout } from "~/lib/errors";
import { useViewer } from "~/lib/viewer";
import { ConsentBadge, MessageBadge } from "~/lib/words";
import { AsOfBanner, AsOfButton } from "~/ui/asof";
import { Choose, TextInput, ZoneField } from "~/ui/fields";
import { TagWords } from "~/ui/tags";
import { History } from "~/ui/history";
import { Dialog, More, useConfirm } from "~/ui/overlay";
import { formatted } from "~/ui/phone";
import { Back, Button, Callout, Card, Facts, Failure, Page, Skeleton, Time } from "~/ui/parts";

const MergeDialog = lazy(() => import("./merge"));
const SendDialog = lazy(() => import("./send"));
const route = getRouteApi("/contacts/$id");
type Contact = NonNullable<ContactQuery["contact"]>;

export function ContactScreen() {
  const { id } = route.useParams();
  const { asOf } = route.useSearch();
  const navigate = route.useNavigate();
  const { can } = useViewer();
  const { data, problem, refresh } = useLoad(ContactDocument, { id, asOf });
  const history = usePages(ContactHistoryDocument, { id }, (answer) => answer.contact?.history);
  const messages = usePages(ContactMessagesDocument, { id }, (answer) => answer.messages, { everyMs: 8_000 });
  const erase = useCommand(EraseContactDocument, t("contact.erasedNow"));
  const [dialog, confirm] = useConfirm(erase.problem, erase.isSaving);
  const [open, setOpen] = useState<"edit" | "consent" | "merge" | "send" | null>(null);
  const go = useNavigate();
  const contact = data?.contact;
  const travel = (to: string | undefined) => void navigate({ search: to ? { asOf: to } : {} });
  const title = contact ? (contact.erased ? t("contact.erased") : (contact.name ?? contact.phoneNumber ?? t("contact.noName"))) : t("nav.contact");
  const isLive = !!contact && !asOf && !contact.erased && can("MANAGE");

  return (
    <Page title={title} status={contact && <ConsentBadge status={contact.consent.status} />} back={<Back to="/contacts">{t("nav.contacts")}</Back>}
      actions={contact && (
        <>
          <AsOfButton asOf={asOf} since={contact.createdAt} onChange={travel} />
          {isLive && !contact.mergedIntoId && can("SEND") && <Button onPress={() => setOpen("send")}>{t("send.button")}</Button>}
          {isLive && <Button onPress={() => setOpen("edit")}>{t("common.edit")}</Button>}
          {isLive && can("PERSONAL") && <More label={t("common.more")} items={[...(contact.mergedIntoId ? [] : [{ label: t("merge.menu"), run: () => setOpen("merge") }]), {
            label: t("contact.erase"), danger: true,
            run: () => confirm({ title: t("contact.erase"), danger: true, body: <p>{t("contact.eraseBody")}</p>, action: t("contact.erase"), reason: t("common.reason"), typed: t("contact.eraseWord"), run: (reason) => erase.run({ id, reason }).then((done) => { if (done) forget(); return done; }) }),
          }]} />}
        </>
      )}>
      <AsOfBanner asOf={asOf} onChange={travel} />
      {asOf && problem?.code === "NOT_FOUND" ? <Callout title={t("asOf.notYet")} /> : <Failure problem={problem} retry={() => void refresh()} />}
      {!contact && !problem && <Skeleton />}
      {contact && (
        <div className="columns wide">
          <div className="stack loose">
            {contact.erased && <Callout title={t("contact.erased")}><p>{t("contact.erasedHelp")}</p></Callout>}
            {contact.mergedIntoId && <Callout title={t("contact.merged")} action={<Link to="/contacts/$id" params={{ id: contact.mergedIntoId }}>{t("contact.mergedInto")}</Link>} />}
            {!asOf && <Messages items={messages.items} hasMore={messages.hasMore} more={messages.loadMore} problem={messages.problem} />}
            <History pages={history} title={t("contact.timeline")} />
          </div>
          <div className="stack loose">
            <Card title={t("contact.about")}><About contact={contact} /></Card>
            <Card title={t("contact.consent")} actions={isLive && <Button compact onPress={() => setOpen("consent")}>{t("contact.recordConsent")}</Button>}><ConsentFacts contact={contact} /></Card>
          </div>
        </div>
      )}
      {dialog}
      {contact && open === "edit" && <EditDialog contact={contact} onClose={() => setOpen(null)} />}
      {contact && open === "merge" && <Suspense><MergeDialog contact={contact} onClose={() => setOpen(null)} onMerged={(keep) => { setOpen(null); void go({ to: "/contacts/$id", params: { id: keep } }); }} /></Suspense>}
      {contact && open === "send" && <Suspense><SendDialog contactId={id} name={title} onClose={() => setOpen(null)} onSent={(sent) => void go({ to: "/messages/$id", params: { id: sent } })} /></Suspense>}
      {contact && open === "consent" && <ConsentDialog id={id} onClose={() => setOpen(null)} />}
    </Page>
  );
}

function About({ contact }: { contact: Contact }) {
  const attributes = Object.entries((contact.attributes ?? {}) as Record<string, unknown>);
  return (
    <Facts items={[
      [t("account.number"), contact.phoneNumber && <span dir="ltr" className="num">{contact.phoneNumber}</span>],
      ...(contact.otherPhoneNumbers.length > 0 ? [[t("contact.otherNumbers"), <span dir="ltr">{contact.otherPhoneNumbers.join(", ")}</span>] as [string, React.ReactNode]] : []),
      ...(contact.username ? [[t("contact.username"), contact.username] as [string, React.ReactNode]] : []),
      [t("contact.externalId"), contact.externalId],
      [t("template.language"), contact.language],
      [t("contact.zone"), contact.timeZone],
      [t("contact.tags"), contact.tags.length > 0 ? <span className="row" style={{ gap: "0.25rem" }}>{contact.tags.map((tag) => <Link key={tag} className="chip" to="/contacts" search={{ tag }}>{tag}</Link>)}</span> : null],
      ...attributes.map(([name, value]) => [name, typeof value === "object" ? JSON.stringify(value) : String(value)] as [string, React.ReactNode]),
      [t("contact.added"), <Time at={contact.createdAt} long />],
    ]} />
  );
}

function ConsentFacts({ contact: { consent } }: { contact: Contact }) {
  return (
    <ul className="list">
      <li className="stack tight">
        <div className="row between"><span>{t("contact.inGeneral")}</span><ConsentBadge status={consent.status} /></div>
        {consent.source && <p className="small muted">{consent.source} · <Time at={consent.recordedAt} /></p>}
      </li>
      {consent.categories.map((word) => (
        <li key={word.category} className="stack tight">
          <div className="row between"><span>{t(`template.category.${word.category}`)}</span><ConsentBadge status={word.status} /></div>
          <p className="small muted">{word.source} · <Time at={word.recordedAt} />{word.evidence && ` · ${word.evidence}`}</p>
        </li>
      ))}
    </ul>
  );
}

function Messages({ items, hasMore, more, problem }: { items: MessageRowFragment[] | null; hasMore: boolean; more: () => void; problem: Parameters<typeof Failure>[0]["problem"] }) {
  return (
    <Card title={t("nav.messages")}>
      <Failure problem={problem} />
      {!items && !problem && <Skeleton />}
      {items?.length === 0 && <p className="muted">{t("contact.noMessages")}</p>}
      {items && items.length > 0 && (
        <>
          {hasMore && <div><Button compact onPress={more}>{t("contact.older")}</Button></div>}
          <ol className="thread">
            {[...items].reverse().map((message) => (
              <li key={message.id} className={message.direction === "OUTBOUND" ? "ours" : undefined}>
                <span dir="auto">{message.preview ? formatted(message.preview) : t("message.noText")}</span>
                <span className="meta">
                  <Link to="/messages/$id" params={{ id: message.id }}><Time at={message.createdAt} /></Link>
                  {message.direction === "OUTBOUND" && <MessageBadge status={message.status} />}
                </span>
              </li>
            ))}
          </ol>
        </>
      )}
    </Card>
  );
}

function EditDialog({ contact, onClose }: { contact: Contact; onClose: () => void }) {
  const update = useCommand(UpdateContactDocument);
  const [name, setName] = useState(contact.name ?? "");
  const [language, setLanguage] = useState(contact.language ?? "");
  const [zone, setZone] = useState(contact.timeZone ?? "");
  const [tags, setTags] = useState<string[]>([...contact.tags]);
  const wrong = (field: string) => (isAbout(update.problem, field) ? update.problem?.detail : null);
  const save = async (event: FormEvent) => {
    event.preventDefault();
    const done = await update.run({
      input: {
        id: contact.id, name: name.trim() || null, language: language.trim() || null, timeZone: zone || null,
        addTags: tags.filter((tag) => !contact.tags.includes(tag)), removeTags: contact.tags.filter((tag) => !tags.includes(tag)),
      },
    });
    if (done) onClose();
  };
  return (
    <Dialog title={t("contact.edit")} isOpen onClose={onClose}>
      <form className="stack" onSubmit={(event) => void save(event)}>
        <TextInput label={t("contact.name")} value={name} onChange={setName} error={wrong("name")} autoFocus />
        <TextInput label={t("template.language")} optional value={language} onChange={setLanguage} error={wrong("language")} placeholder="pt_BR" />
        <ZoneField label={t("contact.zone")} optional value={zone} onChange={setZone} error={wrong("timeZone")} />
        <TagWords label={t("contact.tags")} values={tags} onChange={setTags} />
        <Failure problem={update.problem} />
        <div className="row end"><Button onPress={onClose}>{t("common.cancel")}</Button><Button type="submit" look="primary" busy={update.isSaving}>{t("common.save")}</Button></div>
      </form>
    </Dialog>
  );
}

function ConsentDialog({ id, onClose }: { id: string; onClose: () => void }) {
  const record = useCommand(RecordConsentDocument);
  const [status, setStatus] = useState<ConsentStatus>("OPTED_IN");
  const [category, setCategory] = useState<TemplateCategory | "ALL">("ALL");
  const [source, setSource] = useState("");
  const [evidence, setEvidence] = useState("");
  const save = async (event: FormEvent) => {
    event.preventDefault();
    const done = await record.run({ input: { contactId: id, status, source: source.trim(), ...(category === "ALL" ? {} : { category }), ...(evidence.trim() ? { evidence: evidence.trim() } : {}) } });
    if (done) onClose();
  };
  return (
    <Dialog title={t("contact.recordConsent")} isOpen onClose={onClose}>
      <form className="stack" onSubmit={(event) => void save(event)}>
        <p className="muted">{t("contact.consentHelp")}</p>
        <Choose label={t("contact.theySaid")} value={status} onChange={setStatus} options={(["OPTED_IN", "OPTED_OUT"] as const).map((value) => ({ value, label: t(`consent.${value}`) }))} />
        <Choose<TemplateCategory | "ALL"> label={t("contact.aboutWhat")} value={category} onChange={setCategory} options={[{ value: "ALL", label: t("contact.aboutAll") }, ...(["MARKETING", "UTILITY", "AUTHENTICATION"] as const).map((value) => ({ value, label: t(`template.category.${value}`) }))]} />
        <TextInput label={t("contact.source")} help={t("contact.sourceHelp")} value={source} onChange={setSource} isRequired />
        <TextInput label={t("contact.evidence")} optional value={evidence} onChange={setEvidence} />
        <Failure problem={record.problem} />
        <div className="row end"><Button onPress={onClose}>{t("common.cancel")}</Button><Button type="submit" look="primary" busy={record.isSaving} isDisabled={!source.trim()}>{t("common.save")}</Button></div>
      </form>
    </Dialog>
  );
}
