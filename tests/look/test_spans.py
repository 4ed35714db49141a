"""Traces as spans: joined they are the text, whatever the text is."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from skill_factory.core.markup import Step, Trace, write
from skill_factory.look.spans import Kind, spans_of

TAGS = [f"<{slash}{name}>" for name in ("think", "sample", "reflect", "verdict", "answer")
        for slash in ("", "/")]  # fmt: skip
anything = st.lists(st.sampled_from([*TAGS, "\n", "a", " b ", "Correct", "é"]), max_size=40)

WRONG = Step("It is 5.\n<answer>5</answer>", "No.\n<verdict>Incorrect</verdict>")
RIGHT = Step("It is 4.\n<answer>4</answer>", "No, it is 5.\n<verdict>Incorrect</verdict>")
TRACE = Trace(
    (WRONG, RIGHT), ("Once more.",), "So:", "4", "Back to it:", "It is 4.\n<answer>4</answer>"
)


@given(anything.map("".join), st.lists(st.sampled_from([True, False, None]), max_size=4))
def test_spans_of_any_text_join_to_it(text: str, correct: list[bool | None]) -> None:
    spans = spans_of(text, correct)
    assert "".join(span.text for span in spans) == text
    assert all(text[span.start : span.end] == span.text for span in spans)
    assert all(span.text for span in spans)


def test_a_trace_has_each_of_its_parts_with_its_truth() -> None:
    spans = spans_of(write(TRACE), [False, True], answer_of=1, restated=1)
    assert [span.name for span in spans if span.kind is not Kind.TAG] == [
        "attempt 1, wrong",
        "reflection on attempt 1, true: Incorrect",
        "glue",
        "attempt 2, right",
        "reflection on attempt 2, false: Incorrect",
        "lead",
        "restated attempt 2, right",
        "closing",
        "answer, right",
    ]
    assert Kind.OTHER not in {span.kind for span in spans}


def test_text_that_belongs_to_no_part_is_told_apart() -> None:
    spans = spans_of("Let me see.\n<think>\n<sample>\n4\n</sample>\nso\n</think>")
    assert [(span.kind, span.text) for span in spans if span.kind is Kind.OTHER] == [
        (Kind.OTHER, "Let me see."),
        (Kind.OTHER, "so"),
    ]
