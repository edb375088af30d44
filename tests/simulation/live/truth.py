"""What must be true of chain, guard and log together. It imports none of the product's folds: the log is read as JSON;
the chain and the guard are the simulator's own, and asked for what they have, not for what they say.

Statements of reliability.md: 25 to 33, 43. What a live log must say by itself is the judge's matter.
"""

from __future__ import annotations

import json
from collections import Counter
from fractions import Fraction
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

from attrs import Factory, define

from protocol.signing import NotSent, Question, Sent, SignTransaction, SwapByTwak
from tests.simulation.disk import Row
from tests.world import chain as chains
from tests.world.chain import Tx

if TYPE_CHECKING:
    from actors.broadcaster.board import Board
    from actors.chain.port import Receipt
    from tests.simulation.live.world import LiveWorld

Plain = dict[str, Any]
DAY: Final = 86_400_000
ADDRESSES: Final = {"USDT": chains.USDT, "ETH": chains.ETH, "CAKE": chains.CAKE}
REPLACEMENT: Final = Fraction(11, 10)  # of the gas price, at least
TRANSFER: Final = "0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef"  # the topic of a token's event
UNEXPLAINED: Final = "unexplained"  # the end of an order of which nobody can say what a kit did
KILLED: Final = "the signer was revoked"  # how a freeze begins that a kill has brought
APPROVAL: Final = ".approval"  # what the guard's name of an order's approval ends with


@define(eq=False)
class Order:
    """An order, as far as the log tells of it. `signed` is all that was, `under_way` what of it is the leg's that is
    not mined yet."""

    body: Plain
    row: int
    signed: list[Plain] = Factory(list)
    under_way: list[Plain] = Factory(list)
    handed: bool = False
    approved: bool = False
    end: str = ""

    @property
    def state(self) -> str:
        if self.under_way:
            return "approving" if self.under_way[-1]["leg"] == "approval" else "swapping"
        return "handed" if self.handed else "approved" if self.approved else "intended"


