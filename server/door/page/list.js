// A list without an end, of which only what is near is held: a page out of sight gives its rows back and is asked for
// again when it comes near. That is possible because a page of an append-only log never changes.

import { h, trouble } from "./dom.js";
import { passes } from "./forestay.js";

const NEAR = "1200px", AGAIN_MS = 2000;

/** Rows out of pages; `row(item)` makes an element. New items go in with `add`; where the reader is not at the top, or the
 *  newest is not first, they wait behind a button. With `table`, a row of headings, the rows are a table's. */
export class EndlessList {
  constructor(client, { row, empty, label, most = 300, table = null, newestFirst = true }) {
    this._client = client;
    this._row = row;
    this._empty = empty;
    this._most = most;
    this._group = table ? "rowgroup" : "presentation";
    this._newestFirst = newestFirst;
    this._head = h("div.page", { role: this._group });
    this._more = h("button.fresh", { type: "button", hidden: true, onclick: () => this._top() });
    this._pages = h("div", { role: "presentation" });
    this._end = h("p.none", "Reading…");
    this._rows = h("div.rows", { role: table ? "table" : "list", "aria-label": label }, table, this._head, this._pages);
    this.element = h("div.endless", this._more, this._rows, this._end);
    this._waiting = 0;
    this._seen = new IntersectionObserver((entries) => this._saw(entries), { rootMargin: NEAR });
    this._seen.observe(this._end);
    this._turn = 0;
  }

  /** Begin with this first page; `again` reads a new one. */
  begin(page, again) {
    this._turn += 1;
    this._again = again;
    this._waiting = 0;
    this._more.hidden = true;
    this._head.replaceChildren();
    this._pages.replaceChildren();
    this._next = null;
    this._attach(page);
    this._lookAgain();
  }

  /** What could not be read is told where it would stand. */
  fail(error) {
    this._end.replaceChildren(trouble(error));
  }

  /** Items that came, oldest first. */
  add(items) {
    if (!items.length) return;
    const reading = !this._newestFirst || window.scrollY > 200 || [this._head, this._pages].some((it) => it.contains(document.activeElement));
    if (!reading && this._waiting) return this._again();
    if (reading) {
      this._waiting += items.length;
      this._more.hidden = false;
      this._more.textContent = `${this._waiting.toLocaleString("en-US")} new`;
      return;
    }
    this._head.prepend(...items.slice(-this._most).reverse().map((item) => this._row(item)));
    if (items.length > this._most || this._head.childElementCount > this._most) this._again();
    this._ended();
  }

  close() {
    this._turn += 1;
    this._next = null;
    this._seen.disconnect();
  }

  _top() {
    window.scrollTo({ top: 0 });
    this._again();
  }

  _attach(page) {
    const element = h("div.page", { role: this._group }, page.body.map((item) => this._row(item)));
    element.page = page;
    if (this._pages.childElementCount) this._seen.observe(element); // the first page is of now: it would be another one
    this._pages.append(element);
    this._next = page.next;
    this._ended();
  }

  _ended() {
    const none = !this._next && !this._pages.querySelector("[role=listitem], [role=row]") && !this._head.childElementCount;
    this._end.textContent = this._next ? "Reading…" : none ? this._empty : "";
  }

  _saw(entries) {
    for (const { target, isIntersecting } of entries) {
      if (target === this._end) {
        this._atEnd = isIntersecting;
        if (isIntersecting) this._read();
        continue;
      }
      target.near = isIntersecting;
      if (isIntersecting && target.gone) this._restore(target);
      else if (!isIntersecting && !target.gone && target.childElementCount && !target.contains(document.activeElement)) this._give(target);
    }
  }

  /** Out of sight: only its height stays. */
  _give(element) {
    element.style.height = `${element.offsetHeight}px`;
    element.gone = true;
    element.replaceChildren();
    element.page = { address: element.page.address };
  }

  async _restore(element) {
    element.gone = false;
    const turn = this._turn;
    try {
      const page = await this._client.read(element.page.address);
      if (turn !== this._turn || element.gone) return;
      element.replaceChildren(...page.body.map((item) => this._row(item)));
      element.page = page;
      element.style.height = "";
    } catch (error) {
      element.gone = true;
      clearTimeout(element.later);
      if (passes(error)) element.later = setTimeout(() => turn === this._turn && element.near && element.gone && this._restore(element), AGAIN_MS);
    }
  }

  async _read() {
    if (!this._next || this._reading || this._failedAt > Date.now() - AGAIN_MS) return;
    const turn = this._turn;
    this._reading = true;
    try {
      const page = await this._next();
      if (turn === this._turn) this._attach(page);
    } catch (error) {
      if (turn !== this._turn) return;
      this.fail(error);
      this._failedAt = Date.now();
      clearTimeout(this._later);
      if (passes(error)) this._later = setTimeout(() => turn === this._turn && this._atEnd && this._read(), AGAIN_MS + 10);
      return;
    } finally {
      this._reading = false;
    }
    if (this._atEnd) this._lookAgain();
  }

  /** What is in sight stays in sight without a further word of the observer. */
  _lookAgain() {
    this._seen.unobserve(this._end);
    this._seen.observe(this._end);
  }
}
