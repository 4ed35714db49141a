"""From text to marks: numbers, operators, brackets, and breaks between statements."""

from __future__ import annotations

import re
from fractions import Fraction

from skill_factory.tasks.clean_text import typed, without_markdown

MOST_DIGITS = 30
"""Characters of a number that is still read."""

MOST_MARKS = 1_000
"""Numbers, operators, brackets and breaks of a text that is still read."""

Number = Fraction | int


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


def _typed_signs(text: str) -> str:
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
LOOSE = {"~+": "+", "~-": "-", "~*": "*"}
_OPERATORS = frozenset("+-*/") | LOOSE.keys()
BREAKS = frozenset(";\n")


def read_marks(text: str) -> Marks:
    """The marks of a text; raises `NotArithmeticError` if it is more than arithmetic and words
    around it."""
    typed_text = _typed_signs(text)
    unlisted = _NUMBERED.sub("", typed_text)
    marks = Marks(doubtful=unlisted != typed_text)
    marks.read(unlisted)
    return marks


class NotArithmeticError(Exception):
    """There is more in a text than arithmetic and words around it."""


class Marks:
    """The marks of a text: numbers, operators, brackets, "=", and breaks between statements, ";" or
    a line break. A method for each kind in `_MARK` adds one.

    "~-", "~+" and "~*" are operators at the start of a line, whose meaning
    `evaluating.each_way` decides. Brackets around words, or around an equation, are breaks.
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
        """Raises `NotArithmeticError` for what is no arithmetic."""
        for match in _MARK.finditer(text.rstrip(" \t\r\"'`#")):
            kind = match.lastgroup or ""
            _READ[kind](self, match)
            self._before, self._end = kind, match.end()
        if self._opened or self._braces:
            raise NotArithmeticError
        self._part(";")

    @property
    def _last(self) -> str | Number:
        return self.found[-1] if self.found else ";"

    def _ends_statement(self) -> bool:
        return not self.found or self.found[-1] in BREAKS

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
            raise NotArithmeticError
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
            raise NotArithmeticError
        self.doubtful = True
        self._part(";")

    def number(self, match: re.Match[str]) -> None:
        digits = match["number"]
        if self._before in ("word", "symbol") and self._end == match.start("number"):
            raise NotArithmeticError
        if max(len(digits) - MOST_DIGITS, len(self.found) - MOST_MARKS) > 0:
            raise NotArithmeticError
        if not isinstance(self._last, str):
            raise NotArithmeticError
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
            raise NotArithmeticError
        else:
            self.found.append(mark)

    def times(self, match: re.Match[str]) -> None:
        hexadecimal = self._is_glued(match, "number") and self._last == 0
        if hexadecimal or not (self._follows_value() or self._last == "\n"):
            raise NotArithmeticError
        self.found.append("~*" if self._last == "\n" else "*")

    def spoken(self, match: re.Match[str]) -> None:
        if not self._follows_value():
            raise NotArithmeticError
        self.found.append(_SPOKEN[match["spoken"].lower().partition(" ")[0]])

    def _follows_value(self) -> bool:
        return self._last == ")" or not isinstance(self._last, str)

    def equals(self, match: re.Match[str]) -> None:
        last = self._last
        if last in _OPERATORS:
            raise NotArithmeticError
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
            raise NotArithmeticError
        self._part(";")

    def word(self, match: re.Match[str]) -> None:
        word = match["word"].lower()
        if word in _EQUALS:
            return self.equals(match)
        if self._is_glued(match, "number"):
            if word not in ("st", "nd", "rd", "th"):
                raise NotArithmeticError
            self.found.pop()
        elif word not in _CONNECTING_WORDS:
            self._unknown(word, _next(match))
        self._part(";")

    def _unknown(self, word: str, following: str) -> None:
        """A word that may say anything; raises if it denies, or is a variable or a function."""
        if len(word) == 1 or following == "(" or word in _DENYING_WORDS or word.endswith("n't"):
            raise NotArithmeticError
        if not word.isascii() and _DENYING_SIGNS.search(word):
            raise NotArithmeticError
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
            raise NotArithmeticError
        else:
            self.found[place] = ";"
            self._part(";")

    def _close_listed(self) -> None:
        """The number of a step, as in "2) 3 + 5"."""
        if isinstance(self._last, str) or (len(self.found) > 1 and self.found[-2] not in BREAKS):
            raise NotArithmeticError
        self.found.pop()
        self._part(";")

    def fraction(self, match: re.Match[str]) -> None:
        if not isinstance(self._last, str):  # a mixed number
            raise NotArithmeticError
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
            raise NotArithmeticError
        if kind == "boxed":
            self._part(";")
        for _ in range({"under": 2, "brace": 1}.get(kind, 0)):
            self.closed(match)

    def other(self, match: re.Match[str]) -> None:
        raise NotArithmeticError


_READ = {
    **{kind: getattr(Marks, kind) for kind in _MARK.groupindex if hasattr(Marks, kind)},
    **dict.fromkeys(("arrow", "step", "stop", "symbol"), Marks.part),
}


def _next(match: re.Match[str]) -> str:
    """The character after a mark."""
    return match.string[match.end() : match.end() + 1]
