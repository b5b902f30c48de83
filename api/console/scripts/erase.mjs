// Somebody wants to be forgotten: afterwards nothing of theirs stands on any screen, in any answer that the screens get, in the
// log that anybody may read, or in the browser.
import { campaign, gql, newNumber, people, sandbox, until, walk } from "./browser.mjs";

await walk("erase", async (page, { base, step, check, button, see, settled, mark }) => {
  const tag = `club-${mark}`;
  const phone = newNumber();
  // Each of these is said nowhere else.
  const secrets = { name: `Wilhelmina Vanish${mark}`, attribute: `Quince Lane ${mark}`, external: `crm-${mark}-77`, wrote: `zanzibar${mark}`, number: phone.slice(1) };
  const [id] = Object.values(await people([{ phone, name: secrets.name, "attributes.street": secrets.attribute, external_id: secrets.external }], tag));
  const neighbour = newNumber();
  await people([{ phone: neighbour, name: `Stays ${mark}` }], tag);
  const sent = await campaign(`Club ${mark}`, tag);
  const delivered = await until("the message is delivered", async () => (await gql("query($c: [ID!]) { messages(first: 1, filter: { contactIds: $c, status: [DELIVERED, READ] }) { nodes { id } } }", { c: [id] })).messages.nodes[0]);
  const { accounts } = await gql("{ accounts(first: 1) { nodes { id phoneNumberId } } }");
  await sandbox("POST", "inbound", { phoneNumberId: accounts.nodes[0].phoneNumberId, from: phone, type: "text", text: `My word is ${secrets.wrote}`, name: secrets.name });
  const received = await until("their answer is here", async () => (await gql("query($c: [ID!]) { messages(first: 1, filter: { contactIds: $c, direction: INBOUND }) { nodes { id preview } } }", { c: [id] })).messages.nodes[0]);
  check(received.preview.includes(secrets.wrote), "the answer says something else");

  const answers = [];
  let isErased = false;
  page.on("response", async (response) => {
    if (!isErased || !/\/graphql|\/session/.test(response.url())) return;
    answers.push(await response.text().catch(() => ""));
  });
  page.on("websocket", (socket) => socket.on("framereceived", ({ payload }) => isErased && answers.push(String(payload))));
  const found = (text) => Object.entries(secrets).filter(([, secret]) => text.includes(secret)).map(([what]) => what);

  const screens = [
    ["their page", `contacts/${id}`, secrets.name], ["people", `contacts?tag=${tag}`, secrets.name], ["the search", `contacts?q=${secrets.external}`, secrets.name],
    ["messages", "messages", secrets.name], ["what they were sent", `messages/${delivered.id}`, secrets.name], ["what they wrote", `messages/${received.id}`, secrets.wrote],
    ["the campaign", `campaigns/${sent}?tab=recipients`, secrets.name], ["the campaign's history", `campaigns/${sent}?tab=history`], ["their events", `settings/events?kind=contact&id=${id}&view=json`, secrets.name],
    ["the message's events", `settings/events?id=${received.id}&view=json`, secrets.wrote], ["the way to anything", "", null],
  ];
  step("stands on every screen before");
  for (const [what, path, expected] of screens) {
    if (!expected) continue;
    await page.goto(base + path);
    await page.getByText(expected).first().waitFor().catch(() => check(false, `${what} does not show them before`));
  }

  step("is erased, by a word that has to be typed");
  await page.goto(`${base}contacts/${id}`);
  await button(page, "More actions").click();
  await page.getByRole("menuitem", { name: "Erase this person" }).click();
  const dialog = page.getByRole("alertdialog");
  await dialog.getByRole("textbox", { name: "Reason, for the record" }).fill("they asked by letter");
  check(await dialog.getByRole("button", { name: "Erase this person" }).isDisabled(), "it can be done without typing the word");
  await dialog.getByRole("textbox").last().fill("erase");
  await dialog.getByRole("button", { name: "Erase this person" }).click();
  await page.getByRole("heading", { name: "Erased person" }).waitFor();
  await dialog.waitFor({ state: "detached" });
  // The read models have it when a question behind it is answered.
  await until("the lists have followed", async () => (await gql("query($c: [ID!]) { messages(first: 10, filter: { contactIds: $c }) { nodes { preview to from contact { name } } } }", { c: [id] })).messages.nodes.every((message) => found(JSON.stringify(message)).length === 0));
  isErased = true;

  step("stands on no screen after, on the way there neither");
  for (const [what, path] of screens) {
    await page.goto(base + path);
    await page.locator("h1").waitFor();
    await settled(page);
    if (path === "") {
      await page.keyboard.press("Control+k");
      await page.getByPlaceholder("Screen, action, campaign or number").fill(secrets.name.split(" ")[0]);
      await page.getByRole("menu").or(page.getByText(/Nothing/)).first().waitFor();
      await settled(page);
      // The search's own field says what was typed.
      await page.getByPlaceholder("Screen, action, campaign or number").fill("");
    }
    const shown = found((await page.locator("body").innerText()) + (await page.title()));
    check(shown.length === 0 || (what === "the search" && shown.every((each) => each === "external")), `${what} shows ${shown.join(", ")}`);
  }
  await page.goto(`${base}contacts?tag=${tag}`);
  await see(page, `Stays ${mark}`);

  step("not as of a time at which they were known, either");
  await page.goto(`${base}contacts/${id}?asOf=${encodeURIComponent(new Date(Date.now() - 2_000).toISOString())}`);
  await page.getByText("You are looking at the past.").or(page.getByText("At that moment this was not there yet.")).first().waitFor();
  await settled(page);
  check(found(await page.locator("body").innerText()).length === 0, `the past shows ${found(await page.locator("body").innerText())}`);

  step("is in no answer, and in nothing that the browser keeps");
  check(answers.length > 20, `only ${answers.length} answers were read`);
  const told = [...new Set(answers.flatMap(found))];
  check(told.length === 0, `answers after it still have ${told.join(", ")}: ${answers.find((answer) => found(answer).length > 0)?.slice(0, 600)}`);
  const kept = await page.evaluate(() => JSON.stringify([{ ...localStorage }, { ...sessionStorage }]));
  check(found(kept).length === 0, `the browser keeps ${found(kept).join(", ")}`);

  step("is unreadable in the whole log");
  let after = "0";
  for (let more = true; more; ) {
    const { events } = await gql("query($a: Position) { events(after: $a, first: 500) { nodes { position type data } pageInfo { hasNextPage } } }", { a: after });
    for (const fact of events.nodes) check(found(JSON.stringify(fact)).length === 0, `event ${fact.position} (${fact.type}) still has ${found(JSON.stringify(fact))}`);
    after = events.nodes.at(-1)?.position ?? after;
    more = events.pageInfo.hasNextPage;
  }
});
