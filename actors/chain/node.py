"""One endpoint, through web3: every answer is checked and made one of our values, every failure is named, once, here.

Importing this takes web3 along (a second, 50 MB): `rpc` does it in a thread, and only where there is a chain to read.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextvars import ContextVar
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar, cast

import httpx
import trio
from eth_abi.exceptions import DecodingError
from web3 import AsyncWeb3
from web3.exceptions import (
    BlockNotFound,
    ContractLogicError,
    TransactionNotFound,
    Web3Exception,
    Web3RPCError,
)
from web3.middleware import ExtraDataToPOAMiddleware
from web3.providers.async_base import AsyncJSONBaseProvider
from web3.types import RPCEndpoint, RPCResponse

from actors.chain.logs import SWAP, SYNC, TRANSFER, pool_event
from actors.chain.port import (
    Accepted,
    AlreadyKnown,
    Answer,
    Block,
    Denied,
    Log,
    NonceTooLow,
    PoolEvent,
    Receipt,
    Rejected,
    Reserves,
    Sending,
    Sighting,
    Token,
    Unanswered,
    Unclear,
    Underpriced,
)
from protocol.codec import from_json
from protocol.times import EPOCH

T = TypeVar("T")

MAX_ANSWER_BYTES: Final = 32 * 2**20
MAX_WORDS: Final = 160  # of what an endpoint says, in letters
_LAST_SECOND: Final = 2**33
_ABI: Final = {
    "getReserves": ((), ("uint112", "uint112", "uint32")),
    "token0": ((), ("address",)),
    "token1": ((), ("address",)),
    "factory": ((), ("address",)),
    "WETH": ((), ("address",)),
    "getPair": (("address", "address"), ("address",)),
    "getAmountsOut": (("uint256", "address[]"), ("uint256[]",)),
    "latestRoundData": ((), ("uint80", "int256", "uint256", "uint256", "uint80")),
    "decimals": ((), ("uint8",)),
    "symbol": ((), ("string",)),
    "balanceOf": (("address",), ("uint256",)),
    "allowance": (("address", "address"), ("uint256",)),
}
# What nodes say when they do not take a transaction, in small letters, most telling first. What is not in here proves
# nothing: a node in front of a pool can fail after it has handed the bytes on.
_NOT_TAKEN: Final[tuple[tuple[str, Callable[[str], Sending]], ...]] = (
    ("nonce too low", NonceTooLow),
    ("nonce is too low", NonceTooLow),
    ("oldnonce", NonceTooLow),
    ("underpriced", Underpriced),
    ("feetoolow", Underpriced),
    ("gas price below", Underpriced),
    ("max fee per gas less than block base fee", Underpriced),
    ("insufficient funds", Rejected),
    ("intrinsic gas too low", Rejected),
    ("exceeds block gas limit", Rejected),
    ("invalid chain id", Rejected),
    ("invalid sender", Rejected),
    ("only replay-protected", Rejected),
    ("nonce too high", Rejected),
)
_KNOWN: Final = ("already known", "known transaction", "already imported", "alreadyknown", "already exists")
# What the libraries raise on an answer that is not what it should be.
_MALFORMED: Final = (Web3Exception, DecodingError, ValueError, TypeError, LookupError, AttributeError, OverflowError)

_reached: ContextVar[bool] = ContextVar("reached")  # was the endpoint asked? what is wrong before that is our mistake

for _name in ("httpx", "httpcore", "web3"):  # they would write URLs, and with them keys, and what is sent
    logging.getLogger(_name).setLevel(logging.WARNING)


class _Malformed(Exception):
    """An answer that cannot be. Says what is wrong with it."""


class _Provider(AsyncJSONBaseProvider):
    """JSON-RPC over HTTP, for any async library that httpx runs on. Nothing is asked twice."""

    global_ccip_read_enabled = False  # a contract must not send us to an address of its own

    def __init__(self, url: str) -> None:
        super().__init__()
        self._url = url
        headers = {"content-type": "application/json", "accept-encoding": "identity"}
        # Node's deadline is for all of a request.
        self.client = httpx.AsyncClient(timeout=None, trust_env=False, headers=headers)  # noqa: S113

    async def make_request(self, method: RPCEndpoint, params: Any) -> RPCResponse:
        request = self.form_request(method, params)
        _reached.set(True)
        body = bytearray()
        async with self.client.stream("POST", self._url, content=self.encode_rpc_dict(request)) as response:
            if response.status_code != 200:
                raise _Malformed(f"HTTP {response.status_code}")
            async for part in response.aiter_raw():
                if len(body) <= MAX_ANSWER_BYTES:  # the rest is let go by, as long as there is time
                    body += part
        if len(body) > MAX_ANSWER_BYTES:
            raise _Malformed(f"an answer of more than {MAX_ANSWER_BYTES >> 20} MiB")
        try:
            answer = from_json(bytes(body))
        except ValueError:
            raise _Malformed("an answer that is no JSON") from None
        if not isinstance(answer, dict) or not ("result" in answer) ^ bool(answer.get("error")):
            raise _Malformed("an answer that is no JSON-RPC")
        if "result" in answer and answer.get("id") != request["id"]:
            raise _Malformed("an answer to something else")
        return cast(RPCResponse, answer)


class Node:
    """The chain as one endpoint shows it. All raise `Unanswered`, and `Denied` where it answers with an error."""

    def __init__(self, url: str, timeout_seconds: float) -> None:
        self._timeout = timeout_seconds
        self._provider = _Provider(url)
        self._w3 = AsyncWeb3[Any](self._provider, middleware=[(ExtraDataToPOAMiddleware, "poa")])
        self._secrets = [part for part in _parts(url) if len(part) > 3]

    async def aclose(self) -> None:
        await self._provider.client.aclose()

    # --- blocks

    async def chain_id(self) -> int:
        return await self._asked(lambda: self._w3.eth.chain_id, _natural)

    async def head(self) -> Block:
        return await self._asked(lambda: self._w3.eth.get_block("latest"), _block)

    async def block(self, number: int) -> Block | None:
        try:
            found = await self._asked(lambda: self._w3.eth.get_block(number), _block)
        except _Absent:
            return None
        if found.number != number:
            raise Unanswered(f"block {found.number} for block {number}")
        return found

    # --- pools, tokens, feeds

    async def reserves(self, pool: str, at: Block | None) -> Reserves:
        first, second, _ = await self._call(pool, "getReserves", (), at)
        return Reserves(first, second)

    async def pool_events(self, pools: Sequence[str], first: int, last: int) -> list[PoolEvent]:
        wanted: Any = {
            "address": list(map(_checksummed, pools)), "topics": [[SYNC, SWAP]], "fromBlock": first, "toBlock": last
        }  # fmt: skip

        def events(logs: Any) -> list[PoolEvent]:
            found = [_pool_event(log, {pool.lower() for pool in pools}, first, last) for log in logs]
            found.sort(key=lambda event: (event.block, event.index))
            if len({(event.block, event.index) for event in found}) < len(found):
                raise _Malformed("the same log twice")
            return found

        return await self._asked(lambda: self._w3.eth.get_logs(wanted), events)

    async def outgoing(self, token: str, owner: str, first: int, last: int) -> tuple[str, ...]:
        sender = "0x" + owner.lower().removeprefix("0x").rjust(64, "0")
        wanted: Any = {
            "address": _checksummed(token), "topics": [TRANSFER, sender], "fromBlock": first, "toBlock": last
        }  # fmt: skip

        def hashes(logs: Any) -> tuple[str, ...]:
            for log in logs:
                found, block = _log(log), _natural(log["blockNumber"])
                asked_for = found.address == token.lower() and found.topics[:2] == (TRANSFER, sender)
                if not asked_for or not first <= block <= last:
                    raise _Malformed("a log that was not asked for")
            return tuple(dict.fromkeys(_hash(log["transactionHash"]) for log in logs))

        return await self._asked(lambda: self._w3.eth.get_logs(wanted), hashes)

    async def answer(self, feed: str, at: Block | None) -> Answer:
        _, price, _, updated_at, _ = await self._call(feed, "latestRoundData", (), at)
        (decimals,) = await self._call(feed, "decimals", (), at)
        if price <= 0 or not 0 < updated_at < _LAST_SECOND:
            raise Denied(f"the feed {feed} has no price")
        return Answer(price, decimals, _instant(updated_at))

    async def amounts_out(self, router: str, spend: int, path: tuple[str, ...], at: Block | None) -> list[int]:
        (amounts,) = await self._call(router, "getAmountsOut", (spend, path), at)
        if len(amounts) != len(path) or amounts[0] != spend:
            raise Unanswered(f"a quote of {len(amounts)} amounts for {len(path)} tokens")
        return list(amounts)

    async def token(self, address: str) -> Token:
        (symbol,) = await self._call(address, "symbol", (), None)
        (decimals,) = await self._call(address, "decimals", (), None)
        return Token(symbol, decimals)

    async def tokens_of(self, pool: str) -> tuple[str, str]:
        (first,) = await self._call(pool, "token0", (), None)
        (second,) = await self._call(pool, "token1", (), None)
        return first, second

    async def pool(self, factory: str, one: str, other: str) -> str | None:
        (found,) = await self._call(factory, "getPair", (one, other), None)
        return found if int(found, 16) else None

    async def wiring(self, router: str) -> tuple[str, str]:
        (factory,) = await self._call(router, "factory", (), None)
        (wrapped,) = await self._call(router, "WETH", (), None)
        return factory, wrapped

    # --- an owner

    async def balance(self, owner: str, token: str | None, at: Block | None) -> int:
        if token is not None:
            (balance,) = await self._call(token, "balanceOf", (owner,), at)
            return int(balance)
        return await self._asked(lambda: self._w3.eth.get_balance(_checksummed(owner), _identifier(at)), _natural)

    async def allowance(self, token: str, owner: str, spender: str, at: Block | None) -> int:
        (allowance,) = await self._call(token, "allowance", (owner, spender), at)
        return int(allowance)

    async def transaction_count(self, owner: str, pending: bool) -> int:
        which: Any = "pending" if pending else "latest"
        return await self._asked(lambda: self._w3.eth.get_transaction_count(_checksummed(owner), which), _natural)

    async def gas_price(self) -> int:
        return await self._asked(lambda: self._w3.eth.gas_price, _natural)

    # --- transactions

    async def transaction(self, hash: str) -> Sighting | None:
        try:
            found = await self._asked(lambda: self._w3.eth.get_transaction(hash), _sighting)  # type: ignore[arg-type]
        except _Absent:
            return None
        if found.hash != hash.lower():
            raise Unanswered(f"another transaction for {hash}")
        return found

    async def receipt(self, hash: str) -> Receipt | None:
        try:
            found = await self._asked(lambda: self._w3.eth.get_transaction_receipt(hash), _receipt)  # type: ignore[arg-type]
        except _Absent:
            return None
        if found.hash != hash.lower():
            raise Unanswered(f"another receipt for {hash}")
        return found

    async def send(self, raw: bytes) -> Sending:
        """Once. Everything but an answer that proves something is `Unclear`."""
        known_hash = AsyncWeb3.keccak(raw).to_0x_hex()
        try:
            told = await self._asked(lambda: self._w3.eth.send_raw_transaction(raw), _hash)
        except Denied as no:
            words = no.reason.lower()
            if any(known in words for known in _KNOWN):
                return AlreadyKnown(known_hash)
            made = next((kind for phrase, kind in _NOT_TAKEN if phrase in words), Unclear)
            return made(no.reason)
        except Unanswered as no:
            return Unclear(no.reason)
        return Accepted(told) if told == known_hash else Unclear(f"it was taken as {told}, but is {known_hash}")

    # --- asking

    async def _call(self, to: str, name: str, args: tuple[Any, ...], at: Block | None) -> tuple[Any, ...]:
        """A contract's function at a block, by that block's hash. Addresses in the answer are in small letters."""
        takes, gives = _ABI[name]
        selector = AsyncWeb3.keccak(text=f"{name}({','.join(takes)})")[:4]
        wanted: Any = {"to": _checksummed(to), "data": bytes(selector) + self._w3.codec.encode(takes, args)}

        def decoded(data: bytes) -> tuple[Any, ...]:
            if not data:
                raise Denied(f"no contract at {to} that has {name}")
            return tuple(self._w3.codec.decode(gives, data))

        return await self._asked(lambda: self._w3.eth.call(wanted, _identifier(at)), decoded)

    async def _asked(self, ask: Callable[[], Awaitable[Any]], made: Callable[[Any], T]) -> T:
        """What `made` makes of the answer, in time; every way in which there may be none is told in words."""
        _reached.set(False)
        try:
            with trio.fail_after(self._timeout):
                answer = await ask()
            return made(answer)
        except Unanswered:
            raise
        except trio.TooSlowError:
            raise Unanswered(f"no answer within {self._timeout:g} s") from None
        except httpx.HTTPError as error:  # its text has the URL
            raise Unanswered(_plain_name(error)) from None
        except (BlockNotFound, TransactionNotFound):
            raise _Absent from None
        except (ContractLogicError, Web3RPCError) as error:
            raise Denied(self._told(error)) from None
        except _Malformed as error:
            raise Unanswered(str(error)) from None
        except _MALFORMED as error:
            if not _reached.get():
                raise
            raise Unanswered(f"an answer that cannot be read ({type(error).__name__})") from None

    def _told(self, error: Exception) -> str:
        """An endpoint's own words, short, and without what its URL could hold."""
        told = getattr(error, "rpc_response", None)
        words = told["error"] if isinstance(told, dict) and "error" in told else getattr(error, "message", None)
        if isinstance(words, dict):
            words = words.get("message")
        text = " ".join(str(words or type(error).__name__).split())
        for secret in self._secrets:
            text = text.replace(secret, "...")
        return "".join(letter if letter.isprintable() else "?" for letter in text)[:MAX_WORDS]


