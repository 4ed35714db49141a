"""What an answer says: a number, a point, a list of values, a name and its value, and so on.

A reading is a tree of nodes. Its leaves are numbers, words and LaTeX that math-verify's parser can
read; what holds them together (brackets, commas, names, units) is read here, since that is where it
takes unequal answers for equal.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from fractions import Fraction
from functools import lru_cache
from itertools import product
from typing import NamedTuple

from skill_factory.tasks.mathematics.latex import for_parser, is_mathematics
from skill_factory.tasks.mathematics.markup import bare
from skill_factory.tasks.mathematics.numbers import DECIMAL, number_of
from skill_factory.tasks.mathematics.units import (
    is_single_unit,
    number_in_words,
    ratio,
    unit_of,
)


class Node(NamedTuple):
    """A part of an answer: what it is, its own text, and what it is made of.

    | kind | text | parts |
    |---|---|---|
    | number | a fraction or a decimal, as `Fraction` reads it | |
    | based | digits_base | |
    | ratio | how it was written | the terms |
    | words | words in lower case | |
    | choice | the letter | what follows the letter |
    | expression | LaTeX | |
    | relation | LaTeX, joined by AND, by OR or, where that is not said, by EITHER | |
    | equation | LaTeX | both sides |
    | named | the name as LaTeX | the value |
    | record | | named values, of different names |
    | chain | = or ~ | what is said to be equal |
    | quantity | the unit, as `unit_of` names it | the value |
    | family | the condition | the value |
    | list | or, where words have it between them | values, in no order |
    | group | the brackets | values, in order unless the brackets are {} |
    | matrix | | groups, a row each |
    | opaque | what cannot be read | |
    """

    kind: str
    text: str = ""
    parts: tuple[Node, ...] = ()


def node_of(raw: list[object]) -> Node:
    """A node from the lists that JSON makes of one."""
    kind, text, parts = raw
    assert isinstance(parts, list)
    return Node(str(kind), str(text), tuple(map(node_of, parts)))


# -- splitting outside brackets ------------------------------------------------------------------

_BRACKETS = (
    r"(?P<open>\\\{|[(\[{]|\\(?:langle|lfloor|lceil|begin)(?![A-Za-z]))"
    r"|(?P<close>\\\}|[)\]}]|\\(?:rangle|rfloor|rceil|end)(?![A-Za-z]))"
)


def _splitter(separators: str) -> re.Pattern[str]:
    return re.compile(f"{_BRACKETS}|(?P<separator>{separators})")


_LISTED = _splitter(r"[,;]|(?<![\\A-Za-z])(?:and|or)(?![A-Za-z])")
_RELATIONS = _splitter(
    r"[=<>]|\\(?:le|ge|ne|approx|in|notin|equiv|subset|subseteq|to|implies|mid|sim)(?![A-Za-z])"
)
_SUCH_THAT = _splitter(r"\||:|\\mid(?![A-Za-z])")
_COLONS = _splitter(r":|\\colon(?![A-Za-z])")
_ROWS = _splitter(r"\\\\")
_CELLS = _splitter("&")


def _split(text: str, splitter: re.Pattern[str]) -> tuple[list[str], list[str]]:
    """The parts between the separators that stand in no brackets, and the separators."""
    parts, separators, depth, start = [], [], 0, 0
    for found in splitter.finditer(text):
        if found["open"]:
            depth += 1
        elif found["close"]:
            depth -= 1
        elif depth <= 0:
            parts.append(text[start : found.start()].strip())
            separators.append(found[0])
            start = found.end()
    return [*parts, text[start:].strip()], separators


MOST_ITEMS = 60
"""Values in a list, or in brackets, that are still read."""

DEEPEST = 40
"""Brackets within one another that are still read."""


def _depth(text: str) -> int:
    depth = deepest = 0
    for found in _FIRST_BRACKET.finditer(text):
        depth += 1 if found["open"] else -1
        deepest = max(deepest, depth)
    return deepest


# -- the whole answer ----------------------------------------------------------------------------

_UNREADABLE = re.compile(
    r"\\(?:dots|juxtaposed|implies|text|boxed)(?![A-Za-z])|(?<!\\lim_\{[a-z] )\\to(?![A-Za-z])"
    r"|\b(?:not|never|cannot|\w+n't)\b|\?"
)
_DOMAIN = re.compile(
    r"(?:where |for |with )?(?:all |any |every |some )?\s*([A-Za-z])\s*"
    r"(?:\\in\s*(\\mathbb\{[ZNRQC]\})"
    r"|(?:is|=)?\s*(?:an? |any )*(?:arbitrary )?(integer|real number|constant|real constant)s?)"
)
_CONDITION = re.compile(
    r",?\s+(?:where|for|with|if|when|whenever|such that|provided|unless|only|except)\s"
)
_CHOICE = re.compile(
    r"\(?([A-H])\s*\)(?!\s*(?:and\b|or\b|[,;+*/^=]))\s*[:.]?\s*(.+)|([A-H])[:.]\s+(.+)",
    re.DOTALL,
)
_PHRASES = [
    (phrase, re.compile(pattern, re.IGNORECASE))
    for phrase, pattern in (
        ("does not exist", r"(?:(?:the )?(?:limit|it) )?(?:does not|doesn't) exist|dne"),
        (
            "infinitely many",
            r"(?:there (?:are|exist) )?(?:infinitely many|an infinite number of)(?: solutions)?",
        ),
        (
            "cannot be determined",
            r"(?:it )?(?:cannot|can not|can't) be determined(?: from the (?:given )?information)?",
        ),
        ("impossible", r"(?:it is )?(?:impossible|not possible)"),
        ("empty set", r"\\emptyset|(?:the )?empty set"),
        ("empty set", r"(?:there (?:is|are|exists?) )?no solutions?(?: exists?)?"),
    )
]
_RESTATED = re.compile(
    r"([^()]{1,60}?)\s*\(((?:(?:or|i\.e\.|about|approximately)\s|\\approx|=|,|\s)*)([^()]{1,60})\)"
)
_THOUSANDS = re.compile(r"(?<![\d.,])\d{1,3}(?:,\d{3})+(?![\d,])")
_DECIMAL_COMMA = re.compile(
    r"([^()\[\]{},;\d]*)(\d{1,3}(?:\.\d{3})+|\d+),((?!\d{3}(?!\d))\d+|(?<=\b0,)\d{3})(?!\.?\d)([^,;]*)"
)
_SLASHED = re.compile(r"(?<![\w.}^])(\d+)\s*/\s*(\d+)(?=\s*(?:\\[a-z]|[A-Za-z(]))")
_POINT = re.compile(r"[A-Z]'?\s*(\([^()]+,[^()]+\))")
_SINGLE = re.compile("[A-H]")
_SHORT_PRODUCT = re.compile(r"(?!(?:no|yes|odd|all|one|two|six|ten)$)[a-z]{2,3}|[A-Z]{2}")


@lru_cache(maxsize=8192)
def readings(text: str, of_gold: bool) -> tuple[Node, ...]:
    """What a text can mean: more than one thing where 1,234 may be a number or two, and 3,14 in an
    answer a decimal."""
    plain = bare(text)
    texts = [plain]
    for pattern, joined in ((_THOUSANDS, _no_commas), (_SLASHED, r"\\frac{\1}{\2}")):
        texts += [pattern.sub(joined, other) for other in texts if pattern.search(other)]
    found = [Node("expression", latex) for latex in _as_product(plain)]
    texts += [found[1] for found in map(_POINT.fullmatch, texts) if found]
    if not of_gold and (decimal := _DECIMAL_COMMA.fullmatch(plain)):
        before, whole, rest, after = decimal.groups()
        texts.append(f"{before}{whole.replace('.', '')}.{rest}{after}" if rest.strip("0") else "?")
    for other in dict.fromkeys(texts):
        found += [read(other, True)] if of_gold else [read(other, True), read(other, False)]
    return tuple(dict.fromkeys(found))


def _no_commas(found: re.Match[str]) -> str:
    return found[0].replace(",", "")


def _as_product(text: str) -> list[str]:
    return [for_parser(text)] if _SHORT_PRODUCT.fullmatch(text) else []


def read(text: str, of_gold: bool = True) -> Node:
    """What a bare text says.

    >>> read("x = 1 or x = 2").parts[0].kind, read("5 cm").text, read("(1, 2]").text
    ('list', 'length 1 1/100', '(]')
    """
    text = text.strip()
    if choice := _CHOICE.fullmatch(text):
        letter, rest = choice[1] or choice[3], choice[2] or choice[4]
        return Node("choice", letter, (_unlettered(rest, of_gold),))
    return _unlettered(text, of_gold)


def _unlettered(text: str, of_gold: bool) -> Node:
    if phrase := next((said for said, form in _PHRASES if form.fullmatch(text)), None):
        return Node("words", phrase)
    if not text or _UNREADABLE.search(text) or _depth(text) > DEEPEST:
        return Node("opaque", text)
    if (restated := _RESTATED.fullmatch(text)) and (chain := _restated(*restated.groups())):
        return chain
    if (spoken := number_in_words(text.lower().replace("-", " ").split())) is not None:
        return Node("number", str(spoken))
    if compound := _compound_quantity(text):
        return compound
    condition = _CONDITION.search(text)
    if condition and condition.start():
        return _conditioned(text[: condition.start()], text[condition.start() :], of_gold)
    items, separators = _split(text, _LISTED)
    domain = _DOMAIN.fullmatch(items[-1]) if len(items) > 1 else None
    if domain:
        return _family(_items(items[:-1], separators, of_gold), domain)
    return _items(items, separators, of_gold)


def _restated(value: str, lead: str, remark: str) -> Node | None:
    """A number that is said twice, as in "5 (five)" and "1/2 (or 0.5)"; None if this is none."""
    if lead.strip():
        return Node("chain", "~", (_value(value, False), _value(remark, False)))
    said = [
        number_of(part) or number_in_words(part.lower().replace("-", " ").split())
        for part in (value, remark)
    ]
    if None in said or (number_of(value) and number_of(remark)):
        return None
    return Node("chain", "=", tuple(Node("number", str(number)) for number in said))


def _items(texts: list[str], separators: list[str], of_gold: bool) -> Node:
    texts = [text for text in texts if text]
    if not 0 < len(texts) <= MOST_ITEMS:
        return Node("opaque")
    items = [_item(text, of_gold) for text in texts]
    return items[0] if len(items) == 1 else _listed(items, separators)


def _conditioned(value: str, condition: str, of_gold: bool) -> Node:
    domain = _DOMAIN.fullmatch(condition.strip(" ,"))
    if not domain:
        return Node("opaque", value + condition)
    return _family(_items(*_split(value, _LISTED), of_gold), domain)


def _family(value: Node, domain: re.Match[str]) -> Node:
    return Node("family", _domain_text(domain), (value,))


def _domain_text(domain: re.Match[str]) -> str:
    return f"{domain[1]} {domain[2] or domain[3]}".replace("integer", r"\mathbb{Z}")


def _listed(items: list[Node], separators: list[str]) -> Node:
    """A list; a record if all are named, and differently; one name's list if only one is used."""
    if all(item.kind == "relation" for item in items):
        said = {separator.upper() for separator in separators} & {"AND", "OR"}
        joint = said.pop() if len(said) == 1 else "EITHER"
        return Node("relation", f" {joint} ".join(item.text for item in items))
    if items[0].kind == "named":
        name = items[0].text
        named = [item if item.kind == "named" else Node("named", name, (item,)) for item in items]
        names = [plain_name(item.text) for item in named]
        if len(set(names)) == 1:
            return Node("named", name, (_list([item.parts[0] for item in named]),))
        if len(set(names)) == len(names) and all(item.kind == "named" for item in items):
            return Node("record", "", tuple(items))
        return Node("opaque")
    letters = (item.kind == "words" or _SINGLE.fullmatch(item.text) for item in items)
    return _list(items)._replace(text="or" if any(letters) and "or" in separators else "")


