"""Reads the arithmetic in what a model wrote: equations and expressions with + - * / and brackets.

The text is cut into marks, the marks into statements at words, line breaks and the like, and each
statement into the sides of its equation. Values are exact fractions; the parser neither recurses
nor calls `eval`. What is more than arithmetic (powers, roots, variables, "not") is not read at all.
"""

from __future__ import annotations

import re
from fractions import Fraction
from math import gcd
from typing import NamedTuple

from skill_factory.tasks.plain import typed, without_markdown

LONGEST = 20_000
"""Characters of a text that is still read; a solution has fewer than 1,000."""

MOST_NUMBERS = 64
"""Numbers in one side of an equation that are still added up."""

MOST_DIGITS = 30
"""Characters of a number that is still read."""

MOST_MARKS = 1_000
"""Numbers, operators, brackets and breaks of a text that is still read."""

MOST_STATEMENTS = 64
"""Statements of a text that are still read."""

Exact = tuple[int, int]
"""A fraction: numerator and denominator, not reduced; the denominator is not 0."""

Number = Fraction | int


class Side(NamedTuple):
    """One side of an equation: its value, the numbers in it, negative behind a minus, which may be
    their sign or an operation on them, and the values of its `parts`."""

    value: Exact
    numbers: list[Number]
    parts: list[Exact]

    @property
    def is_number(self) -> bool:
        return len(self.numbers) == 1


Statement = list[Side]
"""An expression, one side, or an equation, several."""


class Reading(NamedTuple):
    """The statements of a text in their order, and whether there is more in it than they say: words
    that are not known here, a comma that may be a decimal point. Then nothing in it is surely
    wrong."""

    statements: list[Statement]
    doubtful: bool


def readings(text: str) -> list[Reading]:
    """The ways to read a text: none if it is not arithmetic, several if an operator at the start of
    a line may go on with the line before, be a sign, or be a bullet.

    >>> [[side.value for side in one] for one in readings("So 3 + 5 = 8.")[0].statements]
    [[(8, 1), (8, 1)]]
    >>> readings("2 ** 3"), readings("x + 3"), readings("not 3 + 5")
    ([], [], [])
    """
    if len(text) > LONGEST:
        return []
    if _EXPRESSIONS.fullmatch(text) and (simple := _simple(text)) is not None:
        return [Reading(simple, doubtful=False)]
    plain = _plain(text)
    unlisted = _NUMBERED.sub("", plain)
    marks = _Marks(doubtful=unlisted != plain)
    try:
        marks.read(unlisted)
    except _UnreadableError:
        return []
    ways = (_joined, _signed, _bulleted) if any(mark in _LOOSE for mark in marks.found) else (list,)
    found = [_statements(way(marks.found)) for way in ways]
    return [Reading(statements, marks.doubtful) for statements in found if statements is not None]


def same(one: Exact, other: Exact) -> bool:
    """Whether two values are equal."""
    return one[0] * other[1] == other[0] * one[1]


def number(value: Exact) -> Number:
    """A value as a number: a whole one if it is whole."""
    return value[0] // value[1] if value[0] % value[1] == 0 else Fraction(*value)


# -- what most answers are ------------------------------------------------------------------------

_EXPRESSIONS = re.compile(r"[( ]*[0-9]{1,9}[) ]*(?:[-+*/=][( ]*[0-9]{1,9}[) ]*){1,40}")
_SIMPLE_MARK = re.compile(r"[0-9]+|[-+*/=()]")


def _simple(text: str) -> list[Statement] | None:
    """An equation, or an expression, and nothing else: what all of the below comes to for it, many
    times faster. None: the brackets are not so simple."""
    sides = list[Side]()
    for part in text.split("="):
        side = _evaluate(
            [int(mark) if mark.isdigit() else mark for mark in _SIMPLE_MARK.findall(part)]
        )
        if side is None:
            return None
        sides.append(side)
    return [sides]


# -- from text to marks ---------------------------------------------------------------------------

