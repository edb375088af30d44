"""A guard's folder, made by its own command, and the guard as a process of its own."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from eth_account import Account

from protocol.signing import Anchor, Answer, Question, SignTransaction, Transaction, read_answer, to_line
from server.guard import keystore
from server.guard.config import FILE_NAME as CONFIG_NAME
from server.guard.decode import Approval, Swap, encode
from server.guard.ledger import FILE_NAME as LEDGER_NAME
from server.guard.ledger import Ledger
from tests.guard.chain import CAKE, E18, FACTORY, LINK, ROUTER, USDT, WBNB, Chain

ROOT = Path(__file__).parents[2]
SECONDS = 60.0  # a bound against hanging, not a figure
KEY = "0x" + "46" * 32
WALLET = Account.from_key(KEY).address.lower()
PASSWORD = "correct horse battery"
FORESTAY = [sys.executable, "-c", "from server.cli import main; main(prog_name='forestay')"]


def settings(rpc: str, extra: str = "", **limits: object) -> str:
    """A guard.toml for the stand-in chain."""
    lines = "\n".join(f"{key} = {value}" for key, value in limits.items())
    return f"""
{extra}
rpc = ["{rpc}"]
rpc_timeout_seconds = 5.0
router = "{ROUTER}"
factory = "{FACTORY}"
[limits]
{lines}
[usdt]
address = "{USDT}"
[tokens.CAKE]
address = "{CAKE}"
[tokens.LINK]
address = "{LINK}"
[hops.WBNB]
address = "{WBNB}"
"""


def environment(**more: str) -> dict[str, str]:
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("FORESTAY_", "TWAK_"))}
    return clean | {"PYTHONPATH": str(ROOT)} | more


def command(
    *arguments: str, cwd: Path, password: str | None = PASSWORD, key: str | None = None, env: Mapping[str, str] = {}
) -> subprocess.CompletedProcess[str]:
    """`forestay ...`, run to its end; the password and the key come through descriptors."""
    handles = []
    words = list(arguments)
    for flag, secret in (("--password-fd", password), ("--import-key-fd", key)):
        if secret is not None:
            reader, writer = os.pipe()
            os.write(writer, secret.encode() + b"\n")
            os.close(writer)
            handles.append(reader)
            words += [flag, str(reader)]
    try:
        return subprocess.run(
            [*FORESTAY, *words],
            cwd=cwd,
            env=environment(**env),
            pass_fds=handles,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )
    finally:
        for handle in handles:
            os.close(handle)


def make_folder(folder: Path, toml: str) -> Path:
    """A guard's folder as `forestay guard init` makes it, with the key of these tests."""
    folder.mkdir(mode=0o700)
    keystore.create(folder / keystore.FILE_NAME, bytes.fromhex(KEY[2:]), PASSWORD, iterations=1024)
    Ledger.create(folder / LEDGER_NAME, WALLET, datetime.now(UTC))
    (folder / CONFIG_NAME).touch(mode=0o600)
    (folder / CONFIG_NAME).write_text(toml, encoding="utf-8")
    return folder


class GuardProcess:
    """`forestay guard run` on a folder."""

    def __init__(self, folder: Path, env: Mapping[str, str] = {}) -> None:
        reader, writer = os.pipe()
        os.write(writer, PASSWORD.encode())
        os.close(writer)
        self.folder = folder
        self.socket = str(folder / "guard.sock")
        self._process = subprocess.Popen(
            [*FORESTAY, "guard", "run", "--dir", str(folder), "--password-fd", str(reader)],
            cwd=folder.parent,
            env=environment(**env),
            pass_fds=[reader],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        os.close(reader)
        self.said: list[str] = []
        self.errors: list[str] = []
        self._listening = threading.Event()
        self._readers = [threading.Thread(target=self._read_output), threading.Thread(target=self._read_errors)]
        for thread in self._readers:
            thread.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def listening(self) -> GuardProcess:
        assert self._listening.wait(SECONDS)
        assert self.said, "".join(self.errors)
        return self

    def refused(self) -> str:
        """What it says when it does not start."""
        assert self._process.wait(SECONDS) == 2
        self._join()
        return "".join(self.errors)

    def ask(self, question: Question) -> Answer:
        with self.connected() as sock:
            return asked(sock, question)

    def connected(self) -> socket.socket:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.settimeout(SECONDS)
        sock.connect(self.socket)
        return sock

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        if self._process.poll() is None:
            self._process.send_signal(number)
        code = self._process.wait(SECONDS)
        self._join()
        return code

    def _join(self) -> None:
        for thread in self._readers:
            thread.join(SECONDS)
        for pipe in (self._process.stdout, self._process.stderr):
            assert pipe is not None
            pipe.close()

    def _read_output(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.said.append(line)
            if re.search("^Guard listens on ", line):
                self._listening.set()
        self._listening.set()

    def _read_errors(self) -> None:
        assert self._process.stderr is not None
        self.errors.extend(self._process.stderr)


def asked(sock: socket.socket, question: Question) -> Answer:
    sock.sendall(to_line(question))
    return read_answer(line_from(sock))


def line_from(sock: socket.socket) -> bytes:
    """One line; what has come behind it stays where it is."""
    said = b""
    while not said.endswith(b"\n"):
        seen = sock.recv(65_536, socket.MSG_PEEK)
        if not seen:
            raise ConnectionError(f"it has hung up after {said!r}")
        said += sock.recv(seen.find(b"\n") + 1 or len(seen))
    return said


# --- requests that are in order, to be changed


def anchor(row: int = 1, log_id: str = "log_1") -> Anchor:
    return Anchor(log_id, row, f"{row:064x}")


def entry(chain: Chain, whole: int = 10, **changes: Any) -> Swap:
    """Buys CAKE for whole USDT, at the quote."""
    made: dict[str, Any] = {
        "spend": whole * E18,
        "path": (USDT, CAKE),
        "to": WALLET,
        "deadline": chain.time + 120,
    } | changes
    made.setdefault("min_out", chain.quote(made["spend"], made["path"]) or 1)
    return Swap(**made)


def exit_(chain: Chain, cake: int = 10, **changes: Any) -> Swap:
    """Sells whole CAKE, at the quote."""
    return entry(chain, cake, **{"path": (CAKE, USDT)} | changes)


def transaction(action: Swap | Approval, **changes: Any) -> Transaction:
    made: dict[str, Any] = {
        "chain_id": 56,
        "nonce": 0,
        "to": ROUTER if isinstance(action, Swap) else USDT,
        "value": 0,
        "data": encode(action),
        "gas": 200_000,
        "gas_price": 10**9,
    }
    return Transaction(**made | changes)


def sign(intent: str, tx: Transaction, row: int = 1) -> SignTransaction:
    return SignTransaction(intent, tx, anchor(row))


StartGuard = Callable[..., GuardProcess]
