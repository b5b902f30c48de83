//! Connecting a number: paste a token, see what it opens, choose. What is wrong is said before anything is recorded.
import { useNavigate } from "@tanstack/react-router";
import { useState, type FormEvent } from "react";
import { ConnectAccountDocument, ProbeCredentialsDocument, type ProbeCredentialsMutation } from "~/gen/graphql";
import { t } from "~/i18n";
import { useCommand, once } from "~/lib/data";
import { isAbout } from "~/lib/errors";
import { browserZone } from "~/lib/format";
import { useViewer } from "~/lib/viewer";
import { QualityBadge } from "~/lib/words";
import { Radios, TextInput, ZoneField } from "~/ui/fields";
import { Back, Button, Callout, Card, Facts, Failure, Page, Time } from "~/ui/parts";

type Probe = ProbeCredentialsMutation["probeCredentials"];

export function ConnectScreen() {
  const navigate = useNavigate();
  const { workspaces } = useViewer();
  const [provider, setProvider] = useState<"CLOUD_API" | "SANDBOX">("CLOUD_API");
  const [accessToken, setToken] = useState("");
  const [appSecret, setSecret] = useState("");
  const [probe, setProbe] = useState<Probe | null>(null);
  const [chosen, setChosen] = useState("");
  const [name, setName] = useState("");
  const [timeZone, setZone] = useState(browserZone());
  const [region, setRegion] = useState("");
  const [pin, setPin] = useState("");
  const probing = useCommand(ProbeCredentialsDocument, null);
  const connecting = useCommand(ConnectAccountDocument, t("account.connected"));

  const numbers = probe?.wabas.flatMap((waba) => waba.numbers.map((number) => ({ waba, number }))) ?? [];
  const selected = numbers.find(({ number }) => number.id === chosen);
  const isReady = provider === "SANDBOX" || (!!selected && !!appSecret.trim());

  const test = async (event: FormEvent) => {
    event.preventDefault();
    setProbe(null);
    const answer = await probing.run({ accessToken: accessToken.trim(), appSecret: appSecret.trim() || null });
    if (!answer) return;
    setProbe(answer.probeCredentials);
    const only = answer.probeCredentials.wabas.flatMap(({ numbers }) => numbers);
    const first = only[0];
    if (first) {
      setChosen(first.id);
      setName((before) => before || first.verifiedName || first.displayPhoneNumber);
    }
  };

  const connect = async (event: FormEvent) => {
    event.preventDefault();
    const answer = await connecting.run({
      input: {
        provider, name: name.trim(), timeZone, idempotencyKey: once,
        ...(workspaces.length > 1 ? { workspaceId: workspaces[0]?.id } : {}),
        ...(region.trim() ? { defaultRegion: region.trim().toUpperCase() } : {}),
        ...(provider === "CLOUD_API" && selected
          ? { accessToken: accessToken.trim(), appSecret: appSecret.trim(), phoneNumberId: selected.number.id, wabaId: selected.waba.id, ...(pin.trim() ? { pin: pin.trim() } : {}) }
          : {}),
      },
    });
    if (answer) void navigate({ to: "/numbers/$id", params: { id: answer.connectAccount.account.id } });
  };

  return (
    <Page title={t("account.connect")} intro={t("connect.intro")} back={<Back to="/numbers">{t("nav.numbers")}</Back>}>
      <div className="stack loose measure">
        <Card>
          <Radios cards label={t("connect.which")} value={provider} onChange={setProvider} options={[
            { value: "CLOUD_API", label: t("account.provider.CLOUD_API"), hint: t("connect.cloudHint") },
            { value: "SANDBOX", label: t("account.provider.SANDBOX"), hint: t("connect.sandboxHint") },
          ]} />
        </Card>
        {provider === "CLOUD_API" && (
          <Card title={t("connect.credentials")}>
            <form className="stack" onSubmit={(event) => void test(event)}>
              <TextInput label={t("connect.token")} help={t("connect.tokenHelp")} type="password" autoComplete="off" value={accessToken} onChange={setToken} mono isRequired error={probing.problem && isAbout(probing.problem, "accessToken") ? probing.problem.detail : null} />
              <TextInput label={t("connect.secret")} help={t("connect.secretHelp")} type="password" autoComplete="off" value={appSecret} onChange={setSecret} mono isRequired />
              <Failure problem={probing.problem} />
              <div className="row"><Button type="submit" isDisabled={!accessToken.trim() || probing.isSaving}>{probing.isSaving ? t("connect.testing") : t("connect.test")}</Button></div>
            </form>
            {probe && <ProbeResult probe={probe} />}
            {numbers.length > 0 && (
              <Radios cards label={t("connect.choose")} value={chosen} onChange={setChosen} options={numbers.map(({ waba, number }) => ({
                value: number.id, label: `${number.displayPhoneNumber}${number.verifiedName ? ` · ${number.verifiedName}` : ""}`, hint: waba.name ?? waba.id,
              }))} />
            )}
            {selected && selected.number.qualityRating !== "UNKNOWN" && <div className="row"><span className="muted">{t("account.quality")}</span><QualityBadge rating={selected.number.qualityRating} /></div>}
            {selected && !appSecret.trim() && <p className="err">{t("connect.secretNeeded")}</p>}
          </Card>
        )}
        {isReady && (
          <form onSubmit={(event) => void connect(event)}>
            <Card title={t("connect.about")} foot={<Button type="submit" look="primary" busy={connecting.isSaving} isDisabled={!name.trim() || !timeZone}>{t("account.connect")}</Button>}>
              <TextInput label={t("account.name")} help={t("connect.nameHelp")} value={name} onChange={setName} isRequired error={connecting.problem && isAbout(connecting.problem, "name") ? connecting.problem.detail : null} />
              <div className="fields">
                <ZoneField label={t("account.zone")} help={t("connect.zoneHelp")} value={timeZone} onChange={setZone} />
                <TextInput label={t("account.region")} help={t("connect.regionHelp")} optional value={region} onChange={setRegion} maxLength={2} placeholder="GB" />
              </div>
              {provider === "CLOUD_API" && <TextInput label={t("connect.pin")} help={t("connect.pinHelp")} optional value={pin} onChange={setPin} inputMode="numeric" maxLength={6} />}
              <Failure problem={connecting.problem} />
            </Card>
          </form>
        )}
      </div>
    </Page>
  );
}

function ProbeResult({ probe }: { probe: Probe }) {
  return (
    <>
      <Callout tone={probe.ok ? "good" : "bad"} title={probe.ok ? t("connect.works") : t("connect.doesNot")}>
        {probe.problems.length > 0 && <ul>{probe.problems.map((problem) => <li key={problem}>{problem}</li>)}</ul>}
      </Callout>
      {probe.ok && <Facts items={[
        [t("connect.mayDo"), probe.permissions.length > 0 ? probe.permissions.map((permission) => permission.replaceAll("_", " ")).join(", ") : null],
        [t("connect.until"), probe.expiresAt ? <Time at={probe.expiresAt} long /> : t("connect.never")],
      ]} />}
    </>
  );
}
