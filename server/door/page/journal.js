// The journal: every yes and every no, newest first, as it grows.

import { h, trouble } from "./dom.js";
import * as f from "./format.js";
import { EndlessList } from "./list.js";

const PAGE = 100, SLOW_MS = 120_000; // what looks through a long log may take
const TYPES = [
  "EXECUTED", "SKIPPED", "RISK_VETO", "TWAK_BLOCK", "RISK_BREACH", "STATUS_CHANGE", "PROMOTION", "DEMOTION", "KILL",
  "RESTORE", "CONFIG_CHANGE", "SUBMITTED", "CONFIRMED", "FAILED", "STARTED", "STOPPED", "ACTOR_RESTARTED",
];
const DECISIONS = new Set(["EXECUTED", "SKIPPED", "RISK_VETO"]);
const TONES = {
  EXECUTED: "good", CONFIRMED: "good", PROMOTION: "good", RISK_VETO: "warn", TWAK_BLOCK: "warn", RISK_BREACH: "bad",
  DEMOTION: "bad", KILL: "bad", FAILED: "bad", ACTOR_RESTARTED: "warn",
};

export function mount(main, { client, live, query, go }) {
  const wanted = Object.fromEntries(["type", "tag", "q", "pair", "from", "to", "id", "at"].map((key) => [key, query.get(key) ?? ""]));
  const list = new EndlessList(client, { row: (entry) => entryRow(entry, client), label: "Journal entries, newest first", empty: "No entry fits." });
  let unfollow = () => {};
  const single = h("div");

  function start() {
    unfollow();
    const query = asQuery(wanted);
    unfollow = live.follow(
      () => client.get("/journal", { ...query, limit: PAGE }),
      (page, error) => (error ? list.fail(error) : list.begin(page, start)),
      (events) => list.add(events.filter((event) => fits(event, wanted))),
    );
  }

  function filter(name, value) {
    wanted[name] = value;
    go("journal", wanted, { quietly: true });
    start();
  }

  main.append(filters(wanted, live, filter), single, list.element);
  const forget = wanted.id ? showOne(single, { client, live }, wanted, () => go("journal")) : () => {};
  start();
  return () => {
    forget();
    unfollow();
    list.close();
  };
}

function asQuery({ type, tag, q, pair, from, to }) {
  return { type, tag, q, pair, from: instant(from), to: instant(to) };
}

/** An instant of the address, where somebody may have written what is none. */
function instant(words) {
  const at = new Date(words);
  return words && !Number.isNaN(at.getTime()) ? at.toISOString() : "";
}

/** What is typed, which is of the reader's clock, as an instant, and back. */
const typed = (local) => instant(local && f.inUtc() ? `${local}Z` : local);
const shown = (words) => (instant(words) ? new Date(Date.parse(words) + 1000 * f.offset(words)).toISOString().slice(0, 16) : "");

function fits(event, { type, tag, q, pair, from, to }) {
  return event.event === "journal_entry" && (!type || event.type === type) && (!tag || event.tags.includes(tag))
    && (!pair || event.tags.includes(pair)) && (!q || event.text.toLowerCase().includes(q.toLowerCase()))
    && (!from || event.ts >= instant(from)) && (!to || event.ts < instant(to));
}

function filters(wanted, live, filter) {
  let timer;
  const later = (name) => ({ target }) => {
    clearTimeout(timer);
    timer = setTimeout(() => filter(name, target.value.trim()), 250);
  };
  const now = (name) => ({ target }) => filter(name, target.value);
  const at = (name, label) => h("label", label, h("input", { type: "datetime-local", value: shown(wanted[name]), onchange: ({ target }) => filter(name, typed(target.value)) }));
  const choice = (name, label, values) => h("label", label,
    h("select", { onchange: now(name) }, h("option", { value: "" }, "all"),
      values.map((value) => h("option", { value, selected: wanted[name] === value }, value))));
  return h("form.filters", { role: "search", onsubmit: (event) => event.preventDefault() },
    h("label.wide", "Search", h("input", { type: "search", value: wanted.q, oninput: later("q"), placeholder: "words of the text" })),
    choice("type", "Type", TYPES),
    choice("pair", "Pair", live.agent.market.pairs),
    h("label", "Tag", h("input", { value: wanted.tag, oninput: later("tag"), placeholder: "such as quote" })),
    at("from", "From"), at("to", "To"));
}

