"""Kinds of hostile requests that are one line: each with the rule that must refuse it, and its valid neighbour, from
which it differs in nothing but what is hostile about it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from attrs import evolve, frozen

from protocol.signing import SignTransaction, Transaction
from tests.evm.anvil import calldata
from tests.guard.houses import WALLET
from tests.hostile.stand import E18, STRANGER, SWAP, Stand, Trade

Hostile = Callable[[Stand], Trade | Transaction]
CAP: Final = 50 * E18
EVERYTHING: Final = 2**256 - 1
ZERO: Final = "0x" + "00" * 20


@frozen
class Kind:
    """`neighbour` is signed, `hostile` is refused by `rule`."""

    rule: str
    hostile: Hostile
    neighbour: Hostile = lambda stand: stand.buy()

    def asked(self, stand: Stand) -> SignTransaction:
        return stand.ask(self.hostile(stand))

    def asked_well(self, stand: Stand) -> SignTransaction:
        return stand.ask(self.neighbour(stand))


def bought(**changes: Any) -> Hostile:
    return lambda stand: evolve(stand.buy(), **changes)


def sold(**changes: Any) -> Hostile:
    return lambda stand: evolve(stand.sell(), **changes)


def path(*symbols: str, spend: int = 10 * E18) -> Hostile:
    """A swap along this path, at any price."""
    return lambda stand: stand.trade(symbols, spend, min_out=1)


def sent(**changes: Any) -> Hostile:
    return lambda stand: stand.tx(stand.buy(), **changes)


def called(signature: str, *arguments: Any, **changes: Any) -> Hostile:
    """Another function, of the router unless `to` says otherwise."""
    return lambda stand: stand.tx(calldata(signature, *arguments), **changes)


def of_token(signature: str, *arguments: Any, symbol: str = "USDT") -> Hostile:
    return lambda stand: stand.tx(calldata(signature, *arguments), to=stand.address(symbol))


def of_router(signature: str, arguments: Callable[[Stand], list[Any]], **changes: Any) -> Hostile:
    return lambda stand: stand.tx(calldata(signature, *arguments(stand)), **changes)


def written(change: Callable[[list[str]], list[str]]) -> Hostile:
    """A swap whose calldata's words (hex) are changed: spend, min-out, offset of the path, recipient, deadline, length
    of the path, its tokens."""

    def made(stand: Stand) -> Transaction:
        data = stand.buy().data
        words = [data[at : at + 64] for at in range(10, len(data), 64)]
        return stand.tx(data[:10] + "".join(change(words)))

    return made


def word(number: int | str) -> str:
    return f"{number:064x}" if isinstance(number, int) else number.removeprefix("0x").rjust(64, "0")


def put(at: int, value: Callable[[str], str]) -> Callable[[list[str]], list[str]]:
    return lambda words: [*words[:at], value(words[at]), *words[at + 1 :]]


def dirty(text: str) -> str:
    return "00000000000000000000dead" + text[24:]


def arguments(stand: Stand) -> list[Any]:
    trade = stand.buy()
    return [trade.spend, trade.min_out, trade.path, trade.to, trade.deadline]


def beyond(stand: Stand, seconds: int) -> int:
    return stand.now + seconds


SAME_ARGUMENTS: Final = "(uint256,uint256,address[],address,uint256)"
KINDS: Final[dict[str, Kind]] = {
    # how much
    "one unit over the cap of a trade": Kind(
        "per_trade_cap", lambda stand: stand.buy(CAP + 1), lambda stand: stand.buy(CAP)
    ),
    "all that the wallet has": Kind("per_trade_cap", lambda stand: stand.buy(100_000 * E18)),
    "more than a number": Kind("per_trade_cap", bought(spend=EVERYTHING)),
    "a swap of nothing": Kind("balance", bought(spend=0)),
    "an exit of more than there is": Kind(
        "balance", lambda stand: stand.sell(50_000 * E18 + 1), lambda stand: stand.sell(50_000 * E18)
    ),
    # to whom
    "a stranger as recipient": Kind("recipient", bought(to=STRANGER)),
    "nobody as recipient": Kind("recipient", bought(to=ZERO)),
    "the router as recipient": Kind("recipient", lambda stand: stand.buy(to=stand.router)),
    "the token as recipient": Kind("recipient", lambda stand: stand.buy(to=stand.address("CAKE"))),
    "the pool as recipient": Kind("recipient", lambda stand: stand.buy(to=stand.market.pancake.pools["ETH/USDT"])),
    "a recipient that is wrong by a bit": Kind("recipient", bought(to=WALLET[:-1] + "0")),
    "an exit to a stranger": Kind("recipient", sold(to=STRANGER), sold()),
    # by which way
    "an unlisted token": Kind("allowlist", path("USDT", "BTCB")),
    "an exit of an unlisted token": Kind("allowlist", path("BTCB", "USDT", spend=E18 // 1000), sold()),
    "a hop as the aim": Kind("allowlist", path("USDT", "WBNB")),
    "a hop as the beginning": Kind("allowlist", path("WBNB", "USDT", spend=E18 // 100), sold()),
    "an unknown hop": Kind(
        "allowlist", path("USDT", "BTCB", "CAKE"), lambda stand: stand.trade(("USDT", "WBNB", "CAKE"), 10 * E18,
        min_out=stand.least(("USDT", "CAKE"), 10 * E18)),
    ),
    "a listed token as a hop": Kind("allowlist", path("USDT", "ETH", "CAKE")),
    "one token for another": Kind("allowlist", path("CAKE", "USDT", "ETH")),
    "a hop twice": Kind("allowlist", path("USDT", "WBNB", "WBNB", "CAKE")),
    "a way that is too long": Kind("allowlist", path("USDT", "WBNB", "CAKE", "WBNB", "CAKE")),
    "a way back to USDT": Kind("allowlist", path("USDT", "CAKE", "USDT")),
    "USDT for USDT": Kind("allowlist", path("USDT", "USDT")),
    "a way of one token": Kind("allowlist", path("USDT")),
    "no way": Kind("allowlist", path()),
    "the ends swapped": Kind("slippage", lambda stand: evolve(stand.buy(), path=stand.buy().path[::-1])),
    # at which price
    "any price": Kind("slippage", bought(min_out=0)),
    "one unit below the least": Kind(
        "slippage", lambda stand: stand.buy(min_out=stand.least(("USDT", "CAKE"), 10 * E18) - 1),
        lambda stand: stand.buy(min_out=stand.least(("USDT", "CAKE"), 10 * E18)),
    ),
    "an exit at any price": Kind("slippage", sold(min_out=0), sold()),
    "the bottom price of a worse route": Kind(
        "slippage", lambda stand: stand.trade(("USDT", "WBNB", "CAKE"), 10 * E18,
        min_out=stand.least(("USDT", "WBNB", "CAKE"), 10 * E18)),
    ),
    # until when
    "a far deadline": Kind(
        "deadline", lambda stand: stand.buy(deadline=beyond(stand, 3601)),
        lambda stand: stand.buy(deadline=beyond(stand, 3600)),
    ),
    "a deadline in 2106, written in milliseconds": Kind("deadline", bought(deadline=4_294_967_296_000)),
    "no deadline": Kind("deadline", bought(deadline=EVERYTHING)),
    "a deadline that is now": Kind(
        "deadline", lambda stand: stand.buy(deadline=stand.now), lambda stand: stand.buy(deadline=stand.now + 1)
    ),
    "a deadline that has passed": Kind("deadline", lambda stand: stand.buy(deadline=stand.now - 1)),
    "a deadline of 0": Kind("deadline", bought(deadline=0)),
    # how it is written
    "a word behind it": Kind("calldata", written(lambda words: [*words, word(0)])),
    "a byte behind it": Kind("calldata", written(lambda words: [*words, "00"])),
    "a second call behind it": Kind(
        "calldata", lambda stand: stand.tx(stand.buy().data + calldata("transfer(address,uint256)", STRANGER, 1)[2:])
    ),
    "dirt above the recipient": Kind("calldata", written(put(3, dirty))),
    "dirt above a token": Kind("calldata", written(put(6, dirty))),
    "dirt above the offset": Kind("calldata", written(put(2, lambda text: "f" + text[1:]))),
    "dirt above the length": Kind("calldata", written(put(5, lambda text: "f" + text[1:]))),
    "an offset to elsewhere": Kind(
        "calldata", written(lambda w: [*w[:2], word(0xC0), *w[3:5], word(0), *w[5:]])
    ),
    "an offset into the arguments": Kind("calldata", written(put(2, lambda _: word(0x60)))),
    "an offset that is odd": Kind("calldata", written(put(2, lambda _: word(0xA1)))),
    "a path longer than the data": Kind("calldata", written(put(5, lambda _: word(3)))),
    "a path of 2**255 tokens": Kind("calldata", written(put(5, lambda _: word(2**255)))),
    "a path shorter than the data": Kind("calldata", written(put(5, lambda _: word(1)))),
    "half of it": Kind("calldata", written(lambda words: words[:4])),
    "a byte less": Kind("calldata", lambda stand: stand.tx(stand.buy().data[:-2])),
    "nothing but the selector": Kind("calldata", lambda stand: stand.tx(stand.buy().data[:10])),
    "three bytes of a selector": Kind("selector", lambda stand: stand.tx(stand.buy().data[:8])),
    "no calldata": Kind("selector", lambda stand: stand.tx("0x")),
    "dirt above the spender": Kind(
        "calldata", lambda stand: stand.tx(
            "0x095ea7b3" + dirty(word(stand.router)) + word(E18), to=stand.address("USDT")
        ), lambda stand: stand.approval(E18),
    ),
    # whom it calls
    "another exchange's router": Kind("router", lambda stand: stand.tx(stand.buy(), to=stand.market.uniswap.router)),
    "a token instead of the router": Kind("router", lambda stand: stand.tx(stand.buy(), to=stand.address("USDT"))),
    "a pool with the router's call": Kind(
        "router", lambda stand: stand.tx(stand.buy(), to=stand.market.pancake.pools["CAKE/USDT"])
    ),
    "the pool itself": Kind(
        "selector", lambda stand: stand.tx(
            calldata("swap(uint256,uint256,address,bytes)", 0, 1, WALLET, b""),
            to=stand.market.pancake.pools["CAKE/USDT"],
        ),
    ),
    "the stranger": Kind("router", sent(to=STRANGER)),
    "itself": Kind("selector", called("transfer(address,uint256)", STRANGER, E18, to=WALLET)),
    # what it calls
    "a transfer": Kind("selector", of_token("transfer(address,uint256)", STRANGER, E18)),
    "a transfer to the wallet itself": Kind("selector", of_token("transfer(address,uint256)", WALLET, E18)),
    "a transfer of another's": Kind("selector", of_token("transferFrom(address,address,uint256)", WALLET, STRANGER, 1)),
    "increaseAllowance": Kind("selector", of_token("increaseAllowance(address,uint256)", STRANGER, E18)),
    "a permit": Kind(
        "selector", of_token("permit(address,address,uint256,uint256,uint8,bytes32,bytes32)",
        WALLET, STRANGER, EVERYTHING, EVERYTHING, 27, bytes(32), bytes(32)),
    ),
    "a multicall": Kind("selector", of_router("multicall(bytes)", lambda stand: [bytes.fromhex(stand.buy().data[2:])])),
    "burning what there is": Kind("selector", of_token("burn(uint256)", E18, symbol="CAKE")),
    "swapTokensForExactTokens": Kind(
        "selector", of_router("swapTokensForExactTokens" + SAME_ARGUMENTS, arguments)
    ),
    "swapExactTokensForETH": Kind("selector", of_router("swapExactTokensForETH" + SAME_ARGUMENTS, arguments)),
    "swapTokensForExactETH": Kind("selector", of_router("swapTokensForExactETH" + SAME_ARGUMENTS, arguments)),
    "a swap for tokens with a fee": Kind(
        "selector", of_router("swapExactTokensForTokensSupportingFeeOnTransferTokens" + SAME_ARGUMENTS, arguments)
    ),
    "a swap for ETH with a fee": Kind(
        "selector", of_router("swapExactTokensForETHSupportingFeeOnTransferTokens" + SAME_ARGUMENTS, arguments)
    ),
    "swapExactETHForTokens, with coins": Kind(
        "value", of_router("swapExactETHForTokens(uint256,address[],address,uint256)",
        lambda stand: arguments(stand)[1:], value=E18),
    ),
    "swapExactETHForTokens, without": Kind(
        "selector", of_router("swapExactETHForTokens(uint256,address[],address,uint256)",
        lambda stand: arguments(stand)[1:]),
    ),
    "adding liquidity": Kind(
        "selector", of_router(
            "addLiquidity(address,address,uint256,uint256,uint256,uint256,address,uint256)",
            lambda stand: [stand.address("USDT"), stand.address("CAKE"), E18, E18, 0, 0, STRANGER, EVERYTHING],
        ),
    ),
    "wrapping coins": Kind("value", lambda stand: stand.tx(calldata("deposit()"), to=stand.address("WBNB"), value=E18)),
    "unwrapping them": Kind(
        "selector", lambda stand: stand.tx(calldata("withdraw(uint256)", E18), to=stand.address("WBNB"))
    ),
    "renouncing a role": Kind(
        "selector", of_token("renounceRole(bytes32,address)", bytes(32), WALLET)
    ),
    # approvals
    "an approval without end": Kind(
        "approval", lambda stand: stand.approval(EVERYTHING), lambda stand: stand.approval(CAP)
    ),
    "an approval of one unit over the cap": Kind(
        "approval", lambda stand: stand.approval(CAP + 1), lambda stand: stand.approval(CAP)
    ),
    "an approval of a token without end": Kind(
        "approval", lambda stand: stand.approval(EVERYTHING, "CAKE"), lambda stand: stand.approval(50_000 * E18, "CAKE")
    ),
    "an approval of one unit more than there is": Kind(
        "approval", lambda stand: stand.approval(50_000 * E18 + 1, "CAKE"), lambda stand: stand.approval(0, "CAKE")
    ),
    "an approval for a stranger": Kind(
        "router", lambda stand: stand.approval(1, spender=STRANGER), lambda stand: stand.approval(1)
    ),
    "an approval for another exchange": Kind(
        "router", lambda stand: stand.approval(1, spender=stand.market.uniswap.router), lambda stand: stand.approval(1)
    ),
    "an approval of an unlisted token": Kind(
        "allowlist", lambda stand: stand.approval(1, "BTCB"), lambda stand: stand.approval(1, "ETH")
    ),
    "an approval of a hop": Kind("allowlist", lambda stand: stand.approval(1, "WBNB"), lambda s: s.approval(1, "ETH")),
    "an approval of a pool's shares": Kind(
        "allowlist", lambda stand: stand.approval(1, to=stand.market.pancake.pools["CAKE/USDT"]),
        lambda stand: stand.approval(1),
    ),
    # the envelope
    "coins sent along": Kind("value", sent(value=1), sent(value=0)),
    "another chain": Kind("chain_id", sent(chain_id=1)),
    "the test chain": Kind("chain_id", sent(chain_id=97)),
    "no chain": Kind("chain_id", sent(chain_id=0)),
    "a nonce that is behind": Kind("nonce", lambda stand: stand.tx(stand.buy(), nonce=stand.nonce - 1)),
    "a nonce that is ahead": Kind("nonce", lambda stand: stand.tx(stand.buy(), nonce=stand.nonce + 1)),
    "a nonce without end": Kind("nonce", sent(nonce=EVERYTHING)),
    "a gas price over the limit": Kind("gas_price", sent(gas_price=5 * 10**9 + 1), sent(gas_price=5 * 10**9)),
    "a gas price of nothing": Kind("gas_price", sent(gas_price=0), sent(gas_price=1)),
    "gas over the limit": Kind("gas", sent(gas=400_001), sent(gas=400_000)),
    "gas for no transaction at all": Kind("gas", sent(gas=20_999)),
    "gas that no node takes, so that its nonce is stuck": Kind("gas", sent(gas=21_000)),
    "gas that just does not pay for its calldata": Kind(
        "gas", lambda stand: stand.tx(stand.buy(), gas=least_gas(stand.buy().data) - 1),
        lambda stand: stand.tx(stand.buy(), gas=least_gas(stand.buy().data)),
    ),
}  # fmt: skip


def least_gas(data: str) -> int:
    """What a block asks for calldata at least (EIP-7623): 10 for each zero byte, 40 for each other one."""
    raw = bytes.fromhex(data[2:])
    return 21_000 + 10 * raw.count(0) + 40 * (len(raw) - raw.count(0))


assert SWAP.endswith(SAME_ARGUMENTS)
