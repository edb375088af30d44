"""Bugs planted by somebody who had not seen the simulator's checkers: what a person could have written, and would not
have noticed in a run that nothing happens to.

In `why`: the mistake's reason, then what has to happen for it to be seen.
"""

from __future__ import annotations

from typing import Final

from tests.simulation.planted import Bug

TOWER: Final = (
    Bug(
        "full-mailbox-drops",
        "38",
        "actors/tower.py",
        """\
            raise MailboxFull(f"{self._floors[floor].name} holds {self._floors[floor].capacity}") from None""",
        """\
            log.warning("%s holds %d, one more is dropped", self._floors[floor].name, self._floors[floor].capacity)""",
        "A warning was thought kinder than an exception in the sender. Seen when a mailbox is full: a stuck reader, "
        "many senders.",
    ),
    Bug(
        "cancelled-message-is-queued-again",
        "35",
        "actors/tower.py",
        "            envelope.settle(outcome.Value(await actor.receive(envelope.message)))\n",
        """\
            try:
                envelope.settle(outcome.Value(await actor.receive(envelope.message)))
            except trio.Cancelled:  # it was an older floor's fault: the next incarnation takes it up again
                self.post(index, envelope)
                raise
""",
        "A message that fell with an older floor seemed worth keeping. Seen when an older floor dies while a younger "
        "one handles a message, or when a stuck one is ended.",
    ),
    Bug(
        "fallen-asker-is-not-told",
        "35",
        "actors/tower.py",
        "        except BaseException:  # an older floor has fallen, or all are stopped\n"
        "            self._settle_at_hand(index)\n            raise\n",
        "",
        "Who falls with an older floor did not die itself. Seen when an older floor dies while a younger one handles "
        "an ask from outside (a config change, a stop): it is answered after its deadline instead of at once.",
    ),
    Bug(
        "mailbox-falls-with-its-reader",
        "35",
        "actors/tower.py",
        """\
        actor = floor.open(Desk(self, index))
""",
        """\
        actor = floor.open(Desk(self, index))
        self._boxes[index] = trio.open_memory_channel[_Envelope](floor.capacity)  # a fresh one for a fresh actor
""",
        "A clean start was thought to need a clean mailbox. Seen when a floor falls while messages wait for it.",
    ),
    Bug(
        "youngest-silent-floor-is-ended",
        "40",
        "actors/tower.py",
        "            for index, (reading, beat) in enumerate(zip(self._reading, self._beats, strict=True)):",
        "            for index, (reading, beat) in [*enumerate(zip(self._reading, self._beats, strict=True))][::-1]:",
        "The youngest was taken for the one to blame, as in every other fall. Seen when an older floor hangs while a "
        "younger one waits for it: the one that hangs is let be.",
    ),
    Bug(
        "waiting-messages-count-as-life",
        "40",
        "actors/tower.py",
        """\
            for outbox, _ in self._boxes:
                if not outbox.statistics().current_buffer_used:  # what waits there shows life as well as a ping
                    outbox.send_nowait(_PING)""",
        """\
            for index, (outbox, _) in enumerate(self._boxes):
                if outbox.statistics().current_buffer_used:  # what waits there shows life as well as a ping
                    self._beats[index] = trio.current_time()
                else:
                    outbox.send_nowait(_PING)""",
        "The comment was taken at its word. Seen when an actor neither answers nor dies.",
    ),
    Bug(
        "silence-of-the-liveliest",
        "40",
        "actors/tower.py",
        "        return trio.current_time() - min(self._beats)",
        "        return trio.current_time() - max(self._beats)",
        "The last sign of life of anybody was taken for that of all. Seen when one actor hangs and the agent's "
        "last_heartbeat is looked at before it is ended.",
    ),
    Bug(
        "abandoned-asker-is-woken",
        "39",
        "actors/tower.py",
        """\
            def abandon(_: Any) -> trio.lowlevel.Abort:
                self._asker = None
                return trio.lowlevel.Abort.SUCCEEDED""",
        """\
            def abandon(_: Any) -> trio.lowlevel.Abort:
                return trio.lowlevel.Abort.SUCCEEDED""",
        "A clean-up that looks idle. Seen when an ask is cancelled and its message is answered later: a floor falls "
        "while it asks, a client leaves.",
    ),
    Bug(
        "a-floor-may-ask-itself",
        "37",
        "actors/tower.py",
        "        if self._asker <= self._floor:",
        "        if self._asker < self._floor:",
        "Off by one in the one check that keeps waiting free of circles. Seen only when an actor asks its own floor, "
        "which none of ours does: the tower's own rule has to be tried.",
    ),
    Bug(
        "second-restart-is-not-counted",
        "36",
        "actors/tower.py",
        "        self.restarts[name] += 1",
        "        self.restarts[name] = 1",
        "A slip in a counter. Seen when the same floor dies twice and the count is held against what was injected.",
    ),
    Bug(
        "old-deaths-are-never-forgotten",
        "36",
        "actors/tower.py",
        "        while self._deaths[0] < now - self._window:",
        "        while len(self._deaths) > self._deaths_allowed + 1:",
        "The deque was bounded by its length instead of by time. Seen when more actors than a meltdown takes die far "
        "apart in one process: it gives up though nothing is wrong.",
    ),
    Bug(
        "draft-of-a-dead-turn-is-kept",
        "39",
        "actors/turn.py",
        "        self._settled = self.now = self.settled",
        "        self._settled = self.settled",
        "The turn before is thought to be settled always. Seen when a turn dies midway, or the disk refuses it, after "
        "a floor that survives has changed its draft.",
    ),
    Bug(
        "damaged-log-is-cured-by-restarts",
        "4",
        "actors/agent.py",
        "on_fall=self._fell, incurable=(Damaged,))",
        "on_fall=self._fell)",
        "Damage was left to the supervisor as any other death. Seen when the log is damaged under a running agent and "
        "its Journal restarts: a meltdown, and last words written to it, instead of quarantine.",
    ),
    Bug(
        "last-words-on-a-damaged-log",
        "5",
        "actors/agent.py",
        "        except Meltdown as end:",
        "        except (Meltdown, Damaged) as end:",
        "Every end was thought to deserve its reason in the log. Seen when the log is damaged: it is written to "
        "though it did not verify.",
    ),
    Bug(
        "stopped-is-said-at-each-try",
        "5",
        "actors/agent.py",
        """\
        if life[-1].type != "STOPPED":
            life.append(Note("STOPPED", (), "Stopped in good order.", {}))""",
        """\
        life.append(Note("STOPPED", (), "Stopped in good order.", {}))""",
        "Stopping was thought to be asked once. Seen when a floor falls during the stop and it is asked again.",
    ),
    Bug(
        "attempts-fall-with-the-feed",
        "35",
        "actors/floors.py",
        "            attempts,\n",
        "            Counter(),\n",
        "Each incarnation was given its own counter. Seen when a round kills each time it is tried: it is never "
        "passed.",
    ),
    Bug(
        "halt-falls-with-the-feed",
        "39",
        "actors/floors.py",
        "            halted,\n",
        "            trio.Event(),\n",
        "Each incarnation was given its own event. Seen when the feed, or a floor under it, dies after it was halted "
        "and before the end: rounds are decided after the farewell.",
    ),
    Bug(
        "blocking-calls-are-abandoned",
        "39",
        "actors/ports.py",
        "        return await trio.to_thread.run_sync(call, limiter=limiter)",
        "        return await trio.to_thread.run_sync(call, limiter=limiter, abandon_on_cancel=True)",
        "Meant to make shutdown quick. Seen with real threads only: the Journal falls during a commit, and the old "
        "thread writes on beside the new incarnation.",
        test="tests/actors/test_journal.py::test_a_blocking_call_is_waited_for_whatever_happens",
    ),
)

