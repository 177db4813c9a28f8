"""Word pairs with a score by people, as SimLex, SimVerb, WordSim, MEN, MTurk, RG, RW and SCWS are published."""

from __future__ import annotations

import csv
import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from distjoint.base.errors import DistjointError
from distjoint.evaluate.options import SetForm
from distjoint.evaluate.sets.base import LEAST, EvaluationSets, Form, SetFile, SetLine, WordPairs, most
from distjoint.evaluate.sets.files import number_of

_SEPARATORS = {"\t": "tabs", ";": "semicolons", ",": "commas", "|": "bars", None: "blanks"}
_DECIMAL_COMMA = re.compile(r"^([+-]?\d+),(\d+)$")
_WORD = re.compile(r"(?:word|w|term|entity|item|noun|verb|string|target)[ _-]?(?:[12ab]|one|two)|first|second")
_SCORE = re.compile(r"simlex|score|human|mean|average|rating|similarity|relatedness|gold|value|assigned_sim")
_TAGGED = re.compile(r"(.+)-[nvjar]")
_FEW = 8
"""Multiplier on the different names of a column that may be labels, up to those of the columns after it."""

Row = tuple[SetLine, list[str]]


@dataclass(frozen=True)
class PairColumns:
    """Columns of the two words and the score, by number from 0, and the header's names, empty where there is none."""

    first: int
    second: int
    score: int
    header: tuple[str, ...] = ()
    separator: str = ""

    def __str__(self) -> str:
        shown = [self._shown(column) for column in (self.first, self.second, self.score)]
        header = " after a header" if self.header else ""
        return f"words in columns {shown[0]} and {shown[1]}, score in {shown[2]}, between {self.separator}{header}"

    def _shown(self, column: int) -> str:
        return f"{column} '{self.header[column]}'" if self.header else str(column)


class Pairs(Form):
    """Lines of two words and a score between tabs, semicolons, commas, bars or blanks; further columns are left alone.

    Where commas part no columns, `7,5` is 7.5.


    columns   of words and score, by the header's names or by numbers from 0; None for what names and numbers tell
    """

    name: ClassVar[SetForm] = "pairs"
    option = "similarity"
    title = "word pairs with a score"
    line = "car TAB automobile TAB 9.2"

    def __init__(self, columns: Sequence[str] | None = None) -> None:
        self._columns = columns

    def knows(self, lines: Sequence[SetLine]) -> bool:
        return most(lines, [_is_pair(row) for _, row in _rows(lines)[1]])

    def read(self, files: Sequence[SetFile], found: EvaluationSets) -> tuple[str, str]:
        (file,) = files
        between, rows = _rows(file.lines)
        _check_count(file, len(rows))
        if between == _SEPARATORS[","] and self._columns is None:
            _refuse_halves(file, rows)
        columns = replace(self._columns_of(file, rows), separator=between)
        pairs, scores = [], []
        for line, row in rows[bool(columns.header) :]:
            first, second = (_cell(file, line, row, column) for column in (columns.first, columns.second))
            pairs.append((first, second))
            scores.append(_score(file, line, row, columns.score))
        _check_count(file, len(pairs))
        pairs, said = self._words(pairs)
        _notice_twins(file, pairs, found)
        found.pairs.append(WordPairs(file.name, tuple(pairs), tuple(scores), self.name))
        return f"{columns}{said}", f"{', '.join(pairs[0])}, {scores[0]:g}"

    def _words(self, pairs: list[tuple[str, str]]) -> tuple[list[tuple[str, str]], str]:
        """The words that are looked up, and what is said of them."""
        return pairs, ""

    def _columns_of(self, file: SetFile, rows: Sequence[Row]) -> PairColumns:
        line, top = rows[0]
        numbers = [sum(number_of(cell) is not None for cell in _column(rows[1:], c)) for c in range(_width(rows))]
        mostly = [2 * count >= len(rows) - 1 for count in numbers]
        if self._columns is not None:
            return _named(file, rows, self._columns, mostly)
        header = _header(top, mostly)
        if header and not any(_WORD.fullmatch(name) or _SCORE.search(name) for name in map(str.casefold, header)):
            raise file.error(
                line, "is neither a pair with a score nor a header that is known; --pair-columns 0,1,2 makes it one"
            )
        words = [place for place, name in enumerate(header) if _WORD.fullmatch(name.casefold())]
        first, second = words if len(words) == 2 else _word_columns(file, rows, mostly)
        scores = [c for c, is_number in enumerate(mostly) if is_number and c > second]
        named = [c for c in scores if header and _SCORE.search(header[c].casefold())]
        if not scores:
            raise file.error(line, f"is not two words and a score, like '{self.line}'")
        if mostly[first] or mostly[second]:
            raise file.error(line, "has numbers where words are sought; name the columns, like --pair-columns 1,2,3")
        return PairColumns(first, second, (named or scores)[0], header)


