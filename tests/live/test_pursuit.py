"""An order is followed through guard and chain to its one end: whatever is lost on the way is found again, nothing is
sent twice, and nothing is mined that the log does not know."""

from __future__ import annotations

from decimal import Decimal
from random import Random
from typing import Any

import pytest
import trio
from attrs import evolve

from actors.executor.live import NATIVE
from actors.executor.order_life import (
    Denied,
    Included,
    KitDidNot,
    KitSent,
    Lapsed,
    Moved,
    Ready,
    Signature,
    Unexplained,
    Usurped,
)
from actors.twak_signer.doubt import DOUBT_SECONDS, OVER_SECONDS
from actors.twak_signer.pursuit import QUIET_SECONDS
from protocol.errors import Outage
from protocol.events import Frozen, GivenUp, HandedOver, JournalEntry, Mined, Submitted, Trade, TwakBlock
from protocol.money import Units
from protocol.settings import AgentConfig, LiveConfig
from protocol.signing import Recall, Refused, SignTransaction
from tests.actors.seeded import run_seeded
from tests.live.desk import MARKETS, PAUSE_SECONDS, Desk
from tests.world import chain as chains
from tests.world.chain import CALM, SimChain, Weather
from tests.world.guard import KitDoes, Mood, SimGuard

CONFIRMATIONS = chains.settings().confirmations


async def signed(desk: Desk) -> Submitted:
    """Up to the swap: its approval is confirmed, its own signature in the log, and nothing of it sent."""
    desk.intend()
    while not desk.live.orders or desk.order.state != "swapping":
        await desk.step()
        desk.chain.mine()
    return desk.order.signed[-1]


async def signature(desk: Desk) -> Signature:
    """What is seen now must be one."""
    seen = await desk.look()
    assert isinstance(seen, Signature)
    return seen


async def looks(desk: Desk, count: int) -> list[Any]:
    """So many looks, each of which sees nothing new."""
    seen = []
    for _ in range(count):
        seen.append(await desk.look())
        await trio.sleep(PAUSE_SECONDS)
    return seen


# --- the way that it should go


async def test_a_buy_and_its_sale_go_through_approvals_and_swaps_and_the_ledger_is_the_wallet(
    autojump_clock: trio.abc.Clock,
) -> None:
    desk = Desk.at()
    bought = desk.intend("buy", "123.45")
    await desk.until_ended()
    desk.agrees()
    sold = desk.intend("sell")
    await desk.until_ended()
    desk.agrees()
    assert desk.live.flat
    assert [row.leg for row in desk.rows if isinstance(row, Submitted)] == ["approval", "swap"] * 2
    assert [row.nonce for row in desk.rows if isinstance(row, Submitted)] == [0, 1, 2, 3]
    trades = [row for row in desk.rows if isinstance(row, Trade)]
    assert [trade.order_ref for trade in trades] == [bought, sold]
    assert [trade.tx_hash for trade in trades] == [tx.hash for tx, _ in desk.chain.mined() if tx.to == chains.ROUTER]


async def test_nothing_is_sent_before_the_log_knows_its_hash(autojump_clock: trio.abc.Clock) -> None:
    desk = Desk.at()
    desk.intend()
    seen = await signature(desk)
    for _ in range(5):
        assert await desk.look() == seen  # again and again, as long as the log does not take it
        assert not desk.chain.waiting
    desk.learn(seen)
    await desk.look()
    assert list(desk.chain.waiting) == [seen.hash]


async def test_what_is_allowed_already_is_not_approved_again(autojump_clock: trio.abc.Clock) -> None:
    desk = Desk.at()
    desk.chain.accounts.allowed[chains.USDT, chains.WALLET, chains.ROUTER] = 10**30
    desk.intend()
    seen = await desk.look()
    assert isinstance(seen, Signature)
    assert seen.leg == "swap"


@pytest.mark.parametrize("depth", range(CONFIRMATIONS + 2))
async def test_a_block_counts_once_it_is_as_deep_as_was_asked_for(depth: int, autojump_clock: trio.abc.Clock) -> None:
    desk = Desk.at()
    await signed(desk)
    await desk.look()
    desk.chain.mine(1 + depth)
    seen = await desk.look()
    assert isinstance(seen, Included) == (depth >= CONFIRMATIONS)


# --- answers that are lost


async def test_a_signature_whose_answer_was_lost_is_recalled_and_not_asked_for_again(
    autojump_clock: trio.abc.Clock,
) -> None:
    desk = Desk.at()
    desk.intend()
    desk.guard.mood = Mood(mute=1)
    for _ in range(3):
        assert isinstance(await desk.look(), Outage)
    desk.guard.mood = Mood()
    await desk.look()
    desk.guard.mood = Mood(mute=1)
    desk.restart()
    assert isinstance(await desk.look(), Outage)
    desk.guard.mood = Mood()
    await desk.until_ended()
    assert desk.swaps() == dict.fromkeys((desk.last(Trade).order_ref, desk.last(Trade).order_ref + ".approval"), 1)
    assert [len(granted) for granted in desk.guard.granted.values()] == [1, 1]
    signings = [question for question in desk.guard.heard if isinstance(question, SignTransaction)]
    assert len(signings) == 2


