// A program in Node that uses the JavaScript client: prints every frame as it was sent.
// `node --experimental-websocket follow.mjs http://127.0.0.1:8000`
import { Forestay } from "../../server/door/page/forestay.js";

const stream = new Forestay(process.argv[2]).stream({ since: 0, onlog: () => process.exit(3) });
for await (const { raw } of stream) process.stdout.write(`${raw}\n`);
