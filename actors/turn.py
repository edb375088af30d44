"""A turn: what one cause makes happen, committed as one transaction.

The Strategist conducts turns, one at a time: a round of candles is one, a change of config another. While it lasts, the
floors it reaches work on a draft of their state. If the turn is settled, the draft becomes the state; if it dies midway
(any floor may), the next turn begins from the same log position and every draft of the dead one is dropped.
"""

from __future__ import annotations

from typing import Generic, TypeVar

from attrs import define

S = TypeVar("S")


@define(eq=False)
class Turn:
    """`settled` is set by the Journal at the moment it accepts the turn's rows, and by nobody else. A turn that is
    tried again is another turn.

    `journal` is the incarnation of the Journal that it was begun with. Whatever of it reaches a later one, whose log
    may end earlier, is void: mailboxes outlive their readers, turns do not.
    """

    journal: object = None
    settled: bool = False


class Draft(Generic[S]):
    """A floor's state: what the Journal holds, and what the current turn makes of it.

    >>> draft, first, second = Draft(0), Turn(), Turn()
    >>> draft.begin(first); draft.now = 5
    >>> draft.begin(second); draft.now    # the first was never settled
    0
    >>> draft.now = 6; second.settled = True
    >>> draft.begin(Turn()); draft.now
    6
    """

    def __init__(self, settled: S) -> None:
        self._settled = settled
        self._turn = Turn(settled=True)
        self.now = settled

    @property
    def settled(self) -> S:
        """The state without what a turn that is still open has made of it."""
        return self.now if self._turn.settled else self._settled

    def begin(self, turn: Turn) -> None:
        """Called with every message of a turn; does something at the first."""
        if turn is self._turn:
            return
        self._settled = self.now = self.settled
        self._turn = turn
