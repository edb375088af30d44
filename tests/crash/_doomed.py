"""Daemon and guard in processes that end at a chosen step of a live order, or end the other one there.

FORESTAY_TEST_DOOM is a line of JSON, `[place, what, victim]`. `victim` is a file with the process id of who ends there
by SIGKILL; "" is whoever comes to that step himself. It happens once. The steps of the daemon, by `place`:

- "before", "during", "after": the commit that holds a row of the kind `what`. Before: accepted, and the commit has not
  begun; during: inserted, and not committed; after: on the disk, and nobody has been told
- "unasked", "unheard": before the guard is asked to sign the leg `what`, or to "kill"; after it has answered, and
  before that is read
- "unlooked", "looked": before all is looked at that a "promotion" depends on; after it was, and before it is decided
- "unsent", "sent": before the leg is sent; after it was
- "noticed": a receipt of the leg was read

and of the guard:

- "asked": the question to sign the leg is there; "judging": the chain is looked at, and nothing is decided
- "unwritten": signed, and not recorded; "torn": half of the record is written; "unsynced": all of it, and not synced
- "recorded": synced, and not answered; "answered": the answer is sent

`what` of the ledger can also be the kind of another record.
"""

from __future__ import annotations

import json
import os
import select
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import trio

from actors.chain.port import Receipt, Sending
from actors.chain.rpc import RpcChain
from actors.journal.chain import Sealed
from actors.journal.store import Checkpoint, LogStore
from actors.twak_signer import actor as signer
from actors.twak_signer.guard import SocketGuard
from protocol.signing import Answer, Question, Revoke, Signed, SignTransaction

DOOM: Final = "FORESTAY_TEST_DOOM"
COMMITS: Final = ("before", "during", "after")
RECORDS: Final = ("unwritten", "torn", "unsynced", "recorded")
SELECTORS: Final = {"approval": "095ea7b3", "swap": "38ed1739"}  # approve, swapExactTokensForTokens


class Doom:
    """What happens, and where. `at` is called at every step."""

    def __init__(self, place: str, what: str, victim: str) -> None:
        self.place = place
        self.what = what
        self._victim = victim
        self._done = False

    def at(self, place: str, what: str) -> bool:
        """Is this the step? Then whoever is to end is gone on return."""
        if self._done or (place, what) != (self.place, self.what):
            return False
        self._done = True
        self.strike()
        return True

    def strike(self) -> None:
        pid = int(Path(self._victim).read_text()) if self._victim else os.getpid()
        handle = os.pidfd_open(pid)
        os.kill(pid, signal.SIGKILL)  # no handler runs, nothing is flushed
        select.select([handle], [], [])
        os.close(handle)


def patched(owner: Any, name: str, function: Any) -> None:
    assert hasattr(owner, name), f"{owner} has no {name} any more"
    setattr(owner, name, function)


def leg_of(raw: bytes) -> str:
    return next((leg for leg, selector in SELECTORS.items() if bytes.fromhex(selector) in raw), "")


def leg_asked(question: object) -> str:
    if isinstance(question, Revoke):
        return "kill"
    if not isinstance(question, SignTransaction):
        return ""
    return "approval" if question.intent.endswith(".approval") else "swap"


# --- the daemon


def about(row: Sealed) -> str:
    """What a point calls it: its kind, and the leg where it has one."""
    leg = json.loads(row.body).get("leg") if row.kind in ("submitted", "mined") else None
    return f"{row.kind} {leg}" if leg else row.kind


def doom_commits(doom: Doom) -> None:
    append = LogStore.append

    def appended(
        store: LogStore, batch: Sequence[Sealed], checkpoint: Checkpoint | None = None, maker: str = ""
    ) -> None:
        is_it = doom.what in [about(row) for row in batch]
        if is_it and doom.place == "during":
            store._db.set_commit_hook(lambda: doom.at("during", doom.what) and False)
        if is_it:
            doom.at("before", doom.what)
        append(store, batch, checkpoint, maker)
        if is_it:
            doom.at("after", doom.what)

    patched(LogStore, "append", appended)


