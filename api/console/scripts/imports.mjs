// A file with rows that cannot be used, and one that should not have been imported: the rows are told and can be saved, the
// import is taken back, and nothing of it is left.
import { readFileSync } from "node:fs";
import { gql, newNumber, people, until, walk } from "./browser.mjs";

await walk("imports", async (page, { base, step, check, button, see, mark }) => {
  const tag = `file-${mark}`;
  const known = newNumber();
  await people([{ phone: known, name: `Nadia Known ${mark}` }], `before-${mark}`);
  const [one, two] = [newNumber(), newNumber()];
  const csv = [
    "Phone,Name,Time zone",
    `${one},Olga First ${mark},Europe/Lisbon`,
    `12,"Pavel, Too Short",Europe/Lisbon`,
    `${two},Quentin Second ${mark},`,
    `no number,Rosa Nowhere,`,
    `${known},Nadia Renamed ${mark},`,
    "",
  ].join("\n");

  step("checks a file with two broken rows");
  await page.goto(`${base}contacts/import`);
  await page.setInputFiles("input[type=file]", { name: "october.csv", mimeType: "text/csv", buffer: Buffer.from(csv) });
  await page.getByRole("button", { name: /Time zone/ }).first().waitFor();
  await page.getByRole("combobox", { name: "Tags for everybody in this file" }).fill(tag);
  await page.keyboard.press("Enter");
  await button(page, "Check the file").click();
  const errors = page.getByRole("table", { name: "Rows that cannot be used" });
  await errors.getByText("Line 3").waitFor();
  await errors.getByText("Line 5").waitFor();
  check((await errors.getByRole("row").count()) === 3, "there are other rows than the two and the heading");
  await see(page, "2");

  step("saves the rows with what is wrong");
  const saving = page.waitForEvent("download");
  await button(page, "Download rows").click();
  const saved = readFileSync(await (await saving).path(), "utf8").replace(/^\uFEFF/, "").trim().split(/\r?\n/);
  const [header, ...lines] = saved;
  check(saved.length === 3, `${saved.length} lines were saved: ${saved.join(" | ")}`);
  check(/problem/i.test(header) && /^"?3"?[,;]/.test(lines[0]) && /^"?5"?[,;]/.test(lines[1]), `the saved rows read ${saved.join(" | ")}`);
  check(lines.every((line) => /phone/i.test(line)), "the rows do not say which column is wrong");

  step("imports the others");
  await button(page, "Import 3 contacts").click();
  await see(page, "Completed");
  await page.goto(`${base}contacts?tag=${tag}`);
  await page.getByRole("row").filter({ hasText: `Olga First ${mark}` }).waitFor();
  await page.getByRole("row").filter({ hasText: `Nadia Renamed ${mark}` }).waitFor();
  check((await page.getByText("Rosa Nowhere").count()) === 0, "a broken row was imported");

  step("takes it back");
  await page.goBack();
  await button(page, "Undo this import").click();
  await page.getByRole("alertdialog").getByText("Takes back 2 added people and the changes to 1 others").waitFor();
  await page.getByRole("alertdialog").getByRole("button", { name: "Undo this import" }).click();
  await see(page, "Undone");
  check((await button(page, "Undo this import").count()) === 0, "it can be undone twice");
  await until("nobody has the file's tag", async () => (await gql("query($t: [String!]) { contacts(first: 1, filter: { tags: $t }) { nodes { id } } }", { t: [tag] })).contacts.nodes.length === 0);
  await page.goto(`${base}contacts?tag=${tag}`);
  await page.getByText("Nothing found").or(page.getByText("Nothing fits")).first().waitFor();
  await page.goto(`${base}contacts?q=${encodeURIComponent(known)}`);
  await page.getByRole("row").filter({ hasText: `Nadia Known ${mark}` }).waitFor();
});
