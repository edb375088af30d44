"""The kit's way: what the stand-in does, and what the guard makes of it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import trio
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from protocol.signing import (
    Answer,
    GuardStatus,
    NotSent,
    ReadGuard,
    Recall,
    Recalled,
    Refused,
    Revoke,
    Sent,
    SwapByTwak,
    Unknown,
)
from server.guard.books import Attempted
from server.guard.config import GuardConfig, load
from server.guard.eyes import Eyes
from server.guard.guard import Guard
from server.guard.ledger import Ledger, read
from server.guard.twak import (
    NOTHING_SENT,
    Kit,
    NotStarted,
    Run,
    Unquoted,
    first_object,
    min_received,
    slippage_to,
    verdict,
)
from tests.guard.chain import CAKE, E18, LINK, USDT, WBNB, Chain
from tests.guard.houses import WALLET, anchor, entry, exit_, settings, sign, transaction
from tests.guard.kit import HASH, StandIn

SECRETS = {"TWAK_ACCESS_ID": "access-1", "TWAK_HMAC_SECRET": "hmac-2", "TWAK_WALLET_PASSWORD": "wallet-3"}
Opened = Callable[..., AbstractAsyncContextManager[Guard]]


@pytest.fixture
def kit(tmp_path: Path) -> StandIn:
    return StandIn(tmp_path / "kit")


def config_for(folder: Path, rpc: str, kit: StandIn, execute_seconds: float = 60.0) -> GuardConfig:
    extra = 'way = "twak"'
    twak = f'[twak]\ncommand = ["{kit.path}"]\naddress = "{WALLET}"\nhome = "{kit.folder}"\n'
    text = settings(rpc, extra) + twak + f"execute_seconds = {execute_seconds}\n"
    (folder / "guard.toml").write_text(text, encoding="utf-8")
    return load(folder)


@pytest.fixture
def opened(tmp_path: Path, rpc: str, kit: StandIn) -> Opened:
    """A guard of the kit's way; it is watched over as in its process."""

    @asynccontextmanager
    async def open_guard(**changes: Any) -> AsyncIterator[Guard]:
        config, path = config_for(tmp_path, rpc, kit, **changes), tmp_path / "ledger.jsonl"
        if not path.exists():
            Ledger.create(path, "0x" + "7" * 40, datetime.now(UTC))
        environ = {**os.environ, **SECRETS, "MY_OWN_SECRET": "nobody's business"}
        ledger = Ledger(path)
        try:
            async with Eyes(config) as eyes, trio.open_nursery() as nursery:
                guard = Guard(config, ledger, eyes, tmp_path / "none", None, Kit(config, environ))
                nursery.start_soon(guard.keep_watch)
                yield guard
                nursery.cancel_scope.cancel()
        finally:
            ledger.close()

    return open_guard


