"""Mutants of valid requests, from a seed, and a run of them: each is asked for, and what is signed is judged and then
executed for good, so that nonces, balances and the day's sums go on as they would.

`python -m tests.hostile.mutants --requests 600 --seed 1` prints what came of a run, as one JSON object.
"""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any, Final

import click
import trio
from attrs import asdict, define, evolve, field

from protocol.signing import Broken, Refused, Signed, SignTransaction
from server.guard.guard import Guard
from tests.evm.anvil import RICH
from tests.guard.houses import WALLET
from tests.hostile.stand import E18, STRANGER, Stand, Trade, answered, signatures, standing

EVERYTHING: Final = 2**256 - 1
CAP: Final = 50 * E18
ROUTES: Final = (("USDT", "CAKE"), ("USDT", "ETH"), ("USDT", "WBNB", "CAKE"), ("CAKE", "USDT"), ("ETH", "USDT"))
# Of calls that take the same arguments, or any: of tokens, of the router, of pools, of other routers.
SELECTORS: Final = (
    *("a9059cbb", "095ea7b3", "39509351", "40c10f19", "42966c68", "2e1a7d4d", "23b872dd", "d505accf", "d0e30db0"),
    *("38ed1739", "8803dbee", "5c11d795", "18cbafe5", "791ac947", "4a25d94a", "fb3bdb41", "7ff36ab5", "e8e33700"),
    *("022c0d9f", "89afcb44", "ac9650d8", "5ae401dc", "00000000", "ffffffff"),
)
TAME_PART: Final = 0.33
FACTORS: Final = (1, 1.05, 1.099999, 1.1, 1.15, 1.5, 3)


@define
class Ran:
    """What came of a run. `wrong` is what the oracle, or the record, holds against it."""

    asked: int = 0
    signed: int = 0
    executed: int = 0
    succeeded: int = 0
    refused: Counter[str] = field(factory=Counter)
    wrong: list[str] = field(factory=list)