async def test_a_guard_that_signs_after_nobody_waits_any_more_has_signed_once(autojump_clock: trio.abc.Clock) -> None:
    """The price of gas has changed by then, so that what is asked for again is another transaction."""
    desk = Desk.at()
    ref = desk.intend()
    desk.guard.mood = Mood(slow=1)
    for _ in range(4):
        await desk.step()
        desk.chain.price = desk.chain.price * 103 // 100
    desk.guard.mood = Mood()
    await desk.until_ended()
    assert desk.last(Trade).order_ref == ref
    assert desk.swaps()[ref] == 1
    desk.agrees()


@pytest.mark.parametrize("taken", [True, False])
async def test_a_sending_of_which_nothing_is_known_is_looked_up_and_the_same_bytes_are_sent_again(
    taken: bool, autojump_clock: trio.abc.Clock
) -> None:
    desk = Desk.at()
    row = await signed(desk)
    desk.chain.weather = Weather(unclear=1)
    while (row.hash in desk.chain.waiting) != taken:
        desk.chain.drop(row.hash)
        await desk.look()
    desk.chain.weather = CALM
    await desk.until_ended()
    assert desk.last(Trade).tx_hash == row.hash
    assert len(desk.hashes) == 2


async def test_a_transaction_that_the_pool_forgot_is_sent_again(autojump_clock: trio.abc.Clock) -> None:
    desk = Desk.at()
    row = await signed(desk)
    for _ in range(3):
        assert await looks(desk, 2) == [None, None]
        assert list(desk.chain.waiting) == [row.hash]
        desk.chain.drop(row.hash)
    await desk.until_ended()
    assert desk.last(Trade).tx_hash == row.hash


# --- replacements


async def test_what_is_not_mined_in_time_is_replaced_under_its_nonce_by_one_that_pays_a_tenth_more_at_least(
    autojump_clock: trio.abc.Clock,
) -> None:
    desk = Desk.at()
    first = await signed(desk)
    desk.chain.holding = True
    await desk.look()
    await trio.sleep(desk.settings.replace_seconds - 1)
    assert await desk.look() is None
    await trio.sleep(1)
    seen = await desk.look()
    assert isinstance(seen, Signature)
    assert (seen.nonce, seen.leg) == (first.nonce, "swap")
    assert 10 * seen.gas_price >= 11 * first.gas_price
    desk.learn(seen)
    await desk.look()
    assert list(desk.chain.waiting) == [seen.hash]
    desk.chain.holding = False
    await desk.until_ended()
    assert desk.last(Trade).tx_hash == seen.hash
    desk.agrees()


async def test_the_first_one_may_be_mined_after_it_was_replaced(autojump_clock: trio.abc.Clock) -> None:
    desk = Desk.at()
    first = await signed(desk)
    await desk.look()
    await trio.sleep(desk.settings.replace_seconds)
    desk.learn(await signature(desk))
    desk.chain.mine()
    await desk.until_ended()
    assert desk.last(Trade).tx_hash == first.hash
    desk.agrees()


async def test_a_replacement_whose_answer_was_lost_is_recalled_and_no_third_one_is_signed(
    autojump_clock: trio.abc.Clock,
) -> None:
    desk = Desk.at()
    await signed(desk)
    desk.chain.holding = True
    await desk.look()
    await trio.sleep(desk.settings.replace_seconds)
    asked: list[SignTransaction] = []
    desk.guard.refusing = asked.append
    desk.guard.mood = Mood(slow=1)
    await desk.look()
    desk.guard.mood = Mood()
    await trio.sleep(desk.settings.replace_seconds)
    seen = await desk.look()
    assert isinstance(seen, Signature)
    assert len(asked) == 1
    assert seen.hash == desk.guard.granted[seen.ref][-1][1].hash
    assert len(desk.guard.granted[seen.ref]) == 2


async def test_a_replacement_that_the_guard_refuses_leaves_the_first_one_good(autojump_clock: trio.abc.Clock) -> None:
    desk = Desk.at()
    first = await signed(desk)
    desk.chain.holding = True
    desk.guard.refusing = lambda question: Refused("gas_price", "it is too dear")
    for _ in range(4):
        await trio.sleep(desk.settings.replace_seconds)
        assert await desk.look() is None
    desk.chain.holding = False
    await desk.until_ended()
    assert desk.last(Trade).tx_hash == first.hash


# --- reorganisations, and somebody else


@pytest.mark.parametrize("again", [True, False])
async def test_what_a_reorganisation_took_out_of_the_chain_comes_in_again_and_counts_where_it_is_then(
    again: bool, autojump_clock: trio.abc.Clock
) -> None:
    desk = Desk.at()
    row = await signed(desk)
    await desk.look()
    desk.chain.mine(CONFIRMATIONS)
    assert await desk.look() is None
    desk.chain.reorganise(CONFIRMATIONS, again=again)
    assert await desk.look() is None
    await desk.until_ended()
    (block,) = [receipt.block for tx, receipt in desk.chain.mined() if tx.hash == row.hash]
    assert desk.last(Mined).block == block
    assert desk.swaps()[row.order_ref] == 1
    desk.agrees()


