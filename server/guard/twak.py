"""The Trust Wallet Agent Kit, run as a program: one command quotes, approves, signs and sends.

The guard sees what it asks for, never the calldata, so it can hold the kit to its word only afterwards. Each run ends
in one of three verdicts: Sent (there is a hash), NotSent (the kit has said so in one of the ways that are known to mean
it), Unknown (everything else). Its credentials go from the guard's environment to the kit's and nowhere else; what it
prints is read up to a limit, and repeated nowhere.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import signal
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from decimal import Decimal, InvalidOperation
from typing import Any, Final

import trio
from attrs import frozen

from protocol.signing import NotSent, Sent, Unknown, Verdict
from server.guard.config import GuardConfig, Token

_CREDENTIALS: Final = ("TWAK_ACCESS_ID", "TWAK_HMAC_SECRET", "TWAK_WALLET_PASSWORD")
_PASSED_ON: Final = ("PATH", "HOME", "TMPDIR", "LANG", *_CREDENTIALS)
_LONGEST_OUTPUT: Final = 65_536  # bytes
_MOST_BRACES: Final = 64  # a kit that prints more of them is not let take the guard's time
_HASH: Final = re.compile(r"0x[0-9a-fA-F]{64}")
# The errors that certainly mean that nothing was sent. NETWORK_ERROR, TX_FAILED, APPROVAL_SENT_SWAP_FAILED,
# UNKNOWN_ERROR and every other word may mean anything.
NOTHING_SENT: Final = frozenset(
    {
        "VALIDATION_ERROR",
        "SLIPPAGE_EXCEEDED",
        "CHAIN_UNSUPPORTED",
        "TOKEN_NOT_FOUND",
        "NO_ROUTES",
        "INSUFFICIENT_BALANCE",
    }
)


class Unquoted(Exception):
    """The kit gave no quote that can be relied on. Nothing was sent."""


class NotStarted(Exception):
    """The program could not be started at all."""


@frozen
class Run:
    """How one run ended: its exit code (None: it was ended, or ran too long), and what it printed."""

    code: int | None
    output: str


def first_object(text: str) -> dict[str, Any] | None:
    """The first JSON object in `text`, which may have lines for people before it.

    >>> first_object('Swapping {1 USDT}...\\n{"hash": "0x1"} done')
    {'hash': '0x1'}
    """
    decoder = json.JSONDecoder(parse_float=Decimal)
    at = -1
    for _ in range(_MOST_BRACES):
        at = text.find("{", at + 1)
        if at < 0:
            break
        with suppress(ValueError, RecursionError):
            found: dict[str, Any] = decoder.raw_decode(text, at)[0]
            return found
    return None


def verdict(run: Run) -> Verdict:
    """What a run that was to swap came to."""
    said = first_object(run.output) or {}
    named = said.get("hash")
    tx_hash = named.lower() if isinstance(named, str) and _HASH.fullmatch(named) else None
    if run.code is None:
        return Unknown("the kit was ended before it was done", tx_hash)
    if not said:
        return Unknown(f"the kit ended with {run.code} and said nothing in JSON")
    if "errorCode" in said or "error" in said:
        code = said.get("errorCode")
        if run.code == 1 and isinstance(code, str) and code in NOTHING_SENT and "hash" not in said:
            return NotSent(code)
        known = code if isinstance(code, str) and re.fullmatch(r"[A-Z_]{1,40}", code) else "an error of no known code"
        return Unknown(f"the kit ended with {run.code} and {known}", tx_hash)
    if tx_hash is None:
        return Unknown(f"the kit ended with {run.code} and gave no transaction hash")
    return Sent(tx_hash)


def min_received(run: Run, token: Token) -> int:
    """What the kit's quote promises at least, in base units. Raises Unquoted."""
    said = first_object(run.output)
    if run.code is None or said is None:
        raise Unquoted("the kit gave no quote")
    if "errorCode" in said or "error" in said or run.code != 0:
        raise Unquoted("the kit's quote is an error")
    text = said.get("minReceived")
    if not isinstance(text, str) or not text.strip():
        raise Unquoted("the kit's quote has no minReceived")
    try:
        amount = Decimal(text.split()[0])
    except InvalidOperation:
        raise Unquoted("the kit's minReceived is no number") from None
    if not amount.is_finite() or not 0 < amount < 10**18:
        raise Unquoted("the kit's minReceived is no amount")
    return token.units(amount)


