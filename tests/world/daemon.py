"""The real daemon as a process of its own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx

FORESTAY = Path(sys.executable).parent / "forestay"
SECONDS = 60.0  # a bound against hanging, not a figure


class DaemonProcess:
    """`forestay run` on a port of its own. `lines` is what it printed so far."""

    def __init__(self, data_dir: Path, flags: Sequence[str] = (), env: dict[str, str] | None = None) -> None:
        self.data_dir = data_dir
        clean = {k: v for k, v in os.environ.items() if not k.startswith("FORESTAY_")}
        self._process = subprocess.Popen(
            [str(FORESTAY), "run", "--data-dir", str(data_dir), "--port", "0", *flags],
            cwd=data_dir.parent,
            env=clean | (env or {}),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines: list[str] = []
        self.errors: list[str] = []
        self._listening = threading.Event()
        self.base = ""
        self._readers = [
            threading.Thread(target=self._read_output, daemon=True),
            threading.Thread(target=self._read_errors, daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def listening(self) -> str:
        """Wait until it listens; its base address."""
        if not self._listening.wait(SECONDS) or not self.base:
            raise AssertionError(f"the daemon does not listen (exit {self._process.poll()}): {''.join(self.errors)}")
        return self.base

    def listens(self) -> bool:
        """Wait until it listens, or has ended without."""
        assert self._listening.wait(SECONDS), "the daemon neither listens nor ends"
        return bool(self.base)

    def ready(self) -> str:
        """Wait until it is ready; its base address."""
        base = self.listening()
        with httpx.Client(transport=httpx.HTTPTransport(retries=3)) as client:
            while client.get(f"{base}/readyz").status_code != 200:
                assert self.running, "".join(self.errors)
        return base

    def get(self, path: str, **kwargs: Any) -> httpx.Response:
        return httpx.get(self.listening() + path, timeout=SECONDS, **kwargs)

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def terminate(self) -> int:
        """SIGTERM, and its exit code."""
        self.signal(signal.SIGTERM)
        return self.wait()

    def wait(self) -> int:
        code = self._process.wait(SECONDS)
        for reader in self._readers:
            reader.join(SECONDS)
        return code

    def kill(self) -> None:
        """SIGKILL: nothing of it gets a word in."""
        self._process.kill()
        self.wait()
        for pipe in (self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()

    def _read_output(self) -> None:
        assert self._process.stdout is not None
        for text in self._process.stdout:
            if found := re.search(r"listens on (http://\S+)", text):
                self.base = found.group(1)
                self._listening.set()
            self.lines.append(text)
        self._listening.set()

    def _read_errors(self) -> None:
        assert self._process.stderr is not None
        self.errors.extend(self._process.stderr)