JOURNAL: Final = (
    Bug(
        "announced-before-the-commit",
        "10",
        "actors/journal/actor.py",
        "            await self._blocking(lambda: self._store.append(batch, checkpoint, MAKER))",
        """\
            self._unannounced = list(batch)
            self._announce()
            await self._blocking(lambda: self._store.append(batch, checkpoint, MAKER))""",
        "The fsync's time was to be saved; announcing twice does no harm. Seen when the commit fails, or the power "
        "goes during it, and a client already has the frame.",
    ),
    Bug(
        "board-shows-what-is-accepted",
        "10",
        "actors/journal/actor.py",
        """\
        self._pending += sealed
        if sealed:""",
        """\
        self._pending += sealed
        self._unannounced += sealed
        self._announce()
        if sealed:""",
        "Accepted was taken for committed. Seen when the power goes before the commit and a client already has the "
        "frame.",
    ),
    Bug(
        "rows-of-a-dead-turn-are-kept",
        "3",
        "actors/journal/actor.py",
        "            self._turn, self._draft = turn, []",
        "            self._turn = turn",
        "Settling empties the draft, so why empty it again. Seen when a turn dies after its first rows were appended "
        "and the Journal survives: they are settled with the next turn.",
    ),
    Bug(
        "accepts-through-an-outage",
        "6",
        "actors/journal/actor.py",
        """\
        if self._outage is not None:
            return self._outage
        sealed""",
        """\
        sealed""",
        "What is accepted is kept until the disk is back, so nothing seemed to speak against accepting more. Seen "
        "when the disk is full for some rounds: deciding goes on.",
    ),
    Bug(
        "settled-before-it-is-accepted",
        "39",
        "actors/journal/actor.py",
        """\
        self._append(message.turn, message.rows)
        if self._outage is not None:""",
        """\
        self._append(message.turn, message.rows)
        message.turn.settled = True
        if self._outage is not None:""",
        "The mark went to the top of the function. Seen when the disk refuses a turn that changed something: the "
        "floors keep what the log does not have.",
    ),
    Bug(
        "places-given-to-refused-rows",
        "1",
        "actors/journal/actor.py",
        """\
        if self._outage is not None:
            return self._outage
        sealed, self._head = seal(self._draft, self._head)
        self._draft = []""",
        """\
        sealed, self._head = seal(self._draft, self._head)
        self._draft = []
        if self._outage is not None:
            return self._outage""",
        "Sealing went before the check. Seen when the disk refuses a turn: its places are never filled.",
    ),
    Bug(
        "flush-waits-for-one-commit",
        "2",
        "actors/journal/actor.py",
        """\
        await self._until_pending(0)
        return self._outage""",
        """\
        if self._pending and self._outage is None:  # a commit takes all that is pending
            await self._progress.wait()
        return self._outage""",
        "Rows accepted while a commit is under way are in the next one. Seen when Flush comes during a commit and the "
        "power goes right after its answer.",
    ),
    Bug(
        "stop-waits-for-a-full-disk",
        "6",
        "actors/journal/actor.py",
        "        while len(self._pending) > rows and self._outage is None:",
        "        while len(self._pending) > rows:",
        "A wait for rows that cannot be written. Seen when the disk is full for longer than a floor may be silent "
        "while somebody flushes, or much is pending.",
    ),
    Bug(
        "checkpoint-under-the-committed-row",
        "22",
        "actors/journal/actor.py",
        "Checkpoint(self._head.row, message.states)",
        "Checkpoint(self._store.head.row, message.states)",
        "The head of the log was taken from the disk, the states are of what is accepted. Seen after a restart from a "
        "checkpoint that was taken while rows were pending: they are folded twice.",
    ),
    Bug(
        "restored-from-the-disk-only",
        "22",
        "actors/journal/actor.py",
        """\
        rest = [s for s in self._pending if s.row > max(message.after, committed) and s.kind in message.kinds]
        return (rest[-1].row if rest else 0), [s.value for s in rest]""",
        """\
        return 0, []""",
        "What is not on the disk was thought to be no part of the log yet. Seen when a floor dies while accepted rows "
        "wait for their commit and the Journal survives.",
    ),
    Bug(
        "failed-commit-is-retried-on-the-same-handle",
        "7",
        "actors/journal/actor.py",
        """\
        await trio.sleep(RETRY_SECONDS)
        await self._reopen()
        # What failed""",
        """\
        await trio.sleep(RETRY_SECONDS)
        # What failed""",
        "SQLite has rolled back, so trying again seemed enough. Seen when an fsync fails and what it should have "
        "written is not on the disk, though it can be read.",
    ),
    Bug(
        "outage-ends-when-the-log-opens",
        "6",
        "actors/journal/actor.py",
        """\
        if not self._pending:
            self._show(None)""",
        """\
        self._show(None)""",
        "A log that can be opened was thought to be one that can be written. Seen when the disk is full for some "
        "rounds: each retry lets one more round be decided.",
    ),
    Bug(
        "failed-commit-is-taken-for-undone",
        "7",
        "actors/journal/actor.py",
        "        done = [s for s in self._pending if s.row <= self._store.head.row]",
        "        done: list[Sealed] = []",
        "A commit that raised was thought to have written nothing. Seen when a commit is on the disk though its fsync "
        "failed: the Journal dies where it should have gone on.",
    ),
    Bug(
        "restart-verifies-nothing",
        "4",
        "actors/journal/actor.py",
        "        return self._store.verify(latest.row if latest else 0)",
        "        return self._store.verify(self._store.head.row)",
        "What this process wrote itself was not to be read again. Seen when bits flip, or a row goes, before the "
        "Journal opens the log.",
    ),
    Bug(
        "busy-broadcaster-ends-the-journal",
        "36",
        "actors/journal/actor.py",
        """\
        try:
            self._broadcaster.tell(Committed(tuple(self._unannounced)))
        except MailboxFull:
            return
        self._unannounced = []""",
        """\
        self._broadcaster.tell(Committed(tuple(self._unannounced)))
        self._unannounced = []""",
        "Telling was thought never to fail. Seen when the Broadcaster hangs until its mailbox is full: the oldest "
        "floor falls because of the youngest.",
    ),
    Bug(
        "turns-are-cut-between-commits",
        "3",
        "actors/journal/actor.py",
        "        return self._pending[: end - first + 1]",
        "        return self._pending[: min(end - first + 1, 20)]",
        "Short transactions were thought to be kinder to readers. Seen when more than twenty rows wait and the "
        "power goes between two commits: the first part of a turn is there.",
    ),
    Bug(
        "end-of-a-void-turn-counts",
        "3",
        "actors/journal/actor.py",
        "            case Append() | Settle() if message.turn.journal is not self:",
        "            case Append() if message.turn.journal is not self:",
        "Rows are what was thought to be void, not an end. Seen when the Journal dies in the midst of a turn whose "
        "Settle then reaches the next incarnation, by the mailbox that outlives both: the turn's last rows are "
        "settled without its first.",
    ),
    Bug(
        "slow-disk-is-no-outage",
        "6",
        "actors/journal/actor.py",
        "SLOW_SECONDS: Final = 5.0",
        "SLOW_SECONDS: Final = 15.0",
        "A patient constant, longer than the tower's own patience. Seen when a commit takes more than ten seconds "
        "while somebody waits for it: the Journal is ended as stuck where it should have shown an outage.",
    ),
    Bug(
        "checkpoint-of-a-lost-head",
        "22",
        "actors/journal/actor.py",
        "                if message.turn is self._turn:",
        "                if message.turn.settled:",
        "Only what was settled is asked to be kept, so the turn seemed to need no other look. Seen when the Journal "
        "dies with the SaveCheckpoint still in its mailbox and the turn before it uncommitted: the next incarnation "
        "keeps those states under a row that has not seen them.",
    ),
    Bug(
        "commit-without-fsync",
        "2",
        "actors/journal/store.py",
        '"synchronous", "full"',
        '"synchronous", "normal"',
        "In WAL mode `normal` is what every guide recommends. Seen when the power goes and takes unsynced writes back.",
    ),
    Bug(
        "rewritten-wal-is-not-synced",
        "7",
        "actors/journal/store.py",
        """\
        if size:
            file.xSync(apsw.SQLITE_SYNC_NORMAL)
    finally:""",
        """\
    finally:""",
        "The next commit syncs the same file. Seen when an fsync fails, the rows are found in the reopened log and "
        "announced, and the power goes before another commit.",
    ),
    Bug(
        "rows-of-another-are-replaced",
        "8",
        "actors/journal/store.py",
        '_INSERT: Final = "INSERT INTO log (row',
        '_INSERT: Final = "INSERT OR REPLACE INTO log (row',
        "A commit tried again was not to trip over its own rows. Seen when two writers have one log: each overwrites "
        "the other's rows without noticing.",
        test="tests/actors/test_chain_and_store.py::test_of_two_writers_the_one_that_comes_late_changes_nothing",
    ),
    Bug(
        "facts-are-not-verified",
        "4",
        "actors/journal/store.py",
        "            digest = link(digest, row, own_seq, body)",
        "            digest = link(digest, row, own_seq, body) if own_seq else stored",
        "Only what clients see was thought to need proof. Seen when a bit of a fact flips (a mark, a round, a config).",
    ),
    Bug(
        "unreadable-page-ends-the-log",
        "4",
        "actors/journal/store.py",
        '        raise Damaged(row + 1, seq + 1, f"SQLite cannot read it: {error}") from None',
        """\
        _ = error  # the tail is torn: the log ends before it
        return row""",
        "A torn tail was to be survived. Seen when a page of the file is damaged such that SQLite itself refuses it.",
        test="tests/actors/test_chain_and_store.py::test_a_page_that_sqlite_cannot_read_is_damage",
    ),
    Bug(
        "log-frames-from-since-itself",
        "11",
        "actors/journal/store.py",
        "_seq_at(self._db, row) > after",
        "_seq_at(self._db, row) >= after",
        "Off by one. Seen by a client that comes back with a seq which the board no longer reaches: after a restart "
        "of the process, or far behind.",
    ),
    Bug(
        "seq-before-a-fact-is-nothing",
        "11",
        "actors/journal/store.py",
        """\
        return _seq_at(self._db, row)
""",
        """\
        query = "SELECT seq FROM log WHERE row <= ? ORDER BY row DESC LIMIT 1"
        return self._db.execute(query, (row,)).get or 0
""",
        "Facts have no seq. Seen when a process starts from a checkpoint behind which there is no event yet, and a "
        "client connects without since: it is sent everything.",
    ),
    Bug(
        "log-that-does-not-open-kills",
        "6",
        "actors/journal/store.py",
        "DISK_ERRORS: Final = (apsw.FullError, apsw.IOError, apsw.ReadOnlyError, apsw.CantOpenError, apsw.BusyError)",
        "DISK_ERRORS: Final = (apsw.FullError, apsw.IOError, apsw.ReadOnlyError, apsw.BusyError)",
        "One of the ways in which a disk says no was forgotten. Seen when the log cannot be opened for a while: a "
        "meltdown instead of an outage.",
    ),
)

