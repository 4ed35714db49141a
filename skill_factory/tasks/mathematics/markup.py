"""What models put around an answer, and the many ways to write the same signs, made one.

`bare` gives plain LaTeX: no boxes, dollars, bold, `\\left` or `\\text`; one sign for minus, for at
most, for a root. Every pattern runs in a time that grows with the length of the text alone.
"""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import zip_longest

LONGEST = 2_000
"""Characters of an answer that is still read, once it is out of its box."""

_GREEK_TEXT = (
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi omicron pi rho "
    "varsigma sigma tau upsilon phi chi psi omega"
)
_GREEK = _GREEK_TEXT.split()
_SIGNS = {
    **dict.fromkeys("−–—‒﹣－", "-"),
    **{"×": r"\times ", "✕": r"\times ", "⋅": r"\cdot ", "·": r"\cdot ", "•": r"\cdot "},
    **{"÷": "/", "∕": "/", "⁄": "/", "∞": r"\infty ", "±": r"\pm ", "∓": r"\mp ", "°": r"\degree "},
    **{"≤": r"\le ", "⩽": r"\le ", "≥": r"\ge ", "⩾": r"\ge ", "≠": r"\ne ", "≈": r"\approx "},
    **{"∈": r"\in ", "∪": r"\cup ", "∩": r"\cap ", "∅": r"\emptyset ", "∖": r"\setminus "},
    **{"ℝ": r"\mathbb{R}", "ℤ": r"\mathbb{Z}", "ℕ": r"\mathbb{N}", "ℚ": r"\mathbb{Q}"},
    **{"…": r"\dots ", "⋯": r"\dots ", "→": r"\to ", "⇒": r"\implies ", "∠": r"\angle "},
    **{"½": r"\frac{1}{2}", "⅓": r"\frac{1}{3}", "⅔": r"\frac{2}{3}", "¼": r"\frac{1}{4}"},
    **{"¾": r"\frac{3}{4}", "⅕": r"\frac{1}{5}", "⅙": r"\frac{1}{6}", "⅛": r"\frac{1}{8}"},
    **{"，": ", ", "、": ", ", "；": "; ", "：": ":", "（": "(", "）": ")", "％": "%"},
    **{"’": "'", "′": "'", "‘": "'", "“": '"', "”": '"', "≡": r"\equiv ", "⟨": r"\langle "},
    **{"⟩": r"\rangle ", "⌊": r"\lfloor ", "⌋": r"\rfloor ", "⌈": r"\lceil ", "⌉": r"\rceil "},
    **dict.fromkeys("\u00a0\u2009\u202f\u2002\u2003\t\r", " "),
    **dict.fromkeys("✓✔✅☑", " "),
    **dict.fromkeys("\u200b\u200c\u200d\u2060\ufeff", ""),
    **{chr(0x3B1 + place): rf"\{name} " for place, name in enumerate(_GREEK)},
    **{"Γ": r"\Gamma ", "Δ": r"\Delta ", "Θ": r"\Theta ", "Λ": r"\Lambda ", "Π": r"\Pi "},
    **{"Σ": r"\Sigma ", "Φ": r"\Phi ", "Ψ": r"\Psi ", "Ω": r"\Omega ", "ϕ": r"\phi "},
}
_ONE_SIGN = str.maketrans(_SIGNS)
_RAISED, _LOWERED = "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ", "₀₁₂₃₄₅₆₇₈₉₊₋ₙ"
_LEVEL = str.maketrans(_RAISED + _LOWERED, "0123456789+-n" * 2)
_SCRIPTS = re.compile(f"(?P<up>[{_RAISED}]+)|(?P<down>[{_LOWERED}]+)")
_ROOT_SIGN = re.compile(r"(?:√|(?<![\\A-Za-z])sqrt)\s*(\d+(?:\.\d+)?|[a-z](?![a-z]))?")
_HIGHER_ROOT = re.compile(r"([∛∜])\s*(?:(\d+|[a-z])|(?=\())")


def _plain_signs(text: str) -> str:
    if text.isascii():
        return _ROOT_SIGN.sub(_root, text)
    text = _HIGHER_ROOT.sub(_higher_root, text)
    scripts = _SCRIPTS.sub(_script, text)
    return _ROOT_SIGN.sub(_root, scripts.translate(_LEVEL).translate(_ONE_SIGN))


def _script(run: re.Match[str]) -> str:
    r"""A raised or lowered run, without braces where they would stand in those of `\\text{cm²}`."""
    sign = "^" if run["up"] else "_"
    alone = len(run[0]) == 1 and not run.string[run.end() : run.end() + 1].isalnum()
    return sign + (run[0] if alone else f"{{{run[0]}}}")


