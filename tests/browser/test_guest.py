"""A page of one's own, at another origin, with a copy of the JavaScript client: only if it is invited."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from playwright.sync_api import expect

from server.door.pages import FOLDER
from tests.browser.conftest import Window
from tests.resilience.candles import Files
from tests.world.daemon import DaemonProcess

TOKEN = "correct-horse-battery_staple-1"
PAGE = """<!doctype html><title>Mine</title><p id="status">nothing</p><p id="event">nothing</p>
<script type="module">
  import { Forestay } from "./forestay.js";
  const forestay = new Forestay(new URLSearchParams(location.search).get("daemon"), { token: "%s" });
  const say = (id, text) => (document.getElementById(id).textContent = text);
  try {
    let asked;
    while (!asked) asked = await forestay.get("").catch((error) => {
      if (!error.passes) throw error; // the log is still being read
    });
    const { body, seq, logId } = asked;
    await forestay.send("POST", "/risk/check", { pair: "ETH/USDT", side: "buy", size: 1 });
    say("status", `${body.name} ${body.log_id === logId && seq > 0}`);
    for await (const { event } of forestay.stream({ since: 0 })) say("event", `${event.event} ${event.seq}`);
  } catch (error) {
    say("status", `refused: ${error.message}`);
  }
</script>"""


@pytest.fixture
def mine(tmp_path: Path) -> Iterator[str]:
    """The origin of a page that somebody else serves."""
    folder = tmp_path / "mine"
    folder.mkdir()
    shutil.copy(FOLDER / "forestay.js", folder)
    (folder / "index.html").write_text(PAGE % TOKEN)
    handler = partial(Quiet, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.mark.parametrize("invited", [True, False])
def test_a_page_of_ones_own_works_where_it_is_invited_and_nowhere_else(
    invited: bool,
    mine: str,
    start_daemon: Callable[..., DaemonProcess],
    replayed: Callable[[int], Files],
    window: Window,
    tmp_path: Path,
) -> None:
    settings = tmp_path / "forestay.toml"
    settings.write_text(f'[server]\nallowed_origins = ["{mine}"]\n' if invited else "")
    daemon = start_daemon(
        "--config", str(settings), *replayed(300).flags, "--speed", "max", env={"FORESTAY_SERVER__TOKEN": TOKEN}
    )
    base = daemon.listening()
    page = window.browser.new_page()
    page.goto(f"{mine}/?daemon={base}")
    if invited:
        expect(page.locator("#status")).to_have_text("seed true")
        expect(page.locator("#event")).to_contain_text("snapshot")
    else:
        expect(page.locator("#status")).to_contain_text("refused: ")
        expect(page.locator("#event")).to_have_text("nothing")
    page.close()
