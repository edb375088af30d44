"""The guard as its owner runs it: a process, a socket, and peers of all kinds."""

from __future__ import annotations

import grp
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest
from eth_account import Account

from protocol.errors import UserError
from protocol.signing import (
    LONGEST_LINE,
    RESTORE_WORDS,
    GuardStatus,
    Malformed,
    Question,
    ReadGuard,
    Recall,
    Recalled,
    Refused,
    Restore,
    Restored,
    Revoke,
    Revoked,
    Signed,
    read_answer,
    to_line,
)
from server.guard.process import MOST_PEERS, private
from tests.guard.chain import Chain
from tests.guard.houses import (
    KEY,
    PASSWORD,
    ROOT,
    WALLET,
    GuardProcess,
    StartGuard,
    asked,
    entry,
    environment,
    exit_,
    line_from,
    settings,
    sign,
    transaction,
)


def status_of(guard: GuardProcess) -> GuardStatus:
    status = guard.ask(ReadGuard())
    assert isinstance(status, GuardStatus)
    return status


def rule_of(answer: object) -> str:
    assert isinstance(answer, Refused), answer
    return answer.rule


def test_it_signs_what_it_may_and_the_signature_is_the_wallets(chain: Chain, start_guard: StartGuard) -> None:
    guard = start_guard().listening()
    answer = guard.ask(sign("order_1", transaction(entry(chain))))
    assert isinstance(answer, Signed), answer
    assert Account.recover_transaction(answer.raw).lower() == WALLET
    status = status_of(guard)
    assert (status.spent_today, status.signed_nonce, status.address) == (Decimal(10), 0, WALLET)
    assert guard.stop() == 0
    assert not Path(guard.socket).exists()
    assert "Traceback" not in "".join(guard.errors)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_in_good_order_when_it_is_told_to(start_guard: StartGuard, number: signal.Signals) -> None:
    guard = start_guard().listening()
    with guard.connected() as idle:
        asked(idle, ReadGuard())
        assert guard.stop(number) == 0
        assert idle.recv(1) == b""


# --- deaths


def test_what_it_signed_before_it_was_killed_it_recalls_and_never_signs_twice(
    chain: Chain, start_guard: StartGuard
) -> None:
    request = sign("order_1", transaction(entry(chain)))
    before = start_guard().listening()
    answer = before.ask(request)
    assert isinstance(answer, Signed)
    assert before.stop(signal.SIGKILL) == -signal.SIGKILL
    again = start_guard().listening()  # also over the socket that the dead one left
    assert again.ask(Recall("order_1")) == Recalled((answer,))
    assert again.ask(request) == answer
    assert rule_of(again.ask(sign("order_1", transaction(entry(chain, 11), nonce=1)))) == "intent"
    assert status_of(again).spent_today == 10


def test_killed_at_any_moment_it_has_signed_only_what_it_knows_of(chain: Chain, start_guard: StartGuard) -> None:
    """Many are asked for at once, and it dies in the midst: whatever got out is in the ledger, and the cap held."""
    got: dict[str, Signed] = {}
    for life in range(4):
        guard = start_guard().listening()
        nonce = status_of(guard).signed_nonce
        first = chain.nonce = 0 if nonce is None else nonce + 1
        with guard.connected() as sock:
            for number in range(6):
                request = sign(f"order_{life}_{number}", transaction(entry(chain, 15), nonce=first + number), row=life)
                sock.sendall(to_line(request))
            for number in range(life + 1):  # it goes on with the others meanwhile
                answer = read_answer(line_from(sock))
                if isinstance(answer, Signed):
                    got[f"order_{life}_{number}"] = answer
            guard.stop(signal.SIGKILL)
    guard = start_guard().listening()
    assert got
    for intent, answer in got.items():
        assert guard.ask(Recall(intent)) == Recalled((answer,))
    assert len(got) * 15 <= status_of(guard).spent_today <= 200


