// People are answered in the Inbox, by what stands on the screen: somebody writes by the sandbox's controls and is seen at once, a
// reply gets its ticks, a closed window offers templates, what was begun is kept, a second browser sees the same, and a cut of the
// line hides nothing. At the end the loop test of the number.
//
//   GATEWAY_URL=http://127.0.0.1:8299 GATEWAY_KEY=wgk_… SETUP_LINK='http://127.0.0.1:4299/console/setup#token=…' node scripts/inbox.mjs
//
// The gateway is a new one that nobody has set up, with sandbox.controls; the key (ADMIN) is for those alone.
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { chromium } from "playwright-core";
import { launch, serve } from "./browser.mjs";

const setup = process.env.SETUP_LINK;
const key = process.env.GATEWAY_KEY;
const url = process.env.GATEWAY_URL;
if (!setup || !key || !url) throw new Error("SETUP_LINK, GATEWAY_KEY and GATEWAY_URL are needed");
// With a key in front of it nobody would sign in.
delete process.env.GATEWAY_KEY;
const pictures = new URL("../pictures/", import.meta.url).pathname;
mkdirSync(pictures, { recursive: true });

const owner = { name: "Ada Owner", email: "ada@example.com", password: "correct horse battery" };
const mark = Date.now().toString(36);
const ivy = `Ivy ${mark}`;
const late = `Lars ${mark}`;
const phone = () => `+4477009${String(Math.floor(Math.random() * 90_000) + 10_000)}`;
const numbers = { ivy: phone(), late: phone() };

async function ask(path, method, body) {
  const response = await fetch(`${url}${path}`, { method, headers: { "content-type": "application/json", authorization: `Bearer ${key}` }, ...(body ? { body: JSON.stringify(body) } : {}) });
  if (!response.ok) throw new Error(`${path} answered ${response.status}: ${await response.text()}`);
  return response;
}
const gql = async (query) => (await (await ask("/graphql", "POST", { query })).json()).data;

const { base, stop } = await serve(Number(new URL(setup).port));
const browser = await chromium.launch(launch);
const errors = [];
const step = (what) => console.log(`- ${what}`);

async function somebody(viewport = { width: 1440, height: 900 }) {
  const context = await browser.newContext({ viewport });
  await context.addInitScript(() => localStorage.getItem("console.preferences") ?? localStorage.setItem("console.preferences", JSON.stringify({ language: "en", theme: "light" })));
  const page = await context.newPage();
  page.setDefaultTimeout(30_000);
  page.on("pageerror", (error) => errors.push(error.message));
  return page;
}
const button = (page, name) => page.getByRole("button", { name, exact: true });
const field = (page, name) => page.getByLabel(name, { exact: true });
const log = (page) => page.getByRole("log");
const row = (page, who) => page.locator(".inbox-rows li").filter({ hasText: who });
const check = (condition, what) => {
  if (!condition) throw new Error(what);
};

