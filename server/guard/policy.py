"""What the guard signs: one table of rules, applied to what a transaction does. Pure.

Default deny: a transaction is signed when every rule of the table has had its say and none said no. A rule is a
function of the Case; it answers with a Finding, or with None where it does not apply or cannot be told without a look
at the chain. The rule `rpc` stands between those that need no such look and those that do, and is broken until there is
one; so the same table says no early where it can, and never says yes blindly.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from math import ceil
from typing import Final

from attrs import frozen

from protocol.money import pct
from protocol.signing import Anchor, Refused, Transaction, Way
from server.guard.books import Books
from server.guard.config import GuardConfig
from server.guard.decode import Action, Approval, Swap, Unreadable

MOST_HOPS: Final = 2
REPLACEMENT: Final = Fraction(11, 10)  # of the gas price, at least: what nodes ask for
MOST_PENDING: Final = 16  # nonces that are signed for and not mined
SURELY_PAST: Final = 60  # seconds behind the chain's newest block, after which no reorg brings a deadline back


@frozen
class Sighting:
    """What the guard itself has seen of the chain. `quote` is the most that any permitted route gives for the swap,
    None where there is no route; `balance` is of the token that is given or approved."""

    time: int
    nonce: int
    balance: int = 0
    quote: int | None = None


@frozen
class Case:
    """Everything that one decision rests on. `tx` is None for a swap that the kit shall make; `replaces` is the last
    transaction that was signed for this intent, if there is one."""

    config: GuardConfig
    wallet: str
    books: Books
    way: Way
    intent: str
    action: Action
    anchor: Anchor
    tx: Transaction | None
    day: str
    seen: Sighting | None = None
    replaces: Transaction | None = None

    @property
    def is_entry(self) -> bool:
        """Does it spend USDT?"""
        return isinstance(self.action, Swap) and self.action.path[:1] == (self.config.usdt.address,)

    @property
    def leads_out(self) -> bool:
        """Does it sell a token, or let that be sold?"""
        if isinstance(self.action, Approval) and self.tx is not None:
            return self.tx.to.lower() != self.config.usdt.address
        return isinstance(self.action, Swap) and not self.is_entry

    @property
    def spend(self) -> int:
        """USDT base units that the caps count: an entry's, once."""
        return self.action.spend if isinstance(self.action, Swap) and self.is_entry and not self.replaces else 0

    @property
    def fees(self) -> int:
        """Wei that it may cost in gas, at most; a replacement's are what it adds, for only one of them is mined."""
        if self.tx is None:
            return 0
        before = self.replaces.gas * self.replaces.gas_price if self.replaces else 0
        return max(0, self.tx.gas * self.tx.gas_price - before)

    @property
    def is_past(self) -> bool:
        """Can it only revert any more? What replaces such a swap does nothing but free its nonce."""
        if not (self.replaces and self.seen and isinstance(self.action, Swap)):
            return False
        return self.action.deadline + SURELY_PAST < self.seen.time


@frozen
class Finding:
    """What a rule found. `reason` is a sentence for the case that it is broken."""

    ok: bool
    measured: str
    limit: str
    reason: str


Rule = Callable[[Case], Finding | None]


def judge(case: Case) -> Refused | None:
    """The first broken rule, or None: it may be signed."""
    return _first_broken(case, rules_for(case))


def rules_for(case: Case) -> tuple[tuple[str, Rule], ...]:
    """All, but for a replacement: what it does was judged when it was signed for, and can be mined whatever is said
    now. It must still be worth it, and within the limits of the gas price; whatever else could hold it up would hold up
    every later nonce, an exit's, too."""
    return tuple(rule for rule in RULES if rule[0] in OF_REPLACEMENTS) if case.replaces else RULES


def judge_repetition(case: Case) -> Refused | None:
    """The same for what was signed already and is asked for again: nothing new comes of it."""
    return _first_broken(case, RULES[:3])


def _first_broken(case: Case, rules: tuple[tuple[str, Rule], ...]) -> Refused | None:
    for name, rule in rules:
        finding = rule(case)
        if finding is not None and not finding.ok:
            return Refused(_named(name, case), finding.reason, finding.measured, finding.limit)
    return None


