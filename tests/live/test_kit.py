"""Live trading by a kit that quotes, signs and sends by itself, on a real EVM and by the public surface: however a run
of it ends, there is at most one swap for an intent, the journal knows it, and what the wallet has is what the ledger
says. A kit that does more than it was told is found out, and nothing is begun any more."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from protocol.signing import NotSent, Sent, Unknown, Verdict
from tests.evm.market import Market
from tests.guard.houses import WALLET, command
from tests.guard.test_twak import alive
from tests.hostile.oracle import decree_allowance
from tests.live.kit import KitStage
from tests.live.stage import wire
from tests.world.daemon import DaemonProcess

BUY, SELL = 1900, 2000  # each is below, or above, the average of three candles in turns of these


@pytest.fixture
def stage(market: Market, tmp_path: Path, start_daemon: Callable[..., DaemonProcess]) -> Iterator[KitStage]:
    stage = KitStage(market, tmp_path, start_daemon)
    yield stage
    if hasattr(stage, "guard"):
        stage.guard.stop()
        assert not (mistake := stage.home / "mistake").exists(), mistake.read_text()


def live(stage: KitStage) -> None:
    """Everything stands, and a person has promoted the agent."""
    stage.set()
    promoted = stage.post("promote", {"confirm": "go live", "force": True})
    assert promoted.status_code == 200, promoted.text
    (entry,) = stage.journal("PROMOTION")
    assert "The kit signs and sends by itself" in entry["text"]


def decides(stage: KitStage, price: int, mode: str) -> str:
    """A candle at which it trades; the verdict is there, and the order's ref is told. Blocks come only with
    transactions."""
    stage.kit(mode)
    known = set(stage.books().attempts)
    stage.step(price)
    stage.until(lambda: [ref for ref in new(stage, known) if stage.books().attempts[ref].verdict is not None])
    (ref,) = new(stage, known)
    return ref


def new(stage: KitStage, known: set[str]) -> set[str]:
    return set(stage.books().attempts) - known


def verdict(stage: KitStage, ref: str) -> Verdict:
    found = stage.books().attempts[ref].verdict
    assert found is not None
    return found


def unknown(stage: KitStage, ref: str) -> str | None:
    """The kit's word settles nothing; the hash, if it has named one."""
    found = verdict(stage, ref)
    assert isinstance(found, Unknown), found
    return found.hash


def settles(stage: KitStage) -> None:
    """Blocks come until no order is on its way."""
    stage.until(lambda: not stage.agent()["live"]["orders"], mining=True)


def trades(stage: KitStage) -> list[dict[str, Any]]:
    return [trade for trade in stage.events("trade") if trade["phase"] == "live"]


def in_doubt(stage: KitStage) -> bool:
    return [order["state"] for order in stage.agent()["live"]["orders"]] == ["handed"]


def has_traded(stage: KitStage, ref: str, hash: str) -> None:
    """The order is that one swap, and nothing else."""
    settles(stage)
    assert [(trade["order_ref"], trade["tx_hash"]) for trade in trades(stage)[-1:]] == [(ref, hash)]
    assert [row["hash"] for row in stage.facts("submitted", order_ref=ref)] == [hash]


def has_failed(stage: KitStage, ref: str, code: str) -> dict[str, Any]:
    """The order is given up, and the journal says why."""
    (entry,) = [entry for entry in stage.journal("FAILED") if entry["data"]["order_ref"] == ref]
    assert entry["data"]["code"] == code
    assert not [trade for trade in trades(stage) if trade["order_ref"] == ref]
    return entry