class Lemmas(Pairs):
    """Pairs whose words all end with their part of speech: MEN's lemma form."""

    name: ClassVar[SetForm] = "lemmas"
    title = "word pairs with a score, each word with its part of speech"
    line = "sun-n sunlight-n 50.0"

    def knows(self, lines: Sequence[SetLine]) -> bool:
        rows = [row for _, row in _rows(lines)[1] if _is_pair(row)]
        return super().knows(lines) and all(_TAGGED.fullmatch(word) for row in rows for word in row[:2])

    def _words(self, pairs: list[tuple[str, str]]) -> tuple[list[tuple[str, str]], str]:
        def bare(word: str) -> str:
            tagged = _TAGGED.fullmatch(word)
            return tagged[1] if tagged else word

        kept = sum(not _TAGGED.fullmatch(word) for pair in pairs for word in pair)
        without = f" (not at {kept} words that have none)" if kept else ""
        return [(bare(a), bare(b)) for a, b in pairs], f"; parts of speech taken off{without}"


class Contexts(Pairs):
    """SCWS: number, word, part of speech, word, part of speech, two contexts with `<b>word</b>`, mean, ratings."""

    name: ClassVar[SetForm] = "contexts"
    title = "word pairs in context with a score; the contexts are not read"
    line = "1 TAB bank TAB n TAB money TAB n TAB a <b> bank </b> TAB my <b> money </b> TAB 7.5"

    def knows(self, lines: Sequence[SetLine]) -> bool:
        rows = [line.text.split("\t") for line in lines]
        return most(lines, [len(row) > 7 and all("<b>" in context for context in row[5:7]) for row in rows])

    def _columns_of(self, file: SetFile, rows: Sequence[Row]) -> PairColumns:
        return PairColumns(1, 3, 7)


def _check_count(file: SetFile, count: int) -> None:
    if count < LEAST:
        raise DistjointError(
            f"{file.place}: holds {count} pairs of words with a score; a correlation needs at least {LEAST}"
        )


def _rows(lines: Sequence[SetLine]) -> tuple[str, list[Row]]:
    """Fields of every line by the first separator that gives most lines three; and what lies between them, in words."""
    for separator in _SEPARATORS:
        rows = [(line, _split(line.text, separator)) for line in lines]
        if most(lines, [len(row) > 2 for _, row in rows]):
            break
    between = _SEPARATORS[separator]
    if separator == "," or any("." in cell and number_of(cell) is not None for _, row in rows for cell in row[2:]):
        return between, rows
    pointed = [(line, _with_points(row)) for line, row in rows]
    return between + ", with decimal commas" * (pointed != rows), pointed


def _split(text: str, separator: str | None) -> list[str]:
    if separator == "|":
        text = text.strip().removeprefix("|").removesuffix("|")
    if separator in (";", ",") and '"' in text:
        try:
            return [field.strip() for field in next(csv.reader([text], delimiter=separator, strict=True))]
        except (csv.Error, StopIteration):
            return [text]
    return [field.strip() for field in text.split(separator)]


def _with_points(row: Sequence[str]) -> list[str]:
    """The fields with `7,5` as `7.5`, but for the two first, which hold words."""
    return [*row[:2], *(_DECIMAL_COMMA.sub(r"\1.\2", cell) for cell in row[2:])]


