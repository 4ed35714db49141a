"""What an answer says: a number, a point, a list of values, a name and its value, and so on.

A reading is a tree of nodes. Its leaves are numbers, words and LaTeX that math-verify's parser can
read; what holds them together (brackets, commas, names, units) is read here, since that is where it
takes unequal answers for equal.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import product

from skill_factory.tasks.mathematics.brackets import (
    BRACKET,
    CELLS,
    COLONS,
    LISTED,
    RELATIONS,
    ROWS,
    SUCH_THAT,
    closes_at_end,
    depth_of,
    split,
)
from skill_factory.tasks.mathematics.latex import for_parser, is_mathematics
from skill_factory.tasks.mathematics.nodes import Node
from skill_factory.tasks.mathematics.numbers import number_of
from skill_factory.tasks.mathematics.quantities import (
    compound_quantity,
    phrase_of,
    unit_at_end,
    words_of,
)
from skill_factory.tasks.mathematics.symbols import (
    COMPUTED,
    HAS_VARIABLE,
    NAME,
    TUPLE_NAME,
    plain_name,
)
from skill_factory.tasks.mathematics.units import number_in_words

MOST_ITEMS = 60
"""Values in a list, or in brackets, that are still read."""

DEEPEST = 40
"""Brackets within one another that are still read."""


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
_RESTATED = re.compile(
    r"([^()]{1,60}?)\s*\(((?:(?:or|i\.e\.|about|approximately)\s|\\approx|=|,|\s)*)([^()]{1,60})\)"
)
_SINGLE = re.compile("[A-H]")


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
    if phrase := phrase_of(text):
        return Node("words", phrase)
    if not text or _UNREADABLE.search(text) or depth_of(text) > DEEPEST:
        return Node("opaque", text)
    if (restated := _RESTATED.fullmatch(text)) and (chain := _restated(*restated.groups())):
        return chain
    if (spoken := number_in_words(text.lower().replace("-", " ").split())) is not None:
        return Node("number", str(spoken))
    if compound := compound_quantity(text):
        return compound
    condition = _CONDITION.search(text)
    if condition and condition.start():
        return _conditioned(text[: condition.start()], text[condition.start() :], of_gold)
    items, separators = split(text, LISTED)
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
    return _family(_items(*split(value, LISTED), of_gold), domain)


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

_RISING = {">": "<", r"\ge": r"\le"}
_COMPARING = {"<", ">", r"\le", r"\ge"}


def _item(text: str, of_gold: bool) -> Node:
    """One of the things between commas: a value, with a name or in a relation."""
    parts, signs = split(text, RELATIONS)
    if not signs:
        return _value(text, of_gold)
    if set(signs) <= _COMPARING or signs == [r"\ne"]:
        return Node("relation", _rising(parts, signs)) if all(parts) else Node("opaque", text)
    if signs == [r"\in"] and NAME.fullmatch(parts[0]):
        return Node("named", parts[0], (_value(parts[1], of_gold),))
    if signs == [r"\equiv"] and NAME.fullmatch(parts[0]):
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
    if TUPLE_NAME.fullmatch(parts[0]):
        value = _chain(parts[1:], signs[1:], of_gold)
        names = split(parts[0][1:-1], LISTED)[0]
        if value.kind == "group" and len(value.parts) == len(names):
            pairs = zip(names, value.parts, strict=True)
            return Node("record", "", tuple(Node("named", name, (part,)) for name, part in pairs))
        return value
    if NAME.fullmatch(parts[0]):
        return Node("named", parts[0], (_chain(parts[1:], signs[1:], of_gold),))
    if COMPUTED.match(parts[0]):
        return Node("named", parts[0], (_chain(parts[1:], signs[1:], of_gold),))
    if _is_unknown(parts[0], of_gold):
        sides = (_value(parts[0], of_gold), _chain(parts[1:], signs[1:], of_gold))
        return Node("equation", for_parser(f"{parts[0]}={parts[-1]}"), sides)
    return _chain(parts, signs, of_gold)


def _is_unknown(side: str, of_gold: bool) -> bool:
    """Whether a side of an equation has letters for numbers, and not for a unit."""
    return bool(HAS_VARIABLE.search(side)) and not unit_at_end(side, of_gold)


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
    terms, _ = split(text, COLONS)
    if len(terms) > 1:
        return Node("ratio", text.replace(" ", ""), tuple(_value(term, of_gold) for term in terms))
    if (tail := unit_at_end(text, of_gold)) is not None:
        unit, value = tail
        inner = _value(value, of_gold)
        return Node("quantity", unit, (inner,)) if unit else inner
    return words_of(text) or _expression(text)


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
    first = BRACKET.match(text)
    if not first or not first["open"] or not closes_at_end(text):
        return None
    opening = first[0]
    last = list(BRACKET.finditer(text))[-1]
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
    such = split(inner, SUCH_THAT)[0]
    return len(split(inner, LISTED)[0]) > 1 or (
        len(such) == 2 and len(split(such[1], RELATIONS)[1]) > 0
    )


def _group(opening: str, closing: str, inner: str, of_gold: bool) -> Node | None:
    if opening == r"\{":
        return _set(inner, of_gold)
    brackets = "()" if opening == r"\langle" else opening + closing
    items = [item for item in split(inner, LISTED)[0] if item]
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
    parts, _ = split(inner, SUCH_THAT)
    if len(parts) == 2:
        condition = read(parts[1], of_gold)
        of_another = len(parts[0]) == 1 and parts[0] not in parts[1]  # {x | y > 2}
        is_read = condition.kind == "relation" and not of_another
        return condition if is_read else Node("opaque", inner)
    if len(parts) > 2 or _DOMAIN.fullmatch(inner):
        return Node("opaque", inner)
    items = [_item(item, of_gold) for item in split(inner, LISTED)[0] if item]
    return Node("group", "{}", tuple(_flat(items)))


def _matrix(found: re.Match[str], of_gold: bool) -> Node:
    if found[1] == "vmatrix":
        return _expression(found[0])
    rows = [row for row in split(found[2], ROWS)[0] if row]
    if found[1] == "cases":
        joined = ", ".join(row.rstrip(" ,") for row in rows)
        return Node("opaque", found[0]) if "&" in joined else read(joined, of_gold)
    cells = [[_value(cell, of_gold) for cell in split(row, CELLS)[0]] for row in rows]
    return Node("matrix", "", tuple(Node("group", "()", tuple(row)) for row in cells))
