"""The truth of a live world finds nothing wrong with a good story, and each thing that can be wrong with a bad one."""

from __future__ import annotations

import json
from typing import Any, Final

import pytest
from attrs import define, evolve, field

from protocol.signing import Anchor, Signed, SignTransaction, Transaction
from tests.simulation.live.plan import draw
from tests.simulation.live.world import LiveWorld
from tests.world import chain as chains
from tests.world.chain import UNIT

REF: Final = "ord_1"
APPROVAL_DATA: Final = chains.APPROVE.hex() + chains.ROUTER[2:].rjust(64, "0") + f"{100 * UNIT:064x}"
FAR: Final = 2**40


def swap_data(least: int = 1, deadline: int = FAR) -> str:
    words = (100 * UNIT, least, 160, int(chains.WALLET, 16), deadline, 2, int(chains.USDT, 16), int(chains.ETH, 16))
    return chains.SWAP_EXACTLY.hex() + "".join(f"{word:064x}" for word in words)


@define
class Story:
    """An order of 100 USDT for ETH, as guard, chain and log have it: each step can be told otherwise than it was."""

    world: LiveWorld = field(factory=lambda: LiveWorld(evolve(draw(0), way="local")))
    rows: int = 0

    def tell(self, kind: str, entry_type: str | None = None, **body: Any) -> None:
        self.rows += 1
        self.world.truth.read([(self.rows, None, 0, kind, entry_type, json.dumps(body), b"")])

    def promote(self) -> None:
        self.tell("live_opened", units={"USDT": str(1000 * UNIT), "gas": str(UNIT)})
        self.tell("promotion", tx_hash=None)

    def intend(self, ref: str = REF, *, least: int = 1, deadline: int = FAR) -> None:
        self.tell(
            "intended", order={"ref": ref}, purpose="entry", from_token="USDT", to_token="ETH",
            min_received=str(least), deadline=deadline,
        )  # fmt: skip

    def sign(self, intent: str, data: str, nonce: int, *, price: int = 10**9) -> Signed:
        to = chains.USDT if data == APPROVAL_DATA else chains.ROUTER
        tx = Transaction(56, nonce, to, 0, "0x" + data, 400_000, price)
        one = chains.signed(tx, chains.WALLET)
        self.world.guard.granted.setdefault(intent, []).append((tx, one))
        return one

    def submit(self, one: Signed, leg: str, nonce: int, ref: str = REF) -> None:
        self.tell("submitted", order_ref=ref, leg=leg, nonce=nonce, hash=one.hash, gas_price=str(10**9))

    def mine(self, one: Signed) -> None:
        self.world.chain.waiting[one.hash] = chains.read(bytes.fromhex(one.raw[2:]))
        self.world.chain.mine()

    def learn(self, one: Signed, leg: str, ref: str = REF, **otherwise: Any) -> None:
        receipt = next(receipt for tx, receipt in self.world.chain.mined() if tx.hash == one.hash)
        out = [log for log in receipt.logs if log.address == chains.ETH]
        brought = int.from_bytes(out[0].data) if out else 0
        told = {
            "hash": one.hash, "leg": leg, "success": receipt.succeeded, "block": receipt.block,
            "spent": str(100 * UNIT if brought else 0), "received": str(brought),
            "gas_units": str(receipt.gas_used * receipt.gas_price), **otherwise,
        }  # fmt: skip
        self.tell("mined", order_ref=ref, **told)

    def approve(self) -> None:
        one = self.sign(f"{REF}.approval", APPROVAL_DATA, 0)
        self.submit(one, "approval", 0)
        self.mine(one)
        self.learn(one, "approval")

    def swap(self, **given: int) -> Signed:
        one = self.sign(REF, swap_data(**given), 1)
        self.submit(one, "swap", 1)
        self.mine(one)
        self.learn(one, "swap")
        return one

    def end(self) -> None:
        self.tell("trade", phase="live", side="buy", pair="ETH/USDT", order_ref=REF)

    @property
    def found(self) -> set[str]:
        self.world.chain.took = lambda tx: None
        self.world.truth.close()
        return {violation.statement for violation in self.world.violations}


