//! Who is at the console. A cookie that no script can read is the session; beside it, everything that changes something carries
//! the session's CSRF token. Where somebody puts an API key on the requests (the proxy, while developing) there is no session.
import { useSyncExternalStore } from "react";
import type { Role, Scope } from "~/gen/graphql";
import { problem, sentenceCase, type Problem } from "./errors";

export interface Person {
  id: string;
  name: string;
  email: string;
  role: Role;
  hasSecondFactor: boolean;
  scopes: Scope[];
  /** null: every one. */
  workspaceIds: string[] | null;
  accountIds: string[] | null;
}

export type Session =
  /** The gateway knows who this is. */
  | { kind: "person"; person: Person; csrfToken: string }
  /** Requests are let in, or not, by the key that they come with. */
  | { kind: "key" }
  /** `ended`: whose session it was, where the gateway ended it and the person did not: what they had begun is kept for them. */
  | { kind: "nobody"; ended?: Person };

interface SessionBody {
  user: Person;
  csrfToken: string;
}

let session: Session = { kind: "nobody" };
const listeners = new Set<(session: Session) => void>();

function become(next: Session): Session {
  session = next;
  for (const listener of listeners) listener(next);
  return next;
}

function adopt({ user, csrfToken }: SessionBody): Session {
  // Somebody else in the same tab, by a link or after a session's end: first everything of who was here goes.
  const before = session.kind === "person" ? session.person : session.kind === "nobody" ? session.ended : undefined;
  if (before && before.id !== user.id) become({ kind: "nobody" });
  return become({ kind: "person", person: user, csrfToken });
}

/** Hears of every change: somebody else, another token, nobody any more. */
export function onSession(listener: (session: Session) => void): () => void {
  listeners.add(listener);
  return () => void listeners.delete(listener);
}

export const useSession = (): Session => useSyncExternalStore(onSession, () => session);

/** The session is over by the gateway's word. */
export function endSession(): void {
  if (session.kind === "person") become({ kind: "nobody", ended: session.person });
}

/** Whoever signs out does so in every tab. */
const farewells = typeof BroadcastChannel === "undefined" ? null : new BroadcastChannel("console.signed-out");
farewells?.addEventListener("message", () => become({ kind: "nobody" }));

/** Whether there is nobody to ask for. */
export const isOver = (): boolean => session.kind === "nobody";

/** What every request carries beside the cookie, so that no other site can make it. */
export const requestHeaders = (): Record<string, string> =>
  session.kind === "person" ? { "x-csrf-token": session.csrfToken } : {};

const isJson = (response: Response): boolean => response.headers.get("content-type")?.includes("json") ?? false;

/** Asks the gateway who this is. Throws where it cannot be reached. */
export async function whoAmI(): Promise<Session> {
  const response = await fetch("/session", { headers: { accept: "application/json" } });
  if (response.ok && isJson(response)) return adopt((await response.json()) as SessionBody);
  if (response.status === 401) {
    endSession();
    return session.kind === "nobody" ? session : become({ kind: "nobody" });
  }
  if (response.status === 404 || response.status === 405 || response.ok) return become({ kind: "key" });
  throw new Error(`/session answered ${response.status}`);
}

export type Reply<T> = { body: T; problem: null } | { body: null; problem: Problem };

interface Refusal {
  error?: { code: string; message: string; field?: string | null };
}

async function send<T>(method: "POST" | "PUT" | "DELETE", path: string, body?: unknown): Promise<Reply<T>> {
  try {
    const response = await fetch(path, {
      method,
      headers: { accept: "application/json", "content-type": "application/json", ...requestHeaders() },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const answer: unknown = isJson(response) ? await response.json() : null;
    if (response.ok) return { body: answer as T, problem: null };
    const error = (answer as Refusal | null)?.error;
    return { body: null, problem: problem(error?.code ?? "INTERNAL", error ? sentenceCase(error.message) : null, error?.field ?? null) };
  } catch {
    return { body: null, problem: problem("OFFLINE", null) };
  }
}

async function begin<T extends SessionBody>(request: Promise<Reply<T>>): Promise<Reply<T>> {
  const reply = await request;
  if (reply.body) adopt(reply.body);
  return reply;
}

/** As the other requests of who is signed in: where the gateway knows them no more, the session is over. */
async function own<T>(request: Promise<Reply<T>>): Promise<Reply<T>> {
  const reply = await request;
  if (reply.problem?.code === "UNAUTHENTICATED") endSession();
  return reply;
}

/** `code`: of the authenticator app, or a recovery code, once the gateway asks for it by the field `code` of its refusal. */
export const login = (credentials: { email: string; password: string; code?: string }) =>
  begin(send<SessionBody>("POST", "/session", credentials));

/** Chooses a password by a one-time link. Name and email are the first owner's. */
export const acceptLink = (input: { token: string; password: string; name?: string; email?: string }) =>
  begin(send<SessionBody>("POST", "/session/link", input));

export const changePassword = (currentPassword: string, password: string) =>
  own(begin(send<SessionBody>("POST", "/session/password", { currentPassword, password })));

export const enrolSecondFactor = (currentPassword: string) =>
  own(send<{ secret: string; uri: string }>("POST", "/session/second-factor", { currentPassword }));

export const confirmSecondFactor = (code: string) =>
  own(begin(send<SessionBody & { recoveryCodes: string[] }>("PUT", "/session/second-factor", { code })));

export const endSecondFactor = (currentPassword: string) =>
  own(begin(send<SessionBody>("DELETE", "/session/second-factor", { currentPassword })));

/** `null` once the session is over; otherwise why the gateway may still think that it goes on. */
export async function logout(): Promise<Problem | null> {
  const { problem } = await send<null>("DELETE", "/session");
  if (problem && problem.code !== "UNAUTHENTICATED") return problem;
  become({ kind: "nobody" });
  farewells?.postMessage(null);
  return null;
}
