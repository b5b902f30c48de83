// How fast the console is where much is in it, by Chromium's own tracing: first and largest contentful paint, and the time from an
// input event until what it asked for is painted. Needs two new gateways that serve the console themselves: one is filled, the other
// stays empty, and each list is measured at both in turn.
//
//   SERVED=1 GATEWAY_URL=… GATEWAY_KEY=… SETUP_LINK=… EMPTY_LINK=… MESSAGES=1000000 CAMPAIGNS=10000 npm run figures
//
// EMPTY_LINK is the other's set-up link. FILLED=1 leaves out filling it: a run before this one did that.
import { chromium } from "playwright-core";
import { comeIn, gql, launch, serve, signIn, until } from "./browser.mjs";

const messages = Number(process.env.MESSAGES ?? 100_000);
const campaigns = Number(process.env.CAMPAIGNS ?? 10_000);
const runs = Number(process.env.RUNS ?? 5);
const url = process.env.GATEWAY_URL;
const key = process.env.GATEWAY_KEY;
const categories = ["-*", "blink.user_timing", "loading", "devtools.timeline"];
const fill_ms = 3_600_000;

const median = (values) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)];

/** Names of people that nobody has, numbers of a range that nobody has either. */
function rows(count) {
  const names = ["Ada", "Bea", "Chidi", "Dana", "Emil", "Fatima", "Goran", "Hanne"];
  const lines = ["phone,name,city"];
  for (let index = 0; index < count; index++) lines.push(`+${447_999_000_000 + index},${names[index % names.length]} Sample,London`);
  return `${lines.join("\n")}\n`;
}

/** A number that is paused, so that everything is planned and nothing leaves; `messages` people, each with a message; the campaigns. */
async function fill() {
  const mutate = async (type, field, select, input) => (await gql(`mutation($i: ${type}!) { ${field}(input: $i) { ${select} } }`, { i: input }))[field];
  const { account } = await mutate("ConnectAccountInput", "connectAccount", "account { id }", { name: "Figures", provider: "SANDBOX", timeZone: "Europe/London", defaultRegion: "GB" });
  const components = [{ type: "BODY", text: "Hello {{1}}, our autumn offers are ready. Have a look before Sunday!", example: { body_text: [["Ada"]] } }, { type: "FOOTER", text: "Reply STOP to end" }];
  const { template } = await mutate("CreateTemplateInput", "createTemplate", "template { id }", { accountId: account.id, name: "figures", language: "en", category: "MARKETING", components });
  await until("the number", async () => (await gql("query($id: ID!) { account(id: $id) { health { check ok } } }", { id: account.id })).account.health.some(({ check, ok }) => check.includes("token") && ok), 60_000);
  await gql("mutation($id: ID!) { submitTemplate(id: $id) { position } }", { id: template.id });
  await until("the template", async () => (await gql("query($id: ID!) { template(id: $id) { status } }", { id: template.id })).template.status === "APPROVED", 60_000);
  await gql('mutation($id: ID!) { pauseAccount(id: $id, reason: "figures") { position } }', { id: account.id });
  console.error(`importing ${messages} people`);
  const imported = await fetch(`${url}/imports?tags=figures&consent=OPTED_IN&consentSource=figures&fileName=figures.csv`, { method: "POST", headers: { authorization: `Bearer ${key}`, "content-type": "text/csv" }, body: rows(messages) });
  const { import: begun } = await imported.json();
  await until("the import", async () => (await gql("query($id: ID!) { import(id: $id) { status } }", { id: begun.id })).import.status === "COMPLETED", fill_ms);
  const parameters = { "body.1": "{{first_name | default: there}}" };
  const input = { accountId: account.id, templateId: template.id, audience: { tags: ["figures"] }, parameters };
  console.error(`making ${campaigns} campaigns`);
  let next = 1;
  const names = ["Winter opening hours", "Autumn offers", "Class on Saturday", "New menu", "Thank you"];
  await Promise.all(Array.from({ length: 8 }, async () => {
    for (let number = next++; number <= campaigns; number = next++) await mutate("CreateCampaignInput", "createCampaign", "position", { ...input, name: `${names[number % names.length]}, no. ${number}` });
  }));
  console.error(`planning ${messages} messages`);
  const { campaign } = await mutate("CreateCampaignInput", "createCampaign", "campaign { id }", { ...input, name: "To everybody" });
  await gql("mutation($id: ID!) { launchCampaign(id: $id) { position } }", { id: campaign.id });
  await until("the messages", async () => (await gql("query($id: ID!) { campaign(id: $id) { progress { recipients pending } } }", { id: campaign.id })).campaign.progress.pending >= messages, fill_ms);
  await until("the read models", async () => (await gql("{ projections { lag } }")).projections.every(({ lag }) => Number(lag) === 0), fill_ms);
}

