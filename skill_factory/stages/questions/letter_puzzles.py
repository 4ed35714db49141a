"""Questions about words: letter countdown and acronyms, with words of kept packages (extra
`questions`).

pyspellchecker knows how common a word is (in subtitles) and many inflections, also American ones;
english-words has Webster's dictionary of 1934, which tells words from names by their case. A gold
word is common and in that dictionary, and no name and not rude; accepted is what either knows.
"""

from __future__ import annotations

import codecs
from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import lru_cache
from random import Random
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from skill_factory.errors import OptionError
from skill_factory.stages.questions.datasets import Question
from skill_factory.stages.settings import QuestionsConfig

COMMON = 1500
"""How often the subtitles have a common word; "widen" is one of the rarest."""

_IN_NO_TEXT = 50
"""What the frequency list says of a word that its texts do not have."""

_ENDINGS = (
    *(("s", ""), ("es", ""), ("ies", "y"), ("ed", ""), ("d", ""), ("ied", "y"), ("ing", "")),
    *(("ing", "e"), ("er", ""), ("r", ""), ("est", ""), ("st", "")),
)
# In ROT13, so that nobody need read them: left out of questions, still accepted as answers.
_RUDE = frozenset(
    codecs.decode(
        """
        nany nahf nefr nff nffrf onfgneq ovgpu obare obbo obbol obbgl obbml oernfg
        ohttre ohgg pyvg pbpx pbaqbz pbba pbbaf pbecfr penc phz phag qntb qnza qvpx qvxr
        qvyqb qbat qeht qehax qhzo qlxr rerpg rebgvp snt snttbg snaal sneg srprf srgvfu
        shpx tbbx tbba tlcfl unerz uryy urebva ubzb ubbxre ubeal uhzc vqvbg vaprfg wrex
        xvyy xvyyre xenhg yrjq yhfg zvpx zvqtrg zbeba zheqre anxrq anmv arteb avttre
        avccyr ahqr beny betnfz betl cnxv cnafl cnagl crpxre crr cravf creireg cvzc cvff
        cbbs cbbc cbea cevpx cebfgngr cehqr chff chffl dhrre encr encrq encvat encvfg
        erpghz ergneq fngna fpebghz frzra frk frkhny frkl funt fung fuvg fynt fynir fyhg
        fbqbzl fcnax fcrez fchax fdhnj fgvssl fgevc fhpx fhpxre fhvpvqr gneg gvg gvggl
        genzc gheq gjng hevar intvan ihyin jnax jrapu juber jbt jbc
        """,
        "rot13",
    ).split()
)


class _Words(NamedTuple):
    """English words in lower case, in alphabetical order: those fit to be asked for, and those that
    are accepted, with the set of letters of each as bits."""

    common: tuple[str, ...]
    accepted: tuple[str, ...]
    bits: npt.NDArray[np.uint32]

    def made_of(self, letters: str) -> list[str]:
        """The accepted words that use each letter at most as often as it is given."""
        there = Counter(letters)
        near = np.flatnonzero((self.bits & ~np.uint32(_bits(letters))) == 0).tolist()
        return [self.accepted[at] for at in near if not Counter(self.accepted[at]) - there]


def _bits(word: str) -> int:
    return sum(1 << (ord(letter) - ord("a")) for letter in set(word))


def letter_countdown(settings: QuestionsConfig, random: Random) -> Question | None:
    """Scrambled letters that a common word, and perhaps others, can be made of; None if what was
    drawn shows the word."""
    words = _of_length(settings.letters)
    gold = random.choice(words.common)
    drawn = [random.choice(random.choice(words.common)) for _ in range(settings.extra_letters)]
    letters = [*gold, *drawn]
    random.shuffle(letters)
    given = "".join(letters)
    if gold in given:
        return None
    facts = {"letters": given, "length": len(gold), "words": words.made_of(given)}
    text = (
        f"These letters are given: {' '.join(letters)}. Find an English word of exactly "
        f"{len(gold)} letters that can be made of them. Each letter may be used at most as often "
        "as it is given. The answer is the word."
    )
    return Question(text, gold, f"letter_countdown_{len(gold)}", facts)


def acronym(settings: QuestionsConfig, random: Random) -> Question | None:
    """Common words of which some, in the right order, spell another with their first letters; None
    if what was drawn has a letter that too few words begin with."""
    words, by_initial = _of_length(settings.letters), _by_initial()
    gold = random.choice(words.common)
    spelling: list[str] = []
    for letter in gold:
        left = [word for word in by_initial.get(letter, []) if word not in spelling]
        if not left:
            return None
        spelling.append(random.choice(left))
    choices = list(spelling)
    while len(choices) < settings.letters + settings.extra_words:
        word = random.choice(random.choice(list(by_initial.values())))
        if word not in choices:
            choices.append(word)
    random.shuffle(choices)
    spelt = words.made_of("".join(word[0] for word in choices))
    facts = {"choices": choices, "length": len(gold), "words": spelt}
    text = (
        f"These words are given: {', '.join(choices)}. Choose {len(gold)} of them and put them in "
        f"an order in which their first letters spell an English word of {len(gold)} letters. Each "
        "of the words may be used at most once. The answer is the chosen words in that order, with "
        "commas between them."
    )
    return Question(text, ", ".join(spelling), f"acronym_{len(gold)}", facts)


@lru_cache(maxsize=16)
def _of_length(length: int) -> _Words:
    common, accepted = (
        tuple(sorted(word for word in words if len(word) == length)) for words in _english()
    )
    return _Words(common, accepted, np.array([_bits(word) for word in accepted], np.uint32))


@lru_cache(maxsize=1)
def _by_initial() -> dict[str, list[str]]:
    """The common words of 3 to 8 letters by their first one."""
    found = defaultdict(list)
    for word in sorted(_english()[0]):
        if 3 <= len(word) <= 8:
            found[word[0]].append(word)
    return dict(found)


@lru_cache(maxsize=1)
def _english() -> tuple[frozenset[str], frozenset[str]]:
    """The words fit to be asked for, and all that are accepted.

    Raises `OptionError` if the packages are not installed.
    """
    try:
        from english_words import get_english_words_set
        from spellchecker import SpellChecker
    except ModuleNotFoundError as error:
        raise OptionError(
            f"words are taken from pyspellchecker and english-words, and {error.name} is not "
            "installed: pip install 'skill-factory[questions]'"
        ) from None
    often = SpellChecker().word_frequency.dictionary
    listed = [word for word in get_english_words_set(["web2"]) if word.isascii() and word.isalpha()]
    dictionary = {word for word in listed if word.islower()}
    names = {word.lower() for word in listed if not word.islower()}
    plain = {word for word in often if word.isascii() and word.isalpha()}

    def is_name(word: str) -> bool:
        has_plural = f"{word}s" in often or f"{word}es" in often
        return word in names or (f"{word}'s" in often and not has_plural)

    accepted = dictionary | {
        word
        for word in plain - dictionary
        if any(base in dictionary for base in _bases(word))
        or (often[word] > _IN_NO_TEXT and not is_name(word))
    }
    common = {word for word in dictionary & plain - names - _RUDE if often[word] >= COMMON}
    return frozenset(common), frozenset(accepted)


def _bases(word: str) -> Iterator[str]:
    """What a word may be an inflection of."""
    for ending, instead in _ENDINGS:
        if word.endswith(ending) and len(word) >= len(ending) + 2:
            yield word[: -len(ending)] + instead
