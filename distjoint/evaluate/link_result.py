"""Link prediction on a split as a report holds it: every rank, how they were taken, and the figures of groups."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from distjoint.base.prefixes import Prefixes
from distjoint.evaluate.options import Ties
from distjoint.evaluate.queries import TIE
from distjoint.evaluate.ranks import LinkPrediction

RANKS = ("head", "tail", "unseen_ends", "head_ties", "tail_ties", "own_head", "own_tail")
"""Fields of LinkPrediction that are kept of each triple."""
TIES: dict[Ties, str] = {
    "realistic": "ties at their mean rank",
    "optimistic": "ties after the right answer",
    "pessimistic": "ties before the right answer",
}
FILTER = "filtered by train, valid and test"
CANDIDATES = "entities of train, valid and test"


@dataclass(frozen=True)
class Sampling:
    """Sizes of the samples of an evaluation that is not of everything.

    candidates   drawn for each answer; None where it was ranked against all
    triples      ranked, of so many in the split (`of`)
    """

    candidates: int | None
    triples: int
    of: int
    seed: int

    def __str__(self) -> str:
        parts = [f"{self.candidates:,} sampled candidates"] if self.candidates is not None else []
        parts += [f"{self.triples:,} sampled triples"] if self.triples < self.of else []
        return ", ".join(parts)


@dataclass(frozen=True)
class Links:
    """Link prediction on a split.

    triples   checksum of the triples by name, in the order in which they were ranked
    parts     the figures of groups of answers, by what they are grouped by
    sample    sizes of the samples; None for every triple among every candidate
    ties      the rank that tables show for answers that tie
    unknown   triples with one end, and with both, of which neither a training triple nor text says anything
    untrained relations of the triples that are in no training triple, by name
    prefixes  by which tables show names
    """

    split: str
    ranks: LinkPrediction
    triples: str
    parts: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    sample: Sampling | None = None
    ties: Ties = "realistic"
    unknown: tuple[int, int] = (0, 0)
    untrained: tuple[str, ...] = ()
    prefixes: Prefixes = field(default_factory=Prefixes)

    @property
    def label(self) -> str:
        """The difference to exact ranks of all triples in words: sampled, typed; empty for exact ones."""
        words = [str(self.sample) if self.sample else "", "typed" if self.ranks.typed else ""]
        return ", ".join(word for word in words if word)

    def to_dict(self) -> dict[str, Any]:
        return {
            "split": self.split,
            "sampled": asdict(self.sample) if self.sample else None,
            "typed": self.ranks.typed,
            "ranked_against": CANDIDATES,
            "filter": FILTER,
            "ties": TIES["realistic"],
            "tie_tolerance": TIE,
            "triples_checksum": self.triples,
            **self.ranks.metrics(),
            "nothing_known": dict(zip(("one_end", "both_ends"), self.unknown, strict=True)),
            "unseen_relations": list(self.untrained),
            "by": self.parts,
        }

    def items(self) -> dict[str, Any]:
        """The ranks of every triple, by name of a tensor."""
        found = {f"links.{name}": getattr(self.ranks, name) for name in RANKS}
        relation = self.ranks.unseen_relation
        return found if relation is None else found | {"links.unseen_relation": relation}

    @classmethod
    def of(cls, tree: dict[str, Any], items: dict[str, Any]) -> Links:
        """The result that `to_dict` and `items` describe."""
        ranks = LinkPrediction(
            **{name: items[f"links.{name}"] for name in RANKS},
            candidates=tree["candidates"],
            sampled=bool(tree["sampled"] and tree["sampled"]["candidates"]),
            typed=tree["typed"],
            mean_candidates=tree.get("mean_candidates"),
            unseen_relation=items.get("links.unseen_relation"),
        )
        sample = Sampling(**tree["sampled"]) if tree["sampled"] else None
        unknown = tree["nothing_known"]["one_end"], tree["nothing_known"]["both_ends"]
        untrained = tuple(tree.get("unseen_relations", ()))
        return cls(
            tree["split"], ranks, tree["triples_checksum"], tree["by"], sample, unknown=unknown, untrained=untrained
        )
