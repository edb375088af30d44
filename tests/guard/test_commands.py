"""`forestay guard` and `forestay kill` as their owner types them."""

from __future__ import annotations

import json
import stat
import tomllib
from decimal import Decimal
from pathlib import Path

import pytest
from attrs import evolve
from eth_account import Account

from protocol.codec import read_document, to_json
from protocol.signing import RESTORE_WORDS, REVOKE_WORDS, Refused, Signed, pack
from server.guard.config import GuardConfig, load
from server.guard.decode import Approval
from server.guard.template import TEMPLATE
from tests.guard.chain import CAKE, ROUTER, USDT, Chain
from tests.guard.houses import (
    KEY,
    PASSWORD,
    WALLET,
    StartGuard,
    command,
    entry,
    sign,
    transaction,
)

MISTAKE, FAILED = 2, 1


def test_init_makes_a_folder_that_is_its_owners_alone_and_never_makes_it_again(short_path: Path) -> None:
    done = command("guard", "init", "--scrypt-n", "1024", cwd=short_path)
    assert done.returncode == 0, done.stderr
    folder = short_path / "forestay-guard"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {
        "guard.toml": 0o600,
        "keystore.json": 0o600,
        "ledger.jsonl": 0o600,
    }
    assert load(folder).chain_id == 56
    key = Account.decrypt((folder / "keystore.json").read_text(), PASSWORD)
    assert Account.from_key(key).address.lower() in done.stdout
    assert bytes(key).hex() not in done.stdout + done.stderr
    before = {path: path.read_bytes() for path in folder.iterdir()}
    again = command("guard", "init", "--scrypt-n", "1024", cwd=short_path)
    assert again.returncode == MISTAKE
    assert "is not overwritten" in again.stderr
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_init_takes_a_key_that_is_there(short_path: Path) -> None:
    done = command("guard", "--dir", "g", "init", "--scrypt-n", "1024", cwd=short_path, key=KEY)
    assert done.returncode == 0, done.stderr
    assert WALLET in done.stdout
    other = command("guard", "--dir", "other", "init", "--scrypt-n", "1024", "--json", cwd=short_path, key=KEY)
    assert json.loads(other.stdout) == {"address": WALLET, "settings": "other/guard.toml"}
    assert WALLET in (short_path / "g" / "ledger.jsonl").read_text()


@pytest.mark.parametrize(
    ("password", "key", "words"), [("short", KEY, "8 letters"), (PASSWORD, "0x1234", "no key of 64")]
)
def test_init_refuses_what_cannot_be_and_leaves_nothing(short_path: Path, password: str, key: str, words: str) -> None:
    done = command("guard", "init", "--scrypt-n", "1024", cwd=short_path, password=password, key=key)
    assert done.returncode == MISTAKE
    assert words in done.stderr
    assert password not in done.stderr
    assert not list((short_path / "forestay-guard").iterdir())


def test_no_password_is_taken_from_the_environment_or_the_command_line(short_path: Path) -> None:
    done = command("guard", "init", cwd=short_path, password=None, env={"FORESTAY_GUARD__PASSWORD": PASSWORD})
    assert done.returncode != 0
    assert "--password " not in command("guard", "init", "--help", cwd=short_path, password=None).stdout


def test_the_template_says_the_defaults() -> None:
    document = tomllib.loads(TEMPLATE, parse_float=Decimal)
    config = read_document(document, GuardConfig)
    kept = {key: document[key] for key in ("router", "usdt", "tokens", "rpc")}
    bare = read_document(kept, GuardConfig)
    assert config == evolve(bare, factory=config.factory, hops=config.hops)


def test_status_kill_and_restore_talk_to_the_guard_itself(chain: Chain, start_guard: StartGuard) -> None:
    guard = start_guard().listening()
    where, cwd = ("--dir", str(guard.folder)), guard.folder.parent
    guard.ask(sign("order_1", transaction(entry(chain))))
    shown = command("guard", "status", *where, cwd=cwd, password=None)
    assert shown.returncode == 0, shown.stderr
    for words in ("armed", WALLET, "10 of 200 USDT", "log_1 row 1", CAKE):
        assert words in shown.stdout
    wrong = command("kill", *where, "--confirm", "yes", cwd=cwd, password=None)
    assert (wrong.returncode, REVOKE_WORDS in wrong.stderr) == (MISTAKE, True)
    killed = command("kill", *where, "--confirm", REVOKE_WORDS, "--reason", "I saw it", cwd=cwd, password=None)
    assert killed.returncode == 0, killed.stderr
    shown = command("guard", "status", "--json", "--socket", guard.socket, cwd=cwd, password=None)
    status = json.loads(shown.stdout)
    assert (status["killed"], status["killed_reason"]) == (True, "I saw it")
    wrong = command("guard", "restore", *where, "--confirm", RESTORE_WORDS, cwd=cwd, password="something else")
    assert wrong.returncode == MISTAKE
    assert "does not open" in wrong.stderr
    restored = command("guard", "restore", *where, "--confirm", RESTORE_WORDS, cwd=cwd)
    assert restored.returncode == 0, restored.stderr
    killed = command("kill", *where, "--confirm", REVOKE_WORDS, "--json", cwd=cwd, password=None)
    assert list(json.loads(killed.stdout)) == ["killed_at"]
    restored = command("guard", "restore", *where, "--confirm", RESTORE_WORDS, "--json", cwd=cwd)
    assert json.loads(restored.stdout) == {"kind": "restored"}
    assert isinstance(guard.ask(sign("order_2", transaction(entry(chain, 11), nonce=1), row=2)), Signed)


