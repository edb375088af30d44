"""The guard as its owner runs it: a process, a socket, a chain that it sees for itself."""

from __future__ import annotations

import signal
from decimal import Decimal

from eth_account import Account

from protocol.signing import (
    GuardStatus,
    ReadGuard,
    Recall,
    Recalled,
    Refused,
    Revoke,
    Revoked,
    Signed,
)
from tests.guard.chain import Chain
from tests.guard.houses import WALLET, StartGuard, entry, sign, transaction


def test_it_signs_what_it_may_and_the_signature_is_the_wallets(chain: Chain, start_guard: StartGuard) -> None:
    guard = start_guard().listening()
    tx = transaction(entry(chain))
    answer = guard.ask(sign("order_1", tx))
    assert isinstance(answer, Signed), answer
    assert Account.recover_transaction(answer.raw).lower() == WALLET
    status = guard.ask(ReadGuard())
    assert isinstance(status, GuardStatus)
    assert (status.spent_today, status.signed_nonce, status.address) == (Decimal(10), 0, WALLET)
    assert guard.ask(Recall("order_1")) == Recalled((answer,))
    killed = guard.ask(Revoke("enough"))
    assert isinstance(killed, Revoked)
    refused = guard.ask(sign("order_2", transaction(entry(chain), nonce=1)))
    assert isinstance(refused, Refused)
    assert refused.rule == "kill_switch"
    assert guard.stop() == 0
    assert "Traceback" not in "".join(guard.errors)
    again = start_guard().listening()
    refused = again.ask(sign("order_1", tx))
    assert isinstance(refused, Refused)
    assert refused.rule == "kill_switch"
    assert again.ask(Recall("order_1")) == Recalled((Signed("", answer.hash),))
    assert again.stop(signal.SIGINT) == 0
