//! The one-time links of set-up, invitations and lost passwords. The token stands behind the `#`, which no server sees; it leaves
//! the address at once, so that no history, bookmark or picture of the screen keeps it.
import { useSyncExternalStore } from "react";

let token: string | null = null;
const listeners = new Set<() => void>();

function take(): void {
  const found = new URLSearchParams(location.hash.slice(1)).get("token");
  if (!found) return;
  history.replaceState(history.state, "", location.pathname + location.search);
  token = found;
  for (const listener of listeners) listener();
}

/** To be called before anything else looks at the address. */
export function watchLinks(): void {
  take();
  // A second link that is opened in the same tab changes nothing but the fragment.
  window.addEventListener("hashchange", take);
}

export function forgetLink(): void {
  token = null;
}

const subscribe = (listener: () => void) => {
  listeners.add(listener);
  return () => void listeners.delete(listener);
};

export const useLinkToken = (): string | null => useSyncExternalStore(subscribe, () => token);