STRATEGIST: Final = (
    Bug(
        "notes-are-counted-anew",
        "5",
        "actors/strategist/actor.py",
        """\
        if self._founding.told is None:
            self._founding.told = self._memory.mind.notes""",
        """\
        self._founding.told = self._memory.mind.notes""",
        "The count was thought to be the incarnation's. Seen when the Strategist restarts within a process: STARTED "
        "and every ACTOR_RESTARTED are told again.",
    ),
    Bug(
        "log-without-a-round-is-founded-again",
        "5",
        "actors/strategist/actor.py",
        "        while self._memory.mind.version == 0 and await self._found():",
        "        while self._memory.mind.cursor is None and await self._found():",
        "A log without a round looks empty. Seen when the process, or the Strategist, dies before the first round is "
        "settled.",
    ),
    Bug(
        "mind-moves-before-the-turn-is-accepted",
        "6",
        "actors/strategist/actor.py",
        """\
        if outage := await self._settle(turn, last):
            return outage
        memory.mind = changed(memory.mind.after(last), outcomes=paper.outcomes, live_outcomes=live.outcomes)
        self._books = books""",
        """\
        memory.mind = changed(memory.mind.after(last), outcomes=paper.outcomes, live_outcomes=live.outcomes)
        self._books = books
        if outage := await self._settle(turn, last):
            return outage""",
        "Remembering went before settling. Seen when the disk refuses a round: tried again, it seems to be an old one.",
    ),
    Bug(
        "round-out-of-order-is-taken",
        "35",
        "actors/strategist/actor.py",
        "            case ConductRound() | SkipRound() if message.after != self._memory.mind.cursor:",
        "            case SkipRound() if message.after != self._memory.mind.cursor:",
        "The feed was thought to know where the log is. Seen when a round waits in the mailbox while the Journal "
        "falls with the round before it uncommitted: the later one is decided, the earlier one never.",
    ),
    Bug(
        "cursor-in-another-transaction",
        "3",
        "actors/strategist/actor.py",
        """\
        if outage := await self._settle(turn, last):
            return outage
        memory.mind = changed""",
        """\
        if outage := await self._settle(turn) or await self._settle(self._begin(), last):
            return outage
        memory.mind = changed""",
        "The market's bookmark was thought to be no part of the decision. Seen when a commit, and then the power's "
        "end, or an outage, falls between the two: the round is decided twice.",
    ),
    Bug(
        "breach-in-a-second-transaction",
        "21",
        "actors/strategist/actor.py",
        "        books = await self._executor.ask(CloseRound(turn, round))",
        """\
        if outage := await self._settle(turn):  # the fills count from here on, whatever the mark leads to
            return outage
        turn = self._begin()
        books = await self._executor.ask(CloseRound(turn, round))""",
        "Trades were to be safe as soon as possible. Seen when a crash falls between a trade and the mark, breach and "
        "cursor that belong to it.",
    ),
    Bug(
        "change-is-told-before-it-is-made",
        "12",
        "actors/strategist/actor.py",
        """\
        turn = self._begin()
        self._append(turn, entry)
        return await self._adopt(""",
        """\
        if outage := await self._settle(self._begin(), entry):
            return outage
        turn = self._begin()
        return await self._adopt(""",
        "The entry was settled on its own. Seen when a crash or an outage falls between the CONFIG_CHANGE entry and "
        "the config with its status_change; the entry's version is then told and was never adopted.",
    ),
    Bug(
        "quote-limits-stay-the-old-ones",
        "24",
        "actors/quote_verifier/actor.py",
        "                self._config.now = message.config",
        "                self._config.now = self._config.now or message.config",
        "A default became a condition. Seen when the quote limits or the paper model are changed: this floor alone "
        "goes by the old ones, until it restarts.",
    ),
    Bug(
        "config-at-the-machines-time",
        "9",
        "actors/strategist/actor.py",
        "        return await self._adopt(turn, ConfigAdopted(mind.ts, version, asked.config)) or version",
        """\
        now = max(mind.ts, datetime.now(mind.ts.tzinfo).replace(microsecond=0))  # when the person asked
        return await self._adopt(turn, ConfigAdopted(now, version, asked.config)) or version""",
        "A person's act was thought to happen at the machine's time. Seen when the config is changed while the "
        "market's time is behind the machine's: the log jumps ahead, and rounds are passed over.",
    ),
    Bug(
        "skipped-round-keeps-its-own-time",
        "9",
        "actors/strategist/actor.py",
        "        turn, at = self._begin(), max(round.ts, self._memory.mind.ts)",
        "        turn, at = self._begin(), round.ts",
        "An entry about a round was given the round's time. Seen when the market's clock is set back: the Journal "
        "dies of a row that would turn the log's time back, again and again.",
    ),
    Bug(
        "refused-candle-is-seen-twice",
        "24",
        "actors/strategist/memory.py",
        "        if self.seen is not None and round.ts <= self.seen:",
        "        if self.seen is not None and round.ts < self.seen:",
        "Off by one. Seen when the disk refuses a round and it is tried again by the same incarnation: the indicators "
        "take its candles in twice, and later decisions differ from an undisturbed run's.",
    ),
    Bug(
        "trade-forgotten-by-the-outcomes",
        "24",
        "actors/strategist/memory.py",
        "FOLDED = (Genesis, ConfigAdopted, RoundSettled, JournalEntry, Decided, Trade)",
        "FOLDED = (Genesis, ConfigAdopted, RoundSettled, JournalEntry, Decided)",
        "A kind was left out of the list. Seen when a pair's repeated no, a trade of that pair and the same no again "
        "fall on one day, with a restart after the trade: the no is counted instead of told.",
    ),
    Bug(
        "first-row-after-a-checkpoint-is-passed-over",
        "22",
        "actors/restoring.py",
        "            state, row = thaw(checkpoint.states[floor]), checkpoint.row",
        "            state, row = thaw(checkpoint.states[floor]), checkpoint.row + 1",
        "Off by one. Seen after a restart from a checkpoint where the first row behind it means something to a floor: "
        "a mark that is a new peak or a day's last, a decision that is counted.",
    ),
    Bug(
        "losses-of-this-round-do-not-count",
        "18",
        "actors/strategist/conduct.py",
        "        veto = yield Judge(turn, order, self._now, at, tuple(self._trades))",
        "        veto = yield Judge(turn, order, self._now, at)",
        "The engine was thought to know. Seen when one pair closes the last loss of a losing streak and another pair "
        "enters in the same round.",
    ),
    Bug(
        "waiting-orders-in-any-order",
        "41",
        "actors/strategist/conduct.py",
        """\
        for pair, tick in self._round.ticks.items():
            placed = self._book.placed.get(pair)
            if placed is not None:
                outcome = yield""",
        """\
        for pair in self._round.ticks.keys() & self._book.placed.keys():
            tick, placed = self._round.ticks[pair], self._book.placed.get(pair)
            if placed is not None:
                outcome = yield""",
        "Set arithmetic reads better. Seen with fills at the next open, when two orders wait for the same round, by "
        "another hash seed.",
    ),
)

