// Gives the JavaScript client these frames, one list for each connection; prints the seqs that it passes on, and what it
// throws. `node frames.mjs '[["{...}"], ["{...}"]]'`
import { Forestay } from "../../server/door/page/forestay.js";

const connections = JSON.parse(process.argv[2]);
const answer = { body: { log_id: "log_1" }, headers: { "X-Last-Seq": "0" } };
const fetch = async () => new Response(JSON.stringify(answer.body), { headers: answer.headers });

class WebSocket {
  constructor() {
    const frames = connections.shift();
    setTimeout(() => {
      this.onopen();
      for (const data of frames) this.onmessage({ data });
      if (connections.length) this.onclose({ code: 1001, reason: "the daemon stops" });
      else stream.close();
    });
  }

  close() {
    this.onclose({ code: 1000, reason: "" });
  }
}

const stream = new Forestay("http://there", { fetch, WebSocket }).stream({ since: 0 });
const seqs = [];
let thrown = null;
try {
  for await (const { event } of stream) seqs.push(event.seq);
} catch (problem) {
  thrown = [problem.code, problem.message];
}
console.log(JSON.stringify({ seqs, thrown }));
