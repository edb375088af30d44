"""A stand-in for the Trust Wallet Agent Kit's program: its documented command lines and JSON, a key of its own, and
real swaps on a test's chain. It misbehaves as it is told.

Below HOME, `kit.json` says where the chain is, which key it has and how the next swap goes (`MODES`). It notes each
command line in `runs`, and in `sent` the hash of each transaction, before it waits for anything.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import traceback
from decimal import Decimal
from pathlib import Path
from typing import Any, NoReturn
from urllib.request import Request, urlopen

HOME = Path(os.environ["HOME"])
BALANCE_OF, ALLOWANCE, APPROVE = "70a08231", "dd62ed3e", "095ea7b3"
SYMBOL, DECIMALS, AMOUNTS_OUT, SWAP = "95d89b41", "313ce567", "d06ca61f", "38ed1739"
HTML = "<html><head><title>502 Bad Gateway</title></head><body>{nginx}</body></html>"
# What it does with the next swap. "Before" is before anything is sent, "after" is right behind the sending of the swap.
# In those of `HELD_BACK`, no block comes by itself any more from the sending of the swap on.
MODES = (
    "honest", "human line first", "dies before", "dies after", "hangs before", "hangs after", "HTML before",
    "HTML after", "receipt time-out", "no route", "approval sent, swap failed", "swap reverts",
    "spends three times as much", "swaps three times", "swaps three times and dies",
    "swaps halves and dies", "denies what it sent",
)  # fmt: skip
HELD_BACK = ("receipt time-out", "swaps three times")


class Kit:
    """One run of the program."""

    def __init__(self) -> None:
        self.plan: dict[str, Any] = json.loads((HOME / "kit.json").read_text())
        self.mode: str = self.plan["mode"]
        self.router: str = self.plan["router"]
        self.wallet: str = self.plan["wallet"]

    def run(self, words: list[str]) -> NoReturn:
        self._note("runs", json.dumps(words))
        for name, secret in self.plan["secrets"].items():
            if os.environ.get(name) != secret:
                self._fail("VALIDATION_ERROR", "no credentials")
        match words:
            case ["wallet", "address", "--chain", "bsc", "--json"]:
                self._say({"address": self.wallet, "chain": "bsc"})
            case ["swap", amount, spends, brings, "--chain", "bsc", "--slippage", pct, *rest]:
                units = int(Decimal(amount).scaleb(self._decimals(spends)))
                least = self._quote(units, [spends, brings]) * (100 - Decimal(pct)) / 100
                if rest == ["--quote-only", "--json"]:
                    self._say(self._quoted(units, int(least), spends, brings))
                if rest == ["--json"]:
                    self._swap(units, int(least), spends, brings)
        self._fail("VALIDATION_ERROR", "no such command")

    # --- the swap

    def _swap(self, units: int, least: int, spends: str, brings: str) -> NoReturn:
        told = self._quoted(units, least, spends, brings)
        if self.mode == "human line first":
            print(f"Swapping {{{told['input']}}} for about {told['output']} ...", flush=True)
        self._misbehave("before")
        if self.mode == "no route":
            self._fail("NO_ROUTES", "no route found")
        share, times = (3, 1) if self.mode == "spends three times as much" else (1, 1)
        if self.mode.startswith("swaps three times"):
            times = 3
        whole = share * times * units
        if int(self._call(spends, ALLOWANCE, self.wallet, self.router), 16) < whole:
            self._mined(self._send(spends, APPROVE + word(self.router) + word(whole)))
        if self.mode == "approval sent, swap failed":
            self._fail("APPROVAL_SENT_SWAP_FAILED", "the swap was not sent")
        least = 10**60 if self.mode == "swap reverts" else share * least * 9 // 10 if share > 1 else least
        until = int(self._rpc("eth_getBlockByNumber", "latest", False)["timestamp"], 16) + 1200
        if self.mode.startswith("swaps halves"):
            units, least, times = units // 2, 0, 2
        data = SWAP + word(share * units) + word(least) + word(160) + word(self.wallet) + word(until)
        data += word(2) + word(spends) + word(brings)
        if self.mode in HELD_BACK:
            self._rpc("evm_setAutomine", False)
        hashes = [self._send(self.router, data) for _ in range(times)]
        self._misbehave("after")
        if self.mode.endswith("dies"):
            os.kill(os.getpid(), signal.SIGKILL)
        if self.mode == "receipt time-out":
            self._fail("NETWORK_ERROR", "timed out waiting for the receipt")
        if self.mode == "denies what it sent":
            self._fail("NO_ROUTES", "no route found")
        if self.mode not in HELD_BACK and not all(self._mined(hash) for hash in hashes):
            self._fail("TX_FAILED", "the transaction failed", hash=hashes[0])
        more = {
            "hash": hashes[0],
            "fromChain": "bsc",
            "toChain": "bsc",
            "explorer": f"https://bscscan.com/tx/{hashes[0]}",
        }
        self._say(told | more)

    def _misbehave(self, when: str) -> None:
        if not self.mode.endswith(when):
            return
        match self.mode.split()[0]:
            case "dies":
                os.kill(os.getpid(), signal.SIGKILL)
            case "hangs":
                (HOME / "pid").write_text(str(os.getpid()))
                (HOME / "pid").rename(HOME / "hangs")
                signal.pause()
            case "HTML":
                print(HTML, flush=True)
                sys.exit(0)

    def _quoted(self, units: int, least: int, spends: str, brings: str) -> dict[str, Any]:
        quote = self._quote(units, [spends, brings])
        return {
            "input": self._amount(units, spends), "output": self._amount(quote, brings),
            "minReceived": self._amount(least, brings), "provider": "stand-in", "priceImpact": "0.01",
        }  # fmt: skip

    # --- the chain

    def _send(self, to: str, data: str) -> str:
        from eth_account import Account  # neither is needed for a quote
        from eth_utils.address import to_checksum_address

        tx = {
            "chainId": int(self._rpc("eth_chainId"), 16), "to": to_checksum_address(to), "value": 0,
            "data": "0x" + data, "gas": 400_000,
            "nonce": int(self._rpc("eth_getTransactionCount", self.wallet, "pending"), 16),
            "gasPrice": int(self._rpc("eth_gasPrice"), 16),
        }  # fmt: skip
        signed = Account.from_key(self.plan["key"]).sign_transaction(tx)
        hash = str(self._rpc("eth_sendRawTransaction", "0x" + bytes(signed.raw_transaction).hex()))
        self._note("sent", json.dumps({"hash": hash, "to": to}))
        return hash

    def _mined(self, hash: str) -> bool:
        """Waits for its block; was it not reverted?"""
        while (receipt := self._rpc("eth_getTransactionReceipt", hash)) is None:
            time.sleep(0.05)
        return bool(receipt["status"] == "0x1")

    def _quote(self, units: int, path: list[str]) -> int:
        data = word(units) + word(64) + word(len(path)) + "".join(map(word, path))
        said = self._rpc("eth_call", {"to": self.router, "data": "0x" + AMOUNTS_OUT + data}, "latest")
        return int(said[-64:], 16)

    def _amount(self, units: int, token: str) -> str:
        text = bytes.fromhex(self._call(token, SYMBOL)[2:])
        symbol = text[64 : 64 + int.from_bytes(text[32:64])].decode()
        return f"{Decimal(units).scaleb(-self._decimals(token)):f} {symbol}"

    def _decimals(self, token: str) -> int:
        return int(self._call(token, DECIMALS), 16)

    def _call(self, to: str, selector: str, *arguments: str) -> str:
        data = "0x" + selector + "".join(map(word, arguments))
        return str(self._rpc("eth_call", {"to": to, "data": data}, "latest"))

    def _rpc(self, method: str, *params: Any) -> Any:
        asked = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
        with urlopen(Request(self.plan["rpc"], asked, {"content-type": "application/json"})) as answer:
            said = json.load(answer)
        if "error" in said:
            self._fail("NETWORK_ERROR", said["error"]["message"])
        return said["result"]

    # --- what is said

    def _note(self, name: str, line: str) -> None:
        with open(HOME / name, "a", encoding="utf-8") as notes:
            notes.write(line + "\n")

    def _say(self, told: dict[str, Any]) -> NoReturn:
        print(json.dumps(told), flush=True)
        sys.exit(0)

    def _fail(self, code: str, text: str, **more: str) -> NoReturn:
        print(json.dumps({"error": text, "errorCode": code} | more), flush=True)
        sys.exit(1)


def word(value: int | str) -> str:
    """A number or an address as calldata has it."""
    return f"{int(value, 16) if isinstance(value, str) else value:064x}"


def main() -> None:
    try:
        Kit().run(sys.argv[1:])
    except Exception:  # a mistake of the stand-in's own, which nobody reads from its output
        (HOME / "mistake").write_text(traceback.format_exc())
        raise
