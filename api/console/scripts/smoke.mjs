// Opens every screen of the built console against a real gateway and complains about what a person would trip over: errors in
// the browser, what axe-core finds (light, dark, right to left), and pages that are wider than the window down to 320 px.
//
//   GATEWAY_URL=http://127.0.0.1:8080 GATEWAY_KEY=wgk_… node scripts/smoke.mjs [part of a screen's name]
//
// The gateway should be one of its own (`whatsapp-gateway demo`): the script adds a few things to look at.
import AxeBuilder from "@axe-core/playwright";
import { mkdirSync, mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium } from "playwright-core";
import { comeIn, launch, serve } from "./browser.mjs";

const url = process.env.GATEWAY_URL ?? "http://127.0.0.1:8080";
const key = process.env.GATEWAY_KEY;
if (!key) throw new Error("GATEWAY_KEY is not set");
const only = process.argv[2];
const pictures = new URL("../pictures/", import.meta.url).pathname;
mkdirSync(pictures, { recursive: true });

async function gql(query, variables = {}) {
  const response = await fetch(`${url}/graphql`, { method: "POST", headers: { "content-type": "application/json", authorization: `Bearer ${key}` }, body: JSON.stringify({ query, variables }) });
  const { data, errors } = await response.json();
  if (errors) throw new Error(JSON.stringify(errors));
  return data;
}

/** What the screens show: taken from the gateway, and made where it is not there yet. */
async function scene() {
  const found = await gql(`{
    accounts(first: 1) { nodes { id phoneNumberId } } templates(first: 1, filter: { status: [APPROVED] }) { nodes { id } } contacts(first: 1) { nodes { id } }
    done: campaigns(first: 1, filter: { status: [COMPLETED, RUNNING] }) { nodes { id } }
    drafts: campaigns(first: 1, filter: { status: [DRAFT] }) { nodes { id } }
    segments(first: 1) { nodes { id } } webhookEndpoints(first: 1) { nodes { id } } failed: messages(first: 1, filter: { status: [FAILED] }) { nodes { id } } messages(first: 1) { nodes { id } }
    rateCard { rates { amount } }
  }`);
  const account = found.accounts.nodes[0].id;
  const template = found.templates.nodes[0].id;
  let segment = found.segments.nodes[0]?.id;
  if (!segment) {
    const make = (name, rule) => gql("mutation($i: CreateSegmentInput!) { createSegment(input: $i) { segment { id } } }", { i: { name, rule } });
    segment = (await make("Customers in London", { all: [{ attribute: "city", op: "eq", value: "London" }, { consent: "OPTED_IN" }] })).createSegment.segment.id;
    await make("Agreed, or never asked", { any: [{ consent: "OPTED_IN" }, { consent: "UNKNOWN" }] });
  }
  let draft = found.drafts.nodes[0]?.id;
  if (!draft) {
    const make = (i) => gql("mutation($i: CreateCampaignInput!) { createCampaign(input: $i) { campaign { id } } }", { i: { accountId: account, templateId: template, parameters: { "body.1": "{{first_name | default: there}}", "body.2": "{{attributes.city | default: your town}}" }, ...i } });
    draft = (await make({ name: "Winter opening hours", audience: { segmentIds: [segment] } })).createCampaign.campaign.id;
    const day = new Date(Date.now() + 3 * 86_400_000).toISOString().slice(0, 10);
    const later = (await make({ name: "Saturday market", audience: { tags: ["demo"] }, schedule: { startAt: `${day}T09:00`, timeZone: "Europe/London", recipientLocal: true, sendWindow: { from: "09:00", to: "19:00" } } })).createCampaign.campaign.id;
    await gql("mutation($id: ID!) { launchCampaign(id: $id) { position } }", { id: later });
  }
  let webhook = found.webhookEndpoints.nodes[0]?.id;
  if (!webhook) webhook = (await gql("mutation($i: CreateWebhookEndpointInput!) { createWebhookEndpoint(input: $i) { endpoint { id } } }", { i: { url: "https://hooks.example.com/whatsapp", types: ["message.delivered", "message.failed"] } })).createWebhookEndpoint.endpoint.id;
  if (found.rateCard.rates.length === 0)
    await gql("mutation($i: SetRateCardInput!) { setRateCard(input: $i) { position } }", { i: { rates: [{ countries: ["GB", "IE"], category: "MARKETING", currency: "USD", amount: "0.0529", validFrom: "2026-01-01" }, { category: "UTILITY", currency: "USD", amount: "0.0077", validFrom: "2026-01-01" }] } });
  const conversation = await written(found.accounts.nodes[0].phoneNumberId);
  const csv = "Phone;Name;City\n+447700900901;Zoe Import;Leeds\n12;Nobody;York\n07700 900902;Yan Import;Bath\n";
  const imported = (await gql("mutation($i: ImportContactsInput!) { importContacts(input: $i) { import { id } } }", { i: { csv, dryRun: true } })).importContacts.import.id;
  return { conversation, account, template, segment, draft, webhook, imported, contact: found.contacts.nodes[0].id, campaign: found.done.nodes[0].id, message: (found.failed.nodes[0] ?? found.messages.nodes[0]).id };
}