function showOne(root, { client, live }, { id, at }, away) {
  const slow = () => ({ signal: AbortSignal.timeout(SLOW_MS) });
  return live.follow(() => client.get(`/journal/${encodeURIComponent(id)}`, { from: at }, slow()), (page, error) => { // found sooner by its time
    if (error) return root.replaceChildren(trouble(error));
    root.replaceChildren(h("section.card.one", { "aria-label": "One entry" }, h("div", { role: "list" }, entryRow(page.body, client, { open: true })),
      h("button.quiet", { type: "button", onclick: away }, "All entries")));
  });
}

/** An entry as a row; what it holds besides its text unfolds. */
export function entryRow(entry, client, { open = false } = {}) {
  const detail = h("div.detail");
  const row = h("details.entry", { "data-seq": entry.seq, "data-id": entry.id, open },
    h("summary",
      h("time", { datetime: entry.ts }, f.time(entry.ts)),
      h("span.type", { "data-tone": TONES[entry.type] }, entry.type),
      h("span.words", f.localised(entry.text))),
    detail);
  row.addEventListener("toggle", () => {
    if (row.open && !detail.childElementCount) detail.append(...details(entry, client));
  });
  return h("div", { role: "listitem" }, row);
}

function details(entry, client) {
  const { data } = entry;
  const links = h("p.links");
  if (entry.type === "EXECUTED") links.append(h("a", { href: `#/trades?ref=${entry.id}` }, "Its trade"));
  if (data.pair) links.append(h("a", { href: `#/journal?pair=${encodeURIComponent(data.pair)}` }, `All of ${data.pair}`));
  links.append(h("a", { href: `#/journal?type=${entry.type}` }, `All of ${entry.type}`));
  const found = [
    h("p.meta", h("code", entry.id), ` · event ${entry.seq} · `, entry.tags.map((tag) => [h("a.tag", { href: `#/journal?tag=${encodeURIComponent(tag)}` }, tag), " "])),
    facts(data),
    links,
  ];
  if (entry.tags.includes("repeats") && data.count) found.splice(1, 0, folded(entry, client));
  if (data.pair && DECISIONS.has(entry.type)) found.splice(1, 0, why(entry, client));
  return found;
}

/** The round of a decision, gate by gate: what the strategy saw, what each gate said, what came of it. */
function why({ data, ts }, client) {
  const root = h("div.folded");
  const button = h("button.quiet", { type: "button" }, "Why? Gate by gate");
  button.addEventListener("click", async () => {
    button.disabled = true;
    try {
      const { body } = await client.get("/why", { pair: data.pair, at: data.last ?? ts }, { signal: AbortSignal.timeout(SLOW_MS) });
      root.replaceChildren(h("pre.why", { tabindex: 0 }, body.text));
    } catch (error) {
      button.disabled = false;
      root.replaceChildren(button, trouble(error));
    }
  });
  root.append(button);
  return root;
}

/** A document's values, nested ones below their name. */
export function facts(data) {
  return h("dl.facts", Object.entries(data).map(([name, value]) => [
    h("dt", f.words(name)),
    h("dd", value !== null && typeof value === "object" && !Array.isArray(value) ? facts(value) : plain(value)),
  ]));
}

function plain(value) {
  if (value === null) return "–";
  if (Array.isArray(value)) return value.map((it) => (typeof it === "object" ? JSON.stringify(it) : it)).join(", ") || "–";
  return typeof value === "string" && /^\d{4}-\d\d-\d\dT/.test(value) ? f.time(value) : String(value);
}

/** The repeats that this entry counts, one by one. */
function folded(entry, client) {
  const root = h("div.folded");
  const button = h("button.quiet", { type: "button" }, `Unfold the ${entry.data.count === 1 ? "repeat" : `${f.count(entry.data.count)} repeats`}`);
  button.addEventListener("click", async () => {
    button.disabled = true;
    try {
      const { body } = await client.get(`/journal/${entry.id}/repeats`, { from: entry.ts });
      root.replaceChildren(
        h("ol.repeats", body.map((it) => h("li", h("time", { datetime: it.ts }, f.time(it.ts)), ` ${it.pair} ${it.side}: ${it.code}`))),
        ...(body.length < entry.data.count ? [h("p.note", `These are the first ${f.count(body.length)} of ${f.count(entry.data.count)}.`)] : []));
    } catch (error) {
      root.replaceChildren(trouble(error));
    }
  });
  root.append(button);
  return root;
}
