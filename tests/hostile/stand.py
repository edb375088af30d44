"""Where hostile requests are tried: a market on a real EVM, a funded wallet, the guard's question-to-answer layer in
this process with its real ledger on the disk, and its own RPC to the chain. What is asked is written here, byte by
byte, and nothing of the guard's helps with it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from attrs import define, evolve, frozen

from protocol.signing import Anchor, Answer, Malformed, Signed, SignTransaction, Transaction, read_question, to_line
from server.guard import keystore
from server.guard.config import load
from server.guard.eyes import Eyes
from server.guard.guard import Guard
from server.guard.ledger import FILE_NAME as LEDGER_NAME
from server.guard.ledger import Ledger, read
from tests.evm.anvil import anvil, calldata
from tests.evm.market import PRICES, WBNB, Market, deploy
from tests.guard.houses import PASSWORD, WALLET, make_folder
from tests.hostile.oracle import Oracle, Policy, decree_allowance
from tests.live.stage import guard_settings

E18: Final = 10**18
FUNDS: Final = {"BNB": 100, "USDT": 100_000, "ETH": 50, "CAKE": 50_000, "BTCB": 1, WBNB: 10}
HOP_PRICE: Final = Decimal("0.003333333333")  # CAKE in WBNB, so that there is a route by a hop
LARGE: Final = 10**30  # what the router may take beforehand, so that all that is signed is also executed
SWAP: Final = "swapExactTokensForTokens(uint256,uint256,address[],address,uint256)"
STRANGER: Final = "0x" + "99" * 20


@frozen
class Trade:
    """The arguments of a swap."""

    spend: int
    min_out: int
    path: tuple[str, ...]
    to: str
    deadline: int

    @property
    def data(self) -> str:
        return calldata(SWAP, self.spend, self.min_out, self.path, self.to, self.deadline)


@define
class Stand:
    """The market and what is asked there. The chain's blocks come by `mine` only."""

    market: Market
    oracle: Oracle
    row: int = 0
    intents: int = 0

    # --- requests that are in order, to be changed

    def address(self, symbol: str) -> str:
        return self.market.tokens[symbol].address.lower()

    @property
    def router(self) -> str:
        return self.market.pancake.router.lower()

    @property
    def nonce(self) -> int:
        return self.market.chain.nonce(WALLET)

    @property
    def now(self) -> int:
        return self.market.chain.timestamp

    def trade(self, path: tuple[str, ...], spend: int, **changes: Any) -> Trade:
        """At the router's quote, in the middle of what is allowed."""
        made: dict[str, Any] = {"spend": spend, "path": tuple(map(self.address, path)), "to": WALLET} | changes
        made.setdefault("deadline", self.now + self.oracle.policy.deadline // 2)
        if "min_out" not in made:
            made["min_out"] = self.market.pancake.quote(path, spend)
        return Trade(**made)

    def buy(self, spend: int = 10 * E18, **changes: Any) -> Trade:
        return self.trade(("USDT", "CAKE"), spend, **changes)

    def sell(self, spend: int = 5 * E18, **changes: Any) -> Trade:
        return self.trade(("CAKE", "USDT"), spend, **changes)

    def least(self, path: tuple[str, ...], spend: int) -> int:
        """The lowest least amount that is within the slippage."""
        part = 1 - self.oracle.policy.slippage
        return -(-self.market.pancake.quote(path, spend) * part.numerator // part.denominator)

    def tx(self, data: Trade | str, **changes: Any) -> Transaction:
        made: dict[str, Any] = {
            "chain_id": 56,
            "nonce": self.nonce,
            "to": self.router,
            "value": 0,
            "data": data.data if isinstance(data, Trade) else data,
            "gas": 250_000,
            "gas_price": 10**9,
        }
        return Transaction(**made | changes)

    def approval(self, units: int, symbol: str = "USDT", spender: str = "", **changes: Any) -> Transaction:
        data = calldata("approve(address,uint256)", spender or self.router, units)
        return self.tx(data, **{"to": self.address(symbol), "gas": 100_000} | changes)

    def ask(self, tx: Transaction | Trade, intent: str = "", **changes: Any) -> SignTransaction:
        self.row += 1
        self.intents += 1
        tx = self.tx(tx) if isinstance(tx, Trade) else tx
        anchor = Anchor("log_1", self.row, f"{self.row:064x}")
        return evolve(SignTransaction(intent or f"order_{self.intents}", tx, anchor), **changes)

    # --- the guard

    def house(self, folder: Path, **limits: object) -> Path:
        """A guard's folder for this market."""
        return make_folder(folder, guard_settings(self.market, self.market.chain.url, **limits))

    @asynccontextmanager
    async def guard(self, folder: Path) -> AsyncIterator[Guard]:
        """The guard of a folder."""
        config, keys = load(folder), folder / keystore.FILE_NAME
        ledger = Ledger(folder / LEDGER_NAME)
        try:
            async with Eyes(config) as eyes:
                await eyes.check()
                yield Guard(config, ledger, eyes, keys, keystore.unlock(keys, PASSWORD), None)
        finally:
            ledger.close()

    # --- the chain

    @contextmanager
    def for_now(self) -> Iterator[None]:
        """What is done inside the block is taken back on the chain."""
        snapshot = self.market.chain.snapshot()
        spent, fees = dict(self.oracle.spent), dict(self.oracle.fees)
        try:
            yield
        finally:
            self.market.chain.revert(snapshot)
            self.oracle.spent, self.oracle.fees = spent, fees

    def allow(self) -> None:
        """Let the router take more than anybody asks for, whatever an approval said before."""
        for symbol in ("USDT", *self.oracle.policy.tokens, "BTCB", WBNB):
            decree_allowance(self.market, WALLET, symbol, LARGE)


@contextmanager
def standing() -> Iterator[Stand]:
    """A stand with a chain of its own. Raises NotSetUp."""
    with anvil() as chain:
        market = deploy(chain, {**PRICES, "CAKE/WBNB": HOP_PRICE})
        market.fund(WALLET, FUNDS)
        stand = Stand(market, Oracle(market, WALLET, Policy()))
        stand.allow()
        chain.mine_by_itself(False)
        begin = datetime.fromtimestamp(chain.timestamp, UTC).replace(hour=0, minute=0, second=0)
        chain.mine(at=int(begin.timestamp()) + 86_400 + 3600)  # far from midnight
        chain.rpc("anvil_setNonce", WALLET, hex(7))  # there is one behind, too
        yield stand


async def answered(guard: Guard, question: SignTransaction) -> Answer:
    """The guard's answer to this as a line: what cannot be written or read is not even asked."""
    try:
        return await guard.answer(read_question(to_line(question)))
    except ValueError as error:
        return Malformed(str(error))


def signatures(folder: Path) -> dict[str, list[Signed]]:
    """All that the ledger says was signed, by intent."""
    granted = read(folder / LEDGER_NAME).granted
    return {intent: [record.signed for record in records] for intent, records in granted.items()}
