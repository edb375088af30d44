// The frame around the screens: which one is shown, how old it is, who may look.

import { h, redrawn, text, trouble } from "./dom.js";
import { Forestay } from "./forestay.js";
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
const client = new Forestay(location.origin, { token: () => f.stored(TOKEN, "session") ?? token, patience: 15_000 });
let live, leave = () => {}, shown = null, missing = null, token = null;

// --- who may look

function begin() {
  live = new Live(client);
  live.watch(() => frame());
  live.run({ onproblem: (error) => error.status === 401 && askToken(), onlog: begin });
  if (shown) route();
}

function askToken() {
  const field = h("input", { type: "password", id: "token", autocomplete: "off", required: true, pattern: "\\s*[A-Za-z0-9_\\-]+\\s*", title: "letters, digits, - and _", "aria-describedby": "token-why" });
  const wrong = client.token() !== null;
  const dialog = h("dialog.token", { "aria-labelledby": "token-title" },
    h("form", { onsubmit: (event) => {
      event.preventDefault();
      token = field.value.trim();
      f.remember(TOKEN, token, "session");
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
  return { name: Object.hasOwn(SCREENS, name) ? name : "overview", query: new URLSearchParams(query) };
}

async function route() {
  const { name, query } = place();
  const visit = {};
  shown = visit;
  leave();
  leave = () => {};
  for (const link of $("places").children) {
    if (link.dataset.name === name) {
      link.setAttribute("aria-current", "page");
      link.scrollIntoView({ inline: "center", block: "nearest" });
    } else link.removeAttribute("aria-current");
  }
  const [title, load] = SCREENS[name];
  document.title = `${title} · Forestay`;
  const main = $("main");
  let module;
  try {
    [module] = await Promise.all([load(), live.known]);
  } catch (error) {
    if (shown !== visit) return;
    missing = live.connections; // some browsers never ask for a module again: the page does, once there is a daemon
    return main.replaceChildren(h("h1", title), trouble(error));
  }
  if (shown !== visit) return;
  missing = null;
  main.dataset.screen = name;
  main.replaceChildren(h("h1", { class: name === "overview" ? "unseen" : null }, title));
  leave = module.mount(main, { client, live, query, go }) ?? (() => {});
}

/** To where the address leads now; who works by keyboard is there, too. */
async function arrive() {
  document.querySelectorAll("dialog:not(.token)").forEach((dialog) => dialog.close());
  await route();
  if (!$("main").contains(document.activeElement)) $("main").focus();
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
  const lost = live.state !== "open" || live.deaf;
  if (missing !== null && !lost && live.connections > missing) location.reload();
  const state = lost ? "lost" : STATES[agent?.state] ?? "starting";
  $("age").dataset.state = state;
  const since = live.seenAt === null ? null : (Date.now() - live.seenAt) / 1000;
  const old = since === null ? "" : since < 2 ? "now" : `${f.span(since)} ago`;
  const word = { lost: live.state === "connecting" && live.seq === null ? "connecting" : "disconnected" }[state] ?? state;
  text($("age-words"), old ? `${word} · ${old}` : word);
  const told = troubled(lost, state);
  $("banner").hidden = !told;
  $("banner").dataset.kind = told?.kind ?? "";
  banner(told);
  if (!agent) return;
  $("badge").dataset.status = agent.status;
  const rule = live.lock?.rule ?? "a limit";
  text($("badge"), BADGES[agent.status] ?? `Paper-trading — live paused, ${rule} breached`);
  text($("left"), agent.status === "DEMOTED" ? timeLeft(live.lock, agent) : "");
  const { market } = agent;
  text($("foot"), `${agent.name} · ${market.kind} market · ${market.pairs.join(", ")} · market time ${market.time ? f.time(market.time) : "none yet"} (${f.zone()}) · event ${f.count(Math.max(live.seq ?? 0, 0))}`);
}

/** What a person must know before believing the page. */
function troubled(lost, state) {
  const { agent, problem, why, seenAt } = live;
  if (problem?.status === 401) return null; // the token is asked for
  if (problem) return { kind: "lost", words: `This page shows nothing new, and it cannot help itself: ${problem.message}. Mend that and load it again.` };
  if (lost && live.seq === null) return live.state === "waiting" ? { kind: "lost", words: `Not there yet: ${why}. The page asks again by itself.` } : null;
  if (lost && (live.connections || live.state === "waiting")) return { kind: "lost", words: `No connection to the daemon. What you see is as it was at ${f.seconds(seenAt)}; it goes on by itself.` };
  if (lost || !agent) return null;
  const stopped = whyStopped(agent.live, live.kept("health")?.guard);
  if (agent.outage) return { kind: "degraded", words: `Degraded: ${agent.outage.what} does not work (${agent.outage.reason}). The agent waits and goes on by itself.` };
  if (state !== "live") return { kind: "degraded", words: `The daemon is ${state}.` };
  return stopped && { kind: "lost", words: stopped };
}

/** Why nothing live is begun, or all of it is sold. */
function whyStopped({ frozen, flattening }, guard) {
  if (guard?.killed) return `The guard was killed at ${f.time(guard.killed_at)}: it signs nothing until a person restores it (forestay guard restore).${flattening ? " What the live book holds is sold after that." : ""}`;
  if (frozen) return `Live trading is frozen: ${f.localised(frozen)}. Nothing is begun until a person promotes or demotes the agent.`;
  return flattening ? `What the live book holds is being sold: ${f.localised(flattening)}.` : null;
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
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => theme(f.stored(THEME)));
$("places").append(...Object.entries(SCREENS).map(([name, [title]]) => h("a", { href: `#/${name}`, "data-name": name }, title)));
window.addEventListener("hashchange", arrive);
document.querySelector("a.skip").addEventListener("click", (event) => {
  event.preventDefault(); // its address names no screen
  $("main").focus();
});
document.querySelector("a.stop").addEventListener("click", ({ target }) => location.hash === target.hash && arrive());
window.addEventListener("online", () => live.stream?.reconnect());
document.addEventListener("visibilitychange", () => document.hidden || live._look());
setInterval(frame, 1000);
theme(f.stored(THEME));
clock();
begin();
// The other screens are read beforehand, so that they are there where the daemon is not.
route().then(() => setTimeout(() => Object.values(SCREENS).forEach(([, load]) => load().catch(() => {})), 1000));