def all_agree(stage: KitStage, begun_with: dict[str, int]) -> None:
    """The kit, the chain, the log and the guard's ledger tell one story."""
    receipts = {hash: stage.market.chain.receipt(hash) for hash in stage.swaps()}
    sent = [hash for hash, receipt in receipts.items() if receipt is not None and receipt["status"] == "0x1"]
    assert [trade["tx_hash"] for trade in trades(stage)] == sent
    assert len(stage.runs()) == len(stage.books().attempts), "no intent was tried twice"
    spent = dict.fromkeys(("USDT", "ETH"), 0)
    sides = {row["order"]["ref"]: row["order"]["side"] for row in stage.facts("intended")}
    for row in stage.facts("mined", leg="swap"):
        gives, gets = ("USDT", "ETH") if sides[row["order_ref"]] == "buy" else ("ETH", "USDT")
        spent[gives] += int(row["spent"])
        spent[gets] -= int(row["received"])
    now = stage.market.balances(WALLET)
    assert {token: now[token] for token in spent} == {token: begun_with[token] - spent[token] for token in spent}
    assert stage.books().kill is None
    assert stage.agent()["live"]["frozen"] is None


def test_whatever_a_kit_says_an_intent_is_swapped_once_or_not_at_all(stage: KitStage) -> None:
    live(stage)
    begun_with = stage.market.balances(WALLET)

    # It does as documented, and it says so to people first.
    ref = decides(stage, BUY, "honest")
    assert verdict(stage, ref) == Sent(stage.swaps()[-1])
    has_traded(stage, ref, stage.swaps()[-1])
    ref = decides(stage, SELL, "human line first")
    assert verdict(stage, ref) == Sent(stage.swaps()[-1])
    has_traded(stage, ref, stage.swaps()[-1])
    assert stage.market.balance(WALLET, "ETH") == 0

    # It says that it sends nothing: that ends the order.
    ref = decides(stage, BUY, "no route")
    settles(stage)
    assert isinstance(verdict(stage, ref), NotSent)
    assert "NO_ROUTES" in has_failed(stage, ref, "not_sent")["text"]
    stage.step(SELL)

    # Nobody knows, and nothing was sent: in doubt until it can be sent no more.
    for mode in ("dies before", "HTML before", "approval sent, swap failed"):
        if mode.startswith("approval"):
            decree_allowance(stage.market, WALLET, "USDT", 0)
        before = len(stage.swaps())
        ref = decides(stage, BUY, mode)
        assert unknown(stage, ref) is None
        assert in_doubt(stage)
        stage.step(SELL)
        settles(stage)
        has_failed(stage, ref, "not_sent")
        assert len(stage.swaps()) == before

    # Nobody knows, and it was sent: found on the chain, and not sent again.
    for price, mode in ((BUY, "dies after"), (SELL, "HTML after")):
        ref = decides(stage, price, mode)
        assert unknown(stage, ref) is None
        has_traded(stage, ref, stage.swaps()[-1])

    # It waits for its receipt no longer, and the block comes much later.
    ref = decides(stage, BUY, "receipt time-out")
    assert unknown(stage, ref) is None
    assert in_doubt(stage)
    stage.market.chain.mine_by_itself(True)
    has_traded(stage, ref, stage.swaps()[-1])
    has_traded(stage, decides(stage, SELL, "honest"), stage.swaps()[-1])

    # It is reverted, and the kit says with which hash.
    ref = decides(stage, BUY, "swap reverts")
    assert unknown(stage, ref) == stage.swaps()[-1]
    settles(stage)
    has_failed(stage, ref, "reverted")

    all_agree(stage, begun_with)


@pytest.mark.parametrize("mode", ["hangs before", "hangs after"])
def test_a_kit_that_hangs_is_ended_and_what_it_did_is_seen_on_the_chain(stage: KitStage, mode: str) -> None:
    stage.execute_seconds = 20.0
    live(stage)
    begun_with = stage.market.balances(WALLET)
    ref = decides(stage, BUY, mode)
    assert unknown(stage, ref) is None
    if mode == "hangs after":
        has_traded(stage, ref, stage.swaps()[-1])
    else:
        stage.step(SELL)
        settles(stage)
        has_failed(stage, ref, "not_sent")
        assert stage.swaps() == []
    all_agree(stage, begun_with)


