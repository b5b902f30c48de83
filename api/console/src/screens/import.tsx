import { getRouteApi, useNavigate } from "@tanstack/react-router";
import { useRef, useState, type DragEvent } from "react";
import { ImportDocument, UndoImportDocument, type ImportQuery } from "~/gen/graphql";
import { t } from "~/i18n";
import { forget, useCommand, useLoad } from "~/lib/data";
import type { Problem } from "~/lib/errors";
import { download, guess, readSheet, startOf, type Sheet } from "~/lib/csv";
import { number } from "~/lib/format";
import { keepMapping, knownMapping, startImport, type ImportPlan } from "~/lib/imports";
import { useViewer } from "~/lib/viewer";
import { Choose, Radios, TextInput } from "~/ui/fields";
import { TagWords } from "~/ui/tags";
import { Icon } from "~/ui/icons";
import { useConfirm } from "~/ui/overlay";
import { Back, Badge, Button, ButtonLink, Callout, Card, Failure, Page, Skeleton, Stat, Time } from "~/ui/parts";

type Import = NonNullable<ImportQuery["import"]>;
const fields = ["phone", "name", "first_name", "last_name", "external_id", "language", "time_zone", "tags", "consent", "opt_out", "consent_source", "consent_at", "user_id"] as const;
const poll_ms = 700;

export function ImportScreen() {
  const navigate = useNavigate();
  const { can } = useViewer();
  const [file, setFile] = useState<File | null>(null);
  const [sheet, setSheet] = useState<Sheet | null>(null);
  const [plan, setPlan] = useState<ImportPlan>({ mapping: {}, defaultRegion: "", tags: [], consent: "UNKNOWN", consentSource: "" });
  const [problem, setProblem] = useState<Problem | null>(null);
  const [dryRun, setDryRun] = useState<string | null>(null);
  const [isBusy, setBusy] = useState(false);
  const [key, setKey] = useState(() => crypto.randomUUID());
  // A plan that was changed is another import.
  const renew = () => setKey(crypto.randomUUID());

  const change = (part: Partial<ImportPlan>) => {
    setPlan((before) => ({ ...before, ...part }));
    setDryRun(null);
    renew();
  };

  const choose = async (chosen: File) => {
    const found = readSheet(await startOf(chosen));
    setFile(chosen);
    setSheet(found);
    setDryRun(null);
    setProblem(null);
    renew();
    if (!found) return;
    const known = knownMapping(found.header);
    const taken = new Set<string>();
    const mapping: Record<string, string> = {};
    for (const header of found.header) {
      if (!header) continue;
      const meaning = known?.[header] ?? guess(header);
      mapping[header] = taken.has(meaning) ? `attributes.${header}` : meaning;
      taken.add(meaning);
    }
    setPlan((before) => ({ ...before, mapping }));
  };

  const start = async (dry: boolean) => {
    if (!file || !sheet) return;
    setBusy(true);
    setProblem(null);
    keepMapping(sheet.header, plan.mapping);
    const answer = await startImport(file, plan, dry, dry ? `${key}-dry` : key);
    setBusy(false);
    if ("code" in answer) return setProblem(answer);
    if (dry) setDryRun(answer.id);
    else void navigate({ to: "/contacts/imports/$id", params: { id: answer.id } });
  };

  const hasIdentity = Object.values(plan.mapping).some((meaning) => ["phone", "user_id", "external_id"].includes(meaning));
  const knowsConsent = Object.values(plan.mapping).some((meaning) => meaning === "consent" || meaning === "opt_out");
  const needsSource = plan.consent === "OPTED_IN" || knowsConsent;
  const isReady = !!sheet && hasIdentity && (!needsSource || !!plan.consentSource.trim());

  if (!can("MANAGE")) return <Page title={t("contact.import")}><Callout tone="warn" title={t("error.FORBIDDEN")} /></Page>;
  return (
    <Page title={t("contact.import")} intro={t("import.intro")} back={<Back to="/contacts">{t("nav.contacts")}</Back>}>
      <div className="stack loose">
        <Drop file={file} onFile={(chosen) => void choose(chosen)} />
        {file && !sheet && <Callout tone="bad" title={t("import.unreadable")}><p>{t("import.unreadableHelp")}</p></Callout>}
        {file && sheet && (
          <>
            <Card title={t("import.columns")}>
              <p className="muted">{t("import.columnsHelp")}</p>
              <Columns sheet={sheet} mapping={plan.mapping} onChange={(mapping) => change({ mapping })} />
              {!hasIdentity && <p className="err">{t("import.noIdentity")}</p>}
            </Card>
            <Card title={t("import.about")}>
              <div className="fields">
                <TextInput label={t("import.region")} optional help={t("import.regionHelp")} value={plan.defaultRegion} onChange={(region) => change({ defaultRegion: region.toUpperCase().slice(0, 2) })} maxLength={2} placeholder="GB" />
                <TagWords label={t("import.tags")} optional help={t("import.tagsHelp")} values={plan.tags} onChange={(tags) => change({ tags })} />
              </div>
              <Radios cards label={t("import.consent")} help={knowsConsent ? t("import.consentColumn") : t("import.consentHelp")} value={plan.consent} onChange={(consent) => change({ consent })} options={[
                { value: "OPTED_IN", label: t("import.consent.OPTED_IN"), hint: t("import.consentHint.OPTED_IN") },
                { value: "UNKNOWN", label: t("import.consent.UNKNOWN"), hint: t("import.consentHint.UNKNOWN") },
                { value: "OPTED_OUT", label: t("import.consent.OPTED_OUT"), hint: t("import.consentHint.OPTED_OUT") },
              ]} />
              {needsSource && <TextInput label={t("contact.source")} help={t("contact.sourceHelp")} value={plan.consentSource} onChange={(consentSource) => change({ consentSource })} isRequired />}
            </Card>
            <Failure problem={problem} />
            {!dryRun && <div className="row"><Button look="primary" isDisabled={!isReady || isBusy} onPress={() => void start(true)}>{isBusy ? t("import.sending") : t("import.check")}</Button><span className="muted">{t("import.checkHelp")}</span></div>}
            {dryRun && <DryRun id={dryRun} isBusy={isBusy} onImport={() => void start(false)} />}
          </>
        )}
      </div>
    </Page>
  );
}

