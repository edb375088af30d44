"""The contracts to deploy: creation code from npm packages, read at run time and patched to fit each other.

Two constants in the router are no constructor's arguments, and must be those of the pools that it trades on:

- **the init hash**: it computes a pair's address from the keccak of the pair's creation code. With that of another pair
  it finds nobody there, and adding liquidity reverts;
- **the fee**: Uniswap's router computes with 0.3 %, PancakeSwap's with 0.25 %. PancakeSwap's pair accepts that: the one
  on npm asks for 0.2 % only, so it is the router that makes the fee. Uniswap's pair refuses it (`UniswapV2: K`).

A patch that is not found exactly as often as it must be raises: then this is not the contract that it was made for.
"""

from __future__ import annotations

import json
from typing import Final

from attrs import frozen
from eth_abi.abi import encode
from eth_utils.crypto import keccak

from tests.evm.anvil import MODULES, NotSetUp

UNISWAP_PAIR: Final = "@uniswap/v2-core/build/UniswapV2Pair"
UNISWAP_FACTORY: Final = "@uniswap/v2-core/build/UniswapV2Factory"
UNISWAP_ROUTER: Final = "@uniswap/v2-periphery/build/UniswapV2Router02"
PANCAKE_PAIR: Final = "@pancakeswap-libs/pancake-swap-core/build/PancakePair"
PANCAKE_FACTORY: Final = "@pancakeswap-libs/pancake-swap-core/build/PancakeFactory"
WRAPPED: Final = "@uniswap/v2-periphery/build/WETH9"
ERC20: Final = "@openzeppelin/contracts/build/contracts/ERC20PresetMinterPauser"


class WrongContract(Exception):
    """A contract is not the one that a patch was made for."""


@frozen
class Fee:
    """A pool trades `traded` parts of every `of` that come in, and keeps the rest."""

    traded: int
    of: int


UNISWAP_FEE: Final = Fee(997, 1000)
PANCAKE_FEE: Final = Fee(9975, 10_000)


def creation_code(artifact: str) -> bytes:
    """What npm's package deploys, by its path below node_modules. Raises NotSetUp."""
    path = MODULES / f"{artifact}.json"
    if not path.exists():
        raise NotSetUp(f"no contract at {path}: `make test` sets it up")
    code = json.loads(path.read_text(encoding="utf-8"))["bytecode"]
    return bytes.fromhex((code if isinstance(code, str) else code["object"]).removeprefix("0x"))


def patched(code: bytes, old: bytes, new: bytes, *, times: int) -> bytes:
    """`code` with `old` replaced by `new`, which it holds so many times. Raises WrongContract.

    >>> patched(b"abcab", b"ab", b"xy", times=2)
    b'xycxy'
    """
    assert len(old) == len(new)  # else every jump behind it would miss
    if (found := code.count(old)) != times:
        raise WrongContract(f"0x{old.hex()} is to become 0x{new.hex()} {times} times: found {found} times")
    return code.replace(old, new)


def router(factory: str, wrapped: str, pair: str, fee: Fee) -> bytes:
    """A router for a factory of `pair`, computing with `fee`. Raises WrongContract."""
    code = creation_code(UNISWAP_ROUTER)
    code = patched(code, keccak(creation_code(UNISWAP_PAIR)), keccak(creation_code(pair)), times=1)
    # As a quote's numerator and denominator: once for what comes out, once for what must go in.
    code = patched(code, _push2(UNISWAP_FEE.traded), _push2(fee.traded), times=2)
    code = patched(code, _push2(UNISWAP_FEE.of), _push2(fee.of), times=2)
    return code + encode(["address", "address"], [factory, wrapped])


def token(name: str, symbol: str, decimals: int) -> bytes:
    """A token that its deployer mints. It has 18 decimals in its code, and others by a patch. Raises WrongContract."""
    before, after = bytes.fromhex("60405160"), bytes.fromhex("8152")  # PUSH1 40 MLOAD PUSH1 .. DUP2 MSTORE
    old, new = (before + bytes([number]) + after for number in (18, decimals))
    code = patched(creation_code(ERC20), old, new, times=1)
    return code + encode(["string", "string"], [name, symbol])


def _push2(number: int) -> bytes:
    """The instruction that puts a number of two bytes on the stack."""
    return b"\x61" + number.to_bytes(2)


# A price feed as Chainlink's. `decimals()` answers 8; `latestRoundData()` a price and a time from two storage slots:
# roundId, answer, startedAt, updatedAt, answeredInRound are time, price, time, time, time. All else reverts.
FEED_DECIMALS: Final = 8
PRICE_SLOT, TIME_SLOT = 0, 1
FEED: Final = bytes.fromhex(
    "5f35 60e0 1c"  # the selector
    "80 63feaf968c 14 601b 57"  # latestRoundData(): go to 1b
    "63313ce567 14 603e 57"  # decimals(): go to 3e
    "5f 5f fd"  # revert
    "5b" + "".join(f"60{slot:02x} 54 60{32 * word:02x} 52" for word, slot in enumerate((1, 0, 1, 1, 1))) + "60a0 5f f3"
    f"5b 60{FEED_DECIMALS:02x} 5f 52 6020 5f f3"  # 3e
)
