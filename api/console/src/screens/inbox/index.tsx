//! The Inbox: who wrote, what went between us and them, and who they are. Wide screens show all three, narrow ones one of them.
import { getRouteApi, Link, useNavigate, useParams } from "@tanstack/react-router";
import { useCallback, useEffect, useRef } from "react";
import { AccountsDocument, ConversationsDocument, type ConversationFilter, type ConversationRowFragment } from "~/gen/graphql";
import { t } from "~/i18n";
import { useLoad, usePages } from "~/lib/data";
import { shortAge, instant } from "~/lib/format";
import { useActivity } from "~/lib/inbox";
import { usePreferences } from "~/lib/preferences";
import { useSession } from "~/lib/session";
import { useViewer } from "~/lib/viewer";
import { Choose, Search } from "~/ui/fields";
import { Icon } from "~/ui/icons";
import { Button, ButtonLink, Empty, Failure, Skeleton } from "~/ui/parts";
import { Conversation } from "./conversation";
import { PeopleProvider, personName, useColleagues, useNow, useUsers, WindowChip } from "./parts";
import "./inbox.css";

const route = getRouteApi("/inbox");
/** News come by themselves; this is for what no news can tell, such as a window that has closed. */
const seldom_ms = 60_000;

export function InboxScreen() {
  const search = route.useSearch();
  const navigate = route.useNavigate();
  const { id } = useParams({ strict: false }) as { id?: string };
  const session = useSession();
  const me = session.kind === "person" ? session.person.id : null;
  const { shortcuts } = usePreferences();
  const accounts = useLoad(AccountsDocument, {});
  const users = useUsers();
  const filter: ConversationFilter = {
    ...(search.number ? { accountIds: [search.number] } : {}), ...(search.unread ? { unread: true } : {}), ...(search.mine && me ? { assignedTo: me } : {}), ...(search.q ? { search: search.q } : {}),
  };
  const pages = usePages(ConversationsDocument, { filter }, (data) => data.conversations, { everyMs: seldom_ms });
  useActivity();

  const open = useCallback((next: string) => void navigate({ to: "/inbox/$id", params: { id: next }, search: (before) => ({ ...before, person: undefined }) }), [navigate]);
  const rows = pages.items ?? [];
  const step = (by: 1 | -1) => {
    const at = rows.findIndex((row) => row.id === id);
    const next = rows[at < 0 ? 0 : at + by];
    if (next) open(next.id);
  };
  const keys = useRef<(key: string) => boolean>(() => false);
  keys.current = (key) => {
    if (key === "j" || key === "k") step(key === "j" ? 1 : -1);
    else if (key === "/") {
      const field = document.querySelector<HTMLInputElement>(".inbox-list input[type=search]");
      if (!field?.offsetParent) return false;
      field.focus();
    } else return false;
    return true;
  };
  useEffect(() => {
    if (!shortcuts) return;
    const listen = (event: KeyboardEvent) => {
      if (event.ctrlKey || event.metaKey || event.altKey || (event.target as HTMLElement).closest("input, textarea, select, [contenteditable], [role=dialog], [role=listbox], [role=menu]")) return;
      if (!keys.current(event.key)) return;
      event.preventDefault();
      event.stopPropagation();
    };
    // Before the shell, whose "/" opens the palette.
    document.addEventListener("keydown", listen, true);
    return () => document.removeEventListener("keydown", listen, true);
  }, [shortcuts]);

  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => {
    if (document.activeElement === document.body || document.activeElement === null) heading.current?.focus({ preventScroll: true });
  }, []);
  useEffect(() => {
    if (!id) document.title = `${t("nav.inbox")} · WhatsApp Gateway`;
  }, [id]);

  const numbers = accounts.data?.accounts.nodes ?? [];
  return (
    <PeopleProvider value={users}>
    <div className="inbox" data-open={id ? (search.person ? "person" : "thread") : "list"}>
      <h1 ref={heading} tabIndex={-1} className="visually-hidden">{t("nav.inbox")}</h1>
      <List pages={pages} accounts={numbers} isReady={!!accounts.data} chosen={id} me={me} />
      {id
        ? <Conversation key={id} id={id} row={rows.find((row) => row.id === id) ?? null} accounts={numbers} isPerson={!!search.person}
            onPerson={(isOpen) => void navigate({ to: "/inbox/$id", params: { id }, search: (before) => ({ ...before, person: isOpen ? "yes" : undefined }), replace: true })} />
        : <section className="inbox-none" aria-label={t("inbox.conversation")}>
            <Icon name="inbox" size={28} />
            <p>{rows.length > 0 ? t("inbox.choose") : t("inbox.nothingChosen")}</p>
            {shortcuts && rows.length > 0 && <ul className="row keys">{(["j", "k", "r", "e", "/"] as const).map((key) => <li key={key}><kbd>{key}</kbd> {t(`inbox.key.${key === "/" ? "search" : key}`)}</li>)}</ul>}
          </section>}
    </div>
    </PeopleProvider>
  );
}

