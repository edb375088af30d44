// A program in Node that follows the stream with the JavaScript client until it throws, or has waited three times; prints
// why. `node --experimental-websocket tell.mjs http://127.0.0.1:8000`
import { Forestay } from "../../server/door/page/forestay.js";

const waits = [];
const onstate = (state, why) => state === "waiting" && waits.push(why) === 3 && stream.close();
const stream = new Forestay(process.argv[2], { token: "shown" }).stream({ since: 0, onstate });
let thrown = null;
try {
  for await (const { event } of stream) console.error(event);
} catch ({ name, code, status, passes, message }) {
  thrown = { name, code, status, passes, message };
}
console.log(JSON.stringify({ waits, thrown }));
