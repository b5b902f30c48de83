// One person at a time: two contacts become one, a message is written to somebody for later and moved, a segment of groups in
// groups finds who it should, and a campaign goes to people who were chosen by hand.
import AxeBuilder from "@axe-core/playwright";
import { gql, newNumber, people, until, walk } from "./browser.mjs";

await walk("contacts", async (page, { base, step, check, button, see, settled, mark }) => {
  const axe = async (what) => {
    const { violations } = await new AxeBuilder({ page }).withTags(["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]).analyze();
    for (const { id, nodes } of violations) check(false, `${what}: axe ${id}: ${nodes.slice(0, 3).map(({ target }) => target.join(" ")).join(" | ")}`);
    await page.setViewportSize({ width: 320, height: 800 });
    const over = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    check(over <= 1, `${what}: ${over} px wider than a window of 320`);
    await page.setViewportSize({ width: 1280, height: 900 });
  };
  const tag = `hand-${mark}`;
  const numbers = [newNumber(), newNumber(), newNumber(), newNumber()];
  const ids = await people([
    { phone: numbers[0], name: `Greta Kept ${mark}`, tags: "loyal", "attributes.city": "Porto" },
    { phone: numbers[1], name: `Greta Twice ${mark}`, tags: "summer", "attributes.city": "Lisbon", "attributes.size": "M", external_id: `crm-${mark}` },
    { phone: numbers[2], name: `Henri ${mark}`, "attributes.city": "Porto" }, { phone: numbers[3], name: `Iris ${mark}`, "attributes.city": "Faro" },
  ], tag);
  await gql("mutation($i: RecordConsentInput!) { recordConsent(input: $i) { position } }", { i: { contactId: ids[numbers[1]], status: "OPTED_OUT", source: "phone call" } });

  step("merges two contacts: what will be kept is shown before");
  await page.goto(`${base}contacts/${ids[numbers[0]]}`);
  await button(page, "More actions").click();
  await page.getByRole("menuitem", { name: "Merge with another contact" }).click();
  const dialog = page.getByRole("dialog");
  await dialog.getByRole("searchbox").fill(`Greta Twice ${mark}`);
  await dialog.getByRole("button", { name: `Choose: Greta Twice ${mark}` }).click();
  const after = dialog.getByRole("region", { name: "What will be kept" });
  await after.waitFor();
  const kept = () => after.innerText();
  for (const expected of [`Greta Kept ${mark}`, numbers[0], numbers[1], `crm-${mark}`, "loyal", "summer", "Porto", "M", "Said no"]) check((await kept()).includes(expected), `“${expected}” is not shown: ${await kept()}`);
  check(!(await kept()).includes("Lisbon"), "the other's city is shown, which will not be kept");
  await axe("merge");
  await dialog.getByText(`Greta Twice ${mark} · ${numbers[1]}`).click();
  await after.getByText(`Greta Twice ${mark}`).waitFor();
  check((await kept()).includes("Lisbon"), "the other way round the other's city is not shown");
  await dialog.getByText(`Greta Kept ${mark} · ${numbers[0]}`).click();
  await after.getByText(`Greta Kept ${mark}`).waitFor();
  await dialog.getByRole("button", { name: "Merge", exact: true }).click();
  await dialog.waitFor({ state: "detached" });
  await page.getByRole("heading", { name: `Greta Kept ${mark}` }).waitFor();
  await page.getByText(numbers[1], { exact: true }).waitFor();
  await see(page, "Said no");
  const { contact } = await gql("query($id: ID!) { contact(id: $id) { name attributes tags externalId otherPhoneNumbers consent { status } } }", { id: ids[numbers[0]] });
  check(contact.name === `Greta Kept ${mark}` && contact.attributes.city === "Porto" && contact.attributes.size === "M" && contact.externalId === `crm-${mark}` && contact.otherPhoneNumbers.includes(numbers[1]) && contact.consent.status === "OPTED_OUT" && ["loyal", "summer"].every((each) => contact.tags.includes(each)), `what is kept is not what was shown: ${JSON.stringify(contact)}`);

  step("writes to somebody for tomorrow, moves it, and it is there");
  await page.goto(`${base}contacts/${ids[numbers[2]]}`);
  await button(page, "Send a message").click();
  await dialog.getByRole("button", { name: /Template/ }).click();
  await page.getByRole("option").first().click();
  for (const field of await dialog.getByRole("textbox", { name: /in the message/ }).all()) await field.fill("Henri");
  await dialog.getByText("At a time of your choice").click();
  const when = (hours) => new Date(Math.floor(Date.now() / 60_000) * 60_000 + hours * 3_600_000);
  const typed = (date) => page.evaluate((time) => new Date(time - new Date(time).getTimezoneOffset() * 60_000).toISOString().slice(0, 16), date.getTime());
  await dialog.getByLabel("Send at").fill(await typed(when(24)));
  await axe("send");
  await dialog.getByRole("button", { name: "Send", exact: true }).click();
  await page.getByRole("heading", { name: `To Henri ${mark}` }).waitFor();
  await see(page, "Scheduled");
  const due = () => page.locator("dl > div").filter({ has: page.locator("dt", { hasText: /^Due/ }) }).getByRole("time").getAttribute("datetime");
  check(Date.parse(await due()) === when(24).getTime(), `it is due at ${await due()}`);
  await button(page, "Change the time").click();
  await dialog.getByLabel("Send at").fill(await typed(when(48)));
  await axe("reschedule");
  await dialog.getByRole("button", { name: "Save" }).click();
  await dialog.waitFor({ state: "detached" });
  await until("it is due later", async () => Date.parse(await due()) === when(48).getTime());

  step("and at once: it is delivered; own words outside the window are left out, and say why");
  await page.goto(`${base}contacts/${ids[numbers[2]]}`);
  await button(page, "Send a message").click();
  await dialog.getByRole("button", { name: /Template/ }).click();
  await page.getByRole("option").first().click();
  for (const field of await dialog.getByRole("textbox", { name: /in the message/ }).all()) await field.fill("Henri");
  await dialog.getByRole("button", { name: "Send", exact: true }).click();
  await page.locator(".page-head .badge", { hasText: /Delivered|Read/ }).waitFor();
  await page.goto(`${base}contacts/${ids[numbers[3]]}`);
  await button(page, "Send a message").click();
  await dialog.getByText("Your own words").click();
  await dialog.getByRole("textbox", { name: "Message", exact: true }).fill("Are you there?");
  await dialog.getByRole("button", { name: "Send", exact: true }).click();
  await page.locator(".page-head .badge", { hasText: "Left out" }).waitFor();

  step("a segment of groups in groups");
  await page.goto(`${base}segments/new`);
  await page.getByRole("textbox", { name: "Name", exact: true }).fill(`Nested ${mark}`);
  await page.getByRole("combobox", { name: "Tag", exact: true }).fill(tag);
  await button(page, "Add a group").click();
  const group = page.getByRole("region", { name: "Group 2: people" });
  await group.getByRole("button", { name: /Condition 2\.1/ }).click();
  await page.getByRole("option", { name: "Attribute" }).click();
  await group.getByRole("textbox", { name: "Attribute" }).fill("city");
  await group.getByRole("textbox", { name: "Value" }).fill("Porto");
  await group.getByRole("button", { name: "Add a group" }).click();
  const inner = page.getByRole("region", { name: "Group 2.2: people" });
  await inner.getByRole("button", { name: /Condition 2\.2\.1/ }).click();
  await page.getByRole("option", { name: "Attribute" }).click();
  await inner.getByRole("textbox", { name: "Attribute" }).fill("city");
  await inner.getByRole("textbox", { name: "Value" }).fill("Faro");
  await page.getByText("3", { exact: true }).first().waitFor();
  await axe("nested segment");
  await button(page, "Save").click();
  await page.getByRole("heading", { name: `Nested ${mark}` }).waitFor();
  const { segments } = await gql("{ segments(first: 200) { nodes { name rule size } } }");
  const saved = segments.nodes.find(({ name }) => name === `Nested ${mark}`);
  check(JSON.stringify(saved.rule) === JSON.stringify({ all: [{ tag }, { any: [{ attribute: "city", op: "eq", value: "Porto" }, { all: [{ attribute: "city", op: "eq", value: "Faro" }] }] }] }), `the rule is ${JSON.stringify(saved.rule)}`);
  await page.reload();
  await page.getByRole("region", { name: "Group 2.2: people" }).waitFor();
  await page.getByRole("region", { name: "Group 2: people" }).getByRole("button", { name: "Group 2: people" }).or(page.getByRole("button", { name: /Group 2: people/ })).first().click();
  await page.getByRole("option", { name: "who meet none of the conditions" }).click();
  await page.getByText("0", { exact: true }).first().waitFor();
  await page.goto(`${base}segments`);
  await page.getByText(`Tag: ${tag} and (city is “Porto” or (city is “Faro”))`).waitFor();

  step("a campaign to people who were chosen by hand");
  await page.goto(`${base}campaigns/new/edit/audience`);
  await page.getByRole("textbox", { name: "Name", exact: true }).fill(`By hand ${mark}`);
  for (const name of [`Henri ${mark}`, `Iris ${mark}`]) {
    await page.getByRole("group", { name: "Or these people" }).getByRole("searchbox").fill(name);
    await button(page, `Add: ${name}`).click();
  }
  await see(page, "2 chosen people");
  await button(page, `Remove Iris ${mark}`).click();
  await see(page, "1 chosen person");
  await axe("hand-picked");
  await button(page, "Next: Message").click();
  await page.getByRole("button", { name: /Template/ }).click();
  await page.getByRole("option").first().click();
  const fields = page.getByRole("textbox", { name: /in the message/ });
  await fields.first().waitFor();
  await button(page, "Save draft and go on").click();
  await page.getByText("Fill this in: nothing is sent with an empty place.").first().waitFor();
  check((await page.getByText("Fill this in: nothing is sent with an empty place.").count()) === (await fields.count()), "not every empty field is marked");
  for (let index = 0; index < (await fields.count()); index++) await page.getByRole("button", { name: "First name" }).nth(index).click();
  await button(page, "Save draft and go on").click();
  await page.getByText(/^Hello Henri/).waitFor();
  const id = /campaigns\/([^/]+)\/edit/.exec(page.url())[1];
  const { campaign } = await gql("query($id: ID!) { campaign(id: $id) { audience { contactIds tags segmentIds all } } }", { id });
  check(JSON.stringify(campaign.audience.contactIds) === JSON.stringify([ids[numbers[2]]]), `the audience is ${JSON.stringify(campaign.audience)}`);
  await page.reload();
  await settled(page);
  await page.getByRole("link", { name: "Audience" }).click();
  await button(page, `Remove Henri ${mark}`).waitFor();
});
