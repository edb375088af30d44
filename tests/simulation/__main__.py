"""`python -m tests.simulation`: run seeds, and print what they did and what did not hold."""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any, Final

import click
from attrs import Factory, asdict, define, evolve

from tests.simulation.reaper import await_sites
from tests.simulation.runs import Outcome, add, run, run_live, settle_in, tell
from tests.simulation.world import Violation

YEAR: Final = 365.25
AGAIN: Final = 10
OFTEN: Final = 20
# The states that are hard to reach; a long run reaches each of them often. `World` and the judge count them.
RARE: Final = tuple((Path(__file__).parent / "rare_states.txt").read_text().split("\n")[:-1])
RARE_LIVE: Final = tuple((Path(__file__).parent / "live" / "rare_states.txt").read_text().split("\n")[:-1])


@define
class Tally:
    """All outcomes in one. A run of `enough` seeds should have reached each state of `rare` often."""

    states: tuple[str, ...] = RARE
    enough: int = 1000
    seeds: int = 0
    days: float = 0.0
    trades: int = 0
    rows: int = 0
    lives: int = 0
    faults: Counter[str] = Factory(Counter)
    marks: Counter[str] = Factory(Counter)
    sites: Counter[str] = Factory(Counter)
    violated: list[Outcome] = Factory(list)

    def take(self, outcome: Outcome) -> None:
        self.seeds += 1
        self.days += outcome.days
        self.trades += outcome.trades
        self.rows += outcome.rows
        self.lives += outcome.lives
        add(self.faults, outcome.faults)
        add(self.marks, outcome.marks)
        add(self.sites, outcome.sites)
        if outcome.violations:
            self.violated.append(outcome)

    @property
    def rare(self) -> list[str]:
        """The states that a run as long as this should have reached more often."""
        return [name for name in self.states if self.marks[name] < OFTEN] if self.seeds >= self.enough else []

    def lines(self, seconds: float) -> Iterator[str]:
        years = self.days / YEAR
        yield (
            f"{self.seeds} seeds in {seconds:.0f} s: {years:.1f} simulated years, {self.lives} lives of the process, "
            f"{self.faults.total()} faults injected, {self.rows} rows, {self.trades / max(self.days, 1):.2f} trades a "
            f"day, {len(self.violated)} seeds with violations"
        )
        yield from ("", "faults by kind")
        yield from _columns(self.faults.items())
        yield from ("", "states reached")
        yield from _columns((name, self.marks[name]) for name in sorted({*self.marks, *self.states}))
        sites = await_sites()
        missed = sorted(sites - set(self.sites))
        yield from ("", f"actors died at {len(sites) - len(missed)} of {len(sites)} awaits" + (":" if missed else ""))
        yield from (f"  never at {site}" for site in missed[:20])
        if self.rare:
            yield from ("", f"too rare (less than {OFTEN} times): {', '.join(self.rare)}")


def _columns(counts: Iterable[tuple[str, int]]) -> Iterator[str]:
    return (f"  {name:<36}{count:>8}" for name, count in sorted(counts))


def tally_of(*, live: bool) -> Tally:
    return Tally(RARE_LIVE, 500) if live else Tally()


def outcomes(seeds: Sequence[int], jobs: int, *, live: bool = False, hasty: bool = False) -> Iterator[Outcome]:
    """Of all seeds, in processes of their own. The machine's day and its hash seed are odd ones, and each tenth seed is
    run once more under others: they must not matter."""
    one = partial(run_live if live else run, hasty=hasty)
    # By these two hash seeds a set of any two of the worlds' pairs is walked in one order and in the other.
    with _workers(jobs, "America/St_Johns", "31337") as workers, _workers(1, "Pacific/Kiritimati", "1") as others:
        repeated = others.imap(one, seeds[::AGAIN])
        for place, outcome in enumerate(workers.imap(one, seeds, chunksize=1)):
            yield outcome if place % AGAIN else _repeatable(outcome, next(repeated))


@contextmanager
def _workers(jobs: int, zone: str, hash_seed: str) -> Iterator[Any]:
    """Started with this environment, which they keep."""
    before = dict(os.environ)
    os.environ |= {"TZ": zone, "PYTHONHASHSEED": hash_seed}
    try:
        pool = multiprocessing.get_context("spawn").Pool(jobs, settle_in)
    finally:
        os.environ.clear()
        os.environ.update(before)
    with pool:
        yield pool


def _repeatable(one: Outcome, two: Outcome) -> Outcome:
    if one.digest == two.digest:
        return one
    text = f"another log under another hash seed and time zone: {one.digest} and {two.digest}"
    return evolve(one, violations=(*one.violations, Violation("41", text)))


@click.command()
@click.option("--seeds", type=int, default=100, show_default=True, help="How many.")
@click.option("--first", type=int, default=0, show_default=True, help="The first of them.")
@click.option("--seed", "only", type=int, multiple=True, help="Only this one; repeatable.")
@click.option("--jobs", type=int, default=os.cpu_count() or 1, show_default=True, help="Processes.")
@click.option("--live", is_flag=True, help="Worlds in which the agent trades live.")
@click.option("--once", is_flag=True, help="In this very process, and no seed a second time.")
@click.option("--until-violated", is_flag=True, help="Stop at the first violation.")
@click.option("--json", "as_json", is_flag=True, help="One outcome a line.")
def main(
    seeds: int,
    first: int,
    only: tuple[int, ...],
    jobs: int,
    live: bool,
    once: bool,
    until_violated: bool,
    as_json: bool,
) -> None:
    """Run simulated worlds. Exit 1 where a statement did not hold."""
    chosen = only or range(first, first + seeds)
    tally, begun, hasty = tally_of(live=live), monotonic(), until_violated
    one = partial(run_live if live else run, hasty=hasty)
    for outcome in map(one, chosen) if once else outcomes(chosen, min(jobs, len(chosen)), live=live, hasty=hasty):
        tally.take(outcome)
        if as_json:
            print(json.dumps(asdict(outcome)), flush=True)
        elif outcome.violations:
            print(tell(outcome), flush=True)
        if until_violated and outcome.violations:
            break
    if not as_json:
        print("\n".join(tally.lines(monotonic() - begun)))
    sys.exit(1 if tally.violated else 0)


if __name__ == "__main__":
    main()
