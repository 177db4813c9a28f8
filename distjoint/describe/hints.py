"""Hints: settings that suit a dataset, each with the figure that speaks for it. They are where to begin."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from distjoint.describe.distributions import Distribution
from distjoint.describe.leakage import Leakage
from distjoint.describe.page import Chapter, Figures, Value, percent
from distjoint.describe.relations import GraphRelations
from distjoint.describe.splits import Connections
from distjoint.describe.text import Said

_ONE_WAY = 0.95
"""Share of triples of one kind from which the other kind does not count."""
_SPARSE, _DENSE = 10, 100
"""Median degrees: below the first a graph is sparse, from the second on dense."""
_PASSES = {"sparse": 50, "medium": 36, "dense": 15}
"""Passes over the triples: those of the recipes for WN18RR and FB15k-237, and fewer where entities are met often."""
_LEAKS = 0.05
"""Share of given answers that is worth a hint."""


@dataclass(frozen=True)
class Hint:
    """One hint.

    key    of the configuration; None where it is about the data
    value  what to set, or to do
    why    a sentence
    """

    key: str | None
    value: str
    why: str


@dataclass(frozen=True)
class Hints:
    """All hints on a dataset."""

    hints: Sequence[Hint]

    def to_dict(self) -> list[dict[str, Any]]:
        """Ready for JSON."""
        return [asdict(hint) for hint in self.hints]

    def chapter(self) -> Chapter:
        rows: list[Sequence[Value]] = [(hint.key or "data", hint.value, hint.why) for hint in self.hints]
        return Chapter(
            "Hints",
            ["Where to begin, by the figures above. A trial of your own knows more."],
            [Figures("Settings that suit this dataset", ("setting", "value", "why"), rows)],
        )


def hints_on(
    relations: GraphRelations | None,
    degrees: Distribution | None,
    leakage: Leakage | None,
    connections: Connections | None,
    said: Said | None,
    has_text: bool,
) -> Hints:
    """Hints by what is known of a dataset; None for what it does not have."""
    found = [_coupling(relations is not None, said, has_text)]
    if relations is not None:
        found.append(_scorer(relations, degrees, said))
        found += [_passes(degrees, has_text)] if degrees else []
    found += _leaks(leakage)
    if connections is not None and said is not None:
        found += _unseen(connections, said)
    return Hints(found)


def _coupling(has_graph: bool, said: Said | None, has_text: bool) -> Hint:
    key = "model.coupling"
    if not (has_graph and has_text):
        return Hint(key, "none", "There is only a graph." if has_graph else "There is only text.")
    if said is None or said.share_said == 0:
        return Hint(key, "none", "No word is said of any entity: nothing binds graph and text. See --labels, --align.")
    several = said.mentions["2-5"] + said.mentions["6 or more"]
    share = percent(said.share_said)
    if several > sum(said.mentions.values()) / 2:
        return Hint(key, "described", f"Words are said of {share} of the entities, of most of them several.")
    return Hint(key, "dual", f"Words are said of {share} of the entities, of most of these just their name.")


def _scorer(relations: GraphRelations, degrees: Distribution | None, said: Said | None) -> Hint:
    symmetric, one_way = relations.share_of("symmetric"), relations.share_of("antisymmetric")
    many = 1 - relations.share_of("1-1")
    facts = (
        f"{percent(symmetric)} of the training triples are of symmetric relations, {percent(one_way)} of antisymmetric "
        f"ones, and {percent(many)} have several answers on some side"
    )
    if symmetric >= _ONE_WAY:
        return Hint("model.scorer", "distmult", f"{facts}: a score that cannot tell head from tail does no harm.")
    few = degrees is not None and degrees.percentiles["50"] < _SPARSE
    value = "rotate" if few and said is not None and said.share_said > 0.5 else "complex"
    lacks = (
        "distmult cannot tell head from tail"
        if symmetric < 0.05
        else ("distmult cannot tell head from tail, and transe has no vector but zero for symmetric relations")
    )
    how = " By cosine, so that own vectors of rare entities do not outgrow their text." * (value == "rotate")
    return Hint("model.scorer", value, f"{facts}: {lacks}; complex and rotate model all of these.{how}")


def _passes(degrees: Distribution, has_text: bool) -> Hint:
    median = degrees.percentiles["50"]
    kind = "sparse" if median < _SPARSE else "medium" if median < _DENSE else "dense"
    also = " A pass over the text is an epoch: set triple_passes above 1." if has_text else ""
    return Hint(
        "train.epochs x train.triple_passes",
        f"about {_PASSES[kind]}",
        f"Half of the entities are in {median:,.0f} training triples or fewer. With train.validate_every and "
        f"train.patience the best epoch is kept.{also}",
    )


def _leaks(leakage: Leakage | None) -> list[Hint]:
    found = []
    for split in leakage.splits if leakage else ():
        if split.share >= _LEAKS:
            found.append(
                Hint(
                    None,
                    f"{split.split} leaks",
                    f"{percent(split.share)} of its triples are given by training; copying them has an MRR of "
                    f"{split.figures['mrr']:.3f}. Report that beside any model; or keep one of each two inverse or "
                    "duplicate relations, and put all triples of two entities into one split.",
                )
            )
        if split.repeated:
            found.append(
                Hint(None, f"{split.split} repeats", f"{split.repeated:,} of its triples are in training too.")
            )
    return found


def _unseen(connections: Connections, said: Said) -> list[Hint]:
    held = sum(each.one_unseen + each.both_unseen for each in connections.splits if each.split != "train")
    if not held or not said.unseen_said:
        return []
    why = f"{held:,} held-out triples have an end that training does not; only their words say anything of these."
    return [Hint("graph.own_dropout", "0.3", why)]
