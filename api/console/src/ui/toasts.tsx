//! Short news, read out politely and gone by itself. Errors stay where they belong, beside what failed.
import { useEffect, useSyncExternalStore } from "react";
import { Icon } from "./icons";

interface Toast {
  id: number;
  text: string;
  tone: "good" | "info";
}

let toasts: Toast[] = [];
let next = 1;
const listeners = new Set<() => void>();
const shown_ms = 5_000;

function change(to: Toast[]): void {
  toasts = to;
  for (const listener of listeners) listener();
}

export function announce(text: string, tone: Toast["tone"] = "good"): void {
  if (toasts.some((toast) => toast.text === text)) return;
  const id = next++;
  change([...toasts.slice(-2), { id, text, tone }]);
  setTimeout(() => change(toasts.filter((toast) => toast.id !== id)), shown_ms);
}

export function Toasts() {
  const shown = useSyncExternalStore(
    (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    () => toasts,
  );
  useEffect(() => () => change([]), []);
  return (
    <div className="toasts" role="status" aria-live="polite">
      {shown.map(({ id, text, tone }) => (
        <div key={id} className="toast">
          <Icon name={tone === "good" ? "check" : "clock"} size={16} />
          {text}
        </div>
      ))}
    </div>
  );
}
