"""Lists, page by page."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, Generic, TypeVar

import httpx

from protocol.codec import from_json, from_plain
from protocol.events import Event
from server.client.errors import AnotherLog, Unexpected
from server.client.events import raw_items, read_frame

T = TypeVar("T")
Query = Mapping[str, str | None]  # what is None is not asked
Get = Callable[[str, Query], Awaitable[httpx.Response]]


class Listing(AsyncIterator[T], Generic[T]):
    """A list, read page by page while it is iterated. For one task, and once.

    `last_seq` is the log position that all of it reflects, `log_id` names the log; both are known when the first item
    is given, or the list turns out to be empty. `seq` and `raw` are of the item that was given last: its place in the
    log, and its own bytes. A `kind` of None stands for events of any kind.
    """

    def __init__(self, get: Get, path: str, kind: type[Any] | None, query: Query) -> None:
        self.last_seq, self.log_id, self.seq, self.raw = -1, "", -1, ""
        self._get, self._path, self._kind = get, path, kind
        self._next: Query | None = query
        self._page: list[str] = []  # what is left of it, last first

    async def __anext__(self) -> T:
        while not self._page:
            if self._next is None:
                raise StopAsyncIteration
            self._turn(await self._get(self._path, self._next))
        self.raw = self._page.pop()
        item: Any
        if self._kind is None or issubclass(self._kind, Event):
            self.seq, item = read_frame(self.raw)
        else:
            item = read_answer(self._kind, self.raw, self._path)
            self.seq = item.seq
        if self._kind is not None and not isinstance(item, self._kind):
            raise _unlike(self._path)
        read: T = item
        return read

    def _turn(self, answer: httpx.Response) -> None:
        """To this page. Raises Unexpected or AnotherLog where it does not belong to the first one."""
        try:
            last_seq, log_id = int(answer.headers["X-Last-Seq"]), answer.headers["X-Log-Id"]
            page = raw_items(answer.content)
            link = answer.links.get("next")
            following = None if link is None else dict(httpx.URL(link["url"]).params)
        except (LookupError, ValueError, httpx.InvalidURL):
            raise _unlike(self._path) from None
        if self.log_id not in ("", log_id):
            raise AnotherLog(self.log_id, log_id)
        if self.last_seq not in (-1, last_seq):
            raise Unexpected(f"{self._path}: a page is of seq {last_seq}, the first one was of {self.last_seq}")
        self.last_seq, self.log_id, self._next, self._page = last_seq, log_id, following, page[::-1]


def read_answer(kind: type[T], text: str | bytes, path: str) -> T:
    """An answer as one of our values. Raises Unexpected."""
    try:
        return from_plain(from_json(text), kind)
    except Exception:  # whatever cattrs and our hooks make of something else
        raise _unlike(path) from None


def _unlike(path: str) -> Unexpected:
    return Unexpected(f"the answer for {path or 'the agent'} is not what this version can read")
