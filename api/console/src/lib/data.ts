//! How screens read and write. A command counts as saved when everything on the screen has been read again and shows it.
import { useCallback, useEffect, useRef, useState } from "react";
import type { TypedDocumentString } from "~/gen/graphql";
import { t } from "~/i18n";
import { problem as problemFrom, problemOf, type Problem } from "./errors";
import { gateway, onConnection } from "./gateway";
import { isOver, onSession } from "./session";
import { announce } from "~/ui/toasts";

type Variables = Record<string, unknown>;

export type Answer<T> = { data: T; problem: null } | { data: null; problem: Problem };

export async function ask<T, V>(
  document: TypedDocumentString<T, V>,
  variables: V,
  options: { mayBeBehind?: boolean } = {},
): Promise<Answer<T>> {
  // Behind the sign-in screens are as they were, and ask nothing.
  if (isOver()) return { data: null, problem: problemFrom("UNAUTHENTICATED", null) };
  const result = await gateway.query<T>(document.toString(), variables as Variables, options).toPromise();
  if (result.data && !result.error) return { data: result.data, problem: null };
  if (!result.error) return { data: null, problem: null as never };
  const problem = problemOf(result.error);
  if (problem.code === "STALE" && !options.mayBeBehind) {
    // Better a list that is a few seconds old, and says so, than none.
    announce(t("common.catchingUp"), "info");
    return ask(document, variables, { mayBeBehind: true });
  }
  return { data: null, problem };
}

export async function tell<T, V>(document: TypedDocumentString<T, V>, variables: V): Promise<Answer<T>> {
  const result = await gateway.mutation<T>(document.toString(), variables as Variables).toPromise();
  if (result.error) return { data: null, problem: problemOf(result.error) };
  return { data: result.data as T, problem: null };
}

/** Everything that is on the screen, so that a command can have it read again. */
const onScreen = new Set<() => Promise<void>>();
export const refreshAll = async (): Promise<void> => {
  await Promise.all([...onScreen].map((refresh) => refresh()));
};

/** What was answered last, to show at once when somebody comes back. Bounded: the oldest goes first. */
const answered = new Map<string, unknown>();
function keep(key: string, data: unknown): void {
  answered.delete(key);
  answered.set(key, data);
  const oldest = answered.keys().next().value;
  if (answered.size > 60 && oldest !== undefined) answered.delete(oldest);
}
/** Nothing that was shown is shown again before it is asked anew: somebody was erased. */
export const forget = (): void => answered.clear();
// What one person was shown is not the next one's to see.
onSession(({ kind }) => kind === "nobody" && forget());

export interface Loaded<T> {
  data: T | null;
  problem: Problem | null;
  isLoading: boolean;
  refresh: () => Promise<void>;
}

export function useLoad<T, V>(
  document: TypedDocumentString<T, V>,
  variables: V,
  { everyMs, pause = false }: { everyMs?: number; pause?: boolean } = {},
): Loaded<T> {
  const key = document.toString() + JSON.stringify(variables);
  const [state, setState] = useState<{ key: string; data: T | null; problem: Problem | null; isLoading: boolean }>(() => ({
    key,
    data: (answered.get(key) as T) ?? null,
    problem: null,
    isLoading: !pause,
  }));
  const latest = useRef(key);
  latest.current = key;

  const refresh = useCallback(async () => {
    const { data, problem } = await ask(document, variables);
    if (data) keep(key, data);
    if (latest.current === key)
      setState((before) => ({ key, data: data ?? (before.key === key ? before.data : null), problem, isLoading: false }));
    // eslint-disable-next-line react-hooks/exhaustive-deps
  }, [key]);

  useEffect(() => {
    if (pause) return;
    setState((before) =>
      before.key === key ? { ...before, isLoading: true } : { key, data: (answered.get(key) as T) ?? null, problem: null, isLoading: true },
    );
    void refresh();
    onScreen.add(refresh);
    return () => void onScreen.delete(refresh);
  }, [key, pause, refresh]);

  useEffect(() => {
    if (!everyMs || pause) return;
    const timer = setInterval(() => document && window.document.visibilityState === "visible" && void refresh(), everyMs);
    return () => clearInterval(timer);
  }, [everyMs, pause, refresh]);

  const isCurrent = state.key === key;
  return {
    data: isCurrent ? state.data : ((answered.get(key) as T) ?? null),
    problem: isCurrent ? state.problem : null,
    isLoading: isCurrent ? state.isLoading : !pause,
    refresh,
  };
}

