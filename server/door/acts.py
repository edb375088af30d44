"""What a person does about live: look before, promote, demote, re-approve, and the kill switch."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any, Final, TypeVar

import trio
from attrs import frozen
from quart import Response, request
from quart_trio import QuartTrio

from actors.broadcaster.board import Board
from actors.executor.live import USDT, Live
from actors.executor.losses import lacking
from actors.executor.swaps import base_of
from actors.messages import ChangeStatus, Inspect, RevokeSigning
from actors.risk_engine.moves import Act, Demote, Killed, Promote, Reapprove, promotable
from actors.tower import Died, MailboxFull, TooLate, Tower
from actors.twak_signer.actor import NOT_ARMED, Armed
from actors.twak_signer.inspection import PROMISES, Inspection, equity_of, opening_units, preflight
from protocol import answers
from protocol.answers import Check
from protocol.codec import read_document
from protocol.errors import InvalidSetting, Outage, Refusal
from protocol.events import Status
from protocol.money import Units, booked_down
from protocol.signing import Revoked
from server.door.bodies import DemoteBody, KillBody, PromoteBody, ReapproveBody
from server.door.problems import Problem, answered

T = TypeVar("T")
ACT_SECONDS: Final = 15.0
CODES: Final = {
    "guard": "SIGNER_REVOKED"
}  # of a failing check; the record's own say why, the others are PREFLIGHT_FAILED


@frozen
class ActDesk:
    """What these routes work with. `check` says whether an agent is ours, `body` reads a request's."""

    board: Board
    tower: Tower
    armed: Armed | None
    check: Callable[[str], None]
    body: Callable[[], Awaitable[dict[str, Any]]]
    answer: Callable[[Any], Response]


def add_acts(app: QuartTrio, desk: ActDesk) -> None:
    @app.get("/agents/<id>/preflight")
    async def look(id: str) -> Response:
        desk.check(id)
        given = request.args.get("force", "false")
        if given not in ("true", "false"):
            raise Problem(422, "VALIDATION_ERROR", f"force = {given[:60]!r}: must be true or false")
        _, checks = await _inspected(desk, force=given == "true")
        return desk.answer(checks)

    @app.post("/agents/<id>/promote")
    async def promote(id: str) -> Response:
        desk.check(id)
        asked = await _read(desk, PromoteBody)
        seen, checks = await _inspected(desk, force=asked.force)
        failing = [check for check in checks if not check.ok]
        if failing:
            raise _failed(desk, failing, checks, force=asked.force)
        assert desk.armed is not None, "that was looked at"
        live, decimals = desk.board.live, desk.armed.decimals
        units = opening_units(seen.units, live)
        equity = equity_of(seen.units, live, decimals)
        cash = booked_down(units[USDT].amount(decimals[USDT]))
        act = Promote(cash, equity, live.book.equity, units, PROMISES[seen.guard.way], asked.force)
        await _act(desk, act)
        await _until(desk, lambda: desk.board.risk.status == "LIVE")
        return desk.answer(answers.Promoted(desk.board.risk.status, checks))

    @app.post("/agents/<id>/demote")
    async def demote(id: str) -> Response:
        desk.check(id)
        asked = await _read(desk, DemoteBody)
        wallet = None if asked.confirm is None else await _wallet(desk)
        await _act(desk, Demote(asked.reason.strip(), wallet))
        has = {token: units for token, (units, _) in (wallet or {}).items()}
        await _until(desk, lambda: desk.board.risk.status != "LIVE" and _way_out(desk.board.live, has))
        return desk.answer(answers.Demoted(desk.board.risk.status, desk.board.live.flattening is not None))

    @app.post("/agents/<id>/reapprove")
    async def reapprove(id: str) -> Response:
        desk.check(id)
        asked = await _read(desk, ReapproveBody)
        await _act(desk, Reapprove(asked.demotion, asked.reason.strip()))
        await _until(desk, lambda: desk.board.risk.lock is None)
        return desk.answer(answers.Reapproved(desk.board.risk.status))

    @app.post("/agents/<id>/kill-switch")
    async def kill(id: str) -> Response:
        """The guard first: whatever is slow here, nothing is signed any more once it has answered."""
        desk.check(id)
        asked = await _read(desk, KillBody)
        signer = desk.tower.outside().address("TwakSigner")
        revoked = await answered(lambda: signer.ask(RevokeSigning(asked.reason), within=ACT_SECONDS))
        if isinstance(revoked, Refusal):
            raise Problem(409, "SIGNING_NOT_SET_UP", revoked.reason)
        if isinstance(revoked, Outage):
            words = "; `forestay kill` asks it without the daemon, and stopping it stops all signing"
            raise Problem(503, "GUARD_UNAVAILABLE", revoked.reason + words)
        return desk.answer(answers.Killed(revoked.at, await _journaled(desk, revoked, asked.reason)))