def _list(items: list[Node]) -> Node:
    return Node("list", "", tuple(_flat(items)))


def _flat(items: list[Node]) -> Iterator[Node]:
    for item in items:
        yield from item.parts if item.kind == "list" else (item,)


# -- names and relations -------------------------------------------------------------------------

_LETTER = (
    r"(?:[A-Za-z]|\\(?:hat|bar|vec|tilde|dot|overline)\s*\{[^{}]*\}"
    r"|\\(?!frac|sqrt|cdot|times|pi\b|infty)[a-z]+\s*)"
)
_SCRIPT = (
    r"(?:_(?:\{[^{}]*\}|\w|\\[a-z]+))?'*(?:\^\{(?:\\prime|\\cdot|-1|[a-z]+)\s*\}|\^\\cdot\s*)?"
)
_SYMBOL = rf"{_LETTER}{_SCRIPT}"
_NAME = re.compile(
    rf"(?:m?\s*\\(?:angle|triangle|overline|widehat|measuredangle)\s*)?\s*(?:{_SYMBOL}|[A-Z]{{2,4}}"
    rf"|\{{[A-Z]+\}}|\|[A-Z]{{2}}\||\[[A-Z]{{3,6}}\]|[A-Za-z][A-Za-z ]{{2,60}})"
    r"(?:\s*\([^=<>]{1,40}\))?|[A-Z]\([^()]{1,60}\)"
    r"|\\(?:sin|cos|tan|cot|sec|csc)\s*(?:\^\{\d\})?\s*\(?(?:\\angle\s*)?(?:[A-Za-z]+|\\[a-z]+)\)?"
)
_TUPLE_NAME = re.compile(rf"\(\s*{_SYMBOL}(?:\s*,\s*{_SYMBOL})+\s*\)")
_COMPUTED = re.compile(
    r"\\(?:lim|max|min|sup|inf|deg|dim|det|ker|Pr)(?![A-Za-z])[^=<>]*[A-Za-z]"
    r"|\|\s*[A-Zvwz]\s*\|$"
    r"|\\frac\s*\{\s*d\^?\{?\d?\}?\s*[a-z]\s*\}\s*\{\s*d\s*[a-z]\s*(?:\^\{\d\})?\s*\}$"
)
_HAS_VARIABLE = re.compile(r"(?<![\\A-Za-z])[A-Za-df-z]|\\(?:alpha|beta|theta|lambda|omega|angle)")
_RISING = {">": "<", r"\ge": r"\le"}
_COMPARING = {"<", ">", r"\le", r"\ge"}


