"""Exact amounts: what an order may spend and must bring, held against the pool's own arithmetic; what a mined swap was
worth, to the last place."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Final, Literal

import pytest
from attrs import evolve as changed
from hypothesis import assume, example, given
from hypothesis import strategies as st

from actors.chain.bars import Pool
from actors.chain.port import Reserves
from actors.executor.live import Live
from actors.executor.order_life import Included, Signature, learn
from actors.executor.swaps import intend, shadow_bps, traded, way_out
from actors.quote_verifier.verify import verify
from protocol.errors import Refusal
from protocol.events import Decided, Intended, JournalEntry, LiveOpened, Mined, Trade
from protocol.market import Candle, Observation, Tick
from protocol.money import ZERO, Units, booked
from protocol.orders import Order, Quote
from protocol.settings import AgentConfig, LiveConfig, PaperConfig, QuotesConfig
from tests.live.lives import AT, CONFIG, E18, GAS, GAS_USDT, OPENED, bought, folded, intended, kinds, submitted
from tests.world.chain import out_of

PLACE: Final = Decimal("1e-8")
sides = st.sampled_from(["buy", "sell"])
decimals = st.sampled_from([6, 8, 9, 18])


def _tick(price: Decimal, depth: Decimal) -> Tick:
    return Tick(Candle(AT, price, price, price, price, ZERO), Observation("pool", price, AT, depth), None)


def _believed(
    pool: Pool, reserves: Reserves, size: Decimal, side: Literal["buy", "sell"], qty: Decimal | None
) -> Quote:
    """As the verifier quotes it."""
    price = pool.price(reserves)
    assert price is not None
    config = changed(CONFIG, quotes=QuotesConfig(max_impact_pct=Decimal(5), min_depth_usdt=Decimal(0)))
    order = Order("ord", "ETH/USDT", side, size, qty, "because", "live")
    found = verify(order, _tick(price, booked(pool.depth(reserves))), config, AT)
    assume(isinstance(found, Quote))
    assert isinstance(found, Quote)
    return found


@given(
    side=sides, token=decimals, usdt=decimals, first=st.booleans(), depth=st.integers(10_000, 10**9),
    price=st.decimals(Decimal("0.01"), 100_000, places=4),
    impact=st.decimals(Decimal("0.0001"), Decimal("0.05"), places=4),
    slippage=st.decimals(Decimal("0.01"), 10, places=2),
)  # fmt: skip
@example("buy", 18, 18, True, 2_000_000, Decimal(2000), Decimal("0.01"), Decimal("0.01"))
@example("sell", 18, 6, False, 2_000_000, Decimal(2000), Decimal("0.05"), Decimal("0.01"))
def test_the_least_that_a_swap_must_bring_is_below_what_the_pool_gives_by_the_slippage_and_next_to_nothing_more(
    side: Literal["buy", "sell"], token: int, usdt: int, first: bool, depth: int, price: Decimal, impact: Decimal,
    slippage: Decimal,
) -> None:  # fmt: skip
    """The quote's impact is of the order as it is; the pool takes its fee first, so that it moves by that much less: a
    fee's part of the impact is all that the bound lies lower."""
    base_units, usdt_units = int(depth / price * 10**token), depth * 10**usdt
    reserves = Reserves(base_units, usdt_units) if first else Reserves(usdt_units, base_units)
    pool = Pool("ETH/USDT", "0x", token, usdt, first)
    size = booked(impact * depth)
    worth = size / (pool.price(reserves) or 1)
    held = Units.of(worth, token)
    qty = booked(held.amount(token)) if side == "sell" else None
    quote = _believed(pool, reserves, size, side, qty)
    config = changed(CONFIG, live=LiveConfig(slippage_pct=slippage))
    live = folded(LiveOpened(AT, size, size, ZERO, {"USDT": Units.of(size, usdt), "ETH": held}))
    order = Order("ord", "ETH/USDT", side, size, qty, "because", "live")
    found = intend(order, quote, live, config, {"USDT": usdt, "ETH": token}, "entry", AT, AT)
    assume(isinstance(found, Intended))
    assert isinstance(found, Intended)
    reserve_in, reserve_out = (usdt_units, base_units) if side == "buy" else (base_units, usdt_units)
    given_out = out_of(found.spend, reserve_in, reserve_out)
    assume(given_out > 10**5)  # of so few units, rounding is the larger part
    kept = 1 - Fraction(slippage) / 100
    assert found.min_received <= given_out
    lower = Fraction(25, 10_000) * Fraction(impact) + Fraction(1, 10**6)  # for prices of 12 digits
    assert found.min_received >= given_out * kept * (1 - lower) - 1


