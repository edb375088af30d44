"""The one list: the floors, oldest first, and what each is handed. Read `actors.tower` for what the order means."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import trio
from attrs import frozen

from actors.broadcaster.actor import Broadcaster
from actors.broadcaster.board import Board
from actors.executor.actor import Dealing, Executor
from actors.journal.actor import Journal
from actors.journal.store import LogReader
from actors.market_feed.actor import MarketFeed
from actors.ports import Blocking, Market
from actors.quote_verifier.actor import QuoteVerifier
from actors.risk_engine.actor import RiskEngine
from actors.strategist.actor import Founding, Strategist
from actors.tower import Desk, Floor
from actors.twak_signer.actor import Armed, TwakSigner


@frozen
class House:
    """What the floors stand on: the outside world, and the few things that outlive an incarnation."""

    log: Path
    log_id: str
    founding: Founding
    market: Market
    speed: float | None
    board: Board
    market_ended: Callable[[], None]
    blocking: Blocking
    reader: LogReader
    reading: Blocking
    vfs: str | None = None
    armed: Armed | None = None  # what live orders go by


def floors(house: House) -> list[Floor]:
    """The floors of one agent."""
    attempts: Counter[str] = Counter()
    halted = trio.Event()

    def strategist(desk: Desk) -> Strategist:
        return Strategist(
            house.founding,
            journal=desk.address("Journal"),
            quotes=desk.address("QuoteVerifier"),
            risk=desk.address("RiskEngine"),
            executor=desk.address("Executor"),
        )

    def market_feed(desk: Desk) -> MarketFeed:
        return MarketFeed(
            house.market,
            house.speed,
            attempts,
            house.market_ended,
            halted,
            journal=desk.address("Journal"),
            strategist=desk.address("Strategist"),
            broadcaster=desk.address("Broadcaster"),
        )

    def signer(desk: Desk) -> TwakSigner:
        return TwakSigner(
            house.armed,
            journal=desk.address("Journal"),
            strategist=desk.address("Strategist"),
            broadcaster=desk.address("Broadcaster"),
        )

    def executor(desk: Desk) -> Executor:
        dealing = None
        if house.armed is not None:
            dealing = Dealing(
                quotes=desk.address("QuoteVerifier"),
                signer=desk.address("TwakSigner"),
                strategist=desk.address("Strategist"),
                broadcaster=desk.address("Broadcaster"),
                decimals=house.armed.decimals,
            )
        return Executor(desk.address("Journal"), desk.address("RiskEngine"), dealing)

    return [
        Floor(
            "Journal",
            lambda desk: Journal(house.log, house.log_id, house.blocking, desk.address("Broadcaster"), vfs=house.vfs),
        ),
        Floor("QuoteVerifier", lambda desk: QuoteVerifier(desk.address("Journal"))),
        Floor("RiskEngine", lambda desk: RiskEngine(desk.address("Journal"))),
        Floor("TwakSigner", signer),
        Floor("Executor", executor),
        Floor("Strategist", strategist),
        Floor("MarketFeed", market_feed),
        Floor("Broadcaster", lambda _: Broadcaster(house.board, house.reader, house.reading), capacity=1024),
    ]
