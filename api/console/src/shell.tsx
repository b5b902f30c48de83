//! What is around every screen: who is asking, where one can go, whether the gateway can be reached.
import { Link, Outlet, useRouter, useRouterState, type ErrorComponentProps } from "@tanstack/react-router";
import { lazy, Suspense, useCallback, useEffect, useState, type ReactNode } from "react";
import { Dialog, Modal, ModalOverlay } from "react-aria-components";
import { UnreadConversationsDocument, ViewerDocument, type ViewerQuery } from "~/gen/graphql";
import { t } from "~/i18n";
import { ask, refreshAll, useLoad } from "~/lib/data";
import { problem as problemFrom, type Problem } from "~/lib/errors";
import { total } from "~/lib/format";
import { connected, onConnection } from "~/lib/gateway";
import { usePreferences } from "~/lib/preferences";
import { logout, onSession, whoAmI, type Person, type Session } from "~/lib/session";
import { useViewer, ViewerContext } from "~/lib/viewer";
import { Icon, Logo, type IconName } from "~/ui/icons";
import { Button, ButtonLink, Callout, count, Empty, Failure, Page, Skeleton } from "~/ui/parts";
import { announce, Toasts } from "~/ui/toasts";

const Login = lazy(() => import("~/screens/login"));
const Palette = lazy(() => import("~/screens/palette"));

export const places = (): { to: string; label: string; icon: IconName }[] => [
  { to: "/", label: t("nav.home"), icon: "home" },
  { to: "/inbox", label: t("nav.inbox"), icon: "inbox" },
  { to: "/campaigns", label: t("nav.campaigns"), icon: "campaign" },
  { to: "/messages", label: t("nav.messages"), icon: "message" },
  { to: "/contacts", label: t("nav.contacts"), icon: "people" },
  { to: "/segments", label: t("nav.segments"), icon: "segment" },
  { to: "/templates", label: t("nav.templates"), icon: "template" },
  { to: "/numbers", label: t("nav.numbers"), icon: "phone" },
  { to: "/settings", label: t("nav.settings"), icon: "settings" },
];

/** The Inbox itself hears of news at once; elsewhere this is soon enough. */
const unread_every_ms = 15_000;

function Nav({ onGo }: { onGo?: () => void }) {
  const { can } = useViewer();
  const { data } = useLoad(UnreadConversationsDocument, {}, { everyMs: unread_every_ms, pause: !can("READ") });
  const { totalCount: unread = 0, totalCountExact: isExact = true } = data?.conversations ?? {};
  return (
    <nav className="nav" aria-label={t("nav.label")}>
      {places().map(({ to, label, icon }) => (
        <Link key={to} to={to} activeOptions={{ exact: to === "/", includeSearch: false }} onClick={onGo}>
          <Icon name={icon} />
          {label}
          {to === "/inbox" && unread > 0 && <span className="nav-count"><span aria-hidden="true">{total(unread, isExact)}</span><span className="visually-hidden">{count("inbox.unreadConversations", unread)}</span></span>}
        </Link>
      ))}
    </nav>
  );
}

export async function signOut(): Promise<void> {
  const problem = await logout();
  if (problem) announce(problem.sentence, "info");
}

const isMac = /Mac|iPhone|iPad/.test(navigator.userAgent);

function Chrome({ answer, person }: { answer: ViewerQuery; person: Person | null }) {
  const [isDrawer, setDrawer] = useState(false);
  const [isPalette, setPalette] = useState(false);
  const [isOnline, setOnline] = useState(connected());
  const { shortcuts } = usePreferences();
  const path = useRouterState({ select: ({ location }) => location.pathname });

  useEffect(() => onConnection((now) => {
    setOnline(now);
    if (now) void refreshAll();
  }), []);
  useEffect(() => setDrawer(false), [path]);
  useEffect(() => {
    const listen = (event: KeyboardEvent) => {
      const typing = (event.target as HTMLElement).closest("input, textarea, select, [contenteditable]");
      const wanted = (event.key.toLowerCase() === "k" && (event.ctrlKey || event.metaKey)) || (event.key === "/" && shortcuts && !typing);
      if (!wanted) return;
      event.preventDefault();
      setPalette(true);
    };
    window.addEventListener("keydown", listen);
    return () => window.removeEventListener("keydown", listen);
  }, [shortcuts]);

  const search = (
    <button type="button" className="search-button" onClick={() => setPalette(true)}>
      <Icon name="search" size={16} />
      {t("palette.open")}
      <kbd>{isMac ? "⌘" : "Ctrl"} K</kbd>
    </button>
  );
  const name = person ? person.name : (answer.viewer.name ?? answer.viewer.id);
  const who = (
    <div className="side-foot">
      <div className="whoami">
        <div className="ellipsis strong">{person ? <Link to="/settings/sign-in" className="plain">{name}</Link> : name}</div>
        <div className="ellipsis">{person ? t(`role.${person.role}`) : t("session.byKey")}</div>
        {person && <button type="button" className="linklike" onClick={() => void signOut()}>{t("session.signOut")}</button>}
      </div>
    </div>
  );

  return (
    <ViewerContext.Provider value={answer}>
      <a className="skip" href="#main">{t("nav.skip")}</a>
      <div className="app">
        <header className="topbar">
          <Button look="quiet" icon="menu" aria-label={t("nav.open")} onPress={() => setDrawer(true)} />
          <Link to="/" className="brand grow"><Logo /> <span className="ellipsis">WhatsApp Gateway</span></Link>
          <Button look="quiet" icon="search" aria-label={t("palette.open")} onPress={() => setPalette(true)} />
        </header>
        <aside className="side" aria-label={t("nav.aside")}>
          <Link to="/" className="brand"><Logo /> WhatsApp Gateway</Link>
          {search}
          <Nav />
          {who}
        </aside>
        <div>
          {!isOnline && <div className="banner" role="status"><Icon name="warning" size={16} />{t("session.offline")}</div>}
          <main id="main" className="main" tabIndex={-1}>
            <Suspense fallback={<Skeleton />}><Outlet /></Suspense>
          </main>
        </div>
      </div>
      <ModalOverlay className="scrim side-on" isOpen={isDrawer} onOpenChange={setDrawer} isDismissable>
        <Modal className="dialog drawer">
          <Dialog aria-label={t("nav.label")}>
            <div className="row between nowrap"><span className="brand"><Logo /> WhatsApp Gateway</span><Button look="quiet" icon="close" aria-label={t("common.close")} onPress={() => setDrawer(false)} /></div>
            <Nav onGo={() => setDrawer(false)} />
            {who}
          </Dialog>
        </Modal>
      </ModalOverlay>
      {isPalette && <Suspense><Palette onClose={() => setPalette(false)} /></Suspense>}
      <Toasts />
    </ViewerContext.Provider>
  );
}

