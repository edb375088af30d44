"""A stand-in for a chain with a Pancake-like router, as JSON-RPC over HTTP: it answers what the guard asks, and moves
only when a test says so. What is signed is executed elsewhere, on a real EVM."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from typing import Any

from attrs import Factory, define
from eth_abi.abi import decode, encode

E18 = 10**18
ROUTER, FACTORY = "0x" + "c0" * 20, "0x" + "fa" * 20
USDT, CAKE, LINK, WBNB = ("0x" + digit * 40 for digit in "1234")


def out_of(spend: int, reserve_in: int, reserve_out: int) -> int:
    """What a pool of PancakeSwap V2 gives."""
    return spend * 9975 * reserve_out // (reserve_in * 10_000 + spend * 9975)


@define
class Chain:
    """Its state. `pools` has (reserve of first, reserve of second) by pair of tokens; `fault` is how it misbehaves."""

    chain_id: int = 56
    time: int = 1_800_000_000
    nonce: int = 0
    symbols: dict[str, tuple[str, int]] = Factory(
        lambda: {USDT: ("USDT", 18), CAKE: ("CAKE", 18), LINK: ("LINK", 18), WBNB: ("WBNB", 18)}
    )
    balances: dict[str, int] = Factory(lambda: {USDT: 1_000_000 * E18, CAKE: 1000 * E18, LINK: 1000 * E18})
    pools: dict[tuple[str, str], tuple[int, int]] = Factory(
        lambda: {
            (USDT, CAKE): (2_000_000 * E18, 1_000_000 * E18),
            (USDT, WBNB): (6_000_000 * E18, 10_000 * E18),
            (WBNB, LINK): (1_000 * E18, 60_000 * E18),
        }
    )
    fault: str = ""
    gate: threading.Event = Factory(threading.Event)  # what the fault "wait" waits for
    asked: int = 0

    def quote(self, spend: int, path: tuple[str, ...]) -> int | None:
        for first, second in pairwise(path):
            if (first, second) in self.pools:
                spend = out_of(spend, *self.pools[first, second])
            elif (second, first) in self.pools:
                reserve_out, reserve_in = self.pools[second, first]
                spend = out_of(spend, reserve_in, reserve_out)
            else:
                return None
        return spend

    def answer(self, method: str, params: list[Any]) -> Any:
        """The result, or None for a revert."""
        match method:
            case "eth_chainId":
                return hex(self.chain_id)
            case "eth_getTransactionCount":
                return hex(self.nonce)
            case "eth_getBlockByNumber":
                return {"number": "0x1", "timestamp": hex(self.time)}
            case "eth_getCode":
                return "0x60" if params[0] == ROUTER else "0x"
            case "eth_call":
                said = self._call(params[0]["to"], bytes.fromhex(params[0]["data"][2:]))
                return None if said is None else "0x" + said.hex()
        raise AssertionError(f"the guard is not known to ask for {method}")

    def _call(self, to: str, data: bytes) -> bytes | None:
        selector, body = data[:4].hex(), data[4:]
        match selector:
            case "95d89b41":
                return encode(["string"], [self.symbols[to][0]])
            case "313ce567":
                return encode(["uint8"], [self.symbols[to][1]])
            case "c45a0155":
                return encode(["address"], [FACTORY])
            case "70a08231":
                return encode(["uint256"], [self.balances.get(to, 0)])
            case "d06ca61f":
                spend, path = decode(["uint256", "address[]"], body)
                out = self.quote(spend, path)
                return None if out is None else encode(["uint256[]"], [[spend, out]])
        raise AssertionError(f"the guard is not known to call {selector}")


@contextmanager
def served(chain: Chain) -> Iterator[str]:
    """The chain's address, while it is up."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # an answer in one piece: half of one would wait 40 ms for its other half

        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
            chain.asked += 1
            said, status = self._said(asked), 503 if chain.fault == "busy" else 200
            if chain.fault == "hang":
                stop.wait()
            if chain.fault == "wait":
                chain.gate.wait()
            self.send_response(status)
            self.send_header("content-length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        def _said(self, asked: list[Any]) -> bytes:
            match chain.fault:
                case "html":
                    return b"<html>503</html>"
                case "short":
                    return b"[]"
                case "endless":
                    return b"[" * 2_000_000
                case "error":
                    return json.dumps(
                        [{"id": one["id"], "error": {"code": -32005, "message": "limit"}} for one in asked]
                    ).encode()
            answers = []
            for one in asked:
                result = chain.answer(one["method"], one["params"])
                failed = {"error": {"code": 3, "message": "execution reverted"}}
                answers.append({"id": one["id"], **(failed if result is None else {"result": result})})
            return json.dumps(answers[::-1]).encode()  # in any order

        def log_message(self, *_: object) -> None:
            pass

    stop = threading.Event()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # type: ignore[method-assign]  # a guard that hangs up is no news
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        stop.set()
        server.shutdown()
        server.server_close()
        thread.join()
