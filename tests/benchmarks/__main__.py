"""`python -m tests.benchmarks`: measure, and print one table."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from time import monotonic

import click

from tests.benchmarks.figures import MEASURES, QUICK, Bench, Figure, Scale, as_plain
from tests.benchmarks.ground import ROOT, Unfit, ground, load, machine
from tests.benchmarks.processes import Failed

HEADINGS = ("figure", "measured", "min .. max", "target", "met", "raw limits here, and remarks")


@click.command()
@click.option("--quick", is_flag=True, help="Small and once: do the benchmarks still run? The figures mean little.")
@click.option("--only", type=click.Choice(list(MEASURES)), multiple=True, help="Only these; repeatable.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of the table.")
@click.option("--strict", is_flag=True, help="Exit 1 when a figure falls short.")
@click.option("--folder", type=click.Path(path_type=Path), default=ROOT / ".bench", help="On a real disk.")
def main(quick: bool, only: Sequence[str], as_json: bool, strict: bool, folder: Path) -> None:
    """Measure what the daemon does on this machine, beside what the machine itself can do."""
    begin, load_before = monotonic(), load()
    figures, failures = list[Figure](), list[str]()
    try:
        with ground(folder) as here:
            where = machine(folder)
            bench = Bench(here, QUICK if quick else Scale(), _progress)
            for name in only or MEASURES:
                _progress(f"measuring {name}")
                try:
                    figures.extend(MEASURES[name](bench))
                except Failed as failed:
                    failures.append(f"{name} could not be measured: {failed}")
    except Unfit as unfit:
        raise click.ClickException(str(unfit)) from None
    _progress("")
    about = f"{where}; load {load_before:.1f} before, {load():.1f} after; {monotonic() - begin:.0f} s"
    if as_json:
        click.echo(json.dumps({"about": about, "figures": [*map(as_plain, figures)], "failures": failures}))
    else:
        click.echo("\n".join([about, "", *table(figures), *_short(figures), *failures]))
    if strict and (failures or any(figure.met is False for figure in figures)):
        sys.exit(1)


def table(figures: Sequence[Figure]) -> list[str]:
    lines = [HEADINGS, *map(_cells, figures)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADINGS))]
    lines.insert(1, tuple("-" * width for width in widths))  # type: ignore[arg-type]
    return ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]


def _cells(figure: Figure) -> tuple[str, str, str, str, str, str]:
    raw = [f"{name} {_number(value)}" for name, value in figure.raw.items()]
    spread = f"{_number(min(figure.values))} .. {_number(max(figure.values))}" if len(figure.values) > 1 else ""
    return (
        figure.name,
        f"{_number(figure.value)} {figure.unit}",
        spread,
        str(figure.target or ""),
        {None: "", True: "yes", False: "NO"}[figure.met],
        "; ".join([*raw, *filter(None, [figure.note])]),
    )


def _short(figures: Sequence[Figure]) -> list[str]:
    """What falls short, and by how much."""
    return [
        f"short: {figure.name} is {_number(figure.value)} {figure.unit}, the target {figure.target}: "
        f"{abs(figure.value / figure.target.value - 1):.0%} off"
        for figure in figures
        if figure.target is not None and not figure.met
    ]


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _progress(text: str) -> None:
    if sys.stderr.isatty():
        click.echo(f"\r\033[K{text}", err=True, nl=False)


if __name__ == "__main__":
    main()