def _refuse_halves(file: SetFile, rows: Sequence[Row]) -> None:
    """raises DistjointError where commas part whole numbers, two a line, that may be the halves of one: `a,b,7,5`"""
    halves = [row[2:] for _, row in rows if len(row) == 4]
    if 2 * len(halves) > len(rows) and all(cell.isdecimal() for pair in halves for cell in pair):
        raise file.error(
            rows[0][0],
            "has two whole numbers, which may be one with a decimal comma; write it with a point, or name the columns, "
            "like --pair-columns 0,1,2",
        )


def _is_pair(row: Sequence[str]) -> bool:
    texts, rest = ([number_of(cell) is None for cell in some] for some in (row[:2], row[2:]))
    return any(texts) and not all(rest)


def _width(rows: Sequence[Row]) -> int:
    return min(Counter(len(row) for _, row in rows).most_common(1)[0][0], max(len(row) for _, row in rows))


def _column(rows: Sequence[Row], column: int) -> list[str]:
    return [row[column] if column < len(row) else "" for _, row in rows]


def _header(top: Sequence[str], mostly: Sequence[bool]) -> tuple[str, ...]:
    """The first line's cells if it has a text above the first column of numbers; else none."""
    above = [c for c, is_number in enumerate(mostly) if is_number and c > 1]
    is_header = above and len(top) >= len(mostly) and all(top[c] and number_of(top[c]) is None for c in above[:1])
    return tuple(top) if is_header else ()


def _named(file: SetFile, rows: Sequence[Row], columns: Sequence[str], mostly: Sequence[bool]) -> PairColumns:
    """The columns that a user named. raises DistjointError for a name that is not there"""
    line, top = rows[0]
    by_name = any(not name.isdecimal() for name in columns)
    places = []
    for name in columns:
        if not name.isdecimal() and name not in top:
            raise file.error(line, f"has no column '{name}'; --pair-columns takes numbers from 0 too")
        places.append(int(name) if name.isdecimal() else top.index(name))
    score = places[2]
    above = score < min(len(top), len(mostly)) and mostly[score] and top[score] and number_of(top[score]) is None
    return PairColumns(places[0], places[1], score, tuple(top) if by_name or above else ())


def _word_columns(file: SetFile, rows: Sequence[Row], mostly: Sequence[bool]) -> tuple[int, int]:
    """Where the words are without a header: in the first columns, after a number or a one-letter label if there is one.

    raises DistjointError where the first column could be a label or a word
    """
    if len(mostly) < 4 or mostly[1] or mostly[2]:
        return 0, 1
    columns = [_column(rows[1:], column) for column in range(3)]
    different = [len(set(column)) for column in columns]
    letters = all(len(cell) == 1 and cell.isascii() for cell in columns[0]) and different[0] <= different[2]
    if mostly[0] or letters:
        return 1, 2
    if _FEW * different[0] <= min(different[1:]):
        raise file.error(
            rows[0][0],
            f"begins with one of {different[0]} names alone, which may be no word; name the columns, like "
            "--pair-columns 1,2,3",
        )
    return 0, 1


def _cell(file: SetFile, line: SetLine, row: Sequence[str], column: int) -> str:
    if column >= len(row) or not row[column]:
        raise file.error(line, f"is not two words and a score: nothing in column {column}")
    return row[column]


def _score(file: SetFile, line: SetLine, row: Sequence[str], column: int) -> float:
    text = _cell(file, line, row, column)
    score = number_of(text)
    if score is None or not math.isfinite(score):
        comma = "; write it with a point" if re.fullmatch(r"[+-]?\d+,\d+", text) else ""
        raise file.error(line, f"is not two words and a score: '{text}' in column {column} is no number{comma}")
    return score


def _notice_twins(file: SetFile, pairs: Sequence[tuple[str, str]], found: EvaluationSets) -> None:
    seen: set[tuple[str, ...]] = set()
    for pair in pairs:
        key = tuple(sorted(word.casefold() for word in pair))
        if key in seen:
            found.notices.add("Pairs that a set has more than once, each counted", f"{', '.join(pair)} in {file.place}")
        seen.add(key)
