// What cannot be delivered: the campaign says why and what to do, each message says it in WhatsApp's words, what is
// final is not tried again, and what stopped the number goes on once somebody has resumed it.
import { campaign, gql, newNumber, people, sandbox, walk } from "./browser.mjs";

await walk("failures", async (page, { base, step, check, button, see, settled, mark }) => {
  const { accounts } = await gql("{ accounts(first: 1) { nodes { phoneNumberId } } }");
  const behaviour = `behaviour?phoneNumberId=${accounts.nodes[0].phoneNumberId}`;
  const quick = { latencyMs: { min: 5, max: 20 }, statusDelayMs: { min: 20, max: 100 } };
  const run = async (name, code, count) => {
    await sandbox("PUT", behaviour, { ...quick, ...(code ? { errorRates: { [code]: 1 } } : {}) });
    const tag = `${name}-${mark}`;
    await people(Array.from({ length: count }, (_, index) => ({ phone: newNumber(), name: `${name} ${index}` })), tag);
    const id = await campaign(`${name} ${mark}`, tag);
    await page.goto(`${base}campaigns/${id}`);
    await page.getByRole("listitem").filter({ hasText: new RegExp(`^Failed${count}`) }).waitFor();
    return id;
  };

  step("nobody can be reached: that is final, and says what to do");
  const final = await run("Unreachable", 131026, 3);
  const why = page.getByRole("region", { name: "Why messages failed" });
  await why.getByText("131026").waitFor();
  await why.getByText(/^The person cannot be reached: not on WhatsApp/).waitFor();
  check((await why.getByRole("listitem").innerText()).includes("3"), "it does not say how many");
  await page.getByRole("link", { name: "Recipients", exact: true }).click();
  await page.getByRole("row").filter({ hasText: "Failed" }).getByRole("link").first().click();
  const told = page.getByRole("alert").filter({ hasText: "131026" });
  await told.waitFor();
  await told.getByText(/^Sending the same again will not help\./).waitFor();
  await page.getByText("What happened").waitFor();

  step("and is not tried again");
  await page.goto(`${base}campaigns/${final}`);
  await button(page, "More actions").click();
  await page.getByRole("menuitem", { name: "Try failed ones again" }).click();
  await page.getByText("Trying again what can be tried again").waitFor();
  await settled(page);
  check(await page.getByRole("listitem").filter({ hasText: /^Failed3/ }).isVisible(), "what is final was tried again");

  step("the number is a test number: the remedy is another");
  await run("Passing", 131030, 2);
  await why.getByText("131030").waitFor();
  await why.getByText(/^This is a test number, which writes only to the people on its list/).waitFor();

  step("too many complaints stop the number: the campaign says so, leads there, and goes on once it is resumed");
  await sandbox("PUT", behaviour, { ...quick, errorRates: { 131048: 1 } });
  const tag = `stopped-${mark}`;
  await people([{ phone: newNumber(), name: "Stopped" }], tag);
  const stopped = await campaign(`Stopped ${mark}`, tag);
  await page.goto(`${base}campaigns/${stopped}`);
  await page.getByText(/^The account is paused: Too many of this number's messages were blocked or reported/).waitFor();
  await sandbox("PUT", behaviour, quick);
  await page.getByRole("link", { name: "See the number" }).click();
  await see(page, "Paused");
  await button(page, "Resume sending").click();
  await see(page, "Connected");
  await page.goto(`${base}campaigns/${stopped}`);
  await page.getByRole("listitem").filter({ hasText: /^Delivered1/ }).waitFor({ timeout: 60_000 });
});
