// Equity and drawdown. Paper and live are shaded apart; promotions and demotions are lines with a label; trades are marks.

import { h, text } from "./dom.js";
import * as f from "./format.js";

const MINUTE = 60, HOUR = 3600, DAY = 86400;
const INTERVALS = { "15m": 15 * MINUTE, "1h": HOUR, "4h": 4 * HOUR, "1d": DAY };
export const RANGES = { "1D": DAY, "1W": 7 * DAY, "1M": 30 * DAY, "3M": 91 * DAY, All: Infinity };
const MARKED_TRADES = 1000, POINTS = 1500;

/** The coarsest interval that keeps a range below so many points. */
export function intervalFor(seconds) {
  return Object.keys(INTERVALS).find((name) => seconds / INTERVALS[name] <= POINTS) ?? "1d";
}

/** What a range shows, read: `at` has the log position of each part, `seq` the earliest of them. */
export async function readRange(client, agent, name) {
  const end = agent.market.time ? new Date(agent.market.time) / 1000 : 0;
  let begin = end - RANGES[name];
  if (name === "All") {
    const [first] = (await client.get("/equity", { limit: 1 })).body;
    begin = first ? new Date(first.ts) / 1000 : end;
  }
  const interval = intervalFor(end - begin);
  const from = new Date(Math.max(0, begin) * 1000).toISOString();
  const [points, marks, trades] = await Promise.all([
    whole(client, "/equity", { from, interval, limit: 5000 }),
    transitions(client, from),
    client.get("/trades", { from, limit: MARKED_TRADES }),
  ]);
  const at = { points: points.seq, marks: marks.seq, trades: trades.seq };
  return { seq: Math.min(...Object.values(at)), at, interval, points: points.items, marks: marks.items, trades: trades.next ? null : trades.body };
}

async function whole(client, path, query) {
  let page = await client.get(path, query);
  const { seq } = page, items = page.body;
  while (page.next) {
    page = await page.next();
    items.push(...page.body);
  }
  return { seq, items };
}

async function transitions(client, from) {
  const asked = [{ type: "DEMOTION", limit: 500 }, { type: "STATUS_CHANGE", tag: "LIVE", limit: 500 }];
  const found = await Promise.all(asked.map((query) => whole(client, "/journal", { ...query, from })));
  const items = found.flatMap((page) => page.items.map(markOf)).filter(Boolean).sort((a, b) => a.seq - b.seq);
  return { items, seq: Math.min(...found.map(({ seq }) => seq)) };
}

const MOVES = { promoted: "Promoted", promoted_by_force: "Promoted by force", demoted: "Demoted by hand", killed: "Kill switch" };

/** What begins or ends live trading; null for any other entry. The rule of a breach is in the entry of the demotion. */
export function markOf({ type, data, ts, id, seq }) {
  const words = type === "DEMOTION" && data.breach ? `Demoted: ${f.words(data.rule)}` : type === "STATUS_CHANGE" && MOVES[data.trigger];
  return words ? { ts, up: data.to === "LIVE", words, id, seq } : null;
}

/** The beginning of a bucket, as the axis has it. The library puts its ticks where UTC has hours and days, so times are
 *  shifted to read there as the viewer's; the offset is that of the last point, since a scale has no hour twice. */
const clockOf = (ts, bucket, offset) => Math.floor(new Date(ts) / 1000 / bucket) * bucket + offset;

export class EquityChart {
  constructor() {
    this.tooltip = h("div.tip", { hidden: true });
    this.canvas = h("div.canvas", { "aria-hidden": "true" });
    this.words = h("figcaption.unseen");
    this.note = h("p.note");
    this.element = h("figure.chart", this.words, this.canvas, this.tooltip, this.note);
    this._themed = () => this._paint();
    window.addEventListener("themed", this._themed);
  }

