"""A JSON-RPC endpoint over real HTTP on the loopback, that shows a `World`: honestly, or with faults."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import h11
import trio
from attrs import define, field, frozen
from eth_abi.abi import decode, encode
from eth_utils.crypto import keccak

from actors.chain.logs import SWAP, SYNC, TRANSFER
from actors.chain.port import Block, PoolEvent, Swapped, Synced
from protocol.times import EPOCH
from tests.chain.world import (
    CAKE,
    CAKE_POOL,
    ETH,
    ETH_POOL,
    FACTORY,
    FEED,
    OTHER_FACTORY,
    OTHER_POOL,
    POOLS,
    ROUTER,
    TOKENS,
    UNIT,
    USDT,
    WBNB,
    World,
)

WALLET: Final = "0x" + "f1" * 20
HASH: Final = "0x" + "ab" * 32
KEY: Final = "s3cr3tkey"  # in each endpoint's URL


@frozen
class Error:
    """A JSON-RPC error."""

    message: str
    code: int = -32000
    data: str = "0x"


@frozen
class Status:
    """An HTTP status in place of an answer."""

    code: int


class Drop:
    """It closes in the middle of its answer."""


HANG: Final = object()  # it takes the question and never answers
DROP: Final = Drop()


@define
class Endpoint:
    """`faults` are by method: an Error, a Status, HANG, DROP, bytes for a whole body, anything else for a result."""

    world: World
    url: str = ""
    chain_id: int = 56
    behind: int = 0  # blocks
    faults: dict[str, Any] = field(factory=dict)
    asked: list[tuple[str, list[Any]]] = field(factory=list)
    pruned: bool = False

    def methods(self) -> list[str]:
        return [method for method, _ in self.asked]

    async def serve(self, stream: trio.SocketStream) -> None:
        connection = h11.Connection(h11.SERVER)
        body = b""
        try:
            while True:
                match connection.next_event():
                    case h11.NEED_DATA:
                        connection.receive_data(await stream.receive_some(65_536))
                    case h11.Data() as data:
                        body += bytes(data.data)
                    case h11.EndOfMessage():
                        if not await self._answer(connection, stream, json.loads(body)):
                            break
                        connection.start_next_cycle()
                        body = b""
                    case h11.ConnectionClosed() | h11.PAUSED:
                        break
        except (trio.BrokenResourceError, h11.RemoteProtocolError):
            pass  # the client has left
        await stream.aclose()

    async def _answer(self, connection: h11.Connection, stream: trio.SocketStream, asked: dict[str, Any]) -> bool:
        method, params = asked["method"], asked["params"]
        self.asked.append((method, params))
        told: Any = self.faults.get(method)
        status, answer = 200, {"jsonrpc": "2.0", "id": asked["id"]}
        match told:
            case Error():
                answer["error"] = {"code": told.code, "message": told.message, "data": told.data}
            case Status():
                status = told.code
            case bytes() | Drop():
                pass
            case None if method not in self.faults:
                result = self.result(method, params)
                if isinstance(result, Error):
                    answer["error"] = {"code": result.code, "message": result.message}
                else:
                    answer["result"] = result
            case _ if told is HANG:
                await trio.sleep_forever()
            case _:
                answer["result"] = told
        body = told if isinstance(told, bytes) else json.dumps(answer).encode()
        headers = [("content-type", "application/json"), ("content-length", str(len(body)))]
        await stream.send_all(connection.send(h11.Response(status_code=status, headers=headers)) or b"")
        if told is DROP:
            return False
        await stream.send_all(
            (connection.send(h11.Data(data=body)) or b"") + (connection.send(h11.EndOfMessage()) or b"")
        )
        return True

    # --- what an honest one says

    def result(self, method: str, params: list[Any]) -> Any:
        match method, params:
            case "eth_chainId", []:
                return hex(self.chain_id)
            case "eth_getBlockByNumber", [str(number), False]:
                seen = self.world.blocks[: len(self.world.blocks) - self.behind]
                index = len(seen) - 1 if number == "latest" else int(number, 16)
                return block(seen[index]) if index < len(seen) else None
            case "eth_getLogs", [dict(wanted)]:
                first, last = int(wanted["fromBlock"], 16), int(wanted["toBlock"], 16)
                assert wanted["topics"] == [[SYNC, SWAP]]
                pools = {pool.lower() for pool in wanted["address"]}
                return [self.log(event) for event in self.world.logs(pools, first, last)]
            case "eth_call", [dict(call), at]:
                return self.called(call["to"].lower(), bytes.fromhex(call["data"][2:]), at)
            case "eth_getBalance", [_, _]:
                return hex(2**200 + 1)
            case "eth_getTransactionCount", [_, which]:
                return hex(7 if which == "pending" else 5)
            case "eth_gasPrice", []:
                return hex(10**9)
            case "eth_getTransactionByHash" | "eth_getTransactionReceipt", [_]:
                return None
            case "eth_sendRawTransaction", [str(raw)]:
                return "0x" + keccak(bytes.fromhex(raw[2:])).hex()
        return Error(f"the method {method} does not exist", -32601)

    def called(self, to: str, data: bytes, at: Any) -> Any:
        number: int | None = self.world.head.number
        if at != "latest":
            number = self.world.at_hash(at["blockHash"])
            if number is None or (self.pruned and number < self.world.head.number - 5):
                return Error("missing trie node")
        assert number is not None
        selector, rest = data[:4], data[4:]
        state, answer = self.world.states[number], self.world.answers[number]

        def is_asked(signature: str) -> bool:
            return keccak(text=signature)[:4] == selector

        if to in POOLS and is_asked("getReserves()"):
            return hexed(("uint112", "uint112", "uint32"), (state[to].first, state[to].second, 0))
        if to in POOLS and is_asked("token0()"):
            return hexed(("address",), (POOLS[to][0],))
        if to in POOLS and is_asked("token1()"):
            return hexed(("address",), (POOLS[to][1],))
        if to == ROUTER and is_asked("factory()"):
            return hexed(("address",), (FACTORY,))
        if to == ROUTER and is_asked("WETH()"):
            return hexed(("address",), (WBNB,))
        if to in (FACTORY, OTHER_FACTORY) and is_asked("getPair(address,address)"):
            known = {ETH: ETH_POOL, CAKE: CAKE_POOL} if to == FACTORY else {ETH: OTHER_POOL}
            one, other = decode(("address", "address"), rest)
            assert other == USDT
            return hexed(("address",), (known.get(one, "0x" + 40 * "0"),))
        if to == FEED and is_asked("latestRoundData()"):
            seconds = int((answer.updated_at - EPOCH).total_seconds())
            return hexed(("uint80", "int256", "uint256", "uint256", "uint80"), (1, answer.price, seconds, seconds, 1))
        if to == FEED and is_asked("decimals()"):
            return hexed(("uint8",), (answer.decimals,))
        if to in TOKENS and is_asked("symbol()"):
            return hexed(("string",), (TOKENS[to],))
        if to in TOKENS and is_asked("decimals()"):
            return hexed(("uint8",), (18,))
        if to in TOKENS and is_asked("balanceOf(address)"):
            return hexed(("uint256",), (2**255 + 3,))
        if to in TOKENS and is_asked("allowance(address,address)"):
            return hexed(("uint256",), (2**256 - 1,))
        if to == ROUTER and is_asked("getAmountsOut(uint256,address[])"):
            spend, path = decode(("uint256", "address[]"), rest)
            if spend > 1000 * UNIT:
                return Error("execution reverted: PancakeLibrary: INSUFFICIENT_LIQUIDITY", 3)
            return hexed(("uint256[]",), ([spend // 2**number for number in range(len(path))],))
        return "0x"

    def log(self, event: PoolEvent) -> dict[str, Any]:
        hash = self.world.blocks[event.block].hash
        numbers: tuple[int, ...]
        match event:
            case Synced():
                topics, numbers = [SYNC], (event.reserves.first, event.reserves.second)
            case Swapped():
                topics = [SWAP, topic(ROUTER), topic(WALLET)]
                numbers = (event.first_in, event.second_in, event.first_out, event.second_out)
        return log(event.pool, topics, numbers, event.index) | {"blockNumber": hex(event.block), "blockHash": hash}


def block(it: Block) -> dict[str, Any]:
    """With the long `extraData` of a chain whose validators sign in it."""
    seconds = int((it.at - EPOCH).total_seconds())
    return {"number": hex(it.number), "hash": it.hash, "timestamp": hex(seconds), "extraData": "0x" + 280 * "00"}


def log(address: str, topics: list[str], numbers: Sequence[int], index: int) -> dict[str, Any]:
    data = "0x" + "".join(f"{number:064x}" for number in numbers)
    return {"address": address, "topics": topics, "data": data, "logIndex": hex(index), "removed": False}


def topic(address: str) -> str:
    return "0x" + 24 * "0" + address[2:]


def receipt(**given: Any) -> dict[str, Any]:
    """A swap's: USDT of the wallet to the pool, ETH of the pool to the wallet."""
    spent, got = 100 * UNIT + 1, 2**100 + 1
    logs = [
        log(USDT, [TRANSFER, topic(WALLET), topic(ETH_POOL)], (spent,), 0),
        log(ETH, [TRANSFER, topic(ETH_POOL), topic(WALLET)], (got,), 1),
        log(ETH_POOL, [SYNC], (1, 2), 2),
        log(ETH_POOL, [SWAP, topic(ROUTER), topic(WALLET)], (0, spent, got, 0), 3),
    ]
    return {
        "transactionHash": HASH, "blockNumber": "0x7", "blockHash": "0x" + "cd" * 32, "status": "0x1",
        "gasUsed": hex(159_000), "effectiveGasPrice": hex(10**9), "logs": logs, **given,
    }  # fmt: skip


def hexed(types: Sequence[str], values: Sequence[Any]) -> str:
    return "0x" + encode(types, values).hex()


@asynccontextmanager
async def endpoints(*worlds: World) -> AsyncIterator[list[Endpoint]]:
    """One on a free port for each world."""
    made = []
    async with trio.open_nursery() as nursery:
        for world in worlds:
            endpoint = Endpoint(world)
            (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
            nursery.start_soon(trio.serve_listeners, endpoint.serve, [listener])
            endpoint.url = f"http://127.0.0.1:{listener.socket.getsockname()[1]}/v1/{KEY}?token={KEY}2"
            made.append(endpoint)
        yield made
        nursery.cancel_scope.cancel()
