"""The tags of a trace, and which texts would break one: every tag of the project stands here."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import NamedTuple

THINK, END_THINK = "<think>", "</think>"
SAMPLE, END_SAMPLE = "<sample>", "</sample>"
REFLECT, END_REFLECT = "<reflect>", "</reflect>"
ANSWER, END_ANSWER = "<answer>", "</answer>"

# The patterns below are read by Python's `re` and by Arrow's RE2 alike. Each begins with one
# literal character: RE2 then jumps from one to the next (7 GB/s here), which an alternation would
# stop.

ANY_TAG = r"</?(?:think|sample|reflect|verdict|answer)>"
"""Every tag of ours. No phrase and no final answer may hold one."""

FOREIGN_IN_ATTEMPT = r"</?(?:think|sample|reflect|verdict)>"
"""Tags that break an attempt; its own ``<answer>`` pairs may stay, if they are pairs."""

FOREIGN_IN_REFLECTION = r"</?(?:think|sample|reflect|answer)>"
"""Tags that break a reflection; its own ``<verdict>`` pair may stay."""

CHAT_TOKENS = (
    r"<(?:\|[^\s<>|]+\|?|[^\s<>|]+\||｜[^<>\s]+｜|/?s|<SYS>|</SYS>"
    r"|(?i:bos|eos|pad|unk|eot|eod|sop|eop|mask|cls|sep|bos_token|eos_token|pad_token|im_start|im_end)"
    r"|(?:start|end)_of_\w+|fim_\w+|repo_name|file_sep|extra_id_\d+|unused_?\d+|reserved_\w+"
    r"|/?tool_call|/?tool_response)>",
    r"\[(?:/?INST|[gs]?MASK|PAD|CLS|SEP|UNK|BOS|EOS|IMG|IMG_BREAK|IMG_END|/?SYSTEM_PROMPT|/?THINK"
    r"|ARGS|CALL_ID|/?TOOL_[A-Z_]+|/?AVAILABLE_TOOLS|UNUSED_TOKEN_\d+)\]",
)
"""Special tokens of ChatML, Llama, Qwen, DeepSeek, Gemma, GLM, Mistral, StarCoder, T5, InternLM and
others, by their shapes: which of them a tokenizer has is not known here. A trainer's tokenizer
turns them into real special tokens even in the middle of a text (measured with LLaMA-Factory
0.9.5)."""

ANSWER_TAG = r"</?answer>"
VERDICT_TAG = r"</?verdict>"
SEVERAL_VERDICTS = f"(?s){VERDICT_TAG}.*{VERDICT_TAG}.*{VERDICT_TAG}"
"""More tags of verdicts than one pair has."""

SPACE_RE2 = r"\s\v\x1c-\x1f\x{85}\pZ"
"""The inside of an RE2 character class for what Python calls white space; RE2's own ``\\s`` is
ASCII only."""


class Verdict(StrEnum):
    """What a reflection says of its attempt. No verdict is `None`, which is not `INCORRECT`."""

    CORRECT = "Correct"
    INCORRECT = "Incorrect"


def _any_case(word: str) -> str:
    """Spelt out, as the engines' own ways differ in what they take for an I."""
    return "".join(f"[{letter.upper()}{letter.lower()}]" for letter in word)


def verdict_re2(verdict: Verdict) -> str:
    """RE2 pattern of a verdict pair that says `verdict`, in any case, with white space around."""
    return f"<verdict>[{SPACE_RE2}]*{_any_case(verdict)}[{SPACE_RE2}]*</verdict>"


_ANSWER = re.compile(ANSWER_TAG)
_VERDICT = re.compile(VERDICT_TAG)
_ASKED_FOR = re.compile(r"</?(answer|verdict)>")
_ASKED_PAIR = re.compile(r"<(answer|verdict)>((?:(?!</?\1>).)*)</\1>", re.DOTALL)
_BETWEEN = {"", "and", "...", "…"}
"""What stands in a pair that is only spoken of, as in "between <answer> and </answer>"."""
_VERDICT_PAIR = re.compile(
    rf"<verdict>\s*({_any_case(Verdict.CORRECT)}|{_any_case(Verdict.INCORRECT)})\s*</verdict>"
)


