"""What the routes work with: the door's view of the daemon, an answer, a request's body."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, Final, TypeVar

import trio
from attrs import Factory, define, frozen
from quart import Response, request

from actors.broadcaster.board import Board
from actors.journal.store import LogReader
from actors.ports import Blocking
from actors.tower import Tower
from actors.twak_signer.actor import Armed
from protocol.answers import State
from protocol.codec import encoded, from_json
from protocol.settings import AgentConfig, MarketSettings
from server.backtesting.queue import Backtests
from server.door.problems import Problem
from server.settings import Offer

T = TypeVar("T")
MAX_DEPTH: Final = 32


@define(eq=False)
class Listener:
    """A connection of the stream: the last event that it was sent."""

    seq: int


@frozen
class Door:
    """What the routes work with."""

    agent: str
    log_id: str
    market: dict[str, Any]
    offer: Offer
    board: Board
    reader: LogReader
    reading: Blocking
    tower: Tower
    stopping: trio.Event
    clock: Callable[[float], datetime]  # the wall time of so many seconds ago
    backtests: Backtests
    armed: Armed | None
    market_settings: MarketSettings  # what a backtest runs over: paths absolute, a demo's seed known
    # What takes long is looked up beside the rest, so that it holds up nobody but its like.
    searcher: LogReader = Factory(lambda self: self.reader, takes_self=True)
    searching: Blocking = Factory(lambda self: self.reading, takes_self=True)
    listeners: set[Listener] = Factory(set)

    def check(self, agent: str) -> None:
        """Is this our agent, and is there something to show of it?"""
        if agent not in (self.agent, "current"):
            raise Problem(404, "AGENT_NOT_FOUND", f"there is no agent {agent[:60]!r}; this daemon runs {self.agent!r}")
        if not self.board.ready.is_set() or self.board.risk.config is None:
            if outage := self.board.outage:
                raise Problem(503, f"{outage.what.upper()}_UNAVAILABLE", outage.reason)
            raise Problem(503, "STARTING", "the log is still being read")

    def state(self) -> State:
        """In one word: may it decide, and does it?"""
        if self.stopping.is_set():
            return "stopping"
        if self.board.outage is not None:
            return "degraded"
        return "running" if self.tower.whole else "starting"

    @property
    def config(self) -> AgentConfig:
        return self.board.risk.settings


def reply(
    value: Any, seq: int | None = None, door: Door | None = None, *, content_type: str = "application/json"
) -> Response:
    """An answer that is not kept; with `door`, one that names the log and the position that it reflects."""
    headers = {"Cache-Control": "no-store"}
    if door is not None:
        headers |= {"X-Last-Seq": str(door.board.seq if seq is None else seq), "X-Log-Id": door.log_id}
    body = value if isinstance(value, bytes) else encoded(value)
    return Response(body, headers=headers, content_type=content_type)


async def read_body(kind: type[T], words: str) -> T:
    """The request's body, if it is JSON of that kind. Raises Problem(400, 422)."""
    data = await request.get_data(as_text=False)
    try:
        value = from_json(data)
    except ValueError as error:
        raise Problem(400, "MALFORMED_JSON", f"the body is not JSON: {error}") from None
    if _depth_exceeds(value, MAX_DEPTH):
        raise Problem(400, "MALFORMED_JSON", f"the body nests deeper than {MAX_DEPTH}")
    if not isinstance(value, kind):
        raise Problem(422, "VALIDATION_ERROR", f"the body must be {words}")
    return value


def _depth_exceeds(value: Any, limit: int) -> bool:
    level = [value]
    for _ in range(limit):
        level = [inner for outer in level for inner in _inner(outer)]
    return bool(level)


def _inner(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []
