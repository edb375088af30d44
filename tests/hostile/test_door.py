"""The guard's process among hostile connections, with a chain that mines by itself: what it cannot read costs its
connection, many that race one cap do not pass it, and a kill is heard over all of them."""

from __future__ import annotations

import json
import resource
import signal
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from protocol.signing import (
    LONGEST_LINE,
    GuardStatus,
    Malformed,
    ReadGuard,
    Refused,
    Revoke,
    Revoked,
    Signed,
    read_answer,
    to_line,
)
from server.guard import client
from tests.evm.market import USDT, Market
from tests.guard.houses import WALLET, GuardProcess, asked, line_from
from tests.hostile.oracle import Oracle, decree_allowance
from tests.hostile.stand import E18, LARGE, Stand, signatures


@pytest.fixture
def open_stand(market: Market) -> Stand:
    """A stand whose chain mines by itself."""
    market.fund(WALLET, {"BNB": 100, "USDT": 100_000, "CAKE": 1000})
    for symbol in (USDT, "CAKE"):
        decree_allowance(market, WALLET, symbol, LARGE)
    return Stand(market, Oracle(market, WALLET))


@pytest.fixture
def guard(open_stand: Stand, short_path: Path) -> Iterator[GuardProcess]:
    running = GuardProcess(open_stand.house(short_path / "g"))
    try:
        yield running.listening()
    finally:
        running.stop()


def text(change: Callable[[dict[str, Any]], object]) -> Callable[[bytes], bytes]:
    """A line whose JSON is changed in place."""

    def made(line: bytes) -> bytes:
        value = json.loads(line)
        change(value)
        return json.dumps(value).encode() + b"\n"

    return made


def of_tx(**changes: object) -> Callable[[bytes], bytes]:
    return text(lambda value: value["tx"].update(changes))


UNREADABLE: dict[str, Callable[[bytes], bytes]] = {
    "the creation of a contract, without `to`": text(lambda value: value["tx"].pop("to")),
    "the creation of a contract, to nobody": of_tx(to=None),
    "the creation of a contract, to nothing": of_tx(to=""),
    "a short address": of_tx(to="0x" + "99" * 19),
    "an address in letters of another alphabet": of_tx(to="0x" + "\uff11" * 40),
    "an address with a line end": of_tx(to="0x" + "99" * 20 + "\n"),
    "half a byte": of_tx(data="0x0"),
    "calldata that is no hex": of_tx(data="0xzz"),
    "a negative number": of_tx(value="-1"),
    "a number with a sign": of_tx(value="+1"),
    "a number with a point": of_tx(gas="250000.0"),
    "a number in hex": of_tx(nonce="0x0"),
    "a number with an exponent": of_tx(gas_price="1e9"),
    "a number with a zero before it": of_tx(gas_price="01"),
    "a number with a space": of_tx(gas_price=" 1"),
    "a number of other digits": of_tx(gas_price="\u0661"),
    "a number that is none": of_tx(gas_price="NaN"),
    "a number that is no text": of_tx(gas_price=10**9),
    "a number of 2**256": of_tx(value=str(2**256)),
    "a number of a thousand digits": of_tx(value="1" * 1000),
    "truth for a number": of_tx(value=True),
    "nothing for a number": of_tx(value=None),
    "a list for a transaction": text(lambda value: value.update(tx=[])),
    "an unknown field": of_tx(maxFeePerGas="1"),
    "an access list": of_tx(access_list=[]),
    "no nonce": text(lambda value: value["tx"].pop("nonce")),
    "no anchor": text(lambda value: value.pop("anchor")),
    "an intent of two lines": text(lambda value: value.update(intent="a\nb")),
    "an intent of nothing": text(lambda value: value.update(intent="")),
    "an intent without end": text(lambda value: value.update(intent="a" * 129)),
    "an unknown kind": text(lambda value: value.update(kind="sign_all")),
    "no kind": text(lambda value: value.pop("kind")),
    "a list of requests": lambda line: b"[" + line.strip() + b"]\n",
    "two requests on a line": lambda line: line.strip() + line,
    "bytes that are no text": lambda line: b"\xff\xfe" + line,
    "an abyss of brackets": lambda line: b"[" * (LONGEST_LINE - 1) + b"\n",
    "an abyss of objects": lambda line: b'{"tx":' * 2700 + b"\n",
    "an empty line": lambda line: b"\n",
    "a line that is too long": lambda line: b" " * (LONGEST_LINE + 4096) + line,
    "a request for a browser": lambda line: b"POST / HTTP/1.1\r\nHost: x\r\n\r\n" + line,
}  # fmt: skip


def test_what_cannot_be_read_costs_its_connection_and_signs_nothing(open_stand: Stand, guard: GuardProcess) -> None:
    valid = open_stand.ask(open_stand.buy())
    with guard.connected() as neighbour:
        for what, spoil in UNREADABLE.items():
            with guard.connected() as sock:
                sock.sendall(spoil(to_line(valid)))
                assert isinstance(read_answer(line_from(sock)), Malformed), what
                assert rest(sock) == b"", what
            assert isinstance(asked(neighbour, ReadGuard()), GuardStatus), what
        assert signatures(guard.folder) == {}
        answer = asked(neighbour, valid)
        assert isinstance(answer, Signed), answer
    before = open_stand.market.balance(WALLET, USDT)
    open_stand.market.chain.mined(open_stand.market.chain.send_signed(bytes.fromhex(answer.raw[2:])))
    assert open_stand.market.balance(WALLET, USDT) == before - 10 * E18


