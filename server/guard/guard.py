"""The guard itself: a question in, an answer out.

Deciding, signing and recording are one step without an await in it, so no other request can come between: what a
decision rests on is what is there when it is recorded, the caps hold for any number of requests at once, and a kill
comes before such a step or after it. What is awaited (a look at the chain, the kit) comes before, and the decision is
made anew behind it.
"""

from __future__ import annotations

import logging
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from importlib.metadata import version
from math import inf
from pathlib import Path
from typing import Final

import trio
from attrs import define, evolve

from protocol.errors import UserError
from protocol.signing import (
    RESTORE_WORDS,
    Anchor,
    Answer,
    Broken,
    GuardStatus,
    NotSent,
    Question,
    ReadGuard,
    Recall,
    Recalled,
    Refused,
    Restore,
    Restored,
    Revoke,
    Revoked,
    Signed,
    SignTransaction,
    SwapByTwak,
    Transaction,
    Unknown,
    Verdict,
)
from protocol.times import from_millis, to_wire
from server.guard import keystore
from server.guard.books import Attempted, Ended, Granted, Killed, Lifted, Started
from server.guard.config import GuardConfig
from server.guard.decode import Action, Approval, Swap, decode
from server.guard.eyes import Eyes, Unseen
from server.guard.keystore import Wallet
from server.guard.ledger import Ledger, Unwritable
from server.guard.policy import Case, Sighting, judge, judge_repetition
from server.guard.twak import Kit, Unquoted, slippage_to

log = logging.getLogger("forestay.guard")
_WRONG_PASSWORD_SECONDS: Final = 1.0
_AUDIT_SECONDS: Final = 300.0
_LOOK_EVERY_SECONDS: Final = 2.0


class Clock:
    """The wall clock, and one that nobody can set: it began with the guard and counts on through a suspend."""

    def __init__(self) -> None:
        self._began = self.wall()
        self._boottime = time.clock_gettime(time.CLOCK_BOOTTIME)

    def wall(self) -> datetime:
        return datetime.now(UTC)

    def steady(self) -> datetime:
        return self._began + timedelta(seconds=time.clock_gettime(time.CLOCK_BOOTTIME) - self._boottime)


@define
class Audit:
    """A run of the kit that is held to its word: the wallet may not have less than `floor` of the token. `spend` is
    what it may still take."""

    attempted: Attempted
    spend: int
    floor: int
    until: float = inf  # trio's clock


