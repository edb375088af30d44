"""Endpoints that lie to the guard. One that speaks no JSON-RPC is as good as none; one that tells false numbers may
have something refused, but nothing signed that an honest one beside it would not have let through."""

from __future__ import annotations

from pathlib import Path

import pytest

from protocol.signing import Refused, Signed
from tests.evm.anvil import calldata
from tests.hostile.kinds import KINDS
from tests.hostile.liar import Twist, every, lying, only, raw
from tests.hostile.stand import E18, Stand, answered, signatures

AMOUNTS = calldata("getAmountsOut(uint256,address[])", 0, [])[:10]
BALANCE = calldata("balanceOf(address)", "0x" + "00" * 20)[:10]
LATEST = "eth_getBlockByNumber"
NONSENSE: dict[str, Twist] = {
    "errors in plain words": every(lambda answer: {"id": answer["id"], "error": "too many requests"}),
    "errors as lists": every(lambda answer: {"id": answer["id"], "error": [3, "reverted"]}),
    "nothing": every(lambda answer: {"id": answer["id"], "result": None}),
    "numbers instead of texts": every(lambda answer: {"id": answer["id"], "result": 56}),
    "objects for everything": every(lambda answer: {"id": answer["id"], "result": {}}),
    "lists for everything": every(lambda answer: [answer["id"]]),
    "other ids": every(lambda answer: {**answer, "id": [answer["id"]]}),
    "one error for all": raw(b'{"jsonrpc": "2.0", "id": null, "error": {"code": -32005, "message": "limit"}}'),
    "an abyss of brackets": raw(b"[" * 500_000),
    "a number without end": raw(b'[{"id": 0, "result": 1e999999999}]'),
    "bytes": raw(bytes(range(256))),
    "no amounts": only(AMOUNTS, lambda _: "0x" + f"{32:064x}{0:064x}"),
    "amounts of another shape": only(AMOUNTS, lambda _: "0x" + "ff" * 96),
    "a block without a time": only(LATEST, lambda _: {"number": "0x1"}),
    "a time after all times": only(LATEST, lambda block: {**block, "timestamp": hex(2**70)}),  # type: ignore[dict-item]
    "a time before all times": only(LATEST, lambda block: {**block, "timestamp": hex(-(2**70))}),  # type: ignore[dict-item]
    "a block that is a word": only(LATEST, lambda _: "latest"),
    "a nonce below nothing": only("eth_getTransactionCount", lambda _: "-0x5"),
    "another chain": only("eth_chainId", lambda _: "0x1"),
}
WITH_TIME = {"a time before all times", "a time after all times", "a nonce below nothing"}


def endpoints(folder: Path, *urls: str) -> None:
    config = folder / "guard.toml"
    lines = [line for line in config.read_text().splitlines() if not line.startswith("rpc = ")]
    config.write_text("\n".join([f"rpc = {list(urls)}".replace("'", '"'), *lines]))


@pytest.mark.parametrize("what", NONSENSE)
async def test_an_endpoint_that_talks_nonsense_is_refused_alone(what: str, stand: Stand, folder: Path) -> None:
    with lying(stand.market.chain.url, NONSENSE[what], honest=1) as liar:
        endpoints(folder, liar)
        async with stand.guard(folder) as guard:
            answer = await answered(guard, stand.ask(stand.buy()))
    assert isinstance(answer, Refused), answer
    assert answer.rule == "rpc"
    assert signatures(folder) == {}


@pytest.mark.parametrize("what", NONSENSE)
async def test_an_endpoint_that_talks_nonsense_does_not_cost_the_other_one(
    what: str, stand: Stand, folder: Path
) -> None:
    with lying(stand.market.chain.url, NONSENSE[what], honest=1) as liar:
        endpoints(folder, liar, stand.market.chain.url)
        async with stand.guard(folder) as guard:
            answer = await answered(guard, stand.ask(stand.buy()))
    assert isinstance(answer, Signed), answer
    assert stand.oracle.judge(answer.raw) == []


LIES: dict[str, tuple[Twist, str]] = {
    "there is more": (only(BALANCE, lambda _: f"0x{2**200:064x}"), "an exit of more than there is"),
    "there is more to approve": (only(BALANCE, lambda _: f"0x{2**256 - 1:064x}"), "an approval of a token without end"),
    "it is worth nothing": (only(AMOUNTS, lambda said: said[:-64] + f"{1:064x}"), "any price"),
    "it is later": (only(LATEST, lambda block: {**block, "timestamp": hex(2**33)}), "a far deadline"),  # type: ignore[dict-item]
    "there were fewer": (only("eth_getTransactionCount", lambda _: "0x0"), "a nonce that is behind"),
}


@pytest.mark.parametrize("what", LIES)
async def test_a_lie_beside_the_truth_lets_nothing_through(what: str, stand: Stand, folder: Path) -> None:
    twist, name = LIES[what]
    with lying(stand.market.chain.url, twist) as liar:
        endpoints(folder, liar, stand.market.chain.url)
        async with stand.guard(folder) as guard:
            refused = await answered(guard, KINDS[name].asked(stand))
            assert isinstance(refused, Refused), refused
            assert refused.rule == KINDS[name].rule
            signed = await answered(guard, KINDS[name].asked_well(stand))
    assert isinstance(signed, Signed), signed
    assert stand.oracle.judge(signed.raw) == []


async def test_a_lie_about_the_price_alone_is_believed_and_costs_one_trade_at_most(stand: Stand, folder: Path) -> None:
    """What docs/guard.md says of endpoints that all lie alike, and what the oracle says of it."""
    with lying(stand.market.chain.url, only(AMOUNTS, lambda said: said[:-64] + f"{1:064x}")) as liar:
        endpoints(folder, liar)
        async with stand.guard(folder) as guard:
            signed = await answered(guard, stand.ask(stand.buy(50 * E18, min_out=1)))
    assert isinstance(signed, Signed), signed
    (wrong,) = stand.oracle.judge(signed.raw)
    assert wrong.startswith("pushed: the wallet got ")
