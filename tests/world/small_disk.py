"""A real disk that really fills up: a tmpfs in a mount namespace of its own, seen only by what is started inside.

The kernel says "no space left" and "read-only file system" here, not a stand-in of ours. The network is not unshared,
so a daemon inside is reached as any other.
"""

from __future__ import annotations

import os
import shlex
import shutil
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.world import daemon as daemons

PAGE_KB: Final = 4
MEGABYTE_KB: Final = 1024
PLENTY_KB: Final = 64 * 1024
ATTEMPTS: Final = 100
NAME: Final = "forestay"
REMOUNT: Final = ("mount", "-t", "tmpfs", "-o")  # with the name said, too, mount(8) adds no options of its own
SECONDS: Final = 60.0  # a bound against hanging, not a figure
# Ways into a mount namespace of one's own, in the order they are tried: as an ordinary user, then as root.
WAYS: Final = {
    "a user and mount namespace": (("--user", "--map-root-user", "--mount"), ("--preserve-credentials", "--user")),
    "a mount namespace, as root": (("--mount",), ()),
}


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SmallDisk]:
    """A megabyte; every `forestay` of the test sees it."""
    small = SmallDisk(tmp_path / "disk", MEGABYTE_KB)
    monkeypatch.setattr(daemons, "FORESTAY", small.launcher(daemons.FORESTAY, tmp_path / "forestay-inside"))
    yield small
    small.close()


class SmallDisk:
    """A tmpfs of `kilobytes` at `path`. Whoever wants to see it goes in by `command`, or by a `launcher`.

    Where no way leads into a namespace the test fails, naming those that were tried: a skipped disk test proves
    nothing. The disk is gone when it is closed, and with the test's process.
    """

    def __init__(self, path: Path, kilobytes: int) -> None:
        self.path = path
        self._ground = path.with_name(f"{path.name}-ground")  # the same disk, where no protection lies over it
        path.mkdir()
        self._ground.mkdir()
        refusals = []
        for way, (unshare, enter) in WAYS.items():
            keeper, said = _mounted(unshare, self._ground, path, kilobytes)
            if keeper is not None:
                self._keeper = keeper
                self.command = ("nsenter", *enter, "--mount", "--target", str(keeper.pid), "--")
                return
            refusals.append(f"{way}: {said}")
        pytest.fail(
            f"no tmpfs can be mounted here, so a full disk cannot be had ({'; '.join(refusals)})", pytrace=False
        )

    def launcher(self, program: Path, at: Path) -> Path:
        """An executable at `at` that is `program`, inside."""
        at.write_text(f'#!/bin/sh\nexec {shlex.join(self.command)} {shlex.quote(str(program))} "$@"\n')
        at.chmod(at.stat().st_mode | stat.S_IXUSR)
        return at

    def fill(self, spare_pages: int = 0) -> None:
        """Leave room for so many pages and not one more."""
        for _ in range(ATTEMPTS):  # it may be written to in between
            if not (said := self._sized(self._used_kb() + spare_pages * PAGE_KB)):
                return
        raise AssertionError(f"the disk cannot be filled: {said}")

    def make_room(self, kilobytes: int = PLENTY_KB) -> None:
        said = self._sized(kilobytes)
        assert not said, said

    def write_protect(self) -> None:
        """Whatever is opened from now on is read-only. (The kernel refuses to take away what is open for writing.)"""
        self._inside("mount", "--bind", self._ground, self.path)
        self._inside("mount", "-o", "remount,bind,ro", self.path)

    def remount(self, mode: str) -> None:
        """The whole disk "ro" or "rw"; for the former nothing may be open for writing."""
        self._inside(*REMOUNT, f"remount,{mode}", NAME, self._ground)

    def lift_protection(self) -> None:
        self._inside("umount", self.path)

    def remove(self, name: str) -> None:
        (self._from_outside() / name).unlink()

    def copied(self, name: str, to: Path) -> Path:
        """A copy of what stands there, for eyes outside."""
        shutil.copytree(self._from_outside() / name, to)
        return to

    def close(self) -> None:
        assert self._keeper.stdin is not None
        assert self._keeper.stdout is not None
        self._keeper.stdin.close()
        self._keeper.stdout.close()
        self._keeper.wait(SECONDS)

    def _from_outside(self) -> Path:
        return Path(f"/proc/{self._keeper.pid}/root", *self._ground.parts[1:])

    def _used_kb(self) -> int:
        found = os.statvfs(self._from_outside())
        return (found.f_blocks - found.f_bfree) * found.f_frsize // 1024

    def _sized(self, kilobytes: int) -> str:
        """What was said against it. tmpfs takes 0 for boundless and refuses less than it holds."""
        size = (*REMOUNT, f"remount,size={max(kilobytes, PAGE_KB)}k", NAME, str(self._ground))
        done = subprocess.run([*self.command, *size], capture_output=True, text=True, timeout=SECONDS)
        return done.stderr or "no word why" if done.returncode else ""

    def _inside(self, *words: str | Path) -> None:
        done = subprocess.run([*self.command, *map(str, words)], capture_output=True, text=True, timeout=SECONDS)
        assert done.returncode == 0, done.stderr


def _mounted(
    unshare: tuple[str, ...], ground: Path, path: Path, kilobytes: int
) -> tuple[subprocess.Popen[str] | None, str]:
    """The process that keeps the namespace, or None and why not. It ends when its standard input does."""
    disk = f"mount -t tmpfs -o size={kilobytes}k,mode=700 {NAME} {shlex.quote(str(ground))}"
    mount = f"{disk} && mount --bind {shlex.quote(str(ground))} {shlex.quote(str(path))}"
    try:
        keeper = subprocess.Popen(
            ["unshare", *unshare, "sh", "-c", f"{mount} && echo mounted && exec cat"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
    except OSError as error:
        return None, str(error)
    assert keeper.stdout is not None
    assert keeper.stderr is not None
    if keeper.stdout.readline() == "mounted\n":
        keeper.stderr.close()
        return keeper, ""
    said = keeper.communicate(timeout=SECONDS)[1].splitlines()
    return None, said[0] if said else "no word why"
