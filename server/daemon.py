"""The daemon: the tower, the door and their end, in one nursery tree."""

from __future__ import annotations

import gc
import logging
import os
import signal
import socket
import sys
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import click
import trio

from actors.agent import Agent
from actors.broadcaster.board import Board
from actors.floors import House
from actors.journal.store import Damaged, LogReader
from actors.ports import in_threads
from actors.strategist.actor import Founding
from actors.tower import Died, MailboxFull, Meltdown, TooLate
from protocol.errors import UserError
from protocol.settings import MachineSettings, ServerSettings
from protocol.times import to_wire
from server import bulkhead
from server.backtesting.queue import Backtests
from server.boot import Booted, boot, findable, only_daemon, started
from server.door.app import make_app
from server.door.desk import Door
from server.door.gate import LOOPBACK, Gate
from server.door.stream import Behind, follow
from server.notes import line
from server.settings import Offer, Settings, reached_at

log = logging.getLogger("forestay")
STOP_SECONDS: Final = 1.5  # for the floors to finish what is in flight
STOP_PAUSE_SECONDS: Final = 0.05  # before it is asked once more
EXIT_OK, EXIT_DAMAGED, EXIT_MELTDOWN = 0, 65, 70  # sysexits.h: EX_DATAERR, EX_SOFTWARE


def run(settings: Settings, *, exit_at_end: bool) -> int:
    """Run until a signal, the market's end (with `exit_at_end`), a meltdown or a damaged log; the exit code. Raises
    UserError."""
    _check_bind(settings.machine.server)
    with only_daemon(Path(settings.machine.data_dir)):
        try:
            booted = boot(settings)
        except Damaged as error:
            _quarantine(error)
            return EXIT_DAMAGED
        gc.freeze()  # what is loaded by now stays; collecting less often is worth a tenth of the speed
        gc.set_threshold(50_000, 20, 100)
        listeners = _listen(settings.machine.server)
        try:
            return trio.run(_Daemon(settings.machine, booted, listeners, exit_at_end).run)
        finally:
            _let_go_of_output()


