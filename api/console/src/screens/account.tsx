import { getRouteApi } from "@tanstack/react-router";
import { useState, type FormEvent } from "react";
import {
  AccountDocument, AccountHistoryDocument, DisconnectAccountDocument, PauseAccountDocument, ResumeAccountDocument, RotateCredentialsDocument, UpdateAccountDocument,
  type AccountQuery, type InDoubtAction,
} from "~/gen/graphql";
import { t } from "~/i18n";
import { useCommand, useLoad, usePages } from "~/lib/data";
import { isAbout, sentenceCase } from "~/lib/errors";
import { duration, number, offset } from "~/lib/format";
import { useViewer } from "~/lib/viewer";
import { AccountBadge, QualityBadge } from "~/lib/words";
import { Check, Choose, TextInput, ZoneField } from "~/ui/fields";
import { Health } from "~/ui/health";
import { History } from "~/ui/history";
import { LoopTest } from "~/ui/loop";
import { More, useConfirm } from "~/ui/overlay";
import { Back, Button, Callout, Card, Copy, Facts, Failure, Page, Skeleton, Tabs, Time } from "~/ui/parts";

const route = getRouteApi("/numbers/$id");
type Account = NonNullable<AccountQuery["account"]>;

export function AccountScreen() {
  const { id } = route.useParams();
  const { tab } = route.useSearch();
  const { can } = useViewer();
  const { data, problem, refresh } = useLoad(AccountDocument, { id }, { everyMs: 10_000 });
  const pause = useCommand(PauseAccountDocument, t("account.pausedNow"));
  const resume = useCommand(ResumeAccountDocument, t("account.resumedNow"));
  const disconnect = useCommand(DisconnectAccountDocument, t("account.disconnectedNow"));
  const [dialog, confirm] = useConfirm(pause.problem ?? resume.problem ?? disconnect.problem, pause.isSaving || resume.isSaving || disconnect.isSaving);
  const account = data?.account;

  const actions = account && can("MANAGE") && account.status !== "DISCONNECTED" && (
    <>
      {account.status === "CONNECTED"
        ? <Button icon="pause" onPress={() => confirm({ title: t("account.pause"), body: <p>{t("account.pauseBody")}</p>, action: t("account.pause"), reason: t("common.reason"), run: (reason) => pause.run({ id, reason }) })}>{t("account.pause")}</Button>
        : <Button look="primary" busy={resume.isSaving} onPress={() => void resume.run({ id })}>{t("account.resume")}</Button>}
      <More label={t("common.more")} items={[{
        label: t("account.disconnect"), danger: true,
        run: () => confirm({ title: t("account.disconnect"), danger: true, body: <p>{t("account.disconnectBody", { name: account.name })}</p>, action: t("account.disconnect"), reason: t("common.reason"), typed: account.name, run: (reason) => disconnect.run({ id, reason }) }),
      }]} />
    </>
  );

  return (
    <Page title={account?.name ?? t("nav.number")} status={account && <AccountBadge status={account.status} />} actions={actions} back={<Back to="/numbers">{t("nav.numbers")}</Back>}>
      <Failure problem={problem ?? resume.problem} retry={() => void refresh()} />
      {!account && !problem && <Skeleton />}
      {account && (
        <>
          {account.statusReason && <Callout tone="warn" title={sentenceCase(account.statusReason)}>{account.pausedUntil && <p>{t("account.pausedUntil")} <Time at={account.pausedUntil} long /></p>}</Callout>}
          <Tabs label={t("nav.sections")} items={[{ label: t("account.tab.overview") }, { label: t("loop.tab"), value: "test" }, { label: t("account.tab.settings"), value: "settings" }, { label: t("history.title"), value: "history" }]} />
          {!tab && <Overview account={account} />}
          {tab === "test" && <LoopTest account={account} />}
          {tab === "settings" && <Settings key={account.id} account={account} />}
          {tab === "history" && <AccountHistory id={id} />}
        </>
      )}
      {dialog}
    </Page>
  );
}

function Overview({ account }: { account: Account }) {
  const { reach } = account;
  // Where nobody has said how the gateway is reached from outside, the path is all that is known.
  const url = account.webhookUrl ?? account.webhookPath;
  return (
    <div className="columns">
      <Card title={t("account.healthTitle")}><Health checks={account.health} /></Card>
      <div className="stack loose">
        <Card title={t("account.limits")}>
          <Facts items={[
            [t("account.quality"), <QualityBadge rating={account.qualityRating} />],
            [t("account.reach"), reach.limit === null || reach.limit === undefined ? t("account.reachNoLimit", { used: number(reach.used) }) : t("account.reachOf", { used: number(reach.used), limit: number(reach.limit) })],
            [t("account.pace"), t("campaign.perSecond", { n: number(account.messagesPerSecond) })],
            [t("account.quietHours"), account.quietHours ? `${account.quietHours.from.slice(0, 5)} – ${account.quietHours.to.slice(0, 5)} · ${account.timeZone.replaceAll("_", " ")} (${offset(account.timeZone)})` : t("account.noQuietHours")],
          ]} />
        </Card>
        <Card title={t("account.details")}>
          <Facts items={[
            [t("account.number"), account.phoneNumber ? <span dir="ltr">{account.phoneNumber}</span> : t("account.numberUnknown")],
            [t("account.verifiedName"), account.verifiedName],
            [t("account.provider"), t(`account.provider.${account.provider}`)],
            [t("account.phoneNumberId"), <span className="row"><code>{account.phoneNumberId}</code><Copy text={account.phoneNumberId} label={t("common.copy")} /></span>],
            [t("account.wabaId"), <code>{account.wabaId}</code>],
            [t("account.callback"), <span><span className="row nowrap"><code className="break">{url}</code><Copy text={url} label={t("common.copy")} /></span>{!account.webhookUrl && <span className="small muted">{t("account.noPublicUrl")}</span>}</span>],
            [t("account.connectedAt"), <Time at={account.connectedAt} long />],
          ]} />
        </Card>
      </div>
    </div>
  );
}

