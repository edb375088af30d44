"""A signing guard in memory, on trio's clock: of the real one it has what an order's life hangs on. It records a
signature before it gives it away, signs once for an intent and a nonce, replaces at +10 %, recalls, and can be killed.

It works on, whether or not who asked still waits: a question is decided when it is due, in its turn, and the answer may
be lost on the way. What is due happens when somebody asks next, so nothing runs beside the simulation.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from random import Random
from typing import Final, Literal

import trio
from attrs import define, evolve, field, frozen

from protocol.errors import Outage
from protocol.signing import (
    RESTORE_WORDS,
    Anchor,
    Answer,
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
    Sent,
    Signed,
    SignTransaction,
    SwapByTwak,
    Transaction,
    Unknown,
    Verdict,
)
from protocol.times import EPOCH, to_wire
from tests.world.chain import APPROVE, CAKE, ETH, ROUTER, SWAP_EXACTLY, TRADER, USDT, WALLET, Reverts, SimChain, signed

ANSWER_SECONDS: Final = 5.0  # as long as the port's own
_NO_VERDICT: Final = Unknown("it was attempted, and no verdict is recorded")
# What the kit does with the next swap: it tells what it did, or nothing of what it did, or did not do.
KitDoes = Literal[
    "sends", "sends and is lost", "sends nothing", "is lost", "approves and sends", "approves, sends and is lost",
    "approves and is lost", "sends twice and is lost", "reverts and is lost", "robs and is lost",
]  # fmt: skip


@frozen
class Mood:
    """How the guard behaves: each a chance, of a question. `deaf` it never hears of it, `mute` its answer is lost,
    `slow` it takes so long that nobody waits for it, `blind` it cannot see the chain. When it is to sign, it `dies`:
    before it has recorded that, or right after; and is back some seconds later."""

    deaf: float = 0.0
    mute: float = 0.0
    slow: float = 0.0
    blind: float = 0.0
    dies: float = 0.0


@define
class _Asked:
    """A question under way, and its answer once there is one."""

    question: Question
    due: float
    answer: Answer | None = None
    unheard: bool = False  # it died first


@define(eq=False)
class SimGuard:
    """The port, and the guard behind it. `granted` is all that it ever signed, by intent, oldest first; `kits` the hash
    of what the kit has sent for one. `marks` counts what is rare."""

    chain: SimChain
    random: Random
    wallet: str = WALLET
    way: Literal["local", "twak"] = "local"
    mood: Mood = Mood()
    granted: dict[str, list[tuple[Transaction, Signed]]] = field(factory=dict)
    attempts: dict[str, Verdict | None] = field(factory=dict)
    kits: dict[str, str] = field(factory=dict)
    marks: Counter[str] = field(factory=Counter)
    refusing: Callable[[SignTransaction], Refused | None] = lambda question: None  # a rule of the test's own
    kit_does: KitDoes = "sends"
    kit_seconds: float = 0.0
    down: bool = False
    killed: str | None = None
    last_kill: str | None = None
    anchor: Anchor | None = None
    heard: list[Question] = field(factory=list)  # in the order in which they were decided
    back_at: float = 0.0  # it is dead until then
    _under_way: list[_Asked] = field(factory=list)
    _free_at: float = 0.0

    async def ask(self, question: Question, /, *, within: float = ANSWER_SECONDS) -> Answer | Outage:
        await trio.lowlevel.checkpoint()
        self._catch_up()
        random, mood = self.random, self.mood
        if self.is_down or random.random() < mood.deaf:
            await trio.sleep(random.uniform(0, within))
            return Outage("guard", "the signing guard gives no answer")
        asked = _Asked(question, self._due(question))
        self._under_way.append(asked)
        with trio.move_on_after(within):
            while asked.answer is None and not asked.unheard:
                await trio.sleep(max(0.0, asked.due - trio.current_time()))
                self._catch_up()
        if asked.answer is None or random.random() < mood.mute:
            if isinstance(question, SignTransaction):
                signed = bool(self.granted.get(question.intent))
                self.marks["answer lost, and it had signed" if signed else "answer lost, and it had not signed"] += 1
            return Outage("guard", "the signing guard gives no answer")
        return asked.answer

    @property
    def is_down(self) -> bool:
        return self.down or trio.current_time() < self.back_at

    def _due(self, question: Question) -> float:
        """Those that sign wait for each other, since they look at the chain; what the guard knows it says at once."""
        now = trio.current_time()
        if isinstance(question, SwapByTwak):
            return now if question.intent in self.attempts else now + self.kit_seconds
        if not isinstance(question, SignTransaction):
            return now
        slow = self.random.random() < self.mood.slow
        takes = self.random.uniform(ANSWER_SECONDS, 3 * ANSWER_SECONDS) if slow else self.random.uniform(0, 0.1)
        self._free_at = max(now, self._free_at) + takes
        return self._free_at

    def _catch_up(self) -> None:
        now = trio.current_time()
        while due := sorted((asked for asked in self._under_way if asked.due <= now), key=lambda asked: asked.due):
            self._under_way.remove(due[0])
            self._take_up(due[0])

    def _take_up(self, asked: _Asked) -> None:
        """Decide it; one that is to sign may die of it, and with it goes whatever else was asked."""
        question = asked.question
        if self.mood.dies and isinstance(question, SignTransaction | SwapByTwak):
            asked.unheard = self.random.random() < self.mood.dies
        if not asked.unheard:
            self.heard.append(question)
            asked.answer = self._decide(question)
            return
        recorded = self.random.random() < 0.5
        self.marks["guard died before its answer" if recorded else "guard died before its record"] += 1
        if recorded:
            self._decide(question)
        elif isinstance(question, SwapByTwak) and self._known(question) is None:
            self.attempts[question.intent] = None
            self._kit(question)
        for other in self._under_way:
            other.unheard = True
        self._under_way.clear()
        self.back_at = asked.due + self.random.uniform(0.5, 20)

    # --- deciding

    def _decide(self, question: Question) -> Answer:
        match question:
            case ReadGuard():
                return self._status()
            case SignTransaction():
                return self._sign(question)
            case SwapByTwak():
                return self._swap(question)
            case Recall():
                found = [
                    evolve(one, raw="" if self.killed else one.raw) for _, one in self.granted.get(question.intent, [])
                ]
                attempted = question.intent in self.attempts
                return Recalled(tuple(found), (self.attempts[question.intent] or _NO_VERDICT) if attempted else None)
            case Revoke():
                return self.kill()
            case Restore():
                if question.confirm != RESTORE_WORDS:
                    return Refused("restore", "other words")
                self.restore()
                return Restored()

    def kill(self) -> Revoked:
        self.killed = self.last_kill = self.killed or to_wire(self.chain.now)
        return Revoked(self.killed)

    def restore(self) -> None:
        self.killed = None

    @property
    def signed_nonce(self) -> int | None:
        return max((tx.nonce for granted in self.granted.values() for tx, _ in granted), default=None)

    def _status(self) -> GuardStatus:
        return GuardStatus(
            self.way, self.wallet, 56, ROUTER, {"USDT": USDT, "ETH": ETH, "CAKE": CAKE}, Decimal(1000), Decimal(5000),
            Decimal(0), self.killed is not None, self.last_kill, "by hand" if self.last_kill else None, self.anchor,
            "sim",
            self.signed_nonce,
        )  # fmt: skip

    def _sign(self, question: SignTransaction) -> Answer:
        """The real one's rules in their order, as far as an order's life can break them."""
        tx, granted = question.tx, self.granted.setdefault(question.intent, [])
        if self.killed:
            return Refused("kill_switch", f"the kill switch is on since {self.killed}")
        if (
            self.anchor is not None
            and question.anchor.log_id == self.anchor.log_id
            and question.anchor.row < self.anchor.row
        ):
            return Refused("log_anchor", "the log was cut")
        for before, one in granted:
            if before == tx:
                return one
        head, replaces = self.chain.blocks[-1], granted[-1][0] if granted else None
        if replaces is not None and evolve(replaces, gas_price=tx.gas_price) != tx:
            return Refused("intent", "this intent was signed for another transaction")
        if replaces is not None and 10 * tx.gas_price < 11 * replaces.gas_price:
            return Refused("replacement", "a replacement must raise the gas price by 10 %")
        if self.mood.blind and self.random.random() < self.mood.blind:
            return Refused("rpc", "the guard cannot see the chain for itself")
        if (no := self.refusing(question)) is not None:
            return no
        used, highest = head.accounts.nonces.get(self.wallet, 0), self.signed_nonce
        if replaces is None:
            own = max(used, 0 if highest is None else highest + 1)
            if tx.nonce != own:
                return Refused("nonce", f"the next nonce is {own}", str(tx.nonce), str(own))
        elif tx.nonce < used:
            return Refused("nonce", "the nonce is used up", str(tx.nonce), str(used))
        data = bytes.fromhex(tx.data[2:])
        now = int((head.block.at - EPOCH).total_seconds())
        if data[:4] == SWAP_EXACTLY and replaces is None:
            spend, deadline, first = (int.from_bytes(data[at : at + 32]) for at in (4, 132, 196))
            if head.accounts.tokens[f"0x{first:040x}"].get(self.wallet, 0) < spend:
                return Refused("balance", "the wallet has less")
            if deadline <= now:
                return Refused("deadline", "the deadline has passed")
        self.anchor = question.anchor
        granted.append((tx, signed(tx, self.wallet)))
        return granted[-1][1]

    # --- the kit

    def _swap(self, question: SwapByTwak) -> Answer:
        if (known := self._known(question)) is not None:
            return known
        self.attempts[question.intent] = verdict = self._kit(question)
        return verdict

    def _known(self, question: SwapByTwak) -> Answer | None:
        """What can be said without running the kit."""
        if self.killed:
            return Refused("kill_switch", "the kill switch is on")
        if question.intent in self.attempts:
            return self.attempts[question.intent] or _NO_VERDICT
        if question.deadline <= int((self.chain.blocks[-1].block.at - EPOCH).total_seconds()):
            return Refused("deadline", "the deadline has passed")
        return None

    def _kit(self, question: SwapByTwak) -> Verdict:
        """It approves and swaps by itself; the chain learns of it at once, whoever else does."""
        self.marks[f"kit {self.kit_does}"] += 1
        if self.kit_does == "sends nothing":
            return NotSent("it found no route")
        if self.kit_does == "is lost":
            return Unknown("it timed out")
        accounts, does = self.chain.accounts, self.kit_does
        try:
            accounts.out(question.spend, (question.from_token, question.to_token))
        except Reverts:
            return NotSent("it found no route")
        nonce = accounts.nonces.get(self.wallet, 0)
        if "approves" in does:
            data = "0x" + APPROVE.hex() + f"{int(ROUTER, 16):064x}{question.spend:064x}"
            self._send(Transaction(56, nonce, question.from_token, 0, data, 60_000, 0))
            nonce += 1
        elif does != "reverts and is lost":
            accounts.allowed[question.from_token, self.wallet, ROUTER] = 2 * question.spend
        if does == "approves and is lost":
            return Unknown("it timed out")
        to = TRADER if "robs" in does else self.wallet
        words = (question.spend, question.min_received, 160, int(to, 16), 2**40, 2)
        path = (int(question.from_token, 16), int(question.to_token, 16))
        data = "0x" + SWAP_EXACTLY.hex() + "".join(f"{word:064x}" for word in (*words, *path))
        hash = self.kits[question.intent] = self._send(Transaction(56, nonce, ROUTER, 0, data, 400_000, 0))
        if "twice" in does:
            self._send(Transaction(56, nonce + 1, ROUTER, 0, data, 400_000, 0))
        return Unknown("it timed out") if "lost" in does else Sent(hash)

    def _send(self, tx: Transaction) -> str:
        """By the kit itself, at the going price."""
        one = signed(evolve(tx, gas_price=self.chain.price), self.wallet)
        self.chain.take(bytes.fromhex(one.raw[2:]))
        return one.hash
