//! Who the other side is, whose the conversation is, and what happened to it.
import { Link } from "@tanstack/react-router";
import { useState } from "react";
import { AssignConversationDocument, ConversationHistoryDocument, SetConversationHandlingDocument, type ConversationRowFragment } from "~/gen/graphql";
import { t } from "~/i18n";
import { useCommand, usePages } from "~/lib/data";
import { useSession } from "~/lib/session";
import { useViewer } from "~/lib/viewer";
import { ConsentBadge } from "~/lib/words";
import { Choose } from "~/ui/fields";
import { FactItem } from "~/ui/history";
import { Button, ButtonLink, Callout, Copy, Facts, Failure, Skeleton, Time } from "~/ui/parts";
import { personName, useColleagues } from "./parts";

const nobody = "NOBODY";

export function Person({ conversation, account, isOpen, onClose }: { conversation: ConversationRowFragment; account: { id: string; name: string } | null; isOpen: boolean; onClose: () => void }) {
  const { contact, openedAt, handling, id } = conversation;
  const { can } = useViewer();
  const handle = useCommand(SetConversationHandlingDocument);
  return (
    <aside className="inbox-person" aria-label={t("inbox.person")} data-open={isOpen}>
      <div className="row nowrap between">
        <h2 className="break"><bdi>{personName(contact)}</bdi></h2>
        <span className="person-close"><Button look="quiet" icon="close" aria-label={t("common.close")} onPress={onClose} /></span>
      </div>
      {!can("PERSONAL") && <p className="small muted">{t("contact.masked")}</p>}
      {handling === "ASSISTANT" && (
        <Callout title={t("inbox.byAssistant")} action={can("SEND") && <Button compact busy={handle.isSaving} onPress={() => void handle.run({ id, handling: "PEOPLE" })}>{t("inbox.takeOver")}</Button>} />
      )}
      <Failure problem={handle.problem} />
      <Assign conversation={conversation} />
      <Facts items={[
        [t("account.number"), contact.phoneNumber && <span className="row nowrap"><span dir="ltr" className="num">{contact.phoneNumber}</span><Copy text={contact.phoneNumber} label={t("common.copy")} /></span>],
        [t("contact.consent"), <ConsentBadge status={contact.consent.status} />],
        [t("contact.tags"), contact.tags.length > 0 ? <span className="row" style={{ gap: "0.25rem" }}>{contact.tags.map((tag) => <Link key={tag} className="chip" to="/contacts" search={{ tag }}>{tag}</Link>)}</span> : null],
        ...(contact.language ? [[t("template.language"), contact.language] as [string, React.ReactNode]] : []),
        ...(contact.timeZone ? [[t("contact.zone"), contact.timeZone.replaceAll("_", " ")] as [string, React.ReactNode]] : []),
        ...(contact.externalId ? [[t("contact.externalId"), contact.externalId] as [string, React.ReactNode]] : []),
        [t("nav.number"), account && <Link to="/numbers/$id" params={{ id: account.id }}>{account.name}</Link>],
        [t("inbox.since"), <Time at={openedAt} />],
      ]} />
      <div className="row"><ButtonLink compact to="/contacts/$id" params={{ id: contact.id }}>{t("inbox.contactPage")}</ButtonLink></div>
      <Story key={id} id={id} />
    </aside>
  );
}

function Assign({ conversation: { id, assignedTo } }: { conversation: ConversationRowFragment }) {
  const { can } = useViewer();
  const session = useSession();
  const colleagues = useColleagues();
  const assign = useCommand(AssignConversationDocument, t("inbox.assigned"));
  const me = session.kind === "person" ? session.person : null;
  const others = [...colleagues].filter(([each]) => each !== me?.id);
  const isStranger = !!assignedTo && assignedTo !== me?.id && !colleagues.has(assignedTo);
  return (
    <>
      <Choose label={t("inbox.assignedTo")} value={assignedTo ?? nobody} isDisabled={!can("SEND") || assign.isSaving} onChange={(userId) => userId !== (assignedTo ?? nobody) && void assign.run({ id, userId: userId === nobody ? null : userId })}
        options={[
          { value: nobody, label: t("inbox.nobody") },
          ...(me ? [{ value: me.id, label: t("inbox.meNamed", { name: me.name }) }] : []),
          ...others.map(([value, label]) => ({ value, label })),
          ...(isStranger ? [{ value: assignedTo, label: t("inbox.colleague") }] : []),
        ]} />
      <Failure problem={assign.problem} />
    </>
  );
}

function Story({ id }: { id: string }) {
  const [isOpen, setOpen] = useState(false);
  return (
    <details onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary>{t("inbox.history")}</summary>
      {isOpen && <StoryFacts id={id} />}
    </details>
  );
}

function StoryFacts({ id }: { id: string }) {
  const { items, problem, hasMore, loadMore } = usePages(ConversationHistoryDocument, { id }, (data) => data.conversation?.history);
  return (
    <div className="stack">
      <Failure problem={problem} />
      {!items && !problem && <Skeleton />}
      {items && <ol className="timeline">{items.map((fact) => <FactItem key={fact.id} fact={fact} />)}</ol>}
      {hasMore && <Button compact onPress={loadMore}>{t("common.showMore")}</Button>}
    </div>
  );
}
