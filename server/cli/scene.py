"""What `forestay watch` shows, and how. Pure: a scene, the seconds since, and a size make the screen's lines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Final

from attrs import evolve, frozen
from rich.text import Text

from protocol.events import Event, JournalEntry, Snapshot
from protocol.money import pct
from server.cli.pictures import text
from server.cli.tables import Cell, Table, fitted
from server.cli.told import STYLES, Status, badge, limits_table, live_lines, minute, positions_table, record
from server.client import UnknownEvent

POINTS: Final = 2_000  # of the equity curve
ENTRIES: Final = 100
MOST_POSITIONS: Final = 4
LEVELS: Final = "▁▂▃▄▅▆▇█"
OLD_SECONDS: Final = 90.0  # a daemon that is well says something within this, or is asked
JOURNAL_STYLES: Final = {
    "EXECUTED": "green", "SKIPPED": "bright_black", "RISK_VETO": "yellow", "TWAK_BLOCK": "yellow", "RISK_BREACH": "red",
    "STATUS_CHANGE": "magenta", "CONFIG_CHANGE": "magenta", "ACTOR_RESTARTED": "red", "KILL": "bold red",
    "DEMOTION": "bold red", "PROMOTION": "bold green",
}  # fmt: skip


@frozen
class Scene:
    """All that is known. `curve` is the equity, oldest first; `entries` are the journal's newest, newest first;
    `trouble` is why nothing comes."""

    status: Status | None = None
    curve: tuple[Snapshot, ...] = ()
    entries: tuple[JournalEntry, ...] = ()
    connected: bool = False
    trouble: str | None = None


def hear(scene: Scene, event: Event | UnknownEvent) -> Scene:
    """The scene after an event of the stream."""
    match event:
        case Snapshot() if not scene.curve or event.ts > scene.curve[-1].ts:
            return evolve(scene, curve=(*scene.curve, event)[-POINTS:])
        case JournalEntry():
            return evolve(scene, entries=(event, *scene.entries)[:ENTRIES])
        case _:
            return scene


def screen(scene: Scene, age_seconds: float | None, width: int, height: int) -> list[Text]:
    """The lines of a screen of that size; `age_seconds` is how long ago something was heard last, None: never."""
    lines = list(_lines(scene, age_seconds, width))
    room = max(height - len(lines), 0)
    lines += [_entry(entry) for entry in scene.entries[:room]]
    for line in lines:
        line.truncate(width, overflow="ellipsis")
    return lines[:height]


def sparkline(values: Sequence[Decimal], width: int) -> str:
    """The curve in at most `width` letters: the last value of each stretch, between the lowest and the highest.

    >>> sparkline([Decimal(n) for n in (1, 2, 3, 8)], 10), sparkline([Decimal(n) for n in (1, 9, 1, 1)], 2)
    ('▁▂▃█', '█▁')
    """
    if not values or width < 1:
        return ""
    count = min(len(values), width)
    shown = [values[(n + 1) * len(values) // count - 1] for n in range(count)]
    low, high = min(shown), max(shown)
    if low == high:
        return LEVELS[len(LEVELS) // 2] * count
    return "".join(LEVELS[int((value - low) / (high - low) * (len(LEVELS) - 1))] for value in shown)


def _lines(scene: Scene, age_seconds: float | None, width: int) -> Iterator[Text]:
    status = scene.status
    yield _beside(_badge(scene), _freshness(scene, age_seconds), width)
    if status is None:
        yield Text(scene.trouble or "asking the daemon ...", style="dim")
        return
    agent = status.agent
    yield _beside(
        Text(f"{agent.equity:,.2f} USDT ({agent.phase})", style="bold"),
        Text(f"{agent.market.kind} {minute(agent.market.time)}"),
        width,
    )
    if scene.curve:
        values = [snapshot.equity for snapshot in scene.curve if snapshot.phase == scene.curve[-1].phase]  # of one book
        low, high = f"{min(values):,.0f}", f"{max(values):,.0f}"
        yield Text(f"{low} {sparkline(values, width - len(low) - len(high) - 2)} {high}", style="cyan")
        newest = scene.curve[-1]
        day = pct(newest.daily_dd_used)
        told = f"{pct(newest.dd_from_peak)} below the peak, {day} of today's drawdown budget is used"
        fallen = Text(told, style="dim")
        ends = Text("q ends it", style="dim")
        yield _beside(fallen, ends, width) if width >= fallen.cell_len + ends.cell_len + 2 else fallen
    yield Text(record(status.evaluation))
    if agent.outage is not None:
        yield Text(f"{agent.outage.what}: {agent.outage.reason}", style="red")
    for word, cell in live_lines(status):
        said, style = (cell, "") if isinstance(cell, str) else cell
        yield Text(f"{word}: {said}", style=style)
    yield Text()
    yield from _grid(limits_table(status.limits, bars=True), width)
    yield Text()
    if status.positions:
        yield from _grid(positions_table(status.positions[:MOST_POSITIONS], agent.market.time), width)
        if more := len(status.positions) - MOST_POSITIONS:
            yield from [Text(f"and {more} more", style="dim")] * (more > 0)
    else:
        yield Text("It holds nothing.", style="dim")
    yield Text()


def _badge(scene: Scene) -> Text:
    if scene.status is None:
        return Text("forestay", style="bold")
    agent = scene.status.agent
    made = Text().append(f" {agent.status} ", style=f"{STYLES.get(agent.status, '')} reverse")
    return made.append(f" {badge(agent, scene.status.lock)}")


def _freshness(scene: Scene, age_seconds: float | None) -> Text:
    """How old what is shown is, and why it is not newer."""
    age = "never heard" if age_seconds is None else f"{_age(age_seconds)} ago"
    if not scene.connected:
        return Text(f"DISCONNECTED, {age}", style="bold red")
    if scene.status is not None and scene.status.agent.state != "running":
        return Text(f"{scene.status.agent.state}, {age}", style="yellow")
    old = age_seconds is None or age_seconds > OLD_SECONDS
    return Text(f"heard {age}" if age_seconds is not None else age, style="yellow" if old else "dim")


def _age(seconds: float) -> str:
    whole = int(seconds)
    return f"{whole} s" if whole < 120 else f"{whole // 60} min" if whole < 7200 else f"{whole // 3600} h"


def _beside(left: Text, right: Text, width: int) -> Text:
    """One at each end; where both do not fit, the left one gives way."""
    room = width - right.cell_len - 2
    if room < 1:
        return right
    left.truncate(room, overflow="ellipsis")
    return left.append(" " * (width - left.cell_len - right.cell_len)).append_text(right)


def _grid(wanted: Table, width: int) -> Iterator[Text]:
    table, _ = fitted(wanted, width)
    heads: tuple[Cell, ...] = tuple((column.head, "dim") for column in table.columns)
    rows = [[text(cell) for cell in row] for row in (heads, *table.rows)]
    widths = [max(row[n].cell_len for row in rows) for n in range(len(table.columns))]
    for row in rows:
        line = Text()
        for n, (cell, column) in enumerate(zip(row, table.columns, strict=True)):
            gap = " " * (widths[n] - cell.cell_len)
            line.append("  " if n else "").append_text(cell if column.side == "left" else Text(gap).append_text(cell))
            line.append(gap if column.side == "left" else "")
        yield line


def _entry(entry: JournalEntry) -> Text:
    line = Text().append(f"{entry.ts:%m-%d %H:%M} ", style="dim")
    line.append(f"{entry.type:<13} ", style=JOURNAL_STYLES.get(entry.type, "cyan"))
    return line.append(entry.text.partition("\n")[0])