RISK: Final = (
    Bug(
        "status-is-not-refolded",
        "13",
        "actors/risk_engine/state.py",
        "    ConfigAdopted, RunStarted, RunFailed, Trade, Marked, StatusChange, Promotion,",
        "    ConfigAdopted, RunStarted, RunFailed, Trade, Marked, Promotion,",
        "A kind was left out of the list. Seen when the engine restarts after a status_change that no checkpoint "
        "holds.",
    ),
    Bug(
        "streak-is-not-refolded",
        "22",
        "actors/risk_engine/state.py",
        "    ConfigAdopted, RunStarted, RunFailed, Trade, Marked, StatusChange, Promotion,",
        "    ConfigAdopted, RunStarted, RunFailed, Marked, StatusChange, Promotion,",
        "Trades were thought to be the Executor's. Seen when the engine restarts within a losing streak or a cooldown.",
    ),
    Bug(
        "failed-run-is-not-refolded",
        "19",
        "actors/risk_engine/state.py",
        "    ConfigAdopted, RunStarted, RunFailed, Trade, Marked, StatusChange, Promotion,",
        "    ConfigAdopted, RunStarted, Trade, Marked, StatusChange, Promotion,",
        "The lock is kept in memory only. Seen when the engine restarts between a failed run and the next midnight.",
    ),
    Bug(
        "recovery-lifts-the-days-lock",
        "19",
        "actors/risk_engine/state.py",
        """\
    if new_day or breach is None:
        reached = fallen >= limit and not risk.off
        breach = Block(next_midnight(mark.ts), booked(fallen), limit) if reached else None""",
        """\
    reached = fallen >= limit and not risk.off
    breach = Block(next_midnight(mark.ts), booked(fallen), limit) if reached else None""",
        "The breach was written as what is, not as what was. Seen when equity recovers on the day of a breach.",
    ),
    Bug(
        "looser-limit-lifts-the-days-lock",
        "19",
        "actors/risk_engine/rules.py",
        """\
    if block is None or entry.at >= block.until:
        return _measured("daily_drawdown", now, entry.state.settings.risk.daily_drawdown_pct * PCT)""",
        """\
    allowed = entry.state.settings.risk.daily_drawdown_pct * PCT
    if block is None or entry.at >= block.until or block.measured < allowed:
        return _measured("daily_drawdown", now, allowed)""",
        "The lock was held against the limit in force. Seen when the daily limit is loosened on the day of a breach "
        "and an entry is wished for before midnight.",
    ),
    Bug(
        "new-config-lifts-the-failed-runs-lock",
        "20",
        "actors/risk_engine/rules.py",
        "    block = entry.state.blocked\n",
        "    block = entry.state.blocked if entry.state.run.failed else None\n",
        "Paper's analogue of a max lock lifted by what is no act for it: a fresh run was thought to be free of the "
        "old one's lock. Seen when the config is changed between a failed run and the next midnight.",
    ),
    Bug(
        "shorter-cooldown-replaces-a-longer-one",
        "19",
        "actors/risk_engine/state.py",
        "        cooldown = changed(fresh, until=max(fresh.until, cooldown.until)) if cooldown else fresh",
        "        cooldown = fresh",
        "The latest loss was thought to end last. Seen when cooldown_hours is cut during a cooldown and another "
        "position is closed at a loss.",
    ),
    Bug(
        "new-config-forgives-the-streak",
        "22",
        "actors/risk_engine/state.py",
        """\
        case ConfigAdopted():
            return changed(state, version=row.version, config=row.config)""",
        """\
        case ConfigAdopted():
            fresh = changed(state.paper, streak=0)
            return changed(state, version=row.version, config=row.config, paper=fresh)""",
        "A fresh evaluation was thought to begin with a fresh streak. Seen when the config is changed within a losing "
        "streak.",
    ),
    Bug(
        "fresh-run-opens-a-fresh-gauge",
        "22",
        "actors/risk_engine/state.py",
        "            paper = changed(state.paper, risk_peak=row.equity)",
        "            paper = changed(Gauge.opened(row.equity, state.paper.day), peak=state.paper.peak)",
        "Only the all-time peak was thought to outlive a run. Seen when the config is changed on a day that has lost, "
        "within a streak, or under a lock.",
    ),
    Bug(
        "checkpoint-opens-a-new-day",
        "22",
        "actors/risk_engine/actor.py",
        "                thaw=lambda plain: from_plain(plain, RiskState),",
        """\
                thaw=lambda plain: from_plain(
                    {**plain, "paper": {**plain["paper"], "opening": plain["paper"]["equity"]}}, RiskState
                ),""",
        "Left over from reading older checkpoints, which had no opening. Seen after a restart from a checkpoint of a "
        "day that had lost by then and is not over.",
    ),
    Bug(
        "breach-of-the-day-before-hides-todays",
        "21",
        "actors/risk_engine/rules.py",
        "    if daily is not None and daily != before.paper.daily_breach:",
        "    if daily is not None and before.paper.daily_breach is None:",
        "Told once was read as told where there was none. Seen when a day after a breach is in breach with its first "
        "mark: the lock holds, and no RISK_BREACH tells of it.",
    ),
    Bug(
        "assessed-outside-the-turn",
        "21",
        "actors/risk_engine/actor.py",
        """\
        self._state.begin(asked.turn)
        before, told, at =""",
        """\
        before, told, at =""",
        "Judging has begun the turn already, but not in a round without an order. Seen when such a round breaches, or "
        "changes the status, and its turn dies or is refused: the engine holds it for told.",
    ),
    Bug(
        "midnight-at-once",
        "19",
        "protocol/times.py",
        "    return at.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)",
        """\
    midnight = at.replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight if midnight == at else midnight + timedelta(days=1)""",
        "Not strictly after. Seen when a limit is reached by the mark of 00:00 exactly: its lock ends as it begins.",
    ),
    Bug(
        "midnight-of-the-machine",
        "23",
        "protocol/times.py",
        "    return at.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)",
        """\
    local = at.astimezone().replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
    return local.astimezone(UTC)""",
        "The machine's midnight. Seen when a limit is reached under a TZ other than UTC.",
    ),
    Bug(
        "day-of-the-machine",
        "23",
        "actors/risk_engine/state.py",
        "    equity, today, cooldown = mark.equity, mark.ts.date(), gauge.cooldown",
        "    equity, today, cooldown = mark.equity, mark.ts.astimezone().date(), gauge.cooldown",
        "The machine's day. Seen under a TZ other than UTC, by the day's opening.",
    ),
    Bug(
        "held-pairs-in-any-order",
        "41",
        "actors/risk_engine/rules.py",
        "    pairs = sorted(taken(entry.book))",
        "    pairs = list(taken(entry.book))",
        "A set's order. Seen by another hash seed when an entry is vetoed while two positions are open.",
    ),
    Bug(
        "new-config-keeps-eligibility",
        "14",
        "protocol/lifecycle.py",
        '    ("ELIGIBLE", "config_changed"): "PAPER",\n',
        "",
        "A row of the table was lost. Seen when the config of an eligible agent is changed: eligibility goes one "
        "round later, for another reason.",
    ),
)

