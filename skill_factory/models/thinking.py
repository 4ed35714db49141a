"""The thinking in a model's response: where it stands, and what an attempt or a reflection has of
it.

Thinking stands between markers, of which a chat template may have written the first one; or a
server's reasoning parser has taken it out, and gives it beside the text.
"""

from __future__ import annotations

import re
from itertools import groupby
from typing import Literal, NamedTuple

from skill_factory.core.trace_tags import untagged
from skill_factory.models import Completion

Thinking = Literal["drop", "keep"]
"""What becomes of thinking: `keep`: it stands before the text, without its markers; `drop`: the
text stands alone."""


class Block(NamedTuple):
    """A piece of a response, without white space at its ends."""

    is_thinking: bool
    text: str


class Response(NamedTuple):
    """A response in its pieces; none of them is empty. `unfinished`: it did not come out of its
    thinking to a text, whatever the server says of its end."""

    blocks: tuple[Block, ...]
    unfinished: bool

    @property
    def has_thinking(self) -> bool:
        return any(block.is_thinking for block in self.blocks)

    def text(self, thinking: Thinking) -> str:
        """What an attempt or a reflection is. Kept thinking has no answer and no verdict: those are
        the text's."""
        return "\n\n".join(
            untagged(block.text) if block.is_thinking else block.text
            for block in self.blocks
            if thinking == "keep" or not block.is_thinking
        )


def read(text: str, reasoning: str = "") -> Response:
    """Read a response, and the `reasoning` that a server gave apart from it; never raises.

    A text without thinking is left as it is.

    >>> read("so it is 7</think>It is 7.").blocks
    (Block(is_thinking=True, text='so it is 7'), Block(is_thinking=False, text='It is 7.'))
    """
    pieces = _pieces(text)
    if reasoning.strip():
        pieces = _joined(_pieces(reasoning, opened=True), pieces)
    blocks = tuple(piece for piece in pieces if piece.text)
    thinking = [block.is_thinking for block in blocks]
    return Response(blocks, pieces[-1].is_thinking or (any(thinking) and all(thinking)))


def _joined(apart: list[Block], pieces: list[Block]) -> list[Block]:
    """The pieces of what a server gave apart, and those of the text."""
    apart, pieces = (
        [piece._replace(text=piece.text.strip()) for piece in part] for part in (apart, pieces)
    )
    if not any(piece.text for piece in pieces):
        return apart  # the server's parser took all, perhaps more than the thinking
    thinking = Block(True, "\n\n".join(piece.text for piece in apart if piece.text))
    return pieces if thinking in pieces else [thinking, *pieces]


class HandledCompletion(NamedTuple):
    """A `completion` with its thinking kept or dropped, and `text_alone`, the text without the
    thinking; None: the model did not think."""

    completion: Completion
    text_alone: str | None


def handle_thinking(said: Completion, thinking: Thinking) -> HandledCompletion:
    """The completion with its thinking kept or dropped. Its finish reason is "length" if its
    thinking has no end."""
    response = read(said.text, said.reasoning)
    reason = "length" if response.unfinished else said.finish_reason
    handled = said._replace(text=response.text(thinking), finish_reason=reason, reasoning="")
    return HandledCompletion(handled, response.text("drop") if response.has_thinking else None)


# -- markers --------------------------------------------------------------------------------------


class _Family(NamedTuple):
    """The `markers` of some models, with the groups `open` and `close`, and special `tokens` that
    their responses have besides. A text with a marker in it has one of the `signs`, in lower case:
    these are found a hundred times faster."""

    signs: tuple[str, ...]
    markers: re.Pattern[str]
    tokens: re.Pattern[str]


def _family(signs: str, opening: str, closing: str, tokens: str = r"(?!)") -> _Family:
    markers = re.compile(f"(?P<open>{opening})|(?P<close>{closing})")
    return _Family(tuple(signs.split()), markers, re.compile(tokens))


