//! Two contacts who are one person: what will be kept is shown before anything is done.
import { useState } from "react";
import { ContactDocument, MergeContactsDocument, type ConsentStatus, type ContactQuery } from "~/gen/graphql";
import { t } from "~/i18n";
import { useCommand, useLoad } from "~/lib/data";
import { ConsentBadge } from "~/lib/words";
import { Radios } from "~/ui/fields";
import { Dialog } from "~/ui/overlay";
import { Button, Callout, Facts, Failure, Skeleton } from "~/ui/parts";
import { FindPerson, type Found } from "~/ui/people";

type Contact = NonNullable<ContactQuery["contact"]>;

export default function MergeDialog({ contact, onClose, onMerged }: { contact: Contact; onClose: () => void; onMerged: (id: string) => void }) {
  const [found, setFound] = useState<Found | null>(null);
  const [keeps, setKeeps] = useState<"this" | "other">("this");
  const merge = useCommand(MergeContactsDocument, t("merge.done"));
  const other = useLoad(ContactDocument, { id: found?.id ?? "" }, { pause: !found });
  const called = ({ name, phoneNumber }: Found) => [name ?? t("contact.noName"), phoneNumber].filter(Boolean).join(" · ");
  const them = other.data?.contact;
  const [kept, gone] = !them ? [] : keeps === "this" ? [contact, them] : [them, contact];

  return (
    <Dialog title={t("merge.title")} isOpen onClose={onClose} wide>
      <p className="muted">{t("merge.help")}</p>
      {!found && <FindPerson label={t("contact.search")} action={t("merge.choose")} isTaken={(id) => id === contact.id} onPick={setFound} />}
      {found && (
        <>
          <Radios label={t("merge.whoStays")} value={keeps} onChange={setKeeps} options={[{ value: "this", label: called(contact) }, { value: "other", label: called(found) }]} />
          <div><Button compact look="quiet" onPress={() => setFound(null)}>{t("merge.another")}</Button></div>
          <Failure problem={other.problem} />
          {!them && !other.problem && <Skeleton />}
          {kept && gone && (
            <section className="stack" aria-label={t("merge.after")}>
              <h3>{t("merge.after")}</h3>
              <After kept={kept} gone={gone} />
            </section>
          )}
          <Callout tone="warn" title={t("merge.final")} />
        </>
      )}
      <Failure problem={merge.problem} />
      <div className="row end">
        <Button onPress={onClose}>{t("common.cancel")}</Button>
        {found && <Button look="primary" busy={merge.isSaving} isDisabled={!kept || !gone} onPress={() => kept && gone && void merge.run({ keep: kept.id, merge: gone.id }).then((done) => done && onMerged(kept.id))}>{t("merge.action")}</Button>}
      </div>
    </Dialog>
  );
}

/** Whoever said no on either side has said no. */
function word(kept: ConsentStatus, gone: ConsentStatus): ConsentStatus {
  if (kept === "OPTED_OUT" || gone === "OPTED_OUT") return "OPTED_OUT";
  return kept === "UNKNOWN" ? gone : kept;
}

/** By the gateway's rule: who stays wins, the other fills the gaps, tags and further numbers come together. */
function After({ kept, gone }: { kept: Contact; gone: Contact }) {
  const attributes = { ...(gone.attributes as Record<string, unknown>), ...(kept.attributes as Record<string, unknown>) };
  const union = (...lists: (string | null | undefined)[][]) => [...new Set(lists.flat().filter((each): each is string => !!each))];
  const phone = kept.phoneNumber ?? gone.phoneNumber;
  const phones = union(kept.otherPhoneNumbers as string[], [gone.phoneNumber], gone.otherPhoneNumbers as string[]).filter((each) => each !== phone);
  const externalId = kept.externalId ?? gone.externalId;
  const externals = union([...kept.otherExternalIds], [gone.externalId], [...gone.otherExternalIds]).filter((each) => each !== externalId);
  const tags = union([...kept.tags], [...gone.tags]);
  const none = t("common.none");
  return (
    <Facts items={[
      [t("contact.name"), kept.name ?? gone.name ?? none],
      [t("account.number"), <span dir="ltr" className="num">{phone ?? none}</span>],
      ...(phones.length > 0 ? [[t("contact.otherNumbers"), <span dir="ltr" className="num">{phones.join(", ")}</span>] as [string, React.ReactNode]] : []),
      ...(externalId ? [[t("contact.externalId"), [externalId, ...externals].join(", ")] as [string, React.ReactNode]] : []),
      [t("template.language"), kept.language ?? gone.language ?? none],
      [t("contact.zone"), kept.timeZone ?? gone.timeZone ?? none],
      [t("contact.tags"), tags.length > 0 ? <span className="row" style={{ gap: "0.25rem" }}>{tags.map((tag) => <span key={tag} className="chip">{tag}</span>)}</span> : none],
      ...Object.entries(attributes).map(([name, value]) => [name, typeof value === "object" ? JSON.stringify(value) : String(value)] as [string, React.ReactNode]),
      [t("contact.consent"), <span className="row"><ConsentBadge status={word(kept.consent.status, gone.consent.status)} /><span className="small muted">{t("merge.consentHelp")}</span></span>],
    ]} />
  );
}
