// The frame around the screens: which one is shown, how old it is, who may look.

import { h, text, redrawn } from "./dom.js";
import { Forestay, Problem } from "./forestay.js";
import * as f from "./format.js";
import { Live } from "./live.js";

const SCREENS = {
  overview: ["Overview", () => import("./overview.js")],
  journal: ["Journal", () => import("./journal.js")],
  risk: ["Risk desk", () => import("./risk.js")],
  trades: ["Trades", () => import("./trades.js")],
  strategy: ["Strategy", () => import("./strategy.js")],
  versions: ["Versions", () => import("./versions.js")],
  health: ["Health", () => import("./health.js")],
  settings: ["Settings", () => import("./settings.js")],
};
const BADGES = {
  PAPER: "Forward testing",
  ELIGIBLE: "Ready for live — your call",
  LIVE: "Live on BSC",
};
const STATES = { running: "live", degraded: "degraded", starting: "starting", stopping: "stopping" };
const TOKEN = "forestay.token", THEME = "forestay.theme";

const $ = (id) => document.getElementById(id);
const client = new Forestay(location.origin, { token: () => sessionStorage.getItem(TOKEN) });
let live, leave = () => {}, shown = null;

// --- who may look

function begin() {
  live = new Live(client);
  live.watch(() => frame());
  live.run({ onproblem: problem, onlog: begin });
  if (shown) route();
}

function problem(error) {
  if (error.status === 401) return askToken();
  banner({ kind: "lost", words: `The daemon refuses this page: ${error.message}` });
}

function askToken() {
  const field = h("input", { type: "password", id: "token", autocomplete: "off", required: true, "aria-describedby": "token-why" });
  const wrong = sessionStorage.getItem(TOKEN) !== null;
  const dialog = h("dialog", { "aria-labelledby": "token-title" },
    h("form", { onsubmit: (event) => {
      event.preventDefault();
      sessionStorage.setItem(TOKEN, field.value.trim());
      dialog.close();
    } },
    h("h2", { id: "token-title" }, "This daemon wants its token"),
    h("p", { id: "token-why" }, wrong ? "That was not it. " : "", "It is the one in [server] token. It is kept until this tab is closed, and nowhere else."),
    h("label", { for: "token" }, "Token"), field, h("button", { type: "submit" }, "Show the agent")));
  dialog.addEventListener("close", () => {
    dialog.remove();
    live.stop();
    begin();
  });
  document.body.append(dialog);
  dialog.showModal();
}

// --- which screen

function place() {
  const [name, query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  return { name: name in SCREENS ? name : "overview", query: new URLSearchParams(query) };
}

async function route() {
  const { name, query } = place();
  const visit = {};
  shown = visit;
  leave();
  leave = () => {};
  for (const link of $("places").children) {
    if (link.dataset.name === name) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  const [title, load] = SCREENS[name];
  document.title = `${title} · Forestay`;
  const main = $("main");
  const [{ mount }] = await Promise.all([load(), live.known]);
  if (shown !== visit) return;
  main.dataset.screen = name;
  main.replaceChildren();
  const heading = h("h1", { class: name === "overview" ? "unseen" : null }, title);
  main.append(heading);
  leave = mount(main, { client, live, query, go }) ?? (() => {});
}

/** Go to another place; `quietly` leaves the screen as it is and only keeps the address. */
export function go(name, query = {}, { quietly = false } = {}) {
  const words = new URLSearchParams(Object.entries(query).filter(([, value]) => value));
  const address = `#/${name}${words.size ? `?${words}` : ""}`;
  if (quietly) history.replaceState(null, "", address);
  else location.hash = address;
}

// --- the frame

const banner = redrawn($("banner"), (it) => it && it.words);

function frame() {
  const { agent } = live;
  const lost = live.state !== "open";
  const state = lost ? "lost" : STATES[agent?.state] ?? "starting";
  $("age").dataset.state = state;
  const since = live.seenAt === null ? null : (Date.now() - live.seenAt) / 1000;
  const old = since === null ? "" : since < 2 ? "now" : `${f.span(since)} ago`;
  const word = { lost: live.state === "connecting" && live.seq === null ? "connecting" : "disconnected" }[state] ?? state;
  text($("age-words"), old ? `${word} · ${old}` : word);
  const trouble = lost && live.seq !== null && live.state === "waiting"
    ? { kind: "lost", words: `No connection to the daemon. What you see is as it was at ${f.seconds(live.seenAt)}; it goes on by itself.` }
    : !lost && agent?.outage
      ? { kind: "degraded", words: `Degraded: ${agent.outage.what} does not work (${agent.outage.reason}). The agent waits and goes on by itself.` }
      : !lost && agent && state !== "live" ? { kind: "degraded", words: `The daemon is ${state}.` } : null;
  $("banner").hidden = !trouble;
  $("banner").dataset.kind = trouble?.kind ?? "";
  banner(trouble);
  if (!agent) return;
  $("badge").dataset.status = agent.status;
  const rule = live.lock?.rule ?? "a limit";
  text($("badge"), BADGES[agent.status] ?? `Paper-trading — live paused, ${rule} breached`);
  text($("left"), agent.status === "DEMOTED" ? timeLeft(live.lock, agent) : "");
  const { market } = agent;
  text($("foot"), `${agent.name} · ${market.kind} market · ${market.pairs.join(", ")} · market time ${market.time ? f.time(market.time) : "none yet"} (${f.zone()}) · event ${f.count(Math.max(live.seq ?? 0, 0))}`);
}

/** A lock is over at a market time, so it is counted from that. */
function timeLeft(lock, agent) {
  if (!lock) return "";
  if (!lock.locked_until) return "until you re-approve it";
  const left = (new Date(lock.locked_until) - new Date(agent.market.time)) / 1000;
  return left > 0 ? `${f.span(left)} left` : "the lock is running out";
}

// --- theme and clock

function theme(name) {
  if (name) document.documentElement.dataset.theme = name;
  else delete document.documentElement.dataset.theme;
  const dark = name ? name === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  text($("theme"), dark ? "Dark" : "Light");
  $("theme").setAttribute("aria-label", `Theme: ${dark ? "dark" : "light"}. Use the ${dark ? "light" : "dark"} one`);
  $("theme").dataset.next = dark ? "light" : "dark";
  window.dispatchEvent(new Event("themed"));
}

function clock() {
  text($("clock"), f.inUtc() ? "UTC" : "Local");
  $("clock").setAttribute("aria-label", f.inUtc() ? "Times: UTC. Show local ones" : "Times: local. Show UTC");
}

function stored(key) {
  try {
    return localStorage.getItem(key);
  } catch {
    return null;
  }
}

$("theme").addEventListener("click", () => {
  f.remember(THEME, $("theme").dataset.next);
  theme($("theme").dataset.next);
});
$("clock").addEventListener("click", () => {
  f.setUtc(!f.inUtc());
  clock();
  frame();
  route();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => theme(stored(THEME)));
$("places").append(...Object.entries(SCREENS).map(([name, [title]]) => h("a", { href: `#/${name}`, "data-name": name }, title)));
window.addEventListener("hashchange", () => route().then(() => $("main").focus({ preventScroll: false })));
window.addEventListener("online", () => live.stream?.reconnect());
document.addEventListener("visibilitychange", () => document.hidden || live._look());
setInterval(frame, 1000);
theme(stored(THEME));
clock();
begin();
route().catch((error) => banner({ words: `This page is broken: ${error instanceof Problem ? error.message : error}` }));