/** Somebody writes to the number, by the sandbox's controls; answers the conversation. */
async function written(phoneNumberId) {
  const name = "Ivy Inbox";
  const response = await fetch(`${url}/_sandbox/inbound`, { method: "POST", headers: { "content-type": "application/json", authorization: `Bearer ${key}` }, body: JSON.stringify({ phoneNumberId, from: "+447700900777", name, type: "text", text: "Do you have rye bread today? I would come by at five, or send somebody." }) });
  if (!response.ok) throw new Error(`the sandbox's controls answered ${response.status}: start the gateway with --set sandbox.controls=true`);
  for (let tries = 0; tries < 60; tries++) {
    const [found] = (await gql("query($s: String) { conversations(first: 1, filter: { search: $s }) { nodes { id } } }", { s: name })).conversations.nodes;
    if (found) return found.id;
    await new Promise((done) => setTimeout(done, 250));
  }
  throw new Error("what was written never came to the Inbox");
}

const screens = (s) => [
  ["home", ""], ["campaigns", "campaigns"], ["campaign", `campaigns/${s.campaign}`], ["campaign-recipients", `campaigns/${s.campaign}?tab=recipients`], ["campaign-history", `campaigns/${s.campaign}?tab=history`], ["campaign-as-of", `campaigns/${s.campaign}?asOf=${new Date().toISOString()}`],
  ["wizard-new", "campaigns/new/edit/audience"], ["wizard-audience", `campaigns/${s.draft}/edit/audience`], ["wizard-message", `campaigns/${s.draft}/edit/message`], ["wizard-schedule", `campaigns/${s.draft}/edit/schedule`],
  ["wizard-estimate", `campaigns/${s.draft}/edit/estimate`], ["wizard-review", `campaigns/${s.draft}/edit/review`], ["messages", "messages"], ["message", `messages/${s.message}`], ["contacts", "contacts"], ["contact", `contacts/${s.contact}`],
  ["import", "contacts/import"], ["import-result", `contacts/imports/${s.imported}`], ["segments", "segments"], ["segment", `segments/${s.segment}`], ["segment-new", "segments/new"],
  ["templates", "templates"], ["template", `templates/${s.template}`], ["template-new", "templates/new"], ["numbers", "numbers"], ["number", `numbers/${s.account}`], ["number-settings", `numbers/${s.account}?tab=settings`],
  ["number-history", `numbers/${s.account}?tab=history`], ["connect", "numbers/connect"], ["settings", "settings"], ["browser", "settings/browser"], ["prices", "settings/prices"], ["keys", "settings/keys"], ["webhooks", "settings/webhooks"],
  ["webhook", `settings/webhooks/${s.webhook}`], ["events", "settings/events"], ["system", "settings/system"], ["not-found", "nowhere"],
  ["inbox", "inbox"], ["inbox-thread", `inbox/${s.conversation}`], ["inbox-person", `inbox/${s.conversation}?person=yes`], ["inbox-nothing", "inbox?q=nobody-is-called-so"], ["inbox-template", `inbox/${s.conversation}`, "Template"], ["inbox-file", `inbox/${s.conversation}`, "Send a file"],
  ["imports", "contacts/imports"], ["segment-history", `segments/${s.segment}?tab=history`], ["number-test", `numbers/${s.account}?tab=test`],
  ["dialog-person", "contacts", "Add a person"], ["dialog-edit", `contacts/${s.contact}`, "Edit"], ["dialog-consent", `contacts/${s.contact}`, "Record consent"], ["dialog-as-of", `campaigns/${s.campaign}`, "As of…"],
  ["dialog-key", "settings/keys", "New API key"], ["dialog-webhook", "settings/webhooks", "New webhook"], ["dialog-replay", `settings/webhooks/${s.webhook}`, "Replay"], ["dialog-pause", `numbers/${s.account}`, "Pause sending"],
  ["menu-campaign", `campaigns/${s.campaign}`, "More actions"], ["palette", "", "Control+k"], ["template-edit", `templates/${s.template}`, "Edit"],
];