OF_REPLACEMENTS: Final = frozenset(
    {"way", "kill_switch", "log_anchor", "intent", "replacement", "gas_price", "rpc", "nonce", "deadline", "slippage"}
)


def check(case: Case) -> list[tuple[str, Finding | None]]:
    """What every rule says, for people."""
    return [(name, rule(case)) for name, rule in RULES]


def _named(name: str, case: Case) -> str:
    """What cannot be read breaks the rule that the decoder has named."""
    return case.action.rule if name == "calldata" and isinstance(case.action, Unreadable) else name


# --- about the request


def _way(case: Case) -> Finding | None:
    asked = "local" if case.tx else "twak"
    return Finding(asked == case.way, asked, case.way, f"This guard signs the way {case.way}, not {asked}.")


def _kill_switch(case: Case) -> Finding | None:
    kill = case.books.kill
    since = "" if kill is None else f"killed at {kill.at.isoformat(timespec='seconds')}"
    return Finding(kill is None, since or "armed", "armed", f"The kill switch is on ({since}): nothing is signed.")


def _log_anchor(case: Case) -> Finding | None:
    now, last = case.anchor, case.books.anchors.get(case.anchor.log_id)
    if last is None:
        return Finding(True, f"row {now.row}", "the first of this log", "")
    ok = now.row > last.row or (now.row == last.row and now.hash == last.hash)
    measured, limit = f"row {now.row} ({now.hash[:8]})", f"row {last.row} ({last.hash[:8]}) or later"
    return Finding(ok, measured, limit, "The daemon's log is behind what the guard was shown: it was cut or rewritten.")


def _intent(case: Case) -> Finding | None:
    if case.tx is None:
        known = case.intent in case.books.attempts
        return Finding(not known, "attempted" if known else "new", "new", "This intent was attempted already.")
    old, new = case.replaces, case.tx
    if old is None:
        return Finding(True, "new", "one signature per intent", "")
    differs = [key for key in ("chain_id", "nonce", "to", "value", "data", "gas") if _of(old, key) != _of(new, key)]
    measured = "other " + ", ".join(differs) if differs else "a replacement"
    reason = "This intent was signed for another transaction: only its gas price may change."
    return Finding(not differs, measured, "the same but for gas_price", reason)


def _of(tx: Transaction, key: str) -> object:
    value = getattr(tx, key)
    return value.lower() if isinstance(value, str) else value


def _replacement(case: Case) -> Finding | None:
    if case.replaces is None or case.tx is None:
        return None
    least = ceil(case.replaces.gas_price * REPLACEMENT)
    measured, limit = f"{case.tx.gas_price} wei", f"{least} wei or more"
    return Finding(case.tx.gas_price >= least, measured, limit, "A replacement must raise the gas price by 10 %.")


# --- about the transaction


def _chain_id(case: Case) -> Finding | None:
    if case.tx is None:
        return None
    asked, own = case.tx.chain_id, case.config.chain_id
    return Finding(asked == own, str(asked), str(own), f"The transaction is for chain {asked}, not {own}.")


def _value(case: Case) -> Finding | None:
    if case.tx is None:
        return None
    return Finding(case.tx.value == 0, f"{case.tx.value} wei", "0 wei", "The transaction would send coins along.")


def _calldata(case: Case) -> Finding | None:
    match case.action:
        case Unreadable(reason=reason, measured=measured, limit=limit):
            return Finding(False, measured, limit, reason)
        case Approval():
            return Finding(True, "approve", "swapExactTokensForTokens or approve", "")
        case Swap():
            return Finding(True, "swapExactTokensForTokens", "swapExactTokensForTokens or approve", "")


def _router(case: Case) -> Finding | None:
    router = case.config.router
    match case.action:
        case Swap() if case.tx is not None:
            called, reason = case.tx.to.lower(), "The swap would be made by another contract than the router."
        case Approval(spender=called):
            reason = "The approval is for somebody else than the router."
        case _:
            return None
    return Finding(called == router, called, router, reason)