def test_a_kill_outlives_the_guard_and_only_the_owner_ends_it(chain: Chain, start_guard: StartGuard) -> None:
    guard = start_guard().listening()
    assert isinstance(guard.ask(Revoke("enough")), Revoked)
    guard.stop(signal.SIGKILL)
    again = start_guard().listening()
    assert rule_of(again.ask(sign("order_1", transaction(exit_(chain))))) == "kill_switch"
    assert rule_of(again.ask(Restore(RESTORE_WORDS, "no idea"))) == "restore"
    assert again.ask(Restore(RESTORE_WORDS, PASSWORD)) == Restored()
    assert isinstance(again.ask(sign("order_1", transaction(exit_(chain)))), Signed)


def test_only_one_guard_runs_in_a_folder(start_guard: StartGuard) -> None:
    guard = start_guard().listening()
    assert "another guard runs in it" in start_guard().refused()
    status_of(guard)


# --- peers

GARBAGE: dict[str, bytes] = {
    "nothing in it": b"\n",
    "no JSON": b"GET / HTTP/1.1\r\n",
    "no object": b"[1, 2, 3]\n",
    "no kind": b"{}\n",
    "an unknown kind": b'{"kind": "sign_anything"}\n',
    "a kind that is no text": b'{"kind": {"a": 1}}\n',
    "more than was asked for": b'{"kind": "status", "and": 1}\n',
    "less than is needed": b'{"kind": "sign", "intent": "a"}\n',
    "numbers as numbers": to_line(sign("a", transaction(entry(Chain())))).replace(b'"nonce":"0"', b'"nonce":0'),
    "a negative number": to_line(sign("a", transaction(entry(Chain())))).replace(b'"nonce":"0"', b'"nonce":"-1"'),
    "a number beyond all numbers": to_line(sign("a", transaction(entry(Chain())))).replace(
        b'"nonce":"0"', b'"nonce":"' + b"9" * 78 + b'"'
    ),
    "no address": to_line(sign("a", transaction(entry(Chain())))).replace(b'"to":"0x', b'"to":""," ":"0x'),
    "an intent with a line end": b'{"kind": "recall", "intent": "a\\nb"}\n',
    "an abyss of brackets": b'{"kind":' * 1500 + b"\n",
    "bytes that are no text": b"\xff\xfe\x00\x01\n",
    "a reason of two lines": b'{"kind": "kill", "reason": "a\\nb"}\n',
    "a surrogate": b'{"kind": "kill", "reason": "\\ud800"}\n',
    "an abyss of digits": b'{"kind": ' + b"9" * 10_000 + b"}\n",
    "an exponent": b'{"kind": 1e999999999999999999999}\n',
}  # fmt: skip


def test_garbage_costs_a_peer_its_connection_and_nobody_else_anything(start_guard: StartGuard) -> None:
    guard = start_guard().listening()
    with guard.connected() as honest:
        for name, garbage in GARBAGE.items():
            with guard.connected() as sock:
                sock.sendall(garbage)
                answer = read_answer(line_from(sock))
                assert isinstance(answer, Malformed), name
                assert sock.recv(1) == b"", name
            assert isinstance(asked(honest, ReadGuard()), GuardStatus), name
    assert "bug" not in "".join(guard.errors)


def test_a_line_without_end_is_not_read_to_its_end(start_guard: StartGuard) -> None:
    guard = start_guard().listening()
    with guard.connected() as sock:
        sock.sendall(b"x" * (LONGEST_LINE + 4096))
        assert isinstance(read_answer(line_from(sock)), Malformed)
    status_of(guard)


def test_peers_that_leave_in_the_midst_are_no_news(chain: Chain, start_guard: StartGuard) -> None:
    guard = start_guard().listening()
    for number in range(5):
        with guard.connected() as sock:
            sock.sendall(to_line(sign(f"order_{number}", transaction(entry(chain), nonce=number)))[: 40 * number])
        with guard.connected() as sock:
            sock.sendall(to_line(sign(f"order_{number}", transaction(entry(chain), nonce=number))))
    status_of(guard)
    assert guard.stop() == 0
    assert "bug" not in "".join(guard.errors)


