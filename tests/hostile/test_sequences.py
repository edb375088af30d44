"""Requests that only what came before makes hostile: caps in pieces, nonces and intents used again, replacements,
clocks, cut logs, the switch. What is signed is executed, and judged by what it does."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trio
from attrs import evolve

from protocol.signing import Answer, Recall, Recalled, Refused, Revoke, Revoked, Signed, SignTransaction
from server.guard.guard import Clock, Guard
from tests.evm.market import USDT
from tests.guard.houses import WALLET
from tests.hostile.liar import lying
from tests.hostile.oracle import Execution
from tests.hostile.stand import E18, Stand, Trade, answered, endpoints, signatures

CAP, DAY = 50 * E18, 200 * E18


async def signed(guard: Guard, question: SignTransaction) -> Signed:
    answer = await answered(guard, question)
    assert isinstance(answer, Signed), answer
    return answer


async def rule(guard: Guard, question: SignTransaction) -> str:
    """The rule that refuses it."""
    answer = await answered(guard, question)
    assert isinstance(answer, Refused), answer
    return answer.rule


def harmless(stand: Stand, answer: Signed) -> Execution:
    """Executed for good, and nothing is wrong with it, there or in any other world."""
    assert stand.oracle.judge(answer.raw) == []
    done = stand.oracle.settle(answer.raw)
    assert done.wrong == []
    return done


def bought(stand: Stand, spend: int) -> SignTransaction:
    return stand.ask(stand.buy(spend, min_out=stand.least(("USDT", "CAKE"), spend)))


async def spend_the_day(guard: Guard, stand: Stand) -> None:
    for _ in range(4):
        assert harmless(stand, await signed(guard, bought(stand, CAP))).spent == CAP


# --- caps


async def test_a_days_cap_is_not_passed_in_pieces_and_the_way_out_stays_open(stand: Stand, folder: Path) -> None:
    before = stand.market.balance(WALLET, USDT)
    async with stand.guard(folder) as guard:
        await spend_the_day(guard, stand)
        for spend in (1, E18, CAP):
            assert await rule(guard, bought(stand, spend)) == "daily_cap"
        assert stand.market.balance(WALLET, USDT) == before - DAY
        out = harmless(stand, await signed(guard, stand.ask(stand.sell(200 * E18))))
    assert (out.sold, out.bought, out.succeeded) == ("CAKE", USDT, True)


async def test_trades_that_fail_on_the_chain_give_nothing_of_the_day_back(stand: Stand, folder: Path) -> None:
    async with stand.guard(folder) as guard:
        for _ in range(4):
            answer = await signed(guard, stand.ask(stand.tx(stand.buy(CAP), gas=60_000)))
            done = harmless(stand, answer)
            assert (done.succeeded, done.spent) == (False, 0)
        assert await rule(guard, bought(stand, E18)) == "daily_cap"
        assert stand.oracle.spent == {datetime.fromtimestamp(stand.now).date(): 0}


async def test_a_restart_and_a_lower_cap_give_nothing_of_the_day_back(stand: Stand, folder: Path) -> None:
    async with stand.guard(folder) as guard:
        await spend_the_day(guard, stand)
    config = folder / "guard.toml"
    config.write_text(config.read_text().replace("[limits]", "[limits]\ndaily_cap = 100"))
    async with stand.guard(folder) as guard:
        assert await rule(guard, bought(stand, 1)) == "daily_cap"


async def test_requests_that_race_one_cap_do_not_pass_it_together(stand: Stand, folder: Path) -> None:
    got: list[Answer] = []
    trade = stand.buy(CAP, min_out=stand.least(("USDT", "CAKE"), CAP))
    requests = [stand.ask(stand.tx(trade, nonce=stand.nonce + number % 8)) for number in range(64)]
    same_row = requests[0].anchor

    async def ask(guard: Guard, request: SignTransaction) -> None:
        got.append(await answered(guard, evolve(request, anchor=same_row)))

    async with stand.guard(folder) as guard, trio.open_nursery() as nursery:
        for request in requests:
            nursery.start_soon(ask, guard, request)
    leaving = [answer for answer in got if isinstance(answer, Signed)]
    assert 1 <= len(leaving) <= 4
    in_order = sorted(
        leaving,
        key=lambda answer: next(
            request.tx.nonce for request in requests if signatures(folder).get(request.intent) == [answer]
        ),
    )
    spent = sum(harmless(stand, answer).spent for answer in in_order)
    assert spent == len(leaving) * CAP <= DAY


# --- the day


class Adjusted(Clock):
    """A machine's clock that somebody sets; what counts since the start nobody can."""

    def __init__(self) -> None:
        self.step = timedelta()
        super().__init__()

    def wall(self) -> datetime:
        return super().wall() + self.step