const { base, stop } = await serve();
const browser = await chromium.launch(launch);
try {
  const enter = async (link) => {
    const context = await browser.newContext();
    const page = await context.newPage();
    if (process.env.FILLED) await signIn(page, `${new URL(link).origin}/console/`);
    else await comeIn(page, link);
    const storageState = await context.storageState();
    await context.close();
    return storageState;
  };
  const full = { base, storageState: await enter(process.env.SETUP_LINK) };
  const empty = { base: `${new URL(process.env.EMPTY_LINK).origin}/console/`, storageState: await enter(process.env.EMPTY_LINK) };

  /** From the input event that the browser was given until `shown` holds and was painted, as marks in the trace. */
  const timed = async (page, name, event, shown, act) => {
    await page.evaluate(({ name, event, shown }) => {
      const holds = new Function(`return (${shown})`);
      let began = false;
      const look = () => {
        if (!began || !holds()) return;
        observer.disconnect();
        requestAnimationFrame(() => setTimeout(() => performance.mark(`figures:${name}:end`)));
      };
      const observer = new MutationObserver(look);
      observer.observe(document.body, { subtree: true, childList: true, characterData: true, attributes: true });
      window.addEventListener(event, ({ timeStamp }) => {
        if (began) return;
        began = true;
        performance.mark(`figures:${name}:start`, { startTime: timeStamp });
        requestAnimationFrame(look);
      }, { capture: true });
    }, { name, event, shown });
    await act();
    await page.waitForFunction((name) => performance.getEntriesByName(`figures:${name}:end`).length > 0, name);
  };

  /** One visit with nothing in the cache, in milliseconds by name. */
  const visit = async ({ base, storageState }, path, ready, acts = async () => undefined) => {
    const context = await browser.newContext({ storageState, viewport: { width: 1440, height: 900 } });
    const page = await context.newPage();
    page.setDefaultTimeout(120_000);
    await browser.startTracing(page, { categories });
    await page.goto(base + path);
    await page.waitForSelector(ready);
    // The largest paint is known once nothing is being loaded and something was painted after it.
    await page.waitForLoadState("networkidle").catch(() => undefined);
    await acts(page);
    const { traceEvents } = JSON.parse((await browser.stopTracing()).toString());
    await context.close();
    const main = traceEvents.filter(({ name, args }) => name === "navigationStart" && args?.data?.documentLoaderURL?.startsWith(base));
    const start = main[0]?.ts;
    const after = (name) => traceEvents.filter((event) => event.name === name && event.ts >= start).map(({ ts }) => (ts - start) / 1000);
    const found = { "first contentful paint": Math.min(...after("firstContentfulPaint")), "largest contentful paint": Math.max(...after("largestContentfulPaint::Candidate")) };
    for (const { name, ts } of traceEvents) {
      const [, what] = /^figures:(.*):end$/.exec(name) ?? [];
      if (!what) continue;
      const began = traceEvents.find((event) => event.name === `figures:${what}:start`);
      // A mark's own time is in the arguments where it is not the moment of the event.
      const from = began.args?.data?.startTime !== undefined ? start / 1000 + began.args.data.startTime : began.ts / 1000;
      const to = traceEvents.find((event) => event.name === name)?.args?.data?.startTime;
      found[what] = (to !== undefined ? start / 1000 + to : ts / 1000) - from;
    }
    return found;
  };

  const table = 'document.querySelectorAll("table tbody tr[role=row]").length';
  const text = (words) => `document.querySelector("table tbody")?.innerText.includes(${JSON.stringify(words)})`;
  const filter = async (page, label, option, shown) => {
    await page.getByRole("button", { name: new RegExp(label) }).first().click();
    await page.getByRole("option", { name: option, exact: true }).waitFor();
    await timed(page, `filter by status`, "pointerup", shown, () => page.getByRole("option", { name: option, exact: true }).click());
  };
  const scroll = (page, name, shown, by) => timed(page, name, "scroll", shown, () => page.evaluate((y) => window.scrollBy(0, y), by));

  const lists = {
    campaigns: {
      path: "campaigns",
      acts: async (page) => {
        const seen = await page.locator("table tbody tr[role=row]").last().getAttribute("aria-rowindex");
        await scroll(page, "scroll by 2,000 px", `Number([...document.querySelectorAll("table tbody tr[role=row]")].at(-1)?.getAttribute("aria-rowindex")) > ${Number(seen) + 20}`, 2_000);
        await scroll(page, "next page", '[...document.querySelectorAll(".table-foot span")].some((e) => /\\b[2-9]00\\b/.test(e.innerText))', 20_000);
        await page.evaluate(() => window.scrollTo(0, 0));
        await page.locator("table tbody tr[role=row][aria-rowindex='2']").waitFor();
        await filter(page, "Any status", "Sending", `${table} === 1 && ${text("To everybody")}`);
        await timed(page, "open a campaign", "pointerup", 'document.querySelector("h1")?.innerText === "To everybody" && !!document.querySelector(".funnel")', () => page.getByRole("link", { name: "To everybody" }).click());
      },
    },
    messages: {
      path: "messages",
      acts: async (page) => {
        const seen = await page.locator("table tbody tr[role=row]").last().getAttribute("aria-rowindex");
        await scroll(page, "scroll by 2,000 px", `Number([...document.querySelectorAll("table tbody tr[role=row]")].at(-1)?.getAttribute("aria-rowindex")) > ${Number(seen) + 20}`, 2_000);
        await scroll(page, "next page", '[...document.querySelectorAll(".table-foot span")].some((e) => /\\b[2-9]00\\b/.test(e.innerText))', 20_000);
        await page.evaluate(() => window.scrollTo(0, 0));
        await page.locator("table tbody tr[role=row][aria-rowindex='2']").waitFor();
        await filter(page, "Any status", "Queued", `new URLSearchParams(location.search).get("status") === "QUEUED" && ${table} > 5 && !document.querySelector(".skeleton")`);
        await timed(page, "open a message", "pointerup", '!!document.querySelector(".timeline")', () => page.locator(".row-link").first().click());
      },
    },
  };

  if (!process.env.FILLED) await fill();
  const measured = {};
  for (const [name, { path, acts }] of Object.entries(lists)) {
    const visits = { empty: [], full: [] };
    for (let run = 0; run < runs; run++) {
      visits.empty.push(await visit(empty, path, ".empty"));
      visits.full.push(await visit(full, path, "table tbody tr[role=row]", acts));
    }
    for (const [where, all] of Object.entries(visits))
      measured[`${name} ${where}`] = Object.fromEntries(Object.keys(all[0]).map((what) => [what, median(all.map((each) => each[what]))]));
  }

  const sizes = { campaigns: campaigns + 1, messages };
  console.log(`| list | figure | empty | full | ratio |\n| --- | --- | --- | --- | --- |`);
  for (const name of Object.keys(lists))
    for (const [what, value] of Object.entries(measured[`${name} full`])) {
      const nothing = measured[`${name} empty`][what];
      console.log(`| ${sizes[name].toLocaleString("en")} ${name} | ${what} | ${nothing === undefined ? "" : `${nothing.toFixed(0)} ms`} | ${value.toFixed(0)} ms | ${nothing === undefined ? "" : (value / nothing).toFixed(2)} |`);
    }
} finally {
  await browser.close();
  await stop();
}
process.exit();