def plain_name(name: str) -> str:
    """A name without the spaces and braces, and without what only says that it is extreme."""
    return re.sub(r"[\s{}\\]|_\{?\s*\\?(?:max|min)\s*\}?", "", name)


def _item(text: str, of_gold: bool) -> Node:
    """One of the things between commas: a value, with a name or in a relation."""
    parts, signs = _split(text, _RELATIONS)
    if not signs:
        return _value(text, of_gold)
    if set(signs) <= _COMPARING or signs == [r"\ne"]:
        return Node("relation", _rising(parts, signs)) if all(parts) else Node("opaque", text)
    if signs == [r"\in"] and _NAME.fullmatch(parts[0]):
        return Node("named", parts[0], (_value(parts[1], of_gold),))
    if signs == [r"\equiv"] and _NAME.fullmatch(parts[0]):
        remainder = _value(_LAST_MODULO.sub(r"\\pmod{\1}", parts[1]), of_gold)
        return Node("named", parts[0], (remainder,))
    if not set(signs) <= {"=", r"\approx"}:
        return Node("opaque", text)
    if not parts[0]:  # "= 5"
        parts, signs = parts[1:], signs[1:]
    if not all(parts):
        return Node("opaque", text)
    return _equal(parts, signs, of_gold) if signs else _value(parts[0], of_gold)


