"""Tokeniser: from text to words. Most say what each character is, and one compiled loop (see `tokens`) does the rest.

A tokeniser of a user's own is a function from text to words, or a subclass with `words`; it is slower, since each line
goes through Python.
"""

from __future__ import annotations

import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from distjoint.backends.cpu.compiled import exact
from distjoint.base.arrays import TokenIds
from distjoint.base.errors import DistjointError

JOINT = "_"
"""Between the words of a name."""
CODES = 0x40000
"""Code points in tables. Beyond lie no letters, marks or numbers, save the variation selectors of plane 14."""
SELECTORS = 0xE0100, 0xE01EF

SEPARATES, LETTER, HEBREW, NUMBER, KATAKANA, RUN, ALONE = 0, 1, 2, 3, 4, 5, 6
MARK, JOINER, DROPPED, MIDDLE, QUOTE, DOUBLE = 7, 8, 9, 10, 11, 12
"""Kinds of characters, see `Characters`; those from LETTER to ALONE begin words."""


KIND = 24


@dataclass(frozen=True, eq=False)
class Characters:
    """What each code point is.

    kinds    uint8[CODES]: SEPARATES, no part of a word; LETTER, HEBREW (a letter too) and NUMBER, which go together;
             KATAKANA and RUN, each with its like; ALONE, a word by itself; MARK, with what it follows; JOINER and
             DROPPED, invisible, between letters kept and left out; MIDDLE, kept between two letters; QUOTE, kept after
             HEBREW; DOUBLE, kept between two of HEBREW
    becomes  int32[CODES]: the code point each is written as, its lower case
    selector the kind of variation selectors
    sigma    whether a capital sigma that ends a word becomes a final one
    """

    kinds: NDArray[np.uint8]
    becomes: TokenIds
    selector: int = MARK
    sigma: bool = False

    @cached_property
    def packed(self) -> TokenIds:
        """int32[CODES + 3]: kind << KIND | becomes of each code point; of selectors, of what is beyond; and sigma."""
        beyond = np.array([self.selector << KIND, SEPARATES, self.sigma], np.int32)
        return np.append((self.kinds.astype(np.int32) << KIND) | self.becomes, beyond)

    @cached_property
    def has_alone(self) -> bool:
        """Whether there are characters that are words by themselves."""
        return bool((self.kinds == ALONE).any())


class Tokenizer(ABC):
    """From text to words.

    normal   whether text is brought to NFC first
    """

    name: ClassVar[str]
    normal: ClassVar[bool] = False

    @abstractmethod
    def words(self, text: str) -> Sequence[str]:
        """The words of a text, in order. None is empty or has a blank in it."""

    def form(self, name: str) -> str:
        """The form in which names and words are compared: NFKC, case folded, words joined by `_`.

        `New York`, `new_york` and `NEW  YORK` have one form. Empty where the name holds no word.
        """
        folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold()).replace(JOINT, " ")
        return JOINT.join(self.words(folded))


class OfCharacters(Tokenizer):
    """Tokeniser that a table of characters describes: the compiled loop reads it."""

    @classmethod
    @abstractmethod
    def characters(cls) -> Characters:
        """The table; made once."""

    def words(self, text: str) -> Sequence[str]:
        """The words of a text as they stand there, by a plain loop."""
        return split_words(text, self.characters())

    def form(self, name: str) -> str:
        if name.isascii() and name.islower() and name.isalpha():
            return name
        return super().form(name)


class OfFunction(Tokenizer):
    """Tokeniser that a function is. raises DistjointError for words that could not be told apart in a file"""

    def __init__(self, name: str, function: Callable[[str], Sequence[str]]) -> None:
        self.called, self.function = name, function

    def words(self, text: str) -> Sequence[str]:
        found = self.function(text)
        for word in found:
            if not isinstance(word, str) or not word or word != "".join(word.split()):
                raise DistjointError(
                    f"tokenizer '{self.called}' made the word {word!r} of {text[:60]!r}; "
                    "a word is a string that is not empty and has no blank in it"
                )
        return found


@exact
def goes_on(kind: int, last: int, pending: int) -> bool:
    """Whether a word goes on with a character that could begin one.

    last      kind of the letter before, SEPARATES where there is none
    pending   what stands between the two: SEPARATES for nothing, JOINER, MIDDLE or DOUBLE
    """
    if last == SEPARATES:
        return True
    if pending == DOUBLE:
        return kind == HEBREW
    if kind <= HEBREW:
        return last <= NUMBER
    if pending == MIDDLE or kind == ALONE:
        return False
    return last <= NUMBER if kind == NUMBER else last == kind


def split_words(text: str, characters: Characters) -> list[str]:
    """The words of a text, as `tokens` splits it, by a plain loop; case stays as it is."""
    words: list[str] = []
    word, kept, last, pending = "", 0, SEPARATES, SEPARATES
    kinds = characters.kinds
    for character in f"{text} ":
        code = ord(character)
        kind = int(kinds[code]) if code < CODES else characters.selector * (SELECTORS[0] <= code <= SELECTORS[1])
        if kind == DROPPED:
            continue
        if LETTER <= kind <= ALONE:
            if not goes_on(kind, last, pending):
                words.append(word[:kept])
                word = ""
            word, last, pending = word + character, kind, SEPARATES
        elif kind in (MARK, JOINER) and word:
            ends = pending > JOINER and kept == len(word)  # after a quote
            word += character
            if pending <= JOINER:
                pending = SEPARATES if kind == MARK else JOINER
            kept = len(word) if ends else kept
        elif kind > JOINER and is_between(kind, last, pending):
            word, pending = word + character, MIDDLE if kind == QUOTE else kind
            kept = len(word) if kind == QUOTE else kept
        else:
            words += [word[:kept]] * bool(word)
            word, last, pending = "", SEPARATES, SEPARATES
        if not pending:
            kept = len(word)
    return words


@exact
def is_between(kind: int, last: int, pending: int) -> bool:
    """Whether MIDDLE, QUOTE or DOUBLE may stand between two letters of a word; see `goes_on`."""
    if last == SEPARATES or pending > JOINER:
        return False
    return last <= HEBREW if kind == MIDDLE else last == HEBREW
