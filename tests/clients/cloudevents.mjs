// Takes events as an integrator would who knows nothing but the standards: each is parsed and validated as a CloudEvent by
// the CNCF's SDK, fits the schema of the envelope, and its data fits the schema that its dataschema names, fetched from
// there. Reads one event a line from standard input until an empty one, with a key all that GET /events has first. Writes a
// line of JSON: {"events": …, "types": […], "complaints": […]}.
//   node cloudevents.mjs http://127.0.0.1:8080 [KEY]
import { createInterface } from "node:readline";
import { Ajv2020 } from "ajv/dist/2020.js";
import addFormats from "ajv-formats";
import { CloudEvent, HTTP } from "cloudevents";

const [base, key] = process.argv.slice(2);
const ajv = addFormats.default(new Ajv2020({ strict: true, strictTypes: false, strictRequired: false, allErrors: true }));
const fetched = new Map();

async function schemaAt(url) {
  if (!fetched.has(url)) {
    const answer = await fetch(url);
    if (answer.status !== 200) throw new Error(`${url}: ${answer.status}`);
    if (answer.headers.get("content-type") !== "application/schema+json") throw new Error(`${url}: another type`);
    fetched.set(url, ajv.compile(await answer.json()));
  }
  return fetched.get(url);
}

const seen = { events: 0, types: new Set(), complaints: [] };

async function look(line) {
  const complain = (what) => seen.complaints.length < 20 && seen.complaints.push(`${what} in ${line.slice(0, 4000)}`);
  try {
    const event = HTTP.toEvent({ headers: { "content-type": "application/cloudevents+json" }, body: line });
    if (!(event instanceof CloudEvent) || !event.validate()) complain("the SDK says no");
    const given = JSON.parse(line);
    const schemas = [[await schemaAt(`${base}/schemas/event`), given], [await schemaAt(event.dataschema), event.data]];
    for (const [fits, value] of schemas) {
      if (!fits(value)) complain(ajv.errorsText(fits.errors));
    }
    if (!event.dataschema.includes(`/${event.type}/`)) complain("another event's schema");
    seen.events += 1;
    seen.types.add(event.type);
  } catch (error) {
    complain(String(error));
  }
}

if (key) {
  const headers = { Authorization: `Bearer ${key}`, Accept: "application/x-ndjson" };
  const answer = await fetch(`${base}/events?after=0`, { headers });
  for (const line of (await answer.text()).split("\n").filter(Boolean)) await look(line);
}
for await (const line of createInterface({ input: process.stdin })) {
  if (line === "") break;
  await look(line);
}
console.log(JSON.stringify({ ...seen, types: [...seen.types] }));
process.exit(0);
