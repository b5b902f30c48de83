import { getRouteApi, Link } from "@tanstack/react-router";
import { useState, type FormEvent } from "react";
import { AddContactDocument, ContactCountDocument, ContactsDocument, SegmentsDocument, type ConsentStatus, type ContactFilter } from "~/gen/graphql";
import { t } from "~/i18n";
import { useCommand, once, useLoad, usePages } from "~/lib/data";
import { isAbout } from "~/lib/errors";
import { total } from "~/lib/format";
import { useViewer } from "~/lib/viewer";
import { ConsentBadge } from "~/lib/words";
import { Choose, Search, TextInput } from "~/ui/fields";
import { TagWords } from "~/ui/tags";
import { Dialog } from "~/ui/overlay";
import { Button, ButtonLink, Callout, Empty, Failure, Page, Time } from "~/ui/parts";
import { ListCard } from "~/ui/table";

const route = getRouteApi("/contacts");
type Consent = "ANY" | ConsentStatus;

export function ContactsScreen() {
  const search = route.useSearch();
  const { q, tag, consent, segment } = search;
  const navigate = route.useNavigate();
  const { can } = useViewer();
  const [isAdding, setAdding] = useState(false);
  const segments = useLoad(SegmentsDocument, { first: 200 });
  const filter: ContactFilter = {
    ...(q ? { search: q } : {}), ...(tag ? { tags: [tag] } : {}), ...(consent ? { consent: [consent as ConsentStatus] } : {}), ...(segment ? { segmentId: segment } : {}),
  };
  const pages = usePages(ContactsDocument, { filter }, (data) => data.contacts);
  const found = useLoad(ContactCountDocument, { filter });
  const isFiltered = !!(q || tag || consent || segment);
  const set = (part: Partial<typeof search>) => void navigate({ search: (before) => ({ ...before, ...part }), replace: true });

  return (
    <Page title={t("nav.contacts")} actions={can("MANAGE") && (
      <>
        <Button icon="plus" onPress={() => setAdding(true)}>{t("contact.add")}</Button>
        <ButtonLink to="/contacts/import" look="primary" icon="upload">{t("contact.import")}</ButtonLink>
      </>
    )}>
      {!can("PERSONAL") && <Callout title={t("contact.masked")} />}
      <div className="toolbar" role="search">
        {can("PERSONAL") && <Search label={t("contact.search")} value={q ?? ""} onChange={(text) => set({ q: text || undefined })} />}
        <div className="filter">
          <Choose<Consent> hideLabel label={t("contact.consent")} value={(consent as Consent) ?? "ANY"} onChange={(value) => set({ consent: value === "ANY" ? undefined : value })}
            options={[{ value: "ANY", label: t("filter.anyConsent") }, ...(["OPTED_IN", "UNKNOWN", "OPTED_OUT"] as const).map((value) => ({ value, label: t(`consent.${value}`) }))]} />
        </div>
        {(segments.data?.segments.nodes.length ?? 0) > 0 && (
          <div className="filter">
            <Choose hideLabel label={t("nav.segment")} value={segment ?? "ANY"} onChange={(value) => set({ segment: value === "ANY" ? undefined : value })}
              options={[{ value: "ANY", label: t("filter.anySegment") }, ...(segments.data?.segments.nodes ?? []).map(({ id, name }) => ({ value: id, label: name }))]} />
          </div>
        )}
        {tag && <span className="chip">{t("contact.tagIs", { tag })}<button type="button" aria-label={t("common.removeThis", { what: tag })} onClick={() => set({ tag: undefined })}>×</button></span>}
      </div>
      <ListCard pages={pages} label={t("nav.contacts")} id={({ id }) => id} linked
        foot={
          <span className="row">
            {found.data && <span>{t("list.total", { n: total(found.data.contacts.totalCount, found.data.contacts.totalCountExact) })}</span>}
            <Link to="/contacts/imports">{t("import.all")}</Link>
          </span>
        }
        empty={isFiltered ? <Empty icon="search" title={t("list.nothingFound")} action={<ButtonLink to="/contacts">{t("list.showAll")}</ButtonLink>} />
          : <Empty icon="people" title={t("contact.none")} action={can("MANAGE") && <ButtonLink to="/contacts/import" look="primary" icon="upload">{t("contact.import")}</ButtonLink>}>{t("contact.noneHelp")}</Empty>}
        columns={[
          { title: t("contact.name"), width: "32%", cell: (row) => <span style={{ minInlineSize: 0 }}><Link className="row-link break" to="/contacts/$id" params={{ id: row.id }}>{row.erased ? t("contact.erased") : (row.name ?? row.phoneNumber ?? row.userId ?? t("contact.noName"))}</Link>{row.externalId && <span className="sub">{row.externalId}</span>}</span> },
          { title: t("account.number"), cell: ({ phoneNumber }) => <span className="num" dir="ltr">{phoneNumber ?? "–"}</span> },
          { title: t("contact.consent"), cell: ({ consent: word }) => <ConsentBadge status={word.status} /> },
          { title: t("contact.tags"), isBlank: ({ tags }) => tags.length === 0, cell: ({ tags }) => <span className="row" style={{ gap: "0.25rem" }}>{tags.slice(0, 3).map((each) => <span key={each} className="chip">{each}</span>)}{tags.length > 3 && <span className="small muted">+{tags.length - 3}</span>}</span> },
          { title: t("contact.added"), end: true, cell: ({ createdAt }) => <span className="small muted"><Time at={createdAt} /></span> },
        ]} />
      {isAdding && <AddDialog onClose={() => setAdding(false)} onAdded={(id) => void navigate({ to: "/contacts/$id", params: { id } })} />}
    </Page>
  );
}

