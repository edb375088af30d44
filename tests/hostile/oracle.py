"""Judges signed bytes by what they do. Nothing of the guard's is imported here: no decoder, no settings, no quote.

A signature is executed in several worlds, each a snapshot that is taken back: *now*; *late*, when every permitted
deadline has passed; *pushed*, when somebody has moved the price against it by more than the slippage just before; and
*again*, right behind itself. What was in the wallet, in the pools and in between is compared before and after. So a
least amount that is too low, or a deadline that is too far, shows by what comes of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime
from fractions import Fraction
from itertools import pairwise
from typing import Any, Final

from attrs import define, field, frozen
from eth_abi.abi import encode
from eth_utils.crypto import keccak

from tests.evm.anvil import RICH, Receipt, RpcError, calldata, quantity
from tests.evm.exchange import ENOUGH
from tests.evm.market import BNB, USDT, WBNB, Market

APPROVAL: Final = "0x" + keccak(text="Approval(address,address,uint256)").hex()
ALLOWANCES: Final = {WBNB: 4}  # the storage slot of its allowances; of every other token's
OF_OTHERS: Final = 3
PUSH: Final = Fraction(1, 50)  # of what the pool holds: moves the price by about 4 %


@frozen
class Policy:
    """What the owner allows, in base units, wei and seconds. `tokens` and `hops` are symbols."""

    tokens: tuple[str, ...] = ("ETH", "CAKE")
    hops: tuple[str, ...] = ("WBNB",)
    per_trade: int = 50 * 10**18
    per_day: int = 200 * 10**18
    slippage: Fraction = Fraction(1, 200)
    deadline: int = 3600
    gas_price: int = 5 * 10**9
    gas: int = 400_000
    fees_per_day: int = 2 * 10**16  # of entries and approvals


@frozen
class Holdings:
    """Who has how much of what: (holder, symbol) to base units. A pool is named by its pair."""

    units: dict[tuple[str, str], int]
    nonce: int
    block: int
    time: int

    def change(self, before: Holdings, symbol: str) -> int:
        """Of the wallet's."""
        return self.units["wallet", symbol] - before.units["wallet", symbol]

    def total(self, symbol: str) -> int:
        """Of everybody who may have it."""
        return sum(units for (_, of), units in self.units.items() if of == symbol)


@frozen
class Execution:
    """What came of one transaction, and what is wrong with that."""

    receipt: Receipt | None
    wrong: list[str]
    spent: int = 0  # USDT
    fee: int = 0
    sold: str = ""
    bought: str = ""

    @property
    def succeeded(self) -> bool:
        return self.receipt is not None and self.receipt["status"] == "0x1"


