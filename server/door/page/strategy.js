// The strategy's document: checked as it is typed, tried on the past, adopted as a new version.

import { bar, card, coded, h, table, text, trouble } from "./dom.js";
import { passes } from "./forestay.js";
import * as f from "./format.js";
import { saveAs } from "./trades.js";

const CHECK_MS = 300, LOOK_MS = 400;
const left = { document: null, ticket: null }; // what was typed and tried, for when a person comes back to this screen

export function mount(main, { client, live }) {
  const area = h("textarea.code", { id: "spec", rows: 26, spellcheck: "false", "aria-describedby": "verdict", oninput: changed });
  const verdict = h("div", { id: "verdict", role: "status" });
  const ready = h("select", { onchange: take }, h("option", { value: "" }, "the agent's own"));
  const adopt = h("button", { type: "button", disabled: true, onclick: sure }, "Adopt as a new version…");
  const adopted = h("div", { role: "status" });
  let spec = null, own = "", timer, closed = false, turn = 0;

  const editor = card("Document", h("div.filters", h("label", "Begin with", ready)), h("label.unseen", { for: "spec" }, "The strategy as YAML"), area, verdict, h("div.actions", adopt), adopted);
  const runs = backtests(client, live, () => spec);
  main.append(h("div.grid", editor, runs.element), runs.result);
  const unfollow = live.follow(async () => {
    const [config, strategies] = await Promise.all([client.get("/config"), client.read("/strategies")]);
    return { seq: config.seq, bodies: [config.body, strategies.body] };
  }, begin);

  function begin(found, error) {
    if (error) return verdict.replaceChildren(trouble(error));
    const [config, strategies] = found.bodies;
    own = yaml(config.strategy.spec);
    ready.append(...strategies.map(({ name, text }) => {
      const option = h("option", { value: name }, name);
      option.document = text;
      return option;
    }));
    area.value = left.document ?? own;
    check();
  }

  function take() {
    area.value = ready.selectedOptions[0].document ?? own;
    changed();
  }

  /** What was checked before is no longer what stands there. */
  function changed() {
    left.document = area.value;
    turn += 1;
    clearTimeout(timer);
    adopt.disabled = true;
    runs.may(false);
    timer = setTimeout(check, CHECK_MS);
  }

  async function check() {
    const mine = ++turn;
    try {
      const found = await client.ask("POST", "/strategies/check", { text: area.value });
      if (mine !== turn || closed) return;
      spec = found.spec;
      verdict.replaceChildren(found.valid
        ? h("p.good-news", `A strategy: ${spec.name}.`)
        : h("div.trouble", h("p", found.errors.length === 1 ? "One mistake:" : `${found.errors.length} mistakes:`), h("ul", found.errors.map((line) => h("li", line)))));
      area.setAttribute("aria-invalid", String(!found.valid));
      adopt.disabled = !found.valid;
      runs.may(found.valid);
    } catch (error) {
      if (mine !== turn || closed) return;
      verdict.replaceChildren(trouble(error));
      if (passes(error)) timer = setTimeout(check, 10 * CHECK_MS);
    }
  }

  /** Adopting begins a fresh evaluation, so it is asked once more. */
  function sure() {
    const chosen = spec;
    const said = h("div", { role: "alert" });
    const dialog = h("dialog", { "aria-labelledby": "adopt-title" },
      h("form", { onsubmit: async (event) => {
        event.preventDefault();
        try {
          const { body: config } = await client.get("/config");
          await client.send("PATCH", "/config", { strategy: { spec: turning(config.strategy.spec, chosen) } }, { signal: AbortSignal.timeout(60_000) });
          own = area.value;
          left.document = null;
          adopted.replaceChildren(h("p.good-news", "It is in force; a fresh evaluation has begun."));
          dialog.close();
        } catch (error) {
          said.replaceChildren(trouble(error));
        }
      } },
      h("h2", { id: "adopt-title" }, `Adopt ${chosen.name}?`),
      h("p", `It decides from the next candle on, as version ${(live.agent?.config_version ?? 0) + 1} of the config, and its record begins at nothing: the evaluation starts afresh. Open positions are kept, and sold when its exit says so.`),
      said,
      h("div.actions", h("button.quiet", { type: "button", onclick: () => dialog.close() }, "Leave it"), h("button", { type: "submit" }, "Adopt it"))));
    dialog.addEventListener("close", () => dialog.remove());
    document.body.append(dialog);
    dialog.showModal();
  }

  return () => {
    closed = true;
    clearTimeout(timer);
    unfollow();
    runs.close();
  };
}

