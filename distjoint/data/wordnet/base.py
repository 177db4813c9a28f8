"""What a wordnet holds, whatever form it is in: synsets as a graph, with names and a text each."""

from __future__ import annotations

from dataclasses import dataclass

Triple = tuple[str, str, str]


@dataclass(frozen=True)
class Synsets:
    """A wordnet.

    triples   (synset, relation, synset), sorted, no duplicates, never a synset with itself
    names     synset to its lemmas as they are written
    glosses   synset to its definition and examples, one a line
    notes     sentences about what was left out
    """

    triples: list[Triple]
    names: dict[str, list[str]]
    glosses: dict[str, list[str]]
    notes: tuple[str, ...] = ()
