"""Whether two readings of answers say the same: True, False, or None where that is not known."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Protocol

from skill_factory.tasks.mathematics.decimals import (
    proportional,
    rounds_to,
    same_in_base,
    significant,
)
from skill_factory.tasks.mathematics.names import (
    both_vary,
    by_name,
    crossed,
    is_word,
    of_other_units,
    same_name,
    same_words,
)
from skill_factory.tasks.mathematics.nodes import Node
from skill_factory.tasks.mathematics.symbols import plain_name
from skill_factory.tasks.mathematics.units import ratio
from skill_factory.tasks.mathematics.verdicts import Verdict, every, matching, some, unless
from skill_factory.tasks.mathematics.write_latex import latex, times, variables


class Engine(Protocol):
    """What compares LaTeX, in another process."""

    def equal(self, gold: str, given: str) -> Verdict:
        """Whether two values are equal."""

    def rounds_to(self, exact: str, decimal: str) -> bool:
        """Whether a decimal is an exact value rounded to the places it shows."""

    def same_equation(self, gold: str, given: str) -> Verdict:
        """Whether two equations say the same."""

    def same_set(self, gold: str, given: str) -> Verdict:
        """Whether two inequalities, intervals or sets hold the same numbers."""

    def same_family(self, gold: str, given: str, variable: str, other: str) -> Verdict:
        """Whether two values hold the same numbers as their variables run over the integers."""


def needs_engine(node: Node) -> bool:
    """Whether there is LaTeX in a reading."""
    return node.kind in ("expression", "relation", "equation") or any(map(needs_engine, node.parts))


class Comparison:
    """One comparison's engine, and whether a rounded decimal is right for an exact value."""

    def __init__(self, engine: Engine, rounded: bool = False) -> None:
        self.engine = engine
        self.rounded = rounded

    def any_same(self, golds: Sequence[Node], givens: Sequence[Node]) -> Verdict:
        """Whether one reading of an answer is one of the gold answer's."""
        return some(self.same(gold, given) for gold in golds for given in givens)

    def same(self, gold: Node, given: Node) -> Verdict:
        """Whether two readings say the same."""
        if "opaque" in (gold.kind, given.kind):
            return None
        kinds = {gold.kind, given.kind}
        for kind, compare in self._rules():
            if kind in kinds:
                return compare(gold, given)
        return self._leaves(gold, given)

    def _rules(self) -> list[tuple[str, Callable[[Node, Node], Verdict]]]:
        """What is looked at first: the first kind that either reading is of decides how."""
        return [
            ("choice", self._choices),
            ("family", self._families),
            ("record", self._records),
            ("equation", self._equations),
            ("named", self._named),
            ("list", self._lists),
            ("chain", self._chains),
            ("quantity", self._quantities),
            ("matrix", self._matrices),
            ("relation", self._sets),
            ("group", self._groups),
        ]

    # -- lists and brackets ----------------------------------------------------------------------

    def _ordered(self, golds: Sequence[Node], givens: Sequence[Node]) -> Verdict:
        if len(golds) != len(givens):
            return False
        return every(map(self.same, golds, givens))

    def _unordered(self, golds: Sequence[Node], givens: Sequence[Node]) -> Verdict:
        table = [[self.same(gold, given) for given in givens] for gold in golds]
        if len(golds) == len(givens):
            return matching(table)
        rows = every(some(row) for row in table)
        columns = every(some(column) for column in zip(*table, strict=True))
        return unless(False, every((rows, columns)))  # the same values, one of them twice

    def _lists(self, gold: Node, given: Node) -> Verdict:
        golds, givens = _items(gold), _items(given)
        tuples = [node for node in (gold, given) if node.kind == "group" and node.text == "()"]
        if tuples and not any(part.kind == "group" for part in (*golds, *givens)):
            return unless(self._ordered(golds, givens), self._unordered(golds, givens))
        if tuples:  # one point, or some
            golds = gold.parts if gold.kind == "list" else (gold,)
            givens = given.parts if given.kind == "list" else (given,)
        same = self._unordered(golds, givens)
        return (
            None if same and "or" in (gold.text, given.text) and gold.text != given.text else same
        )

    def _groups(self, gold: Node, given: Node) -> Verdict:
        if gold.kind != "group" or given.kind != "group":
            return self._one_group(gold, given)
        if gold.text == given.text == "{}":
            return self._unordered(gold.parts, given.parts)
        if "{}" in (gold.text, given.text):
            return unless(False, self._unordered(gold.parts, given.parts))
        ordered = self._ordered(gold.parts, given.parts)
        if gold.text == given.text or len(gold.parts) > 2:
            return ordered
        return None if ordered is None else False  # (0,1) and [0,1]

    def _one_group(self, gold: Node, given: Node) -> Verdict:
        group, other = (gold, given) if gold.kind == "group" else (given, gold)
        if group.text == "{}" and len(group.parts) == 1:
            if other == _EMPTY:  # {0} holds something
                return False
            return self._unordered(_items(gold), _items(given))
        if other.kind == "expression":
            return self._sets(gold, given)
        return False if other.kind in ("number", "based", "ratio") else None

    def _matrices(self, gold: Node, given: Node) -> Verdict:
        if gold.kind == given.kind:
            return self._ordered(gold.parts, given.parts)
        vectors = [_vector(node) for node in (gold, given)]
        if None in vectors:
            return None
        return self._ordered(*(vector for vector in vectors if vector is not None))

    def _sets(self, gold: Node, given: Node) -> Verdict:
        as_sets = ("relation", "expression", "group")
        if gold.kind not in as_sets or given.kind not in as_sets:
            return None
        return self.engine.same_set(latex(gold), latex(given))

    # -- names -----------------------------------------------------------------------------------

    def _named(self, gold: Node, given: Node) -> Verdict:
        if gold.kind == given.kind and crossed(gold, given) and crossed(given, gold):
            return True
        values = self.same(_value(gold), _value(given))
        if gold.kind != given.kind or same_name(gold.text, given.text):
            return values
        if values:  # Area and total area, but not P(A) and P(B)
            return True if is_word(gold.text) and is_word(given.text) else None
        if both_vary(gold, given):
            return self.engine.same_equation(latex(gold), latex(given))
        return values

    def _records(self, gold: Node, given: Node) -> Verdict:
        if gold.kind != given.kind:
            return self._record_and_values(gold, given)
        golds, givens = by_name(gold), by_name(given)
        if golds.keys() != givens.keys():
            return unless(False, self._unordered(list(golds.values()), list(givens.values())))
        verdict = every(self.same(golds[name], givens[name]) for name in golds)
        if len({name[:1] for name in golds}) == 1:  # x_1 and x_2: which is the first is a choice
            return unless(verdict, self._unordered(list(golds.values()), list(givens.values())))
        return verdict

    def _record_and_values(self, gold: Node, given: Node) -> Verdict:
        record, other = (gold, given) if gold.kind == "record" else (given, gold)
        if other.kind == "named" and other.parts[0].kind in ("group", "list"):
            if plain_name(other.text) in by_name(record):  # x = 1 or x = 2, and x = 1, y = 2
                return None
            other = other.parts[0]
        if other.kind not in ("group", "list"):
            return None
        names, values = zip(*by_name(record).items(), strict=True)
        pairs = (values, other.parts) if record is gold else (other.parts, values)
        unordered = self._unordered(*pairs)
        if len({name[:1] for name in names}) == 1 and (other.kind == "list" or other.text == "{}"):
            return unordered
        in_order = tuple(value for _, value in sorted(zip(names, values, strict=True), key=_first))
        pairs = (in_order, other.parts) if record is gold else (other.parts, in_order)
        ordered = self._ordered(*pairs)
        if set(names) <= {"x", "y", "z"}:
            return ordered
        if list(names) != sorted(names):
            return None if ordered else unless(False, unordered)
        return unless(ordered, unordered)

    def _equations(self, gold: Node, given: Node) -> Verdict:
        if {gold.kind, given.kind} <= {"equation", "named"}:
            return self.engine.same_equation(latex(gold), latex(given))
        equation, other = (gold, given) if gold.kind == "equation" else (given, gold)
        if equation.kind != "equation" or other.kind in ("relation", "words"):
            return None
        sides = equation.parts
        if every(
            self.same(*((side, other) if equation is gold else (other, side))) for side in sides
        ):
            return True
        left, right = sides
        zero = right.kind == "number" and not Fraction(right.text)
        is_sum = len(variables(left)) > 1 and "^" not in latex(left)  # m + n = 27
        if zero or not is_sum or variables(other):
            return None
        return self.same(right, other) if equation is gold else self.same(other, right)

    def _choices(self, gold: Node, given: Node) -> Verdict:
        if gold.kind == given.kind:
            rests = self.same(gold.parts[0], given.parts[0])
            return rests if gold.text == given.text else unless(False, rests)
        choice, other = (gold, given) if gold.kind == "choice" else (given, gold)
        if other.kind == "expression" and re.fullmatch("[A-H]", other.text):
            return choice.text == other.text
        rest = choice.parts[0]
        return self.same(rest, other) if choice is gold else self.same(other, rest)

    # -- chains, families, units -----------------------------------------------------------------

    def _chains(self, gold: Node, given: Node) -> Verdict:
        if gold.kind == "chain":
            return some(self.same(part, given) for part in gold.parts)
        verdict = some(self.same(gold, part) for part in given.parts)
        return None if verdict and not self._holds(given) else verdict

    def _holds(self, chain: Node) -> bool:
        """Whether what a chain says to be equal is, or is nearly."""
        first, *others = chain.parts
        if any(part.kind == "chain" for part in chain.parts):
            return False
        return all(self.same(first, other) or self._nearly(first, other) for other in others)

    def _nearly(self, value: Node, decimal: Node) -> bool:
        if decimal.kind == "quantity":
            value, decimal = _value(value, "quantity"), decimal.parts[0]
        if decimal.kind != "number" or value.kind not in ("number", "expression"):
            return False
        if value.kind == "number":
            return rounds_to(Fraction(value.text), decimal.text)
        return self.engine.rounds_to(latex(value), decimal.text)

    def _families(self, gold: Node, given: Node) -> Verdict:
        if gold.kind != given.kind:
            verdict = self.same(_value(gold, "family"), _value(given, "family"))
            return verdict if verdict else None
        variable, domain = gold.text.split(" ", 1)
        other, other_domain = given.text.split(" ", 1)
        if domain != other_domain:
            return None
        values = gold.parts[0], given.parts[0]
        if variable == other and self.same(*values):
            return True
        values = _value(values[0]), _value(values[1])
        if domain != r"\mathbb{Z}" or any(value.kind != "expression" for value in values):
            return None
        return self.engine.same_family(values[0].text, values[1].text, variable, other)

    def _quantities(self, gold: Node, given: Node) -> Verdict:
        values = _value(gold, "quantity"), _value(given, "quantity")
        if gold.kind != given.kind:
            quantity, other = (gold, given) if gold.kind == "quantity" else (given, gold)
            return self._unit_and_none(quantity, other, self.same(*values))
        if gold.text.startswith("modulo"):
            return self._congruent(*values, gold.text, given.text)
        factor = ratio(given.text, gold.text)
        if factor is None:
            return of_other_units(gold.text, given.text, self.same(*values))
        return self.same(values[0], values[1] if factor == 1 else times(values[1], factor))

    def _congruent(self, gold: Node, given: Node, unit: str, other: str) -> Verdict:
        """Whether two values are the same but for a multiple of one modulus."""
        same, modulus = self.same(gold, given), unit.removeprefix("modulo ")
        if unit != other or same or not modulus.isdecimal():
            return same if unit == other else None
        if gold.kind != "number" or given.kind != "number" or not int(modulus):
            return None
        return (Fraction(gold.text) - Fraction(given.text)) % int(modulus) == 0

    def _unit_and_none(self, quantity: Node, other: Node, same: Verdict) -> Verdict:
        """A value with a unit beside one with none, which are the same but for per cents."""
        if quantity.text == "angle 1 1" and r"\pi" in latex(other):
            scaled = Node("expression", rf"\frac{{\pi}}{{180}} \cdot ({latex(quantity.parts[0])})")
            return self.same(other, scaled)
        if quantity.text.startswith("modulo"):  # other may be 3k + 1
            congruent = self._congruent(other, quantity.parts[0], quantity.text, quantity.text)
            return same or unless(False, congruent)
        if quantity.text != "percent 1 1" or same is None:
            return same
        hundredth = self.same(other, times(quantity.parts[0], Fraction(1, 100)))
        small = other.kind == "number" and abs(Fraction(other.text)) < 1
        return True if hundredth else None if same and small else same

    # -- leaves ----------------------------------------------------------------------------------

    def _leaves(self, gold: Node, given: Node) -> Verdict:
        kinds = gold.kind, given.kind
        if kinds == ("number", "number"):
            return self._numbers(gold.text, given.text)
        if kinds == ("words", "words"):
            return same_words(gold.text, given.text)
        if "based" in kinds:
            return same_in_base(gold, given)
        if "ratio" in kinds:
            return self._ratios(gold, given)
        if set(kinds) <= {"number", "expression"}:
            return self._expressions(gold, given)
        return None

    def _numbers(self, gold: str, given: str) -> Verdict:
        exact, value = Fraction(gold), Fraction(given)
        if exact == value:
            return True
        if rounds_to(exact, given):
            return self._roundings(given)
        return self._roundings(gold) if rounds_to(value, gold) else False

    def _roundings(self, decimal: str) -> Verdict:
        """What a rounded value is worth: nothing is known of it, unless rounding is allowed."""
        digits = significant(decimal)
        return True if self.rounded and digits > 2 else None if digits > 1 else False

    def _expressions(self, gold: Node, given: Node) -> Verdict:
        verdict = self.engine.equal(latex(gold), latex(given))
        number, other = (gold, given) if gold.kind == "number" else (given, gold)
        if verdict is not False or number.kind != "number":
            return verdict
        close = self.engine.rounds_to(latex(other), number.text)
        return self._roundings(number.text) if close else False

    def _ratios(self, gold: Node, given: Node) -> Verdict:
        if gold.kind == given.kind:
            if len(gold.parts) != len(given.parts):
                return False
            if _CLOCK.fullmatch(gold.text) and _CLOCK.fullmatch(given.text):
                same = self._ordered(gold.parts, given.parts)
                return unless(same, proportional(gold, given) or False)
        return proportional(gold, given)


_EMPTY = Node("words", "empty set")
_CLOCK = re.compile(r"\d{1,2}:\d\d(?::\d\d)?")


def _first(pair: tuple[str, Node]) -> str:
    return pair[0]


def _items(node: Node) -> tuple[Node, ...]:
    return node.parts if node.kind in ("list", "group") else (node,)


def _value(node: Node, kind: str = "named") -> Node:
    return node.parts[0] if node.kind == kind else node


def _vector(node: Node) -> tuple[Node, ...] | None:
    """The entries of a matrix that is one row or one column, or of a group that is no set."""
    if node.kind == "matrix":
        rows = [row.parts for row in node.parts]
        if len(rows) == 1:
            return rows[0]
        return tuple(row[0] for row in rows) if all(len(row) == 1 for row in rows) else None
    return node.parts if node.kind == "group" and node.text in ("()", "[]") else None