/** The merge patch that makes `after` of `before`: what `after` lacks is taken out, not left behind. */
export function turning(before, after) {
  if (![before, after].every((it) => it !== null && typeof it === "object" && !Array.isArray(it))) return after;
  const gone = Object.keys(before).filter((key) => !(key in after)).map((key) => [key, null]);
  return Object.fromEntries([...gone, ...Object.entries(after).map(([key, value]) => [key, turning(before[key], value)])]);
}

/** A spec as YAML: tables and lists of tables, as deep as it is. */
export function yaml(value, indent = "") {
  return Object.entries(value).filter(([, it]) => !empty(it)).map(([key, it]) => {
    if (Array.isArray(it)) return `${indent}${key}:\n${it.map((one) => `${indent}  - {${Object.entries(one).filter(([, inner]) => inner !== null).map(([name, inner]) => `${name}: ${scalar(inner)}`).join(", ")}}\n`).join("")}`;
    if (it !== null && typeof it === "object") return `${indent}${key}:\n${yaml(it, `${indent}  `)}`;
    return `${indent}${key}: ${scalar(it)}\n`;
  }).join("");
}

const empty = (it) => it === null || (typeof it === "object" && Object.values(it).every(empty));
/** YAML takes some plain words for something else, and a number with an exponent for a text unless it has a point. */
function scalar(it) {
  if (typeof it === "number") return String(it).replace(/^(-?\d+)e/, "$1.0e");
  return /^[A-Za-z][\w-]*$/.test(it) && !/^(true|false|yes|no|on|off|null|y|n)$/i.test(it) ? it : JSON.stringify(it);
}

// --- backtests

const FIGURES = [
  ["begins", "Begins", f.time], ["ends", "Ends", f.time], ["days", "Days", (it) => f.number(it, 1)], ["initial", "Initial equity", f.usdt], ["final", "Final equity", f.usdt],
  ["return", "Return", f.percent], ["cagr", "CAGR", f.percent], ["max_drawdown", "Max drawdown", f.percent], ["daily_drawdown", "Worst drawdown of a day", f.percent],
  ["sharpe", "Sharpe ratio", f.number], ["sortino", "Sortino ratio", f.number], ["calmar", "Calmar ratio", f.number], ["trades", "Closed trades", f.count],
  ["win_rate", "Win rate", f.percent], ["average_win", "Average win", f.usdt], ["average_loss", "Average loss", f.usdt], ["expectancy", "Expectancy", f.usdt],
  ["profit_factor", "Profit factor", f.number], ["exposure", "Exposure", f.percent], ["turnover", "Turnover", f.number], ["executions", "Executions", f.count],
  ["fees", "Fees", f.usdt], ["slippage", "Slippage, impact included", f.usdt], ["candles", "Candles decided", f.count],
];

