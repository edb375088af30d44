// What is, kept fresh by what happens. Screens read it and are told once a frame, however much came.

import { Problem, passes } from "./forestay.js";

const LOOK_MS = 2000, REFRESH_MS = 1000, STUCK_MS = 6000, ANSWER_MS = 5000;

// What is read again after events of these kinds; "poll" at every look, and so is what a "candle" changes after one. What
// live trading does without a trade counts as a candle.
const KEPT = {
  evaluation: { path: "/evaluation", after: ["trade", "status_change", "snapshot", "config", "candle"] },
  objectives: { path: "/risk/objectives", after: ["trade", "status_change", "snapshot", "config", "candle"] },
  positions: { path: "/positions", after: ["trade", "snapshot", "candle"] },
  performance: { path: "/performance", after: ["trade", "status_change", "snapshot", "candle"] },
  versions: { path: "/config/versions", after: ["trade", "snapshot", "config"] },
  health: { path: "/health", after: ["poll"] },
};

// Entries of what may change figures without a trade.
const OF_LIVE = new Set(["DEMOTION", "FAILED", "SUBMITTED", "TWAK_BLOCK", "KILL", "RESTORE"]);

export class Live {
  constructor(client) {
    this.client = client;
    this.agent = null;
    this.seq = null; // of the last event that screens were told
    this.state = "connecting";
    this.why = null;
    this.seenAt = null; // when something was last heard of the daemon, ms of this machine
    this.connections = 0; // of the stream, so far
    this.deaf = false; // it was asked, and did not answer
    this.problem = null; // why it is of no use to come back
    this.lock = null; // {rule, locked_until} of the demotion that is in force
    this.known = new Promise((settle) => (this._known = settle)); // once there is an agent to show
    this._kept = new Map();
    this._watchers = new Set();
    this._queue = [];
    this._flushing = false;
  }

  /** Call `told(events)` after events, or with none when something else is new. Returns what ends that. */
  watch(told) {
    this._watchers.add(told);
    return () => this._watchers.delete(told);
  }

  /** A list and what comes after it, with nothing missing or twice: `load` reads it (an answer with its `seq`), `begin`
   *  is given that, `add` every later event. What cannot be read is told to `begin`, too, and read again once there is
   *  somebody to ask. Returns what ends it. */
  follow(load, begin, add = () => {}) {
    let from = null, early = [], failedAt = null, ended = false;
    const read = () => load().then((page) => {
      if (ended) return;
      begin(page);
      from = page.seq ?? 0;
      add(early.filter((event) => event.seq > from));
      early = [];
    }, (error) => {
      if (ended) return;
      begin(null, error);
      failedAt = passes(error) ? Date.now() : Infinity;
      early = [];
    });
    const unwatch = this.watch((events) => {
      if (from !== null) return events.length && add(events.filter((event) => event.seq > from));
      if (failedAt === null) return early.push(...events);
      if (this.state !== "open" || Date.now() - failedAt < REFRESH_MS) return;
      failedAt = null;
      read();
    });
    read();
    return () => {
      ended = true;
      unwatch();
    };
  }

  /** What is kept by this name, read now if it never was; null until then, or where it cannot be read. */
  kept(name) {
    const it = this._kept.get(name);
    if (it) {
      it.wanted = Date.now();
      if (it.stale && !it.timer && this.state === "open" && !this.deaf && Date.now() - it.readAt > REFRESH_MS) this._refresh(name);
      return it.value;
    }
    this._kept.set(name, { value: null, stale: false, timer: null, wanted: Date.now(), readAt: 0, shown: 0 });
    this._refresh(name);
    return null;
  }

  /** Read it again, whatever happened. */
  renew(...names) {
    for (const name of names) if (this._kept.has(name)) this._refresh(name);
  }

  /** Begin, and go on until `stop()`; `onproblem` is told what coming back cannot cure. */
  async run({ onproblem, onlog }) {
    this._stopped = false;
    try {
      await this._first();
    } catch (error) {
      if (!passes(error)) return this._give(error, onproblem);
      this._standing("waiting", error.message);
      return this._stopped || setTimeout(() => this._stopped || this.run({ onproblem, onlog }), 1000);
    }
    this._looking = setInterval(() => this._look(), LOOK_MS);
    this.stream = this.client.stream({
      since: this.seq,
      logId: this.agent.log_id,
      onstate: (state, why) => this._standing(state, why),
      onlog: () => (this.stop(), onlog()),
    });
    try {
      for await (const { event } of this.stream) this._take(event);
    } catch (error) {
      this._give(error, onproblem);
    }
  }

  _give(error, onproblem) {
    this.problem = error;
    clearInterval(this._looking);
    this._standing("ended", error.message);
    onproblem(error);
  }

