//! What somebody likes, on this browser: nothing here is anybody's data.
import { useSyncExternalStore } from "react";

export const languages = ["en", "pt", "es"] as const;
export type Language = (typeof languages)[number];

export interface Preferences {
  theme: "system" | "light" | "dark";
  language: Language;
  /** `rtl` lays everything out from right to left, whatever the language. */
  direction: "auto" | "rtl";
  /** The zone that instants are shown in; `local` is the browser's. */
  zone: string;
  /** Single-key shortcuts get in the way of speech input (WCAG 2.1.4). */
  shortcuts: boolean;
  /** Whether WhatsApp shows people, by blue ticks, that somebody here has read what they wrote. */
  receipts: boolean;
}

const key = "console.preferences";
const listeners = new Set<() => void>();
let current = read();

function browserLanguage(): Language {
  const asked = navigator.languages.map((tag) => tag.slice(0, 2).toLowerCase());
  return languages.find((language) => asked.includes(language)) ?? "en";
}

function read(): Preferences {
  const defaults: Preferences = {
    theme: "system",
    language: browserLanguage(),
    direction: "auto",
    zone: "local",
    shortcuts: true,
    receipts: true,
  };
  try {
    return { ...defaults, ...(JSON.parse(localStorage.getItem(key) ?? "{}") as Partial<Preferences>) };
  } catch {
    return defaults;
  }
}

export const preferences = () => current;

export function setPreferences(change: Partial<Preferences>): void {
  current = { ...current, ...change };
  try {
    localStorage.setItem(key, JSON.stringify(current));
  } catch {
    // A browser that keeps nothing still shows what was chosen, until it is closed.
  }
  applyToDocument();
  for (const listener of listeners) listener();
}

export function applyToDocument(): void {
  const root = document.documentElement;
  if (current.theme === "system") delete root.dataset.theme;
  else root.dataset.theme = current.theme;
  root.lang = current.language;
  root.dir = current.direction === "rtl" ? "rtl" : "ltr";
}

export function usePreferences(): Preferences {
  return useSyncExternalStore(
    (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    () => current,
  );
}
