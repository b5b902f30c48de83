// From a file of customers to a delivered campaign, as a shop owner would do it: by what is written on the screen, and by
// nothing else. Needs a gateway with a sandbox number, as smoke.mjs does.
import { mkdirSync, mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium } from "playwright-core";
import { comeIn, launch, serve } from "./browser.mjs";

const { base, stop } = await serve();
const context = await chromium.launchPersistentContext(mkdtempSync(join(tmpdir(), "console-walk-")), {
  ...launch,
  viewport: { width: 1280, height: 900 },
});
const page = context.pages()[0] ?? (await context.newPage());
page.setDefaultTimeout(30_000);
const errors = [];
page.on("pageerror", (error) => errors.push(error.message));
const mark = Date.now().toString(36);
const tag = `walk-${mark}`;
const button = (name) => page.getByRole("button", { name, exact: true });
const link = (name) => page.getByRole("link", { name, exact: true });
const step = (what) => console.log(`- ${what}`);
const pictures = new URL("../pictures/", import.meta.url).pathname;
mkdirSync(pictures, { recursive: true });

try {
  await page.addInitScript(() => localStorage.getItem("console.preferences") ?? localStorage.setItem("console.preferences", JSON.stringify({ language: "en", theme: "light" })));
  await comeIn(page);
  await page.goto(base);

  await page.getByRole("heading", { name: "Your numbers" }).or(page.getByText("0 of 6 done")).first().waitFor();
  await page.waitForFunction(() => !document.querySelector(".skeleton"));
  if (await page.getByText("0 of 6 done").isVisible()) {
    step("connects a sandbox number, which the checklist asks for first");
    await page.screenshot({ path: join(pictures, "walk-first.png"), fullPage: true });
    await link("Connect a number").first().click();
    await page.getByText("A practice number inside the gateway.").click();
    await page.getByRole("textbox", { name: "Name", exact: true }).fill("Corner shop");
    await button("Connect a number").click();
    await page.getByRole("heading", { name: "Corner shop" }).waitFor();
    await page.getByText("Connected", { exact: true }).first().waitFor();
    await link("Home").first().click();
    await page.getByText("1 of 6 done").waitFor();
  }

  step("imports a file with a broken row");
  await link("Contacts").first().click();
  await link("Import contacts").first().click();
  const number = (n) => `+4477009${String(Math.floor(Math.random() * 9000) + 1000)}${n}`;
  const people = [number(1), number(2), number(3)];
  const csv = `Mobile;First name;Town;Newsletter\n${people[0]};Ada;London;yes\n${people[1]};Bea-${mark};Leeds;yes\n${people[2]};Chidi;York;no\n12;Dana;Bath;yes\n`;
  await page.setInputFiles("input[type=file]", { name: "customers.csv", mimeType: "text/csv", buffer: Buffer.from(csv) });
  await page.getByRole("button", { name: /Attribute “Town”/ }).waitFor();
  await page.getByRole("combobox", { name: "Tags for everybody in this file" }).fill(tag);
  await page.keyboard.press("Enter");
  await page.getByRole("textbox", { name: "Where is that known from?" }).fill("sign-up form");
  await button("Check the file").click();
  await page.getByText("Line 5").waitFor();
  await page.screenshot({ path: join(pictures, "walk-import.png"), fullPage: true });
  await button("Import 3 contacts").click();
  await page.getByText("Completed", { exact: true }).waitFor();

  step("writes a template, with the rules that stand in its way, and hands it in");
  await link("Templates").first().click();
  await link("New template").first().click();
  await page.getByRole("textbox", { name: "Name", exact: true }).fill(`news_${mark}`);
  const language = page.getByRole("combobox", { name: "Language" });
  await language.fill("UK");
  await page.getByRole("option", { name: /English \(UK\)/ }).click();
  if ((await language.inputValue()) !== "English (UK) · en_GB") throw new Error(`the language reads ${await language.inputValue()}`);
  await page.getByRole("textbox", { name: "Message", exact: true }).fill("Hello {{1}}");
  await page.getByText("The message must not end with a variable.").first().waitFor();
  await page.getByRole("textbox", { name: "Message", exact: true }).fill("Hello {{1}}, our new opening hours begin on Monday. See you soon in the shop!");
  await page.getByRole("textbox", { name: "{{1}}", exact: true }).fill("Ada");
  await page.getByLabel(/^Footer/).fill("Reply STOP to end");
  await button("Add a button").click();
  await page.getByRole("textbox", { name: "Text", exact: true }).fill("See you there");
  await page.screenshot({ path: join(pictures, "walk-template.png"), fullPage: true });
  await button("Submit for review").click();
  await page.getByText("Approved", { exact: true }).first().waitFor();

  step("plans a campaign for those people");
  await link("Campaigns").first().click();
  await link("New campaign").first().click();
  await page.getByRole("textbox", { name: "Name", exact: true }).fill(`Opening hours ${mark}`);
  await page.getByRole("combobox", { name: "Or with any of these tags" }).fill(tag);
  await page.keyboard.press("Enter");
  await page.getByText("3", { exact: true }).first().waitFor();
  await button("Next: Message").click();
  await page.getByLabel("Template", { exact: true }).or(page.getByRole("button", { name: /Template/ })).first().click();
  await page.getByRole("option", { name: new RegExp(`news_${mark}`) }).click();
  await page.getByRole("textbox", { name: "{{1}} in the message" }).fill("{{first_name | default: there}}");
  await button("Save draft and go on").click();
  await page.getByText("Hello Ada, our new opening hours").waitFor();
  await button("Next: Schedule").click();
  await button("Next: Estimate").click();
  await page.getByText("Never agreed to marketing").or(page.getByText("Asked not to be written to")).first().waitFor();
  await button("Next: Review").click();
  await page.getByRole("textbox", { name: "Your number" }).fill(number(9));
  await button("Send test").click();
  await page.getByText("The test was not sent").waitFor();
  await page.getByRole("textbox", { name: "Your number" }).fill(people[0]);
  await button("Send test").click();
  await page.getByText("The test is on its way").waitFor();

  step("launches it and sees it delivered");
  await button("Launch campaign").click();
  await page.getByRole("alertdialog").getByRole("button", { name: "Launch campaign" }).click();
  await page.getByText("Completed", { exact: true }).first().waitFor({ timeout: 60_000 });
  await page.getByRole("listitem").filter({ hasText: /^Delivered2/ }).waitFor({ timeout: 60_000 });
  await page.screenshot({ path: join(pictures, "walk-campaign.png"), fullPage: true });

  step("asks why somebody was left out");
  await link("Recipients").click();
  await page.getByRole("row").filter({ hasText: "Left out" }).getByRole("link").first().click();
  await page.getByText("Why was this not sent?").waitFor();
  await page.screenshot({ path: join(pictures, "walk-message.png"), fullPage: true });

  step("makes a segment and finds it again with the keyboard");
  await page.keyboard.press("Control+k");
  await page.getByPlaceholder("Screen, action, campaign or number").waitFor();
  await page.keyboard.type("New segment");
  await page.getByRole("menuitem", { name: /New segment/ }).waitFor();
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("Enter");
  await page.getByRole("textbox", { name: "Name", exact: true }).fill(`Segment ${mark}`);
  await page.getByRole("combobox", { name: "Tag", exact: true }).fill(tag);
  await page.getByText("3", { exact: true }).first().waitFor();
  await button("Save").click();
  await page.getByRole("heading", { name: `Segment ${mark}` }).waitFor();

  step("looks at a person, records a no, and sees the past");
  await link("Contacts").first().click();
  await page.getByLabel("Name, number or your ID").fill(`Bea-${mark}`);
  await page.getByRole("row").filter({ hasText: tag }).getByRole("link").first().click();
  await button("Record consent").click();
  await page.getByRole("button", { name: /The person/ }).click();
  await page.getByRole("option", { name: "Said no" }).click();
  await page.getByRole("textbox", { name: "Where is that known from?" }).fill("phone call");
  await button("Save").click();
  await page.getByText("Said no").first().waitFor();
  await page.waitForFunction(() => !document.querySelector("[role=dialog]"));
  await button("As of…").click();
  await button("Show").click();
  await page.getByText("You are looking at the past.").waitFor();
  await page.screenshot({ path: join(pictures, "walk-contact.png"), fullPage: true });
  step("pauses a slow campaign while it runs, resumes and ends it");
  const gql = (query, variables) => page.evaluate(async ({ query, variables }) => {
    const session = await fetch("/session");
    const { csrfToken } = session.ok ? await session.json() : {};
    const response = await fetch("/graphql", { method: "POST", headers: { "content-type": "application/json", ...(csrfToken && { "x-csrf-token": csrfToken }) }, body: JSON.stringify({ query, variables }) });
    const it = await response.json(); if (it.errors) throw new Error(JSON.stringify(it.errors)); return it.data;
  }, { query, variables });
  const rows = Array.from({ length: 120 }, (_, index) => `${number(index % 10)}${index};Person ${index};yes`).map((row) => row.replace(/^(\+\d{12})\d*/, "$1"));
  const imported = await gql("mutation($i: ImportContactsInput!) { importContacts(input: $i) { import { id } } }", { i: { csv: `phone;name;consent\n${rows.join("\n")}\n`, tags: [`slow-${mark}`], consentSource: "walk" } });
  const status = () => gql("query($id: ID!) { import(id: $id) { status } }", { id: imported.importContacts.import.id });
  for (let known = await status(); known.import.status !== "COMPLETED"; known = await status());
  const { accounts, templates } = await gql("{ accounts(first: 1) { nodes { id } } templates(first: 1, filter: { status: [APPROVED] }) { nodes { id parameters } } }");
  const parameters = Object.fromEntries(templates.nodes[0].parameters.map((name) => [name, "{{first_name | default: there}}"]));
  const made = await gql("mutation($i: CreateCampaignInput!) { createCampaign(input: $i) { campaign { id } } }", { i: { accountId: accounts.nodes[0].id, templateId: templates.nodes[0].id, name: `Slow ${mark}`, audience: { tags: [`slow-${mark}`] }, messagesPerSecond: 3, parameters } });
  const slow = made.createCampaign.campaign.id;
  await gql("mutation($id: ID!) { launchCampaign(id: $id) { position } }", { id: slow });
  await page.goto(`${base}campaigns/${slow}`);
  await page.getByText("Still to send").waitFor();
  await page.getByRole("img", { name: /Messages over time/ }).waitFor();
  // Somewhat of a curve, and something accepted.
  await page.waitForFunction(() => [...document.querySelectorAll(".funnel li")].some((row) => row.firstElementChild.textContent === "Accepted" && Number(row.querySelector("b").textContent) >= 10));
  await page.screenshot({ path: join(pictures, "walk-live.png"), fullPage: true });
  await button("Pause").click();
  await page.getByText("Paused", { exact: true }).first().waitFor();
  await button("Resume").click();
  await page.getByText("Sending", { exact: true }).first().waitFor();
  await button("More actions").click();
  await page.getByRole("menuitem", { name: "End this campaign" }).click();
  await page.getByRole("textbox", { name: "Reason, for the record" }).fill("walked far enough");
  await page.getByRole("alertdialog").getByRole("button", { name: "End this campaign" }).click();
  await page.getByText("Ended early", { exact: true }).first().waitFor();
  await page.getByText(/messages had left, \d+ were stopped/).waitFor();
  if (errors.length > 0) throw new Error(errors.join("\n"));
  console.log("delivered");
} catch (error) {
  await page.screenshot({ path: join(pictures, "walk-failed.png"), fullPage: true }).catch(() => undefined);
  console.error(page.url(), error, errors);
  process.exitCode = 1;
} finally {
  await context.close();
  await stop();
}
process.exit();