async def _journaled(desk: ActDesk, revoked: Revoked, reason: str) -> Status:
    """Journal the kill at once; where that cannot be, it is when the guard is looked at next."""
    strategist = desk.tower.outside().address("Strategist")
    try:
        await strategist.ask(ChangeStatus(Killed(revoked.at, reason)), within=ACT_SECONDS)
        await _until(desk, lambda: desk.board.risk.status != "LIVE")
    except (Died, MailboxFull, TooLate, Problem):
        pass
    return desk.board.risk.status


async def _inspected(desk: ActDesk, *, force: bool) -> tuple[Inspection, tuple[Check, ...]]:
    """What was seen outside, and what is to be said of it."""
    armed, seen = await _looked(desk)
    risk, live = desk.board.risk, desk.board.live
    return seen, preflight(seen, risk, live, armed.settings, armed.decimals, force=force)


async def _looked(desk: ActDesk) -> tuple[Armed, Inspection]:
    """At what may be traded, and at what is held."""
    if (armed := desk.armed) is None:
        raise Problem(409, "SIGNING_NOT_SET_UP", NOT_ARMED.reason)
    signer = desk.tower.outside().address("TwakSigner")
    held = [pair for pair in desk.board.live.book.positions if base_of(pair) in armed.decimals]
    pairs = tuple(dict.fromkeys((*desk.board.risk.settings.watchlist, *held)))
    seen = await answered(lambda: signer.ask(Inspect(pairs), within=ACT_SECONDS))
    if isinstance(seen, Outage):
        raise Problem(503, f"{seen.what.upper()}_UNAVAILABLE", seen.reason)
    return armed, seen


async def _wallet(desk: ActDesk) -> dict[str, tuple[Units, Decimal]]:
    """What it holds of each token, while no order of ours is on its way."""
    if desk.board.live.orders:
        raise Problem(409, "ORDERS_OPEN", "a live order is on its way: what the wallet holds is not known yet")
    armed, seen = await _looked(desk)
    tokens = (token for token in seen.units if token in armed.decimals)
    return {token: (seen.units[token], seen.units[token].amount(armed.decimals[token])) for token in tokens}


def _failed(desk: ActDesk, failing: list[Check], checks: tuple[Check, ...], *, force: bool) -> Problem:
    first = failing[0]
    code = CODES.get(first.name, "PREFLIGHT_FAILED")
    if first.name == "record":
        code = _why_not(desk, force=force)
    detail = "; ".join(f"{check.name}: {check.detail}" for check in failing)
    return Problem(409, code, detail, checks=checks)


def _why_not(desk: ActDesk, *, force: bool) -> str:
    no = promotable(desk.board.risk, force=force)
    return no.rule if no is not None else "NOT_ELIGIBLE"


async def _act(desk: ActDesk, act: Act) -> None:
    strategist = desk.tower.outside().address("Strategist")
    answer = await answered(lambda: strategist.ask(ChangeStatus(act), within=ACT_SECONDS))
    if isinstance(answer, Refusal):
        raise Problem(503 if answer.rule == "STOPPING" else 409, answer.rule, answer.reason)
    if isinstance(answer, Outage):
        raise Problem(503, f"{answer.what.upper()}_UNAVAILABLE", answer.reason)


def _way_out(live: Live, has: dict[str, Units]) -> bool:
    """Is it sold out, or being so, and what the wallet has not written off?"""
    return (live.flat or live.flattening is not None) and not lacking(live, live.units | has)


async def _until(desk: ActDesk, shown: Callable[[], bool]) -> None:
    """What was accepted is answered for once it is on the disk."""
    with trio.move_on_after(ACT_SECONDS):
        while not shown():
            await desk.board.news()
        return
    raise Problem(503, "NOT_DURABLE", "it is accepted, but not yet on the disk")


async def _read(desk: ActDesk, kind: type[T]) -> T:
    try:
        return read_document(await desk.body(), kind)
    except InvalidSetting as error:
        raise Problem(422, error.code, str(error), errors=error.problems) from None
