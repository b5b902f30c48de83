//! The gateway's GraphQL API: the only thing that the console talks to.
import { Client, fetchExchange, makeOperation, mapExchange, subscriptionExchange } from "@urql/core";
import type { Operation } from "@urql/core";
import { createClient as createSocket } from "graphql-ws";
import { endSession, isOver, onSession, requestHeaders } from "./session";

/** Read models follow the log within moments; after this long a question need not wait for what was written. */
const fresh_ms = 60_000;
let written: { position: string; at: number } | null = null;

export const later = (a: string, b: string): boolean => a.length > b.length || (a.length === b.length && a > b);

/** Remembers that something was written at `position`, so that what is asked next shows it. */
export function remember(position: string): void {
  if (!written || later(position, written.position)) written = { position, at: Date.now() };
  else written.at = Date.now();
}

/** Every mutation's payload has the position of its last event. */
function positionIn(data: unknown): string | null {
  if (!data || typeof data !== "object") return null;
  for (const payload of Object.values(data)) {
    const position = (payload as { position?: unknown } | null)?.position;
    if (typeof position === "string") return position;
  }
  return null;
}

function withMinPosition(operation: Operation): Operation {
  if (operation.kind !== "query" || operation.context.mayBeBehind) return operation;
  if (!written || Date.now() - written.at > fresh_ms) return operation;
  const declares = operation.query.definitions.some(
    (definition) =>
      definition.kind === "OperationDefinition" &&
      definition.variableDefinitions?.some(({ variable }) => variable.name.value === "minPosition"),
  );
  const variables = operation.variables as Record<string, unknown>;
  // The past does not wait for the present.
  if (!declares || variables.asOf) return operation;
  const asked = variables.minPosition;
  return makeOperation("query", { ...operation, variables: { ...variables, minPosition: typeof asked === "string" && later(asked, written.position) ? asked : written.position } }, operation.context);
}

const url = "/graphql";
const online = new Set<(isOnline: boolean) => void>();
let isOnline = true;

/** Between two attempts to reach the gateway, at most. */
const attempt_ms = 4_000;
/** A socket whose ping stays without an answer for so long is dead, whatever the browser says. */
const pong_ms = 5_000;

const waiting = new Set<() => void>();
/** Over after `ms` (null: not by itself), or as soon as something speaks for trying at once. */
function patience(ms: number | null): Promise<void> {
  return new Promise((done) => {
    const end = () => {
      clearTimeout(timer);
      waiting.delete(end);
      done();
    };
    const timer = ms === null ? undefined : setTimeout(end, ms);
    waiting.add(end);
  });
}
const tryNow = (): void => [...waiting].forEach((end) => end());

function report(now: boolean): void {
  if (now === isOnline) return;
  isOnline = now;
  for (const listener of online) listener(now);
  if (now) tryNow();
  else void knock();
}

/** Nothing on the screen may be asking by itself, so that this does until somebody answers. */
async function knock(): Promise<void> {
  while (!isOnline) {
    await patience(attempt_ms / 2);
    try {
      const { status } = await fetch(url, { method: "POST", headers: { "content-type": "application/json", ...requestHeaders() }, body: '{"query":"{__typename}"}' });
      report(status < 500);
    } catch {
      // Not yet.
    }
  }
}

export function onConnection(listener: (isOnline: boolean) => void): () => void {
  online.add(listener);
  return () => online.delete(listener);
}

export const connected = (): boolean => isOnline;

if (typeof window !== "undefined") {
  window.addEventListener("offline", () => {
    report(false);
    socket.terminate();
  });
  window.addEventListener("online", tryNow);
}
// The socket that was closed with the session opens again with the next one.
onSession(({ kind }) => kind === "person" && tryNow());

const again = new Set<() => void>();

/** Hears when the socket is there again after a cut: what happened meanwhile has to be asked for. */
export function onReconnected(listener: () => void): () => void {
  again.add(listener);
  return () => void again.delete(listener);
}

let unanswered: ReturnType<typeof setTimeout>;
const socket = createSocket({
  url: () => `${location.origin.replace(/^http/, "ws")}${url}`,
  lazy: true,
  keepAlive: 15_000,
  retryAttempts: Number.MAX_SAFE_INTEGER,
  shouldRetry: () => true,
  retryWait: (tries) => patience(isOver() ? null : Math.min(attempt_ms, 250 * 2 ** tries) * (0.75 + Math.random() / 2)),
  on: {
    ping: (isTheirs) => void (isTheirs || (unanswered = setTimeout(() => socket.terminate(), pong_ms))),
    pong: (isTheirs) => void (isTheirs && clearTimeout(unanswered)),
    closed: () => clearTimeout(unanswered),
    connected: (_socket, _payload, wasRetry) => {
      if (wasRetry) for (const listener of again) listener();
    },
  },
  connectionParams: () => ({ ...requestHeaders() }),
});

export const gateway = new Client({
  url,
  preferGetMethod: false,
  requestPolicy: "network-only",
  fetchOptions: () => ({ headers: requestHeaders(), credentials: "same-origin" }),
  exchanges: [
    mapExchange({
      onOperation: withMinPosition,
      onResult(result) {
        report(!result.error?.networkError || !!result.error.response);
        if (result.error?.graphQLErrors.some(({ extensions }) => extensions?.code === "UNAUTHENTICATED")) endSession();
        const position = result.operation.kind === "mutation" ? positionIn(result.data) : null;
        if (position) remember(position);
      },
    }),
    fetchExchange,
    subscriptionExchange({
      forwardSubscription: ({ query, variables }) => ({
        subscribe: (sink) => ({
          unsubscribe: socket.subscribe({ query: query ?? "", variables: variables as Record<string, unknown> }, sink as never),
        }),
      }),
    }),
  ],
});