async def test_a_block_that_most_endpoints_do_not_have_does_not_count(autojump_clock: trio.abc.Clock) -> None:
    """The receipt is of a block which is no more when it is asked whether that is the one."""
    desk = Desk.at()
    await signed(desk)
    await desk.look()
    desk.chain.mine(CONFIRMATIONS + 1)
    receipt = desk.chain.receipt

    async def of_another_branch(hash: str) -> Any:
        found = await receipt(hash)
        desk.chain.reorganise(CONFIRMATIONS + 1)
        return found

    desk.chain.receipt = of_another_branch  # type: ignore[method-assign]
    assert await desk.look() is None
    desk.chain.receipt = receipt  # type: ignore[method-assign]
    await desk.until_ended()
    desk.agrees()


async def test_a_nonce_that_a_foreign_transaction_used_is_told_once_that_is_certain_and_freezes(
    autojump_clock: trio.abc.Clock,
) -> None:
    desk = Desk.at()
    row = await signed(desk)
    desk.chain.usurp()
    for _ in range(CONFIRMATIONS + 1):
        assert await desk.look() is None
        desk.chain.mine()
    seen = await desk.look()
    coins = desk.chain.accounts.coins[chains.WALLET]
    assert seen == Usurped(row.order_ref, row.nonce, Units(coins))
    rows = desk.learn(seen)
    assert [type(one) for one in rows] == [JournalEntry, GivenUp, Frozen]
    assert desk.live.frozen is not None
    desk.agrees()
    assert "0.021000 BNB less than our own transactions account for" in desk.last(JournalEntry).text


async def test_a_foreign_transaction_that_a_reorganisation_took_away_usurps_nothing(
    autojump_clock: trio.abc.Clock,
) -> None:
    desk = Desk.at()
    row = await signed(desk)
    desk.chain.usurp()
    assert await looks(desk, 2) == [None, None]
    desk.chain.reorganise(1, again=False)
    await desk.until_ended()
    assert desk.last(Trade).tx_hash == row.hash


async def test_a_receipt_that_an_endpoint_does_not_have_for_a_moment_is_not_taken_for_a_usurped_nonce(
    autojump_clock: trio.abc.Clock,
) -> None:
    desk = Desk.at()
    row = await signed(desk)
    await desk.look()
    desk.chain.mine()
    receipt = desk.chain.receipt

    async def behind(hash: str) -> None:
        await trio.lowlevel.checkpoint()

    desk.chain.receipt = behind  # type: ignore[method-assign]
    assert await desk.look() is None
    desk.chain.receipt = receipt  # type: ignore[method-assign]
    assert await desk.look() is None
    desk.chain.reorganise(1)
    desk.chain.mine(2 * CONFIRMATIONS)
    asked = 0

    async def behind_once(hash: str) -> Any:
        nonlocal asked
        asked += 1
        return await receipt(hash) if asked > 1 else None

    desk.chain.receipt = behind_once  # type: ignore[method-assign]
    assert await desk.look() is None
    desk.chain.receipt = receipt  # type: ignore[method-assign]
    await desk.until_ended()
    assert desk.last(Trade).tx_hash == row.hash


# --- what is given up, and on which proof


async def test_an_order_that_was_never_signed_lapses_once_the_chain_is_past_its_deadline(
    autojump_clock: trio.abc.Clock,
) -> None:
    desk = Desk.at()
    ref = desk.intend()
    desk.guard.down = True
    for _ in range(30):
        assert isinstance(await desk.look(), Outage)
    desk.guard.down = False
    desk.chain.mine(seconds=desk.config.live.deadline_seconds)
    while (seen := await desk.look()) is None:
        await trio.sleep(10)
    assert isinstance(seen, Lapsed)
    desk.learn(seen)
    assert desk.last(GivenUp).code == "lapsed"
    assert desk.guard.granted.get(ref, []) == []


async def test_nothing_lapses_while_the_guard_may_still_be_about_to_sign_it(autojump_clock: trio.abc.Clock) -> None:
    desk = Desk.at()
    desk.intend()
    desk.guard.mood = Mood(slow=1)
    assert isinstance(await desk.look(), Outage)
    assert desk.guard.granted == {}
    desk.chain.mine(seconds=desk.config.live.deadline_seconds)
    assert await desk.look() is None
    await trio.sleep(30)
    assert isinstance(await desk.look(), Signature)  # of the approval: it holds a nonce


async def test_a_swap_that_is_past_its_deadline_is_sent_all_the_same_and_reverts_which_frees_its_nonce(
    autojump_clock: trio.abc.Clock,
) -> None:
    desk = Desk.at()
    row = await signed(desk)
    desk.chain.mine(seconds=2 * desk.config.live.deadline_seconds)
    await desk.until_ended()
    mined, given_up = desk.last(Mined), desk.last(GivenUp)
    assert (mined.hash, mined.success, mined.spent, mined.received) == (row.hash, False, 0, 0)
    assert mined.gas_units == chains.USED["reverted"] * row.gas_price
    assert given_up.code == "reverted"
    desk.agrees()
    desk.intend()
    await desk.until_ended()
    desk.last(Trade)


