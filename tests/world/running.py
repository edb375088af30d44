"""A program that runs beside a test, and what it prints, line by line."""

from __future__ import annotations

import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from queue import Queue
from typing import Final

SECONDS: Final = 30.0  # a bound against hanging, not a figure


class Running:
    def __init__(self, command: Sequence[str], cwd: Path, env: Mapping[str, str]) -> None:
        self.process = subprocess.Popen(
            command, cwd=cwd, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self._lines: Queue[str] = Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def take(self, count: int) -> list[str]:
        """The next `count` lines."""
        return [self._lines.get(timeout=SECONDS) for _ in range(count)]

    def end(self, number: signal.Signals) -> tuple[int, str]:
        """By that signal; the exit code, and what it said on standard error."""
        assert self.process.stderr is not None
        self.process.send_signal(number)
        return self.process.wait(SECONDS), self.process.stderr.read()

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self._reader.join(SECONDS)
        for pipe in (self.process.stdout, self.process.stderr):
            if pipe is not None:
                pipe.close()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line.rstrip("\n"))
