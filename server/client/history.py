"""What was, and then what comes, as one."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol

import trio

from protocol.events import Event, Snapshot, Trade
from server.client.errors import ClientError
from server.client.events import UnknownEvent
from server.client.listing import Get, Listing
from server.client.stream import Heard, Notice, Stream

_LISTS: dict[tuple[type[Event], ...], str] = {(Trade,): "/trades", (Snapshot,): "/equity"}
PAGE = "5000"


class Opens(Protocol):
    def __call__(
        self, since: int | None = None, *, log_id: str | None = None, notice: Notice
    ) -> AbstractAsyncContextManager[Stream]: ...


class History(AsyncIterator[Event | UnknownEvent]):
    """All events from the log's first on, without end. For one task.

    `seq` and `raw` are of the event that was given last; `log_id` names the log. Raises AnotherLog, Refused, or
    Unexpected, and then ends.
    """

    def __init__(self) -> None:
        self.seq, self.raw, self.log_id = 0, "", ""
        self._told: AsyncIterator[Heard | ClientError]

    async def __anext__(self) -> Event | UnknownEvent:
        heard = await anext(self._told)
        if isinstance(heard, ClientError):
            raise heard
        self.seq, event, self.raw = heard
        return event

    @trio.as_safe_channel
    async def _tell(
        self, get: Get, stream: Opens, kinds: tuple[type[Event], ...], notice: Notice
    ) -> AsyncGenerator[Heard | ClientError, None]:
        wanted = kinds or (Event, UnknownEvent)
        try:
            listing: Listing[Event | UnknownEvent] = Listing(get, _LISTS.get(kinds, "/events"), None, {"limit": PAGE})
            async for event in listing:
                self.log_id = listing.log_id
                if isinstance(event, wanted):
                    yield listing.seq, event, listing.raw
            self.log_id = listing.log_id
            async with stream(listing.last_seq, log_id=listing.log_id, notice=notice) as events:
                async for event in events:
                    if isinstance(event, wanted):
                        assert events.seq is not None
                        yield events.seq, event, events.raw
        except ClientError as error:
            yield error


@asynccontextmanager
async def tell(get: Get, stream: Opens, kinds: tuple[type[Event], ...], notice: Notice) -> AsyncIterator[History]:
    """A history, while the block lasts."""
    history = History()
    async with history._tell(get, stream, kinds, notice) as told:
        history._told = told
        yield history
