import { getRouteApi, Link, useNavigate } from "@tanstack/react-router";
import { useState, type FormEvent } from "react";
import {
  CreateWebhookEndpointDocument, DeleteWebhookEndpointDocument, ReplayWebhookDocument, RotateWebhookSecretDocument, UpdateWebhookEndpointDocument, ResendWebhookDocument, WebhookDeliveriesDocument, WebhookEndpointDocument, WebhookEndpointsDocument,
} from "~/gen/graphql";
import { t } from "~/i18n";
import { useCommand, once, useLoad, usePages } from "~/lib/data";
import { isAbout, sentenceCase } from "~/lib/errors";
import { browserZone, number, offset, toInputValue } from "~/lib/format";
import { useViewer } from "~/lib/viewer";
import { EndpointBadge } from "~/lib/words";
import { Check, Switch, TextInput, Words } from "~/ui/fields";
import { Dialog, More, useConfirm } from "~/ui/overlay";
import { Back, Badge, Button, Callout, Card, Copy, Empty, Facts, Failure, Page, Skeleton, Tabs, Time } from "~/ui/parts";
import { SettingsTabs } from "~/ui/settings-tabs";
import { ListCard } from "~/ui/table";

export function WebhooksScreen() {
  const { can } = useViewer();
  const [isMaking, setMaking] = useState(false);
  const pages = usePages(WebhookEndpointsDocument, {}, (data) => data.webhookEndpoints, { everyMs: 5_000 });
  const make = can("MANAGE") && <Button look="primary" icon="plus" onPress={() => setMaking(true)}>{t("webhook.new")}</Button>;
  return (
    <Page title={t("nav.settings")} actions={pages.items && pages.items.length > 0 && make}>
      <SettingsTabs />
      <ListCard pages={pages} label={t("settings.webhooks")} id={({ id }) => id} linked empty={<Empty icon="code" title={t("webhook.none")} action={make}>{t("webhook.noneHelp")}</Empty>} columns={[
        { title: t("webhook.url"), width: "40%", cell: ({ id, url, types }) => <span style={{ minInlineSize: 0 }}><Link className="row-link break" to="/settings/webhooks/$id" params={{ id }}>{url}</Link><span className="sub break">{types.length > 0 ? types.join(", ") : t("webhook.allTypes")}</span></span> },
        { title: t("filter.status"), cell: ({ status }) => <EndpointBadge status={status} /> },
        { title: t("webhook.lag"), end: true, cell: ({ lag }) => <span className="num">{number(lag)}</span> },
        { title: t("webhook.lastFailure"), cell: ({ lastFailure }) => lastFailure ? <span><span className="break">{sentenceCase(lastFailure.error)}</span><span className="sub"><Time at={lastFailure.at} /></span></span> : t("webhook.noFailure") },
      ]} />
      {isMaking && <NewEndpoint onClose={() => setMaking(false)} />}
    </Page>
  );
}

function Secret({ secret, onClose }: { secret: string; onClose: () => void }) {
  return (
    <Dialog title={t("webhook.secret")} isOpen onClose={onClose}>
      {secret ? <Callout tone="warn" title={t("key.once")}><p>{t("webhook.secretHelp")}</p></Callout> : <Callout tone="bad" title={t("webhook.secretLost")} />}
      {secret && <div className="row nowrap"><code className="break grow">{secret}</code><Copy text={secret} label={t("common.copy")} /></div>}
      <div className="row end"><Button look="primary" onPress={onClose}>{t("key.kept")}</Button></div>
    </Dialog>
  );
}

