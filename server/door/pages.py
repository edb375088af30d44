"""The dashboard's files: what a browser gets before anybody has shown a token. Nothing of an agent is in them."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from attrs import frozen
from quart import Response, request
from quart_trio import QuartTrio

from server.door.problems import Problem

FOLDER: Final = Path(__file__).parent / "page"
KINDS: Final = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
CHARTS: Final = "lightweight-charts.js"  # out of the package that brings it; nothing of that is imported
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",  # kept, but asked for each time: an update is seen at once
    "Vary": "Accept-Encoding",
}


@frozen
class PageFile:
    """A file as it is sent, plain or compressed; each has an ETag of its own."""

    kind: str
    plain: bytes
    packed: bytes
    etag: str

    @classmethod
    def read(cls, path: Path) -> PageFile:
        plain = path.read_bytes()
        packed = gzip.compress(plain, 9, mtime=0)
        return cls(KINDS[path.suffix], plain, packed, hashlib.sha256(plain).hexdigest()[:20])


def page_files() -> Mapping[str, PageFile]:
    """Every file of the dashboard by its name, read and compressed once."""
    found = {path.name: PageFile.read(path) for path in sorted(FOLDER.iterdir()) if path.suffix in KINDS}
    return found | {CHARTS: PageFile.read(_charts())}


def _charts() -> Path:
    spec = find_spec("litecharts")
    assert spec is not None, "litecharts is a dependency"
    assert spec.origin is not None
    return Path(spec.origin).parent / "js" / CHARTS


def is_page(method: str, path: str) -> bool:
    """Is the dashboard itself asked for, which holds no secret?"""
    return method in ("GET", "HEAD") and (path == "/" or path.startswith("/page/"))


def add_pages(app: QuartTrio) -> None:
    files = page_files()

    @app.get("/")
    async def front() -> Response:
        return _sent(files["index.html"])

    @app.get("/page/<name>")
    async def file(name: str) -> Response:
        if name not in files:
            raise Problem(404, "NOT_FOUND", f"the page has no file {name[:60]!r}")
        return _sent(files[name])


def _sent(file: PageFile) -> Response:
    packed = request.accept_encodings["gzip"] > 0
    headers = HEADERS | {"ETag": f'"{file.etag}-gzip"' if packed else f'"{file.etag}"'}
    if packed:
        headers["Content-Encoding"] = "gzip"
    known = request.headers.get("If-None-Match", "")
    if known == "*" or headers["ETag"] in (tag.strip().removeprefix("W/") for tag in known.split(",")):
        return Response(b"", 304, headers, content_type=file.kind)
    return Response(file.packed if packed else file.plain, headers=headers, content_type=file.kind)
