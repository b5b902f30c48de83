//! What somebody has begun to write to a person, in this tab alone. Whoever signs out leaves none of it behind.
import { onSession } from "./session";

const prefix = "console.draft.";

export function draftOf(id: string): string {
  try {
    return sessionStorage.getItem(prefix + id) ?? "";
  } catch {
    return "";
  }
}

export function keepDraft(id: string, text: string): void {
  try {
    if (text) sessionStorage.setItem(prefix + id, text);
    else sessionStorage.removeItem(prefix + id);
  } catch {
    // It is still in the box; only a reload loses it.
  }
}

function clear(): void {
  try {
    for (const key of Object.keys(sessionStorage)) if (key.startsWith(prefix)) sessionStorage.removeItem(key);
  } catch {
    // A browser that keeps nothing has nothing to forget.
  }
}

// A session that ran out is gone on with by the same person, who finds what they had begun.
onSession((session) => session.kind === "nobody" && !session.ended && clear());