class Guard:
    """`wallet` signs the way `local`; the kit the way `twak`, and then there is no wallet here."""

    def __init__(
        self, config: GuardConfig, ledger: Ledger, eyes: Eyes, keys: Path, wallet: Wallet | None, kit: Kit | None
    ) -> None:
        """Record the start. Raises UserError: the ledger is of another wallet or chain, or cannot be written."""
        self._config = config
        self._ledger = ledger
        self._eyes = eyes
        self._keys = keys
        self._wallet = wallet
        self._kit = kit
        self._clock = Clock()
        self._turn = trio.Lock()  # one look at the chain after the other; no decision hangs on it
        self._kit_is_busy = False
        self._kills = 0
        self._kill_is_written = ledger.books.kill is not None
        self._restoring = False
        self._audits: list[Audit] = []
        self._audit_begins = trio.Event()
        self.address = wallet.address if wallet else config.twak.address or ""
        self._begin()

    def _begin(self) -> None:
        config, books = self._config, self._ledger.books
        if self._wallet and self._wallet.address != books.address:
            raise UserError(f"the ledger is of the key of {books.address}, the keystore of {self._wallet.address}")
        if books.chain_id is not None and (books.wallet, books.chain_id) != (self.address, config.chain_id):
            raise UserError(
                f"the ledger is of the wallet {books.wallet} on chain {books.chain_id}; for {self.address} on chain "
                f"{config.chain_id} make a guard of its own, in another folder"
            )
        limits = config.limits
        started = Started(
            version=version("forestay"),
            way=config.way,
            wallet=self.address,
            chain_id=config.chain_id,
            router=config.router,
            per_trade_cap=limits.per_trade_cap,
            daily_cap=limits.daily_cap,
        )
        try:
            self._ledger.append(started, self._clock.wall())
        except Unwritable as error:
            raise UserError(f"the ledger cannot be written: {error}") from None

    @property
    def killed(self) -> bool:
        return self._ledger.books.kill is not None

    async def answer(self, question: Question) -> Answer:
        match question:
            case ReadGuard():
                return self._status()
            case SignTransaction():
                return await self._sign(question)
            case SwapByTwak():
                return await self._swap(question)
            case Recall():
                return self._recall(question.intent)
            case Revoke():
                return self.revoke(question.reason)
            case Restore():
                return await self._restore(question)

    def _status(self) -> GuardStatus:
        config, books = self._config, self._ledger.books
        day = books.day_at(self._clock.wall(), self._clock.steady())
        return GuardStatus(
            way=config.way,
            address=self.address,
            chain_id=config.chain_id,
            router=config.router,
            allowlist={symbol: token.address for symbol, token in config.tokens.items()},
            per_trade_cap=config.limits.per_trade_cap,
            daily_cap=config.limits.daily_cap,
            spent_today=Decimal(config.usdt.amount(books.spent_on(day))),
            killed=books.kill is not None,
            killed_at=to_wire(books.last_kill.at) if books.last_kill else None,
            killed_reason=books.last_kill.reason if books.last_kill else None,
            anchor=books.anchor,
            version=version("forestay"),
            signed_nonce=books.signed_nonce,
        )

    # --- the guard's own key

    async def _sign(self, question: SignTransaction) -> Answer:
        tx = evolve(question.tx, to=question.tx.to.lower(), data=question.tx.data.lower())
        action = decode(tx.data)
        async with self._turn:
            granted = self._ledger.books.granted.get(question.intent, [])
            for before in granted:
                if before.tx == tx:
                    case = self._case(question.intent, action, question.anchor, tx, None)
                    return judge_repetition(case) or before.signed
            refused = judge(self._case(question.intent, action, question.anchor, tx, None))
            if refused is None or refused.rule != "rpc":
                assert refused is not None, "nothing is signed unseen"
                return refused
            assert isinstance(action, Swap | Approval), "what cannot be read is refused before"
            token = action.path[0] if isinstance(action, Swap) else tx.to
            swap = action if isinstance(action, Swap) else None
            seen = await self._look(token, swap)
            if isinstance(seen, Refused):
                return seen
            return self._grant(self._case(question.intent, action, question.anchor, tx, seen), tx)

    def _grant(self, case: Case, tx: Transaction) -> Answer:
        """Decide, sign, record, in one step: the signature is there to leave once its record is on the disk."""
        if refused := judge(case):
            return refused
        assert self._wallet is not None, "the rule `way` has refused before"
        signed = self._wallet.sign(tx)
        record = Granted(case.intent, tx, signed, case.spend, case.fees, case.day, case.anchor)
        try:
            self._ledger.append(record, self._clock.wall())
        except Unwritable as error:
            return Broken(f"nothing is signed: the ledger cannot be written: {error}")
        log.info("signed %s for %s", signed.hash, case.intent)
        return signed

    def _case(self, intent: str, action: Action, anchor: Anchor, tx: Transaction | None, seen: Sighting | None) -> Case:
        books = self._ledger.books
        witnesses = [self._clock.wall(), self._clock.steady()]
        if seen:
            witnesses.append(from_millis(seen.time * 1000))
        granted = books.granted.get(intent)
        return Case(
            config=self._config,
            wallet=self.address,
            books=books,
            way=self._config.way,
            intent=intent,
            action=action,
            anchor=anchor,
            tx=tx,
            day=books.day_at(*witnesses),
            seen=seen,
            replaces=granted[-1].tx if granted else None,
        )

    async def _look(self, token: str, swap: Swap | None) -> Sighting | Refused:
        try:
            return await self._eyes.see(self.address, token, swap)
        except Unseen as error:
            return Refused("rpc", f"The guard cannot see the chain for itself: {error}.", "not seen", "seen")

    # --- the kit

    async def _swap(self, question: SwapByTwak) -> Answer:
        first, last = question.from_token.lower(), question.to_token.lower()
        action = Swap(question.spend, question.min_received, (first, last), self.address, question.deadline)
        known = self._ledger.books.attempts.get(question.intent)
        if known is not None:
            asked = (first, last, question.spend, question.min_received)
            before = known.attempted
            if asked != (before.from_token, before.to_token, before.spend, before.min_received):
                return Refused("intent", "This intent was attempted for another swap.", "another swap", "the same")
            return judge_repetition(self._case(question.intent, action, question.anchor, None, None)) or (
                known.verdict or _NO_VERDICT
            )
        if self._kit_is_busy:
            return Refused("in_flight", "The kit is at work on another swap.", "1 at work", "0 at work")
        self._kit_is_busy = True
        try:
            return await self._attempt(question.intent, action, question.anchor)
        finally:
            self._kit_is_busy = False

    async def _attempt(self, intent: str, action: Swap, anchor: Anchor) -> Answer:
        refused = judge(self._case(intent, action, anchor, None, None))
        if refused is None or refused.rule != "rpc":
            assert refused is not None, "nothing is attempted unseen"
            return refused
        assert self._kit is not None, "the rule `way` has refused before"
        first, last = action.path
        seen = await self._look(first, action)
        if isinstance(seen, Refused):
            return seen
        if refused := judge(self._case(intent, action, anchor, None, seen)):
            return refused
        assert seen.quote is not None, "the rule `slippage` has refused before"
        slippage = slippage_to(action.min_out, seen.quote)
        try:
            promised = await self._kit.quote(action.spend, first, last, slippage)
        except Unquoted as error:
            return Refused("slippage", f"There is no quote to rely on: {error}.", "no quote", "a quote")
        if promised < action.min_out:
            token = self._config.by_address[last][1]
            measured, limit = token.amount(promised), token.amount(action.min_out)
            reason = f"The kit promises {measured}, less than the {limit} that were asked for."
            return Refused("slippage", reason, measured, limit)
        seen = await self._look(first, action)
        if isinstance(seen, Refused):
            return seen
        case = self._case(intent, action, anchor, None, seen)
        if refused := judge(case):
            return refused
        attempted = Attempted(
            intent, first, last, action.spend, action.min_out, case.spend, seen.balance, case.day, anchor
        )
        try:
            self._ledger.append(attempted, self._clock.wall())
        except Unwritable as error:
            return Broken(f"nothing was attempted: the ledger cannot be written: {error}")
        ended: Verdict = Unknown("the guard was stopped while the kit was at work")
        audit = self._audit(attempted)
        try:
            ended = await self._kit.swap(action.spend, first, last, slippage)
        finally:
            self._audit_for_long(audit, ended)
            try:
                self._ledger.append(Ended(intent, ended), self._clock.wall())
            except Unwritable as error:
                log.error("the kit's verdict could not be recorded: %s", error)
        return ended

    def _audit(self, attempted: Attempted) -> Audit:
        """Hold this run to its word from now on, beside those before it that may come late."""
        others = [audit for audit in self._audits if audit.attempted.from_token == attempted.from_token]
        for other in others:
            other.floor -= attempted.spend
        floor = attempted.balance - attempted.spend - sum(other.spend for other in others)
        audit = Audit(attempted, attempted.spend, floor)
        self._audits.append(audit)
        self._audit_begins.set()
        return audit

    def _audit_for_long(self, audit: Audit, ended: Verdict) -> None:
        """The run is over: what it sent may still be mined. Where it says that it sent nothing, nothing may be gone."""
        audit.until = trio.current_time() + _AUDIT_SECONDS
        if isinstance(ended, NotSent):
            for one in self._audits:
                if one.attempted.from_token == audit.attempted.from_token:
                    one.floor += audit.spend
            audit.spend = 0

    async def keep_watch(self) -> None:
        """See for some minutes after each run of the kit that it took no more than it was to; kill where it did."""
        while True:
            if not self._audits:
                self._audit_begins = trio.Event()
                await self._audit_begins.wait()
            for audit in list(self._audits):
                token = audit.attempted.from_token
                try:
                    balance = (await self._eyes.see(self.address, token)).balance
                except Unseen:
                    continue  # it is looked at again; a time without sight is not over
                if balance < audit.floor:
                    symbol, kind = self._config.by_address[token]
                    told = (
                        f"was to spend {kind.amount(audit.spend)} {symbol}" if audit.spend else "says it sent nothing"
                    )
                    missing = f"{kind.amount(audit.floor - balance)} {symbol}"
                    self.revoke(f"the kit {told} for {audit.attempted.intent}, and there are {missing} too few")
                if balance < audit.floor or trio.current_time() > audit.until:
                    self._audits.remove(audit)
            await trio.sleep(_LOOK_EVERY_SECONDS)

    # --- what was, and the switch

    def _recall(self, intent: str) -> Recalled:
        books = self._ledger.books
        signed = tuple(
            evolve(one.signed, raw="") if books.kill else one.signed for one in books.granted.get(intent, ())
        )
        attempt = books.attempts.get(intent)
        return Recalled(signed, (attempt.verdict or _NO_VERDICT) if attempt else None)

    def revoke(self, reason: str) -> Revoked | Broken:
        """Refuse everything from here on; the record is written before this is answered."""
        self._kills += 1
        books, at = self._ledger.books, self._clock.wall()
        kill = books.kill = books.last_kill = books.kill_at(at, reason)
        if self._kit:
            self._kit.end()
        if not self._kill_is_written:
            log.warning("killed: %s", reason)
            try:
                self._ledger.append(Killed(kill.reason, to_wire(kill.at)), at, at_any_cost=True)
            except Unwritable as error:
                return Broken(
                    f"nothing is signed any more, but that could not be written down ({error}): it would not hold "
                    "through a restart of the guard"
                )
            self._kill_is_written = True
        return Revoked(to_wire(kill.at))

    async def _restore(self, question: Restore) -> Answer:
        if question.confirm != RESTORE_WORDS:
            return Refused("restore", f'It must be confirmed by the words "{RESTORE_WORDS}".', "other words")
        if not self.killed:
            return Refused("restore", "The kill switch is not on.", "armed", "killed")
        if self._restoring:
            return Refused("restore", "Somebody else is restoring.", "2 at once", "1 at once")
        self._restoring, kills = True, self._kills
        try:
            await trio.to_thread.run_sync(keystore.unlock, self._keys, question.password, abandon_on_cancel=True)
        except UserError:
            log.warning("somebody tried to restore with a wrong password")
            await trio.sleep(_WRONG_PASSWORD_SECONDS)
            return Refused("restore", "The password does not open the keystore.", "a wrong password")
        finally:
            self._restoring = False
        if self._kills != kills:
            return Refused("restore", "It was killed again meanwhile.", "killed again")
        try:
            self._ledger.append(Lifted(), self._clock.wall())
        except Unwritable as error:
            return Broken(f"the kill switch stays on: the ledger cannot be written: {error}")
        self._kill_is_written = False
        log.warning("restored")
        return Restored()


_NO_VERDICT: Final = Unknown("it was attempted, and no verdict is recorded")


def withheld(answer: Answer, *, killed: bool) -> Answer:
    """What is sent instead of an answer that was overtaken by a kill on its way."""
    if killed and isinstance(answer, Signed):
        return Refused("kill_switch", "The kill switch is on: nothing is signed.", "killed", "armed")
    return answer
