"""Triple classification: right or wrong, by a threshold on the score.

Socher et al. 2013, section 4.1: a threshold for each relation, chosen on validation triples that are known to be right
and to be wrong. Wrong triples must be given, as CoDEx does (Safavi and Koutra 2020): made at random they are far too
easy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from distjoint.base.arrays import Bools, Doubles, Ints
from distjoint.base.errors import DistjointError
from distjoint.data.dataset import Triples
from distjoint.evaluate.candidates import Candidates
from distjoint.evaluate.scoring import TripleModel


@dataclass(frozen=True)
class Classification:
    """Result of triple classification, test triple by test triple.

    truth        bool[n]: it is right
    taken        bool[n]: it was taken for right
    triples      checksum of the triples by name
    thresholds   the score from which a triple of a relation, by name, is taken for right
    threshold    the same for relations without validation triples
    untrained    how many of the triples have a relation that is in no training triple
    """

    truth: Bools
    taken: Bools
    triples: str
    thresholds: dict[str, float]
    threshold: float
    untrained: int = 0

    @property
    def accuracy(self) -> float:
        return float(np.mean(self.truth == self.taken))

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall of the right triples."""
        both = int((self.truth & self.taken).sum())
        return 2 * both / max(int(self.truth.sum() + self.taken.sum()), 1)

    def to_dict(self) -> dict[str, Any]:
        both = int((self.truth & self.taken).sum())
        return {
            "accuracy": self.accuracy,
            "f1": self.f1,
            "precision": both / int(self.taken.sum()) if self.taken.any() else None,
            "recall": both / int(self.truth.sum()),
            "triples": int(self.truth.sum()),
            "negatives": int((~self.truth).sum()),
            "unseen_relation": self.untrained,
            "triples_checksum": self.triples,
            "threshold": self.threshold,
            "thresholds": self.thresholds,
        }


@dataclass(frozen=True)
class Thresholds:
    """Scores from which a triple is taken for right.

    own       float64[relations]: by relation; NaN where it has no validation triple
    overall   for relations without one
    """

    own: Doubles
    overall: float

    def taken(self, scores: Doubles, relation: Ints) -> Bools:
        """bool[n]: which triples are taken for right."""
        own = self.own[relation]
        return np.asarray(scores >= np.where(np.isnan(own), self.overall, own))


def choose_thresholds(scores: Doubles, truth: Bools, relation: Ints, relations: int) -> Thresholds:
    """Thresholds that decide most validation triples rightly, for each relation and for all together.

    scores, truth, relation   float64[n], bool[n], int64[n]: of right and of wrong triples
    raises                    DistjointError unless there are both
    """
    if not truth.any() or truth.all():
        raise DistjointError("classification: thresholds need right and wrong validation triples")
    own = np.full(relations, np.nan)
    for each in np.unique(relation).tolist():
        chosen = relation == each
        own[each] = best_threshold(scores[chosen], truth[chosen])
    return Thresholds(own, best_threshold(scores, truth))


def best_threshold(scores: Doubles, truth: Bools) -> float:
    """The threshold with the highest accuracy, between two scores; the lowest of several that are as good.

    scores, truth   float64[n], bool[n], n > 0
    """
    values, place = np.unique(scores, return_inverse=True)
    right = np.bincount(place, truth, minlength=len(values))
    wrong = np.bincount(place, ~truth, minlength=len(values))
    # With the threshold below value k: the right ones from k on, and the wrong ones before it. The last: above all.
    decided = (right.sum() - np.concatenate([[0], right.cumsum()])) + np.concatenate([[0], wrong.cumsum()])
    best = int(decided.argmax())
    if best == 0:
        return float(values[0])
    if best == len(values):
        return float(np.nextafter(values[-1], np.inf))
    middle = float((values[best - 1] + values[best]) / 2)
    return middle if middle > values[best - 1] else float(values[best])


@torch.inference_mode()
def score_triples(model: TripleModel, candidates: Candidates, triples: Triples, memory: int) -> Doubles:
    """float64[n]: the score of each triple as a query for its tail; comparable between triples of one relation.

    memory   bytes that vectors of triples may take, besides one block
    raises   DistjointError when a score is not finite, or the end of a triple has no vector
    """
    scores = np.empty(len(triples))
    most = max(1, memory // (8 * 4 * 2 * model.relations.shape[1]))
    for start in range(0, len(triples), most):
        part = slice(start, start + most)
        head, tail = candidates.gather(np.concatenate([triples.head[part], triples.tail[part]])).chunk(2)
        relation = torch.from_numpy(triples.relation[part]).to(head.device)
        query = model.queries(head, relation, "tail")
        scores[part] = model.score(query[:, None], tail[:, None])[:, 0, 0].double().numpy(force=True)
    if not np.isfinite(scores).all():
        raise DistjointError("vectors of entities or relations hold NaN or infinity; triples cannot be classified")
    return scores


def classify(
    model: TripleModel,
    candidates: Candidates,
    valid: tuple[Triples, Triples],
    test: tuple[Triples, Triples],
    relations: list[str],
    checksum: str = "",
    *,
    memory: int,
) -> Classification:
    """Choose thresholds on validation triples and decide the test triples by them.

    valid, test   right and wrong triples, by row id
    relations     names by id
    checksum      of the test triples by name
    raises        DistjointError where one of the four is empty, and as `score_triples`
    """
    for split, triples in (("valid", valid), ("test", test)):
        for name, part in zip((split, f"{split}_negatives"), triples, strict=True):
            if not len(part):
                raise DistjointError(f"classification: the dataset holds no {name} triples; prepare it with them")
    scores, truth, relation = _scored(model, candidates, *valid, memory)
    thresholds = choose_thresholds(scores, truth, relation, len(relations))
    scores, truth, relation = _scored(model, candidates, *test, memory)
    own = {relations[each]: float(thresholds.own[each]) for each in np.flatnonzero(~np.isnan(thresholds.own))}
    return Classification(truth, thresholds.taken(scores, relation), checksum, own, thresholds.overall)


def _scored(
    model: TripleModel, candidates: Candidates, right: Triples, wrong: Triples, memory: int
) -> tuple[Doubles, Bools, Ints]:
    """Scores, truth and relations of right and wrong triples together."""
    both = Triples.together(right, wrong)
    truth = np.arange(len(both)) < len(right)
    return score_triples(model, candidates, both, memory), truth, both.relation