_SIGNS = str.maketrans(
    {
        **dict.fromkeys("×✕✖·⋅∙•∗⨉⨯", "*"),
        **dict.fromkeys("÷∕⁄➗", "/"),
        "➖": "-",
        "➕": "+",
        "≡": "=",
        **dict.fromkeys("⇒⟹⟶➜➔➡⇨∴", "→"),
    }
)
_LATEX = re.compile(
    r"\\\\(?:\[[^\[\]]{0,9}\])?|\\(?:begin|end)\s?\{[a-z]{1,12}\*?\}|\\tag\s?\{[^{}]{0,20}\}"
    r"|\\[dtc]?frac\s?(\d)\s?(\d)|\\n(?![A-Za-z])|\\[A-Za-z]+|\\[^A-Za-z]|[$&]"
)
_COMMANDS = {
    **dict.fromkeys((r"\times", r"\cdot", r"\ast", r"\*"), "*"),
    **dict.fromkeys((r"\div", r"\slash"), "/"),
    **dict.fromkeys((r"\frac", r"\dfrac", r"\tfrac", r"\cfrac"), r"\frac"),
    **dict.fromkeys((r"\left", r"\right", r"\big", r"\Big", r"\bigl", r"\bigr", "$", "&"), " "),
    **dict.fromkeys((r"\bigg", r"\Bigg", r"\quad", r"\qquad", r"\checkmark", r"\space"), " "),
    **dict.fromkeys((r"\displaystyle", r"\,", r"\;", r"\:", r"\!", r"\ ", r"\(", r"\)"), " "),
    **dict.fromkeys((r"\[", r"\]", r"\$", r"\#", r"\&", r"\`"), " "),
    **dict.fromkeys((r"\implies", r"\Rightarrow", r"\to", r"\rightarrow", r"\therefore"), "→"),
    **dict.fromkeys((r"\Longrightarrow", r"\longrightarrow", r"\iff"), "→"),
    **dict.fromkeys((r"\boxed", r"\fbox"), r"\boxed"),
    **dict.fromkeys((r"\text", r"\textbf", r"\textit", r"\textrm", r"\mathrm"), r"\text"),
    **dict.fromkeys((r"\mathbf", r"\mathit", r"\mathsf", r"\operatorname"), r"\text"),
    r"\-": "-",
    r"\n": "\n",
    r"\{": "(",
    r"\}": ")",
}
_LISTED = re.compile(
    r"^[ \t]*(?:(?:[0-9]{1,2}|[a-h])[.)][ \t]+(?=\S)|>[ \t]?|[-_=*]{3,}[ \t]*$)", re.M | re.I
)
_ITALIC = re.compile(r"^([ \t]*)(?:\*|__)(?=[^\s*_])(.*[^\s*_])(?:\*|__)(?=[ \t.]*$)", re.M)
_NUMBERED = re.compile(r"^[ \t]*\([0-9]{1,2}\)[ \t]+(?=[\d(])", re.M)


def _plain(text: str) -> str:
    """A text with the keyboard's signs for operators, and of LaTeX only \frac, \text, \boxed, and
    the commands that are not known."""
    if not text.isascii():
        text = typed(text.translate(_SIGNS))
    if "{" in text:
        text = text.replace("{,}", "").replace("{}", "")
    if "\\" in text or "$" in text or "&" in text:
        text = _LATEX.sub(_without_latex, text)
    return _ITALIC.sub(r"\1\2", _LISTED.sub("", without_markdown(text)))


def _without_latex(match: re.Match[str]) -> str:
    found = match[0]
    if match[1]:
        return f"({match[1]}/{match[2]})"
    if found.startswith((r"\\", r"\begin", r"\end")):
        return "\n"
    return " " if found.startswith(r"\tag") else _COMMANDS.get(found, found)


