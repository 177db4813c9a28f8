"""WordNet's database files as Princeton writes them, described in wndb(5).

`data.noun`, `data.verb`, `data.adj`, `data.adv` have the synsets, `index.noun` and so on the senses of each lemma.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from distjoint.base.errors import DistjointError
from distjoint.data.cases import Cases
from distjoint.data.wordnet.base import Synsets
from distjoint.storage import Location

FILES = ("data.noun", "data.verb", "data.adj", "data.adv")

# One direction of each pair of inverse pointers: the other holds the same facts.
RELATIONS = {
    "@": "hypernym",
    "@i": "instance_hypernym",
    "+": "derivation",
    "&": "similar",
    "^": "also_see",
    "!": "antonym",
    "#m": "member_of",
    "#p": "part_of",
    "#s": "substance_of",
    "=": "attribute",
    "$": "verb_group",
    ";c": "topic",
    ">": "cause",
    "*": "entails",
    "\\": "pertains",
    "<": "participle",
}
INVERSE = ("~", "~i", "%m", "%p", "%s", "-c", "-r", "-u")
"""Pointers that say what their inverses say, of RELATIONS and others."""
INDEX = {"n": "index.noun", "v": "index.verb", "a": "index.adj", "r": "index.adv"}
"""Which senses a lemma has, the most frequent first, by part of speech."""

MARK = re.compile(r"\((a|p|ip)\)$")
"""Where an adjective may stand, behind its word."""

Key = tuple[str, str]
"""Part of speech and offset of a synset in its data file."""


@dataclass(frozen=True)
class Synset:
    """A set of synonyms.

    lemmas     as the database writes them, in lower case
    pointers   symbol, the synset that it points to, which lemmas of both it links (`0000` for all)
    gloss      definition and examples
    """

    lemmas: list[str]
    pointers: list[tuple[str, Key, str]]
    gloss: str


def read_synsets(folder: Location) -> Synsets:
    """All synsets of WordNet, called as NLTK calls them: `whale.n.02`, by first lemma, part of speech and sense.

    folder   holds the data and index files
    raises   DistjointError that names the file, and the line where one makes no sense
    """
    synsets = {key: synset for name in FILES for key, synset in synsets_in(folder / name)}
    senses = {pos: _senses(folder / name) for pos, name in INDEX.items()}
    called = {}
    for (pos, offset), synset in synsets.items():
        of_lemma = senses[pos].get(synset.lemmas[0], [])
        if offset not in of_lemma:
            raise DistjointError(f"{folder / INDEX[pos]}: {synset.lemmas[0]!r} has no sense {offset}, data files do")
        called[pos, offset] = f"{synset.lemmas[0]}.{pos}.{of_lemma.index(offset) + 1:02d}"
    left = Cases()
    for key, synset in synsets.items():
        for symbol, target, _ in synset.pointers:
            if symbol not in RELATIONS and symbol not in INVERSE:
                left.add(f"{symbol} of {called[key]}")
            elif target not in synsets:
                left.add(f"{symbol} of {called[key]} to {''.join(target)}, which is not there")
    triples = {
        (called[key], RELATIONS[symbol], called[target])
        for key, synset in synsets.items()
        for symbol, target, _ in synset.pointers
        if symbol in RELATIONS and target in synsets and target != key
    }
    return Synsets(
        sorted(triples),
        {called[key]: [lemma.replace("_", " ") for lemma in synset.lemmas] for key, synset in synsets.items()},
        {called[key]: lines_of(synset.gloss) for key, synset in synsets.items()},
        (f"Pointers of WordNet that are no relation of synsets, left out: {left.count:,} (such as {left.example}).",)
        if left.count
        else (),
    )


def lines_of(gloss: str) -> list[str]:
    """The definition of a gloss, then each of its quoted examples.

    `a shop; "he ran a store"; "the store closed"` gives three lines.
    """
    definition, *quoted = gloss.split('"')
    parts = (definition, *quoted[::2])
    return [line for part in parts if (line := part.strip(" ;\t\r\n"))]


def synsets_in(path: Location) -> Iterator[tuple[Key, Synset]]:
    """The synsets of one data file by part of speech and offset; a satellite adjective counts as adjective.

    raises DistjointError naming the line that is no synset
    """
    for number, line in _lines(path, FILES):
        yield _parse(line, f"{path}, line {number}")


def _parse(line: str, place: str) -> tuple[Key, Synset]:
    record, _, gloss = line.partition(" | ")
    fields = record.split()
    try:
        offset, _, pos, count = fields[:4]
        words = 4 + 2 * int(count, 16)
        lemmas = [(MARK.sub("", word) if word[-1] == ")" else word).lower() for word in fields[4:words:2]]
        if not lemmas or pos not in "nvasr" or not offset.isdecimal():
            raise ValueError(f"{pos} {offset}")
        starts = range(words + 1, words + 1 + 4 * int(fields[words]), 4)
        pointers = [
            (symbol, (target_pos.replace("s", "a"), target), ends)
            for symbol, target, target_pos, ends in (fields[at : at + 4] for at in starts)
        ]
    except (ValueError, IndexError) as error:
        raise DistjointError(f"{place}: not a WordNet synset: {line[:60].strip()!r}") from error
    return (pos.replace("s", "a"), offset), Synset(lemmas, pointers, gloss)


def _senses(path: Location) -> dict[str, list[str]]:
    """Offsets of the synsets of each lemma, in the order of its senses."""
    found = {}
    for number, line in _lines(path, INDEX.values()):
        try:
            lemma, _, count, *fields = line.split()
            found[lemma] = fields[-int(count) :]
        except ValueError as error:
            raise DistjointError(f"{path}, line {number}: not a lemma of WordNet: {line[:60].strip()!r}") from error
    return found


def _lines(path: Location, beside: Iterable[str]) -> Iterator[tuple[int, str]]:
    """Number and text of the lines of a file, without the licence. beside: files that the folder must hold"""
    if not path.exists():
        raise DistjointError(f"{path}: no such file; the folder must hold {', '.join(beside)}")
    content = path.read_bytes()
    try:
        text = content.decode()
    except UnicodeDecodeError:
        text = content.decode("latin-1")
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip() and not line.startswith("  "):
            yield number, line.rstrip("\r")