def _rising(parts: list[str], signs: list[str]) -> str:
    """A relation with the least first."""
    if set(signs) <= _RISING.keys():
        parts, signs = parts[::-1], [_RISING[sign] for sign in signs[::-1]]
    pairs = zip(parts, [*signs, ""], strict=True)
    return for_parser("".join(f"{part} {sign} " for part, sign in pairs).strip())


def _equal(parts: list[str], signs: list[str], of_gold: bool) -> Node:
    if len(parts) == 2 and number_of(parts[0]) and _is_unknown(parts[1], of_gold):  # 1 = x + y
        parts = parts[::-1]
    if _TUPLE_NAME.fullmatch(parts[0]):
        value = _chain(parts[1:], signs[1:], of_gold)
        names = _split(parts[0][1:-1], _LISTED)[0]
        if value.kind == "group" and len(value.parts) == len(names):
            pairs = zip(names, value.parts, strict=True)
            return Node("record", "", tuple(Node("named", name, (part,)) for name, part in pairs))
        return value
    if _NAME.fullmatch(parts[0]):
        return Node("named", parts[0], (_chain(parts[1:], signs[1:], of_gold),))
    if _COMPUTED.match(parts[0]):
        return Node("named", parts[0], (_chain(parts[1:], signs[1:], of_gold),))
    if _is_unknown(parts[0], of_gold):
        sides = (_value(parts[0], of_gold), _chain(parts[1:], signs[1:], of_gold))
        return Node("equation", for_parser(f"{parts[0]}={parts[-1]}"), sides)
    return _chain(parts, signs, of_gold)


