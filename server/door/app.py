"""The routes of the door: `wire.md` in code. Reads come from the log and the board, changes go to the Strategist."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import aclosing
from datetime import datetime
from decimal import Decimal
from functools import cache
from typing import Any, Final, Literal, TypeVar
from urllib.parse import urlencode

import trio
from attrs import field, frozen
from quart import Response, request, websocket
from quart_trio import QuartTrio
from werkzeug.exceptions import HTTPException
from werkzeug.routing.exceptions import WebsocketMismatch

from actors.broadcaster.board import Board
from actors.executor.live import Live
from actors.journal.store import DISK_ERRORS, HAS_TAG, LogReader
from actors.messages import ChangeConfig
from actors.ports import Blocking
from actors.risk_engine.evaluation import evaluate, limits
from actors.tower import Tower
from actors.twak_signer.actor import Armed
from protocol.answers import (
    Agent,
    Alive,
    Block,
    ConfigVersion,
    Criterion,
    Evaluation,
    Limit,
    LiveOrder,
    LiveSide,
    Market,
    OutageShown,
    Position,
    Ready,
    State,
)
from protocol.codec import decode_row, encoded, from_json, read_document, to_json
from protocol.errors import InvalidSetting, Outage, Refusal
from protocol.events import ConfigAdopted
from protocol.lifecycle import phase_of
from protocol.limits import matching
from protocol.money import booked
from protocol.orders import Order, Side, named
from protocol.schema import indicators_document, strategy_schema
from protocol.settings import AgentConfig, MarketSettings
from protocol.times import from_wire
from server.backtesting.queue import Backtests
from server.door.acts import ActDesk, add_acts
from server.door.backtests import Desk, add_backtests
from server.door.gate import SUBPROTOCOL
from server.door.lists import Asked, Page, asked, bucketed, impossible, read, whole
from server.door.problems import Problem, answered
from server.door.stream import Behind, follow
from server.funnel import funnel
from server.settings import Offer, patched
from server.why import risk_check

log = logging.getLogger("forestay.door")
T = TypeVar("T")
MAX_BODY: Final = 256 * 1024
MAX_DEPTH: Final = 32
COMMAND_SECONDS: Final = 10.0
CLOSE_SECONDS: Final = 1.0  # what a client has at shutdown to take the last frames

GOING_AWAY, TRY_AGAIN, BAD_REQUEST, NO_TOKEN, NO_AGENT = 1001, 1013, 4400, 4401, 4404
UNREADABLE: Final = "the log cannot be read: come back with since"


@frozen
class Door:
    """What the routes work with."""

    agent: str
    log_id: str
    market: dict[str, Any]
    offer: Offer
    board: Board
    reader: LogReader
    reading: Blocking
    tower: Tower
    stopping: trio.Event
    clock: Callable[[float], str]  # the wall time of so many seconds ago, in wire form
    backtests: Backtests
    armed: Armed | None
    market_settings: MarketSettings  # what a backtest runs over: paths absolute, a demo's seed known

    def check(self, agent: str) -> None:
        """Is this our agent, and is there something to show of it?"""
        if agent not in (self.agent, "current"):
            raise Problem(404, "AGENT_NOT_FOUND", f"there is no agent {agent!r}; this daemon runs {self.agent!r}")
        if not self.board.ready.is_set() or self.board.risk.config is None:
            if outage := self.board.outage:
                raise Problem(503, f"{outage.what.upper()}_UNAVAILABLE", outage.reason)
            raise Problem(503, "STARTING", "the log is still being read")

    def state(self) -> State:
        """In one word: may it decide, and does it?"""
        if self.stopping.is_set():
            return "stopping"
        if self.board.outage is not None:
            return "degraded"
        return "running" if self.tower.whole else "starting"

    @property
    def config(self) -> AgentConfig:
        return self.board.risk.settings


def make_app(door: Door) -> QuartTrio:
    """The ASGI app, without the gate."""
    app = QuartTrio("forestay")
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY
    app.config["BODY_TIMEOUT"] = 10
    app.logger.handlers.clear()
    app.logger.propagate = True
    _add_errors(app)
    _add_health(app, door)
    _add_documents(app)
    _add_state(app, door)
    _add_risk(app, door)
    _add_lists(app, door)
    _add_config(app, door)
    _add_stream(app, door)
    add_backtests(app, _backtest_desk(door))
    add_acts(app, ActDesk(door.board, door.tower, door.armed, door.check, _object, lambda it: _json(it, door=door)))
    return app


def _backtest_desk(door: Door) -> Desk:
    def config() -> AgentConfig:
        door.check("current")
        return door.config

    return Desk(door.backtests, door.agent, door.market_settings, door.offer, config, _object)


async def _object() -> dict[str, Any]:
    return await _body(dict, "an object")


def _json(
    value: Any, seq: int | None = None, door: Door | None = None, *, content_type: str = "application/json"
) -> Response:
    headers = {"Cache-Control": "no-store"}
    if door is not None:
        headers |= {"X-Last-Seq": str(door.board.seq if seq is None else seq), "X-Log-Id": door.log_id}
    body = value if isinstance(value, bytes) else encoded(value)
    return Response(body, headers=headers, content_type=content_type)


def _add_errors(app: QuartTrio) -> None:
    @app.errorhandler(Problem)
    async def problem(error: Problem) -> Response:
        return error.response()

    @app.errorhandler(WebsocketMismatch)
    async def no_stream(_: WebsocketMismatch) -> Response:
        return Problem(404, "NOT_FOUND", "there is nothing at this address for plain HTTP").response()

    async def unreadable(error: Exception) -> Response:
        return Problem(503, "DISK_UNAVAILABLE", f"the log cannot be read: {error}").response()

    for kind in DISK_ERRORS:
        app.register_error_handler(kind, unreadable)

    @app.errorhandler(HTTPException)
    async def http(error: HTTPException) -> Response:
        status = error.code or 500
        allowed = getattr(error, "valid_methods", None)
        code = (error.name or "error").upper().replace(" ", "_").replace("-", "_")
        response = Problem(status, code, error.description or error.name).response()
        if allowed:
            response.headers["Allow"] = ", ".join(sorted(allowed))
        return response

    @app.errorhandler(Exception)
    async def bug(error: Exception) -> Response:
        log.error("a request failed", exc_info=error)
        return Problem(500, "INTERNAL_ERROR", "this is a bug of the daemon; its log says more").response()


def _add_health(app: QuartTrio, door: Door) -> None:
    @app.get("/healthz")
    async def healthz() -> Response:
        return _json(Alive())

    @app.get("/readyz")
    async def readyz() -> Response:
        state, outage = door.state(), door.board.outage
        if state == "running":
            return _json(Ready())
        detail = outage.reason if outage else f"the daemon is {state}"
        code = f"{outage.what.upper()}_UNAVAILABLE" if outage else state.upper()
        raise Problem(503, code, detail)


def _add_documents(app: QuartTrio) -> None:
    """What a strategy may be made of, for programs; the same for every agent."""

    @app.get("/indicators")
    async def indicators() -> Response:
        return _json(_indicators())

    @app.get("/strategy.schema.json")
    async def schema() -> Response:
        return _json(_strategy_schema(), content_type="application/schema+json")


@cache
def _indicators() -> bytes:
    return to_json(indicators_document())


@cache
def _strategy_schema() -> bytes:
    return to_json(strategy_schema())


def _add_state(app: QuartTrio, door: Door) -> None:
    def agent() -> Agent:
        risk, outage = door.board.risk, door.board.outage
        return Agent(
            id=door.agent,
            name=door.agent,
            status=risk.status,
            phase=phase_of(risk.status),
            market_mode="spot",
            last_heartbeat=from_wire(door.clock(door.tower.silence())),
            log_id=door.log_id,
            seq=door.board.seq,
            market=Market(door.market.get("kind"), door.offer.pairs, risk.marked_at if risk.marked else None),
            config_version=risk.version,
            equity=risk.shown.equity,
            live=_live(door.board.live),
            state=door.state(),
            outage=OutageShown(outage.what, outage.reason) if outage else None,
            restarts=dict(door.tower.restarts),
        )

    @app.get("/agents")
    async def agents() -> Response:
        door.check("current")
        return _json([agent()], door=door)

    @app.get("/agents/<id>")
    async def one(id: str) -> Response:
        door.check(id)
        return _json(agent(), door=door)

    @app.get("/agents/<id>/positions")
    async def positions(id: str) -> Response:
        door.check(id)
        held = [
            Position(
                seq=door.board.seq,
                pair=pair,
                phase=book.phase,
                qty=position.qty,
                entry_price=position.entry_price,
                cost=position.cost,
                opened_at=position.opened_at,
                price=book.marks[pair].price,
                value=book.worth(pair),
                unrealized_pnl=booked(book.worth(pair) - position.cost),
            )
            for book in (door.board.book, door.board.live.book)
            for pair, position in sorted(book.positions.items())
        ]
        return _json(held, door=door)


def _live(live: Live) -> LiveSide:
    orders = tuple(
        LiveOrder(
            order.ref, order.intended.order.pair, order.intended.order.side, order.state,
            tuple(one.hash for one in order.signed),
        )
        for order in live.orders.values()
    )  # fmt: skip
    return LiveSide(orders, live.flattening, live.frozen)


def _add_risk(app: QuartTrio, door: Door) -> None:
    @app.get("/agents/<id>/risk/objectives")
    async def objectives(id: str) -> Response:
        door.check(id)
        seq, found = door.board.seq, limits(door.board.risk, door.board.shown)
        return _json([Limit(seq, it.rule, it.current, it.limit, it.met, it.headroom_pct) for it in found], seq, door)

    @app.get("/agents/<id>/evaluation")
    async def evaluation(id: str) -> Response:
        door.check(id)
        config, found = door.config.evaluation, evaluate(door.board.risk)
        answer = Evaluation(
            state=found.state,
            eligible=found.eligible,
            window_days_elapsed=found.window_days_elapsed,
            eval_window_days=config.eval_window_days,
            trade_floor=config.trade_floor,
            closed_trades=door.board.risk.run.closed_trades,
            objectives=tuple(
                Criterion(it.rule, it.current, it.limit, it.met, it.headroom_pct) for it in found.objectives
            ),
        )
        return _json(answer, door=door)

    @app.post("/agents/<id>/risk/check")
    async def check(id: str) -> Response:
        door.check(id)
        order = _would_be(door, await _body(dict, "an object"))
        return _json(risk_check(door.board.risk, door.board.book, order, _now(door)), door=door)


@frozen
class WouldBe:
    """An order that somebody asks about. Nothing is done with it."""

    pair: str
    side: Side
    size: Decimal = field(validator=matching(lambda size: 0 < size <= 10**12, "must be above 0, at most 1e12"))


def _would_be(door: Door, document: dict[str, Any]) -> Order:
    """The order that the document describes, if it is one that could come. Raises Problem(422)."""
    try:
        wanted = read_document(document, WouldBe)
        if wanted.pair not in door.offer.pairs:
            raise InvalidSetting([f"pair = {wanted.pair!r}: this market has {', '.join(door.offer.pairs)}"])
        if wanted.side == "buy" and wanted.pair not in door.config.watchlist:
            watched = ", ".join(door.config.watchlist)
            raise InvalidSetting([f"pair = {wanted.pair!r}: not on the watchlist ({watched}), so it is not entered"])
    except InvalidSetting as error:
        raise Problem(422, error.code, str(error), errors=error.problems) from None
    ref = named("ord", _now(door), wanted.pair, wanted.side)
    return Order(ref, wanted.pair, wanted.side, wanted.size, None, "")


def _now(door: Door) -> datetime:
    """Market time: of the last round, or of the beginning before the first."""
    risk = door.board.risk
    return risk.marked_at if risk.marked else risk.run.started_at


def _add_lists(app: QuartTrio, door: Door) -> None:
    async def answer(wanted: Asked, shape: Callable[[list[str]], bytes] | None = None) -> Response:
        page: Page = await door.reading(lambda: read(door.reader, wanted))
        body = shape(page.frames) if shape else ("[" + ",".join(page.frames) + "]").encode()
        response = _json(body, page.last_seq, door)
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
        wanted, phase = asked("trade", request.args), request.args.get("phase", "all")
        if phase not in ("paper", "live", "all"):
            raise impossible("phase", phase, "must be one of paper, live, all")
        if phase != "all":
            wanted = wanted.narrowed("json_extract(body, '$.phase') = ?", phase)
        return await answer(wanted)

    @app.get("/agents/<id>/journal")
    async def journal(id: str) -> Response:
        door.check(id)
        wanted = asked("journal_entry", request.args, newest_first=True)
        if (entry_type := request.args.get("type")) is not None:
            wanted = wanted.narrowed("type = ?", entry_type)
        if (tag := request.args.get("tag")) is not None:
            wanted = wanted.narrowed(HAS_TAG, tag)
        if (text := request.args.get("q")) is not None:
            wanted = wanted.narrowed("instr(lower(json_extract(body, '$.text')), lower(?))", text)
        return await answer(wanted)

    @app.get("/agents/<id>/risk/blocks")
    async def blocks(id: str) -> Response:
        door.check(id)
        wanted = asked(None, request.args).narrowed("kind IN ('risk_veto', 'twak_block')")
        return await answer(wanted, _as_blocks)

    @app.get("/agents/<id>/funnel")
    async def signals_to_trades(id: str) -> Response:
        door.check(id)
        wanted, pair, pairs = asked(None, request.args), request.args.get("pair"), door.offer.pairs
        if pair is not None and pair not in pairs:
            raise impossible("pair", pair, f"this market has {', '.join(pairs)}")
        chosen = pairs if pair is None else (pair,)
        found = await door.reading(lambda: funnel(door.reader, chosen, wanted.since, wanted.until))
        return _json(found.shown, found.seq, door)

    @app.get("/agents/<id>/events")
    async def events(id: str) -> Response:
        door.check(id)
        since = whole("since", request.args.get("since"), 0, 0, 2**62)
        return await answer(asked(None, request.args).narrowed("seq > ?", since))


def _as_blocks(frames: list[str]) -> bytes:
    return encoded([_block(from_json(frame)) for frame in frames])


def _block(it: Any) -> Block:
    layer: Literal["policy", "physics"] = "policy" if it["event"] == "risk_veto" else "physics"
    at, said = from_wire(it["ts"]), (it["rule"], it["reason"], it["order_ref"])
    return Block(layer, at, it["seq"], *said, it["pair"], it["side"], it["size"])


def _add_config(app: QuartTrio, door: Door) -> None:
    changing = trio.Lock()  # a patch is laid over the config that it finds

    async def adopt(change: Mapping[str, Any], text: str) -> AgentConfig:
        async with changing:
            return await adopt_alone(change, text)

    async def adopt_alone(change: Mapping[str, Any], text: str) -> AgentConfig:
        found_version = door.board.risk.version
        try:
            config = patched(door.config, dict(change), door.offer)
        except InvalidSetting as error:
            raise Problem(422, error.code, str(error), errors=error.problems) from None
        if config == door.config:
            return config
        change_config = ChangeConfig(config, text, expected=found_version)
        strategist = door.tower.outside().address("Strategist")
        version = await answered(lambda: strategist.ask(change_config, within=COMMAND_SECONDS))
        if isinstance(version, Refusal):
            code = {"stopping": "STOPPING", "live": "LIVE_LIMIT"}.get(version.rule, "CONFIG_CHANGED")
            raise Problem(503 if code == "STOPPING" else 409, code, version.reason)
        if isinstance(version, Outage):
            raise Problem(503, "DISK_UNAVAILABLE", version.reason)
        with trio.move_on_after(COMMAND_SECONDS):
            while door.board.risk.version < version:
                await door.board.news()
            return config
        reason = door.board.outage.reason if door.board.outage else "the disk is slow"
        raise Problem(503, "NOT_DURABLE", f"version {version} is accepted but not yet on the disk: {reason}")

    @app.get("/agents/<id>/config")
    async def config(id: str) -> Response:
        door.check(id)
        return _json(door.config, door=door)

    @app.patch("/agents/<id>/config")
    async def patch(id: str) -> Response:
        door.check(id)
        change = await _body(dict, "an object")
        return _json(await adopt(change, "changed " + ", ".join(sorted(change))), door=door)

    @app.get("/agents/<id>/config/versions")
    async def versions(id: str) -> Response:
        door.check(id)
        seq, found = await door.reading(lambda: (door.reader.head().seq, door.reader.configs()))
        return _json([_version(before, body) for before, body in found], seq, door)

    @app.get("/agents/<id>/watchlist")
    async def watchlist(id: str) -> Response:
        door.check(id)
        return _json(door.config.watchlist, door=door)

    @app.put("/agents/<id>/watchlist")
    async def watch(id: str) -> Response:
        door.check(id)
        pairs = await _body(list, "a list")
        return _json((await adopt({"watchlist": pairs}, "changed watchlist")).watchlist, door=door)


def _version(before: int, body: str) -> ConfigVersion:
    row = decode_row(body)
    assert isinstance(row, ConfigAdopted), "only those were asked for"
    return ConfigVersion(before, row.version, row.ts, row.config, None)


async def _body(kind: type[T], words: str) -> T:
    data = await request.get_data(as_text=False)
    try:
        value = from_json(data)
    except ValueError as error:
        raise Problem(400, "MALFORMED_JSON", f"the body is not JSON: {error}") from None
    if _depth_exceeds(value, MAX_DEPTH):
        raise Problem(400, "MALFORMED_JSON", f"the body nests deeper than {MAX_DEPTH}")
    if not isinstance(value, kind):
        raise Problem(422, "VALIDATION_ERROR", f"the body must be {words}")
    return value


def _depth_exceeds(value: Any, limit: int) -> bool:
    level = [value]
    for _ in range(limit):
        level = [inner for outer in level for inner in _inner(outer)]
    return bool(level)


def _inner(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


def _add_stream(app: QuartTrio, door: Door) -> None:
    @app.websocket("/ws/agents/<id>")
    async def stream(id: str) -> None:
        if not websocket.scope.get("forestay.token", True):
            await _refuse(door, NO_TOKEN, "token missing or wrong")
        elif id not in (door.agent, "current"):
            await _refuse(door, NO_AGENT, f"no agent {id[:60]}")
        else:
            await _stream(door, websocket.args.get("since"))

    @app.websocket("/<path:_>")
    async def nothing(_: str) -> None:
        await _refuse(door, NO_AGENT, "there is no stream here")

    @app.websocket("/")
    async def root() -> None:
        await nothing("")


async def _accept(door: Door, since: int = 0) -> None:
    """Upgrade. The handshake names the log, so that a client notices another one before the first frame."""
    await door.board.ready.wait()
    offered = websocket.requested_subprotocols
    headers = {"X-Log-Id": door.log_id, "X-Last-Seq": str(max(door.board.seq, since))}
    await websocket.accept(headers=headers, subprotocol=SUBPROTOCOL if SUBPROTOCOL in offered else None)


async def _refuse(door: Door, code: int, reason: str) -> None:
    """Close with a code of ours, which only an upgraded connection can carry."""
    await _accept(door)
    await websocket.close(code, reason)


async def _stream(door: Door, text: str | None) -> None:
    try:
        since = await _since(door, text)
    except DISK_ERRORS:
        await _refuse(door, TRY_AGAIN, UNREADABLE)
        return
    if since is None:
        await _refuse(door, BAD_REQUEST, "since must be a seq that the log has reached")
        return
    await _accept(door, since)  # only now: what is committed after the handshake is heard
    await _push(door, since)


async def _since(door: Door, text: str | None) -> int | None:
    """The seq to follow; None where `text` is none. Without one, what is committed from now on.

    The board may lag behind the log, and a client that catches up reads the log: so the log decides what is reached.
    """
    if text is None:
        return (await door.reading(door.reader.head)).seq
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        return None
    seq = int(text)
    return seq if seq <= door.board.seq or seq <= (await door.reading(door.reader.head)).seq else None


async def _push(door: Door, since: int) -> None:
    """Frames until the client leaves, is too slow, or the daemon stops."""
    code, reason = GOING_AWAY, "the daemon stops"
    async with trio.open_nursery() as nursery:

        async def out_of_time() -> None:
            await door.stopping.wait()
            nursery.cancel_scope.deadline = trio.current_time() + CLOSE_SECONDS

        nursery.start_soon(out_of_time)
        try:
            async with aclosing(follow(door.board, door.reader, door.reading, since)) as news:
                async for frames in news:
                    for frame in frames:
                        await websocket.send(frame)
        except Behind:
            code, reason = TRY_AGAIN, "too slow: come back with since"
        except DISK_ERRORS:
            code, reason = TRY_AGAIN, UNREADABLE
        nursery.cancel_scope.cancel()
    await websocket.close(code, reason)
