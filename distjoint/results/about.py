"""What an export says of itself: the data, the settings, the figures, and how triples are scored with its vectors."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from distjoint.base.errors import DistjointError
from distjoint.data.of_run import open_dataset
from distjoint.evaluate.trained import TrainedVectors
from distjoint.results.model_tables import ModelTable
from distjoint.runs import journal
from distjoint.runs.folder import RunFolder
from distjoint.version import __version__

FORMAT = 1


def about(trained: TrainedVectors, tables: Sequence[ModelTable], vectors: str) -> dict[str, Any]:
    """A description of a run's vectors, to be written as JSON.

    tables    its dense parameters
    vectors   which of an entity's: `joint`, ...
    """
    run = trained.run
    info = run.info
    found: dict[str, Any] = {"format": FORMAT, "distjoint": __version__, "vectors": vectors, "coupling": info.coupling}
    if "text" in info.sources:
        found["word_vectors"] = "W + C"
    if "graph" in info.sources:
        found["entity_vectors"] = trained.coupling.formula
        found["score"] = _score(trained, tables)
    found["shapes"] = {table.kind: table.shape for table in tables}
    return {**found, "data": _data(run), "figures": _figures(run), "settings": info.config.model_dump(mode="json")}


def _score(trained: TrainedVectors, tables: Sequence[ModelTable]) -> dict[str, Any]:
    """How a triple is scored, in numbers and in words."""
    model = trained.model
    heads = f"h is the tail, r is read backwards: {model.scorer.inverse_formula}"
    if model.reciprocal:
        heads = "h is the tail, r the relation's vector in inverse_relation"
    return {
        "scorer": model.scorer.name,
        "dim": trained.run.info.config.model.dim,
        "relation_dim": next((table.vectors.shape[1] for table in tables), None),
        "comparison": model.comparison.name,
        "scale": model.comparison.scale,
        "reciprocal": model.reciprocal,
        "query": model.scorer.formula,
        "score": model.comparison.formula,
        "tails": "h is the head's vector in entity, r the relation's in relation, c the tail's in entity",
        "heads": f"{heads}; c is the head",
    }


def _data(run: RunFolder) -> dict[str, Any]:
    """The dataset's name and counts; of its place only the last part, which says nothing of this machine."""
    counts: dict[str, Any] = {}
    with suppress(DistjointError):
        counts = dict(open_dataset(run).manifest.counts)
    name = run.info.dataset.rstrip("/").rpartition("/")[2]
    return {"dataset": name, "checksum": run.info.dataset_checksum, **counts}


def _figures(run: RunFolder) -> dict[str, Any]:
    """Metrics of the last epoch, and what the run's folder has of its evaluation."""
    lines = journal.read(run.folder)
    found: dict[str, Any] = {}
    if lines:
        found = {key: value for key, value in lines[-1].items() if key == "epoch" or "loss" in key or "mrr" in key}
    place = run.folder / "test.json"
    if place.exists():
        with suppress(ValueError):
            tested = json.loads(place.read_bytes())
            found |= {f"test {key}": value for key, value in tested.items() if isinstance(value, int | float)}
    return found