function AddDialog({ onClose, onAdded }: { onClose: () => void; onAdded: (id: string) => void }) {
  const add = useCommand(AddContactDocument, t("contact.addedNow"));
  const [phoneNumber, setPhone] = useState("");
  const [name, setName] = useState("");
  const [tags, setTags] = useState<string[]>([]);
  const [consent, setConsent] = useState<ConsentStatus>("UNKNOWN");
  const [source, setSource] = useState("");
  const wrong = (field: string) => (isAbout(add.problem, field) ? add.problem?.detail : null);
  const save = async (event: FormEvent) => {
    event.preventDefault();
    const done = await add.run({ input: { phoneNumber: phoneNumber.trim(), idempotencyKey: once, tags, consent, ...(name.trim() ? { name: name.trim() } : {}), ...(source.trim() ? { consentSource: source.trim() } : {}) } });
    if (!done) return;
    onAdded(done.addContact.contact.id);
  };
  return (
    <Dialog title={t("contact.add")} isOpen onClose={onClose}>
      <form className="stack" onSubmit={(event) => void save(event)}>
        <TextInput label={t("account.number")} type="tel" help={t("contact.numberHelp")} value={phoneNumber} onChange={setPhone} error={wrong("phoneNumber")} isRequired autoFocus />
        <TextInput label={t("contact.name")} optional value={name} onChange={setName} error={wrong("name")} />
        <TagWords label={t("contact.tags")} optional values={tags} onChange={setTags} />
        <Choose label={t("contact.consent")} value={consent} onChange={setConsent} options={(["UNKNOWN", "OPTED_IN", "OPTED_OUT"] as const).map((value) => ({ value, label: t(`consent.${value}`) }))} />
        {consent !== "UNKNOWN" && <TextInput label={t("contact.source")} help={t("contact.sourceHelp")} value={source} onChange={setSource} error={wrong("consentSource")} />}
        <Failure problem={add.problem} />
        <div className="row end"><Button onPress={onClose}>{t("common.cancel")}</Button><Button type="submit" look="primary" busy={add.isSaving} isDisabled={!phoneNumber.trim() || (consent !== "UNKNOWN" && !source.trim())}>{t("contact.add")}</Button></div>
      </form>
    </Dialog>
  );
}
