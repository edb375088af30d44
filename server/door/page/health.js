// The machine: floors, mailboxes, restarts, the log.

import { card, h, redrawn, table } from "./dom.js";
import * as f from "./format.js";

export function mount(main, { live }) {
  const body = h("div.grid", h("p.none", "Looking…"));
  const draw = redrawn(body, (found) => [actors(found), log(found), outside(found), clients(found)]);
  main.append(body);
  const tell = () => live.kept("health") && draw(live.kept("health"));
  const unwatch = live.watch(tell);
  tell();
  return unwatch;
}

function actors({ actors }) {
  const element = card("Floors, oldest first", h("p.note", "A floor that falls takes the younger ones with it, and all stand up again from the log."), table("Floors", [
    ["Actor", (it) => it.name],
    ["Mailbox", (it) => `${f.count(it.mailbox)} of ${f.count(it.capacity)}`, "num"],
    ["Restarts", (it) => f.count(it.restarts), "num"],
    ["Silent for", (it) => `${f.number(it.silence_s, 1)} s`, "num"],
    ["Last error", (it) => (it.last_error ? [h("code", it.last_error.error), ` at ${it.last_error.place}, `, h("a", { href: `#/journal?id=${it.last_error.journal_ref}&at=${it.last_error.ts}` }, f.time(it.last_error.ts))] : "none")],
  ], actors));
  element.classList.add("wide");
  return element;
}

function log({ log }) {
  return card("The log", h("dl.facts",
    h("dt", "Size"), h("dd", f.bytes(log.bytes)),
    h("dt", "Rows"), h("dd", f.count(log.row)),
    h("dt", "Events"), h("dd", f.count(log.seq)),
    h("dt", "Lag"), h("dd", log.behind ? `${f.count(log.behind)} rows are not shown yet` : "none: all is shown")));
}

function outside({ state, outages }) {
  return card("Outside", h("p", "The daemon is ", h("span.chip", { "data-tone": state === "running" ? "good" : "warn" }, state), "."),
    outages.length ? h("ul", outages.map((it) => h("li", h("b", it.what), `: ${it.reason}`))) : h("p.none", "Disk, market, chain and guard do what they should."));
}

function clients({ clients }) {
  return card("Clients of the stream", table("Clients", [
    ["Client", (it) => `#${it.number}`], ["Last event", (it) => f.count(it.seq), "num"], ["Behind", (it) => f.count(it.behind), "num"],
  ], clients.map((it, at) => ({ ...it, number: at + 1 })), { none: "Nobody follows it." }));
}
