"""An order's life is a table: what is learned in which state, and that nothing else ever is."""

from __future__ import annotations

from decimal import Decimal
from typing import Final, get_args

import pytest
from attrs import evolve as changed
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from actors.executor.live import NATIVE, Live
from actors.executor.order_life import (
    LEARNED,
    Denied,
    Included,
    KitDidNot,
    KitSent,
    Lapsed,
    Moved,
    Ready,
    Sighting,
    Signature,
    Unexplained,
    Usurped,
    learn,
)
from protocol.codec import decode_row, encode_row
from protocol.events import (
    EVENTS,
    Flattening,
    Frozen,
    GivenUp,
    Intended,
    JournalEntry,
    Leg,
    LiveOpened,
    Mined,
    Row,
    StatusChange,
    Submitted,
    Trade,
    TwakBlock,
)
from protocol.money import ZERO, Units
from protocol.orders import OrderState, Side
from tests.live.lives import (
    AT,
    CONFIG,
    DECIMALS,
    E18,
    GAS,
    GAS_USDT,
    GWEI,
    OPENED,
    folded,
    in_state,
    intended,
    kinds,
    sightings,
)

SIGNED, GIVEN_UP = ["SUBMITTED", "submitted"], ["FAILED", "given_up"]
DENIED, REVERTED = ["TWAK_BLOCK", "twak_block", "given_up"], ["mined", *GIVEN_UP]
# What is learned in each state; whatever is not here is nothing.
TABLE: Final[dict[str, dict[str, list[str]]]] = {
    "intended": {
        "an approval is signed": SIGNED,
        "the swap is signed": SIGNED,
        "the known approval is signed": SIGNED,  # known to nobody yet
        "the known swap is signed": SIGNED,
        "another nonce is signed": SIGNED,
        "it is denied": DENIED,
        "it lapsed": GIVEN_UP,
        "the price moved": GIVEN_UP,
        "all is frozen": GIVEN_UP,
        "a kit can have it": ["handed_over"],
    },
    "approving": {
        "an approval is signed": SIGNED,
        "the approval is mined": ["CONFIRMED", "mined"],
        "the approval reverted": REVERTED,
        "its nonce is usurped": [*GIVEN_UP, "frozen"],
    },
    "approved": {
        "the swap is signed": SIGNED,
        "the known swap is signed": SIGNED,
        "another nonce is signed": SIGNED,
        "it is denied": DENIED,
        "it lapsed": GIVEN_UP,
        "the price moved": GIVEN_UP,
        "all is frozen": GIVEN_UP,
    },
    "swapping": {
        "the swap is signed": SIGNED,
        "the swap is mined": ["CONFIRMED", "mined", "EXECUTED", "trade"],
        "the swap reverted": REVERTED,
        "its nonce is usurped": [*GIVEN_UP, "frozen"],
    },
    "handed": {
        "the kit has sent it": SIGNED,
        "the kit has not": GIVEN_UP,
        "the kit has only approved": GIVEN_UP,
        "nobody can say": [*GIVEN_UP, "frozen"],
        "its nonce is usurped": [*GIVEN_UP, "frozen"],
    },
    "sent by a kit": {
        "the swap is signed": SIGNED,
        "the swap is mined": ["CONFIRMED", "mined", "EXECUTED", "trade"],
        "the swap reverted": REVERTED,
        "the kit has not": GIVEN_UP,
        "the kit has only approved": GIVEN_UP,
        "nobody can say": [*GIVEN_UP, "frozen"],
        "its nonce is usurped": [*GIVEN_UP, "frozen"],
    },
}
RECEIVED: Final = 4985 * E18 // 100_000
CELLS: Final = [(state, name) for state in TABLE for name in sightings("", RECEIVED)]


def seen(live: Live, sighting: Sighting) -> tuple[Row, ...]:
    return learn(live, sighting, CONFIG, DECIMALS, AT)