const looks = [
  { name: "light", preferences: { theme: "light", language: "en", direction: "auto" }, width: 1440, picture: true },
  { name: "dark", preferences: { theme: "dark", language: "en", direction: "auto" }, width: 1440, picture: true },
  { name: "rtl", preferences: { theme: "light", language: "en", direction: "rtl" }, width: 1440, picture: true },
  { name: "phone", preferences: { theme: "light", language: "en", direction: "auto" }, width: 390, picture: true },
  { name: "narrow", preferences: { theme: "light", language: "pt", direction: "auto" }, width: 320, picture: false },
].filter(({ name }) => !process.env.LOOKS || process.env.LOOKS.split(",").includes(name));

const { base, stop } = await serve();
const context = await chromium.launchPersistentContext(mkdtempSync(join(tmpdir(), "console-smoke-")), launch);
const problems = [];
try {
  const wanted = screens(await scene()).filter(([name]) => !only || name.includes(only));
  const page = context.pages()[0] ?? (await context.newPage());
  await comeIn(page);
  let at = "";
  page.on("pageerror", (error) => problems.push(`${at}: ${error.message}`));
  // A gateway without sessions says so by a 404, which a browser reports as an error.
  page.on("console", (message) => message.type() === "error" && !message.location().url.endsWith("/session") && problems.push(`${at}: ${message.text().slice(0, 300)}`));
  for (const look of looks) {
    await page.setViewportSize({ width: look.width, height: 900 });
    await page.goto(base);
    await page.evaluate((preferences) => localStorage.setItem("console.preferences", JSON.stringify(preferences)), look.preferences);
    for (const [name, path, press] of wanted) {
      if (press && look.preferences.language !== "en") continue;
      at = `${name} (${look.name})`;
      await page.goto(base + path);
      await page.waitForSelector("h1");
      await page.waitForFunction(() => !document.querySelector(".skeleton"), null, { timeout: 15_000 }).catch(() => problems.push(`${at}: still loading after 15 s`));
      if (press?.includes("+")) await page.keyboard.press(press);
      else if (press) await page.getByRole("button", { name: press, exact: true }).first().click();
      if (press) await page.waitForSelector("[role=dialog], [role=alertdialog], [role=menu], form, textarea");
      if (await page.locator('.callout[role="alert"] code').count()) {
        const text = await page.locator('.callout[role="alert"]').first().innerText();
        if (!name.startsWith("message")) problems.push(`${at}: shows ${JSON.stringify(text)}`);
      }
      const over = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
      if (over > 1) {
        const widest = await page.evaluate(() => [...document.querySelectorAll("main *")].filter((element) => element.getBoundingClientRect().right > innerWidth + 1).slice(0, 3).map((element) => `${element.tagName}.${element.className}`));
        problems.push(`${at}: ${over} px wider than the window: ${widest.join(", ")}`);
      }
      const { violations } = await new AxeBuilder({ page }).withTags(["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]).analyze();
      for (const violation of violations) problems.push(`${at}: axe ${violation.id}: ${violation.nodes.slice(0, 3).map(({ target, failureSummary }) => `${target.join(" ")} ${(failureSummary ?? "").split("\n")[1] ?? ""}`).join(" | ").slice(0, 400)}`);
      if (look.picture) await page.screenshot({ path: join(pictures, `${name}-${look.name}.png`), fullPage: false });
    }
  }
  console.log(`${wanted.length} screens in ${looks.length} looks`);
} finally {
  await context.close();
  await stop();
}
if (problems.length > 0) {
  console.error([...new Set(problems)].join("\n"));
  process.exit(1);
}
console.log("nothing to complain about");
process.exit(0);
