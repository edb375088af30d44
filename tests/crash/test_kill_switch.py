"""The kill switch, with a daemon that hangs, in the midst of a swap, and what comes after it."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from protocol.signing import GuardStatus, ReadGuard
from server.guard import ledger
from server.guard.books import Granted
from tests.crash.scenes import Cast, Scenes, idle
from tests.crash.test_chain_events import until_pending
from tests.crash.truth import Truth, told
from tests.guard.houses import PASSWORD, WALLET, command


def kill(cast: Cast) -> str:
    """A person, past the daemon; when it was."""
    words = ("kill", "--confirm", "revoke signing", "--socket", cast.stage.guard.socket)
    done = command(*words, cwd=cast.stage.folder, password=None)
    assert done.returncode == 0, done.stderr
    return killed_at(cast)


def restore(cast: Cast, words: str = "restore signing", password: str = PASSWORD) -> int:
    folder = str(cast.stage.folder / "guard")
    done = command("guard", "restore", "--dir", folder, "--confirm", words, cwd=cast.stage.folder, password=password)
    return done.returncode


def killed_at(cast: Cast) -> str:
    status = cast.stage.guard.ask(ReadGuard())
    assert isinstance(status, GuardStatus)
    assert status.killed
    assert status.killed_at is not None
    return status.killed_at


def granted(cast: Cast) -> int:
    """How much the guard has signed."""
    books = ledger.read(cast.stage.folder / "guard" / ledger.FILE_NAME)
    return sum(isinstance(one, Granted) for all_ in books.granted.values() for one in all_)


def promote(cast: Cast) -> int:
    return cast.stage.post("promote", {"confirm": "go live", "force": True}).status_code


def ended(cast: Cast) -> Truth:
    cast.end()
    return told(cast.stage)


@pytest.fixture
def holding(scenes: Scenes) -> Iterator[Cast]:
    with scenes["holding"].again() as cast:
        cast.run()
        yield cast


def test_with_a_daemon_that_hangs_nothing_is_signed_and_it_journals_the_kill_once(holding: Cast) -> None:
    before = granted(holding)
    holding.stage.daemon.signal(signal.SIGSTOP)
    at = kill(holding)
    decided = holding.candle(2050)  # it would sell
    holding.stage.daemon.signal(signal.SIGCONT)
    holding.until(lambda agent: decided(agent) and agent["status"] == "PAPER" and idle(agent))
    holding.stage.daemon.kill()
    holding.until(lambda agent: agent["status"] == "PAPER")
    assert granted(holding) == before
    truth = ended(holding)
    assert [entry.data["killed_at"] for entry in truth.entries("KILL")] == [at]
    assert truth.live.frozen
    assert holding.stage.market.balance(WALLET, "ETH")


def test_a_kill_that_was_lifted_before_the_daemon_looked_takes_it_out_of_live_all_the_same(holding: Cast) -> None:
    holding.stage.daemon.signal(signal.SIGSTOP)
    at = kill(holding)
    assert restore(holding) == 0
    before = granted(holding)
    holding.stage.daemon.signal(signal.SIGCONT)
    holding.until(lambda agent: agent["status"] == "PAPER")
    holding.until(lambda _: holding.stage.journal("RESTORE"))
    decided = holding.candle(2050)
    holding.until(decided)
    assert granted(holding) == before
    truth = ended(holding)
    assert [entry.data["killed_at"] for entry in truth.entries("KILL")] == [at]
    assert len(truth.entries("RESTORE")) == 1


def test_what_a_kill_has_stranded_is_sold_by_hand_once_a_person_has_restored_the_guard(holding: Cast) -> None:
    kill(holding)
    holding.until(lambda agent: agent["status"] == "PAPER")
    assert holding.stage.market.balance(WALLET, "ETH")
    assert promote(holding) == 409
    assert restore(holding, words="please") != 0
    assert restore(holding, password="wrong horse battery") != 0
    killed_at(holding)
    assert restore(holding) == 0
    holding.until(lambda _: holding.stage.journal("RESTORE"))
    assert holding.stage.post("demote", {"reason": "sell what is stranded"}).status_code == 200
    holding.until(lambda agent: idle(agent) and not holding.stage.market.balance(WALLET, "ETH"))
    holding.until(lambda _: promote(holding) == 200)  # and it trades again
    decided = holding.candle(1700)
    holding.until(lambda agent: decided(agent) and idle(agent))
    truth = ended(holding)
    assert len(truth.entries("KILL")) == len(truth.entries("RESTORE")) == 1
    assert [trade.side for trade in truth.trades][:2] == ["buy", "sell"]
    assert len(truth.trades) == 3


def test_a_swap_that_was_sent_before_the_kill_may_be_mined_and_nothing_is_signed_after(scenes: Scenes) -> None:
    """Until it has ended nobody is promoted: the wallet may change under the book."""
    with scenes["flat"].again() as cast:
        tx = until_pending(cast)
        before = granted(cast)
        kill(cast)
        cast.until(lambda agent: agent["status"] == "PAPER", mining=False)
        assert restore(cast) == 0
        cast.until(lambda _: cast.stage.journal("RESTORE"), mining=False)
        refused = cast.stage.post("promote", {"confirm": "go live", "force": True})
        assert refused.status_code == 409
        assert {check["name"] for check in refused.json()["checks"] if not check["ok"]} == {"orders", "pending"}
        cast.stage.market.chain.mine_by_itself(True)
        cast.until(idle)
        assert granted(cast) == before
        assert promote(cast) == 200
        truth = ended(cast)
    assert [trade.tx_hash for trade in truth.trades] == [tx["hash"]]
