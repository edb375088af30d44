"""A seed's run and what came of it: the disturbed world, and the one that nothing happened to, to hold it against."""

from __future__ import annotations

import gc
import hashlib
import json
import logging
import signal
import sys
from collections import Counter
from collections.abc import Callable
from functools import partial
from time import monotonic, process_time
from typing import Any, Final

from attrs import Factory, frozen

from tests.actors.seeded import run_seeded
from tests.simulation.live.plan import draw as draw_live
from tests.simulation.live.world import LiveWorld
from tests.simulation.plan import cramped, draw
from tests.simulation.world import Violation, World

PATIENCE_SECONDS: Final = 40  # of the processor's time; a world takes about one
LONGEST_SECONDS: Final = 600  # of real time, where the processor is others', too
AGAIN_SECONDS: Final = 5  # until it is told to give up once more
COMMAND: Final = "python -m tests.simulation --seed {seed}"
LIVE_COMMAND: Final = "python -m tests.simulation --live --seed {seed}"


@frozen
class Outcome:
    """What a seed's run came to. `digest` is of its log, byte for byte."""

    seed: int
    violations: tuple[Violation, ...]
    faults: dict[str, int]
    marks: dict[str, int]
    sites: dict[str, int] = Factory(dict)
    days: float = 0.0
    trades: int = 0
    rows: int = 0
    lives: int = 0
    digest: str = ""
    live: bool = False

    @property
    def replay(self) -> str:
        return (LIVE_COMMAND if self.live else COMMAND).format(seed=self.seed)


class Hangs(BaseException):
    """A world went on for PATIENCE_SECONDS."""


def settle_in() -> None:
    """A process that only simulates: what it has loaded is no garbage, and what it makes is so seldom in circles that
    they need not be looked for all the time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


def run(seed: int, *, hasty: bool = False) -> Outcome:
    """Run the seed's world, a `hasty` one to its first violation. Never raises: what goes wrong is a violation."""
    return _run(partial(World, draw(seed)), hasty=hasty)


def run_live(seed: int, *, hasty: bool = False) -> Outcome:
    """The same with its live world; the undisturbed one has no live side, and paper must have decided alike."""
    return _run(partial(LiveWorld, draw_live(seed)), hasty=hasty)


def _run(make: Callable[..., World], *, hasty: bool) -> Outcome:
    logging.disable(logging.CRITICAL)
    world = make(hasty=hasty)
    try:
        _within(PATIENCE_SECONDS, world)
        if not _passed_over(world) and not world.violations:
            calm = make(disturbed=False)
            _within(PATIENCE_SECONDS, calm)
            world.violations += calm.violations
            world.violations += _differences(world, calm)
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        world.complain("simulator", f"{type(error).__name__}: {error} {_leaf(error)}")
    finally:
        logging.disable(logging.NOTSET)
    return _outcome(world)


def _within(seconds: int, world: World) -> None:
    begun, spent = monotonic(), process_time()

    def give_up(*_: Any) -> None:
        if process_time() - spent < seconds and monotonic() - begun < LONGEST_SECONDS:
            return
        world.give_up(
            f"it goes on for ever, or longer than {seconds} s"
        )  # what is raised may be taken for a request's own
        raise Hangs

    before = signal.signal(signal.SIGALRM, give_up)
    signal.setitimer(signal.ITIMER_REAL, seconds, AGAIN_SECONDS)  # a second task may go on for ever, too
    try:
        with cramped(world.plan):
            run_seeded(world.plan.seed, world.run)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        world.disk.close()


def _passed_over(world: World) -> bool:
    """Was a round skipped because it killed, or the config changed ahead of its time? Then it decided otherwise than
    the undisturbed world, as it should."""
    return world.judge.marks["skipped by crash"] > 0 or world.outsiders.hurried


def _differences(world: World, calm: World) -> list[Violation]:
    """Whatever happened to it, its decisions are those of the world that nothing happened to."""
    mine, theirs = world.essence, calm.essence
    for place, (one, two) in enumerate(zip(mine, theirs, strict=False)):
        if one != two:
            return [Violation("24", f"decision {place} is {_short(one)}, undisturbed {_short(two)}")]
    if len(mine) != len(theirs):
        return [Violation("24", f"{len(mine)} decisions, undisturbed {len(theirs)}")]
    return []


def _short(value: Any) -> str:
    return json.dumps(value)[:400]


def _leaf(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    trace, where = error.__traceback__, ""
    while trace is not None:
        where = f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}"
        trace = trace.tb_next
    return f"({type(error).__name__}: {error}, at {where})"


def _outcome(world: World) -> Outcome:
    digest = hashlib.blake2b(digest_size=16)
    for row in world.log:
        digest.update(row[5].encode())
        digest.update(row[6])
    return Outcome(
        world.plan.seed,
        tuple(world.violations),
        dict(sorted(world.faults.items())),
        dict(sorted((+world.marks).items())),
        dict(sorted(world.reaper.sites.items())),
        world.market.days,
        sum(row[3] == "trade" for row in world.log),
        len(world.log),
        world.lives,
        digest.hexdigest(),
        isinstance(world, LiveWorld),
    )


def tell(outcome: Outcome) -> str:
    """A violated seed, for whoever has to mend it."""
    lines = [f"seed {outcome.seed}: {len(outcome.violations)} violations; again with: {outcome.replay}"]
    lines += [f"  statement {violation.statement}: {violation.text}" for violation in outcome.violations[:8]]
    return "\n".join(lines)


def add(counters: Counter[str], counts: dict[str, int]) -> None:
    for name, count in counts.items():
        counters[name] += count


if sys.flags.optimize:
    raise RuntimeError("the simulator's assertions are part of it")
