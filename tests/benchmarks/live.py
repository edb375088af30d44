"""Live trading on a real EVM: what the guard, its kill switch and a quote take.

`python -m tests.benchmarks.live signing|killing|quoting FOLDER COUNT` sets up a market on anvil and the guard as a
process (and for the kill a daemon), says `ready`, and prints what it measured as JSON, in seconds.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from time import perf_counter
from typing import Final

import trio
from attrs import evolve

from actors.chain.bars import Pool
from actors.chain.founding import found
from actors.chain.rpc import RpcChain
from actors.quote_verifier.verify import verify
from actors.twak_signer.actor import Armed, _observed
from actors.twak_signer.guard import SocketGuard
from protocol.orders import Order, Quote
from protocol.settings import AgentConfig, ChainSettings, TokenSettings
from protocol.signing import (
    RESTORE_WORDS,
    REVOKE_WORDS,
    Refused,
    Restore,
    Restored,
    Revoke,
    Revoked,
    Signed,
    SignTransaction,
)
from server.guard.config import load
from server.guard.decode import Swap, decode
from server.guard.eyes import Eyes
from server.guard.guard import Guard
from server.guard.keystore import FILE_NAME as KEYS_NAME
from server.guard.keystore import unlock
from server.guard.ledger import FILE_NAME as LEDGER_NAME
from server.guard.ledger import Ledger
from tests.evm.anvil import CHAIN_ID, anvil
from tests.evm.market import BNB, USDT, WBNB, Market, deploy
from tests.guard.houses import PASSWORD, WALLET, GuardProcess, asked, command, make_folder, sign, transaction
from tests.hostile.oracle import decree_allowance
from tests.live.stage import PAIR, Stage, guard_settings
from tests.world.daemon import DaemonProcess

LIMITS: Final = {"per_trade_cap": 800, "daily_cap": 10**9, "daily_gas_cap": 1000}
Seconds = dict[str, list[float]]
Measured = Generator[Seconds | None, None, None]  # once when all stands, and once with the figures


@contextmanager
def _market() -> Iterator[Market]:
    """A market whose time is near the clock's, and a wallet that may trade there."""
    with anvil() as chain:
        market = deploy(chain)
        chain.mine(at=int(datetime.now(UTC).timestamp()) - 60)
        market.fund(WALLET, {USDT: 100_000, BNB: 100})
        yield market


@contextmanager
def _guard(market: Market, folder: Path) -> Iterator[GuardProcess]:
    make_folder(folder / "guard", guard_settings(market, market.chain.url, **LIMITS))
    process = GuardProcess(folder / "guard")
    try:
        yield process.listening()
    finally:
        process.stop()


def _swap(market: Market, number: int) -> Swap:
    """A purchase near the router's quote."""
    spend = 10**18 + number
    path = tuple(market.tokens[symbol].address.lower() for symbol in (USDT, "ETH"))
    least = market.pancake.quote((USDT, "ETH"), spend) * 998 // 1000
    return Swap(spend, least, path, WALLET, market.chain.timestamp + 1800)


def _question(market: Market, number: int) -> SignTransaction:
    nonce, router = market.chain.nonce(WALLET), market.pancake.router.lower()
    tx = transaction(_swap(market, number), nonce=nonce, to=router, gas=250_000)
    return sign(f"order_{number}", tx, number + 1)


def _send(market: Market, signed: Signed) -> None:
    market.chain.mined(market.chain.send_signed(bytes.fromhex(signed.raw.removeprefix("0x"))))


def signing(folder: Path, count: int) -> Measured:
    """Purchases, each asked for over the socket, and mined before the next. Beside it, by themselves, its parts: the
    guard's look at the chain, and what follows on it."""
    with _market() as market, _guard(market, folder) as guard, guard.connected() as sock:
        decree_allowance(market, WALLET, USDT, 10**30)
        whole = list[float]()
        yield None
        for number in range(count):
            question = _question(market, number)
            begin = perf_counter()
            signed = asked(sock, question)
            whole.append(perf_counter() - begin)
            assert isinstance(signed, Signed), signed
            _send(market, signed)
        yield {"whole": whole, **trio.run(_parts, market, folder, count)}


async def _parts(market: Market, folder: Path, count: int) -> Seconds:
    """In this process and in another folder."""
    own = make_folder(folder / "parts", guard_settings(market, market.chain.url, **LIMITS))
    config, ledger = load(own), Ledger(own / LEDGER_NAME)
    looks, grants = list[float](), list[float]()
    async with Eyes(config) as eyes:
        guard = Guard(config, ledger, eyes, own, unlock(own / KEYS_NAME, PASSWORD), None)
        begun_with = market.chain.nonce(WALLET)
        for number in range(count):
            asked_for = _question(market, number)
            tx, swap = evolve(asked_for.tx, nonce=begun_with + number), _swap(market, number)
            begin = perf_counter()
            seen = await eyes.see(WALLET, swap.path[0], swap)
            looked = perf_counter()
            case = guard._case(asked_for.intent, decode(tx.data), asked_for.anchor, tx, evolve(seen, nonce=tx.nonce))
            granted = guard._grant(case, tx)
            grants.append(perf_counter() - looked)
            looks.append(looked - begin)
            assert isinstance(granted, Signed), granted
    ledger.close()
    return {"look": looks, "grant": grants}


