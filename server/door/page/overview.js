// One glance: is it healthy, what is it doing, why did it not trade, how far is each limit, may it go live.

import { bar, card, h, redrawn, table, text, trouble } from "./dom.js";
import { EquityChart, RANGES, readRange } from "./chart.js";
import * as f from "./format.js";
import { entryRow } from "./journal.js";

const LAST_ENTRIES = 6;
let chosen = "1M"; // the chart's range, kept while a person looks elsewhere

export function mount(main, context) {
  const { live } = context;
  const parts = [figures(live), chart(context), evaluation(live), limits(live), positions(live), latest(context)];
  main.append(h("div.overview",
    h("div.wide", parts[0].element),
    h("div.left", parts[1].element, parts[5].element),
    h("div.right", parts[2].element, parts[3].element, parts[4].element)));
  const tell = (events) => parts.forEach((part) => part.tell?.(events));
  const unwatch = live.watch(tell);
  tell([]);
  return () => {
    unwatch();
    parts.forEach((part) => part.close?.());
  };
}

// --- figures

const FIGURES = [
  ["Return", (p) => f.signed(p.return, f.percent), (p) => f.tone(p.return)],
  ["Win rate", (p) => f.percent(p.win_rate, 1)],
  ["Average win", (p) => f.signed(p.average_win, f.usdt)],
  ["Average loss", (p) => f.usdt(p.average_loss)],
  ["Expectancy", (p) => f.signed(p.expectancy, f.usdt), (p) => f.tone(p.expectancy)],
  ["Fees", (p) => f.usdt(p.fees)],
  ["Slippage", (p) => f.usdt(p.slippage)],
  ["Exposure", (p) => f.percent(p.exposure, 0), null, "Time held, all pairs added"],
];

function figures(live) {
  const equity = h("dd.big", "–"), phase = h("span.phase");
  const cells = FIGURES.map(([label, , , title]) => ({ label, title, value: h("dd", "–") }));
  const element = h("dl.figures",
    h("div.equity", h("dt", "Equity ", phase), equity),
    cells.map(({ label, title, value }) => h("div", { title }, h("dt", label), value)));
  return {
    element,
    tell() {
      const { agent } = live;
      const found = live.kept("performance");
      if (agent) { // with its figures, once they are there: both are of one moment then
        text(equity, f.usdt(found?.phase === agent.phase ? found.final : agent.equity));
        text(phase, agent.phase);
        phase.dataset.phase = agent.phase;
      }
      if (!found) return;
      FIGURES.forEach(([, show, tone], at) => {
        text(cells[at].value, show(found));
        cells[at].value.className = tone?.(found) ?? "";
      });
    },
  };
}

// --- the chart

function chart({ client, live }) {
  const drawn = new EquityChart();
  const error = h("div");
  let unfollow = () => {};
  const buttons = Object.keys(RANGES).map((name) => h("button", { type: "button", "aria-pressed": String(name === chosen), onclick: () => choose(name) }, name));
  const head = h("div.head", h("h2", { id: "h-equity" }, "Equity and drawdown"), h("div.choice", { role: "group", "aria-label": "Range" }, buttons));
  const element = h("section.card.wide", { "aria-labelledby": "h-equity" }, head, drawn.element, error);

  function choose(name) {
    chosen = name;
    buttons.forEach((button) => button.setAttribute("aria-pressed", String(button.textContent === name)));
    unfollow();
    unfollow = live.follow(() => drawn.open().then(() => readRange(client, live.agent, name)), (found, problem) => {
      error.replaceChildren(...(problem ? [trouble(problem)] : []));
      if (found) drawn.show(found);
    }, (events) => {
      drawn.add(events);
      if (drawn.outgrown) choose(name);
    });
  }

  drawn.open().catch(() => {}); // it is asked for again with the first range
  let begun = false;
  return {
    element,
    tell() {
      if (begun || !live.agent) return;
      begun = true;
      choose(chosen);
    },
    close() {
      unfollow();
      drawn.close();
    },
  };
}

// --- how far is it

const CRITERIA = {
  expectancy: ["Expectancy after fees", (it) => f.signed(it.current, f.usdt), (it) => (it.met ? 1 : 0), () => "must be above 0"],
  trade_floor: ["Closed trades", (it) => `${f.count(it.current)} of ${f.count(it.limit)}`, (it) => it.current / it.limit],
  max_drawdown: ["Max drawdown of the run", (it) => `${f.percent(it.current)} of ${f.limit(it.limit)}`, (it) => it.current / it.limit, headroom],
};
const STANDINGS = {
  EVALUATING: "Its record is being made.",
  WINDOW_EXTENDED: "The window is over, but not all criteria hold: it goes on until they do.",
  ELIGIBLE: "All criteria hold: it may go live, if you say so.",
  FAILED: "The run reached its max drawdown. A fresh one begins at the next UTC midnight.",
};

function headroom(it) {
  if (it.headroom_pct === null) return "";
  return it.headroom_pct < 0 ? `${f.number(-it.headroom_pct, 0)} % over` : `${f.number(it.headroom_pct, 0)} % headroom`;
}

