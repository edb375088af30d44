"""One agent, from its floors up: it runs until it is stopped, and each death in it is journaled."""

from __future__ import annotations

import logging
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Final

from actors.floors import House, floors
from actors.journal.chain import Sealed, seal
from actors.journal.store import DISK_ERRORS, Damaged, LogStore
from actors.messages import Flush, Halt, Note, TellNotes
from actors.tower import MailboxFull, Meltdown, Tower
from protocol.errors import Outage
from protocol.events import JournalEntry
from protocol.orders import named
from protocol.times import from_millis

log = logging.getLogger("forestay")
ROOMS: Final = ("actors", "protocol", "server")


class Agent:
    """The floors of `house` on a tower.

    What this process has to say of its own life (it started, it restarted an actor, it stopped) is noted on the
    house's founding first, and the Strategist journals from there what the log does not hold yet: so a note is told
    whole and once, whatever falls in between.
    """

    def __init__(self, house: House) -> None:
        self._house = house
        self.tower = Tower(floors(house), on_fall=self._fell, incurable=(Damaged,))

    async def run(self) -> None:
        """Run until cancelled. Raises Meltdown, once that is journaled, and Damaged, after which nothing is written."""
        try:
            await self.tower.run()
        except Meltdown as end:
            await self._last_words(end)
            raise

    async def stop(self) -> Outage | None:
        """Begin no further round, finish the one in flight, say STOPPED; answered when all of it is on the disk. Raises
        what asking does, where a floor falls meanwhile; it may be asked again."""
        await self.tower.standing.wait()
        desk, life = self.tower.outside(), self._house.founding.life
        await desk.address("MarketFeed").ask(Halt())
        if life[-1].type != "STOPPED":
            life.append(Note("STOPPED", (), "Stopped in good order.", {}))
        return await desk.address("Strategist").ask(TellNotes()) or await desk.address("Journal").ask(Flush())

    def _fell(self, name: str, cause: BaseException) -> None:
        """Note a restart by the class and the place of its cause, never by its text, which could hold a secret."""
        kind, place = type(cause).__name__, _place(cause)
        text = f"{name} died of {kind} at {place} and was restarted; its state was read back from the log."
        data = {"actor": name, "error": kind, "place": place}
        self._house.founding.life.append(Note("ACTOR_RESTARTED", (name,), text, data))
        with suppress(MailboxFull):  # a full Strategist has a round before it, or falls: either makes it tell
            self.tower.outside().address("Strategist").tell(TellNotes())

    async def _last_words(self, end: Meltdown) -> None:
        """Journal why, past the floors, which have all fallen. A disk that takes no write keeps the reason from the
        log, not the process from ending."""
        cause = end.__cause__ or end
        kind, place = type(cause).__name__, _place(cause)
        text = f"Gave up: {end}, of {kind} at {place}. Nothing is traded; the process ends, to be started anew."
        restarts = dict(sorted(self.tower.restarts.items()))
        data = {"error": kind, "place": place, "restarts": restarts}

        def write() -> Sealed:
            store = LogStore(self._house.log, log_id=self._house.log_id, vfs=self._house.vfs)
            try:
                ts = from_millis(store.head.ts)
                ref = named("jrn", ts, "meltdown", str(store.head.row))
                sealed, _ = seal([JournalEntry(ts, ref, "STOPPED", ("meltdown",), text, data)], store.head)
                store.append(sealed)
                return sealed[0]
            finally:
                store.close()

        try:
            last = await self._house.blocking(write)
        except DISK_ERRORS as error:
            log.error("the log cannot be told why: %s", error)
        else:
            if self._house.board.row == last.row - 1:  # clients that are further behind find it when they come back
                self._house.board.show([(last.row, last.seq, last.body.decode(), last.value)])


def _place(cause: BaseException) -> str:
    """Where in our own code it was raised, or what it passed through last."""
    where = "an unknown place"
    for frame in traceback.extract_tb(cause.__traceback__):
        path = Path(frame.filename)
        if any(room in path.parts for room in ROOMS):
            where = f"{path.parent.name}/{path.name}:{frame.lineno}"
    return where