_SPACE = r"""[ \t\r"'`\#]"""
_COUNTED = "equation|eq|solution|method|option|operation|line|part|way|example|expression"
_MARK = re.compile(
    rf"""{_SPACE}*+(?:
      (?P<number>(?>[0-9]{{1,3}}(?:,[0-9]{{3}})+(?![0-9])|[0-9]+)(?:\.[0-9]+)?|\.[0-9]+)
    | (?P<operator>/(?!/)|(?<!\*)\*(?!\*)|\+|-(?!-?>))
    | (?P<opened>[(\[]) | (?P<closed>[)\]])
    | (?P<arrow>-{{1,2}}>|=>|→)
    | (?P<equals>:?={{1,3}})
    | (?P<newline>\n) | (?P<stop>[;.]) | (?P<comma>,) | (?P<colon>:)
    | (?P<bar>\|) | (?P<bang>!(?!=))
    | (?P<step>\bsteps?[ ]?\#?[0-9]{{1,2}}\b[ ]?[:.)-]?
              |\b(?:{_COUNTED})[ ]?\#?[0-9]{{1,2}}[ ]?[:.)])
    | (?P<times>x(?=[ ]{{0,3}}[0-9(\[{{\\]))
    | (?P<spoken>\b(?:plus|minus|times|(?:multiplied|divided)[ ](?:by|with))\b)
    | (?P<named>\b[a-z]\w*+[ ]?:?=(?!=))
    | (?P<word>[^\W\d_]+(?:['-][^\W\d_]+)*)
    | (?P<fraction>\\frac[ ]?\{{) | (?P<boxed>\\boxed[ ]?\{{) | (?P<text>\\text[ ]?\{{)
    | (?P<over>\}}\s?\{{) | (?P<brace>\{{) | (?P<unbrace>\}})
    | (?P<symbol>[\u2600-\u2716\u2719-\u274b\u274d-\u27bf\u2b00-\u2bff\u220e\U0001f300-\U0001faff])
    | (?P<other>.))""",
    re.VERBOSE | re.DOTALL | re.IGNORECASE,
)
_SPOKEN = {"plus": "+", "minus": "-", "times": "*", "multiplied": "*", "divided": "/"}
_EQUALS = {"equals", "equal", "gives", "give", "giving", "yields", "is", "makes", "becomes"}
# Words that say nothing about an equation: beside them, one that is false is surely wrong.
_CONNECTING = """
    a an i we you the this that these it its here now so then thus hence therefore and also
    which as to of in for from on at all each every once be are was can could have has get
    gets got let us me my our step steps first second third next last finally final lastly
    answer answers solution solutions equation equations expression expressions result results total
    calculation calculations value number numbers target goal used uses using given available
    reach reaches reached make made obtain obtained find found compute calculate
    evaluate check verify verified verification confirm correct right valid true yes done great
    follows following written exactly one possible print output explanation response
    python latex text math plaintext operations operation simplify simplified qed
"""
# What denies an answer, offers another, or is more than + - * /: none of it is read.
_DENYING = """
    not no never none neither nor cannot can't isn't doesn't don't won't wouldn't aren't wasn't
    didn't without impossible wrong incorrect invalid false fail fails failed mistake error or
    either if wait instead unless except closest nearest almost nearly approximately approx roughly
    about close unfortunately however but try tried trying power squared cubed square cube factorial
    sqrt root mod modulo remainder concatenate concatenated concatenation
    nicht kein keine non pas
"""
_CONNECTING_WORDS, _DENYING_WORDS = frozenset(_CONNECTING.split()), frozenset(_DENYING.split())
_DENYING_SIGNS = re.compile("[不没非错或无無]")
_LOOSE = {"~+": "+", "~-": "-", "~*": "*"}
_OPERATORS = frozenset("+-*/") | _LOOSE.keys()
_BREAKS = frozenset(";\n")


class _UnreadableError(Exception):
    """There is more in a text than arithmetic and words around it."""


