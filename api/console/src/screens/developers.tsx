import { useState, type FormEvent } from "react";
import { AccountsDocument, ApiKeysDocument, CreateApiKeyDocument, RevokeApiKeyDocument, type Scope } from "~/gen/graphql";
import { t } from "~/i18n";
import { useCommand, once, useLoad, usePages } from "~/lib/data";
import { isAbout } from "~/lib/errors";
import { useViewer } from "~/lib/viewer";
import { Check, Choose, TextInput } from "~/ui/fields";
import { Dialog, useConfirm } from "~/ui/overlay";
import { Badge, Button, Callout, Copy, Empty, Failure, Page, Time } from "~/ui/parts";
import { SettingsTabs } from "~/ui/settings-tabs";
import { ListCard } from "~/ui/table";

const scopes: Scope[] = ["READ", "PERSONAL", "SEND", "MANAGE", "ADMIN"];

export function KeysScreen() {
  const { can, viewer } = useViewer();
  const pages = usePages(ApiKeysDocument, {}, (data) => data.apiKeys);
  const revoke = useCommand(RevokeApiKeyDocument, t("key.revokedNow"));
  const [dialog, confirm] = useConfirm(revoke.problem, revoke.isSaving);
  const [isMaking, setMaking] = useState(false);
  const isOver = ({ revokedAt, expiresAt }: { revokedAt?: string | null; expiresAt?: string | null }) => !!revokedAt || (!!expiresAt && new Date(expiresAt) < new Date());
  return (
    <Page title={t("nav.settings")} actions={can("ADMIN") && <Button look="primary" icon="plus" onPress={() => setMaking(true)}>{t("key.new")}</Button>}>
      <SettingsTabs />
      <ListCard pages={pages} label={t("settings.keys")} id={({ id }) => id} empty={<Empty icon="code" title={t("key.none")}>{t("key.noneHelp")}</Empty>} columns={[
        { title: t("key.name"), cell: ({ id, name }) => <span className="strong break">{name}{id === viewer.id && <span className="sub">{t("key.thisOne")}</span>}</span> },
        { title: t("key.scopes"), cell: (key) => <span className="row" style={{ gap: "0.25rem" }}>{key.scopes.map((scope) => <span key={scope} className="chip">{t(`scope.${scope}`)}</span>)}</span> },
        { title: t("filter.status"), cell: (key) => isOver(key) ? <Badge tone="muted">{key.revokedAt ? t("key.revoked") : t("key.expired")}</Badge> : <Badge tone="good">{t("key.active")}</Badge> },
        { title: t("key.lastUsed"), end: true, cell: ({ lastUsedAt }) => <span className="small muted">{lastUsedAt ? <Time at={lastUsedAt} /> : t("key.neverUsed")}</span> },
        { title: "", end: true, isBlank: isOver, cell: (key) => !isOver(key) && key.id !== viewer.id && <Button compact look="danger" onPress={() => confirm({ title: t("key.revoke"), danger: true, body: <p>{t("key.revokeBody", { name: key.name })}</p>, action: t("key.revoke"), run: () => revoke.run({ id: key.id }) })}>{t("key.revoke")}</Button> },
      ]} />
      {dialog}
      {isMaking && <NewKey onClose={() => setMaking(false)} />}
    </Page>
  );
}

function NewKey({ onClose }: { onClose: () => void }) {
  const accounts = useLoad(AccountsDocument, {});
  const create = useCommand(CreateApiKeyDocument, t("key.made"));
  const [name, setName] = useState("");
  const [chosen, setChosen] = useState<Scope[]>(["READ"]);
  const [account, setAccount] = useState("ALL");
  const [expires, setExpires] = useState("");
  const [secret, setSecret] = useState<string | null>(null);
  const save = async (event: FormEvent) => {
    event.preventDefault();
    const done = await create.run({ input: { name: name.trim(), scopes: chosen, idempotencyKey: once, ...(account === "ALL" ? {} : { accountIds: [account] }), ...(expires ? { expiresAt: new Date(`${expires}T23:59:59`).toISOString() } : {}) } });
    if (!done) return;
    setSecret(done.createApiKey.secret);
  };
  if (secret !== null) return (
    <Dialog title={t("key.made")} isOpen onClose={onClose}>
      {secret === "" && <Callout tone="bad" title={t("key.secretLost")} />}
      {secret && <Callout tone="warn" title={t("key.once")} />}
      {secret && <div className="row nowrap"><code className="break grow">{secret}</code><Copy text={secret} label={t("common.copy")} /></div>}
      <div className="row end"><Button look="primary" onPress={onClose}>{secret === "" ? t("common.close") : t("key.kept")}</Button></div>
    </Dialog>
  );
  return (
    <Dialog title={t("key.new")} isOpen onClose={onClose}>
      <form className="stack" onSubmit={(event) => void save(event)}>
        <TextInput label={t("key.name")} help={t("key.nameHelp")} value={name} onChange={setName} isRequired autoFocus error={isAbout(create.problem, "name") ? create.problem?.detail : null} />
        <fieldset className="stack tight">
          <legend className="label" style={{ fontWeight: 550 }}>{t("key.scopes")}</legend>
          {scopes.map((scope) => <Check key={scope} value={chosen.includes(scope)} onChange={(isOn) => setChosen(isOn ? [...chosen, scope] : chosen.filter((other) => other !== scope))}>{t(`scope.${scope}`)}<span className="help" style={{ display: "block" }}>{t(`scopeHint.${scope}`)}</span></Check>)}
        </fieldset>
        <Choose label={t("key.limitedTo")} value={account} onChange={setAccount} options={[{ value: "ALL", label: t("key.allNumbers") }, ...(accounts.data?.accounts.nodes ?? []).map(({ id, name: label }) => ({ value: id, label }))]} />
        <TextInput label={t("key.expires")} optional type="date" value={expires} onChange={setExpires} />
        <Failure problem={create.problem} />
        <div className="row end"><Button onPress={onClose}>{t("common.cancel")}</Button><Button type="submit" look="primary" busy={create.isSaving} isDisabled={!name.trim() || chosen.length === 0}>{t("key.new")}</Button></div>
      </form>
    </Dialog>
  );
}
