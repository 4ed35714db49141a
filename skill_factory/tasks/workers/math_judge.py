"""What `judge_process` judges mathematics with: LaTeX, by math-verify's parser and SymPy.

Parsing and evaluating can hang inside one long multiplication, and can fill the memory.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any

DIGITS = 50
"""To how many digits values are compared: more than a model writes, few enough to be quick."""

NEAR = 10 ** (5 - DIGITS)
"""How far apart equal values may be of their size, since the last digits are noise."""

# Values for the letters of two expressions, which differ if their values do. The whole numbers
# come first where a letter counts something, and all are positive but for the last two rows.
_FRACTIONS = ((31, 17), (8, 19), (41, 13), (5, 23), (29, 11), (3, 7), (37, 31), (43, 29))
_WHOLE = ((12, 1), (5, 1), (7, 1), (9, 1), (4, 1), (10, 1), (6, 1), (13, 1), (3, 1), (8, 1))
_OF_WHOLE = re.compile(r"!|\\binom|\\lfloor|\\lceil|\\mod|\(-1\)\s*\^|\\sum|\\prod")
_IS_LOG = re.compile(r"\\log(?!\s*_)")
_IS_LN = re.compile(r"\\ln|\\log\s*_")
_IMAGINARY = re.compile(r"(?<![\\A-Za-z_])(?<!_\{)i(?![A-Za-z])|(?<=[\d)}])i|i(?=\\|\^)")
_INDEX = re.compile(r"_\{\s*i\s*=")
_ROUNDING = re.compile(r"\\[lr](?:floor|ceil)")
_COUNTING = frozenset("ijklmnpqN")


# Compared before the first question: what first uses take is not part of a judgement.
_FIRST = (
    (r"\frac{x^2+1}{2}", r"0.5 x^2+\frac{1}{2}"),
    (r"\begin{pmatrix}1\\2\end{pmatrix}", r"\begin{pmatrix}1\\ 3\end{pmatrix}"),
    (r"(1,\sqrt{2}]", r"1<x\le\sqrt{2}"),
    (r"\log_2 3+\binom{4}{2}", r"\sin\frac{\pi}{7}+5!"),
)


@lru_cache(maxsize=4096)
def parsed(latex: str) -> Any:
    """What LaTeX says in SymPy, decimals as fractions; None if the parser cannot read it."""
    from latex2sympy2_extended.latex2sympy2 import ConversionConfig, latex2sympy
    from sympy import Basic, Float, I, MatrixBase, Rational, Symbol

    try:
        found = latex2sympy(
            latex,
            is_real=True,
            convert_degrees=False,
            normalization_config=None,
            conversion_config=ConversionConfig(lowercase_symbols=False),
        )
    except Exception:  # the parser raises Exception itself
        return None
    if not isinstance(found, Basic | MatrixBase):
        return None
    exact = {number: Rational(str(number)) for number in found.atoms(Float)}
    if _IMAGINARY.search(latex) and not _INDEX.search(latex):
        exact[Symbol("i", real=True)] = I
    return found.xreplace(exact) if exact else found


def _as_value(latex: str) -> Any:
    """A number or an expression, functions of letters as letters; None if it is neither."""
    from sympy import Derivative, Expr, Integral, Mod, Sum, Symbol, nan, zoo
    from sympy.core.function import AppliedUndef

    value = parsed(latex)
    if not isinstance(value, Expr) or value.has(nan, zoo):
        return None
    unknown = {part: Symbol(str(part), real=True) for part in value.atoms(AppliedUndef, Derivative)}
    value = value.xreplace(unknown) if unknown else value
    return value.doit() if value.has(Sum, Integral, Mod) else value


def _at(value: Any, point: dict[Any, Any]) -> Any:
    """A complex number with `DIGITS` digits; None where there is no finite value."""
    from sympy import oo
    from sympy.core.evalf import PrecisionExhausted

    try:
        number = value.xreplace(point).evalf(DIGITS, strict=True, maxn=400)
    except PrecisionExhausted:  # nothing but noise is left of it
        return value.xreplace(point).evalf(DIGITS, chop=True)
    return number if (number.is_number and number.is_finite) or number in (oo, -oo) else None


def _near(value: Any, other: Any) -> bool:
    if value == other:
        return True
    if not (value.is_finite and other.is_finite):
        return False
    return bool(abs(value - other) <= NEAR * max(abs(value), abs(other)))


def _points(symbols: list[Any], whole: bool, signed: bool) -> list[dict[Any, Any]]:
    from sympy import Rational

    pool = [Rational(*pair) for pair in (_WHOLE if whole else _FRACTIONS)]
    rows = len(pool) if whole else 4
    points = [
        {symbol: pool[(row + 3 * place) % len(pool)] for place, symbol in enumerate(symbols)}
        for row in range(rows)
    ]
    if signed:
        signs = ((-1, 1), (1, -1), (-1, -1))
        return [
            {
                symbol: value * signs[row][place % 2]
                for place, (symbol, value) in enumerate(point.items())
            }
            for row, point in enumerate(points[:3])
        ]
    return points


def _agree(gold: Any, given: Any, points: list[dict[Any, Any]]) -> list[bool]:
    """At which points, of those where both have a value, they have the same one."""
    found = []
    for point in points:
        wanted, value = _at(gold, point), _at(given, point)
        if wanted is not None and value is not None:
            found.append(_near(wanted, value))
            if not found[-1]:
                break
    return found


def equal(gold: str, given: str) -> bool | None:
    """Whether two expressions are equal, by their values at some points."""
    if parsed(gold) is None or parsed(given) is None:
        return None
    if gold == given:
        return True
    wanted, value = _as_value(gold), _as_value(given)
    if wanted is None or value is None:
        return same_set(gold, given)
    symbols = sorted(wanted.free_symbols | value.free_symbols, key=str)
    if wanted.free_symbols != value.free_symbols and not _cancels(wanted, value, symbols):
        return _with_other_letters(wanted, value)
    whole = bool(_OF_WHOLE.search(gold) or _OF_WHOLE.search(given))
    agree = _agree(wanted, value, _points(symbols, whole, signed=False) if symbols else [{}])
    if not agree:
        return None
    if not all(agree):
        return None if _logarithms_differ(gold, given) else False
    if symbols and not whole:
        return _also_where_negative(wanted, value, symbols)
    if not symbols:
        return _exactly_equal(wanted, value)
    between = _ROUNDING.search(gold + given) and not _COUNTING.issuperset(map(str, symbols))
    if between and not all(_agree(wanted, value, _points(symbols, False, signed=False))):
        return None  # n rounded up or down is n, but x is not
    return True if len(agree) > 2 else None


def _exactly_equal(gold: Any, given: Any) -> bool:
    """Whether numbers that are near are equal: long whole numbers may differ in the last digit."""
    if gold.is_rational and given.is_rational:
        return bool(gold.doit() == given.doit())
    return True


def _cancels(gold: Any, given: Any, symbols: list[Any]) -> bool:
    """Whether a letter that only one expression has makes no difference to its value."""
    return all(_agree(gold, given, _points(symbols, True, signed=False)))


def _with_other_letters(gold: Any, given: Any) -> bool | None:
    """Expressions of other letters differ, unless the letters may be other names of the same."""
    if any("(" in str(symbol) for symbol in gold.free_symbols ^ given.free_symbols):
        return None  # a function that is not known
    if gold.is_Symbol and given.is_Symbol:
        return False if str(gold).lower() != str(given).lower() else None
    letters, others = (
        {str(symbol).lower() for symbol in value.free_symbols} for value in (gold, given)
    )
    if not letters and not (given / gold).is_Symbol:
        return False
    return False if letters and others < letters else None


def _also_where_negative(gold: Any, given: Any, symbols: list[Any]) -> bool | None:
    """True where nothing speaks against it: |x| and x are equal only where x is positive."""
    for point in _points(symbols, False, signed=True):
        wanted, value = _at(gold, point), _at(given, point)
        known = wanted is not None and value is not None and wanted.is_real and value.is_real
        inside = known and _in_domain(gold, point) and _in_domain(given, point)
        if inside and not _near(wanted, value):
            return None
    return True


def _in_domain(value: Any, point: dict[Any, Any]) -> bool:
    """Whether all that stands under a root or in a logarithm is positive."""
    from sympy import Pow, log

    inner = [power.base for power in value.atoms(Pow) if power.exp.is_integer is False]
    inner += [logarithm.args[0] for logarithm in value.atoms(log)]
    return all(part.xreplace(point).evalf().is_nonnegative for part in inner)


def _logarithms_differ(gold: str, given: str) -> bool:
    """Whether one side has a logarithm of no base, which may be the natural one, and only one."""
    bare = bool(_IS_LOG.search(gold)), bool(_IS_LOG.search(given))
    return bare[0] != bare[1] and bool(_IS_LN.search(gold) or _IS_LN.search(given))


def rounds_to(exact: str, decimal: str) -> bool:
    """Whether a decimal is a real value, rounded to the places it shows."""
    from skill_factory.tasks.mathematics.decimals import rounds_to as rounds

    value = _as_value(exact)
    if value is None or value.free_symbols:
        return False
    number = _at(value, {})
    return (
        number is not None
        and bool(number.is_real)
        and bool(number.is_finite)
        and rounds(Fraction(str(number)), decimal)
    )


def same_equation(gold: str, given: str) -> bool | None:
    """Whether two equations say the same: one difference of sides is the other, times a number."""
    from sympy import Eq, Poly, PolynomialError

    sides = []
    for latex in (gold, given):
        equation = parsed(latex)
        if not isinstance(equation, Eq) or isinstance(equation.lhs - equation.rhs, bool):
            return None
        sides.append(_as_letters(equation.lhs - equation.rhs))
    if sides[0].free_symbols != sides[1].free_symbols:
        return None
    symbols = sorted(sides[0].free_symbols, key=str)
    quotients = [_at(sides[0] / sides[1], point) for point in _points(symbols, False, signed=False)]
    known = [quotient for quotient in quotients if quotient is not None]
    if len(known) < 3:
        return None
    if all(_near(known[0], quotient) for quotient in known):
        return True
    try:
        Poly(sides[0], *symbols), Poly(sides[1], *symbols)
    except PolynomialError:
        return None
    return False


def _as_letters(value: Any) -> Any:
    from sympy import Derivative, Symbol
    from sympy.core.function import AppliedUndef

    return value.xreplace(
        {part: Symbol(str(part), real=True) for part in value.atoms(AppliedUndef, Derivative)}
    )


def same_set(gold: str, given: str) -> bool | None:
    """Whether two sets are the same, inequalities in one letter as the sets of what solves them."""
    wanted, values = _as_sets(gold), _as_sets(given)
    if not wanted or not values:
        return None
    if any(_equal_sets(one, other) for one in wanted for other in values):
        return True
    return False if all(_is_plain(one) for one in (*wanted, *values)) else None


def _equal_sets(one: Any, other: Any) -> bool:
    from math_verify import verify
    from sympy import Set

    if isinstance(one, Set) and isinstance(other, Set):
        return bool(one == other or one.symmetric_difference(other).is_empty)
    return bool(verify(one, other, timeout_seconds=0, raise_on_error=True))


def _is_plain(one: Any) -> bool:
    from sympy import Set

    return isinstance(one, Set) and not one.free_symbols


def _as_sets(latex: str) -> list[Any]:
    """The sets that LaTeX can mean: inequalities with a comma between them hold both, or either."""
    from sympy import Intersection, Set, Union

    texts = re.split(" (?:AND|OR|EITHER) ", latex)
    pieces = [_as_set(text) for text in texts]
    if any(piece is None for piece in pieces):
        return []
    if len(pieces) == 1:
        return pieces
    letters = {str(letter) for found in map(parsed, texts) for letter in found.free_symbols}
    if len(letters) > 1 or not all(isinstance(piece, Set) for piece in pieces):
        return []
    if " EITHER " not in latex:
        return [(Intersection if " AND " in latex else Union)(*pieces)]
    return [Union(*pieces), Intersection(*pieces)]


def _as_set(latex: str) -> Any:
    """A set, or a relation of several letters as it stands; None if it is neither."""
    from sympy import And, Basic, Dummy, Set, Symbol
    from sympy.core.relational import Relational

    found = parsed(latex)
    if not isinstance(found, Basic):
        return None
    if isinstance(found, Set):
        return found.doit()
    if not isinstance(found, Relational | And):
        return None
    symbols = found.atoms(Symbol)
    if len(symbols) != 1:
        return found
    letter = Dummy(real=True)
    return found.xreplace({symbols.pop(): letter}).as_set()


def same_family(gold: str, given: str, variable: str, other: str) -> bool | None:
    """Whether a + bk and c + dm take the same values, as k and m run over the integers."""
    from sympy import Symbol

    lines = []
    for latex, letter in ((gold, variable), (given, other)):
        value, symbol = _as_value(latex), Symbol(letter, real=True)
        if value is None or value.free_symbols != {symbol}:
            return None
        start, step = (
            value.xreplace({symbol: 0 * symbol}).doit(),
            value.doit().expand().diff(symbol),
        )
        if step.free_symbols:
            return None
        lines.append((start, step))
    (start, step), (begin, stride) = lines
    if not _near(*(_at(abs(size), {}) for size in (step, stride))):
        return False
    turns = _at((start - begin) / step, {})
    return bool(abs(turns - round(turns)) < NEAR * 10**3)


def prepared() -> Callable[[list[Any], list[Any], bool], bool | None]:
    """The function that judges the readings of a gold answer and an answer; None: undecided."""
    import math_verify  # noqa: F401  not in the first judgement

    # At the end: nothing that a library imports can be found beside the package.
    sys.path.append(str(Path(__file__).parents[3]))
    from skill_factory.tasks.mathematics.comparing import Comparison
    from skill_factory.tasks.mathematics.nodes import node_of

    def judge(golds: list[Any], givens: list[Any], rounded: bool) -> bool | None:
        comparison = Comparison(Parser(), rounded)
        return comparison.any_same(list(map(node_of, golds)), list(map(node_of, givens)))

    for gold, given in _FIRST:
        equal(gold, given)
    same_equation("2x+y=1", "4x+2y=2")
    return judge


class Parser:
    """The functions above, as what a comparison asks."""

    equal = staticmethod(lru_cache(maxsize=4096)(equal))
    rounds_to = staticmethod(rounds_to)
    same_equation = staticmethod(same_equation)
    same_set = staticmethod(same_set)
    same_family = staticmethod(same_family)
