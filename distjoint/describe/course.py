"""A run: which settings differ from the defaults, how training went, how long vectors are, and what it cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from distjoint.base.progress import Progress
from distjoint.config import Config
from distjoint.describe.page import Chapter, Figures, Value
from distjoint.runs import journal
from distjoint.runs.checkpoint import Position
from distjoint.runs.folder import RunFolder
from distjoint.train.changes import differences

_BEST = "valid_mrr"
_TIMES, _RATES = "seconds", "_per_second"
_PERCENTILES = (0, 1, 10, 25, 50, 75, 90, 99, 100)


@dataclass(frozen=True)
class Settings:
    """Settings of a run that differ from the defaults.

    run, dataset   where they lie
    status         `running`, `finished`, `stopped` or `failed`
    sources        which losses trained
    coupling       in force
    changed        key -> default, value
    later          changes when the run went on: `epoch`, `round`, `settings`: key -> both values
    """

    run: str
    dataset: str
    status: str
    sources: Sequence[str]
    coupling: str
    changed: Mapping[str, tuple[Any, Any]]
    later: Sequence[Mapping[str, Any]]

    @classmethod
    def of(cls, run: RunFolder) -> Settings:
        info = run.info
        later = [change.model_dump(mode="json") for change in info.changes]
        changed = differences(Config(), info.config)
        return cls(str(run.folder), info.dataset, info.status, info.sources, info.coupling, changed, later)

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        changed = {key: {"default": both[0], "value": both[1]} for key, both in self.changed.items()}
        return {**asdict(self), "sources": list(self.sources), "changed": changed}

    def chapter(self) -> Chapter:
        sentences = [
            f"{self.run}: {self.status}; trained on {' and '.join(self.sources)} of {self.dataset}; coupling "
            f"{self.coupling}."
        ]
        rows: list[Sequence[Value]] = [
            (key, str(value), str(default)) for key, (default, value) in self.changed.items()
        ]
        tables = [Figures("Settings that differ from the defaults", ("key", "value", "default"), rows)] if rows else []
        if not rows:
            sentences.append("All settings are the defaults.")
        changes: list[Sequence[Value]] = [
            (change["epoch"], key, str(both[1]), str(both[0]))
            for change in self.later
            for key, both in change["settings"].items()
        ]
        if changes:
            tables.append(Figures("Changed on the way", ("after epoch", "key", "to", "from"), changes))
        return Chapter("Settings", sentences, tables)


@dataclass(frozen=True)
class Course:
    """The course of training, by the run's metrics.

    epochs    that are done, of so many that were wanted
    wanted
    best      the epoch with the best MRR on the valid split; None without validations
    result    the epoch that is the run's result; None as long as there is none
    metrics   each epoch's line: losses, norms of gradients, rates, `valid_mrr`
    """

    epochs: int
    wanted: int
    best: int | None
    result: int | None
    metrics: Sequence[Mapping[str, Any]]

    @classmethod
    def of(cls, run: RunFolder) -> Course:
        lines = journal.read(run.folder)
        measured = [line for line in lines if line.get(_BEST) is not None]
        best = max(measured, key=lambda line: line[_BEST])["epoch"] if measured else None
        result = Position.of(run.info.result).epoch if run.info.result else None
        return cls(len(lines), run.info.config.train.epochs, best, result, lines)

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return asdict(self)

    def chapter(self) -> Chapter:
        sentences = [f"{self.epochs} of {self.wanted} epochs are done."]
        if self.best is not None:
            sentences.append(f"The best epoch on the valid split is {self.best}.")
        if self.result is not None:
            sentences.append(f"The run's result is that of epoch {self.result}.")
        if not self.metrics:
            return Chapter("Training", sentences)
        by_epoch = {line["epoch"]: line for line in self.metrics}
        shown = {"first": self.metrics[0]["epoch"], "best": self.best, "last": self.metrics[-1]["epoch"]}
        columns = [f"{name}, epoch {epoch}" for name, epoch in shown.items() if epoch is not None]
        chosen = [by_epoch[epoch] for epoch in shown.values() if epoch is not None]
        names = dict.fromkeys(name for line in chosen for name, value in line.items() if _is_shown(name, value))
        rows: list[Sequence[Value]] = [
            (name.replace("_", " "), *(_value(line.get(name)) for line in chosen)) for name in names
        ]
        tables = [Figures("First, best and last epoch", ("figure", *columns), rows)]
        if any(line.get(_BEST) is not None for line in self.metrics):
            points: list[Sequence[Value]] = [
                (str(line["epoch"]), float(line[_BEST])) for line in self.metrics if line.get(_BEST) is not None
            ]
            tables.append(Figures("MRR on the valid split", ("epoch", "MRR"), points, bar="MRR"))
        return Chapter("Training", sentences, tables)


def _is_shown(name: str, value: Any) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and name not in ("epoch", "round") and not name.endswith(_RATES)


def _value(value: Any) -> Value:
    """A metric; counts are floats in the journal."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, int | float) else None