interface Connection<N> {
  nodes: N[];
  pageInfo: { hasNextPage: boolean; endCursor?: string | null };
}

export interface Pages<N> {
  items: N[] | null;
  problem: Problem | null;
  isLoading: boolean;
  hasMore: boolean;
  loadMore: () => void;
}

const page_size = 100;
const page_size_max = 500;

/** A list that grows as it is scrolled. */
export function usePages<T, V extends Variables, N>(
  document: TypedDocumentString<T, V>,
  variables: V,
  connection: (data: T) => Connection<N> | null | undefined,
  { everyMs }: { everyMs?: number } = {},
): Pages<N> {
  const key = document.toString() + JSON.stringify(variables);
  type State = { key: string; items: N[] | null; cursor: string | null; hasMore: boolean; problem: Problem | null; isLoading: boolean };
  const empty: State = { key, items: null, cursor: null, hasMore: false, problem: null, isLoading: true };
  const [state, setState] = useState<State>(empty);
  const current = useRef(state);
  current.current = state;
  const busy = useRef("");

  const load = useCallback(
    async (mode: "again" | "more") => {
      const { items, cursor } = current.current.key === key ? current.current : { items: null, cursor: null };
      const isMore = mode === "more" && items !== null;
      const job = key + mode;
      if (isMore && busy.current === job) return;
      busy.current = job;
      let after = isMore ? cursor : ((variables.after as string | undefined) ?? null);
      let first = isMore ? page_size : Math.min(page_size_max, Math.max(page_size, items?.length ?? 0));
      const found: N[] = [];
      let hasMore = true;
      let problem: Problem | null = null;
      // A search that looked far and found little answers a short page with more to come.
      for (let tries = 0; tries < 20 && hasMore && found.length < 1; tries++) {
        const answer = await ask(document, { ...variables, first, after } as V);
        problem = answer.problem;
        const page = answer.data && connection(answer.data);
        if (!page) {
          hasMore = false;
          break;
        }
        found.push(...page.nodes);
        hasMore = page.pageInfo.hasNextPage;
        after = page.pageInfo.endCursor ?? after;
        first = page_size;
      }
      if (busy.current === job) busy.current = "";
      setState((before) => {
        const kept = before.key === key ? (before.items ?? []) : [];
        if (problem) return { ...before, key, items: before.key === key ? before.items : null, problem, isLoading: false };
        // A further page came while the first ones were read again: what is shown is more than what this knows.
        if (!isMore && kept.length > (items?.length ?? 0) && items !== null) return { ...before, isLoading: false };
        return { key, items: isMore ? [...kept, ...found] : found, cursor: after, hasMore, problem: null, isLoading: false };
      });
    },
    // eslint-disable-next-line react-hooks/exhaustive-deps
    [key],
  );

  useEffect(() => {
    const refresh = () => load("again");
    setState((before) => (before.key === key ? before : empty));
    void refresh();
    onScreen.add(refresh);
    const timer = everyMs
      ? setInterval(() => {
          // What somebody has scrolled far down in does not change under their eyes.
          const few = (current.current.items?.length ?? 0) <= page_size;
          if (few && window.document.visibilityState === "visible") void refresh();
        }, everyMs)
      : undefined;
    return () => {
      onScreen.delete(refresh);
      clearInterval(timer);
    };
    // eslint-disable-next-line react-hooks/exhaustive-deps
  }, [key, load, everyMs]);

  const shown = state.key === key ? state : empty;
  const loadMore = useCallback(() => void load("more"), [load]);
  return { items: shown.items, problem: shown.problem, isLoading: shown.isLoading, hasMore: shown.hasMore, loadMore };
}

