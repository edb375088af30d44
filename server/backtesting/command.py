"""`forestay backtest`: a plan out of what was typed, its progress, its result as a table, JSON, a page, or events."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path
from typing import IO, Any

import click
from attrs import frozen

from protocol.codec import encode_row, to_json
from protocol.errors import UserError
from protocol.events import Event
from protocol.settings import MarketSettings
from protocol.times import parse_time
from server.backtesting.plan import Part, Plan, Progress, Watch, as_plain, gate_as_plain, run
from server.backtesting.report import FIGURES, UNDEFINED, report
from server.boot import make_market
from server.settings import Offer, Settings, agent_config, read_spec
from server.strategies import names, text


@frozen
class Asked:
    """The command line's own words."""

    spec: str
    data: dict[str, str]
    reference: dict[str, str]
    series: dict[str, str]
    begin: str | None
    end: str | None
    out_of_sample: str | None
    html: Path | None
    events: Path | None
    as_json: bool


def backtest(asked: Asked, settings: Settings) -> None:
    """Run it and show it. Raises UserError."""
    gc.freeze()  # as the daemon does: what is loaded by now stays, and collecting rarely is worth a tenth of the speed
    gc.set_threshold(50_000, 20, 100)
    spec = spec_named(asked.spec)
    market = make_market(MarketSettings("replay", None, None, asked.data, asked.reference, asked.series), None)
    agent = {**settings.agent, "strategy": {**settings.agent.get("strategy", {}), "spec": spec}}
    plan = Plan(
        agent_config(agent, Offer.of(market), backtest=True),
        settings.machine.agent,
        _time("from", asked.begin),
        _time("to", asked.end),
        fraction(asked.out_of_sample),
    )
    with ExitStack() as open_files:
        sink = open_files.enter_context(_events(asked.events)) if asked.events else (lambda _: None)
        watch = open_files.enter_context(_progress_bar())
        parts = run(plan, market, sink=sink, watch=watch)
    if asked.html is not None:
        _write(asked.html, report(f"{plan.config.strategy.spec.name} on {', '.join(market.pairs)}", parts))
    click.echo(to_json(as_plain(parts)).decode() if asked.as_json else table(parts))


def spec_named(name: str) -> Any:
    """The strategy document in the file `name`, or the ready one of that name. Raises UserError."""
    import yaml

    if name in names() and not Path(name).exists():
        return yaml.safe_load(text(name))
    if not Path(name).exists():
        raise UserError(f"{name}: there is no such file, nor a ready strategy of that name ({', '.join(names())})")
    return read_spec(Path(name))


def fraction(given: str | None) -> float | None:
    """`30%` or `0.3`. Raises UserError."""
    if given is None:
        return None
    try:
        value = float(given.removesuffix("%")) / (100 if given.endswith("%") else 1)
    except ValueError:
        value = 0.0
    if not 0.01 <= value <= 0.99:
        raise UserError(f"out_of_sample = {given!r}: must be from 1% to 99%")
    return value


def _time(name: str, given: str | None) -> datetime | None:
    if given is None:
        return None
    try:
        return parse_time(given)
    except ValueError as error:
        raise UserError(f"{name}: {error}") from None


@contextmanager
def _events(path: Path) -> Iterator[Callable[[Event], None]]:
    """Every event as the stream's own message, one a line."""
    with _opened(path) as file:
        seq = 0

        def write(event: Event) -> None:
            nonlocal seq
            seq += 1
            file.write(encode_row(event, seq) + b"\n")

        yield write


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    try:
        with path.open("wb") as file:
            yield file
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror}") from None


def _write(path: Path, page: str) -> None:
    with _opened(path) as file:
        file.write(page.encode())


@contextmanager
def _progress_bar() -> Iterator[Watch]:
    """On a terminal; elsewhere nothing is shown."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    with click.progressbar(length=1000, label="Backtest", file=sys.stderr, show_eta=True) as bar:

        def watch(progress: Progress) -> None:
            bar.update(int(progress.done * 1000) - bar.pos)

        yield watch


def table(parts: list[Part]) -> str:
    """The figures for people, parts side by side, and each criterion of the gate."""
    rows = [["", *(part.name for part in parts)]]
    for key, label, shown in FIGURES:
        rows.append([label, *(UNDEFINED if (v := part.metrics[key]) is None else shown(v) for part in parts)])
    rows.append([""])
    gates = [gate_as_plain(part.gate) for part in parts]
    for index, criterion in enumerate(gates[0]["criteria"]):
        label = f"Gate: {criterion['rule']} (limit {criterion['limit']})"
        rows.append([label, *(_verdict(gate["criteria"][index]) for gate in gates)])
    rows.append(["Passed the gate", *("yes" if gate["passed_gate"] else "no" for gate in gates)])
    return "\n".join((f"{label:<38}" + "".join(f"{cell:>18}" for cell in cells)).rstrip() for label, *cells in rows)


def _verdict(criterion: dict[str, Any]) -> str:
    return f"{float(criterion['current']):,.4g} {'ok' if criterion['met'] else 'no'}"
