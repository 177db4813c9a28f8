"""Validation between epochs: what a checkpoint just written can do, by the components of `train.validate`.

It measures from the checkpoint's files, shard by shard, so it sees what a user will load, and needs no collective.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np

from distjoint.base.arrays import Ints
from distjoint.base.errors import DistjointError, UsageError
from distjoint.config import Config
from distjoint.data.dataset import Dataset, Triples
from distjoint.data.streams import SPLITS
from distjoint.evaluate.choosing import ChosenBy, find_sets, read_sets
from distjoint.evaluate.chosen import choose
from distjoint.evaluate.lookup import Lookup
from distjoint.evaluate.names import NameColumn
from distjoint.evaluate.ranking import MEMORY, link_prediction
from distjoint.evaluate.sets import LEAST, WordPairs
from distjoint.evaluate.similarity import GroupedSimilarity, Similarity, grouped_similarity, similarity
from distjoint.evaluate.space import Space, read_spaces
from distjoint.evaluate.trained import TrainedVectors
from distjoint.runs import checkpoint
from distjoint.runs.checkpoint import Position
from distjoint.runs.folder import Checkpoint, RunFolder, RunInfo
from distjoint.storage import Location, Options
from distjoint.train.objective import SCORE, Objective

UNSEEN = "unseen_"


class Validation:
    """Measures checkpoints, on rank 0, and tells which is the best.

    lines   the metrics of the epochs before this start, whose checkpoints may still be the best
    """

    def __init__(self, run: Location, info: RunInfo, dataset: Dataset, lines: list[dict[str, Any]]) -> None:
        self._run, self._info, self._dataset = run, info, dataset
        self.objective = Objective.of(info.config, info.sources)
        there = set(checkpoint.complete(run))
        self._scores: dict[int, float] = {}
        for line in lines:
            if Position(line["epoch"]).name in there:  # the best by other weights than of old may be gone
                self._note(line)

    @property
    def best(self) -> str | None:
        """Name of the best checkpoint, the first of several; None where none was measured."""
        if not self._scores:
            return None
        return Position(max(self._scores, key=lambda epoch: (self._scores[epoch], -epoch))).name

    def due(self, epoch: int) -> bool:
        """Whether the checkpoint of an epoch is measured."""
        every = self._info.config.train.validate_every
        return bool(every) and bool(self.objective.weights) and epoch % every == 0

    def after(self, epoch: int) -> dict[str, Any]:
        """Measure the checkpoint of an epoch; rank 0 only. The components, and the weighted metric."""
        found = self.measure(Checkpoint.open(self._run / Position(epoch).name))
        line: dict[str, Any] = {f"valid_{name}": found[name] for name in self.objective.weights}
        line[SCORE] = self.objective.score(line)
        self._note({"epoch": epoch, **line})
        typed = self._info.config.graph.typed and bool(self.objective.of_graph)
        return {**line, **({"typed": True} if typed else {})}

    def _note(self, line: Mapping[str, Any]) -> None:
        score = self.objective.score(line)
        if score is not None:
            self._scores[line["epoch"]] = score

    def measure(self, checkpoint: Checkpoint) -> dict[str, float]:
        """The components of the metric at a checkpoint, by name. raises DistjointError for one that is no number"""
        trained = TrainedVectors(RunFolder(self._run, self._info), checkpoint)
        return {**self._of_links(trained), **self._of_sets(trained)}

    def _of_links(self, trained: TrainedVectors) -> dict[str, float]:
        """Filtered link prediction on the valid split, or some of it; the same of triples with an unseen end."""
        wanted, found = self.objective.of_graph, dict[str, float]()
        for part in ("", UNSEEN):
            figures = [name.removeprefix(part) for name in wanted if name.startswith(UNSEEN) == bool(part)]
            if figures:
                found |= {f"{part}{name}": value for name, value in self._ranked(trained, bool(part), figures).items()}
        return found

    def _ranked(self, trained: TrainedVectors, unseen: bool, figures: list[str]) -> dict[str, float]:
        splits, typed = self._splits, self._info.config.graph.typed
        valid = splits["valid"].select(self._unseen) if unseen else splits["valid"]
        ranks = link_prediction(
            trained.model,
            trained.candidates(*splits.values()),
            valid.drawn(self._info.config.train.validation_triples, seed=0),
            Triples.together(*splits.values()),
            allowed=self._dataset.domains() if typed else None,
        )
        metrics = ranks.metrics()
        return {name: ranks.mrr if name == "mrr" else metrics[name] for name in figures}

    def _of_sets(self, trained: TrainedVectors) -> dict[str, float]:
        """Spearman's rho of each set, by the vectors that `evaluate` takes for it."""
        if not self.objective.of_sets:
            return {}
        space, found = choose(trained, read_spaces(trained, MEMORY), None), {}
        for name in self.objective.of_sets:
            content = self._sets[name].content
            result: Similarity | GroupedSimilarity = (
                similarity(space, content) if isinstance(content, WordPairs) else grouped_similarity(space, content)
            )
            if not np.isfinite(result.spearman):
                covered = int(result.covered.sum())
                raise DistjointError(_too_few(self._sets[name], covered, len(result.gold), space.kind))
            found[name] = float(result.spearman)
        return found

    @cached_property
    def _splits(self) -> dict[str, Triples]:
        return {split: self._dataset.split(split) for split in SPLITS}

    @cached_property
    def _unseen(self) -> Ints:
        return unseen_places(self._dataset, self._splits["valid"])

    @cached_property
    def _sets(self) -> dict[str, ChosenBy]:
        return {each.key: each for each in read_sets(self._run)}