def _higher_root(found: re.Match[str]) -> str:
    degree = 3 if found[1] == "∛" else 4
    return rf"\sqrt[{degree}]" + (f"{{{found[2]}}}" if found[2] else "")


def _root(found: re.Match[str]) -> str:
    return rf"\sqrt{{{found[1]}}}" if found[1] else r"\sqrt "


# -- boxes ---------------------------------------------------------------------------------------

_BOX_PARTS = re.compile(
    r"(?P<box>\\\\?(?:boxed|fbox|framebox)(?![A-Za-z])\s*(?P<brace>\{)?)|\\.|[{}]", re.DOTALL
)
_NO_PROSE = re.compile(
    r"(?:\\[A-Za-z]+|(?<![A-Za-z])(?:and|or|[A-Za-z])(?![A-Za-z])|[^A-Za-z\\]|\\.)*"
)
_NEGATION = re.compile(r"\b(?:not|never|isn't|cannot)\W*$")


def _split_boxes(text: str) -> tuple[list[str], list[str]]:
    """What stands around the outermost boxes and what is in them; boxes in boxes are undone."""
    pieces, last = [""], 0  # around a box and in it, in turn
    open_braces: list[str] = []
    for found in _BOX_PARTS.finditer(text):
        if found["box"]:
            brace = "inner" if "box" in open_braces else "box" if found["brace"] else ""
        elif found[0] == "}" and open_braces:
            brace = open_braces.pop()
        else:
            open_braces += ["plain"] if found[0] == "{" else []
            continue
        if brace == "plain":
            continue
        pieces[-1] += text[last : found.start()]
        last = found.end()
        pieces += [""] if brace == "box" else []
        open_braces += [brace] if found["brace"] else []
    pieces[-1] += text[last:]
    return pieces[::2], pieces[1::2]


def unboxed(text: str) -> str:
    """The text without its boxes: what is in them if there is prose around, else all of it."""
    if "box" not in text:
        return text
    around, boxes = _split_boxes(text)
    if not boxes or (_NO_PROSE.fullmatch(around[0]) and all(map(_NO_PROSE.fullmatch, around[:-1]))):
        pairs = zip_longest(around, boxes, fillvalue="")
        return "".join(part for pair in pairs for part in pair)
    if _NEGATION.search(around[0][-40:]):
        return ""
    if len(set(boxes)) == 1:
        return boxes[0]
    near = all(len(between) < 20 and _NO_PROSE.fullmatch(between) for between in around[1:-1])
    return " , ".join(boxes) if near else ""


# -- dollars, bold, environments ------------------------------------------------------------------

_CURRENCY = "\ue000"
_DELIMITERS = re.compile(r"\\[\[\]()]|\$\$?")
_ENVIRONMENTS = re.compile(
    r"\\(?:begin|end)\{(?:align(?:ed|at)?|equation|gather(?:ed)?|split|math|displaymath|center)\*?\}"
    r"|\\tag\*?\{[^{}]*\}|\\label\{[^{}]*\}|\\nonumber|\\notag"
    r"|(?<=\\\\)\[\s*-?[\d.]+\s*(?:em|ex|pt|mm|cm|in)\]"
)
_BOLD = re.compile(r"(?<![\w)}\]])\*\*(?=\S)|(?<=\S)\*\*(?![\w({\\+-])")
_CONTINUED = ("+", "-", "=", ",", ";", "<", ">")
JUXTAPOSED = r" \juxtaposed "
"""Stands between two answers with nothing between them, which cannot be read."""


def _undelimited(text: str) -> str:
    """Without the signs that begin and end mathematics."""
    text = text.replace(r"\$", _CURRENCY)
    if r"\begin{" not in text:
        text = re.sub(r"\\\\(?=[A-Za-z()\[\]{}%])", r"\\", text).replace("&", " ")
    pieces = _DELIMITERS.split(text)
    if len(pieces) == 2 and re.match(r"\s*[\d.]", pieces[1]) and "$" in text:
        return pieces[0] + _CURRENCY + pieces[1]
    for place in range(2, len(pieces) - 1, 2):
        before, after = pieces[place - 1].rstrip(), pieces[place + 1].lstrip()
        complete = before and after and not before.endswith(_CONTINUED)
        if not pieces[place].strip() and complete and not after.startswith(_CONTINUED):
            pieces[place] = JUXTAPOSED
    return " ".join(pieces)


