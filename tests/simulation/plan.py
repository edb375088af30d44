"""What a seed does to its world: which faults there are, how often, and how small the product's buffers are made, so
that their edges are met."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from random import Random
from typing import Any, Final, Literal

from attrs import evolve, frozen

from actors.broadcaster import actor as broadcaster
from actors.broadcaster import board
from actors.journal import actor as journal
from actors.strategist import actor as strategist
from protocol.settings import AgentConfig
from server import bulkhead
from server.door import stream
from tests.simulation import wires
from tests.world.market import PAIRS, eager_config

# Each world has some of these, drawn by its seed. What each does: `Mischief._strike`.
FAULTS: Final = (
    "actor dies", "message kills", "actor hangs", "meltdown", "mailbox flood",
    "process killed", "power cut", "power cut in a write", "killed in a write", "power cut at a first byte",
    "orderly stop", "stop under fire",
    "disk full", "disk broken", "fsync fails", "disk read-only", "disk gone", "disk slow", "disk slow to sync",
    "disk hangs",
    "checkpoint forgotten", "checkpoint garbled", "bit flips", "row rewritten",
    "market outage", "market hangs", "clock set back",
    "client leaves", "client stalls", "client babbles", "owner hurries", "poisoned round",
)  # fmt: skip
SELDOM: Final = {"poisoned round": 0.4, "meltdown": 0.4}  # as often as the others
SIZES: Final[dict[str, tuple[Any, tuple[int, ...]]]] = {
    "CHECKPOINT_ROUNDS": (strategist, (1, 4, 7, 20, 50, 1000)),
    "PENDING_ROWS": (journal, (1, 8, 40, 2000)),
    "KEPT_FRAMES": (board, (4, 12, 50, 10_000)),
    "FRAMES": (stream, (1, 7, 500)),
    "MAX_UNSENT": (bulkhead, (2**16, 2**9)),
    "ROOM": (wires, (2**14, 2**8)),  # the simulator's own: of a socket
}
ROW_SIZES: Final = (3, 50, 2000)
# What a death may lie in wait for: rows of these kinds, as they are announced.
PREY: Final = ("placed", "trade", "status_change", "run_failed", "config", "snapshot", "RISK_BREACH", "SKIPPED")


@frozen
class Plan:
    """A seed's world. `changes` are the owner's: before which round, and what is patched."""

    seed: int
    rounds: int
    pairs: int
    holes: float  # the chance that a pair has no candle in a round
    speed: float | None
    faults: frozenset[str]
    latency: float  # seconds that a blocking call takes at most, while nothing is wrong
    pause: float  # seconds between two faults, on average
    budget: int  # of faults
    sizes: dict[str, int]
    row_size: int
    checkpoint_pages: int  # of the WAL, until SQLite copies it into its database
    config: AgentConfig
    changes: tuple[tuple[int, dict[str, Any]], ...]
    followers: int
    ambush: frozenset[str]  # after rows of these kinds an actor dies, or the process, or the power goes
    audited: bool  # each first byte is held against the disk, not only those at which the power is cut

    @property
    def deadly(self) -> bool:
        """May a round kill so often that it is passed over? Then the run is not the undisturbed one's any more."""
        return "poisoned round" in self.faults


def draw(seed: int) -> Plan:
    random = Random(f"plan {seed}")
    rounds = random.choice((40, 70, 110, 170))
    density = random.choice((0.04, 0.1, 0.3, 0.5))
    chosen = frozenset(name for name in FAULTS if random.random() < density * SELDOM.get(name, 1.0))
    config = _config(random)
    narrow = random.random() < 0.25  # all of it is small
    return Plan(
        seed=seed,
        rounds=rounds,
        pairs=len(config.watchlist),
        holes=random.choice((0.05, 0.05, 0.3)),
        speed=random.choice((None, 0.5, 2.0, 10.0)),
        faults=chosen or frozenset({"actor dies"}),
        latency=random.choice((0.0, 0.02, 0.2, 1.0)),
        pause=random.choice((0.3, 1.0, 3.0, 15.0, 20.0)),
        budget=random.randint(6, 40),
        sizes={name: min(values) if narrow else random.choice(values) for name, (_, values) in SIZES.items()},
        row_size=random.choice(ROW_SIZES),
        checkpoint_pages=random.choice((5, 30, 1000)),
        config=config,
        changes=_changes(random, rounds),
        followers=random.choice((1, 1, 2)),
        ambush=frozenset(kind for kind in PREY if random.random() < 0.15),
        audited=random.random() < 0.3,
    )


