"""What the daemon answers, as words and tables for people. Pure: the same answer, the same text."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any, Final

from attrs import frozen

from protocol.answers import (
    Agent,
    Check,
    ConfigVersion,
    Criterion,
    Evaluation,
    GuardHealth,
    Limit,
    Performance,
    Position,
)
from protocol.codec import to_json, to_plain
from protocol.events import JournalEntry, Trade
from protocol.money import pct, price
from protocol.times import from_wire
from server.cli.tables import Cell, Table, columns

FRACTIONS: Final = frozenset({"daily_drawdown", "max_drawdown", "per_pair_exposure"})
CELLS: Final = 10  # of a bar
STYLES: Final = {"PAPER": "cyan", "ELIGIBLE": "green", "LIVE": "bold green", "DEMOTED": "bold red"}


@frozen
class Status:
    """What `forestay status` tells. `lock` is the journal entry of the demotion that is in force."""

    base: str
    agent: Agent
    evaluation: Evaluation
    limits: Sequence[Limit]
    positions: Sequence[Position]
    lock: JournalEntry | None = None
    guard: GuardHealth | None = None


def badge(agent: Agent, lock: JournalEntry | None) -> str:
    """The status in the words that people use for it."""
    match agent.status:
        case "PAPER":
            return "Forward testing"
        case "ELIGIBLE":
            return "Ready for live — your call"
        case "LIVE":
            return "Live on BSC"
        case _:
            rule, until = _lock(lock)
            left = "" if until is None else f", {_span(until, agent.market.time)} left"
            waits = ", until you re-approve it" if lock is not None and until is None else left
            return f"Paper-trading — live paused, {rule} breached{waits}"


def status_lines(status: Status) -> list[tuple[str, Cell]]:
    """What it is, line by line: a name, and what there is to say."""
    agent, run = status.agent, status.evaluation
    lines: list[tuple[str, Cell]] = [
        ("status", (f"{agent.status}: {badge(agent, status.lock)}", STYLES.get(agent.status, ""))),
        ("equity", f"{agent.equity:,.2f} USDT ({agent.phase})"),
        ("market", f"{agent.market.kind}: {', '.join(agent.market.pairs)}, {minute(agent.market.time)}"),
        ("record", record(run)),
        (
            "holds",
            ", ".join(f"{it.pair} {signed(it.unrealized_pnl)} ({it.phase})" for it in status.positions) or "nothing",
        ),
        ("daemon", (f"{agent.state} at {status.base}", "" if agent.state == "running" else "red")),
    ]
    if agent.outage is not None:
        lines.append(("outage", (f"{agent.outage.what}: {agent.outage.reason}", "red")))
    if agent.restarts:
        fallen = ", ".join(f"{name} {times}" for name, times in sorted(agent.restarts.items()) if times)
        lines += [("restarts", (fallen, "yellow"))] if fallen else []
    return [*lines, *live_lines(status)]


def live_lines(status: Status) -> list[tuple[str, Cell]]:
    """What is to be known of live trading: the guard, what is stopped, what is on its way."""
    live, lines = status.agent.live, list[tuple[str, Cell]]()
    if status.guard is not None:
        lines.append(("guard", guard_told(status.guard)))
    lines += [
        (word, (said, "red"))
        for word, said in (("flattening", live.flattening), ("frozen", live.frozen))
        if said is not None
    ]
    return lines + [("on its way", f"{it.side} {it.pair} {it.state} ({it.order_ref})") for it in live.orders]


def guard_told(guard: GuardHealth) -> Cell:
    if guard.killed:
        return (f"killed at {guard.killed_at}: it signs nothing until a person restores it", "red")
    return f"signs ({guard.way})" if guard.reachable else ("does not answer: nothing is signed meanwhile", "red")


def record(run: Evaluation) -> str:
    """How far the paper record is."""
    days, trades = f"{run.window_days_elapsed:.1f} of {run.eval_window_days} days", f"{run.closed_trades} of "
    missing = ", ".join(it.rule for it in run.objectives if not it.met)
    return f"{run.state}: {days}, {trades}{run.trade_floor} trades" + (f"; not met: {missing}" if missing else "")


def limits_table(limits: Sequence[Limit | Criterion], *, bars: bool) -> Table:
    """Each limit, how much of it is used (as a bar, or in percent), and what is left."""
    rows = []
    for it in limits:
        style = "red" if not it.met else "yellow" if use(it) >= Decimal("0.75") else ""
        left = "" if it.headroom_pct is None else f"{it.headroom_pct:.1f} %"
        shown = bar(use(it)) if bars else f"{use(it) * 100:.0f} %"
        rows.append((it.rule, (shown, style), amount(it.rule, it.current), amount(it.rule, it.limit), left))
    return Table(columns("rule use >now >limit >headroom"), rows, spare=("headroom", "use"))


def use(limit: Limit | Criterion) -> Decimal:
    """The part of a limit that is used, from 0 to 1."""
    if limit.limit <= 0:
        return Decimal(0)
    return min(max(limit.current / limit.limit, Decimal(0)), Decimal(1))


def bar(part: Decimal, cells: int = CELLS) -> str:
    """
    >>> bar(Decimal("0.34"))
    '███▍······'
    >>> bar(Decimal("0.001")), bar(Decimal("0.999"))
    ('▏·········', '█████████▉')
    """
    eighths = min(int(part * cells * 8), cells * 8 - (part < 1))
    if part > 0:
        eighths = max(eighths, 1)
    full, rest = divmod(eighths, 8)
    return ("█" * full + " ▏▎▍▌▋▊▉"[rest] * (rest > 0)).ljust(cells, "·")


def amount(rule: str, value: Decimal) -> str:
    """A rule's measure: drawdowns and shares in percent, an expectancy in USDT, anything else as the number it is."""
    if rule in FRACTIONS:
        return pct(value)
    return f"{value:,.2f}" if rule == "expectancy" else f"{value:f}"