# -- one way to write each thing -----------------------------------------------------------------

_UNIT_LETTERS = {"m": "meters", "s": "seconds", "h": "hours", "g": "grams", "L": "liters"}
_UPRIGHT = re.compile(
    r"([_^]\s*)?\\(?:text(?:bf|it|rm|sf|normal)?|math(?:rm|bf|it|sf)|[mh]box|operatorname\*?"
    r"|bm|boldsymbol|emph|underline|pmb)\s*\{([^{}]*(?:\{[^{}]*\}[^{}]*)?)\}"
)


def _upright(found: re.Match[str]) -> str:
    script, content = found[1], found[2]
    if script:
        return f"{script}{{{content}}}"
    letter = content.strip()
    unit = _UNIT_LETTERS.get(letter)
    if unit and re.search(r"[\d})]\s*$", found.string[max(0, found.start() - 9) : found.start()]):
        return f" {unit} "
    beside = found.string[max(0, found.start() - 1) : found.start()].isalpha()
    return content if len(letter) == 1 and not beside else f" {content} "


_FUNCTIONS_TEXT = (
    "arcsin arccos arctan arccot arcsec arccsc arsinh arcosh artanh sinh cosh tanh sin cos tan "
    "cot sec csc log ln exp lcm gcd max min"
)
_FUNCTIONS = _FUNCTIONS_TEXT.split()
_ASCII_FUNCTION = re.compile(
    rf"(?<![\\A-Za-z])(?:(?:np|math)\.)?({'|'.join(_FUNCTIONS)})"
    r"(?=\s*[\\({^_\d|]|\s[a-zA-Z](?![a-z]))"
)
_ASCII_LETTER = re.compile(
    r"(?<![\\A-Za-z])(pi|theta|alpha|beta|lambda|omega|infinity|infty|inf|oo)(?![A-Za-z])"
)
_LETTER_NAMES = dict.fromkeys(("infinity", "infty", "inf", "oo"), r"\infty ")
_ARGUMENT = r"(\d|[a-zA-Z]|\\[a-z]+)"
_REWRITES = [
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"\\(?:left|right)\s*\.", " "),
        (
            r"\\(?:left|right|middle|[bB]igg?[lrm]?|displaystyle|textstyle|limits|rm|bf|it|boldmath"
            r"|therefore|because)(?![A-Za-z])",
            " ",
        ),
        (r"\\(?:text)?color\s*\{[a-z]*\}", " "),
        # Thousands, where they cannot be anything else.
        (r"(?<=\d)(?:\{,\}\s*|,?\\[!,]\s*|,\s?\\!\s*)(?=\d{3}(?!\d))", ""),
        (r"\{,\}", ","),
        (
            r"(?<!\\)\\[,;:! ]|\\q?quad(?![A-Za-z])|~|\\hspace\*?\{[^{}]*\}|\\newline(?![A-Za-z])",
            " ",
        ),
        (r"\\[dtc]frac(?![A-Za-z])|(?<![\\A-Za-z])[dt]?frac(?=\s*\{)", r"\\frac"),
        (r"\\[dt]binom(?![A-Za-z])", r"\\binom"),
        (r"\\(?:leqslant|leqq|leq|lesssim)(?![A-Za-z])|<=|=<", r"\\le "),
        (r"\\(?:geqslant|geqq|geq)(?![A-Za-z])|>=", r"\\ge "),
        (r"\\neq?(?![A-Za-z])|!=|\\not\s*=", r"\\ne "),
        (r"\\lt(?![A-Za-z])", "<"),
        (r"\\gt(?![A-Za-z])", ">"),
        (r":=|==", "="),
        (r"\\(?:approx|simeq|doteq|thickapprox)(?![A-Za-z])|~=", r"\\approx "),
        (r"\+/-", r"\\pm "),
        (r"\\(?:ldots|dots[a-z]?|cdots|hdots)(?![A-Za-z])|\.\.\.+", r"\\dots "),
        (r"\\(?:varnothing|O)(?![A-Za-z])", r"\\emptyset "),
        (r"\\(?:lvert|rvert|vert)(?![A-Za-z])", "|"),
        (r"\\lbrace(?![A-Za-z])", r"\\{"),
        (r"\\rbrace(?![A-Za-z])", r"\\}"),
        (r"\\l?brack(?![A-Za-z])", "["),
        (r"\\rbrack(?![A-Za-z])", "]"),
        (r"\\mathbb\s*([A-Z])", r"\\mathbb{\1}"),
        (r"\\([RZNQ])(?![A-Za-z])", r"\\mathbb{\1}"),
        (r"\^\s*\{?\s*\\(?:circ|degree)(?![A-Za-z])\s*\}?|\\textdegree(?![A-Za-z])", r"\\degree "),
        (r"\\%|\b(?:percent|per cent|pct)\b", "%"),
        (r"\*\*", "^"),
        (r"\*", r"\\cdot "),
        (r"(?<=\d)\s*[xX]\s*10\s*\^", r"\\cdot 10^"),
        (r"\^\s*(-?)\s*(\d+(?:\.\d+)?|[A-Za-z])", r"^{\1\2}"),
        (rf"\\frac\s*{_ARGUMENT}\s*(?=\{{)", r"\\frac{\1}"),
        (rf"\\frac\s*{_ARGUMENT}\s*{_ARGUMENT}", r"\\frac{\1}{\2}"),
        (rf"\\frac\s*(\{{[^{{}}]*\}})\s*{_ARGUMENT}", r"\\frac\1{\2}"),
        (rf"\\sqrt\s*{_ARGUMENT}", r"\\sqrt{\1}"),
        (rf"\\binom\s*{_ARGUMENT}\s*{_ARGUMENT}", r"\\binom{\1}{\2}"),
        (r"\{([^{}]*)\\choose(?![A-Za-z])([^{}]*)\}", r"\\binom{\1}{\2}"),
        (r"\{([^{}]*)\\over(?![A-Za-z])([^{}]*)\}", r"\\frac{\1}{\2}"),
        (r"^([^{}\\]*)\\over(?![A-Za-z])([^{}\\]*)$", r"\\frac{\1}{\2}"),
        (r"\\root\s*\{?\s*(\d)\s*\}?\s*\\of\s*(\{[^{}]*\}|\d)", r"\\sqrt[\1]{\2}"),
        (r"(?<![\\A-Za-z])C\s*\(\s*(\w+)\s*,\s*(\w+)\s*\)", r"\\binom{\1}{\2}"),
        (r"\\bmod(?![A-Za-z])", r"\\mod "),
        (r"\\pmod\s*(\w+)", r"\\pmod{\1}"),
        (r"^<([^<>=]*,[^<>=]*)>$", r"\\langle \1\\rangle "),
        (r"(?<=:\d\d)\s*[aA]\.?\s*[mM]\b\.?", " am"),
        (r"(?<=:\d\d)\s*[pP]\.?\s*[mM]\b\.?", " pm"),
        (r"^\s*(?:\\(?:implies|to|[rR]ightarrow)(?![A-Za-z])|=>)", " "),
        (r"\\cdot\s*\\cdot", r"\\cdot"),
    )
]
_MONEY = re.compile(rf"[{_CURRENCY}€£¥]\s*([\d.,]*\d(?:\s?(?:thousand|million|billion))?)")