class _Absent(Denied):
    """There is no such block or transaction."""

    def __init__(self) -> None:
        super().__init__("there is no such thing")


def _parts(url: str) -> list[str]:
    """All that could be a key in a URL, longest first."""
    parsed = httpx.URL(url)
    parts = [
        url,
        parsed.path,
        parsed.userinfo.decode(),
        parsed.username,
        parsed.password or "",
        *parsed.path.split("/"),
    ]
    parts += [parsed.query.decode(), *parsed.params.values()]
    return sorted({part for part in parts if part}, key=len, reverse=True)


def _plain_name(error: httpx.HTTPError) -> str:
    words: dict[type[httpx.HTTPError], str] = {
        httpx.ConnectError: "the connection was refused",
        httpx.RemoteProtocolError: "it broke off in the middle of its answer",
        httpx.ReadError: "it broke off in the middle of its answer",
    }
    return words.get(type(error), f"the connection failed ({type(error).__name__})")


def _identifier(at: Block | None) -> Any:
    return "latest" if at is None else {"blockHash": at.hash, "requireCanonical": True}


def _checksummed(address: str) -> Any:
    return AsyncWeb3.to_checksum_address(address)


def _instant(seconds: int) -> datetime:
    return EPOCH + timedelta(seconds=seconds)


