"""What is signed and what is refused, as a table of one change each to a request that is in order."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from protocol.codec import read_document
from protocol.signing import Anchor, Signed, Transaction
from server.guard.books import Attempted, Books, Ended, Granted, Killed, Lifted, Opened
from server.guard.config import GuardConfig
from server.guard.decode import Approval, Swap, decode
from server.guard.policy import RULES, Case, Sighting, check, judge, judge_repetition
from tests.guard.chain import CAKE, E18, LINK, ROUTER, USDT, WBNB, Chain
from tests.guard.houses import WALLET, anchor, entry, exit_, transaction

NOW = datetime(2027, 1, 15, 8, 0, tzinfo=UTC)
TODAY = "2027-01-15"
STRANGER = "0x" + "99" * 20
GWEI = 10**9
CONFIG = read_document(
    {
        "router": ROUTER,
        "usdt": {"address": USDT},
        "tokens": {"CAKE": {"address": CAKE}, "LINK": {"address": LINK}},
        "hops": {"WBNB": {"address": WBNB}},
        "rpc": ["http://127.0.0.1:1"],
    },
    GuardConfig,
)
CHAIN = Chain()


def books(*records: Any) -> Books:
    made = Books()
    for record in (Opened(WALLET), *records):
        made.apply(record, NOW)
    return made


def granted(intent: str, tx: Transaction, spend: int = 0, fees: int = 0, day: str = TODAY, row: int = 1) -> Granted:
    return Granted(intent, tx, Signed("0x", "0x"), spend, fees, day, anchor(row))


def case(tx: Transaction, **changes: Any) -> Case:
    """A request for `tx` on a quiet day, with everything seen."""
    action = decode(tx.data)
    quote, token = None, tx.to
    if isinstance(action, Swap) and len(action.path) > 1:
        quote, token = CHAIN.quote(action.spend, (action.path[0], action.path[-1])), action.path[0]
        via = CHAIN.quote(action.spend, (action.path[0], WBNB, action.path[-1]))
        quote = max((one for one in (quote, via) if one is not None), default=None)
    seen = Sighting(CHAIN.time, CHAIN.nonce, CHAIN.balances.get(token, 0), quote)
    made: dict[str, Any] = {
        "config": CONFIG,
        "wallet": WALLET,
        "books": books(),
        "way": "local",
        "intent": "order_1",
        "action": action,
        "anchor": anchor(5),
        "tx": tx,
        "day": TODAY,
        "seen": seen,
    }
    return Case(**made | changes)


def with_limits(**limits: Any) -> GuardConfig:
    return evolve(CONFIG, limits=evolve(CONFIG.limits, **limits))


# --- what is signed

FIRST = transaction(entry(CHAIN))
THROUGH_WBNB = entry(CHAIN, path=(USDT, WBNB, LINK))
FOR_THE_KIT = evolve(
    case(transaction(entry(CHAIN))),
    tx=None,
    way="twak",
    action=Swap(E18, E18, (USDT, CAKE), WALLET, CHAIN.time + 180),
    seen=Sighting(CHAIN.time, 0, 10**30, E18),
)
ALLOWED: dict[str, Case] = {
    "an entry": case(transaction(entry(CHAIN))),
    "an entry of the whole cap": case(transaction(entry(CHAIN, 50))),
    "the 16th that is not mined": case(evolve(FIRST, nonce=15), books=books(granted("a", evolve(FIRST, nonce=14)))),
    "an entry through a hop": case(transaction(THROUGH_WBNB)),
    "an exit": case(transaction(exit_(CHAIN))),
    "an exit of more than the cap is worth": case(transaction(exit_(CHAIN, 900))),
    "an exit when the day's cap is spent": case(
        transaction(exit_(CHAIN), nonce=1), books=books(granted("a", transaction(entry(CHAIN)), 200 * E18))
    ),
    "an exit when the day's gas for entries is spent": case(
        transaction(exit_(CHAIN), nonce=1), books=books(granted("a", transaction(entry(CHAIN)), 0, 2 * 10**16))
    ),
    "the approval of an exit when the day's gas for entries is spent": case(
        transaction(Approval(ROUTER, E18), to=CAKE, nonce=1),
        books=books(granted("a", transaction(entry(CHAIN)), 0, 2 * 10**16)),
    ),
    "an exit that reaches the day's gas": case(
        transaction(exit_(CHAIN), nonce=1),
        books=books(granted("a", transaction(entry(CHAIN)), 0, 10**17 - 200_000 * GWEI)),
    ),
    "an exit where entries may burn more": case(
        transaction(exit_(CHAIN), nonce=1), books=books(granted("a", transaction(entry(CHAIN)), 0, 10**17)),
        config=evolve(CONFIG, limits=evolve(CONFIG.limits, daily_gas_cap=Decimal(1))),
    ),
    "an entry that reaches the day's cap": case(
        transaction(entry(CHAIN, 50), nonce=1), books=books(granted("a", transaction(entry(CHAIN)), 150 * E18))
    ),
    "an entry on the day after": case(
        transaction(entry(CHAIN, 50), nonce=1),
        books=books(granted("a", transaction(entry(CHAIN)), 200 * E18)),
        day="2027-01-16",
    ),
    "an approval of USDT for one trade": case(transaction(Approval(ROUTER, 50 * E18))),
    "an approval of nothing": case(transaction(Approval(ROUTER, 0))),
    "an approval of all that there is of a token": case(transaction(Approval(ROUTER, 1000 * E18), to=CAKE)),
    "a nonce that the chain is at": case(transaction(entry(CHAIN), nonce=7), seen=Sighting(CHAIN.time, 7, 10**30, 1)),
    "addresses in big letters": case(transaction(entry(CHAIN), to="0x" + ROUTER[2:].upper())),
    "the furthest deadline": case(transaction(entry(CHAIN, deadline=CHAIN.time + 180))),
    "the least that is not less": case(transaction(entry(CHAIN, min_out=(entry(CHAIN).min_out * 995 + 999) // 1000))),
    "the same row of the log": case(
        transaction(entry(CHAIN), nonce=1), books=books(granted("a", transaction(entry(CHAIN)), row=5))
    ),
    "another log": case(
        transaction(entry(CHAIN), nonce=1),
        books=books(granted("a", transaction(entry(CHAIN)), row=9)),
        anchor=anchor(1, "log_2"),
    ),
    "a swap for the kit": FOR_THE_KIT,
}  # fmt: skip


@pytest.mark.parametrize("name", ALLOWED)
def test_it_is_signed(name: str) -> None:
    assert judge(ALLOWED[name]) is None


# --- what is refused, by which rule

SPENT = books(granted("a", transaction(entry(CHAIN)), 160 * E18))
KILLED = books(granted("order_1", FIRST), Killed("x"))
WITH_FIRST = {"books": books(granted("order_1", FIRST)), "replaces": FIRST}
UNLIMITED = 2**256 - 1
SIXTEEN = books(granted("a", evolve(FIRST, nonce=15)))
WORTHLESS = Sighting(CHAIN.time, 0, 99 * E18, 0)


def replacing(**changes: Any) -> Case:
    return case(evolve(FIRST, **{"gas_price": 11 * GWEI // 10} | changes), **WITH_FIRST)


REFUSED: dict[str, tuple[str, Case]] = {
    # the request
    "anything after a kill": ("kill_switch", case(FIRST, books=books(Killed("x")))),
    "an exit after a kill": ("kill_switch", case(transaction(exit_(CHAIN)), books=books(Killed("x")))),
    "a log behind the furthest row": (
        "log_anchor", case(evolve(FIRST, nonce=1), books=books(granted("a", FIRST, row=6))),
    ),
    "a log with another row there": (
        "log_anchor",
        case(evolve(FIRST, nonce=1), books=books(granted("a", FIRST, row=5)), anchor=Anchor("log_1", 5, "f" * 64)),
    ),
    "the kit's way at a guard with a key": ("way", evolve(case(FIRST), tx=None)),
    "a key's way at a guard with the kit": ("way", case(FIRST, way="twak")),
    # the intent
    "a second trade for one intent": ("intent", case(transaction(entry(CHAIN, 11)), **WITH_FIRST)),
    "the same trade at the next nonce": ("intent", case(evolve(FIRST, nonce=1), **WITH_FIRST)),
    "more gas for one intent": ("intent", replacing(gas=300_000)),
    "a replacement by a bit more": ("replacement", replacing(gas_price=11 * GWEI // 10 - 1)),
    "a replacement by less": ("replacement", replacing(gas_price=GWEI // 2)),
    "a replacement over the limit": ("gas_price", replacing(gas_price=6 * GWEI)),
    "a replacement of what is mined": (
        "nonce", evolve(replacing(), seen=Sighting(CHAIN.time, 1, 10**30, entry(CHAIN).min_out)),
    ),
    # the transaction
    "another chain": ("chain_id", case(evolve(FIRST, chain_id=1))),
    "coins along with it": ("value", case(evolve(FIRST, value=1))),
    "a transfer": ("selector", case(evolve(FIRST, to=USDT, data="0xa9059cbb" + "00" * 64))),
    "no calldata": ("selector", case(evolve(FIRST, data="0x"))),
    "bytes behind the calldata": ("calldata", case(evolve(FIRST, data=FIRST.data + "00"))),
    "another router": ("router", case(evolve(FIRST, to=STRANGER))),
    "a swap at a token": ("router", case(evolve(FIRST, to=USDT))),
    "a token that is not on the list": ("allowlist", case(transaction(entry(CHAIN, path=(USDT, STRANGER))))),
    "a hop that is not on the list": ("allowlist", case(transaction(entry(CHAIN, path=(USDT, STRANGER, CAKE))))),
    "a traded token as a hop": ("allowlist", case(transaction(entry(CHAIN, path=(USDT, LINK, CAKE))))),
    "a hop as the end": ("allowlist", case(transaction(entry(CHAIN, path=(USDT, WBNB))))),
    "a token for a token": ("allowlist", case(transaction(entry(CHAIN, path=(CAKE, WBNB, LINK))))),
    "USDT for USDT": ("allowlist", case(transaction(entry(CHAIN, path=(USDT, WBNB, USDT))))),
    "USDT in the middle": ("allowlist", case(transaction(entry(CHAIN, path=(CAKE, USDT, LINK))))),
    "a hop twice": ("allowlist", case(transaction(entry(CHAIN, path=(USDT, WBNB, WBNB, CAKE))))),
    "a path of one": ("allowlist", case(transaction(entry(CHAIN, path=(USDT,))))),
    "an empty path": ("allowlist", case(transaction(entry(CHAIN, path=(), min_out=1)))),
    "an approval of a stranger's token": ("allowlist", case(transaction(Approval(ROUTER, 1), to=STRANGER))),
    "an approval of a hop": ("allowlist", case(transaction(Approval(ROUTER, 1), to=WBNB))),
    "an approval at the router": ("allowlist", case(transaction(Approval(ROUTER, 1), to=ROUTER))),
    "an approval for a stranger": ("router", case(transaction(Approval(STRANGER, 1)))),
    "an approval for the wallet": ("router", case(transaction(Approval(WALLET, 1)))),
    "an unlimited approval of USDT": ("approval", case(transaction(Approval(ROUTER, UNLIMITED)))),
    "an approval of more USDT than a trade": ("approval", case(transaction(Approval(ROUTER, 50 * E18 + 1)))),
    "an unlimited approval of a token": ("approval", case(transaction(Approval(ROUTER, UNLIMITED), to=CAKE))),
    "an approval of more than there is": ("approval", case(transaction(Approval(ROUTER, 1000 * E18 + 1), to=CAKE))),
    "a stranger's wallet": ("recipient", case(transaction(entry(CHAIN, to=STRANGER)))),
    "the router as the wallet": ("recipient", case(transaction(exit_(CHAIN, to=ROUTER)))),
    "a gas price over the limit": ("gas_price", case(evolve(FIRST, gas_price=5 * GWEI + 1))),
    "a gas price of nothing": ("gas_price", case(evolve(FIRST, gas_price=0))),
    "gas over the limit": ("gas", case(evolve(FIRST, gas=400_001))),
    "gas for nothing": ("gas", case(evolve(FIRST, gas=20_999))),
    "less gas than its calldata costs": ("gas", case(evolve(FIRST, gas=25_000))),
    "a day's gas used up": (
        "daily_gas", case(evolve(FIRST, nonce=1), books=books(granted("a", FIRST, 0, 2 * 10**16 - 1))),
    ),
    "exits that burn all gas": (
        "daily_gas",
        case(
            transaction(exit_(CHAIN), nonce=1),
            books=books(granted("a", transaction(entry(CHAIN)), 0, 10**17 - 200_000 * GWEI + 1)),
        ),
    ),
    "approvals for exits that burn all gas": (
        "daily_gas",
        case(transaction(Approval(ROUTER, 0), to=CAKE, nonce=1), books=books(granted("a", FIRST, 0, 10**17))),
    ),
    "approvals that burn the day's gas": (
        "daily_gas",
        case(transaction(Approval(ROUTER, 0), nonce=1), books=books(granted("a", FIRST, 0, 2 * 10**16))),
    ),
    # the money
    "more than a trade may have": ("per_trade_cap", case(transaction(entry(CHAIN, spend=50 * E18 + 1)))),
    "more than the day may have": ("daily_cap", case(transaction(entry(CHAIN, 41), nonce=1), books=SPENT)),
    "a cap that was lowered below what is spent": (
        "daily_cap",
        case(transaction(entry(CHAIN, 1), nonce=1), books=SPENT, config=with_limits(daily_cap=Decimal(100))),
    ),
    "no sight of the chain": ("rpc", case(FIRST, seen=None)),
    "a nonce that was signed for": (
        "nonce", case(transaction(entry(CHAIN, 11)), books=books(granted("a", FIRST))),
    ),
    "a nonce that leaves a gap": ("nonce", case(evolve(FIRST, nonce=1))),
    "a nonce that is mined": (
        "nonce", case(FIRST, seen=Sighting(CHAIN.time, 3, 10**30, entry(CHAIN).min_out)),
    ),
    "the 17th that is not mined": ("pending", case(evolve(FIRST, nonce=16), books=SIXTEEN)),
    "more than the wallet has": ("balance", case(FIRST, seen=Sighting(CHAIN.time, 0, 9 * E18, entry(CHAIN).min_out))),
    "a swap of nothing": ("balance", case(transaction(entry(CHAIN, spend=0, min_out=1)))),
    "a deadline too far away": ("deadline", case(transaction(entry(CHAIN, deadline=CHAIN.time + 181)))),
    "a deadline without end": ("deadline", case(transaction(entry(CHAIN, deadline=UNLIMITED)))),
    "a deadline that has passed": ("deadline", case(transaction(entry(CHAIN, deadline=CHAIN.time)))),
    "a swap for the kit that is asked for too late": (
        "deadline", evolve(FOR_THE_KIT, action=Swap(E18, E18, (USDT, CAKE), WALLET, CHAIN.time)),
    ),
    "any price": ("slippage", case(transaction(entry(CHAIN, min_out=0)))),
    "any price for an exit": ("slippage", case(transaction(exit_(CHAIN, min_out=0)))),
    "a bit less than may be": (
        "slippage", case(transaction(entry(CHAIN, min_out=(entry(CHAIN).min_out * 995 + 999) // 1000 - 1))),
    ),
    "a route that gives less than another": (
        "slippage", case(transaction(entry(CHAIN, path=(USDT, WBNB, CAKE), min_out=E18))),
    ),
    "no route at all": ("slippage", case(FIRST, seen=Sighting(CHAIN.time, 0, 10**30, None))),
    "a quote of nothing": ("slippage", case(transaction(entry(CHAIN, min_out=0)), seen=WORTHLESS)),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_it_is_refused_by_its_rule_with_measure_and_limit(name: str) -> None:
    rule, bad = REFUSED[name]
    refused = judge(bad)
    assert refused is not None
    assert refused.rule == rule
    assert refused.measured
    assert refused.limit
    assert refused.reason.endswith(".")


def test_every_rule_refuses_something() -> None:
    named = {name for name, _ in RULES} | {"selector"}
    assert {rule for rule, _ in REFUSED.values()} == named


def test_nothing_passes_without_a_look_at_the_chain() -> None:
    for name, one in ALLOWED.items():
        unseen = judge(evolve(one, seen=None))
        assert unseen is not None, name
        assert unseen.rule == "rpc", name


# --- replacements

PAST = CHAIN.time + 120 + 61


def test_a_replacement_spends_nothing_again() -> None:
    again = replacing()
    assert judge(again) is None
    assert again.spend == 0
    assert again.fees == 200_000 * (11 * GWEI // 10 - GWEI)
    full = books(granted("order_1", FIRST, 200 * E18))
    assert judge(evolve(again, books=full)) is None


LOWERED = {
    "the cap of a trade": with_limits(per_trade_cap=Decimal(1)),
    "the cap of a day": with_limits(daily_cap=Decimal(1)),
    "the gas of a day": with_limits(daily_gas_cap=Decimal(0), daily_exit_gas_cap=Decimal(0)),
    "the gas of a transaction": with_limits(max_gas=21_000),
    "the list of tokens": evolve(CONFIG, tokens={"LINK": CONFIG.tokens["LINK"]}),
}


@pytest.mark.parametrize("what", LOWERED)
def test_no_limit_that_was_lowered_since_holds_up_a_nonce_that_was_signed_for(what: str) -> None:
    """An approval has no deadline that would free it otherwise."""
    approval = transaction(Approval(ROUTER, 50 * E18))
    for first in (FIRST, transaction(exit_(CHAIN)), approval, evolve(approval, to=CAKE)):
        again = evolve(first, gas_price=2 * GWEI)
        known = books(granted("order_1", first, 50 * E18, 10**17))
        found = case(again, books=known, replaces=first, config=LOWERED[what])
        assert judge(found) is None
        assert found.fees == 200_000 * GWEI, "it is counted all the same"


def test_a_replacement_keeps_to_the_limits_of_the_gas_price_and_to_a_kill() -> None:
    for changes, rule in (
        ({"config": with_limits(max_gas_price_gwei=Decimal(1))}, "gas_price"),
        ({"books": KILLED}, "kill_switch"),
        ({"seen": None}, "rpc"),
    ):
        refused = judge(evolve(replacing(), **changes))
        assert refused is not None
        assert refused.rule == rule


ORDINARY = 500_000  # gas that an exit may take at most: its approval's and its own


@pytest.mark.parametrize(("price", "exits"), [(GWEI // 10, 2000), (GWEI, 200), (5 * GWEI, 40)])
def test_so_many_exits_a_day_have_gas_at_least_whatever_entries_have_burnt(price: int, exits: int) -> None:
    limits = CONFIG.limits
    assert (limits.exit_fees - limits.daily_fees) // (ORDINARY * price) >= exits * 8 // 10
    assert limits.exit_fees // (ORDINARY * price) == exits


actions = st.sampled_from([FIRST, transaction(exit_(CHAIN)), transaction(Approval(ROUTER, 0))])
prices = st.sampled_from([1, GWEI, 5 * GWEI])


@given(
    st.lists(st.tuples(actions, prices, st.booleans(), st.integers(0, 3)), max_size=120),
    st.sampled_from([Decimal("0.001"), Decimal("0.01")]),
)
def test_whatever_is_signed_and_replaced_a_day_burns_no_more_than_its_cap_and_what_is_pending(
    steps: list[tuple[Transaction, int, bool, int]], cap: Decimal
) -> None:
    limits = {"daily_gas_cap": cap / 2, "daily_exit_gas_cap": cap, "max_gas": 200_000, "daily_cap": Decimal(10**6)}
    config, known, mined = with_limits(**limits), books(), 0
    signed: list[Transaction] = []
    for number, (kind, price, again, ahead) in enumerate(steps):
        mined = min(len(signed), mined + ahead)
        again = again and bool(signed)
        before = signed[-1] if again else None
        tx = evolve(before or kind, gas_price=price, nonce=before.nonce if before else len(signed))
        seen = Sighting(CHAIN.time, mined, 10**30, 1)
        action = decode(tx.data)
        asked = case(tx, books=known, replaces=before, config=config, seen=seen, action=action, anchor=anchor(number))
        fresh = known.fees_on(TODAY)
        if judge(asked) is not None:
            continue
        if before is None:
            most = cap if asked.leads_out else cap / 2
            assert fresh + asked.fees <= most * E18
            signed.append(tx)
        else:
            signed[-1] = tx
        known.apply(granted(f"order_{len(signed)}", tx, 0, asked.fees, row=number), NOW)
    assert known.fees_on(TODAY) <= cap * E18 + 16 * 200_000 * 5 * GWEI


def test_a_replacement_is_held_against_the_price_of_now() -> None:
    risen = Sighting(CHAIN.time, 0, 10**30, entry(CHAIN).min_out * 2)
    refused = judge(evolve(replacing(), seen=risen))
    assert refused is not None
    assert refused.rule == "slippage"


@pytest.mark.parametrize(("time", "rule"), [(PAST, None), (PAST - 1, "deadline"), (CHAIN.time + 120, "deadline")])
def test_a_swap_that_can_only_revert_may_be_replaced_to_free_its_nonce(time: int, rule: str | None) -> None:
    refused = judge(evolve(replacing(), seen=Sighting(time, 0, 0, None)))
    assert (refused and refused.rule) == rule


def test_a_new_swap_with_a_passed_deadline_is_never_signed() -> None:
    refused = judge(case(FIRST, seen=Sighting(PAST, 0, 10**30, entry(CHAIN).min_out)))
    assert refused is not None
    assert refused.rule == "deadline"


def test_a_repetition_is_stopped_by_a_kill_and_by_a_log_that_was_cut_and_by_nothing_else() -> None:
    spent = evolve(case(FIRST, **WITH_FIRST), config=with_limits(per_trade_cap=Decimal(1)), seen=None)
    assert judge_repetition(spent) is None
    for stopped, rule in (
        (evolve(spent, books=KILLED), "kill_switch"),
        (evolve(spent, anchor=anchor(0)), "log_anchor"),
    ):
        refused = judge_repetition(stopped)
        assert refused is not None
        assert refused.rule == rule


# --- days

DAY, NEXT = datetime(2027, 1, 15, 23, 59, tzinfo=UTC), datetime(2027, 1, 16, 0, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("wall", "steady", "chain", "day"),
    [
        (DAY, DAY, DAY, "2027-01-15"),
        (NEXT, NEXT, NEXT, "2027-01-16"),
        (NEXT, DAY, DAY, "2027-01-15"),  # the clock was set forward
        (NEXT, NEXT, DAY, "2027-01-15"),  # the machine came up with a wrong clock
        (DAY, NEXT, NEXT, "2027-01-15"),
        (DAY, DAY, NEXT, "2027-01-15"),  # the chain, or who tells of it, is ahead
    ],
)
def test_a_day_begins_when_every_witness_has_reached_it(
    wall: datetime, steady: datetime, chain: datetime, day: str
) -> None:
    assert books().day_at(wall, steady, chain) == day


def test_a_clock_that_is_set_back_opens_no_day_again() -> None:
    kept = books(granted("a", FIRST, 200 * E18, day="2027-01-16"))
    day = kept.day_at(DAY, DAY, DAY)
    assert day == "2027-01-16"
    assert kept.spent_on(day) == 200 * E18


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5), st.integers(0, 5), st.integers(1, 120)), max_size=40))
def test_whatever_the_clocks_do_no_day_spends_more_than_its_cap(moves: list[tuple[int, int, int, int]]) -> None:
    kept, by_day = books(), dict[str, int]()
    for number, (wall, steady, chain, usdt) in enumerate(moves):
        day = kept.day_at(*(datetime(2027, 1, 10 + one, 12, tzinfo=UTC) for one in (wall, steady, chain)))
        assert day >= kept.day
        kept.signed_nonce = number - 1  # all of them are mined at once
        seen = Sighting(CHAIN.time, number, 10**30, entry(CHAIN, usdt).min_out)
        asked = case(transaction(entry(CHAIN, usdt), nonce=number), books=kept, day=day, seen=seen)
        if judge(asked) is None:
            kept.apply(granted(f"order_{number}", FIRST, asked.spend, day=day, row=number), NOW)
            by_day[day] = by_day.get(day, 0) + usdt
    assert all(spent <= 200 for spent in by_day.values())


# --- arithmetic, and what people are shown


@given(st.integers(1, 10**36), st.sampled_from(["0", "0.5", "0.000001", "33.333333", "50"]))
def test_the_least_that_must_come_out_is_exact(quote: int, pct: str) -> None:
    config = with_limits(slippage_pct=Decimal(pct))
    scale = 10**8
    allowed = scale - int(Decimal(pct) * 10**6)
    least = max(1, -(-quote * allowed // scale))
    for min_out, passes in ((least, True), (least - 1, False)):
        swap = entry(CHAIN, min_out=min_out)
        asked = case(transaction(swap), config=config, seen=Sighting(CHAIN.time, 0, 10**40, quote))
        assert (judge(asked) is None) == passes


def test_check_shows_every_rule_with_its_numbers() -> None:
    shown = dict(check(case(transaction(entry(CHAIN, 60)), seen=None)))
    cap = shown["per_trade_cap"]
    assert cap is not None
    assert (cap.ok, cap.measured, cap.limit) == (False, "60 USDT", "50 USDT")
    assert shown["slippage"] is None
    assert len(shown) == len(RULES)


def test_a_second_attempt_of_the_kit_is_no_attempt() -> None:
    record = Attempted("order_1", USDT, CAKE, E18, 1, E18, 0, TODAY, anchor(1))
    again = evolve(ALLOWED["a swap for the kit"], books=books(record))
    refused = judge(again)
    assert refused is not None
    assert refused.rule == "intent"


def test_books_that_do_not_add_up_are_refused() -> None:
    with pytest.raises(ValueError, match="goes back"):
        books(granted("a", FIRST, day="2027-01-16"), granted("b", FIRST, day="2027-01-15"))
    with pytest.raises(ValueError, match="begin"):
        Books().apply(Lifted(), NOW)
    with pytest.raises(KeyError):
        books(Ended("never", None))