/** Calls `then` when what failed for want of a connection or a session may be tried again. */
export function useReturn(then: () => void): void {
  const latest = useRef(then);
  latest.current = then;
  useEffect(() => {
    const ends = [onConnection((isOnline) => isOnline && latest.current()), onSession(({ kind }) => kind === "person" && latest.current())];
    return () => ends.forEach((end) => end());
  }, []);
}

export type CommandState = "idle" | "saving" | "saved";

export interface Command<T, V> {
  run: (variables: V) => Promise<T | null>;
  state: CommandState;
  isSaving: boolean;
  problem: Problem | null;
  clear: () => void;
}

/**
 * What stands for an `idempotencyKey` in a command's variables. The same form sent again after a lost answer has the same key, so
 * that it is done once; a form that was changed has another.
 */
export const once = "once";

type Keyed = { idempotencyKey?: unknown; input?: { idempotencyKey?: unknown } };

/** `said`: what to announce once the screen shows it; null says nothing. */
export function useCommand<T, V>(document: TypedDocumentString<T, V>, said: string | null = t("common.saved")): Command<T, V> {
  const [state, setState] = useState<CommandState>("idle");
  const [problem, setProblem] = useState<Problem | null>(null);
  const alive = useRef(true);
  useEffect(() => {
    alive.current = true;
    return () => void (alive.current = false);
  }, []);

  const attempt = useRef<{ what: string; key: string } | null>(null);
  const run = useCallback(
    async (given: V) => {
      setState("saving");
      setProblem(null);
      let variables = given;
      const { input, idempotencyKey } = given as Keyed;
      if (idempotencyKey === once || input?.idempotencyKey === once) {
        const what = JSON.stringify(given);
        if (attempt.current?.what !== what) attempt.current = { what, key: crypto.randomUUID() };
        const { key } = attempt.current;
        variables = (idempotencyKey === once ? { ...given, idempotencyKey: key } : { ...given, input: { ...input, idempotencyKey: key } }) as V;
      }
      const answer = await tell(document, variables);
      if (answer.problem) {
        if (alive.current) {
          setProblem(answer.problem);
          setState("idle");
        }
        return null;
      }
      attempt.current = null;
      await refreshAll();
      if (alive.current) setState("saved");
      if (said) announce(said, "good");
      return answer.data;
    },
    [document, said],
  );
  const clear = useCallback(() => setProblem(null), []);
  // What it failed for is over.
  useReturn(() => setProblem((before) => (before?.code === "UNAUTHENTICATED" || before?.code === "OFFLINE" ? null : before)));
  return { run, state, isSaving: state === "saving", problem, clear };
}

/** Follows a subscription; the socket reconnects by itself, and `onData` hears what comes after: of a progress, where it is then. */
export function useFollow<T, V>(
  document: TypedDocumentString<T, V>,
  variables: V,
  onData: (data: T) => void,
  pause = false,
): void {
  const handler = useRef(onData);
  handler.current = onData;
  const key = JSON.stringify(variables);
  useEffect(() => {
    if (pause) return;
    const { unsubscribe } = gateway
      .subscription<T>(document.toString(), variables as Variables)
      .subscribe(({ data }) => data && handler.current(data));
    return unsubscribe;
    // eslint-disable-next-line react-hooks/exhaustive-deps
  }, [document, key, pause]);
}

/** Has `refresh` run whenever what is on the screen is read again, for what is kept in a form of its own. */
export function useOnScreen(refresh: () => Promise<void>): void {
  useEffect(() => {
    onScreen.add(refresh);
    return () => void onScreen.delete(refresh);
  }, [refresh]);
}
