"""The JavaScript client, in Node, against the real daemon."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from tests.resilience.candles import made_up
from tests.server.clients import Ended, at_the_end
from tests.world.daemon import DaemonProcess

HERE = Path(__file__).parent
KILLS = 5
NODE = ("node", "--experimental-websocket")


def by_rest(ended: Ended) -> str:
    """The history by REST, raw: what lies between the brackets of each page."""
    found: list[str] = []
    address: str | None = "/agents/current/events?since=0&limit=500"
    while address is not None:
        page = ended.client.get(address)
        found.append(page.text[1:-1])
        address = page.links.get("next", {}).get("url")
    return ",".join(found)


@pytest.mark.parametrize("seed", [1])
def test_a_daemon_that_is_killed_at_random_costs_it_no_frame(
    start_daemon: Callable[..., DaemonProcess], tmp_path: Path, seed: int
) -> None:
    random, files = Random(seed), made_up(tmp_path, 1200, seed)
    script, pipe = str(HERE / "follow.mjs"), subprocess.PIPE
    with subprocess.Popen([*NODE, script], stdin=pipe, stdout=pipe, stderr=pipe, text=True) as node:
        assert node.stdin is not None
        assert node.stdout is not None
        lines = (line.rstrip("\n") for line in node.stdout)
        got: list[str] = []
        for _ in range(KILLS):
            daemon = start_daemon(*files.flags, "--speed", "300")
            node.stdin.write(daemon.ready() + "\n")
            node.stdin.flush()
            for _ in range(random.randint(1, 200)):
                got.append(next(lines))
            daemon.kill()
        daemon = start_daemon(*files.flags, "--speed", "max")
        node.stdin.write(daemon.ready() + "\n")
        node.stdin.flush()
        ended = at_the_end(daemon, files.end)
        while len(got) < ended.head:
            got.append(next(lines))
        node.kill()
    assert got == list(ended.frames)
    assert ",".join(got) == by_rest(ended)
