"""How the daemon is: for people as JSON, for Prometheus as text. No secret is in either."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final, get_args

from attrs import frozen
from quart import Response
from quart_trio import QuartTrio

from actors.broadcaster.board import FIRST, Board
from actors.journal.store import DISK_ERRORS, LogReader
from actors.risk_engine.evaluation import limits
from protocol.answers import ActorHealth, GuardHealth, Health, LastError, LogHealth, OutageShown, State, StreamClient
from protocol.codec import from_json
from protocol.events import Status
from protocol.times import from_wire, to_millis
from server.door.desk import Door, Listener, reply

RESTARTS_READ: Final = 200  # journaled ones that are looked through for each actor's last
METRICS_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_RESTARTS: Final = "SELECT body FROM log WHERE type = 'ACTOR_RESTARTED' ORDER BY seq DESC LIMIT ?"


def add_health(app: QuartTrio, door: Door) -> None:
    @app.get("/agents/<id>/health")
    async def show(id: str) -> Response:
        door.check(id)
        errors = await door.reading(lambda: _last_errors(door.reader))
        return reply(_health(door, await door.reading(lambda: _log(door)), errors), door=door)

    @app.get("/metrics")
    async def metrics() -> Response:
        try:
            log: LogHealth | None = await door.reading(lambda: _log(door))
        except DISK_ERRORS:
            log = None  # the rest is told all the same
        text = "".join(_told(_metrics(door, log)))
        return Response(text, headers={"Cache-Control": "no-store"}, content_type=METRICS_TYPE)


def _health(door: Door, log: LogHealth, errors: dict[str, LastError]) -> Health:
    board = door.board
    return Health(
        seq=board.seq,
        state=door.state(),
        outages=tuple(OutageShown(it.what, it.reason) for what in FIRST if (it := board.outages.get(what))),
        actors=tuple(
            ActorHealth(it.name, it.mailbox, it.capacity, it.restarts, round(it.silence, 3), errors.get(it.name))
            for it in door.tower.floors()
        ),
        log=log,
        clients=tuple(StreamClient(it.seq, _behind(board, it)) for it in _slowest_first(door)),
        guard=_guard(board) if door.armed is not None else None,
    )


def _slowest_first(door: Door) -> list[Listener]:
    return sorted(door.listeners, key=lambda it: it.seq)


def _behind(board: Board, listener: Listener) -> int:
    """Who reads the log may be ahead of what is shown."""
    return max(0, board.seq - listener.seq)


def _guard(board: Board) -> GuardHealth:
    seen, reachable = board.guard, board.outages.get("guard") is None
    if seen is None:
        return GuardHealth(False, None, None, None, None, None, None, None)
    return GuardHealth(
        reachable, seen.way, seen.killed, seen.killed_at, seen.killed_reason, seen.per_trade_cap, seen.daily_cap,
        seen.spent_today,
    )  # fmt: skip


def _log(door: Door) -> LogHealth:
    """Blocking: for a reader's thread."""
    head = door.reader.head()
    return LogHealth(door.reader.size(), head.row, head.seq, max(0, head.row - door.board.row))


def _last_errors(reader: LogReader) -> dict[str, LastError]:
    """By actor. Blocking: for a reader's thread."""
    found: dict[str, LastError] = {}
    for (body,) in reader.select(_RESTARTS, (RESTARTS_READ,)):
        entry = from_json(body)
        data = entry["data"]
        found.setdefault(data["actor"], LastError(from_wire(entry["ts"]), data["error"], data["place"], entry["id"]))
    return found


# --- for Prometheus


@frozen
class Metric:
    """A family of the text format: each sample has its labels and its value."""

    name: str
    kind: str
    help: str
    samples: Iterable[tuple[dict[str, str], Any]]


