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
from protocol.settings import AgentConfig

FLOOR = "QuoteVerifier"


def _evolve(config: AgentConfig | None, row: Row) -> AgentConfig | None:
    return row.config if isinstance(row, ConfigAdopted) else config


class QuoteVerifier(Actor):
    def __init__(self, journal: Address) -> None:
        self._journal = journal
        self._config: Draft[AgentConfig | None]

    async def restore(self) -> None:
        self._config = Draft(
            await restored(
                self._journal,
                FLOOR,
                None,
                kinds=(ConfigAdopted,),
                evolve=_evolve,
                thaw=lambda plain: from_plain(plain, AgentConfig),
            )
        )

    async def receive(self, message: Any) -> Any:
        match message:
            case Verify():
                self._config.begin(message.turn)
                config = self._config.now
                assert config is not None, "every log begins with a config"
                return verify(message.order, message.tick, config, message.at)
            case AdoptConfig():
                self._config.begin(message.turn)
                self._config.now = message.config
                return ()
            case Capture():
                return to_plain(self._config.settled)
            case _:
                raise TypeError(f"the QuoteVerifier does not take {message!r}")
