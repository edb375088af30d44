"""What was: lists out of the log, and what is counted in it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any, Final, Literal, get_args
from urllib.parse import urlencode

from attrs import evolve
from click import unstyle
from quart import Response, request
from quart_trio import QuartTrio
from werkzeug.datastructures import MultiDict

from actors.journal.store import HAS_ID, LogReader
from protocol.answers import Block, Repeat
from protocol.codec import encoded, from_json
from protocol.errors import UserError
from protocol.events import EntryType
from protocol.lifecycle import phase_of
from protocol.orders import Phase
from protocol.times import from_millis, from_wire, to_millis
from server.door.desk import Door, reply
from server.door.lists import MAX_LIMIT, Asked, Page, asked, bucketed, impossible, moment, ordered, read, turned, whole
from server.door.problems import Problem
from server.door.tables import TRADE_COLUMNS, header, rows
from server.funnel import funnel
from server.performance import Counted
from server.why import explained
from server.why_told import told

ENTRY_TYPES: Final = get_args(EntryType)


def add_history(app: QuartTrio, door: Door) -> None:
    counted = Counted(door.searcher, door.offer.pairs)

    async def looked_up(wanted: Asked) -> Page:
        if wanted.searches:
            return await door.searching(lambda: read(door.searcher, wanted))
        return await door.reading(lambda: read(door.reader, wanted))

    async def _pages(wanted: Asked) -> AsyncGenerator[Page, None]:
        """Page after page, so that others may read in between."""
        while True:
            page = await looked_up(wanted)
            yield page
            if page.cursor is None:
                return
            wanted = turned(wanted, page.cursor)

    async def _csv(wanted: Asked) -> Response:
        """All that was asked for, however much, a page at a time."""
        first = await looked_up(evolve(wanted, limit=MAX_LIMIT))

        async def lines() -> AsyncGenerator[bytes, None]:
            yield header(TRADE_COLUMNS) + rows(first.frames, TRADE_COLUMNS)
            if first.cursor is not None:
                async with aclosing(_pages(turned(evolve(wanted, limit=MAX_LIMIT), first.cursor))) as pages:
                    async for page in pages:
                        yield rows(page.frames, TRADE_COLUMNS)

        headers = {"Cache-Control": "no-store", "X-Last-Seq": str(first.last_seq), "X-Log-Id": door.log_id}
        headers["Content-Disposition"] = f'attachment; filename="{door.agent}-trades.csv"'
        return Response(lines(), headers=headers, content_type="text/csv; charset=utf-8; header=present")

    async def answer(wanted: Asked, shape: Callable[[list[str]], bytes] | None = None) -> Response:
        page = await looked_up(wanted)
        body = shape(page.frames) if shape else ("[" + ",".join(page.frames) + "]").encode()
        response = reply(body, page.last_seq, door)
        if page.cursor is not None:
            query = urlencode([(k, v) for k, v in request.args.items(multi=True) if k != "cursor"])
            address = f"{request.path}?{query + '&' if query else ''}cursor={page.cursor}"
            response.headers["Link"] = f'<{address}>; rel="next"'
        return response

    @app.get("/agents/<id>/equity")
    async def equity(id: str) -> Response:
        door.check(id)
        return await answer(bucketed(asked("snapshot", request.args), request.args.get("interval")))

    @app.get("/agents/<id>/trades")
    async def trades(id: str) -> Response:
        door.check(id)
        wanted = _trades_asked(request.args)
        if _as_csv(request.args.get("format")):
            return await _csv(wanted)
        return await answer(wanted)

    @app.get("/agents/<id>/journal")
    async def journal(id: str) -> Response:
        door.check(id)
        wanted = asked("journal_entry", request.args, newest_first=True)
        if (entry_type := request.args.get("type")) is not None:
            if entry_type not in ENTRY_TYPES:
                raise impossible("type", entry_type, f"must be one of {', '.join(ENTRY_TYPES)}")
            wanted = wanted.narrowed("type = ?", entry_type, by_seq=True)
        for name in ("tag", "pair"):
            if (tag := request.args.get(name)) is not None:
                wanted = wanted.tagged(tag)
        if (text := request.args.get("q")) is not None:
            wanted = wanted.filtered("instr(lower(body ->> '$.text'), lower(?))", text)
        return await answer(wanted)

    @app.get("/agents/<id>/journal/<entry>")
    async def one_entry(id: str, entry: str) -> Response:
        door.check(id)
        frame, seq = await _entry(entry)
        return reply(frame.encode(), seq, door)

    @app.get("/agents/<id>/journal/<entry>/repeats")
    async def repeats(id: str, entry: str) -> Response:
        door.check(id)
        frame, seq = await _entry(entry)
        return reply(await door.searching(lambda: _repeats(door.searcher, from_json(frame))), seq, door)

    async def _entry(name: str) -> tuple[str, int]:
        """An entry's frame, and the log position that was looked at. Raises Problem(404)."""
        wanted = asked("journal_entry", request.args, newest_first="from" not in request.args)
        wanted = evolve(wanted.filtered(f"instr(body, ?) AND {HAS_ID}", name, name), limit=1)
        async with aclosing(_pages(wanted)) as pages:
            async for page in pages:
                if page.frames:
                    return page.frames[0], page.last_seq
        raise Problem(404, "ENTRY_NOT_FOUND", f"there is no journal entry {name[:60]!r}")

    @app.get("/agents/<id>/risk/blocks")
    async def blocks(id: str) -> Response:
        door.check(id)
        wanted = ordered(asked(None, request.args), None, request.args.get("order"), ())
        wanted = wanted.narrowed("kind IN ('risk_veto', 'twak_block')")
        return await answer(wanted, _as_blocks)

    @app.get("/agents/<id>/funnel")
    async def signals_to_trades(id: str) -> Response:
        door.check(id)
        wanted, pair = asked(None, request.args), request.args.get("pair")
        _known(pair)
        chosen = door.offer.pairs if pair is None else (pair,)
        found = await door.searching(lambda: funnel(door.searcher, chosen, wanted.since, wanted.until))
        return reply(found.shown, found.seq, door)

    @app.get("/agents/<id>/why")
    async def why(id: str) -> Response:
        door.check(id)
        pair, latest = request.args.get("pair"), moment("at", request.args.get("at"))
        _known(pair)
        try:
            seq, found = await door.searching(
                lambda: (door.searcher.head().seq, explained(door.searcher, pair, latest))
            )
        except UserError as error:
            raise Problem(404, "NOTHING_TO_EXPLAIN", str(error)) from None
        return reply({**found, "text": unstyle(told(found))}, seq, door)

    def _known(pair: str | None) -> None:
        if pair is not None and pair not in door.offer.pairs:
            raise impossible("pair", pair, f"this market has {', '.join(door.offer.pairs)}")

    @app.get("/agents/<id>/performance")
    async def figures(id: str) -> Response:
        door.check(id)
        wanted, phase = asked(None, request.args), _phase(request.args.get("phase", phase_of(door.board.risk.status)))
        since, until = (None if at is None else from_millis(at) for at in (wanted.since, wanted.until))
        found = await door.searching(lambda: counted.performance(phase, since, until))
        return reply(found, found.seq, door)

    @app.get("/agents/<id>/config/versions")
    async def versions(id: str) -> Response:
        door.check(id)
        phase = _phase(request.args.get("phase", "paper"))
        seq, found = await door.searching(lambda: counted.versions(phase))
        return reply(found, seq, door)

    @app.get("/agents/<id>/events")
    async def events(id: str) -> Response:
        door.check(id)
        since = whole("since", request.args.get("since"), 0, 0, 2**62)
        return await answer(asked(None, request.args).narrowed("seq > ?", since, by_seq=True))


