//! The log itself: one order in every view, filters in the address, and what happens now as it happens.
import { getRouteApi } from "@tanstack/react-router";
import { useEffect, useRef, useState } from "react";
import { EventsDocument, FollowEventsDocument, SettingsDocument, type EventFieldsFragment, type EventFilter } from "~/gen/graphql";
import { t } from "~/i18n";
import english from "~/i18n/en.json";
import { useFollow, useLoad, usePages } from "~/lib/data";
import { eventName, eventTone } from "~/lib/words";
import { Combo, Switch, TextInput } from "~/ui/fields";
import { actorName, FactItem, gist } from "~/ui/history";
import { Badge, Button, ButtonLink, Card, Empty, Failure, Page, Skeleton, Tabs, Time } from "~/ui/parts";
import { SettingsTabs } from "~/ui/settings-tabs";

const route = getRouteApi("/settings/events");
const live_max = 300;
const follow_again = 200;

const types = (Object.keys(english) as string[]).filter((key) => /^event\.[a-z_]+\.[a-z_]+$/.test(key)).map((key) => key.slice("event.".length)).sort();
const kinds = ["account", "template", "contact", "import", "segment", "campaign", "message", "workspace", "api_key", "webhook_endpoint"];

export function EventsScreen() {
  const search = route.useSearch();
  const { type, kind, id, correlation, since, view } = search;
  const navigate = route.useNavigate();
  const [isLive, setLive] = useState(false);
  const set = (part: Partial<typeof search>) => void navigate({ search: (before) => ({ ...before, ...part }), replace: true, resetScroll: false });
  const filter: EventFilter = { ...(type ? { types: [type] } : {}), ...(kind ? { aggregateType: kind } : {}), ...(id ? { aggregateIds: [id] } : {}), ...(correlation ? { correlationId: correlation } : {}) };
  const isFiltered = Object.keys(filter).length > 0 || !!since;

  return (
    <Page title={t("nav.settings")}>
      <SettingsTabs />
      <div className="toolbar" role="search" style={{ alignItems: "flex-end" }}>
        <div className="filter" style={{ flexBasis: "14rem" }}><Combo key={type ?? "any"} label={t("event.type")} value={type ?? ""} allowsOther={false} onChange={(value) => set({ type: value || undefined })} placeholder={t("event.anyType")} options={types.map((value) => ({ value, label: value, hint: eventName(value) }))} /></div>
        <div className="filter"><Combo key={`${kind ?? "any"}`} label={t("event.kind")} value={kind ?? ""} onChange={(value) => set({ kind: value || undefined })} placeholder={t("event.anyKind")} options={kinds.map((value) => ({ value, label: value }))} /></div>
        <div className="filter" style={{ flex: "1 1 14rem" }}><Late label={t("event.subject")} value={id ?? ""} onChange={(value) => set({ id: value || undefined })} /></div>
        <div className="filter" style={{ flex: "1 1 14rem" }}><Late label={t("event.correlation")} value={correlation ?? ""} onChange={(value) => set({ correlation: value || undefined })} /></div>
        <div className="filter" style={{ flexBasis: "9rem" }}><Late label={t("event.since")} value={since ?? ""} onChange={(value) => set({ since: value.replace(/\D/g, "") || undefined })} /></div>
      </div>
      <div className="row between">
        <Switch value={isLive} onChange={setLive}>{t("event.live")}</Switch>
        {isFiltered && <ButtonLink to="/settings/events" compact look="quiet">{t("event.clear")}</ButtonLink>}
      </div>
      {!isLive && <Tabs label={t("event.view")} name="view" items={[{ label: t("event.feed") }, { label: t("event.timeline"), value: "timeline" }, { label: "JSON", value: "json" }]} />}
      {isLive ? <Live filter={filter} /> : <Log filter={filter} since={since} view={view} />}
    </Page>
  );
}