def _config(random: Random) -> AgentConfig:
    config = eager_config(PAIRS[: random.choice((1, 2, 2, 3, 3))])
    spec = config.strategy.spec
    spec = evolve(spec, params=evolve(spec.params, max_concurrent=random.choice((2, 2, 3))))
    fill_at: Literal["quote", "next_open"] = "quote" if random.random() < 0.5 else "next_open"
    paper = evolve(config.paper, fill_at=fill_at, fee_bps=Decimal(random.choice((25, 25, 200))))  # some only lose
    if random.random() < 0.2:  # so rich that a float would not hold its cash, and no pool is deep enough for it
        paper = evolve(paper, initial_usdt=Decimal(900_000_000), impact="none")
    return evolve(
        config,
        paper=paper,
        risk=evolve(config.risk, max_consecutive_losses=random.choice((2, 4)), cooldown_hours=random.choice((5, 30))),
        strategy=evolve(config.strategy, spec=spec, fee_multiple=random.choice((Decimal("0.1"), Decimal(1)))),
    )


def _changes(random: Random, rounds: int) -> tuple[tuple[int, dict[str, Any]], ...]:
    """At most one before a round, each other than what it finds. Some owners harp on one thing, every few rounds."""
    harped_on = random.choice((None, None, 0, 2, 2, 5))
    count = random.choice((0, 1, 3, 8) if harped_on is None else (8, rounds // 2))
    changes = list[tuple[int, dict[str, Any]]]()
    for number, index in enumerate(sorted(random.sample(range(5, rounds), count))):
        offered = _patches(random, number)
        changes.append((index, random.choice(offered) if harped_on is None else offered[harped_on]))
    return tuple(changes)


def _patches(random: Random, number: int) -> tuple[dict[str, Any], ...]:
    """Limits tightened and loosened, above all while a lock may hold; another strategy; another evaluation."""
    unlike = number % 10 + random.randrange(5) * 10  # so that no patch finds the config as it wants it
    return (
        {"risk": {"daily_drawdown_pct": 2 + unlike / 100, "max_drawdown_pct": 5 + unlike / 100}},
        {"risk": {"daily_drawdown_pct": 30 + unlike / 100, "max_drawdown_pct": 60 + unlike / 100}},
        {"risk": {"max_consecutive_losses": 1, "cooldown_hours": 1 + unlike}},
        {"risk": {"max_consecutive_losses": 900 - unlike, "cooldown_hours": 2 + unlike}},
        {"strategy": {"spec": {"name": f"another-{unlike}", "params": {"position_size_pct": 20 + unlike}}}},
        {"quotes": {"max_age_seconds": 1000 + unlike}},
        {"snapshot_minutes": 60 + unlike},
        {"evaluation": {"trade_floor": 1 + number, "eval_window_days": 1}},
    )


@contextmanager
def cramped(plan: Plan) -> Iterator[None]:
    """The product's buffers and batches at the plan's sizes, for the length of the block."""
    modules = [(module, name, plan.sizes[name]) for name, (module, _) in SIZES.items()]
    modules += [(module, "READ_ROWS", plan.row_size) for module in (journal, broadcaster)]
    before = [(module, name, getattr(module, name)) for module, name, _ in modules]
    try:
        for module, name, value in modules:
            setattr(module, name, value)
        yield
    finally:
        for module, name, value in before:
            setattr(module, name, value)
