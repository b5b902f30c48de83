// Asks for the whole log many times over and takes nothing until told to on standard input. Then writes the errors that it
// was told and how it was closed.
//   node slow.mjs ws://127.0.0.1:8080/graphql KEY
import WebSocket from "ws";

const [url, key] = process.argv.slice(2);
const socket = new WebSocket(url, "graphql-transport-ws");
const query = 'subscription { events(after: "0") { position id type data correlationId } }';
const last = {};
socket.on("open", () => {
  socket.send(JSON.stringify({ type: "connection_init", payload: { Authorization: `Bearer ${key}` } }));
  for (let id = 0; id < 10; id += 1) {
    socket.send(JSON.stringify({ type: "subscribe", id: `${id}`, payload: { query } }));
  }
});
socket.on("message", (text) => {
  const message = JSON.parse(text);
  if (message.type === "connection_ack") {
    socket.pause();
    console.log("paused");
  } else if (message.type === "next") {
    last[message.id] = message.payload.data.events.position;
  } else if (message.type === "error") {
    const { position, code } = message.payload[0].extensions;
    console.log(`told ${position} ${last[message.id]} ${code}`);
  }
});
socket.on("close", (code, reason) => {
  console.log(`closed ${code} ${reason}`);
  process.exit();
});
process.stdin.on("data", () => socket.resume());