def rest(sock: socket.socket) -> bytes:
    """What comes until it hangs up, which it may do rudely."""
    said = b""
    try:
        while chunk := sock.recv(4096):
            said += chunk
    except ConnectionResetError:
        pass
    return said


def test_connections_that_race_one_cap_do_not_pass_it_together(open_stand: Stand, guard: GuardProcess) -> None:
    """Each may take any nonce, so that nothing but the cap stands between them."""
    least = open_stand.least((USDT, "CAKE"), 50 * E18)
    trade, row = open_stand.buy(50 * E18, min_out=least), open_stand.ask(open_stand.buy()).anchor

    def race(number: int) -> list[tuple[int, Signed]]:
        with guard.connected() as sock:
            for nonce in range(6):
                answer = asked(sock, open_stand.ask(open_stand.tx(trade, nonce=nonce), f"race_{number}", anchor=row))
                if isinstance(answer, Signed):
                    return [(nonce, answer)]
                assert isinstance(answer, Refused), answer
                assert answer.rule in ("nonce", "daily_cap")
        return []

    with ThreadPoolExecutor(24) as racers:
        got = sorted((one for found in racers.map(race, range(24)) for one in found), key=lambda one: one[0])
    chain, before = open_stand.market.chain, open_stand.market.balance(WALLET, USDT)
    assert [nonce for nonce, _ in got] == list(range(len(got)))
    for _, answer in got:
        chain.mined(chain.send_signed(bytes.fromhex(answer.raw[2:])))
    assert before - open_stand.market.balance(WALLET, USDT) == len(got) * 50 * E18
    assert 1 <= len(got) <= 4
    known = signatures(guard.folder)
    assert sorted(answer.raw for _, answer in got) == sorted(one.raw for versions in known.values() for one in versions)


def test_a_second_connection_for_the_same_nonce_or_intent_gets_no_second_signature(
    open_stand: Stand, guard: GuardProcess
) -> None:
    first = open_stand.ask(open_stand.buy())
    other = evolve(open_stand.ask(open_stand.sell(), first.intent), anchor=first.anchor)
    third = evolve(open_stand.ask(open_stand.sell()), anchor=first.anchor)
    with ExitStack() as stack:
        socks = [stack.enter_context(guard.connected()) for _ in range(4)]
        for sock, question in zip(socks, (first, other, third, first), strict=True):
            sock.sendall(to_line(question))  # none is answered before all are asked
        answers = [read_answer(line_from(sock)) for sock in socks]
    leaving = {answer.raw for answer in answers if isinstance(answer, Signed)}
    assert len(leaving) == 1
    chain = open_stand.market.chain
    chain.mined(chain.send_signed(bytes.fromhex(leaving.pop()[2:])))
    assert chain.nonce(WALLET) == 1


def flood(open_stand: Stand) -> bytes:
    """Many requests in one breath, that the guard has to look at the chain for."""
    question = open_stand.ask(open_stand.buy(min_out=1))
    return b"".join(to_line(evolve(question, intent=f"flood_{number}")) for number in range(20))


def test_a_kill_is_heard_over_a_flood_of_busy_connections(open_stand: Stand, guard: GuardProcess) -> None:
    """More connections than the guard has descriptors for, each with a heap of requests and reading no answer."""
    resource.prlimit(guard.pid, resource.RLIMIT_NOFILE, (256, 256))
    questions = flood(open_stand)
    with ExitStack() as stack:
        for number in range(400):
            sock = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
            sock.settimeout(5)
            try:
                sock.connect(guard.socket)
                sock.sendall(questions if number < 300 else b"")
            except (OSError, TimeoutError):
                pass  # hung up on, or not let in: as it should be
        assert isinstance(client.ask(guard.socket, Revoke("enough")), Revoked)  # as `forestay kill` does
    answer = client.ask(guard.socket, open_stand.ask(open_stand.buy()))
    assert isinstance(answer, Refused)
    assert answer.rule == "kill_switch"


def test_a_guard_that_died_under_a_flood_knows_all_that_left(open_stand: Stand, guard: GuardProcess) -> None:
    questions = [open_stand.ask(open_stand.tx(open_stand.sell(E18), nonce=n)) for n in range(12)]
    got: dict[str, Signed] = {}
    with guard.connected() as sock:
        sock.sendall(b"".join(map(to_line, questions)))
        for question in questions[:4]:
            answer = read_answer(line_from(sock))
            assert isinstance(answer, Signed), answer
            got[question.intent] = answer
        guard.stop(signal.SIGKILL)
    assert signatures(guard.folder).items() >= {intent: [answer] for intent, answer in got.items()}.items()
