"""Deaths of single actors, at any of their awaits: an exception raised where the task is parked, by the seed's count of
steps."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import MethodType
from typing import Any, Final

import outcome
import trio
from attrs import evolve, frozen
from trio.lowlevel import Task

from actors.tower import Actor, Desk, Floor, MailboxFull, Tower
from tests.simulation.witness import Witness

ACTORS: Final = Path(__file__).parents[2] / "actors"
IDLE: Final = "idle"  # between two messages


class Killed(Exception):
    """What the seed has an actor die of."""


def _raise() -> Any:
    raise Killed


class Reaper(trio.abc.Instrument):
    """Counts the steps of all tasks. `on_step` is called with each; what it raises is its own fault.

    A task of an actor that is parked is ended through the very hook by which trio cancels one, and one that stands at a
    checkpoint when it goes on. So death can come at every await, shielded or not, and at no other place.
    """

    def __init__(self, marks: Counter[str]) -> None:
        self.on_step: Callable[[], None] = lambda: None
        self.may_kill: Callable[[str], bool] = lambda _: True
        self.killed: Callable[[str], None] = lambda _: None
        self.sites: Counter[str] = Counter()  # where deaths came
        self._marks = marks
        self._tasks: dict[Task, tuple[str, str]] = {}
        self._due: int | None = None  # steps of actors until the next death
        self._victim: str | None = None
        self._place: str | None = None  # an await that one is to die at

    def doom(self, steps: int, floor: str | None) -> None:
        """After so many steps of actors, one dies: the next of `floor`, or whichever it is."""
        self._due, self._victim = steps, floor

    def doom_at(self, place: str) -> None:
        """The next one that waits there dies."""
        self._place = place

    def kill(self, floor: str) -> bool:
        """Whoever of the floor waits for something dies now, where that can be given up. Its work does first: who waits
        for a message may have got it already, and that must not vanish."""
        for task, (name, office) in sorted(self._tasks.items(), key=lambda item: item[1][1] != "working"):
            works = office == "working" and task is not trio.lowlevel.current_task()
            if name == floor and (works or task._abort_func is not None) and self.may_kill(floor) and self._kill(task):
                self.killed(floor)
                return True
        return False

    def spare(self) -> None:
        self._due = self._place = None
        self._tasks.clear()

    def watch(self, floor: str, office: str) -> None:
        """The current task is an actor's."""
        task = trio.lowlevel.current_task()
        self._tasks[task] = (floor, office)

    def task_exited(self, task: Task) -> None:
        self._tasks.pop(task, None)

    def after_task_step(self, task: Task) -> None:
        self.on_step()
        if (self._due is None and self._place is None) or task not in self._tasks:
            return
        floor, office = self._tasks[task]
        if self._is_time(task, floor) and self.may_kill(floor) and self._kill(task):
            self._due = self._place = None
            if office == "restoring":
                self._marks["death in restore"] += 1
            self.killed(floor)

    def _is_time(self, task: Task, floor: str) -> bool:
        if self._place is not None and self._place in _sites(task):
            return True
        if self._due is None:
            return False
        self._due -= 1
        return self._due <= 0 and self._victim in (None, floor)

    def _kill(self, task: Task) -> bool:
        sites = _sites(task)
        if not sites:  # it has ended
            return False
        if task._abort_func is not None:
            task._attempt_abort(_raise)
            if task._abort_func is not None:  # it waits for what cannot be given up
                return False
        else:
            task._next_send = outcome.Error(Killed())
        self.sites.update(sites)
        return True


def _sites(task: Task) -> list[str]:
    """The awaits of ours that the task is parked at, outermost first: file:line in `actors/`, or "idle", between two
    messages. Nothing where it has ended."""
    found, alive = list[str](), False
    for frame, line in task.iter_await_frames():
        alive = True
        if (name := _told(frame.f_code.co_filename)) is not None:
            found.append(f"{name}:{line}")
    return found or [IDLE] * alive


@cache
def _told(file: str) -> str | None:
    """How a file of ours is told; None for any other, and for the tower: all asks and mailboxes are in there."""
    path = Path(file)
    if "actors" not in path.parts[-3:-1] or path.name == "tower.py":
        return None
    return path.name if path.parent.name == ACTORS.name else f"{path.parent.name}/{path.name}"


def await_sites() -> set[str]:
    """Every await that an actor's task can stand at: those of the floors' actors, and of what they restore by."""
    return {
        f"{_told(str(path))}:{node.lineno}"
        for path in [*ACTORS.glob("*/actor.py"), ACTORS / "restoring.py"]
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Await)
    }


def await_site(file: str, source: str) -> str:
    """The first await of the file in `actors/` that reads like this."""
    lines = [line.strip() for line in (ACTORS / file).read_text().split("\n")]
    return f"{_told(str(ACTORS / file))}:{lines.index(source) + 1}"


@frozen
class Spell:
    """What becomes of a message that a floor has read: it may never be done with, or kill each time."""

    hangs: Callable[[str, Any], bool]
    poisons: Callable[[str, Any], bool]


def haunt(tower: Tower, reaper: Reaper, spell: Spell, witness: Witness) -> None:
    """From now on the reaper knows the tasks of each new incarnation, the spell is on them, and the witness sees it."""

    def haunted(floor: Floor) -> Floor:
        def opened(desk: Desk) -> Actor:
            actor = floor.open(desk)
            witness.opened(floor.name)
            _possess(actor, floor.name, reaper, spell, witness)
            return actor

        return evolve(floor, open=opened)

    def posted(floor: int, envelope: Any) -> None:
        witness.sending(tower._floors[floor].name, envelope.message)
        try:
            post(floor, envelope)
        except MailboxFull:
            witness.refused(tower._floors[floor].name, envelope.message)
            raise
        witness.sent(tower._floors[floor].name, envelope.message)

    post = tower.post
    setattr(tower, "post", posted)  # noqa: B010 - a method, for this one tower
    tower._floors = tuple(map(haunted, tower._floors))


def _possess(actor: Actor, floor: str, reaper: Reaper, spell: Spell, witness: Witness) -> None:
    restore, receive, work = actor.restore, actor.receive, actor.work

    async def restoring(_: Actor) -> None:
        reaper.watch(floor, "restoring")
        await restore()
        witness.restored(floor)
        reaper.watch(floor, "receiving")

    async def receiving(_: Actor, message: Any) -> Any:
        witness.read(floor, message)
        if spell.poisons(floor, message):
            raise Killed
        hung = spell.hangs(floor, message)
        if hung and trio.current_time() % 2 < 1:
            await trio.sleep_forever()
        answer = await receive(message)
        if hung:
            await trio.sleep_forever()
        witness.done(floor, message, answer)
        return answer

    async def working(_: Actor) -> None:
        reaper.watch(floor, "working")
        await work()

    for name, method in (("restore", restoring), ("receive", receiving), ("work", working)):
        setattr(actor, name, MethodType(method, actor))
