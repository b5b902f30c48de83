// Validates data against the schemas of docs/schemas, which it reads from there: strictly, formats included. Reads a line of JSON
// {"schema": "message.sent/1", "data": …} each, and writes what is wrong with it as a line of JSON, or null. With "closed": true
// it takes nothing that the schema does not tell of.
//   node schemas.mjs FOLDER
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { Ajv2020 } from "ajv/dist/2020.js";
import addFormats from "ajv-formats";

const [folder] = process.argv.slice(2);
// Compiling validates the schema itself, and refuses keywords and formats that it does not know.
const strict = () => addFormats.default(new Ajv2020({ strict: true, strictTypes: false, strictRequired: false, allErrors: true }));
const [open, shut] = [strict(), strict()];
const compiled = new Map();

function closed(schema) {
  if (Array.isArray(schema)) return schema.map(closed);
  if (schema === null || typeof schema !== "object") return schema;
  const result = Object.fromEntries(Object.entries(schema).map(([name, value]) => [name, closed(value)]));
  if (schema.type === "object" && schema.properties && schema.additionalProperties === undefined) result.additionalProperties = false;
  return result;
}

function validator(name, isClosed) {
  const key = `${name} ${isClosed}`;
  if (!compiled.has(key)) {
    const schema = JSON.parse(readFileSync(`${folder}/${name}.json`, "utf8"));
    compiled.set(key, isClosed ? shut.compile(closed(schema)) : open.compile(schema));
  }
  return compiled.get(key);
}

for await (const line of createInterface({ input: process.stdin })) {
  const { schema, data, closed: isClosed } = JSON.parse(line);
  try {
    const fits = validator(schema, isClosed === true);
    console.log(JSON.stringify(fits(data) ? null : open.errorsText(fits.errors)));
  } catch (error) {
    console.log(JSON.stringify(`${schema}: ${error.message}`));
  }
}