type Numbers = readonly { id: string; name: string; provider: string; status: string }[];

function List({ pages, accounts, isReady, chosen, me }: {
  pages: ReturnType<typeof usePages<unknown, Record<string, unknown>, ConversationRowFragment>>; accounts: Numbers; isReady: boolean; chosen: string | undefined; me: string | null;
}) {
  const search = route.useSearch();
  // Of whatever is open: a filter closes no conversation.
  const navigate = useNavigate();
  const { can } = useViewer();
  const { items, problem, hasMore, loadMore } = pages;
  const now = useNow();
  const end = useRef<HTMLLIElement>(null);
  const isFiltered = !!(search.number || search.unread || search.mine || search.q);
  const set = (part: Partial<typeof search>) => void navigate({ to: ".", search: ((before: Record<string, unknown>) => ({ ...before, ...part })) as never, replace: true });

  useEffect(() => {
    if (!hasMore || !end.current) return;
    const watcher = new IntersectionObserver(([entry]) => entry?.isIntersecting && loadMore(), { rootMargin: "400px" });
    watcher.observe(end.current);
    return () => watcher.disconnect();
  }, [hasMore, loadMore, items?.length]);
  useEffect(() => {
    if (chosen) document.querySelector(".inbox-list [aria-current]")?.scrollIntoView({ block: "nearest" });
  }, [chosen]);

  const toggle = (name: "unread" | "mine", label: string) => (
    <button type="button" className="pill" aria-pressed={!!search[name]} onClick={() => set({ [name]: search[name] ? undefined : "yes" })}>{label}</button>
  );
  return (
    <section className="inbox-list" aria-label={t("inbox.conversations")}>
      <div className="inbox-head" role="search">
        <p className="inbox-title" aria-hidden="true">{t("nav.inbox")}</p>
        {can("PERSONAL") && <Search label={t("inbox.search")} value={search.q ?? ""} onChange={(q) => set({ q: q || undefined })} />}
        <div className="row nowrap pills">
          {toggle("unread", t("inbox.unread"))}
          {me && toggle("mine", t("inbox.mine"))}
          {accounts.length > 1 && (
            <div className="grow"><Choose hideLabel label={t("nav.number")} value={search.number ?? "ALL"} onChange={(value) => set({ number: value === "ALL" ? undefined : value })}
              options={[{ value: "ALL", label: t("filter.anyNumber") }, ...accounts.map(({ id, name }) => ({ value: id, label: name }))]} /></div>
          )}
        </div>
      </div>
      {problem && <div className="card-body"><Failure problem={problem} /></div>}
      {!items && !problem && <div className="card-body"><Skeleton lines={6} /></div>}
      {items?.length === 0 && isReady && (isFiltered
        ? <Empty icon="search" title={t("list.nothingFound")} action={<ButtonLink to="/inbox">{t("list.showAll")}</ButtonLink>} />
        : <Nobody accounts={accounts} />)}
      {items && items.length > 0 && (
        <ul className="inbox-rows">
          {items.map((row) => <Row key={row.id} row={row} isChosen={row.id === chosen} me={me} now={now} account={accounts.length > 1 ? (accounts.find(({ id }) => id === row.accountId)?.name ?? null) : null} />)}
          {hasMore && <li ref={end} className="inbox-more"><Button compact onPress={loadMore}>{t("common.showMore")}</Button></li>}
        </ul>
      )}
    </section>
  );
}

