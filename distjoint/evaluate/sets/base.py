"""Evaluation sets in memory, and what a form of their files is: known by its lines, whatever a file is called."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal, NamedTuple

from distjoint.base.errors import DistjointError
from distjoint.data.noticed import Noticed
from distjoint.evaluate.options import SetForm

LEAST = 3
"""Smallest number of pairs that has a correlation."""
Option = Literal["similarity", "analogies"]
_SHOWN = 60
_ALTERNATIVES = 3


@dataclass(frozen=True)
class WordPairs:
    """A similarity set: word pairs with a score by people.

    pairs    the two words of each pair
    scores   higher is more similar
    """

    name: str
    pairs: tuple[tuple[str, str], ...]
    scores: tuple[float, ...]
    form: SetForm = "pairs"


@dataclass(frozen=True)
class PairGroup:
    """Pairs that are correlated by themselves: one seed with its entities, or the pairs of one relation.

    scores   higher is more related, or more typical of the relation
    """

    name: str
    pairs: tuple[tuple[str, str], ...]
    scores: tuple[float, ...]


@dataclass(frozen=True)
class GroupedPairs:
    """A set whose figure is the mean of its groups' rank correlations.

    by_offset   pairs are compared with the offset between the two words of the group's other pairs, not by their cosine
    """

    name: str
    groups: tuple[PairGroup, ...]
    by_offset: bool = False
    form: SetForm = "ranked"


class Question(NamedTuple):
    """An analogy question: a is to b as c is to d. Of several words for b the first that is known is taken, of several
    for d each is right.
    """

    a: str
    b: tuple[str, ...]
    c: str
    d: tuple[str, ...]


@dataclass(frozen=True)
class Questions:
    """The analogy questions of one relation.

    category   the kind of relation, empty where the form knows none
    """

    name: str
    questions: tuple[Question, ...]
    form: SetForm = "google"
    category: str = ""


def shown(question: Question) -> str:
    """A question in words, with the first of many alternatives."""
    b, d = (
        " or ".join(words[:_ALTERNATIVES]) + " or ..." * (len(words) > _ALTERNATIVES)
        for words in (question.b, question.d)
    )
    return f"{question.a} is to {b} as {question.c} to {d}"


class SetLine(NamedTuple):
    """A line with something on it, its blanks kept."""

    number: int
    text: str


@dataclass(frozen=True)
class SetFile:
    """A file's lines, without comments and empty ones.

    place    how messages name the file
    name     of the set: the file's, without ending
    folder   name of the folder it lies in
    """

    place: str
    name: str
    folder: str
    lines: Sequence[SetLine]

    def error(self, line: SetLine, why: str) -> DistjointError:
        """The error of a line."""
        text = line.text.strip()
        shown = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
        return DistjointError(f"{self.place}, line {line.number}: '{shown}' {why}")


@dataclass
class EvaluationSets:
    """What some files hold.

    pairs, groups, questions   the sets
    notices                    what was left out, merged or doubted
    """

    pairs: list[WordPairs] = field(default_factory=list)
    groups: list[GroupedPairs] = field(default_factory=list)
    questions: list[Questions] = field(default_factory=list)
    notices: Noticed = field(default_factory=Noticed)


class Form(ABC):
    """A form of files of one kind of set.

    name       as `--form` has it
    option     the option that takes such sets
    title      what files of it hold, for messages
    line       a line of it, for messages
    together   whether all files of a call are read as one, because they belong together
    """

    name: ClassVar[SetForm]
    option: ClassVar[Option]
    title: ClassVar[str]
    line: ClassVar[str]
    together: ClassVar[bool] = False

    @abstractmethod
    def knows(self, lines: Sequence[SetLine]) -> bool:
        """Whether most of a file's first lines are like this."""

    @abstractmethod
    def read(self, files: Sequence[SetFile], found: EvaluationSets) -> tuple[str, str]:
        """Add the sets of a file, or of several that belong together; returns how they were read, and their first item.

        raises DistjointError naming the line that is not like the form
        """


def most(lines: Sequence[SetLine], fits: Sequence[bool]) -> bool:
    """Whether a form fits more than half of some lines."""
    return 2 * sum(fits) > len(lines)


def fields_of(text: str) -> list[str]:
    """The fields of a line of words: between tabs where there are any, else commas, else blanks; none is empty."""
    separator = next((mark for mark in "\t," if mark in text.strip()), None)
    return [field.strip() for field in text.split(separator) if field.strip()]