@pytest.fixture
def story() -> Story:
    story = Story()
    story.world.chain.took = lambda tx: None  # the disk of this world is empty
    story.promote()
    story.intend()
    story.approve()
    return story


def test_a_story_that_all_three_tell_alike_is_true(story: Story) -> None:
    story.swap()
    story.end()
    assert story.found == set()


def test_two_swaps_for_one_order_are_seen(story: Story) -> None:
    story.swap()
    again = story.sign("another name", swap_data(least=2), 2)
    story.submit(again, "swap", 2)
    story.mine(again)
    story.learn(again, "swap")
    story.end()
    assert "25" in story.found


def test_a_transaction_that_the_log_does_not_know_is_seen(story: Story) -> None:
    story.mine(story.sign("another name", swap_data(), 1))
    assert "26" in story.found


def test_what_is_sent_before_the_log_knows_it_is_seen(story: Story) -> None:
    story.world.truth.sending(bytes.fromhex(story.sign(REF, swap_data(), 1).raw[2:]))
    assert [violation.statement for violation in story.world.violations] == ["26"]


@pytest.mark.parametrize(("second", "fits"), [(1_050_000_000, False), (1_100_000_000, True)])
def test_a_replacement_pays_ten_percent_more(story: Story, second: int, fits: bool) -> None:
    story.sign("an intent", swap_data(), 5)
    story.sign("an intent", swap_data(), 5, price=second)
    assert ("27" in story.found) is not fits


def test_a_nonce_that_was_signed_for_twice_is_seen(story: Story) -> None:
    story.sign("an intent", swap_data(), 5)
    story.sign("another intent", swap_data(), 5)
    assert "27" in story.found


def test_what_was_given_up_is_neither_mined_nor_can_it_be(story: Story) -> None:
    story.sign(REF, swap_data(), 1)
    story.tell("given_up", order_ref=REF, code="lapsed")
    assert "28" in story.found


def test_what_was_given_up_and_is_mined_is_seen(story: Story) -> None:
    story.mine(story.sign(REF, swap_data(), 1))
    story.tell("given_up", order_ref=REF, code="lapsed")
    assert "28" in story.found


@pytest.mark.parametrize("name", ["spent", "received", "gas_units"])
def test_a_ledger_that_is_one_base_unit_off_is_seen(story: Story, name: str) -> None:
    one = story.sign(REF, swap_data(), 1)
    story.submit(one, "swap", 1)
    story.mine(one)
    story.learn(one, "swap", **{name: str(100 * UNIT - 1)})
    story.end()
    assert "29" in story.found


def test_a_receipt_of_a_block_that_is_gone_is_seen(story: Story) -> None:
    story.swap()
    story.end()
    story.world.chain.reorganise(1, again=False)
    assert "31" in story.found


def usurp(story: Story) -> None:
    one = story.sign(REF, swap_data(), 1)
    story.submit(one, "swap", 1)
    story.world.usurp()


def test_a_nonce_that_somebody_else_took_ends_the_order_as_usurped(story: Story) -> None:
    usurp(story)
    story.tell("given_up", order_ref=REF, code="usurped")
    assert story.found == set()


def test_an_order_that_ends_otherwise_when_its_nonce_is_usurped_is_seen(story: Story) -> None:
    usurp(story)
    story.tell("given_up", order_ref=REF, code="lapsed")
    assert "32" in story.found


def test_an_order_that_nobody_has_usurped_is_seen(story: Story) -> None:
    story.tell("given_up", order_ref=REF, code="usurped")
    assert "32" in story.found


def signed_by_a_kit(story: Story, data: str, nonce: int) -> Signed:
    """A kit has the order, and has signed a swap for it by itself."""
    story.tell("handed_over", order_ref=REF)
    one = story.sign("the kit's own", data, nonce)
    story.world.guard.granted.clear()
    story.world.guard.kits[REF] = one.hash
    return one


