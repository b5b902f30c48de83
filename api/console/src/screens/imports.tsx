import { Link } from "@tanstack/react-router";
import { ImportsDocument, UndoImportDocument, type ImportFieldsFragment } from "~/gen/graphql";
import { t } from "~/i18n";
import { useCommand, usePages } from "~/lib/data";
import { instant, number } from "~/lib/format";
import { useViewer } from "~/lib/viewer";
import { useConfirm } from "~/ui/overlay";
import { Back, Button, ButtonLink, Empty, Page } from "~/ui/parts";
import { ListCard } from "~/ui/table";
import { ImportBadge } from "./import";

export function ImportsScreen() {
  const { can } = useViewer();
  const pages = usePages(ImportsDocument, {}, (data) => data.imports, { everyMs: 5_000 });
  const undo = useCommand(UndoImportDocument, t("import.undone"));
  const [dialog, confirm] = useConfirm(undo.problem, undo.isSaving);
  const start = can("MANAGE") && <ButtonLink to="/contacts/import" look="primary" icon="upload">{t("contact.import")}</ButtonLink>;
  const mayUndo = (found: ImportFieldsFragment) => found.status === "COMPLETED" && !found.dryRun && !found.undoneAt && can("MANAGE") && can("PERSONAL");
  const ask = ({ id, added, updated }: ImportFieldsFragment) =>
    confirm({ title: t("import.undo"), danger: true, body: <p>{t("import.undoBody", { added: number(added), updated: number(updated) })}</p>, action: t("import.undo"), run: () => undo.run({ id }) });
  return (
    <Page title={t("import.all")} back={<Back to="/contacts">{t("nav.contacts")}</Back>} actions={pages.items && pages.items.length > 0 && start}>
      <ListCard pages={pages} label={t("import.all")} id={({ id }) => id} linked empty={<Empty icon="upload" title={t("import.none")} action={start}>{t("contact.noneHelp")}</Empty>} columns={[
        { title: t("import.started"), cell: ({ id, startedAt, dryRun }) => <span><Link className="row-link" to="/contacts/imports/$id" params={{ id }}>{startedAt ? instant(startedAt) : id}</Link>{dryRun && <span className="sub">{t("import.dryRun")}</span>}</span> },
        { title: t("filter.status"), cell: ({ status, undoneAt }) => <ImportBadge status={status} undoneAt={undoneAt} /> },
        { title: t("import.new"), end: true, cell: ({ added }) => <span className="num">{number(added)}</span> },
        { title: t("import.updated"), end: true, cell: ({ updated }) => <span className="num">{number(updated)}</span> },
        { title: t("import.rejected"), end: true, cell: ({ rejected }) => <span className="num">{number(rejected)}</span> },
        { title: "", end: true, isBlank: (found) => !mayUndo(found), cell: (found) => mayUndo(found) && <span className="above"><Button compact onPress={() => ask(found)}>{t("import.undo")}</Button></span> },
      ]} />
      {dialog}
    </Page>
  );
}