function Drop({ file, onFile }: { file: File | null; onFile: (file: File) => void }) {
  const input = useRef<HTMLInputElement>(null);
  const [isOver, setOver] = useState(false);
  const drop = (event: DragEvent) => {
    event.preventDefault();
    setOver(false);
    const dropped = event.dataTransfer.files[0];
    if (dropped) onFile(dropped);
  };
  return (
    <div className="drop" data-drop-target={isOver || undefined} onDragOver={(event) => { event.preventDefault(); setOver(true); }} onDragLeave={() => setOver(false)} onDrop={drop}>
      <Icon name="upload" size={24} />
      {file ? <p><span className="strong break">{file.name}</span> <span className="muted">· {number(Math.max(1, Math.round(file.size / 1024)))} kB</span></p> : <p className="muted">{t("import.drop")}</p>}
      <input ref={input} type="file" accept=".csv,.tsv,.txt,text/csv,text/plain" className="visually-hidden" tabIndex={-1} aria-label={t("import.choose")} onChange={(event) => { const [chosen] = event.currentTarget.files ?? []; if (chosen) onFile(chosen); event.currentTarget.value = ""; }} />
      <div className="row">
        <Button look={file ? undefined : "primary"} onPress={() => input.current?.click()}>{file ? t("import.another") : t("import.choose")}</Button>
        {!file && <Button look="quiet" icon="download" onPress={() => download("contacts-sample.csv", [["Phone", "Name", "City", "Tags", "Consent"], ["+447700900001", "Ada Example", "London", "newsletter", "yes"], ["+447700900002", "Bea Example", "Leeds", "", "no"]])}>{t("import.sample")}</Button>}
      </div>
    </div>
  );
}

