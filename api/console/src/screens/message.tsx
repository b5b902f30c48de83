import { getRouteApi, Link } from "@tanstack/react-router";
import { useState, type FormEvent } from "react";
import { CancelMessageDocument, MessageDocument, MessageHistoryDocument, RescheduleMessageDocument, ResolveInDoubtDocument, type InDoubtResolution, type MessageQuery } from "~/gen/graphql";
import { t } from "~/i18n";
import { useCommand, useLoad, usePages } from "~/lib/data";
import { useViewer } from "~/lib/viewer";
import { browserZone, toInputValue, zoneWithOffset } from "~/lib/format";
import { MessageBadge, remedy } from "~/lib/words";
import { AsOfBanner, AsOfButton } from "~/ui/asof";
import { actorName, History } from "~/ui/history";
import { TextInput } from "~/ui/fields";
import { Dialog, useConfirm } from "~/ui/overlay";
import { formatted } from "~/ui/phone";
import { Back, Button, Callout, Card, Copy, Facts, Failure, Page, Skeleton, Time } from "~/ui/parts";

const route = getRouteApi("/messages/$id");
type Message = NonNullable<MessageQuery["message"]>;

export function MessageScreen() {
  const { id } = route.useParams();
  const { asOf } = route.useSearch();
  const navigate = route.useNavigate();
  const { can } = useViewer();
  const { data, problem, refresh } = useLoad(MessageDocument, { id, asOf }, asOf ? {} : { everyMs: 4_000 });
  const history = usePages(MessageHistoryDocument, { id }, (answer) => answer.message?.history, { everyMs: 4_000 });
  const cancel = useCommand(CancelMessageDocument, t("message.cancelledNow"));
  const resolve = useCommand(ResolveInDoubtDocument);
  const [dialog, confirm] = useConfirm(cancel.problem ?? resolve.problem, cancel.isSaving || resolve.isSaving);
  const [isMoving, setMoving] = useState(false);
  const message = data?.message;
  const travel = (to: string | undefined) => void navigate({ search: to ? { asOf: to } : {} });
  const isLive = !!message && !asOf && can("SEND");
  const settle = (resolution: InDoubtResolution) => confirm({ title: t(`message.resolve.${resolution}`), body: <p>{t(`message.resolveBody.${resolution}`)}</p>, action: t(`message.resolve.${resolution}`), danger: resolution === "SEND_AGAIN", run: () => resolve.run({ id, resolution }) });

  return (
    <Page title={message ? (message.direction === "OUTBOUND" ? t("message.to", { who: message.contact?.name ?? message.to ?? t("contact.noName") }) : t("message.from", { who: message.contact?.name ?? message.from ?? t("contact.noName") })) : t("nav.message")}
      status={message && <MessageBadge status={message.status} />} back={<Back to="/messages">{t("nav.messages")}</Back>}
      actions={message && (
        <>
          <AsOfButton asOf={asOf} since={message.createdAt} onChange={travel} />
          {isLive && (message.status === "SCHEDULED" || message.status === "QUEUED") && <Button onPress={() => setMoving(true)}>{t("message.reschedule")}</Button>}
          {isLive && (message.status === "SCHEDULED" || message.status === "QUEUED") && <Button look="danger" onPress={() => confirm({ title: t("message.cancel"), danger: true, body: <p>{t("message.cancelBody")}</p>, action: t("message.cancel"), reason: t("common.reason"), run: (reason) => cancel.run({ id, reason }) })}>{t("message.cancel")}</Button>}
        </>
      )}>
      <AsOfBanner asOf={asOf} onChange={travel} />
      {asOf && problem?.code === "NOT_FOUND" ? <Callout title={t("asOf.notYet")} /> : <Failure problem={problem} retry={() => void refresh()} />}
      {!message && !problem && <Skeleton lines={6} />}
      {message && (
        <div className="columns wide">
          <div className="stack loose">
            {message.failure && (
              <Callout tone="bad" title={message.failure.title}>
                {message.failure.details && <p>{message.failure.details}</p>}
                {!message.failure.details && <p>{remedy(message.failure.code) ?? t("remedy.none")}</p>}
                <p className="small">{message.failure.retryable ? t("message.retryable") : t("message.permanent")}{message.failure.code ? <> · <code>{message.failure.code}</code></> : null}</p>
              </Callout>
            )}
            {message.skipReason && <Callout tone="warn" title={t(`skip.${message.skipReason}`)}>{message.statusReason && <p>{message.statusReason}</p>}</Callout>}
            {message.status === "IN_DOUBT" && (
              <Callout tone="warn" title={t("message.inDoubt")}>
                <p>{t("message.inDoubtHelp")}</p>
                {isLive && <div className="row"><Button compact onPress={() => settle("TREAT_AS_SENT")}>{t("message.resolve.TREAT_AS_SENT")}</Button><Button compact onPress={() => settle("SEND_AGAIN")}>{t("message.resolve.SEND_AGAIN")}</Button><Button compact onPress={() => settle("GIVE_UP")}>{t("message.resolve.GIVE_UP")}</Button></div>}
              </Callout>
            )}
            <Card title={t("message.text")}><p className="pre" dir="auto">{message.preview ? formatted(message.preview) : t("message.noText")}</p></Card>
            <History pages={history} title={t("message.whatHappened")} />
          </div>
          <div className="stack loose">
            <Why message={message} facts={history.items} />
            <Details message={message} />
          </div>
        </div>
      )}
      {dialog}
      {message && isMoving && <RescheduleDialog message={message} onClose={() => setMoving(false)} />}
    </Page>
  );
}

