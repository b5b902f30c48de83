//! Who is at the console. The contract that is assumed of the gateway's `/session` is in README.md; where a gateway does
//! not have it yet, whoever puts an API key on the requests (the proxy, while developing) is who is asking.

export interface Person {
  id: string;
  name: string;
  email: string;
  role: "OWNER" | "MANAGER" | "SENDER" | "VIEWER";
}

export type Session =
  /** The gateway knows who this is. */
  | { kind: "person"; person: Person; csrfToken: string }
  /** The gateway has no sessions: requests are let in, or not, by the key that they come with. */
  | { kind: "key" }
  | { kind: "nobody" };

export interface Login {
  email: string;
  password: string;
  /** Six digits, once the gateway has asked for them. */
  totp?: string;
}

export type LoginResult = "ok" | "totpRequired" | "wrong" | "throttled" | "unavailable";

let session: Session = { kind: "nobody" };
const ended = new Set<() => void>();

const isJson = (response: Response): boolean => response.headers.get("content-type")?.includes("json") ?? false;

/** Asks the gateway who this is. Throws where it cannot be reached. */
export async function whoAmI(): Promise<Session> {
  const response = await fetch("/session", { headers: { accept: "application/json" } });
  if (response.ok && isJson(response)) {
    const { user, csrfToken } = (await response.json()) as { user: Person; csrfToken: string };
    return (session = { kind: "person", person: user, csrfToken });
  }
  if (response.status === 401) return (session = { kind: "nobody" });
  if (response.status === 404 || response.status === 405 || response.ok) return (session = { kind: "key" });
  throw new Error(`/session answered ${response.status}`);
}

export async function login(credentials: Login): Promise<LoginResult> {
  try {
    const response = await fetch("/session", {
      method: "POST",
      headers: { "content-type": "application/json", accept: "application/json" },
      body: JSON.stringify(credentials),
    });
    if (response.ok) {
      await whoAmI();
      return "ok";
    }
    if (response.status === 429) return "throttled";
    if (response.status !== 401) return "unavailable";
    const { error } = (await response.json()) as { error?: { code?: string } };
    return error?.code === "TOTP_REQUIRED" ? "totpRequired" : "wrong";
  } catch {
    return "unavailable";
  }
}

export async function logout(): Promise<void> {
  await fetch("/session", { method: "DELETE", headers: requestHeaders() }).catch(() => undefined);
  endSession();
}

/** The session is over, by the person's wish or the gateway's word. */
export function endSession(): void {
  if (session.kind !== "person") return;
  session = { kind: "nobody" };
  for (const listener of ended) listener();
}

export function onSessionEnd(listener: () => void): () => void {
  ended.add(listener);
  return () => ended.delete(listener);
}

/** What every request carries beside the cookie, so that no other site can make it. */
export const requestHeaders = (): Record<string, string> =>
  session.kind === "person" ? { "x-csrf-token": session.csrfToken } : {};