let enterAgain: () => Promise<void> = async () => undefined;
/** After a change to what everybody's page shows: the workspace's name, who is asking. */
export const refreshViewer = (): void => void enterAgain();

/** Where a one-time link leads: open to who has no session. */
const isOutside = (path: string): boolean => /\/(setup|join|new-password)\/?$/.test(path) && path.split("/").filter(Boolean).length <= 2;

export function Shell() {
  const path = useRouterState({ select: ({ location }) => location.pathname });
  const [session, setSession] = useState<Session | null>(null);
  const [answer, setAnswer] = useState<ViewerQuery | null>(null);
  const [problem, setProblem] = useState<Problem | null>(null);

  const enter = useCallback(async () => {
    setProblem(null);
    try {
      const found = await whoAmI();
      setSession(found);
      if (found.kind === "nobody") return;
      const { data, problem } = await ask(ViewerDocument, {});
      setAnswer(data);
      setProblem(problem);
    } catch {
      setProblem(problemFrom("OFFLINE", null));
    }
  }, []);

  useEffect(() => void enter(), [enter]);
  useEffect(() => {
    enterAgain = enter;
  }, [enter]);
  useEffect(() => onSession((now) => {
    setSession(now);
    if (now.kind !== "nobody" || now.ended) return;
    setAnswer(null);
    setProblem(null);
  }), []);
  const person = session?.kind === "person" ? session.person : session?.kind === "nobody" ? (session.ended ?? null) : null;
  const isEnded = session?.kind === "nobody" && !!session.ended;
  const goOn = async () => {
    await enter();
    await refreshAll();
  };

  if (isOutside(path)) return <Suspense><Outlet /></Suspense>;
  if (session?.kind === "key" && problem?.code === "UNAUTHENTICATED")
    return <Centred><Callout tone="warn" title={t("session.noKey")}><p>{t("session.noKeyHelp")}</p></Callout></Centred>;
  if (problem && !isEnded) return <Centred><Failure problem={problem} retry={() => void enter()} /></Centred>;
  if (session?.kind === "nobody" && !answer) return <Suspense><Login onDone={() => void enter()} /><Toasts /></Suspense>;
  if (!session || !answer) return <Centred><Skeleton lines={3} /></Centred>;
  // Another person gets another page.
  return (
    <>
      <Chrome key={person?.id} answer={answer} person={person} />
      {isEnded && (
        <ModalOverlay className="again" isOpen>
          <Modal><Dialog aria-label={t("login.title")}><Suspense><Login email={person?.email} onDone={() => void goOn()} /></Suspense></Dialog></Modal>
        </ModalOverlay>
      )}
    </>
  );
}

const Centred = ({ children }: { children: ReactNode }) => (
  <main className="login"><div className="measure" style={{ inlineSize: "100%" }}><h1 className="visually-hidden">WhatsApp Gateway</h1>{children}</div></main>
);

/** A fault of the console itself, with something to quote when asking for help. */
export function Crash({ error }: ErrorComponentProps) {
  const message = error instanceof Error ? error.message : String(error);
  const router = useRouter();
  const isOldBuild = /dynamically imported module|Importing a module/.test(message);
  return (
    <div className="page">
      <h1>{t(isOldBuild ? "crash.newVersion" : "crash.title")}</h1>
      <Failure problem={{ ...problemFrom(isOldBuild ? "NEW_VERSION" : "CONSOLE", isOldBuild ? null : message) }} retry={() => (isOldBuild ? location.reload() : void router.invalidate())} />
    </div>
  );
}

export function NotFound() {
  return (
    <Page title={t("notFound.title")}>
      <section className="card"><Empty icon="search" title={t("notFound.what")} action={<ButtonLink to="/" look="primary">{t("notFound.home")}</ButtonLink>}>{t("notFound.why")}</Empty></section>
    </Page>
  );
}
