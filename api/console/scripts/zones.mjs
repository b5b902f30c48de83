// Nine in the morning wherever they are: a campaign that is planned for people in several zones shows each the right moment,
// before it is launched and after.
import { campaign, gql, newNumber, people, until, walk } from "./browser.mjs";

/** The instant at which the clock in `zone` shows `local`. */
function instantOf(local, zone) {
  const parts = new Intl.DateTimeFormat("en-CA", { timeZone: zone, hourCycle: "h23", year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit" });
  const shown = (at) => Date.parse(`${parts.format(at).replace(", ", "T")}Z`);
  const wanted = Date.parse(`${local}Z`);
  let at = wanted;
  for (let turn = 0; turn < 3; turn++) at += wanted - shown(at);
  return new Date(at).toISOString();
}

await walk("zones", async (page, { base, step, check, button, see, mark }) => {
  const tag = `zones-${mark}`;
  const day = new Date(Date.now() + 3 * 86_400_000).toISOString().slice(0, 10);
  const nine = `${day}T09:00`;
  // The last two say nothing of where they live: Singapore's numbers have one zone, the United Kingdom's lead to London.
  const who = [
    { phone: newNumber(), name: "Aiko", time_zone: "Asia/Tokyo" }, { phone: newNumber(), name: "Bruno", time_zone: "America/Sao_Paulo" },
    { phone: newNumber(), name: "Carla", time_zone: "America/Sao_Paulo" }, { phone: newNumber(), name: "Dev", time_zone: "Asia/Kolkata" },
    { phone: "+6581234567", name: "Mei" }, { phone: newNumber(), name: "Ewan" },
  ];
  await people(who, tag);
  const expected = [["America/Sao_Paulo", 2, "from the contact"], ["Asia/Tokyo", 1, "from the contact"], ["Asia/Kolkata", 1, "from the contact"], ["Asia/Singapore", 1, "from the number"], ["Europe/London", 1, "from the number"]];

  step("plans it for nine on everybody's own clock");
  const id = await campaign(`Nine o’clock ${mark}`, tag, { launched: false });
  await page.goto(`${base}campaigns/${id}/edit/schedule`);
  await page.getByText("At each person’s local time").click();
  await page.getByLabel("Day and time").fill(nine);
  await page.getByText(/09:00 on each person’s own clock\./).waitFor();
  await see(page, "Saved");

  step("shows every zone with its own moment");
  await button(page, "Next: Estimate").click();
  const zones = page.getByRole("region", { name: "Where they live" });
  await zones.waitFor();
  for (const [zone, count, source] of expected) {
    const row = zones.getByRole("listitem").filter({ hasText: zone.replaceAll("_", " ") });
    await row.waitFor();
    const text = await row.innerText();
    const at = await row.getByRole("time").getAttribute("datetime");
    check(Date.parse(at) === Date.parse(instantOf(nine, zone)), `${zone} is at ${at}, not ${instantOf(nine, zone)}`);
    check(text.includes(source) && new RegExp(`\\b${count}\\b`).test(text), `${zone} reads ${JSON.stringify(text)}`);
  }
  const times = expected.map(([zone]) => instantOf(nine, zone)).sort();
  const fact = (name) => page.locator("dl > div").filter({ hasText: name }).getByRole("time").getAttribute("datetime");
  check(Date.parse(await fact("First message")) === Date.parse(times[0]), `the first leaves at ${await fact("First message")}`);
  check(Math.abs(Date.parse(await fact("Last message")) - Date.parse(times.at(-1))) < 60_000, `the last leaves at ${await fact("Last message")}`);

  step("is scheduled, and says the same there");
  await button(page, "Next: Review").click();
  await button(page, "Schedule campaign").click();
  await page.getByRole("alertdialog").getByRole("button", { name: "Schedule campaign" }).click();
  await see(page, "Scheduled");
  await page.getByText("at each person’s local time").or(page.getByText("on each person’s own clock")).first().waitFor();
  const { campaign: planned } = await gql("query($id: ID!) { campaign(id: $id) { startAt } }", { id });
  check(Date.parse(planned.startAt) <= Date.parse(times[0]), `it starts at ${planned.startAt}, after its first message`);

  step("is taken back before anything leaves");
  await button(page, "More actions").click();
  await page.getByRole("menuitem", { name: "End this campaign" }).click();
  await page.getByRole("textbox", { name: "Reason, for the record" }).fill("another day");
  await page.getByRole("alertdialog").getByRole("button", { name: "End this campaign" }).click();
  await see(page, "Ended early");
  const { messages } = await gql("query($c: [ID!]) { messages(first: 10, filter: { campaignIds: $c, status: [ACCEPTED, SENT, DELIVERED, READ] }) { nodes { id } } }", { c: [id] });
  check(messages.nodes.length === 0, "something left");
  await until("the campaign has ended", async () => (await gql("query($id: ID!) { campaign(id: $id) { status } }", { id })).campaign.status === "CANCELLED");
});