function NewEndpoint({ onClose }: { onClose: () => void }) {
  const { can } = useViewer();
  const create = useCommand(CreateWebhookEndpointDocument, t("webhook.made"));
  const [url, setUrl] = useState("");
  const [types, setTypes] = useState<string[]>([]);
  const [includePersonal, setPersonal] = useState(false);
  const [batch, setBatch] = useState(false);
  const [rate, setRate] = useState("");
  const [secret, setSecret] = useState<string | null>(null);
  const save = async (event: FormEvent) => {
    event.preventDefault();
    const done = await create.run({ input: { url: url.trim(), types, includePersonal, batch, idempotencyKey: once, ...(rate ? { eventsPerSecond: Number(rate) } : {}) } });
    if (!done) return;
    setSecret(done.createWebhookEndpoint.secret ?? "");
  };
  if (secret !== null) return <Secret secret={secret} onClose={onClose} />;
  return (
    <Dialog title={t("webhook.new")} isOpen onClose={onClose}>
      <form className="stack" onSubmit={(event) => void save(event)}>
        <TextInput label={t("webhook.url")} type="url" help={t("webhook.urlHelp")} value={url} onChange={setUrl} isRequired autoFocus placeholder="https://example.com/whatsapp" error={isAbout(create.problem, "url") ? create.problem?.detail : null} />
        <Words label={t("webhook.types")} optional help={t("webhook.typesHelp")} values={types} onChange={setTypes} />
        {can("PERSONAL") && <Check value={includePersonal} onChange={setPersonal}>{t("webhook.personal")}</Check>}
        <Check value={batch} onChange={setBatch}>{t("webhook.batch")}</Check>
        <TextInput label={t("webhook.rate")} optional inputMode="numeric" value={rate} onChange={(value) => setRate(value.replace(/\D/g, ""))} />
        <Failure problem={create.problem} />
        <div className="row end"><Button onPress={onClose}>{t("common.cancel")}</Button><Button type="submit" look="primary" busy={create.isSaving} isDisabled={!url.trim()}>{t("webhook.new")}</Button></div>
      </form>
    </Dialog>
  );
}

const route = getRouteApi("/settings/webhooks/$id");

export function WebhookScreen() {
  const { id } = route.useParams();
  const { failed } = route.useSearch();
  const navigate = useNavigate();
  const { can } = useViewer();
  const { data, problem, refresh } = useLoad(WebhookEndpointDocument, { id }, { everyMs: 5_000 });
  const endpoint = data?.webhookEndpoint;
  const update = useCommand(UpdateWebhookEndpointDocument);
  const rotate = useCommand(RotateWebhookSecretDocument, null);
  const remove = useCommand(DeleteWebhookEndpointDocument, t("webhook.deletedNow"));
  const [dialog, confirm] = useConfirm(remove.problem ?? rotate.problem, remove.isSaving || rotate.isSaving);
  const [secret, setSecret] = useState<string | null>(null);
  const [isReplaying, setReplaying] = useState(false);

  return (
    <Page title={endpoint?.url ?? t("settings.webhook")} status={endpoint && <EndpointBadge status={endpoint.status} />} back={<Back to="/settings/webhooks">{t("settings.webhooks")}</Back>}
      actions={endpoint && can("MANAGE") && endpoint.status !== "DELETED" && (
        <>
          <Switch value={endpoint.enabled} isDisabled={update.isSaving} onChange={(enabled) => void update.run({ input: { id, enabled } })}>{t("webhook.enabled")}</Switch>
          <Button onPress={() => setReplaying(true)}>{t("webhook.replay")}</Button>
          <More label={t("common.more")} items={[
            { label: t("webhook.rotate"), run: () => confirm({ title: t("webhook.rotate"), body: <p>{t("webhook.rotateBody")}</p>, action: t("webhook.rotate"), run: () => rotate.run({ id }).then((done) => { setSecret(done?.rotateWebhookSecret.secret ?? null); return done; }) }) },
            { label: t("webhook.delete"), danger: true, run: () => confirm({ title: t("webhook.delete"), danger: true, body: <p>{t("webhook.deleteBody")}</p>, action: t("webhook.delete"), run: () => remove.run({ id }).then((done) => { if (done) void navigate({ to: "/settings/webhooks" }); return done; }) }) },
          ]} />
        </>
      )}>
      <Failure problem={problem ?? update.problem} retry={() => void refresh()} />
      {!data && !problem && <Skeleton />}
      {data && !endpoint && <Callout tone="warn" title={t("error.NOT_FOUND")} />}
      {endpoint && (
        <>
          {endpoint.pauseReason && <Callout tone="warn" title={t(`webhook.pause.${endpoint.pauseReason}`)} />}
          {endpoint.replay && <Callout title={t("webhook.replaying", { after: endpoint.replay.after, until: endpoint.replay.until })} />}
          <Card title={t("webhook.about")}>
            <Facts layout="grid" items={[
              [t("webhook.lag"), number(endpoint.lag)],
              [t("webhook.delivered"), number(Number(endpoint.deliveredPosition))],
              [t("webhook.types"), endpoint.types.length > 0 ? endpoint.types.join(", ") : t("webhook.allTypes")],
              [t("webhook.personalShort"), endpoint.includePersonal ? t("common.yes") : t("webhook.masked")],
              [t("webhook.rate"), endpoint.eventsPerSecond ? number(endpoint.eventsPerSecond) : t("common.none")],
              [t("common.createdAt"), <Time at={endpoint.createdAt} />],
            ]} />
            {endpoint.lastFailure && <Callout tone="bad" title={sentenceCase(endpoint.lastFailure.error)}><p><Time at={endpoint.lastFailure.at} long />{endpoint.lastFailure.nextAttemptAt && new Date(endpoint.lastFailure.nextAttemptAt) > new Date() && <> · {t("webhook.nextAttempt")} <Time at={endpoint.lastFailure.nextAttemptAt} /></>}</p></Callout>}
          </Card>
          <Tabs label={t("webhook.attempts")} name="failed" items={[{ label: t("webhook.allAttempts") }, { label: t("webhook.failedAttempts"), value: "yes" }]} />
          <Deliveries key={failed} id={id} failedOnly={failed === "yes"} mayResend={can("MANAGE") && endpoint.status !== "DELETED"} />
        </>
      )}
      {dialog}
      {secret && <Secret secret={secret} onClose={() => setSecret(null)} />}
      {isReplaying && <Replay id={id} onClose={() => setReplaying(false)} />}
    </Page>
  );
}

