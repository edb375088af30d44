"""`forestay guard policy check`: what a transaction does, and what each rule says to it. Reads only, signs nothing."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import click
import trio
from attrs import evolve

from protocol.codec import to_json
from protocol.errors import UserError
from protocol.signing import Anchor, Transaction
from protocol.times import from_millis
from server.guard import keystore
from server.guard.config import GuardConfig, load
from server.guard.decode import Approval, Swap, Unreadable, decode
from server.guard.eyes import Eyes, Unseen
from server.guard.ledger import FILE_NAME as LEDGER_NAME
from server.guard.ledger import read
from server.guard.policy import Case, Finding, Sighting, check

_NOBODY: Final = Anchor("policy-check", 0, "0" * 64)
_PASSED, _FAILED = 0, 1


def report(folder: Path, tx: Transaction, *, online: bool, as_json: bool) -> int:
    """Print it all; 0 where no rule that could be checked says no. Raises UserError."""
    config, books = load(folder), read(folder / LEDGER_NAME)
    tx = evolve(tx, to=tx.to.lower(), data=tx.data.lower())
    wallet = config.twak.address if config.way == "twak" else keystore.address_in(folder / keystore.FILE_NAME)
    now = datetime.now(UTC)
    case = Case(
        config=config,
        wallet=str(wallet),
        books=books,
        way=config.way,
        intent="policy-check",
        action=decode(tx.data),
        anchor=_NOBODY,
        tx=tx,
        day=books.day_at(now),
    )
    if online and not isinstance(case.action, Unreadable):
        seen = trio.run(_look, config, case)
        case = evolve(case, seen=seen, day=books.day_at(now, from_millis(seen.time * 1000)))
    findings = check(case)
    passes = not any(_breaks(name, finding, online) for name, finding in findings)
    if as_json:
        rules = [_as_plain(name, finding, online) for name, finding in findings]
        click.echo(to_json({"what": _told(case), "passes": passes, "rules": rules}).decode())
    else:
        click.echo(_told(case))
        for name, finding in findings:
            click.echo(f"{_mark(name, finding, online):7} {name:14} {_numbers(name, finding, online)}".rstrip())
    return _PASSED if passes else _FAILED


async def _look(config: GuardConfig, case: Case) -> Sighting:
    swap = case.action if isinstance(case.action, Swap) else None
    assert case.tx is not None, "there is one to check"
    token = swap.path[0] if swap else case.tx.to
    if token not in config.by_address:
        raise UserError(f"the token {token} is not in the settings: there is nothing to look at online")
    async with Eyes(config) as eyes:
        try:
            return await eyes.see(case.wallet, token, swap)
        except Unseen as error:
            raise UserError(f"the chain cannot be seen: {error}") from None


def _breaks(name: str, finding: Finding | None, online: bool) -> bool:
    return finding is not None and not finding.ok and (online or name != "rpc")


def _as_plain(name: str, finding: Finding | None, online: bool) -> dict[str, str | bool | None]:
    """`ok` is None for a rule that does not apply, or that there was nothing to look at for."""
    if finding is None or (name == "rpc" and not online):
        return {"rule": name, "ok": None, "measured": None, "limit": None}
    return {"rule": name, "ok": finding.ok, "measured": finding.measured, "limit": finding.limit}


def _mark(name: str, finding: Finding | None, online: bool) -> str:
    if finding is None or (name == "rpc" and not finding.ok and not online):
        return "-"
    return "ok" if finding.ok else "REFUSED"


def _numbers(name: str, finding: Finding | None, online: bool) -> str:
    if finding is None:
        return "does not apply" if online else "does not apply, or needs --online"
    if name == "rpc" and not online:
        return "not looked at"
    return f"{finding.measured}  (limit: {finding.limit})"


def _told(case: Case) -> str:
    """One sentence of what it does."""
    names = case.config.by_address

    def amount(address: str, units: int) -> str:
        symbol, token = names.get(address, (address, None))
        return f"{token.amount(units)} {symbol}" if token else f"{units} units of {address}"

    match case.action:
        case Swap(spend, min_out, path, to, deadline) if path:
            route = " > ".join(names[token][0] if token in names else token for token in path)
            kind = "entry" if case.is_entry else "exit"
            until = f"until {deadline} (unix time)"
            return (
                f"Swap ({kind}): gives {amount(path[0], spend)} for {amount(path[-1], min_out)} at least, by {route}, "
                f"to {to}, {until}."
            )
        case Approval(spender, units):
            token = case.tx.to if case.tx else ""
            return f"Approval: lets {spender} take {amount(token, units)}."
        case Unreadable(reason=reason):
            return f"Not understood: {reason}"
        case _:
            return "A swap along an empty path."
