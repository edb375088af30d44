"""The routes of the door: `wire.md` in code. Reads come from the log and the board, changes go to the Strategist."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from typing import Any, Final, TypeVar

import trio
from quart import Response
from quart_trio import QuartTrio
from werkzeug.exceptions import HTTPException
from werkzeug.routing.exceptions import WebsocketMismatch

from actors.executor.live import Live
from actors.journal.store import DISK_ERRORS
from actors.messages import ChangeConfig
from actors.risk_engine.evaluation import evaluate, limits
from protocol.answers import (
    Agent,
    Alive,
    Criterion,
    Evaluation,
    Limit,
    LiveOrder,
    LiveSide,
    Market,
    OutageShown,
    Position,
    Ready,
)
from protocol.codec import read_document, to_json
from protocol.errors import InvalidSetting, Outage, Refusal
from protocol.lifecycle import phase_of
from protocol.money import booked
from protocol.orders import Order, named
from protocol.schema import indicators_document, strategy_schema
from protocol.settings import AgentConfig
from server.door.acts import ActDesk, add_acts
from server.door.backtests import Desk, add_backtests
from server.door.bodies import WouldBe
from server.door.desk import Door, read_body, reply
from server.door.documents import asyncapi, openapi
from server.door.health import add_health
from server.door.history import add_history
from server.door.pages import add_pages
from server.door.problems import Problem, answered
from server.door.strategies import add_strategies
from server.door.stream import add_stream
from server.settings import patched
from server.why import risk_check

log = logging.getLogger("forestay.door")
T = TypeVar("T")
MAX_BODY: Final = 256 * 1024
COMMAND_SECONDS: Final = 10.0


def make_app(door: Door) -> QuartTrio:
    """The ASGI app, without the gate."""
    app = QuartTrio("forestay", static_folder=None)
    app.url_map.merge_slashes = False  # it would answer with a page that redirects
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY
    app.config["BODY_TIMEOUT"] = 10
    app.logger.handlers.clear()
    app.logger.propagate = True
    _add_errors(app)
    add_pages(app)
    _add_health(app, door)
    _add_documents(app)
    _add_state(app, door)
    _add_risk(app, door)
    add_history(app, door)
    _add_config(app, door)
    add_stream(app, door)
    add_backtests(app, desk := _backtest_desk(door))
    add_strategies(app, desk)
    add_health(app, door)
    add_acts(app, ActDesk(door.board, door.tower, door.armed, door.check, _object, lambda it: reply(it, door=door)))
    for rule in app.url_map.iter_rules():
        if rule.websocket:
            rule.methods = None  # or plain HTTP were told that it may GET what is a stream
    return app


def _backtest_desk(door: Door) -> Desk:
    def config() -> AgentConfig:
        door.check("current")
        return door.config

    return Desk(door.backtests, door.agent, door.market_settings, door.offer, config, _object)


async def _object() -> dict[str, Any]:
    return await read_body(dict, "an object")


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
        late = "the body has not come in time" if status == 408 else None
        response = Problem(status, code, late or error.description or error.name).response()
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
        return reply(Alive())

    @app.get("/readyz")
    async def readyz() -> Response:
        state, outage = door.state(), door.board.outage
        if state == "running":
            return reply(Ready())
        detail = outage.reason if outage else f"the daemon is {state}"
        code = f"{outage.what.upper()}_UNAVAILABLE" if outage else state.upper()
        raise Problem(503, code, detail)


def _add_documents(app: QuartTrio) -> None:
    """What a strategy may be made of, and what this API is; for programs, the same for every agent."""

    @app.get("/indicators")
    async def indicators() -> Response:
        return reply(_indicators())

    @app.get("/strategy.schema.json")
    async def schema() -> Response:
        return reply(_strategy_schema(), content_type="application/schema+json")

    @app.get("/openapi.json")
    async def openapi_document() -> Response:
        return reply(_openapi())

    @app.get("/asyncapi.json")
    async def asyncapi_document() -> Response:
        return reply(_asyncapi())


@cache
def _indicators() -> bytes:
    return to_json(indicators_document())


@cache
def _strategy_schema() -> bytes:
    return to_json(strategy_schema())


@cache
def _openapi() -> bytes:
    return to_json(openapi())


@cache
def _asyncapi() -> bytes:
    return to_json(asyncapi())


def _add_state(app: QuartTrio, door: Door) -> None:
    def agent() -> Agent:
        risk, outage = door.board.risk, door.board.outage
        return Agent(
            id=door.agent,
            name=door.agent,
            status=risk.status,
            phase=phase_of(risk.status),
            market_mode="spot",
            last_heartbeat=door.clock(door.tower.silence()),
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
        return reply([agent()], door=door)

    @app.get("/agents/<id>")
    async def one(id: str) -> Response:
        door.check(id)
        return reply(agent(), door=door)

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
        return reply(held, door=door)


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
        shown = [Limit(seq, it.rule, it.current, it.limit, it.met, it.headroom_pct, it.until) for it in found]
        return reply(shown, seq, door)

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
        return reply(answer, door=door)

    @app.post("/agents/<id>/risk/check")
    async def check(id: str) -> Response:
        door.check(id)
        order = _would_be(door, await read_body(dict, "an object"))
        return reply(risk_check(door.board.risk, door.board.shown, order, _now(door)), door=door)


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
        return reply(door.config, door=door)

    @app.patch("/agents/<id>/config")
    async def patch(id: str) -> Response:
        door.check(id)
        change = await read_body(dict, "an object")
        return reply(await adopt(change, "changed " + ", ".join(sorted(change))), door=door)

    @app.get("/agents/<id>/watchlist")
    async def watchlist(id: str) -> Response:
        door.check(id)
        return reply(door.config.watchlist, door=door)

    @app.put("/agents/<id>/watchlist")
    async def watch(id: str) -> Response:
        door.check(id)
        pairs = await read_body(list, "a list")
        return reply((await adopt({"watchlist": pairs}, "changed watchlist")).watchlist, door=door)