def _metrics(door: Door, log: LogHealth | None) -> Iterator[Metric]:
    board, state, floors = door.board, door.state(), door.tower.floors()
    yield _gauge("info", "Which agent and which log this is.", 1, agent=door.agent, log_id=door.log_id)
    yield Metric("state", "gauge", "1 for the state that the daemon is in.",
                 [({"state": it}, it == state) for it in get_args(State)])  # fmt: skip
    yield Metric("outage", "gauge", "1 while this does not work.",
                 [({"what": it}, board.outages.get(it) is not None) for it in FIRST])  # fmt: skip
    yield Metric("actor_restarts_total", "counter", "Restarts since the process began.",
                 [({"actor": it.name}, it.restarts) for it in floors])  # fmt: skip
    yield Metric("actor_silence_seconds", "gauge", "Since the actor showed life.",
                 [({"actor": it.name}, round(it.silence, 3)) for it in floors])  # fmt: skip
    yield Metric("mailbox_messages", "gauge", "Messages that wait in the actor's mailbox.",
                 [({"actor": it.name}, it.mailbox) for it in floors])  # fmt: skip
    yield Metric("mailbox_capacity", "gauge", "How many messages the mailbox can hold.",
                 [({"actor": it.name}, it.capacity) for it in floors])  # fmt: skip
    yield _gauge("stream_clients", "Open connections of the stream.", len(door.listeners))
    slowest = max((_behind(board, it) for it in door.listeners), default=0)
    yield _gauge("stream_lag_events", "How far the slowest of them is behind.", slowest)
    if log is not None:
        yield _gauge("log_bytes", "Size of the log.", log.bytes)
        yield _gauge("log_row", "The log's last row.", log.row)
        yield _gauge("log_seq", "The log's last event.", log.seq)
        yield _gauge("log_behind_rows", "Rows that are committed and not shown to clients yet.", log.behind)
    if door.armed is not None:
        yield from _guard_metrics(_guard(board))
        yield _gauge(
            "live_frozen", "1 while no live order is begun, and a person must look.", board.live.frozen is not None
        )
        yield _gauge("live_flattening", "1 while the live book is being sold out.", board.live.flattening is not None)
        yield _gauge("live_orders", "Live orders on their way.", len(board.live.orders))
    if board.risk.config is not None:
        yield from _agent_metrics(board)


def _agent_metrics(board: Board) -> Iterator[Metric]:
    risk, found = board.risk, limits(board.risk, board.shown)
    gauges = {"paper": risk.paper} | ({"live": risk.live} if risk.live is not None else {})
    yield Metric("status", "gauge", "1 for the status that the agent is in.",
                 [({"status": it}, it == risk.status) for it in get_args(Status)])  # fmt: skip
    if risk.marked:
        yield _gauge("market_time_seconds", "Market time of the last round.", to_millis(risk.marked_at) / 1000)
    yield _gauge("config_version", "The config in force.", risk.version)
    yield Metric("equity_usdt", "gauge", "Equity of the book.",
                 [({"phase": name}, it.equity) for name, it in gauges.items()])  # fmt: skip
    yield Metric("drawdown_ratio", "gauge", "Fall from the book's all-time peak, as a fraction.",
                 [({"phase": name}, it.dd_from_peak) for name, it in gauges.items()])  # fmt: skip
    yield Metric("daily_drawdown_used_ratio", "gauge", "The part of today's drawdown budget that is consumed.",
                 [({"phase": name}, it.daily_dd_used(risk.settings.risk)) for name, it in gauges.items()])  # fmt: skip
    yield Metric("rule_current", "gauge", "What the rule measures of the current phase's book.",
                 [({"rule": it.rule}, it.current) for it in found])  # fmt: skip
    yield Metric("rule_limit", "gauge", "The rule's limit.", [({"rule": it.rule}, it.limit) for it in found])
    yield Metric("rule_headroom_ratio", "gauge", "What is left of the limit, as a fraction of it.",
                 [({"rule": it.rule}, it.headroom) for it in found if it.headroom is not None])  # fmt: skip
    books = {"paper": board.book, "live": board.live.book}
    yield Metric("open_positions", "gauge", "Open positions of the book.",
                 [({"phase": name}, len(it.positions)) for name, it in books.items()])  # fmt: skip


def _guard_metrics(guard: GuardHealth) -> Iterator[Metric]:
    yield _gauge("guard_reachable", "1 while the signing guard answers.", guard.reachable)
    if guard.killed is not None:
        yield _gauge("guard_killed", "1 while it refuses everything.", guard.killed)
        yield _gauge("guard_per_trade_cap_usdt", "Its cap on a trade.", guard.per_trade_cap)
        yield _gauge("guard_daily_cap_usdt", "Its cap on a UTC day.", guard.daily_cap)
        yield _gauge("guard_spent_today_usdt", "What it has signed for on this UTC day.", guard.spent_today)


def _gauge(name: str, help: str, value: Any, **labels: str) -> Metric:
    return Metric(name, "gauge", help, [(labels, value)])


def _told(metrics: Iterable[Metric]) -> Iterator[str]:
    for metric in metrics:
        name = f"forestay_{metric.name}"
        yield f"# HELP {name} {metric.help}\n# TYPE {name} {metric.kind}\n"
        for labels, value in metric.samples:
            shown = ",".join(f'{label}="{escaped(text)}"' for label, text in labels.items())
            yield f"{name}{{{shown}}} {float(value):.15g}\n" if shown else f"{name} {float(value):.15g}\n"


def escaped(text: str) -> str:
    r"""As the text format wants a label's value.

    >>> print(escaped('a "b" \\ c'))
    a \"b\" \\ c
    """
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
