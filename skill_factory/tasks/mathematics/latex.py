"""LaTeX that math-verify's parser reads as it was meant."""

from __future__ import annotations

import re

_NOT_MATHEMATICS = re.compile(
    r"(?<![\\A-Za-z{])(?:[A-Za-z]{5,}|if|for|when|where|mod|is|are|the|of)(?![A-Za-z}])"
)
_ATOM = re.compile(
    r"\\begin\{[a-z]+\}|\\end\{[a-z]+\}|\\variable\{[A-Za-z]+\}"
    r"|\\frac\s*\{\s*d\s*([A-Za-z])\s*\}\s*\{\s*d\s*([A-Za-z])\s*\}"
    r"|(\\(?:dot|ddot|bar|overline|overrightarrow|vec|hat|tilde|widehat|mathcal|mathbb|angle"
    r"|triangle)\s*\{[^{}]*\}|\\[A-Za-z]+|[A-Za-z])"
    r"(\s*_\s*(?:\{[^{}]*\}|[A-Za-z0-9]|\\[A-Za-z]+))?((?:'|\^\{\\prime\})*)"
)
_KEPT_TEXT = (
    "frac sqrt binom cdot times sin cos tan cot sec csc arcsin arccos arctan arccot arcsec "
    "arccsc sinh cosh tanh arsinh arcosh artanh ln exp max min gcd lcm lfloor rfloor lceil "
    "rceil infty cup cap setminus emptyset le ge ne in mod sum prod int lim langle rangle pi "
    "degree log mathbb"
)
_KEPT = frozenset(_KEPT_TEXT.split())
_CORNERS = re.compile(r"\\(angle|triangle)\s*([A-Z]+)")
_IN_DEGREES = re.compile(r"(?<![\d.])(\d+(?:\.\d+)?)\s*\\degree")
_NATURAL = re.compile(r"\\log\s*_\s*(?:e|\{\s*e\s*\})")
_ALONE = frozenset("TId")
_TWO_NUMBERS = re.compile(r"(?<![\w}^\\.])\d+(?:\.\d*)?(?:\s+\d|\s*')")
_SAYS = re.compile("[A-Za-z0-9]")
_ODD_CHARACTERS = re.compile("[^A-Ya-z]")


def is_mathematics(text: str) -> bool:
    """Whether a text can be LaTeX: it holds no words, no two numbers side by side, and no
    number with a mark, as for feet."""
    return bool(
        _SAYS.search(text) and not _NOT_MATHEMATICS.search(text) and not _TWO_NUMBERS.search(text)
    )


def for_parser(text: str) -> str:
    r"""LaTeX whose letters are safe from the parser.

    It takes `x'` and `x^T` for transposed, drops what is under some letters, cannot read `E_1`, and
    takes gamma for a number. So an unusual letter becomes a `\variable`.
    """
    text = _CORNERS.sub(r"\\\1{\2}", text)
    text = _IN_DEGREES.sub(r"\\frac{\1\\pi}{180}", text)
    text = _NATURAL.sub(r"\\ln ", text).replace(r"\lg", r"\log_{10}")
    return _ATOM.sub(_safe_atom, text)


def _safe_atom(found: re.Match[str]) -> str:
    if found[1]:
        return _variable(f"d{found[1]}_d{found[2]}")
    base, script, primes = found[3], found[4] or "", found[5] or ""
    if base is None:
        return found[0]
    command = base.lstrip("\\").split("{")[0].strip()
    if base.startswith("\\") and command in _KEPT:
        return found[0]
    if not script and not primes and base not in _ALONE and len(base) == 1:
        return base
    if base == "I" and found.string[found.end() :].lstrip().startswith("("):
        return base
    return _variable(base + script + "'" * (primes.count("'") + primes.count("prime")))


def _variable(name: str) -> str:
    plain = re.sub(r"[\s{}\\]", "", name)
    return rf"\variable{{{_ODD_CHARACTERS.sub(_as_letters, plain)}}} "


def _as_letters(sign: re.Match[str]) -> str:
    """A sign as letters, all that the parser allows in a name."""
    return f"Z{chr(65 + ord(sign[0]) // 26 % 26)}{chr(65 + ord(sign[0]) % 26)}"
