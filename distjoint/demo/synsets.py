"""WordNet's synsets as a graph whose entities have names and a text each: the demo's data.

A synset is called as NLTK calls it, `whale.n.02`: its first lemma, part of speech, and which of that lemma's senses it
is. Its names are its lemmas; its text is its gloss.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from distjoint.base.errors import DistjointError
from distjoint.demo.wordnet import FILES, RELATIONS, Triple, lines_of, synsets_in

INDEX = {"n": "index.noun", "v": "index.verb", "a": "index.adj", "r": "index.adv"}
"""Which senses a lemma has, the most frequent first, by part of speech."""


@dataclass(frozen=True)
class Synsets:
    """What is trained on.

    triples   (synset, relation, synset), sorted, no duplicates, never a synset with itself
    names     synset to its lemmas as they are written
    glosses   synset to its definition and examples, one a line
    """

    triples: list[Triple]
    names: dict[str, list[str]]
    glosses: dict[str, list[str]]


def read_synsets(folder: Path) -> Synsets:
    """All synsets of WordNet.

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
    )


def _senses(path: Path) -> dict[str, list[str]]:
    """Offsets of the synsets of each lemma, in the order of its senses."""
    try:
        lines = path.read_text(encoding="latin-1").splitlines()
    except FileNotFoundError as error:
        raise DistjointError(f"{path}: no such file; the folder must hold {', '.join(INDEX.values())}") from error
    found = {}
    for line in lines:
        if not line.startswith("  "):  # the licence
            lemma, _, count, *fields = line.split()
            found[lemma] = fields[-int(count) :]
    return found
