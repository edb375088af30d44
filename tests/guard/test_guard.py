"""The guard's answers, in one process with these tests: concurrency, repetition, replacement, the switch, the sight."""

from __future__ import annotations

import json
import os
import socket
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
import trio
import trio.testing
from attrs import evolve
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from protocol.errors import UserError
from protocol.signing import (
    RESTORE_WORDS,
    Answer,
    Broken,
    GuardStatus,
    ReadGuard,
    Recall,
    Recalled,
    Refused,
    Restore,
    Restored,
    Revoke,
    Revoked,
    Signed,
    SignTransaction,
    SwapByTwak,
    Transaction,
    read_answer,
    to_line,
)
from server.guard import keystore
from server.guard.config import GuardConfig, load
from server.guard.decode import Approval
from server.guard.eyes import Eyes, Unseen
from server.guard.guard import Clock, Guard, withheld
from server.guard.ledger import Ledger, read
from server.guard.policy import REPLACEMENT
from server.guard.process import AT_ONCE, MOST_PEERS, Door
from tests.guard.chain import CAKE, E18, LINK, ROUTER, USDT, WBNB, Chain, served
from tests.guard.houses import KEY, PASSWORD, WALLET, anchor, entry, exit_, settings, sign, transaction

STRANGER = "0x" + "99" * 20
Opened = Callable[..., AbstractAsyncContextManager[Guard]]


def config_for(folder: Path, rpc: str, extra: str = "", **limits: int) -> GuardConfig:
    (folder / "guard.toml").write_text(settings(rpc, extra, **limits), encoding="utf-8")
    return load(folder)


@asynccontextmanager
async def opened_in(folder: Path, rpc: str, **limits: int) -> AsyncIterator[Guard]:
    """A guard in `folder`, which is made if it is empty."""
    config, keys = config_for(folder, rpc, "", **limits), folder / keystore.FILE_NAME
    if not keys.exists():
        keystore.create(keys, bytes.fromhex(KEY[2:]), PASSWORD, iterations=1024)
        Ledger.create(folder / "ledger.jsonl", WALLET, datetime.now(UTC))
    ledger = Ledger(folder / "ledger.jsonl")
    try:
        async with Eyes(config) as eyes:
            yield Guard(config, ledger, eyes, keys, keystore.unlock(keys, PASSWORD), None)
    finally:
        ledger.close()


@pytest.fixture
def opened(tmp_path: Path, rpc: str) -> Opened:
    return lambda **limits: opened_in(tmp_path, rpc, **limits)


def refused_by(answer: Answer) -> str:
    assert isinstance(answer, Refused), answer
    return answer.rule


def signed(answer: Answer) -> Signed:
    assert isinstance(answer, Signed), answer
    return answer


# --- one signature per intent


async def test_the_same_request_is_answered_by_the_same_bytes_and_spends_nothing_again(
    chain: Chain, opened: Opened
) -> None:
    request = sign("order_1", transaction(entry(chain)))
    async with opened() as guard:
        first = signed(await guard.answer(request))
        seen = chain.asked
        assert await guard.answer(request) == first
        assert await guard.answer(evolve(request, anchor=anchor(2))) == first
        assert chain.asked == seen
    async with opened() as guard:
        assert await guard.answer(request) == first
        status = await guard.answer(ReadGuard())
        assert isinstance(status, GuardStatus)
        assert status.spent_today == 10


async def test_a_replacement_is_recorded_and_every_version_can_be_had_again(chain: Chain, opened: Opened) -> None:
    first = sign("order_1", transaction(entry(chain)))
    second = sign("order_1", transaction(entry(chain), gas_price=11 * 10**8), row=2)
    async with opened() as guard:
        a = signed(await guard.answer(first))
        b = signed(await guard.answer(second))
        assert a != b
        assert await guard.answer(evolve(first, anchor=anchor(2))) == a
        third = sign("order_1", transaction(entry(chain), gas_price=12 * 10**8), row=3)
        refused = await guard.answer(third)
        assert refused_by(refused) == "replacement"
        assert await guard.answer(Recall("order_1")) == Recalled((a, b))
    async with opened() as guard:
        assert await guard.answer(Recall("order_1")) == Recalled((a, b))
        status = await guard.answer(ReadGuard())
        assert isinstance(status, GuardStatus)
        assert (status.spent_today, status.signed_nonce) == (Decimal(10), 0)
    assert REPLACEMENT * 11 * 10**8 > 12 * 10**8


