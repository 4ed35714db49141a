"""Units after a number, and numbers in words."""

from __future__ import annotations

from fractions import Fraction

_KNOWN = {
    "length": {
        "1/1000": "mm millimeter millimetre",
        "1/100": "cm centimeter centimetre",
        "1/10": "dm decimeter decimetre",
        "1": "meter metre",
        "1000": "km kilometer kilometre",
        "127/5000": "in inch inches",
        "381/1250": "ft foot feet",
        "1143/1250": "yd yard",
        "201168/125": "mi mile",
    },
    "time": {
        "1": "second sec",
        "60": "minute min",
        "3600": "hour hr",
        "86400": "day",
        "604800": "week wk",
    },
    "years": {"1/12": "month", "1": "year yr"},
    "mass": {"1/1000": "mg milligram", "1": "gram", "1000": "kg kilogram", "1000000": "ton tonne"},
    "weight": {"1": "ounce oz", "16": "pound lb"},
    "volume": {"1/1000": "ml milliliter millilitre", "1": "liter litre"},
    "money": {"1/100": "cent", "1": "dollar usd"},
    "angle": {"1": "degree deg"},
    "radians": {"1": "radian rad"},
    "percent": {"1": "%"},
}
_UNITS = {
    word: (dimension, factor)
    for dimension, factors in _KNOWN.items()
    for factor, words in factors.items()
    for word in words.split()
}
_SINGLE = {"m": "meter", "s": "second", "h": "hour", "g": "gram", "L": "liter"}
_RATES = {"mph": "miles/hour", "kph": "km/hour", "kmh": "km/hour"}
_POWERS = {"square": 2, "squared": 2, "sq": 2, "cubic": 3, "cubed": 3, "cu": 3}
_COUNTS = {"unit", "way", "time unit", "solution", "element", "integer", "possibility"}
_NO_UNIT_TEXT = (
    "not or and if when is are was than so but about least most more less fewer plus minus "
    "divided over mod modulo squared cubed thousand million billion trillion dozen "
    "hundred factorial to for where unless only except either neither no nor none maybe "
    "probably wrong incorrect i base half halves third thirds quarter quarters sin cos "
    "tan log ln exp max th st nd rd years' choose by x pm am a.m. p.m. below above under before "
    "after ago away off negative ten one remainder"
)
_NO_UNIT = frozenset(_NO_UNIT_TEXT.split())


def _singular(word: str) -> str:
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    return word[:-1] if word.endswith("s") and not word.endswith("ss") and len(word) > 2 else word


def unit_of(words: str, power: int = 1) -> str | None:
    """A unit's one name, "dimension power factor" where it is known; None if these are no unit.

    Empty if it is nothing but a word for what is counted.

    >>> unit_of("cm", 2), unit_of("square feet"), unit_of("red marbles"), unit_of("or so")
    ('length 2 1/100', 'length 2 381/1250', 'red marble', None)
    """
    counted, per, other = f" {_RATES.get(words, words)}".replace("/", " per ").partition(" per ")
    if per:
        return _rate(unit_of(counted) if counted.strip() else "", unit_of(other, power))
    names = words.replace(".", " ").split()
    while names and (names[0].lower() in _POWERS or names[-1].lower() in _POWERS):
        place = 0 if names[0].lower() in _POWERS else -1
        power = _POWERS[names.pop(place).lower()]
    if not names or len(names) > 6:
        return "" if power > 1 and not names else None
    if len(set(names)) == 1:  # "dollars dollars"
        names = names[:1]
    singular = [_singular(_SINGLE.get(name, name).lower()) for name in names]
    known = _UNITS.get(singular[0]) or _UNITS.get(names[0].lower())
    if known and len(names) == 1:
        return f"{known[0]} {power} {known[1]}"
    if any(len(name) < 2 or name.lower() in _NO_UNIT for name in (*names, *singular)):
        return None
    if " ".join(singular) in _COUNTS:
        return ""
    plural = known or any(map(_is_plural, names))
    return " ".join([*singular, *([str(power)] if power > 1 else [])]) if plural else None


def _rate(counted: str | None, other: str | None) -> str | None:
    return None if counted is None or not other else f"{counted} per {other}".strip()


def _is_plural(name: str) -> bool:
    return (len(name) > 3 and name.endswith("s")) or name in (
        "people",
        "men",
        "women",
        "children",
    )


def is_single_unit(letter: str) -> bool:
    """Whether a letter alone can be a unit, which stands for a variable as well."""
    return letter in _SINGLE


def ratio(unit: str, other: str) -> Fraction | None:
    """How many of the other unit one unit is; None if that is not known.

    >>> ratio("length 1 1/100", "length 1 1")
    Fraction(1, 100)
    """
    if unit == other:
        return Fraction(1)
    if " per " in unit and " per " in other:
        pairs = zip(unit.split(" per "), other.split(" per "), strict=False)
        above, below = (ratio(*pair) for pair in pairs)
        return above / below if above and below else None
    mine, its = unit.split(), other.split()
    if len(mine) != 3 or len(its) != 3 or mine[:2] != its[:2] or mine[0] not in _KNOWN:
        return None
    return (Fraction(mine[2]) / Fraction(its[2])) ** int(mine[1])


_ONES_TEXT = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
    "fifteen sixteen seventeen eighteen nineteen"
)
_ONES = _ONES_TEXT.split()
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_WORTH = {word: value for value, word in enumerate(_ONES)}
_WORTH |= {word: 20 + 10 * place for place, word in enumerate(_TENS)}
_SCALES = {"hundred": 100, "thousand": 1000, "million": 1_000_000}
_PARTS = {"half": 2, "third": 3, "quarter": 4, "fourth": 4, "fifth": 5, "sixth": 6, "eighth": 8}


def number_in_words(words: list[str]) -> Fraction | None:
    """The number that words in lower case name; None if they name none.

    >>> number_in_words(["one", "hundred", "twenty", "one"]), number_in_words(["two", "thirds"])
    (Fraction(121, 1), Fraction(2, 3))
    """
    if len(words) == 2 and (part := _PARTS.get(words[1].rstrip("s"))):
        whole = number_in_words(words[:1])
        return None if whole is None else whole / part
    total, current, smallest = 0, 0, 10**9
    for word in words:
        if word in _SCALES:
            current = max(current, 1) * _SCALES[word]
            if word != "hundred":
                total, current = total + current, 0
            smallest = _SCALES[word]
        elif word in _WORTH:
            size = 10 if word in _TENS else 1
            if size >= smallest and smallest < 100:
                return None
            current += _WORTH[word]
            smallest = 1 if size == 1 else 10
        elif word != "and" or not current + total:
            return None
    return Fraction(total + current) if words else None
