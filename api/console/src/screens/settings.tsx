import { useState, type FormEvent } from "react";
import { RebuildProjectionDocument, SetRateCardDocument, SettingsDocument, UpdateWorkspaceDocument, type BillingCategory, type RateInput, type SettingsQuery } from "~/gen/graphql";
import { t } from "~/i18n";
import { useCommand, useLoad } from "~/lib/data";
import { isAbout } from "~/lib/errors";
import { browserZone, money, number, offset, percent, zoneNames } from "~/lib/format";
import { setPreferences, usePreferences, type Language, type Preferences } from "~/lib/preferences";
import { useViewer } from "~/lib/viewer";
import { Choose, Combo, Radios, Switch, TextInput } from "~/ui/fields";
import { useConfirm } from "~/ui/overlay";
import { Badge, Button, Callout, Card, Copy, Empty, Facts, Failure, Page, Skeleton } from "~/ui/parts";
import { SettingsTabs } from "~/ui/settings-tabs";
import { Table } from "~/ui/table";
import { refreshViewer } from "~/shell";

export function SettingsScreen() {
  const { workspaces, viewer } = useViewer();
  return (
    <Page title={t("nav.settings")}>
      <SettingsTabs />
      <div className="stack loose measure">
        {workspaces.map((workspace) => <WorkspaceCard key={workspace.id} workspace={workspace} />)}
        <Card title={t("settings.you")}>
          <Facts items={[
            [t("settings.kind"), t(`actor.${viewer.kind}`)],
            [t("key.name"), viewer.name ?? viewer.id],
            [t("key.scopes"), <span className="row">{viewer.scopes.map((scope) => <Badge key={scope}>{t(`scope.${scope}`)}</Badge>)}</span>],
          ]} />
        </Card>
      </div>
    </Page>
  );
}

function WorkspaceCard({ workspace }: { workspace: { id: string; name: string; approvalThreshold?: number | null } }) {
  const { can } = useViewer();
  const update = useCommand(UpdateWorkspaceDocument);
  const [name, setName] = useState(workspace.name);
  const [threshold, setThreshold] = useState(workspace.approvalThreshold ? String(workspace.approvalThreshold) : "");
  const save = async (event: FormEvent) => {
    event.preventDefault();
    const done = await update.run({ input: { id: workspace.id, name: name.trim(), approvalThreshold: threshold ? Number(threshold) : null } });
    if (done) refreshViewer();
  };
  const isOff = !can("ADMIN");
  return (
    <form onSubmit={(event) => void save(event)}>
      <Card title={t("settings.workspace")} foot={!isOff && <Button type="submit" look="primary" busy={update.isSaving} isDisabled={!name.trim()}>{t("common.save")}</Button>}>
        <TextInput label={t("settings.workspaceName")} value={name} onChange={setName} isDisabled={isOff} error={isAbout(update.problem, "name") ? update.problem?.detail : null} />
        <TextInput label={t("settings.threshold")} optional help={t("settings.thresholdHelp")} inputMode="numeric" value={threshold} onChange={(value) => setThreshold(value.replace(/\D/g, ""))} isDisabled={isOff} error={isAbout(update.problem, "approvalThreshold") ? update.problem?.detail : null} />
        <div className="row small muted"><span>{t("message.id")}</span><code>{workspace.id}</code><Copy text={workspace.id} label={t("common.copy")} /></div>
        <Failure problem={update.problem} />
      </Card>
    </form>
  );
}

