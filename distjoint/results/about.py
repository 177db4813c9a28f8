"""What an export says of itself: the data, the settings, the figures, and how triples are scored with its vectors."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from distjoint.base.errors import DistjointError
from distjoint.data.of_run import open_dataset
from distjoint.evaluate.report import JSON
from distjoint.evaluate.trained import TrainedVectors
from distjoint.results.model_tables import ModelTable
from distjoint.runs import journal
from distjoint.runs.checkpoint import Position
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
    return {**found, "data": _data(run), "figures": _figures(run), "settings": _settings(run)}


def _score(trained: TrainedVectors, tables: Sequence[ModelTable]) -> dict[str, Any]:
    """How a triple is scored, in numbers and in words."""
    model = trained.model
    heads = f"h is the tail, r is read backwards: {model.scorer.inverse_formula}"
    if model.reciprocal:
        heads = "h is the tail, r the relation's vector in inverse_relation"
    return {
        "scorer": model.scorer.name,
        "dim": trained.run.info.config.model.dim,
        "parts": model.scorer.parts,
        "relation_dim": next((table.vectors.shape[1] for table in tables), None),
        "comparison": model.comparison.name,
        "scale": model.comparison.scale,
        "reciprocal": model.reciprocal,
        "query": model.scorer.formula,
        "score": model.comparison.formula,
        "tails": "h is the head's vector in entity, r the relation's in relation, c the tail's in entity",
        "heads": f"{heads}; c is the head",
    }


def _settings(run: RunFolder) -> dict[str, Any]:
    """The configuration, without places on this machine."""
    settings = run.info.config.model_dump(mode="json")
    settings["train"].pop("init")
    return settings


def _data(run: RunFolder) -> dict[str, Any]:
    """The dataset's name and counts; of its place only the last part, which says nothing of this machine."""
    counts: dict[str, Any] = {}
    with suppress(DistjointError):
        counts = dict(open_dataset(run).manifest.counts)
    name = run.info.dataset.rstrip("/").rpartition("/")[2]
    return {"dataset": name, "checksum": run.info.dataset_checksum, **counts}


def _figures(run: RunFolder) -> dict[str, Any]:
    """Metrics of the epoch that is kept, and what the run's folder has of its evaluation."""
    kept = Position.of(run.info.result).epoch if run.info.result else 0
    line = next((line for line in journal.read(run.folder) if line["epoch"] == kept), {})
    found = {key: value for key, value in line.items() if key == "epoch" or "loss" in key or "mrr" in key}
    for name, section in (("test.json", None), (JSON, "link_prediction")):
        place = run.folder / name
        if place.exists():
            with suppress(ValueError, AttributeError):
                report = json.loads(place.read_bytes())
                links = (report if section is None else report.get(section)) or {}
                split = links.get("split", "test")
                found |= {f"{split} {key}": value for key, value in links.items() if isinstance(value, float)}
    return found
