"""A market out of pools on the chain: rounds of candles that the blocks of one stretch of time make.

A candle is made of every change of the pool's reserves and every swap, out of the blocks' logs, from the block that
the candle before ended with to the last one before its close. So it is the same candle whenever it is read, and however
often this was begun anew. Only blocks that lie deep enough count; where a round was decided on one that the chain has
lost all the same, nothing more is decided until a person has looked at it.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

import trio
from attrs import define, evolve, field, frozen

from actors.chain.bars import Bar, Pool, fed, floor, timely
from actors.chain.port import Block, Chain, Denied, Reserves, Unanswered
from protocol.errors import Outage
from protocol.market import Candle, Gap, NotYet, Observation, Round, Tick
from protocol.settings import ChainSettings
from protocol.times import from_wire, to_wire

log = logging.getLogger("forestay.market")

CATCH_UP: Final = 48  # candles that were missed, and that the indicators are still shown
HISTORY: Final = 1000  # candles of a file that the indicators are shown at first
WORK_SECONDS: Final = 10.0  # after which it says that it still reads
_FRESH: Final = timedelta(seconds=60)  # every endpoint has the state of a block that young


@frozen
class _Closed:
    """Finished candles of one time, and how the pools stood at their last block."""

    at: datetime
    block: Block
    candles: dict[str, Candle]
    bars: dict[str, Bar]


@define
class _Course:
    """How far the blocks after a cursor have been taken in. `block` is the last one; `from_block` the last one of the
    candles before; `closing` the one that those under way end with, once it is known."""

    cursor: Any | None
    after: datetime | None  # the last round
    opened: datetime
    from_block: Block
    block: Block
    bars: dict[str, Bar]
    closing: Block | None = None
    closed: list[_Closed] = field(factory=list)


class ChainMarket:
    """One round per `candle_seconds` of block time, over all pairs. `pinned` names the pools: see `founding`. `history`
    are candles from before, which the first round brings along."""

    def __init__(
        self, chain: Chain, settings: ChainSettings, pinned: dict[str, Any], history: Mapping[str, tuple[Candle, ...]]
    ) -> None:
        decimals = pinned["usdt"]["decimals"]
        self._chain = chain
        self._settings = settings
        self._history = history
        self._pools = [Pool.of(pair, pinned["pools"][pair], decimals) for pair in sorted(pinned["pools"])]
        self._addresses = tuple(pool.address for pool in self._pools)
        self.references: dict[str, str | Pool] = {
            pair: found["feed"] if "feed" in found else Pool.of(pair, found, decimals)
            for pair, found in pinned["references"].items()
        }
        self.pinned = pinned
        self.pairs: tuple[str, ...] = tuple(pool.pair for pool in self._pools)
        self.series: tuple[str, ...] = ()
        self.begins: datetime = from_wire(pinned["begins"])
        self.interval = timedelta(seconds=settings.candle_seconds)
        self._course: _Course | None = None
        self._beginning: _Course | None = None  # as it was where it did not go on from the cursor
        self._not_before = self.begins
        self._handed: tuple[Any | None, Round] | None = None  # the last round, and what it comes after

    @property
    def pools(self) -> dict[str, Pool]:
        """What is traded in, by pair."""
        return {pool.pair: pool for pool in self._pools}

    async def next_round(self, cursor: Any | None, /) -> Round | NotYet | Outage:
        """The newest finished candles, while they may still be decided on; older ones are only seen."""
        try:
            return await self._next(cursor) or NotYet(self._settings.poll_seconds)
        except Unanswered as no:
            return Outage("market", no.reason)

    async def _next(self, cursor: Any | None) -> Round | NotYet | None:
        head = await self._chain.head()
        if self._handed is not None and self._handed[0] == cursor and self._is_timely(self._handed[1].ts, head):
            return self._handed[1]
        deepest = head.number - self._settings.confirmations
        if deepest < 0 or not self._has_work(cursor, head, deepest):
            return None
        settled = await self._block(deepest)
        if self._course is None or self._course.cursor != cursor:
            self._course = await self._resumed(cursor, settled)
        if (course := self._course) is None:
            return None
        until = trio.current_time() + WORK_SECONDS
        while await self._step(course, settled):
            if trio.current_time() >= until:
                return NotYet(0)
        if not course.closed or not self._is_timely(course.closed[-1].at, head):
            return None
        return await self._handed_out(course)

    def _has_work(self, cursor: Any | None, head: Block, deepest: int) -> bool:
        """Can there be anything to read? Most looks at the chain end here."""
        course = self._course
        if course is None or course.cursor != cursor or head.at >= course.opened + self.interval:
            return True
        if course.closed and self._is_timely(course.closed[-1].at, head):
            return True
        return deepest - course.block.number >= self._settings.log_blocks

    def _is_timely(self, closes: datetime, head: Block) -> bool:
        return timely(closes, head.at, self._settings.candle_seconds)

    # --- where to go on

    async def _resumed(self, cursor: Any | None, settled: Block) -> _Course | None:
        """After the cursor; None where there is nothing to begin with yet."""
        now = floor(settled.at, self._settings.candle_seconds)
        begun = self._beginning
        is_recent = begun is not None and begun.cursor == cursor and now - begun.opened <= CATCH_UP * self.interval
        if begun is not None and is_recent and await self._chain.agreed(begun.block.number) == begun.block:
            return evolve(begun, closed=[])
        if cursor is None or cursor["hash"] in self._settings.orphaned:
            return await self._begun(cursor, settled)
        after, block = from_wire(cursor["at"]), Block(cursor["block"], cursor["hash"], from_wire(cursor["seen"]))
        if block.number > settled.number:
            raise Unanswered(
                f"block {block.number}, which the round of {cursor['at']} was decided on, is not "
                f"{self._settings.confirmations} blocks deep: the endpoints lag behind, or confirmations was raised"
            )
        found = await self._chain.agreed(block.number)
        if found != block:
            raise Unanswered(
                f"the chain has lost block {block.number} ({block.hash}), which the round of {cursor['at']} was "
                f"decided on: it is {found.hash} now, a reorganisation deeper than {self._settings.confirmations} "
                f'blocks. Nothing is decided until you accept it: chain.orphaned = ["{block.hash}"]'
            )
        if now - after > CATCH_UP * self.interval:
            return await self._begun(cursor, settled)
        held = {pair: Reserves(int(first), int(second)) for pair, (first, second) in cursor["reserves"].items()}
        bars = {pool.pair: _opened(pool, held[pool.pair]) for pool in self._pools}
        return _Course(cursor, after, after, block, block, bars)

    async def _begun(self, cursor: Any | None, settled: Block) -> _Course | None:
        """With the candles under way, if the pools' state at their opening can still be had; else with the next."""
        opened = floor(settled.at, self._settings.candle_seconds)
        if opened < self._not_before:
            return None
        before = await self._some_block_before(opened, settled)
        if before is None:  # the chain is younger than that
            self._not_before = opened + self.interval
            return None
        last = await self._chain.agreed((await self._last_before(opened, before, settled)).number)
        try:
            bars = {pool.pair: await self._bar(pool, last) for pool in self._pools}
        except Denied as no:
            if settled.at - opened < _FRESH:
                raise
            self._not_before = opened + self.interval
            log.warning("the first candles are those after %s (%s)", to_wire(self._not_before), no.reason)
            return None
        after = None if cursor is None else from_wire(cursor["at"])
        self._beginning = _Course(cursor, after, opened, last, last, bars)
        return evolve(self._beginning, closed=[])

    async def _some_block_before(self, at: datetime, block: Block) -> Block | None:
        """Backwards from `block` in steps that double; None where the chain has none."""
        step, number = 1, block.number
        while block.at >= at:
            if number == 0:
                return None
            number, step = max(0, number - step), 2 * step
            block = await self._block(number)
        return block

    async def _last_before(self, at: datetime, low: Block, high: Block) -> Block:
        """The last block before a time, of which `low` is before it and `high` is not."""
        while high.number - low.number > 1:
            middle = await self._block((low.number + high.number) // 2)
            low, high = (middle, high) if middle.at < at else (low, middle)
        return low

    # --- taking blocks in

    async def _step(self, course: _Course, settled: Block) -> bool:
        """Take in some more blocks, or close the candles under way; False where neither can be done yet. Cancelled or
        failed, it has done nothing."""
        closes = course.opened + self.interval
        if course.closing is None and settled.at >= closes:
            course.closing = await self._last_before(closes, course.block, settled)
        target = course.closing or settled
        due = target.number - course.block.number
        if due <= 0 or (course.closing is None and due < self._settings.log_blocks):
            return course.closing is not None and await self._close(course)
        await self._still_there(course)
        upto = min(target.number, course.block.number + self._settings.log_blocks)
        mark = target if upto == target.number else await self._block(upto)
        try:
            events = await self._chain.pool_events(self._addresses, course.block.number + 1, upto)
        except Denied as no:
            if self._is_timely(closes, settled):
                raise
            # What cannot be had any more is a gap; where rounds wait for it, they would wait for ever.
            log.warning("the blocks from %d to %d cannot be read (%s)", course.block.number + 1, upto, no.reason)
            self._course = await self._begun(course.cursor, settled)
            return False
        course.bars = {pair: bar.after(events) for pair, bar in course.bars.items()}
        course.block = mark
        return True

    async def _close(self, course: _Course) -> bool:
        """The candles under way are finished. One without any block is none: nobody saw its price."""
        closes, block = course.opened + self.interval, course.block
        seconds = self._settings.candle_seconds
        following = await self._block(block.number + 1)
        if block.number > course.from_block.number:
            candles = {pair: bar.candle(closes, seconds) for pair, bar in course.bars.items()}
            course.closed = [*course.closed, _Closed(closes, block, candles, course.bars)][-CATCH_UP:]
        course.opened, course.closing = floor(following.at, seconds), None
        course.from_block, course.bars = block, {pair: bar.next() for pair, bar in course.bars.items()}
        return True

    async def _still_there(self, course: _Course) -> None:
        """What was taken in must lie on the chain still, or all of it is read again from the cursor's block on."""
        if (found := await self._block(course.block.number)) != course.block:
            self._course = None
            raise Unanswered(f"block {found.number} was {course.block.hash}, and is {found.hash} now: it is read again")

    async def _block(self, number: int) -> Block:
        if (found := await self._chain.block(number)) is None:
            raise Unanswered(f"there is no block {number} any more")
        return found

    async def _bar(self, pool: Pool, at: Block) -> Bar:
        """As the pool stands at a block."""
        return _opened(pool, await self._chain.reserves(pool.address, at))

    # --- a round

    async def _handed_out(self, course: _Course) -> Round:
        """The last finished candles as a round, with what the chain's state says beside them at their last block."""
        *older, last = course.closed
        if await self._chain.agreed(last.block.number) != last.block:
            self._course = None
            raise Unanswered(f"block {last.block.number} is another one by now: it is read again")
        ticks, held = {}, {}
        for pool in self._pools:
            bar = last.bars[pool.pair]
            if (await self._bar(pool, last.block)).reserves != bar.reserves:
                self._course = None
                reason = f"its logs of {pool.pair} up to block {last.block.number} and the pool's state differ"
                self._chain.doubt(reason)
                raise Unanswered(f"an endpoint contradicts itself: {reason}")
            reference = await self._reference(pool.pair, last.block)
            ticks[pool.pair] = Tick(last.candles[pool.pair], bar.seen(last.block.at), reference)
            held[pool.pair] = [str(bar.reserves.first), str(bar.reserves.second)]
        bookmark = {
            "at": to_wire(last.at), "block": last.block.number, "hash": last.block.hash,
            "seen": to_wire(last.block.at), "reserves": held,
        }  # fmt: skip
        before = self._seen_before(course, older)
        round = Round(last.at, ticks, bookmark, self._gaps(course, last.at), {}, before)
        self._handed = course.cursor, round
        course.cursor, course.after, course.closed = bookmark, last.at, []
        return round

    async def _reference(self, pair: str, at: Block) -> Observation | None:
        match self.references.get(pair):
            case None:
                return None
            case Pool() as pool:
                return Observation("other pool", (await self._bar(pool, at)).close, at.at)
            case feed:
                return fed(await self._chain.answer(feed, at))

    def _seen_before(self, course: _Course, older: list[_Closed]) -> dict[str, tuple[Candle, ...]]:
        """What the indicators have still to see before this round: what was missed, and at first the history."""
        before = {}
        for pair in self.pairs:
            candles = [closed.candles[pair] for closed in older]
            if course.cursor is None:
                first = min(closed.at for closed in course.closed) - self.interval
                candles = [*(it for it in self._history.get(pair, ()) if it.ts <= first), *candles][-HISTORY:]
            if candles:
                before[pair] = tuple(candles)
        return before

    def _gaps(self, course: _Course, at: datetime) -> tuple[Gap, ...]:
        """What was not decided on since the last round; before the first one, what lies between history and it."""
        gaps = []
        for pair in self.pairs:
            known = self._history.get(pair, ()) if course.cursor is None else ()
            after = known[-1].ts if known else course.after
            missing = 0 if after is None else (at - after) // self.interval - 1
            if after is not None and missing > 0:
                gaps.append(Gap(pair, after, at, missing))
        return tuple(gaps)


def _opened(pool: Pool, reserves: Reserves) -> Bar:
    if (bar := Bar.opened(pool, reserves)) is None:
        raise Unanswered(f"the pool of {pool.pair} ({pool.address}) is empty, or as good as: it has no price")
    return bar