  async open() {
    await import("/page/lightweight-charts.js");
    if (this._chart || this._closed) return;
    this._lib = globalThis.LightweightCharts;
    this._chart = this._lib.createChart(this.canvas, {
      autoSize: true,
      layout: { attributionLogo: false, fontFamily: getComputedStyle(document.body).fontFamily, fontSize: 12, panes: { separatorHoverColor: "transparent" } },
      rightPriceScale: { borderVisible: false },
      timeScale: { borderVisible: false, timeVisible: true, minBarSpacing: 0.05, tickMarkFormatter: tick, rightOffsetPixels: 24 },
      localization: { priceFormatter: (value) => f.number(value) },
      crosshair: { horzLine: { labelVisible: false }, vertLine: { labelVisible: false } }, // the tooltip says it to the minute
    });
    this._chart.subscribeCrosshairMove((move) => this._point(move));
  }

  close() {
    this._closed = true;
    window.removeEventListener("themed", this._themed);
    this._chart?.remove();
    this._chart = null;
  }

  /** Show a range, as `readRange` reads it. */
  show({ interval, points, marks, trades, at }) {
    this._at = at;
    for (const run of this._runs ?? []) if (run.series) this._chart.removeSeries(run.series);
    if (this._falls) this._chart.removeSeries(this._falls);
    this._bucket = INTERVALS[interval];
    this._offset = f.offset(points.at(-1)?.ts ?? Date.now());
    this._marks = marks;
    this._trades = trades;
    this._points = new Map();
    this._runs = [];
    for (const point of points) this._keep(point);
    const colours = this._colours();
    this._falls = this._chart.addSeries(this._lib.AreaSeries, { priceLineVisible: false, lastValueVisible: false, lineWidth: 1, invertFilledArea: true, autoscaleInfoProvider: fromZero, priceFormat: { type: "custom", minMove: 0.01, formatter: (value) => `${f.number(value, 1)} %` } }, 1);
    for (const run of this._runs) this._add(run);
    this._falls.setData([...this._points.values()].map(({ at, dd }) => ({ time: at, value: dd })));
    const [upper, lower] = this._chart.panes();
    upper.setStretchFactor(3);
    lower?.setStretchFactor(1);
    this._paint(colours);
    this._chart.timeScale().fitContent();
    this._begun = this._points.size;
    text(this.note, trades ? "" : `More than ${f.count(MARKED_TRADES)} trades lie in this range: choose a shorter one to see them marked.`);
    this._tell();
  }

  /** What came after that. */
  add(events) {
    const touched = new Set();
    let marked = false;
    for (const event of events) {
      const mark = event.event === "journal_entry" && event.seq > this._at.marks && markOf(event);
      if (event.event === "snapshot" && event.seq > this._at.points) touched.add(this._keep(event));
      else if (event.event === "trade" && event.seq > this._at.trades && this._trades) marked = Boolean(this._trades.push(event));
      else if (mark && !this._marks.some(({ id }) => id === mark.id)) marked = Boolean(this._marks.push(mark));
    }
    for (const point of touched) {
      if (this._points.get(point.at) !== point) continue;
      if (!point.run.series) {
        this._add(point.run);
        this._paint();
      } else point.run.series.update({ time: point.at, value: point.equity });
      this._falls.update({ time: point.at, value: point.dd });
    }
    if (marked) for (const run of this._runs) this._mark(run);
    if (touched.size || marked) this._tell();
  }

  /** Has so much come that it is no longer this range, or more trades than are marked? Then it is to be read anew. */
  get outgrown() {
    return this._points.size > this._begun + Math.max(100, this._begun / 4) || this._trades?.length > MARKED_TRADES;
  }

  /** A point of its bucket and of its run of one phase; the last one of a bucket counts. */
  _keep({ ts, equity, phase, dd_from_peak }) {
    const at = clockOf(ts, this._bucket, this._offset);
    let run = this._runs.at(-1);
    if (!run || run.phase !== phase) {
      run = { phase, points: [], series: null };
      this._runs.push(run);
    }
    const point = { at, ts, equity, phase, dd: -dd_from_peak * 100, run };
    if (run.points.at(-1)?.at === at) run.points.pop();
    run.points.push(point);
    this._points.set(at, point);
    return point;
  }