def killing(folder: Path, count: int) -> Measured:
    """The agent is live and its daemon stands still. From the kill's first byte on the socket until what the guard has
    just signed is refused; and, a few times, from typing `forestay kill` until then."""

    def start(*flags: str, data_dir: Path) -> DaemonProcess:
        daemons.append(DaemonProcess(data_dir, flags))
        return daemons[-1]

    daemons, asked_for, typed = list[DaemonProcess](), list[float](), list[float]()
    with anvil() as chain:
        stage = Stage(deploy(chain), folder, start)
        try:
            stage.set(**LIMITS)
            decree_allowance(stage.market, WALLET, USDT, 10**30)
            promoted = stage.post("promote", {"confirm": "go live", "force": True})
            assert promoted.status_code == 200, promoted.text
            stage.daemon.signal(signal.SIGSTOP)
            yield None
            for number in range(count):
                asked_for.append(_killed(stage, number, _by_socket))
            for number in range(count, count + max(1, count // 10)):
                typed.append(_killed(stage, number, _by_command))
            yield {"socket": asked_for, "command": typed}
        finally:
            if hasattr(stage, "guard"):
                stage.guard.stop()
            for daemon in daemons:
                daemon.kill()


def _killed(stage: Stage, number: int, kill: Callable[[GuardProcess], None]) -> float:
    """Sign, kill, be refused, and restore."""
    question = _question(stage.market, number)
    with stage.guard.connected() as sock:
        signed = asked(sock, question)
        assert isinstance(signed, Signed), signed
        begin = perf_counter()
        kill(stage.guard)
        refused = asked(sock, question)
        seconds = perf_counter() - begin
    assert isinstance(refused, Refused), refused
    assert refused.rule == "kill_switch", refused
    assert isinstance(stage.guard.ask(Restore(RESTORE_WORDS, PASSWORD)), Restored)
    _send(stage.market, signed)
    return seconds


def _by_socket(guard: GuardProcess) -> None:
    answer = guard.ask(Revoke("measured"))
    assert isinstance(answer, Revoked), answer


def _by_command(guard: GuardProcess) -> None:
    words = ("kill", "--confirm", REVOKE_WORDS, "--socket", guard.socket)
    done = command(*words, cwd=guard.folder, password=None)
    assert done.returncode == 0, done.stderr


def quoting(folder: Path, count: int) -> Measured:
    """What a sale is decided on, as the daemon sees it: the pool and the feed as of one block, held against each other
    for one order."""
    with _market() as market:
        market.set_reference(PAIR, market.pancake.price(PAIR))
        yield None
        yield {"quote": trio.run(_quotes, market, folder, count)}


async def _quotes(market: Market, folder: Path, count: int) -> list[float]:
    token = market.tokens["ETH"]
    usdt, wbnb = (TokenSettings(market.tokens[it].address, market.tokens[it].decimals) for it in (USDT, WBNB))
    settings = ChainSettings(
        rpc=(market.chain.url,), chain_id=CHAIN_ID, router=market.pancake.router, factory=market.pancake.factory,
        usdt=usdt, wbnb=wbnb, tokens={"ETH": TokenSettings(token.address, token.decimals)},
        references={PAIR: market.feeds[PAIR]},
    )  # fmt: skip
    config, seconds = AgentConfig((PAIR,)), list[float]()
    chain = RpcChain(settings.rpc, settings.chain_id, 20.0)
    try:
        pinned = (await found(chain, settings))["pools"][PAIR]
        pool = Pool.of(PAIR, pinned, settings.usdt.decimals)
        armed = Armed(chain, SocketGuard(str(folder)), settings, {PAIR: pool}, {PAIR: market.feeds[PAIR]})
        for number in range(count):
            order = Order(f"ord_{number}", PAIR, "buy", Decimal(100), None, "it is measured", "live")
            begin = perf_counter()
            seen = await _observed(armed, (PAIR,))
            quote = verify(order, seen.prices[PAIR], config, seen.now)
            seconds.append(perf_counter() - begin)
            assert isinstance(quote, Quote), quote
            assert quote.reference_price is not None
    finally:
        await chain.aclose()
    return seconds


WAYS: Final = {"signing": signing, "killing": killing, "quoting": quoting}


def main(way: str, folder: str, count: str) -> None:
    logging.basicConfig(filename=os.devnull)
    measured = WAYS[way](Path(folder).absolute(), int(count))
    next(measured)
    print("ready", flush=True)
    print(json.dumps(next(measured)), flush=True)
    measured.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