def _tags(*names: str) -> _Family:
    """XML tags, in any case, perhaps with attributes."""
    name, attributes = "|".join(names), r"(?:\s+[\w:.-]+\s*=[^<>]{0,200})?\s*"
    signs = " ".join(f"<{name} </{name}" for name in names)
    return _family(signs, rf"(?i:<(?:{name}){attributes}>)", rf"(?i:</(?:{name})\s*>)")


_HEAD = r"(?:<\|start\|>[^<]{0,80})?<\|channel\|>\s*"
_TAIL = r"[^<]{0,80}(?:<\|constrain\|>[^<]{0,80})?<\|message\|>"
_FAMILIES = (
    # DeepSeek-R1 and its distills, Qwen3, QwQ, GLM, MiniMax, OLMo, ...
    _tags("think", "thinking"),
    # EXAONE Deep
    _tags("thought", "thoughts"),
    _tags("reasoning"),
    # Seed-OSS
    _tags("seed:think"),
    _tags("longcat_think"),
    # Magistral
    _family("[think] [/think]", r"(?i:\[THINK\])", r"(?i:\[/THINK\])"),
    # Kimi
    _family("think▷", r"(?i:◁think▷)", r"(?i:◁/think▷)"),
    # gpt-oss: of harmony's channels only `final` is for the user
    _family(
        "<|channel|>",
        rf"{_HEAD}(?!final\b){_TAIL}",
        rf"{_HEAD}final\b{_TAIL}",
        r"<\|(?:end|return|call)\|>",
    ),
    # gpt-oss from a server that leaves special tokens out
    _family(
        "analysis assistantfinal",
        r"\A\s*analysis(?=[A-Z])|assistant(?:analysis|commentary)(?=[A-Z])",
        r"assistantfinal",
    ),
    # Gemma 4
    _family("<|channel> <channel|>", r"<\|channel>\s*\w*", r"<channel\|>"),
    # Sky-T1, Bespoke-Stratos, OpenThinker
    _family(
        "_of_thought|>",
        r"<\|begin_of_thought\|>",
        r"<\|end_of_thought\|>",
        r"<\|(?:begin|end)_of_solution\|>",
    ),
    # Command A Reasoning
    _family(
        "_thinking|>",
        r"<\|START_THINKING\|>",
        r"<\|END_THINKING\|>",
        r"<\|(?:START|END)_RESPONSE\|>",
    ),
)

_SIGNS = [(sign, family) for family in _FAMILIES for sign in family.signs]


def _pieces(text: str, opened: bool = False) -> list[Block]:
    """A text in its pieces, one at least, some perhaps empty; `opened`: it begins in thinking.

    Text is what does not come after an opening marker nor before a closing one; all else is
    thinking. So markers may be nested, or be spoken of in the thinking.
    """
    family = _family_of(text)
    if family is None:
        return [Block(opened, text)]
    spans, start = [], 0
    for marker in family.markers.finditer(text):
        closes = marker["close"] is not None
        spans.append(Block(opened or closes, text[start : marker.start()]))
        start, opened = marker.end(), not closes
    spans.append(Block(opened, text[start:]))
    joined = groupby(spans, key=lambda span: span.is_thinking)
    return [
        Block(is_thinking, family.tokens.sub("", "".join(span.text for span in part)).strip())
        for is_thinking, part in joined
    ]


def _family_of(text: str) -> _Family | None:
    """The markers that a response uses: what it begins with, else what it closes, else what it
    opens; others in it are words of its text. None: it uses none."""
    lower = text.lower()
    found = {
        family: list(family.markers.finditer(text)) for sign, family in _SIGNS if sign in lower
    }
    if not found:
        return None

    def rank(family: _Family) -> tuple[bool, bool]:
        markers = found[family]
        at_start = markers[0]["open"] is not None and not text[: markers[0].start()].strip()
        return at_start, any(marker["close"] is not None for marker in markers)

    return max((family for family in found if found[family]), key=rank, default=None)
