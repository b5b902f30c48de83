//! What went between a number and a person. A log, in which only what is new is spoken; what is older comes while one scrolls up.
import { Link } from "@tanstack/react-router";
import { memo, useEffect, useLayoutEffect, useRef, useState, type ReactNode } from "react";
import type { MessageStatus } from "~/gen/graphql";
import { t } from "~/i18n";
import { clock, instant, shownZone, zoneWithOffset } from "~/lib/format";
import { byDay, isErased, isReaction, mediumOf, type Medium, type Thread as ThreadState, type ThreadMessage } from "~/lib/inbox";
import { useViewer } from "~/lib/viewer";
import { remedy } from "~/lib/words";
import { Icon } from "~/ui/icons";
import { Failure, Skeleton } from "~/ui/parts";
import { formatted } from "~/ui/phone";
import type { Pending } from "./composer";

/** So near to the end somebody is reading what comes. */
const near_px = 120;

export function Thread({ thread, pending, unread, name, onAgain, onDrop }: {
  thread: ThreadState; pending: Pending[]; unread: number; name: string; onAgain: (one: Pending) => void; onDrop: (one: Pending) => void;
}) {
  const { messages, problem, hasOlder, isLoadingOlder, loadOlder, refresh } = thread;
  const box = useRef<HTMLDivElement>(null);
  const place = useRef({ height: 0, first: "", isNear: true });
  const [hasNews, setNews] = useState(false);
  // What was unread when the conversation was opened stays marked as new until it is left.
  const newFrom = useRef<string | null | undefined>(undefined);
  if (messages && newFrom.current === undefined) newFrom.current = unread > 0 ? (messages.filter(({ direction }) => direction === "INBOUND").at(-unread)?.id ?? null) : null;

  const first = messages?.[0]?.id ?? "";
  const last = messages?.[messages.length - 1]?.id ?? "";
  useLayoutEffect(() => {
    const element = box.current;
    if (!element) return;
    const { height, first: before, isNear } = place.current;
    // Older ones above do not move what is being read.
    if (before && before !== first) element.scrollTop += element.scrollHeight - height;
    else if (isNear) element.scrollTop = element.scrollHeight;
    place.current = { ...place.current, height: element.scrollHeight, first };
  }, [first, last, messages?.length, pending.length]);
  useEffect(() => {
    if (last && !place.current.isNear) setNews(true);
  }, [last]);
  // The reply box grows, a picture loads: what was at the end stays there.
  useEffect(() => {
    const element = box.current;
    if (!element) return;
    const observer = new ResizeObserver(() => {
      if (place.current.isNear) element.scrollTop = element.scrollHeight;
      place.current.height = element.scrollHeight;
    });
    observer.observe(element);
    if (element.firstElementChild) observer.observe(element.firstElementChild);
    return () => observer.disconnect();
  }, [messages === null]);

  const onScroll = () => {
    const element = box.current;
    if (!element) return;
    place.current.isNear = element.scrollHeight - element.scrollTop - element.clientHeight < near_px;
    place.current.height = element.scrollHeight;
    if (place.current.isNear) setNews(false);
    if (element.scrollTop < 200 && hasOlder && !isLoadingOlder) loadOlder();
  };
  const toEnd = () => {
    setNews(false);
    box.current?.scrollTo({ top: box.current.scrollHeight });
  };

  const days = byDay(messages ?? []);
  return (
    <div className="thread-box">
      <div ref={box} className="thread-scroll" role="log" aria-live="off" aria-label={t("inbox.log", { who: name })} tabIndex={0} onScroll={onScroll}>
        <div className="thread-inner">
          <Failure problem={problem} retry={() => void refresh()} />
          {!messages && !problem && <Skeleton lines={5} />}
          {hasOlder && <button type="button" className="linklike small older" disabled={isLoadingOlder} onClick={loadOlder}>{isLoadingOlder ? t("common.loading") : t("contact.older")}</button>}
          {messages?.length === 0 && pending.length === 0 && <p className="muted older">{t("inbox.nothingYet")}</p>}
          {days.map((day) => (
            <section key={day.name} aria-label={day.name}>
              <p className="day"><span>{day.name} · {zoneWithOffset(shownZone(), new Date(day.messages[0]?.createdAt ?? Date.now()))}</span></p>
              <ol className="bubbles">
                {day.messages.map((message) => (
                  <li key={message.id} className={message.direction === "OUTBOUND" ? "ours" : undefined} data-new={message.id === newFrom.current || undefined}>
                    {message.id === newFrom.current && <p className="new"><span>{t("inbox.new")}</span></p>}
                    <Bubble message={message} name={name} />
                  </li>
                ))}
              </ol>
            </section>
          ))}
          {pending.length > 0 && (
            <ol className="bubbles">
              {pending.map((one) => (
                <li key={one.key} className="ours">
                  <div className="said-box" data-tone={one.problem ? "bad" : "pending"}>
                    <p className="pre" dir="auto">{one.preview}</p>
                    <p className="meta small">{one.problem ? t("inbox.notSent") : t("inbox.sending")}</p>
                  </div>
                  {one.problem && (
                    <div className="note">
                      <p className="err">{one.problem.sentence} {one.problem.detail}</p>
                      <p className="row"><button type="button" className="linklike" onClick={() => onAgain(one)}>{t("common.tryAgain")}</button><button type="button" className="linklike" onClick={() => onDrop(one)}>{t("inbox.drop")}</button></p>
                    </div>
                  )}
                </li>
              ))}
            </ol>
          )}
        </div>
      </div>
      {hasNews && <button type="button" className="btn compact to-end" onClick={toEnd}><Icon name="chevron" size={14} />{t("inbox.newBelow")}</button>}
    </div>
  );
}

