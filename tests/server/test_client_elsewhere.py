"""The Python client where not quite a daemon of its own version answers: a later one, another log, a proxy, nobody."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from functools import partial

import pytest
import trio
from trio.testing import MockClock
from trio_websocket import WebSocketRequest, serve_websocket

from protocol.events import JournalEntry, Snapshot
from server.client import AnotherLog, Client, ClientError, Refused, Unexpected, UnknownEvent
from tests.server.clients import PATIENCE
from tests.world.elsewhere import CURABLE, INCURABLE, elsewhere, page

TOKEN = "only-the-owner-knows-this"
TS = "2026-01-02T03:04:05.000Z"
SNAPSHOT: Mapping[str, object] = {"equity": 1000, "phase": "paper", "dd_from_peak": 0, "daily_dd_used": 0.5}
ENTRY: Mapping[str, object] = {"id": "jrn_1", "tags": ["x"], "text": "Why not.", "data": {}}


def frame(seq: int, event: str = "snapshot", fields: Mapping[str, object] = SNAPSHOT) -> str:
    return json.dumps({"event": event, "ts": TS, "seq": seq, **fields})


@asynccontextmanager
async def streaming(*connections: tuple[str, Sequence[str]]) -> AsyncIterator[str]:
    """A stream that tells each connection, by its log_id, these frames and closes it; the last one stays open."""
    left = list(connections)

    async def handle(request: WebSocketRequest) -> None:
        log_id, frames = left.pop(0)
        socket = await request.accept(extra_headers=[(b"X-Log-Id", log_id.encode()), (b"X-Last-Seq", b"0")])
        for told in frames:
            await socket.send_message(told)
        if not left:
            await trio.sleep_forever()

    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            listens = await nursery.start(lambda task_status: serve_websocket(
                handle, "127.0.0.1", 0, ssl_context=None, task_status=task_status
            ))  # fmt: skip
            yield f"http://127.0.0.1:{listens.port}"
            nursery.cancel_scope.cancel()


async def test_what_a_later_daemon_adds_is_passed_over_or_given_as_it_is() -> None:
    frames = [
        frame(1, "weather", {"rain": True}),
        frame(2, fields={"mood": "good", **SNAPSHOT}),
        frame(3, "journal_entry", {"type": "MUSED", **ENTRY}),
        frame(4, fields={**SNAPSHOT, "phase": "dreamt"}),
    ]
    async with streaming(("log_1", frames)) as base, Client(base) as client, client.stream(0) as events:
        weather, snapshot, entry, dreamt = [await anext(events) for _ in frames]
    assert isinstance(weather, UnknownEvent)
    assert (weather.kind, weather.fields["rain"]) == ("weather", True)
    assert isinstance(snapshot, Snapshot)
    assert snapshot.daily_dd_used == Decimal("0.5")
    assert isinstance(entry, JournalEntry)
    assert (entry.type, entry.text) == ("MUSED", "Why not.")
    assert isinstance(dreamt, UnknownEvent)


async def test_what_came_before_does_not_come_again() -> None:
    connections = ("log_1", [frame(1), frame(2)]), ("log_1", [frame(2), frame(3), frame(3), frame(4)])
    async with streaming(*connections) as base, Client(base) as client, client.stream(0) as events:
        seqs = []
        while events.seq != 4:
            await anext(events)
            seqs.append(events.seq)
    assert seqs == [1, 2, 3, 4]


async def test_a_stream_that_leaves_something_out_is_not_believed() -> None:
    async with streaming(("log_1", [frame(1), frame(3)])) as base, Client(base) as client, client.stream(0) as events:
        await anext(events)
        with pytest.raises(Unexpected, match="from seq 1 to 3"):
            await anext(events)


async def test_another_log_behind_the_address_is_announced_when_it_comes_back() -> None:
    connections = ("log_1", [frame(1)]), ("log_2", [frame(2)])
    async with streaming(*connections) as base, Client(base) as client, client.stream(0) as events:
        await anext(events)
        with pytest.raises(AnotherLog) as other:
            await anext(events)
    assert (other.value.known, other.value.found) == ("log_1", "log_2")


@pytest.mark.parametrize("told", ["no JSON", "[]", '{"event":"snapshot","seq":1}', frame(1).replace("1", '"1"', 1)])
async def test_what_is_no_frame_is_not_believed(told: str) -> None:
    async with streaming(("log_1", [told])) as base, Client(base) as client, client.stream(0) as events:
        with pytest.raises(Unexpected, match="no frame of a stream"):
            await anext(events)


@pytest.fixture
def patient_clock() -> MockClock:
    """Jumps over waiting, but leaves the sockets of this machine the time they take."""
    return MockClock(autojump_threshold=0.3)


async def test_a_connection_that_is_dead_without_a_word_is_given_up(patient_clock: MockClock) -> None:
    """It takes the handshake, and from then on nothing is heard of it, not even a pong."""
    met: list[str] = []

    async def dead(tcp: trio.SocketStream) -> None:
        asked = b""
        while b"\r\n\r\n" not in asked:
            asked += await tcp.receive_some()
        met.append(asked.decode().split()[1])
        (key,) = re.findall(rb"Sec-WebSocket-Key: (\S+)", asked, re.IGNORECASE)
        digest = hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
        headers = [b"Upgrade: websocket", b"Connection: Upgrade", b"X-Log-Id: log_1", b"X-Last-Seq: 0"]
        accept = b"Sec-WebSocket-Accept: " + base64.b64encode(digest)
        text = frame(1).encode()
        told = bytes((0x81, 126)) + len(text).to_bytes(2, "big") + text
        answer = [b"HTTP/1.1 101 Switching Protocols", *headers, accept, b"", told]
        await tcp.send_all(b"\r\n".join(answer))
        await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, dead, 0, host="127.0.0.1"))
        port = listener.socket.getsockname()[1]
        lost = trio.Event()
        notice: Callable[[bool], None] = lambda connected: None if connected else lost.set()  # noqa: E731
        async with Client(f"http://127.0.0.1:{port}") as client, client.stream(0, notice=notice) as events:
            await anext(events)
            with trio.move_on_after(60):
                await anext(events)
        assert lost.is_set()
        assert met[:2] == ["/ws/agents/current?since=0", "/ws/agents/current?since=1"]
        nursery.cancel_scope.cancel()


# --- REST


Ask = Callable[[Client], Awaitable[object]]
ASKS: dict[str, Ask] = {
    "an answer": lambda client: client.agent(),
    "a list": lambda client: anext(client.trades()),
    "all of one": lambda client: client.positions(),
}


@pytest.mark.parametrize("body", ["<html>Welcome!</html>", "", '{"id": 1}', "[1]", '["{shown}"]'])
@pytest.mark.parametrize("ask", ASKS)
async def test_an_answer_that_is_not_the_apis_is_not_believed(ask: str, body: str) -> None:
    with elsewhere(page(200, body)) as there:
        async with Client(there.base, TOKEN) as client:
            with pytest.raises(Unexpected) as told:
                await ASKS[ask](client)
    assert TOKEN not in repr(told.value)


@pytest.mark.parametrize(
    "body",
    [
        '{"code": "NO", "detail": "you showed {shown}", "errors": ["{shown}"], "more": "{shown}"}',
        "<html>{shown}</html>",
        '"{shown}"',
    ],
)
async def test_a_refusal_never_repeats_the_token(body: str) -> None:
    with elsewhere(page(403, body)) as there:
        async with Client(there.base, TOKEN) as client:
            with pytest.raises(Refused) as no:
                await client.agent()
            assert no.value.status == 403
            assert no.value.code in ("NO", "HTTP_403")
            with pytest.raises(Refused) as no_stream:
                async with client.stream(0) as events:
                    await anext(events)
    for told in (no.value, no_stream.value):
        assert TOKEN not in f"{told!r} {told} {told.errors} {told.extra}"


# --- what coming back can cure, and what it cannot


TOLD: dict[str, tuple[type[ClientError], str]] = {
    "a web page": (Unexpected, "a web page|opens no stream"),
    "a page that is not there": (Refused, "answers 404"),
    "a way to a login": (Refused, "answers 302"),
    "an alert of TLS": (Unexpected, "does not speak HTTP"),
}


async def told_by_all_ways(base: str, kind: type[ClientError], words: str) -> None:
    """However long it would wait for a daemon, it ends with this error."""
    with trio.fail_after(PATIENCE):
        async with Client(base, patience_seconds=10 * PATIENCE) as client:
            with pytest.raises(kind, match=words):
                await client.agent()
            for follow in (client.stream, client.history):
                async with follow() as events:
                    with pytest.raises(kind, match=words):
                        await anext(events)


@pytest.mark.parametrize("case", INCURABLE)
async def test_what_coming_back_cannot_cure_is_told(case: str) -> None:
    with elsewhere(INCURABLE[case]) as there:
        await told_by_all_ways(there.base, *TOLD[case])


async def test_a_certificate_that_nobody_trusts_is_told() -> None:
    with elsewhere(page(200, "{}"), tls=True) as there:
        await told_by_all_ways(there.base, Unexpected, "certificate is not to be trusted")


async def test_what_speaks_no_tls_is_told_where_tls_was_asked_for() -> None:
    with elsewhere(page(200, "{}")) as there:
        await told_by_all_ways(there.base.replace("http", "https"), Unexpected, "TLS")


@pytest.mark.parametrize("case", CURABLE)
async def test_what_coming_back_can_cure_is_asked_again(case: str) -> None:
    at_last = page(200, "[]", "application/json", "X-Last-Seq: 0", "X-Log-Id: log_1")
    with elsewhere(CURABLE[case], CURABLE[case], at_last) as there, trio.fail_after(PATIENCE):
        async with Client(there.base, patience_seconds=PATIENCE) as client:
            assert await client.positions() == []
    with elsewhere(CURABLE[case]) as there, trio.fail_after(PATIENCE):
        tries, enough = list[bool](), trio.CancelScope()

        def notice(connected: bool) -> None:
            tries.append(connected)
            if len(tries) == 4:
                enough.cancel()

        async with Client(there.base) as client, client.stream(0, notice=notice) as events:
            with enough:
                await anext(events)
        assert tries == [False] * 4
        assert there.asked[:4] == ["/ws/agents/current?since=0"] * 4