function Columns({ sheet, mapping, onChange }: { sheet: Sheet; mapping: Record<string, string>; onChange: (mapping: Record<string, string>) => void }) {
  return (
    <table className="table" role="table" aria-label={t("import.columns")}>
      <thead role="rowgroup"><tr role="row"><th role="columnheader" scope="col">{t("import.column")}</th><th role="columnheader" scope="col">{t("import.firstValues")}</th><th role="columnheader" scope="col">{t("import.meaning")}</th></tr></thead>
      <tbody role="rowgroup">
        {sheet.header.map((header, index) => header && (
          <tr key={index} role="row">
            <td role="cell" className="strong break">{header}</td>
            <td role="cell" data-label={t("import.firstValues")} className="muted"><span className="break">{sheet.rows.map((row) => row[index]).filter(Boolean).slice(0, 3).join(" · ") || "–"}</span></td>
            <td role="cell" data-label={t("import.meaning")}>
              <span style={{ display: "block", minInlineSize: "11rem" }}>
                <Choose hideLabel label={t("import.meaningOf", { column: header })} value={mapping[header] ?? "ignore"} onChange={(meaning) => onChange({ ...mapping, [header]: meaning })} options={[
                  ...fields.map((field) => ({ value: field as string, label: t(`import.field.${field}`), isDisabled: Object.entries(mapping).some(([other, meaning]) => other !== header && meaning === field) })),
                  { value: `attributes.${header}`, label: t("import.attribute", { name: header }) },
                  { value: "ignore", label: t("import.ignore") },
                ]} />
              </span>
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

function useImport(id: string) {
  const [isOver, setOver] = useState(false);
  const { data, problem, refresh } = useLoad(ImportDocument, { id }, isOver ? {} : { everyMs: poll_ms });
  const found = data?.import ?? null;
  if (found && found.status !== "RUNNING" && !isOver) setOver(true);
  return { found, problem, refresh };
}

function Counts({ found }: { found: Import }) {
  return (
    <div className="stats" aria-live="polite">
      <Stat label={t("import.rows")}>{number(found.rows)}</Stat>
      <Stat label={t("import.new")}>{number(found.added)}</Stat>
      <Stat label={t("import.updated")}>{number(found.updated)}</Stat>
      <Stat label={t("import.rejected")}>{number(found.rejected)}</Stat>
    </div>
  );
}

function Errors({ found }: { found: Import }) {
  if (found.errors.length === 0) return null;
  const rows = found.errors.map(({ row, column, message }) => [String(row), column ?? "", message]);
  return (
    <Card title={t("import.errors")} actions={<Button compact icon="download" onPress={() => download(`rejected-rows-${found.id}.csv`, [[t("import.row"), t("import.column"), t("import.problem")], ...rows])}>{t("import.downloadErrors")}</Button>}>
      <p className="muted">{t("import.errorsHelp")}</p>
      <table className="table" role="table" aria-label={t("import.errors")}>
        <thead role="rowgroup"><tr role="row"><th role="columnheader" scope="col">{t("import.row")}</th><th role="columnheader" scope="col">{t("import.column")}</th><th role="columnheader" scope="col">{t("import.problem")}</th></tr></thead>
        <tbody role="rowgroup">
          {found.errors.slice(0, 100).map((error, index) => (
            <tr key={index} role="row"><td role="cell" className="num">{t("import.line", { n: error.row })}</td><td role="cell" data-label={t("import.column")}><span>{error.column ?? "–"}</span></td><td role="cell" data-label={t("import.problem")}><span className="break">{error.message}</span></td></tr>
          ))}
        </tbody>
      </table>
      {(found.errors.length > 100 || found.errorsTruncated) && <p className="muted">{t("import.moreErrors")}</p>}
    </Card>
  );
}

function DryRun({ id, isBusy, onImport }: { id: string; isBusy: boolean; onImport: () => void }) {
  const { found, problem } = useImport(id);
  if (problem) return <Failure problem={problem} />;
  if (!found || found.status === "RUNNING") return <Card title={t("import.checking")}><Skeleton lines={2} /></Card>;
  const usable = found.added + found.updated;
  return (
    <>
      <Card title={t("import.wouldBe")} foot={<Button look="primary" isDisabled={usable === 0 || isBusy} onPress={onImport}>{isBusy ? t("import.sending") : t("import.run", { count: usable, n: number(usable) })}</Button>}>
        {found.status === "FAILED" && <Callout tone="bad" title={t("import.failed")}><p>{found.reason}</p></Callout>}
        <Counts found={found} />
        {found.rejected > 0 && <p className="muted">{t("import.goodRowsKept")}</p>}
      </Card>
      <Errors found={found} />
    </>
  );
}

export const ImportBadge = ({ status, undoneAt }: Pick<Import, "status" | "undoneAt">) => (
  <Badge tone={undoneAt ? "muted" : status === "COMPLETED" ? "good" : status === "FAILED" ? "bad" : "live"}>{undoneAt ? t("import.status.UNDONE") : t(`import.status.${status}`)}</Badge>
);

const result = getRouteApi("/contacts/imports/$id");

export function ImportResultScreen() {
  const { id } = result.useParams();
  const { can } = useViewer();
  const { found, problem, refresh } = useImport(id);
  const undo = useCommand(UndoImportDocument, t("import.undone"));
  const [dialog, confirm] = useConfirm(undo.problem, undo.isSaving);
  const mayUndo = found && found.status === "COMPLETED" && !found.dryRun && !found.undoneAt && can("MANAGE") && can("PERSONAL");
  return (
    <Page title={t("import.result")} back={<Back to="/contacts/imports">{t("import.all")}</Back>}
      status={found && <ImportBadge status={found.status} undoneAt={found.undoneAt} />}
      actions={mayUndo && <Button look="danger" onPress={() => confirm({ title: t("import.undo"), danger: true, body: <p>{t("import.undoBody", { added: number(found.added), updated: number(found.updated) })}</p>, action: t("import.undo"), run: () => undo.run({ id }).then((done) => { forget(); void refresh(); return done; }) })}>{t("import.undo")}</Button>}>
      <Failure problem={problem} />
      {!found && !problem && <Skeleton />}
      {found && (
        <div className="stack loose">
          <Card>
            {found.status === "FAILED" && <Callout tone="bad" title={t("import.failed")}><p>{found.reason}</p></Callout>}
            {found.undoneAt && <Callout title={t("import.undoneAt")}><p><Time at={found.undoneAt} long /></p></Callout>}
            <Counts found={found} />
            {found.status === "RUNNING" && <p className="muted" role="status">{t("import.running")}</p>}
            {found.dryRun && <Callout title={t("import.onlyCheck")} />}
            {found.status === "COMPLETED" && !found.dryRun && !found.undoneAt && <div className="row"><ButtonLink to="/contacts" look="primary">{t("import.seeContacts")}</ButtonLink><ButtonLink to="/campaigns/$id/edit/$step" params={{ id: "new", step: "audience" }}>{t("campaign.new")}</ButtonLink></div>}
          </Card>
          <Errors found={found} />
        </div>
      )}
      {dialog}
    </Page>
  );
}