def test_a_kill_finds_its_place_among_peers_that_say_nothing(start_guard: StartGuard) -> None:
    guard = start_guard().listening()
    crowd = [guard.connected() for _ in range(3 * MOST_PEERS)]
    try:
        assert isinstance(guard.ask(Revoke("enough")), Revoked)
    finally:
        for sock in crowd:
            sock.close()


def test_a_kill_is_answered_while_the_guard_waits_for_the_chain(chain: Chain, start_guard: StartGuard) -> None:
    guard = start_guard().listening()
    chain.fault = "wait"
    with guard.connected() as waiting:
        waiting.sendall(to_line(sign("order_1", transaction(entry(chain)))))
        assert isinstance(guard.ask(Revoke("enough")), Revoked)
        chain.gate.set()
        assert rule_of(read_answer(line_from(waiting))) == "kill_switch"


def test_questions_on_one_connection_are_answered_in_order(chain: Chain, start_guard: StartGuard) -> None:
    guard = start_guard().listening()
    with guard.connected() as sock:
        questions: list[Question] = [sign("order_1", transaction(entry(chain))), Recall("order_1"), ReadGuard()]
        sock.sendall(b"".join(to_line(question) for question in questions))
        said = b""
        while said.count(b"\n") < 3:
            said += sock.recv(65_536)
    kinds = [read_answer(line).kind for line in said.splitlines()]
    assert kinds == ["signed", "recalled", "status"]


def test_another_user_is_hung_up_on(folder: Path, rpc: str, start_guard: StartGuard) -> None:
    (folder / "guard.toml").write_text(settings(rpc, f"allowed_uids = [{os.geteuid() + 1}]"), encoding="utf-8")
    guard = start_guard().listening()
    with guard.connected() as sock:
        sock.sendall(to_line(Revoke("I may not")))
        with pytest.raises(ConnectionError):
            line_from(sock)
    guard.stop()
    assert f"user {os.geteuid()} may not connect" in "".join(guard.errors)
    assert b"killed" not in (folder / "ledger.jsonl").read_bytes()


# --- what it keeps to itself


def test_the_socket_and_all_files_are_the_owners_alone(chain: Chain, start_guard: StartGuard) -> None:
    guard = start_guard().listening()
    guard.ask(sign("order_1", transaction(entry(chain))))
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in guard.folder.iterdir()}
    assert set(modes) == {"guard.sock", "guard.toml", "keystore.json", "ledger.jsonl", "lock", "ballast"}
    assert set(modes.values()) == {0o600}
    assert stat.S_IMODE(guard.folder.stat().st_mode) == 0o700


def test_one_group_more_may_be_let_in(folder: Path, rpc: str, start_guard: StartGuard) -> None:
    group = grp.getgrgid(os.getegid()).gr_name
    (folder / "guard.toml").write_text(settings(rpc, f'socket_group = "{group}"'), encoding="utf-8")
    guard = start_guard().listening()
    found = Path(guard.socket).stat()
    assert (stat.S_IMODE(found.st_mode), found.st_gid) == (0o660, os.getegid())
    guard.stop()
    (folder / "guard.toml").write_text(settings(rpc, 'socket_group = "no-such-group"'), encoding="utf-8")
    assert "there is no such group" in start_guard().refused()


LOOSENED: dict[str, Callable[[Path], None]] = {
    "its folder": lambda folder: folder.chmod(0o750),
    "its settings": lambda folder: (folder / "guard.toml").chmod(0o620),
    "its keystore": lambda folder: (folder / "keystore.json").chmod(0o604),
    "its ledger": lambda folder: (folder / "ledger.jsonl").chmod(0o660),
}


