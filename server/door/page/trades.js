// Every execution: sorted, filtered, as many as there are.

import { h, trouble } from "./dom.js";
import * as f from "./format.js";
import { EndlessList } from "./list.js";

const PAGE = 100;
const COLUMNS = [
  ["ts", "Time", (it) => h("time", { datetime: it.ts }, f.time(it.ts))],
  ["pair", "Pair", (it) => it.pair],
  ["side", "Side", (it) => h("span.chip", { "data-tone": it.side === "buy" ? null : it.pnl > 0 ? "good" : "bad" }, it.side)],
  ["size", "Size, USDT", (it) => f.number(it.size), "num"],
  ["price", "Price", (it) => f.price(it.price), "num"],
  ["pnl", "PnL, USDT", (it) => h("span", { class: f.tone(it.pnl) }, f.signed(it.pnl, f.number)), "num"],
  ["return", "Return", (it) => h("span", { class: f.tone(it.return) }, f.signed(it.return, f.percent)), "num"],
  ["fees", "Fees", (it) => f.number(it.fees), "num"],
  ["hold_s", "Held", (it) => (it.hold_s == null ? "–" : f.span(it.hold_s)), "num"],
  ["phase", "Book", (it) => h("span.phase", { "data-phase": it.phase }, it.phase)],
  [null, "Why", (it) => h("a", { href: `#/journal?id=${it.journal_ref}&at=${it.ts}`, "aria-label": `Why: the journal entry of this ${it.side} of ${it.pair}` }, "why")],
];

export function mount(main, { client, live, query, go }) {
  const wanted = Object.fromEntries(["phase", "pair", "side", "sort", "order", "ref"].map((key) => [key, query.get(key) ?? ""]));
  const asked = () => ({ phase: wanted.phase, pair: wanted.pair, side: wanted.side, journal_ref: wanted.ref, sort: wanted.sort || "ts", order: wanted.order || "desc" });
  const failed = h("div"), place = h("div");
  let list, unfollow = () => {};

  /** The list anew, as it is wanted now; the address says the same. */
  const change = (values) => {
    Object.assign(wanted, values);
    go("trades", wanted, { quietly: true });
    const sorted = place.contains(document.activeElement) && wanted.sort;
    build();
    if (sorted) place.querySelector(`[data-sort=${sorted}]`)?.focus();
  };
  const build = () => {
    list?.close();
    list = tradeList(client, wanted, change);
    place.replaceChildren(list.element);
    start();
  };
  const start = () => {
    unfollow();
    unfollow = live.follow(
      () => client.get("/trades", { ...asked(), limit: PAGE }),
      (page, error) => (error ? list.fail(error) : list.begin(page, start)),
      (events) => list.add(events.filter((it) => it.event === "trade" && fits(it, wanted))),
    );
  };
  main.append(filters(wanted, live, change, () => save(client, asked(), live.agent?.id, failed)), failed, place);
  build();
  return () => {
    unfollow();
    list.close();
  };
}

function tradeList(client, wanted, change) {
  const newestFirst = (wanted.sort || "ts") === "ts" && (wanted.order || "desc") === "desc";
  const list = new EndlessList(client, {
    label: "Trades", empty: "No trade fits.", newestFirst,
    table: h("div.row.heads", { role: "row" }, COLUMNS.map(([name, title, , kind]) => heading(name, title, kind, wanted, change))),
    row: (trade) => h("div.row", { role: "row", "data-seq": trade.seq, "data-ref": trade.journal_ref }, COLUMNS.map(([, title, cell, kind]) => h("div", { role: "cell", class: kind, "data-title": title }, cell(trade)))),
  });
  list.element.classList.add("trades");
  return list;
}

function fits(trade, { phase, pair, side, ref }) {
  return (!phase || phase === "all" || trade.phase === phase) && (!pair || trade.pair === pair) && (!side || trade.side === side) && (!ref || trade.journal_ref === ref);
}

function heading(name, title, kind, wanted, change) {
  if (!name) return h("div", { role: "columnheader", class: kind }, title);
  const sorted = (wanted.sort || "ts") === name, down = (wanted.order || "desc") === "desc";
  const order = sorted && down ? "asc" : "desc";
  return h("div", { role: "columnheader", class: kind, "aria-sort": sorted ? (down ? "descending" : "ascending") : "none" },
    h("button.sort", { type: "button", "data-sort": name, onclick: () => change({ sort: name, order }) }, title, sorted ? h("span", { "aria-hidden": "true" }, down ? " ↓" : " ↑") : null));
}

function filters(wanted, live, change, csv) {
  const choice = (name, label, values) => h("label", label,
    h("select", { onchange: ({ target }) => change({ [name]: target.value }) }, h("option", { value: "" }, "all"),
      values.map((value) => h("option", { value, selected: wanted[name] === value }, value))));
  // Where there is no room for the headings, which sort.
  const narrow = (name, label, options, now) => h("label.narrow", label,
    h("select", { name, onchange: ({ target }) => change({ [name]: target.value }) }, options.map(([value, title]) => h("option", { value, selected: value === now }, title))));
  return h("form.filters", { onsubmit: (event) => event.preventDefault(), "aria-label": "Filters" },
    choice("phase", "Book", ["paper", "live"]),
    choice("pair", "Pair", live.agent.market.pairs),
    choice("side", "Side", ["buy", "sell"]),
    narrow("sort", "Sorted by", COLUMNS.filter(([name]) => name), wanted.sort || "ts"),
    narrow("order", "Order", [["desc", "falling"], ["asc", "rising"]], wanted.order || "desc"),
    wanted.ref && h("button.quiet", { type: "button", onclick: ({ target }) => (target.remove(), change({ ref: "" })) }, "All trades"),
    h("button.quiet", { type: "button", onclick: csv }, "Save as CSV"));
}

/** All that fits, as a file; by this page, which has the token. */
async function save(client, asked, name, failed) {
  failed.replaceChildren();
  try {
    saveAs(await client.file(client.address("/trades", { ...asked, format: "csv" })), `${name ?? "agent"}-trades.csv`);
  } catch (error) {
    failed.append(trouble(error));
  }
}

export function saveAs(blob, name) {
  const href = URL.createObjectURL(blob);
  h("a", { href, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(href), 10_000);
}
