"""Who may come in: Host, Origin, Sec-Fetch-Site, content type and token, for HTTP and WebSocket alike."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import trio

from protocol.settings import ServerSettings
from server.door.gate import Gate
from tests.server.clients import JSON, UPGRADE, Ended, ask, close_code, following, forestay, stream_url
from tests.world.daemon import DaemonProcess

Headers = Mapping[str, str | None]
TOKEN = "correct-horse-battery_staple-1"
NO_TOKEN, GOING_AWAY = 4401, 1001

STRANGERS: dict[str, Headers] = {
    "no host": {"Host": None, "X": "y"},
    "an empty host": {"Host": ""},
    "a rebound name": {"Host": "evil.example:PORT"},
    "a rebound name without a port": {"Host": "evil.example"},
    "our host on another port": {"Host": "127.0.0.1:1"},
    "our host without its port": {"Host": "127.0.0.1"},
    "a name that begins like ours": {"Host": "localhost.evil.example:PORT"},
    "a name that ends like ours": {"Host": "evil-localhost:PORT"},
    "our address by another spelling": {"Host": "2130706433:PORT"},
    "a user in the host": {"Host": "127.0.0.1:PORT@evil.example"},
    "any address": {"Host": "0.0.0.0:PORT"},
    "a foreign origin": {"Origin": "https://evil.example"},
    "an opaque origin": {"Origin": "null"},
    "an empty origin": {"Origin": ""},
    "our host by another scheme": {"Origin": "https://127.0.0.1:PORT"},
    "our host's other port": {"Origin": "http://127.0.0.1:1"},
    "an origin that begins like ours": {"Origin": "http://127.0.0.1:PORT.evil.example"},
    "two origins in one": {"Origin": "http://127.0.0.1:PORT, https://evil.example"},
    "a page of another site": {"Sec-Fetch-Site": "cross-site"},
    "a page of the same site": {"Sec-Fetch-Site": "same-site"},
    "a navigation from another site": {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"},
    "our origin from another site": {"Origin": "http://127.0.0.1:PORT", "Sec-Fetch-Site": "cross-site"},
}
WELCOME: dict[str, Headers] = {
    "a program": {},
    "our host by name": {"Host": "localhost:PORT"},
    "our host in capitals": {"Host": "LocalHost:PORT"},
    "our host by its other address": {"Host": "[::1]:PORT"},
    "our own page": {"Origin": "http://127.0.0.1:PORT", "Sec-Fetch-Site": "same-origin"},
    "our own page by name": {"Host": "localhost:PORT", "Origin": "http://localhost:PORT"},
    "the address bar": {"Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate"},
}
KINDS: dict[str, tuple[str, Headers, int]] = {
    "http": ("/agents/current", {}, 200),
    "websocket": ("/ws/agents/current", UPGRADE, 101),
}


def put(base: str, headers: Headers) -> dict[str, str | None]:
    """These headers, with the daemon's port where they say PORT."""
    port = base.rsplit(":", 1)[1]
    return {name: None if value is None else value.replace("PORT", port) for name, value in headers.items()}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("headers", STRANGERS.values(), ids=STRANGERS.keys())
def test_a_stranger_is_refused(busy: Ended, headers: Headers, kind: str) -> None:
    path, more, _ = KINDS[kind]
    answer = ask(busy.base, "GET", path, {**more, **put(busy.base, headers)})
    if headers.get("Host", "") is None:
        assert answer.status in (400, 403)  # HTTP/1.1 itself asks for one
    else:
        assert (answer.status, answer.code) == (403, "HOST_FORBIDDEN" if "Host" in headers else "ORIGIN_FORBIDDEN")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("headers", WELCOME.values(), ids=WELCOME.keys())
def test_our_own_are_let_in(busy: Ended, headers: Headers, kind: str) -> None:
    path, more, status = KINDS[kind]
    assert ask(busy.base, "GET", path, {**more, **put(busy.base, headers)}).status == status