class _Daemon:
    def __init__(
        self, settings: MachineSettings, booted: Booted, listeners: list[socket.socket], exit_at_end: bool
    ) -> None:
        self._settings = settings
        self._listeners = listeners
        self._booted = booted
        self._exit_at_end = exit_at_end
        self._ended = trio.Event()  # somebody or something wants the end
        self._stop = trio.Event()  # the floors are done, the door is to close
        self._closed = trio.Event()  # the door is closed
        self._printed = trio.Event()  # the journal is printed to its end
        self._board = Board()
        self._reader = LogReader(booted.log)
        self._printing_from = self._reader.head().seq
        self._reading = in_threads(1)
        self._exit_code = EXIT_OK
        self._backtests = Backtests(Path(settings.data_dir) / "backtests", lambda: to_wire(_wall_time(0.0)))
        self._alive = Agent(self._house())

    def _house(self) -> House:
        founding = Founding(
            self._settings.agent,
            self._booted.market.pinned,
            self._booted.market.begins,
            self._booted.config,
            [started(self._settings.agent, self._settings.market.kind, self._booted.market.pairs)],
        )
        return House(
            log=self._booted.log,
            log_id=self._booted.log_id,
            founding=founding,
            market=self._booted.market,
            speed=self._settings.market.speed,
            board=self._board,
            market_ended=self._market_ended,
            blocking=in_threads(1),
            reader=LogReader(self._booted.log),
            reading=in_threads(1),
            armed=self._booted.armed,
        )

    async def run(self) -> int:
        port = self._listeners[0].getsockname()[1]
        door = Door(
            agent=self._settings.agent,
            log_id=self._booted.log_id,
            market=self._booted.market.pinned,
            offer=Offer.of(self._booted.market),
            board=self._board,
            reader=self._reader,
            reading=self._reading,
            tower=self._alive.tower,
            stopping=self._stop,
            clock=_wall_time,
            backtests=self._backtests,
            armed=self._booted.armed,
            market_settings=findable(self._settings.market, self._booted.market.pinned),
            searcher=LogReader(self._booted.log),
            searching=in_threads(1),
        )
        gate = Gate(make_app(door), self._settings.server, port)  # type: ignore[arg-type]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._signals, nursery.cancel_scope)
            nursery.start_soon(self._backtests.run)
            nursery.start_soon(self._towering)
            await nursery.start(lambda task_status: self._serve(gate, task_status))
            host = reached_at(self._settings.server.host)
            _say(f"Forestay listens on http://{host}:{port}  (log {self._booted.log}, Ctrl-C stops)")
            nursery.start_soon(self._print_journal)
            await self._ended.wait()
            await self._wind_down()
            nursery.cancel_scope.cancel()
        if self._booted.chain is not None:
            await self._booted.chain.aclose()
        return self._exit_code

    async def _serve(self, gate: Gate, task_status: trio.TaskStatus[None]) -> None:
        """The door; its return means that every socket is closed."""
        listeners = [trio.SocketListener(trio.socket.from_stdlib_socket(sock)) for sock in self._listeners]
        await bulkhead.serve(gate, listeners, stop=self._stop, task_status=task_status)  # type: ignore[arg-type]
        self._closed.set()

    async def _towering(self) -> None:
        try:
            await self._alive.run()
        except Meltdown as error:
            log.critical("%s: giving up, so that the process is started anew", error)
            self._exit_code = EXIT_MELTDOWN
        except Damaged as error:
            _quarantine(error)
            self._exit_code = EXIT_DAMAGED
        self._ended.set()

    async def _signals(self, everything: trio.CancelScope) -> None:
        """The first asks for an orderly end, the second ends it."""
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as arrived:
            async for _ in arrived:
                if self._ended.is_set():
                    everything.cancel()
                self._ended.set()

    def _market_ended(self) -> None:
        if self._exit_at_end:
            self._ended.set()

    async def _wind_down(self) -> None:
        """Stop taking, finish what is in flight, journal STOPPED, let every client have it, close."""
        with trio.move_on_after(STOP_SECONDS) as limit:
            while self._exit_code == EXIT_OK:
                try:
                    await self._stop_agent()
                except (Died, TooLate, MailboxFull) as error:
                    log.warning("a floor fell, or was too busy, while stopping (%s): asked again", error)
                    await trio.sleep(STOP_PAUSE_SECONDS)
                else:
                    break
        if limit.cancelled_caught:
            log.error("stopping without a STOPPED entry: the floors were not done within %.1f s", STOP_SECONDS)
        self._stop.set()
        self._board.close()
        await self._closed.wait()
        with trio.move_on_after(0.5):
            await self._printed.wait()

    async def _stop_agent(self) -> None:
        if outage := await self._alive.stop():
            log.error("stopping without a STOPPED entry: %s", outage.reason)
            return
        head = await self._reading(self._reader.head)
        while self._board.row < head.row:
            await self._board.news()

    async def _print_journal(self) -> None:
        """The journal as it grows, on standard output; whoever reads it slowly holds up nobody."""
        since = self._printing_from
        while True:
            try:
                async for frames in follow(self._board, self._reader, self._reading, since):
                    lines = [text for frame in frames if (text := line(frame)) is not None]
                    since += len(frames)
                    if lines:
                        await trio.to_thread.run_sync(_say, "\n".join(lines), abandon_on_cancel=True)
                break
            except Behind:
                continue
        self._printed.set()


def _say(text: str) -> None:
    with suppress(OSError, ValueError):  # a full disk, or a reader that has left: the journal itself is in the log
        click.echo(text)


def _quarantine(error: Damaged) -> None:
    """Said once and loudly. Starting again cannot help, and nothing is written to such a log."""
    log.critical(
        "%s. It is left as it is, and nothing trades on it. `forestay journal verify` looks at all of it; restore a "
        "copy from before, or start afresh with another data_dir.",
        error,
    )


def _let_go_of_output() -> None:
    """What could not be printed must not spoil the exit code."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _check_bind(server: ServerSettings) -> None:
    if server.host not in LOOPBACK and server.token is None:
        raise UserError(
            f"server.host = {server.host!r}: reachable from other machines, so it needs server.token "
            "(FORESTAY_SERVER__TOKEN), or a loopback host such as 127.0.0.1"
        )


def _listen(server: ServerSettings) -> list[socket.socket]:
    """One listening socket. Raises UserError where the address is taken or is none of ours."""
    try:
        family = socket.getaddrinfo(server.host, server.port, type=socket.SOCK_STREAM)[0][0]
        listener = socket.create_server((server.host, server.port), family=family, backlog=128)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(
            f"server.port = {server.port} on {server.host!r}: cannot listen there: {reason}; port 0 takes any free one"
        ) from None
    listener.setblocking(False)
    return [listener]


def _wall_time(ago: float) -> datetime:
    """The machine's time so many seconds ago."""
    return datetime.now(UTC) - timedelta(seconds=ago)
