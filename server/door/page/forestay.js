// A client of Forestay's API, without dependencies, for browsers and Node.
//
//   import { Forestay } from "/page/forestay.js";
//   const forestay = new Forestay();                       // in Node: new Forestay("http://127.0.0.1:8000")
//   console.log((await forestay.get("")).body.status);
//   for await (const { event, raw } of forestay.stream({ since: 0 })) console.log(event.seq, event.event);
//
// The stream comes back by itself and goes on where it was: no event is missing, none comes twice. Events and fields
// that it does not know pass through as they are; `raw` is the frame as it was sent.

const RETRY_MS = 250, RETRY_MOST_MS = 5000;
const ANSWER_MS = 10000; // to open the stream, then it tries again
const BAD_REQUEST = 4400, NO_TOKEN = 4401, NO_AGENT = 4404;

/** What the daemon refused: `status`, a stable `code`, `message` in plain words, `body` whole. Where no daemon speaks at
 *  all, the code is NOT_FORESTAY. `passes` says whether asking again can help: 429 and 5xx, which may be a proxy's. */
export class Problem extends Error {
  constructor(status, body = {}) {
    super(body.detail ?? `HTTP ${status}`);
    this.name = "Problem";
    this.status = status;
    this.code = body.code ?? "UNKNOWN";
    this.body = body;
  }

  get passes() {
    return this.status >= 500 || this.status === 429;
  }
}

/** Can asking again help? It can wherever nobody has answered. */
export const passes = (error) => !(error instanceof Problem) || error.passes;

function alien(base, why, status = 0) {
  return new Problem(status, { code: "NOT_FORESTAY", detail: `${base}: what answers there is no Forestay daemon: ${why}` });
}

export class Forestay {
  /** `fetch` and `WebSocket` are the platform's unless given (Node before 22 has no WebSocket). `token` is text, or a
   *  function that gives it; `patience` is how long an answer may take, in ms. */
  constructor(base = globalThis.location?.origin, { token = null, agent = "current", patience = null, fetch, WebSocket } = {}) {
    this.base = base;
    this.agent = agent;
    this.patience = patience;
    this.token = typeof token === "function" ? token : () => token;
    this._fetch = fetch ?? ((...args) => globalThis.fetch(...args));
    this._WebSocket = WebSocket ?? globalThis.WebSocket;
  }

  /** Read a path of the agent ("/trades"; "" is the agent itself). `next` reads the next page, or is null. */
  async get(path, query = {}, { signal } = {}) {
    return this.read(this.address(path, query), { signal });
  }

  /** The address of a path of the agent; what is empty in `query` is left out. */
  address(path, query = {}) {
    const words = new URLSearchParams(Object.entries(query).filter(([, value]) => value != null && value !== ""));
    return `/agents/${this.agent}${path}${words.size ? `?${words}` : ""}`;
  }

  /** Any address as a file: the answer's bytes as a Blob. */
  async file(address) {
    return (await this._request("GET", address)).blob();
  }

  /** Read any address of the daemon's; not for longer than `patience`, where that is given. */
  async read(address, { signal = this.patience && AbortSignal.timeout(this.patience) } = {}) {
    const response = await this._request("GET", address, undefined, signal);
    const link = /<([^>]+)>;\s*rel="?next"?/.exec(response.headers.get("link") ?? "")?.[1] ?? null;
    return {
      body: await this._plain(response),
      seq: Number(response.headers.get("x-last-seq")),
      logId: response.headers.get("x-log-id"),
      address,
      link,
      next: link && ((options) => this.read(link, options)),
    };
  }

  /** Every item of a list, over all its pages: one consistent list, however much is added meanwhile. */
  async *list(path, query = {}, options = {}) {
    for (let page = await this.get(path, query, options); page; page = page.next && (await page.next(options))) yield* page.body;
  }

  /** POST, PATCH, PUT or DELETE a path of the agent; the answer's body. */
  async send(method, path, body = {}, { signal } = {}) {
    return this.ask(method, `/agents/${this.agent}${path}`, body, { signal });
  }

  /** The same for any address. */
  async ask(method, address, body = {}, { signal = this.patience && AbortSignal.timeout(this.patience) } = {}) {
    return this._plain(await this._request(method, address, JSON.stringify(body), signal));
  }

  async _plain(response) {
    try {
      return await response.json();
    } catch (error) {
      throw error instanceof SyntaxError ? alien(this.base, "it answers no JSON", response.status) : error;
    }
  }

  async _request(method, address, body, signal) {
    const headers = body === undefined ? {} : { "Content-Type": "application/json" };
    const token = this.token();
    if (token) headers.Authorization = `Bearer ${token}`;
    let response;
    try {
      response = await this._fetch(this.base + address, { method, headers, body, signal, cache: "no-store" });
    } catch (error) {
      const { code, message } = error.cause ?? {}; // Node's; a browser keeps to itself why
      throw /CERT|SIGNATURE|SSL|HPE_INVALID_CONSTANT/.test(code) ? alien(this.base, message) : error;
    }
    if (response.ok) return response;
    throw new Problem(response.status, await response.json().catch(() => ({})));
  }

  /** An endless async iterable of `{event, raw}`; see Stream. */
  stream(options = {}) {
    return new Stream(this, options);
  }
}