let page, other;
try {
  const { accounts } = await gql("{ accounts(first: 1) { nodes { id name phoneNumberId } } }");
  const [number] = accounts.nodes;
  // A demo's number loses some messages on purpose.
  await ask(`/_sandbox/behaviour?phoneNumberId=${number.phoneNumberId}`, "DELETE");
  const writes = (from, name, text, more = {}) => ask("/_sandbox/inbound", "POST", { phoneNumberId: number.phoneNumberId, from, name, type: "text", text, ...more });

  step("comes in and opens the Inbox");
  page = await somebody();
  await page.goto(setup);
  await field(page, "Name").fill(owner.name);
  await field(page, "Email").fill(owner.email);
  await field(page, "New password").fill(owner.password);
  await button(page, "Set up and sign in").click();
  await page.getByRole("navigation", { name: "Main menu" }).waitFor();
  await page.getByRole("link", { name: /^Inbox/ }).click();
  await page.locator(".inbox-rows li").or(page.getByText("Nobody has written yet")).first().waitFor();

  step("somebody writes, and is there without a reload");
  await writes(numbers.ivy, ivy, "Do you have rye bread today?");
  await row(page, ivy).getByText("1 unread message").waitFor();
  await row(page, ivy).getByRole("link").click();
  await log(page).getByText("Do you have rye bread today?").waitFor();
  step("what is looked at is read");
  await row(page, ivy).getByText("1 unread message").waitFor({ state: "detached" });
  await writes(numbers.ivy, ivy, "And the one with walnuts?");
  await log(page).getByText("And the one with walnuts?").waitFor();
  await page.getByRole("status").filter({ hasText: `${ivy} writes: And the one with walnuts?` }).waitFor({ state: "attached" });

  step("a reply is on its way, arrives, and gets its ticks");
  await page.keyboard.press("Escape");
  await log(page).focus();
  await page.keyboard.press("r");
  await page.keyboard.type("Three are left. Shall we keep one?");
  await page.keyboard.press("Control+Enter");
  const ours = log(page).getByRole("listitem").filter({ hasText: "Three are left." });
  await ours.waitFor();
  await ours.getByText(/^(Delivered|Read)$/).waitFor();
  check((await ours.count()) === 1, "the reply is there more than once");
  await page.screenshot({ path: join(pictures, "walk-inbox-thread.png") });

  step("outside the window a template is offered, with the reason");
  await writes(numbers.late, late, "Is my parcel on its way?", { timestamp: Math.floor(Date.now() / 1000) - 25 * 3_600 });
  await field(page, "Reply").fill("half a thought");
  await row(page, late).getByRole("link").click();
  await page.getByText("Only a template can be sent now").waitFor();
  check((await field(page, "Reply").count()) === 0, "free text is offered outside the window");
  await page.getByRole("button", { name: /Template$/ }).last().click();
  await page.getByRole("option").first().click();
  for (const box of await page.locator(".template-fill input").all()) await box.fill("Lars");
  await page.screenshot({ path: join(pictures, "walk-inbox-template.png") });
  await button(page, "Send template").click();
  const sent = log(page).getByRole("listitem").filter({ hasText: "You wrote:" }).last();
  await sent.getByText(/^(Delivered|Read)$/).or(sent.getByText("Never agreed to marketing")).first().waitFor();

  step("what was begun elsewhere is kept");
  await row(page, ivy).getByRole("link").click();
  await field(page, "Reply").waitFor();
  check((await field(page, "Reply").inputValue()) === "half a thought", "the draft is gone");
  await field(page, "Reply").fill("");

  step("takes it, and finds it among their own");
  await page.getByRole("button", { name: /Assigned to$/ }).click();
  await page.getByRole("option", { name: `${owner.name} (you)` }).click();
  await row(page, ivy).getByText("You", { exact: true }).waitFor();
  await button(page, "Mine").click();
  await row(page, late).waitFor({ state: "detached" });
  await row(page, ivy).waitFor();
  check(page.url().includes("mine="), "the filter is not in the address");
  await button(page, "Mine").click();
  await row(page, late).waitFor();

  step("a second browser, a phone, sees the same and answers");
  other = await somebody({ width: 390, height: 800 });
  await other.goto(`${base}inbox`);
  await field(other, "Email").fill(owner.email);
  await field(other, "Password").fill(owner.password);
  await button(other, "Sign in").click();
  await row(other, ivy).getByRole("link").click();
  await log(other).getByText("Three are left. Shall we keep one?").waitFor();
  check(!(await other.locator(".inbox-list").isVisible()), "a phone shows two panes at once");
  await button(other, "About the person").click();
  await other.getByRole("button", { name: new RegExp(`${owner.name} \\(you\\)`) }).waitFor();
  await button(other, "Close").click();
  await field(other, "Reply").fill("From the phone: it is kept.");
  await button(other, "Send").click();
  await log(other).getByText("From the phone: it is kept.").waitFor();
  await log(page).getByText("From the phone: it is kept.").waitFor();
  await other.screenshot({ path: join(pictures, "walk-inbox-phone.png") });
  step("what one gives back, the other sees at once");
  await page.getByRole("button", { name: /Assigned to$/ }).click();
  await page.getByRole("option", { name: "Nobody", exact: true }).click();
  await row(page, ivy).getByText("You", { exact: true }).waitFor({ state: "detached" });
  await button(other, "About the person").click();
  await other.getByRole("button", { name: /^Nobody/ }).waitFor();

  step("a cut of the line hides nothing");
  await page.context().setOffline(true);
  await writes(numbers.ivy, ivy, "Written while you were cut off");
  await row(other, ivy).or(log(other)).first().waitFor({ state: "attached" });
  await page.context().setOffline(false);
  await log(page).getByText("Written while you were cut off").waitFor();

  step("goes by the keyboard from one to the next, and not once that is switched off");
  await log(page).focus();
  const before = page.url();
  await page.keyboard.press("j");
  await page.waitForURL((now) => now.href !== before);
  await page.keyboard.press("k");
  await page.waitForURL((now) => now.href === before);
  await page.keyboard.press("/");
  check(await page.evaluate(() => document.activeElement?.getAttribute("type") === "search"), "“/” does not search");
  await page.goto(`${base}settings/browser`);
  await page.getByText(/^Single-key shortcuts/).click();
  await page.goto(before);
  await log(page).focus();
  await page.keyboard.press("j");
  await page.waitForTimeout(300);
  check(page.url() === before, "single keys work although they are switched off");

  step("the loop test of a sandbox number runs by itself");
  await page.goto(`${base}numbers/${number.id}?tab=test`);
  await button(page, "Start the test").or(button(page, "Test again")).click();
  await page.getByText("Messages come in, go out and are reported delivered.").waitFor({ timeout: 60_000 });
  await page.screenshot({ path: join(pictures, "walk-inbox-loop.png") });
  if (errors.length > 0) throw new Error(errors.join("\n"));
  console.log("answered");
} catch (error) {
  await page?.screenshot({ path: join(pictures, "walk-inbox-failed.png") }).catch(() => undefined);
  await other?.screenshot({ path: join(pictures, "walk-inbox-failed-phone.png") }).catch(() => undefined);
  console.error(page?.url(), error, errors);
  process.exitCode = 1;
} finally {
  await browser.close();
  await stop();
}
process.exit();
