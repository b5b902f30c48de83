//! Conversations as the Inbox shows them: a thread that grows at both ends, live and without a gap, and what is being written.
import { useCallback, useEffect, useRef, useState } from "react";
import { ConversationActivityDocument, FollowEventsDocument, ThreadDocument, type ConversationActivitySubscription, type MediaInput, type ThreadMessageFragment } from "~/gen/graphql";
import { t } from "~/i18n";
import { ask, refreshAll, useFollow, useOnScreen } from "./data";
import { problem, sentenceCase, type Problem } from "./errors";
import { day } from "./format";
import { onReconnected } from "./gateway";
import { requestHeaders } from "./session";

export type ThreadMessage = ThreadMessageFragment;
export type Activity = ConversationActivitySubscription["conversationActivity"];

const page_size = 50;
/** Further up than this nothing changes that anybody waits for. */
const again_max = 100;
/** Lists are read again once in that time at most; a campaign under way, which changes many messages in a second, waits longer. */
const refresh_every_ms = 1_000;
const refresh_in_campaign_ms = 5_000;
/** Between an answer and the subscription that goes on from it something may happen: everything is asked for once more. */
const gap_ms = 2_000;

export interface Thread {
  /** Oldest first. */
  messages: ThreadMessage[] | null;
  problem: Problem | null;
  hasOlder: boolean;
  isLoadingOlder: boolean;
  loadOlder: () => void;
  take: (message: Activity) => void;
  refresh: () => Promise<void>;
}

const inOrder = (a: ThreadMessage, b: ThreadMessage): number => a.createdAt.localeCompare(b.createdAt) || a.id.localeCompare(b.id);
/** What is as it was stays the same object, and draws nothing anew. */
function merged(known: readonly ThreadMessage[], news: readonly ThreadMessage[]): ThreadMessage[] {
  const all = new Map(known.map((message) => [message.id, message]));
  let isChanged = false;
  for (const message of news) {
    const before = all.get(message.id);
    if (before && JSON.stringify(before) === JSON.stringify(message)) continue;
    all.set(message.id, message);
    isChanged = true;
  }
  return isChanged ? [...all.values()].sort(inOrder) : (known as ThreadMessage[]);
}

/** Of one conversation: a component that shows another one is another component. */
export function useThread(id: string): Thread {
  const [messages, setMessages] = useState<ThreadMessage[] | null>(null);
  const [failed, setFailed] = useState<Problem | null>(null);
  const [older, setOlder] = useState<{ cursor: string | null; has: boolean; isLoading: boolean }>({ cursor: null, has: false, isLoading: false });
  const state = useRef({ count: 0, cursor: null as string | null, isLoading: false, isFirst: true });
  state.current.count = messages?.length ?? 0;

  const refresh = useCallback(async () => {
    const answer = await ask(ThreadDocument, { id, last: Math.min(again_max, Math.max(page_size, state.current.count)) });
    setFailed(answer.problem);
    const page = answer.data?.conversation?.messages;
    if (!page) return;
    setMessages((known) => merged(known ?? [], page.nodes));
    if (!state.current.isFirst) return;
    state.current.isFirst = false;
    state.current.cursor = page.pageInfo.startCursor ?? null;
    setOlder({ cursor: state.current.cursor, has: page.pageInfo.hasPreviousPage, isLoading: false });
  }, [id]);

  const loadOlder = useCallback(async () => {
    if (state.current.isLoading || !state.current.cursor) return;
    state.current.isLoading = true;
    setOlder((before) => ({ ...before, isLoading: true }));
    const answer = await ask(ThreadDocument, { id, last: page_size, before: state.current.cursor });
    state.current.isLoading = false;
    setFailed(answer.problem);
    const page = answer.data?.conversation?.messages;
    if (!page) return setOlder((before) => ({ ...before, isLoading: false }));
    state.current.cursor = page.pageInfo.startCursor ?? state.current.cursor;
    setMessages((known) => merged(known ?? [], page.nodes));
    setOlder({ cursor: state.current.cursor, has: page.pageInfo.hasPreviousPage && page.nodes.length > 0, isLoading: false });
  }, [id]);

  useEffect(() => void refresh(), [refresh]);
  useOnScreen(refresh);

  const take = useCallback(({ contact: _, ...message }: Activity) => setMessages((known) => known && merged(known, [message])), []);
  return { messages, problem: failed, hasOlder: older.has, isLoadingOlder: older.isLoading, loadOlder: () => void loadOlder(), take, refresh };
}

const hearers = new Set<(message: Activity) => void>();

/** Every message of every conversation, as it comes or changes, while the Inbox follows them. */
export function useNews(onMessage: (message: Activity) => void): void {
  const handler = useRef(onMessage);
  handler.current = onMessage;
  useEffect(() => {
    const hear = (message: Activity) => handler.current(message);
    hearers.add(hear);
    return () => void hearers.delete(hear);
  }, []);
}