def test_the_table_is_of_all_states_and_of_all_that_can_be_seen() -> None:
    assert set(TABLE) == {*get_args(OrderState), "sent by a kit"}
    assert {type(sighting) for sighting in sightings("", RECEIVED).values()} == set(get_args(Sighting)) == set(LEARNED)


@pytest.mark.parametrize(("state", "name"), CELLS)
def test_what_is_learned_in_a_state_and_nothing_else(state: str, name: str) -> None:
    live, ref = in_state(state)
    rows = seen(live, sightings(ref, RECEIVED)[name])
    assert kinds(rows) == TABLE[state].get(name, [])


@pytest.mark.parametrize(("state", "name"), CELLS)
def test_what_is_seen_twice_is_learned_once(state: str, name: str) -> None:
    live, ref = in_state(state)
    sighting = sightings(ref, RECEIVED)[name]
    assert seen(folded(*seen(live, sighting), live=live), sighting) == ()


@pytest.mark.parametrize("name", sightings("", RECEIVED))
def test_of_an_order_that_is_not_open_nothing_is_learned(name: str) -> None:
    live, ref = in_state("intended")
    over = folded(*seen(live, Lapsed(ref, 1_800_000_000)), live=live)
    assert seen(over, sightings(ref, RECEIVED)[name]) == ()
    assert seen(live, sightings("ord_another", RECEIVED)[name]) == ()


@pytest.mark.parametrize(("state", "name"), [(state, name) for state in TABLE for name in TABLE[state]])
def test_the_log_written_and_read_back_folds_to_the_same(state: str, name: str) -> None:
    live, ref = in_state(state)
    rows = seen(live, sightings(ref, RECEIVED)[name])
    back = [decode_row(encode_row(row, 1 if isinstance(row, EVENTS) else None)) for row in rows]
    assert folded(*back, live=live) == folded(*rows, live=live)


@pytest.mark.parametrize("side", get_args(Side))
def test_each_end_names_its_order_and_is_told_by_the_entry_that_it_refers_to(side: Side) -> None:
    for state, learned in TABLE.items():
        for name in learned:
            live, ref = in_state(state, side)
            sighting = sightings(ref, int(live.orders[ref].intended.min_received))[name]
            rows = seen(live, sighting)
            entries = {row.id: row for row in rows if isinstance(row, JournalEntry)}
            assert all(entry.data["order_ref"] == ref for entry in entries.values())
            for row in rows:
                match row:
                    case GivenUp():
                        assert (row.order_ref, row.pair) == (ref, "ETH/USDT")
                        assert entries[row.entry].type in ("FAILED", "TWAK_BLOCK")
                        assert row.code in entries[row.entry].tags
                    case TwakBlock() | Trade():
                        assert row.order_ref == ref
                        assert row.journal_ref in entries


def test_a_refusal_is_told_with_rule_measured_value_and_limit() -> None:
    live, ref = in_state("intended")
    entry, block, end = seen(live, sightings(ref, RECEIVED)["it is denied"])
    assert isinstance(entry, JournalEntry)
    assert (entry.data["rule"], entry.data["measured"], entry.data["limit"]) == ("daily_cap", "1100 USDT", "1000 USDT")
    assert "over its cap" in entry.text
    assert isinstance(block, TwakBlock)
    assert (block.rule, block.reason, block.size) == ("daily_cap", "The day is over its cap.", Decimal(100))
    assert isinstance(end, GivenUp)
    assert end.code == "daily_cap"


def test_a_usurped_nonce_freezes_until_a_person_demotes_or_promotes() -> None:
    live, ref = in_state("swapping")
    live = folded(*seen(live, Usurped(ref, 1)), live=live)
    assert live.frozen is not None
    assert "nonce 1" in live.frozen
    assert folded(Flattening(AT, "a person demoted the agent"), live=live).frozen is None
    assert folded(*OPENED, live=live).frozen is None


