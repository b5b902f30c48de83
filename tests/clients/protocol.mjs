// Breaks the rules of graphql-transport-ws one by one and writes how each connection was closed: "name code reason".
//   node protocol.mjs ws://127.0.0.1:8080/graphql KEY
import WebSocket from "ws";

const [url, key] = process.argv.slice(2);
const init = { type: "connection_init", payload: { Authorization: `Bearer ${key}` } };
const events = { query: "subscription { events { position } }" };
const subscribe = (id, payload = events) => ({ type: "subscribe", id, payload });
const cases = {
  nothing: [],
  junk: [init, "{"],
  unknown: [init, { type: "start", id: "1" }],
  unauthorised: [subscribe("1")],
  twice: [init, init],
  duplicate: [init, subscribe("1"), subscribe("1")],
  wrong_key: [{ type: "connection_init", payload: { authorization: "Bearer wgk_wrong" } }],
  no_key: [{ type: "connection_init" }],
};
for (const [name, messages] of Object.entries(cases)) {
  const socket = new WebSocket(url, "graphql-transport-ws");
  socket.on("open", () => {
    for (const message of messages) {
      socket.send(typeof message === "string" ? message : JSON.stringify(message));
    }
  });
  socket.on("close", (code, reason) => console.log(`${name} ${code} ${reason}`));
  socket.on("error", (error) => console.log(`${name} failed ${error.message}`));
}

// What is wrong with one operation ends that operation and nothing else.
const operations = {
  unknown_type: { query: 'subscription { events(filter: { types: ["message.delivred"] }) { id } }' },
  beyond: { query: 'subscription { events(after: "999999999") { id } }' },
  foreign: {
    query: 'subscription { events(filter: { accountIds: ["01890000-0000-7000-8000-000000000000"] }) { id } }',
  },
  syntax: { query: "subscription { events {" },
  no_campaign: { query: 'subscription { campaignProgress(id: "01890000-0000-7000-8000-000000000000") { pending } }' },
  query: { query: "{ viewer { id } }" },
};
const socket = new WebSocket(url, "graphql-transport-ws");
socket.on("open", () => socket.send(JSON.stringify(init)));
socket.on("message", (text) => {
  const message = JSON.parse(text);
  if (message.type === "connection_ack") {
    for (const [id, payload] of Object.entries(operations)) {
      socket.send(JSON.stringify(subscribe(id, payload)));
    }
  } else if (message.type === "error") {
    console.log(`${message.id} ${message.payload[0].extensions.code} ${message.payload[0].message}`);
  } else if (message.type === "next") {
    console.log(`${message.id} next ${JSON.stringify(message.payload)}`);
  }
});