def _one_notation(text: str) -> str:
    for _ in range(3):  # \textbf{\text{..}}
        text = _UPRIGHT.sub(_upright, text)
    for pattern, replacement in _REWRITES:
        text = pattern.sub(replacement, text)
    text = _ASCII_FUNCTION.sub(r"\\\1 ", text)
    text = _ASCII_LETTER.sub(lambda name: _LETTER_NAMES.get(name[1], rf"\{name[1]} "), text)
    text = _MONEY.sub(r"\1 dollars ", text).replace(_CURRENCY, " ")
    return _in_braces(text) if "(" in text else text


_CALLED = re.compile(r"(\\sqrt(?:\[\d\])?\s*|\^\s*-?\s*)\(")
_ROUND = re.compile(r"[()]")


def _in_braces(text: str) -> str:
    r"""Round brackets around what is under a root or raised made curly: `\sqrt(2)`, `2^(n-1)`."""
    starts = {found.end() - 1 for found in _CALLED.finditer(text)}
    if not starts:
        return text
    signs, opened = list(text), []
    for found in _ROUND.finditer(text):
        if found[0] == "(":
            opened.append(found.start())
        elif opened and (start := opened.pop()) in starts:
            minus = text[:start].rstrip().endswith("-")
            signs[start], signs[found.start()] = "{", "}"
            if minus:
                place = text.rindex("-", 0, start)
                signs[place], signs[start], signs[found.start()] = "{-", "(", ")}"
    return "".join(signs)


# -- sentences -----------------------------------------------------------------------------------

