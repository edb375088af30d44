"""The simulator's own exam: each planted bug, in a copy of the product, must be caught within so many seeds.

`python -m tests.simulation.exam` takes it anew and writes which seed caught which bug to `caught.json`; the test suite
holds every bug against the seed that caught it, and a few more. The seed that caught a bug before is tried first: a
change of the product moves what a seed does, but seldom of all.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import click
from attrs import frozen

from tests.simulation import bugs, bugs_blind, bugs_live
from tests.simulation.planted import Bug, planted

BUGS: Final[tuple[Bug, ...]] = (*bugs.BUGS, *bugs_blind.BUGS, *bugs_live.BUGS)
CAUGHT: Final = Path(__file__).parent / "caught.json"
SEEDS: Final = 200
SECONDS: Final = 600  # for all seeds of one bug; one that slows its worlds down is tried with fewer
ODD: Final = {"TZ": "America/St_Johns", "PYTHONHASHSEED": "31337"}


@frozen
class Verdict:
    """`seed` is the first of those tried that caught the bug, None where none did. A bug that has a test of its own is
    caught where that fails, and has no seed."""

    bug: Bug
    seed: int | None
    statements: tuple[str, ...] = ()
    text: str = ""
    failed: bool = False

    @property
    def caught(self) -> bool:
        return self.seed is not None or self.failed


def examine(bug: Bug, seeds: Sequence[int], *, once: bool = False) -> Verdict:
    """Run the seeds on a copy of the product with this bug in it, until one sees it; `once` without the second run
    under another hash seed and time zone."""
    with tempfile.TemporaryDirectory() as folder:
        planted(bug, Path(folder))
        environment = {**os.environ, "PYTHONPATH": folder, "PYTHONDONTWRITEBYTECODE": "1", **ODD}
        if bug.test:
            return _tested(bug, folder, environment)
        command = [sys.executable, "-m", "tests.simulation", "--json", "--until-violated", "--jobs", "1"]
        command += ["--once"] * once + ["--live"] * bug.live
        command += [word for seed in seeds for word in ("--seed", str(seed))]
        try:
            done = subprocess.run(
                command, cwd=folder, env=environment, capture_output=True, timeout=SECONDS, check=False
            )
            printed, errors = done.stdout, done.stderr
        except subprocess.TimeoutExpired as late:
            printed, errors = late.stdout or b"", late.stderr or b""
    outcomes = [json.loads(line) for line in printed.decode().splitlines(keepends=True) if line.endswith("\n")]
    if not outcomes and b"Hangs" in errors:  # also where that came at a moment when nobody could take note of it
        return Verdict(bug, seeds[0], ("simulator",), "its world goes on for ever")
    if not outcomes:
        raise RuntimeError(f"{bug.name}: the simulator did not run: {errors.decode()[-2000:]}")
    return _verdict(bug, outcomes)


def _tested(bug: Bug, folder: str, environment: dict[str, str]) -> Verdict:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", bug.test]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, timeout=SECONDS, check=False)
    if done.returncode not in (0, 1):  # 1: it ran and failed
        raise RuntimeError(f"{bug.name}: {bug.test} did not run: {done.stdout.decode()[-2000:]}")
    return Verdict(bug, None, (bug.statement,), bug.test, failed=done.returncode == 1)


def _verdict(bug: Bug, outcomes: Sequence[dict[str, Any]]) -> Verdict:
    last = outcomes[-1]
    if not last["violations"]:
        return Verdict(bug, None)
    statements = tuple(sorted({violation["statement"] for violation in last["violations"]}))
    return Verdict(bug, last["seed"], statements, last["violations"][0]["text"])


def verdicts(
    chosen: Iterable[Bug], seeds: Sequence[int], known: dict[str, Any], jobs: int, *, once: bool
) -> Iterator[Verdict]:
    def verdict(bug: Bug) -> Verdict:
        found = known.get(bug.name, {})
        if (first := found.get("seed")) is not None:
            before = examine(bug, [first], once=found["seen_as"] != ["41"])
            if before.caught:
                return before
        return examine(bug, seeds, once=once)

    with ThreadPoolExecutor(jobs) as pool:
        yield from pool.map(verdict, chosen)


@click.command()
@click.option("--bug", "names", multiple=True, help="Only these; repeatable.")
@click.option("--seeds", type=int, default=SEEDS, show_default=True, help="How many are tried, from 0 on.")
@click.option(
    "--once", is_flag=True, help="No seed a second time: quicker, and blind for another hash seed or time zone."
)
@click.option("--missing", is_flag=True, help="Only bugs of which it is not known what catches them.")
@click.option("--jobs", type=int, default=os.cpu_count() or 1, show_default=True, help="Bugs at once.")
def main(names: tuple[str, ...], seeds: int, once: bool, missing: bool, jobs: int) -> None:
    """Take the exam. Exit 1 where a bug survives."""
    chosen = [bug for bug in BUGS if (not names or bug.name in names) and not (missing and bug.name in _caught())]
    sys.exit(1 if take(chosen, range(seeds), jobs, once=once) else 0)


def take(chosen: Sequence[Bug], seeds: Sequence[int], jobs: int, *, once: bool = False) -> list[str]:
    """Try these bugs, write down what caught them, and print it; the names of those that survived."""
    survivors, caught = [], _caught()
    for verdict in verdicts(chosen, seeds, dict(caught), jobs, once=once):
        name, seed = verdict.bug.name, verdict.seed
        if not verdict.caught:
            survivors.append(name)
            caught.pop(name, None)
        else:
            caught[name] = {"seed": seed, "seen_as": list(verdict.statements)}
            if verdict.failed:
                caught[name] = {"test": verdict.bug.test}
        _keep(caught)  # each at once: it takes long
        print(f"{name:<52} {_how(verdict):>9}  {verdict.bug.statement:>3} seen as "
              f"{', '.join(verdict.statements)}: {verdict.text[:150]}", flush=True)  # fmt: skip
    print(f"{len(chosen) - len(survivors)} of {len(chosen)} caught" + "".join(f"\n  survived: {s}" for s in survivors))
    return survivors


def _how(verdict: Verdict) -> str:
    return "SURVIVED" if not verdict.caught else "test" if verdict.failed else f"seed {verdict.seed}"


def _caught() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(CAUGHT.read_text()) if CAUGHT.exists() else {}
    return found


def _keep(caught: dict[str, Any]) -> None:
    known = {bug.name for bug in BUGS}
    CAUGHT.write_text(json.dumps({name: caught[name] for name in sorted(caught) if name in known}, indent=1) + "\n")


if __name__ == "__main__":
    main()
