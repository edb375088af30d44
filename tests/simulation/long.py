"""The long run: 2,000 worlds, 500 live ones and the whole exam, told in `docs/long-run.md` with the revision that they
ran on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from time import monotonic
from typing import Final

import click

from tests.simulation.__main__ import Tally, outcomes, tally_of
from tests.simulation.exam import BUGS, CAUGHT, SEEDS, take
from tests.simulation.planted import ROOT
from tests.simulation.runs import tell

REPORT: Final = ROOT / "docs" / "long-run.md"
INTRODUCTION: Final = """\
# The long run

Written by `make long`; what its words mean is in [simulation.md](simulation.md). Revision `{revision}`, {date}, {cores}
cores, Python {python}.

## Worlds

```
{worlds}
```

## Live worlds

```
{live}
```

## The exam

{caught} of {bugs} planted bugs are caught, each within {seeds} seeds or, where no simulated world has what it takes, by
the test that is named. A bug is seen as the statements that the first world to see it complains of; words are the
judge's own.

| bug | statement | caught by | seen as |
|---|---|---|---|
{rows}
"""


@click.command()
@click.option("--seeds", type=int, default=2000, show_default=True, help="How many worlds, from seed 0 on.")
@click.option("--live-seeds", type=int, default=500, show_default=True, help="How many live ones, from seed 0 on.")
@click.option("--jobs", type=int, default=os.cpu_count() or 1, show_default=True, help="Processes.")
def main(seeds: int, live_seeds: int, jobs: int) -> None:
    """Run it. Exit 1 where a statement did not hold, a rare state was reached too seldom, or a bug survived."""
    revision = _git("rev-parse", "HEAD")[:12] + " and what is not committed" * bool(_git("status", "--porcelain"))
    paper, worlds = _lived(seeds, jobs, live=False)
    lived, live = _lived(live_seeds, jobs, live=True)
    survivors = take(BUGS, range(SEEDS), jobs)
    rows = list(_rows())
    REPORT.write_text(
        INTRODUCTION.format(
            revision=revision, date=datetime.now(UTC).date(), cores=os.cpu_count(), python=sys.version.split()[0],
            worlds=worlds, live=live, caught=len(rows), bugs=len(BUGS), seeds=SEEDS, rows="\n".join(rows),
        )
    )  # fmt: skip
    sys.exit(1 if paper.violated or paper.rare or lived.violated or lived.rare or survivors else 0)


def _lived(seeds: int, jobs: int, *, live: bool) -> tuple[Tally, str]:
    """All of them, and what is to be told of them."""
    tally, begun = tally_of(live=live), monotonic()
    for outcome in outcomes(range(seeds), jobs, live=live):
        tally.take(outcome)
        if outcome.violations:
            print(tell(outcome), flush=True)
    told = "\n".join(tally.lines(monotonic() - begun))
    print(told, flush=True)
    return tally, told


def _rows() -> Iterator[str]:
    caught = json.loads(CAUGHT.read_text())
    for bug in sorted(BUGS, key=lambda bug: (int(bug.statement), bug.name)):
        if (found := caught.get(bug.name)) is not None:
            seed = f"{'live ' * bug.live}seed {found.get('seed')}"
            by = f"`{found['test']}`" if "test" in found else seed
            yield f"| {bug.name} | {bug.statement} | {by} | {', '.join(found.get('seen_as', []))} |"


def _git(*words: str) -> str:
    return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    main()
