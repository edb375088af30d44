"""The ports to the outside world: each a small Protocol, with one real face elsewhere and simulated ones in the
tests."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Protocol, TypeVar

import trio

from protocol.errors import Outage
from protocol.market import NotYet, Round

T = TypeVar("T")


class Blocking(Protocol):
    """Runs a blocking call without holding up the others."""

    async def __call__(self, call: Callable[[], T], /) -> T: ...


def in_threads(limit: int) -> Blocking:
    """Blocking calls in worker threads of their own, at most `limit` at once. A call once begun is waited for."""
    limiter = trio.CapacityLimiter(limit)

    async def run(call: Callable[[], T], /) -> T:
        return await trio.to_thread.run_sync(call, limiter=limiter)

    return run


class Market(Protocol):
    """Where rounds come from."""

    @property
    def pinned(self) -> dict[str, Any]:
        """What makes it the same market after a restart, as JSON: the log's first row keeps it."""

    @property
    def pairs(self) -> tuple[str, ...]:
        """The pairs it can have rounds of, in name order."""

    @property
    def series(self) -> tuple[str, ...]:
        """The outside series that its rounds can have readings of, in name order."""

    @property
    def begins(self) -> datetime:
        """Log time before the first round."""

    @property
    def interval(self) -> timedelta:
        """The longest time between two candles of a pair that no gap lies between."""

    async def next_round(self, cursor: Any | None, /) -> Round | NotYet | Outage | None:
        """The first round after `cursor` (None: from the beginning), None where the market ends, NotYet where it is
        still to come, or an Outage where it cannot say now; it is asked again. It may be cancelled at any await."""