async def test_a_price_that_moved_too_far_reverts_and_costs_gas_only(autojump_clock: trio.abc.Clock) -> None:
    desk = Desk.at()
    await signed(desk)
    desk.chain.trade(chains.ETH_POOL, chains.USDT, 20_000 * chains.UNIT)
    await desk.until_ended()
    assert desk.last(GivenUp).code == "reverted"
    assert not desk.live.book.positions
    desk.agrees()


async def test_what_was_verified_bounds_a_swap_however_far_the_price_had_moved_when_it_was_signed(
    autojump_clock: trio.abc.Clock,
) -> None:
    """0.2 % worse when it is signed, 0.5 % when it is mined: each is within 0.4 % of the one before, and the second is
    not within that of what was verified."""
    desk = Desk.at()
    assert desk.config.live is not None
    assert desk.config.live.slippage_pct == Decimal("0.4")
    desk.chain.accounts.allowed[chains.USDT, chains.WALLET, chains.ROUTER] = 10**30
    desk.intend()
    desk.chain.trade(chains.ETH_POOL, chains.USDT, 2_000 * chains.UNIT)
    desk.learn(await signature(desk))
    desk.chain.trade(chains.ETH_POOL, chains.USDT, 3_000 * chains.UNIT)
    await desk.until_ended()
    assert desk.last(GivenUp).code == "reverted"
    desk.agrees()


async def test_a_purse_that_cannot_pay_for_the_gas_is_told_with_its_numbers(autojump_clock: trio.abc.Clock) -> None:
    desk = Desk.at()
    desk.intend()
    desk.chain.accounts.coins[chains.WALLET] = 10**9
    while (seen := await desk.look()) is None:
        await trio.sleep(10)
    assert isinstance(seen, Denied)
    assert seen.rule == "gas_funds"
    assert (int(seen.measured), int(seen.limit)) == (10**9, 100_000 * 11 * 10**8)
    desk.learn(seen)
    assert desk.last(TwakBlock).rule == "gas_funds"
    assert desk.guard.granted == {}


@pytest.mark.parametrize("rule", ["daily_cap", "per_trade_cap", "allowlist", "slippage", "kill_switch"])
async def test_a_refusal_is_told_as_it_was_given(rule: str, autojump_clock: trio.abc.Clock) -> None:
    desk = Desk.at()
    ref = desk.intend()
    desk.guard.refusing = lambda question: Refused(rule, "It is over the cap.", "2", "1")
    seen = await desk.look()
    assert seen == Denied(ref, rule, "It is over the cap.", "2", "1")
    assert not desk.chain.mined()


@pytest.mark.parametrize("rule", ["rpc", "nonce", "in_flight", "intent", "replacement"])
async def test_a_refusal_that_passes_by_itself_is_an_outage(rule: str, autojump_clock: trio.abc.Clock) -> None:
    desk = Desk.at()
    desk.intend()
    desk.guard.refusing = lambda question: Refused(rule, "Not now.")
    seen = await desk.look()
    assert isinstance(seen, Outage)
    assert rule in seen.reason
    desk.guard.refusing = lambda question: None
    await desk.until_ended()
    desk.last(Trade)


async def test_while_guard_or_chain_give_no_answer_the_order_stays_open(autojump_clock: trio.abc.Clock) -> None:
    desk = Desk.at()
    row = await signed(desk)
    desk.chain.silent = True
    for _ in range(5):
        seen = await desk.look()
        assert isinstance(seen, Outage)
        assert seen.what == "chain"
    desk.chain.silent = False
    desk.guard.down = True  # what is signed needs no guard
    await desk.until_ended()
    assert desk.last(Trade).tx_hash == row.hash
    desk.intend("sell")
    seen = await desk.look()
    assert isinstance(seen, Outage)
    assert seen.what == "guard"


# --- the kill switch


async def test_what_was_signed_before_a_kill_and_nobody_was_told_of_waits_for_the_person_who_restores(
    autojump_clock: trio.abc.Clock,
) -> None:
    desk = Desk.at()
    desk.intend()
    desk.guard.mood = Mood(slow=1)
    await desk.look()
    desk.guard.mood = Mood()
    await trio.sleep(60)
    await desk.chain.head()
    desk.guard._catch_up()
    desk.guard.kill()
    for _ in range(3):
        desk.chain.mine(seconds=desk.config.live.deadline_seconds)
        await trio.sleep(100)
        seen = await desk.look()
        assert isinstance(seen, Outage)
        assert "after a kill" in seen.reason
    desk.guard.killed = None
    assert isinstance(await desk.look(), Signature)
    await desk.until_ended()
    desk.intend()
    await desk.until_ended()
    desk.last(Trade)
    desk.agrees()


