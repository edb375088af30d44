// Policy and physics side by side: what each limit has left, what was blocked, and whether an order would pass.

import { bar, card, h, redrawn, table, tableAround, tableRow, text, trouble } from "./dom.js";
import * as f from "./format.js";
import { SHARES, limitBars, limitsNow, ordersTable } from "./overview.js";

const BLOCKS = 50;

export function mount(main, context) {
  const { live } = context;
  const parts = [policy(live), physics(live), wouldPass(context), funnel(context), blocks(context)];
  main.append(h("div.grid", parts.map((part) => part.element)));
  const tell = () => parts.forEach((part) => part.tell?.());
  const unwatch = live.watch(tell);
  tell();
  return () => {
    unwatch();
    parts.forEach((part) => part.close?.());
  };
}

function policy(live) {
  const body = h("div.bars");
  const draw = redrawn(body, limitBars);
  return {
    element: card("Policy: the daemon's own rules", h("p.note", "The risk engine asks these before an order is made. Exits always pass."), body),
    tell: () => limitsNow(live) && draw(limitsNow(live)),
  };
}

function physics(live) {
  const body = h("div.bars");
  const draw = redrawn(body, ({ guard, live: side }) => [
    guard ? [state(guard), spend(guard), h("p.note", `An entry may be ${f.usdt(guard.per_trade_cap)} at most (per trade cap).`)]
      : h("p.none", "Signing is not set up: no guard, so nothing can be signed and nothing can go live."),
    side?.frozen && h("p.trouble", `Frozen: ${f.localised(side.frozen)}. It lasts until a person promotes or demotes the agent.`),
    side?.flattening && h("p.trouble", `Everything is being sold: ${f.localised(side.flattening)}`),
    ordersTable(side?.orders ?? [], { none: "No live order is on its way." }),
  ]);
  return {
    element: card("Physics: the signing guard", h("p.note", "A process of its own holds the key and decides for itself what it signs."), body),
    tell: () => live.kept("health") && draw({ guard: live.kept("health").guard, live: live.agent?.live }),
  };
}

function state(guard) {
  if (guard.killed) return h("p.trouble", h("b", "Killed"), ` since ${f.time(guard.killed_at)}: ${guard.killed_reason ?? "no reason was given"}. It signs nothing until a person restores it.`);
  if (!guard.reachable) return h("p.trouble", "The guard does not answer. Nothing is signed meanwhile.");
  return h("p", h("span.chip", { "data-tone": "good" }, "armed"), ` It signs, in the way "${guard.way}"; ${guard.killed_at ? `a person restored it after the kill of ${f.time(guard.killed_at)}` : "the kill switch has not been used"}.`);
}

function spend(guard) {
  if (guard.daily_cap == null) return null;
  const part = guard.daily_cap ? guard.spent_today / guard.daily_cap : 1;
  return bar("daily cap", part, `${f.number(guard.spent_today)} of ${f.usdt(guard.daily_cap)}`, { state: part >= 1 ? "bad" : part >= 0.75 ? "warn" : "", note: `${f.number(100 - 100 * part, 0)} % headroom today (UTC)` });
}

// --- would this pass?

function wouldPass({ client, live }) {
  const pair = h("select", { required: true }), side = h("select", h("option", "buy"), h("option", "sell"));
  const size = h("input", { type: "number", min: "0.01", step: "any", value: "100", required: true });
  const answer = h("div", { role: "status" });
  const form = h("form.filters", { onsubmit: ask }, h("label", "Pair", pair), h("label", "Side", side), h("label", "Size, USDT", size), h("button", { type: "submit" }, "Would it pass?"));

  async function ask(event) {
    event.preventDefault();
    answer.replaceChildren(h("p.note", "Asking…"));
    try {
      const found = await client.send("POST", "/risk/check", { pair: pair.value, side: side.value, size: Number(size.value) });
      answer.replaceChildren(
        h(found.passes ? "p.good-news" : "p.trouble", found.passes ? `It would pass, as of ${f.time(found.at)}.` : [h("code", found.rule), ` ${found.reason}.`]),
        table("What each rule says", [
          ["Rule", (it) => f.words(it.rule)], ["", (it) => h("span.chip", { "data-tone": it.passes ? "good" : "bad" }, it.passes ? "passes" : "objects")],
          ["Measured", (it) => amount(it.rule, it.measured), "num"], ["Limit", (it) => amount(it.rule, it.limit), "num"],
          ["Until", (it) => (it.until ? f.time(it.until) : "")],
        ], found.checks, { none: "No rule is asked about an exit.", stacked: true }));
    } catch (error) {
      answer.replaceChildren(trouble(error));
    }
  }
  return {
    element: card("Would this pass?", h("p.note", "Every rule is asked about such an order of the book that is shown, as if it came now. Nothing is done."), form, answer),
    tell: () => live.agent && !pair.childElementCount && pair.append(...live.agent.market.pairs.map((name) => h("option", name))),
  };
}