async def test_what_it_never_heard_of_it_recalls_as_nothing(opened: Opened) -> None:
    async with opened() as guard:
        assert await guard.answer(Recall("order_9")) == Recalled()


async def test_the_nonce_goes_on_from_what_was_signed_though_nothing_was_mined(chain: Chain, opened: Opened) -> None:
    async with opened() as guard:
        signed(await guard.answer(sign("order_1", transaction(entry(chain)))))
        assert refused_by(await guard.answer(sign("order_2", transaction(entry(chain, 11))))) == "nonce"
        signed(await guard.answer(sign("order_2", transaction(entry(chain, 11), nonce=1))))
        chain.nonce = 5
        refused = await guard.answer(sign("order_3", transaction(entry(chain, 12), nonce=2)))
        assert isinstance(refused, Refused)
        assert (refused.rule, refused.measured, refused.limit) == ("nonce", "2", "5")
        signed(await guard.answer(sign("order_3", transaction(entry(chain, 12), nonce=5))))


# --- the caps


async def test_requests_that_race_one_cap_never_pass_it_together(chain: Chain, opened: Opened, tmp_path: Path) -> None:
    answers: list[Answer] = []
    async with opened(daily_cap=100) as guard:

        async def ask(number: int) -> None:
            # Whatever its nonce, each would be alone: only the cap stands between them.
            for nonce in range(8):
                request = sign(f"order_{number}", transaction(entry(chain, 30 + number), nonce=nonce))
                answer = await guard.answer(request)
                if not (isinstance(answer, Refused) and answer.rule == "nonce"):
                    answers.append(answer)
                    return

        async with trio.open_nursery() as nursery:
            for number in range(8):
                nursery.start_soon(ask, number)
    assert {type(answer) for answer in answers} <= {Signed, Refused}
    assert 1 <= sum(isinstance(answer, Signed) for answer in answers) <= 3
    assert read(tmp_path / "ledger.jsonl").spent <= 100 * E18


step = st.tuples(
    st.sampled_from(["entry", "exit", "approve", "again", "replace", "restart", "lower", "raise"]),
    st.integers(1, 60),
    st.integers(0, 3),
)


