"""The guard's process: a Unix socket, JSON lines, and nothing that a peer sends costs more than its own connection."""

from __future__ import annotations

import grp
import logging
import os
import signal
import socket
import stat
import struct
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

import click
import trio
from attrs import define, field

from protocol.errors import UserError
from protocol.signing import LONGEST_LINE, Answer, Broken, Malformed, Revoke, read_question, to_line
from server.guard import keystore
from server.guard.config import FILE_NAME as CONFIG_NAME
from server.guard.config import GuardConfig
from server.guard.eyes import Eyes, Unseen
from server.guard.guard import Guard, withheld
from server.guard.keystore import Wallet
from server.guard.ledger import FILE_NAME as LEDGER_NAME
from server.guard.ledger import Ledger, only_guard
from server.guard.twak import Kit, NotStarted

log = logging.getLogger("forestay.guard")
MOST_PEERS: Final = 32
IDLE_SECONDS: Final = 60.0  # for a whole question to come, and for an answer to be taken
AT_ONCE: Final = 16  # connections that are let in before anybody else has a turn
NO_ROOM_SECONDS: Final = 0.1  # until it is tried again, where the system has no handle left


def private(folder: Path) -> None:
    """Is the folder, and what is secret in it, its owner's alone? Raises UserError."""
    for path in (folder, *(folder / name for name in (CONFIG_NAME, keystore.FILE_NAME, LEDGER_NAME))):
        try:
            found = path.stat()
        except OSError as error:
            raise UserError(f"{path}: {error.strerror}; `forestay guard init` makes what is needed") from None
        if found.st_mode & 0o077:
            raise UserError(f"{path}: others may use it ({stat.filemode(found.st_mode)}); take that away (chmod go=)")
        if found.st_uid != os.geteuid():
            raise UserError(f"{path}: belongs to another user ({found.st_uid}); run the guard as that one")


def run(folder: Path, config: GuardConfig, wallet: Wallet | None, environ: Mapping[str, str]) -> None:
    """Sign until SIGTERM or SIGINT. Raises UserError where the guard may not begin."""
    keystore.keep_to_itself()
    private(folder)
    with only_guard(folder):
        ledger = Ledger(folder / LEDGER_NAME)
        try:
            trio.run(_serve, folder, config, ledger, wallet, environ)
        finally:
            ledger.close()


async def _serve(
    folder: Path, config: GuardConfig, ledger: Ledger, wallet: Wallet | None, environ: Mapping[str, str]
) -> None:
    kit = Kit(config, environ) if config.way == "twak" else None
    async with Eyes(config) as eyes:
        try:
            await eyes.check()
        except Unseen as error:
            raise UserError(f"the guard cannot see the chain, and signs nothing that it cannot see: {error}") from None
        if kit is not None:
            await _same_wallet(kit, config)
        guard = Guard(config, ledger, eyes, folder / keystore.FILE_NAME, wallet, kit)
        listener = _listen(config)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(guard.keep_watch)
                nursery.start_soon(_until_told_to_end, nursery.cancel_scope)
                door = Door(guard, frozenset(config.allowed_uids or (os.geteuid(),)))
                nursery.start_soon(door.welcome, listener)
                state = ", KILLED" if guard.killed else ""
                click.echo(f"Guard listens on {config.socket}  (wallet {guard.address}, way {config.way}{state})")
        finally:
            listener.close()
            with suppress(FileNotFoundError):
                os.unlink(config.socket)


async def _same_wallet(kit: Kit, config: GuardConfig) -> None:
    try:
        if await kit.owns(str(config.twak.address)):
            return
    except NotStarted as error:
        raise UserError(f"twak.command = {config.twak.command!r}: {error}") from None
    raise UserError(f"twak.address = {config.twak.address!r}: the kit does not say that this is its wallet")


async def _until_told_to_end(scope: trio.CancelScope) -> None:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for _ in signals:
            scope.cancel()
            return


def _listen(config: GuardConfig) -> socket.socket:
    """The socket, for its owner alone, or for one group more. The folder's lock is held: what is there is a dead
    guard's. Raises UserError."""
    path = Path(config.socket)
    try:
        if path.parent.stat().st_mode & 0o002:
            raise UserError(f"socket = {config.socket!r}: anybody may write to its folder")
        if path.exists() and not path.is_socket():
            raise UserError(f"socket = {config.socket!r}: there is something else")
        path.unlink(missing_ok=True)
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        before = os.umask(0o177)
        try:
            sock.bind(config.socket)
        finally:
            os.umask(before)
        if config.socket_group is not None:
            os.chown(config.socket, -1, grp.getgrnam(config.socket_group).gr_gid)
            path.chmod(0o660)
        sock.listen(128)
        sock.setblocking(False)
    except KeyError:
        raise UserError(f"socket_group = {config.socket_group!r}: there is no such group") from None
    except OSError as error:
        raise UserError(f"socket = {config.socket!r}: {error.strerror or error}") from None
    return sock


@define(eq=False)
class Peer:
    """One connection; `waits` while it has asked nothing. `buffer` is what it has sent and was not looked at."""

    stream: trio.SocketStream
    buffer: bytes
    scope: trio.CancelScope = field(factory=trio.CancelScope)
    waits: bool = True


