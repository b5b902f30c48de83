// How people come in and are shown out, through a real browser: set-up, an invitation, a viewer who may not launch, a second
// factor, signing in with its code, a suspension that works at once. On the way every new screen is checked as smoke.mjs does.
//
//   GATEWAY_URL=http://127.0.0.1:8299 SETUP_LINK='http://127.0.0.1:4299/console/setup#token=…' node scripts/people.mjs
//
// The gateway is a new one with the address of this script's server as its public_url; it prints the link when it starts.
import AxeBuilder from "@axe-core/playwright";
import { createHmac } from "node:crypto";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { chromium } from "playwright-core";
import { launch, serve } from "./browser.mjs";

const setup = process.env.SETUP_LINK;
if (!setup) throw new Error("SETUP_LINK is not set");
if (process.env.GATEWAY_KEY) throw new Error("GATEWAY_KEY is set: then nobody signs in");
const pictures = new URL("../pictures/", import.meta.url).pathname;
mkdirSync(pictures, { recursive: true });

const owner = { name: "Ada Owner", email: "ada@example.com", password: "correct horse battery" };
const viewer = { name: "Vi Viewer", email: "vi@example.com", password: "only ever looking on" };

const base32 = (text) => {
  let bits = "";
  for (const letter of text) bits += "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".indexOf(letter).toString(2).padStart(5, "0");
  return Buffer.from(bits.match(/.{8}/g).map((byte) => Number.parseInt(byte, 2)));
};
const step_ms = 30_000;
function totp(secret, step = Math.floor(Date.now() / step_ms)) {
  const counter = Buffer.alloc(8);
  counter.writeBigUInt64BE(BigInt(step));
  const hash = createHmac("sha1", base32(secret)).update(counter).digest();
  const offset = hash[hash.length - 1] & 15;
  return String((hash.readUInt32BE(offset) & 0x7fffffff) % 1_000_000).padStart(6, "0");
}

const { base, stop } = await serve(Number(new URL(setup).port));
const browser = await chromium.launch(launch);
const problems = [];
let at = "";
const step = (what) => console.log(`- ${(at = what)}`);
const complain = (condition, what) => condition || problems.push(`${at}: ${what}`);

async function somebody() {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 } });
  await context.addInitScript(() => localStorage.getItem("console.preferences") ?? localStorage.setItem("console.preferences", JSON.stringify({ language: "en", theme: "light" })));
  const page = await context.newPage();
  page.setDefaultTimeout(30_000);
  page.on("pageerror", (error) => problems.push(`${at}: ${error.message}`));
  // That nobody is signed in, or a code is wanted, is a 401, which a browser reports as an error.
  page.on("console", (message) => message.type() === "error" && !/\/session|\/graphql/.test(message.location().url) && problems.push(`${at}: ${message.text().slice(0, 300)}`));
  return page;
}
const button = (page, name) => page.getByRole("button", { name, exact: true });
const field = (page, name) => page.getByLabel(name, { exact: true });
const settled = (page) => page.waitForFunction(() => !document.querySelector(".skeleton"));

