"""Backtests over HTTP: what a document asks for becomes a job, and its ticket is shown."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

import trio
from attrs import evolve, frozen
from quart import Response
from quart_trio import QuartTrio

from actors.market_feed.demo import BEGINS as DEMO_BEGINS
from protocol.codec import encoded, read_document
from protocol.errors import InvalidSetting, UserError
from protocol.settings import AgentConfig, MarketSettings
from protocol.strategy import StrategySpec
from protocol.times import parse_time, to_millis, to_wire
from server.backtesting.queue import Backtests, QueueFull, Ticket
from server.backtesting.worker import Job
from server.door.problems import Problem
from server.plain_yaml import plain_yaml
from server.settings import Document, Offer, patched
from server.strategies import text

KEYS: Final = ("spec", "pairs", "from", "to", "days", "out_of_sample", "config")
DEMO_DAYS: Final = 90
DEMO_MAX_DAYS: Final = 3650
DEMO_ENDS: Final = DEMO_BEGINS + timedelta(days=DEMO_MAX_DAYS)


@frozen
class Desk:
    """What the routes work with. `market` is the daemon's own, its paths absolute and a demo's seed known; `config` is
    the config in force, which a run starts from."""

    backtests: Backtests
    agent: str
    market: MarketSettings
    offer: Offer
    config: Callable[[], AgentConfig]
    body: Callable[[], Awaitable[dict[str, Any]]]


def add_backtests(app: QuartTrio, desk: Desk) -> None:
    def answer(value: Any, status: int = 200, **headers: str) -> Response:
        return Response(
            encoded(value), status, {"Cache-Control": "no-store", **headers}, content_type="application/json"
        )

    def found(id: str) -> Ticket:
        ticket = desk.backtests.find(id)
        if ticket is None:
            raise Problem(404, "BACKTEST_NOT_FOUND", f"there is no backtest {id[:60]!r}")
        return ticket

    @app.post("/backtests")
    async def submit_backtest() -> Response:
        document = await desk.body()
        try:
            ticket = desk.backtests.submit(job(document, desk))
        except InvalidSetting as error:
            raise Problem(422, error.code, str(error), errors=error.problems) from None
        except UserError as error:
            raise Problem(422, "VALIDATION_ERROR", str(error)) from None
        except QueueFull as error:
            raise Problem(429, "QUEUE_FULL", str(error)) from None
        return answer(ticket.shown(trio.current_time()), 202, Location=f"/backtests/{ticket.id}")

    @app.get("/backtests")
    async def backtests() -> Response:
        return answer([ticket.shown(trio.current_time()) for ticket in desk.backtests.newest_first()])

    @app.get("/backtests/<id>")
    async def backtest(id: str) -> Response:
        return answer(found(id).whole(trio.current_time()))

    @app.get("/backtests/<id>/report")
    async def backtest_report(id: str) -> Response:
        """A file, never a page of this origin: it has a script of its own."""
        ticket = found(id)
        page = await trio.to_thread.run_sync(desk.backtests.report, ticket)
        if page is None:
            raise Problem(404, "REPORT_NOT_FOUND", f"backtest {ticket.id} has no report: it is {ticket.state}")
        headers = {"Cache-Control": "no-store", "Content-Disposition": f'attachment; filename="{ticket.id}.html"',
                   "Content-Security-Policy": "sandbox", "X-Content-Type-Options": "nosniff"}  # fmt: skip
        return Response(page, headers=headers, content_type="text/html; charset=utf-8")

    @app.delete("/backtests/<id>")
    async def cancel_backtest(id: str) -> Response:
        ticket = found(id)
        if ticket.ended:
            raise Problem(409, "BACKTEST_ENDED", f"it is {ticket.state} already")
        desk.backtests.cancel(ticket)
        return answer(ticket.shown(trio.current_time()))


def job(document: Document, desk: Desk) -> Job:
    """The job that a document asks for. Raises UserError or InvalidSetting, naming the key."""
    if unknown := sorted(set(document) - set(KEYS)):
        raise InvalidSetting(
            [f"{key} = {document[key]!r}: unknown key; valid keys are {', '.join(KEYS)}" for key in unknown]
        )
    if desk.market.kind == "chain":
        raise UserError("the chain has no past to run over: give candles as files (forestay backtest SPEC --data ...)")
    market, offer = _pairs(document.get("pairs"), desk)
    patch = document.get("config", {})
    if not isinstance(patch, dict):
        raise UserError("config: must be a table of keys, laid over the agent's config")
    base = _narrowed(desk.config(), offer)
    if (given := document.get("spec")) is not None:
        plain = plain_yaml(text(given)) if isinstance(given, str) else given
        spec = read_document(plain, StrategySpec, at="spec")
        base = evolve(base, strategy=evolve(base.strategy, spec=spec))
    config = patched(base, patch, offer, backtest=True)
    begin, end = _time(document, "from"), _time(document, "to")
    if market.kind == "demo":
        end = _end_of_demo(document, begin, end)
    elif document.get("days") is not None:
        raise UserError("days: is for the demo market, without `to`")
    if begin is not None and end is not None and begin >= end:
        raise UserError("from, to: from must be before to")
    return Job(desk.agent, config, market, begin, end, _number(document, "out_of_sample", 0.01, 0.99))


def _end_of_demo(document: Document, begin: datetime | None, end: datetime | None) -> datetime:
    """A made-up market goes on for ever: a run over it does not."""
    for name, at in (("from", begin), ("to", end)):
        if at is not None and not DEMO_BEGINS <= at <= DEMO_ENDS:
            span = f"from {to_wire(DEMO_BEGINS)} to {to_wire(DEMO_ENDS)}"
            raise UserError(f"{name} = {document[name]!r}: a run over the demo market must lie {span}")
    days = _number(document, "days", 1, DEMO_MAX_DAYS)
    if end is None:
        return min((begin or DEMO_BEGINS) + timedelta(days=days or DEMO_DAYS), DEMO_ENDS)
    if days is not None:
        raise UserError("days: is for the demo market, without `to`")
    return end


def _narrowed(config: AgentConfig, offer: Offer) -> AgentConfig:
    """The agent's config for these pairs alone."""
    own = {pair: limits for pair, limits in config.quotes.pairs.items() if pair in offer.pairs}
    return evolve(config, watchlist=offer.pairs, quotes=evolve(config.quotes, pairs=own))


