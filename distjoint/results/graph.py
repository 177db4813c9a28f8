"""The graph of a trained run: what it predicts, how it scores triples, and what of that its dataset knows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from distjoint.base.arrays import Bools, Doubles, Floats, Ints
from distjoint.base.errors import DistjointError, UsageError
from distjoint.data.streams import SPLITS
from distjoint.evaluate.names import numbers_of
from distjoint.evaluate.space import Spaces
from distjoint.evaluate.stored import StoredVectors
from distjoint.evaluate.trained import TrainedVectors
from distjoint.results.answers import chance_notes, warn_of_chance
from distjoint.results.calibration import Calibration, fit
from distjoint.results.limits import NONE, Ends, Limits, Side, ends_of, of_types
from distjoint.results.relation_names import RelationNames

if TYPE_CHECKING:
    from distjoint.data.dataset import Dataset, Triples
    from distjoint.results.predictions import Predictor

Known = Literal["exclude", "include"]
Filter = Literal["all", "train", "none"]
_CALIBRATED_ON = 20_000
"""Held-out triples that probabilities are fitted to, at most."""


@dataclass(frozen=True)
class Choice:
    """How answers are chosen.

    known        `exclude` leaves known triples out, `include` marks them
    filter       which are known: those of `all` splits, of `train`, or `none`, for which no dataset is read
    own_end      whether the given end may be an answer
    candidates   places of the only entities that may be answers, int64[n]; None for all
    types        only entities that may stand there by their types, or that did in training where there are no types
    type_names   only entities that have one of these types
    """

    known: Known = "exclude"
    filter: Filter = "all"
    own_end: bool = False
    candidates: Ints | None = None
    types: bool = False
    type_names: tuple[str, ...] = ()


class GraphAnswers:
    """Predictions and scores of a run, by place of entity and number of relation.

    names   of relations; none where the run was trained on text only
    """

    def __init__(self, trained: TrainedVectors, spaces: Spaces, names: RelationNames) -> None:
        self.trained, self.spaces, self.names, self.run = trained, spaces, names, trained.run
        self.relations = names.names
        self._known: dict[Filter, Triples] = {}

    def plausible(self, places: Ints, said: Bools | None = None) -> Bools:
        """bool[n]: entities whose vector means something; that of the others is chance.

        said   of which words say something, where a block tells
        """
        found = np.asarray(self.spaces.degrees[places] > 0)
        if said is None and self.spaces.said is None:
            left = np.flatnonzero(~found)
            found[left] = self._said(places[left])
            return found
        known: Any = said if said is not None else self.spaces.said
        return found | (known if said is not None else known[places])

    def find_relation(self, name: str) -> int | None:
        """The number of a relation; None for a name that is unknown, or may be several."""
        try:
            return self.names.find(name)
        except DistjointError:
            return None

    def notes(self, relation: int | None, entities: Sequence[int]) -> list[str]:
        """What is to be said of a relation or entities whose vectors are as they began."""
        places = np.array(list(dict.fromkeys(entities)), np.int64)
        chance = places[~self.plausible(places)] if len(places) else places
        untrained = relation is not None and not self.relation_trained[relation]
        names = [self.spaces.shown(place) for place in chance.tolist()]
        return chance_notes(names, self.names.shown(relation) if relation is not None and untrained else None)

    def warn(self, relation: int | None, entities: Sequence[int], frames: int = 0) -> None:
        """Warn of a relation or entities whose vectors are as they began."""
        warn_of_chance(self.notes(relation, entities), frames)

    @cached_property
    def relation_trained(self) -> Bools:
        """bool[relations]: those that a training triple has."""
        return np.asarray(numbers_of(self.run.relations().column("frequency")) > 0)

    @cached_property
    def predictor(self) -> Predictor:
        """raises UsageError where no graph was trained"""
        from distjoint.results.predictions import Predictor

        if not self.relations:
            raise UsageError(f"{self.run.folder}: was trained on text only, so it scores no triples")
        return Predictor(self.trained.model, self.spaces.entities.vectors, self.plausible)

    @cached_property
    def dataset(self) -> Dataset:
        """The dataset that the run was trained on. raises DistjointError where it is not found"""
        from distjoint.data.of_run import open_dataset

        return open_dataset(self.run)

    def triples(self, filter: Filter) -> Triples:
        """Known triples by place of entity. raises DistjointError where the dataset is gone"""
        from distjoint.data.dataset import Triples

        if filter not in self._known:
            splits = {"all": SPLITS, "train": ("train",), "none": ()}[filter]
            found = Triples.together(*(self.dataset.split(split) for split in splits))
            place = self.run.layout.entity_places
            self._known[filter] = replace(found, head=place(found.head), tail=place(found.tail))
        return self._known[filter]

    def known_pairs(self, given: Ints, relation: Ints, side: Side, choice: Choice) -> tuple[Ints, Ints] | None:
        """Queries and the entities that complete known triples: int64[m] each, query by query, ascending.

        given     int64[n]: places of the given ends, -1 for one that is none
        returns   None where the dataset is gone, and is not needed
        """
        from distjoint.evaluate.known import KnownAnswers

        if choice.filter == "none":
            return NONE, NONE
        try:
            triples = self.triples(choice.filter)
        except DistjointError as error:
            if choice.known == "exclude":
                raise DistjointError(f"{error}; known triples cannot be left out, include them instead") from error
            return None
        there = np.flatnonzero(given >= 0)
        index = KnownAnswers(triples, side, given[there], relation[there])
        start, stop = index.spans(given[there], relation[there])
        counts = stop - start
        within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        return np.repeat(there, counts), index.answers[np.repeat(start, counts) + within]

    def predict(
        self,
        vectors: Floats,
        given: Ints,
        relation: Ints,
        side: Side,
        k: int,
        choice: Choice,
        advance: Callable[[float], Any] = lambda _: None,
    ) -> tuple[Ints, Doubles, Bools | None]:
        """The best answers of some queries: places int64[n, k], -1 where there are no more, scores float64[n, k].

        vectors   float32[n, dim]: of the given ends
        given     int64[n]: their places, -1 for one that is none, but a text
        returns   also bool[n, k]: which complete a known triple; None where no dataset tells
        """
        known, (queries, places) = self.known_pairs(given, relation, side, choice), (NONE, NONE)
        if known is not None and choice.known == "exclude":
            queries, places = known
        if not choice.own_end:
            own = np.flatnonzero(given >= 0)
            queries, places = np.concatenate([queries, own]), np.concatenate([places, given[own]])
        ends = self.ends[0] if choice.types else None
        limits = Limits(queries, places, self._listed(choice), ends)
        found, scores = self.predictor.best(vectors, relation, side, k, limits, advance)
        if known is None or choice.filter == "none":
            return found, scores, None
        size = len(self.spaces.entities)
        keys = np.arange(len(given))[:, None] * size + found
        return found, scores, np.isin(keys, known[0] * size + known[1]) & (found >= 0)

    def predict_relations(self, head: Ints, tail: Ints, k: int, choice: Choice) -> tuple[Ints, Doubles, Bools | None]:
        """The same for relations between places of entities; those without a training triple are no answers."""
        vectors = self.spaces.entities.vectors
        scores = self.predictor.relations(vectors[head], vectors[tail])
        scores[:, ~self.relation_trained] = -np.inf
        marks: Bools | None = None
        try:
            marks = self._marks(head, tail, choice.filter) if choice.filter != "none" else None
        except DistjointError as error:
            if choice.known == "exclude":
                raise DistjointError(f"{error}; known triples cannot be left out, include them instead") from error
        if marks is not None and choice.known == "exclude":
            scores[marks] = -np.inf
        order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        best = np.take_along_axis(scores, order, 1)
        found = np.where(np.isfinite(best), order, -1)
        return found, best, None if marks is None else np.take_along_axis(marks, order, 1)

    @cached_property
    def ends(self) -> tuple[Ends, str]:
        """What may stand at the ends of relations, and how that is known; reads the dataset."""
        return ends_of(self.dataset, self.triples("train"))

    @cached_property
    def calibration(self) -> Calibration:
        """What makes probabilities of scores, fitted to the validation split and as many false triples.

        A false triple is a validation triple with another entity, drawn, at its head or its tail, that is not known.

        raises   DistjointError where the dataset is gone, or its validation split too small
        """
        place = self.run.layout.entity_places
        valid, generator = self.dataset.split("valid").drawn(_CALIBRATED_ON, 0), np.random.default_rng(0)
        head, tail = place(valid.head), place(valid.tail)
        size, seen = len(self.spaces.entities), self.triples("all")
        trained = np.flatnonzero(self.spaces.degrees > 0)
        if not len(valid) or not len(trained):
            raise DistjointError(f"{self.dataset.folder}: has no validation triples; probabilities are fitted to them")
        drawn, at_head = generator.choice(trained, len(valid)), generator.random(len(valid)) < 0.5
        false = np.where(at_head, drawn, head), valid.relation, np.where(at_head, tail, drawn)
        keys = [
            (one * len(self.relations) + kind) * size + other
            for one, kind, other in (false, (seen.head, seen.relation, seen.tail))
        ]
        kept = ~np.isin(keys[0], keys[1])
        right = self.predictor.scores(head, valid.relation, tail)
        return fit(right, self.predictor.scores(*(end[kept] for end in false)))

    def _marks(self, head: Ints, tail: Ints, filter: Filter) -> Bools:
        """bool[n, relations]: which relations are known between two entities."""
        known, size = self.triples(filter), len(self.spaces.entities)
        keys, queries = known.head * size + known.tail, head * size + tail
        order = np.argsort(keys, kind="stable")
        start, stop = (np.searchsorted(keys[order], queries, side) for side in ("left", "right"))
        marks = np.zeros((len(head), len(self.relations)), np.bool_)
        for row in np.flatnonzero(stop > start).tolist():
            marks[row, known.relation[order[start[row] : stop[row]]]] = True
        return marks

    def _listed(self, choice: Choice) -> Bools | None:
        listed: Bools | None = None
        if choice.candidates is not None:
            listed = np.zeros(len(self.spaces.entities), np.bool_)
            listed[choice.candidates] = True
        if choice.type_names:
            typed = of_types(self.dataset, choice.type_names, len(self.spaces.entities))
            listed = typed if listed is None else listed & typed
        return listed

    def _said(self, places: Ints) -> Bools:
        vectors: Any = self.spaces.entities.vectors
        return vectors.made(places)[1] if isinstance(vectors, StoredVectors) else np.zeros(len(places), np.bool_)