def _is_unknown(side: str, of_gold: bool) -> bool:
    """Whether a side of an equation has letters for numbers, and not for a unit."""
    return bool(_HAS_VARIABLE.search(side)) and not _unit_of_tail(side, of_gold)


def _chain(parts: list[str], signs: list[str], of_gold: bool) -> Node:
    values = tuple(_value(part, of_gold) for part in parts)
    if len(values) == 1:
        return values[0]
    return Node("chain", "~" if r"\approx" in signs else "=", values)


# -- values --------------------------------------------------------------------------------------

_SIGN_PAIR = re.compile(r"\\(?:pm|mp)(?![A-Za-z])")
_MATRIX = re.compile(
    r"\\begin\{([pbBv]?matrix|array|cases)\}(?:\{[clr|]*\})?(.*)\\end\{\1\}", re.DOTALL
)
_CLOSING = {"(": ")", "[": "]", "{": "}", r"\{": r"\}", r"\langle": r"\rangle"}
_FIRST_BRACKET = re.compile(_BRACKETS)
_MODULO = re.compile(
    r"(.+?)(?:\s*,?\s*\\pmod\s*\{\s*(\w+)\s*\}|\s*\(\s*\\?mod\s*\{?\s*(\w+)\s*\}?\s*\))"
)
_LAST_MODULO = re.compile(r"\\b?mod\s*\{?\s*(\w+)\s*\}?$")
_TO = re.compile(r"\d+(?: to \d+)+")
_BASED = re.compile(r"\(?(\d+)\)?\s*_\s*\{?\s*(?:base\s*)?(\d+|[a-z]+)\s*\}?")
_BASE_AFTER = re.compile(r"(\d+) (?:\(?base|in base)[ -](\d+|[a-z]+)\)?")