def _trades_asked(query: MultiDict[str, str]) -> Asked:
    """Which trades, in which order. Raises Problem(422)."""
    phase, side = query.get("phase", "all"), query.get("side")
    if phase not in ("paper", "live", "all"):
        raise impossible("phase", phase, "must be one of paper, live, all")
    if side not in (None, "buy", "sell"):
        raise impossible("side", side, "must be one of buy, sell")
    wanted = ordered(asked("trade", query), query.get("sort"), query.get("order"), TRADE_COLUMNS)
    filters = {name: query.get(name) for name in ("pair", "side", "journal_ref", "order_ref")}
    filters["phase"] = None if phase == "all" else phase
    for name, value in filters.items():
        if value is not None:
            wanted = wanted.filtered(f"body ->> '$.{name}' = ?", value)
    return wanted


def _phase(text: str) -> Phase:
    """Of one book. Raises Problem(422)."""
    if text not in ("paper", "live"):
        raise impossible("phase", text, "must be one of paper, live")
    return "paper" if text == "paper" else "live"


def _as_csv(asked_for: str | None) -> bool:
    """By name, or by what the client accepts. Raises Problem(422)."""
    if asked_for not in (None, "json", "csv"):
        raise impossible("format", asked_for, "must be one of json, csv")
    if asked_for is None:
        return request.accept_mimetypes.best_match(["application/json", "text/csv"]) == "text/csv"
    return asked_for == "csv"


# Decisions that were folded into a later entry.
_FOLDED = """
SELECT body FROM log WHERE kind = 'decided' AND row >= ? AND row < ? AND body ->> '$.entry' IS NULL
AND body ->> '$.pair' = ? AND body ->> '$.side' = ? AND body ->> '$.code' = ?
AND ifnull(body ->> '$.phase', 'paper') = ? ORDER BY row LIMIT ?
"""


def _repeats(reader: LogReader, told: dict[str, Any]) -> list[Repeat]:
    """The decisions that this entry counts, oldest first; none where it counts none. Blocking."""
    if "repeats" not in told["tags"]:
        return []
    data = told["data"]
    first, last = (to_millis(from_wire(data[name])) for name in ("first", "last"))
    rows = (reader.first_row_at(first), reader.first_row_at(last + 1))
    found = reader.select(
        _FOLDED, (*rows, data["pair"], data["side"], data["code"], data.get("phase", "paper"), MAX_LIMIT)
    )
    return [
        Repeat(from_wire(it["ts"]), it["pair"], it["side"], it["code"]) for (body,) in found if (it := from_json(body))
    ]


def _as_blocks(frames: list[str]) -> bytes:
    return encoded([_block(from_json(frame)) for frame in frames])


def _block(it: Any) -> Block:
    layer: Literal["policy", "physics"] = "policy" if it["event"] == "risk_veto" else "physics"
    at, said = from_wire(it["ts"]), (it["rule"], it["reason"], it["order_ref"])
    return Block(layer, at, it["seq"], *said, it["pair"], it["side"], it["size"])