/** Throws what cannot be cured by coming back. */
function refused({ code, reason }) {
  if (code === BAD_REQUEST) throw new Problem(400, { code: "BAD_SINCE", detail: reason });
  if (code === NO_TOKEN) throw new Problem(401, { code: "TOKEN_REQUIRED", detail: reason });
  if (code === NO_AGENT) throw new Problem(404, { code: "AGENT_NOT_FOUND", detail: reason });
}

/** Follows the stream from after `since` (absent: from now on) until `close()`.
 *
 *  `onstate(state, why)` is told "connecting", "open" or "waiting". `onlog(id)` is told when the daemon has another log
 *  than before: the stream then begins again at that log's first event. Iterating throws a Problem where coming back
 *  cannot help: a wrong token, no such agent, a foreign origin, a `since` that the log has not reached, what is no daemon
 *  and, as far as the platform tells, a certificate that is not trusted. */
export class Stream {
  constructor(client, { since = null, logId = null, onstate = () => {}, onlog = () => {} } = {}) {
    this.since = since;
    this.logId = logId;
    this._client = client;
    this._onstate = onstate;
    this._onlog = onlog;
    this._frames = [];
    this._taken = 0;
    this._socket = null;
    this._closed = false;
    this._wake = () => {};
  }

  /** End it; an iteration that waits ends, too. */
  close() {
    this._closed = true;
    this.reconnect();
  }

  /** Connect anew at once, as after a sleep that the connection may not have survived. */
  reconnect() {
    this._socket?.close();
    this._lost?.();
    this._wake();
  }

  async *[Symbol.asyncIterator]() {
    let wait = RETRY_MS;
    while (!this._closed) {
      let why = null;
      try {
        this._onstate("connecting");
        if (this.logId === null) await this._look();
        const connection = this._connect();
        const opened = await soon(connection.opened);
        if (await this._look()) {
          this._onlog(this.logId); // what this connection may have brought is of either log
        } else {
          if (opened) {
            wait = RETRY_MS;
            this._onstate("open");
            for await (const raw of connection.frames()) {
              const event = this._read(raw);
              if (event === null) continue;
              this.since = event.seq;
              yield { event, raw };
            }
          }
          refused(connection);
        }
        why = connection.reason;
      } catch (error) {
        if (!passes(error)) throw error;
        why = error.message;
      } finally {
        this._socket?.close();
      }
      if (this._closed) return;
      this._onstate("waiting", why);
      await this._pause(wait * (0.5 + Math.random() / 2));
      wait = Math.min(wait * 2, RETRY_MOST_MS);
    }
  }

  /** Which log is it? A browser cannot read a handshake's headers, so REST says it, before a frame is believed. True
   *  where it is another one than before: then all begins anew. */
  async _look() {
    const { body, seq } = await soon(this._client.get(""));
    if (!body?.log_id) throw alien(this._client.base, "it names no log");
    const other = this.logId !== null && this.logId !== body.log_id;
    this.logId = body.log_id;
    if (other) this.since = 0;
    this.since ??= seq;
    return other;
  }

  /** A frame as its event; null where it came before. */
  _read(raw) {
    let event;
    try {
      event = JSON.parse(raw);
    } catch {
      throw alien(this._client.base, "a frame is no JSON");
    }
    if (event?.seq <= this.since) return null;
    if (event?.seq !== this.since + 1) throw alien(this._client.base, `the stream went from seq ${this.since} to ${event?.seq}`);
    return event;
  }

  _connect() {
    const { base, agent, token, _WebSocket } = this._client;
    const given = token();
    const address = `${base.replace(/^http/, "ws")}/ws/agents/${agent}?since=${this.since}`;
    const socket = new _WebSocket(address, given ? ["forestay.v1", `token.${given}`] : ["forestay.v1"]);
    this._socket = socket;
    const connection = { over: false, code: null, reason: null };
    let frames = [], news = () => {}, opened;
    connection.opened = new Promise((settle) => (opened = settle));
    const lost = (code, reason) => {
      if (connection.over) return;
      Object.assign(connection, { over: true, code, reason: reason || `the connection ended (${code})` });
      opened(false);
      news();
    };
    this._lost = () => lost(1006, "");
    socket.onopen = () => opened(true);
    socket.onmessage = ({ data }) => {
      frames.push(data);
      news();
    };
    socket.onerror = ({ message }) => lost(1006, message); // Node 20 tells a connection that failed by this alone
    socket.onclose = ({ code, reason }) => lost(code, reason);
    connection.frames = async function* () {
      while (frames.length || !connection.over) {
        if (!frames.length) await new Promise((settle) => (news = settle));
        const taken = frames;
        frames = [];
        yield* taken;
      }
    };
    return connection;
  }

  _pause(ms) {
    return new Promise((settle) => {
      const timer = setTimeout(settle, ms);
      this._wake = () => (clearTimeout(timer), settle());
    });
  }
}

/** No longer than that: a connection may be dead without a word. */
async function soon(promised) {
  let timer;
  const late = new Promise((_, refuse) => (timer = setTimeout(refuse, ANSWER_MS, new Error("no answer"))));
  try {
    return await Promise.race([promised, late]);
  } finally {
    clearTimeout(timer);
  }
}
