"""Daemon or guard ends by SIGKILL between any two steps of what a person does about live (promote, demote, write off,
kill), and is started again: it is done once and whole, or not at all, and who has heard no answer asks again."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from itertools import chain
from typing import Any, Final

import httpx
import pytest
from eth_abi.abi import encode
from eth_utils.crypto import keccak

from protocol.events import Intended, Promotion
from server.guard import ledger
from tests.crash._doomed import RECORDS
from tests.crash.scenes import Cast, Scenes, idle
from tests.crash.test_every_step import COMMITS, LONG, ORDER, VICTIMS, Point, begin
from tests.crash.test_kill_switch import granted, killed_at
from tests.crash.truth import Truth, told
from tests.evm.market import Market
from tests.guard.houses import WALLET, command
from tests.live.lives import kinds

LOOKS: Final = tuple(Point("daemon", place, "promotion") for place in ("unlooked", "looked"))
PROMOTE: Final = (*LOOKS, *(Point("daemon", place, "promotion") for place in COMMITS))
DEMOTE: Final = (*(Point("daemon", place, "flattening") for place in COMMITS), *ORDER)
WRITE_OFF: Final = tuple(Point("daemon", place, "written_off") for place in COMMITS)
KILL: Final = (
    *(Point("guard", place, "killed") for place in RECORDS),
    *(Point("daemon", place, "frozen") for place in COMMITS),
)
KILL_SWITCH: Final = (*(Point("daemon", place, "kill") for place in ("unasked", "unheard")), *KILL)

PROMOTED: Final = ["PROMOTION", "STATUS_CHANGE", "live_opened", "promotion", "status_change"]
PROVEN: Final = ["promotion"]  # once more, with the first trade's hash
DEMOTED: Final = ["STATUS_CHANGE", "status_change", "flattening"]
LOST: Final = ["DEMOTION", "written_off", "flattening"]
KILLED: Final = ["KILL", "STATUS_CHANGE", "status_change", "frozen"]


def all_or(*some: tuple[Point, str], of: tuple[Point, ...]) -> list[tuple[Point, str]]:
    """Each point with each victim; those few where time is short."""
    whole = [(point, victim) for point in of for victim in VICTIMS if point.place != "torn" or victim == point.host]
    assert set(some) <= set(whole)
    return whole if LONG else list(some)


def posted(cast: Cast, path: str, body: dict[str, Any]) -> int:
    """The answer's status; 0 where who was asked has died over it."""
    with suppress(httpx.TransportError):
        return cast.stage.post(path, body).status_code
    return 0


def insists(cast: Cast, ask: Callable[[], object], done: Callable[[dict[str, Any]], bool]) -> None:
    """A person looks whether it is done, and asks for it where it is not, again and again."""
    cast.until(lambda agent: done(agent) or (ask() and False))


def promotes(cast: Cast) -> None:
    wish = {"confirm": "go live", "force": True}
    insists(cast, lambda: posted(cast, "promote", wish), lambda agent: agent["status"] == "LIVE")


def trades_at(cast: Cast, price: int) -> None:
    decided = cast.candle(price)
    cast.until(lambda agent: decided(agent) and idle(agent))


def ended(cast: Cast, victim: str, *acts: list[str]) -> Truth:
    """All agrees, somebody has died, and these were the acts, each of them whole and once."""
    assert cast.deaths == [victim]
    cast.end()
    truth = told(cast.stage)
    rows = kinds(tuple(truth.rows))
    of_acts = {"demotion", *PROMOTED, *DEMOTED, *LOST, *KILLED}
    assert [kind for kind in rows if kind in of_acts] == [*chain(*acts)]
    for act in acts:
        assert act in [rows[at : at + len(act)] for at in range(len(rows))], "it was torn"
    return truth


WHO: Final = ("point", "victim")


@pytest.mark.parametrize(
    WHO, all_or((PROMOTE[1], "guard"), (PROMOTE[3], "daemon"), (PROMOTE[4], "daemon"), of=PROMOTE), ids=str
)
def test_a_promotion_is_whole_or_was_none_whoever_dies_where(scenes: Scenes, point: Point, victim: str) -> None:
    with scenes["paper"].again() as cast:
        begin(cast, point, victim)
        promotes(cast)
        trades_at(cast, 1900)
        truth = ended(cast, victim, PROMOTED, PROVEN)
    (trade,) = truth.trades
    first, again = truth.of(Promotion)
    assert (first.tx_hash, again.tx_hash) == (None, trade.tx_hash)


