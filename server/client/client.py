"""A daemon as a program reaches it: what is, what was, what a person may ask it to do, and the stream."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from math import inf
from types import TracebackType
from typing import Any, Final, Literal, Self, TypeVar

import httpx
import trio

from protocol.answers import (
    Agent,
    Block,
    Check,
    ConfigVersion,
    Demoted,
    Evaluation,
    Funnel,
    Health,
    Killed,
    Limit,
    Performance,
    Position,
    Promoted,
    Reapproved,
    RiskCheck,
)
from protocol.codec import to_json
from protocol.events import Event, JournalEntry, Snapshot, Trade
from protocol.orders import Phase, Side
from protocol.settings import AgentConfig
from protocol.times import to_wire
from server.client.address import DEFAULT, Address
from server.client.errors import ClientError, Refused, Unreachable
from server.client.events import UnknownEvent
from server.client.history import History, tell
from server.client.listing import Listing, Query, read_answer
from server.client.problems import refused, unanswered, unlike
from server.client.stream import Notice, Stream, follow, unnoticed

T = TypeVar("T")
SECONDS: Final = 60.0  # for an answer: a promotion asks the guard and the chain
CONNECT_SECONDS: Final = 5.0
RETRY_SECONDS: Final = 0.1
Interval = Literal["15m", "1h", "4h", "1d"]
Order = Literal["asc", "desc"]


class Client:
    """A daemon and its agent. Enter it before use; it may be used by several tasks.

    A GET is tried again for `patience_seconds` where nobody answers, or answers "not right now"; what changes something
    is asked once. Every answer can be an error of `server.client.errors`.
    """

    def __init__(
        self,
        base: str = DEFAULT,
        token: str | None = None,
        *,
        agent: str = "current",
        patience_seconds: float = 0.0,
    ) -> None:
        """Raises ValueError where `base` is no address."""
        self._address = Address.of(base, token)
        self._agent = agent
        self._patience = patience_seconds
        self._http = httpx.AsyncClient(
            headers=self._address.headers,
            timeout=httpx.Timeout(SECONDS, connect=CONNECT_SECONDS),
            trust_env=False,  # no proxy stands between this machine and itself
            verify=self._address.secure,  # loading certificates takes longer than an answer
        )

    def __repr__(self) -> str:
        return f"Client({self._address.base!r}, agent={self._agent!r})"

    async def __aenter__(self) -> Self:
        await self._http.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.__aexit__(kind, error, trace)

    @property
    def base(self) -> str:
        return self._address.base

    # --- what is

    async def agent(self) -> Agent:
        return await self._one(Agent, "")

    async def positions(self) -> list[Position]:
        return await self._all(Position, "/positions")

    async def limits(self) -> list[Limit]:
        """What the risk rules measure, and their limits."""
        return await self._all(Limit, "/risk/objectives")

    async def evaluation(self) -> Evaluation:
        return await self._one(Evaluation, "/evaluation")

    async def config(self) -> AgentConfig:
        return await self._one(AgentConfig, "/config")

    async def config_versions(self) -> list[ConfigVersion]:
        return await self._all(ConfigVersion, "/config/versions")

    async def performance(
        self, *, phase: Phase | None = None, begin: datetime | None = None, end: datetime | None = None
    ) -> Performance:
        """Quick figures of a book (None: the current phase's) over a time."""
        return await self._one(Performance, "/performance", phase=phase, **_between(begin, end))

    async def health(self) -> Health:
        """How the daemon is, floor by floor."""
        return await self._one(Health, "/health")

    async def watchlist(self) -> list[str]:
        return await self._all(str, "/watchlist")

    async def preflight(self, *, force: bool = False) -> list[Check]:
        """Everything that a promotion depends on, looked at now."""
        return await self._all(Check, "/preflight", force="true" if force else None)

    async def risk_check(self, pair: str, side: Side, size: Decimal) -> RiskCheck:
        """Would this order pass? Nothing is done."""
        return await self._told(RiskCheck, "POST", "/risk/check", {"pair": pair, "side": side, "size": size})

    # --- what was

    def trades(
        self,
        *,
        phase: Literal["paper", "live", "all"] = "all",
        pair: str | None = None,
        side: Side | None = None,
        order: Order = "asc",
        begin: datetime | None = None,
        end: datetime | None = None,
        limit: int | None = None,
    ) -> Listing[Trade]:
        """From `begin` to before `end`, oldest first or ("desc") newest; `limit` of them a page, as in all lists."""
        query = {"phase": phase, "pair": pair, "side": side, "order": order}
        return self._listing("/trades", Trade, query, begin, end, limit)

    def equity(
        self,
        *,
        interval: Interval | None = None,
        begin: datetime | None = None,
        end: datetime | None = None,
        limit: int | None = None,
    ) -> Listing[Snapshot]:
        """Oldest first; with `interval` the last of each."""
        return self._listing("/equity", Snapshot, {"interval": interval}, begin, end, limit)

    def journal(
        self,
        *,
        type: str | None = None,
        tag: str | None = None,
        pair: str | None = None,
        q: str | None = None,
        begin: datetime | None = None,
        end: datetime | None = None,
        limit: int | None = None,
    ) -> Listing[JournalEntry]:
        """Newest first; `q` is searched for in the text."""
        query = {"type": type, "tag": tag, "pair": pair, "q": q}
        return self._listing("/journal", JournalEntry, query, begin, end, limit)

    def events(self, since: int = 0, *, limit: int | None = None) -> Listing[Event | UnknownEvent]:
        """The stream's own messages after `since`, oldest first."""
        return self._listing("/events", None, {"since": str(since)}, None, None, limit)

    def blocks(
        self,
        *,
        order: Order = "asc",
        begin: datetime | None = None,
        end: datetime | None = None,
        limit: int | None = None,
    ) -> Listing[Block]:
        """What either layer refused, oldest first ("desc": newest first)."""
        return self._listing("/risk/blocks", Block, {"order": order}, begin, end, limit)

    async def funnel(
        self, pair: str | None = None, *, begin: datetime | None = None, end: datetime | None = None
    ) -> Funnel:
        return await self._one(Funnel, "/funnel", pair=pair, **_between(begin, end))

    # --- what comes

    def stream(
        self,
        since: int | None = None,
        *,
        log_id: str | None = None,
        notice: Notice = unnoticed,
    ) -> AbstractAsyncContextManager[Stream]:
        """`async with client.stream(since) as events: async for event in events: ...`

        Everything after `since` (None: from now on), through restarts of the daemon. A log other than `log_id` raises
        AnotherLog. `notice` is called with whether there is a connection whenever one is made, or fails.
        """
        return follow(self._address, self._agent, since, log_id, notice)

    def history(self, *kinds: type[Event], notice: Notice = unnoticed) -> AbstractAsyncContextManager[History]:
        """`async with client.history(Trade) as trades: async for trade in trades: ...`

        All events of these kinds (none given: of all), from the log's first on and then as they come: the list first,
        then the stream from where the list ended. Nothing is missed, nothing comes twice, and it waits for the daemon
        as the stream does.
        """
        return tell(partial(self._ask, "GET", patience=inf), self.stream, kinds, notice)

    # --- what a person does

    async def patch_config(self, change: Mapping[str, Any]) -> AgentConfig:
        """An RFC 7396 merge patch; what it says that cannot be raises Refused, one line in `errors` for each."""
        return await self._told(AgentConfig, "PATCH", "/config", change)

    async def promote(self, confirm: str, *, force: bool = False) -> Promoted:
        """To LIVE, with real money. `confirm` must be "go live"."""
        return await self._told(Promoted, "POST", "/promote", {"confirm": confirm, "force": force})

    async def demote(self, reason: str, *, confirm: str | None = None) -> Demoted:
        """To paper, selling what is held. With `confirm` as "write off" also what the wallet does not hold is gone."""
        words = {} if confirm is None else {"confirm": confirm}
        return await self._told(Demoted, "POST", "/demote", {"reason": reason, **words})

    async def reapprove(self, demotion: str, reason: str) -> Reapproved:
        return await self._told(Reapproved, "POST", "/reapprove", {"demotion": demotion, "reason": reason})

    async def kill(self, confirm: str, reason: str) -> Killed:
        """The guard signs nothing more. `confirm` must be "revoke signing"."""
        return await self._told(Killed, "POST", "/kill-switch", {"confirm": confirm, "reason": reason})

    # --- how it is asked

    async def get(self, path: str, query: Query | None = None) -> httpx.Response:
        """An answer of the agent's own paths, such as "/trades", as it came. For what is not typed here."""
        return await self._ask("GET", path, query, patience=self._patience)

    async def _ask(
        self, method: str, path: str, query: Query | None = None, body: object = None, *, patience: float = 0.0
    ) -> httpx.Response:
        url = f"{self._address.base}/agents/{self._agent}{path}"
        params = {name: value for name, value in (query or {}).items() if value is not None}
        content = None if body is None else to_json(body)
        headers = {} if body is None else {"Content-Type": "application/json"}
        last = trio.current_time() + patience
        failure: ClientError
        while True:
            try:
                answer = await self._http.request(method, url, params=params, content=content, headers=headers)
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                failure = unanswered(error, self._address)
            else:
                if answer.is_success:
                    if answer.headers.get("Content-Type", "").startswith("text/html"):
                        raise unlike(self._address, "it answers with a web page")
                    return answer
                failure = refused(answer.status_code, answer.content, self._address)
            passes = failure.passes if isinstance(failure, Refused) else isinstance(failure, Unreachable)
            if not passes or trio.current_time() >= last:
                raise failure from None
            await trio.sleep(RETRY_SECONDS)

    async def _one(self, kind: type[T], path: str, **query: str | None) -> T:
        return read_answer(kind, (await self.get(path, query)).content, path)

    async def _all(self, kind: type[T], path: str, **query: str | None) -> list[T]:
        return read_answer(list[kind], (await self.get(path, query)).content, path)  # type: ignore[valid-type]

    async def _told(self, kind: type[T], method: str, path: str, body: Mapping[str, Any]) -> T:
        return read_answer(kind, (await self._ask(method, path, body=dict(body))).content, path)

    def _listing(
        self,
        path: str,
        kind: type[Any] | None,
        query: Query,
        begin: datetime | None,
        end: datetime | None,
        limit: int | None,
    ) -> Listing[Any]:
        page = None if limit is None else str(limit)
        return Listing(self.get, path, kind, {**query, **_between(begin, end), "limit": page})


def _between(begin: datetime | None, end: datetime | None) -> Query:
    return {"from": _instant(begin), "to": _instant(end)}


def _instant(at: datetime | None) -> str | None:
    """As the wire has it; UTC where no zone is given."""
    if at is None:
        return None
    return to_wire(at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC))