@pytest.mark.parametrize("path", ["/", "/nowhere", "/agents/nobody", "/agents/current/config", "/healthz"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "POST", "PATCH", "PUT", "DELETE"])
def test_a_stranger_is_refused_whatever_it_asks_for(busy: Ended, method: str, path: str) -> None:
    for headers in ({"Host": "evil.example"}, {"Origin": "https://evil.example"}):
        assert ask(busy.base, method, path, JSON | headers).status == 403


def test_a_link_on_another_page_may_lead_to_the_front_door_only(busy: Ended) -> None:
    navigation = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    assert ask(busy.base, "GET", "/", navigation).status != 403
    assert ask(busy.base, "GET", "/", {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "cors"}).status == 403


FORMS = [None, "", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/json",
         "application/jsonp", "application/octet-stream", "text/plain; charset=application/json"]  # fmt: skip


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("kind", FORMS)
def test_what_any_form_can_send_is_refused_on_every_writing_method(busy: Ended, method: str, kind: str | None) -> None:
    for path in ("/agents/current/config", "/nowhere"):
        answer = ask(busy.base, method, path, {"Content-Type": kind}, b"{}")
        assert (answer.status, answer.code) == (415, "UNSUPPORTED_MEDIA_TYPE")


@pytest.mark.parametrize("headers", [{}, {"Content-Length": "0"}, {"Content-Type": "text/plain"}])
def test_a_delete_needs_no_body(busy: Ended, headers: Headers) -> None:
    answer = ask(busy.base, "DELETE", "/backtests/bt_0", headers)
    assert (answer.status, answer.code) == (404, "BACKTEST_NOT_FOUND")


@pytest.mark.parametrize(
    "kind", ["application/json", "application/json; charset=utf-8", "Application/JSON", "application/merge-patch+json"]
)
def test_json_is_taken_by_all_its_names(busy: Ended, kind: str) -> None:
    assert ask(busy.base, "PATCH", "/agents/current/config", {"Content-Type": kind}, b"{}").status == 200


PREFLIGHT = {"Access-Control-Request-Method": "PATCH", "Access-Control-Request-Headers": "content-type"}


@pytest.mark.parametrize("origin", [None, "http://127.0.0.1:PORT", "https://evil.example"])
def test_no_answer_has_cors_headers(busy: Ended, origin: str | None) -> None:
    headers = put(busy.base, {"Origin": origin})
    answers = [
        ask(busy.base, "GET", "/agents/current", headers),
        ask(busy.base, "GET", "/nowhere", headers),
        ask(busy.base, "OPTIONS", "/agents/current/config", headers | PREFLIGHT),
        ask(busy.base, "PATCH", "/agents/current/config", headers, b"{}"),
        ask(busy.base, "PATCH", "/agents/current/config", headers | JSON, b"{"),
        ask(busy.base, "GET", "/ws/agents/current", headers | UPGRADE),
    ]
    assert [name for answer in answers for name in answer.headers if name.startswith("access-control")] == []
    if origin and "evil" in origin:
        assert {answer.status for answer in answers} == {403}


# --- an owner's own page, proxy and token


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    """With a token, and an owner's own proxy and page."""
    folder = tmp_path_factory.mktemp("guarded")
    env = {
        "FORESTAY_SERVER__TOKEN": TOKEN,
        "FORESTAY_SERVER__ALLOWED_HOSTS": '["desk.example:8443"]',
        "FORESTAY_SERVER__ALLOWED_ORIGINS": '["https://desk.example"]',
    }
    daemon = DaemonProcess(folder / "data", ("--seed", "7", "--speed", "1"), env)
    try:
        daemon.listening()
        yield daemon
    finally:
        daemon.kill()


