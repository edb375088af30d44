"""What daemon and guard say to each other is read exactly as it was written, or not at all."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.signing import (
    Anchor,
    Answer,
    Broken,
    GuardStatus,
    Malformed,
    NotSent,
    Question,
    ReadGuard,
    Recall,
    Recalled,
    Refused,
    Restore,
    Restored,
    Revoke,
    Revoked,
    Sent,
    Signed,
    SignTransaction,
    SwapByTwak,
    Transaction,
    Unknown,
    read_answer,
    read_question,
    to_line,
)
from tests.guard.chain import CAKE, USDT
from tests.guard.houses import anchor

BIG = 2**256 - 1
QUESTIONS: list[Question] = [
    ReadGuard(),
    SignTransaction("order_1:approve", Transaction(56, 0, USDT, BIG, "0x", 1, 1), Anchor("log_ab", BIG, "0" * 64)),
    SwapByTwak("order_1", USDT, CAKE, BIG, 0, BIG, anchor()),
    Recall("a.b/c:d-e_f"),
    Revoke("said so"),
    Restore("words", 'a password, "quoted" and in Ünïcode'),
]
STATUS = GuardStatus(
    "local", CAKE, 56, USDT, {"CAKE": CAKE}, Decimal("0.1"), Decimal(200), Decimal("123.000000000000000001"), True,
    "2027-01-15T08:00:00.000Z", "x", anchor(7), "1", 3,
)  # fmt: skip
VERDICTS = (Sent("0x1"), NotSent("NO_ROUTES"), Unknown("who knows", "0x2"), Unknown("who knows"), None)
ANSWERS: list[Answer] = [
    STATUS,
    GuardStatus("twak", CAKE, 56, USDT, {}, Decimal(1), Decimal(1), Decimal(0), False, None, None, None, "1"),
    Signed("0xab", "0xcd"),
    Refused("allowlist", "No.", "a", "b"),
    *(verdict for verdict in VERDICTS if verdict is not None),
    *(Recalled((Signed("0x1", "0x2"), Signed("", "0x3")), verdict) for verdict in VERDICTS),
    Revoked("2027-01-15T08:00:00.000Z"),
    Restored(),
    Malformed("no"),
    Broken("no"),
]


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: question.kind)
def test_a_question_is_read_as_it_was_written(question: Question) -> None:
    line = to_line(question)
    assert line.count(b"\n") == 1
    assert read_question(line) == question


@pytest.mark.parametrize("answer", ANSWERS, ids=lambda answer: answer.kind)
def test_an_answer_is_read_as_it_was_written(answer: Answer) -> None:
    assert read_answer(to_line(answer)) == answer


@given(st.sampled_from(QUESTIONS), st.data())
def test_a_question_that_is_changed_anywhere_is_another_one_or_none(question: Question, data: st.DataObject) -> None:
    line = bytearray(to_line(question)[:-1])
    at = data.draw(st.integers(0, len(line) - 1))
    line[at] = data.draw(st.integers(0, 255).filter(lambda byte: byte != line[at]))
    try:
        read = read_question(bytes(line))
    except ValueError:
        return
    assert read != question or type(read) is ReadGuard


@given(st.binary(max_size=200))
def test_any_bytes_are_a_question_or_a_value_error(line: bytes) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        read_question(line)


def test_no_complaint_repeats_what_was_sent() -> None:
    line = to_line(Restore("words", "a secret of mine")).replace(b'"a secret of mine"', b'["a secret of mine"]')
    with pytest.raises(ValueError, match="there must be text") as raised:
        read_question(line)
    assert "secret of mine" not in str(raised.value)
