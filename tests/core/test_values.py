"""How single values of an annotated dataset are read."""

from __future__ import annotations

import datetime
import json
import math
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skill_factory.core.sources.values import (
    UNREADABLE,
    facts_text,
    gold_text,
    number_text,
    plain_text,
    question_text,
    read_correctness,
)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, None),
        ("4", "4"),
        (" 4\n", " 4\n"),
        ("", ""),
        (b"4 \xc3\xa9", "4 é"),
        (True, "True"),
        (False, "False"),
        (0, "0"),
        (10_000_000_000, "10000000000"),
        (2**64 + 1, "18446744073709551617"),
        (Decimal("9" * 5000), "9" * 5000),
        (5.0, "5"),
        (0.1, "0.1"),
        (1e10, "10000000000"),
        (-0.0, "0"),
        (2.5e-5, "0.000025"),
        (1e-7, "1e-07"),
        (1e20, "100000000000000000000"),
        (1e300, "1e+300"),
        (math.nan, None),
        (Decimal("2.50"), "2.5"),
        (Decimal("100"), "100"),
        (Decimal("0.00"), "0"),
        (datetime.date(2024, 2, 29), "2024-02-29"),
        (["5"], '["5"]'),
        (["Seine", "la Seine é"], '["Seine", "la Seine é"]'),
        ([1, 2.50, True, None, math.nan], '["1", "2.5", "True"]'),
        ([[1, 2], [3, 4]], "[[1, 2], [3, 4]]"),
        ([], None),
        ([None], None),
        ({"value": "Paris", "aliases": ["paris"]}, '{"aliases": ["paris"], "value": "Paris"}'),
        ({"target": 24.0, "numbers": [3, 3.5]}, '{"numbers": [3, 3.5], "target": 24}'),
        ({"value": "5", "aliases": None}, '{"value": "5"}'),
        ({"value": {"a": None}}, '{"value": {}}'),
        ({"value": None}, None),
        ({}, None),
        ({"value": Decimal("2.50"), "of": b"x"}, '{"of": "x", "value": "2.5"}'),
    ],
)
def test_a_gold_answer_as_text(value: object, text: str | None) -> None:
    assert gold_text(value) == text


@pytest.mark.parametrize(
    "value", [math.inf, -math.inf, b"\xff", [b"\xff"], [math.inf], {"value": [Decimal("inf")]}]
)
def test_a_gold_answer_that_cannot_be_read(value: object) -> None:
    with pytest.raises(UNREADABLE):
        gold_text(value)


def test_a_gold_answer_in_hundreds_of_lists_cannot_be_read() -> None:
    value: Any = "4"
    for _ in range(5000):
        value = [value]
    with pytest.raises(UNREADABLE):
        gold_text(value)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_the_text_of_a_float_names_it(number: float) -> None:
    text = number_text(number)
    assert text is not None
    assert float(text) == number
    assert not text.endswith(".0")


@given(st.integers())
def test_a_whole_number_has_one_text_whatever_holds_it(number: int) -> None:
    assert number_text(number) == number_text(Decimal(number)) == str(number)
    if abs(number) < 2**53:
        assert number_text(float(number)) == str(number)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(_JSON)
def test_any_gold_answer_of_json_is_read_or_refused(value: object) -> None:
    try:
        text = gold_text(value)
    except UNREADABLE:
        return
    if isinstance(value, list | dict) and text is not None:
        assert isinstance(json.loads(text), type(value))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        *((value, True) for value in (True, 1, 1.0, "True", "true", "TRUE", " 1", "1.0")),
        *((value, False) for value in (False, 0, 0.0, -0.0, "False", "false", "0", "0.0")),
        *((value, None) for value in (None, math.nan)),
        (Decimal(1), True),
        (Decimal("0.00"), False),
    ],
)
def test_correctness(value: object, expected: bool | None) -> None:
    assert read_correctness(value) is expected


@pytest.mark.parametrize("value", [2, -1, 0.5, math.inf, "", "yes", "2", "correct", [True], {}])
def test_what_is_not_correctness(value: object) -> None:
    with pytest.raises(ValueError, match="neither true nor false"):
        read_correctness(value)


USER, SYSTEM = {"role": "user", "content": "What?"}, {"role": "system", "content": "Be brief."}
OTHER = {"role": "assistant", "content": "Hm."}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, None),
        ("What?", "What?"),
        ([USER], "What?"),
        ([SYSTEM, USER], "What?"),
        ([USER | {"role": "User", "name": None}], "What?"),
        ([USER | {"content": None}], None),
    ],
)
def test_a_question(value: object, text: str | None) -> None:
    assert question_text(value) == text


@pytest.mark.parametrize(
    "value",
    [
        *([], [SYSTEM], [OTHER], [USER, SYSTEM], [USER, USER], [USER, OTHER]),
        *([SYSTEM, SYSTEM, USER], [USER, OTHER, USER], ["What?"], [None], [{}], 4, USER),
        [USER | {"content": [{"type": "text", "text": "What?"}]}],
    ],
)
def test_what_is_not_a_question(value: object) -> None:
    with pytest.raises(ValueError, match="not "):
        question_text(value)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, None),
        ("any text", "any text"),
        ({"seed": 1}, None),
        ({"numbers": [3.0, 5], "target": 24, "seed": 1}, '{"numbers": [3, 5], "target": 24}'),
        ({"numbers": None, "nums": [2.5], "target": 2}, '{"numbers": [2.5], "target": 2}'),
    ],
)
def test_facts(value: object, text: str | None) -> None:
    assert facts_text(value) == text


@pytest.mark.parametrize("value", [4, True, [1], [{"numbers": [1], "target": 2}]])
def test_what_is_neither_facts_nor_text(value: object) -> None:
    for read in (facts_text, plain_text):
        with pytest.raises(ValueError, match="not text"):
            read(value)