def _value(text: str, of_gold: bool) -> Node:
    """A value of one kind or another."""
    text = text.strip()
    if number := number_of(text):
        return Node("number", number)
    if text.startswith(("(", "[", "{", "\\", "]")) and (enclosed := _enclosed(text, of_gold)):
        return enclosed
    if _SIGN_PAIR.search(text):
        return _both_signs(text, of_gold)
    if based := _BASED.fullmatch(text) or _BASE_AFTER.fullmatch(text):
        base = based[2] if based[2].isdigit() else str(number_in_words([based[2]]))
        return Node("based", f"{based[1].lstrip('0') or '0'}_{base}")
    if remainder := _MODULO.fullmatch(text):
        return Node(
            "quantity", f"modulo {remainder[2] or remainder[3]}", (_value(remainder[1], of_gold),)
        )
    if _TO.fullmatch(text):
        text = text.replace(" to ", ":")
    terms, _ = _split(text, _COLONS)
    if len(terms) > 1:
        return Node("ratio", text.replace(" ", ""), tuple(_value(term, of_gold) for term in terms))
    if (tail := _unit_of_tail(text, of_gold)) is not None:
        unit, value = tail
        inner = _value(value, of_gold)
        return Node("quantity", unit, (inner,)) if unit else inner
    return _words(text) or _expression(text)


def _expression(text: str) -> Node:
    if not is_mathematics(text):
        return Node("opaque", text)
    return Node("expression", for_parser(text))


def _both_signs(text: str, of_gold: bool) -> Node:
    """The values that a text with plus-minus stands for."""
    count = len(_SIGN_PAIR.findall(text))
    if count > 3:
        return Node("opaque", text)
    together = r"\mp" in text
    choices = [("+",) * count, ("-",) * count] if together else product("+-", repeat=count)
    variants = [_with_signs(text, chosen) for chosen in choices]
    return _list([_value(variant.strip().removeprefix("+"), of_gold) for variant in variants])


def _with_signs(text: str, signs: Iterable[str]) -> str:
    left = iter(signs)

    def signed(found: re.Match[str]) -> str:
        sign = next(left)
        return sign if found[0] == r"\pm" else {"+": "-", "-": "+"}[sign]

    return _SIGN_PAIR.sub(signed, text)


def _enclosed(text: str, of_gold: bool) -> Node | None:
    """What stands in brackets or in an environment; None if that is not all."""
    if matrix := _MATRIX.fullmatch(text):
        return _matrix(matrix, of_gold)
    if text.startswith("]") and text.endswith("["):  # ]0, 1[
        text = f"({text[1:-1]})"
    first = _FIRST_BRACKET.match(text)
    if not first or not first["open"] or not _closes_at_end(text):
        return None
    opening = first[0]
    last = list(_FIRST_BRACKET.finditer(text))[-1]
    inner = text[first.end() : last.start()].strip()
    if opening not in _CLOSING or last.end() != len(text):
        return None
    if opening == "{" and _is_set(inner):
        opening = r"\{"
    if opening == "{":
        return _item(inner, of_gold) if inner and last[0] == "}" else None
    return _group(opening, last[0], inner, of_gold)


def _is_set(inner: str) -> bool:
    """Whether curly brackets hold what a set does: {1, 2}, {x | x > 2}."""
    such = _split(inner, _SUCH_THAT)[0]
    return len(_split(inner, _LISTED)[0]) > 1 or (
        len(such) == 2 and len(_split(such[1], _RELATIONS)[1]) > 0
    )


def _closes_at_end(text: str) -> bool:
    depth = 0
    for found in _FIRST_BRACKET.finditer(text):
        depth += 1 if found["open"] else -1
        if depth == 0:
            return found.end() == len(text)
    return False