def trades_table(trades: Sequence[Trade]) -> Table:
    return Table(
        columns("time phase pair side >size >price >fees >pnl >return"),
        [
            (
                minute(it.ts), it.phase, it.pair, it.side, f"{it.size:,.2f}", price(it.price), f"{it.fees:,.2f}",
                "" if it.pnl is None else gain(it.pnl), "" if it.return_ is None else pct(it.return_),
            )
            for it in trades
        ],
        spare=("fees", "return", "price", "phase"),
    )  # fmt: skip


def positions_table(positions: Sequence[Position], now: datetime | None) -> Table:
    return Table(
        columns("pair phase >quantity >bought_at >price >value >pnl >held"),
        [
            (
                it.pair, it.phase, f"{it.qty:,f}", price(it.entry_price), price(it.price), f"{it.value:,.2f}",
                gain(it.unrealized_pnl), _span(now, it.opened_at),
            )
            for it in positions
        ],
        spare=("held", "bought_at", "price", "phase"),
    )  # fmt: skip


def checks_table(checks: Sequence[Check]) -> Table:
    return Table(columns("ok check ~detail"), [(_ok(it.ok), it.name, it.detail) for it in checks])


def versions_table(versions: Sequence[ConfigVersion]) -> Table:
    """Each version, its own record, and what it changed."""
    plain = [to_plain(it.config) for it in versions]
    changed = ["the first", *(", ".join(differing(old, new)) for old, new in pairwise(plain))]
    return Table(
        columns(">version since >trades >return ~changed"),
        [
            (str(it.version), minute(it.ts), *_figures(it.record), words)
            for it, words in zip(versions, changed, strict=True)
        ],
    )


def _figures(record: Performance | None) -> tuple[str, str]:
    if record is None:
        return "", ""
    return str(record.trades), "" if record.return_ is None else pct(record.return_)


def differing(old: dict[str, Any], new: dict[str, Any], path: str = "") -> list[str]:
    """The keys that `new` has otherwise than `old`, as `key = value`.

    >>> differing({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 3}, "d": [1]})
    ['a.c = 3', 'd = [1]']
    """
    lines = []
    for key in dict.fromkeys([*new, *old]):
        was, now = old.get(key), new.get(key)
        if isinstance(was, dict) and isinstance(now, dict):
            lines += differing(was, now, f"{path}{key}.")
        elif was != now:
            lines.append(f"{path}{key} = {_value(now)}")
    return lines


def config_lines(config: Any, path: str = "") -> list[tuple[str, str]]:
    """A document as lines of key and value; lists and the strategy's conditions stay as they are."""
    lines = []
    for key, value in config.items():
        if isinstance(value, dict) and value:
            lines += config_lines(value, f"{path}{key}.")
        else:
            lines.append((f"{path}{key}", _value(value)))
    return lines


def gain(amount: Decimal) -> Cell:
    return signed(amount), "green" if amount > 0 else "red" if amount < 0 else ""


def signed(amount: Decimal) -> str:
    return f"{amount:+,.2f}"


def minute(at: datetime | None) -> str:
    return "before the first round" if at is None else f"{at:%Y-%m-%d %H:%M}Z"


def _span(one: datetime | None, other: datetime | None) -> str:
    """The time between them, in the two units that matter.

    >>> from datetime import UTC
    >>> begin = datetime(2026, 1, 1, tzinfo=UTC)
    >>> [_span(begin + timedelta(minutes=minutes), begin) for minutes in (0, 5, 60, 90, 3000)]
    ['0 min', '5 min', '1 h', '1 h 30 min', '2 d 2 h']
    """
    if one is None or other is None:
        return ""
    minutes = int(abs(one - other) / timedelta(minutes=1))
    days, hours = divmod(minutes // 60, 24)
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes % 60} min" if minutes % 60 else f"{hours} h"
    return f"{minutes} min"


def _lock(lock: JournalEntry | None) -> tuple[str, datetime | None]:
    if lock is None:
        return "a limit", None
    until = lock.data.get("locked_until")
    return str(lock.data.get("rule", "a limit")), None if until is None else from_wire(until)


def _ok(ok: bool) -> Cell:
    return ("ok", "green") if ok else ("NO", "bold red")


def _value(value: Any) -> str:
    if isinstance(value, str):
        return value
    return to_json(value).decode()
