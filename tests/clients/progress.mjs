// Follows a campaign by graphql-ws and writes "STATUS accepted" a line.
//   node progress.mjs ws://127.0.0.1:8080/graphql KEY CAMPAIGN
import { createClient } from "graphql-ws";
import WebSocket from "ws";

const [url, key, id] = process.argv.slice(2);
const client = createClient({
  url,
  webSocketImpl: WebSocket,
  connectionParams: { authorization: `Bearer ${key}` },
});
const query = "subscription ($id: ID!) { campaignProgress(id: $id) { status accepted } }";
for await (const { data } of client.iterate({ query, variables: { id } })) {
  console.log(`${data.campaignProgress.status} ${data.campaignProgress.accepted}`);
}