@pytest.mark.parametrize("what", LOOSENED)
def test_it_does_not_run_where_others_may_touch(folder: Path, what: str) -> None:
    private(folder)
    LOOSENED[what](folder)
    with pytest.raises(UserError, match="others may use it"):
        private(folder)


def test_it_says_no_secret_and_names_no_endpoint(chain: Chain, rpc: str, folder: Path, start_guard: StartGuard) -> None:
    (folder / "guard.toml").write_text(settings(f"{rpc}/key-of-mine"), encoding="utf-8")
    guard = start_guard().listening()
    chain.fault = "html"
    refused = guard.ask(sign("order_1", transaction(entry(chain))))
    assert rule_of(refused) == "rpc"
    guard.ask(Revoke("x"))
    guard.ask(Restore(RESTORE_WORDS, "not-the-password"))
    guard.ask(Restore(RESTORE_WORDS, PASSWORD))
    guard.stop()
    said = "".join([*guard.said, *guard.errors]) + repr(refused)
    for secret in (KEY[2:], PASSWORD, "not-the-password", "key-of-mine", rpc):
        assert secret not in said


def test_the_key_is_on_no_command_line_and_in_no_environment(start_guard: StartGuard) -> None:
    guard = start_guard().listening()
    for name in ("cmdline", "environ"):
        content = Path(f"/proc/{guard.pid}/{name}").read_bytes()
        assert PASSWORD.encode() not in content
        assert KEY[2:].encode() not in content


def test_no_other_process_of_the_user_may_read_its_memory() -> None:
    code = (
        "import ctypes, resource; from server.guard.keystore import keep_to_itself; keep_to_itself(); "
        "print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0), *resource.getrlimit(resource.RLIMIT_CORE))"
    )
    done = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True)
    assert done.stdout == "0 0 0\n", done.stderr


def test_it_knows_nothing_of_the_daemon() -> None:
    code = (
        "import sys; from server.guard import checking, command, process, template; "
        "print(*sorted(name for name in sys.modules if name.split('.')[0] in ('actors', 'server', 'web3')))"
    )
    done = subprocess.run([sys.executable, "-c", code], env=environment(), cwd=ROOT, capture_output=True, text=True)
    names = done.stdout.split()
    assert names, done.stderr
    assert {name for name in names if not name.startswith("server.guard")} == {"server"}


# --- it refuses to begin


def changed(path: Path, old: str, new: str) -> None:
    path.write_text(path.read_text().replace(old, new))


BEGINNINGS: dict[str, tuple[Callable[[Path], None], str]] = {
    "without its ledger": (lambda folder: (folder / "ledger.jsonl").unlink(), "ledger.jsonl"),
    "with a damaged ledger": (
        lambda folder: changed(folder / "ledger.jsonl", "opened", "Opened"),
        "is not what was written",
    ),
    "without its keystore": (lambda folder: (folder / "keystore.json").unlink(), "keystore.json"),
    "with a wrong key in its settings": (
        lambda folder: changed(folder / "guard.toml", "router = ", "porter = "),
        "unknown key",
    ),
    "without a chain": (
        lambda folder: changed(folder / "guard.toml", "http://127.0.0.1:", "http://127.0.0.1:9/"),
        "cannot see the chain",
    ),
}  # fmt: skip


@pytest.mark.parametrize("how", BEGINNINGS)
def test_it_does_not_begin(folder: Path, start_guard: StartGuard, how: str) -> None:
    spoil, words = BEGINNINGS[how]
    spoil(folder)
    said = start_guard().refused()
    assert words in said
    assert said.count("forestay: ") == 1
    assert "Traceback" not in said


def test_a_stranger_in_place_of_its_socket_is_left_alone(folder: Path, start_guard: StartGuard) -> None:
    (folder / "guard.sock").write_text("mine")
    assert "there is something else" in start_guard().refused()
    assert (folder / "guard.sock").read_text() == "mine"
