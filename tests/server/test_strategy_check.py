"""A strategy's text, looked at as somebody types it."""

from __future__ import annotations

from typing import Any

import pytest

from server import strategies
from tests.server.clients import Ended, change

GOOD = strategies.text("mean-reversion-v1")


def check(busy: Ended, text: object) -> Any:
    answer = change(busy.base, {"text": text}, "/strategies/check", "POST")
    assert answer.status == 200, answer.body
    return answer.json


def test_a_good_text_becomes_a_document_that_can_be_adopted_and_run(busy: Ended) -> None:
    before = busy.get("/config").json()
    found = check(busy, GOOD)
    assert (found["valid"], found["errors"], found["spec"]["name"]) == (True, [], "mean-reversion-v1")
    assert busy.get("/config").json() == before
    ready = busy.client.get("/strategies").json()
    assert [it["name"] for it in ready] == list(strategies.names())
    for it in ready:
        if it["name"] != "fear-and-greed-v1":  # wants an outside series
            assert check(busy, it["text"])["valid"], it["name"]


MISTAKES = {
    "no YAML": ("market_mode: [spot", "line 1"),
    "another market": (GOOD.replace("spot", "futures", 1), "futures"),
    "a wrong operator": (GOOD.replace('"<="', '"=<"', 1), "=<"),
    "a key that does not exist": (GOOD + "\nstop_loss: 3\n", "stop_loss"),
    "a series that this market lacks": (strategies.text("fear-and-greed-v1"), "fear_and_greed"),
    "a list": ("- 1\n", "must be a table"),
    "nothing": ("", "must be a table"),
    "too long a text": ("#" * 20_000, "16,384 characters"),
    "aliases": ("a: &a [1]\nb: [*a, *a]\n", "aliases"),
    "depths": ("[" * 5000, "levels"),
    "a tag": ("!!python/object/apply:os.system [true]", "not valid YAML"),
    "a control character": ("name: \x00", "YAML"),
    "a value that its tag does not know": ("a: !!bool abc", "not valid YAML"),
    "a time that is none": ("a: !!timestamp abc", "not valid YAML"),
    "a number of no digits": ("a: !!int ''", "not valid YAML"),
    "a number without end": ("a: " + "59:" * 3000 + "59.5", "not valid YAML"),
    "a day that is not": ("a: 2026-02-30", "not valid YAML"),
    "a character beyond all": ('a: "\\UFFFFFFFF"', "not valid YAML"),
    "half a character": (GOOD + '\n"\\uD800": 1\n', "not valid YAML"),
}


@pytest.mark.parametrize("text", [17, None, ["a"], {}])
def test_what_is_no_text_is_no_mistake_in_one(busy: Ended, text: object) -> None:
    answer = change(busy.base, {"text": text}, "/strategies/check", "POST")
    assert (answer.status, answer.code) == (422, "VALIDATION_ERROR")


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_named(busy: Ended, mistake: str) -> None:
    text, words = MISTAKES[mistake]
    found = check(busy, text)
    assert not found["valid"]
    assert found["spec"] is None
    assert words in " ".join(found["errors"])
