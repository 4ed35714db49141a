"""Traces written and read back, and the texts that would break them."""

from __future__ import annotations

import re

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skill_factory.core import markup
from skill_factory.core import trace_tags as tags
from skill_factory.core.markup import Step, Trace, read, write
from skill_factory.core.trace_tags import Verdict, read_verdict

# Bits that are near our tags without being them, and characters that careless code changes.
NEAR = ["<", ">", "</", "<sample", "think>", "<Sample>", "< think >", "<answer/>", "&lt;sample&gt;"]
ODD = [
    "\n",
    "\r\n",
    "\u2028",
    "\u00a0",
    "{",
    "}",
    "{0}",
    "%",
    "%s",
    "\\",
    "\\n",
    "\U0001f600",
    "好",
]


def without_tags(text: str) -> bool:
    return re.search(tags.ANY_TAG, text) is None


pieces = st.one_of(st.sampled_from(NEAR + ODD), st.text(st.characters(codec="utf-8"), max_size=6))
plain = st.lists(pieces, max_size=8).map("".join).filter(without_tags)
said = plain.filter(bool)
phrases = plain.map(lambda text: text.replace("\n", " ")).filter(
    lambda t: bool(t) and without_tags(t)
)
tried = st.one_of(said, st.tuples(plain, plain).map(lambda t: f"{t[0]}<answer>{t[1]}</answer>"))
verdicts = st.sampled_from(["Correct", "INCORRECT", " correct\n", "maybe", ""])
judged = st.one_of(
    plain, st.tuples(plain, verdicts).map(lambda t: f"{t[0]}<verdict>{t[1]}</verdict>")
)


@st.composite
def traces(draw: st.DrawFn) -> Trace:
    steps = draw(
        st.lists(st.builds(Step, tried, st.one_of(st.none(), judged)), min_size=1, max_size=5)
    )
    glue = [draw(phrases) for _ in steps[1:]]
    lead = draw(st.one_of(st.none(), phrases))
    again = None
    if lead is not None and draw(st.booleans()):
        again = draw(st.sampled_from(steps)).attempt
    return Trace(tuple(steps), tuple(glue), draw(phrases), draw(plain), lead, again)


@pytest.mark.slow
@given(traces())
def test_what_is_written_is_read_back(trace: Trace) -> None:
    text = write(trace)
    reading = read(text)
    assert reading.problems == ()
    assert reading.trace == trace
    parts = [*reading.attempts, *reading.glue, *(r.part for r in reading.reflections)]
    parts += [p for p in (reading.lead, reading.restated, reading.closing, reading.answer) if p]
    for part in parts:
        assert text[part.start : part.end] == part.text
    for reflection in reading.reflections:
        if reflection.verdict:
            word = text[reflection.verdict.start : reflection.verdict.end]
            assert word.capitalize() == reflection.verdict.verdict


@given(st.text(max_size=200), st.lists(st.sampled_from(re.findall(r"<\w+>", markup.__doc__ or ""))))
def test_reading_anything_does_not_raise(text: str, tags: list[str]) -> None:
    reading = read("".join(tags) + text + "".join(tags))
    assert reading.trace is None or write(reading.trace) == "".join(tags) + text + "".join(tags)


GOOD = write(
    Trace(
        (Step("a", "no <verdict>Incorrect</verdict>"), Step("b", "yes <verdict>Correct</verdict>")),
        ("again",),
        "so",
        "4",
    )
)


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("<think>\n", "", "does not begin with <think>"),
        ("<think>\n", "<think>\n<think>\n", "a second <think>"),
        ("</think>", "", "no </think>"),
        ("</think>", "</think></think>", "a second </think>"),
        ("<sample>\na", "<sample>\n<sample>\na", "<sample> is not closed"),
        ("</sample>\n<reflect>\nyes", "<reflect>\nyes", "<sample> is not closed"),
        ("</reflect>\nagain", "again", "<reflect> is not closed"),
        ("</sample>\n<reflect>\nyes", "</sample></sample>\n<reflect>\nyes", "closes nothing"),
        ("<sample>\na", "hm <sample>\na", "text before the first attempt"),
        ("</sample>\n<reflect>\nno", "</sample>\nhm\n<reflect>\nno", "between an attempt and its"),
        ("\nagain\n", "\n", "no glue phrase"),
        ("</reflect>\n</think>", "</reflect>\nhm\n</think>", "text after the last block"),
        ("<sample>\na\n</sample>\n", "", "a reflection without an attempt"),
        ("<sample>\na\n", "<sample>a\n", "not on a line of its own"),
        ("<sample>\na\n", "<sample>\n<verdict>a\n", "<verdict> inside <sample>"),
        ("<sample>\na\n", "<sample>\n<answer>a\n", "unpaired </?answer>"),
        ("no <verdict>", "no <verdict><verdict>", "unpaired </?verdict>"),
        ("\nagain\n", "\nagain <answer>\n", "<answer> where no tag belongs"),
        ("\nagain\n", "\nonce\nagain\n", "a glue phrase of several lines"),
        ("\n\nso\n\n", "\n\nso <reflect>\n\n", "<reflect> where no tag belongs"),
        ("\n\nso\n\n", "\n\nlead <verdict>\nso\n\n", "<verdict> where no tag belongs"),
        ("\n\nso\n\n", "\n\nlead\n\nso\n\n", "an empty attempt given again"),
        ("\n4\n", "\n<sample>4\n", "<sample> where no tag belongs"),
        ("no <verdict>", "no <answer>1</answer><verdict>", "<answer> inside <reflect>"),
        ("<answer>\n4\n</answer>", "", "no final <answer>"),
        ("4\n</answer>", "4", "is not closed"),
        ("</answer>", "</answer> bye", "text after the final answer"),
        ("\n\nso\n\n", "\n\n", "no closing phrase"),
        ("\n\nso\n\n", "\n\nback\nc\nso\n\n", "none of those before"),
    ],
)
def test_each_kind_of_damage_is_named(old: str, new: str, problem: str) -> None:
    assert old in GOOD
    reading = read(GOOD.replace(old, new, 1))
    assert reading.trace is None
    assert any(problem in found.what for found in reading.problems), reading.problems