def to_the_present(stand: Stand) -> None:
    """The chain's time is the machine's, as on a real chain, so that each is a witness of the day."""
    stand.market.chain.mine(at=int(datetime.now().timestamp()))


async def test_no_clock_that_is_set_over_midnight_opens_a_spent_day_again(stand: Stand, folder: Path) -> None:
    to_the_present(stand)
    async with stand.guard(folder) as guard:
        clock = guard._clock = Adjusted()
        await spend_the_day(guard, stand)
        for days in (1, 2, 400, -1, -400):
            clock.step = timedelta(days=days)
            assert await rule(guard, bought(stand, 1)) == "daily_cap"
            assert harmless(stand, await signed(guard, stand.ask(stand.sell(E18)))).bought == USDT


async def test_no_chain_whose_time_runs_ahead_opens_a_spent_day_again(stand: Stand, folder: Path) -> None:
    to_the_present(stand)
    async with stand.guard(folder) as guard:
        await spend_the_day(guard, stand)
        stand.market.chain.mine(at=stand.now + 86_400)
        assert await rule(guard, bought(stand, 1)) == "daily_cap"


async def test_the_next_day_on_clock_and_chain_is_a_new_one(stand: Stand, folder: Path) -> None:
    async with stand.guard(folder) as guard:
        await spend_the_day(guard, stand)
        stand.market.chain.mine(at=stand.now + 86_400)
        await spend_the_day(guard, stand)
        assert await rule(guard, bought(stand, 1)) == "daily_cap"
    assert sorted(stand.oracle.spent.values()) == [DAY, DAY]


# --- intents, nonces, replacements

Hostile = Callable[[Stand, SignTransaction], SignTransaction]


def anew(data: Callable[[Stand], Trade], **shift: int) -> Hostile:
    """Another intent, its nonce so much beyond the first one's."""
    return lambda stand, first: stand.ask(stand.tx(data(stand), nonce=first.tx.nonce + shift.get("nonce", 0)))


def changed(**changes: Any) -> Hostile:
    """The same intent and transaction, but for this."""
    return lambda stand, first: stand.ask(evolve(first.tx, **changes), first.intent)


def shown(**changes: Any) -> Hostile:
    """A request that is in order, with the first one's anchor but for this."""
    return lambda stand, first: stand.ask(stand.sell(), anchor=evolve(first.anchor, **changes))


AGAIN: dict[str, tuple[str, Hostile]] = {
    "another intent for its nonce": ("nonce", anew(Stand.sell)),
    "another intent with the same bytes": ("nonce", lambda stand, first: stand.ask(first.tx)),
    "a nonce behind it": ("nonce", anew(Stand.buy, nonce=-1)),
    "a nonce beyond the next": ("nonce", anew(Stand.buy, nonce=2)),
    "another trade for its intent": (
        "intent",
        lambda stand, first: stand.ask(stand.tx(stand.sell(), nonce=first.tx.nonce), first.intent),
    ),
    "other calldata for a higher price": (
        "intent",
        lambda stand, first: changed(data=stand.buy(2 * E18).data, gas_price=2 * 10**9)(stand, first),
    ),
    "the next nonce for its intent": ("intent", changed(nonce=8)),
    "more gas for a higher price": ("intent", changed(gas=300_000, gas_price=2 * 10**9)),
    "coins for a higher price": ("intent", changed(value=1, gas_price=2 * 10**9)),
    "a tenth more, less one wei": ("replacement", changed(gas_price=11 * 10**8 - 1)),
    "a lower price": ("replacement", changed(gas_price=10**9 - 1)),
    "a price over the limit": ("gas_price", changed(gas_price=5 * 10**9 + 1)),
    "an anchor before its own": ("log_anchor", shown(row=0)),
    "an anchor of its row with another hash": ("log_anchor", shown(hash="f" * 64)),
    "its own bytes from a log that was cut": (
        "log_anchor",
        lambda stand, first: evolve(first, anchor=evolve(first.anchor, row=0)),
    ),
}


@pytest.mark.parametrize("how", AGAIN)
async def test_what_was_signed_is_not_used_for_anything_else(how: str, stand: Stand, folder: Path) -> None:
    expected, hostile = AGAIN[how]
    async with stand.guard(folder) as guard:
        first = bought(stand, 10 * E18)
        answer = await signed(guard, first)
        assert await rule(guard, hostile(stand, first)) == expected
        assert signatures(folder) == {first.intent: [answer]}
        assert harmless(stand, answer).spent == 10 * E18
        assert harmless(stand, await signed(guard, stand.ask(stand.sell()))).bought == USDT