async def test_bytes_that_were_told_before_a_kill_are_sent_until_they_are_mined(autojump_clock: trio.abc.Clock) -> None:
    desk = Desk.at()
    row = await signed(desk)
    desk.guard.kill()
    await desk.until_ended()
    assert desk.last(Trade).tx_hash == row.hash


async def test_after_a_kill_an_order_of_which_nothing_is_signed_is_given_up(autojump_clock: trio.abc.Clock) -> None:
    desk = Desk.at()
    ref = desk.intend()
    desk.guard.kill()
    await desk.until_ended()
    assert desk.last(GivenUp).code == "kill_switch"
    assert Recall(ref) in desk.guard.heard


async def test_what_is_not_signed_when_all_is_frozen_is_given_up_and_never_is(autojump_clock: trio.abc.Clock) -> None:
    """Also where its approval is there already: the swap is what counts."""
    desk = Desk.at()
    first = desk.intend()
    while desk.order.state != "approved":
        await desk.step()
        desk.chain.mine()
    second = desk.intend(pair="CAKE/USDT")
    desk.take(Frozen(chains.GENESIS, "somebody else signs with the key"))
    await trio.sleep(2 * QUIET_SECONDS)
    await desk.until_ended()
    assert [(row.order_ref, row.code) for row in desk.rows if isinstance(row, GivenUp)] == [
        (first, "frozen"), (second, "frozen"),
    ]  # fmt: skip
    assert [intent for intent, granted in desk.guard.granted.items() if granted] == [f"{first}.approval"]
    desk.agrees()


async def test_what_was_signed_and_not_heard_of_is_followed_though_all_is_frozen(
    autojump_clock: trio.abc.Clock,
) -> None:
    desk = Desk.at()
    desk.chain.accounts.allowed[chains.USDT, chains.WALLET, chains.ROUTER] = 10**30
    desk.intend()
    seen = await signature(desk)
    desk.restart()
    desk.take(Frozen(chains.GENESIS, "a person must look"))
    await desk.until_ended()
    assert desk.last(Trade).tx_hash == seen.hash
    desk.agrees()


@pytest.mark.parametrize(("restored", "code"), [(False, "kill_switch"), (True, "frozen")])
async def test_a_killed_guard_says_no_itself_and_one_that_was_restored_is_not_asked(
    restored: bool, code: str, autojump_clock: trio.abc.Clock
) -> None:
    desk = Desk.at()
    desk.intend()
    desk.guard.kill()
    desk.take(Frozen(chains.GENESIS, "the signer was revoked"))
    if restored:
        desk.guard.restore()
        assert await desk.look() is None
        await trio.sleep(2 * QUIET_SECONDS)
    await desk.step()
    assert desk.last(GivenUp).code == code
    assert not any(desk.guard.granted.values())


async def test_nothing_is_given_up_as_frozen_while_the_guard_may_be_about_to_sign_it(
    autojump_clock: trio.abc.Clock,
) -> None:
    desk = Desk.at()
    desk.intend()
    desk.guard.mood = Mood(slow=1.0)
    assert isinstance(await desk.look(), Outage)
    desk.take(Frozen(chains.GENESIS, "a person must look"))
    assert await desk.look() is None
    await trio.sleep(2 * QUIET_SECONDS)
    assert isinstance(await desk.look(), Signature)


# --- the kit


async def test_no_kit_is_asked_once_all_is_frozen(autojump_clock: trio.abc.Clock) -> None:
    desk = Desk.at()
    desk.guard.way = "twak"
    desk.intend()
    desk.take(Frozen(chains.GENESIS, "nobody can say what the kit did"))
    assert await desk.look() is None  # somebody before us may have asked
    await trio.sleep(2 * QUIET_SECONDS)
    await desk.until_ended()
    assert desk.last(GivenUp).code == "frozen"
    assert not desk.guard.attempts
    assert not [row for row in desk.rows if isinstance(row, HandedOver)]


async def test_a_kit_that_tells_what_it_sent_is_followed_by_that_hash(autojump_clock: trio.abc.Clock) -> None:
    desk = Desk.at()
    desk.guard.way = "twak"
    ref = desk.intend()
    seen = await desk.look()
    assert isinstance(seen, Ready)
    desk.learn(seen)
    assert desk.last(HandedOver).units == {token: desk.live.units[token] for token in ("USDT", "ETH", NATIVE)}
    seen = await desk.look()
    assert isinstance(seen, KitSent)
    desk.learn(seen)
    await desk.until_ended()
    assert desk.last(Trade).tx_hash == seen.hash
    assert list(desk.guard.attempts) == [ref]


async def test_a_kit_is_asked_once_whatever_becomes_of_its_answer(autojump_clock: trio.abc.Clock) -> None:
    desk = Desk.at()
    desk.guard.way = "twak"
    desk.intend()
    await desk.step()
    desk.guard.mood = Mood(mute=1)
    for _ in range(4):
        assert isinstance(await desk.look(), Outage)
        desk.restart()
    desk.guard.mood = Mood()
    await desk.until_ended()
    desk.last(Trade)
    assert len(desk.chain.mined()) == 1