def doom_guard_calls(doom: Doom) -> None:
    ask = SocketGuard.ask

    async def asked(guard: SocketGuard, question: Question, /, *, within: float = 5.0) -> Any:
        doom.at("unasked", leg_asked(question))
        answer = await ask(guard, question, within=within)
        doom.at("unheard", leg_asked(question))
        return answer

    patched(SocketGuard, "ask", asked)


def doom_promotions(doom: Doom) -> None:
    look = signer._inspected

    async def looked(armed: Any, pairs: Any, anchor: Any) -> Any:
        doom.at("unlooked", "promotion")
        seen = await look(armed, pairs, anchor)
        doom.at("looked", "promotion")
        return seen

    patched(signer, "_inspected", looked)


def doom_chain_calls(doom: Doom) -> None:
    send, receipt, legs = RpcChain.send, RpcChain.receipt, dict[str, str]()

    async def sent(chain: RpcChain, raw: bytes, /) -> Sending:
        leg = leg_of(raw)
        doom.at("unsent", leg)
        outcome = await send(chain, raw)
        legs[getattr(outcome, "hash", "")] = leg
        doom.at("sent", leg)
        return outcome

    async def received(chain: RpcChain, hash: str, /) -> Receipt | None:
        found = await receipt(chain, hash)
        if found is not None:
            doom.at("noticed", legs.get(hash, ""))
        return found

    patched(RpcChain, "send", sent)
    patched(RpcChain, "receipt", received)


# --- the guard


def doom_guard(doom: Doom) -> None:
    from server.guard import ledger
    from server.guard.books import Granted
    from server.guard.guard import Guard
    from server.guard.process import Door

    answer, grant, send = Guard.answer, Guard._grant, Door._send
    append, write = ledger.Ledger.append, ledger.Ledger._write
    fsync, under_way = os.fsync, [""]

    async def answered(guard: Guard, question: Question) -> Answer:
        doom.at("asked", leg_asked(question))
        return await answer(guard, question)

    def granted(guard: Guard, case: Any, tx: Any) -> Answer:
        doom.at("judging", leg_of(bytes.fromhex(tx.data[2:])))
        return grant(guard, case, tx)

    def appended(book: ledger.Ledger, record: Any, at: Any, *, at_any_cost: bool = False) -> None:
        kind = leg_of(bytes.fromhex(record.tx.data[2:])) if isinstance(record, Granted) else record.kind
        doom.at("unwritten", kind)
        under_way[0] = kind
        append(book, record, at, at_any_cost=at_any_cost)
        under_way[0] = ""
        doom.at("recorded", kind)

    def written(book: ledger.Ledger, line: bytes) -> None:
        if (doom.place, doom.what) == ("torn", under_way[0]):
            os.write(book._handle, line[: len(line) // 2])
            doom.at("torn", doom.what)
        write(book, line)

    def synced(handle: int) -> None:
        doom.at("unsynced", under_way[0])
        fsync(handle)

    async def told(door: Door, stream: trio.SocketStream, said: Answer) -> None:
        await send(door, stream, said)
        if isinstance(said, Signed):
            doom.at("answered", leg_of(bytes.fromhex(said.raw[2:])))

    patched(Guard, "answer", answered)
    patched(Guard, "_grant", granted)
    patched(ledger.Ledger, "append", appended)
    patched(ledger.Ledger, "_write", written)
    patched(Door, "_send", told)
    patched(os, "fsync", synced)


def main() -> None:
    """`forestay`, doomed where the environment says so."""
    import sys

    from actors.executor import actor as executor

    setattr(executor, "PERIOD_SECONDS", 0.05)  # noqa: B010 - final; between two looks after an order: nothing hangs on it, and tests have no time
    if words := os.environ.get(DOOM):
        doom = Doom(*json.loads(words))
        if sys.argv[1:2] == ["guard"]:
            doom_guard(doom)
        else:
            doom_commits(doom)
            doom_guard_calls(doom)
            doom_chain_calls(doom)
            doom_promotions(doom)
    from server.cli import main as forestay

    forestay(prog_name="forestay")