  stop() {
    this._stopped = true;
    clearInterval(this._looking);
    this.stream?.close();
  }

  async _first() {
    const { body, seq } = await this._heard(this.client.get(""));
    this.agent = body;
    this.seq = seq;
    if (body.status === "DEMOTED") {
      for await (const { id, data } of this.client.list("/journal", { type: "DEMOTION", limit: 20 })) {
        if (!data.breach) continue; // a person's
        this.lock = { ...data, journal_ref: id };
        break;
      }
    }
    this._known();
    this._tell([]);
  }

  async _look() {
    if (!this.agent || this._lookedAt && Date.now() - this._lookedAt < ANSWER_MS) return; // one at a time
    this._lookedAt = Date.now();
    try {
      const { body, seq } = await this._heard(this.client.get("", {}, { signal: AbortSignal.timeout(ANSWER_MS) }));
      const same = body.market.time === this.agent.market.time && JSON.stringify(body.live) === JSON.stringify(this.agent.live);
      const news = same ? ["poll"] : ["poll", "candle"];
      // An event may have told of later things already.
      const { status, phase, equity } = seq >= this.seq ? body : this.agent;
      this.agent = { ...body, status, phase, equity };
      if (this.state === "waiting") this.stream.reconnect(); // it need not wait any longer
      this._after(news);
      // A connection can be dead without a word, after a sleep for one: REST knows more than the stream brings.
      if (seq > this.stream.since && Date.now() - this._movedAt > STUCK_MS) this.stream.reconnect();
    } catch (error) {
      this.deaf = !(error instanceof Problem);
      if (error instanceof Problem && error.status === 503) this.agent = { ...this.agent, state: "starting", outage: { what: "daemon", reason: error.message } };
    }
    this._lookedAt = null;
    this._tell([]);
  }

  async _heard(asking) {
    const answer = await asking;
    this.seenAt = Date.now();
    this.deaf = false;
    return answer;
  }

  _standing(state, why) {
    this.state = state;
    this.why = why ?? null;
    this._movedAt = Date.now();
    if (state === "open") {
      this.connections += 1;
      this.seenAt = Date.now();
      this._look();
      for (const name of this._kept.keys()) this._refresh(name);
    }
    this._tell([]);
  }

  _take(event) {
    this._queue.push(event);
    this._movedAt = this.seenAt = Date.now();
    this.deaf = false;
    if (this._flushing) return;
    this._flushing = true;
    const flush = () => {
      if (!this._flushing) return;
      this._flushing = false;
      this._flush();
    };
    if (!document.hidden) requestAnimationFrame(flush);
    setTimeout(flush, 250); // who looks elsewhere meanwhile gets no frame
  }

  _flush() {
    const events = this._queue;
    this._queue = [];
    if (!events.length) return;
    this.seq = events.at(-1).seq;
    const kinds = new Set(events.map((event) => event.event));
    let look = false;
    for (const event of events) {
      if (event.event === "snapshot") this.agent = { ...this.agent, equity: event.equity, phase: event.phase };
      else if (event.event === "status_change") {
        this.agent = { ...this.agent, status: event.to, phase: event.to === "LIVE" ? "live" : "paper" };
        look = true;
      } else if (event.event === "demotion") this.lock = event;
      else if (event.event === "journal_entry" && event.type === "CONFIG_CHANGE") kinds.add("config");
      else if (event.event === "journal_entry" && OF_LIVE.has(event.type)) {
        kinds.add("candle");
        look = true;
      }
    }
    this._after([...kinds]);
    if (look) this._look();
    this._tell(events);
  }

  _after(kinds) {
    for (const [name, it] of this._kept) if (kinds.some((kind) => KEPT[name].after.includes(kind))) this._stale(name, it);
  }

  _stale(name, it) {
    it.stale = true;
    if (it.timer || Date.now() - it.wanted > 5000) return; // nobody looks at it
    it.timer = setTimeout(() => this._refresh(name), Math.max(0, it.readAt + REFRESH_MS - Date.now()));
  }

  async _refresh(name) {
    const it = this._kept.get(name);
    clearTimeout(it.timer);
    it.timer = null;
    it.stale = false;
    const turn = (it.readAt = Date.now());
    try {
      const { body } = await this._heard(this.client.get(KEPT[name].path));
      if (turn < it.shown) return; // a later question was answered first
      Object.assign(it, { value: body, shown: turn });
    } catch {
      it.stale = true; // whoever looks at it next has it read again, and the header says if there is no connection
      return;
    }
    this._tell([]);
  }

  _tell(events) {
    for (const told of [...this._watchers]) told(events);
  }
}