def test_kill_without_a_running_guard_is_written_for_the_next_start(
    chain: Chain, folder: Path, start_guard: StartGuard
) -> None:
    done = command("kill", "--dir", str(folder), "--confirm", REVOKE_WORDS, cwd=folder.parent, password=None)
    assert done.returncode == 0, done.stderr
    assert "no guard listens" in done.stderr
    refused = start_guard().listening().ask(sign("order_1", transaction(entry(chain))))
    assert isinstance(refused, Refused)
    assert refused.rule == "kill_switch"


def test_guard_without_a_command_runs_it(short_path: Path) -> None:
    for words in (("guard", "--dir", "nowhere"), ("guard", "run", "--dir", "nowhere")):
        done = command(*words, cwd=short_path)
        assert done.returncode == MISTAKE
        assert done.stderr == "forestay: nowhere/guard.toml: there is no such file; `forestay guard init` writes one\n"


def test_status_says_where_no_guard_listens(folder: Path) -> None:
    done = command("guard", "status", "--dir", str(folder), cwd=folder.parent, password=None)
    assert done.returncode == MISTAKE
    assert "no guard listens there" in done.stderr


def write(path: Path, document: object) -> str:
    path.write_bytes(to_json(document))
    return str(path)


def test_policy_check_says_what_a_transaction_does_and_what_each_rule_says(
    chain: Chain, folder: Path, tmp_path: Path
) -> None:
    good = write(tmp_path / "tx.json", pack(transaction(entry(chain))))
    check = ("guard", "policy", "check", "--dir", str(folder))
    offline = command(*check, good, cwd=tmp_path, password=None)
    assert offline.returncode == 0, offline.stderr + offline.stdout
    assert "Swap (entry): gives 10 USDT for" in offline.stdout
    assert "USDT > CAKE" in offline.stdout
    assert "10 USDT  (limit: 50 USDT)" in offline.stdout
    assert "needs --online" in offline.stdout
    online = command(*check, "--online", good, cwd=tmp_path, password=None)
    assert online.returncode == 0, online.stderr + online.stdout
    assert "below the guard's own quote" in online.stdout
    told = json.loads(command(*check, "--json", good, cwd=tmp_path, password=None).stdout)
    assert told["what"] == offline.stdout.splitlines()[0]
    assert told["passes"] is True
    rules = {rule["rule"]: rule for rule in told["rules"]}
    assert list(rules) == [line.split()[1] for line in offline.stdout.splitlines()[1:]]
    assert rules["rpc"] == {"rule": "rpc", "ok": None, "measured": None, "limit": None}
    assert read_bytes(folder / "ledger.jsonl").count(b"\n") == 1


def read_bytes(path: Path) -> bytes:
    return path.read_bytes()


def test_policy_check_takes_the_words_of_json_rpc_too_and_fails_where_a_rule_says_no(
    folder: Path, tmp_path: Path
) -> None:
    tx = transaction(Approval(ROUTER, 2**256 - 1), value=1)
    document = {
        "chainId": "0x38",
        "nonce": 0,
        "to": USDT,
        "value": "0x1",
        "input": tx.data,
        "gas": 60_000,
        "gasPrice": "0x3b9aca00",
    }
    path = write(tmp_path / "tx.json", document)
    done = command("guard", "policy", "check", "--dir", str(folder), path, cwd=tmp_path, password=None)
    assert done.returncode == FAILED, done.stderr
    assert f"Approval: lets {ROUTER} take" in done.stdout
    refused = [line.split()[1] for line in done.stdout.splitlines() if line.startswith("REFUSED")]
    assert refused == ["value", "approval"]
    as_json = command("guard", "policy", "check", "--json", "--dir", str(folder), path, cwd=tmp_path, password=None)
    told = json.loads(as_json.stdout)
    assert (as_json.returncode, told["passes"]) == (FAILED, False)
    assert [rule["rule"] for rule in told["rules"] if rule["ok"] is False] == refused


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"to": "0x12"}', "\xff"])
def test_policy_check_says_what_is_wrong_with_a_file(folder: Path, tmp_path: Path, text: str) -> None:
    path = tmp_path / "tx.json"
    path.write_text(text, encoding="latin-1")
    done = command("guard", "policy", "check", "--dir", str(folder), str(path), cwd=tmp_path, password=None)
    assert done.returncode == MISTAKE
    assert done.stderr.startswith(f"forestay: {path}: ")
    assert "Traceback" not in done.stderr