function backtests(client, live, spec) {
  const from = h("input", { type: "date" }), to = h("input", { type: "date" });
  const held = h("input", { type: "number", min: 0, max: 90, step: 5, value: 30 });
  const run = h("button", { type: "submit", disabled: true }, "Run it");
  const cancel = h("button.quiet", { type: "button", hidden: true }, "Cancel");
  const state = h("div", { role: "status" }), progress = h("div");
  const result = h("div");
  const chain = () => live.agent?.market.kind === "chain";
  let closed = false, timer;

  const element = card("Backtest", h("p.note", "The daemon's own decisions, over its market's past, in a process of its own. The agent notices nothing."),
    h("form.filters", { onsubmit: submit }, h("label", "From", from), h("label", "To", to), h("label", "Out of sample, %", held), run, cancel), state, progress);

  async function submit(event) {
    event.preventDefault();
    run.disabled = true;
    result.replaceChildren();
    try {
      const share = Number(held.value) / 100;
      const document = { spec: spec(), from: from.value ? `${from.value}T00:00:00Z` : undefined, to: to.value ? `${to.value}T00:00:00Z` : undefined, out_of_sample: share || undefined };
      const ticket = await client.ask("POST", "/backtests", document);
      left.ticket = ticket.id;
      look(ticket.id);
    } catch (error) {
      state.replaceChildren(trouble(error));
      may();
    }
  }

  async function look(id) {
    cancel.hidden = false;
    cancel.onclick = () => client.ask("DELETE", `/backtests/${id}`).catch((error) => state.replaceChildren(trouble(error)));
    try {
      const { body: ticket } = await client.read(`/backtests/${id}`);
      if (closed) return;
      const words = { queued: "It waits for its turn.", running: "It runs.", done: "Done.", cancelled: "Cancelled." }[ticket.state];
      progress.replaceChildren(bar("Backtest", ticket.progress, f.percent(ticket.progress, 0), { note: ticket.reached ? `decided until ${f.time(ticket.reached)}${ticket.seconds_left ? `, ${f.span(ticket.seconds_left)} left` : ""}` : "" }));
      if (ticket.state === "failed") state.replaceChildren(trouble(new Error(ticket.error)));
      else if (text(state, words) && ticket.state === "done") result.replaceChildren(report(client, ticket));
      if (["queued", "running"].includes(ticket.state)) return void (timer = setTimeout(look, LOOK_MS, id));
    } catch (error) {
      if (closed) return;
      if (passes(error)) return void (timer = setTimeout(look, 5 * LOOK_MS, id));
      if (error.code !== "BACKTEST_NOT_FOUND") state.replaceChildren(trouble(error)); // of another log, or forgotten
      left.ticket = null;
    }
    cancel.hidden = true;
    may();
  }

  let valid = false;
  function may(found = valid) {
    valid = found;
    run.disabled = !valid || chain() || !cancel.hidden;
  }
  if (chain()) state.replaceChildren(h("p.note", coded("This market is a chain: it has no past to try a strategy on. `forestay backtest` tries it on files.")));
  if (left.ticket) look(left.ticket);

  return {
    element, result, may,
    close() {
      closed = true;
      clearTimeout(timer);
    },
  };
}

function report(client, { id, name, result }) {
  const parts = [["Whole", result], ["In sample", result.in_sample], ["Out of sample", result.out_of_sample]].filter(([, it]) => it);
  const failed = h("div");
  const save = async () => {
    try {
      saveAs(await client.file(`/backtests/${id}/report`), `${id}.html`);
    } catch (error) {
      failed.replaceChildren(trouble(error));
    }
  };
  const columns = (first) => [[first, (row) => row[0]], ...parts.map(([title], at) => [title, (row) => row[at + 1], "num"])];
  const passed = result.gate.passed_gate;
  return card(`Result of ${name}`,
    h(passed ? "p.good-news" : "p.trouble", passed ? "This record would pass the gate to live trading." : "This record would not pass the gate to live trading."),
    h("div.grid",
      h("div", h("h3", "Figures"), table("Figures", columns("Figure"), FIGURES.map(([key, label, show]) => [label, ...parts.map(([, part]) => (part.metrics[key] == null ? "–" : show(part.metrics[key])))]))),
      h("div", h("h3", "The gate"), table("The gate", columns("Criterion"), result.gate.criteria.map((one, at) => [f.words(one.rule), ...parts.map(([, part]) => met(part.gate.criteria[at]))])),
        h("h3", "By pair"), table("By pair", [["Pair", (it) => it[0]], ["Trades", (it) => f.count(it[1].trades), "num"], ["PnL, USDT", (it) => f.number(it[1].pnl), "num"], ["Win rate", (it) => f.percent(it[1].win_rate, 0), "num"]], Object.entries(result.metrics.per_pair)))),
    h("div.actions", h("button.quiet", { type: "button", onclick: save }, "Save the whole report (HTML, with charts)")), failed);
}

const met = (it) => h("span", f.number(it.current, Number.isInteger(it.current) ? 0 : 4), " ", h("span.chip", { "data-tone": it.met ? "good" : "bad" }, it.met ? "met" : "not met"));