BEARER = {"Authorization": f"Bearer {TOKEN}"}
WRONG: dict[str, Headers] = {
    "no token": {},
    "another token": {"Authorization": f"Bearer {TOKEN}x"},
    "a part of it": {"Authorization": f"Bearer {TOKEN[:-1]}"},
    "an empty one": {"Authorization": "Bearer "},
    "another scheme": {"Authorization": "Basic " + base64.b64encode(f"x:{TOKEN}".encode()).decode()},
    "no scheme": {"Authorization": TOKEN},
    "not even ASCII": {"Authorization": "Bearer \xe9\xff"},
}


@pytest.mark.parametrize("headers", WRONG.values(), ids=WRONG.keys())
def test_without_the_token_nothing_is_told(guarded: DaemonProcess, headers: Headers) -> None:
    base = guarded.listening()
    for path in ("/agents/current", "/nowhere", "/healthz", f"/agents?token={TOKEN}"):
        answer = ask(base, "GET", path, headers)
        assert (answer.status, answer.code) == (401, "TOKEN_REQUIRED")
        assert TOKEN not in answer.body.decode()
    assert ask(base, "PATCH", "/agents/current/config", {**JSON, **headers}, b"{}").status == 401


def test_with_the_token_everything_is_told(guarded: DaemonProcess) -> None:
    base = guarded.listening()
    assert ask(base, "GET", "/agents/current", BEARER).status == 200


async def test_a_stream_without_the_token_is_closed_as_such(guarded: DaemonProcess) -> None:
    url = stream_url(guarded.listening(), 0)
    wrong: list[dict[str, Any]] = [
        {},
        {"subprotocols": ["forestay.v1"]},
        {"subprotocols": ["forestay.v1", f"token.{TOKEN}x"]},
        {"subprotocols": ["forestay.v1", TOKEN]},
        {"extra_headers": [(b"Authorization", b"Bearer nonsense")]},
    ]
    assert [await close_code(url, **options) for options in wrong] == [NO_TOKEN] * len(wrong)
    assert await close_code(f"{url}&token={TOKEN}") == NO_TOKEN


@pytest.mark.parametrize(
    ("options", "spoken"),
    [
        ({"subprotocols": ["forestay.v1", f"token.{TOKEN}"]}, "forestay.v1"),
        ({"subprotocols": [f"token.{TOKEN}", "forestay.v1"]}, "forestay.v1"),
        ({"extra_headers": [(b"Authorization", b"Bearer " + TOKEN.encode())]}, None),
    ],
)
async def test_a_stream_takes_the_token_as_a_subprotocol_or_a_header(
    guarded: DaemonProcess, options: dict[str, Any], spoken: str | None
) -> None:
    async with following(stream_url(guarded.listening(), 0), **options) as (follower,):
        await follower.has(1)
        assert follower.connection.subprotocol == spoken


OWNERS: dict[str, tuple[Headers, int]] = {
    "the proxy": ({"Host": "desk.example:8443"}, 200),
    "the page": ({"Origin": "https://desk.example", "Sec-Fetch-Site": "cross-site"}, 200),
    "the page through the proxy": ({"Host": "desk.example:8443", "Origin": "https://desk.example"}, 200),
    "the proxy on another port": ({"Host": "desk.example"}, 403),
    "the page by another scheme": ({"Origin": "http://desk.example"}, 403),
    "another page": ({"Origin": "https://evil.example"}, 403),
}


@pytest.mark.parametrize(("headers", "status"), OWNERS.values(), ids=OWNERS.keys())
def test_an_owner_lets_in_a_page_and_a_proxy_by_name(guarded: DaemonProcess, headers: Headers, status: int) -> None:
    base = guarded.listening()
    assert ask(base, "GET", "/agents/current", {**BEARER, **headers}).status == status
    upgraded = ask(base, "GET", "/ws/agents/current", {**BEARER, **UPGRADE, **headers}).status
    assert upgraded == (101 if status == 200 else 403)


def test_a_stranger_with_the_token_stays_a_stranger(guarded: DaemonProcess) -> None:
    answer = ask(guarded.listening(), "GET", "/agents/current", {**BEARER, "Host": "evil.example"})
    assert answer.status == 403