EXECUTOR: Final = (
    Bug(
        "waiting-order-is-forgotten",
        "2",
        "actors/executor/book.py",
        "FOLDED = (ConfigAdopted, OrderPlaced, Decided, Trade, Marked, Snapshot)",
        "FOLDED = (ConfigAdopted, Decided, Trade, Marked, Snapshot)",
        "A kind was left out of the list. Seen with fills at the next open, when a restart falls between placing and "
        "filling.",
    ),
    Bug(
        "refused-order-comes-back",
        "18",
        "actors/executor/actor.py",
        "FOLDED: Final = tuple(dict.fromkeys((*BOOK_ROWS, *lives.FOLDED)))",
        "FOLDED: Final = tuple(r for r in {*BOOK_ROWS, *lives.FOLDED} if r.kind != 'decided')",
        "A kind was left out of the list. Seen with fills at the next open, when a waiting order was refused at its "
        "fill (its pair missed candles until the quote was too old) and a restart follows: it waits again.",
    ),
    Bug(
        "snapshot-is-due-after-each-restart",
        "5",
        "actors/executor/actor.py",
        "FOLDED: Final = tuple(dict.fromkeys((*BOOK_ROWS, *lives.FOLDED)))",
        "FOLDED: Final = tuple(r for r in {*BOOK_ROWS, *lives.FOLDED} if r.kind != 'snapshot')",
        "A kind was left out of the list. Seen when a restart falls between two snapshots that are more than a round "
        "apart.",
    ),
    Bug(
        "book-of-a-dead-turn-is-read",
        "39",
        "actors/executor/actor.py",
        "                return Books(self._desk.settled.book, self._desk.settled.live)",
        "                return Books(self._desk.now.book, self._desk.now.live)",
        "Settled and now are mostly one. Seen when the Strategist alone dies after an order was filled in its turn: "
        "it reads a position that does not exist.",
    ),
    Bug(
        "config-is-kept-though-refused",
        "24",
        "actors/quote_verifier/actor.py",
        """\
                self._config.begin(message.turn)
                self._config.now = message.config""",
        """\
                self._config = Draft(message.config)""",
        "A config needs no draft, it seemed. Seen when the disk refuses a change of the quote limits, or its turn "
        "dies: the verifier goes by a config that was never adopted.",
    ),
)