def unseen_places(data: Dataset, triples: Triples) -> Ints:
    """int64[k]: the triples with an end that is in no training triple."""
    degree = data.rows(["degree"]).column("degree").combine_chunks().to_numpy(zero_copy_only=False)
    return np.flatnonzero((degree[triples.head] == 0) | (degree[triples.tail] == 0))


def check_components(
    config: Config, sources: tuple[str, ...], data: Dataset, dataset: str, options: Options | None = None
) -> list[ChosenBy]:
    """Whether a run can measure what `train.validate` names; the word sets among that.

    sources   which losses train: `text`, `graph`
    raises    UsageError for what it cannot, with what would be right; DistjointError for a file that cannot be read
    """
    objective = Objective.of(config, sources)
    if not config.train.validate_every:
        return []
    if objective.of_graph and "graph" not in sources:
        raise UsageError(
            f"train.validate: {objective.of_graph[0]} is of the graph, and this run trains text only "
            f"(loss.alpha={config.loss.alpha:g}); name word similarity sets"
        )
    if objective.of_graph and not data.manifest.counts.get("triples/valid"):
        raise UsageError(
            f"train.validate_every={config.train.validate_every}: {dataset} has no valid triples; prepare with --valid "
            "or --valid-fraction, or set it to 0, or name word similarity sets in train.validate"
        )
    of_unseen = [name for name in objective.of_graph if name.startswith(UNSEEN)]
    if of_unseen and not len(unseen_places(data, data.split("valid"))):
        raise UsageError(
            f"train.validate: {of_unseen[0]}: {dataset} has no valid triple of an entity that training does not know; "
            "leave it out, or prepare another valid split"
        )
    if not objective.of_sets:
        return []
    sets = find_sets(objective.of_sets, config.train.validation_sets, options)
    if "text" in sources:
        for each in sets:
            _check_known(each, data)
    return sets


def _check_known(chosen: ChosenBy, data: Dataset) -> None:
    """raises UsageError for a set of whose pairs the dataset's words cover too few for a correlation"""
    column = data.rows(["word"]).column("word").drop_null()
    words = NameColumn(lambda: column, len(column))
    lookup = Lookup(Space("word", words, np.empty((len(words), 0), np.float32)))
    content = chosen.content
    pairs = (
        content.pairs if isinstance(content, WordPairs) else [pair for each in content.groups for pair in each.pairs]
    )
    first, second = (lookup.find_all(pair[side] for pair in pairs) for side in (0, 1))
    if (covered := int(((first >= 0) & (second >= 0)).sum())) < LEAST:
        raise UsageError(_too_few(chosen, covered, len(pairs), "word"))


def _too_few(chosen: ChosenBy, covered: int, pairs: int, kind: str) -> str:
    return (
        f"train.validate: {chosen.key}: {covered} of the {pairs} pairs of {chosen.content.name} have vectors of "
        f"{kind}s, too few for a correlation (at least {LEAST}); name another set"
    )