async def test_of_an_order_and_its_replacement_one_is_executed(stand: Stand, folder: Path) -> None:
    async with stand.guard(folder) as guard:
        first = bought(stand, CAP)
        versions = [await signed(guard, first)]
        for price in (11 * 10**8, 121 * 10**7, 5 * 10**9):
            versions.append(await signed(guard, stand.ask(evolve(first.tx, gas_price=price), first.intent)))
        for version in versions:
            assert stand.oracle.judge(version.raw) == []
        assert stand.oracle.settle(versions[2].raw).spent == CAP
        for version in versions:
            assert stand.oracle.settle(version.raw).receipt is None or version == versions[2]
        late = stand.ask(evolve(first.tx, gas_price=5 * 10**9), first.intent)
        assert isinstance(await answered(guard, late), Signed)  # the bytes that it has signed before
        assert await rule(guard, stand.ask(evolve(first.tx, gas_price=4 * 10**9), first.intent)) == "replacement"


async def test_a_replacement_of_what_can_only_fail_does_nothing_but_free_its_nonce(stand: Stand, folder: Path) -> None:
    async with stand.guard(folder) as guard:
        first = stand.ask(stand.buy(CAP, deadline=stand.now + 30))
        before = await signed(guard, first)
        stand.market.chain.mine(at=stand.now + 91)
        stand.oracle._push("USDT", "CAKE", stand.oracle.policy.slippage * 10)
        again = await signed(guard, stand.ask(evolve(first.tx, gas_price=2 * 10**9), first.intent))
        assert stand.oracle.judge(before.raw) == []
        done = harmless(stand, again)
        assert (done.succeeded, done.spent) == (False, 0)
        assert harmless(stand, await signed(guard, stand.ask(stand.sell()))).bought == USDT


async def test_one_that_was_mined_is_not_replaced(stand: Stand, folder: Path) -> None:
    async with stand.guard(folder) as guard:
        first = bought(stand, E18)
        harmless(stand, await signed(guard, first))
        assert await rule(guard, stand.ask(evolve(first.tx, gas_price=2 * 10**9), first.intent)) == "nonce"


async def test_no_more_than_sixteen_wait_to_be_mined(stand: Stand, folder: Path) -> None:
    trade = stand.sell(E18 // 100)
    async with stand.guard(folder) as guard:
        waiting = [await signed(guard, stand.ask(stand.tx(trade, nonce=stand.nonce + n))) for n in range(16)]
        assert await rule(guard, stand.ask(stand.tx(trade, nonce=stand.nonce + 16))) == "pending"
        for answer in waiting:
            assert stand.oracle.settle(answer.raw).wrong == []


# --- the switch


async def test_after_a_kill_nothing_leaves_neither_new_nor_old(stand: Stand, folder: Path) -> None:
    async with stand.guard(folder) as guard:
        first = bought(stand, E18)
        before = await signed(guard, first)
        assert isinstance(await guard.answer(Revoke("enough")), Revoked)
    async with stand.guard(folder) as guard:
        replacement = stand.ask(evolve(first.tx, gas_price=2 * 10**9), first.intent)
        for request in (first, replacement, bought(stand, 1), stand.ask(stand.sell()), stand.ask(stand.approval(0))):
            assert await rule(guard, request) == "kill_switch"
        assert await guard.answer(Recall(first.intent)) == Recalled((evolve(before, raw=""),))
    assert signatures(folder) == {first.intent: [before]}


async def test_a_request_that_is_being_looked_at_when_the_kill_comes_is_not_signed(stand: Stand, folder: Path) -> None:
    got: list[Answer] = []
    reached, gate = threading.Event(), threading.Event()

    def slow(answers: list[dict[str, Any]], _: list[Any]) -> bytes:
        reached.set()
        gate.wait()
        return json.dumps(answers).encode()

    async def ask(guard: Guard) -> None:
        got.append(await answered(guard, bought(stand, E18)))

    with lying(stand.market.chain.url, slow, honest=1) as url:
        endpoints(folder, url)
        async with stand.guard(folder) as guard, trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(ask, guard)
            await trio.to_thread.run_sync(reached.wait)
            assert isinstance(await guard.answer(Revoke("enough")), Revoked)
            gate.set()
    assert [answer.rule for answer in got if isinstance(answer, Refused)] == ["kill_switch"] * 3
    assert signatures(folder) == {}
