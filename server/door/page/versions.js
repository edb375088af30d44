// Each version of the config with its own record, side by side.

import { card, h, redrawn, table } from "./dom.js";
import * as f from "./format.js";

const RECORD = [
  ["Return", (it) => f.signed(it.return, f.percent)], ["Closed trades", (it) => f.count(it.trades)], ["Win rate", (it) => f.percent(it.win_rate, 1)],
  ["Average win", (it) => f.usdt(it.average_win)], ["Average loss", (it) => f.usdt(it.average_loss)], ["Expectancy", (it) => f.usdt(it.expectancy)],
  ["Fees", (it) => f.usdt(it.fees)], ["Slippage", (it) => f.usdt(it.slippage)], ["Exposure", (it) => f.percent(it.exposure, 0)],
];

export function mount(main, { live }) {
  const body = h("div", h("p.none", "Reading…")), records = h("div"), changes = h("div");
  const draw = redrawn(records, sideBySide), tellChanges = redrawn(changes, whatChanged);
  const tell = () => {
    const found = live.kept("versions");
    if (!found) return;
    draw([...found].reverse());
    tellChanges(found.map(({ record, ...it }) => it).reverse());
    if (!records.isConnected) body.replaceChildren(records, changes);
  };
  main.append(body);
  const unwatch = live.watch(tell);
  tell();
  return unwatch;
}

function sideBySide(newest) {
  const rows = [
    ["Strategy", ...newest.map((it) => it.config.strategy.spec.name)],
    ["From", ...newest.map((it) => f.time(it.ts))],
    ...RECORD.map(([label, show]) => [label, ...newest.map((it) => (it.record ? show(it.record) : "–"))]),
  ];
  const columns = ["Paper record of", ...newest.map((it, at) => `Version ${it.version}${at ? "" : ", in force"}`)]
    .map((title, at) => [title, (row) => row[at], at ? "num" : ""]);
  return card("Records side by side", h("div.snug", table("Records of the config's versions", columns, rows)));
}

function whatChanged(newest) {
  return card("What was changed", newest.map((it, at) => [it, newest[at + 1]]).map(([it, before]) => h("details.version", { open: newest.length < 3 && !before },
    h("summary", h("b", `Version ${it.version}`), ` · ${f.time(it.ts)} · `, before ? summary(before.config, it.config) : "the first one"),
    before ? changed(before.config, it.config) : null,
    h("details", h("summary", "The whole config"), h("pre", { tabindex: 0 }, JSON.stringify(it.config, null, 2))))));
}

/** Values by their path. */
function flat(value, path = "") {
  if (value === null || typeof value !== "object" || Array.isArray(value)) return { [path]: JSON.stringify(value) };
  return Object.assign({}, ...Object.entries(value).map(([key, inner]) => flat(inner, path ? `${path}.${key}` : key)));
}

function differences(before, after) {
  const [old, now] = [flat(before), flat(after)];
  return [...new Set([...Object.keys(old), ...Object.keys(now)])].filter((key) => old[key] !== now[key]).map((key) => ({ key, old: old[key] ?? "–", now: now[key] ?? "–" }));
}

function summary(before, after) {
  const found = differences(before, after);
  return found.length === 1 ? found[0].key : `${found.length} values`;
}

function changed(before, after) {
  return table("Changes", [["Key", (it) => h("code", it.key)], ["Before", (it) => h("code", it.old)], ["Now", (it) => h("code", it.now)]], differences(before, after));
}