class Door:
    """Who may connect, and how much of the guard one connection can cost.

    A kill passes everybody. Deciding it awaits nothing, so it is heard where its connection is let in, before that has
    a turn of its own. Many are let in at a time, and of all that are in only one has its question read at a time: so
    the turns of the others are short, and a kill that comes later has its own soon, too.
    """

    def __init__(self, guard: Guard, uids: frozenset[int]) -> None:
        self._guard = guard
        self._uids = uids
        self._peers: list[Peer] = []  # oldest first
        self._reading = trio.Lock()

    async def welcome(self, listener: socket.socket) -> None:
        """Let in whoever knocks, until cancelled. `listener` does not block."""
        async with trio.open_nursery() as nursery:
            while True:
                await trio.lowlevel.wait_readable(listener)
                try:
                    for _ in range(AT_ONCE):
                        if (peer := self._let_in(listener.accept()[0])) is not None:
                            nursery.start_soon(self.serve, peer)
                except BlockingIOError:
                    pass  # nobody else knocks
                except OSError as error:  # it has left already, or there is no handle for it
                    log.warning("a connection cannot be let in: %s", error.strerror)
                    await trio.sleep(NO_ROOM_SECONDS)

    def _let_in(self, sock: socket.socket) -> Peer | None:
        if not self._may_ask(sock):
            sock.close()
            return None
        sock.setblocking(False)
        said = b""
        with suppress(OSError):
            said = sock.recv(LONGEST_LINE)
        line, end, rest = said.partition(b"\n")
        try:
            if end and (answer := self._killed(line)) is not None:
                said = rest
                sock.send(to_line(answer))
        except OSError:
            pass  # it has left
        except Exception as error:
            log.error("a kill met a bug of ours: %s", _told(error))
        peer = Peer(trio.SocketStream(trio.socket.from_stdlib_socket(sock)), said, waits=b"\n" not in said)
        self._peers.append(peer)
        self._make_room()
        return peer

    async def serve(self, peer: Peer) -> None:
        """One connection, to its end. Nothing comes out of it."""
        try:
            with peer.scope:
                await self._answer_all(peer)
        except (OSError, trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError):
            pass  # it has left, or it does not read or write
        except Exception as error:
            log.error("a connection ended by a bug of ours: %s", _told(error))
        finally:
            self._peers.remove(peer)
            await trio.aclose_forcefully(peer.stream)

    def _may_ask(self, sock: socket.socket) -> bool:
        uid = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[1]
        if uid not in self._uids:
            log.warning("user %d may not connect", uid)
        return uid in self._uids

    def _make_room(self) -> None:
        """Whoever has waited longest leaves; where most are busy, the newest of those: so there is always a place for a
        kill, and who has just come is not the one to leave."""
        staying = [peer for peer in self._peers if not peer.scope.cancel_called]
        if len(staying) > MOST_PEERS:
            waiting = [peer for peer in staying[:-1] if peer.waits]
            busy = [peer for peer in staying[:-1] if not peer.waits]
            leaving = busy[-1] if len(busy) > len(waiting) else waiting[0]
            leaving.scope.cancel()

    async def _answer_all(self, peer: Peer) -> None:
        while True:
            peer.waits = b"\n" not in peer.buffer
            with trio.fail_after(IDLE_SECONDS):
                while b"\n" not in peer.buffer:
                    if len(peer.buffer) > LONGEST_LINE:
                        await peer.stream.send_all(to_line(Malformed(f"a line has {LONGEST_LINE} bytes at most")))
                        return
                    chunk = await peer.stream.receive_some(4096)
                    if not chunk:
                        return
                    peer.buffer += chunk
            peer.waits = False
            line, _, peer.buffer = peer.buffer.partition(b"\n")
            answer = self._killed(line) or await self._answered(line)
            await self._send(peer.stream, answer)
            if isinstance(answer, Malformed):
                return

    def _killed(self, line: bytes) -> Answer | None:
        """The answer to a kill; None where the line is none."""
        if b'"kill"' not in line:
            return None
        with suppress(ValueError):
            question = read_question(line)
            if isinstance(question, Revoke):
                return self._guard.revoke(question.reason)
        return None

    async def _answered(self, line: bytes) -> Answer:
        async with self._reading:
            try:
                question = read_question(line)
            except ValueError as error:
                return Malformed(str(error))
        try:
            return await self._guard.answer(question)
        except Exception as error:
            log.error("a %s met a bug of ours: %s", question.kind, _told(error))
            return Broken("the guard has met a bug of its own; nothing was signed")

    async def _send(self, stream: trio.SocketStream, answer: Answer) -> None:
        with trio.fail_after(IDLE_SECONDS):
            await stream.send_all(to_line(withheld(answer, killed=self._guard.killed)))


def _told(error: BaseException) -> str:
    """Class and place, never the text: there could be a secret in it."""
    place, trace = "?", error.__traceback__
    while trace is not None:
        place, trace = f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}", trace.tb_next
    return f"{type(error).__name__} at {place}"