async def test_a_kit_that_did_nothing_by_its_own_word_ends_the_order(autojump_clock: trio.abc.Clock) -> None:
    desk = Desk.at()
    desk.guard.way, desk.guard.kit_does = "twak", "sends nothing"
    desk.intend()
    await desk.until_ended()
    assert desk.last(GivenUp).code == "not_sent"
    assert not desk.chain.mined()


async def test_of_a_kit_that_nobody_heard_of_again_only_a_nonce_that_stays_unused_says_that_it_sent_nothing(
    autojump_clock: trio.abc.Clock,
) -> None:
    desk = Desk.at()
    desk.guard.way, desk.guard.kit_does = "twak", "is lost"
    desk.intend()
    await desk.step()
    for _ in range(5):
        assert await desk.look() is None
        desk.chain.mine(seconds=desk.config.live.deadline_seconds / 5)
    desk.chain.mine(seconds=601)
    seen = await lasting(desk)
    assert isinstance(seen, KitDidNot)
    assert desk.guard.attempts.keys() == {seen.ref}


async def handed(desk: Desk, kit_does: KitDoes) -> str:
    """An order that a kit of this kind has, and of which it has said what it says."""
    desk.guard.way, desk.guard.kit_does = "twak", kit_does
    ref = desk.intend()
    await desk.step()
    assert desk.order.state == "handed"
    return ref


async def long_after(desk: Desk, seconds: float = OVER_SECONDS) -> None:
    desk.chain.mine(seconds=desk.config.live.deadline_seconds + seconds + 1)
    desk.chain.mine(CONFIRMATIONS + 1)
    await trio.sleep(seconds + 1)


async def lasting(desk: Desk) -> Any:
    """What is concluded of a chain on which there is nothing, once that has lasted as long as a receipt must."""
    assert await desk.look() is None
    desk.chain.mine(CONFIRMATIONS)
    assert await desk.look() is None
    desk.chain.mine()
    return await desk.look()


@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize("kit_does", ["sends and is lost", "approves, sends and is lost"])
async def test_a_swap_whose_hash_no_kit_has_named_is_found_on_the_chain(
    kit_does: KitDoes, restarted: bool, autojump_clock: trio.abc.Clock
) -> None:
    desk = Desk.at()
    ref = await handed(desk, kit_does)
    assert await desk.look() is None
    desk.chain.mine()
    if restarted:
        desk.restart()
    seen = await desk.look()
    swap, _ = desk.chain.mined()[-1]
    assert seen == KitSent(ref, swap.nonce, swap.hash)
    desk.learn(seen)
    await desk.until_ended()
    assert desk.last(Trade).tx_hash == swap.hash
    desk.agrees()  # the gas of its approval, too


@pytest.mark.parametrize("seconds", [3, 100])
async def test_a_swap_is_found_however_many_blocks_it_is_behind(seconds: int, autojump_clock: trio.abc.Clock) -> None:
    """While the daemon was away, say, and be it for so long that nobody would wait any more: as many blocks are looked
    through at once as an endpoint gives the logs of."""
    desk = Desk.at(settings=chains.settings(log_blocks=10))
    desk.chain.mine(20)
    await handed(desk, "sends and is lost")
    assert await desk.look() is None
    desk.chain.mine(47, seconds=seconds)
    seen = [await desk.look() for _ in range(5)]
    assert seen[:4] == [None] * 4
    assert isinstance(seen[4], KitSent)
    assert await desk.look() == seen[4], "and again, as long as the log does not take it"


async def test_a_kit_s_swap_that_a_reorganisation_took_away_is_searched_for_again(
    autojump_clock: trio.abc.Clock,
) -> None:
    desk = Desk.at()
    await handed(desk, "sends and is lost")
    await desk.look()
    desk.chain.mine(2)
    desk.chain.reorganise(2)
    assert await desk.look() is None
    desk.chain.mine()
    await desk.until_ended()
    assert len(desk.chain.mined()) == 1
    assert desk.last(Trade).tx_hash == desk.chain.mined()[0][0].hash
    desk.agrees()


@pytest.mark.parametrize("denied", [False, True])
@pytest.mark.parametrize("kit_does", ["approves and is lost", "reverts and is lost"])
async def test_a_kit_that_has_only_approved_or_reverted_has_swapped_nothing_and_its_gas_is_counted(
    kit_does: KitDoes, denied: bool, autojump_clock: trio.abc.Clock
) -> None:
    desk = Desk.at()
    desk.chain.logs_denied = denied  # then the balances alone say so
    await handed(desk, kit_does)
    assert await desk.look() is None
    desk.chain.mine()
    assert await desk.look() is None, "it may be at work still"
    await long_after(desk)
    seen = await lasting(desk)
    assert isinstance(seen, KitDidNot)
    desk.learn(seen)
    assert desk.last(GivenUp).code == "not_sent"
    assert desk.live.frozen is None
    desk.agrees()


