// Two people at once: at a campaign that runs, what one does the other sees; at a draft, the later is told, and nothing of what
// either wrote is lost.
import { campaign, gql, newNumber, people, until, walk } from "./browser.mjs";

/** The other's screen follows by itself within this. */
const seen_ms = 4_000;

await walk("together", async (ada, { base, open, signIn, step, check, button, see, mark }) => {
  const bea = await open();
  await signIn(bea);

  step("both look at a campaign that runs");
  const slow = `slow-${mark}`;
  await people(Array.from({ length: 90 }, (_, index) => ({ phone: newNumber(), name: `Person ${index}` })), slow);
  const running = await campaign(`Slow ${mark}`, slow, { messagesPerSecond: 3 });
  for (const page of [ada, bea]) {
    await page.goto(`${base}campaigns/${running}`);
    await see(page, "Sending");
    await page.getByText("Still to send").waitFor();
  }
  /** What one does, and how long it takes until it stands on the other's screen. */
  const follow = async (page, word, act) => {
    await act();
    const since = Date.now();
    await page.getByText(word, { exact: true }).first().waitFor();
    const took = Date.now() - since;
    check(took < seen_ms, `“${word}” took ${took} ms to the other screen`);
    console.log(`  ${word}: after ${took} ms`);
  };

  step("one pauses, the other sees it and goes on, the first sees that, and ends it");
  await follow(bea, "Paused", () => button(ada, "Pause").click());
  check((await button(bea, "Pause").count()) === 0, "the other is still offered to pause");
  await see(ada, "Paused");
  await follow(ada, "Sending", () => button(bea, "Resume").click());
  await button(ada, "More actions").click();
  await ada.getByRole("menuitem", { name: "End this campaign" }).click();
  await ada.getByRole("textbox", { name: "Reason, for the record" }).fill("seen enough");
  await follow(bea, "Ended early", () => ada.getByRole("alertdialog").getByRole("button", { name: "End this campaign" }).click());
  await bea.getByText(/messages had left, \d+ were stopped/).waitFor();

  step("both edit a draft, each something else: both stay");
  const draft = await campaign(`Draft ${mark}`, slow, { launched: false });
  const read = async () => (await gql("query($id: ID!) { campaign(id: $id) { name messagesPerSecond audience { tags } parameters } }", { id: draft })).campaign;
  await ada.goto(`${base}campaigns/${draft}/edit/audience`);
  await bea.goto(`${base}campaigns/${draft}/edit/schedule`);
  const name = ada.getByRole("textbox", { name: "Name", exact: true });
  const pace = bea.getByRole("textbox", { name: /^Messages per second, at most/ });
  await name.waitFor();
  await pace.waitFor();
  await name.fill(`By Ada ${mark}`);
  await see(ada, "Saved");
  await pace.fill("7");
  await bea.getByText("Somebody else changed this draft too. Both changes are kept.").waitFor();
  await see(bea, "Saved");
  await until("both changes are kept", async () => { const found = await read(); return found.name === `By Ada ${mark}` && found.messagesPerSecond === 7 && found; });
  await bea.getByRole("heading", { name: `By Ada ${mark}` }).waitFor();

  step("both change the name: the later decides");
  await name.fill(`Ada again ${mark}`);
  await see(ada, "Saved");
  await bea.getByRole("link", { name: "Audience" }).click();
  const hers = bea.getByRole("textbox", { name: "Name", exact: true });
  await hers.fill(`Bea's ${mark}`);
  const clash = bea.getByRole("alert", { name: "Somebody else changed this draft meanwhile" });
  await clash.waitFor();
  check((await clash.innerText()).includes(`Ada again ${mark}`) && (await clash.innerText()).includes(`Bea's ${mark}`), "the two names are not both shown");
  check((await hers.inputValue()) === `Bea's ${mark}`, "what she wrote is gone");
  check((await read()).name === `Ada again ${mark}`, "the earlier change was overwritten without a word");
  await button(bea, "Keep mine").click();
  await see(bea, "Saved");
  await until("hers is kept", async () => (await read()).name === `Bea's ${mark}`);

  step("and once more the other way round");
  await name.fill(`Ada's last word ${mark}`);
  const other = ada.getByRole("alert", { name: "Somebody else changed this draft meanwhile" });
  await other.waitFor();
  await button(ada, "Take theirs").click();
  await see(ada, "Saved");
  check((await name.inputValue()) === `Bea's ${mark}`, "the other's is not taken");
  check((await read()).name === `Bea's ${mark}`, "the gateway has another name");
});