/** Follows what happens, and has what is on the screen read again; after a cut, everything. */
export function useActivity(): void {
  const timer = useRef<ReturnType<typeof setTimeout>>(undefined);
  const due = useRef(0);
  const last = useRef(0);
  const soon = useCallback((everyMs = refresh_every_ms) => {
    const at = Math.max(Date.now() + 100, last.current + everyMs);
    if (timer.current !== undefined && due.current <= at) return;
    clearTimeout(timer.current);
    due.current = at;
    timer.current = setTimeout(() => {
      timer.current = undefined;
      last.current = Date.now();
      void refreshAll();
    }, at - Date.now());
  }, []);

  useFollow(ConversationActivityDocument, {}, ({ conversationActivity: message }) => {
    for (const hear of hearers) hear(message);
    soon(message.direction === "OUTBOUND" && message.campaignId ? refresh_in_campaign_ms : refresh_every_ms);
  });
  // Who has read what, and whose a conversation is, are no messages.
  useFollow(FollowEventsDocument, { filter: { aggregateType: "conversation" } }, () => soon());

  useEffect(() => {
    const once = setTimeout(() => soon(), gap_ms);
    const stop = onReconnected(() => {
      void refreshAll();
      setTimeout(() => soon(), gap_ms);
    });
    const look = () => document.visibilityState === "visible" && soon();
    document.addEventListener("visibilitychange", look);
    return () => {
      clearTimeout(once);
      clearTimeout(timer.current);
      timer.current = undefined;
      stop();
      document.removeEventListener("visibilitychange", look);
    };
  }, [soon]);
}

export interface Day {
  name: string;
  messages: ThreadMessage[];
}

export function byDay(messages: readonly ThreadMessage[]): Day[] {
  const days: Day[] = [];
  for (const message of messages) {
    const name = day(message.createdAt);
    const last = days[days.length - 1];
    if (last?.name === name) last.messages.push(message);
    else days.push({ name, messages: [message] });
  }
  return days;
}

export type MediaWord = "image" | "video" | "audio" | "document" | "sticker";
const mediaWords: readonly string[] = ["image", "video", "audio", "document", "sticker"];

export interface Medium {
  kind: MediaWord;
  /** Of the gateway, for what people sent. */
  path: string | null;
  /** Where WhatsApp fetches it from, for what was sent by link. */
  link: string | null;
  caption: string | null;
  filename: string | null;
}

type Json = Record<string, unknown>;
const text = (value: unknown): string | null => (typeof value === "string" && value ? value : null);

export function mediumOf({ content }: ThreadMessage): Medium | null {
  const { kind, type, media, mediaUrl, body, source, caption, filename } = (content ?? {}) as Json;
  const word = text(kind === "inbound" ? type : kind === "media" ? media : null);
  if (!word || !mediaWords.includes(word)) return null;
  const inner = (body ?? {}) as Json;
  return {
    kind: word as MediaWord, path: text(mediaUrl), link: text((source as Json | undefined)?.link),
    caption: text(caption) ?? text(inner.caption), filename: text(filename) ?? text(inner.filename),
  };
}

export const isErased = ({ content }: ThreadMessage): boolean => (content as Json | null)?.erased === true;
export const isReaction = ({ content }: ThreadMessage): boolean => {
  const { kind, type } = (content ?? {}) as Json;
  return kind === "reaction" || type === "reaction";
};

/** What WhatsApp shows a file of this type as. */
export function mediaKind(mimeType: string): MediaInput["kind"] {
  if (mimeType === "image/webp") return "STICKER";
  const [family] = mimeType.split("/");
  return family === "image" ? "IMAGE" : family === "video" ? "VIDEO" : family === "audio" ? "AUDIO" : "DOCUMENT";
}

/** Hands a file to WhatsApp by the gateway, which checks its type and size; answers the id that a send names. */
export async function upload(accountId: string, file: File): Promise<{ id: string } | Problem> {
  const query = new URLSearchParams({ accountId, fileName: file.name });
  try {
    const response = await fetch(`/media?${query}`, { method: "POST", headers: { "content-type": file.type || "application/octet-stream", ...requestHeaders() }, body: file });
    const answer = (await response.json()) as { id?: string; error?: { code: string; message: string; field?: string; id?: string } };
    if (answer.error) return problem(answer.error.code, sentenceCase(answer.error.message), answer.error.field ?? null, answer.error.id);
    return answer.id ? { id: answer.id } : problem("INTERNAL", null);
  } catch {
    return problem("OFFLINE", t("inbox.notUploaded"));
  }
}
