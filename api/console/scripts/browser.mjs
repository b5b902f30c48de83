// What the scripts share: the browser, where the console is, and the gateway behind it. With SERVED the gateway of SETUP_LINK
// serves it, as people have it, and its first owner comes in by that link; else Vite does, with a proxy to GATEWAY_URL: by the
// link as well, where there is one, else by GATEWAY_KEY.
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { chromium } from "playwright-core";
import { preview } from "vite";

export const launch = {
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  headless: true,
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
};

const link = process.env.SETUP_LINK;
const url = process.env.GATEWAY_URL ?? "http://127.0.0.1:8080";
const key = process.env.GATEWAY_KEY;
export const owner = { name: "Ada Marlow", email: "ada@example.com", password: "correct horse battery" };
export const pictures = new URL("../pictures/", import.meta.url).pathname;

/** The address of the console, and how to stop what was started for it. */
export async function serve(port = Number(process.env.PORT ?? (link ? new URL(link).port : 4173))) {
  if (process.env.SERVED) return { base: `${new URL(link).origin}/console/`, stop: async () => {} };
  // With a key the proxy is who is asking.
  if (link) delete process.env.GATEWAY_KEY;
  const server = await preview({ preview: { port, strictPort: true }, logLevel: "error" });
  return { base: `http://127.0.0.1:${port}/console/`, stop: () => new Promise((done) => server.httpServer.close(done)) };
}

/** Lets the first owner in, where the gateway asks who is there. */
export async function comeIn(page, by = link) {
  if (!by) return;
  await page.goto(by);
  await page.getByLabel("Name", { exact: true }).fill(owner.name);
  await page.getByLabel("Email", { exact: true }).fill(owner.email);
  await page.getByLabel("New password", { exact: true }).fill(owner.password);
  await page.getByRole("button", { name: "Set up and sign in", exact: true }).click();
  await page.getByRole("navigation", { name: "Main menu" }).waitFor();
}

/** As the same owner, who has come in before. */
export async function signIn(page, address) {
  await page.goto(address);
  if (!link) return;
  await page.getByLabel("Email", { exact: true }).fill(owner.email);
  await page.getByLabel("Password", { exact: true }).fill(owner.password);
  await page.getByRole("button", { name: "Sign in", exact: true }).click();
  await page.getByRole("navigation", { name: "Main menu" }).waitFor();
}

const asked = (body, headers = {}) => ({ method: "POST", headers: { "content-type": "application/json", authorization: `Bearer ${key}`, ...headers }, body });

/** As GATEWAY_KEY, beside every browser. */
export async function gql(query, variables = {}) {
  for (;;) {
    const response = await fetch(`${url}/graphql`, asked(JSON.stringify({ query, variables })));
    const { data, errors } = await response.json();
    if (!errors) return data;
    if (errors[0].extensions?.code !== "RATE_LIMITED") throw new Error(JSON.stringify(errors));
    await new Promise((done) => setTimeout(done, errors[0].extensions.retryAfterMs + 10));
  }
}