function Row({ row, isChosen, me, now, account }: { row: ConversationRowFragment; isChosen: boolean; me: string | null; now: number; account: string | null }) {
  const { id, contact, lastMessage, lastActivityAt, unread, assignedTo, windowExpiresAt, handling } = row;
  const colleagues = useColleagues();
  const whose = assignedTo ? (assignedTo === me ? t("inbox.you") : (colleagues.get(assignedTo) ?? t("inbox.colleague"))) : null;
  const failed = lastMessage?.status === "FAILED" || lastMessage?.status === "SKIPPED" || lastMessage?.status === "EXPIRED";
  return (
    <li data-unread={unread > 0}>
      <Link to="/inbox/$id" params={{ id }} search={(before: Record<string, unknown>) => ({ ...before, person: undefined })} activeProps={{}} aria-current={isChosen ? "true" : undefined}>
        <span className="row nowrap between">
          <span className="who ellipsis" dir="auto">{personName(contact)}</span>
          <time className="small" dateTime={lastActivityAt} title={`${instant(lastActivityAt, undefined, true)} · ${instant(lastActivityAt, "UTC", true)}`}>{shortAge(lastActivityAt, now)}</time>
        </span>
        <span className="row nowrap between">
          <span className="said ellipsis" dir="auto">
            {failed && <span className="bad">{t(`message.status.${lastMessage.status}`)}: </span>}
            {!failed && lastMessage?.direction === "OUTBOUND" && <span>{t("inbox.us")} </span>}
            {lastMessage ? (lastMessage.preview ?? t("message.noText")) : t("inbox.nothingYet")}
          </span>
          {unread > 0 && <span className="count"><span aria-hidden="true">{unread > 99 ? "99+" : unread}</span><span className="visually-hidden">{t("inbox.unreadCount", { count: unread, n: unread })}</span></span>}
        </span>
        {(windowExpiresAt || whose || account || handling === "ASSISTANT") && (
          <span className="row nowrap tags small">
            <WindowChip until={windowExpiresAt} now={now} />
            {handling === "ASSISTANT" && <span className="ellipsis">{t("actor.ASSISTANT")}</span>}
            {whose && <span className="ellipsis">{whose}</span>}
            {account && <span className="ellipsis grow end">{account}</span>}
          </span>
        )}
      </Link>
    </li>
  );
}

/** One thing to do where nobody has written yet. */
function Nobody({ accounts }: { accounts: Numbers }) {
  const { can } = useViewer();
  const usable = accounts.filter(({ status }) => status !== "DISCONNECTED");
  const real = usable.find(({ provider }) => provider === "CLOUD_API");
  const number = real ?? usable[0];
  if (!number) return <Empty icon="inbox" title={t("inbox.none")} action={can("MANAGE") && <ButtonLink to="/numbers/connect" look="primary">{t("account.connect")}</ButtonLink>}>{t("inbox.noneNumber")}</Empty>;
  return (
    <Empty icon="inbox" title={t("inbox.none")} action={<ButtonLink to="/numbers/$id" params={{ id: number.id }} search={{ tab: "test" }} look="primary">{real ? t("inbox.testPhone") : t("inbox.testSandbox")}</ButtonLink>}>
      {real ? t("inbox.noneHelp") : t("inbox.noneSandbox")}
    </Empty>
  );
}
