"""Analogy questions, as Google's, Microsoft's and BATS are published."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from distjoint.base.errors import DistjointError
from distjoint.evaluate.sets.base import (
    EvaluationSets,
    Form,
    Question,
    Questions,
    SetFile,
    SetLine,
    fields_of,
    most,
    shown,
)
from distjoint.evaluate.sets.files import number_of

_MOST_PAIRS = 1000
"""Pairs of a BATS relation; published ones have 50. Every two make a question each way."""
_SYNTACTIC = re.compile(r"gram\d")
_TAG = re.compile(r"[A-Z$]+_[A-Z$]+")
_NO_WORD = re.compile(r"[\d{}\[\]\":%]")
"""In three fields of which, as a question has three words, one is no word: a percentage, a header, JSON."""
_PARTS = {"J": "adjectives", "N": "nouns", "V": "verbs"}
_OTHER = "other"


class Google(Form):
    """Lines of four words; `: name` begins a relation, syntactic if called `gram1` and so on (Mikolov 2013)."""

    name = "google"
    option = "analogies"
    title = "analogy questions"
    line = "man woman king queen"

    def knows(self, lines: Sequence[SetLine]) -> bool:
        return most(lines, [_is_section(line) or _is_words(line, 4) for line in lines])

    def read(self, files: Sequence[SetFile], found: EvaluationSets) -> tuple[str, str]:
        (file,) = files
        sections: dict[str, list[Question]] = {}
        name = file.name
        for line in file.lines:
            if _is_section(line):
                name = line.text.strip()[1:].strip()
                if not name:
                    raise file.error(line, "begins a relation without a name")
                continue
            a, b, c, d = _words(file, line, 4, "a question of four words")
            sections.setdefault(name, []).append(Question(a, (b,), c, (d,)))
        if not sections:
            raise file.error(file.lines[-1], f"ends a file without questions, which are lines like '{self.line}'")
        for name, questions in sections.items():
            category = "syntactic" if _SYNTACTIC.match(name) else "semantic"
            found.questions.append(Questions(name, tuple(questions), self.name, category))
        alone = len(sections) == 1 and file.name in sections
        return "of one relation, named after the file" * alone, shown(next(iter(sections.values()))[0])


class Microsoft(Form):
    """Lines of four words and a relation, like `JJ_JJR`; or the two files as they came, of three words, and of relation
    and answer, line by line (Mikolov, Yih and Zweig 2013).
    """

    name = "msr"
    option = "analogies"
    title = "analogy questions, each with its relation"
    line = "good better rough rougher JJ_JJR"
    together = True

    def knows(self, lines: Sequence[SetLine]) -> bool:
        asked = [_is_words(line, 3) and not _NO_WORD.search(line.text) for line in lines]
        return most(lines, [_is_words(line, 5) for line in lines]) or most(lines, asked) or _are_answers(lines)

    def read(self, files: Sequence[SetFile], found: EvaluationSets) -> tuple[str, str]:
        by_relation: dict[str, list[Question]] = {}
        halves: dict[bool, list[SetFile]] = {False: [], True: []}
        for file in files:
            if not _are_answers(file.lines) and _is_whole(file):
                for line in file.lines:
                    a, b, c, d, relation = _words(file, line, 5, f"a question with its relation, like '{self.line}'")
                    by_relation.setdefault(relation, []).append(Question(a, (b,), c, (d,)))
            else:
                halves[_are_answers(file.lines)].append(file)
        for asked, answers in _couples(halves[False], halves[True]):
            for question, answer in zip(asked.lines, answers.lines, strict=True):
                a, b, c = _words(asked, question, 3, "a question of three words")
                relation, d = _words(answers, answer, 2, "a relation and an answer, like 'JJ_JJR rougher'")
                by_relation.setdefault(relation, []).append(Question(a, (b,), c, (d,)))
        for relation, questions in by_relation.items():
            category = _PARTS.get(relation[0], _OTHER)
            found.questions.append(Questions(relation, tuple(questions), self.name, category))
        first = shown(next(iter(by_relation.values()))[0])
        return "from files of questions and of answers" * bool(halves[True]), first


class Bats(Form):
    """Pairs of a word and what it has to, `/` between several right ones. A relation is a file, a category its folder;
    every two pairs of a relation make a question each way (Gladkova, Drozd and Matsuoka 2016).
    """

    name = "bats"
    option = "analogies"
    title = "pairs of a relation, of which every two make questions"
    line = "wolf TAB pack/herd"

    def knows(self, lines: Sequence[SetLine]) -> bool:
        return most(lines, [_is_words(line, 2) for line in lines]) and not _are_answers(lines)

    def read(self, files: Sequence[SetFile], found: EvaluationSets) -> tuple[str, str]:
        (file,) = files
        pairs: list[tuple[str, tuple[str, ...]]] = []
        for line in file.lines:
            word, others = _words(file, line, 2, f"a word and its counterparts, like '{self.line}'")
            several = tuple(other.strip() for other in others.split("/"))
            if not all(several):
                raise file.error(line, "has an empty alternative beside a '/'")
            pairs.append((word, several))
        if not 2 <= len(pairs) <= _MOST_PAIRS:
            raise DistjointError(
                f"{file.place}: holds {len(pairs):,} pairs of a relation; every two make questions, so it takes 2 "
                f"to {_MOST_PAIRS:,}"
            )
        questions = tuple(Question(*first, *second) for first in pairs for second in pairs if first is not second)
        found.questions.append(Questions(file.name, questions, self.name, file.folder))
        return "relations named after the files, categories after their folders", shown(questions[0])


def _is_section(line: SetLine) -> bool:
    return line.text.lstrip().startswith(":")


def _is_words(line: SetLine, count: int) -> bool:
    fields = fields_of(line.text)
    return len(fields) == count and all(number_of(field) is None for field in fields)


def _is_whole(file: SetFile) -> bool:
    return most(file.lines, [len(fields_of(line.text)) == 5 for line in file.lines])


def _are_answers(lines: Sequence[SetLine]) -> bool:
    return most(lines, [_is_words(line, 2) and bool(_TAG.fullmatch(fields_of(line.text)[0])) for line in lines])


def _words(file: SetFile, line: SetLine, count: int, what: str) -> list[str]:
    fields = fields_of(line.text)
    if len(fields) != count:
        raise file.error(line, f"is not {what}: it has {len(fields)} word{'s' * (len(fields) != 1)}")
    return fields


def _couples(asked: Sequence[SetFile], answers: Sequence[SetFile]) -> Iterable[tuple[SetFile, SetFile]]:
    """Files of questions, each with that of its answers: of the same name, or the only one."""
    by_name = {file.name: file for file in answers}
    only = len(asked) == len(answers) == 1
    for file in asked:
        other = answers[0] if only else by_name.pop(file.name, None)
        if other is None:
            raise DistjointError(
                f"{file.place}: holds questions of three words without their answers; give the file of lines "
                "'JJ_JJR rougher' besides, named alike"
            )
        if len(file.lines) != len(other.lines):
            raise DistjointError(
                f"{other.place}: holds {len(other.lines):,} answers to {len(file.lines):,} questions of {file.place}"
            )
        yield file, other
    for file in () if only else by_name.values():
        raise DistjointError(f"{file.place}: holds answers without questions; give the file of those besides")