function Deliveries({ id, failedOnly, mayResend }: { id: string; failedOnly: boolean; mayResend: boolean }) {
  const { items: attempts, problem, hasMore, loadMore } = usePages(WebhookDeliveriesDocument, { id, failedOnly }, (data) => data.webhookEndpoint?.deliveries, { everyMs: 5_000 });
  const resend = useCommand(ResendWebhookDocument, t("webhook.resentNow"));
  if (!attempts) return <Card>{problem ? <Failure problem={problem} /> : <Skeleton />}</Card>;
  if (attempts.length === 0) return <section className="card"><Empty icon="event" title={t("webhook.noAttempts")} /></section>;
  return (
    <Card>
      <Failure problem={problem ?? resend.problem} />
      <ul className="list">
        {attempts.map((attempt) => (
          <li key={attempt.id} className="stack tight">
            <div className="row between">
              <span className="row"><Badge tone={attempt.error ? "bad" : "good"}>{attempt.status ?? t("webhook.noAnswer")}</Badge><Link to="/settings/events" search={{ since: attempt.eventPosition }}>{t("history.position", { n: attempt.eventPosition })}</Link>{attempt.isReplay && <Badge tone="info">{t("webhook.isReplay")}</Badge>}{attempt.attempt > 1 && <span className="small muted">{t("webhook.attemptN", { n: attempt.attempt })}</span>}</span>
              <span className="row"><span className="small muted">{number(attempt.latencyMs)} ms · <Time at={attempt.at} long /></span>
                {mayResend && <Button compact isDisabled={resend.isSaving} aria-label={t("webhook.resendThis", { n: attempt.eventPosition })} onPress={() => void resend.run({ id, eventPosition: attempt.eventPosition })}>{t("webhook.resend")}</Button>}</span>
            </div>
            {attempt.error && <p className="small break">{sentenceCase(attempt.error)}</p>}
            {attempt.response && <details><summary>{t("webhook.response")}</summary><pre className="json" tabIndex={0} dir="ltr">{attempt.response}</pre></details>}
          </li>
        ))}
      </ul>
      {hasMore && <div><Button compact onPress={loadMore}>{t("common.showMore")}</Button></div>}
    </Card>
  );
}

function Replay({ id, onClose }: { id: string; onClose: () => void }) {
  const replay = useCommand(ReplayWebhookDocument, t("webhook.replayStarted"));
  const [from, setFrom] = useState(toInputValue(new Date(Date.now() - 3_600_000)));
  const run = async (event: FormEvent) => {
    event.preventDefault();
    const done = await replay.run({ id, after: "0", recordedFrom: new Date(from).toISOString() });
    if (done) onClose();
  };
  return (
    <Dialog title={t("webhook.replay")} isOpen onClose={onClose}>
      <form className="stack" onSubmit={(event) => void run(event)}>
        <p className="muted">{t("webhook.replayHelp")}</p>
        <TextInput label={t("webhook.replayFrom")} type="datetime-local" value={from} onChange={setFrom} help={`${browserZone().replaceAll("_", " ")} (${offset(browserZone())})`} />
        <Failure problem={replay.problem} />
        <div className="row end"><Button onPress={onClose}>{t("common.cancel")}</Button><Button type="submit" look="primary" busy={replay.isSaving} isDisabled={!from}>{t("webhook.replay")}</Button></div>
      </form>
    </Dialog>
  );
}