def slippage_to(least: int, quote: int) -> Decimal:
    """How far the kit may let a price of `quote` slip and still bring `least`: percent, to two places, rounded down.

    >>> slippage_to(996, 1000), slippage_to(9_951, 10_000), slippage_to(1001, 1000)
    (Decimal('0.4'), Decimal('0.49'), Decimal('0'))
    """
    return Decimal(max(0, (quote - least) * 10_000 // max(1, quote))) / 100


class Kit:
    """Runs the kit's program, one run at a time."""

    def __init__(self, config: GuardConfig, environ: Mapping[str, str]) -> None:
        self._config = config
        self._twak = config.twak
        self._environ = {name: environ[name] for name in _PASSED_ON if name in environ}
        if self._twak.home is not None:
            self._environ["HOME"] = self._twak.home
        self._process: subprocess.Popen[bytes] | None = None

    async def owns(self, address: str) -> bool:
        """Is that the kit's wallet? Raises NotStarted."""
        said = first_object(
            (await self._run(["wallet", "address", "--chain", "bsc", "--json"], self._twak.quote_seconds)).output
        )
        return said is not None and address in (value.lower() for value in said.values() if isinstance(value, str))

    async def quote(self, spend: int, from_token: str, to_token: str, slippage: Decimal) -> int:
        """What the kit promises at least for this swap, in base units. Raises Unquoted."""
        try:
            run = await self._run(
                [*self._swap(spend, from_token, to_token, slippage), "--quote-only", "--json"],
                self._twak.quote_seconds,
            )
        except NotStarted as error:
            raise Unquoted(str(error)) from None
        return min_received(run, self._config.by_address[to_token][1])

    async def swap(self, spend: int, from_token: str, to_token: str, slippage: Decimal) -> Verdict:
        """Have it swap. Cancelled, it ends the program first; then nobody knows."""
        try:
            return verdict(
                await self._run(
                    [*self._swap(spend, from_token, to_token, slippage), "--json"], self._twak.execute_seconds
                )
            )
        except NotStarted as error:
            return NotSent(str(error))

    def end(self) -> None:
        """End what runs, at once, with all that it has started."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def _swap(self, spend: int, from_token: str, to_token: str, slippage: Decimal) -> list[str]:
        amount = self._config.by_address[from_token][1].amount(spend)
        return ["swap", amount, from_token, to_token, "--chain", "bsc", "--slippage", format(slippage, "f")]

    async def _run(self, arguments: list[str], seconds: float) -> Run:
        assert self._process is None, "one run at a time"
        try:
            # In this thread, which lives as long as the guard: with it the program dies.
            process = self._process = subprocess.Popen(  # noqa: S603, ASYNC220 - the owner's own program; no shell
                [*self._twak.command, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=self._environ,
                start_new_session=True,
                preexec_fn=_die_with_parent,
            )
        except OSError as error:
            raise NotStarted(f"the kit's program cannot be started: {error.strerror}") from None
        output = b""
        try:
            assert process.stdout is not None
            with trio.move_on_after(seconds) as scope:
                async with trio.lowlevel.FdStream(os.dup(process.stdout.fileno())) as stream:
                    async for chunk in stream:
                        output = (output + chunk)[:_LONGEST_OUTPUT]
                await _ended(process)
        finally:
            # Also what it has left behind: a run is over when nothing of it can sign any more.
            self.end()
            process.wait()
            assert process.stdout is not None
            process.stdout.close()
            self._process = None
        code = None if scope.cancelled_caught or process.returncode < 0 else process.returncode
        return Run(code, output.decode(errors="replace"))


_libc: Final = ctypes.CDLL(None)
_PR_SET_PDEATHSIG: Final = 1


def _die_with_parent() -> None:
    """In the child: a guard that is killed leaves nothing behind that signs."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


async def _ended(process: subprocess.Popen[bytes]) -> None:
    handle = os.pidfd_open(process.pid)
    try:
        await trio.lowlevel.wait_readable(handle)
    finally:
        os.close(handle)