@define
class Oracle:
    """Judges what is signed for `wallet`. Blocks must come by `mine` only."""

    market: Market
    wallet: str
    policy: Policy = Policy()
    spent: dict[date, int] = field(factory=dict)
    fees: dict[date, int] = field(factory=dict)
    executed: int = 0
    swapped: int = 0

    def judge(self, raw: str) -> list[str]:
        """What is wrong with these bytes, in any world. Leaves nothing behind."""
        chain = self.market.chain
        now = self._in_a_world(raw, again=True)
        wrong = [f"now: {it}" for it in now.wrong]
        late = self._in_a_world(raw, at=chain.timestamp + self.policy.deadline + 1)
        wrong += [f"late: {it}" for it in late.wrong]
        if late.sold or late.spent:
            wrong.append("late: it is executed after every deadline that is allowed")
        if now.sold and now.bought:
            pushed = self._in_a_world(raw, push=(now.sold, now.bought))
            wrong += [f"pushed: {it}" for it in pushed.wrong]
        return wrong

    def settle(self, raw: str) -> Execution:
        """Execute for good, and count it on the chain's day."""
        done = self._execute(raw, self.holdings())
        today = datetime.fromtimestamp(self.market.chain.timestamp, UTC).date()
        self.spent[today] = self.spent.get(today, 0) + done.spent
        if self.spent[today] > self.policy.per_day:
            done.wrong.append(f"{self.spent[today]} USDT units are spent on {today}")
        if not done.sold or done.sold == USDT:
            self.fees[today] = self.fees.get(today, 0) + done.fee
        if self.fees.get(today, 0) > self.policy.fees_per_day:
            done.wrong.append(f"{self.fees[today]} wei of gas on {today}")
        self.executed += 1
        self.swapped += bool(done.sold)
        return done

    def _in_a_world(
        self, raw: str, *, at: int | None = None, push: tuple[str, str] | None = None, again: bool = False
    ) -> Execution:
        chain = self.market.chain
        snapshot = chain.snapshot()
        try:
            if at is not None:
                chain.mine(at=at)
            before = self.holdings()
            quoted_at = before.block
            if push is not None:
                self._push(*push)
                before = self.holdings()
            done = self._execute(raw, before, quoted_at)
            if again and self._mined(raw) is not None:
                done.wrong.append("the same bytes are executed a second time")
            return done
        finally:
            chain.revert(snapshot)

    def _push(self, sold: str, bought: str) -> None:
        """Somebody does the same trade before, and a large one, along every route."""
        market = self.market
        for path in self._routes(sold, bought):
            pair = "/".join(path[:2])
            held = market.pancake.reserves(pair if pair in market.pancake.pools else "/".join(reversed(path[:2])))
            amount = int((held.base if pair in market.pancake.pools else held.quote) * PUSH)
            data = market.pancake.swap_data(path, amount)
            hash_ = market.chain.send(RICH, market.pancake.router, data, gas=ENOUGH)
            market.chain.mine()
            receipt = market.chain.receipt(hash_)
            assert receipt is not None, "it was mined"
            assert receipt["status"] == "0x1", "the push itself has failed"

    def _mined(self, raw: str) -> Receipt | None:
        chain = self.market.chain
        try:
            hash_ = chain.rpc("eth_sendRawTransaction", raw)
        except RpcError:
            return None
        chain.mine()
        if (receipt := chain.receipt(hash_)) is None:
            chain.rpc("anvil_removePoolTransactions", self.wallet)  # it would be mined in another world
        return receipt

    def _execute(self, raw: str, before: Holdings, quoted_at: int | None = None) -> Execution:
        """Send it, have it mined, and look at what has changed."""
        receipt = self._mined(raw)
        after = self.holdings()
        if receipt is None:
            return Execution(None, ["it is no transaction that this wallet's nonce waits for, on this chain"])
        policy, wrong = self.policy, list[str]()
        wrong += [] if receipt["from"].lower() == self.wallet else ["it is not the wallet's"]
        wrong += [] if after.nonce == before.nonce + 1 else ["the wallet's nonce did not move by 1"]
        fee = quantity(receipt["gasUsed"]) * quantity(receipt["effectiveGasPrice"])
        sent = self.market.chain.rpc("eth_getTransactionByHash", receipt["transactionHash"])
        if quantity(sent["gasPrice"]) > policy.gas_price or quantity(sent["gas"]) > policy.gas:
            wrong.append("its gas is over the limits")
        if (change := after.change(before, BNB)) != -fee:
            wrong.append(f"the wallet has {change} wei more, and gas was {fee}")
        changes = {symbol: after.change(before, symbol) for symbol in self.market.tokens}
        sold = {symbol: -change for symbol, change in changes.items() if change < 0}
        bought = {symbol: change for symbol, change in changes.items() if change > 0}
        if spent := sold.get(USDT, 0):
            wrong += [] if spent <= policy.per_trade else [f"{spent} USDT units are spent at once"]
        for symbol in changes:
            if changes[symbol] and symbol != USDT and symbol not in policy.tokens:
                wrong.append(f"{symbol} is not on the allowlist, and the wallet's has changed")
            if after.total(symbol) != before.total(symbol):
                wrong.append(f"{symbol} has left the pools and the wallet: somebody else has it")
        if sold or bought:
            wrong += self._trade(sold, bought, before, before.block if quoted_at is None else quoted_at)
        wrong += self._allowances(receipt, before)
        return Execution(receipt, wrong, spent, fee, next(iter(sold), ""), next(iter(bought), ""))

    def _trade(self, sold: dict[str, int], bought: dict[str, int], before: Holdings, quoted_at: int) -> list[str]:
        if len(sold) != 1 or len(bought) != 1:
            return [f"the wallet gave {sold or 'nothing'} and got {bought or 'nothing'}"]
        (given, amount), (got, received) = *sold.items(), *bought.items()
        if USDT not in (given, got):
            return [f"{given} for {got}: neither is USDT"]
        quotes = [self._quote(path, amount, quoted_at) for path in self._routes(given, got)]
        least = max(quotes) * (1 - self.policy.slippage)
        if received < least:
            return [f"the wallet got {received} of {got}, and {max(quotes)} were quoted right before"]
        return []

    def _allowances(self, receipt: Receipt, before: Holdings) -> list[str]:
        """Nobody but the router may take anything, and it only what one trade, or what there is, comes to."""
        wrong, symbols = [], {token.address.lower(): symbol for symbol, token in self.market.tokens.items()}
        for log in receipt["logs"]:
            if log["topics"][0] != APPROVAL or not log["topics"][1].endswith(self.wallet[2:]):
                continue
            spender, symbol = "0x" + log["topics"][2][-40:], symbols.get(log["address"].lower())
            if symbol is None:
                continue  # a pool's own shares
            left = self.market.allowance(self.wallet, symbol, spender)
            had = self.market.chain.call(
                self.market.tokens[symbol].address,
                "allowance(address,address)",
                self.wallet,
                spender,
                returns="uint256",
                block=hex(before.block),
            )[0]
            if left and spender != self.market.pancake.router.lower():
                wrong.append(f"{spender} may take {symbol}")
            most = self.policy.per_trade if symbol == USDT else before.units["wallet", symbol]
            if left > had and (left > most or symbol not in (USDT, *self.policy.tokens)):
                wrong.append(f"the router may take {left} of {symbol}")
        return wrong

    # --- looking

    def holdings(self) -> Holdings:
        """Everything that is compared, in one look."""
        market = self.market
        block = market.chain.rpc("eth_getBlockByNumber", "latest", False)
        holders = [("wallet", self.wallet, symbol) for symbol in market.tokens]
        holders += [("router", market.pancake.router, symbol) for symbol in market.tokens]
        holders += [(pair, pool, symbol) for pair, pool in market.pancake.pools.items() for symbol in pair.split("/")]
        calls: list[tuple[str, Sequence[Any]]] = [
            ("eth_call", [{"to": market.tokens[symbol].address, "data": _balance_of(address)}, "latest"])
            for _, address, symbol in holders
        ]
        calls += [("eth_getBalance", [self.wallet, "latest"]), ("eth_getTransactionCount", [self.wallet, "latest"])]
        *units, coins, nonce = map(quantity, market.chain.rpc_batch(calls))
        named = {(name, symbol): amount for (name, _, symbol), amount in zip(holders, units, strict=True)}
        return Holdings(
            named | {("wallet", BNB): coins}, nonce, quantity(block["number"]), quantity(block["timestamp"])
        )

    def _routes(self, first: str, last: str) -> list[tuple[str, ...]]:
        """Those that have pools."""
        ways = [(first, last), *((first, hop, last) for hop in self.policy.hops)]
        pools = {frozenset(pair.split("/")) for pair in self.market.pancake.pools}
        return [way for way in ways if all(frozenset(pair) in pools for pair in pairwise(way))]

    def _quote(self, path: Sequence[str], amount: int, block: int) -> int:
        addresses = [self.market.tokens[symbol].address for symbol in path]
        (amounts,) = self.market.chain.call(
            self.market.pancake.router,
            "getAmountsOut(uint256,address[])",
            amount,
            addresses,
            returns="uint256[]",
            block=hex(block),
        )
        return int(amounts[-1])


def decree_allowance(market: Market, wallet: str, symbol: str, units: int) -> None:
    """Let the router take so much, by decree and without a transaction."""
    inner = keccak(encode(["address", "uint256"], [wallet, ALLOWANCES.get(symbol, OF_OTHERS)]))
    slot = keccak(encode(["address"], [market.pancake.router]) + inner)
    market.chain.set_storage(market.tokens[symbol].address, int.from_bytes(slot), units)
    assert market.allowance(wallet, symbol, market.pancake.router) == units, "another contract than thought"


def _balance_of(address: str) -> str:
    return calldata("balanceOf(address)", address)
