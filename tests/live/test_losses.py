"""What the live book holds and the wallet has not is written off by a person: the book is the wallet's truth then, the
loss is shown, and no limit is the farther away for it."""

from __future__ import annotations

from decimal import Decimal
from functools import reduce
from typing import Any, Final

import pytest
from attrs import evolve as changed
from hypothesis import given
from hypothesis import strategies as st

from actors.executor import live as lives
from actors.executor.live import NATIVE, Live
from actors.executor.losses import lacking, written_off
from actors.risk_engine.moves import Demote
from protocol.errors import Refusal
from protocol.events import Demotion, Flattening, Frozen, JournalEntry, Row, StatusChange, Trade, WrittenOff
from protocol.money import ZERO, Units, booked, booked_down
from tests.live.lives import AT, E18, OPENED, bought, folded, in_state, kinds
from tests.live.test_promotions import PLACE, Risk

Wallet = dict[str, tuple[Units, Decimal]]
FROZEN: Final = Frozen(AT, "nobody can say what the kit did")
EMPTY: Final[Wallet] = {"ETH": (Units(0), ZERO)}


def holding(*pairs: str, cash: Any = 1000, size: Any = "99.75", qty: Any = "0.05") -> Live:
    """A live book that has bought these, and is frozen."""
    live = folded(*OPENED)
    live = changed(live, book=changed(live.book, cash=Decimal(cash)))
    for pair in pairs:
        token, amount = pair.partition("/")[0], Decimal(qty)
        trade = Trade(
            AT, pair, "buy", Decimal(size), booked(Decimal(size) / amount), None, ZERO, "live", "jrn", amount, pair
        )
        live = folded(trade, live=live)
        live = changed(live, units=live.units | {token: Units.of(amount, 18)})
    return folded(FROZEN, live=live)


def has(**tokens: Any) -> Wallet:
    return {
        token: ((units := Units.of(Decimal(str(amount)), 18)), units.amount(18)) for token, amount in tokens.items()
    }


def off(live: Live, wallet: Wallet) -> tuple[WrittenOff, ...]:
    found = written_off(live, wallet, AT)
    assert not isinstance(found, Refusal), found
    return found


def demoted(live: Live, wallet: Wallet, *, cash: Any = 1000) -> tuple[Risk, Live, tuple[Row, ...]]:
    """A person demotes the agent, and writes off: both sides after it, and the rows."""
    risk = Risk()
    risk.promote(live.book.equity)
    lost = off(live, wallet)
    rows = risk.act(Demote("the kit sold it elsewhere", wallet, lost), flat=reduce(lives.evolve, lost, live).flat)
    return risk, reduce(lives.evolve, rows, live), rows


def test_a_position_that_the_wallet_has_not_is_lost_at_its_last_close_and_the_journal_says_so() -> None:
    live = holding("ETH/USDT")
    (row,) = off(live, EMPTY)
    assert row == WrittenOff(
        AT, "ETH/USDT", "ETH", Decimal("0.05"), ZERO, Units(0), Decimal("99.75"), Decimal("900.25")
    )
    risk, after, rows = demoted(live, EMPTY)
    entry = rows[0]
    assert isinstance(entry, JournalEntry)
    assert (entry.type, entry.tags) == ("DEMOTION", ("written_off", "ETH/USDT"))
    for words in ("0.05 ETH of ETH/USDT", "99.75 USDT", "the wallet has 0 (the kit", "is worth 900.25 USDT by now"):
        assert words in entry.text
    assert (after.book.positions, after.book.equity, after.units["ETH"]) == ({}, Decimal("900.25"), 0)
    assert (after.flattening, after.frozen, after.flat) == (None, None, True)
    assert risk.live.equity == Decimal("900.25")


