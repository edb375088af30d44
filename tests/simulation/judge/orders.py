"""Live orders: each from its intent to its one end, signed before it is sent, known before it is mined; and the live
book that follows from them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Final

from tests.simulation.judge.known import Known
from tests.simulation.judge.money import UNITS, Close, divided, text, units
from tests.simulation.judge.report import Line, Plain, Report
from tests.simulation.judge.risk import Gauge, reached, shown
from tests.simulation.judge.turns import Turn

REPLACEMENT: Final = Fraction(11, 10)  # of the gas price, at least
TOLD: Final = {"submitted": "SUBMITTED", "twak_block": "TWAK_BLOCK", "trade": "EXECUTED"}  # by the entry before it
UNSIGNED: Final = frozenset({"lapsed", "moved", "frozen"})


@dataclass(slots=True)
class Order:
    """An open order. `signed` are the transactions of the leg that is under way, which have one nonce."""

    body: Plain
    row: int
    buys: bool
    signed: list[Plain] = field(default_factory=list)
    approved: bool = False
    handed: bool = False
    swapped: Plain | None = None  # the swap that was mined and not reverted
    reverted: bool = False
    gas: int = 0  # units of USDT


class Orders:
    """Follows every live order, and the book and the wallet that they change."""

    def __init__(self, known: Known) -> None:
        self._known = known
        self._report: Report = known.report
        self._open: dict[str, Order] = {}
        self._refs: set[str] = set()
        self._hashes: set[str] = set()
        self._nonces: dict[int, str] = {}  # the order that has signed for it
        self._wallet: dict[str, int] = {}
        self._usdt = 0  # base units of one USDT, as far as the log shows it
        self._unproven: str | None = None  # the promotion whose first trade is still to come
        self._proof: str | None = None  # its hash, which is to be told next
        self._follows: dict[str, Callable[[Turn, int, Line], None]] = {
            "live_opened": self._opened, "intended": self._intended, "submitted": self._submitted,
            "handed_over": self._handed, "mined": self._mined, "trade": self._traded, "given_up": self._given_up,
            "frozen": self._frozen, "flattening": self._flattening, "promotion": self._promoted,
            "status_change": self._moved, "mark": self._marked, "twak_block": self._blocked,
            "quote_rejected": self._rejected, "decided": self._unsold,
        }  # fmt: skip

    def follow(self, turn: Turn) -> None:
        if self._proof is not None and turn.cause != "note" and turn.lines[0].kind != "promotion":
            self._report.say("12", turn.lines[0].row, f"the first trade of a promotion, {self._proof}, is not told")
            self._proof = None
        for number, line in enumerate(turn.lines):
            follows = self._follows.get(line.kind)
            if follows is not None:
                follows(turn, number, line)

    # --- into LIVE and out of it

    def _opened(self, turn: Turn, number: int, line: Line) -> None:
        must, book, body = self._report.must, self._known.live, line.body
        must(turn.has("PROMOTION"), "12", line.row, "the live book is opened by no promotion")
        must(not self._open, "34", line.row, f"{len(self._open)} orders are open: the wallet may change under the book")
        self._wallet = {token: int(amount) for token, amount in body["units"].items()}
        was, equity = book.ledger.equity({}), units(body["equity"])
        says = units(body["before"])
        must(says == was, "34", line.row, f"the live book was worth {text(was)}, not {body['before']}")
        book.ledger.cash = units(body["cash"])
        self._usdt = next((10**d for d in range(37) if _is(self._wallet["USDT"], book.ledger.cash, d)), 0)
        worth = book.ledger.equity({})
        must(worth == equity, "34", line.row, f"the live book opens with {body['equity']}, it is worth {text(worth)}")
        book.gauge = book.gauge.moved(was, equity) if book.opened else Gauge.opened(equity)
        book.opened, book.frozen, book.flattening = True, False, False

    def _promoted(self, turn: Turn, number: int, line: Line) -> None:
        tx_hash, ref = line.body["tx_hash"], line.body["journal_ref"]
        if tx_hash is None:
            self._unproven = ref
            self._report.must(turn.has("live_opened"), "12", line.row, "a promotion that opens no live book")
            return
        told = (tx_hash, ref) == (self._proof, self._unproven)
        self._report.must(told, "12", line.row, f"tells {tx_hash} of {ref}, it should be {self._proof}")
        self._unproven = self._proof = None

    def _moved(self, turn: Turn, number: int, line: Line) -> None:
        if line.body["from"] != "LIVE":
            return
        self._unproven = self._proof = None
        last = "frozen" if turn.has("KILL") else "flattening"
        self._report.must(turn.has(last), "21", line.row, f"out of LIVE, and nothing says {last}")

    def _frozen(self, turn: Turn, number: int, line: Line) -> None:
        self._known.live.frozen, self._known.live.flattening = True, False

    def _flattening(self, turn: Turn, number: int, line: Line) -> None:
        live = self._known.live
        live.frozen, live.flattening = False, bool(live.ledger.positions or self._open)

    def _marked(self, turn: Turn, number: int, line: Line) -> None:
        """The live book at these prices; a limit that is reached demotes in the same turn."""
        if line.body["phase"] != "live":
            return
        known, live = self._known, self._known.live
        closes = {pair: Fraction(price) for pair, price in line.body["prices"].items()}
        equity = live.ledger.equity(closes)
        says = units(line.body["equity"])
        self._report.must(says == equity, "34", line.row, f"the live book is worth {text(equity)}, not {text(says)}")
        live.ledger.settle(closes, line.ts)
        live.gauge.marked(line.ts, equity, known.settings)
        gauge, config = live.gauge, known.settings
        breach = reached(gauge.risk_peak, equity, config.max_drawdown)
        breach = breach or reached(gauge.opening, equity, config.daily_drawdown)
        due = known.status == "LIVE" and breach
        self._report.must(turn.has("demotion") == due, "21", line.row, f"a demotion should follow: {due}")

    # --- an order

    def _intended(self, turn: Turn, number: int, line: Line) -> None:
        must, known, row = self._report.must, self._known, line.row
        body, order = line.body, line.body["order"]
        ref, pair, side, purpose = order["ref"], order["pair"], order["side"], body["purpose"]
        may = known.live.flattening if purpose == "flatten" else known.status == "LIVE"
        must(may, "17", row, f"a live order ({purpose}), the status is {known.status}")
        must(not known.live.frozen, "32", row, "a live order, and all is frozen")
        must(side == {"entry": "buy"}.get(purpose, "sell"), "18", row, f"a {side} as {purpose}")
        in_doubt = any(other.handed and not other.signed for other in self._open.values())
        must(not in_doubt, "31", row, "an order beside one that is in doubt")
        must(ref not in self._refs, "18", row, f"order {ref} was intended, or refused, before")
        must(order["phase"] == "live" and pair not in known.live.ledger.waiting, "18", row, f"a second order of {pair}")
        base = pair.split("/")[0]
        tokens = ("USDT", base) if side == "buy" else (base, "USDT")
        must((body["from_token"], body["to_token"]) == tokens, "34", row, f"a {side} of {pair} swaps {tokens}")
        spend, held = int(body["spend"]), self._wallet.get(tokens[0], 0)
        must(0 < spend <= held, "34", row, f"spends {spend}, the wallet holds {held}")
        must(side == "buy" or spend == held, "34", row, f"sells {spend} of {held}")
        must(int(body["min_received"]) > 0, "33", row, "it would take nothing for what it gives")
        quoted = body["quote"]["order_ref"] == ref and body["quote"]["size_usdt"] == order["size_usdt"]
        must(quoted, "quote", row, "its quote is another order's")
        self._refs.add(ref)
        self._open[ref] = Order(body, row, side == "buy")
        known.report.marks["live order"] += 1

    def _one(self, line: Line) -> Order | None:
        """The open order that this row is of."""
        order = self._open.get(line.body["order_ref"])
        if order is None:
            self._report.say("18", line.row, f"a {line.kind} of {line.body['order_ref']}, which is no open order")
        return order

    def _submitted(self, turn: Turn, number: int, line: Line) -> None:
        must, body, row = self._report.must, line.body, line.row
        self._told(turn, number, line, ("order_ref", "leg", "nonce", "gas_price"))
        if (order := self._one(line)) is None:
            return
        must(body["hash"] not in self._hashes, "27", row, f"{body['hash']} is submitted twice")
        self._hashes.add(body["hash"])
        if order.signed:
            last = order.signed[-1]
            same = (last["leg"], last["nonce"]) == (body["leg"], body["nonce"])
            must(same, "27", row, f"replaces nonce {last['nonce']} ({last['leg']}) with {body['nonce']}")
            dearer = int(body["gas_price"]) >= REPLACEMENT * int(last["gas_price"])
            must(dearer, "27", row, f"replaces {last['gas_price']} wei with {body['gas_price']}")
            self._report.marks["replacement"] += 1
        else:
            owner = self._nonces.setdefault(body["nonce"], body["order_ref"])
            must(owner == body["order_ref"], "27", row, f"nonce {body['nonce']} was signed for {owner}")
            fits = body["leg"] == "swap" or not (order.approved or order.handed)
            must(fits, "27", row, f"a second {body['leg']}")
        order.signed.append(body)

    def _handed(self, turn: Turn, number: int, line: Line) -> None:
        if (order := self._one(line)) is not None:
            fresh = not (order.handed or order.signed or order.approved)
            self._report.must(fresh, "31", line.row, "handed over, and it was begun before")
            self._report.must(not self._known.live.frozen, "32", line.row, "handed over, and all is frozen")
            order.handed = True

    def _mined(self, turn: Turn, number: int, line: Line) -> None:
        must, body, row = self._report.must, line.body, line.row
        if (order := self._one(line)) is None:
            return
        known = any((one["hash"], one["leg"]) == (body["hash"], body["leg"]) for one in order.signed)
        must(known, "26", row, f"{body['hash']} is mined, and was never submitted")
        spent, received, gas = int(body["spent"]), int(body["received"]), int(body["gas_units"])
        order.signed = []
        order.gas += units(body["gas"])
        if body["success"]:
            entry = turn.lines[number - 1] if number else line
            told = entry.type == "CONFIRMED" and all(entry.data[key] == body[key] for key in ("leg", "block", "gas"))
            told = told and (entry.data["tx_hash"], entry.data["order_ref"]) == (body["hash"], body["order_ref"])
            must(told, "12", row, "mined, without its CONFIRMED before it")
        if body["leg"] == "swap" and body["success"]:
            order.swapped = body
            least = int(order.body["min_received"])
            must(received >= least, "33", row, f"brought {received}, the bound was {least}")
            must(spent == int(order.body["spend"]), "33", row, f"took {spent} of {order.body['spend']}")
        else:
            must(spent == received == 0, "34", row, f"moved {spent} and {received}, and was no swap")
            order.approved |= body["success"]
            order.reverted |= not body["success"]
        for token, by in (("gas", -gas), (order.body["from_token"], -spent), (order.body["to_token"], received)):
            self._wallet[token] = self._wallet.get(token, 0) + by

    def _traded(self, turn: Turn, number: int, line: Line) -> None:
        body, row, must = line.body, line.row, self._report.must
        if body["phase"] != "live":
            return
        self._told(turn, number, line, ("order_ref", "pair", "side", "size", "price", "qty", "fees", "pnl"))
        if (order := self._one(line)) is None:
            outside = self._known.status != "LIVE" and not self._known.live.flattening
            must(not outside, "17", row, f"a live trade, the status is {self._known.status}")
            return
        mined = order.swapped
        if mined is None or body["tx_hash"] != mined["hash"]:
            self._report.say("26", row, f"a trade of {body.get('tx_hash')}, which was not mined")
        self._booked(order, line, order.gas)
        if self._unproven is not None:
            self._proof = body["tx_hash"]
        self._ended(body["order_ref"])

    def _booked(self, order: Order, line: Line, gas: int) -> None:
        """Price, fees and result by the definitions, from what was mined; then the book."""
        body, must, live, row = line.body, self._report.must, self._known.live, line.row
        qty, size, fees = (units(body[name]) for name in ("qty", "size", "fees"))
        pair, fee = body["pair"], self._known.settings.fee
        intended = order.body["order"]
        must((pair, body["side"]) == (intended["pair"], intended["side"]), "18", row, "a trade of another order")
        pool = fees - gas
        due = size * fee / (1 - fee) if order.buys else size * fee
        must(abs(pool - due) <= 1, "34", row, f"fees are {fees}, gas is {gas}, the pool's should be {float(due)}")
        if self._usdt and order.swapped:
            moved = round(Fraction(int(order.swapped["spent" if order.buys else "received"]) * UNITS, self._usdt))
            booked = size + pool if order.buys else size - pool
            must(booked == moved, "34", row, f"{booked} units of USDT are booked, {moved} have moved")
        due_price = divided(size * UNITS, qty) if qty else 0
        must(units(body["price"]) == due_price, "34", row, "price is not size / qty")
        if order.buys:
            result = {"hold_s", "return"} & body.keys()
            must(body["pnl"] is None and not result, "34", row, f"a buy has no result: {body['pnl']} {result}")
        elif held := live.ledger.positions.get(pair):
            pnl = size - fees - held.cost
            must(qty == held.qty, "34", row, f"sells {body['qty']} of {held.qty} units")
            must(body["pnl"] is not None and units(body["pnl"]) == pnl, "34", row, f"pnl should be {pnl} units")
            must(body.get("hold_s") == (line.ts - held.opened_at) // 1000, "34", row, "hold_s is not the time held")
            must(body.get("return") == shown(Fraction(pnl, held.cost)), "34", row, "return is not pnl / cost")
            live.gauge.closed(line.ts, pnl, self._known.settings)
        else:
            self._report.say("34", row, f"sells {pair}, which the live book does not hold")
        live.ledger.trade(line, line.ts)
        if order.buys and pair not in live.ledger.closes:
            live.ledger.closes[pair] = Close(Fraction(body["price"]), line.ts, None)

    def _given_up(self, turn: Turn, number: int, line: Line) -> None:
        body, row, must = line.body, line.row, self._report.must
        if (order := self._one(line)) is None:
            return
        code = body["code"]
        before = [other for other in turn.lines[:number] if other.kind != "mined"]
        entry = before[0] if before else line
        blocked = len(before) == 2 and before[1].kind == "twak_block"
        fits = entry.type == ("TWAK_BLOCK" if blocked else "FAILED") and entry.body["id"] == body["entry"]
        fits = fits and entry.data["order_ref"] == body["order_ref"] and code in entry.tags
        must(fits, "12", row, f"given up ({code}), without its entry before it")
        must(order.swapped is None, "28", row, f"given up ({code}), and it was mined")
        must(units(body["gas"]) == order.gas, "34", row, f"its gas was {order.gas} units, not {body['gas']}")
        self._known.live.ledger.cash -= order.gas
        must((code == "reverted") == order.reverted, "28", row, f"given up ({code}), was it reverted: {order.reverted}")
        if blocked or code in UNSIGNED:
            must(not (order.signed or order.handed), "28", row, f"given up ({code}), and what is signed may be mined")
        elif code == "usurped":
            must(bool(order.signed) or order.handed, "28", row, "usurped, and nothing was signed")
            must(turn.has("frozen"), "32", row, "somebody else signs with our key, and nothing is frozen")
        elif code != "reverted":
            must(order.handed, "28", row, f"given up ({code}), and no kit had it")
            for one in order.signed:  # nobody knows it any more, or a person has looked: its nonce may be free
                self._nonces.pop(one["nonce"], None)
        halted = self._known.live.frozen or self._known.live.flattening  # a demotion since sells what is left
        must(code != "frozen" or halted, "28", row, "given up as frozen, and nothing is")
        must(code != "unexplained" or turn.has("frozen"), "32", row, "nobody knows what the kit did: nothing is frozen")
        if body.get("coins") is not None:
            self._wallet["gas"] = int(body["coins"])
        self._ended(body["order_ref"])

    def _ended(self, ref: str) -> None:
        del self._open[ref]
        live = self._known.live
        if not self._open and not live.ledger.positions:
            live.flattening = False

    # --- what clients are told

    def _told(self, turn: Turn, number: int, line: Line, keys: tuple[str, ...]) -> None:
        entry = turn.lines[number - 1] if number else line
        if entry.type != TOLD[line.kind]:
            self._report.say("12", line.row, f"a {line.kind} without its {TOLD[line.kind]} before it")
            return
        for key in keys:
            same = str(entry.data[key]) == str(line.body[key])
            self._report.must(same, "12", line.row, f"{key} is {line.body[key]}, its entry {entry.data[key]}")
        tx_hash = line.body.get("tx_hash", line.body.get("hash"))
        told = entry.data.get("tx_hash") == tx_hash
        self._report.must(told, "12", line.row, f"it is {tx_hash}, its entry {entry.data.get('tx_hash')}")

    def _blocked(self, turn: Turn, number: int, line: Line) -> None:
        self._told(turn, number, line, ("rule", "order_ref", "pair", "side", "size"))

    def _rejected(self, turn: Turn, number: int, line: Line) -> None:
        """Outside a round: a price at which nothing is sold."""
        if turn.cause == "order":
            told = number > 1 and turn.lines[number - 1].kind == "decided"
            same = told and turn.lines[number - 2].data["order_ref"] == line.body["order_ref"]
            self._report.must(same, "12", line.row, "a quote_rejected without its entry before it")

    def _unsold(self, turn: Turn, number: int, line: Line) -> None:
        """Outside a round: what is to be sold is not, this time."""
        if turn.cause != "order":
            return
        must, row, entry, body = self._report.must, line.row, turn.lines[number - 1] if number else line, line.body
        must(self._known.live.flattening, "17", row, "a sale between two rounds, and nothing is to be sold")
        told = entry.type == "SKIPPED" and entry.body["id"] == body["entry"]
        must(told, "12", row, "a sale that came to nothing, without its SKIPPED before it")
        if told:
            says = [entry.data[name] for name in ("pair", "side", "code", "phase")]
            must(says == [body["pair"], "sell", body["code"], "live"], "outcome", row, f"its entry tells {says}")
            fresh = entry.data["order_ref"] not in self._refs
            must(fresh, "18", row, f"order {entry.data['order_ref']} was intended, or refused, before")
            self._refs.add(entry.data["order_ref"])


def _is(amount: int, cash: int, decimals: int) -> bool:
    """Are base units of a token that has so many decimals this cash, to what the ledger knows?"""
    return cash > 0 and abs(amount * UNITS - cash * 10**decimals) <= 10**decimals
