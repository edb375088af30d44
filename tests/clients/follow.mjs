// A program in Node that uses the JavaScript client: prints every frame as it was sent. Each line of its input is the
// address of the daemon's next life. `node --experimental-websocket follow.mjs`
import { createInterface } from "node:readline";
import { Forestay } from "../../server/door/page/forestay.js";

const forestay = new Forestay("http://127.0.0.1:9");
const stream = forestay.stream({ since: 0, onlog: () => process.exit(3) });
createInterface({ input: process.stdin }).on("line", (base) => {
  forestay.base = base;
  stream.reconnect();
});
let seen = 0;
for await (const { event, raw } of stream) {
  if (event.seq !== ++seen) process.exit(4);
  process.stdout.write(`${raw}\n`);
}
