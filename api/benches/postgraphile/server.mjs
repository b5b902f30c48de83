// PostGraphile over the schema `peer` of the database that the first argument names. Says on which port, and ends with
// whoever started it.
import { createServer } from "node:http";
import { postgraphile } from "postgraphile";

const options = { disableQueryLog: true, disableDefaultMutations: true };
const server = createServer(postgraphile(process.argv[2], "peer", options));
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
process.stdin.resume().on("end", () => process.exit());