_LEAD = re.compile(
    r"\s*(?:(?:so|thus|hence|therefore|then|finally|consequently|now|and|we (?:get|have|find|obtain"
    r"|conclude)(?: that)?|it follows that|this (?:gives|means|yields)|which (?:gives|means)"
    r"|final|my|our|the|correct|exact|simplified|answer|ans|solution|result|option|choice|number|value|either|both"
    r"|exactly)\b"
    r"|(?:there )?(?:is equal to|are|is|equals|equal to)\b|[,:\s])[\s,:]*",
    re.IGNORECASE,
)
_CUE = re.compile(
    r"(?=[A-Za-z]+ )[^\n=<>]{1,200}?\b(?:is equal to|are equal to|equals|is|are|be|becomes)"
    r"(?::|\b)\s*(?:(?:therefore|thus|then|simply|just|exactly|given by|equal to|found to be)\b"
    r"\s*)*:?"
    r"|[A-Za-z][A-Za-z ]{1,60}:",
    re.IGNORECASE,
)
_ROUGHLY = re.compile(
    r"(?<![\\\w])(?:approximately|about|roughly|around|approx\.?)\s+(?=[-\d\\$.])", re.IGNORECASE
)
_NEGATED = re.compile(
    r"\b(?:not|never|cannot|no|none|nothing|nobody|neither|nor|without|false|wrong|incorrect|if|unless"
    r"|would|\w+n't)\b",
    re.IGNORECASE,
)
_EXPLAINED = re.compile(
    r"(?:\s*\((?:since|because|as|where|by|using|from|which|rounded|approx|approximately|about|i\.e"
    r"|that is|in)\b[^()]*(?:\([^()]*\)[^()]*)*\)"
    r"|,?\s+(?:since|because)\s.*|\s+(?:exactly|altogether|(?:in )?total)"
    r"|\s+(?:is|as) (?:the|my|our)(?: (?:final|correct))? answer)\s*$",
    re.DOTALL,
)
_BEFORE, _AFTER = ' \n,;:"`', ' \n,;:"`.\\'
_MINUS = re.compile(r"^(?:negative|minus)\s+(?=[\d.\\])", re.IGNORECASE)
_REALS = re.compile(
    r"(?:(?:(?:x|it) (?:is|can be) )?(?:all|any|every) real(?:s| numbers?)(?: x)?"
    r"|the (?:set of )?(?:all )?real numbers)(?: except (?:for )?([^<>=]+))?",
    re.IGNORECASE,
)


def _without_lead(text: str) -> str:
    """Without the words that lead to an answer; as it stands if there is nothing else."""
    while (lead := _LEAD.match(text)) and lead.end() < len(text):
        text = text[lead.end() :]
    return text


def _unsaid(text: str) -> str:
    """Without the sentence around an answer; as it stands where the sentence denies it."""
    text = text.lstrip(_BEFORE).rstrip(_AFTER)
    if text.startswith("'"):
        text = text.strip("'")
    if not (text[:1].isalpha() or text.endswith(")") or " " in text):
        return text
    text = _EXPLAINED.sub("", text)
    text = _without_lead(text)
    cue = _CUE.match(text)
    if cue and not _NEGATED.search(cue[0]) and text[cue.end() :].strip():
        text = _without_lead(text[cue.end() :])
    text = _ROUGHLY.sub(r"\\approx ", text, count=1).lstrip(_BEFORE).rstrip(_AFTER)
    if reals := _REALS.fullmatch(text):
        return rf"\mathbb{{R}} \setminus \{{{reals[1]}\}}" if reals[1] else r"\mathbb{R}"
    return _MINUS.sub("-", text)


@lru_cache(maxsize=4096)
def bare(text: str) -> str:
    r"""An answer without what stands around it, in one notation; empty if there is none.

    >>> print(bare(r"**The answer is $\dfrac{1}{2}$.**"), "and", bare(r"\boxed{x = √3/3}"))
    \frac{1}{2} and x = \sqrt{3}/3
    """
    text = _plain_signs(unboxed(text).strip()[: LONGEST + 1])
    if len(text) > LONGEST:
        return ""
    text = _BOLD.sub(" ", _ENVIRONMENTS.sub(" ", text))
    text = _undelimited(text.strip("*`#_ "))
    text = " ".join(_one_notation(text).split())
    return _unsaid(text)


_GAPS = re.compile(r"(?<![A-Za-z0-9])\s|\s(?![A-Za-z0-9])")


def letters(text: str) -> str:
    """A bare answer without the spaces that mean nothing: those of the same letters are equal."""
    return _GAPS.sub("", text)