class _Marks:
    """The marks of a text: numbers, operators, brackets, "=", and breaks between statements, ";" or
    a line break. A method for each kind in `_MARK` adds one.

    "~-", "~+" and "~*" are operators at the start of a line, whose meaning `_joined`, `_signed` and
    `_bulleted` decide. Brackets around words, or around an equation, are breaks.
    """

    def __init__(self, doubtful: bool) -> None:
        self.found: list[str | Number] = []
        self.doubtful = doubtful
        self._opened: list[int] = []  # places of the brackets that are open
        self._braces: list[str] = []  # what the braces that are open belong to
        self._broken = 0  # behind the last break or equals sign, which no brackets can hold
        self._before = ""  # the kind of the mark before
        self._end = 0  # where it ended in the text

    def read(self, text: str) -> None:
        """Raises `_UnreadableError` for what is no arithmetic."""
        for match in _MARK.finditer(text.rstrip(" \t\r\"'`#")):
            kind = match.lastgroup or ""
            _READ[kind](self, match)
            self._before, self._end = kind, match.end()
        if self._opened or self._braces:
            raise _UnreadableError
        self._part(";")

    @property
    def _last(self) -> str | Number:
        return self.found[-1] if self.found else ";"

    def _ends_statement(self) -> bool:
        return not self.found or self.found[-1] in _BREAKS

    def _is_glued(self, match: re.Match[str], kind: str) -> bool:
        return self._before == kind and self._end == match.start(match.lastgroup or 0)

    def _part(self, mark: str) -> None:
        """End a statement: for certain, or (a line break) if nothing is open in it."""
        if mark == "\n" and (self._opened or self._last in _OPERATORS or self._last == "="):
            return
        while self._last in ("-", "~-"):
            self.doubtful = True
            self.found.pop()
        if self._last in _OPERATORS:
            raise _UnreadableError
        if self._last == "=":
            self.found.pop()
        if not self._ends_statement():
            self.found.append(mark)
        elif self.found and mark == ";":
            self.found[-1] = ";"
        self._broken = len(self.found)

    def part(self, match: re.Match[str]) -> None:
        self._part(";")

    def bar(self, match: re.Match[str]) -> None:
        self.doubtful = True  # a column, or an absolute value
        self._part(";")

    def newline(self, match: re.Match[str]) -> None:
        self._part("\n")

    def comma(self, match: re.Match[str]) -> None:
        if self._is_glued(match, "number") and _next(match).isdigit():
            self.doubtful = True  # 0,5 perhaps
        self._part(";")

    def colon(self, match: re.Match[str]) -> None:
        following = match.string[match.end() : match.end() + 2].strip()[:1]
        if self._before == "number" and (following.isdigit() or following == "("):
            self.doubtful = True  # a division perhaps
        self._part(";")

    def bang(self, match: re.Match[str]) -> None:
        """An exclamation mark, where a number that is a side or stands alone may have one."""
        if self._ends_statement():
            return
        alone = len(self.found) < 2 or self.found[-2] in ("=", ";", "\n")
        if self._before not in ("number", "bang") or not alone:
            raise _UnreadableError
        self.doubtful = True
        self._part(";")

    def number(self, match: re.Match[str]) -> None:
        digits = match["number"]
        if self._before in ("word", "symbol") and self._end == match.start("number"):
            raise _UnreadableError
        if max(len(digits) - MOST_DIGITS, len(self.found) - MOST_MARKS) > 0:
            raise _UnreadableError
        if not isinstance(self._last, str):
            raise _UnreadableError
        if "," in digits:
            self.doubtful = True
            digits = digits.replace(",", "")
        self.found.append(Fraction(digits) if "." in digits else int(digits))

    def operator(self, match: re.Match[str]) -> None:
        mark = match["operator"]
        spaced, begins_line = _next(match) == " ", self._before in ("", "newline")
        if not self._ends_statement():
            self.found.append(mark)
        elif mark != "/" and (self._before == "newline" or (begins_line and spaced)):
            self.found.append(f"~{mark}")
        elif mark == "-":
            self.found.append("~-" if spaced else mark)
            self.doubtful |= not spaced  # a bullet perhaps
        elif mark == "/" or mark == "*" or self._before == "bang":
            raise _UnreadableError
        else:
            self.found.append(mark)

    def times(self, match: re.Match[str]) -> None:
        hexadecimal = self._is_glued(match, "number") and self._last == 0
        if hexadecimal or not (self._follows_value() or self._last == "\n"):
            raise _UnreadableError
        self.found.append("~*" if self._last == "\n" else "*")

    def spoken(self, match: re.Match[str]) -> None:
        if not self._follows_value():
            raise _UnreadableError
        self.found.append(_SPOKEN[match["spoken"].lower().partition(" ")[0]])

    def _follows_value(self) -> bool:
        return self._last == ")" or not isinstance(self._last, str)

    def equals(self, match: re.Match[str]) -> None:
        last = self._last
        if last in _OPERATORS:
            raise _UnreadableError
        if last == "\n":
            self.found[-1] = "="
        elif last not in (";", "=", "("):
            self.found.append("=")
        self._broken = len(self.found)

    def named(self, match: re.Match[str]) -> None:
        """A name that is given a value: "result = 3 + 5"."""
        name = match["named"].rstrip(" :=").lower()
        variable = len(name) == 1 and not self._ends_statement()
        if name in _DENYING_WORDS or variable or self._is_glued(match, "number"):
            raise _UnreadableError
        self._part(";")

    def word(self, match: re.Match[str]) -> None:
        word = match["word"].lower()
        if word in _EQUALS:
            return self.equals(match)
        if self._is_glued(match, "number"):
            if word not in ("st", "nd", "rd", "th"):
                raise _UnreadableError
            self.found.pop()
        elif word not in _CONNECTING_WORDS:
            self._unknown(word, _next(match))
        self._part(";")

    def _unknown(self, word: str, following: str) -> None:
        """A word that may say anything; raises if it denies, or is a variable or a function."""
        if len(word) == 1 or following == "(" or word in _DENYING_WORDS or word.endswith("n't"):
            raise _UnreadableError
        if not word.isascii() and _DENYING_SIGNS.search(word):
            raise _UnreadableError
        self.doubtful = True

    def opened(self, match: re.Match[str]) -> None:
        if not isinstance(self._last, str) and not self._is_glued(match, "number"):
            self.doubtful = True  # a product, or a remark
        self._opened.append(len(self.found))
        self.found.append("(")

    def closed(self, match: re.Match[str]) -> None:
        if not self._opened:
            self._close_listed()
        elif self._broken <= (place := self._opened.pop()):
            self.found.append(")")
        elif place and self.found[place - 1] in (*_OPERATORS, "="):
            raise _UnreadableError
        else:
            self.found[place] = ";"
            self._part(";")

    def _close_listed(self) -> None:
        """The number of a step, as in "2) 3 + 5"."""
        if isinstance(self._last, str) or (len(self.found) > 1 and self.found[-2] not in _BREAKS):
            raise _UnreadableError
        self.found.pop()
        self._part(";")

    def fraction(self, match: re.Match[str]) -> None:
        if not isinstance(self._last, str):  # a mixed number
            raise _UnreadableError
        self._braces.append("over")
        for _ in range(2):
            self.opened(match)

    def boxed(self, match: re.Match[str]) -> None:
        self._braces.append("boxed")
        self._part(";")

    def text(self, match: re.Match[str]) -> None:
        self._braces.append("text")

    def brace(self, match: re.Match[str]) -> None:
        self._braces.append("brace")
        self.opened(match)

    def over(self, match: re.Match[str]) -> None:
        if self._braces and self._braces[-1] == "over":
            self._braces[-1] = "under"
            self.closed(match)
            self.found.append("/")
            self.opened(match)
        else:
            self.unbrace(match)
            self.brace(match)

    def unbrace(self, match: re.Match[str]) -> None:
        kind = self._braces.pop() if self._braces else "over"
        if kind == "over":
            raise _UnreadableError
        if kind == "boxed":
            self._part(";")
        for _ in range({"under": 2, "brace": 1}.get(kind, 0)):
            self.closed(match)

    def other(self, match: re.Match[str]) -> None:
        raise _UnreadableError


