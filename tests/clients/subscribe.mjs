// Follows the log by graphql-ws and writes "position id" a line. Whenever it is cut off it goes on after the last one.
//   node subscribe.mjs ws://127.0.0.1:8080/graphql KEY
import { createClient } from "graphql-ws";
import WebSocket from "ws";

const [url, key] = process.argv.slice(2);
const query = "subscription ($after: Position) { events(after: $after) { position id } }";
let after = "0";
for (;;) {
  const client = createClient({
    url,
    webSocketImpl: WebSocket,
    connectionParams: { authorization: `Bearer ${key}` },
    retryAttempts: 0,
    onNonLazyError: () => {},
  });
  try {
    for await (const { data, errors } of client.iterate({ query, variables: { after } })) {
      if (errors) throw new Error(JSON.stringify(errors));
      after = data.events.position;
      console.log(`${after} ${data.events.id}`);
    }
  } catch (error) {
    console.error(String(error?.reason ?? error?.message ?? error));
  }
  await client.dispose();
  await new Promise((resolve) => setTimeout(resolve, 100));
}