def _pairs(given: Any, desk: Desk) -> tuple[MarketSettings, Offer]:
    """The market with these of its pairs; all of them where none are given."""
    if given is None:
        return desk.market, desk.offer
    names = given if isinstance(given, list) and all(pair in desk.offer.pairs for pair in given) else []
    if not names or len(set(names)) < len(names):
        raise UserError(f"pairs = {given!r}: must be a list out of {', '.join(desk.offer.pairs)}, each of them once")
    if desk.market.kind == "demo":
        return desk.market, evolve(desk.offer, pairs=tuple(sorted(given)))
    market = evolve(
        desk.market,
        replay={pair: path for pair, path in desk.market.replay.items() if pair in given},
        reference={pair: path for pair, path in desk.market.reference.items() if pair in given},
    )
    return market, evolve(desk.offer, pairs=tuple(sorted(given)))


def _time(document: Document, name: str) -> Any:
    given = document.get(name)
    if given is None:
        return None
    try:
        at = parse_time(given)
        to_millis(at)
    except (ValueError, TypeError):
        raise UserError(f"{name} = {given!r}: must be an ISO 8601 time such as 2026-01-02T03:04:05Z") from None
    return at


def _number(document: Document, name: str, low: float, high: float) -> float | None:
    given = document.get(name)
    if given is None:
        return None
    if isinstance(given, bool) or not isinstance(given, int | float | Decimal):
        raise UserError(f"{name} = {given!r}: must be a number")
    if not Decimal(str(low)) <= Decimal(str(given)) <= Decimal(str(high)):
        raise UserError(f"{name} = {given}: must be from {low:g} to {high:g}")
    return float(given)