const looks = { light: {}, dark: { theme: "dark" }, rtl: { direction: "rtl" } };
/** What smoke.mjs looks at, without leaving the screen: the looks are attributes of the document. */
async function inspect(page, name) {
  for (const [look, { theme = "light", direction = "ltr" }] of Object.entries(looks)) {
    await page.evaluate(([theme, direction]) => { document.documentElement.dataset.theme = theme; document.documentElement.dir = direction; }, [theme, direction]);
    const { violations } = await new AxeBuilder({ page }).withTags(["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]).analyze();
    for (const { id, nodes } of violations) problems.push(`${name} (${look}): axe ${id}: ${nodes.slice(0, 3).map(({ target, failureSummary }) => `${target.join(" ")} ${(failureSummary ?? "").split("\n")[1] ?? ""}`).join(" | ").slice(0, 400)}`);
    if (look !== "rtl") await page.screenshot({ path: join(pictures, `people-${name}-${look}.png`) });
  }
  await page.evaluate(() => { document.documentElement.dataset.theme = "light"; document.documentElement.dir = "ltr"; });
  await page.setViewportSize({ width: 320, height: 800 });
  const over = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  if (over > 1) problems.push(`${name}: ${over} px wider than a window of 320`);
  await page.screenshot({ path: join(pictures, `people-${name}-narrow.png`) });
  await page.setViewportSize({ width: 1280, height: 900 });
}

let ownerPage, viewerPage;
try {
  step("the set-up link");
  ownerPage = await somebody();
  const page = ownerPage;
  await page.goto(setup);
  await field(page, "Name").waitFor();
  complain(!page.url().includes("token"), "the token is still in the address");
  await field(page, "Name").fill(owner.name);
  await field(page, "Email").fill(owner.email);
  await field(page, "New password").fill("too short");
  await field(page, "Email").focus();
  await page.getByText("This has 9 characters").waitFor();
  complain(await button(page, "Set up and sign in").isDisabled(), "a password that is too short can be sent");
  await inspect(page, "setup");
  await field(page, "New password").fill(owner.password);
  await button(page, "Set up and sign in").click();
  await page.getByRole("navigation", { name: "Main menu" }).waitFor();
  await page.getByText("Owner", { exact: true }).first().waitFor();

  step("invites a viewer");
  await page.goto(`${base}settings/people`);
  await page.getByText(owner.email).waitFor();
  await button(page, "Invite a person").click();
  await field(page, "Name").fill(viewer.name);
  await field(page, "Email").fill(viewer.email);
  await page.getByText("Only some numbers", { exact: true }).click();
  await page.locator(".dialog .check:not(.radio)").first().click();
  await inspect(page, "invite");
  await page.getByText("Every number", { exact: true }).last().click();
  await button(page, "Invite").click();
  const link = await page.locator(".dialog .secret code").innerText();
  await inspect(page, "link");
  await button(page, "I have copied it").click();
  await page.getByText("Invited", { exact: true }).waitFor();
  await inspect(page, "people");

  step("the viewer joins");
  viewerPage = await somebody();
  const other = viewerPage;
  await other.goto(link);
  await field(other, "New password").fill(viewer.password);
  await inspect(other, "join");
  await button(other, "Join").click();
  await other.getByRole("navigation", { name: "Main menu" }).waitFor();
  await other.getByText("Viewer", { exact: true }).first().waitFor();
  const again = await somebody();
  await again.goto(link);
  await field(again, "New password").fill(viewer.password);
  await button(again, "Join").click();
  await again.getByText("This link was used already").waitFor();
  await inspect(again, "spent-link");
  await again.context().close();

  step("the viewer may look, and no more");
  await other.goto(`${base}campaigns`);
  await other.locator("h1").waitFor();
  await settled(other);
  complain((await other.getByRole("link", { name: "New campaign" }).count()) === 0, "a new campaign is offered");
  await other.locator(".row-link").first().click();
  await other.locator("h1").waitFor();
  await settled(other);
  for (const name of ["Launch campaign", "Pause", "Resume", "Approve"]) complain((await button(other, name).count()) === 0, `“${name}” is offered`);
  await other.goto(`${base}settings/people`);
  await other.getByText("Only owners manage people").waitFor();
  await inspect(other, "people-as-viewer");
  complain((await other.getByRole("link", { name: "API keys" }).count()) === 0, "API keys are offered");

  step("the owner sets up a second factor");
  await page.goto(`${base}settings/sign-in`);
  await button(page, "Set it up").click();
  await page.locator(".dialog input[type=password]").fill(owner.password);
  await inspect(page, "factor-password");
  await button(page, "Continue").click();
  await page.getByRole("img", { name: /^QR code/ }).waitFor();
  await page.getByText("You cannot scan it?").click();
  const secret = (await page.locator(".secret code").innerText()).replaceAll(" ", "");
  await inspect(page, "second-factor");
  await field(page, "The six digits that the app shows").fill(totp(secret) === "000000" ? "000001" : "000000");
  await button(page, "Turn on").click();
  await page.getByText("This is not the code that the app shows now.").waitFor();
  const used = Math.floor(Date.now() / step_ms);
  await field(page, "The six digits that the app shows").fill(totp(secret, used));
  await button(page, "Turn on").click();
  await page.locator(".codes li").first().waitFor();
  const recovery = await page.locator(".codes li").allInnerTexts();
  complain(recovery.length === 10, `${recovery.length} recovery codes`);
  const saved = page.waitForEvent("download");
  await button(page, "Download").click();
  complain((await saved).suggestedFilename().endsWith(".txt"), "the recovery codes are not saved");
  await page.keyboard.press("Escape");
  await inspect(page, "recovery-codes");
  await button(page, "I have kept it").click();
  // The session goes on, with another token.
  await page.getByText("Turn off the second factor").waitFor();
  await field(page, "Current password").fill("not my password at all");
  await field(page, "New password").fill(`${owner.password}, new`);
  await button(page, "Change password").click();
  await page.getByText("This is not your current password.").waitFor();
  await field(page, "Current password").fill(owner.password);
  await button(page, "Change password").click();
  await page.getByText("Your password is changed").waitFor();
  owner.password += ", new";
  await inspect(page, "sign-in-settings");

  step("signs out, and in with the code");
  await button(page, "Sign out").last().click();
  await page.getByRole("heading", { name: "Sign in" }).waitFor();
  await inspect(page, "login");
  await field(page, "Email").fill(owner.email);
  await field(page, "Password").fill("not my password at all");
  await button(page, "Sign in").click();
  await page.getByText("Email or password is wrong.").waitFor();
  await field(page, "Password").fill(owner.password);
  await button(page, "Sign in").click();
  await field(page, "Six-digit code").waitFor();
  await inspect(page, "login-code");
  // Each code is good once; the next one is taken before its time, because clocks differ.
  await field(page, "Six-digit code").fill(totp(secret, Math.max(used + 1, Math.floor(Date.now() / step_ms))));
  await button(page, "Sign in").click();
  await page.getByRole("navigation", { name: "Main menu" }).waitFor();

  step("and once more with a recovery code");
  await button(page, "Sign out").first().click();
  await field(page, "Email").fill(owner.email);
  await field(page, "Password").fill(owner.password);
  await button(page, "Sign in").click();
  await button(page, "Use a recovery code").click();
  await field(page, "Recovery code").fill(recovery[0]);
  await button(page, "Sign in").click();
  await page.getByRole("navigation", { name: "Main menu" }).waitFor();

  step("suspends the viewer, whose next click leads to the sign-in");
  await page.goto(`${base}settings/people`);
  await other.goto(base);
  await settled(other);
  await button(page, `Actions for ${viewer.name}`).click();
  await page.getByRole("menuitem", { name: "Suspend" }).click();
  await button(page, "Suspend").click();
  await page.getByText("Suspended", { exact: true }).waitFor();
  await other.getByRole("link", { name: "Contacts" }).first().click().catch(() => undefined);
  await other.getByRole("heading", { name: "Sign in" }).waitFor();

  step("reinstates, gives a new password link, and removes by the typed address");
  await button(page, `Actions for ${viewer.name}`).click();
  await page.getByRole("menuitem", { name: "Reinstate" }).click();
  await button(page, "Reinstate").click();
  await page.getByText("Suspended", { exact: true }).waitFor({ state: "detached" });
  await button(page, `Actions for ${viewer.name}`).click();
  await page.getByRole("menuitem", { name: "New password link" }).click();
  await button(page, "Make a link").click();
  const renewal = await page.locator(".dialog .secret code").innerText();
  await button(page, "I have copied it").click();
  await other.goto(renewal);
  await field(other, "New password").fill(`${viewer.password} again`);
  await inspect(other, "new-password");
  await button(other, "Save and sign in").click();
  await other.getByRole("navigation", { name: "Main menu" }).waitFor();
  await button(page, `Actions for ${viewer.name}`).click();
  await page.getByRole("menuitem", { name: "Edit" }).click();
  await page.getByText("Sender", { exact: true }).click();
  await page.getByText("With another role").waitFor();
  await inspect(page, "edit");
  await button(page, "Save").click();
  await page.getByRole("cell", { name: "Sender" }).waitFor();
  await button(page, `Actions for ${viewer.name}`).click();
  await page.getByRole("menuitem", { name: "Remove" }).click();
  complain(await button(page, "Remove").isDisabled(), "removing needs nothing typed");
  await page.locator(".dialog input").fill(viewer.email);
  await button(page, "Remove").click();
  await page.locator(".dialog").waitFor({ state: "detached" });
  await page.getByText(viewer.email).waitFor({ state: "detached" });
  complain((await page.getByText(owner.email).count()) > 0, "the owner is gone too");
} catch (error) {
  problems.push(`${at}: ${error.message}`);
  await ownerPage?.screenshot({ path: join(pictures, "people-failed-owner.png") });
  await viewerPage?.screenshot({ path: join(pictures, "people-failed-other.png") });
} finally {
  await browser.close();
  await stop();
}
if (problems.length > 0) {
  console.error([...new Set(problems)].join("\n"));
  process.exit(1);
}
console.log("everybody came in and went out as they should");
process.exit(0);
