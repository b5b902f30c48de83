// Follows the log by server-sent events and writes "position id" a line. The library reconnects by itself.
//   node eventsource.mjs http://127.0.0.1:8080/events?after=0 KEY
import { EventSource } from "eventsource";

const [url, key] = process.argv.slice(2);
const authorised = (input, init) =>
  fetch(input, { ...init, headers: { ...init.headers, Authorization: `Bearer ${key}` } });
// A gateway that does not listen refuses the connection, which the library takes as a reason to try again; any other answer
// than 200 ends it for good, so it is made anew where it was.
let last;
const follow = () => {
  const begun = last === undefined ? url : url.replace(/after=\d+/, `after=${last}`);
  const source = new EventSource(begun, { fetch: authorised });
  source.onmessage = ({ lastEventId, data }) => {
    last = lastEventId;
    console.log(`${lastEventId} ${JSON.parse(data).id}`);
  };
  source.onerror = ({ message }) => {
    console.error(message);
    if (source.readyState === source.CLOSED) setTimeout(follow, 100);
  };
};
follow();