export function BrowserScreen() {
  const preferences = usePreferences();
  return (
    <Page title={t("nav.settings")}>
      <SettingsTabs />
      <div className="measure">
        <Card title={t("settings.browser")}>
          <p className="muted">{t("settings.browserHelp")}</p>
          <Choose<Language> label={t("settings.language")} value={preferences.language} onChange={(language) => setPreferences({ language })} options={[{ value: "en", label: "English" }, { value: "pt", label: "Português" }, { value: "es", label: "Español" }]} />
          <Radios<Preferences["theme"]> label={t("settings.theme")} value={preferences.theme} onChange={(theme) => setPreferences({ theme })} options={(["system", "light", "dark"] as const).map((value) => ({ value, label: t(`settings.theme.${value}`) }))} />
          <Combo label={t("settings.zone")} help={t("settings.zoneHelp")} value={preferences.zone} onChange={(zone) => setPreferences({ zone })}
            options={[{ value: "local", label: t("settings.zoneLocal", { zone: browserZone().replaceAll("_", " ") }), hint: offset(browserZone()) }, ...zoneNames().map((zone) => ({ value: zone, label: zone.replaceAll("_", " "), hint: offset(zone) }))]} />
          <Radios<Preferences["direction"]> label={t("settings.direction")} value={preferences.direction} onChange={(direction) => setPreferences({ direction })} options={(["auto", "rtl"] as const).map((value) => ({ value, label: t(`settings.direction.${value}`) }))} />
          <Switch value={preferences.shortcuts} onChange={(shortcuts) => setPreferences({ shortcuts })}>{t("settings.shortcuts")}</Switch>
          <Switch value={preferences.receipts} onChange={(receipts) => setPreferences({ receipts })}>{t("settings.receipts")}</Switch>
        </Card>
      </div>
    </Page>
  );
}

const categories: BillingCategory[] = ["MARKETING", "MARKETING_LITE", "UTILITY", "AUTHENTICATION", "AUTHENTICATION_INTERNATIONAL", "SERVICE"];
type Rate = SettingsQuery["rateCard"]["rates"][number];

export function PricesScreen() {
  const { can } = useViewer();
  const { data, problem, refresh } = useLoad(SettingsDocument, {});
  const save = useCommand(SetRateCardDocument);
  const [dialog, confirm] = useConfirm(save.problem, save.isSaving);
  const rates = data?.rateCard.rates ?? [];
  const inputs = (lines: readonly Rate[]): RateInput[] => lines.map(({ countries, category, currency, amount, validFrom }) => ({ countries: [...countries], category, currency, amount, validFrom }));
  const remove = (index: number) => confirm({ title: t("price.remove"), body: <p>{t("price.removeBody")}</p>, danger: true, action: t("price.remove"), run: () => save.run({ input: { rates: inputs(rates.filter((_, at) => at !== index)) } }) });
  return (
    <Page title={t("nav.settings")}>
      <SettingsTabs />
      <Failure problem={problem} retry={() => void refresh()} />
      {!data && !problem && <Skeleton />}
      {data && (
        <div className="stack loose">
          <section className="card">
            <div className="card-head"><h2>{t("settings.prices")}</h2></div>
            <div className="card-body tight"><p className="muted measure">{t("price.help")}</p></div>
            {rates.length === 0 && <Empty icon="settings" title={t("price.none")}>{t("price.noneHelp")}</Empty>}
            {rates.length > 0 && (
              <Table label={t("settings.prices")} rows={rates.map((rate, index) => ({ ...rate, index }))} id={({ index }) => String(index)} columns={[
                { title: t("price.countries"), cell: ({ countries }) => <span className="strong">{countries.length > 0 ? (countries.length > 6 ? `${countries.slice(0, 6).join(", ")} +${countries.length - 6}` : countries.join(", ")) : t("price.elsewhere")}</span> },
                { title: t("price.category"), cell: ({ category }) => t(`price.category.${category}`) },
                { title: t("price.amount"), end: true, cell: ({ amount, currency }) => <span className="num" title={`${amount} ${currency}`}>{Number(amount) < 0.1 ? `${amount} ${currency}` : money(amount, currency)}</span> },
                { title: t("price.from"), end: true, cell: ({ validFrom }) => <span className="num">{validFrom}</span> },
                { title: "", end: true, cell: ({ index }) => can("MANAGE") && <Button look="quiet" compact icon="close" aria-label={t("price.removeLine", { n: index + 1 })} onPress={() => remove(index)} /> },
              ]} />
            )}
          </section>
          {can("MANAGE") && <AddRate isBusy={save.isSaving} problem={save.problem} onAdd={(rate) => save.run({ input: { rates: [...inputs(rates), rate] } })} />}
        </div>
      )}
      {dialog}
    </Page>
  );
}