@pytest.mark.parametrize("mode", ["hangs before", "hangs after"])
@pytest.mark.parametrize("who", ["daemon", "guard"])
def test_whoever_dies_while_the_kit_is_at_work_it_is_not_asked_again(stage: KitStage, who: str, mode: str) -> None:
    stage.execute_seconds = 20.0
    live(stage)
    begun_with = stage.market.balances(WALLET)
    stage.kit(mode)
    stage.step(BUY)
    stage.until((stage.home / "hangs").exists)
    (ref,) = stage.books().attempts
    if who == "daemon":
        stage.daemon.kill()
        stage.run_daemon()
    else:
        stage.guard.stop(signal.SIGKILL)
        stage.until(lambda: not alive(stage.home / "hangs"))  # it dies with the guard
        stage.run_guard()
    if mode == "hangs after":
        has_traded(stage, ref, stage.swaps()[-1])
    else:
        stage.step(SELL)
        settles(stage)
        has_failed(stage, ref, "not_sent")
        assert stage.swaps() == []
    all_agree(stage, begun_with)


def is_fooled(stage: KitStage, mode: str) -> None:
    """The kit does this with the first order, of 200 USDT."""
    stage.position_pct = 20
    live(stage)
    stage.kit(mode)
    stage.step(BUY)


def killed(stage: KitStage) -> str:
    """It was found out: the signer is revoked, the agent live no more; what the journal says of it."""
    stage.until(lambda: stage.agent()["status"] == "PAPER")
    (entry,) = stage.journal("KILL")
    kill = stage.books().kill
    assert kill is not None
    assert entry["data"] == {"killed_at": wire(kill.at), "reason": kill.reason}
    assert kill.reason in entry["text"]
    settles(stage)
    assert stage.agent()["live"]["frozen"]
    return kill.reason


def nothing_more_is_begun(stage: KitStage) -> None:
    nonce, runs = stage.market.chain.nonce(WALLET), len(stage.runs())
    stage.kit("honest")
    for price in (SELL, BUY, SELL):
        stage.step(price)
    refused = stage.post("promote", {"confirm": "go live", "force": True})
    assert (refused.status_code, refused.json()["code"]) == (409, "SIGNER_REVOKED")
    assert (stage.market.chain.nonce(WALLET), len(stage.runs())) == (nonce, runs)


def test_a_kit_that_spends_three_times_as_much_at_once_is_found_out(stage: KitStage) -> None:
    is_fooled(stage, "spends three times as much")
    reason = killed(stage)
    (ref,) = stage.books().attempts
    assert reason == f"the kit was to spend 200 USDT for {ref}, and there are 400 USDT too few"
    (swap,) = stage.swaps()
    has_traded(stage, ref, swap)
    (mined,) = stage.facts("mined")
    assert int(mined["spent"]) == 600 * 10**18, "the ledger has what was spent, not what was meant"
    assert stage.market.balance(WALLET, "USDT") == 400 * 10**18
    nothing_more_is_begun(stage)


def test_a_kit_that_swaps_three_times_for_one_intent_is_found_out(stage: KitStage) -> None:
    is_fooled(stage, "swaps three times")
    stage.until(lambda: [one for one in stage.books().attempts.values() if one.verdict])
    (ref,) = stage.books().attempts
    assert verdict(stage, ref) == Sent(stage.swaps()[0])
    stage.market.chain.mine_by_itself(True)
    stage.bury()
    reason = killed(stage)
    assert reason == f"the kit was to spend 200 USDT for {ref}, and there are 400 USDT too few"
    assert len(stage.swaps()) == 3
    (trade,) = trades(stage)
    assert trade["tx_hash"] in stage.swaps()
    nothing_more_is_begun(stage)


