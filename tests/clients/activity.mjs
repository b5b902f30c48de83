// Follows what happens in conversations by graphql-ws and writes "direction status preview" a line.
//   node activity.mjs ws://127.0.0.1:8080/graphql KEY [ACCOUNT]
import { createClient } from "graphql-ws";
import WebSocket from "ws";

const [url, key, accountId] = process.argv.slice(2);
const query =
  "subscription ($accountId: ID) { conversationActivity(accountId: $accountId) { id direction status preview conversationId } }";
const client = createClient({
  url,
  webSocketImpl: WebSocket,
  connectionParams: { authorization: `Bearer ${key}` },
  retryAttempts: 0,
  on: { connected: () => console.log("connected") },
  onNonLazyError: () => {},
});
try {
  for await (const { data, errors } of client.iterate({ query, variables: { accountId } })) {
    if (errors) throw new Error(errors[0].extensions?.code ?? errors[0].message);
    const { direction, status, preview, conversationId } = data.conversationActivity;
    console.log(`${direction} ${status} ${preview} ${conversationId}`);
  }
  console.log("ended");
} catch (error) {
  console.log(`ended ${error?.code ?? ""} ${error?.reason ?? error?.message ?? error}`);
}
await client.dispose();