function RescheduleDialog({ message, onClose }: { message: Message; onClose: () => void }) {
  const reschedule = useCommand(RescheduleMessageDocument, t("message.rescheduledNow"));
  const [value, setValue] = useState(() => toInputValue(new Date(Math.max(Date.now() + 3_600_000, new Date(message.dueAt ?? 0).getTime()))));
  const at = value ? new Date(value) : null;
  const save = async (event: FormEvent) => {
    event.preventDefault();
    if (at && (await reschedule.run({ id: message.id, sendAt: at.toISOString() }))) onClose();
  };
  return (
    <Dialog title={t("message.reschedule")} isOpen onClose={onClose}>
      <form className="stack" onSubmit={(event) => void save(event)}>
        <p className="muted">{t("message.rescheduleHelp")}</p>
        <TextInput label={t("message.sendAt")} type="datetime-local" value={value} onChange={setValue} help={zoneWithOffset(browserZone(), at ?? undefined)} isRequired autoFocus />
        <Failure problem={reschedule.problem} />
        <div className="row end"><Button onPress={onClose}>{t("common.cancel")}</Button><Button type="submit" look="primary" busy={reschedule.isSaving} isDisabled={!at}>{t("common.save")}</Button></div>
      </form>
    </Dialog>
  );
}

type FactList = React.ComponentProps<typeof History>["pages"]["items"];

/** From the message back to what caused it: the campaign, or the request and who made it. */
function Why({ message, facts }: { message: Message; facts: FactList }) {
  const first = facts?.[0];
  return (
    <Card title={message.direction === "INBOUND" ? t("message.whyReceived") : message.status === "SKIPPED" ? t("message.whyNot") : t("message.whySent")}>
      <Facts items={[
        [t("message.because"), message.direction === "INBOUND" ? t("message.byPerson") : message.campaign ? <Link to="/campaigns/$id" params={{ id: message.campaign.id }}>{message.campaign.name}</Link> : message.isTest ? t("message.test") : t("message.single")],
        ...(message.launchedBy ? [[t("message.askedBy"), actorName(message.launchedBy)] as [string, React.ReactNode]] : []),
        ...(message.contactId ? [[t("contact.consent"), <Link to="/contacts/$id" params={{ id: message.contactId }} search={{ asOf: message.acceptedAt ?? message.createdAt }}>{t("message.consentThen")}</Link>] as [string, React.ReactNode]] : []),
        ...(message.templateId ? [[t("nav.template"), <Link to="/templates/$id" params={{ id: message.templateId }}>{t("message.seeTemplate")}</Link>] as [string, React.ReactNode]] : []),
        [t("message.chain"), first && <Link to="/settings/events" search={{ correlation: first.correlationId }}>{t("message.seeChain")}</Link>],
      ]} />
    </Card>
  );
}

function Details({ message }: { message: Message }) {
  const times: [string, string | null | undefined][] = [
    [t("message.time.created"), message.createdAt], [t("message.time.due"), message.dueAt], [t("message.time.accepted"), message.acceptedAt], [t("message.time.sent"), message.sentAt], [t("message.time.delivered"), message.deliveredAt],
    [t("message.time.read"), message.readAt], [t("message.time.clicked"), message.clickedAt], [t("message.time.replied"), message.repliedAt], [t("message.time.failed"), message.failedAt],
  ];
  const pricing = (message.pricing ?? null) as { billable?: boolean; category?: string } | null;
  return (
    <Card title={t("message.details")}>
      <Facts items={[
        [t("message.person"), message.contactId ? <Link to="/contacts/$id" params={{ id: message.contactId }}>{message.contact?.name ?? message.to ?? message.from ?? t("contact.noName")}</Link> : null],
        [t("account.number"), <span dir="ltr" className="num">{message.to ?? message.from}</span>],
        [t("nav.number"), message.account && <Link to="/numbers/$id" params={{ id: message.account.id }}>{message.account.name}</Link>],
        ...times.filter(([, at]) => at).map(([name, at]) => [name, <Time at={at} long />] as [string, React.ReactNode]),
        ...(message.attempts > 1 ? [[t("message.attempts"), message.attempts] as [string, React.ReactNode]] : []),
        ...(pricing?.category ? [[t("message.billed"), `${pricing.category}${pricing.billable === false ? ` · ${t("message.free")}` : ""}`] as [string, React.ReactNode]] : []),
        ...(message.externalId ? [[t("message.externalId"), <code>{message.externalId}</code>] as [string, React.ReactNode]] : []),
        [t("message.id"), <span className="row nowrap"><code className="break">{message.id}</code><Copy text={message.id} label={t("common.copy")} /></span>],
        ...(message.wamid ? [["wamid", <span className="row nowrap"><code className="break">{message.wamid}</code><Copy text={message.wamid} label={t("common.copy")} /></span>] as [string, React.ReactNode]] : []),
      ]} />
    </Card>
  );
}