/** Takes effect when somebody has finished typing. */
function Late({ label, value, onChange }: { label: string; value: string; onChange: (value: string) => void }) {
  const [text, setText] = useState(value);
  const [seen, setSeen] = useState(value);
  if (seen !== value) {
    setSeen(value);
    setText(value);
  }
  return <div onKeyDown={(event) => event.key === "Enter" && onChange(text.trim())}><TextInput label={label} mono value={text} onChange={setText} onBlur={() => text.trim() !== value && onChange(text.trim())} /></div>;
}

function Log({ filter, since, view }: { filter: EventFilter; since?: string; view?: string }) {
  const after = since ? String(Math.max(0, Number(since) - 1)) : "0";
  // The cursor of an event is where it stands: `after` of the next page.
  const pages = usePages(EventsDocument, { filter, after }, (data) => data.events);
  const { items, problem, hasMore, loadMore } = pages;
  return (
    <Card>
      <Failure problem={problem} />
      {!items && !problem && <Skeleton lines={8} />}
      {items?.length === 0 && <Empty icon="event" title={t("event.none")} />}
      {items && items.length > 0 && (view === "json" ? <pre className="json" style={{ maxBlockSize: "none" }} tabIndex={0} dir="ltr">{items.map((fact) => JSON.stringify(fact, null, 2)).join("\n")}</pre>
        : view === "timeline" ? <ol className="timeline">{items.map((fact) => <FactItem key={fact.id} fact={fact} />)}</ol> : <Feed facts={items} />)}
      {hasMore && <div><Button onPress={loadMore}>{t("common.showMore")}</Button></div>}
      {items && items.length > 0 && !hasMore && <p className="small muted">{t("event.end")}</p>}
    </Card>
  );
}

function Feed({ facts }: { facts: EventFieldsFragment[] }) {
  return (
    <ol className="list">
      {facts.map((fact) => (
        <li key={fact.id}>
          <details>
            <summary style={{ inlineSize: "100%" }}>
              <span className="num muted">#{fact.position}</span> <Badge tone={eventTone(fact.type)}>{eventName(fact.type)}</Badge>{" "}
              <Time at={fact.recordedAt} long /> · {actorName(fact.actor)}{gist(fact) && <> · <span className="break">{gist(fact)}</span></>}
            </summary>
            <pre className="json" tabIndex={0} dir="ltr">{JSON.stringify(fact, null, 2)}</pre>
          </details>
        </li>
      ))}
    </ol>
  );
}

function Live({ filter }: { filter: EventFilter }) {
  const [facts, setFacts] = useState<EventFieldsFragment[]>([]);
  // It begins where the log ends now, by the read model that is furthest. After a cut the socket comes back with the same position:
  // nothing is missed, and what was seen already is left out. Now and then the position moves on, so that little has to come again.
  const end = useLoad(SettingsDocument, {});
  const [after, setAfter] = useState<string | null>(null);
  const since = useRef(0);
  const furthest = end.data?.projections.map(({ position }) => Number(position)).reduce((a, b) => Math.max(a, b), 0);
  useEffect(() => {
    if (furthest !== undefined) setAfter((before) => before ?? String(furthest));
  }, [furthest]);
  useFollow(
    FollowEventsDocument,
    { filter, after },
    ({ events: fact }) => {
      setFacts((before) => (before.some(({ id }) => id === fact.id) ? before : [...before.slice(-live_max + 1), fact]));
      if (++since.current < follow_again) return;
      since.current = 0;
      setAfter(fact.position);
    },
    after === null,
  );
  return (
    <Card title={t("event.liveTitle")} actions={facts.length > 0 && <Button compact onPress={() => { setAfter(facts[facts.length - 1]?.position ?? after); setFacts([]); }}>{t("event.empty")}</Button>}>
      <div role="log" aria-label={t("event.liveTitle")}>{facts.length === 0 ? <p className="muted">{t("event.waiting")}</p> : <Feed facts={facts} />}</div>
    </Card>
  );
}