function amount(rule, value) {
  if (value == null) return "–";
  if (SHARES.has(rule)) return f.percent(value);
  return Number.isInteger(value) ? f.count(value) : f.number(value);
}

// --- where signals end

const STEPS = [
  ["signals", "Signals"], ["after_regime", "After the regime filter"], ["after_fees", "After the fee filter"],
  ["quotes_accepted", "Quote accepted"], ["risk_passed", "Risk rules passed"], ["filled", "Filled"],
];

function funnel({ client, live }) {
  const body = h("div.bars", h("p.none", "Counting…"));
  let unfollow = () => {};
  const count = () => {
    unfollow();
    unfollow = live.follow(() => client.get("/funnel"), (page, error) => {
      if (error) return body.replaceChildren(trouble(error));
      const found = page.body;
      body.replaceChildren(
        ...STEPS.map(([key, label]) => bar(label, found.signals ? found[key] / found.signals : 0, f.count(found[key]), { note: found.signals ? f.percent(found[key] / found.signals, 0) : "" })),
        table("By reason", [["Why not", (it) => h("code", it[0])], ["Entries", (it) => f.count(it[1]), "num"]], Object.entries(found.by_code).sort((a, b) => b[1] - a[1]), { none: "Nothing was refused." }));
    });
  };
  count();
  const again = h("button.quiet", { type: "button", onclick: count }, "Count again");
  return { element: card("The funnel: signals that became trades", h("p.note", "Entry decisions of the whole log, and where they ended."), body, again), close: () => unfollow() };
}

// --- every block as it happens

const LAYERS = { risk_veto: "policy", twak_block: "physics" };
const COLUMNS = [
  ["Time", (it) => f.time(it.ts)], ["Layer", (it) => h("span.chip", { "data-tone": it.layer === "physics" ? "bad" : "warn" }, it.layer)],
  ["Rule", (it) => h("code", it.rule)], ["Reason", (it) => it.reason, "words"], ["Pair", (it) => it.pair], ["Side", (it) => it.side],
  ["Size, USDT", (it) => f.number(it.size), "num"],
];

function blocks({ client, live }) {
  const rows = h("tbody");
  const none = h("p.none", "Nothing was blocked yet.");
  const put = (found) => {
    rows.prepend(...found.slice(-BLOCKS).reverse().map((it) => tableRow(COLUMNS, it, { "data-seq": it.seq })));
    while (rows.childElementCount > BLOCKS) rows.lastElementChild.remove();
    text(none, "Nothing was blocked yet.").hidden = rows.childElementCount > 0;
  };
  const close = live.follow(
    () => newest(client),
    (page, error) => (error ? none.replaceChildren(trouble(error)) : put(page.body)),
    (events) => put(events.filter((it) => it.event in LAYERS).map((it) => ({ ...it, layer: LAYERS[it.event] }))),
  );
  const element = card("Blocks, newest first", tableAround("Blocks", COLUMNS, rows, { stacked: true }), none,
    h("p.links", h("a", { href: "#/journal?type=RISK_VETO" }, "All of the policy's"), h("a", { href: "#/journal?type=TWAK_BLOCK" }, "All of the guard's")));
  element.classList.add("wide");
  return { element, close };
}

/** The latest blocks, oldest first. */
async function newest(client) {
  const page = await client.get("/risk/blocks", { order: "desc", limit: BLOCKS });
  return { ...page, body: page.body.reverse() };
}
