"""What a mailbox costs: the tower's tell and ask, beside trio's own channel and pykka.

`python -m tests.benchmarks.mailbox MESSAGES ROUNDS` prints, as JSON, messages a second by way and round. All ways take
turns in one process, and all carry the same message to one reader. Telling is in bursts, the whole of one read before
the next is sent: a full mailbox is an error, so this is how fast a sender may be.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from time import perf_counter
from typing import Any, Final

import pykka
import trio

from actors.tower import Actor, Address, Ask, Desk, Floor, Tower

CAPACITY: Final = 256
BURST: Final = 200


class Hello(Ask[int]):
    """The message: answered by a number."""


HELLO: Final = Hello()
Channel = tuple[trio.MemorySendChannel[Any], trio.MemoryReceiveChannel[Any]]


class Counter:
    """Counts what its reader has had; `full` is set at each whole burst."""

    def __init__(self) -> None:
        self.count = 0
        self.full = trio.Event()

    def add(self) -> int:
        self.count += 1
        if not self.count % BURST:
            self.full.set()
        return self.count

    async def burst(self) -> None:
        await self.full.wait()
        self.full = trio.Event()


# --- the tower


class Reader(Actor):
    def __init__(self, counter: Counter) -> None:
        self._counter = counter

    async def receive(self, message: Any) -> int:
        return self._counter.add()


class Sender(Actor):
    """Does one thing, from its own floor."""

    def __init__(self, work: Callable[[], Awaitable[None]]) -> None:
        self._work = work

    async def work(self) -> None:
        await self._work()


async def _between_floors(messages: int, send: Callable[[Address, Counter, int], Awaitable[None]]) -> float:
    counter, done, seconds = Counter(), trio.Event(), 0.0

    async def work(desk: Desk) -> None:
        nonlocal seconds
        begin = perf_counter()
        await send(desk.address("Reader"), counter, messages)
        seconds = perf_counter() - begin
        done.set()

    floors = [
        Floor("Reader", lambda _: Reader(counter), CAPACITY),
        Floor("Sender", lambda desk: Sender(partial(work, desk)), CAPACITY),
    ]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(Tower(floors).run)
        await done.wait()
        nursery.cancel_scope.cancel()
    return _rate(messages, counter, seconds)


async def _tell(reader: Address, counter: Counter, messages: int) -> None:
    for _ in range(messages // BURST):
        for _ in range(BURST):
            reader.tell(HELLO)
        await counter.burst()


async def _ask(reader: Address, counter: Counter, messages: int) -> None:
    for _ in range(messages):
        await reader.ask(HELLO)


# --- trio's channel


async def _over_channel(
    messages: int,
    send: Callable[[trio.MemorySendChannel[Any], Counter, int], Awaitable[None]],
    read: Callable[[trio.MemoryReceiveChannel[Any], Counter], Awaitable[None]],
) -> float:
    counter = Counter()
    outbox, inbox = trio.open_memory_channel[Any](CAPACITY)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(read, inbox, counter)
        begin = perf_counter()
        await send(outbox, counter, messages)
        seconds = perf_counter() - begin
        nursery.cancel_scope.cancel()
    return _rate(messages, counter, seconds)


async def _count(inbox: trio.MemoryReceiveChannel[Any], counter: Counter) -> None:
    while True:
        await inbox.receive()
        counter.add()


async def _send(outbox: trio.MemorySendChannel[Any], counter: Counter, messages: int) -> None:
    for _ in range(messages // BURST):
        for _ in range(BURST):
            await outbox.send(HELLO)
        await counter.burst()


async def _send_nowait(outbox: trio.MemorySendChannel[Any], counter: Counter, messages: int) -> None:
    for _ in range(messages // BURST):
        for _ in range(BURST):
            outbox.send_nowait(HELLO)
        await counter.burst()


async def _answer_by_channel(inbox: trio.MemoryReceiveChannel[Any], counter: Counter) -> None:
    while True:
        _, reply = await inbox.receive()
        reply.send_nowait(counter.add())


async def _request_by_channel(outbox: trio.MemorySendChannel[Any], counter: Counter, messages: int) -> None:
    for _ in range(messages):
        reply, answer = trio.open_memory_channel[int](1)
        outbox.send_nowait((HELLO, reply))
        await answer.receive()


class Waiting:
    """A message, the event that its answer is there, and the answer."""

    __slots__ = ("answer", "message", "there")

    def __init__(self, message: Hello) -> None:
        self.message = message
        self.there = trio.Event()
        self.answer = 0


async def _answer_by_event(inbox: trio.MemoryReceiveChannel[Any], counter: Counter) -> None:
    while True:
        waiting = await inbox.receive()
        waiting.answer = counter.add()
        waiting.there.set()


async def _request_by_event(outbox: trio.MemorySendChannel[Any], counter: Counter, messages: int) -> None:
    for _ in range(messages):
        waiting = Waiting(HELLO)
        outbox.send_nowait(waiting)
        await waiting.there.wait()


# --- pykka


class Pykka(pykka.ThreadingActor):
    def __init__(self) -> None:
        super().__init__()
        self.counter = 0

    def on_receive(self, message: Any) -> int:
        self.counter += 1
        return self.counter


def _pykka_tell(messages: int) -> float:
    """Bursts, too; the last of each is an ask."""
    reader = Pykka.start()
    begin = perf_counter()
    for _ in range(messages // BURST):
        for _ in range(BURST - 1):
            reader.tell(HELLO)
        reader.ask(HELLO)
    seconds = perf_counter() - begin
    reader.stop()
    return messages / seconds


def _pykka_ask(messages: int) -> float:
    reader = Pykka.start()
    begin = perf_counter()
    for _ in range(messages):
        reader.ask(HELLO)
    seconds = perf_counter() - begin
    reader.stop()
    return messages / seconds


def _rate(messages: int, counter: Counter, seconds: float) -> float:
    if counter.count != messages:
        sys.exit(f"{counter.count} of {messages} messages were read")
    return messages / seconds


WAYS: Final[dict[str, Callable[[int], float]]] = {
    "tell": lambda messages: trio.run(_between_floors, messages, _tell),
    "send, receive": lambda messages: trio.run(_over_channel, messages, _send, _count),
    "send_nowait, receive": lambda messages: trio.run(_over_channel, messages, _send_nowait, _count),
    "pykka tell": _pykka_tell,
    "ask": lambda messages: trio.run(_between_floors, messages, _ask),
    "reply by a channel": lambda messages: trio.run(_over_channel, messages, _request_by_channel, _answer_by_channel),
    "reply by an event": lambda messages: trio.run(_over_channel, messages, _request_by_event, _answer_by_event),
    "pykka ask": _pykka_ask,
}


def main(messages: str, rounds: str) -> None:
    found: dict[str, list[float]] = {way: [] for way in WAYS}
    number = int(messages) // BURST * BURST
    for _ in range(int(rounds)):
        for way, measure in WAYS.items():
            found[way].append(measure(number))
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