@pytest.mark.parametrize("kit_does", ["sends twice and is lost", "robs and is lost"])
async def test_what_nobody_can_explain_freezes_and_calls_a_person(
    kit_does: KitDoes, autojump_clock: trio.abc.Clock
) -> None:
    desk = Desk.at()
    ref = await handed(desk, kit_does)
    await desk.look()
    await long_after(desk)
    assert await desk.look() is None
    await long_after(desk, DOUBT_SECONDS)
    seen = await lasting(desk)
    assert isinstance(seen, Unexplained)
    desk.learn(seen)
    assert desk.last(GivenUp).code == "unexplained"
    assert ref in desk.last(Frozen).reason
    assert not desk.live.orders
    assert desk.live.units[NATIVE] == desk.chain.accounts.coins[chains.WALLET]


async def test_a_swap_of_a_kit_s_that_waits_for_ever_calls_a_person(autojump_clock: trio.abc.Clock) -> None:
    """With its hash or without it: it is not ours to replace."""
    for kit_does in ("sends", "sends and is lost"):
        desk = Desk.at()
        await handed(desk, kit_does)
        desk.chain.holding = True
        await desk.step()
        await long_after(desk)
        assert await desk.look() is None
        await long_after(desk, DOUBT_SECONDS)
        assert isinstance(await lasting(desk), Unexplained)


@pytest.mark.parametrize("seconds", [OVER_SECONDS, DOUBT_SECONDS])
@pytest.mark.parametrize("kit_does", ["sends", "sends and is lost"])
async def test_a_kit_s_swap_that_is_mined_long_after_is_found_though_endpoints_are_behind(
    kit_does: KitDoes, seconds: float, autojump_clock: trio.abc.Clock
) -> None:
    """It has left the pool then, and is in no block that they have."""
    desk = Desk.at()
    await handed(desk, kit_does)
    desk.chain.holding = True
    await desk.step()
    await long_after(desk, seconds)
    desk.chain.holding, desk.chain.weather = False, Weather(stale=1.0)
    desk.chain.mine()
    for _ in range(20):
        assert await desk.look() is None
    desk.chain.weather = CALM
    await desk.until_ended()
    assert desk.last(Trade).tx_hash == desk.chain.mined()[0][0].hash
    desk.agrees()


async def test_a_swap_of_a_kit_s_that_all_pools_have_forgotten_counts_as_not_sent(
    autojump_clock: trio.abc.Clock,
) -> None:
    desk = Desk.at()
    await handed(desk, "approves and sends")
    await desk.step()
    assert desk.order.state == "swapping"
    desk.chain.drop(desk.order.signed[-1].hash)
    desk.chain.mine()
    assert await desk.look() is None
    await long_after(desk)
    seen = await lasting(desk)
    assert isinstance(seen, KitDidNot)
    desk.learn(seen)
    assert desk.last(GivenUp).code == "not_sent"
    desk.agrees()


async def test_after_a_kill_it_is_still_asked_what_the_kit_did(autojump_clock: trio.abc.Clock) -> None:
    """The guard refuses everything then, also what it has done: that is no word on what it did."""
    desk = Desk.at()
    await handed(desk, "sends")
    assert isinstance(await desk.look(), KitSent)  # and it is lost before the log has it
    desk.restart()
    desk.guard.kill()
    await trio.sleep(300)
    await desk.until_ended()
    assert desk.last(Trade).tx_hash == desk.chain.mined()[0][0].hash


async def test_a_refusal_ends_an_order_that_a_kit_should_have_but_not_while_an_earlier_request_may_be_at_work(
    autojump_clock: trio.abc.Clock,
) -> None:
    desk = Desk.at()
    await handed(desk, "sends")
    desk.guard.kill()
    assert isinstance(await desk.look(), Outage), "this process has only begun: one before it may have asked"
    await trio.sleep(QUIET_SECONDS + 1)
    seen = await desk.look()
    assert isinstance(seen, KitDidNot)
    assert "kill_switch" in seen.reason


async def test_what_became_of_a_kit_s_order_is_seen_without_the_guard_too(autojump_clock: trio.abc.Clock) -> None:
    desk = Desk.at()
    await handed(desk, "sends and is lost")
    await desk.look()
    desk.guard.down = True
    assert isinstance(await desk.look(), Outage)
    desk.chain.mine()
    await desk.until_ended()
    desk.last(Trade)


# --- a price that has moved


async def test_a_price_that_moved_before_anything_was_signed_is_told_at_once(autojump_clock: trio.abc.Clock) -> None:
    desk = Desk.at()
    desk.intend()
    await desk.step()
    await trio.sleep(QUIET_SECONDS)
    await desk.until_ended()
    desk.intend("sell")
    desk.chain.trade(chains.ETH_POOL, chains.ETH, 20 * chains.UNIT)
    while not isinstance(seen := await desk.look(), Moved):
        assert isinstance(seen, Signature | Included | None)
        if seen is not None:
            desk.learn(seen)
        desk.chain.mine()
    assert desk.guard.granted.get(seen.ref, []) == []


