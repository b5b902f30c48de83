// Pictures of the console for docs/console, of a bakery that does not exist: a gateway of its own with nobody in it is filled
// with people, templates and campaigns, and every main screen is taken at 1440 and 390 px. How to start one: docs/console/README.md.
import { mkdirSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { chromium } from "playwright-core";
import { comeIn, gql, launch, sandbox, serve, until } from "./browser.mjs";

const folder = process.env.PICTURES ?? new URL("../../../docs/console/", import.meta.url).pathname;
const only = process.argv[2];
const bytes_max = 60_000;
const all_bytes_max = 1_500_000;

const first = ["Amelia", "Ben", "Chloe", "Daniel", "Eilidh", "Farah", "George", "Hannah", "Imran", "Jess", "Kofi", "Lucy", "Mateusz", "Nia", "Oscar", "Priya", "Quinn", "Rhys", "Sofia", "Tom", "Uma", "Victor", "Wendy", "Yusuf", "Zara"];
const last = ["Ashworth", "Bennett", "Campbell", "Doyle", "Ellis", "Fraser", "Grant", "Hughes", "Iqbal", "Jarvis", "Kaur", "Lewis"];
const cities = ["Bristol", "Bath", "Cardiff", "Exeter", "Gloucester"];
/** Of the numbers that are kept for stories, the k-th. */
const phone = (k) => `+447700900${String(k).padStart(3, "0")}`;

const make = (type, field, select) => async (input) => (await gql(`mutation($i: ${type}!) { ${field}(input: $i) { ${select} } }`, { i: input }))[field];
const connect = make("ConnectAccountInput", "connectAccount", "account { id phoneNumberId }");
const importContacts = make("ImportContactsInput", "importContacts", "import { id }");
const createTemplate = make("CreateTemplateInput", "createTemplate", "template { id }");
const createCampaign = make("CreateCampaignInput", "createCampaign", "campaign { id }");
const createSegment = make("CreateSegmentInput", "createSegment", "segment { id }");
const launchCampaign = (id) => gql("mutation($id: ID!) { launchCampaign(id: $id) { position } }", { id });
const statusOf = async (id) => (await gql("query($id: ID!) { campaign(id: $id) { status progress { pending read replied delivered } } }", { id })).campaign;

async function fill() {
  const { accounts } = await gql("{ accounts(first: 1) { nodes { id name } } }");
  if (accounts.nodes[0]) throw new Error("this gateway has numbers already: take one that is empty");
  const { account } = await connect({ name: "Aurora Bakery", provider: "SANDBOX", timeZone: "Europe/London", defaultRegion: "GB", messagesPerSecond: 40 });
  await gql("mutation($i: SetRateCardInput!) { setRateCard(input: $i) { position } }", { i: { rates: [
    { countries: ["GB", "IE"], category: "MARKETING", currency: "GBP", amount: "0.0382", validFrom: "2026-01-01" }, { countries: ["GB", "IE"], category: "UTILITY", currency: "GBP", amount: "0.0159", validFrom: "2026-01-01" },
    { category: "MARKETING", currency: "GBP", amount: "0.0520", validFrom: "2026-01-01" }, { category: "UTILITY", currency: "GBP", amount: "0.0200", validFrom: "2026-01-01" },
  ] } });
  await sandbox("PUT", `behaviour?phoneNumberId=${account.phoneNumberId}`, { latencyMs: { min: 20, max: 90 }, statusDelayMs: { min: 100, max: 1500 }, deliveredRate: 0.985, readRate: 0.71, replyRate: 0.06, errorRates: { 131026: 0.02, 131049: 0.012 } });

  const who = first.flatMap((given, f) => last.map((family, l) => ({ given, family, k: 100 + f * last.length + l })));
  const rows = who.map(({ given, family, k }) => [phone(k), `${given} ${family}`, given, cities[k % 5], k % 3 === 0 ? "newsletter,regular" : k % 4 === 0 ? "newsletter" : "", k % 23 === 0 ? "no" : k % 19 === 0 ? "" : "yes", k % 40 === 0 ? "America/New_York" : k % 31 === 0 ? "Europe/Lisbon" : "Europe/London", `customer-${k}`]);
  const csv = [["phone", "name", "first_name", "attributes.city", "tags", "consent", "time_zone", "external_id"], ...rows].map((row) => row.map((cell) => (/,/.test(cell) ? `"${cell}"` : cell)).join(",")).join("\n");
  const { import: { id: imported } } = await importContacts({ csv: `${csv}\n`, tags: ["customers"], consentSource: "Counter sign-up, 2026" });
  await until("the import", async () => (await gql("query($id: ID!) { import(id: $id) { status } }", { id: imported })).import.status === "COMPLETED", 60_000);
  await until("the lists", async () => (await gql('{ contacts(first: 1, filter: { tags: ["customers"] }) { totalCount } }')).contacts.totalCount >= rows.length, 60_000);
  await until("the number", async () => (await sandbox("GET", "numbers")).length !== 0);

  const template = async (name, category, components) => {
    const { template: { id } } = await createTemplate({ accountId: account.id, name, language: "en_GB", category, components });
    await gql("mutation($id: ID!) { submitTemplate(id: $id) { position } }", { id });
    await until(`the template ${name}`, async () => (await gql("query($id: ID!) { template(id: $id) { status } }", { id })).template.status === "APPROVED");
    return id;
  };
  const hours = await template("winter_hours", "MARKETING", [
    { type: "HEADER", format: "TEXT", text: "Winter opening hours" },
    { type: "BODY", text: "Hello {{1}}, from Monday our shop in {{2}} opens at *7:30* and closes at *18:00*. Mince pies are back, too. See you soon!", example: { body_text: [["Amelia", "Bath"]] } },
    { type: "FOOTER", text: "Reply STOP to end" },
    { type: "BUTTONS", buttons: [{ type: "QUICK_REPLY", text: "See you there" }, { type: "URL", text: "Order ahead", url: "https://aurora-bakery.example/order" }] },
  ]);
  const ready = await template("order_ready", "UTILITY", [{ type: "BODY", text: "Hello {{1}}, your order {{2}} is ready. You can collect it until 18:00 today.", example: { body_text: [["Amelia", "A-1042"]] } }]);
  await template("sourdough_class", "MARKETING", [
    { type: "BODY", text: "Hello {{1}}, there are a few places left in our sourdough class on Saturday. Shall we keep one for you?", example: { body_text: [["Amelia"]] } },
    { type: "FOOTER", text: "Reply STOP to end" }, { type: "BUTTONS", buttons: [{ type: "QUICK_REPLY", text: "Yes, please" }, { type: "QUICK_REPLY", text: "Not this time" }] },
  ]);
  await createTemplate({ accountId: account.id, name: "easter_preorder", language: "en_GB", category: "MARKETING", components: [{ type: "BODY", text: "Hello {{1}}, Easter orders open on Friday. Tell us what you would like.", example: { body_text: [["Amelia"]] } }] });

  const city = (name) => ({ attribute: "city", op: "eq", value: name });
  const { segment: bath } = await createSegment({ name: "Regulars around Bath", rule: { all: [{ tag: "regular" }, { any: [city("Bath"), city("Bristol")] }, { not: [{ consent: "OPTED_OUT" }] }] } });
  await createSegment({ name: "Agreed, in Cardiff", rule: { all: [{ consent: "OPTED_IN" }, city("Cardiff")] } });

  const parameters = { "body.1": "{{first_name | default: there}}", "body.2": "{{attributes.city | default: your town}}" };
  const { campaign: done } = await createCampaign({ accountId: account.id, templateId: hours, name: "Winter opening hours", audience: { tags: ["customers"] }, parameters });
  await launchCampaign(done.id);
  await until("the first campaign", async () => { const { status, progress } = await statusOf(done.id); return status === "COMPLETED" && progress.read > 150; }, 90_000);
  const { contacts } = await gql('{ contacts(first: 3, filter: { consent: [OPTED_IN] }) { nodes { id name } } }');
  for (const { id, name } of contacts.nodes) await gql("mutation($i: SendMessageInput!) { sendMessage(input: $i) { position } }", { i: { accountId: account.id, contactId: id, template: { templateId: ready, parameters: { "body.1": name.split(" ")[0], "body.2": "A-1042" } } } });
  const day = new Date(Date.now() + 2 * 86_400_000).toISOString().slice(0, 10);
  const { campaign: later } = await createCampaign({ accountId: account.id, templateId: hours, name: "Saturday morning, everywhere", audience: { tags: ["newsletter"] }, parameters, schedule: { startAt: `${day}T09:00`, timeZone: "Europe/London", recipientLocal: true, sendWindow: { from: "09:00", to: "18:00" } } });
  await launchCampaign(later.id);
  const { campaign: draft } = await createCampaign({ accountId: account.id, templateId: hours, name: "Regulars first", audience: { segmentIds: [bath.id] }, parameters, schedule: { startAt: `${day}T09:00`, timeZone: "Europe/London", recipientLocal: true } });
  await make("CreateWebhookEndpointInput", "createWebhookEndpoint", "position")({ url: "https://hooks.aurora-bakery.example/whatsapp", types: ["message.delivered", "message.failed", "message.received"] });
  await make("InviteUserInput", "inviteUser", "position")({ name: "Sam Okafor", email: "sam@aurora-bakery.example", role: "SENDER" });
  const { messages, failed } = await gql(`query($c: [ID!]) { messages(first: 1, filter: { campaignIds: $c, status: [READ] }) { nodes { id contactId } } failed: messages(first: 1, filter: { status: [FAILED] }) { nodes { id } } }`, { c: [done.id] });
  const { campaign: running } = await createCampaign({ accountId: account.id, templateId: hours, name: "Mince pies are back", audience: { tags: ["regular"] }, parameters, messagesPerSecond: 2 });
  return { account: account.id, hours, bath: bath.id, done: done.id, draft: draft.id, later: later.id, running: running.id, message: messages.nodes[0].id, contact: messages.nodes[0].contactId, failed: failed.nodes[0].id };
}

const screens = (s) => [
  ["home", ""], ["campaigns", "campaigns"], ["campaign", `campaigns/${s.done}`], ["campaign-recipients", `campaigns/${s.done}?tab=recipients`],
  ["plan-audience", `campaigns/${s.draft}/edit/audience`], ["plan-message", `campaigns/${s.draft}/edit/message`], ["plan-schedule", `campaigns/${s.draft}/edit/schedule`], ["plan-estimate", `campaigns/${s.draft}/edit/estimate`], ["plan-review", `campaigns/${s.draft}/edit/review`],
  ["messages", "messages"], ["message", `messages/${s.message}`], ["message-failed", `messages/${s.failed}`], ["contacts", "contacts"], ["contact", `contacts/${s.contact}`],
  ["segments", "segments"], ["segment", `segments/${s.bath}`], ["templates", "templates"], ["template", `templates/${s.hours}`], ["template-editor", `templates/${s.hours}`, "Edit"],
  ["numbers", "numbers"], ["number", `numbers/${s.account}`], ["prices", "settings/prices"], ["people", "settings/people"], ["webhooks", "settings/webhooks"], ["events", "settings/events?view=timeline&kind=campaign"], ["system", "settings/system"],
];

const { base, stop } = await serve();
const browser = await chromium.launch(launch);
const problems = [];
let total = 0;
try {
  mkdirSync(folder, { recursive: true });
  const scene = await fill();
  const context = await browser.newContext({ viewport: { width: 1440, height: 900 } });
  await context.addInitScript(() => localStorage.setItem("console.preferences", JSON.stringify({ language: "en", theme: "light", zone: "Europe/London" })));
  const page = await context.newPage();
  page.setDefaultTimeout(30_000);
  await comeIn(page);
  const devtools = await context.newCDPSession(page);
  const take = async (name, width) => {
    const { data } = await devtools.send("Page.captureScreenshot", { format: "webp", quality: 62 });
    const file = join(folder, `${name}-${width}.webp`);
    writeFileSync(file, Buffer.from(data, "base64"));
    // To be looked at where WebP cannot be.
    if (process.env.PNG) await page.screenshot({ path: join(process.env.PNG, `${name}-${width}.png`) });
    const { size } = statSync(file);
    total += size;
    if (size > bytes_max) problems.push(`${name}-${width}.webp has ${size} bytes`);
  };
  const wanted = (name) => !only || name.includes(only);
  for (const width of [1440, 390]) {
    await page.setViewportSize({ width, height: width === 390 ? 844 : 900 });
    for (const [name, path, press] of screens(scene)) {
      if (!wanted(name)) continue;
      await page.goto(base + path);
      await page.waitForSelector("h1");
      await page.waitForFunction(() => !document.querySelector(".skeleton"));
      if (name === "plan-audience") await page.getByText("people", { exact: true }).waitFor();
      if (press) await page.getByRole("button", { name: press, exact: true }).first().click();
      await take(name, width);
    }
  }
  if (wanted("campaign-running")) {
    await launchCampaign(scene.running);
    await page.setViewportSize({ width: 1440, height: 900 });
    await page.goto(`${base}campaigns/${scene.running}`);
    await page.getByRole("img", { name: /Messages over time/ }).waitFor();
    await page.waitForFunction(() => [...document.querySelectorAll(".funnel li")].some((row) => row.firstElementChild.textContent === "Read" && Number(row.querySelector("b").textContent) >= 15));
    await take("campaign-running", 1440);
    await page.setViewportSize({ width: 390, height: 844 });
    await take("campaign-running", 390);
  }
} catch (error) {
  problems.push(error.stack);
} finally {
  await browser.close();
  await stop();
}
console.log(`${Math.round(total / 1000)} kB`);
if (total > all_bytes_max) problems.push(`all of them together have ${total} bytes`);
if (problems.length > 0) {
  console.error(problems.join("\n"));
  process.exit(1);
}
process.exit(0);
