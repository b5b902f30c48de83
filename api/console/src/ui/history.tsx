//! What happened to a thing, in the order of the log: who, when, because of what.
import { Link } from "@tanstack/react-router";
import type { EventFieldsFragment } from "~/gen/graphql";
import { has, t, type Key } from "~/i18n";
import type { Pages } from "~/lib/data";
import { eventName, eventTone } from "~/lib/words";
import { Button, Card, Failure, Skeleton, Time } from "./parts";

type Fact = EventFieldsFragment;

export function actorName({ kind, id, name }: Fact["actor"]): string {
  return `${t(`actor.${kind}`)}${kind === "WHATSAPP" || kind === "SYSTEM" ? "" : ` · ${name ?? id}`}`;
}

const text = (data: unknown, ...path: string[]): string | null => {
  let value = data;
  for (const part of path) value = (value as Record<string, unknown> | null | undefined)?.[part];
  return typeof value === "string" && value ? value : typeof value === "number" ? String(value) : null;
};

/** The one thing of an event that people want to know without opening it. */
export function gist({ type, data }: Fact): string | null {
  const reason = text(data, "reason");
  if (type === "message.skipped" && reason) return has(`skip.${reason}`) ? t(`skip.${reason}` as Key) : reason;
  const status = text(data, "status");
  if (type === "contact.consent_recorded" && status && has(`consent.${status}`)) return [t(`consent.${status}` as Key), text(data, "source")].filter(Boolean).join(" · ");
  return text(data, "title") ?? text(data, "content", "preview") ?? reason ?? text(data, "source") ?? text(data, "name") ?? status;
}

export function FactItem({ fact }: { fact: Fact }) {
  const said = gist(fact);
  return (
    <li data-tone={eventTone(fact.type)}>
      <div className="stack tight" style={{ gap: "0.125rem" }}>
        <div className="row between"><span className="what">{eventName(fact.type)}</span><span className="small muted"><Time at={fact.occurredAt} long /></span></div>
        {said && <p className="break gist" dir="auto">{said}</p>}
        <details>
          <summary className="break">{actorName(fact.actor)} · {t("history.details")}</summary>
          <pre className="json" tabIndex={0} dir="ltr">{JSON.stringify(fact.data, null, 2)}</pre>
          <p className="small muted break">
            <code>{fact.type}</code> v{fact.version} · {t("history.position", { n: fact.position })} ·{" "}
            <Link to="/settings/events" search={{ correlation: fact.correlationId }}>{t("history.related")}</Link>
          </p>
        </details>
      </div>
    </li>
  );
}

export function History({ pages, title = t("history.title") }: { pages: Pages<Fact>; title?: string }) {
  const { items, problem, hasMore, loadMore } = pages;
  return (
    <Card title={title}>
      <Failure problem={problem} />
      {!items && !problem && <Skeleton />}
      {items && items.length === 0 && <p className="muted">{t("history.nothing")}</p>}
      {items && items.length > 0 && <ol className="timeline">{items.map((fact) => <FactItem key={fact.id} fact={fact} />)}</ol>}
      {hasMore && <Button onPress={loadMore}>{t("common.showMore")}</Button>}
    </Card>
  );
}