class Truth:
    """Reads the log as it grows. `foreign` are transactions of the wallet that are none of ours: hash and nonce;
    `displaced` the hashes of those that waited in the pool, and lost their nonce to one."""

    def __init__(self, world: LiveWorld) -> None:
        self.world = world
        self.orders: dict[str, Order] = {}
        self.foreign: dict[str, int] = {}
        self.displaced: set[str] = set()
        self.promotions = 0
        self.flattening = False
        self._open: dict[str, Order] = {}
        self._rows: dict[str, int] = {}  # where each hash was told first
        self._refs: dict[str, str] = {}  # of which order it is
        self._mined: dict[str, Plain] = {}
        self._units: dict[str, int] = {}
        self._held: set[str] = set()  # pairs of the live book
        self._kills: set[str] = set()
        self._status = "PAPER"
        self._locked = False
        self._frozen = ""  # why nothing is begun, but for a kill: the guard itself holds to that
        self._lost_sight = False  # a person must look at the wallet
        self._day = 0

    # --- the log

    @property
    def holds(self) -> bool:
        """Does the live book hold anything?"""
        return bool(self._held)

    @property
    def short(self) -> dict[str, int]:
        """What the wallet has less than the log says, by token, since nobody could say what a kit did. Its USDT a
        promotion counts anew."""
        if not self._lost_sight:
            return {}
        tokens, wallet = self.world.chain.accounts.tokens, self.world.guard.wallet
        left = {ADDRESSES[token]: units for token, units in self._units.items() if token not in ("USDT", "gas")}
        return {it: units - held for it, units in left.items() if (held := tokens[it].get(wallet, 0)) < units}

    @property
    def is_quiet(self) -> bool:
        """Is nothing open, nothing to be sold, and every kill told of that can be?"""
        return not self._open and not self.flattening and self._knows_of_the_kill

    @property
    def _knows_of_the_kill(self) -> bool:
        """The last one: of those that were lifted at once nobody can know."""
        return self.world.guard.last_kill in {None, *self._kills}

    @property
    def standing(self) -> str:
        orders = ", ".join(f"{ref} ({order.state})" for ref, order in self._open.items())
        return f"open: {orders or 'nothing'}; flattening: {self.flattening}; status {self._status}"

    def read(self, rows: list[Row]) -> None:
        for row, _, ts, kind, entry_type, text, _ in rows:
            body = json.loads(text)
            self._mark(kind, entry_type, ts, body)
            self._fold(row, kind, entry_type, body)

    def _fold(self, row: int, kind: str, entry_type: str | None, body: Plain) -> None:
        match kind:
            case "intended":
                self.orders[body["order"]["ref"]] = self._open[body["order"]["ref"]] = Order(body, row)
            case "handed_over":
                self._open[body["order_ref"]].handed = True
                self._open[body["order_ref"]].row = row
            case "submitted":
                order = self._open[body["order_ref"]]
                if order.handed:
                    self._mark_doubt(body["order_ref"], "it had sent")
                order.signed.append(body)
                order.under_way.append(body)
                self._rows.setdefault(body["hash"], row)
                self._refs[body["hash"]] = body["order_ref"]
            case "mined":
                self._take(self._open[body["order_ref"]], body)
            case "trade" if body["phase"] == "live":
                (self._held.add if body["side"] == "buy" else self._held.discard)(body["pair"])
                self._end(body["order_ref"], "trade")
            case "given_up":
                if self._open[body["order_ref"]].handed and body["code"] == "not_sent":
                    self._mark_doubt(body["order_ref"], "it had not sent")
                if body.get("coins") is not None:  # what somebody else has paid, too
                    self._units["gas"] = int(body["coins"])
                self._lost_sight |= body["code"] == UNEXPLAINED
                self._end(body["order_ref"], body["code"])
            case "live_opened":
                self._units = {token: int(units) for token, units in body["units"].items()}
                self.flattening = self._lost_sight = False
                self._frozen = ""
            case "flattening":
                self.flattening = bool(self._open or self._held)
                self._frozen = ""
            case "frozen":
                self.flattening = False
                self._frozen = "" if body["reason"].startswith(KILLED) else body["reason"]
            case "promotion":
                self.promotions += body["tx_hash"] is None
            case "status_change":
                self._status = body["to"]
            case "journal_entry" if entry_type == "KILL":
                self._kills.add(body["data"]["killed_at"])

    def _take(self, order: Order, body: Plain) -> None:
        self._mined[body["hash"]] = body
        order.approved |= body["leg"] == "approval"
        order.under_way.clear()
        spent, received, gas = (int(body[name]) for name in ("spent", "received", "gas_units"))
        for token, by in ((order.body["from_token"], -spent), (order.body["to_token"], received), ("gas", -gas)):
            self._units[token] = self._units.get(token, 0) + by

    def _end(self, ref: str, how: str) -> None:
        self._open.pop(ref).end = how
        self.flattening &= bool(self._open or self._held)

    # --- rare states

    def _mark(self, kind: str, entry_type: str | None, ts: int, body: Plain) -> None:
        marks, is_open = self.world.marks, bool(self._open)
        signed = any(order.under_way or order.handed for order in self._open.values())
        match kind:
            case "round":
                marks["midnight with an open live order"] += is_open and ts // DAY > self._day
                marks["midnight inside a swap"] += signed and ts // DAY > self._day
                marks["round with an open live order"] += is_open
                self._day = ts // DAY
            case "journal_entry" if entry_type == "STARTED":
                marks["restart with an open live order"] += is_open
                marks["restart while selling out"] += self.flattening
            case "journal_entry" if entry_type == "KILL":
                marks["kill"] += 1
                marks["kill with an open order"] += is_open
            case "journal_entry" if entry_type == "STATUS_CHANGE" and body["data"]["trigger"] == "demoted":
                marks["demoted by hand with an open order"] += is_open
            case "demotion":
                marks[f"demotion {body['breach']}"] += 1
                marks["demotion with an open intent"] += is_open
            case "promotion" if body["tx_hash"] is None:
                marks["promoted again after a lock"] += self._locked
                self._locked = False
            case "promotion":
                marks["promotion proven"] += 1
            case "lock_lifted":
                self._locked = True
            case "given_up":
                marks[f"given up: {body['code']}"] += 1
            case "twak_block":
                marks["twak_block"] += 1
            case "trade" if body["phase"] == "live":
                marks["live trade"] += 1
                marks["sold out"] += self.orders[body["order_ref"]].body["purpose"] == "flatten"
            case "mined":
                self._mark_mined(self._open[body["order_ref"]], body)

    def _mark_mined(self, order: Order, body: Plain) -> None:
        hashes = [one["hash"] for one in order.under_way]
        if len(hashes) > 1:
            newest = body["hash"] == hashes[-1]
            self.world.marks["replacement mined" if newest else "replaced one mined instead"] += 1
        self.world.marks[f"{body['leg']} reverted"] += not body["success"]

    def _mark_doubt(self, ref: str, how: str) -> None:
        """Was it in doubt what the kit has done?"""
        if not isinstance(self.world.guard.attempts.get(ref), Sent | NotSent):
            self.world.marks[f"doubt of the kit: {how}"] += 1

    def dying(self) -> None:
        """The process is about to be gone."""
        for order in self._open.values():
            self.world.marks[f"death of the process, an order {order.state}"] += 1
            unknown = [one for granted in self._granted(order) for one in granted if one not in self._rows]
            self.world.marks["death between a signature and its record"] += bool(unknown)

    def _granted(self, order: Order) -> list[list[str]]:
        ref, granted = order.body["order"]["ref"], self.world.guard.granted
        return [[one.hash for _, one in granted.get(intent, ())] for intent in (ref, ref + APPROVAL)]

    # --- as it happens

    def asking(self, question: Question) -> None:
        """The daemon is about to ask the guard for this."""
        if not isinstance(question, SignTransaction | SwapByTwak):
            return
        self.world.audit()
        ref, complain = question.intent.removesuffix(APPROVAL), self.world.complain
        order = self._open.get(ref)
        if self._frozen and isinstance(question, SignTransaction) and not (order and order.under_way):
            complain("32", f"{question.intent} is to be signed, and all is frozen: {self._frozen}")
        if order is None or order.row > self.world.row_on_disk():
            complain("30", f"{question.intent} is to be signed, and the log on the disk does not know it")
        elif isinstance(question, SwapByTwak):
            if not order.handed:
                complain("30", f"the kit is asked for {ref}, and the log does not know that it is handed over")
        else:
            self._check_asked(order, question)

    def _check_asked(self, order: Order, question: SignTransaction) -> None:
        tx, ref, complain = question.tx, order.body["order"]["ref"], self.world.complain
        data = bytes.fromhex(tx.data.removeprefix("0x"))
        if data[:4] == chains.SWAP_EXACTLY:
            bound, least = int.from_bytes(data[36:68]), int(order.body["min_received"])
            if bound < least:
                complain("33", f"a swap of {ref} is to be signed that may bring {bound}, the bound is {least}")
        if order.under_way:
            last = order.under_way[-1]
            again = tx.gas_price in [int(one["gas_price"]) for one in order.under_way]
            if not again and (tx.nonce != last["nonce"] or tx.gas_price < REPLACEMENT * int(last["gas_price"])):
                complain("27", f"nonce {tx.nonce} at {tx.gas_price} wei is to replace {last['gas_price']} wei of {ref}")

    def sending(self, raw: bytes) -> None:
        """The daemon is about to send this."""
        self._must_be_known(chains.read(raw).hash, "sent")

    def took(self, tx: Tx) -> None:
        """A block takes this transaction."""
        if tx.sender == self.world.guard.wallet and self.world.plan.way == "local":
            ours = {one.hash for granted in self.world.guard.granted.values() for _, one in granted}
            if tx.hash in ours:
                self._must_be_known(tx.hash, "mined")

    def _must_be_known(self, hash: str, how: str) -> None:
        """Whatever power cut may come now, the log tells of it."""
        if hash not in self._rows:
            self.world.audit()
        if (row := self._rows.get(hash)) is None or row > self.world.row_on_disk():
            self.world.complain("26", f"{hash} is {how}, and the log on the disk does not know it")

    # --- once all is quiet

    def close(self) -> None:
        mined = [pair for pair in self.world.chain.mined() if pair[0].hash not in self.foreign]
        self._check_mined(mined)
        self._check_signed()
        unnamed = self._unnamed
        self._check_abandoned({tx.hash for tx, receipt in mined if receipt.succeeded or tx.hash not in unnamed})
        self._check_foreign()
        self._check_kills()
        self._check_wallet()

    def _check_mined(self, mined: list[tuple[Tx, Receipt]]) -> None:
        """What is on the chain, held against what the log took for it."""
        complain, found = self.world.complain, Counter[tuple[str, str]]()
        for tx, receipt in mined:
            ref = self._refs.get(tx.hash)
            if tx.hash in self._beyond or (tx.hash in self._unnamed and not receipt.succeeded):
                continue
            if ref is None:
                complain("26", f"{tx.hash} is on the chain, and the log does not know it")
                continue
            told = self._mined.get(tx.hash)
            leg = next(one["leg"] for one in self.orders[ref].signed if one["hash"] == tx.hash)
            found[ref, leg] += 1
            agrees = told is not None and (told["success"], told["block"]) == (receipt.succeeded, receipt.block)
            if ref not in self._open and not agrees:
                complain("29", f"{tx.hash} is in block {receipt.block}, the log says {told}")
            if leg == "swap" and receipt.succeeded:
                self._check_swap(self.orders[ref].body, receipt)
        for (ref, leg), count in found.items():
            if count > 1:
                complain("25", f"{count} transactions are on the chain for the {leg} of {ref}")
        for hash in self._mined.keys() - {tx.hash for tx, _ in mined}:
            complain("31", f"the log takes {hash} for mined, and it is on no chain")

    def _check_swap(self, intended: Plain, receipt: Receipt) -> None:
        brought = self._brought(intended, receipt)
        ref, least = intended["order"]["ref"], int(intended["min_received"])
        if brought < least:
            self.world.complain("33", f"{ref} brought {brought}, the bound was {least}")
        at = self.world.chain.blocks[receipt.block].block.at.timestamp()
        if self.world.plan.way == "local" and at > intended["deadline"]:
            self.world.complain("33", f"{ref} was swapped at {at:.0f}, its deadline was {intended['deadline']}")

    def _brought(self, intended: Plain, receipt: Receipt) -> int:
        token, wallet = ADDRESSES[intended["to_token"]], self.world.guard.wallet
        return sum(
            int.from_bytes(log.data)
            for log in receipt.logs
            if (log.address, log.topics[0], log.topics[-1][-40:]) == (token, TRANSFER, wallet[-40:])
        )

    @property
    def _beyond(self) -> dict[str, Plain]:
        """A kit's swaps that nobody could know the end of, by hash: the log says so of their orders, and a person has
        taken over. They may be mined at any time, or never."""
        kits = self.world.guard.kits
        return {kits[ref]: order.body for ref, order in self.orders.items() if order.end == UNEXPLAINED and ref in kits}

    @property
    def _unnamed(self) -> set[str]:
        """What a kit sent and nobody named. Where it reverted, nothing was swapped, and its gas is counted."""
        kits, orders = self.world.guard.kits, self.orders
        return {kits[ref] for ref, one in orders.items() if ref in kits and one.end == "not_sent" and not one.signed}

    def _check_signed(self) -> None:
        """One nonce for an intent, one intent for a nonce; and of several signatures each pays 10 % more."""
        of_nonce: dict[int, str] = {}
        for intent, granted in self.world.guard.granted.items():
            prices = [tx.gas_price for tx, _ in granted]
            for tx, _ in granted:
                if of_nonce.setdefault(tx.nonce, intent) != intent:
                    self.world.complain("27", f"nonce {tx.nonce} was signed for {of_nonce[tx.nonce]} and {intent}")
            if any(two < REPLACEMENT * one for one, two in pairwise(prices)):
                self.world.complain("27", f"{intent} was replaced at {prices} wei")

    def _check_abandoned(self, mined: set[str]) -> None:
        """What was given up without a transaction of it in a block was never mined, and never can be."""
        used = self.world.chain.accounts.nonces.get(self.world.guard.wallet, 0)
        for ref, order in self.orders.items():
            if order.end in ("", "trade", "reverted", UNEXPLAINED):
                continue
            granted = self.world.guard.granted.get(ref, ())
            for tx, one in granted:
                if one.hash in mined:
                    self.world.complain("28", f"{ref} was given up ({order.end}), and {one.hash} is mined")
                elif tx.nonce >= used:
                    self.world.complain("28", f"{ref} was given up ({order.end}), and {one.hash} may still be mined")
            if self.world.guard.kits.get(ref) in mined:
                self.world.complain("28", f"{ref} was given up ({order.end}), and the kit's swap is mined")

    def _check_foreign(self) -> None:
        """Somebody else has our key: what he takes a nonce of ends as usurped, and nothing else does."""
        taken = {self.foreign[tx.hash] for tx, _ in self.world.chain.mined() if tx.hash in self.foreign}
        for ref, order in self.orders.items():
            # What a kit sent and no pool knew any more was not displaced: it may count as not sent, its nonce as free.
            own = [one for one in order.signed if not order.handed or one["hash"] in self.displaced]
            lost = {one["nonce"] for one in own} & taken
            if order.end != "usurped" and lost:
                self.world.complain("32", f"nonce {lost} of {ref} was usurped, its end is {order.end!r}")
            elif order.end == "usurped" and not lost and not order.handed:
                self.world.complain("32", f"{ref} ended as usurped, and nobody took its nonce")

    def _check_kills(self) -> None:
        if not self._knows_of_the_kill:
            self.world.complain("43", f"the guard was killed at {self.world.guard.last_kill}, and no KILL tells of it")

    def hold(self, board: Board) -> None:
        """The daemon's own count of the wallet against the log's, once it has read all of it."""
        if board.row == self.world.log[-1][0] and (counted := dict(board.live.units)) != self._units:
            self.world.complain("29", f"the daemon takes the wallet for {counted}, the log says {self._units}")

    def _check_wallet(self) -> None:
        accounts, wallet = self.world.chain.accounts, self.world.guard.wallet
        if not self.promotions or self._open or self._lost_sight:
            return
        has = {token: accounts.tokens[address].get(wallet, 0) for token, address in ADDRESSES.items()}
        has["gas"] = accounts.coins[wallet]
        beyond = self._beyond
        for tx, receipt in self.world.chain.mined():  # tokens that the live book was never opened with
            if tx.hash in beyond and (token := beyond[tx.hash]["to_token"]) != "USDT":
                has[token] -= self._brought(beyond[tx.hash], receipt)
        if wrong := {token: (held, self._units.get(token, 0)) for token, held in has.items()
                     if held != self._units.get(token, 0)}:  # fmt: skip
            self.world.complain("29", f"the wallet has, and the log says it has: {wrong}")
