"""A hundred hostile connections and clients that stop reading: whatever they send, they cost themselves only."""

from __future__ import annotations

import os
import signal
import socket
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import trio

from tests.resilience import evidence
from tests.resilience.candles import Files, made_up
from tests.server.test_bulkhead import ANSWER, HOSTILE, RESET, frame, upgrade
from tests.world.client import Rest, StreamClient, following
from tests.world.daemon import DaemonProcess

SEED = 5
HOURS = 2_500
SPEED = "400"  # rounds per second: slow enough that the hostile meet a replay under way
AT_ONCE = 6
TIMES = 3
STOP_SECONDS = 5.0  # what the daemon promises
PATIENCE = 30.0  # bounds a hang
HARD_RESET = struct.pack("ii", 1, 0)
SMALL_SEGMENT, SMALL_BUFFER = 88, 1  # bytes: so that the other end notices soon that nobody reads
STREAM = "/ws/agents/current"
Steps = list[Any]
Start = Callable[..., DaemonProcess]


def request(line: str, *headers: str, body: bytes = b"") -> bytes:
    """A request with our Host, unless `headers` give another."""
    own = () if any(h.startswith("Host:") for h in headers) else ("Host: x",)
    return "\r\n".join((f"{line} HTTP/1.1", *own, *headers, "", "")).encode() + body


PUT, PATCH = "PUT /agents/current/watchlist", "PATCH /agents/current/config"
OURS: dict[str, Steps] = {
    "a page of another origin that listens": [upgrade(STREAM, "Origin: http://evil.example\r\n"), ANSWER],
    "a page of no origin that listens": [upgrade(STREAM, "Origin: null\r\n"), ANSWER],
    "a rebound name that listens": [upgrade(STREAM).replace(b"Host: x", b"Host: evil.example:8000"), ANSWER],
    "a rebound name that reads": [request("GET /agents", "Host: evil.example")],
    "a page of another origin that posts text": [
        request(PUT, "Origin: http://evil.example", "Content-Type: text/plain", "Content-Length: 2", body=b"[]")
    ],
    "a form": [request(PATCH, "Content-Type: application/x-www-form-urlencoded", "Content-Length: 3", body=b"a=b")],
    "a write without a body": [request(PATCH, "Content-Type: application/json", "Content-Length: 0")],
    "a list where an object must be": [
        request(PATCH, "Content-Type: application/json", "Content-Length: 2", body=b"[]")
    ],
    "an impossible limit": [request("GET /agents/current/journal?limit=99999999999999999999")],
    "a cursor made up": [request("GET /agents/current/journal?cursor=-1.x")],
    "a since that is no number": [upgrade(f"{STREAM}?since=%00"), ANSWER],
    "a since in the future": [upgrade(f"{STREAM}?since=999999999999999999"), ANSWER],
    "an agent that is not there": [upgrade("/ws/agents/..%2f..%2fetc"), ANSWER],
    "a listener that shouts": [upgrade(f"{STREAM}?since=0"), ANSWER, frame(0x81, b"x" * 60_000) * 20],
}


def addressed(data: bytes, port: int) -> bytes:
    """What was written for a server in general, with the paths and the host of this one."""
    for general, ours in (
        (b" /ws HTTP", f" {STREAM} HTTP".encode()),
        (b" /nowhere HTTP", b" /ws/nowhere HTTP"),
        (b" /ping", b" /agents"),
        (b"POST /echo HTTP/1.1\r\n", f"{PUT} HTTP/1.1\r\nContent-Type: application/json\r\n".encode()),
        (b"Host: x\r\n", f"Host: 127.0.0.1:{port}\r\n".encode()),
    ):
        data = data.replace(general, ours)
    return data


async def misbehave(steps: Steps, port: int) -> bytes:
    """Play the steps, leave, and read until the server has closed; what it said."""
    answer = b""
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        try:
            for step in steps:
                if step is ANSWER:
                    answer += await stream.receive_some(2**16)
                elif step is RESET:
                    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, HARD_RESET)
                    return answer
                else:
                    await stream.send_all(addressed(step, port))
            await stream.send_eof()
            while said := await stream.receive_some(2**16):
                answer += said
        except trio.BrokenResourceError:
            pass  # it did not hear us out
    return answer