# --- answers, checked


def _natural(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise _Malformed("no whole number")
    return value


def _bytes(value: Any) -> bytes:
    if not isinstance(value, bytes):
        raise _Malformed("no bytes")
    return bytes(value)


def _hash(value: Any) -> str:
    data = _bytes(value)
    if len(data) != 32:
        raise _Malformed("no hash")
    return "0x" + data.hex()


def _address(value: Any) -> str:
    if not isinstance(value, str) or len(value) != 42:
        raise _Malformed("no address")
    return value.lower()


def _block(found: Mapping[str, Any]) -> Block:
    seconds = _natural(found["timestamp"])
    if seconds >= _LAST_SECOND:
        raise _Malformed("a block of no time")
    return Block(_natural(found["number"]), _hash(found["hash"]), _instant(seconds))


def _log(found: Mapping[str, Any]) -> Log:
    if found.get("removed"):
        raise _Malformed("a log that was removed")
    topics = tuple(map(_hash, found["topics"]))
    return Log(_address(found["address"]), topics, _bytes(found["data"]), _natural(found["logIndex"]))


def _pool_event(found: Mapping[str, Any], pools: set[str], first: int, last: int) -> PoolEvent:
    log, block = _log(found), _natural(found["blockNumber"])
    event = pool_event(log, block)
    if event is None or log.address not in pools or not first <= block <= last:
        raise _Malformed("a log that was not asked for")
    return event


def _sighting(found: Mapping[str, Any]) -> Sighting:
    block = found.get("blockNumber")
    return Sighting(
        _hash(found["hash"]),
        _address(found["from"]),
        _natural(found["nonce"]),
        _natural(found["gasPrice"]),
        None if block is None else _natural(block),
    )


def _receipt(found: Mapping[str, Any]) -> Receipt:
    status = found["status"]
    if status not in (0, 1):
        raise _Malformed("a receipt of no status")
    logs = tuple(map(_log, found["logs"]))
    return Receipt(
        _hash(found["transactionHash"]),
        _natural(found["blockNumber"]),
        _hash(found["blockHash"]),
        status == 1,
        _natural(found["gasUsed"]),
        _natural(found["effectiveGasPrice"]),
        logs,
    )