@dataclass(frozen=True)
class Norms:
    """Lengths of one kind of vector.

    of            `entities`, their `own` part X, their `text` part, or `words`
    vectors       how many; of these, `zero` have length zero
    percentiles   `0` to `100` -> length
    """

    of: str
    vectors: int
    zero: int
    percentiles: Mapping[str, float]

    @classmethod
    def of_lengths(cls, of: str, lengths: Any) -> Norms:
        found = np.percentile(lengths, _PERCENTILES)
        percentiles = {str(at): float(value) for at, value in zip(_PERCENTILES, found, strict=True)}
        return cls(of, len(lengths), int((lengths == 0).sum()), percentiles)


@dataclass(frozen=True)
class Vectors:
    """Lengths of the vectors of a run's result."""

    norms: Sequence[Norms]
    formula: str | None

    @classmethod
    def of(cls, run: RunFolder, progress: Progress) -> Vectors | None:
        """None as long as there is no result. Shard by shard, so only lengths are ever all in memory."""
        if run.info.result is None:
            return None
        from distjoint.evaluate.trained import TrainedVectors

        trained, sources = TrainedVectors(run, run.result()), run.info.sources
        lengths: dict[str, list[Any]] = {}

        def add(of: str, vectors: Any) -> None:
            if len(vectors):
                lengths.setdefault(of, []).append(vectors.norm(dim=1).numpy(force=True))

        with progress.task("lengths of vectors", run.layout.shards) as task:
            for shard in range(run.layout.shards):
                words, entities, _ = trained.words_and_entities(shard)
                if words is not None:
                    add("words", words)
                if entities is not None:
                    add("entities", entities)
                    parts = trained.entity_parts(shard)
                    for name, part in parts.items() if len(parts) > 1 else ():
                        add(f"entities, {name} part", part)
                task.advance()
        formula = trained.coupling.formula if "graph" in sources else None
        return cls([Norms.of_lengths(of, np.concatenate(found)) for of, found in sorted(lengths.items())], formula)

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return asdict(self)

    def chapter(self) -> Chapter:
        rows: list[Sequence[Value]] = [
            (each.of, each.vectors, each.zero, *each.percentiles.values()) for each in self.norms
        ]
        names = {"0": "least", "50": "median", "100": "most"}
        columns = ("vectors of", "how many", "zero", *(names.get(str(at), f"{at} %") for at in _PERCENTILES))
        sentences = [f"An entity's vector is {self.formula}."] if self.formula else []
        return Chapter("Lengths of vectors", sentences, [Figures("Lengths", columns, rows)])


@dataclass(frozen=True)
class Cost:
    """What a run took.

    seconds    of all epochs together; `per_epoch` on average
    samples    `cells`, `triples`, ... -> how many were trained in all epochs together
    rows       of the table
    dim        of its vectors
    bytes      of the checkpoint that is the result
    lanes, groups    how it was laid out
    """

    seconds: float
    per_epoch: float | None
    samples: Mapping[str, int]
    rows: int
    dim: int
    bytes: int | None
    lanes: int
    groups: int

    @classmethod
    def of(cls, run: RunFolder, course: Course) -> Cost:
        seconds = [float(line.get(_TIMES, 0.0)) for line in course.metrics]
        samples: dict[str, int] = {}
        for line in course.metrics:
            for kind in [name.removesuffix(_RATES) for name in line if name.endswith(_RATES)]:
                samples[kind] = samples.get(kind, 0) + round(line.get(kind, 0))
        info = run.info
        size = sum(file.bytes for file in run.result().manifest.files) if info.result else None
        return cls(
            seconds=sum(seconds),
            per_epoch=sum(seconds) / len(seconds) if seconds else None,
            samples={kind: count for kind, count in samples.items() if count},
            rows=run.layout.rows,
            dim=info.config.model.dim,
            bytes=size,
            lanes=info.lanes,
            groups=info.groups,
        )

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return asdict(self)

    def chapter(self) -> Chapter:
        rows: list[Sequence[Value]] = [("seconds of training", self.seconds), ("seconds an epoch", self.per_epoch)]
        rows += [(f"{kind} trained", count) for kind, count in self.samples.items()]
        rows += [("rows", self.rows), ("dim", self.dim), ("bytes of the result", self.bytes)]
        rows += [("lanes", self.lanes), ("groups", self.groups)]
        return Chapter("Cost", [], [Figures("What it took", ("of", "amount"), rows)])