def test_a_part_of_it_stays_and_is_sold() -> None:
    live = holding("ETH/USDT")
    (row,) = off(live, has(ETH="0.02"))
    assert (row.left, row.units, row.loss) == (Decimal("0.02"), 2 * E18 // 100, Decimal("59.85"))
    _, after, _ = demoted(live, has(ETH="0.02"))
    held = after.book.positions["ETH/USDT"]
    assert (held.qty, held.cost) == (Decimal("0.02"), Decimal("39.9"))
    assert after.units["ETH"] == 2 * E18 // 100
    assert after.flattening is not None


def test_dust_is_no_position() -> None:
    (row,) = off(holding("ETH/USDT"), {"ETH": (Units(3), Units(3).amount(18))})
    assert (row.left, row.units, row.qty) == (ZERO, Units(0), Decimal("0.05"))


@pytest.mark.parametrize(
    ("live", "wallet", "rule"),
    [
        (in_state("swapping", "sell")[0], EMPTY, "ORDERS_OPEN"),
        (changed(holding("ETH/USDT"), frozen=None), EMPTY, "STILL_LIVE"),
        (holding("ETH/USDT"), has(ETH="0.05"), "NOTHING_LOST"),
        (holding("ETH/USDT"), has(ETH=7), "NOTHING_LOST"),
        (holding("ETH/USDT"), has(CAKE=0), "NOTHING_LOST"),  # it was not looked at
        (holding(), EMPTY, "NOTHING_LOST"),
    ],
)
def test_nothing_is_written_off_but_what_is_known_to_be_gone(live: Live, wallet: Wallet, rule: str) -> None:
    refused = written_off(live, wallet, AT)
    assert isinstance(refused, Refusal)
    assert refused.rule == rule


def test_a_loss_that_reaches_a_limit_is_a_breach_with_its_lock() -> None:
    risk, after, rows = demoted(holding("ETH/USDT", size=250), EMPTY)
    assert kinds(rows) == [
        "DEMOTION", "written_off", "RISK_BREACH", "DEMOTION", "STATUS_CHANGE", "demotion", "status_change",
        "flattening",
    ]  # fmt: skip
    assert [row.breach for row in rows if isinstance(row, Demotion)] == ["max"]
    assert (risk.state.status, after.status, after.flattening) == ("DEMOTED", "DEMOTED", None)


def test_a_smaller_one_ends_live_without_a_lock() -> None:
    risk, _, rows = demoted(holding("ETH/USDT", size=50), EMPTY)
    assert kinds(rows) == ["DEMOTION", "written_off", "STATUS_CHANGE", "status_change", "flattening"]
    assert (risk.state.status, risk.state.lock) == ("PAPER", None)


def test_out_of_live_it_moves_no_status_and_ends_what_cannot_be_sold() -> None:
    """After a demotion by hand: the sale of what is not there fails again and again."""
    live = folded(
        StatusChange(AT, "LIVE", "PAPER", "by hand"), Flattening(AT, "by hand"), live=holding("ETH/USDT", size=50)
    )
    risk = Risk()
    risk.promote(1000)
    risk.act(Demote("by hand"), flat=False)
    lost = off(live, EMPTY)
    rows = risk.act(Demote("it is gone", EMPTY, lost), flat=True)
    assert kinds(rows) == ["DEMOTION", "written_off", "flattening"]
    after = reduce(lives.evolve, rows, live)
    assert (after.flat, after.flattening, risk.state.status) == (True, None, "PAPER")
    with pytest.raises(AssertionError, match="NOT_LIVE"):
        risk.act(Demote("again"), flat=True)


amounts = st.decimals("0.000001", 1000, places=6)


@given(
    cash=st.decimals(0, 10_000, places=2), size=st.decimals("0.01", 10_000, places=2), qty=amounts,
    kept=st.dictionaries(st.sampled_from(["ETH", "CAKE"]), st.decimals(0, 1, places=3)),
    paid_in=st.decimals(1, 10**5, places=2),
)  # fmt: skip
def test_the_book_is_the_wallet_s_truth_then_and_no_limit_is_farther_away(
    cash: Decimal, size: Decimal, qty: Decimal, kept: dict[str, Decimal], paid_in: Decimal
) -> None:
    live = holding("CAKE/USDT", "ETH/USDT", cash=cash + 2 * size, size=size, qty=qty)
    wallet = has(**{token: qty * part for token, part in kept.items()})
    found = written_off(live, wallet, AT)
    if isinstance(found, Refusal):
        assert all(part == 1 for part in kept.values())
        return
    after = reduce(lives.evolve, found, live)
    assert after.book.equity == live.book.equity - sum(row.loss for row in found) == found[-1].equity
    assert all(row.loss >= 0 for row in found)
    for pair, held in after.book.positions.items():
        token = pair.partition("/")[0]
        units, amount = wallet.get(token, (live.units[token], qty))
        assert held.qty <= booked_down(amount)
        assert after.units[token] <= units
    assert all(
        (token in after.units and after.units[token] > 0) == (f"{token}/USDT" in after.book.positions)
        for token in wallet
    )
    looked_at = {token: units for token, (units, _) in wallet.items()}
    assert not [pair for pair in lacking(after, looked_at) if pair.partition("/")[0] in wallet]
    again = written_off(after, wallet, AT)
    assert isinstance(again, Refusal)
    assert again.rule == "NOTHING_LOST"

    # However much is paid in before the next promotion, what was lost stays lost.
    risk = Risk()
    risk.promote(live.book.equity)
    risk.act(Demote("first"), flat=False)
    risk.act(Demote("it is gone", wallet, found), flat=after.flat)
    assert risk.live.equity == after.book.equity
    lost = 1 - after.book.equity / live.book.equity
    assert abs(risk.live.drawdown - lost) < PLACE
    risk.promote(paid_in, before=after.book.equity)
    least = min(lost, Decimal("0.9999")) - 3 * PLACE / min(paid_in, live.book.equity)
    assert min(risk.live.drawdown, risk.live.daily_drawdown) >= least


def test_what_was_bought_before_is_known_by_its_exact_units() -> None:
    live = folded(FROZEN, live=folded(*bought(folded(*OPENED)), live=folded(*OPENED)))
    one_less = Units(live.units["ETH"] - 1)
    (row,) = off(live, {"ETH": (one_less, one_less.amount(18)), NATIVE: (Units(0), ZERO)})
    assert (row.units, row.qty, row.left) == (one_less, Decimal("1e-8"), Decimal("0.04999999"))