class Mob:
    """The hostile, a few at once, each kind in its turn, and every kind again."""

    def __init__(self, port: int, ended: Callable[[], bool]) -> None:
        self._port = port
        self._ended = ended
        self._kinds: Iterator[tuple[str, Steps]] = iter([*(HOSTILE | OURS).items()] * TIMES)
        self.done: list[str] = []  # before the run had ended

    async def riot(self) -> None:
        with trio.fail_after(2 * PATIENCE):
            async with trio.open_nursery() as nursery:
                for _ in range(AT_ONCE):
                    nursery.start_soon(self._one_after_the_other)

    async def _one_after_the_other(self) -> None:
        for name, steps in self._kinds:
            with trio.fail_after(PATIENCE):
                answer = await misbehave(steps, self._port)
            assert b"Traceback" not in answer, name
            assert not answer.startswith(b"HTTP/1.1 500"), name
            if not self._ended():
                self.done.append(name)


async def stalled(port: int) -> socket.socket:
    """A client that wants everything and then never reads."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, SMALL_SEGMENT)
    sock.connect(("127.0.0.1", port))
    sock.sendall(addressed(upgrade(f"{STREAM}?since=0").replace(b"Host: x", f"Host: 127.0.0.1:{port}".encode()), port))
    sock.setblocking(False)
    with trio.fail_after(PATIENCE):
        await trio.lowlevel.wait_readable(sock)
    return sock


def left_over(sock: socket.socket) -> int:
    """How many bytes a stalled client finds, at last; then its connection is over."""
    sock.settimeout(PATIENCE)
    found = 0
    with sock:
        try:
            while data := sock.recv(2**16):
                found += len(data)
        except ConnectionResetError:
            pass
    return found


def stop(daemon: DaemonProcess) -> tuple[int, float]:
    """SIGTERM; its exit code, and after how many seconds."""
    begun = time.monotonic()
    os.kill(daemon.pid, signal.SIGTERM)
    return daemon.wait(), time.monotonic() - begun


def undisturbed(start_daemon: Start, files: Files, data_dir: Path) -> list[evidence.Logged]:
    """The log of the same replay, with nobody there."""
    daemon = start_daemon(*files.flags, "--speed", "max", "--exit-at-end", data_dir=data_dir)
    assert daemon.wait() == 0, daemon.errors
    return evidence.logged(data_dir)


async def test_a_hundred_hostile_connections_and_stalled_clients_change_nothing_for_anybody_else(
    start_daemon: Start, tmp_path: Path
) -> None:
    files = made_up(tmp_path, HOURS, SEED)
    daemon = start_daemon(*files.flags, "--speed", SPEED)
    port = int(daemon.listening().rpartition(":")[2])
    clients = [StreamClient(daemon.base), StreamClient(daemon.base, whims=Random(SEED))]
    async with following(*clients):
        mob = Mob(port, lambda: clients[0].ts >= files.end)
        stuck = [await stalled(port)]
        await mob.riot()
        await clients[0].until_time(files.end)
        async with Rest(daemon.base) as rest:
            agent = await rest.agent()
        for client in clients:
            await client.until_seq(agent["seq"])
        stuck += [await stalled(port) for _ in range(3)]
        assert daemon.running
        exit_code, seconds = await trio.to_thread.run_sync(stop, daemon)
        rows = evidence.logged(daemon.data_dir)
        await clients[0].until_seq(len(evidence.frames(rows)))
    print(f"{len(mob.done)} hostile connections during the run; stopped in {seconds:.2f} s")
    assert len(mob.done) >= 100
    assert set(mob.done) == set(HOSTILE | OURS)
    assert agent["restarts"] == {}
    assert exit_code == 0
    assert seconds < STOP_SECONDS
    everything = sum(map(len, evidence.frames(rows)))
    assert all(left_over(sock) < everything / 2 for sock in stuck), "no client had stalled"
    the_others_are_complete(clients, rows)
    assert not [line for line in daemon.errors if "Traceback" in line or "ERROR" in line], daemon.errors
    assert rows == undisturbed(start_daemon, files, tmp_path / "undisturbed")


def the_others_are_complete(clients: list[StreamClient], rows: list[evidence.Logged]) -> None:
    steady, restless = clients
    assert steady.frames == evidence.frames(rows)
    assert steady.closings == [1001]
    assert steady.frames[: len(restless.frames)] == restless.frames
    assert "ACTOR_RESTARTED" not in evidence.entry_types(rows)


async def test_a_body_that_nests_without_end_is_its_senders_mistake(start_daemon: Start) -> None:
    daemon = start_daemon("--speed", "1")
    daemon.ready()
    body = b"[" * 100_000
    head = request(PATCH, "Content-Type: application/json", f"Content-Length: {len(body)}")
    with trio.fail_after(PATIENCE):
        answer = await misbehave([head, body, ANSWER], int(daemon.base.rpartition(":")[2]))
    assert answer.startswith(b"HTTP/1.1 400")
    assert b"MALFORMED_JSON" in answer
    assert await trio.to_thread.run_sync(daemon.terminate) == 0
    assert daemon.errors == []
