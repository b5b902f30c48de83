// Does what an n8n workflow describes, as far as its nodes are Webhook and HTTP Request: checks that it is one that n8n imports,
// begins at a Webhook node with a body, and makes each request that follows, expressions filled in. Writes one line of JSON:
// {"answers": {node: answer}} or {"error": …}.
//   node n8n.mjs WORKFLOW.json KEY "NODE" BODY
import { readFileSync } from "node:fs";

const [path, key, begin, body] = process.argv.slice(2);

function require(holds, what) {
  if (!holds) throw new Error(what);
}

function check(workflow) {
  require(typeof workflow.name === "string" && Array.isArray(workflow.nodes), "no workflow");
  const names = workflow.nodes.map((node) => node.name);
  require(new Set(names).size === names.length, "two nodes of one name");
  require(new Set(workflow.nodes.map((node) => node.id)).size === names.length, "two nodes of one id");
  for (const node of workflow.nodes) {
    for (const field of ["id", "name", "type", "typeVersion", "position", "parameters"]) {
      require(node[field] !== undefined, `${node.name} has no ${field}`);
    }
    require(node.position.length === 2 && node.position.every(Number.isFinite), `${node.name} is nowhere`);
    require(["n8n-nodes-base.webhook", "n8n-nodes-base.httpRequest"].includes(node.type), `${node.name} is a ${node.type}`);
  }
  for (const [from, outputs] of Object.entries(workflow.connections)) {
    require(names.includes(from), `${from} is no node`);
    for (const { node, type } of outputs.main.flat()) require(names.includes(node) && type === "main", `${from} leads to ${node}`);
  }
  const begins = workflow.nodes.filter((node) => node.type.endsWith(".webhook"));
  require(new Set(begins.map((node) => node.parameters.path)).size === begins.length, "two webhooks of one path");
}

// "={{ … }}" is an expression over the node's input; anything else is itself.
function value(parameter, $json) {
  if (typeof parameter !== "string" || !parameter.startsWith("=")) return parameter;
  const whole = parameter.match(/^=\{\{([\s\S]*)\}\}$/);
  require(whole, `an expression as n8n does not have it: ${parameter}`);
  return new Function("$json", `return (${whole[1]});`)($json);
}

async function request({ name, parameters }, $json) {
  const headers = {};
  if (parameters.authentication === "genericCredentialType") {
    require(parameters.genericAuthType === "httpHeaderAuth", `${name}: another credential`);
    headers.Authorization = `Bearer ${key}`;
  }
  const options = { method: value(parameters.method, $json), headers };
  if (parameters.sendBody) {
    require(parameters.specifyBody === "json", `${name}: another kind of body`);
    headers["Content-Type"] = "application/json";
    options.body = value(parameters.jsonBody, $json);
    JSON.parse(options.body);
  }
  const answer = await fetch(value(parameters.url, $json), options);
  require(answer.ok, `${name}: ${answer.status} ${await answer.clone().text()}`);
  const text = await answer.text();
  let json = text;
  try {
    json = JSON.parse(text);
  } catch {
    // Not everybody answers JSON.
  }
  require(!json.errors, `${name}: ${text}`);
  return json;
}

const answers = {};
try {
  const workflow = JSON.parse(readFileSync(path, "utf8"));
  check(workflow);
  const first = workflow.nodes.find((node) => node.name === begin);
  require(first?.type === "n8n-nodes-base.webhook" && first.parameters.httpMethod === "POST", `${begin} takes no POST`);
  let last = { node: first.name, json: { headers: {}, params: {}, query: {}, body: JSON.parse(body) } };
  for (;;) {
    const next = workflow.connections[last.node]?.main[0]?.[0]?.node;
    if (!next) break;
    const json = await request(workflow.nodes.find((node) => node.name === next), last.json);
    answers[next] = json;
    last = { node: next, json };
  }
  console.log(JSON.stringify({ answers }));
} catch (error) {
  console.log(JSON.stringify({ error: error.message }));
}
