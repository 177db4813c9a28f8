"""What a wordnet holds, whatever form it is in: synsets as a graph, with names and a text each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from distjoint.data.cases import Cases

Triple = tuple[str, str, str]

INVERSES = {
    "hyponym": "hypernym",
    "instance_hyponym": "instance_hypernym",
    **{f"mero_{kind}": f"holo_{kind}" for kind in ("location", "member", "part", "portion", "substance")},
    "meronym": "holonym",
    "has_domain_topic": "domain_topic",
    "has_domain_region": "domain_region",
    "is_exemplified_by": "exemplifies",
    "is_caused_by": "causes",
    "is_entailed_by": "entails",
}
"""Relations of the Global WordNet Association that say what another one says the other way round; they are turned."""


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

    @classmethod
    def of(
        cls,
        relations: Iterable[Triple],
        lemmas: Mapping[str, Iterable[str]],
        glosses: dict[str, list[str]],
        notes: Sequence[str] = (),
    ) -> Synsets:
        """Of relations as they are written, those of senses as of their synsets; each is turned one way.

        lemmas    of synsets, likelier ones first
        glosses   of all synsets there are
        notes     further ones
        """
        dangling, itself, triples = Cases(), 0, set[Triple]()
        for source, kind, target in relations:
            head, relation, tail = (target, INVERSES[kind], source) if kind in INVERSES else (source, kind, target)
            if head not in glosses or tail not in glosses:
                dangling.add(f"{head} {relation} {tail}")
            elif head == tail:
                itself += 1
            else:
                triples.add((head, relation, tail))
        names = {}
        for synset in glosses:
            forms = (" ".join(form.split()) for form in lemmas.get(synset, ()))
            names[synset] = [*dict.fromkeys(form for form in forms if form)]
        left = []
        if dangling.count:
            left.append(f"Relations with a synset that is not there, left out{dangling}.")
        if itself:
            left.append(f"Relations of senses of one synset, left out: {itself:,}.")
        return cls(sorted(triples), names, glosses, (*left, *notes))