def test_what_was_frozen_since_it_was_looked_at_is_handed_to_no_kit() -> None:
    live, ref = in_state("intended")
    live = folded(Frozen(AT, "a person must look"), live=live)
    entry, end = seen(live, sightings(ref, RECEIVED)["a kit can have it"])
    assert isinstance(entry, JournalEntry)
    assert "a person must look" in entry.text
    assert isinstance(end, GivenUp)
    assert end.code == "frozen"


@pytest.mark.parametrize("name", ["the kit has only approved", "nobody can say", "its nonce is usurped"])
def test_coins_that_others_than_our_transactions_have_spent_are_counted_again_and_told(name: str) -> None:
    live, ref = in_state("handed")
    rows = seen(live, sightings(ref, RECEIVED)[name])
    assert folded(*rows, live=live).units == live.units | {NATIVE: Units(E18 - 7)}
    assert folded(*rows, live=live).book.cash == live.book.cash
    entry = rows[0]
    assert isinstance(entry, JournalEntry)
    assert (" BNB less than our own transactions" in entry.text) == (name != "nobody can say")


def test_what_nobody_can_say_is_told_with_what_the_wallet_had_and_has_and_freezes() -> None:
    live, ref = in_state("handed")
    rows = seen(live, sightings(ref, RECEIVED)["nobody can say"])
    entry, live = rows[0], folded(*rows, live=live)
    assert isinstance(entry, JournalEntry)
    assert "It has 0.000000000000000005 USDT and 0 ETH, before it had 1000 USDT and 0 ETH" in entry.text
    assert "2 of its transactions were mined since, and 0 of them swapped" in entry.text
    assert live.frozen is not None
    assert "a person must look at the wallet" in live.frozen
    assert not live.orders


def test_what_is_to_be_sold_is_until_nothing_is_left_and_no_order_is_open() -> None:
    live, ref = in_state("swapping", "sell")
    live = folded(Flattening(AT, "daily_drawdown was breached"), live=live)
    assert live.flattening == "daily_drawdown was breached"
    failed = folded(*seen(live, sightings(ref, 0)["the swap reverted"]), live=live)
    assert failed.flattening is not None
    least = int(live.orders[ref].intended.min_received)
    sold = folded(*seen(live, sightings(ref, least)["the swap is mined"]), live=live)
    assert sold.flat
    assert sold.flattening is None
    assert folded(Flattening(AT, "by hand"), live=sold).flattening is None
    assert folded(Flattening(AT, "by hand"), Frozen(AT, "killed"), live=live).flattening is None


# --- any sightings in any order


class Model:
    """What must be so, kept without the product: an order is what was signed for it and what of that was mined."""

    def __init__(self) -> None:
        self.units = {"USDT": 1000 * E18, NATIVE: E18}
        self.open: dict[str, Intended] = {}
        self.ended: dict[str, str] = {}
        self.nonces: dict[tuple[str, Leg], set[int]] = {}