/** In words, with what its status adds: a record that holds is no leave to go live while a lock is on. */
function standing(found, agent) {
  const { status, frozen, killed } = agent;
  if (status === "LIVE") return frozen ? "It is live, and frozen: nothing is begun. Its paper record goes on beside it." : "It is live. Its paper record goes on beside it.";
  if (found.eligible && killed) return "All criteria hold, but the guard is killed: it signs nothing until a person restores it.";
  if (found.eligible && agent.market.kind !== "chain") return "All criteria hold. It could go live on a chain market with signing set up, if you say so.";
  if (status === "PAPER" && found.eligible) return "All criteria hold, and count from the next candle on.";
  if (status === "DEMOTED" && found.eligible) return "All criteria hold, but promotion is locked for now.";
  return STANDINGS[found.state] ?? found.state;
}

function evaluation(live) {
  const body = h("div.bars");
  const draw = redrawn(body, ({ found, agent }) => {
    const days = found.window_days_elapsed / found.eval_window_days;
    return [
      h("p.note", standing(found, agent)),
      bar("Evaluation window", days, days < 1 ? `${f.number(found.window_days_elapsed, 1)} of ${found.eval_window_days} days` : `${f.number(found.window_days_elapsed, 1)} days, at least ${found.eval_window_days}`, { state: days >= 1 ? "met" : "" }),
      found.objectives.map((it) => {
        const [label, words, part, note] = CRITERIA[it.rule] ?? [f.words(it.rule), () => `${it.current} of ${it.limit}`, () => it.current / it.limit];
        return bar(label, part(it), words(it), { state: it.rule === "max_drawdown" ? use(it) : it.met ? "met" : "", note: [it.met ? "met" : "not met", note?.(it)].filter(Boolean).join(" · ") });
      }),
    ];
  });
  return { element: card("May it go live?", body), tell: () => live.kept("evaluation") && live.agent && draw({ found: live.kept("evaluation"), agent: { status: live.agent.status, market: { kind: live.agent.market.kind }, frozen: Boolean(live.agent.live.frozen), killed: Boolean(live.kept("health")?.guard?.killed) } }) };
}

/** Rules that measure a share of equity; the others count, or measure something of their own. */
export const SHARES = new Set(["daily_drawdown", "max_drawdown", "per_pair_exposure"]);

function use(it) {
  const part = it.limit ? it.current / it.limit : 0;
  return !it.met ? "bad" : part >= 0.75 ? "warn" : "";
}

/** Each limit of the policy as a bar; the risk desk has them, too. */
export function limitBars({ found, phase }) {
  return found.map((it) => {
    const counted = !SHARES.has(it.rule);
    const words = counted ? `${f.count(it.current)} of ${f.count(it.limit)}` : `${f.percent(it.current)} of ${f.limit(it.limit)}`;
    const full = it.rule === "max_concurrent" || it.rule === "per_pair_exposure"; // what may be used up
    return bar(f.words(it.rule), it.limit ? it.current / it.limit : 0, words, { state: full && it.met ? "" : use(it), note: [it.met ? "" : it.until ? `reached, no entries until ${f.time(it.until)}` : "reached", headroom(it), it.rule === "max_drawdown" ? (phase === "live" ? "of the live book" : "of this evaluation run") : ""].filter(Boolean).join(" · ") });
  });
}

/** What `limitBars` shows; null until it is known. */
export function limitsNow(live) {
  const found = live.kept("objectives");
  return found && live.agent && { found: found.map(({ seq, ...it }) => it), phase: live.agent.phase };
}

function limits(live) {
  const body = h("div.bars");
  const draw = redrawn(body, limitBars);
  return { element: card("Limits", body), tell: () => limitsNow(live) && draw(limitsNow(live)) };
}

/** Live orders that are on their way. */
export function ordersTable(orders, options) {
  return table("Orders on their way", [["On its way", (it) => it.pair], ["Side", (it) => it.side], ["State", (it) => it.state]], orders, options);
}

function positions(live) {
  const body = h("div");
  const draw = redrawn(body, ({ found, orders }) => [orders.length ? ordersTable(orders) : null, table("Open positions", [
    ["Pair", (it) => it.pair], ["Value", (it) => f.number(it.value), "num"],
    ["Gain", (it) => h("span", { class: f.tone(it.unrealized_pnl) }, f.signed(it.unrealized_pnl, f.number)), "num"],
    ["Since", (it) => f.time(it.opened_at)], ["Book", (it) => it.phase],
  ], found, { none: orders.length ? "None yet." : "None: everything is in USDT.", stacked: true })]);
  return { element: card("Open positions", body), tell: () => live.kept("positions") && live.agent && draw({ found: live.kept("positions").map(({ seq, ...it }) => it), orders: live.agent.live.orders }) };
}

// --- what it is doing

/** Does somebody look at it just now? */
const isRead = (row) => row.querySelector("details[open]") !== null || row.contains(document.activeElement);

function latest({ client, live }) {
  const rows = h("div.rows", { role: "list", "aria-label": "Last journal entries" });
  const put = (entries) => {
    rows.prepend(...entries.slice(-LAST_ENTRIES).reverse().map((entry) => entryRow(entry, client)));
    for (const row of [...rows.children].slice(LAST_ENTRIES)) if (!isRead(row)) row.remove();
  };
  const unfollow = live.follow(
    () => client.get("/journal", { limit: LAST_ENTRIES }),
    (page, problem) => {
      rows.replaceChildren(...(problem ? [trouble(problem)] : []));
      if (page) put([...page.body].reverse());
    },
    (events) => put(events.filter((event) => event.event === "journal_entry")),
  );
  return { element: card("What it does, and why not", rows, h("p.links", h("a", { href: "#/journal" }, "The whole journal"), h("a", { href: "#/risk" }, "What was blocked"))), close: unfollow };
}
