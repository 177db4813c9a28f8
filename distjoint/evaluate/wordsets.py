"""Test sets of word vectors as files: word pairs with a score by people, and analogy questions."""

from __future__ import annotations

import math
import posixpath
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from distjoint.base.errors import DistjointError
from distjoint.storage import Options, expand, locate

_SUFFIXES = (".txt", ".tsv", ".csv")


@dataclass(frozen=True)
class WordPairs:
    """A similarity set: word pairs with a score by people.

    pairs    the two words of each pair
    scores   higher is more similar
    """

    name: str
    pairs: tuple[tuple[str, str], ...]
    scores: tuple[float, ...]


@dataclass(frozen=True)
class Questions:
    """A section of analogy questions: a is to b as c is to d."""

    name: str
    questions: tuple[tuple[str, str, str, str], ...]


def read_similarity(urls: Iterable[str], options: Options | None = None) -> list[WordPairs]:
    """Similarity sets of some files, globs or folders, named after the files.

    A line is two words and a score between tabs, commas or white space; further columns are left alone, and
    words before the score too (the part of speech in SimLex's own file). `#` begins a comment; a first line
    without a number is a header.

    raises DistjointError naming file and line when one is missing, empty or not like this
    """
    return [_pairs(url, options) for url in _files(urls, options)]


def read_analogies(urls: Iterable[str], options: Options | None = None) -> list[Questions]:
    """Analogy questions of some files, globs or folders: four words a line, `: name` begins a section.

    Questions before the first `:` make a section named after the file.

    raises DistjointError naming file and line when one is missing, empty or not like this
    """
    sections = [section for url in _files(urls, options) for section in _sections(url, options)]
    return sections


def _files(urls: Iterable[str], options: Options | None) -> Iterator[str]:
    for url in urls:
        found = expand(url, options)
        if len(found) > 1:
            # A folder of sets holds its licence and read-me too.
            found = [name for name in found if name.lower().endswith(_SUFFIXES)] or found
        yield from found


def _lines(url: str, options: Options | None) -> Iterator[tuple[int, str]]:
    """Numbered lines with something on them."""
    try:
        text = locate(url, options).read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DistjointError(f"{url}: not UTF-8 text (byte {error.start})") from error
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip() and not line.lstrip().startswith("#"):
            yield number, line.strip()


def _name(url: str) -> str:
    return posixpath.splitext(posixpath.basename(url))[0]


def _pairs(url: str, options: Options | None) -> WordPairs:
    pairs: list[tuple[str, str]] = []
    scores: list[float] = []
    first = True
    for number, line in _lines(url, options):
        pattern = r"\t" if line.count("\t") >= 2 else "," if line.count(",") >= 2 else r"[\s,]+"
        fields = [field.strip() for field in re.split(pattern, line)]
        score = next((value for field in fields[2:] if (value := _number(field)) is not None), None)
        if score is None and not first:
            raise DistjointError(f"{url}, line {number}: '{line[:60]}' is not two words and a score")
        if score is not None:
            pairs.append((fields[0], fields[1]))
            scores.append(score)
        first = False
    if len(pairs) < 3:
        raise DistjointError(f"{url}: holds {len(pairs)} pairs of words with a score; a correlation needs at least 3")
    return WordPairs(_name(url), tuple(pairs), tuple(scores))


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _sections(url: str, options: Options | None) -> list[Questions]:
    sections: dict[str, list[tuple[str, str, str, str]]] = {}
    name = _name(url)
    for number, line in _lines(url, options):
        if line.startswith(":"):
            name = line[1:].strip()
            continue
        words = line.replace(",", " ").split()
        if len(words) != 4:
            raise DistjointError(f"{url}, line {number}: '{line[:60]}' is not a question of four words")
        sections.setdefault(name, []).append((words[0], words[1], words[2], words[3]))
    if not sections:
        raise DistjointError(f"{url}: holds no analogy questions (lines of four words)")
    return [Questions(name, tuple(questions)) for name, questions in sections.items()]
