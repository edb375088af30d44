"""Deaths of single actors, at any of their awaits: an exception raised where the task is parked, by the seed's count of
steps."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import MethodType
from typing import Any, Final

import outcome
import trio
from attrs import evolve, frozen
from trio.lowlevel import Task

from actors.tower import Actor, Desk, Floor, Tower

ACTORS: Final = Path(__file__).parents[2] / "actors"


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

    def doom(self, steps: int, floor: str | None) -> None:
        """After so many steps of actors, one dies: the next of `floor`, or whichever it is."""
        self._due, self._victim = steps, floor

    def spare(self) -> None:
        self._due = None
        self._tasks.clear()

    def watch(self, floor: str, office: str) -> None:
        """The current task is an actor's."""
        task = trio.lowlevel.current_task()
        self._tasks[task] = (floor, office)

    def task_exited(self, task: Task) -> None:
        self._tasks.pop(task, None)

    def after_task_step(self, task: Task) -> None:
        self.on_step()
        if self._due is None or task not in self._tasks:
            return
        floor, office = self._tasks[task]
        self._due -= 1
        if self._due <= 0 and self._victim in (None, floor) and self.may_kill(floor) and self._kill(task):
            self._due = None
            if office == "restoring":
                self._marks["death in restore"] += 1
            self.killed(floor)

    def _kill(self, task: Task) -> bool:
        site = _site(task)
        if site is None:  # it has ended
            return False
        if task._abort_func is not None:
            task._attempt_abort(_raise)
            if task._abort_func is not None:  # it waits for what cannot be given up
                return False
        else:
            task._next_send = outcome.Error(Killed())
        self.sites[site] += 1
        return True


def _site(task: Task) -> str | None:
    """The await of ours that the task is parked at: file:line of the innermost one in `actors/`, or "idle", between two
    messages. None where it has ended."""
    found = None
    for frame, line in task.iter_await_frames():
        found = found or "idle"
        path = Path(frame.f_code.co_filename)
        if "actors" in path.parts[-3:-1] and path.name != "tower.py":  # all asks and mailboxes are in there
            found = f"{path.parent.name}/{path.name}:{line}" if path.parent.name != "actors" else f"{path.name}:{line}"
    return found


def await_sites() -> set[str]:
    """Every await that an actor's task can stand at: those of the floors' actors, and of what they restore by."""
    sites = set()
    for path in [*ACTORS.glob("*/actor.py"), ACTORS / "restoring.py"]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Await):
                prefix = f"{path.parent.name}/" if path.parent != ACTORS else ""
                sites.add(f"{prefix}{path.name}:{node.lineno}")
    return sites


class Haunted:
    """What is known of a haunted tower: which messages its actors have read and were not done with. `again` is told of
    one that is read a second time."""

    def __init__(self, again: Callable[[str, Any], None]) -> None:
        self._again = again
        self._read: dict[tuple[str, int], Any] = {}

    def has_read(self, floor: str, message: Any) -> bool:
        return (floor, id(message)) in self._read

    def read(self, floor: str, message: Any) -> None:
        if self.has_read(floor, message):
            self._again(floor, message)
        self._read[floor, id(message)] = message  # kept, so that no other message has its id

    def done(self, floor: str, message: Any) -> None:
        del self._read[floor, id(message)]


@frozen
class Spell:
    """What becomes of a message that a floor has read: it may never be done with, or kill each time."""

    hangs: Callable[[str, Any], bool]
    poisons: Callable[[str, Any], bool]


def haunt(tower: Tower, reaper: Reaper, spell: Spell, known: Haunted) -> None:
    """From now on the reaper knows the tasks of each new incarnation, and the spell is on them."""

    def haunted(floor: Floor) -> Floor:
        def opened(desk: Desk) -> Actor:
            actor = floor.open(desk)
            _possess(actor, floor.name, reaper, spell, known)
            return actor

        return evolve(floor, open=opened)

    tower._floors = tuple(map(haunted, tower._floors))


def _possess(actor: Actor, floor: str, reaper: Reaper, spell: Spell, known: Haunted) -> None:
    restore, receive, work = actor.restore, actor.receive, actor.work

    async def restoring(_: Actor) -> None:
        reaper.watch(floor, "restoring")
        await restore()
        reaper.watch(floor, "receiving")

    async def receiving(_: Actor, message: Any) -> Any:
        known.read(floor, message)
        if spell.poisons(floor, message):
            raise Killed
        hung = spell.hangs(floor, message)
        if hung and trio.current_time() % 2 < 1:
            await trio.sleep_forever()
        answer = await receive(message)
        if hung:
            await trio.sleep_forever()
        known.done(floor, message)
        return answer

    async def working(_: Actor) -> None:
        reaper.watch(floor, "working")
        await work()

    for name, method in (("restore", restoring), ("receive", receiving), ("work", working)):
        setattr(actor, name, MethodType(method, actor))