def _allowlist(case: Case) -> Finding | None:
    config = case.config
    usdt, traded = config.usdt.address, config.traded
    match case.action:
        case Approval() if case.tx is not None:
            token = case.tx.to.lower()
            ok = token == usdt or token in traded
            return Finding(ok, _symbol(case, token), _symbols(case), "The approval is of a token off the allowlist.")
        case Swap(path=path):
            measured = " > ".join(_symbol(case, token) for token in path) or "an empty path"
            limit = f"USDT to or from one of {_symbols(case)}, through {_hops(case)}"
            ends, inner = {path[0], path[-1]} if path else set(), path[1:-1]
            ok = usdt in ends and bool(ends & traded) and len(ends) == 2 and set(inner) <= config.between
            ok = ok and len(inner) <= MOST_HOPS and len(set(inner)) == len(inner)
            return Finding(ok, measured, limit, f"The path {measured} is not allowed.")
        case _:
            return None


def _symbol(case: Case, address: str) -> str:
    named = case.config.by_address.get(address)
    return named[0] if named else address


def _symbols(case: Case) -> str:
    return ", ".join(case.config.tokens)


def _hops(case: Case) -> str:
    return f"at most {MOST_HOPS} of {', '.join(case.config.hops)}" if case.config.hops else "nothing"


def _recipient(case: Case) -> Finding | None:
    if not isinstance(case.action, Swap):
        return None
    to = case.action.to
    return Finding(to == case.wallet, to, case.wallet, "What is bought would go to somebody else's wallet.")


def _gas_price(case: Case) -> Finding | None:
    if case.tx is None:
        return None
    asked, most = case.tx.gas_price, case.config.limits.max_gas_price
    return Finding(0 < asked <= most, f"{asked} wei", f"1 to {most} wei", "The gas price is out of its limits.")


def _gas(case: Case) -> Finding | None:
    """No node takes a transaction with less than its calldata costs. Its nonce would be used up and never mined, and no
    replacement may raise the gas: the guard would be stuck for good, its exits too."""
    if case.tx is None:
        return None
    asked, least, most = case.tx.gas, _least_gas(case.tx.data), case.config.limits.max_gas
    return Finding(least <= asked <= most, str(asked), f"{least} to {most}", "The gas limit is out of its limits.")


def _least_gas(data: str) -> int:
    """What a block asks for before anything runs (EIP-7623, the most that any chain asks)."""
    raw = bytes.fromhex(data.removeprefix("0x"))
    return 21_000 + 40 * len(raw) - 30 * raw.count(0)


def _daily_gas(case: Case) -> Finding | None:
    """All of a day's gas is counted together. What leads out may go on where an entry may not any more, but not without
    end: whoever has the daemon would burn all there is. Replacements are counted and pass; of the nonces that were
    signed for before the cap was reached, MOST_PENDING at most are left to be replaced."""
    if case.tx is None:
        return None
    limits = case.config.limits
    after, most = case.books.fees_on(case.day) + case.fees, limits.exit_fees if case.leads_out else limits.daily_fees
    reason = "The day's gas is spent: with this it could come to more than the cap."
    return Finding(after <= most, f"{after} wei on {case.day}", f"{most} wei", reason)


# --- about the money


def _per_trade_cap(case: Case) -> Finding | None:
    if not isinstance(case.action, Swap) or not case.is_entry:
        return None
    usdt, cap = case.config.usdt, case.config.limits.per_trade_cap
    spend = case.action.spend
    measured, limit = f"{usdt.amount(spend)} USDT", f"{cap} USDT"
    return Finding(spend <= usdt.units(cap), measured, limit, f"The trade of {measured} is over the cap of {limit}.")


def _daily_cap(case: Case) -> Finding | None:
    if not case.spend:
        return None
    usdt, cap = case.config.usdt, case.config.limits.daily_cap
    after = case.books.spent_on(case.day) + case.spend
    measured, limit = f"{usdt.amount(after)} USDT on {case.day}", f"{cap} USDT"
    return Finding(after <= usdt.units(cap), measured, limit, f"With this trade {measured} would be spent of {limit}.")


def _rpc(case: Case) -> Finding | None:
    seen = case.seen is not None
    return Finding(seen, "seen" if seen else "not seen", "seen", "The guard has not seen the chain for itself.")


