"""The judge finds nothing wrong with good logs, and each thing that can be wrong with a bad one.

Every tampered log here is sealed anew, hash by hash, so that its chain tells nothing: what is caught is what it says.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cache
from hashlib import blake2b
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any, Final, Literal

import msgspec
import pytest
from attrs import evolve

from actors.executor import book as books
from actors.executor import live as lives
from actors.executor.book import Book
from actors.executor.live import Live
from actors.executor.order_life import (
    Denied,
    Included,
    KitDidNot,
    KitSent,
    Lapsed,
    Moved,
    Ready,
    Sighting,
    Signature,
    Unexplained,
    Usurped,
    learn,
)
from actors.executor.snapshots import due, snapshot
from actors.executor.swaps import intend
from actors.messages import ChangeConfig, ConductRound
from actors.risk_engine import moves
from actors.risk_engine.rules import assess
from actors.risk_engine.state import RiskState
from actors.risk_engine.state import evolve as evolve_risk
from actors.strategist.actor import Strategist
from actors.strategist.outcomes import Outcomes, overdue, rejected, skipped
from actors.strategist.outcomes import evolve as repeated
from protocol.codec import encode_row
from protocol.errors import Refusal
from protocol.events import (
    EVENTS,
    ConfigAdopted,
    Genesis,
    Intended,
    JournalEntry,
    Leg,
    Marked,
    Purpose,
    QuoteRejected,
    RoundSettled,
    Row,
    RunStarted,
    Trade,
)
from protocol.market import Candle, Gap, Observation, Round, Tick
from protocol.money import ZERO, Units, booked
from protocol.orders import Order, Quote, Side, named
from protocol.settings import AgentConfig
from tests.actors.logs import contents
from tests.actors.seeded import run_seeded
from tests.simulation import judge
from tests.simulation.judge import Judge, LoggedRow
from tests.simulation.judge.money import divided, text, units
from tests.world.house import house
from tests.world.market import HOUR, Walk, eager_config

_encode: Final = msgspec.json.Encoder(decimal_format="number").encode
_decode: Final = msgspec.json.Decoder(float_hook=Decimal).decode
BEGINS: Final = datetime(2026, 3, 1, 15, tzinfo=UTC)
LIFE: Final = 60  # rounds before the owner changes the config and the process is started again

# --- good logs


class Boom(Exception):
    """What the Strategist dies of here."""


def walk(seed: int, rounds: int) -> Walk:
    """Over a leap day, with a hole that every pair sees, and a round whose clock was set back."""
    market = Walk(seed, rounds)
    begins = datetime(2028, 2, 26, tzinfo=UTC) - market.begins
    made = list[Round]()
    for round in market.rounds:
        by = begins + (9 * HOUR if len(made) > 90 else timedelta())
        late = {pair: evolve(tick, candle=evolve(tick.candle, ts=round.ts + by),
                             executable=evolve(tick.executable, observed_at=tick.executable.observed_at + by),
                             reference=tick.reference and evolve(tick.reference, observed_at=round.ts + by))
                for pair, tick in round.ticks.items()}  # fmt: skip
        gap = (Gap("BTC/USDT", round.ts + by - 10 * HOUR, round.ts + by, 9),) if len(made) == 91 else ()
        made.append(evolve(round, ts=round.ts + by, ticks=late, gaps=gap))
    made.insert(70, evolve(made[40], gaps=()))
    market.rounds = [evolve(round, cursor=number + 1) for number, round in enumerate(made)]
    return market


@cache
def story(fill_at: Literal["quote", "next_open"], seed: int, rounds: int = 200) -> tuple[LoggedRow, ...]:
    """Two lives with a change of config between them, and in the second a round that kills and is passed."""
    market = walk(seed, rounds)
    config = eager_config(market.pairs)
    config = evolve(config, paper=evolve(config.paper, fill_at=fill_at))
    changed = evolve(config, risk=evolve(config.risk, cooldown_hours=9, daily_drawdown_pct=Decimal("2.5")))
    whole, deadly = list(market.rounds), market.rounds[120].ts
    receive = Strategist.receive

    async def dying(self: Strategist, message: Any) -> Any:
        if isinstance(message, ConductRound) and message.round.ts == deadly:
            raise Boom
        return await receive(self, message)

    async def live(folder: Path, *, first: bool) -> None:
        market.rounds = whole[:LIFE] if first else whole
        async with house(folder, market, config) as standing:
            await standing.settled()
            if first:
                change = ChangeConfig(changed, "tighter", 1)
                assert await standing.tower.outside().address("Strategist").ask(change) == 2
                await standing.settled()

    with TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patched:
        patched.setattr(Strategist, "receive", dying)
        for first in (True, False):
            run_seeded(seed, lambda first=first: live(Path(name), first=first))
        return tuple(contents(Path(name)))


STORIES: Final[tuple[tuple[Literal["quote", "next_open"], int], ...]] = (
    ("quote", 11),
    ("next_open", 11),
    ("next_open", 10),
)
RARE: Final = {
    "breach daily", "breach max", "breach with an open intent", "cooldown", "lock over a restart",
    "config changed under a lock", "eligible", "eligibility lost", "midnight with an open intent",
    "midnight with an open position", "leap day", "skipped by crash", "skipped by clock", "waiting order filled",
    "waiting order refused", "restart", "folded repeats", "gap",
}  # fmt: skip


class Acts:
    """Into LIVE and out of it, and live orders on the way, by the product's own pure rules. `live` is its live side."""

    def __init__(self) -> None:
        self.state, self.live, self.paper = RiskState(), Live(), Book()
        self.at, self.rows, self.rounds = BEGINS, list[Row](), 0
        self.nonce = self.block = 0
        self.outcomes: Outcomes = {}  # of the live book
        config = AgentConfig(("ETH/USDT",))
        self.take(Genesis(BEGINS, 2, "seed", {"kind": "none"}), ConfigAdopted(BEGINS, 1, config))
        self.take(RunStarted(BEGINS, 1, config.paper.initial_usdt))
        self.take(JournalEntry(BEGINS, "jrn_started", "STARTED", (), "Started.", {}))

    def take(self, *rows: Row) -> None:
        self.rows += rows
        for row in rows:
            self.state = evolve_risk(self.state, row)
            self.live = lives.evolve(self.live, row)
            self.paper = books.evolve(self.paper, row)
            self.outcomes = repeated(self.outcomes, row, "live")

    def act(self, act: moves.Act) -> None:
        found = moves.acted(self.state, act, self.at, flat=self.live.flat)
        assert isinstance(found, tuple), found
        self.take(*found)

    def promote(self, cash: int | None = None) -> None:
        """With so much in the wallet, or with what the book says is there."""
        amount = self.live.book.cash if cash is None else Decimal(cash)
        units = self.live.units | {"USDT": Units.of(amount, 18), "gas": Units(10**18)}
        before = self.live.book.equity
        equity = booked(amount + before - self.live.book.cash)
        self.act(moves.Promote(amount, equity, before, units, "The guard holds the key.", force=True))

    def round(self, price: int, *, hours: int = 1, buys: int = 0, stale: Side | None = None) -> str:
        """A round at this close; in it the strategy may wish to buy for so many USDT: the order, or nothing; or have a
        wish to which the quote is too `stale`."""
        self.at, self.rounds = self.at + hours * HOUR, self.rounds + 1
        close, before = Decimal(price), self.state
        candle = Candle(self.at, close, close, close, close, ZERO)
        prices = {"ETH/USDT": close}
        self.take(*overdue(self.outcomes, self.at, "live"))
        ref = self.intend("buy", buys, price) if buys else ""
        if stale is not None:
            self.stale(stale, self.outcomes)
        self.take(Marked(self.at, self.paper.equity, prices))
        if live := self.live.trading or bool(self.live.book.positions):
            self.take(Marked(self.at, self.live.book.equity_at(prices), prices, "live"))
        self.take(*assess(before, self.state, self.at))
        if live:
            self.take(*moves.demote_on_breach(self.state, self.at))
        shown = self.live.book if self.live.trading else self.paper
        if due(shown, self.at, self.state.settings.snapshot_minutes):
            self.take(snapshot(self.state, shown, self.at))
        pool = Observation("pool", close, self.at, Decimal(10**6))
        self.take(RoundSettled(self.at, self.rounds, {"ETH/USDT": Tick(candle, pool, None)}))
        return ref

    def intend(self, side: Side, size: int, price: int) -> str:
        """What is sold in these stories is sold to get out."""
        buying, usdt = side == "buy", Decimal(size)
        ref = named("ord", self.at, side, str(len(self.rows)))
        qty = None if buying else self.live.book.positions["ETH/USDT"].qty
        order = Order(ref, "ETH/USDT", side, usdt, qty, "it looked good", "live")
        quote = Quote(
            ref, self.at, usdt, "pool", Decimal(price), Decimal(price), ZERO, ZERO, Decimal(10**6), 60, Decimal("0.01"),
            Decimal("0.01"), Decimal(1000),
        )  # fmt: skip
        purpose: Purpose = "entry" if buying else "flatten"
        found = intend(order, quote, self.live, self.state.settings, DECIMALS, purpose, self.at, self.at)
        assert isinstance(found, Intended), found
        self.take(found)
        return ref

    def stale(self, side: Side, outcomes: Outcomes) -> None:
        ref = named("ord", self.at, side, str(len(self.rows)))
        order = Order(ref, "ETH/USDT", side, Decimal(100), None, "it looked good", "live")
        no = QuoteRejected(self.at, "ETH/USDT", "stale", "too old", "QUOTE_STALE", ref, Decimal(61), Decimal(60))
        self.take(*rejected(outcomes, order, no, self.at))

    def way_out(self, price: int) -> str:
        return self.intend("sell", round(price * self.live.book.positions["ETH/USDT"].qty), price)

    def learn(self, seen: Sighting) -> None:
        rows = learn(self.live, seen, self.state.settings, DECIMALS, self.at)
        assert rows, seen
        self.take(*rows)
        self.take(*(row for trade in rows if isinstance(trade, Trade) for row in moves.proven(self.state, trade)))

    def sign(self, ref: str, leg: Leg = "swap", gas_price: int = 10**9) -> str:
        hash = f"0x{len(self.rows):064x}"
        self.learn(Signature(ref, leg, self.nonce, hash, "0x00", gas_price))
        return hash

    def mine(self, ref: str, hash: str, leg: Leg = "swap", *, succeeded: bool = True) -> None:
        """The swap brings a thousandth more than it must."""
        intended = self.live.orders[ref].intended
        moved = leg == "swap" and succeeded
        spent, received = (intended.spend, intended.min_received * 1001 // 1000) if moved else (0, 0)
        self.block, self.nonce = self.block + 20, self.nonce + 1
        self.learn(Included(ref, leg, hash, self.block, succeeded, spent, received, 21 * 10**13, Decimal("0.12")))

    def log(self) -> tuple[LoggedRow, ...]:
        bodies, seq = list[dict[str, Any]](), 0
        for row in self.rows:
            seq += isinstance(row, EVENTS)
            bodies.append(_decode(encode_row(row, seq if isinstance(row, EVENTS) else None)))
        return tuple(sealed(bodies))

    def buy(self, price: int, size: int) -> None:
        """An approval, a swap, and one that replaces it."""
        ref = self.round(price, buys=size)
        self.mine(ref, self.sign(ref, "approval"), "approval")
        self.sign(ref)
        self.mine(ref, self.sign(ref, gas_price=2 * 10**9))

    def sell(self, price: int) -> None:
        ref = self.way_out(price)
        self.mine(ref, self.sign(ref))


DECIMALS: Final = {"USDT": 18, "ETH": 18}
KILLED: Final = "2026-03-09T00:00:00.000Z"


@cache
def acts() -> tuple[LoggedRow, ...]:
    """Every way into LIVE and out of it, and every way in which a live order ends."""
    life = Acts()
    life.promote(500)
    life.buy(2000, 400)
    life.round(2040)
    life.round(1780)  # daily
    assert life.state.lock is not None
    assert life.state.lock.until is not None
    life.learn(Denied(life.way_out(1780), "daily_gas", "the day's gas is spent", "2", "1"))
    reverted = life.way_out(1780)
    life.mine(reverted, life.sign(reverted), succeeded=False)
    life.sell(1780)
    assert life.live.flat
    life.round(1780, hours=12)
    assert life.state.lock is None
    life.promote(1200)
    life.buy(2000, 1000)
    life.round(1550)  # max
    assert life.state.lock is not None
    assert life.state.lock.until is None
    life.sell(1550)
    life.round(1550, hours=24)
    life.act(moves.Reapprove(life.state.lock.demotion, "it was the market"))
    life.promote()
    life.learn(Lapsed(life.round(1500, buys=200), 2 * 10**9))
    life.learn(Moved(life.round(1500, buys=200), 7))
    in_kit = life.round(1500, buys=200)
    life.learn(Ready(in_kit, life.nonce, dict(life.live.units)))
    life.learn(KitSent(in_kit, life.nonce, "0xabc"))
    life.mine(in_kit, "0xabc")
    life.act(moves.Killed(KILLED, "by hand"))
    life.act(moves.Restored(KILLED))
    life.act(moves.Demote("sell what is left"))
    kept = life.way_out(1500)
    life.learn(Ready(kept, life.nonce, dict(life.live.units)))
    life.learn(KitDidNot(kept, "it found no route"))
    life.sell(1500)
    life.promote()
    usurped = life.round(1500, buys=200)
    life.sign(usurped)
    life.learn(Usurped(usurped, life.nonce))
    life.act(moves.Demote("enough"))
    life.round(1500)
    return life.log()


@cache
def kits() -> tuple[LoggedRow, ...]:
    """What a kit leaves behind, and sales that come to nothing."""
    life = Acts()
    life.promote(500)
    vanished = life.round(2000, buys=100)
    life.learn(Ready(vanished, life.nonce, dict(life.live.units)))
    life.learn(KitSent(vanished, life.nonce, "0xabc"))
    life.learn(KitDidNot(vanished, "nobody knows it any more", Units(10**18 - 5)))
    life.buy(2000, 200)  # its nonce is free again
    life.act(moves.Demote("enough"))
    way_out = Order("ord_a", "ETH/USDT", "sell", Decimal(200), life.live.book.positions["ETH/USDT"].qty, "", "live")
    life.take(*skipped({}, evolve(way_out, ref="ord_b"), Refusal("dust", "it would bring nothing"), life.at))
    no = QuoteRejected(life.at, "ETH/USDT", "stale", "too old", "QUOTE_STALE", "ord_c", Decimal(61), Decimal(60))
    life.take(*rejected({}, evolve(way_out, ref="ord_c"), no, life.at))
    lost = life.way_out(2000)
    life.learn(Ready(lost, life.nonce, dict(life.live.units)))
    life.learn(Unexplained(lost, life.nonce, 0, dict(life.live.units)))
    life.round(2000)
    return life.log()


@cache
def noes() -> tuple[LoggedRow, ...]:
    """Wishes that come to nothing, before and after what was held is sold between two rounds."""
    life = Acts()
    for _ in range(2):  # a trade lies between: the second is told, too
        life.promote(500)
        life.round(2000, stale="buy")
        life.buy(2000, 200)
        life.act(moves.Demote("enough"))
        life.sell(2000)
    life.promote(500)
    life.buy(2000, 200)
    life.round(2000, stale="sell")
    life.round(2000, stale="sell")  # counted, and not told when it is sold
    life.act(moves.Demote("enough"))
    life.stale("sell", {})
    life.sell(2000)
    life.round(2000)
    life.round(2000, hours=24)
    return life.log()


def base(name: str) -> tuple[LoggedRow, ...]:
    """The good log of this name."""
    if name in ("live", "kit", "no"):
        return {"live": acts, "kit": kits, "no": noes}[name]()
    return story(*STORIES[("quote", "open", "late").index(name)])


def sealed(bodies: list[dict[str, Any]]) -> list[LoggedRow]:
    """These bodies as a log with a good chain, whatever they say; places and `seq` are given anew."""
    rows, seq, digest = list[LoggedRow](), 0, bytes(32)
    for row, body in enumerate(bodies, 1):
        if own := "event" in body:
            seq += 1
            body["seq"] = seq
        kind, at = body.get("event") or body["fact"], datetime.fromisoformat(body["ts"])
        ts = (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
        plain = _encode(body)
        place = row.to_bytes(8, "big") + (seq if own else 0).to_bytes(8, "big")
        digest = blake2b(digest + place + plain, digest_size=32).digest()
        entry_type = body["type"] if kind == "journal_entry" else None
        rows.append((row, seq if own else None, ts, kind, entry_type, plain.decode(), digest))
    return rows


def judged(rows: Any) -> Judge:
    found = Judge()
    found.read(rows)
    return found


@pytest.mark.parametrize("name", ["quote", "open", "late", "live", "kit", "no"])
def test_a_good_log_is_found_good_and_so_is_the_same_sealed_by_another_hand(name: str) -> None:
    assert judged(base(name)).violations == []
    assert judged(sealed([_decode(row[5]) for row in base(name)])).violations == []


def test_each_rare_state_is_counted_where_a_log_shows_it() -> None:
    marks = [judged(story(*told)).marks for told in STORIES]
    assert {name for found in marks for name, count in found.items() if count} == RARE
    assert marks[0]["restart"] == 4  # a second life, and three deaths in a round
    assert marks[0]["skipped by crash"] == marks[0]["skipped by clock"] == marks[0]["leap day"] == marks[0]["gap"] == 1


def test_a_log_that_is_read_as_it_grows_is_judged_as_one_that_is_read_whole() -> None:
    growing, whole = Judge(), judged(base("open"))
    for rows in commits(base("open")):
        growing.read(rows)
    assert growing.violations == whole.violations == []
    assert growing.marks == whole.marks


def commits(rows: tuple[LoggedRow, ...]) -> Iterator[list[LoggedRow]]:
    """Whole turns: rows of one time."""
    batch = list[LoggedRow]()
    for row in rows:
        if batch and row[2] != batch[-1][2]:
            yield batch
            batch = []
        batch.append(row)
    yield batch


def test_the_judge_knows_nothing_of_the_product() -> None:
    allowed = {"__future__", "collections", "collections.abc", "dataclasses", "datetime", "decimal", "fractions",
               "hashlib", "json", "math", "typing"}  # fmt: skip
    folder = Path(judge.__file__).parent
    for path in folder.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            strange = [name for name in names if name not in allowed and not name.startswith("tests.simulation.judge")]
            assert not strange, f"{path.name} imports {strange}"
    loads = "import sys, tests.simulation.judge; print(*{name.split('.')[0] for name in sys.modules})"
    root = folder.parents[2]
    loaded = subprocess.run([sys.executable, "-c", loads], cwd=root, capture_output=True, text=True, check=True)
    assert not {"protocol", "actors", "server", "attrs", "trio", "cattrs"} & set(loaded.stdout.split())


# --- bad logs


class Log:
    """Bodies of a good log, to be tampered with."""

    def __init__(self, rows: tuple[LoggedRow, ...]) -> None:
        self.bodies: list[dict[str, Any]] = [_decode(row[5]) for row in rows]

    def find(self, label: str, nth: int = 0, **says: Any) -> int:
        """The place of the nth row of this kind, or entry of this type, whose body or data says so."""
        places = [place for place, body in enumerate(self.bodies) if _is(body, label) and _says(body, says)]
        return places[nth]

    def row(self, label: str, nth: int = 0, **says: Any) -> dict[str, Any]:
        return self.bodies[self.find(label, nth, **says)]


def _is(body: dict[str, Any], label: str) -> bool:
    return label in (body.get("event"), body.get("fact"), body.get("type"))


def _says(body: dict[str, Any], says: dict[str, Any]) -> bool:
    return all(body.get(key, body.get("data", {}).get(key)) == value for key, value in says.items())


Edit = Callable[[Log], object]


def changed(label: str, path: str, by: Any, nth: int = 0, **says: Any) -> Edit:
    """The value at `path` is another: `by` itself, or what it makes of the old one."""

    def edit(log: Log) -> None:
        body: Any = log.row(label, nth, **says)
        *way, last = path.split(".")
        for step in way:
            body = body[step]
        body[last] = by(body[last]) if callable(by) else by

    return edit


def gone(label: str, nth: int = 0, **says: Any) -> Edit:
    return lambda log: log.bodies.pop(log.find(label, nth, **says))


def twice(label: str, nth: int = 0, *, after: int = 1, **says: Any) -> Edit:
    """The row comes again, `after` places later; an entry has an id of its own there."""

    def edit(log: Log) -> None:
        place = log.find(label, nth, **says)
        again = deepcopy(log.bodies[place])
        again |= {"id": "jrn_another"} if "id" in again else {}
        log.bodies.insert(place + after, again)

    return edit


def before(label: str, body: dict[str, Any]) -> Edit:
    """A row of this body comes first, at the same time."""

    def edit(log: Log) -> None:
        place = log.find(label)
        log.bodies.insert(place, body | {"ts": log.bodies[place]["ts"]})

    return edit


def swapped(label: str, nth: int = 0, **says: Any) -> Edit:
    """The row and the one after it change places."""

    def edit(log: Log) -> None:
        place, bodies = log.find(label, nth, **says), log.bodies
        bodies[place], bodies[place + 1] = bodies[place + 1], bodies[place]

    return edit


def more(number: Any) -> Any:
    """The least that the ledger knows."""
    return number + Decimal("0.00000001")


def later(instant: str) -> str:
    at = datetime.fromisoformat(instant) + timedelta(hours=1)
    return at.strftime("%Y-%m-%dT%H:%M:%S.000Z")


def both(*edits: Edit) -> Edit:
    def edit(log: Log) -> None:
        for one in edits:
            one(log)

    return edit


def config(path: str, by: Any, nth: int = 0) -> Edit:
    """As if a version, the first or the `nth` after it, had said otherwise."""
    return changed("config", f"config.{path}", by, nth)


def split(log: Log) -> None:
    """The process started in the midst of a turn."""
    place = log.find("round", 9)
    log.bodies.insert(place, log.row("STARTED") | {"id": "jrn_x", "ts": log.bodies[place]["ts"]})


def revived(log: Log) -> None:
    """An order is filled that was vetoed before."""
    veto = log.find("RISK_VETO")
    place = next(place for place, body in enumerate(log.bodies) if body.get("type") == "EXECUTED" and place > veto)
    ref = log.bodies[veto]["data"]["order_ref"]
    log.bodies[place]["data"]["order_ref"] = log.bodies[place + 1]["order_ref"] = ref


def sooner(log: Log) -> None:
    """The last round, and what came of it, was a day earlier."""
    last = log.bodies[-1]["ts"]
    for body in log.bodies:
        if body["ts"] == last:
            body["ts"] = body["ts"][:8] + f"{int(body['ts'][8:10]) - 1:02d}" + body["ts"][10:]


def reordered(log: Log) -> None:
    """Two pairs that were decided in one round change places."""
    for place, body in enumerate(log.bodies):
        after = log.bodies[place + 1]
        if "decided" == body.get("fact") == after.get("fact") and body["ts"] == after["ts"]:
            log.bodies[place], log.bodies[place + 1] = after, body
            return
    raise LookupError


def unlocked(label: str, **says: Any) -> Edit:
    """A veto becomes the order that it stopped."""

    def edit(log: Log) -> None:
        at = log.find(label, **says)
        veto, bodies = log.bodies[at], log.bodies
        settled = next(body for body in bodies[at:] if body.get("fact") == "round")
        tick = settled["ticks"][veto["data"]["pair"]]
        pool, reference, size = tick["executable"], tick["reference"], veto["data"]["size"]
        order = {"ref": veto["data"]["order_ref"], "pair": veto["data"]["pair"], "side": "buy", "size_usdt": size,
                 "qty": None, "reason": "it was bold", "phase": "paper"}  # fmt: skip
        impact = (size / pool["depth_usdt"]).quantize(Decimal("1e-8"))
        seen = datetime.fromisoformat(veto["ts"]) - datetime.fromisoformat(pool["observed_at"])
        quote = {
            "order_ref": order["ref"], "verified_at": veto["ts"], "size_usdt": size, "venue": pool["venue"],
            "price": (pool["price"] * (1 + impact)).quantize(Decimal("1e-8")), "mid": pool["price"],
            "impact_fraction": impact, "age_seconds": int(seen.total_seconds()), "depth_usdt": pool["depth_usdt"],
            "max_age_seconds": 5400, "max_impact_fraction": Decimal("0.01"), "min_depth_usdt": 10000,
            "max_divergence_fraction": Decimal("0.01"), "reference_venue": "exchange",
            "reference_price": reference["price"], "reference_age_seconds": 0,
            "divergence_fraction": abs(pool["price"] / reference["price"] - 1).quantize(Decimal("1e-8")),
        }  # fmt: skip
        bodies[at : at + 3] = [{"fact": "placed", "ts": veto["ts"], "order": order, "quote": quote}]

    return edit


def first_trade_live(log: Log) -> None:
    """A live order right at the beginning, in paper."""
    entry, trade = deepcopy(log.row("EXECUTED")), deepcopy(log.row("trade"))
    ts = log.bodies[2]["ts"]
    entry |= {"ts": ts, "id": "jrn_live"}
    trade |= {"ts": ts, "journal_ref": "jrn_live", "phase": "live"}
    log.bodies[3:3] = [entry, trade]


def a_status_change(log: Log, start: str, end: str, trigger: str) -> None:
    """An entry and its event, right after the first rows."""
    ts = log.bodies[2]["ts"]
    data = {"from": start, "to": end, "trigger": trigger}
    entry = {"event": "journal_entry", "ts": ts, "seq": 0, "id": "jrn_status", "type": "STATUS_CHANGE",
             "tags": [start, end], "text": "Because.", "data": data}  # fmt: skip
    event = {"event": "status_change", "ts": ts, "seq": 0, "from": start, "to": end, "reason": "Because."}
    log.bodies[3:3] = [entry, event]


LIFTED: Final = ("lock_lifted", "STATUS_CHANGE", "status_change")
TAMPERED: Final[tuple[tuple[str, str, Edit], ...]] = (
    ("3", "quote", gone("round", 30)),
    ("3", "quote", gone("run_started", version=2)),
    ("3", "quote", split),
    ("9", "quote", sooner),
    ("12", "quote", gone("trade")),
    ("12", "quote", gone("risk_veto")),
    ("12", "quote", gone("quote_rejected")),
    ("12", "quote", gone("RISK_VETO")),
    ("12", "quote", gone("STATUS_CHANGE")),
    ("12", "quote", swapped("STATUS_CHANGE")),
    ("12", "quote", swapped("RISK_VETO")),
    ("12", "quote", changed("risk_veto", "reason", "it was late")),
    ("12", "quote", changed("trade", "fees", more)),
    ("12", "quote", changed("EXECUTED", "data.gas", more)),
    ("12", "quote", changed("quote_rejected", "detail", "it was late")),
    ("12", "live", gone("STATUS_CHANGE")),
    ("12", "live", gone("status_change")),
    ("12", "live", gone("promotion")),
    ("12", "live", swapped("promotion")),
    ("12", "live", gone("DEMOTION")),
    ("12", "live", gone("demotion")),
    ("12", "live", gone("RISK_BREACH")),
    ("12", "live", gone("PROMOTION")),
    ("3", "live", gone("submitted")),
    ("12", "live", gone("SUBMITTED")),
    ("12", "live", gone("CONFIRMED")),
    ("12", "live", gone("EXECUTED")),
    ("12", "live", gone("TWAK_BLOCK")),
    ("12", "live", gone("FAILED")),
    ("12", "live", changed("SUBMITTED", "data.nonce", 7)),
    ("12", "live", changed("CONFIRMED", "data.block", 7)),
    ("12", "live", changed("twak_block", "size", more)),
    ("12", "live", gone("live_opened")),
    ("12", "live", gone("promotion", 1)),
    ("12", "live", gone("promotion", 3)),
    ("12", "live", changed("promotion", "tx_hash", "0xother", nth=1)),
    ("12", "live", changed("promotion", "journal_ref", "jrn_other", nth=1)),
    ("13", "live", changed("status_change", "from", "ELIGIBLE")),
    ("13", "quote", lambda log: a_status_change(log, "ELIGIBLE", "PAPER", "criterion_lost")),
    ("14", "quote", lambda log: a_status_change(log, "PAPER", "ELIGIBLE", "criteria_met")),
    ("14", "quote", lambda log: a_status_change(log, "PAPER", "DEMOTED", "breached")),
    ("14", "live", changed("STATUS_CHANGE", "data.trigger", "promoted")),
    ("14", "live", changed("PROMOTION", "data.force", False)),
    ("14", "live", gone("KILL")),
    ("14", "live", gone("lock_lifted")),
    ("17", "quote", first_trade_live),
    ("17", "live", changed("intended", "purpose", "flatten")),
    ("17", "live", both(gone("frozen"), gone("flattening", 2))),
    ("18", "live", gone("intended")),
    ("18", "live", twice("given_up")),
    ("18", "live", changed("intended", "order.side", "sell")),
    ("18", "open", gone("placed")),
    ("18", "quote", gone("EXECUTED")),
    ("18", "quote", revived),
    ("19", "live", changed("demotion", "locked_until", later)),
    ("19", "live", changed("demotion", "locked_until", None)),
    ("19", "live", both(*(gone(label, 2 * (label != "lock_lifted")) for label in LIFTED))),
    ("19", "live", changed("demotion", "locked_until", "2026-03-03T00:00:00.000Z", nth=1)),
    ("20", "live", both(*(gone(label, 1 + 4 * (label != "lock_lifted")) for label in LIFTED))),
    ("20", "live", changed("lock_lifted", "demotion", "jrn_another", nth=1)),
    ("20", "live", changed("status_change", "reason", "time has passed", nth=5)),
    ("21", "quote", gone("RISK_BREACH", rule="daily_drawdown")),
    ("21", "quote", gone("RISK_BREACH", rule="max_drawdown")),
    ("21", "quote", gone("run_failed")),
    ("21", "quote", twice("run_failed")),
    ("21", "quote", changed("RISK_BREACH", "data.breach", "max", rule="daily_drawdown")),
    ("21", "quote", config("risk.daily_drawdown_pct", Decimal("2.9"))),
    ("21", "quote", config("risk.max_drawdown_pct", Decimal("9"))),
    ("21", "live", gone("flattening")),
    ("21", "live", gone("frozen")),
    ("21", "live", both(*(gone(label) for label in ("RISK_BREACH", "DEMOTION", "STATUS_CHANGE", "demotion")))),
    ("21", "live", config("risk.daily_drawdown_pct", 15)),
    ("22", "open", unlocked("RISK_VETO", rule="daily_drawdown")),
    ("22", "open", unlocked("RISK_VETO", rule="max_drawdown")),
    ("22", "open", unlocked("RISK_VETO", rule="streak_limit")),
    ("22", "late", gone("run_started", 1, version=1)),
    ("22", "quote", changed("run_started", "equity", more, nth=1)),
    ("22", "quote", changed("run_failed", "measured", more)),
    ("22", "quote", changed("RISK_VETO", "data.until", later)),
    ("22", "quote", changed("RISK_VETO", "data.measured", more, rule="daily_drawdown")),
    ("22", "quote", changed("RISK_VETO", "data.limit", more, rule="max_drawdown")),
    ("22", "quote", config("risk.cooldown_hours", 30, nth=1)),
    ("23", "quote", changed("run_failed", "until", later)),
    ("23", "quote", changed("RISK_BREACH", "data.until", later)),
    ("26", "live", both(gone("SUBMITTED"), gone("submitted"))),
    ("26", "live", changed("trade", "tx_hash", "0xother")),
    ("27", "live", changed("submitted", "nonce", 9, nth=2)),
    ("27", "live", changed("submitted", "nonce", 0, nth=3)),
    ("27", "live", changed("submitted", "gas_price", "1099999999", nth=2)),
    ("27", "live", changed("submitted", "hash", lambda _: "0xabc", nth=3)),
    ("28", "live", changed("given_up", "code", "lapsed", code="reverted")),
    ("28", "live", changed("given_up", "code", "reverted", code="lapsed")),
    ("28", "live", changed("given_up", "code", "not_sent", code="usurped")),
    ("12", "kit", gone("SKIPPED", code="dust")),
    ("12", "kit", changed("quote_rejected", "order_ref", "ord_b")),
    ("17", "kit", gone("flattening")),
    ("18", "kit", changed("SKIPPED", "data.order_ref", "ord_c", code="dust")),
    ("27", "kit", changed("given_up", "code", "usurped", code="not_sent")),
    ("32", "kit", gone("frozen")),
    ("31", "live", twice("handed_over")),
    ("32", "live", before("handed_over", {"fact": "frozen", "reason": "a person must look"})),
    ("28", "live", both(
        changed("given_up", "code", "frozen", code="lapsed"), changed("FAILED", "tags", ["frozen", "ETH/USDT"], nth=1)
    )),
    ("fold", "no", lambda log: log.bodies.pop(next(
        place for place, body in enumerate(log.bodies) if "repeats" in body.get("tags", ())))),
    ("32", "live", gone("frozen", 1)),
    ("33", "live", changed("mined", "received", lambda old: str(int(old) // 2), leg="swap")),
    ("33", "live", changed("mined", "spent", lambda old: str(int(old) + 1), leg="swap")),
    ("34", "live", changed("live_opened", "cash", more)),
    ("34", "live", changed("live_opened", "before", more, nth=1)),
    ("34", "live", changed("live_opened", "equity", more)),
    ("34", "live", changed("intended", "spend", "1", nth=1)),
    ("34", "live", changed("intended", "to_token", "CAKE")),
    ("34", "live", changed("mark", "equity", more, phase="live")),
    ("34", "live", changed("mark", "prices.ETH/USDT", more, phase="live")),
    ("34", "live", both(changed("trade", "size", more), changed("EXECUTED", "data.size", more))),
    ("34", "live", both(changed("trade", "fees", more), changed("EXECUTED", "data.fees", more))),
    ("34", "live", both(changed("trade", "price", more), changed("EXECUTED", "data.price", more))),
    ("34", "live", changed("mined", "gas", lambda old: old * 2, leg="swap")),
    ("34", "live", changed("given_up", "gas", more, code="reverted")),
    ("34", "live", changed("mined", "received", "5", leg="approval")),
    ("34", "quote", changed("mark", "equity", more, nth=40)),
    ("34", "quote", changed("mark", "prices.BTC/USDT", more, nth=40)),
    ("34", "quote", both(changed("trade", "size", more), changed("EXECUTED", "data.size", more))),
    ("34", "quote", both(
        changed("trade", "pnl", more, side="sell"), changed("EXECUTED", "data.pnl", more, side="sell")
    )),
    ("34", "quote", changed("trade", "return", more, side="sell")),
    ("34", "quote", changed("trade", "hold_s", lambda old: old + 1, side="sell")),
    ("34", "quote", lambda log: log.row("trade", side="buy").update(hold_s=0)),
    ("35", "quote", gone("ACTOR_RESTARTED")),
    ("evaluation", "quote", both(gone("STATUS_CHANGE"), gone("status_change"))),
    ("evaluation", "quote", config("evaluation.trade_floor", 12, nth=1)),
    ("evaluation", "quote", config("evaluation.eval_window_days", 5, nth=1)),
    ("fill", "quote", config("paper.slippage_bps", 6)),
    ("fill", "quote", config("paper.fill_at", "next_open")),
    ("fill", "open", config("paper.slippage_bps", 6)),
    ("fill", "open", config("paper.fill_at", "quote")),
    ("fill", "open", changed("placed", "order.size_usdt", more)),
    ("fill", "open", lambda log: next(
        body for body in log.bodies if body.get("fact") == "placed" and body["order"]["side"] == "sell"
    )["order"].update(qty=1)),
    ("fill", "open", changed("trade", "filled_at", later)),
    ("fold", "quote", lambda log: log.bodies.pop(next(
        place for place, body in enumerate(log.bodies) if "repeats" in body.get("tags", ())))),
    ("fold", "quote", lambda log: next(
        body for body in log.bodies if "repeats" in body.get("tags", ()))["data"].update(count=99)),
    ("fold", "quote", gone("decided", entry=None)),
    ("gap", "quote", changed("round", "gaps", [], nth=92)),
    ("genesis", "quote", gone("genesis")),
    ("genesis", "quote", lambda log: log.bodies.__delitem__(slice(0, 3))),
    ("id", "quote", lambda log: log.row("STARTED", 1).update(id=log.row("STARTED")["id"])),
    ("life", "quote", gone("STARTED")),
    ("outcome", "quote", gone("decided", code="fee_filter")),
    ("outcome", "quote", gone("SKIPPED", code="fee_filter")),
    ("outcome", "quote", changed("SKIPPED", "data.limit", more, code="fee_filter")),
    ("outcome", "quote", config("watchlist", ["ETH/USDT"])),
    ("outcome", "quote", changed("decided", "code", "regime", code="daily_drawdown")),
    ("outcome", "open", twice("placed")),
    ("quote", "quote", changed("EXECUTED", "data.quote.price", more)),
    ("quote", "quote", changed("EXECUTED", "data.quote.divergence_checked", False)),
    ("quote", "quote", config("quotes.max_age_seconds", 2)),
    ("quote", "quote", config("quotes.max_divergence_pct", Decimal("0.01"))),
    ("quote", "quote", config("quotes.max_impact_pct", Decimal("0.01"))),
    ("quote", "open", changed("placed", "quote.verified_at", later)),
    ("quote", "late", changed("SKIPPED", "data.measured", more, code="QUOTE_STALE", limit=27_000)),
    ("round", "quote", gone("mark", 20)),
    ("round", "quote", twice("mark", 20)),
    ("round", "quote", twice("round", 20)),
    ("round", "quote", changed("round", "cursor", None, nth=20)),
    ("round", "quote", changed("SKIPPED", "data.round", later, pairs=["BTC/USDT", "ETH/USDT"], nth=1)),
    ("shape", "quote", changed("trade", "price", "a lot")),
    ("snapshot", "quote", gone("snapshot", 3)),
    ("snapshot", "quote", changed("snapshot", "dd_from_peak", more, nth=9)),
    ("snapshot", "quote", changed("snapshot", "daily_dd_used", more, nth=9)),
    ("snapshot", "quote", config("snapshot_minutes", 120)),
    ("version", "quote", changed("config", "version", 3, nth=1)),
    ("version", "quote", changed("CONFIG_CHANGE", "data.version", 3)),
    ("version", "quote", gone("CONFIG_CHANGE")),
    ("veto", "quote", config("strategy.spec.params.max_concurrent", 1)),
    ("veto", "quote", config("risk.per_pair_exposure_pct", 39)),
    ("veto", "quote", changed("risk_veto", "size", more)),
    ("wire", "quote", lambda log: log.row("snapshot").pop("phase")),
    ("wire", "quote", changed("snapshot", "phase", "dream")),
    ("wire", "quote", changed("STARTED", "type", "AWOKEN")),
)  # fmt: skip


@pytest.mark.parametrize(
    ("statement", "name", "edit"), TAMPERED, ids=[f"{number}-{case[0]}" for number, case in enumerate(TAMPERED)]
)
def test_a_tampered_log_is_caught_by_the_statement_that_it_breaks(statement: str, name: str, edit: Edit) -> None:
    log = Log(base(name))
    edit(log)
    found = judged(sealed(log.bodies)).violations
    assert statement in {violation.statement for violation in found}, found[:5]


def test_statements_of_the_chain_are_held_for_rows_as_they_are_stored() -> None:
    rows = list(base("quote"))
    place = next(place for place, row in enumerate(rows) if place > 40 and row[3] == "mark")
    row, seq, ts, kind, _, body, digest = rows[place]
    for statement, bad in (
        ("4", (row, seq, ts, kind, None, body, bytes(32))),
        ("4", (row, seq, ts, kind, None, body.replace("mark", "marc"), digest)),
        ("4", (row, seq, ts + 1, kind, None, body, digest)),
        ("4", (row, seq, ts, "decided", None, body, digest)),
        ("4", (row, seq, ts, kind, "SKIPPED", body, digest)),
        ("4", (row, seq, ts, kind, None, body[:-1], digest)),
        ("1", (row + 1, seq, ts, kind, None, body, digest)),
        ("9", (row, seq, ts - 1, kind, None, body, digest)),
    ):
        found = judged([*rows[:place], bad, *rows[place + 1 :]]).violations
        assert {statement} <= {violation.statement for violation in found}, (statement, found[:3])
        assert found[0].row in (row, row + 1)


@pytest.mark.parametrize("nth", [0, 7, 50])
def test_events_are_numbered_without_a_gap_and_as_their_frames_say(nth: int) -> None:
    rows = list(base("quote"))
    place = [place for place, row in enumerate(rows) if row[1] is not None][nth]
    missing = judged(rows[:place] + rows[place + 1 :]).violations
    assert (missing[0].statement, missing[0].row) == ("1", place + 2)
    row, seq, *rest = rows[place]
    assert seq is not None
    renumbered = judged([*rows[:place], (row, seq + 1, *rest), *rows[place + 1 :]]).violations
    assert (renumbered[0].statement, renumbered[0].row) == ("1", place + 1)


def test_a_turn_that_is_durable_in_part_is_seen_at_once() -> None:
    rows = base("quote")
    parts = [place for place in range(5, 200) if rows[place][3] in ("mark", "trade", "decided", "placed")]
    assert len(parts) > 40
    for place in parts:
        found = judged(rows[: place + 1]).violations
        assert [violation.statement for violation in found] == ["3"], found


def test_a_second_entry_for_a_repeat_of_the_same_day_is_caught() -> None:
    """Even where it is told as well as the first."""
    log = Log(base("quote"))
    place = log.find("decided", entry=None, code="fee_filter")
    pair = log.bodies[place]["pair"]
    entry = deepcopy(
        next(body for body in log.bodies[place::-1] if _is(body, "SKIPPED") and _says(body, {"pair": pair}))
    )
    entry |= {"ts": log.bodies[place]["ts"], "id": "jrn_again"}
    entry["data"]["order_ref"] = "ord_again"
    log.bodies[place]["entry"] = "jrn_again"
    log.bodies.insert(place, entry)
    assert judged(sealed(log.bodies)).violations[0].statement == "fold"


# What is data of the market or words, which nothing else in the log repeats; and ids, which are only to be unique.
INSTANT: Final = r"[0-9-]{10}T[0-9:.]{12}Z"
UNJUDGED: Final = re.compile(
    r"(config|genesis):.*|.*:(text|cursor|ts)|.*journal_entry.*:(id|data\.(order_ref|place|error|actor|pairs.*))"
    r"|.*(STARTED|CONFIG_CHANGE|ACTOR_RESTARTED):(tags.*|data)"
    r"|round:(ticks\..*|series)|placed:order\.reason|.*SKIPPED:data\.(measured|limit|round)"
    r"|journal_entry SKIPPED:(data\.(after|before|missing|pair)|tags.*)"
)


def leaves(value: Any, way: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Each value in a body, and the way to it."""
    items: Any = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    if not items or not value:
        yield way, value
    for key, part in items:
        yield from leaves(part, (*way, key))


def other(value: Any) -> Any:
    """Something else of the same kind, as near as can be."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    if isinstance(value, Decimal):
        return more(value)
    if isinstance(value, str) and re.fullmatch(INSTANT, value):
        return later(value)
    return value + "x" if isinstance(value, str) else "x"


@pytest.mark.parametrize("name", ["quote", "open"])
def test_whatever_value_of_a_row_is_another_is_noticed(name: str) -> None:
    """A row for each field of each kind, drawn by a seed; what follows of it shows within some rounds."""
    bodies = [_decode(row[5]) for row in base(name)]
    fields: dict[str, list[tuple[int, tuple[Any, ...]]]] = {}
    for place, body in enumerate(bodies[:-40]):  # what the last rows say may only tell later
        label = f"{base(name)[place][3]} {base(name)[place][4] or ''}".strip()
        for way, _ in leaves(body):
            field = f"{label}:" + ".".join("*" if isinstance(key, int) else key for key in way if key != "seq")
            if not UNJUDGED.fullmatch(field) and way not in (("seq",), ("event",), ("fact",), ("type",)):
                fields.setdefault(re.sub("[A-Z]+/USDT", "PAIR", field), []).append((place, way))
    assert len(fields) > 80
    unnoticed = []
    for field, places in sorted(fields.items()):
        place, path = Random(field).choice(places)
        body = part = deepcopy(bodies[place])
        for key in path[:-1]:
            part = part[key]
        part[path[-1]] = other(part[path[-1]])
        end = next(end for end in range(min(place + 80, len(bodies) - 1), 0, -1) if "cursor" in bodies[end])
        if not judged(sealed([*bodies[:place], body, *bodies[place + 1 : end + 1]])).violations:
            unnoticed.append((field, place))
    assert not unnoticed


def test_no_log_is_so_bad_that_the_judge_falls_over_it() -> None:
    rows, random = list(base("open")), Random(5)
    for _ in range(150):
        place, bad = random.randrange(len(rows)), _decode(random.choice(rows)[5])
        ways = [way for way, _ in leaves(bad) if way not in (("ts",), ("event",), ("fact",))]
        way = random.choice(ways)
        part: Any = bad
        for key in way[:-1]:
            part = part[key]
        part[way[-1]] = random.choice((None, [], {}, -1, "", "x", True, Decimal("1e30")))
        bodies = [_decode(row[5]) for row in rows[max(place - 50, 0) : place]]
        assert judged(sealed([*bodies, bad, bad])).violations
    for body in ("", "{", "[]", "null", "{}", '{"event":1}', '{"fact":null,"ts":[]}', '{"ts":{}}'):
        row, *columns, _, digest = rows[30]
        found = judged([*rows[:30], (row, *columns, body, digest), *rows[31:]]).violations
        assert found[0].statement == "4", body


def test_money_is_counted_in_whole_units_and_rounded_half_even() -> None:
    assert units(Decimal("1.00000001")) == 100_000_001
    assert (units(3), text(-150_000_000), text(0)) == (300_000_000, "-1.5", "0")
    assert [divided(over, 2) for over in (-3, -1, 1, 3, 5, 4)] == [-2, 0, 0, 2, 2, 2]
    with pytest.raises(ValueError, match="8 places"):
        units(Decimal("0.000000001"))
