"""The oracle's own exam: mistakes in copies of the guard, each of which it must see by what comes of the requests that
are then signed.

`python -m tests.hostile.exam NAME ...` asks for these kinds of `kinds.KINDS` (and `PIECES`), each of a guard of its
own, and prints what is wrong with what was signed, as one JSON object. In a copy of the product it asks the copy.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

import click
import trio
from attrs import field, frozen

from protocol.signing import Signed, SignTransaction
from tests.evm.anvil import MODULES
from tests.hostile.kinds import KINDS
from tests.hostile.stand import E18, Stand, answered, standing
from tests.simulation.planted import Bug, planted

PIECES: Final = "a day's cap in pieces"
SECONDS: Final = 120.0  # a bound against hanging


@frozen
class Flaw:
    """A mistake in the guard. `seen` is a part of what the oracle says of it, for one of the `kinds` at least."""

    bug: Bug
    kinds: tuple[str, ...]
    seen: str = field()


def _flaw(name: str, kind: str, old: str, new: str, seen: str, file: str = "policy") -> Flaw:
    return Flaw(Bug(name, "42", f"server/guard/{file}.py", old, new), (kind,), seen)


FLAWS: Final = (
    _flaw(
        "the recipient is not checked", "a stranger as recipient",
        "return Finding(to == case.wallet, to,", "return Finding(True, to,",
        "somebody else has it",
    ),
    _flaw(
        "the least amount is not checked", "any price",
        "return Finding(case.action.min_out >= least, measured", "return Finding(True, measured",
        "pushed: the wallet got",
    ),
    _flaw(
        "the least amount may be a hundredth lower", "a hundredth below the least",
        "return Finding(case.action.min_out >= least, measured",
        "return Finding(case.action.min_out >= least * 99 // 100, measured",
        "pushed: the wallet got",
    ),
    _flaw(
        "the amount of an approval is not checked", "an approval without end",
        "return Finding(amount <= most, measured", "return Finding(True, measured",
        "the router may take 115792089237316195423570985008687907853269984665640564039457584007913129639935 of USDT",
    ),
    _flaw(
        "the spender of an approval is not checked", "an approval for a stranger",
        "case Approval(spender=called):", "case Approval(spender=called) if False:",
        "may take USDT",
    ),
    _flaw(
        "the router is not checked", "another exchange's router",
        "return Finding(called == router, called", "return Finding(bool(called), called",
        "it calls ",
    ),
    _flaw(
        "the cap of a trade is one unit higher", "one unit over the cap of a trade",
        "return Finding(spend <= usdt.units(cap), measured", "return Finding(spend <= usdt.units(cap) + 1, measured",
        "USDT units are spent at once",
    ),
    _flaw(
        "the cap of a day forgets what is asked for", PIECES,
        "case.books.spent_on(case.day) + case.spend", "case.books.spent_on(case.day)",
        "USDT units are spent on",
    ),
    _flaw(
        "a day's spending is booked after midnight", PIECES,
        "return self.spent if day == self.day else 0", "return 0",
        "USDT units are spent on", file="books",
    ),
    _flaw(
        "a deadline may be as far as one likes", "a far deadline",
        "return Finding(0 < left <= most, f", "return Finding(0 < left, f",
        "late: it is executed after every deadline",
    ),
    _flaw(
        "what a path may pass through may also be its end", "a hop as the aim",
        "ok = usdt in ends and bool(ends & traded)", "ok = usdt in ends and bool(ends & (traded | config.between))",
        "WBNB is not on the allowlist",
    ),
    _flaw(
        "a nonce may be ahead", "a nonce that is ahead",
        "return Finding(case.tx.nonce == own, str", "return Finding(case.tx.nonce >= own, str",
        "no transaction that this wallet's nonce waits for",
    ),
    _flaw(
        "another chain is signed for", "another chain",
        "return Finding(asked == own, str(asked), str(own), f", "return Finding(True, str(asked), str(own), f",
        "no transaction that this wallet's nonce waits for",
    ),
    _flaw(
        "gas that no node takes is signed for", "gas that no node takes, so that its nonce is stuck",
        "return Finding(least <= asked <= most, str", "return Finding(21_000 <= asked <= most, str",
        "no transaction that this wallet's nonce waits for",
    ),
    _flaw(
        "any gas price is paid", "a gas price over the limit",
        "return Finding(0 < asked <= most, f", "return Finding(0 < asked, f",
        "its gas is over the limits",
    ),
    _flaw(
        "only the route that is asked for is looked at", "the bottom price of a worse route",
        "[swap.path, (first, last), *through]", "[swap.path]",
        "pushed: the wallet got", file="eyes",
    ),
)  # fmt: skip


def examine(flaw: Flaw) -> dict[str, list[str]]:
    """What the oracle says, by kind, of what a guard with this flaw signs."""
    with tempfile.TemporaryDirectory() as folder:
        planted(flaw.bug, Path(folder))
        (Path(folder) / "tests" / "evm" / MODULES.name).symlink_to(MODULES)
        done = subprocess.run(
            [sys.executable, "-m", "tests.hostile.exam", *flaw.kinds],
            env={**os.environ, "PYTHONPATH": folder, "PYTHONDONTWRITEBYTECODE": "1"},
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )
        assert done.returncode == 0, done.stderr
        told: dict[str, list[str]] = json.loads(done.stdout)
        return told


def _requests(stand: Stand, name: str) -> list[SignTransaction]:
    if name == PIECES:
        least = stand.least(("USDT", "CAKE"), 41 * E18)
        trade = stand.buy(41 * E18, min_out=least)
        return [stand.ask(stand.tx(trade, nonce=stand.nonce + number)) for number in range(5)]
    return [KINDS[name].asked(stand)]


async def _asked(stand: Stand, name: str, folder: Path) -> list[str]:
    """What is wrong with what is signed of this kind; nothing where nothing is."""
    wrong: list[str] = []
    with stand.for_now():
        async with stand.guard(stand.house(folder)) as guard:
            for request in _requests(stand, name):
                if isinstance(answer := await answered(guard, request), Signed):
                    wrong += stand.oracle.judge(answer.raw)
                    wrong += stand.oracle.settle(answer.raw).wrong
    return wrong


@click.command()
@click.argument("names", nargs=-1, required=True)
def main(names: tuple[str, ...]) -> None:
    """Ask for these kinds, and judge what is signed."""
    with standing() as stand, tempfile.TemporaryDirectory() as folder:
        told = {name: trio.run(_asked, stand, name, Path(folder) / str(n)) for n, name in enumerate(names)}
    click.echo(json.dumps(told))


if __name__ == "__main__":
    main()