/** A control of the built-in sandbox (`sandbox.controls`). */
export async function sandbox(method, path, body) {
  const response = await fetch(`${url}/_sandbox/${path}`, { ...asked(JSON.stringify(body)), method });
  if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${await response.text()}`);
  return response.json();
}

/** Asks until `found` is given; what is asked says how it stands. */
export async function until(what, found, within_ms = 30_000) {
  const end = Date.now() + within_ms;
  for (let last; ; ) {
    const value = await found();
    if (value) return value;
    if (Date.now() > end) throw new Error(`${what}: not within ${within_ms} ms, ${JSON.stringify(last ?? value)}`);
    last = value;
    await new Promise((done) => setTimeout(done, 100));
  }
}

/** A number that no other walk has. */
let numbers = Math.floor(Math.random() * 9_000) * 100;
export const newNumber = () => `+447700${String(900_000 + (numbers++ % 99_999)).slice(-6)}`;

/** People with these facts, imported; answers their ids by number. */
export async function people(rows, tag, more = {}) {
  const columns = [...new Set(rows.flatMap(Object.keys))];
  const csv = [columns.join(";"), ...rows.map((row) => columns.map((column) => row[column] ?? "").join(";"))].join("\n");
  const { importContacts } = await gql("mutation($i: ImportContactsInput!) { importContacts(input: $i) { position import { id } } }", { i: { csv: `${csv}\n`, tags: [tag], consent: "OPTED_IN", consentSource: "shop counter", ...more } });
  const { id } = importContacts.import;
  await until("the import", async () => (await gql("query($id: ID!) { import(id: $id) { status rejected } }", { id })).import.status === "COMPLETED");
  const ids = {};
  await until("the contacts", async () => {
    const { contacts } = await gql("query($t: [String!]) { contacts(first: 500, filter: { tags: $t }) { nodes { id phoneNumber } } }", { t: [tag] });
    for (const { id: contact, phoneNumber } of contacts.nodes) ids[phoneNumber] = contact;
    return contacts.nodes.length >= rows.length;
  });
  return ids;
}

/** A campaign to who has `tag`, by the demo's number and template; a draft until `launched`. */
export async function campaign(name, tag, { launched = true, ...more } = {}) {
  const { accounts, templates } = await gql("{ accounts(first: 1) { nodes { id } } templates(first: 1, filter: { status: [APPROVED] }) { nodes { id parameters } } }");
  const parameters = Object.fromEntries(templates.nodes[0].parameters.map((slot) => [slot, "{{first_name | default: there}}"]));
  const input = { accountId: accounts.nodes[0].id, templateId: templates.nodes[0].id, name, audience: { tags: [tag] }, parameters, ...more };
  const { id } = (await gql("mutation($i: CreateCampaignInput!) { createCampaign(input: $i) { campaign { id } } }", { i: input })).createCampaign.campaign;
  if (launched) await gql("mutation($id: ID!) { launchCampaign(id: $id) { position } }", { id });
  return id;
}

/** `steps` in a browser, which fails with a picture of every page. Everything they need comes with them. */
export async function walk(name, steps) {
  if (!key) throw new Error("GATEWAY_KEY is not set");
  mkdirSync(pictures, { recursive: true });
  const { base, stop } = await serve();
  const browser = await chromium.launch(launch);
  const problems = [];
  const pages = [];
  let at = "";
  /** Another person's browser, or the same person's other one. */
  const open = async (options = {}) => {
    const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, acceptDownloads: true, ...options });
    await context.addInitScript(() => localStorage.getItem("console.preferences") ?? localStorage.setItem("console.preferences", JSON.stringify({ language: "en", theme: "light" })));
    const page = await context.newPage();
    page.setDefaultTimeout(Number(process.env.PATIENCE_MS ?? 30_000));
    page.on("pageerror", (error) => problems.push(`${at}: ${error.message}`));
    pages.push(page);
    return page;
  };
  const kit = {
    base, open, signIn: (page) => signIn(page, base),
    step: (what) => console.log(`- ${(at = what)}`),
    check: (condition, what) => condition || problems.push(`${at}: ${what}`),
    button: (page, label) => page.getByRole("button", { name: label, exact: true }),
    see: (page, text) => page.getByText(text, { exact: true }).first().waitFor(),
    settled: (page) => page.waitForFunction(() => !document.querySelector(".skeleton")),
    mark: Date.now().toString(36),
  };
  try {
    const page = await open();
    await comeIn(page);
    await steps(page, kit);
  } catch (error) {
    problems.push(`${at}: ${error.stack}`);
    for (const [index, page] of pages.entries()) if (!page.isClosed()) await page.screenshot({ path: join(pictures, `${name}-failed-${index + 1}.png`), fullPage: true }).catch(() => undefined);
  } finally {
    await browser.close();
    await stop();
  }
  if (problems.length > 0) {
    console.error([...new Set(problems)].join("\n"));
    process.exit(1);
  }
  console.log("as it should be");
  process.exit(0);
}
