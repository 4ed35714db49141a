"""What models put around an answer: invisible characters, typographic signs, Markdown, HTML, LaTeX.

Each function reads a text once from its start to its end: its time grows with the length alone.
"""

from __future__ import annotations

import re

_INVISIBLE = (0xAD, 0x61C, 0x180E, *range(0x200B, 0x2010), *range(0x202A, 0x202F))
_INVISIBLE += (*range(0x2060, 0x2070), *range(0xFE00, 0xFE10), 0xFEFF)
_TYPED = str.maketrans(
    {
        **dict.fromkeys(_INVISIBLE, ""),
        **{0xFF01 + place: chr(0x21 + place) for place in range(94)},  # full-width ASCII
        **dict.fromkeys(map(chr, (0xA0, *range(0x2000, 0x200B), 0x202F, 0x205F, 0x3000)), " "),
        **dict.fromkeys("‐‑‒–—―−﹣⁃", "-"),
        **dict.fromkeys("‘’‚‛ʼ´", "'"),
        **dict.fromkeys("“”„‟«»‹›「」『』《》〈〉″", '"'),
        **dict(zip("、。【】〔〕﹦﹢", ",.[][]=+", strict=True)),
        **dict.fromkeys("\u0085\u2028\u2029\v\f", "\n"),
    }
)
_TICKS = dict.fromkeys(map(ord, "✓✔✅☑"), " ")
_TAG = re.compile(r"</?[A-Za-z][A-Za-z0-9_-]{0,20}\s?/?>|<\|[A-Za-z_]{1,30}\|>")
_LINE_TAG = re.compile(r"<br\s?/?>", re.I)
_FENCE = re.compile(r"```[ \t]*[A-Za-z+]*(?=\s|$)")
_LINE_MARK = re.compile(r"^[ \t]*(?:#{1,6}[ \t]|[*•‣◦▪][ \t])[ \t]*", re.M)
_BOLD = re.compile(r"\*{2,3}")
_EMPHASIS = re.compile(r"(?<![\w)\]}*])\*(?=[^\s*])|(?<=[^\s*])\*(?![\w(\[{\\*])")
_UNDERLINE = re.compile(r"(?<!\w)__(?=[^\s_])|(?<=[^\s_])__(?!\w)")
_LATEX = re.compile(
    r"\\(?:boxed|fbox|(?:text|math)(?:bf|it|rm|tt|sf|sc|bb|cal|normal|up)?|operatorname|displaystyle"
    r"|emph|bf|rm|left|right|[bB]ig[lrg]?|quad|qquad|checkmark)(?![A-Za-z])|\\[()\[\],;:! ]|[${}]"
)
_BACKSLASHES = re.compile(r"\\{2,}([A-Za-z])?")
_ESCAPED = re.compile(r"\\([*_#%&$~-])")


def typed(text: str) -> str:
    r"""A text as a keyboard would have it: plain spaces, quotes, dashes and digits, nothing unseen.

    >>> typed("2\N{EN DASH}1\N{ZERO WIDTH SPACE}")
    '2-1'
    """
    return text if text.isascii() else text.translate(_TYPED)


def without_markdown(text: str) -> str:
    """A typed text without HTML tags, fences, headings, bold type and escapes of Markdown.

    Two stars between operands stay: they are a power.

    >>> without_markdown("**2 + 3** = 5"), without_markdown("2**3**2")
    ('2 + 3 = 5', '2**3**2')
    """
    if "<" in text:
        text = _TAG.sub("", _LINE_TAG.sub("\n", text))
    if "`" in text:
        text = _FENCE.sub("\n", text).replace("`", "")
    if "**" in text:
        text = "\n".join(map(_without_bold, text.split("\n")))
    return _ESCAPED.sub(r"\1", text) if "\\" in text else text


def _without_bold(line: str) -> str:
    marks = [match.span() for match in _BOLD.finditer(line)]
    stripped = line.strip()
    if len(marks) == 1:  # cut off, or the other one stands on another line
        alone = stripped.startswith("**") or stripped.endswith("**")
        return line.replace("*" * (marks[0][1] - marks[0][0]), "") if alone else line
    if len(marks) % 2 or not all(
        _closes(line, *mark) if place % 2 else _opens(line, *mark)
        for place, mark in enumerate(marks)
    ):
        return line
    return _BOLD.sub("", line)


def _opens(line: str, start: int, end: int) -> bool:
    before, after = line[max(0, start - 1) : start], line[end : end + 1]
    return not (before.isdigit() or before in tuple(")]}")) and bool(after.strip())


def _closes(line: str, start: int, end: int) -> bool:
    before, after = line[start - 1 : start], line[end : end + 1]
    return bool(before.strip()) and not (after.isdigit() or after in tuple("([{\\"))


def unmarked(text: str) -> str:
    """A text in keyboard signs without Markdown and ticks, and without LaTeX's boxes, fonts and
    braces.

    >>> unmarked(r"**\\text{B}**")
    ' B'
    """
    text = _LINE_MARK.sub("", without_markdown(typed(text).translate(_TICKS)))
    text = _UNDERLINE.sub("", _EMPHASIS.sub("", text))
    if "\\\\" in text:
        text = _BACKSLASHES.sub(lambda match: f"\\{match[1]}" if match[1] else "\n", text)
    if "\\" in text or "$" in text or "{" in text or "}" in text:
        text = _LATEX.sub(lambda match: "" if match[0] in "{}" else " ", text)
    return text


def tidy(text: str) -> str:
    """A text with single spaces, and single line breaks without spaces around them."""
    lines = (" ".join(line.split()) for line in text.split("\n"))
    return "\n".join(line for line in lines if line)
