//! One conversation: its head, what went between, the reply box, and the person beside it.
import { Link } from "@tanstack/react-router";
import { useCallback, useEffect, useRef, useState } from "react";
import { ConversationDocument, MarkConversationReadDocument, type ConversationRowFragment } from "~/gen/graphql";
import { t } from "~/i18n";
import { refreshAll, tell, useLoad } from "~/lib/data";
import { useNews, useThread } from "~/lib/inbox";
import { preferences, usePreferences } from "~/lib/preferences";
import { useViewer } from "~/lib/viewer";
import { Icon } from "~/ui/icons";
import { Button, ButtonLink, Empty, Failure, Skeleton } from "~/ui/parts";
import { Composer, type Pending } from "./composer";
import { personName, useNow, WindowChip } from "./parts";
import { Person } from "./person";
import { Thread } from "./thread";

/** Whoever only passes by on the way to the next one has not read it. */
const looked_ms = 1_200;

export function Conversation({ id, row, accounts, isPerson, onPerson }: {
  id: string; row: ConversationRowFragment | null; accounts: readonly { id: string; name: string; provider: string; status: string }[]; isPerson: boolean; onPerson: (isOpen: boolean) => void;
}) {
  const { can } = useViewer();
  const { shortcuts } = usePreferences();
  const { data, problem, refresh } = useLoad(ConversationDocument, { id });
  const conversation = data?.conversation ?? row;
  const thread = useThread(id);
  const now = useNow();
  const [pending, setPending] = useState<Pending[]>([]);
  const [said, setSaid] = useState("");
  const [isStuck, setStuck] = useState(false);
  const account = accounts.find((each) => each.id === conversation?.accountId);
  const name = conversation ? personName(conversation.contact) : "";

  useNews((message) => {
    if (!conversation || message.contactId !== conversation.contact.id || message.accountId !== conversation.accountId) return;
    const isNew = !thread.messages?.some((known) => known.id === message.id);
    thread.take(message);
    if (isNew && message.direction === "INBOUND") setSaid(t("inbox.says", { who: name, text: message.preview ?? t("message.noText") }));
  });
  useEffect(() => {
    if (name) document.title = `${name} · ${t("nav.inbox")} · WhatsApp Gateway`;
  }, [name]);

  // A reply that the thread has is no longer on its way there.
  const { messages } = thread;
  useEffect(() => {
    setPending((before) => {
      const left = before.filter(({ messageId }) => !messageId || !messages?.some((message) => message.id === messageId));
      return left.length === before.length ? before : left;
    });
  }, [messages]);

  const newest = messages?.findLast((message) => message.direction === "INBOUND")?.id ?? null;
  const unread = conversation?.unread ?? 0;
  const marked = useRef<string | null>(null);
  const markRead = useCallback(async () => {
    if (!newest) return;
    marked.current = newest;
    const { problem: failed } = await tell(MarkConversationReadDocument, { id, upTo: newest, showReceipt: preferences().receipts });
    setStuck(!!failed);
    if (!failed) await refreshAll();
  }, [id, newest]);
  const mayMark = can("SEND") && unread > 0 && !!newest;
  useEffect(() => {
    if (!mayMark || marked.current === newest) return;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const look = () => {
      clearTimeout(timer);
      if (document.visibilityState === "visible") timer = setTimeout(() => void markRead(), looked_ms);
    };
    look();
    document.addEventListener("visibilitychange", look);
    return () => {
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", look);
    };
  }, [mayMark, newest, markRead]);

  useEffect(() => {
    if (!shortcuts) return;
    const listen = (event: KeyboardEvent) => {
      if (event.ctrlKey || event.metaKey || event.altKey || (event.target as HTMLElement).closest("input, textarea, select, [contenteditable], [role=dialog], [role=listbox], [role=menu]")) return;
      const box = document.querySelector<HTMLElement>(".composer textarea, .composer .select-button");
      if (event.key === "r" && box) box.focus();
      else if (event.key === "e" && mayMark) void markRead();
      else return;
      event.preventDefault();
    };
    document.addEventListener("keydown", listen);
    return () => document.removeEventListener("keydown", listen);
  }, [shortcuts, mayMark, markRead]);

  if (!conversation) {
    return (
      <section className="inbox-thread" aria-label={t("inbox.conversation")}>
        <div className="card-body">
          {(data && !problem) || problem?.code === "NOT_FOUND" ? <Empty icon="search" title={t("inbox.unknown")} action={<ButtonLink to="/inbox">{t("list.showAll")}</ButtonLink>} /> : <Failure problem={problem} retry={() => void refresh()} />}
          {!data && !problem && <Skeleton lines={6} />}
        </div>
      </section>
    );
  }
  return (
    <>
      <section className="inbox-thread" aria-label={t("inbox.with", { who: name })}>
        <header className="inbox-head thread-head">
          <Link to="/inbox" search={(before: Record<string, unknown>) => ({ ...before, person: undefined }) as never} className="btn quiet icon back" aria-label={t("inbox.back")}><Icon name="back" flip /></Link>
          <div className="grow">
            <h2 className="ellipsis"><bdi>{name}</bdi></h2>
            <p className="row nowrap small muted">
              <WindowChip until={conversation.windowExpiresAt} now={now} />
              {account && <span className="ellipsis">{t("inbox.toNumber", { name: account.name })}</span>}
            </p>
          </div>
          {mayMark && isStuck && <Button compact icon="check" onPress={() => void markRead()}>{t("inbox.markRead")}</Button>}
          <span className="person-button"><Button look="quiet" aria-expanded={isPerson} icon="people" aria-label={t("inbox.person")} onPress={() => onPerson(!isPerson)} /></span>
        </header>
        <Thread thread={thread} pending={pending} unread={unread} name={name}
          onAgain={(one) => void one.again()} onDrop={(one) => setPending((before) => before.filter(({ key }) => key !== one.key))} />
        <div className="visually-hidden" role="status">{said}</div>
        <Composer conversation={conversation} now={now} account={account ?? null} onPending={setPending} />
      </section>
      <Person conversation={conversation} account={account ?? null} isOpen={isPerson} onClose={() => onPerson(false)} />
    </>
  );
}