@define
class Mutator:
    """Makes requests out of valid ones. Everything comes from `random`."""

    stand: Stand
    random: Random
    asked: list[SignTransaction] = field(factory=list)
    balances: dict[str, int] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.look()

    def look(self) -> None:
        """At what the wallet has."""
        self.balances = {
            symbol: units for (name, symbol), units in self.stand.oracle.holdings().units.items() if name == "wallet"
        }

    def request(self) -> SignTransaction:
        """One in order, with one to three things changed: a third of them within the limits only, as far as they go."""
        random, tame = self.random, self.random.random() < TAME_PART
        times, bytes_only = random.randint(1, 3), random.random() < 0.3
        if random.random() < 0.2:
            request = self._approval(tame)
        else:
            trade = self._trade()
            for _ in range(0 if bytes_only and not tame else times):
                trade = random.choice(TAME if tame else WILD)(self, trade)
            request = self.stand.ask(trade)
        if tame:
            request = self._tamely(request)
        elif bytes_only or random.random() < 0.2:
            for _ in range(times):
                request = random.choice(ENVELOPE)(self, request)
        self.asked.append(request)
        return request

    def replacement(self, of: SignTransaction) -> SignTransaction:
        """The same for another gas price, and now and then something else of it."""
        price = int(of.tx.gas_price * self.random.choice(FACTORS)) + self.random.choice((0, 1))
        request = self.stand.ask(evolve(of.tx, gas_price=price), of.intent)
        return self.random.choice(ENVELOPE)(self, request) if self.random.random() < 0.3 else request

    # --- what is in order

    def _trade(self) -> Trade:
        path = self.random.choice(ROUTES)
        most = (
            CAP if path[0] == "USDT" else max(2, min(self.balances[path[0]], CAP if path[0] == "CAKE" else E18 // 50))
        )
        spend = self.random.randint(1, most)
        return self.stand.trade(path, spend, min_out=self._least(path, spend))

    def _least(self, path: tuple[str, ...], spend: int) -> int:
        """The least that is allowed, of the best route."""
        ends = path[0], path[-1]
        try:
            return max(1, self.stand.least(ends, spend))
        except Exception:  # the router says no: too much, too little
            return 1

    def _approval(self, tame: bool) -> SignTransaction:
        random, symbol = self.random, self.random.choice(("USDT", "CAKE", "ETH") if tame else ("USDT", "CAKE", "BTCB"))
        most = CAP if symbol == "USDT" else self.balances[symbol]
        units = random.choice((0, 1, most, random.randint(0, most)))
        if tame:
            return self.stand.ask(self.stand.approval(units, symbol))
        units = random.choice((units, most + 1, 2 * most, 2**128, EVERYTHING))
        return self.stand.ask(self.stand.approval(units, symbol, self._anybody()))

    def _tamely(self, request: SignTransaction) -> SignTransaction:
        random, tx = self.random, request.tx
        price = random.choice((1, 10**9, 5 * 10**9, random.randint(10**8, 3 * 10**9)))
        to = tx.to if random.random() < 0.5 else "0x" + tx.to[2:].upper()
        gas = random.choice((tx.gas, 400_000, random.randint(60_000, 400_000)))
        return evolve(request, tx=evolve(tx, gas_price=price, gas=gas, to=to))

    # --- the arguments

    def _path_of(self, trade: Trade) -> tuple[str, ...] | None:
        named = {self.stand.address(symbol): symbol for symbol in self.stand.market.tokens}
        path = tuple(named.get(token, "") for token in trade.path)
        return path if len(path) >= 2 and all(path) and path[0] != path[-1] else None

    def amount(self, trade: Trade) -> Trade:
        path, random = self._path_of(trade), self.random
        has = self.balances.get(path[0], CAP) if path else CAP
        spend = random.choice((1, CAP - 1, CAP, CAP, random.randint(1, CAP), min(has, CAP) or 1))
        return evolve(trade, spend=spend, min_out=self._least(path, spend) if path else 1)

    def price(self, trade: Trade) -> Trade:
        """Somewhere from what is allowed at least to a little more than there is."""
        return evolve(trade, min_out=min(EVERYTHING, trade.min_out * self.random.randint(1000, 1006) // 1000))

    def time(self, trade: Trade) -> Trade:
        seconds = self.random.choice((1, 2, 3600, 3599, self.random.randint(1, 3600)))
        return evolve(trade, deadline=self.stand.now + seconds)

    def any_amount(self, trade: Trade) -> Trade:
        path = self._path_of(trade)
        has = self.balances.get(path[0], CAP) if path else CAP
        near = (0, CAP + 1, 2 * CAP, has, has + 1, self.random.randint(CAP, 10 * CAP), 2**112, 2**255, EVERYTHING)
        spend = self.random.choice(near)
        return evolve(trade, spend=spend, min_out=self._least(path, spend) if path else 1)

    def any_price(self, trade: Trade) -> Trade:
        low = trade.min_out
        return evolve(
            trade, min_out=self.random.choice((0, 1, max(0, low - 1), low // 2, min(low * 2, EVERYTHING), EVERYTHING))
        )

    def any_time(self, trade: Trade) -> Trade:
        now = self.stand.now
        times = (0, now - 1, now, now + 3601, now + 86_400, now * 1000, 2**63, EVERYTHING)
        return evolve(trade, deadline=self.random.choice(times))

    def any_recipient(self, trade: Trade) -> Trade:
        return evolve(trade, to=self._anybody())

    def any_way(self, trade: Trade) -> Trade:
        random, path = self.random, list(trade.path)
        match random.randrange(6):
            case 0 if path:
                path[random.randrange(len(path))] = self._anybody()
            case 1:
                path.insert(random.randint(0, len(path)), self._anybody())
            case 2:
                path.reverse()
            case 3 if path:
                path.pop(random.randrange(len(path)))
            case 4:
                path *= 2
            case _:
                path = [self._anybody() for _ in range(random.randint(0, 5))]
        return evolve(trade, path=tuple(path))

    def _anybody(self) -> str:
        market = self.stand.market
        known = [
            WALLET,
            STRANGER,
            RICH,
            "0x" + "00" * 20,
            market.uniswap.router,
            market.pancake.factory,
            self.stand.router,
        ]
        tokens = [self.stand.address(symbol) for symbol in market.tokens]
        anybody: str = self.random.choice([*known, *tokens, *tokens, *market.pancake.pools.values()])
        return anybody

    # --- the bytes, and what is around them

    def data(self, request: SignTransaction) -> SignTransaction:
        random, raw = self.random, bytearray.fromhex(request.tx.data[2:])
        at = random.randrange(len(raw)) if raw else 0
        words = [bytes(raw[4 + n : 36 + n]) for n in range(0, max(0, len(raw) - 4), 32)]
        match random.randrange(9):
            case 0 if raw:
                raw[at] ^= 1 << random.randrange(8)
            case 1 if raw:
                raw[at] = random.randrange(256)
            case 2:
                raw.insert(at, random.randrange(256))
            case 3:
                del raw[at : at + random.choice((1, 4, 32))]
            case 4:
                raw += random.choice((b"\0", bytes(32), bytes(raw), random.randbytes(random.randint(1, 64))))
            case 5 if len(words) > 1:
                first, second = random.sample(range(len(words)), 2)
                words[first], words[second] = words[second], words[first]
                raw[4:] = b"".join(words)
            case 6 if words:
                known = (0, 1, 32, 0xA0, 0xC0, 2**160 - 1, 2**160, 2**255, EVERYTHING)
                words[random.randrange(len(words))] = random.choice(known).to_bytes(32)
                raw[4:] = b"".join(words)
            case 7 if words:
                words.insert(random.randrange(len(words)), random.choice(words))
                raw[4:] = b"".join(words)
            case _:
                raw[:4] = bytes.fromhex(random.choice(SELECTORS))
        return evolve(request, tx=evolve(request.tx, data="0x" + raw.hex()))

    def called(self, request: SignTransaction) -> SignTransaction:
        return evolve(request, tx=evolve(request.tx, to=self._anybody()))

    def number(self, request: SignTransaction) -> SignTransaction:
        """Of the chain, the nonce, the coins, the gas."""
        next_, random = request.tx.nonce, self.random
        known: dict[str, tuple[int, ...]] = {
            "chain_id": (0, 1, 97, 2**53),
            "nonce": (0, next_ - 1, next_ + 1, next_ + 16, 2**64, EVERYTHING),
            "value": (1, E18, EVERYTHING),
            "gas": (0, 20_999, 21_000, 25_000, 30_000, 400_000, 400_001, EVERYTHING),
            "gas_price": (0, 1, 5 * 10**9, 5 * 10**9 + 1, 10**12, EVERYTHING),
        }
        name = random.choice(list(known))
        changes: dict[str, Any] = {name: random.choice(known[name])}
        return evolve(request, tx=evolve(request.tx, **changes))

    def intent(self, request: SignTransaction) -> SignTransaction:
        return evolve(request, intent=self.random.choice(self.asked).intent) if self.asked else request

    def anchor(self, request: SignTransaction) -> SignTransaction:
        row = max(0, request.anchor.row + self.random.choice((-1, -2, -1000)))
        return evolve(request, anchor=evolve(request.anchor, row=row, hash=self.random.randbytes(32).hex()))


TAME: Final[tuple[Any, ...]] = (Mutator.amount, Mutator.price, Mutator.time)
WILD: Final[tuple[Any, ...]] = (
    *TAME,
    *(Mutator.any_amount, Mutator.any_price, Mutator.any_time, Mutator.any_recipient, Mutator.any_way),
)
ENVELOPE: Final = (Mutator.data, Mutator.data, Mutator.called, Mutator.number, Mutator.intent, Mutator.anchor)


async def run(stand: Stand, folder: Path, requests: int, seed: int) -> Ran:
    """Ask for so many mutants, and execute what is signed."""
    mutator, ran = Mutator(stand, Random(seed)), Ran()
    got: dict[str, list[Signed]] = {}
    async with stand.guard(folder) as guard:
        while ran.asked < requests:
            if mutator.random.random() < 0.1:
                _next_day(stand, mutator.random)
            if (signed := await _ask(guard, request := mutator.request(), ran, got)) is None:
                continue
            versions = [signed]
            while mutator.random.random() < 0.15:
                again = await _ask(guard, mutator.replacement(request), ran, got)
                versions += [again] if again else []
            for version in versions:
                ran.wrong += [f"{request} {it}" for it in stand.oracle.judge(version.raw)]
            done = stand.oracle.settle(mutator.random.choice(versions).raw)
            ran.wrong += [f"{request} for good: {it}" for it in done.wrong]
            ran.executed += 1
            ran.succeeded += done.succeeded
            mutator.look()
            if not done.sold:
                stand.allow()
    if signatures(folder) != got:
        ran.wrong.append("the ledger knows other signatures than those that left")
    return ran


async def _ask(guard: Guard, request: SignTransaction, ran: Ran, got: dict[str, list[Signed]]) -> Signed | None:
    """The signature, if there is one that was not there before."""
    answer = await answered(guard, request)
    ran.asked += 1
    if isinstance(answer, Signed):
        ran.signed += 1
        if answer not in got.setdefault(request.intent, []):
            got[request.intent].append(answer)
            return answer
        return None
    if isinstance(answer, Broken):
        ran.wrong.append(f"{request}: {answer}")
    ran.refused[answer.rule if isinstance(answer, Refused) else answer.kind] += 1
    return None


def _next_day(stand: Stand, random: Random) -> None:
    midnight = datetime.fromtimestamp(stand.now, UTC).replace(hour=0, minute=0, second=0)
    stand.market.chain.mine(at=int(midnight.timestamp()) + 86_400 + random.randint(0, 80_000))


@click.command()
@click.option("--requests", type=int, default=600)
@click.option("--seed", type=int, default=1)
def main(requests: int, seed: int) -> None:
    """Run mutants on a chain of their own."""
    with standing() as stand, tempfile.TemporaryDirectory() as folder:
        print(json.dumps(asdict(trio.run(run, stand, stand.house(Path(folder) / "guard"), requests, seed))))


if __name__ == "__main__":
    main()