  _add(run) {
    run.series = this._chart.addSeries(this._lib.AreaSeries, { lineWidth: 2, priceLineVisible: false, crosshairMarkerRadius: 4 });
    run.series.setData(run.points.map(({ at, equity }) => ({ time: at, value: equity })));
    run.marks = this._lib.createSeriesMarkers(run.series, []);
    run.series.attachPrimitive(new Shade(this, run));
    this._mark(run);
  }

  _mark(run) {
    if (!run.series || !run.points.length) return;
    const [first, last] = [run.points[0].at, run.points.at(-1).at];
    const colours = this._colours();
    // What sells a live book out comes just after its last point: it is marked there.
    const after = this._runs[this._runs.indexOf(run) + 2]?.points[0].at ?? Infinity;
    const near = (this._trades ?? []).map((trade) => ({ ...trade, at: clockOf(trade.ts, this._bucket, this._offset) })).filter(({ at, phase }) => phase === run.phase && at >= first && at < after);
    run.marks.setMarkers(near.map((trade) => ({
      time: Math.min(trade.at, last),
      position: trade.side === "buy" ? "belowBar" : "aboveBar",
      shape: trade.side === "buy" ? "arrowUp" : "arrowDown",
      color: trade.side === "buy" ? colours.accent : trade.pnl > 0 ? colours.gain : colours.loss,
      size: 0.8,
    })));
  }