function AddRate({ isBusy, problem, onAdd }: { isBusy: boolean; problem: Parameters<typeof Failure>[0]["problem"]; onAdd: (rate: RateInput) => Promise<unknown> }) {
  const [countries, setCountries] = useState("");
  const [category, setCategory] = useState<BillingCategory>("MARKETING");
  const [amount, setAmount] = useState("");
  const [currency, setCurrency] = useState("USD");
  const [validFrom, setFrom] = useState(new Date().toISOString().slice(0, 10));
  const add = async (event: FormEvent) => {
    event.preventDefault();
    const codes = countries.toUpperCase().split(/[\s,;]+/).filter(Boolean);
    const done = await onAdd({ ...(codes.length > 0 ? { countries: codes } : {}), category, currency: currency.trim().toUpperCase(), amount: amount.trim().replace(",", "."), validFrom });
    if (done) setAmount("");
  };
  return (
    <form onSubmit={(event) => void add(event)}>
      <Card title={t("price.add")} foot={<Button type="submit" look="primary" busy={isBusy} isDisabled={!amount.trim() || !currency.trim() || !validFrom}>{t("price.add")}</Button>}>
        <div className="fields">
          <TextInput label={t("price.countries")} optional help={t("price.countriesHelp")} value={countries} onChange={setCountries} placeholder="GB, IE" />
          <Choose label={t("price.category")} value={category} onChange={setCategory} options={categories.map((value) => ({ value, label: t(`price.category.${value}`) }))} />
          <TextInput label={t("price.amount")} inputMode="decimal" value={amount} onChange={setAmount} placeholder="0.0455" isRequired />
          <TextInput label={t("price.currency")} value={currency} onChange={setCurrency} maxLength={3} isRequired />
          <TextInput label={t("price.fromUtc")} type="date" value={validFrom} onChange={setFrom} />
        </div>
        <Failure problem={problem} />
      </Card>
    </form>
  );
}

export function SystemScreen() {
  const { can } = useViewer();
  const { data, problem, refresh } = useLoad(SettingsDocument, {}, { everyMs: 3_000 });
  const rebuild = useCommand(RebuildProjectionDocument, t("system.rebuilding"));
  const [dialog, confirm] = useConfirm(rebuild.problem, rebuild.isSaving);
  return (
    <Page title={t("nav.settings")}>
      <SettingsTabs />
      <Failure problem={problem} retry={() => void refresh()} />
      {data?.projections.some(({ status }) => status === "FAILED") && <Callout tone="bad" title={t("system.failed")} />}
      <section className="card">
        <div className="card-head"><h2>{t("system.models")}</h2></div>
        <div className="card-body tight"><p className="muted measure">{t("system.help")}</p>{!data && !problem && <Skeleton />}</div>
        {data && (
          <Table label={t("system.models")} rows={[...data.projections]} id={({ name }) => name} columns={[
            { title: t("key.name"), cell: ({ name }) => <span className="strong">{name}</span> },
            { title: t("filter.status"), cell: ({ status, rebuildProgress }) => <Badge tone={status === "LIVE" ? "good" : status === "FAILED" ? "bad" : "info"}>{t(`system.status.${status}`)}{rebuildProgress ? ` ${percent(rebuildProgress, 1)}` : ""}</Badge> },
            { title: t("system.lag"), end: true, cell: ({ lag }) => <span className="num">{number(lag)}</span> },
            { title: t("system.position"), end: true, cell: ({ position }) => <span className="num">{number(Number(position))}</span> },
            { title: "", end: true, cell: ({ name, status }) => can("ADMIN") && status !== "REBUILDING" && <Button compact onPress={() => confirm({ title: t("system.rebuild"), body: <p>{t("system.rebuildBody", { name })}</p>, action: t("system.rebuild"), run: () => rebuild.run({ name }) })}>{t("system.rebuild")}</Button> },
          ]} />
        )}
      </section>
      {dialog}
    </Page>
  );
}
