"""The Strategist: reads the market for its owner, and conducts the turns.

Its mailbox is where causes queue up: a round of candles, a change of config, a note for the journal. It handles one
at a time, asks the older floors what it needs, and settles what came of it as one transaction. So nothing else in the
tower needs a lock, and a turn that dies midway leaves nothing behind.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from functools import reduce
from typing import Any, Final

import trio
from attrs import define, field
from attrs import evolve as changed

from actors.executor.live import evolve
from actors.executor.losses import written_off
from actors.journal.store import LAYOUT
from actors.messages import (
    AdoptConfig,
    Append,
    ApplyAct,
    Books,
    Capture,
    ChangeConfig,
    ChangeStatus,
    CloseRound,
    ConductRound,
    Execute,
    FillPlaced,
    Hear,
    Judge,
    Learn,
    Learned,
    Note,
    PricesForSale,
    ReadBooks,
    ReadCursor,
    ReadIncarnation,
    SaveCheckpoint,
    Seen,
    SellOut,
    Settle,
    SigningChanged,
    SkipRound,
    TellNotes,
    Verify,
)
from actors.restoring import restored
from actors.risk_engine.moves import Act, Demote, Killed, Promote, Restored, loosened
from actors.strategist.conduct import Conductor, Step, gap_entry
from actors.strategist.memory import FOLDED, Memory, Mind
from actors.tower import Actor, Address, MailboxFull
from actors.turn import Turn
from protocol.codec import to_json, to_plain
from protocol.errors import Outage, Refusal
from protocol.events import ConfigAdopted, Decided, Genesis, JournalEntry, RoundSettled, Row
from protocol.market import Round
from protocol.orders import named
from protocol.settings import AgentConfig
from protocol.times import to_wire

FLOOR: Final = "Strategist"
CHECKPOINT_ROUNDS: Final = 50  # at most so many are refolded at a restart
OUTAGE_SECONDS: Final = 0.5


@define
class Founding:
    """How a log begins, and what this process notes of its own `life`, in order: that it started first, then what is
    added. `told` is how many such notes of other processes the log held before. All of it outlives the Strategist's
    incarnations."""

    agent: str
    market: dict[str, Any]
    begins: datetime
    config: AgentConfig
    life: list[Note]
    told: int | None = field(default=None, init=False)


class Strategist(Actor):
    def __init__(
        self,
        founding: Founding,
        *,
        journal: Address,
        quotes: Address,
        risk: Address,
        executor: Address,
    ) -> None:
        self._founding = founding
        self._journal = journal
        self._quotes = quotes
        self._risk = risk
        self._executor = executor
        self._incarnation: object  # the Journal's
        self._memory: Memory
        self._books: Books
        self._rounds = 0  # since the last checkpoint

    async def restore(self) -> None:
        """Refold; found the log if it is empty; tell what this process has to say of its life."""
        self._memory = await restored(
            self._journal,
            FLOOR,
            Memory(Mind(self._founding.begins), {}),
            kinds=FOLDED,
            evolve=self._refold,
            thaw=Memory.thawed,
        )
        self._incarnation = await self._journal.ask(ReadIncarnation())
        if self._founding.told is None:
            self._founding.told = self._memory.mind.notes
        while self._memory.mind.version == 0 and await self._found():
            await trio.sleep(OUTAGE_SECONDS)
        while await self._tell_notes():
            await trio.sleep(OUTAGE_SECONDS)
        self._books = await self._executor.ask(ReadBooks())

    async def receive(self, message: Any) -> Any:
        match message:
            case ConductRound() | SkipRound() if message.after != self._memory.mind.cursor:
                return Refusal("cursor", f"the log's cursor is {self._memory.mind.cursor}, not {message.after}")
            case ConductRound():
                return await self._round(message.round)
            case SkipRound():
                return await self._skip(message.round, "crash", message.reason)
            case ChangeConfig():
                return await self._change(message)
            case ChangeStatus():
                return await self._change_status(message.act)
            case Seen():
                await self._follow(lambda turn, at: Learn(turn, message.seen, at))
                with suppress(MailboxFull):  # it looks again after a while in any case
                    self._executor.tell(Learned(message.seen))
                return None
            case PricesForSale():
                found = message.observed
                return await self._follow(lambda turn, at: SellOut(turn, found.prices, found.now, at))
            case SigningChanged():
                return await self._signing_changed(message)
            case TellNotes():
                return await self._tell_notes()
            case ReadCursor():
                return self._memory.mind.cursor
            case _:
                raise TypeError(f"the Strategist does not take {message!r}")

    def _begin(self) -> Turn:
        return Turn(self._incarnation)

    def _refold(self, memory: Memory, row: Row) -> Memory:
        self._rounds += isinstance(row, RoundSettled)
        return memory.fold(row)

    # --- turns

    async def _round(self, round: Round) -> Outage | None:
        """Decide a round: the candles are seen, the conductor's wishes are carried to the older floors."""
        turn, memory = self._begin(), self._memory
        if outage := await self._tell_notes():
            return outage
        if round.ts <= memory.mind.ts:  # a market whose clock was set back; the log's never is
            return await self._skip(round, "market", f"the log's time is {to_wire(memory.mind.ts)} by now")
        memory.see(round)
        books, mind = self._books, memory.mind
        paper = Conductor(turn, round, memory.config, memory.views, books.paper, mind.outcomes)
        await self._conduct(paper)
        live = Conductor(
            turn, round, memory.config, memory.views, books.live.book, mind.live_outcomes, deciding=books.live.trading
        )
        if books.live.trading or live.outcomes:
            await self._conduct(live)
        books = await self._executor.ask(CloseRound(turn, round))
        last = RoundSettled(round.ts, round.cursor, round.ticks, round.gaps, round.series, round.before)
        if outage := await self._settle(turn, last):
            return outage
        memory.mind = changed(memory.mind.after(last), outcomes=paper.outcomes, live_outcomes=live.outcomes)
        self._books = books
        await self._checkpoint(turn)
        return None

    async def _conduct(self, conductor: Conductor) -> None:
        steps, answer = conductor.steps(), None
        with suppress(StopIteration):
            while True:
                answer = await self._carried(steps.send(answer))

    async def _carried(self, step: Step) -> Any:
        """What the conductor wants of another floor; the floor's answer."""
        match step:
            case Append():
                self._journal.tell(step)
                if nos := tuple(row for row in step.rows if isinstance(row, Decided) and row.phase == "live"):
                    await self._executor.ask(Hear(step.turn, nos))  # it counts them, as whoever reads the log does
                return None
            case Verify():
                return await self._quotes.ask(step)
            case Judge():
                return await self._risk.ask(step)
            case Execute() | FillPlaced():
                return await self._executor.ask(step)

    async def _skip(self, round: Round, tag: str, reason: str) -> Outage | None:
        if outage := await self._tell_notes():
            return outage
        turn, at = self._begin(), max(round.ts, self._memory.mind.ts)
        ref = named("jrn", round.ts, tag, to_json(round.cursor).decode())
        text = f"Skipped the round of {to_wire(round.ts)} ({', '.join(round.ticks)}): {reason}."
        data = {"round": to_wire(round.ts), "pairs": list(round.ticks)}
        entry = JournalEntry(at, ref, "SKIPPED", (tag,), text, data)
        # Its candles are left out for good, unless the views have taken them in: then a refold must, too.
        seen = self._memory.seen == round.ts
        candles, before = (round.ticks, round.before) if seen else ({}, {})
        last = RoundSettled(at, round.cursor, candles, round.gaps, round.series, before)
        if outage := await self._settle(turn, *(gap_entry(gap, at) for gap in round.gaps), entry, last):
            return outage
        self._memory.mind = self._memory.mind.after(last)
        return None

    async def _found(self) -> Outage | None:
        """The first rows of a log: what it is, and the first version of the config."""
        turn, at, config = self._begin(), self._founding.begins, self._founding.config
        genesis = Genesis(at, LAYOUT, self._founding.agent, self._founding.market)
        self._append(turn, genesis)
        return await self._adopt(turn, ConfigAdopted(at, 1, config))

    async def _change(self, asked: ChangeConfig) -> Outage | Refusal | int:
        mind = self._memory.mind
        if self._founding.life[-1].type == "STOPPED":
            return Refusal("stopping", "the daemon is stopping")
        if mind.version != asked.expected:
            return Refusal("version", f"version {mind.version} is in force by now, not {asked.expected}")
        assert mind.config is not None, "a log's second row is its config"
        if self._books.live.trading and (looser := loosened(mind.config.risk, asked.config.risk)):
            return Refusal(
                "live", f"{', '.join(looser)}: no limit is loosened while the agent is live; demote it first"
            )
        version = mind.version + 1
        ref = named("jrn", mind.ts, "config", str(version))
        text = f"Config version {version} adopted: {asked.text}. A fresh evaluation begins."
        entry = JournalEntry(mind.ts, ref, "CONFIG_CHANGE", (f"v{version}",), text, {"version": version})
        turn = self._begin()
        self._append(turn, entry)
        return await self._adopt(turn, ConfigAdopted(mind.ts, version, asked.config)) or version

    async def _adopt(self, turn: Turn, adopted: ConfigAdopted) -> Outage | None:
        """Every floor that goes by the config has it from this turn on; the risk engine journals it."""
        message = AdoptConfig(turn, adopted.version, adopted.config, adopted.ts)
        await self._quotes.ask(message)
        books = await self._executor.ask(Hear(turn, await self._risk.ask(message)))
        if outage := await self._settle(turn):
            return outage
        self._memory.adopt(adopted)
        self._books = books
        return None

    # --- live, between two rounds

    async def _follow(self, about: Callable[[Turn, datetime], Learn | SellOut]) -> None:
        """The Executor learns something of its live orders: a turn of its own. What an outage keeps from the log, is
        seen again."""
        if self._founding.life[-1].type == "STOPPED":  # the next process sees it again
            return
        turn, at = self._begin(), self._memory.mind.ts
        books = await self._executor.ask(about(turn, at))
        if books.rows and not await self._settle(turn):
            self._remember(books)

    async def _change_status(self, act: Act) -> Outage | Refusal | None:
        if self._founding.life[-1].type == "STOPPED":
            return Refusal("STOPPING", "the daemon is stopping")
        if isinstance(act, Killed) and act.at == self._memory.mind.last_kill:
            return None  # it is known already
        live = self._books.live
        if isinstance(act, Promote):
            if live.orders or live.flattening:
                reason = "a live order is still on its way: what the wallet holds is not known before it has ended"
                return Refusal("ORDERS_OPEN", reason)
            act = act.opening(live.book.equity, live.book.cash)  # rounds may have passed since the wallet was looked at
        turn, at, flat = self._begin(), self._memory.mind.ts, live.flat
        if isinstance(act, Demote) and act.wallet is not None:
            lost = written_off(live, act.wallet, at)
            if isinstance(lost, Refusal):
                return lost
            act, flat = changed(act, lost=lost), reduce(evolve, lost, live).flat
        rows = await self._risk.ask(ApplyAct(turn, act, at, flat))
        if isinstance(rows, Refusal):
            return rows
        books = await self._executor.ask(Hear(turn, rows))
        if outage := await self._settle(turn):
            return outage
        self._remember(books)
        return None

    def _remember(self, books: Books) -> None:
        self._books = books
        for row in books.rows:
            self._memory.mind = self._memory.mind.after(row)

    async def _signing_changed(self, told: SigningChanged) -> Outage | Refusal | None:
        """What the log does not know of the guard yet. A kill that was lifted before anybody looked has taken the agent
        out of LIVE all the same."""
        if told.killed_at is not None and (no := await self._change_status(Killed(told.killed_at, told.reason))):
            return no
        killed = self._memory.mind.killed
        return None if told.killed or killed is None else await self._change_status(Restored(killed))

    async def _tell_notes(self) -> Outage | None:
        """The log knows how many were told: a death before one was durable has it told again, one after it does not."""
        assert self._founding.told is not None, "restoring has counted them"
        while len(self._founding.life) > (told := self._memory.mind.notes - self._founding.told):
            mind = self._memory.mind
            entry = self._founding.life[told].entry(mind.ts, mind.notes)
            if outage := await self._settle(self._begin(), entry):
                return outage
            self._memory.mind = mind.after(entry)
        return None

    # --- the Journal

    def _append(self, turn: Turn, *rows: Row) -> tuple[Row, ...]:
        if rows:
            self._journal.tell(Append(turn, rows))
        return rows

    async def _settle(self, turn: Turn, *rows: Row) -> Outage | None:
        return await self._journal.ask(Settle(turn, rows))

    async def _checkpoint(self, turn: Turn) -> None:
        """Now and then, between two turns, when every floor's state is of the same moment."""
        self._rounds += 1
        if self._rounds < CHECKPOINT_ROUNDS:
            return
        self._rounds = 0
        states = {FLOOR: to_plain(self._memory.state)}
        for floor in (self._quotes, self._risk, self._executor):
            states[floor.name] = await floor.ask(Capture())
        await self._journal.ask(SaveCheckpoint(turn, states))
