"""What the guard sees of the chain for itself, over JSON-RPC of its own.

Every endpoint is asked at once, in one batch, and of those that answer the strictest view counts: the highest quote and
nonce, the lowest balance and time. So one endpoint that lies can refuse a trade, but not let a bad one through. Where
none answers, nothing is seen, and nothing is signed. No error names an endpoint's address: there may be a key in it.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

import httpx
import trio
from attrs import frozen
from eth_abi.abi import decode, encode

from protocol.codec import from_json, to_json
from protocol.errors import UserError
from server.guard.config import GuardConfig
from server.guard.decode import Swap
from server.guard.policy import Sighting

log = logging.getLogger("forestay.guard")
_AMOUNTS_OUT: Final = bytes.fromhex("d06ca61f")  # getAmountsOut(uint256,address[])
_BALANCE_OF: Final = bytes.fromhex("70a08231")  # balanceOf(address)
_SYMBOL: Final = bytes.fromhex("95d89b41")  # symbol()
_DECIMALS: Final = bytes.fromhex("313ce567")  # decimals()
_FACTORY: Final = bytes.fromhex("c45a0155")  # factory()
_LONGEST_ANSWER: Final = 1_048_576  # bytes
_LATEST: Final = 2**36  # seconds: the year 4147
T = TypeVar("T")
Call = tuple[str, list[Any]]


class Unseen(Exception):
    """The chain could not be seen. Its text names no address."""


@frozen
class Reverted:
    """The contract itself says no."""


class Eyes:
    """The endpoints of the settings. Use it as an async context."""

    def __init__(self, config: GuardConfig) -> None:
        self._config = config
        secure = any(url.startswith("https") for url in config.rpc)
        # No proxy and no password from the environment: the file alone says where to look.
        self._http = httpx.AsyncClient(timeout=config.rpc_timeout_seconds, trust_env=False, verify=secure)

    async def __aenter__(self) -> Eyes:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def see(self, wallet: str, token: str, swap: Swap | None = None) -> Sighting:
        """The wallet's nonce and balance of `token`, the chain's time, the best quote for `swap`. Raises Unseen."""
        routes = self._routes(swap) if swap else []
        calls: list[Call] = [
            ("eth_getTransactionCount", [wallet, "latest"]),
            ("eth_getBlockByNumber", ["latest", False]),
            _call(token, _BALANCE_OF + encode(["address"], [wallet])),
            *(self._quote(swap.spend, route) for route in routes if swap),
        ]
        sightings = await self._everywhere(calls, _sighting)
        quotes = [one.quote for one in sightings if one.quote is not None]
        return Sighting(
            time=min(one.time for one in sightings),
            nonce=max(one.nonce for one in sightings),
            balance=min(one.balance for one in sightings),
            quote=max(quotes, default=None),
        )

    async def check(self) -> None:
        """Is the chain the one that the settings describe? Raises UserError where it differs, Unseen where nothing
        answers."""
        config = self._config
        tokens = {"USDT": config.usdt, **config.tokens, **config.hops}
        calls: list[Call] = [("eth_getCode", [config.router, "latest"])]
        if config.factory:
            calls.append(_call(config.router, _FACTORY))
        for token in tokens.values():
            calls += [_call(token.address, _SYMBOL), _call(token.address, _DECIMALS)]
        for view in await self._everywhere(calls, list):
            answers = iter(view)
            if next(answers) in ("0x", Reverted()):
                raise UserError(f"router = {config.router!r}: there is no contract on the chain")
            if config.factory and _decoded("address", next(answers)) != config.factory:
                raise UserError(f"factory = {config.factory!r}: the router has another one")
            for name, token in tokens.items():
                symbol, decimals = _decoded("string", next(answers)), _decoded("uint8", next(answers))
                if symbol != name:
                    raise UserError(f"{name}: the contract at {token.address} calls itself {symbol!r}")
                if decimals != token.decimals:
                    raise UserError(f"{name}: decimals = {token.decimals}, but the contract says {decimals}")

    def _routes(self, swap: Swap) -> list[tuple[str, ...]]:
        """Every route that may be taken and is worth a look: a swap through a worse one than needed is a bad swap."""
        first, last = swap.path[0], swap.path[-1]
        through = ((first, hop, last) for hop in sorted(self._config.between))
        return list(dict.fromkeys([swap.path, (first, last), *through]))

    def _quote(self, spend: int, route: tuple[str, ...]) -> Call:
        return _call(self._config.router, _AMOUNTS_OUT + encode(["uint256", "address[]"], [spend, route]))

    async def _everywhere(self, calls: Sequence[Call], read: Callable[[list[Any]], T]) -> list[T]:
        """What is read from each endpoint that answers all of it and is of the right chain. Raises Unseen."""
        views: list[T] = []
        failures: list[str] = []

        async def look(number: int, url: str) -> None:
            try:
                with trio.fail_after(self._config.rpc_timeout_seconds):
                    chain_id, *results = await self._batch(url, [("eth_chainId", []), *calls])
                if _number(chain_id) != self._config.chain_id:
                    raise Unseen(f"is of chain {_number(chain_id)}, not {self._config.chain_id}")
                views.append(read(results))
            except (Unseen, trio.TooSlowError, httpx.HTTPError, httpx.InvalidURL) as error:
                reason = str(error) if isinstance(error, Unseen) else type(error).__name__
                failures.append(f"rpc[{number}]: {reason}")

        async with trio.open_nursery() as nursery:
            for number, url in enumerate(self._config.rpc):
                nursery.start_soon(look, number, url)
        for failure in failures:
            log.warning("%s", failure)
        if not views:
            raise Unseen("; ".join(sorted(failures)))
        return views

    async def _batch(self, url: str, calls: Sequence[Call]) -> list[Any]:
        asked = [
            {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
            for number, (method, params) in enumerate(calls)
        ]
        body = b""
        headers = {"content-type": "application/json"}
        async with self._http.stream("POST", url, content=to_json(asked), headers=headers) as response:
            if response.status_code != 200:
                raise Unseen(f"answers with status {response.status_code}")
            async for chunk in response.aiter_bytes():  # to its end, or to the time-out: httpx ends in no other way
                body = body if len(body) > _LONGEST_ANSWER else body + chunk
        if len(body) > _LONGEST_ANSWER:
            raise Unseen("says too much")
        try:
            answers = {answer["id"]: answer for answer in from_json(body)}
            return [_result(answers[number]) for number in range(len(calls))]
        except (ValueError, KeyError, TypeError):
            raise Unseen("does not answer in JSON-RPC") from None


def _call(to: str, data: bytes) -> Call:
    return "eth_call", [{"to": to, "data": "0x" + data.hex()}, "latest"]


def _result(answer: dict[str, Any]) -> Any:
    error = answer.get("error")
    if error is None:
        return answer["result"]
    if not isinstance(error, dict):
        raise Unseen("answers with an error")
    if error.get("code") == 3 or "revert" in str(error.get("message", "")).lower():
        return Reverted()
    raise Unseen("answers with an error")


def _sighting(view: list[Any]) -> Sighting:
    nonce, block, balance, *quotes = view
    try:
        time = _number(block["timestamp"])
    except (TypeError, KeyError):
        raise Unseen("has no newest block") from None
    if time > _LATEST:
        raise Unseen("has a newest block of no time")
    outs = [_decoded("uint256[]", quote)[-1:] for quote in quotes if quote != Reverted()]
    if () in outs:
        raise Unseen("gives no amounts for a quote")
    return Sighting(time, _number(nonce), _decoded("uint256", balance), max((out for (out,) in outs), default=None))


def _number(value: Any) -> int:
    if not isinstance(value, str) or not re.fullmatch("0x[0-9a-fA-F]{1,64}", value):
        raise Unseen("gives something else for a number")
    return int(value, 16)


def _decoded(kind: str, value: Any) -> Any:
    try:
        return decode([kind], bytes.fromhex(value.removeprefix("0x")))[0]
    except Exception:  # whatever the decoder makes of what an endpoint says
        raise Unseen(f"gives something else for a {kind}") from None