def _group(opening: str, closing: str, inner: str, of_gold: bool) -> Node | None:
    if opening == r"\{":
        return _set(inner, of_gold)
    brackets = "()" if opening == r"\langle" else opening + closing
    items = [item for item in _split(inner, _LISTED)[0] if item]
    if len(items) < 2:
        return _item(inner, of_gold) if inner and _closes(brackets) else None
    if len(items) > MOST_ITEMS:
        return Node("opaque")
    if _SIGN_PAIR.search(inner):
        return _both_signs(f"{opening}{inner}{closing}", of_gold)
    values = tuple(_item(item, of_gold) for item in items)
    if len(values) == 2:
        low, high = values
        opened = "(" if _is_infinite(low) else brackets[0]
        brackets = opened + (")" if _is_infinite(high) else brackets[1])
    return Node("group", brackets, values)


def _closes(brackets: str) -> bool:
    return brackets in ("()", "[]")


def _is_infinite(node: Node) -> bool:
    return node.kind == "expression" and r"\infty" in node.text


def _set(inner: str, of_gold: bool) -> Node:
    if not inner:
        return Node("words", "empty set")
    parts, _ = _split(inner, _SUCH_THAT)
    if len(parts) == 2:
        condition = read(parts[1], of_gold)
        of_another = len(parts[0]) == 1 and parts[0] not in parts[1]  # {x | y > 2}
        is_read = condition.kind == "relation" and not of_another
        return condition if is_read else Node("opaque", inner)
    if len(parts) > 2 or _DOMAIN.fullmatch(inner):
        return Node("opaque", inner)
    items = [_item(item, of_gold) for item in _split(inner, _LISTED)[0] if item]
    return Node("group", "{}", tuple(_flat(items)))


def _matrix(found: re.Match[str], of_gold: bool) -> Node:
    if found[1] == "vmatrix":
        return _expression(found[0])
    rows = [row for row in _split(found[2], _ROWS)[0] if row]
    if found[1] == "cases":
        joined = ", ".join(row.rstrip(" ,") for row in rows)
        return Node("opaque", found[0]) if "&" in joined else read(joined, of_gold)
    cells = [[_value(cell, of_gold) for cell in _split(row, _CELLS)[0]] for row in rows]
    return Node("matrix", "", tuple(Node("group", "()", tuple(row)) for row in cells))


# -- units and words -----------------------------------------------------------------------------

_RAISED_UNIT = re.compile(r"\s*\^\s*\{\s*([23])\s*\}$")
_DEGREES = re.compile(r"(.*[\d}).a-z])\s*\\degree\s*([CF]?)$", re.DOTALL)
_RATE = re.compile(
    r"(?:(?<=[\d)])|(?<=\d\}))\s*(?:\\frac\s*\{\s*([A-Za-z]+)\s*\}\s*\{\s*([A-Za-z]+)\s*\}"
    r"|([A-Za-z]+)\s*(?:\\cdot\s*)?([A-Za-z]+)\s*\^\s*\{-1\})$"
)
_OF_ANGLE = re.compile(r"\\(?:sin|cos|tan|cot|sec|csc)(?![A-Za-z])")
_SCALE = re.compile(r"(thousand|million|billion|dozen)\s+(?=\w)")
_TAIL = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ /.'-%"
_PIECE = re.compile(
    rf"({DECIMAL}|\\frac\{{\d+\}}\{{\d+\}})\s*(\\degree|'{{1,2}}|[A-Za-z]+)\s*(?:,?\s*and\s+|,\s*)?"
)
_MARKS = {r"\degree": "angle 1 1", "'": "angle 1 1/60", "''": "angle 1 1/3600"}