_READ = {
    **{kind: getattr(_Marks, kind) for kind in _MARK.groupindex if hasattr(_Marks, kind)},
    **dict.fromkeys(("arrow", "step", "stop", "symbol"), _Marks.part),
}


def _next(match: re.Match[str]) -> str:
    """The character after a mark."""
    return match.string[match.end() : match.end() + 1]


# -- from marks to statements ---------------------------------------------------------------------


def _joined(marks: list[str | Number]) -> list[str | Number]:
    """Marks as they are if lines go on with the lines before."""
    found: list[str | Number] = []
    for mark in marks:
        if mark in _LOOSE and found[-1:] == ["\n"]:
            found[-1] = _LOOSE[str(mark)]
        else:
            found += _signed([mark])
    return found


def _signed(marks: list[str | Number]) -> list[str | Number]:
    """Marks as they are if a dash that begins a line is a sign."""
    return ["-" if mark == "~-" else ";" if mark in _LOOSE else mark for mark in marks]


def _bulleted(marks: list[str | Number]) -> list[str | Number]:
    """Marks as they are if the signs that begin lines are bullets."""
    return [";" if mark in _LOOSE else mark for mark in marks]


def _statements(marks: list[str | Number]) -> list[Statement] | None:
    """The statements that breaks part; None if one of them is no arithmetic, or they are many."""
    statements: list[Statement] = []
    for chunk in _split(marks, _BREAKS):
        sides = [_evaluate(side) for side in _split(chunk, frozenset("="))]
        statements.append([side for side in sides if side])
        if not all(sides) or len(statements) > MOST_STATEMENTS:
            return None
    return statements


