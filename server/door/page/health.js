// The machine: floors, mailboxes, restarts, the log.

import { card, h, redrawn, table, text } from "./dom.js";
import * as f from "./format.js";

export function mount(main, { live }) {
  const waiting = h("p.none", "Looking…");
  const [floors, ...others] = [actors, log, outside, clients].map((build) => {
    const place = h("div.part");
    return { place, draw: redrawn(place, build) };
  });
  main.append(waiting, h("div.grid", floors.place, others.map(({ place }) => place)));
  const tell = () => {
    const found = live.kept("health");
    if (!found) return;
    waiting.remove();
    // How long a floor was silent is another number each time: only that is written anew.
    floors.draw({ actors: found.actors.map(({ silence_s, ...it }) => it) });
    for (const { name, silence_s } of found.actors) text(floors.place.querySelector(`[data-silence="${name}"]`), `${f.number(silence_s, 1)} s`);
    const parts = [{ log: found.log }, { state: found.state, outages: found.outages }, { clients: found.clients }];
    others.forEach(({ draw }, at) => draw(parts[at]));
  };
  const unwatch = live.watch(tell);
  tell();
  return unwatch;
}

function actors({ actors }) {
  const element = card("Floors, oldest first", h("p.note", "A floor that falls takes the younger ones with it, and all stand up again from the log."), table("Floors", [
    ["Actor", (it) => it.name],
    ["Mailbox", (it) => `${f.count(it.mailbox)} of ${f.count(it.capacity)}`, "num"],
    ["Restarts", (it) => f.count(it.restarts), "num"],
    ["Silent for", (it) => h("span", { "data-silence": it.name }), "num"],
    ["Last error", (it) => (it.last_error ? [h("code", it.last_error.error), ` at ${it.last_error.place}, `, h("a", { href: `#/journal?id=${it.last_error.journal_ref}&at=${it.last_error.ts}` }, f.time(it.last_error.ts))] : "none")],
  ], actors, { stacked: true }));
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
    outages.length ? h("ul", outages.map((it) => h("li", h("b", it.what), `: ${it.reason}`))) : h("p.none", "Nothing outside of it fails."));
}

function clients({ clients }) {
  return card("Clients of the stream", table("Clients", [
    ["Client", (it) => `#${it.number}`], ["Last event", (it) => f.count(it.seq), "num"], ["Behind", (it) => f.count(it.behind), "num"],
  ], clients.map((it, at) => ({ ...it, number: at + 1 })), { none: "Nobody follows it." }));
}