def test_a_purchase_spends_its_size_and_a_sale_all_that_the_wallet_is_known_to_hold() -> None:
    live = folded(*OPENED)
    wish = intended(live, "buy", "123.456789")
    assert (wish.from_token, wish.to_token, wish.spend) == ("USDT", "ETH", 123_456_789 * 10**12)
    live = folded(*bought(live), live=live)
    dusty = changed(live, units=live.units | {"ETH": Units(live.units["ETH"] + 7)})
    sale = intended(dusty, "sell")
    assert (sale.from_token, sale.to_token, sale.spend) == ("ETH", "USDT", live.units["ETH"] + 7)
    assert sale.order.qty == Decimal("0.05")


def test_a_deadline_is_of_the_chain_s_clock_and_not_of_the_log_s() -> None:
    live, seen = folded(*OPENED), AT + timedelta(hours=3)
    wish = intended(live)
    later = intend(wish.order, wish.quote, live, CONFIG, {"USDT": 18, "ETH": 18}, "entry", AT, seen)
    assert isinstance(later, Intended)
    assert later.deadline == int(seen.timestamp()) + CONFIG.live.deadline_seconds
    assert later.ts == AT


def test_what_the_wallet_is_not_known_to_hold_is_not_intended() -> None:
    live = folded(*OPENED)
    for order, units in (
        (Order("ord", "ETH/USDT", "buy", Decimal("1000.00000001"), None, "", "live"), live.units),
        (Order("ord", "ETH/USDT", "sell", Decimal(100), Decimal("0.05"), "", "live"), live.units),
        (Order("ord", "ETH/USDT", "buy", Decimal(0), None, "", "live"), live.units),
    ):
        quote = changed(intended(live).quote, order_ref="ord", size_usdt=order.size_usdt)
        found = intend(order, quote, changed(live, units=units), CONFIG, {"USDT": 18, "ETH": 18}, "entry", AT, AT)
        assert isinstance(found, Refusal)
        assert found.rule == "insufficient_funds"


def test_a_quote_of_another_order_or_an_old_one_carries_nothing() -> None:
    live, wish = folded(*OPENED), intended(folded(*OPENED))
    for quote, rule in (
        (changed(wish.quote, order_ref="ord_other"), "QUOTE_MISMATCH"),
        (changed(wish.quote, size_usdt=wish.order.size_usdt - PLACE), "QUOTE_MISMATCH"),
        (changed(wish.quote, verified_at=AT - timedelta(hours=2)), "QUOTE_STALE"),
    ):
        found = intend(wish.order, quote, live, CONFIG, {"USDT": 18, "ETH": 18}, "entry", AT, AT)
        assert isinstance(found, Refusal)
        assert found.rule == rule


# --- what a mined swap was worth


def _mined(ref: str, spent: int, received: int) -> Mined:
    return Mined(AT, ref, "swap", "0xb", 9, True, Units(spent), Units(received), Units(GAS), GAS_USDT)


@given(
    spend=st.decimals(1, 1000, places=8), received=st.integers(1, 10**22), gas=st.decimals(0, 5, places=8),
    fee=st.integers(0, 100), token=decimals,
)  # fmt: skip
def test_a_purchase_books_what_the_wallet_gave_and_got_and_splits_it_into_size_and_fees(
    spend: Decimal, received: int, gas: Decimal, fee: int, token: int
) -> None:
    config = AgentConfig(("ETH/USDT",), paper=PaperConfig(fee_bps=Decimal(fee)))
    live = folded(*OPENED)
    wish = intended(live, "buy", str(spend))
    trade = traded(wish, _mined(wish.order.ref, wish.spend, received), gas, live, config, {"USDT": 18, "ETH": token})
    assert trade.size + trade.fees == booked(spend + gas)
    assert abs(trade.fees - gas - spend * fee / 10_000) <= PLACE
    assert 0 <= Units(received).amount(token) - trade.qty < PLACE
    if trade.qty:
        assert abs(trade.price - trade.size / trade.qty) <= PLACE
    after = folded(wish, trade, live=live).book
    assert after.cash == booked(live.book.cash - spend - gas)
    if "ETH/USDT" in after.positions:
        assert after.positions["ETH/USDT"].cost == trade.size + trade.fees
    for amount in (trade.size, trade.fees, trade.price, trade.qty):
        assert amount == booked(amount)


@given(
    received=st.integers(0, 10**21), gas=st.decimals(0, 5, places=8), fee=st.integers(0, 100), usdt=decimals,
)  # fmt: skip
def test_a_sale_books_what_came_and_its_result_is_what_came_less_what_it_had_cost(
    received: int, gas: Decimal, fee: int, usdt: int
) -> None:
    received = received // 10 ** (18 - usdt)
    config = AgentConfig(("ETH/USDT",), paper=PaperConfig(fee_bps=Decimal(fee)))
    live = folded(*OPENED)
    live = folded(*bought(live), live=live)
    held, wish = live.book.positions["ETH/USDT"], intended(live, "sell")
    trade = traded(wish, _mined(wish.order.ref, wish.spend, received), gas, live, config, {"USDT": usdt, "ETH": 18})
    brought = booked(Units(received).amount(usdt))
    assert trade.size - trade.fees == booked(brought - gas)
    assert abs(trade.fees - gas - trade.size * fee / 10_000) <= PLACE
    assert trade.pnl == booked(brought - gas - held.cost)
    assert trade.return_ == booked(trade.pnl / held.cost)
    assert trade.qty == held.qty
    after = folded(wish, trade, live=live).book
    assert after.cash == booked(live.book.cash + brought - gas)
    assert not after.positions