const Bubble = memo(function Bubble({ message, name }: { message: ThreadMessage; name: string }) {
  const { direction, status, preview, createdAt, campaign, campaignId, failure, skipReason, statusReason, isTest } = message;
  const isOurs = direction === "OUTBOUND";
  const medium = mediumOf(message);
  const text = medium ? medium.caption : preview;
  const bad = status === "FAILED" || status === "EXPIRED" || status === "SKIPPED" || status === "CANCELLED";
  return (
    <>
      <div className="said-box" data-tone={bad ? "bad" : undefined}>
        <span className="visually-hidden">{isOurs ? t("inbox.weSaid") : t("inbox.theySaid", { who: name })}</span>
        {campaignId && (
          <p className="from small"><Icon name="campaign" size={14} />{campaign ? <Link to="/campaigns/$id" params={{ id: campaignId }} className="ellipsis">{campaign.name}</Link> : t("nav.campaign")}{isTest && <span> · {t("message.test")}</span>}</p>
        )}
        {medium && <MediumBox id={message.id} medium={medium} isErased={isErased(message)} />}
        {isErased(message) ? <p className="muted">{t("inbox.erased")}</p> : isReaction(message)
          ? <p className="reaction" dir="auto">{preview || t("inbox.unreacted")}</p>
          : (text || !medium) && <p className="pre" dir="auto">{text ? withLinks(text) : <span className="muted">{t("message.noText")}</span>}</p>}
        <p className="meta small">
          <Link to="/messages/$id" params={{ id: message.id }}><time dateTime={createdAt} title={`${instant(createdAt, undefined, true)} · ${instant(createdAt, "UTC", true)}`}>{clock(createdAt)}</time></Link>
          {isOurs && <Ticks status={status} />}
        </p>
      </div>
      {failure && (
        <div className="note">
          <p className="err">{failure.title}</p>
          <p className="small">{remedy(failure.code) ?? failure.details ?? t("remedy.none")}</p>
        </div>
      )}
      {status === "SKIPPED" && <div className="note"><p className="err">{skipReason ? t(`skip.${skipReason}`) : t("message.status.SKIPPED")}</p>{statusReason && <p className="small">{statusReason}</p>}</div>}
    </>
  );
});

const meaning: Partial<Record<MessageStatus, "inbox.means.waiting" | "inbox.means.accepted" | "inbox.means.sent" | "inbox.means.delivered" | "inbox.means.read" | "inbox.means.doubt">> = {
  SCHEDULED: "inbox.means.waiting", QUEUED: "inbox.means.waiting", SENDING: "inbox.means.waiting", ACCEPTED: "inbox.means.accepted", SENT: "inbox.means.sent",
  DELIVERED: "inbox.means.delivered", READ: "inbox.means.read", IN_DOUBT: "inbox.means.doubt",
};

function Ticks({ status }: { status: MessageStatus }) {
  const means = meaning[status];
  const icon = status === "DELIVERED" || status === "READ" ? "ticks" : status === "ACCEPTED" || status === "SENT" ? "check" : means ? "clock" : "warning";
  return <span className="ticks" data-status={status} title={means && t(means)}><Icon name={icon} size={14} />{t(`message.status.${status}`)}</span>;
}

function MediumBox({ id, medium, isErased: isGone }: { id: string; medium: Medium; isErased: boolean }) {
  const { can } = useViewer();
  const { kind, path, link, filename } = medium;
  const word = t(`inbox.media.${kind}`);
  if (isGone) return null;
  if (path && !can("PERSONAL")) return <p className="file"><Icon name="attach" size={16} />{word} · {t("inbox.mediaHidden")}</p>;
  if (path && (kind === "image" || kind === "sticker")) return <Picture path={path} kind={kind} alt={medium.caption ?? word} />;
  const href = path ?? link;
  return (
    <p className="file">
      <Icon name="attach" size={16} />
      {href ? <a href={href} {...(path ? { download: filename ?? `${kind}-${id}` } : { target: "_blank", rel: "noopener noreferrer" })} className="break">{filename ?? word}</a> : <span className="break">{filename ?? word}</span>}
      {filename && <span className="small muted">{word}</span>}
    </p>
  );
}

const tries_max = 6;
const try_again_ms = 2_500;

/** The gateway answers 503 while it is still fetching what somebody sent a moment ago. */
function Picture({ path, kind, alt }: { path: string; kind: "image" | "sticker"; alt: string }) {
  const [tries, setTries] = useState(0);
  const [isGone, setGone] = useState(false);
  const timer = useRef<ReturnType<typeof setTimeout>>(undefined);
  useEffect(() => () => clearTimeout(timer.current), []);
  const again = () => {
    if (tries >= tries_max) return setGone(true);
    timer.current = setTimeout(() => setTries(tries + 1), try_again_ms);
  };
  if (isGone) return <p className="file"><Icon name="attach" size={16} />{t(`inbox.media.${kind}`)} · {t("inbox.mediaGone")}</p>;
  return <a href={path} download className={`picture ${kind}`}><img src={tries > 0 ? `${path}?try=${tries}` : path} alt={alt} loading="lazy" decoding="async" onError={again} /></a>;
}

/** Addresses in what somebody wrote can be followed; nothing else of it means anything here. */
function withLinks(text: string): ReactNode {
  return text.split(/(https?:\/\/[^\s<>"]+[^\s<>".,;:!?)\]])/).map((part, index) =>
    index % 2 === 1 ? <a key={index} href={part} target="_blank" rel="noopener noreferrer nofollow">{part}</a> : <span key={index}>{formatted(part)}</span>);
}