def _split(marks: list[str | Number], at: frozenset[str]) -> list[list[str | Number]]:
    """The runs of marks between others, without empty ones."""
    runs: list[list[str | Number]] = [[]]
    for mark in marks:
        if mark in at:
            runs.append([])
        else:
            runs[-1].append(mark)
    return [run for run in runs if run]


_RANK = {"(": 0, "+": 1, "-": 1, "*": 2, "/": 2, "neg": 3}


def _evaluate(marks: list[str | Number]) -> Side | None:
    """The value of an expression, by two stacks (shunting-yard); None if it is none."""
    values: list[Exact] = []
    parts: list[Exact] = []
    waiting: list[str] = []
    numbers: list[Number] = []
    operand = True  # whether an operand must come next
    for mark in marks:
        if not operand and (mark == "(" or not isinstance(mark, str)):  # 2(3 + 4), (3 + 4)2
            if waiting[-1:] == ["/"] or not _apply(values, parts, waiting, _RANK["*"]):
                return None  # 6 / 2(1 + 2) has two values
            waiting.append("*")
            operand = True
        if not isinstance(mark, str):
            if len(numbers) == MOST_NUMBERS:
                return None
            values.append((mark.numerator, mark.denominator))
            numbers.append(-mark if waiting and waiting[-1] in ("neg", "-") else mark)
            operand = False
        elif mark == "(":
            waiting.append(mark)
        elif mark == ")":
            if operand or not _apply(values, parts, waiting, 1) or not waiting:
                return None
            waiting.pop()
        elif operand:
            if mark not in "+-":
                return None
            waiting.extend(["neg"] if mark == "-" else [])
        else:
            if not _apply(values, parts, waiting, _RANK[mark]):
                return None
            waiting.append(mark)
            operand = True
    if operand or not _apply(values, parts, waiting, 1) or waiting:
        return None
    return Side(values[0], numbers, parts)


def _apply(values: list[Exact], parts: list[Exact], waiting: list[str], rank: int) -> bool:
    """Carry out the operators that bind at least as strongly as `rank`; False: not possible."""
    while waiting and _RANK[waiting[-1]] >= rank:
        if not _combine(values, waiting.pop()):
            return False
        parts.append(values[-1])
    return True


def _combine(values: list[Exact], operator: str) -> bool:
    """Replace the last values by what an operator makes of them; False: a division by zero."""
    c, d = values.pop()
    if operator == "neg":
        values.append((-c, d))
        return True
    a, b = values.pop()
    if operator == "/":
        if c == 0:
            return False
        c, d, operator = d, c, "*"
    if operator == "*":
        top, bottom = a * c, b * d
    else:
        top, bottom = (a * d + c * b if operator == "+" else a * d - c * b), b * d
    shared = gcd(top, bottom)
    values.append((top // shared, bottom // shared))
    return True