class VerdictReading(NamedTuple):
    """A verdict and the span of its word."""

    verdict: Verdict
    start: int
    end: int


def answers_are_pairs(text: str) -> bool:
    """Whether the ``<answer>`` tags of `text` (perhaps none) are closed pairs, one after the other.

    >>> answers_are_pairs("<answer>4</answer>"), answers_are_pairs("so <answer>4")
    (True, False)
    """
    return are_pairs(_ANSWER.findall(text))


def are_pairs(tags: list[str]) -> bool:
    """Whether tags of one name open and close in turns."""
    if len(tags) == 2:
        return not tags[0].startswith("</") and tags[1].startswith("</")
    opening, closing = tags[::2], tags[1::2]
    return len(opening) == len(closing) and not any(
        one.startswith("</") or not other.startswith("</")
        for one, other in zip(opening, closing, strict=True)
    )


def final_answer(text: str) -> str | None:
    """What a completion gives as its answer, stripped: the text of the last ``<answer>`` pair after
    the last ``</think>``, of the whole text where there is none; None if there is no such pair.

    A pair is an opening tag and the very next answer tag, if that closes it.

    >>> final_answer("<think> <answer>3</answer> </think> <answer> 4 </answer> <answer>5")
    '4'
    """
    opened, found = None, None
    closing = text.rfind(END_THINK)
    for tag in _ANSWER.finditer(text, max(closing, 0)):
        if tag[0] == ANSWER:
            opened = tag.end()
        elif opened is not None:
            opened, found = None, (opened, tag.start())
    return None if found is None else text[slice(*found)].strip()


def untagged(text: str) -> str:
    """A text with the tags that prompts ask for, ``<answer>`` and ``<verdict>``, taken off: a pair
    leaves what is in it, and one that is only spoken of leaves its name.

    >>> untagged("Put it between <answer> and </answer>. So <answer>7</answer>. An <answer> is")
    'Put it between answer. So 7. An answer is'
    """
    if not _ASKED_FOR.search(text):
        return text
    text = _ASKED_FOR.sub(_spoken_of, _ASKED_PAIR.sub(_inside, text))
    return _ASKED_FOR.sub(" ", text)  # what was put together just now


def _inside(pair: re.Match[str]) -> str:
    name, inner = pair.groups()
    return name if inner.strip(" \n`'\"") in _BETWEEN else inner


def _spoken_of(tag: re.Match[str]) -> str:
    """The name of a tag, if it stands as a word of its own."""
    around = (
        tag.string[max(0, tag.start() - 1) : tag.start()] + tag.string[tag.end() : tag.end() + 1]
    )
    return "" if re.search(r"\w", around) else tag[1]


def is_thinking(text: str) -> bool:
    """Whether a ``<think>`` is open at the end of a text: it was cut off before it came to its
    answer.

    >>> is_thinking("<think> is it <answer>3</answer>?"), is_thinking("it </think> is <think>")
    (True, True)
    """
    return text.rfind(THINK) > text.rfind(END_THINK)


def read_verdict(reflection: str, offset: int = 0) -> VerdictReading | None:
    """The verdict of a reflection, its span shifted by `offset`; None unless there is exactly one.

    Two verdicts are no verdict, even if they agree: it is not known which one the model meant.

    >>> read_verdict("2+2 is 4. <verdict> correct </verdict>")
    VerdictReading(verdict=<Verdict.CORRECT: 'Correct'>, start=20, end=27)
    """
    if len(_VERDICT.findall(reflection)) != 2:
        return None
    match = _VERDICT_PAIR.search(reflection)
    if match is None:
        return None
    return VerdictReading(
        Verdict(match[1].capitalize()), offset + match.start(1), offset + match.end(1)
    )