class Orders(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.live = folded(*OPENED)
        self.rows: list[Row] = list(OPENED)
        self.model = Model()
        self.count = 0

    def tell(self, *rows: Row) -> None:
        self.rows += rows
        self.live = folded(*rows, live=self.live)

    def see(self, sighting: Sighting) -> tuple[Row, ...]:
        rows = seen(self.live, sighting)
        self.tell(*rows)
        assert seen(self.live, sighting) == (), "what is seen twice is learned once"
        for row in rows:
            self.follow(row)
        return rows

    def follow(self, row: Row) -> None:
        model = self.model
        match row:
            case Submitted():
                assert row.order_ref in model.open
                model.nonces.setdefault((row.order_ref, row.leg), set()).add(row.nonce)
            case Mined():
                wish = model.open[row.order_ref]
                model.units[NATIVE] -= row.gas_units
                if row.leg == "swap" and row.success:
                    model.units[wish.from_token] -= row.spent
                    model.units[wish.to_token] = model.units.get(wish.to_token, 0) + row.received
                else:
                    assert row.spent == row.received == 0
            case GivenUp() | Trade():
                assert row.order_ref not in model.ended, "an order ends once"
                del model.open[row.order_ref]
                model.ended[row.order_ref] = row.kind

    @rule(pair=st.sampled_from(["ETH/USDT", "CAKE/USDT"]), size=st.integers(10, 200))
    def wish(self, pair: str, size: int) -> None:
        book = self.live.book
        side: Side = "sell" if pair in book.positions else "buy"
        if pair in book.placed or (side == "buy" and book.free < size):
            return
        self.count += 1
        row = intended(self.live, side, str(size), pair=pair, cause=str(self.count))
        self.tell(row)
        self.model.open[row.order.ref] = row

    def one(self, data: st.DataObject) -> str:
        """An order, open or over."""
        return data.draw(st.sampled_from(sorted([*self.model.open, *self.model.ended])))

    @precondition(lambda self: self.count)
    @rule(data=st.data(), leg=st.sampled_from(get_args(Leg)), nonce=st.integers(0, 2), number=st.integers(0, 30))
    def signature(self, data: st.DataObject, leg: Leg, nonce: int, number: int) -> None:
        ref = self.one(data)
        before = self.live.orders.get(ref)
        rows = self.see(Signature(ref, leg, nonce, f"{ref} {leg} {number}", "0x00", (number + 1) * GWEI))
        if rows and before is not None and before.signed:
            assert nonce == before.signed[-1].nonce, "a replacement keeps the nonce"
            assert leg == before.signed[-1].leg

    @precondition(lambda self: self.count)
    @rule(data=st.data(), leg=st.sampled_from(get_args(Leg)), number=st.integers(0, 30), succeeded=st.booleans())
    def included(self, data: st.DataObject, leg: Leg, number: int, succeeded: bool) -> None:
        ref = self.one(data)
        order = self.live.orders.get(ref)
        known = [one.hash for one in order.signed] if order is not None else []
        hash = data.draw(st.sampled_from([*known, f"{ref} {leg} {number}"]))
        if order is not None and hash in known:
            leg = order.signed[-1].leg
        moved = succeeded and leg == "swap"
        wish = self.model.open.get(ref)
        spent, received = (wish.spend, wish.min_received + number) if moved and wish is not None else (0, 0)
        rows = self.see(Included(ref, leg, hash, 9, succeeded, spent, received, GAS, GAS_USDT))
        assert bool(rows) == (order is not None and hash in known), "only what was submitted is ever mined"

    @precondition(lambda self: self.count)
    @rule(
        data=st.data(),
        what=st.sampled_from(["denied", "lapsed", "moved", "usurped", "not sent", "only approved", "unexplained"]),
    )
    def over(self, data: st.DataObject, what: str) -> None:
        ref = self.one(data)
        order = self.live.orders.get(ref)
        unsigned = order is not None and not order.signed and order.state in ("intended", "approved")
        at_the_chain = order is not None and (bool(order.signed) or order.state == "handed")
        at_a_kit = order is not None and order.handed is not None
        units = {"USDT": Units(5), "ETH": Units(0), "CAKE": Units(0), NATIVE: Units(self.model.units[NATIVE] - 7)}
        ways: dict[str, tuple[Sighting, bool]] = {
            "denied": (Denied(ref, "daily_cap", "It is over the cap."), unsigned),
            "lapsed": (Lapsed(ref, 1_800_000_000), unsigned),
            "moved": (Moved(ref, 1), unsigned),
            "usurped": (Usurped(ref, 1, units[NATIVE]), at_the_chain),
            "not sent": (KitDidNot(ref, "it found no route"), at_a_kit),
            "only approved": (KitDidNot(ref, "it gave nothing", units[NATIVE]), at_a_kit),
            "unexplained": (Unexplained(ref, 2, 0, units), at_a_kit),
        }
        sighting, ends = ways[what]
        if self.see(sighting) and what in ("usurped", "only approved", "unexplained"):
            self.model.units[NATIVE] = units[NATIVE]
        assert (ref in self.model.ended) == (ends or order is None)

    @precondition(lambda self: self.count)
    @rule(data=st.data())
    def handed(self, data: st.DataObject) -> None:
        self.see(Ready(self.one(data), 0, {"ETH": Units(0), "CAKE": Units(0), **self.live.units}, 90))

    @precondition(lambda self: self.count)
    @rule(data=st.data())
    def sent_by_the_kit(self, data: st.DataObject) -> None:
        ref = self.one(data)
        self.see(KitSent(ref, 0, f"{ref} kit"))

    @rule()
    def flattened(self) -> None:
        self.tell(Flattening(AT, "by hand"))

    @rule()
    def killed(self) -> None:
        self.tell(StatusChange(AT, "LIVE", "PAPER", "killed"), Frozen(AT, "killed"))

    @invariant()
    def open_orders_are_those_that_have_not_ended(self) -> None:
        assert set(self.live.orders) == set(self.model.open)
        assert {placed.order.ref for placed in self.live.book.placed.values()} == set(self.model.open)

    @invariant()
    def the_wallet_is_known_to_the_wei(self) -> None:
        assert {k: int(v) for k, v in self.live.units.items() if v} == {k: v for k, v in self.model.units.items() if v}

    @invariant()
    def a_leg_has_one_nonce(self) -> None:
        assert all(len(nonces) == 1 for nonces in self.model.nonces.values())

    @invariant()
    def what_ends_was_submitted_before_or_never(self) -> None:
        """SUBMITTED comes before CONFIRMED and FAILED; no entry is told twice."""
        told: dict[str, list[str]] = {}
        for row in self.rows:
            if isinstance(row, JournalEntry):
                told.setdefault(row.data["order_ref"], []).append(row.type)
        for types in told.values():
            for place, kind in enumerate(types):
                if kind in ("CONFIRMED", "EXECUTED"):
                    assert "SUBMITTED" in types[:place]
                if kind in ("EXECUTED", "FAILED", "TWAK_BLOCK"):
                    assert place == len(types) - 1
        ids = [row.id for row in self.rows if isinstance(row, JournalEntry)]
        assert len(set(ids)) == len(ids)

    @invariant()
    def the_book_is_the_wallet_less_the_gas(self) -> None:
        """What the ledger books in USDT beside the coin that gas is paid in."""
        gas = sum((row.gas for row in self.rows if isinstance(row, Mined) and self._booked(row)), ZERO)
        off = self.live.book.cash + gas - Units(self.model.units["USDT"]).amount(18)
        assert abs(off) <= Decimal("1e-8") * self.count
        for pair, held in self.live.book.positions.items():
            dust = Units(self.model.units[pair.removesuffix("/USDT")]).amount(18) - held.qty
            assert 0 <= dust < Decimal("1e-8") * self.count

    def _booked(self, row: Mined) -> bool:
        """Gas is booked with the order's end."""
        return row.order_ref in self.model.ended


TestOrders = Orders.TestCase
TestOrders.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def test_gas_of_what_brought_nothing_is_booked_and_moves_nothing_else() -> None:
    """That of the approval before, too."""
    for state, name in (("approving", "the approval reverted"), ("swapping", "the swap reverted")):
        live, ref = in_state(state)
        after = folded(*seen(live, sightings(ref, RECEIVED)[name]), live=live)
        assert after.units == {**live.units, NATIVE: live.units[NATIVE] - GAS, "ETH": 0}
        assert after.book.cash == live.book.cash - GAS_USDT * (1 if state == "approving" else 2)


def test_opening_anew_takes_the_wallet_for_what_it_is() -> None:
    live = folded(*OPENED)
    anew = LiveOpened(AT, Decimal(70), Decimal(70), Decimal(1000), {"USDT": Units(70 * E18)})
    opened = folded(anew, live=changed(live, frozen="killed"))
    assert (opened.book.cash, opened.units, opened.frozen) == (Decimal(70), {"USDT": 70 * E18}, None)