def swap(intent: str = "order_1", usdt: int = 10, row: int = 1, **changes: Any) -> SwapByTwak:
    order = entry(Chain(), usdt)
    asked = SwapByTwak(intent, USDT, CAKE, usdt * E18, order.min_out * 998 // 1000, order.deadline, anchor(row))
    return evolve(asked, **changes)


def rule_of(answer: Answer) -> str:
    assert isinstance(answer, Refused), answer
    return answer.rule


# --- the command lines and the environment


async def test_it_quotes_first_and_swaps_by_the_documented_command_line(kit: StandIn, opened: Opened) -> None:
    async with opened() as guard:
        assert await guard.answer(swap(usdt=10)) == Sent(HASH)
    quote, execute = (run["argv"] for run in kit.runs())
    words = ["swap", "10", USDT, CAKE, "--chain", "bsc", "--slippage", "0.2"]  # what the request leaves, not the limit
    assert quote == [*words, "--quote-only", "--json"]
    assert execute == [*words, "--json"]
    assert kit.sent() == 1


async def test_its_credentials_go_through_the_environment_and_nothing_else_does(kit: StandIn, opened: Opened) -> None:
    async with opened() as guard:
        await guard.answer(swap())
    for run in kit.runs():
        assert not [word for word in run["argv"] for secret in SECRETS.values() if secret in word]
        assert {key: run["env"][key] for key in SECRETS} == SECRETS
        assert run["env"]["HOME"] == str(kit.folder)
        assert "MY_OWN_SECRET" not in run["env"]


async def test_amounts_are_plain_decimals_to_the_last_unit(kit: StandIn, opened: Opened) -> None:
    async with opened() as guard:
        assert isinstance(await guard.answer(swap(spend=1, min_received=1)), Sent)
        await guard.answer(swap("order_2", spend=10 * E18 + 1, row=2))
    assert [argv[1] for argv in (run["argv"] for run in kit.runs())][::2][:2] == [
        "0.000000000000000001",
        "10.000000000000000001",
    ]


async def test_it_begins_only_with_the_wallet_that_the_settings_name(kit: StandIn, tmp_path: Path, rpc: str) -> None:
    config = config_for(tmp_path, rpc, kit)
    assert await Kit(config, os.environ).owns(WALLET)
    kit.plan(wallet="0x" + "1" * 40)
    assert not await Kit(config, os.environ).owns(WALLET)
    kit.path.unlink()
    with pytest.raises(NotStarted):
        await Kit(config, os.environ).owns(WALLET)


# --- verdicts

UNSURE = ["NETWORK_ERROR", "TX_FAILED", "APPROVAL_SENT_SWAP_FAILED", "UNKNOWN_ERROR", "SOMETHING_NEW"]


def error(code: str, **more: Any) -> str:
    return json.dumps({"error": "words", "errorCode": code} | more)


VERDICTS: dict[str, tuple[Run, Any]] = {
    "a hash": (Run(0, json.dumps({"hash": HASH})), Sent(HASH)),
    "a hash behind lines for people": (Run(0, "Swapping {10 USDT} ...\n" + json.dumps({"hash": HASH})), Sent(HASH)),
    "a hash, though it ends badly": (Run(3, json.dumps({"hash": HASH})), Sent(HASH)),
    "a hash in big letters": (Run(0, json.dumps({"hash": "0x" + "AB" * 32})), Sent(HASH)),
    **{f"{code}": (Run(1, error(code)), NotSent) for code in sorted(NOTHING_SENT)},
    **{f"{code}": (Run(1, error(code)), Unknown) for code in sorted(UNSURE)},
    "a sure error that ends well": (Run(0, error("NO_ROUTES")), Unknown),
    "a sure error with a hash": (Run(1, error("NO_ROUTES", hash=HASH)), Unknown),
    "a failed transaction with its hash": (
        Run(1, error("TX_FAILED", hash=HASH)), Unknown("the kit ended with 1 and TX_FAILED", HASH),
    ),
    "an error without a code": (Run(1, '{"error": "words"}'), Unknown),
    "an error whose code is no text": (Run(1, '{"errorCode": ["NO_ROUTES"]}'), Unknown),
    "nothing": (Run(0, ""), Unknown),
    "HTML": (Run(0, "<html>502 Bad Gateway</html>"), Unknown),
    "half of an object": (Run(0, '{"hash": "0xab'), Unknown),
    "a list": (Run(0, "[1, 2]"), Unknown),
    "an object without a hash": (Run(0, '{"output": "1 CAKE"}'), Unknown),
    "a hash that is none": (Run(0, '{"hash": "0x1234"}'), Unknown),
    "a hash that is no text": (Run(0, '{"hash": 7}'), Unknown),
    "ended from outside": (Run(None, ""), Unknown),
    "ended from outside after a hash": (
        Run(None, json.dumps({"hash": HASH})), Unknown("the kit was ended before it was done", HASH),
    ),
    "an abyss of brackets": (Run(0, '{"a":' * 50_000), Unknown),
}  # fmt: skip


@pytest.mark.parametrize("name", VERDICTS)
def test_a_run_comes_to_its_verdict(name: str) -> None:
    run, expected = VERDICTS[name]
    found = verdict(run)
    if isinstance(expected, type):
        assert isinstance(found, expected)
    else:
        assert found == expected


@given(st.one_of(st.none(), st.integers(0, 255)), st.text())
def test_whatever_it_prints_it_is_unknown_unless_it_is_documented(code: int | None, text: str) -> None:
    assert isinstance(verdict(Run(code, text)), Unknown)


@given(st.text().filter(lambda text: "{" not in text), st.dictionaries(st.text(), st.text(), min_size=1), st.text())
def test_the_first_object_is_found_behind_anything(before: str, found: dict[str, str], after: str) -> None:
    assert first_object(before + json.dumps(found) + after) == found


NO_QUOTES = {
    "no minReceived": Run(0, '{"output": "5 CAKE"}'),
    "minReceived of no amount": Run(0, '{"minReceived": "about five"}'),
    "minReceived without end": Run(0, '{"minReceived": "Infinity CAKE"}'),
    "minReceived of nothing": Run(0, '{"minReceived": "0 CAKE"}'),
    "minReceived as a number": Run(0, '{"minReceived": 5}'),
    "an empty minReceived": Run(0, '{"minReceived": " "}'),
    "an error": Run(1, error("NO_ROUTES")),
    "a quote that ends badly": Run(1, '{"minReceived": "5 CAKE"}'),
    "no JSON": Run(0, "five"),
    "too long a wait": Run(None, '{"minReceived": "5 CAKE"}'),
}


@given(st.integers(1, 10**30), st.data())
def test_a_kit_that_keeps_to_its_slippage_brings_what_was_asked_for(quote: int, data: st.DataObject) -> None:
    least = data.draw(st.integers(1, quote))
    slippage = Fraction(slippage_to(least, quote)) / 100
    assert quote * (1 - slippage) >= least
    assert quote * (1 - slippage - Fraction(1, 10_000)) < least, "it may slip no further"
    assert slippage_to(quote + least, quote) == 0


@pytest.mark.parametrize("name", NO_QUOTES)
def test_a_quote_that_cannot_be_relied_on_is_none(name: str, tmp_path: Path, kit: StandIn) -> None:
    token = config_for(tmp_path, "http://127.0.0.1:1", kit).tokens["CAKE"]
    with pytest.raises(Unquoted):
        min_received(NO_QUOTES[name], token)
    assert min_received(Run(0, 'Quote:\n{"minReceived": "4.5 CAKE"}'), token) == 45 * E18 // 10


# --- what is refused before anything is run, or sent

REFUSED: dict[str, tuple[str, dict[str, Any]]] = {
    "over the cap": ("per_trade_cap", {"spend": 51 * E18}),
    "an unknown token": ("allowlist", {"to_token": "0x" + "9" * 40}),
    "a hop": ("allowlist", {"to_token": WBNB}),
    "a token for a token": ("allowlist", {"from_token": CAKE, "to_token": LINK}),
    "any price": ("slippage", {"min_received": 0}),
    "too late": ("deadline", {"deadline": Chain().time}),
    "without end": ("deadline", {"deadline": Chain().time + 181}),
    "more than there is": ("balance", {"from_token": CAKE, "to_token": USDT, "spend": 1001 * E18, "min_received": 1}),
    "more than the kit promises": ("slippage", {"min_received": 499 * E18 // 100}),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_a_swap_against_the_policy_is_never_executed(name: str, kit: StandIn, opened: Opened) -> None:
    rule, changes = REFUSED[name]
    async with opened() as guard:
        assert rule_of(await guard.answer(swap(**changes))) == rule
        assert await guard.answer(Recall("order_1")) == Recalled()
    assert kit.swaps() == []


async def test_without_a_quote_or_a_sight_nothing_is_executed(chain: Chain, kit: StandIn, opened: Opened) -> None:
    async with opened() as guard:
        kit.plan(quote={"says": {"output": "5 CAKE"}})
        assert rule_of(await guard.answer(swap())) == "slippage"
        kit.plan()
        chain.fault = "busy"
        assert rule_of(await guard.answer(swap())) == "rpc"
        chain.fault = ""
        kit.path.unlink()
        assert rule_of(await guard.answer(swap())) == "slippage"
    assert kit.swaps() == []


async def test_the_caps_count_attempts_whatever_came_of_them(kit: StandIn, opened: Opened) -> None:
    kit.plan(
        quote={"says": {"minReceived": "50 CAKE"}}, swap={"code": 1, "says": {"error": "x", "errorCode": "NO_ROUTES"}}
    )
    async with opened() as guard:
        for number in range(4):
            assert isinstance(await guard.answer(swap(f"order_{number}", 50, number)), NotSent)
        assert rule_of(await guard.answer(swap("order_5", 50, 9))) == "daily_cap"
    assert len(kit.swaps()) == 4


async def test_an_exit_is_not_stopped_by_a_spent_cap(kit: StandIn, opened: Opened) -> None:
    kit.plan(quote={"says": {"minReceived": "5000 USDT"}})
    async with opened() as guard:
        for number in range(4):
            await guard.answer(swap(f"order_{number}", 50, number))
        order = exit_(Chain(), 900)
        out = SwapByTwak("exit", CAKE, USDT, 900 * E18, order.min_out, order.deadline, anchor(9))
        assert await guard.answer(out) == Sent(HASH)


async def test_a_guard_of_the_kits_way_signs_no_transactions(chain: Chain, opened: Opened) -> None:
    async with opened() as guard:
        assert rule_of(await guard.answer(sign("order_1", transaction(entry(chain))))) == "way"


# --- once, or not at all

BEHAVIOURS: dict[str, tuple[dict[str, Any], type]] = {
    "is honest": ({"sends": True, "says": {"hash": HASH}}, Sent),
    "dies before it sends": ({"dies": True}, Unknown),
    "dies after it has sent": ({"sends": True, "dies": True}, Unknown),
    "says HTML after it has sent": ({"sends": True, "before": "<html>{502}</html>"}, Unknown),
    "says it to people first": ({"sends": True, "before": "Sending {1} ...\n", "says": {"hash": HASH}}, Sent),
    "does not wait for its receipt": (
        {"sends": True, "code": 1, "says": {"error": "timeout", "errorCode": "NETWORK_ERROR"}}, Unknown,
    ),
    "knows no route": ({"code": 1, "says": {"error": "x", "errorCode": "NO_ROUTES"}}, NotSent),
    "talks without end": ({"sends": True, "noise": 10_000_000}, Unknown),
}  # fmt: skip


@pytest.mark.parametrize("name", BEHAVIOURS)
async def test_however_it_ends_it_is_run_once_for_an_intent(name: str, kit: StandIn, opened: Opened) -> None:
    plan, kind = BEHAVIOURS[name]
    kit.plan(swap=plan)
    async with opened() as guard:
        first = await guard.answer(swap())
        assert isinstance(first, kind)
        assert await guard.answer(swap()) == first
        recalled = await guard.answer(Recall("order_1"))
        assert isinstance(recalled, Recalled)
        assert recalled.verdict == first
        assert rule_of(await guard.answer(swap(usdt=11))) == "intent"
    async with opened() as guard:
        assert await guard.answer(swap(row=2)) == first
    assert len(kit.swaps()) == 1


async def test_one_that_hangs_is_ended_with_all_that_it_has_started(kit: StandIn, opened: Opened) -> None:
    kit.plan(swap={"sends": True, "hangs": True, "child": True})
    async with opened(execute_seconds=3.0) as guard:
        assert isinstance(await guard.answer(swap()), Unknown)
    assert not alive(kit.reached)
    assert not alive(kit.folder / "child")
    assert len(kit.swaps()) == 1


def alive(noted: Path) -> bool:
    """Is the process whose number stands there still running? (A zombie waits for its reader only.)"""
    try:
        state = Path(f"/proc/{noted.read_text()}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


async def reached(kit: StandIn) -> None:
    with trio.fail_after(60):
        while not await trio.Path(kit.reached).exists():
            await trio.sleep(0.01)


async def test_one_execution_at_a_time(kit: StandIn, opened: Opened) -> None:
    kit.plan(swap={"hangs": True})
    async with opened() as guard, trio.open_nursery() as nursery:
        kit.reached.unlink(missing_ok=True)
        nursery.start_soon(guard.answer, swap())
        await executing(kit)
        assert rule_of(await guard.answer(swap("order_2"))) == "in_flight"
        assert isinstance(await guard.answer(swap()), Unknown)  # the same intent: nobody knows yet
        await guard.answer(Revoke("enough"))
    assert len(kit.swaps()) == 1


async def executing(kit: StandIn) -> None:
    with trio.fail_after(60):
        while not kit.swaps() or not await trio.Path(kit.reached).exists():
            await trio.sleep(0.01)


async def test_a_kill_ends_what_the_kit_is_at_before_it_is_answered(kit: StandIn, opened: Opened) -> None:
    kit.plan(swap={"hangs": True, "child": True})
    answers: list[Answer] = []

    async def ask(guard: Guard) -> None:
        answers.append(await guard.answer(swap()))

    async with opened() as guard, trio.open_nursery() as nursery:
        nursery.start_soon(ask, guard)
        await executing(kit)
        await until(lambda: (kit.folder / "child").exists())
        await guard.answer(Revoke("enough"))
        assert answers == []
    assert not alive(kit.reached)
    assert not alive(kit.folder / "child")
    assert [type(answer) for answer in answers] == [Unknown]
    async with opened() as guard:
        assert rule_of(await guard.answer(swap())) == "kill_switch"
        assert rule_of(await guard.answer(swap("order_2", row=3))) == "kill_switch"


async def until(holds: Callable[[], bool]) -> None:
    with trio.fail_after(60):
        while not holds():
            await trio.sleep(0.01)


async def test_an_attempt_without_a_verdict_is_unknown_and_never_run_again(
    kit: StandIn, opened: Opened, tmp_path: Path
) -> None:
    async with opened():
        pass
    ledger = Ledger(tmp_path / "ledger.jsonl")  # a guard that was killed right behind the record
    asked = swap()
    record = Attempted(
        asked.intent, USDT, CAKE, asked.spend, asked.min_received, asked.spend, 0, "2020-01-01", asked.anchor
    )
    ledger.append(record, datetime.now(UTC))
    ledger.close()
    async with opened() as guard:
        assert isinstance(await guard.answer(asked), Unknown)
        recalled = await guard.answer(Recall("order_1"))
        assert isinstance(recalled, Recalled)
        assert isinstance(recalled.verdict, Unknown)
    assert kit.swaps() == []


async def test_a_guard_that_is_stopped_ends_the_kit_and_records_that_nobody_knows(
    kit: StandIn, opened: Opened, tmp_path: Path
) -> None:
    kit.plan(swap={"hangs": True})
    async with opened() as guard, trio.open_nursery() as nursery:
        nursery.start_soon(guard.answer, swap())
        await executing(kit)
        nursery.cancel_scope.cancel()
    assert not alive(kit.reached)
    assert isinstance(read(tmp_path / "ledger.jsonl").attempts["order_1"].verdict, Unknown)


# --- held to its word


async def test_a_kit_that_spends_more_than_it_was_to_is_found_out_and_stopped(
    chain: Chain, kit: StandIn, opened: Opened
) -> None:
    async with opened() as guard:
        assert await guard.answer(swap(usdt=10)) == Sent(HASH)
        chain.balances[USDT] -= 30 * E18
        await until(lambda: guard.killed)
        status = await guard.answer(ReadGuard())
        assert isinstance(status, GuardStatus)
        assert status.killed_reason == ("the kit was to spend 10 USDT for order_1, and there are 20 USDT too few")
        assert rule_of(await guard.answer(swap("order_2", row=2))) == "kill_switch"


async def test_a_kit_that_spends_what_it_was_to_is_not_stopped(chain: Chain, kit: StandIn, opened: Opened) -> None:
    async with opened() as guard:
        for number in (1, 2):
            assert await guard.answer(swap(f"order_{number}", 10, number)) == Sent(HASH)
        chain.balances[USDT] -= 20 * E18
        seen = chain.asked
        await until(lambda: chain.asked >= seen + 4)  # both are looked at, and looked at again
        assert not guard.killed
        chain.balances[USDT] -= 1
        await until(lambda: guard.killed)


async def test_a_kit_that_has_sent_what_it_says_it_has_not_is_found_out(
    chain: Chain, kit: StandIn, opened: Opened
) -> None:
    kit.plan(swap={"sends": True, "code": 1, "says": {"error": "x", "errorCode": "NO_ROUTES"}})
    async with opened() as guard:
        assert isinstance(await guard.answer(swap(usdt=10)), NotSent)
        chain.balances[USDT] -= E18
        await until(lambda: guard.killed)
        status = await guard.answer(ReadGuard())
        assert isinstance(status, GuardStatus)
        assert status.killed_reason == "the kit says it sent nothing for order_1, and there are 1 USDT too few"


# --- the real one

REAL = shutil.which("twak")
WITH_CREDENTIALS = REAL is not None and all(os.environ.get(name) for name in SECRETS)


@pytest.mark.skipif(not WITH_CREDENTIALS, reason="not run: no real twak on PATH with credentials in the environment")
def test_the_real_kit_quotes_as_documented() -> None:
    assert REAL is not None
    usdt, cake = "0x55d398326f99059fF775485246999027B3197955", "0x0E09FaBB73Bd3Ade0a17ECC321fD13a19e81cE82"
    words = ["swap", "1", usdt, cake, "--chain", "bsc", "--slippage", "0.5", "--quote-only", "--json"]
    done = subprocess.run([REAL, *words], capture_output=True, text=True, timeout=120)
    said = first_object(done.stdout)
    assert said is not None
    assert done.returncode == 0, said
    assert {"input", "output", "provider"} <= set(said)