@hypothesis_settings(max_examples=20)
@given(st.lists(st.lists(step, min_size=1, max_size=4), max_size=8))
def test_whatever_is_asked_in_whatever_order_no_day_spends_more_than_the_highest_cap(
    rounds: list[list[tuple[str, int, int]]],
) -> None:
    chain = Chain()
    caps = [100]

    async def live(folder: Path, url: str) -> None:
        number = 0
        asked: list[SignTransaction] = []

        async def one(guard: Guard, what: str, size: int, ahead: int) -> None:
            nonlocal number
            number += 1
            nonce, name = ahead, f"order_{number}"
            highest = guard._ledger.books.signed_nonce  # what a daemon learns from the status
            if highest is not None:
                nonce = highest + 1 + (ahead == 3)
            match what:
                case "exit":
                    tx = transaction(exit_(chain, size), nonce=nonce)
                case "approve":
                    tx = transaction(Approval(ROUTER, size * E18), nonce=nonce)
                case "again" if asked:
                    name, tx = asked[-1].intent, asked[-1].tx
                case "replace" if asked:
                    name, tx = asked[-1].intent, evolve(asked[-1].tx, gas_price=asked[-1].tx.gas_price * 11 // 10)
                case _:
                    tx = transaction(entry(chain, size), nonce=nonce)
            asked.append(sign(name, tx))
            answer = await guard.answer(asked[-1])
            assert isinstance(answer, Signed | Refused)

        for steps in rounds:
            if any(what == "lower" for what, _, _ in steps):
                caps.append(40)
            if any(what == "raise" for what, _, _ in steps):
                caps.append(150)
            async with opened_in(folder, url, daily_cap=caps[-1]) as guard, trio.open_nursery() as nursery:
                before = guard._ledger.books.spent
                for what, size, ahead in steps:
                    nursery.start_soon(one, guard, what, size, ahead)
            books = read(folder / "ledger.jsonl")
            assert books.spent == before or books.spent <= caps[-1] * E18
            entries = {
                intent: granted[0].spend
                for intent, granted in books.granted.items()
                if any(one.spend for one in granted)
            }
            assert sum(entries.values()) == books.spent
            nonces = [granted[0].tx.nonce for granted in books.granted.values()]
            assert sorted(nonces) == sorted(set(nonces)), "two intents were signed for one nonce"

    with tempfile.TemporaryDirectory() as folder, served(chain) as url:
        trio.run(live, Path(folder), url)


# --- the log's anchor


async def test_a_daemon_whose_log_was_cut_is_refused_also_after_a_restart(chain: Chain, opened: Opened) -> None:
    async with opened() as guard:
        signed(await guard.answer(sign("order_1", transaction(entry(chain)), row=7)))
    async with opened() as guard:
        behind = sign("order_2", transaction(entry(chain), nonce=1), row=6)
        assert refused_by(await guard.answer(behind)) == "log_anchor"
        rewritten = evolve(behind, anchor=evolve(anchor(7), hash="e" * 64))
        assert refused_by(await guard.answer(rewritten)) == "log_anchor"
        signed(await guard.answer(evolve(behind, anchor=anchor(8))))


# --- the switch


async def test_after_a_kill_nothing_is_signed_and_nothing_handed_out_again(chain: Chain, opened: Opened) -> None:
    first, second = sign("order_1", transaction(entry(chain))), sign("order_2", transaction(exit_(chain), nonce=1))
    async with opened() as guard:
        before = signed(await guard.answer(first))
        killed = await guard.answer(Revoke("the owner said so"))
        assert isinstance(killed, Revoked)
        assert await guard.answer(Revoke("again")) == killed
    async with opened() as guard:
        for request in (first, second):
            assert refused_by(await guard.answer(request)) == "kill_switch"
        assert await guard.answer(Recall("order_1")) == Recalled((Signed("", before.hash),))
        status = await guard.answer(ReadGuard())
        assert isinstance(status, GuardStatus)
        assert (status.killed, status.killed_reason, status.killed_at) == (True, "the owner said so", killed.at)


async def test_a_kill_stops_a_request_that_is_on_its_way(chain: Chain, opened: Opened) -> None:
    answers: list[Answer] = []
    async with opened() as guard:

        async def ask(number: int) -> None:
            answers.append(await guard.answer(sign(f"order_{number}", transaction(entry(chain)))))

        chain.fault = "wait"
        async with trio.open_nursery() as nursery:
            for number in range(3):
                nursery.start_soon(ask, number)
            await trio.testing.wait_all_tasks_blocked()  # one looks at the chain, two wait for their turn
            assert isinstance(await guard.answer(Revoke("now")), Revoked)
            assert answers == []
            chain.gate.set()
    assert [refused_by(answer) for answer in answers] == ["kill_switch"] * 3


def test_a_signature_that_a_kill_has_overtaken_is_withheld() -> None:
    assert refused_by(withheld(Signed("0x", "0x"), killed=True)) == "kill_switch"
    assert withheld(Signed("0x", "0x"), killed=False) == Signed("0x", "0x")
    assert withheld(Recalled(), killed=True) == Recalled()


class SetBack(Clock):
    """The wall clock of a machine whose clock was set back by an hour after the guard had begun."""

    def wall(self) -> datetime:
        return super().wall() - timedelta(hours=1)


async def killed_at(guard: Guard) -> str | None:
    status = await guard.answer(ReadGuard())
    assert isinstance(status, GuardStatus)
    return status.killed_at


async def test_a_kill_keeps_its_name_though_the_clock_was_set_back_and_the_guard_restarted(opened: Opened) -> None:
    """By that name the daemon knows whether it has journaled it; two kills have two."""
    async with opened() as guard:
        guard._clock = SetBack()
        first = await guard.answer(Revoke("x"))
        assert isinstance(first, Revoked)
        assert await killed_at(guard) == first.at
    async with opened() as guard:
        guard._clock = SetBack()
        assert await killed_at(guard) == first.at
        assert await guard.answer(Restore(RESTORE_WORDS, PASSWORD)) == Restored()
        assert await killed_at(guard) == first.at
        guard._clock.__class__ = SetBackFurther
        second = await guard.answer(Revoke("y"))
        assert isinstance(second, Revoked)
        assert second.at > first.at
    async with opened() as guard:
        assert await killed_at(guard) == second.at


class SetBackFurther(SetBack):
    def wall(self) -> datetime:
        return super().wall() - timedelta(hours=1)


async def test_a_kill_that_could_be_written_only_later_keeps_its_name_and_its_reason(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    async with opened() as guard:
        with monkeypatch.context() as patch:
            patch.setattr("os.write", full)
            assert isinstance(await guard.answer(Revoke("x")), Broken)
        first = await killed_at(guard)
        await trio.sleep(0.002)
        assert await guard.answer(Revoke("y")) == Revoked(str(first))
    async with opened() as guard:
        status = await guard.answer(ReadGuard())
        assert isinstance(status, GuardStatus)
        assert (status.killed_at, status.killed_reason) == (first, "x")


CROWD = 60


async def test_a_kill_passes_a_crowd_that_knocked_before_it(opened: Opened, short_path: Path) -> None:
    """Each of them has a heap of questions and gets one answer in a turn, at most."""
    heap, listener = to_line(ReadGuard()) * 100, socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with ExitStack() as stack:
        stack.enter_context(listener)
        listener.bind(str(short_path / "door"))
        listener.listen(128)
        listener.setblocking(False)
        crowd = []
        for said in [*[heap] * CROWD, to_line(Revoke("enough"))]:
            sock = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
            sock.connect(str(short_path / "door"))
            sock.sendall(said)
            sock.setblocking(False)
            crowd.append(sock)
        *others, killer = crowd
        async with opened() as guard, trio.open_nursery() as nursery:
            nursery.start_soon(Door(guard, frozenset({os.geteuid()})).welcome, listener)
            await trio.lowlevel.wait_readable(killer)
            assert isinstance(read_answer(killer.recv(65_536)), Revoked)
            assert guard.killed
            answered = sum(received(sock).count(b"\n") for sock in others)
            assert answered <= (CROWD // AT_ONCE + 2) * MOST_PEERS
            nursery.cancel_scope.cancel()


def received(sock: socket.socket) -> bytes:
    """What is there by now."""
    said = b""
    with suppress(OSError):
        while chunk := sock.recv(65_536):
            said += chunk
    return said


async def test_only_the_exact_words_restore(opened: Opened) -> None:
    async with opened() as guard:
        assert refused_by(await guard.answer(Restore(RESTORE_WORDS, PASSWORD))) == "restore"
        await guard.answer(Revoke("x"))
        for words, password in ((RESTORE_WORDS.upper(), PASSWORD), ("", PASSWORD)):
            assert refused_by(await guard.answer(Restore(words, password))) == "restore"


async def test_a_wrong_password_restores_nothing_and_the_right_one_does(chain: Chain, opened: Opened) -> None:
    async with opened() as guard:
        await guard.answer(Revoke("x"))
        assert refused_by(await guard.answer(Restore(RESTORE_WORDS, PASSWORD + "!"))) == "restore"
        assert refused_by(await guard.answer(sign("order_1", transaction(entry(chain))))) == "kill_switch"
        assert await guard.answer(Restore(RESTORE_WORDS, PASSWORD)) == Restored()
        signed(await guard.answer(sign("order_1", transaction(entry(chain)))))
        assert isinstance(await guard.answer(Revoke("y")), Revoked)
    async with opened() as guard:
        assert guard.killed


async def test_a_kill_while_somebody_restores_wins(opened: Opened, tmp_path: Path) -> None:
    """The keystore is a pipe meanwhile, so that reading it takes until the test has killed."""
    answers: list[Answer] = []
    async with opened() as guard:
        await guard.answer(Revoke("x"))
        keys = tmp_path / keystore.FILE_NAME
        document = keys.read_text(encoding="utf-8")
        keys.unlink()
        os.mkfifo(keys)

        async def restore() -> None:
            answers.append(await guard.answer(Restore(RESTORE_WORDS, PASSWORD)))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(restore)
            await trio.testing.wait_all_tasks_blocked()
            await guard.answer(Revoke("again"))
            await trio.to_thread.run_sync(lambda: keys.write_text(document, encoding="utf-8"))
        assert [refused_by(answer) for answer in answers] == ["restore"]
        assert guard.killed


async def test_a_kill_that_cannot_be_written_holds_and_says_so(
    chain: Chain, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(_: int) -> None:
        raise OSError(5, "Input/output error")

    async with opened() as guard:
        monkeypatch.setattr("os.fsync", failing)
        assert isinstance(await guard.answer(Revoke("x")), Broken)
        assert refused_by(await guard.answer(sign("order_1", transaction(entry(chain))))) == "kill_switch"


async def test_what_cannot_be_recorded_is_not_signed(
    chain: Chain, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(_: int) -> None:
        raise OSError(28, "No space left on device")

    async with opened() as guard:
        with monkeypatch.context() as patch:
            patch.setattr("os.fsync", failing)
            assert isinstance(await guard.answer(sign("order_1", transaction(entry(chain)))), Broken)
        assert await guard.answer(Recall("order_1")) == Recalled()


# --- what it sees


@pytest.mark.parametrize("fault", ["busy", "html", "short", "error", "endless"])
async def test_without_a_sight_of_its_own_it_signs_nothing(chain: Chain, opened: Opened, fault: str) -> None:
    async with opened() as guard:
        chain.fault = fault
        assert refused_by(await guard.answer(sign("order_1", transaction(entry(chain))))) == "rpc"
        chain.fault = ""
        signed(await guard.answer(sign("order_1", transaction(entry(chain)))))


async def test_an_endpoint_of_another_chain_is_none(chain: Chain, opened: Opened) -> None:
    async with opened() as guard:
        chain.chain_id = 97
        assert refused_by(await guard.answer(sign("order_1", transaction(entry(chain))))) == "rpc"


async def test_an_endpoint_that_hangs_is_given_up(chain: Chain, tmp_path: Path) -> None:
    chain.fault = "hang"
    with served(chain) as url:
        config = evolve(config_for(tmp_path, url), rpc_timeout_seconds=0.1)
        async with Eyes(config) as eyes:
            with pytest.raises(Unseen, match=r"rpc\[0\]"):
                await eyes.see(WALLET, USDT)


async def test_of_several_endpoints_the_strictest_view_counts(chain: Chain, tmp_path: Path) -> None:
    liar, dead = Chain(nonce=3, time=chain.time - 50), Chain(fault="busy")
    liar.pools[USDT, CAKE] = (1_000_000 * E18, 1_000 * E18)  # a quote so low that anything would pass
    liar.balances[USDT] = 7
    with served(chain) as one, served(liar) as two, served(dead) as three:
        async with Eyes(evolve(config_for(tmp_path, one), rpc=(one, two, three))) as eyes:
            seen = await eyes.see(WALLET, USDT, entry(chain))
    assert (seen.time, seen.nonce, seen.balance) == (chain.time - 50, 3, 7)
    assert seen.quote == entry(chain).min_out


async def test_the_quote_is_of_the_best_route_whatever_route_is_asked_for(chain: Chain, opened: Opened) -> None:
    chain.pools[USDT, LINK] = (100 * E18, 1 * E18)  # a puddle, in which whoever owns it would fish
    async with opened() as guard:
        puddle = entry(chain, path=(USDT, LINK))
        refused = await guard.answer(sign("order_1", transaction(puddle)))
        assert refused_by(refused) == "slippage"
        signed(await guard.answer(sign("order_1", transaction(entry(chain, path=(USDT, WBNB, LINK))))))


CONTRADICTIONS: dict[str, Callable[[Chain], None]] = {
    "calls itself 'CAKEY'": lambda chain: chain.symbols.update({CAKE: ("CAKEY", 18)}),
    "but the contract says 6": lambda chain: chain.symbols.update({USDT: ("USDT", 6)}),
    "not 56": lambda chain: setattr(chain, "chain_id", 97),
}


@pytest.mark.parametrize("words", CONTRADICTIONS)
async def test_it_does_not_begin_on_a_chain_that_contradicts_its_settings(
    chain: Chain, rpc: str, tmp_path: Path, words: str
) -> None:
    CONTRADICTIONS[words](chain)
    async with Eyes(config_for(tmp_path, rpc)) as eyes:
        with pytest.raises((UserError, Unseen), match=words):
            await eyes.check()


async def test_it_does_not_begin_where_there_is_no_router_or_another_factory(rpc: str, tmp_path: Path) -> None:
    config = config_for(tmp_path, rpc)
    for wrong, words in (
        (evolve(config, router=STRANGER), "no contract"),
        (evolve(config, factory=STRANGER), "another one"),
    ):
        async with Eyes(wrong) as eyes:
            with pytest.raises(UserError, match=words):
                await eyes.check()


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.iterdir()}


# --- other wallets, other ways


async def test_a_ledger_is_of_one_wallet_on_one_chain(tmp_path: Path, rpc: str, opened: Opened) -> None:
    async with opened():
        pass
    config, keys = config_for(tmp_path, rpc, "chain_id = 97"), tmp_path / keystore.FILE_NAME
    for wallet, words in (
        (keystore.unlock(keys, PASSWORD), "on chain 97"),
        (keystore.Wallet(b"\x01" * 32), "the ledger is of the key of"),
    ):
        ledger = Ledger(tmp_path / "ledger.jsonl")
        async with Eyes(config) as eyes:
            with pytest.raises(UserError, match=words):
                Guard(config, ledger, eyes, keys, wallet, None)
        ledger.close()


async def test_a_guard_with_a_key_runs_no_kit(opened: Opened) -> None:
    async with opened() as guard:
        assert refused_by(await guard.answer(SwapByTwak("order_1", USDT, CAKE, E18, 1, 1, anchor()))) == "way"


async def test_the_key_is_in_nothing_that_is_written_or_shown(chain: Chain, opened: Opened, tmp_path: Path) -> None:
    async with opened() as guard:
        signed(await guard.answer(sign("order_1", transaction(entry(chain)))))
        await guard.answer(Revoke("x"))
        await guard.answer(Restore(RESTORE_WORDS, PASSWORD))
        assert KEY[2:] not in repr(vars(guard))
    for path, content in contents(tmp_path).items():
        assert KEY[2:].encode() not in content, path
        assert bytes.fromhex(KEY[2:]) not in content, path
        assert PASSWORD.encode() not in content, path
    assert json.loads((tmp_path / keystore.FILE_NAME).read_text())["crypto"]["kdf"] == "scrypt"
    assert PASSWORD not in repr(Restore(RESTORE_WORDS, PASSWORD))


def test_a_wallet_cannot_be_copied_out_of_its_process() -> None:
    wallet = keystore.Wallet(bytes.fromhex(KEY[2:]))
    assert repr(wallet) == f"Wallet({WALLET})"
    with pytest.raises(TypeError):
        wallet.__reduce__()
    tx: Transaction = transaction(entry(Chain()))
    assert wallet.sign(tx) == wallet.sign(tx)
