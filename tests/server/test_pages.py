"""The dashboard's files as they are sent."""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable

import pytest

from server.door.pages import page_files
from tests.server.clients import Ended, ask
from tests.world.daemon import DaemonProcess

TOKEN = "correct-horse-battery_staple-1"
GZIP = {"Accept-Encoding": "gzip, br"}
MOST_BYTES = 300_000  # of all scripts, compressed


def test_the_page_is_sent_under_a_strict_policy_and_kept_by_etag(busy: Ended) -> None:
    for path in ("/", "/page/style.css", "/page/app.js", "/page/icon.svg", "/page/lightweight-charts.js"):
        plain, packed = ask(busy.base, "GET", path), ask(busy.base, "GET", path, GZIP)
        assert plain.status == packed.status == 200
        assert gzip.decompress(packed.body) == plain.body
        assert packed.headers["content-encoding"] == "gzip"
        assert "content-encoding" not in plain.headers
        assert packed.headers["etag"] != plain.headers["etag"]
        for answer in (plain, packed):
            policy = answer.headers["content-security-policy"]
            assert "default-src 'none'" in policy
            assert "frame-ancestors 'none'" in policy
            assert not re.search(r"unsafe|https?:|\*", policy)
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["referrer-policy"] == "no-referrer"
            assert answer.headers["vary"] == "Accept-Encoding"
            assert re.fullmatch(r'"[\w-]+"', answer.headers["etag"])
        known = ask(busy.base, "GET", path, GZIP | {"If-None-Match": packed.headers["etag"]})
        assert (known.status, known.body, known.headers["etag"]) == (304, b"", packed.headers["etag"])
        assert known.headers["content-type"] == plain.headers["content-type"]
        assert ask(busy.base, "GET", path, {"If-None-Match": '"other"'}).status == 200
        assert ask(busy.base, "HEAD", path).status == 200


@pytest.mark.parametrize("path", ["/page/nothing.js", "/page/..%2fapp.py", "/page/", "/page/../app.py", "/page/.."])
def test_nothing_but_the_pages_files_is_there(busy: Ended, path: str) -> None:
    assert ask(busy.base, "GET", path).status == 404


def test_whatever_a_file_of_the_page_names_is_there() -> None:
    files = page_files()
    for name, file in files.items():
        if name == "lightweight-charts.js":
            continue
        words = file.plain.decode()
        found = re.findall(r'(?:/page/|from "\./|import\("\./)([\w-]+\.\w+)', words)
        assert set(found) <= set(files), name
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", words), (
            name
        )


def test_the_scripts_are_small() -> None:
    sizes = {name: len(file.packed) for name, file in page_files().items() if name.endswith(".js")}
    assert sum(sizes.values()) < MOST_BYTES, sizes


def test_the_page_comes_without_the_token_and_nothing_else_does(start_daemon: Callable[..., DaemonProcess]) -> None:
    base = start_daemon("--speed", "0.01", env={"FORESTAY_SERVER__TOKEN": TOKEN}).listening()
    for path in ("/", "/page/app.js"):
        assert ask(base, "GET", path).status == 200
        assert ask(base, "POST", path, {"Content-Type": "application/json"}, b"{}").status == 401
    for path in ("/agents/current", "/strategies", "/page", "//", "/backtests"):
        assert ask(base, "GET", path).status == 401
