// As of: a person, a message and a campaign as they were known at an instant. What differs before and after a change does so on
// the screen, what lies before the beginning says that, and the past cannot be changed.
import { campaign, gql, newNumber, people, until, walk } from "./browser.mjs";

await walk("past", async (page, { base, step, check, button, see, mark }) => {
  const tag = `past-${mark}`;
  const phone = newNumber();
  const id = (await people([{ phone, name: `Old Name ${mark}` }], tag, { consent: "UNKNOWN" }))[phone];
  const at = (address, instant) => page.goto(`${base}${address}?asOf=${encodeURIComponent(instant)}`);
  const events = async (kind) => (await gql(`query($id: ID!) { ${kind.field}(id: $id) { history(first: 100) { nodes { type occurredAt recordedAt } } } }`, { id: kind.id }))[kind.field].history.nodes;
  /** A moment before the instant at which the first event of `type` came to be known, and that instant. */
  const around = async (kind, type) => {
    const found = (await events(kind)).find((fact) => fact.type === type);
    if (!found) throw new Error(`${kind.field} has no ${type}: ${(await events(kind)).map((fact) => fact.type)}`);
    const known = Date.parse(found.recordedAt);
    return [new Date(known - 1).toISOString(), new Date(known + 1).toISOString()];
  };
  const fact = (name) => page.locator("dl > div").filter({ has: page.locator("dt", { hasText: new RegExp(`^${name}$`) }) }).locator("dd");
  const isPast = async () => {
    await page.getByText("You are looking at the past. Nothing can be changed here.").waitFor();
    for (const name of ["Edit", "Record consent", "Send a message", "Pause", "Resume", "Take back", "Change the time"]) check((await button(page, name).count()) === 0, `“${name}” is offered in the past`);
  };

  step("a person: the name and the consent of before and after");
  await page.goto(`${base}contacts/${id}`);
  await button(page, "Edit").click();
  await page.getByRole("dialog").getByRole("textbox", { name: "Name", exact: true }).fill(`New Name ${mark}`);
  await page.getByRole("dialog").getByRole("button", { name: "Save" }).click();
  await page.getByRole("heading", { name: `New Name ${mark}` }).waitFor();
  await page.getByRole("dialog").waitFor({ state: "detached" });
  await button(page, "Record consent").click();
  await page.getByRole("textbox", { name: "Where is that known from?" }).fill("shop counter");
  await page.getByRole("dialog").getByRole("button", { name: "Save" }).click();
  await see(page, "Agreed");
  const person = { field: "contact", id };
  const [beforeName, afterName] = await around(person, "contact.updated");
  const [, afterConsent] = await around(person, "contact.consent_recorded");
  await at(`contacts/${id}`, beforeName);
  await page.getByRole("heading", { name: `Old Name ${mark}` }).waitFor();
  await isPast();
  check((await page.locator(".page-head .badge").innerText()) === "Never asked", `before the word was given the badge reads ${await page.locator(".page-head .badge").innerText()}`);
  await at(`contacts/${id}`, afterName);
  await page.getByRole("heading", { name: `New Name ${mark}` }).waitFor();
  check((await page.locator(".page-head .badge").innerText()) === "Never asked", "the word was known before it was given");
  await at(`contacts/${id}`, afterConsent);
  await page.locator(".page-head .badge", { hasText: "Agreed" }).waitFor();
  await button(page, "Back to now").click();
  await page.getByText("You are looking at the past.").waitFor({ state: "detached" });
  check(!page.url().includes("asOf"), "the address still names the past");

  step("a message and its campaign: before it left, and after it came");
  const sent = await campaign(`Past ${mark}`, tag);
  const message = await until("the message is delivered", async () => (await gql("query($c: [ID!]) { messages(first: 5, filter: { campaignIds: $c }) { nodes { id status deliveredAt } } }", { c: [sent] })).messages.nodes.find(({ deliveredAt }) => deliveredAt));
  const written = { field: "message", id: message.id };
  const [beforeAccepted] = await around(written, "message.accepted");
  const [beforeDelivered, afterDelivered] = await around(written, "message.delivered");
  const badge = () => page.locator(".page-head .badge").innerText();
  await at(`messages/${message.id}`, beforeAccepted);
  await isPast();
  check(["Queued", "Sending", "Scheduled"].includes(await badge()), `before WhatsApp took it the message reads ${await badge()}`);
  check((await fact("Delivered").count()) === 0 && (await fact("Accepted").count()) === 0, "a time is shown that was not known");
  await at(`messages/${message.id}`, beforeDelivered);
  await isPast();
  check(["Accepted", "On its way"].includes(await badge()), `before it was on the phone the message reads ${await badge()}`);
  check((await fact("Accepted").count()) === 1 && (await fact("Delivered").count()) === 0, "accepted is not there, or delivered is");
  await at(`messages/${message.id}`, afterDelivered);
  await isPast();
  check((await badge()) === "Delivered", `after it was on the phone the message reads ${await badge()}`);
  check((await fact("Delivered").count()) === 1, "the time of delivery is not shown");

  const whole = { field: "campaign", id: sent };
  await until("the campaign has ended", async () => (await events(whole)).some(({ type }) => type === "campaign.completed"));
  const [beforeLaunch] = await around(whole, (await events(whole)).find(({ type }) => /launched|started/.test(type)).type);
  const [, afterEnd] = await around(whole, "campaign.completed");
  await at(`campaigns/${sent}`, beforeLaunch);
  await isPast();
  check((await badge()) === "Draft", `before the launch the campaign reads ${await badge()}`);
  await at(`campaigns/${sent}`, afterEnd);
  await isPast();
  check((await badge()) === "Completed", `after its end the campaign reads ${await badge()}`);
  // Progress under asOf is exact to the minute.
  await at(`campaigns/${sent}`, new Date(Math.ceil(Date.now() / 60_000) * 60_000).toISOString());
  await page.getByRole("listitem").filter({ hasText: /^Delivered1/ }).waitFor();

  step("before there was anything it says so, by the dialog as by the address");
  const beginning = (await events(person))[0].recordedAt;
  await page.goto(`${base}contacts/${id}`);
  await button(page, "As of…").click();
  const long = new Date(Date.parse(beginning) - 3_600_000);
  const local = new Date(long.getTime() - (await page.evaluate((time) => new Date(time).getTimezoneOffset(), long.getTime())) * 60_000).toISOString().slice(0, 19);
  await page.getByLabel("Day and time").fill(local);
  await button(page, "Show").click();
  await page.getByText("At that moment this was not there yet.").waitFor();
  check(page.url().includes("asOf="), "the address does not name the moment");
  for (const address of [`messages/${message.id}`, `campaigns/${sent}`]) {
    await at(address, long.toISOString());
    await page.getByText("At that moment this was not there yet.").waitFor();
  }
});
