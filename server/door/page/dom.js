// Elements out of data. Text is always set as text, never as markup.

/** An element: `h("p.note", { title }, "text", child)`. Properties that begin with "on" are listeners; false, null and
 *  undefined are left out, of children, too. */
export function h(name, ...rest) {
  const [tag, ...classes] = name.split(".");
  const element = document.createElement(tag);
  if (classes.length) element.className = classes.join(" ");
  const given = rest.length && isProperties(rest[0]) ? rest.shift() : {};
  for (const [key, value] of Object.entries(given)) {
    if (value === false || value === null || value === undefined) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...rest.flat(Infinity).filter((child) => child !== false && child !== null && child !== undefined));
  return element;
}

function isProperties(it) {
  return it !== null && typeof it === "object" && !(it instanceof Node) && !Array.isArray(it);
}

/** Set an element's text, if it is another one. */
export function text(element, words) {
  if (element.textContent !== words) element.textContent = words;
  return element;
}

/** Words, with what stands between backticks as code. */
export function coded(words) {
  return words.split("`").map((part, at) => (at % 2 ? h("code", part) : part));
}

const FOCUSED = "a, button, input, select, [tabindex]";

/** A function that gives `element` what `build` makes of a value, if the value is another one than before. */
export function redrawn(element, build) {
  let before;
  return (value) => {
    const now = JSON.stringify(value);
    if (now === before) return;
    before = now;
    const focused = [...element.querySelectorAll(FOCUSED)].indexOf(document.activeElement);
    element.replaceChildren(...[build(value)].flat(Infinity).filter((child) => child != null && child !== false));
    if (focused >= 0) element.querySelectorAll(FOCUSED)[focused]?.focus({ preventScroll: true });
  };
}

/** A card with a heading. */
export function card(title, ...content) {
  const id = `h-${title.toLowerCase().replace(/[^a-z]+/g, "-")}`;
  return h("section.card", { "aria-labelledby": id }, h("h2", { id }, title), ...content);
}

/** A table; a column is `[heading, cell of a row, "num" | "words" | ""]`. The first column heads its row. One that is
 *  `stacked` shows each row as a block of its own where there is no room. */
export function table(caption, columns, rows, { none = "Nothing yet.", stacked = false } = {}) {
  if (!rows.length) return h("p.none", none);
  return tableAround(caption, columns, h("tbody", rows.map((row) => tableRow(columns, row))), { stacked });
}

/** The same, of rows that come and go. */
export function tableAround(caption, columns, body, { stacked = false } = {}) {
  return h("div.scroll", { tabindex: 0, role: "region", "aria-label": caption },
    h("table", { class: stacked && "stacked" },
      h("caption.unseen", caption),
      h("thead", h("tr", columns.map(([heading, , kind]) => h("th", { scope: "col", class: kind }, heading)))),
      body));
}

export function tableRow(columns, row, properties = {}) {
  return h("tr", properties, columns.map(([heading, cell, kind], at) =>
    h(at ? "td" : "th", at ? { class: kind, "data-title": heading } : { class: kind, scope: "row" }, cell(row))));
}

/** How far a limit is used: a bar with its words. `part` may be above 1. */
export function bar(label, part, words, { state = "", note = "" } = {}) {
  const fill = h("span.fill");
  const full = Math.max(0, Math.min(1, part));
  fill.style.width = `${full * 100}%`;
  return h("div.bar", { "data-state": state },
    h("p.line", h("span.name", label), h("span.figure", words)),
    h("div.track", { role: "progressbar", "aria-label": label, "aria-valuemin": 0, "aria-valuemax": 100,
      "aria-valuenow": Math.round(full * 100), "aria-valuetext": note ? `${words}, ${note}` : words }, fill),
    note && h("p.note", note));
}

/** What went wrong, where it is to be seen. A browser tells in words of its own that nobody answered. */
export function trouble(error) {
  const words = error instanceof TypeError ? "The daemon does not answer." : error.name === "TimeoutError" ? "There was no answer in time." : error.message;
  return h("p.trouble", typeof error.code === "string" && error.code !== "UNKNOWN" ? [h("code", error.code), " "] : null, words);
}