def test_equity_moves_by_the_fees_of_a_trade_and_by_how_far_its_price_was_from_the_mark() -> None:
    live = folded(*OPENED)
    wish = intended(live, "buy", "200")
    trade = traded(wish, _mined(wish.order.ref, wish.spend, E18 // 10), GAS_USDT, live, CONFIG, {"USDT": 18, "ETH": 18})
    book = folded(wish, trade, live=live).book
    mark = {"ETH/USDT": Decimal(2010)}
    assert book.equity_at(mark) == live.book.equity - trade.fees + booked(trade.qty * (Decimal(2010) - trade.price))


def test_the_gas_of_every_transaction_of_an_order_is_among_its_fees() -> None:
    live = folded(*OPENED)
    wish = intended(live, "buy", "100")
    ref = wish.order.ref
    live = folded(wish, submitted(ref, "approval", 0, "0xa"), live=live)
    for seen in (
        Included(ref, "approval", "0xa", 5, True, 0, 0, GAS, Decimal("0.03")),
        Signature(ref, "swap", 1, "0xb", "0x00", 10**9),
        Included(ref, "swap", "0xb", 9, True, wish.spend, wish.min_received, GAS, Decimal("0.07")),
    ):
        rows = learn(live, seen, CONFIG, {"USDT": 18, "ETH": 18}, AT)
        live = folded(*rows, live=live)
    assert kinds(rows) == ["CONFIRMED", "mined", "EXECUTED", "trade"]
    trade, entry = rows[-1], rows[-2]
    assert isinstance(trade, Trade)
    assert isinstance(entry, JournalEntry)
    assert trade.fees == Decimal("0.25") + Decimal("0.1")
    assert entry.data["gas"] == Decimal("0.1")


# --- beside paper


@pytest.mark.parametrize(
    ("side", "price", "worse"),
    [("buy", "2021.01", "100"), ("buy", "2001", "0"), ("buy", "1980.99", "-100"),
     ("sell", "1979.01", "100"), ("sell", "1999", "0"), ("sell", "2018.99", "-100")],
)  # fmt: skip
def test_the_shadow_is_positive_where_live_was_worse_than_paper(
    side: Literal["buy", "sell"], price: str, worse: str
) -> None:
    """Paper's price is the quote's, 2000, made worse by 5 bps."""
    live = folded(*OPENED)
    wish = intended(live)
    trade = Trade(AT, "ETH/USDT", side, ZERO, Decimal(price), None, ZERO, "live", "jrn", Decimal(1), "ord")
    assert shadow_bps(trade, wish.quote, CONFIG) == pytest.approx(Decimal(worse), abs=Decimal("0.01"))


def test_an_execution_is_told_beside_what_paper_would_have_booked() -> None:
    live = folded(*OPENED)
    wish = intended(live, "buy", "100")
    live = folded(wish, submitted(wish.order.ref, "swap", 0, "0xb"), live=live)
    seen = Included(wish.order.ref, "swap", "0xb", 9, True, wish.spend, wish.min_received, GAS, GAS_USDT)
    entry = learn(live, seen, CONFIG, {"USDT": 18, "ETH": 18}, AT)[2]
    assert isinstance(entry, JournalEntry)
    assert entry.tags == ("buy", "ETH/USDT", "live")
    assert entry.data["shadow_bps"] > 0
    assert f"{entry.data['shadow_bps']:.1f} bps better; live was worse" in entry.text
    assert (entry.data["tx_hash"], entry.data["block"]) == ("0xb", 9)
    assert (entry.data["spent"], entry.data["received"]) == (wish.spend, wish.min_received)


# --- the way out


def test_two_tries_to_sell_out_have_two_names_though_neither_the_log_s_time_nor_the_chain_has_moved() -> None:
    live = folded(*OPENED)
    live = folded(*bought(live), live=live)
    first = way_out("ETH/USDT", live, _tick(Decimal(1900), Decimal(10**6)), "by hand", AT)
    assert (first.side, first.qty, first.size_usdt, first.phase) == ("sell", Decimal("0.05"), Decimal(95), "live")

    def again(live: Live) -> Order:
        return way_out("ETH/USDT", live, _tick(Decimal(1900), Decimal(10**6)), "by hand", AT)

    assert again(live) == first
    wish = intended(live, "sell", cause="the first try")
    assert again(folded(wish, live=live)).ref != first.ref
    no = Decided(AT, "ETH/USDT", "sell", "QUOTE_DIVERGENCE", "jrn", "live")
    assert again(folded(no, live=live)).ref != first.ref, "nor the entry on a try that came to nothing"
    assert again(folded(changed(no, phase="paper"), live=live)) == first
