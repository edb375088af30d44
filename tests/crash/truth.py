"""What must be true at the end, whoever died and whatever was lost: the chain, the log and the guard's ledger tell one
story, to the wei."""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from typing import Any

from attrs import frozen

from actors.executor import live as lives
from actors.executor.live import NATIVE, USDT, Live
from actors.journal.store import FILE_NAME, LogReader
from protocol.codec import decode_row
from protocol.events import GivenUp, Intended, JournalEntry, LiveOpened, Mined, Row, Submitted, Trade
from protocol.money import PLACES, ZERO, Units
from server.guard import ledger
from tests.evm.anvil import quantity
from tests.guard.houses import WALLET
from tests.live.stage import Stage
from tests.resilience import evidence


@frozen
class Truth:
    """What was found to agree."""

    rows: list[Row]
    live: Live
    transactions: list[dict[str, Any]]  # of the wallet, as blocks have them

    def of(self, kind: type[Any]) -> list[Any]:
        return [row for row in self.rows if isinstance(row, kind)]

    def entries(self, type: str) -> list[JournalEntry]:
        return [row for row in self.of(JournalEntry) if row.type == type]

    @property
    def trades(self) -> list[Trade]:
        return [trade for trade in self.of(Trade) if trade.phase == "live"]


def told(stage: Stage, *, all_signed_is_known: bool = True) -> Truth:
    """Hold everything against everything. Nobody may be trading any more."""
    with closing(LogReader(stage.folder / "data" / FILE_NAME)) as reader:
        reader.verify()
    logged = evidence.logged(stage.folder / "data")
    seqs = [row.seq for row in logged if row.seq is not None]
    assert seqs == list(range(1, len(seqs) + 1))
    rows = [decode_row(row.body) for row in logged]
    live = Live()
    for row in rows:
        live = lives.evolve(live, row)
    truth = Truth(rows, live, transactions(stage))
    _every_order_ended_once(truth)
    _the_chain_has_what_the_log_says(truth)
    _the_guard_signed_what_the_log_says(truth, stage, all_signed_is_known=all_signed_is_known)
    _the_wallet_has_what_the_ledger_says(truth, stage)
    return truth


def transactions(stage: Stage) -> list[dict[str, Any]]:
    """Every transaction of the wallet that is in any block."""
    chain, found = stage.market.chain, []
    for number in range(chain.block_number + 1):
        block = chain.rpc("eth_getBlockByNumber", hex(number), True)
        found += [tx for tx in block["transactions"] if tx["from"].lower() == WALLET]
    return found


def _every_order_ended_once(truth: Truth) -> None:
    begun = Counter(row.order.ref for row in truth.of(Intended))
    ended = Counter(row.order_ref for row in (*truth.of(GivenUp), *truth.trades))
    assert set(begun.values()) <= {1}, "an order was begun twice"
    assert begun == ended, "an order did not end exactly once"
    assert not truth.live.orders


def _the_chain_has_what_the_log_says(truth: Truth) -> None:
    on_chain = [tx["hash"] for tx in truth.transactions]
    submitted = {row.hash: row for row in truth.of(Submitted)}
    mined = [row.hash for row in truth.of(Mined)]
    assert set(on_chain) <= submitted.keys(), "a transaction that the log does not know"
    assert sorted(mined) == sorted(on_chain), "what is mined, and what the log took for mined"
    per_leg = Counter((submitted[hash].order_ref, submitted[hash].leg) for hash in on_chain)
    assert set(per_leg.values()) <= {1}, "two transactions for one intent"
    assert [quantity(tx["nonce"]) for tx in truth.transactions] == list(range(len(on_chain)))
    for tx in truth.transactions:
        assert quantity(tx["nonce"]) == submitted[tx["hash"]].nonce
    by_hash = {trade.tx_hash: trade for trade in truth.trades}
    for row in truth.of(Mined):
        assert (row.leg == "swap" and row.success) == (row.hash in by_hash)


def _the_guard_signed_what_the_log_says(truth: Truth, stage: Stage, *, all_signed_is_known: bool) -> None:
    books = ledger.read(stage.folder / "guard" / ledger.FILE_NAME)
    granted = {one.signed.hash: intent for intent, all_ in books.granted.items() for one in all_}
    submitted = {row.hash: row for row in truth.of(Submitted)}
    assert submitted.keys() <= granted.keys()
    for hash, row in submitted.items():
        assert granted[hash] == (row.order_ref if row.leg == "swap" else f"{row.order_ref}.approval")
    nonces = [{one.tx.nonce for one in all_} for all_ in books.granted.values()]
    assert all(len(one) == 1 for one in nonces), "one intent signed for two nonces"
    assert len(set.union(set(), *nonces)) == len(nonces), "two intents signed for one nonce"
    if all_signed_is_known:
        assert granted.keys() == submitted.keys(), "something was signed that the log does not know"


def _the_wallet_has_what_the_ledger_says(truth: Truth, stage: Stage) -> None:
    has, units = stage.market.balances(WALLET), truth.live.units
    for token, balance in has.items():
        known = units.get(NATIVE if token == "BNB" else token, Units(0))
        assert balance == known, f"the wallet has {balance} {token}, the ledger {known}"
    for token in ("ETH",):
        held = truth.live.book.positions.get(f"{token}/USDT")
        assert (held is not None) == bool(has[token])
    opened = max(number for number, row in enumerate(truth.rows) if isinstance(row, LiveOpened))
    gas = sum((row.gas for row in truth.rows[opened:] if isinstance(row, Mined)), ZERO)
    off = units[USDT].amount(18) - truth.live.book.cash - gas  # gas is paid in the coin, and booked in USDT
    assert abs(off) <= 2 * PLACES * len(truth.trades), f"the book's cash is {off} off"
    assert truth.live.book.placed == {}