  _colours() {
    const style = getComputedStyle(document.documentElement);
    return Object.fromEntries(["text", "muted", "line", "accent", "gain", "loss", "paper", "live", "surface"].map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
  }

  _paint(colours = this._colours()) {
    if (!this._chart) return;
    this.colours = colours;
    this._chart.applyOptions({
      layout: { background: { color: "transparent" }, textColor: colours.muted, panes: { separatorColor: colours.line } },
      grid: { vertLines: { visible: false }, horzLines: { color: colours.line } },
      crosshair: { vertLine: { color: colours.muted, labelBackgroundColor: colours.muted }, horzLine: { color: colours.muted } },
    });
    for (const run of this._runs ?? []) {
      const colour = run.phase === "live" ? colours.live : colours.paper;
      run.series?.applyOptions({ lineColor: colour, topColor: `${colour}26`, bottomColor: `${colour}05` });
    }
    const last = this._runs?.at(-1);
    for (const run of this._runs ?? []) run.series?.applyOptions({ lastValueVisible: run === last });
    this._falls?.applyOptions({ lineColor: colours.loss, topColor: `${colours.loss}08`, bottomColor: `${colours.loss}30` });
    for (const run of this._runs ?? []) this._mark(run);
  }

  _point({ time, point }) {
    const found = time === undefined ? undefined : this._points.get(time);
    this.tooltip.hidden = !found || !point;
    if (!found || !point) return;
    this.tooltip.replaceChildren(
      h("b", f.time(found.ts)),
      h("span", "Equity ", h("b", f.usdt(found.equity))),
      h("span", "Phase ", h("b", found.phase)),
      h("span", "Drawdown ", h("b", `${f.number(-found.dd)} %`)));
    const left = point.x + 16 + this.tooltip.offsetWidth > this.canvas.clientWidth ? point.x - this.tooltip.offsetWidth - 16 : point.x + 16;
    this.tooltip.style.transform = `translate(${Math.max(0, left)}px, 8px)`;
  }

  /** The same in words, for those who do not see it. */
  _tell() {
    const points = [...this._points.values()];
    if (!points.length) return text(this.words, "No equity yet.");
    const [first, last] = [points[0], points.at(-1)];
    const deepest = points.reduce((low, point) => (point.dd < low.dd ? point : low));
    const marks = this._marks.map(({ ts, words }) => `${words}, ${f.time(ts)}.`).join(" ");
    text(this.words, `Equity from ${f.usdt(first.equity)} on ${f.time(first.ts)} to ${f.usdt(last.equity)} on ${f.time(last.ts)}, ${last.phase}. Deepest drawdown ${f.number(-deepest.dd)} % on ${f.time(deepest.ts)}. ${marks}`);
  }

  x(at) {
    return this._chart.timeScale().timeToCoordinate(at);
  }

  /** Where the run after this one begins, if there is one. */
  after(run) {
    return this._runs[this._runs.indexOf(run) + 1]?.points[0]?.at;
  }

  /** Labelled transitions that fall into a run, or just before it. */
  marksOf(run) {
    const [first, last] = [run.points[0].at, run.points.at(-1).at];
    const next = this.after(run) ?? Infinity;
    const begins = this._runs[0] === run ? -Infinity : first;
    return this._marks.flatMap((mark) => {
      const at = clockOf(mark.ts, this._bucket, this._offset);
      if (at < begins || at >= next) return [];
      const point = run.points.find((it) => it.at >= at) ?? run.points.at(-1);
      return [{ ...mark, at: Math.min(point.at, last), line: this._marks.indexOf(mark) % 3 }];
    });
  }
}

/** A drawdown is seen against none. */
function fromZero(original) {
  const found = original();
  if (found?.priceRange) found.priceRange = { minValue: Math.min(found.priceRange.minValue, -1), maxValue: 0 };
  return found;
}

const axis = (options) => new Intl.DateTimeFormat("en-GB", { ...options, hour12: false, timeZone: "UTC" });
const AXIS = {
  clock: axis({ hour: "2-digit", minute: "2-digit" }), day: axis({ day: "numeric", month: "short" }), month: axis({ month: "short", year: "numeric" }), year: axis({ year: "numeric" }),
};

/** The label of a tick: of a year, a month, a day or a time of it. */
function tick(at, kind) {
  return [AXIS.year, AXIS.month, AXIS.day][kind]?.format(at * 1000) ?? AXIS.clock.format(at * 1000);
}

/** Behind a run: its phase's shade and name, and the lines of what began or ended it. */
class Shade {
  constructor(chart, run) {
    this._view = { zOrder: () => "bottom", renderer: () => ({ draw: (target) => target.useMediaCoordinateSpace(({ context, mediaSize }) => draw(context, mediaSize, chart, run)) }) };
  }

  paneViews() {
    return [this._view];
  }

  updateAllViews() {}
}

function draw(context, { width, height }, chart, run) {
  if (!run.points.length) return;
  const [left, right] = [chart.x(run.points[0].at), chart.x(chart.after(run) ?? run.points.at(-1).at)];
  if (left === null || right === null) return;
  const colour = run.phase === "live" ? chart.colours.live : chart.colours.paper;
  context.save();
  context.font = `600 11px ${getComputedStyle(document.body).fontFamily}`;
  context.fillStyle = `${colour}${run.phase === "live" ? "22" : "0d"}`;
  context.fillRect(left, 0, Math.max(1, right - left), height);
  if (right - left > 44) {
    context.fillStyle = colour;
    context.fillText(run.phase.toUpperCase(), Math.max(left, 0) + 6, 16);
  }
  chart.marksOf(run).forEach(({ at, words, up, line }) => {
    const x = chart.x(at);
    if (x === null) return;
    context.strokeStyle = context.fillStyle = up ? chart.colours.live : chart.colours.loss;
    context.setLineDash([4, 3]);
    context.beginPath();
    context.moveTo(x, 0);
    context.lineTo(x, height);
    context.stroke();
    const long = context.measureText(words).width;
    context.fillText(words, x + 5 + long > width ? x - 5 - long : x + 5, 32 + line * 14);
  });
  context.restore();
}
