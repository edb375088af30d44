"""The decisions of a round: each has one outcome, each outcome its entry, its price and its size by the definitions,
and the risk rules' word."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import floor
from typing import Final

from tests.simulation.judge.known import Known, Round, Rows, objects
from tests.simulation.judge.money import UNITS, Waiting, units
from tests.simulation.judge.quotes import CODES, Quoted, Rejected, evidence, filled, look, moved, too_old
from tests.simulation.judge.repeats import BEFORE_THE_QUOTE, Repeats, source
from tests.simulation.judge.report import Line, Plain, Report, millis
from tests.simulation.judge.risk import LOCKS, shown
from tests.simulation.judge.wishes import Wishes, of_the_live_book

NO_QUOTE: Final = frozenset(CODES.values())
BY_THE_EXECUTOR: Final = frozenset({"dust", "QUOTE_MISMATCH"})


class Decisions:
    """Follows every order from its decision to its one outcome."""

    def __init__(self, known: Known) -> None:
        self._known = known
        self._report: Report = known.report
        self._repeats = Repeats(known.report)
        self._wishes = Wishes(known)
        self._orders: dict[str, str] = {}  # by ref: "waiting", "filled", "refused"
        self._round: Round
        self._place = (0, "")  # how far the round's order of decisions has come

    def follow(self, round: Round, rows: Rows) -> Line | None:
        """Read a round's rows up to its mark, and answer that. Opens come first, then the closes in name order."""
        self._round, self._place = round, (0, "")
        self._wishes.begin()
        gaps = list[Plain]()
        while (line := rows.take()) is not None and line.kind != "mark":
            if line.type == "SKIPPED" and "gap" in line.tags:
                gaps.append(line.data)
            elif of_the_live_book(line):
                self._wishes.follow(line, rows)
            elif line.type == "SKIPPED" and "repeats" in line.tags:
                self._repeats.summed(line)
            else:
                self._outcome(line, rows)
        check_gaps(self._report, round.gaps, gaps, round.row)
        if line is not None:
            self._at_mark(line)
        return line

    def between(self, lines: Sequence[Line]) -> None:
        """Between two rounds: only of the live book is anything told then."""
        for line in lines:
            self._wishes.between(line)

    def _outcome(self, line: Line, rows: Rows) -> None:
        """One outcome, with the rows that belong to it."""
        say = self._report.say
        match line.kind, line.type:
            case _, "EXECUTED":
                if trade := rows.take_if("trade", "journal_ref", line.body["id"]):
                    self._traded(line, trade)
                else:
                    say("12", line.row, "an EXECUTED without its trade directly after it")
            case _, "RISK_VETO":
                if veto := rows.take_if("risk_veto", "journal_ref", line.body["id"]):
                    self._vetoed(line, veto, rows.take_if("decided", "entry", line.body["id"]))
                else:
                    say("12", line.row, "a RISK_VETO without its risk_veto directly after it")
            case _, "SKIPPED":
                if decided := rows.take_if("decided", "entry", line.body["id"]):
                    self._refused(line, decided, rows)
                else:
                    say("outcome", line.row, "a SKIPPED whose decision is not counted")
            case "decided", _ if line.body["entry"] is None:
                self._refused(None, line, rows)
            case "decided", _:
                say("outcome", line.row, f"counts {line.body['entry']}, which is not the entry before it")
            case "placed", _:
                self._placed(line)
            case "trade", _:
                say("18", line.row, "a trade without its EXECUTED entry")
                self._known.ledger.trade(line, line.ts)
            case (("risk_veto" | "quote_rejected" | "status_change"), _):
                say("12", line.row, f"a {line.kind} without its entry before it")
            case _:
                say("round", line.row, f"a {line.type or line.kind} among the decisions of a round")

    # --- where a decision stands

    def _decision(self, pair: str, side: str, ref: str | None, line: Line) -> None:
        """A decision at the close: the only one of its pair, of one that may be decided, in name order."""
        must, ledger = self._report.must, self._known.ledger
        must((1, pair) > self._place, "outcome", line.row, f"{pair} is decided after {self._place[1]}, at one candle")
        self._place = (1, pair)
        must(pair in self._round.ticks, "outcome", line.row, f"{pair} has no candle in this round")
        must(pair not in ledger.waiting, "outcome", line.row, f"{pair} is decided while an order of it waits")
        must((side == "sell") == (pair in ledger.positions), "outcome", line.row, f"a {side} of {pair}, which is "
             + ("held" if pair in ledger.positions else "not held"))  # fmt: skip
        if side == "buy":
            must(pair in self._known.settings.watchlist, "outcome", line.row, f"{pair} is not on the watchlist")
        if ref is not None:
            must(ref not in self._orders, "18", line.row, f"order {ref} was {self._orders.get(ref)} before")

    def _waited(self, pair: str, ref: str, line: Line) -> Waiting | None:
        """The open intent that this row ends; None where it ends none."""
        waiting = self._known.ledger.waiting.get(pair)
        if waiting is None or waiting.order["ref"] != ref:
            return None
        self._report.must((0, pair) > self._place, "outcome", line.row, f"{pair} is filled after {self._place[1]}")
        self._place = (0, pair)
        return waiting

    def _size(self, pair: str, side: str) -> int:
        """What the order is for, in units: a part of equity, or all of the position."""
        ledger, closes = self._known.ledger, self._round.closes
        if side == "sell":
            return ledger.worth(pair, closes) if pair in ledger.positions else 0
        return round(ledger.equity(closes) * self._known.settings.position_size)

    def _look(self, pair: str, side: str) -> Quoted | Rejected:
        tick = self._round.ticks[pair]
        return look(self._known.settings, pair, side, self._size(pair, side), tick, self._round.ts)

    def _passes(self, pair: str, side: str, line: Line) -> None:
        """Nothing that is known objects to this order."""
        if side == "buy" and (no := objects(self._known, self._round.closes, pair, self._size(pair, side), line.ts)):
            self._report.say("22" if no.rule in LOCKS else "veto", line.row, f"{pair} is entered against {no}")

    # --- a yes

    def _traded(self, entry: Line, trade: Line) -> None:
        body, report, ledger = trade.body, self._report, self._known.ledger
        pair, side, ref, data = body["pair"], body["side"], body["order_ref"], entry.data
        for name in ("order_ref", "pair", "side", "size", "price", "qty", "fees", "pnl"):
            report.must(data[name] == body[name], "12", trade.row, f"{name} is {body[name]}, its entry {data[name]}")
        tells = entry.tags == [side, pair] and units(data["swap_fee"]) + units(data["gas"]) == units(body["fees"])
        report.must(
            tells, "12", entry.row, f"tags {entry.tags} and fees {data['swap_fee']} + {data['gas']} of a {side}"
        )
        if body["phase"] == "live":
            report.say("round", trade.row, "a live trade in a round")
            return
        waiting = self._waited(pair, ref, trade)
        late = waiting is None and "filled_at" in body
        report.must(not late, "18", trade.row, f"fills order {ref} at an open, for which it never waited")
        opening = opened_at(self._round.ticks[pair]["candle"]) if waiting else None
        at = millis(body["filled_at"]) if body.get("filled_at") else trade.ts
        report.must(late or at == (opening or trade.ts), "fill", trade.row, f"filled at {body.get('filled_at')}")
        if waiting is not None and opening is not None:
            report.marks["waiting order filled"] += 1
            report.must(self._orders.get(ref) == "waiting", "18", trade.row, f"order {ref} does not wait any more")
            del ledger.waiting[pair]
            size, quote = waiting.size, waiting.quote
            report.must(
                waiting.order["reason"] in entry.body["text"], "12", entry.row, "tells another reason than placed"
            )
            report.must(
                too_old(quote, waiting.verified_at, opening) is None, "quote", trade.row, "filled at an old quote"
            )
            price = moved(Fraction(self._round.ticks[pair]["candle"]["open"]), Fraction(quote["impact_fraction"]), side)
        else:
            self._decision(pair, side, ref, trade)
            size, quote = self._size(pair, side), evidence(data["quote"])
            report.must(self._known.settings.fill_at == "quote", "fill", trade.row, "it should have waited")
            price = self._believed(pair, side, quote, trade)
            self._passes(pair, side, trade)
        self._told_quote(quote, evidence(data["quote"]), entry)
        self._orders[ref] = "filled"
        self._booked(trade, size, price, at)
        self._repeats.traded(pair, trade)

    def _believed(self, pair: str, side: str, quote: Plain, line: Line) -> Fraction:
        """The price of this quote, which the market's own prices must bear out."""
        verdict = self._look(pair, side)
        if isinstance(verdict, Rejected):
            self._report.say("quote", line.row, f"{pair} {side} at a quote that is not to be believed: {verdict}")
            return Fraction(quote["price"])
        if wrong := verdict.differs(quote):
            self._report.say("quote", line.row, f"its quote differs from the market's in {wrong}")
        return verdict.price

    def _told_quote(self, quote: Plain, told: Plain, entry: Line) -> None:
        wrong = [name for name, value in told.items() if quote[name] != value]
        if entry.data["quote"]["divergence_checked"] != (told["divergence_fraction"] is not None):
            wrong.append("divergence_checked")
        self._report.must(not wrong, "quote", entry.row, f"its evidence is another quote's: {wrong}")

    def _booked(self, trade: Line, size: int, quoted: Fraction, at: int) -> None:
        """Price, size, fees and result by the definitions; then the book."""
        body, config, ledger, row = trade.body, self._known.settings, self._known.ledger, trade.row
        must, pair, side = self._report.must, body["pair"], body["side"]
        qty, price, traded, fees = (units(body[name]) for name in ("qty", "price", "size", "fees"))
        due = filled(quoted, config, side)
        must(Fraction(price, UNITS) == due, "fill", row, f"the price is {body['price']}, by the quote {float(due)}")
        must(traded == round(Fraction(qty * price, UNITS)), "34", row, "size is not qty x price")
        must(fees == round(traded * config.fee + config.gas), "34", row, "fees are not the pool's and gas")
        if side == "buy":
            left = size - traded - fees
            must(
                0 <= left <= 2 * Fraction(price, UNITS) * (1 + config.fee) + 5, "fill", row, f"leaves {left} of {size}"
            )
            result = {"hold_s", "return"} & body.keys()
            must(body["pnl"] is None and not result, "34", row, f"a buy has no result: {body['pnl']} {result}")
        elif pair in ledger.positions:
            held = ledger.positions[pair]
            pnl = traded - fees - held.cost
            must(qty == held.qty, "34", row, f"sells {body['qty']} of {held.qty} units")
            must(body["pnl"] is not None and units(body["pnl"]) == pnl, "34", row, f"pnl should be {pnl} units")
            must(body.get("hold_s") == (at - held.opened_at) // 1000, "34", row, "hold_s is not the time held")
            must(body.get("return") == shown(Fraction(pnl, held.cost)), "34", row, "return is not pnl / cost")
            self._known.run.trades += 1
            self._known.run.pnl += pnl
            self._report.marks["cooldown"] += self._known.gauge.closed(trade.ts, pnl, config)
        ledger.trade(trade, at)
        must(ledger.cash >= 0, "34", row, f"{ledger.cash} units of cash are left")

    def _placed(self, line: Line) -> None:
        order, quote, report = line.body["order"], line.body["quote"], self._report
        pair, side, ref = order["pair"], order["side"], order["ref"]
        self._decision(pair, side, ref, line)
        report.must(self._known.settings.fill_at == "next_open", "fill", line.row, "it should have been filled at once")
        self._believed(pair, side, quote, line)
        size, held = self._size(pair, side), self._known.ledger.positions.get(pair)
        report.must(units(order["size_usdt"]) == size, "fill", line.row, f"it should be for {size} units")
        report.must(order["phase"] == "paper", "fill", line.row, "an order of the live book waits in the paper book")
        own = quote["order_ref"] == ref and quote["size_usdt"] == order["size_usdt"]
        report.must(own and millis(quote["verified_at"]) == line.ts, "quote", line.row, "its quote is another order's")
        whole = order["qty"] is None if held is None else order["qty"] is not None and units(order["qty"]) == held.qty
        report.must(whole, "fill", line.row, f"it is for {order['qty']} of {held}")
        self._passes(pair, side, line)
        self._repeats.ended(pair, line)
        self._orders[ref] = "waiting"
        self._known.ledger.waiting[pair] = Waiting(order, quote, size, line.ts, line.row)

    # --- a no

    def _vetoed(self, entry: Line, veto: Line, decided: Line | None) -> None:
        body, data, report = veto.body, entry.data, self._report
        pair, side, rule, ref = body["pair"], body["side"], body["rule"], body["order_ref"]
        for name in ("rule", "order_ref", "pair", "side", "size"):
            report.must(data[name] == body[name], "12", veto.row, f"{name} is {body[name]}, its entry {data[name]}")
        self._decision(pair, side, ref, veto)
        self._orders[ref] = "refused"
        counted = decided is not None and (decided.body["pair"], decided.body["side"], decided.body["code"])
        report.must(
            counted == (pair, side, rule), "outcome", entry.row, f"{pair} {side} {rule} is counted as {counted}"
        )
        told = entry.tags == [rule, pair] and body["reason"] in entry.body["text"]
        report.must(
            told, "12", veto.row, f"{rule}, {body['reason']}: its entry tells {entry.tags} {entry.body['text']}"
        )
        report.must(side == "buy", "veto", veto.row, "an exit was vetoed")
        size = self._size(pair, side)
        report.must(units(body["size"]) == size, "veto", veto.row, f"it should be for {size} units")
        if isinstance(verdict := self._look(pair, side), Rejected):
            report.say("quote", veto.row, f"was judged at a quote that is not to be believed: {verdict}")
        no = objects(self._known, self._round.closes, pair, size, veto.ts)
        if no is None or no.rule != rule:
            report.say("veto", veto.row, f"vetoed by {rule}, what objects is {no}")
        else:
            until = millis(data["until"]) if "until" in data else None
            says = (data["measured"], data["limit"], until)
            right = says == (no.measured, no.limit, no.until)
            report.must(right, "22" if rule in LOCKS else "veto", entry.row, f"tells {says}, counted was {no}")
        self._repeats.told(pair, side, rule, entry, must_fold=False)

    def _refused(self, entry: Line | None, decided: Line, rows: Rows) -> None:
        """A decision that ended in a SKIPPED, told or counted."""
        body, report = decided.body, self._report
        pair, side, code = body["pair"], body["side"], body["code"]
        ref = entry.data["order_ref"] if entry else None
        if entry is not None:
            says = (entry.data["pair"], entry.data["side"], entry.data["code"])
            report.must(says == (pair, side, code), "outcome", decided.row, f"{pair} {side} {code}, its entry {says}")
            report.must(
                entry.tags == [source(code), pair], "outcome", entry.row, f"{code} of {pair}, tagged {entry.tags}"
            )
            if waiting := self._waited(pair, entry.data["order_ref"], decided):
                self._lapsed(waiting, entry, decided)
                self._repeats.told(pair, side, code, entry, must_fold=False)
                return
        self._decision(pair, side, ref, decided)
        if ref is not None:
            self._orders[ref] = "refused"
        if code in NO_QUOTE:
            if rejected := rows.take_if("quote_rejected", "pair", pair):
                self._rejected(entry, decided, rejected)
            else:
                report.say("12", decided.row, f"{code} without its quote_rejected")
        elif code in BEFORE_THE_QUOTE:
            self._before_the_quote(entry, decided)
        elif code in BY_THE_EXECUTOR:
            self._dust(decided, self._size(pair, side), None)
            self._passes(pair, side, decided)
        else:
            report.say("outcome", decided.row, f"a decision that ended in {code!r}")
        if entry is None:
            self._repeats.counted(pair, side, code, decided)
        else:
            self._repeats.told(pair, side, code, entry, must_fold=True)

    def _rejected(self, entry: Line | None, decided: Line, rejected: Line) -> None:
        body, says = rejected.body, decided.body
        pair, report = body["pair"], self._report
        mine = (pair, body["code"]) == (says["pair"], says["code"]) and CODES.get(body["reason"]) == body["code"]
        report.must(mine, "12", rejected.row, f"{pair} {body['code']}, and decided was {says['pair']} {says['code']}")
        self._orders[body["order_ref"]] = "refused"
        verdict = self._look(says["pair"], says["side"])
        numbers = (body["reason"], body["measured"], body["limit"])
        report.must(numbers == verdict, "quote", rejected.row, f"rejected for {numbers}, the market says {verdict}")
        if entry is not None:
            told = (entry.data["order_ref"], entry.data["measured"], entry.data["limit"])
            own = (body["order_ref"], body["measured"], body["limit"])
            same = told == own and body["detail"] in entry.body["text"]
            report.must(same, "12", rejected.row, f"{own} {body['detail']}, its entry {told} {entry.body['text']}")

    def _before_the_quote(self, entry: Line | None, decided: Line) -> None:
        report, config = self._report, self._known.settings
        report.must(decided.body["side"] == "buy", "outcome", decided.row, f"an exit ended in {decided.body['code']}")
        if entry is None or decided.body["code"] != "fee_filter":
            return
        size = self._size(decided.body["pair"], "buy")
        if size > 0:
            cost = 2 * (config.fee + config.slippage + Fraction(config.gas, size))
            limit = shown(config.fee_multiple * cost)
            report.must(entry.data["limit"] == limit, "outcome", entry.row, f"the round trip is {float(limit)}")
            report.must(entry.data["measured"] <= limit, "outcome", entry.row, "it promises what it costs")

    def _lapsed(self, waiting: Waiting, entry: Line, decided: Line) -> None:
        """A waiting order that was not filled: its quote was too old by then, or it came to dust."""
        report, pair, code = self._report, waiting.order["pair"], decided.body["code"]
        report.marks["waiting order refused"] += 1
        self._orders[waiting.order["ref"]] = "refused"
        del self._known.ledger.waiting[pair]
        candle = self._round.ticks[pair]["candle"]
        old = too_old(waiting.quote, waiting.verified_at, opened_at(candle))
        if old is not None or code == "QUOTE_STALE":
            says = (entry.data["measured"], entry.data["limit"])
            right = code == "QUOTE_STALE" and says == old
            report.must(right, "quote", entry.row, f"{code} {says}, its quote was {old}")
        elif code in BY_THE_EXECUTOR:
            self._dust(decided, waiting.size, moved(
                Fraction(candle["open"]), Fraction(waiting.quote["impact_fraction"]), waiting.order["side"]
            ))  # fmt: skip
        else:
            report.say("outcome", entry.row, f"a waiting order ended in {code!r}")

    def _dust(self, decided: Line, size: int, quoted: Fraction | None) -> None:
        """What was called dust must be: a buy that gas would eat, a sale that cash cannot pay for."""
        body, config, ledger, row = decided.body, self._known.settings, self._known.ledger, decided.row
        pair, side = body["pair"], body["side"]
        if body["code"] != "dust":
            self._report.say("quote", row, f"{body['code']}: its own quote does not fit an order")
            return
        if quoted is None:
            verdict = self._look(pair, side)
            if isinstance(verdict, Rejected):
                self._report.say("quote", row, f"dust at a quote that is not to be believed: {verdict}")
                return
            quoted = verdict.price
        price = filled(quoted, config, side)
        if side == "buy":
            qty = floor((size - config.gas) / (1 + config.fee) / price) if price > 0 else 0
            dust = qty <= 0 or round(qty * price * (1 - config.fee)) <= config.gas + 5
        else:
            traded = round(ledger.positions[pair].qty * price)
            dust = ledger.free + traded - round(traded * config.fee + config.gas) < 0
        self._report.must(dust, "fill", row, f"{pair} {side} of {size} units is no dust")

    # --- at the mark

    def _at_mark(self, mark: Line) -> None:
        self._repeats.overdue(mark)
        self._wishes.end(mark)
        for pair, waiting in self._known.ledger.waiting.items():
            if pair in self._round.ticks and waiting.verified_at < mark.ts:
                self._report.say("18", mark.row, f"the order of row {waiting.row} waits beyond the next open of {pair}")


def check_gaps(report: Report, gaps: list[Plain], told: list[Plain], row: int) -> None:
    """Each hole in the market's data has its entry."""
    report.marks["gap"] += len(told)
    report.must(gaps == told, "gap", row, f"the round lacks {gaps}, told are {told}")


def opened_at(candle: Plain) -> int:
    """When a candle opened."""
    return millis(candle["ts"]) - int(candle["seconds"]) * 1000