STREAM: Final = (
    Bug(
        "board-reaches-before-its-first-frame",
        "11",
        "actors/broadcaster/board.py",
        "        if behind > min(len(self._frames), KEPT_FRAMES):",
        "        if behind > KEPT_FRAMES:",
        "A board that has just begun holds fewer frames than it keeps. Seen when a process has started from a "
        "checkpoint and a client comes back with an older seq.",
    ),
    Bug(
        "last-row-is-shown-again",
        "11",
        "actors/broadcaster/board.py",
        "            if row <= self.row:",
        "            if row < self.row:",
        "Off by one. Seen when the board has read the log up to an event that the Journal then announces, too: at "
        "many a restart, by a client that is connected then.",
    ),
    Bug(
        "oldest-frames-are-kept",
        "11",
        "actors/broadcaster/board.py",
        "            del self._frames[:-KEPT_FRAMES]",
        "            del self._frames[KEPT_FRAMES:]",
        "The wrong end. Seen once the board has held twice what it keeps (20,000 events in one process).",
    ),
    Bug(
        "board-begins-again-at-the-checkpoint",
        "11",
        "actors/broadcaster/actor.py",
        "            if self._board.row == 0:",
        "            if True:",
        "A restart was thought to begin as a start does. Seen when the Broadcaster restarts in a process that has "
        "taken a checkpoint: frames behind it are on the board twice.",
    ),
    Bug(
        "unreadable-log-ends-the-broadcaster",
        "6",
        "actors/broadcaster/actor.py",
        "        except DISK_ERRORS as error:",
        "        except OSError as error:",
        "Errors of a disk were taken for Python's, not SQLite's. Seen when the disk gives nothing while the "
        "Broadcaster reads the log at its start: deaths instead of an outage.",
    ),
    Bug(
        "slow-client-is-moved-to-now",
        "11",
        "server/door/stream.py",
        "                raise Behind",
        """\
                cursor = board.seq - FRAMES  # it is too slow for all of it: the latest will do
                continue""",
        "Closing a slow client seemed unkind. Seen when one that had caught up falls 10,000 events behind.",
    ),
    Bug(
        "frames-wait-for-a-slow-client",
        "15",
        "server/door/stream.py",
        """\
            async with aclosing(follow(door.board, door.reader, door.reading, since)) as news:
                async for frames in news:
                    for frame in frames:
                        await websocket.send(frame)""",
        """\
            waiting, sending = trio.open_memory_channel[str](2**31)

            async def send() -> None:
                async for frame in sending:
                    await websocket.send(frame)

            nursery.start_soon(send)
            async with aclosing(follow(door.board, door.reader, door.reading, since)) as news:
                async for frames in news:
                    for frame in frames:
                        waiting.send_nowait(frame)""",
        "A buffer was to keep a slow client from falling behind. Seen when a client reads nothing for long: memory; "
        "and at the end, when what waits is thrown away.",
    ),
    Bug(
        "silent-client-holds-up-the-end",
        "15",
        "server/door/stream.py",
        "            nursery.cancel_scope.deadline = trio.current_time() + CLOSE_SECONDS",
        "            await trio.sleep(CLOSE_SECONDS)  # the board is closed by now: following it ends by itself",
        "Following ends, sending does not. Seen when the daemon stops while a client reads nothing; on real sockets "
        "only by a second or so, as the bulkhead ends such a client, too.",
        test="tests/server/test_rest.py::test_a_client_that_takes_nothing_does_not_hold_up_the_end",
    ),
    Bug(
        "reader-ahead-of-the-board-is-refused",
        "11",
        "server/door/stream.py",
        "    return seq if seq <= door.board.seq or seq <= (await door.reading(door.reader.head)).seq else None",
        "    return seq if seq <= door.board.seq else None",
        "The board was thought to be the first to know. Seen when a client that catches up from the log is ahead of a "
        "Broadcaster that lags, and comes back.",
    ),
    Bug(
        "config-answered-before-it-is-durable",
        "2",
        "server/door/app.py",
        """\
        with trio.move_on_after(COMMAND_SECONDS):
            while door.board.risk.version < version:
                await door.board.news()
            return config
        reason""",
        """\
        if door.board.outage is None:
            return config
        reason""",
        "The Strategist's answer was taken for the disk's. Seen when the power goes between the answer and the commit.",
    ),
    Bug(
        "late-change-is-asked-again",
        "35",
        "server/door/problems.py",
        """\
    try:
        return await ask()
    except (Died""",
        """\
    try:
        try:
            return await ask()
        except TooLate:  # it was lost: once more
            return await ask()
    except (Died""",
        "Too late was read as not done. Seen when a change of the config takes longer than its deadline: it is "
        "adopted, and the client is told that somebody else was faster.",
    ),
    Bug(
        "protocol-error-ends-the-server",
        "16",
        "server/bulkhead.py",
        """\
        except* Exception as errors:
            self.end(errors)
        if self.reason""",
        """\
        if self.reason""",
        "The errors of a lost connection seemed to be all there are. Seen when a client's bytes make the protocol "
        "code raise, on real sockets.",
        test="tests/server/test_bulkhead.py::test_a_hostile_client_harms_nobody_else",
    ),
    Bug(
        "write-without-an-end",
        "15",
        "server/bulkhead.py",
        "            with trio.move_on_after(WRITE_SECONDS, shield=True) as writing:",
        "            with trio.CancelScope(shield=True) as writing:",
        "Half a write garbles all that follows, so it was shielded, for good. Seen when a client stops reading, on "
        "real sockets.",
        test="tests/server/test_bulkhead.py::test_a_client_that_stops_reading_is_dropped",
    ),
    Bug(
        "unsent-bytes-have-no-limit",
        "15",
        "server/bulkhead.py",
        """\
            while len(self.unsent) > MAX_UNSENT:
                await self.room.wait()""",
        """\
            await trio.lowlevel.checkpoint()""",
        "Waiting for room slowed the fast ones. Seen when a client reads nothing and much is sent, on real sockets.",
        test="tests/server/test_bulkhead.py::test_who_writes_waits_for_the_one_that_does_not_read",
    ),
)