function Settings({ account }: { account: Account }) {
  const { can } = useViewer();
  const update = useCommand(UpdateAccountDocument);
  const [name, setName] = useState(account.name);
  const [timeZone, setZone] = useState(account.timeZone);
  const [region, setRegion] = useState(account.defaultRegion);
  const [pace, setPace] = useState("");
  const [isQuiet, setQuiet] = useState(!!account.quietHours);
  const [from, setFrom] = useState(account.quietHours?.from.slice(0, 5) ?? "21:00");
  const [to, setTo] = useState(account.quietHours?.to.slice(0, 5) ?? "08:00");
  const [policy, setPolicy] = useState(account.inDoubtPolicy);
  const isOff = !can("MANAGE") || account.status === "DISCONNECTED";
  const wrong = (field: string) => (isAbout(update.problem, field) ? update.problem?.detail : null);

  const save = (event: FormEvent) => {
    event.preventDefault();
    void update.run({
      input: {
        id: account.id, name: name.trim(), timeZone, defaultRegion: region.trim().toUpperCase(),
        quietHours: isQuiet ? { from, to } : null,
        ...(pace.trim() ? { messagesPerSecond: Number(pace) } : {}),
        inDoubtPolicy: { marketing: policy.marketing, utility: policy.utility, authentication: policy.authentication, service: policy.service, graceSeconds: policy.graceSeconds },
      },
    });
  };
  const kinds = ["marketing", "utility", "authentication", "service"] as const;

  return (
    <div className="stack loose measure">
      <form onSubmit={save}>
        <Card title={t("account.tab.settings")} foot={<Button type="submit" look="primary" busy={update.isSaving} isDisabled={isOff}>{t("common.save")}</Button>}>
          <TextInput label={t("account.name")} value={name} onChange={setName} error={wrong("name")} isDisabled={isOff} />
          <div className="fields">
            <ZoneField label={t("account.zone")} value={timeZone} onChange={setZone} error={wrong("timeZone")} />
            <TextInput label={t("account.region")} help={t("connect.regionHelp")} value={region} onChange={setRegion} maxLength={2} error={wrong("defaultRegion")} isDisabled={isOff} />
          </div>
          <TextInput label={t("account.pace")} help={t("account.paceHelp", { n: number(account.messagesPerSecond) })} optional value={pace} onChange={setPace} inputMode="numeric" error={wrong("messagesPerSecond")} isDisabled={isOff} />
          <Check value={isQuiet} onChange={setQuiet} isDisabled={isOff}>{t("account.keepQuiet")}</Check>
          {isQuiet && <div className="fields"><TextInput label={t("account.quietFrom")} type="time" value={from} onChange={setFrom} /><TextInput label={t("account.quietTo")} type="time" value={to} onChange={setTo} error={wrong("quietHours")} /></div>}
          <fieldset className="stack tight">
            <legend className="label" style={{ fontWeight: 550 }}>{t("account.inDoubt")}</legend>
            <p className="help">{t("account.inDoubtHelp", { grace: duration(policy.graceSeconds) })}</p>
            <div className="fields">
              {kinds.map((kind) => (
                <Choose<InDoubtAction> key={kind} label={t(`account.kind.${kind}`)} value={policy[kind]} isDisabled={isOff} onChange={(action) => setPolicy({ ...policy, [kind]: action })}
                  options={[{ value: "HOLD", label: t("account.inDoubt.HOLD") }, { value: "SEND_AGAIN", label: t("account.inDoubt.SEND_AGAIN") }]} />
              ))}
            </div>
          </fieldset>
          <Failure problem={update.problem} />
        </Card>
      </form>
      {account.provider === "CLOUD_API" && !isOff && <Rotate id={account.id} />}
    </div>
  );
}

function Rotate({ id }: { id: string }) {
  const rotate = useCommand(RotateCredentialsDocument);
  const [accessToken, setToken] = useState("");
  const [appSecret, setSecret] = useState("");
  const save = async (event: FormEvent) => {
    event.preventDefault();
    const done = await rotate.run({ input: { id, ...(accessToken.trim() ? { accessToken: accessToken.trim() } : {}), ...(appSecret.trim() ? { appSecret: appSecret.trim() } : {}) } });
    if (done) {
      setToken("");
      setSecret("");
    }
  };
  return (
    <form onSubmit={(event) => void save(event)}>
      <Card title={t("account.rotate")} foot={<Button type="submit" busy={rotate.isSaving} isDisabled={!accessToken.trim() && !appSecret.trim()}>{t("account.rotate")}</Button>}>
        <p className="muted">{t("account.rotateHelp")}</p>
        <TextInput label={t("connect.token")} type="password" autoComplete="off" mono value={accessToken} onChange={setToken} optional />
        <TextInput label={t("connect.secret")} type="password" autoComplete="off" mono value={appSecret} onChange={setSecret} optional />
        <Failure problem={rotate.problem} />
      </Card>
    </form>
  );
}

function AccountHistory({ id }: { id: string }) {
  return <History pages={usePages(AccountHistoryDocument, { id }, (data) => data.account?.history)} />;
}