def test_what_is_left_of_a_damaged_trace_is_still_read() -> None:
    reading = read(GOOD.replace("</think>", ""))
    assert [part.text for part in reading.attempts] == ["a", "b"]
    verdicts = [r.verdict.verdict for r in reading.reflections if r.verdict]
    assert verdicts == [Verdict.INCORRECT, Verdict.CORRECT]


@pytest.mark.parametrize(
    "trace",
    [
        Trace((), (), "so", "4"),
        Trace((Step("a", None),), ("glue",), "so", "4"),
        Trace((Step("a", None),), (), "", "4"),
        Trace((Step("a", None),), (), "two\nlines", "4"),
        Trace((Step("a", None),), (), "so", "4", restated="a"),
        Trace((Step("", None),), (), "so", "4", lead="back", restated=""),
    ],
)
def test_a_trace_that_could_not_be_read_back_is_not_written(trace: Trace) -> None:
    with pytest.raises(ValueError, match=r"phrase|attempt"):
        write(trace)


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("<verdict>Correct</verdict>", Verdict.CORRECT),
        ("x <verdict> \n iNCORRECT\u00a0</verdict> y", Verdict.INCORRECT),
        ("<verdict>\u3000Correct\x1c</verdict>", Verdict.CORRECT),
        ("<verdict>Correct.</verdict>", None),
        ("<verdict>\u0130ncorrect</verdict>", None),
        ("<verdict>\u0131ncorrect</verdict>", None),
        ("<verdict></verdict>", None),
        ("<verdict>Correct", None),
        ("Correct", None),
        ("<VERDICT>Correct</VERDICT>", None),
        ("<verdict>Correct</verdict><verdict>Correct</verdict>", None),
        ("<verdict>Correct</verdict> or <verdict>Incorrect</verdict>", None),
        ("<verdict>Correct</verdict> </verdict>", None),
    ],
)
def test_a_verdict_is_one_pair_with_one_of_two_words(text: str, verdict: Verdict | None) -> None:
    found = read_verdict(text)
    assert (found.verdict if found else None) == verdict


@given(st.one_of(judged, st.from_regex(r"<verdict>\s?(?i:incorrect|correct)\s?</verdict>")))
def test_arrow_reads_the_verdicts_that_python_reads(text: str) -> None:
    found = read_verdict(text)
    column = pa.array([text])
    for verdict in Verdict:
        matched = pc.match_substring_regex(column, tags.verdict_re2(verdict))[0].as_py()
        assert matched == (found is not None and found.verdict is verdict)


TOKENS = [
    *("<|im_start|>", "<|im_end|>", "<|endoftext|>", "<|eot_id|>", "<|begin_of_text|>"),
    *("<|turn>", "<turn|>", "<s>", "</s>", "<bos>", "<start_of_turn>", "<end_of_turn>"),
    *("<\uff5cend\u2581of\u2581sentence\uff5c>", "<tool_call>", "</tool_response>"),
    *("<EOD>", "<PAD>", "<mask>", "<BOS_TOKEN>", "<im_start>", "<unused12>", "<start_of_image>"),
    *("<fim_prefix>", "<repo_name>", "<file_sep>", "<reserved_106>", "<extra_id_0>"),
    *("[MASK]", "[sMASK]", "[PAD]", "[CLS]", "[SEP]", "[IMG]", "[ARGS]", "[TOOL_CONTENT]"),
    *("[UNUSED_TOKEN_145]",),
    *("[INST]", "[/INST]", "<<SYS>>", "[gMASK]", "[TOOL_CALLS]"),
]


@pytest.mark.parametrize("token", TOKENS)
def test_chat_tokens_are_known(token: str) -> None:
    found = [re.search(pattern, f"a{token}b") for pattern in tags.CHAT_TOKENS]
    column = pa.array([f"a{token}b"])
    in_arrow = [pc.match_substring_regex(column, p)[0].as_py() for p in tags.CHAT_TOKENS]
    assert [match is not None for match in found] == in_arrow
    assert any(in_arrow)


@pytest.mark.parametrize("text", ["a < b | c > d", "<b>", "x <- y", "[1, 2]", "a||b", "<|>"])
def test_ordinary_text_is_no_chat_token(text: str) -> None:
    assert not any(re.search(pattern, text) for pattern in tags.CHAT_TOKENS)