def test_one_that_swaps_three_times_and_dies_leaves_it_to_a_person(stage: KitStage) -> None:
    is_fooled(stage, "swaps three times and dies")
    stage.until(lambda: stage.agent()["status"] == "PAPER")
    (ref,) = stage.books().attempts
    assert len(stage.swaps()) == 3
    assert in_doubt(stage)
    stage.step(SELL)
    stage.step(BUY)  # long past its deadline
    killed(stage)
    entry = has_failed(stage, ref, "unexplained")
    assert "3 of them swapped" in entry["text"]
    nothing_more_is_begun(stage)


def test_what_the_book_holds_and_the_wallet_has_not_is_written_off_by_a_person(stage: KitStage) -> None:
    """A sale in two swaps, of which nobody has told: the book goes on holding what is sold."""
    stage.position_pct = 20
    live(stage)
    has_traded(stage, decides(stage, BUY, "honest"), stage.swaps()[-1])
    ref = decides(stage, SELL, "swaps halves and dies")
    assert len(stage.swaps()) == 3
    stage.step(BUY)
    stage.step(SELL)  # long past its deadline
    settles(stage)
    has_failed(stage, ref, "unexplained")
    assert stage.agent()["live"]["frozen"]
    assert stage.market.balance(WALLET, "ETH") <= 1
    checks = {check["name"]: check for check in stage.daemon.get("/agents/current/preflight?force=true").json()}
    assert not checks["holdings"]["ok"]

    asked = {"reason": "the kit has sold it"}
    assert stage.post("demote", asked | {"confirm": "go live"}).status_code == 422
    line = ("demote", "--reason", asked["reason"], "--write-off", "--url", stage.daemon.listening(), "--confirm")
    assert command(*line, "yes", cwd=stage.folder, password=None).returncode != 0
    done = command(*line, "write off", cwd=stage.folder, password=None)
    assert done.returncode == 0, done.stderr
    assert "NO  holdings" in done.stdout
    assert "The agent is DEMOTED.\n" in done.stdout
    (row,) = stage.facts("written_off")
    assert (row["pair"], row["left"], row["units"]) == ("ETH/USDT", 0, "0")
    breach, entry = stage.journal("DEMOTION")
    assert entry["tags"] == ["written_off", "ETH/USDT"]
    for words in (f"{row['qty']:.8f}".rstrip("0"), f"{row['loss']:.2f} USDT", "the kit has sold it"):
        assert words in entry["text"]
    agent = stage.agent()
    assert agent["live"]["frozen"] is None
    assert not [it for it in stage.daemon.get("/agents/current/positions").json() if it["phase"] == "live"]
    assert row["equity"] == pytest.approx(800, abs=1), "what it has paid for the position is lost, and gas"
    again = stage.post("demote", asked | {"confirm": "write off"})
    assert (again.status_code, again.json()["code"]) == (409, "NOTHING_LOST")

    # The loss was a breach; what the sale has brought counts as paid in, and takes nothing of it back.
    assert stage.post("promote", {"confirm": "go live", "force": True}).json()["code"] == "PROMOTION_LOCKED"
    assert stage.post("reapprove", {"demotion": breach["id"], "reason": "looked at it"}).status_code == 200
    promoted = stage.post("promote", {"confirm": "go live", "force": True})
    assert promoted.status_code == 200, promoted.text
    opened = stage.facts("live_opened")[-1]
    assert opened["units"]["USDT"] == str(stage.market.balance(WALLET, "USDT"))
    assert opened["before"] == row["equity"]
    assert stage.agent()["status"] == "LIVE"


def test_a_kit_that_denies_what_it_sent_is_found_out(stage: KitStage) -> None:
    is_fooled(stage, "denies what it sent")
    reason = killed(stage)
    (ref,) = stage.books().attempts
    assert isinstance(verdict(stage, ref), NotSent)
    assert reason == f"the kit says it sent nothing for {ref}, and there are 200 USDT too few"
    has_failed(stage, ref, "not_sent")
    nothing_more_is_begun(stage)
