"""The events in receipts and blocks, read strictly: exactly the topics and the bytes that they have, or they are none.
Pure."""

from __future__ import annotations

from typing import Final

from attrs import frozen

from actors.chain.port import Log, PoolEvent, Receipt, Reserves, Swapped, Synced

# keccak-256 of the events' signatures; a test holds them against the library's.
TRANSFER: Final = "0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef"
SYNC: Final = "0x1c411e9a96e071241c2f21f7726b17ae89e3cab4c78be50e062b03a9fffbbad1"
SWAP: Final = "0xd78ad95fa46c994b6551d0da85fc275fe613ce37657fb8d5e3d130840159d822"
_WORD: Final = 32


@frozen
class Transfer:
    """An ERC-20 token moved."""

    token: str
    sender: str
    recipient: str
    amount: int


def transfers(receipt: Receipt) -> tuple[Transfer, ...]:
    """All ERC-20 transfers of a transaction, in their order."""
    return tuple(
        Transfer(log.address, _address(log.topics[1]), _address(log.topics[2]), amount)
        for log in receipt.logs
        if len(log.topics) == 3 and log.topics[0] == TRANSFER
        for amount in _words(log.data, 1)
    )


def gained(receipt: Receipt, token: str, owner: str) -> int:
    """What `owner` got of `token` in all, less what it gave: negative where it gave more."""
    token, owner = token.lower(), owner.lower()
    moved = [transfer for transfer in transfers(receipt) if transfer.token == token]
    return sum(it.amount for it in moved if it.recipient == owner) - sum(
        it.amount for it in moved if it.sender == owner
    )


def swaps(receipt: Receipt, pool: str) -> tuple[Swapped, ...]:
    """The swaps that a transaction made in `pool`."""
    found = (pool_event(log, receipt.block) for log in receipt.logs if log.address == pool.lower())
    return tuple(event for event in found if isinstance(event, Swapped))


def pool_event(log: Log, block: int) -> PoolEvent | None:
    """A pool's Sync or Swap; None where it is no such event."""
    topic = log.topics[0] if log.topics else ""
    if (topic, len(log.topics), len(log.data)) == (SYNC, 1, 2 * _WORD):
        return Synced(log.address, block, log.index, Reserves(*_words(log.data, 2)))
    if (topic, len(log.topics), len(log.data)) == (SWAP, 3, 4 * _WORD):
        return Swapped(log.address, block, log.index, *_words(log.data, 4))
    return None


def _words(data: bytes, count: int) -> tuple[int, ...]:
    """So many unsigned numbers; none where the length is another."""
    if len(data) != count * _WORD:
        return ()
    return tuple(int.from_bytes(data[at : at + _WORD]) for at in range(0, len(data), _WORD))


def _address(topic: str) -> str:
    return "0x" + topic[-40:]
