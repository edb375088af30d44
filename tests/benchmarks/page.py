"""The dashboard in a real browser, as it is for who looks at it: when it stands there, and how late its news is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic, time
from typing import Any, Final

from attrs import define
from playwright.sync_api import Browser, Page, sync_playwright

from server.door.pages import page_files
from tests.browser.driver import FLAGS, browser_path

# When each part of the overview has been painted: the frame in which it is there has ended.
MEANINGFUL: Final = """
window.painted = {};
const seen = (name, ready) => {
  const look = () => {
    if (!ready()) return requestAnimationFrame(look);
    requestAnimationFrame(() => setTimeout(() => (window.painted[name] = performance.now())));
  };
  look();
};
seen("equity", () => /[0-9]/.test(document.querySelector(".figures .big")?.textContent ?? ""));
seen("figures", () => [...document.querySelectorAll(".figures dd")].some((it) => /%/.test(it.textContent)));
seen("entries", () => document.querySelector(".overview .entry"));
seen("chart", () => /Equity from/.test(document.querySelector(".chart figcaption")?.textContent ?? ""));
"""
# When each entry has been painted, by its seq, in seconds of the machine's clock.
SHOWN: Final = """
window.shown = [];
new MutationObserver((changes) => {
  const seqs = changes.flatMap(({ addedNodes }) => [...addedNodes]).flatMap((node) =>
    [...(node.querySelectorAll?.(".entry") ?? [])].map((entry) => Number(entry.dataset.seq)));
  if (seqs.length) requestAnimationFrame(() => setTimeout(() => {
    const at = (performance.timeOrigin + performance.now()) / 1000;
    for (const seq of seqs) window.shown.push([seq, at]);
  }));
}).observe(document, { childList: true, subtree: true });
"""


def scripts_kb() -> tuple[float, float]:
    """All scripts of the page compressed, and those of our own."""
    scripts = {name: len(file.packed) / 1000 for name, file in page_files().items() if name.endswith(".js")}
    return sum(scripts.values()), sum(scripts.values()) - scripts["lightweight-charts.js"]


@define
class Watcher:
    """A browser that is open already, as a person's is."""

    browser: Browser

    @contextmanager
    def page(self, script: str) -> Iterator[Page]:
        """An empty page of a person who was never here before: nothing is kept of the daemon's files."""
        context = self.browser.new_context(viewport={"width": 1280, "height": 860})
        context.add_init_script(script)
        try:
            yield context.new_page()
        finally:
            context.close()

    def first_look(self, base: str) -> dict[str, float]:
        """Milliseconds from the navigation until each part is painted."""
        with self.page(MEANINGFUL) as page:
            page.goto(f"{base}/", wait_until="commit")
            page.wait_for_function("() => window.painted && Object.keys(window.painted).length === 4", polling=20)
            found: dict[str, float] = page.evaluate("window.painted")
            first = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
            return found | {"anything": first}

    @contextmanager
    def news(self, base: str, screen: str) -> Iterator[Page]:
        """A page that notes what it shows when."""
        with self.page(SHOWN) as page:
            page.goto(f"{base}/#/{screen}")
            page.wait_for_selector("#age[data-state=live]")
            page.wait_for_selector(".entry")
            page.evaluate("window.shown.length = 0")
            yield page

    def long_list(self, base: str, pages: int) -> dict[str, float]:
        """The journal read down so many pages of 100: what it holds then, and the slowest of its frames in ms."""
        with self.page("") as page:
            page.goto(f"{base}/#/journal")
            page.wait_for_selector(".entry")
            found: dict[str, float] = page.evaluate(SCROLL, pages)
            return found

    def trades(self, base: str) -> dict[str, float]:
        """The trades opened, and sorted by what they gained: ms until the rows stand there."""
        with self.page("") as page:
            page.goto(f"{base}/#/health")
            page.wait_for_selector("#age[data-state=live]")
            found: dict[str, float] = page.evaluate(TRADES)
            return found


SCROLL: Final = """async (pages) => {
  let worst = 0, before = performance.now();
  const read = () => document.querySelectorAll(".page").length - 1; // the first one is of what comes
  const more = () => document.querySelector(".endless > .none").textContent;
  while (read() < pages && more()) {
    scrollTo(0, document.body.scrollHeight);
    await new Promise((settle) => requestAnimationFrame(settle));
    worst = Math.max(worst, performance.now() - before);
    before = performance.now();
  }
  return { entries: 100 * read(), held: document.querySelectorAll(".entry").length, worst };
}"""
TRADES: Final = """async () => {
  const until = async (ready) => { while (!ready()) await new Promise(requestAnimationFrame); };
  const rows = () => document.querySelectorAll(".trades [role=row][data-seq]");
  let begin = performance.now();
  location.hash = "#/trades";
  await until(() => rows().length);
  const opened = performance.now() - begin;
  const first = rows()[0].dataset.seq;
  const heading = [...document.querySelectorAll("button")].find((it) => it.textContent.startsWith("PnL"));
  begin = performance.now();
  heading.click();
  await until(() => rows().length && rows()[0].dataset.seq !== first);
  return { opened, sorted: performance.now() - begin };
}"""


@contextmanager
def watcher() -> Iterator[Watcher]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path(), args=FLAGS)
        yield Watcher(browser)
        browser.close()


def heard_at(page: Page) -> dict[int, float]:
    """When each entry stood on the page first, in this process's monotonic seconds."""
    offset = time() - monotonic()
    shown: list[list[Any]] = page.evaluate("window.shown")
    return {int(seq): at - offset for seq, at in reversed(shown)}