@pytest.mark.parametrize(WHO, all_or((DEMOTE[2], "daemon"), of=DEMOTE), ids=str)
def test_a_demotion_is_sold_out_before_anything_else_whoever_dies_where(
    scenes: Scenes, point: Point, victim: str
) -> None:
    with scenes["holding"].again() as cast:
        begin(cast, point, victim)
        reason = {"reason": "enough"}
        insists(cast, lambda: posted(cast, "demote", reason), lambda agent: agent["status"] == "PAPER")
        promotes(cast)  # refused until it is sold out
        assert not cast.stage.market.balance(WALLET, "ETH")
        trades_at(cast, 1700)
        truth = ended(cast, victim, PROMOTED, PROVEN, DEMOTED, PROMOTED, PROVEN)
    assert [trade.side for trade in truth.trades] == ["buy", "sell", "buy"]
    assert [row.purpose for row in truth.of(Intended)] == ["entry", "flatten", "entry"]


@pytest.mark.parametrize(WHO, all_or((WRITE_OFF[2], "daemon"), of=WRITE_OFF), ids=str)
def test_a_write_off_is_booked_once_whoever_dies_where(scenes: Scenes, point: Point, victim: str) -> None:
    """What the wallet held is gone: no sale succeeds, until a person says that it is lost."""
    with scenes["holding"].again() as cast:
        begin(cast, point, victim)
        lose(cast.stage.market)
        wish = {"reason": "it is gone", "confirm": "write off"}
        assert posted(cast, "demote", wish) == 409  # it may be trading
        assert posted(cast, "demote", {"reason": "enough"}) == 200
        cast.until(lambda _: cast.stage.journal("TWAK_BLOCK"))
        insists(cast, lambda: posted(cast, "demote", wish), idle)
        promotes(cast)
        truth = ended(cast, victim, PROMOTED, PROVEN, DEMOTED, LOST, PROMOTED)
    assert [trade.side for trade in truth.trades] == ["buy"]


def lose(market: Market) -> None:
    """The wallet has no ETH any more, by decree."""
    token, had = market.tokens["ETH"].address, market.balance(WALLET, "ETH")
    for number in range(20):  # which variable of the contract it is
        slot = int.from_bytes(keccak(encode(["address", "uint256"], [WALLET, number])))
        if int(market.chain.rpc("eth_getStorageAt", token, hex(slot), "latest"), 16) == had:
            market.chain.set_storage(token, slot, 0)
            return
    raise AssertionError("the token keeps its balances elsewhere")


def killed_by_hand(cast: Cast) -> bool:
    """Past the daemon; and where the guard dies over it, into its ledger."""
    words = ("kill", "--confirm", "revoke signing", "--dir", str(cast.stage.folder / "guard"))
    return command(*words, cwd=cast.stage.folder, password=None).returncode == 0


def killed_by_the_door(cast: Cast) -> bool:
    return posted(cast, "kill-switch", {"confirm": "revoke signing"}) == 200


@pytest.mark.parametrize(WHO, all_or((KILL[0], "guard"), (KILL[4], "daemon"), of=KILL), ids=str)
def test_a_kill_by_hand_is_known_once_whoever_dies_where(scenes: Scenes, point: Point, victim: str) -> None:
    is_killed(scenes, killed_by_hand, point, victim)


@pytest.mark.parametrize(WHO, all_or((KILL_SWITCH[1], "daemon"), (KILL[3], "guard"), of=KILL_SWITCH), ids=str)
def test_a_kill_by_the_door_is_known_once_whoever_dies_where(scenes: Scenes, point: Point, victim: str) -> None:
    is_killed(scenes, killed_by_the_door, point, victim)


def is_killed(scenes: Scenes, kill: Callable[[Cast], bool], point: Point, victim: str) -> None:
    with scenes["holding"].again() as cast:
        begin(cast, point, victim)
        before = granted(cast)
        cast.until(lambda _: kill(cast))
        cast.until(lambda agent: cast.deaths and agent["status"] == "PAPER")
        at = killed_at(cast)
        cast.stage.daemon.kill()
        cast.stage.guard.stop()
        cast.run()
        assert killed_at(cast) == at
        trades_at(cast, 2050)  # it would sell
        assert posted(cast, "promote", {"confirm": "go live", "force": True}) == 409
        assert granted(cast) == before
        truth = ended(cast, victim, PROMOTED, PROVEN, KILLED)
        assert kills(cast) == [at]
    assert [entry.data["killed_at"] for entry in truth.entries("KILL")] == [at]
    assert truth.live.frozen


def kills(cast: Cast) -> list[str]:
    """When, by the guard's ledger."""
    lines = (cast.stage.folder / "guard" / ledger.FILE_NAME).read_text().splitlines()
    return [record["since"] for record in map(json.loads, lines) if record["kind"] == "killed"]
