"""The JavaScript client, in Node, where no daemon answers: what it cannot cure it throws, else it comes back."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.server.clients import PATIENCE
from tests.world.elsewhere import CURABLE, INCURABLE, elsewhere, page

HERE = Path(__file__).parent
NODE = ("node", "--experimental-websocket", str(HERE / "tell.mjs"))
FRAMES = HERE / "frames.mjs"
TOLD = {
    "a web page": ("NOT_FORESTAY", "it answers no JSON"),
    "a page that is not there": ("UNKNOWN", "HTTP 404"),
    "an alert of TLS": ("NOT_FORESTAY", "HTTP/1.1"),
}


def told(base: str) -> dict[str, Any]:
    done = subprocess.run([*NODE, base], capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def thrown(base: str, code: str, words: str) -> None:
    found = told(base)
    assert found["waits"] == []
    assert (found["thrown"]["code"], found["thrown"]["passes"]) == (code, False)
    assert words in found["thrown"]["message"]


@pytest.mark.parametrize("case", TOLD)
def test_what_coming_back_cannot_cure_is_thrown(case: str) -> None:
    with elsewhere(INCURABLE[case]) as there:
        thrown(there.base, *TOLD[case])


def test_an_answer_of_another_api_is_thrown() -> None:
    with elsewhere(page(200, '{"hello": "world"}')) as there:
        thrown(there.base, "NOT_FORESTAY", "it names no log")


def test_in_node_a_certificate_that_nobody_trusts_is_thrown() -> None:
    with elsewhere(page(200, "{}"), tls=True) as there:
        thrown(there.base, "NOT_FORESTAY", "self-signed certificate")


@pytest.mark.parametrize("case", CURABLE)
def test_what_coming_back_can_cure_is_asked_again(case: str) -> None:
    with elsewhere(CURABLE[case]) as there:
        found = told(there.base)
    assert found["thrown"] is None
    assert len(found["waits"]) == 3
    assert all(found["waits"])
    assert there.asked[:3] == ["/agents/current"] * 3


def given(*connections: list[str]) -> dict[str, Any]:
    words = ("node", str(FRAMES), json.dumps(connections))
    found: dict[str, Any] = json.loads(subprocess.run(words, capture_output=True, timeout=PATIENCE, check=True).stdout)
    return found


def frame(seq: object) -> str:
    return json.dumps({"event": "snapshot", "seq": seq})


def test_what_came_before_does_not_come_again() -> None:
    found = given([frame(1), frame(2)], [frame(2), frame(3), frame(3), frame(4)])
    assert found == {"seqs": [1, 2, 3, 4], "thrown": None}


@pytest.mark.parametrize(
    ("second", "words"),
    [(frame(3), "from seq 1 to 3"), ("no JSON", "no JSON"), ("null", "from seq 1"), (frame("2"), "from seq 1 to 2")],
)
def test_what_is_no_next_frame_is_not_believed(second: str, words: str) -> None:
    found = given([frame(1), second])
    assert found["seqs"] == [1]
    assert found["thrown"][0] == "NOT_FORESTAY"
    assert words in found["thrown"][1]