def _unit_of_tail(text: str, of_gold: bool) -> tuple[str, str] | None:
    """The unit at the end of a text, empty if it says nothing, and what it is the unit of."""
    if text.count(r"\degree") == 1 and (degrees := _DEGREES.fullmatch(text)):
        if _OF_ANGLE.search(text):
            return None
        return (f"temperature 1 {degrees[2]}" if degrees[2] else "angle 1 1"), degrees[1]
    if not of_gold and text.endswith("}") and (rate := _RATE.search(text)):
        unit = unit_of(f"{rate[1] or rate[3]}/{rate[2] or rate[4]}")
        return (unit, text[: rate.start()]) if unit else None
    raised = _RAISED_UNIT.search(text)
    plain = text[: raised.start()] if raised else text
    value = plain.rstrip(_TAIL)
    tail = plain[len(value) :]
    if value.endswith("\\"):
        command = re.match("[A-Za-z]+", tail)
        value, tail = (
            value + (command[0] if command else ""),
            tail[command.end() if command else 0 :],
        )
    value, tail = value + tail[: len(tail) - len(tail.lstrip(" /.'-"))], tail.lstrip(" /.'-")
    if scale := _SCALE.match(tail):
        value, tail = f"{value} {scale[1]} ", tail[scale.end() :]
    spaced, value = value.endswith(" "), value.strip(" ")
    if not tail or not value or not re.search(r"[\d})\]a-z.]$", value):
        return None
    if len(tail) == 1 and tail != "%" and (of_gold or not is_single_unit(tail)):
        return None
    if value.endswith(("_", "^")) or (not spaced and len(tail) > 1 and not _is_known(tail)):
        return None
    unit = unit_of(tail, int(raised[1]) if raised else 1)
    return None if unit is None else (unit, value)


def _is_known(tail: str) -> bool:
    unit = unit_of(tail)
    return unit is not None and len(unit.split()) == 3


def _compound_quantity(text: str) -> Node | None:
    """Hours and minutes, feet and inches, degrees and minutes, in the first of these units."""
    pieces, place = [], 0
    while found := _PIECE.match(text, place):
        unit = _MARKS.get(found[2]) or unit_of(found[2])
        pieces.append((number_of(found[1]), unit))
        place = found.end()
    if len(pieces) < 2 or place < len(text):
        return None
    total, first = Fraction(0), pieces[0][1]
    for number, unit in pieces:
        factor = ratio(unit, first) if unit and first else None
        if number is None or factor is None or (unit == first and total):
            return None
        total += Fraction(number) * factor
    return Node("quantity", str(first), (Node("number", str(total)),))


_WORDS = re.compile(r"[A-Za-z0-9 ,.'()/!&\"%-]+")
_WORD = re.compile("[A-Za-z]{2}")
_TOKEN = re.compile(r"[A-Za-z]+(?:'[a-z]+)?|\d+(?:\.\d+)?")
_ORDINAL = re.compile(r"(\d+)(?:st|nd|rd|th)\b")
_ARTICLE = re.compile(r"A(?= [a-z]{2})")
_EMPTY_WORDS = frozenset(["a", "an", "the", "of"])
_SMALL_WORDS_TEXT = "by to of at in on is no am pm AM PM the and or may May"
_SMALL_WORDS = frozenset(_SMALL_WORDS_TEXT.split())


def _words(text: str) -> Node | None:
    """Words, as names and dates are; None if this is mathematics."""
    if not (_WORDS.fullmatch(text) and _WORD.search(text)) or _is_product(text):
        return None
    tokens = _TOKEN.findall(_ARTICLE.sub("", _ORDINAL.sub(r"\1", text)))
    plain = [token if len(token) == 1 else token.lower() for token in tokens]
    kept = [token for token in plain if token not in _EMPTY_WORDS or len(plain) == 1]
    return Node("words", " ".join(kept)) if kept else None


def _is_product(text: str) -> bool:
    """Whether letters are variables that stand beside each other, rather than a word."""
    runs = re.findall("[A-Za-z]+", text)
    if not _SMALL_WORDS.isdisjoint(runs):
        return False
    if any(sign in text for sign in "/-(") and all(len(run) < 3 for run in runs):
        return True
    return bool(re.match(r"[\d(.]", text)) and all(len(run) < 4 for run in runs) and len(runs) < 3
