"""The QuoteVerifier: stands between a wish and its price."""

from __future__ import annotations

from typing import Any

from actors.messages import AdoptConfig, Capture, Verify
from actors.quote_verifier.verify import verify
from actors.restoring import restored
from actors.tower import Actor, Address
from actors.turn import Draft
from protocol.codec import from_plain, to_plain
from protocol.events import ConfigAdopted, Row
from protocol.settings import QuotesConfig

FLOOR = "QuoteVerifier"


def _evolve(limits: QuotesConfig, row: Row) -> QuotesConfig:
    return row.config.quotes if isinstance(row, ConfigAdopted) else limits


class QuoteVerifier(Actor):
    def __init__(self, journal: Address) -> None:
        self._journal = journal
        self._limits: Draft[QuotesConfig]

    async def restore(self) -> None:
        self._limits = Draft(
            await restored(
                self._journal,
                FLOOR,
                QuotesConfig(),
                kinds=(ConfigAdopted,),
                evolve=_evolve,
                thaw=lambda plain: from_plain(plain, QuotesConfig),
            )
        )

    async def receive(self, message: Any) -> Any:
        match message:
            case Verify():
                self._limits.begin(message.turn)
                return verify(message.order, message.tick, self._limits.now, message.at)
            case AdoptConfig():
                self._limits.begin(message.turn)
                self._limits.now = message.config.quotes
                return None
            case Capture():
                return to_plain(self._limits.settled)
            case _:
                raise TypeError(f"the QuoteVerifier does not take {message!r}")