async def test_a_price_that_moved_is_not_told_while_the_swap_may_be_being_signed(
    autojump_clock: trio.abc.Clock,
) -> None:
    desk = Desk.at()
    desk.chain.accounts.allowed[chains.USDT, chains.WALLET, chains.ROUTER] = 10**30
    await desk.chain.head()
    ref = desk.intend()
    desk.guard.mood = Mood(slow=1)
    await trio.sleep(QUIET_SECONDS)
    assert isinstance(await desk.look(), Outage)
    desk.chain.trade(chains.ETH_POOL, chains.USDT, 20_000 * chains.UNIT)
    assert await desk.look() is None
    await trio.sleep(30)
    seen = await desk.look()
    assert isinstance(seen, Signature)
    assert seen.ref == ref


# --- what is known by its hash only


async def test_bytes_that_a_kill_had_withheld_are_sent_once_a_person_has_restored_the_guard(
    autojump_clock: trio.abc.Clock,
) -> None:
    desk = Desk.at()
    row = await signed(desk)
    await desk.look()
    bare = evolve(row, raw="")
    desk.live = evolve(desk.live, orders={row.order_ref: evolve(desk.order, signed=(bare,))})
    desk.chain.drop(row.hash)
    desk.guard.kill()
    assert await desk.look() is None
    assert not desk.chain.waiting
    desk.guard.killed = None
    assert await desk.look() is None
    assert list(desk.chain.waiting) == [row.hash]
    await desk.until_ended()
    assert desk.last(Trade).tx_hash == row.hash


# --- whatever is lost, in whatever order


def _chance(random: Random, most: float) -> float:
    """Each fault is there in some runs and not in others: together they hide each other."""
    return random.choice((0.0, 0.0, random.uniform(0, most)))


async def _story(seed: int) -> Desk:
    """Four orders in bad weather, with crashes and kills, each until it has ended in a calm; then one in a calm."""
    random = Random(seed)
    weather = Weather(
        outage=_chance(random, 0.3), slow=_chance(random, 0.3), stale=_chance(random, 0.3),
        unclear=_chance(random, 0.6), skips=_chance(random, 0.8), drops=_chance(random, 0.5),
        reorganises=_chance(random, 0.15), lost=_chance(random, 0.7),
    )  # fmt: skip
    mood = Mood(_chance(random, 0.4), _chance(random, 0.4), _chance(random, 0.4))
    chain = SimChain(random, weather=weather, block_seconds=3.0)
    guard = SimGuard(chain, random, mood=mood)
    config = AgentConfig(tuple(MARKETS), live=LiveConfig(deadline_seconds=random.choice((20, 40, 300))))
    desk = Desk(chain, guard, random, config=config, lost=_chance(random, 0.4))
    killing, crashing = _chance(random, 0.03), desk.lost
    for _ in range(4):
        desk.intend("sell" if desk.live.book.positions else "buy")
        chain.weather, guard.mood, desk.lost = weather, mood, crashing
        for _ in range(random.randrange(40, 160)):
            if not desk.live.orders:
                break
            if random.random() < 0.1:
                chain.price = random.randrange(10**9, 3 * 10**9)
            if random.random() < 0.02:
                chain.trade(
                    chains.ETH_POOL, random.choice((chains.ETH, chains.USDT)), random.randrange(1, 20) * chains.UNIT
                )
            if random.random() < killing:
                guard.kill()
            elif random.random() < 0.05:
                guard.killed = None
            await desk.step()
            await trio.sleep(PAUSE_SECONDS)
        await _quiet(desk)
    chain.weather = CALM
    desk.config = AgentConfig(tuple(MARKETS))
    ref = desk.intend("sell" if desk.live.book.positions else "buy")
    await _quiet(desk)
    assert desk.last(Trade).order_ref == ref, "an order in a calm is filled: nothing is stuck"
    return desk


async def _quiet(desk: Desk) -> None:
    """After a quiet hour no order is open."""
    desk.chain.weather, desk.guard.mood, desk.lost, desk.guard.killed = CALM, Mood(), 0.0, None
    with trio.fail_after(3600):
        while desk.live.orders:
            await desk.step()
            await trio.sleep(PAUSE_SECONDS)


@pytest.mark.parametrize("seed", range(150))
def test_whatever_is_lost_at_most_one_swap_of_an_intent_is_mined_and_the_log_knew_it_before(seed: int) -> None:
    """That it knew is checked whenever a transaction comes into a block."""
    desk = run_seeded(seed, _story, seed)
    desk.agrees()
    ends, swaps = desk.ends(), desk.swaps()
    assert len(ends) == 5
    assert set(ends.values()) == {1}
    assert set(swaps.values()) == {1}
    for row in desk.rows:
        if isinstance(row, Trade):
            assert swaps[row.order_ref] == 1
        if isinstance(row, GivenUp):
            assert swaps[row.order_ref] == 0, "what is given up is never mined"
    ids = [row.id for row in desk.rows if isinstance(row, JournalEntry)]
    assert len(set(ids)) == len(ids)


def test_one_seed_is_one_story() -> None:
    assert run_seeded(7, _story, 7).rows == run_seeded(7, _story, 7).rows