def test_a_name_that_an_owner_wrote_in_capitals_is_the_same_name() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 204, "headers": []})

    async def status(host: str, origin: str) -> int:
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        settings = ServerSettings(allowed_hosts=("Desk.Example:8443",), allowed_origins=("https://Desk.Example",))
        headers = [(b"host", host.encode()), (b"origin", origin.encode())]
        scope = {"type": "http", "method": "GET", "path": "/agents", "headers": headers}
        await Gate(app, settings, 8000)(scope, None, send)
        return int(sent[0]["status"])

    # Browsers send both in small letters, whatever was typed.
    assert trio.run(status, "desk.example:8443", "https://desk.example") == 204


GUEST = "https://desk.example"


@pytest.mark.parametrize(
    ("method", "headers", "status", "may_read"),
    [
        ("GET", {"Origin": GUEST, "Authorization": f"Bearer {TOKEN}"}, 200, True),
        ("GET", {"Origin": GUEST}, 401, True),  # so that the page learns why
        ("OPTIONS", {"Origin": GUEST, "Access-Control-Request-Method": "PATCH"}, 204, True),
        ("OPTIONS", {"Origin": "https://elsewhere.example", "Access-Control-Request-Method": "PATCH"}, 403, False),
        ("GET", {"Origin": "https://desk.example.elsewhere", "Authorization": f"Bearer {TOKEN}"}, 403, False),
        ("GET", {"Origin": GUEST, "Host": "elsewhere.example"}, 403, False),
        ("GET", {"Authorization": f"Bearer {TOKEN}"}, 200, False),
    ],
)
def test_an_invited_page_may_read_and_no_other(
    method: str, headers: dict[str, str], status: int, may_read: bool
) -> None:
    async def answer() -> dict[str, Any]:
        sent = list[Any]()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": [(b"vary", b"Accept-Encoding")]})

        async def send(message: Any) -> None:
            sent.append(message)

        gate = Gate(app, ServerSettings(token=TOKEN, allowed_origins=(GUEST,)), 8000)
        lines = [(k.lower().encode(), v.encode()) for k, v in ({"Host": "127.0.0.1:8000"} | headers).items()]
        await gate({"type": "http", "method": method, "path": "/agents", "headers": lines}, None, send)
        return dict(sent[0])

    found = trio.run(answer)
    told = dict(found["headers"])
    assert found["status"] == status
    assert told.get(b"access-control-allow-origin") == (GUEST.encode() if may_read else None)
    assert ((b"vary", b"Origin") in found["headers"]) == may_read
    assert (b"access-control-allow-methods" in told) == (method == "OPTIONS" and may_read)


@pytest.mark.parametrize("origin", ["null", "*", "https://my.lan/", "my.lan", "https://my.lan/page"])
def test_what_is_no_origin_is_not_invited(origin: str) -> None:
    with pytest.raises(ValueError, match="must be a list of origins"):
        ServerSettings(allowed_origins=(origin,))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.invalid"])
def test_beyond_loopback_a_token_is_required(tmp_path: Path, host: str) -> None:
    done = forestay("run", "--host", host, "--port", "0", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith(f"forestay: server.host = {host!r}: ")
    assert "server.token" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_with_a_token_it_listens_beyond_loopback(tmp_path: Path) -> None:
    daemon = DaemonProcess(tmp_path / "data", ("--host", "0.0.0.0", "--speed", "1"), {"FORESTAY_SERVER__TOKEN": TOKEN})
    try:
        port = daemon.listening().rsplit(":", 1)[1]
        local = f"http://127.0.0.1:{port}"
        assert ask(local, "GET", "/healthz").status == 401
        assert ask(local, "GET", "/healthz", BEARER).status == 200
        assert ask(local, "GET", "/healthz", {**BEARER, "Host": f"192.0.2.1:{port}"}).status == 403
    finally:
        daemon.kill()