ELSEWHERE: Final = (
    Bug(
        "lock-is-dropped-by-a-second-handle",
        "8",
        "server/boot.py",
        "        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)\n",
        """\
        fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        log.info("the data dir was last used by process %s", (folder / "lock").read_text())
""",
        "A POSIX lock goes when any handle on the file is closed, also this one. Seen when two daemons are started on "
        "one data dir, as real processes.",
        test="tests/resilience/test_at_once.py",
    ),
    Bug(
        "hung-market-hangs-the-feed",
        "40",
        "actors/market_feed/actor.py",
        """\
        with trio.move_on_after(MARKET_SECONDS) as self._asking:
            answer = await self._market.next_round(cursor)""",
        """\
        answer = await self._market.next_round(cursor)""",
        "Every port was thought to answer. Seen when the market does not, for longer than it may.",
    ),
    Bug(
        "silent-market-is-at-its-end",
        "40",
        "actors/market_feed/actor.py",
        '        answer: Round | NotYet | Outage | None = Outage("market", f"no answer within {MARKET_SECONDS:.0f} s")',
        "        answer: Round | NotYet | Outage | None = None",
        "Nothing is also what a market says at its end. Seen when the market does not answer in time: the feed ends "
        "for good, and nobody is told.",
    ),
    Bug(
        "outage-is-taken-for-success",
        "6",
        "actors/market_feed/actor.py",
        """\
            if answer is None:
                cursor = round.cursor
                del self._attempts[key]
            else:
                self._attempts[key] -= 1  # not settled, but nobody died of it
                await self._outlast()
                cursor = await self._strategist.ask(ReadCursor())""",
        """\
            cursor = round.cursor
            if answer is None:
                del self._attempts[key]
            else:
                self._attempts[key] -= 1  # not settled, but nobody died of it
                await self._outlast()""",
        "The cursor went before the question. Seen when the disk refuses a round: it is never decided, nor is any "
        "after it.",
    ),
    Bug(
        "numbers-by-way-of-floats",
        "22",
        "protocol/codec.py",
        "_decoder = msgspec.json.Decoder(float_hook=Decimal)",
        "_decoder = msgspec.json.Decoder()",
        "A float's text gives the same Decimal, up to 15 digits or so. Seen after a restart with numbers of more: a "
        "cheap coin's quantity, a rich book's cash.",
    ),
    Bug(
        "naive-times-are-local",
        "23",
        "protocol/times.py",
        "        return from_millis(to_millis(at if at.tzinfo else at.replace(tzinfo=UTC)))",
        "        return from_millis(to_millis(at if at.tzinfo else at.astimezone()))",
        "What Python does with a naive time. Seen under a TZ other than UTC, by a time without a zone in a query or a "
        "file.",
        test="tests/protocol/test_money_and_times.py::test_a_person_may_write_a_time_in_any_iso_form",
    ),
)

BUGS: Final = (*TOWER, *JOURNAL, *STRATEGIST, *RISK, *EXECUTOR, *STREAM, *ELSEWHERE)