def handed_to_a_kit(data: str) -> tuple[Story, Signed]:
    """The same from the beginning, where nothing stands in the way of the swap."""
    story = Story()
    story.world.chain.took = lambda tx: None
    story.world.chain.accounts.allowed[chains.USDT, chains.WALLET, chains.ROUTER] = 10**30
    story.promote()
    story.intend()
    return story, signed_by_a_kit(story, data, 0)


def hand_over(story: Story, *, waits: bool) -> None:
    """A kit has the swap of an order, and its nonce is usurped while it waits in the pool, or long after it did."""
    one = signed_by_a_kit(story, swap_data(), 1)
    story.submit(one, "swap", 1)
    if waits:
        story.world.chain.waiting[one.hash] = chains.read(bytes.fromhex(one.raw[2:]))
    story.world.usurp()


@pytest.mark.parametrize("waits", [False, True])
def test_what_a_kit_sent_is_usurped_if_it_waited_and_may_count_as_not_sent_if_no_pool_knew_it(waits: bool) -> None:
    story = Story()
    story.world.chain.took = lambda tx: None
    story.promote()
    story.intend()
    story.world.chain.usurp(gas_price=0, value=0)  # a nonce of another day
    story.world.truth.foreign[story.world.chain.mined()[0][0].hash] = 0
    hand_over(story, waits=waits)
    story.tell("given_up", order_ref=REF, code="not_sent")
    assert story.found == ({"32"} if waits else set())


@pytest.mark.parametrize(("code", "seen"), [("unexplained", set()), ("not_sent", {"28", "29"})])
def test_of_what_nobody_could_explain_the_log_need_not_know_the_end(code: str, seen: set[str]) -> None:
    """The book that a person opens then has none of its tokens, and whatever it had been paid with is gone."""
    story, one = handed_to_a_kit(swap_data())
    story.submit(one, "swap", 0)
    story.tell("given_up", order_ref=REF, code=code, coins=None)
    story.mine(one)
    left = UNIT - story.world.chain.mined()[0][1].gas_used * 10**9
    story.tell("live_opened", units={"USDT": str(900 * UNIT), "gas": str(left), "ETH": "0"})
    assert story.found == seen


@pytest.mark.parametrize(("least", "seen"), [(1, {"26", "28"}), (10**30, set())])
def test_a_swap_that_no_kit_named_was_none_if_it_reverted(least: int, seen: set[str]) -> None:
    story, one = handed_to_a_kit(swap_data(least))
    story.mine(one)
    story.tell("given_up", order_ref=REF, code="not_sent", coins=str(story.world.chain.accounts.coins[chains.WALLET]))
    assert story.found - {"29"} == seen


@pytest.mark.parametrize(("reason", "seen"), [("a person must look", True), ("the signer was revoked at 5", False)])
def test_nothing_is_signed_once_all_is_frozen(reason: str, seen: bool) -> None:
    """After a kill it is the guard that says no."""
    story = Story()
    story.promote()
    story.intend()
    story.tell("frozen", reason=reason)
    tx = Transaction(56, 0, chains.ROUTER, 0, "0x" + swap_data(), 400_000, 10**9)
    story.world.truth.asking(SignTransaction(REF, tx, Anchor("log", 1, "0" * 64)))
    assert ("32" in {violation.statement for violation in story.world.violations}) is seen


@pytest.mark.parametrize("bound", [{"least": 10**30}, {"deadline": 1}])
def test_a_swap_below_its_bound_or_after_its_deadline_is_seen(bound: dict[str, int]) -> None:
    story = Story()
    story.world.chain.took = lambda tx: None
    story.promote()
    story.intend(least=bound.get("least", 1), deadline=bound.get("deadline", FAR))
    story.approve()
    story.swap()
    story.end()
    assert "33" in story.found


def test_a_kill_that_the_journal_does_not_tell_is_seen(story: Story) -> None:
    story.world.guard.last_kill = "2026-01-01T00:00:00.000Z"
    assert "43" in story.found