def _nonce(case: Case) -> Finding | None:
    if case.seen is None or case.tx is None:
        return None
    if case.replaces:
        reason = "The nonce is used up on the chain: there is nothing to replace."
        return Finding(case.tx.nonce >= case.seen.nonce, str(case.tx.nonce), f"{case.seen.nonce} or more", reason)
    highest = case.books.signed_nonce
    own = max(case.seen.nonce, 0 if highest is None else highest + 1)
    return Finding(case.tx.nonce == own, str(case.tx.nonce), str(own), f"The next nonce is {own}.")


def _pending(case: Case) -> Finding | None:
    """What was signed and not mined may still come, all of it at once; and a peer that asks without end is not signed
    for without end."""
    highest = case.books.signed_nonce
    if case.seen is None or case.tx is None or case.replaces or highest is None:
        return None
    pending = max(0, highest + 1 - case.seen.nonce)
    reason = "Too many transactions are signed and not mined: send them again, or replace them."
    return Finding(pending < MOST_PENDING, f"{pending} not mined", f"fewer than {MOST_PENDING}", reason)


def _approval(case: Case) -> Finding | None:
    """USDT: what one trade may spend; a token: what there is of it. So nothing is left to be taken later."""
    if not isinstance(case.action, Approval) or case.tx is None:
        return None
    token, amount = case.tx.to.lower(), case.action.amount
    symbol, kind = case.config.by_address.get(token, (token, case.config.usdt))
    if token == case.config.usdt.address:
        most = kind.units(case.config.limits.per_trade_cap)
    elif case.seen is None:
        return None
    else:
        most = case.seen.balance
    measured, limit = f"{kind.amount(amount)} {symbol}", f"{kind.amount(most)} {symbol}"
    return Finding(amount <= most, measured, limit, "The approval is of more than can be needed.")


def _balance(case: Case) -> Finding | None:
    if case.seen is None or not isinstance(case.action, Swap) or case.replaces:
        return None
    symbol, token = case.config.by_address[case.action.path[0]]
    measured, limit = f"{token.amount(case.action.spend)} {symbol}", f"{token.amount(case.seen.balance)} {symbol}"
    ok = 0 < case.action.spend <= case.seen.balance
    return Finding(ok, measured, limit, f"The wallet has {limit}, the swap would give {measured}.")


def _deadline(case: Case) -> Finding | None:
    if case.seen is None or not isinstance(case.action, Swap) or case.is_past:
        return None
    left, most = case.action.deadline - case.seen.time, case.config.limits.max_deadline_seconds
    reason = "The deadline is too far away." if left > most else "The deadline has passed."
    return Finding(0 < left <= most, f"{left} s from now", f"1 to {most} s", reason)


def _slippage(case: Case) -> Finding | None:
    if case.seen is None or not isinstance(case.action, Swap) or case.is_past:
        return None
    last = case.action.path[-1]
    symbol, token = case.config.by_address.get(last, (last, case.config.usdt))  # taken off the list since
    if case.seen.quote is None:
        return Finding(False, "no quote", "a quote", "No permitted route gives a quote for this.")
    allowed = case.config.limits.slippage_pct
    least = max(1, ceil(case.seen.quote * (1 - Fraction(allowed) / 100)))
    measured = f"{token.amount(case.action.min_out)} {symbol}"
    limit = f"{token.amount(least)} {symbol}, {pct(allowed / 100)} below the guard's own quote"
    reason = f"The swap would take as little as {measured}, less than {limit}."
    return Finding(case.action.min_out >= least, measured, limit, reason)


RULES: Final[tuple[tuple[str, Rule], ...]] = (
    ("way", _way),  # these three hold for a repetition, too
    ("kill_switch", _kill_switch),
    ("log_anchor", _log_anchor),
    ("intent", _intent),
    ("replacement", _replacement),
    ("chain_id", _chain_id),
    ("value", _value),
    ("calldata", _calldata),
    ("router", _router),
    ("allowlist", _allowlist),
    ("recipient", _recipient),
    ("gas_price", _gas_price),
    ("gas", _gas),
    ("daily_gas", _daily_gas),
    ("per_trade_cap", _per_trade_cap),
    ("daily_cap", _daily_cap),
    ("rpc", _rpc),
    ("nonce", _nonce),
    ("pending", _pending),
    ("approval", _approval),
    ("balance", _balance),
    ("deadline", _deadline),
    ("slippage", _slippage),
)
