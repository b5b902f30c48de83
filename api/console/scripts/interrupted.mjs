// Somebody's work is interrupted. Their session is ended elsewhere while a form is half filled: the console says so, and after
// signing in they are where they were, with what they had typed. The connection is gone for a while: the console says so, and once
// it is back the live views have caught up and missed nothing.
import AxeBuilder from "@axe-core/playwright";
import { campaign, gql, newNumber, owner, people, until, walk } from "./browser.mjs";

await walk("interrupted", async (page, { base, step, check, button, see, settled, mark }) => {
  const endSessions = async () => {
    const { users } = await gql("{ users(first: 50) { nodes { id email } } }");
    await gql("mutation($id: ID!) { revokeUserSessions(id: $id) { position } }", { id: users.nodes.find(({ email }) => email === owner.email).id });
  };
  const ended = page.getByText("Your session has ended", { exact: true });
  const signInAgain = async () => {
    check((await page.getByLabel("Email", { exact: true }).inputValue()) === owner.email, "the address has to be typed again");
    await page.getByLabel("Password", { exact: true }).fill(owner.password);
    await button(page, "Sign in").click();
    await ended.waitFor({ state: "detached" });
  };

  step("the session is ended elsewhere while a template is half written");
  await page.goto(`${base}templates/new`);
  const body = `Hello, we moved to ${mark} street. See you there, all of us!`;
  await page.getByRole("textbox", { name: "Name", exact: true }).fill(`half_${mark}`);
  await page.getByRole("textbox", { name: "Message", exact: true }).fill(body);
  const address = page.url();
  await endSessions();
  await button(page, "Save draft").click();
  await ended.waitFor();
  await page.getByText("Sign in again to go on where you were.").waitFor();
  check(page.url() === address, `the address is ${page.url()}`);
  const reach = await page.evaluate(() => [document.querySelector("#root").inert, [0.1, 0.5, 0.9].every((x) => [0.1, 0.5, 0.9].every((y) => document.elementFromPoint(innerWidth * x, innerHeight * y)?.closest(".again")))]);
  check(reach[0] && reach[1], `what was on the screen can still be ${reach[0] ? "seen" : "reached"}`);
  const { violations } = await new AxeBuilder({ page }).withTags(["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]).analyze();
  for (const { id, nodes } of violations) check(false, `axe ${id}: ${nodes.slice(0, 2).map(({ target }) => target.join(" ")).join(" | ")}`);

  step("a wrong password leaves everything as it is; the right one leads back to the same form");
  await page.getByLabel("Password", { exact: true }).fill("not my password at all");
  await button(page, "Sign in").click();
  await page.getByText("Email or password is wrong.").waitFor();
  await page.getByLabel("Password", { exact: true }).fill(owner.password);
  await button(page, "Sign in").click();
  await page.getByRole("heading", { name: "Sign in" }).waitFor({ state: "detached" });
  check(page.url() === address, `the address is ${page.url()}`);
  check((await page.getByRole("textbox", { name: "Message", exact: true }).inputValue()) === body, "the text is gone");
  check((await page.getByText("You are not signed in any more.").count()) === 0, "it still says that nobody is signed in");
  await button(page, "Save draft").click();
  await page.getByRole("heading", { name: `half_${mark}` }).waitFor();
  check((await page.title()).startsWith(`half_${mark}`), `the title is ${await page.title()}`);

  step("and while a dialog is open over a screen");
  await page.goto(`${base}contacts`);
  await button(page, "Add a person").click();
  const dialog = page.getByRole("dialog", { name: "Add a person" });
  await dialog.getByLabel(/^Phone number/).fill(newNumber());
  await dialog.getByLabel(/^Name/).fill(`Half ${mark}`);
  await endSessions();
  await dialog.getByRole("button", { name: "Add a person" }).click();
  await ended.waitFor();
  await signInAgain();
  check((await dialog.getByLabel(/^Name/).inputValue()) === `Half ${mark}`, "the dialog is empty");
  await dialog.getByRole("button", { name: "Add a person" }).click();
  await page.getByRole("heading", { name: `Half ${mark}` }).waitFor();

  step("the connection goes while a campaign runs");
  const tag = `cut-${mark}`;
  await people(Array.from({ length: 80 }, (_, index) => ({ phone: newNumber(), name: `Person ${index}` })), tag);
  const events = await page.context().newPage();
  await events.goto(`${base}settings/events`);
  await events.getByText("Show what happens now").click();
  await events.getByText("Waiting for the next event…").waitFor();
  // What is there by the time that it listens: the screen shows what comes after.
  const begun = (await until("the log's end", async () => (await gql("{ projections { position } }")).projections)).map(({ position }) => Number(position)).reduce((a, b) => Math.max(a, b), 0);
  const id = await campaign(`Cut ${mark}`, tag, { messagesPerSecond: 4 });
  const progress = async () => (await gql("query($id: ID!) { campaign(id: $id) { status progress { pending accepted delivered read } } }", { id })).campaign;
  await page.goto(`${base}campaigns/${id}`);
  const left = () => page.locator(".stat", { hasText: "Still to send" }).locator("b").innerText().then((text) => Number(text.replace(/\D/g, "")));
  await see(page, "Sending");
  await until("some have left", async () => (await left()) < 78);
  await page.context().setOffline(true);
  for (const each of [page, events]) await each.getByText("No connection to the gateway. Trying again; nothing is lost.").waitFor();
  const stopped = await left();
  await until("twenty more have left meanwhile", async () => (await progress()).progress.pending < stopped - 20);
  check((await left()) >= stopped - 2, "the screen goes on without a connection");

  step("and comes back: the view catches up, and the log has no hole");
  const behind = (await progress()).progress.pending;
  await page.context().setOffline(false);
  const since = Date.now();
  await until("the screen has caught up", async () => (await left()) <= behind, 5_000);
  console.log(`  caught up after ${Date.now() - since} ms`);
  for (const each of [page, events]) await each.getByText("No connection to the gateway.").waitFor({ state: "detached" });
  await page.getByText("Completed", { exact: true }).first().waitFor({ timeout: 60_000 });
  const final = await until("every message is delivered", async () => { const found = (await progress()).progress; return found.delivered >= 75 && found.pending === 0 && found; });
  await page.getByRole("listitem").filter({ hasText: new RegExp(`^Accepted${final.accepted}`) }).waitFor();
  // The screen keeps the newest 300; among them there is no hole.
  const shown = await until("the last of them is shown", async () => {
    const numbers = (await events.locator(".list summary .num").allInnerTexts()).map((text) => Number(text.replace(/\D/g, "")));
    return numbers.length > 50 && numbers;
  });
  const all = [];
  for (let after = String(begun), more = true; more; ) {
    const { events: found } = await gql("query($a: Position) { events(after: $a, first: 500) { nodes { position } pageInfo { hasNextPage } } }", { a: after });
    all.push(...found.nodes.map(({ position }) => Number(position)));
    after = found.nodes.at(-1)?.position ?? after;
    more = found.pageInfo.hasNextPage;
  }
  const expected = all.filter((position) => position >= shown[0] && position <= shown.at(-1));
  const missing = expected.filter((position) => !shown.includes(position));
  check(missing.length === 0, `${missing.length} of ${expected.length} events are missing: ${missing.slice(0, 10)}`);
  check(new Set(shown).size === shown.length, "an event is shown twice");
  await settled(page);
});
