"""What a run is, decided before it starts: its sources, coupling, lanes and groups; and whether it fits the machine."""

from __future__ import annotations

from dataclasses import replace

from distjoint.base.errors import UsageError
from distjoint.base.machine import memory
from distjoint.config import Config
from distjoint.couplings.scheme import Scheme
from distjoint.data.dataset import Dataset
from distjoint.names import GIVEN, OLD
from distjoint.registry import COUPLINGS
from distjoint.runs.folder import RunInfo, sizes_of
from distjoint.table.layout import Layout
from distjoint.table.parts import table_bytes
from distjoint.train.candidates import candidates_of
from distjoint.train.residency import choose_groups, shard_bytes, slots_needed
from distjoint.train.sources.base import sources_of


def plan(data: Dataset, dataset: str, config: Config, workers: int, available: int | None = None) -> RunInfo:
    """Decide what a run is before it starts.

    available   bytes of memory where it will run; by default this machine's
    raises UsageError when the dataset is too small for it, or the table for the memory
    """
    counts, layout = data.manifest.counts, data.layout
    scheme = Scheme.of(config, counts.get("cells", 0) > 0, counts.get("triples/train", 0) > 0)
    if workers < 1:
        raise UsageError(f"--workers {workers}: at least 1")
    check_data(scheme, data, dataset)
    lanes = config.train.lanes or (workers if layout.shards >= 2 * workers else max(1, layout.shards // 2))
    if layout.shards < 2 * lanes:
        fewer = f", or set train.lanes={layout.shards // 2}" if layout.shards > 1 else ""
        raise UsageError(
            f"{dataset}: {layout.shards} shards are too few for {lanes} lanes, which need 2 x lanes = {2 * lanes}; "
            f"prepare with --shards {8 * lanes}{fewer}"
        )
    groups = config.train.groups or _choose_groups(scheme, layout, lanes, min(workers, lanes))
    if not 2 * lanes <= groups <= layout.shards:
        raise UsageError(
            f"train.groups={groups}: must lie between 2 x lanes = {2 * lanes} and the dataset's {layout.shards} shards"
        )
    if scheme.graph and candidates_of(config.graph.candidates).resident:
        _refuse_too_many_candidates(scheme, layout, groups, available or memory())
    return RunInfo(
        dataset=dataset,
        dataset_checksum=data.checksum(),
        layout=sizes_of(layout),
        config=config,
        lanes=lanes,
        groups=groups,
        sources=tuple(name for name, on in (("text", scheme.text), ("graph", scheme.graph)) if on),  # type: ignore[misc]
        coupling=scheme.coupling.name,
        prefixes=data.manifest.prefixes,
    )


def check_begun(info: RunInfo) -> None:
    """raises UsageError for settings about what a run has from another, or from a file, where it has nothing"""
    train = info.config.train
    if GIVEN in train.freeze and not train.init:
        raise UsageError(f"train.freeze={GIVEN} is about vectors to begin with; give some with --init, or leave it out")
    if info.old is None and (OLD in train.freeze or train.old_rate != 1):
        key = f"train.freeze={OLD}" if OLD in train.freeze else f"train.old_rate={train.old_rate:g}"
        raise UsageError(f"{key} is about what a run has from another; give that with --from RUN, or leave it out")


def check_data(scheme: Scheme, data: Dataset, dataset: str) -> None:
    """raises UsageError where a dataset lacks what a configuration wants of it"""
    config, counts = scheme.config, data.manifest.counts
    for source in sources_of(scheme):
        source.check(scheme, data)
    if not scheme.text and not scheme.graph:
        raise UsageError(f"{dataset}: holds neither co-occurrence counts nor training triples")
    if config.train.final_test and not scheme.graph:
        raise UsageError("train.final_test: this run trains no graph (loss.alpha=0); set it to false")
    if config.train.final_test and not counts.get("triples/test"):
        raise UsageError(f"train.final_test: {dataset} has no test triples for it; set it to false")
    if scheme.graph and config.graph.typed and not data.has_types:
        raise UsageError(f"graph.typed: {dataset} knows no types; prepare with --types FILE, or set it to false")


def unread_texts(config: Config, data: Dataset) -> str | None:
    """A sentence about texts of entities that the default coupling does not read; None where none is lost by it."""
    described, aligned = data.manifest.counts.get("described", 0), data.layout.aligned
    if "coupling" in config.model.model_fields_set or described <= aligned:
        return None
    if COUPLINGS[config.model.coupling].reads_text:
        return None
    reading = next(name for name in COUPLINGS.names() if COUPLINGS[name].reads_text)
    return (
        f"{described:,} entities have a text, of which coupling {config.model.coupling}, the default, reads one word "
        f"of {aligned:,}; --set model.coupling={reading} reads it all, see docs/described.md"
    )


def _choose_groups(scheme: Scheme, layout: Layout, lanes: int, workers: int) -> int:
    """As few groups as the memory allows: the resident ones of a worker's lanes must fit."""
    limit, each, parts = scheme.config.train.memory, -(-lanes // workers), replace(scheme, rotates=lanes > 1).parts
    if limit is None or table_bytes(parts, layout) <= limit * workers:
        return 2 * lanes
    parts = replace(scheme, rotates=True).parts
    groups = choose_groups(parts, layout, lanes, each, limit)
    if groups is not None:
        return groups
    least = slots_needed(layout, layout.shards, each) * shard_bytes(parts, layout)
    raise UsageError(
        f"train.memory={limit}: {2 * each} of the dataset's {layout.shards} shards take {least} bytes; "
        "give more memory, or prepare with more shards"
    )


def _refuse_too_many_candidates(scheme: Scheme, layout: Layout, groups: int, free: int) -> None:
    """raises UsageError where a step over all resident entities does not fit this machine; says what would"""
    config, entities = scheme.config, layout.aligned + layout.entities
    kind, dim = candidates_of(config.graph.candidates), config.model.dim

    def needed(groups: int) -> int:
        resident = table_bytes(scheme.parts, layout) * min(2, groups) // groups
        return resident + kind.bytes_needed(entities * min(2, groups) // groups, dim, bool(config.graph.dropout))

    if needed(groups) <= free:
        return
    fitting = next((more for more in range(groups, layout.shards + 1) if needed(more) <= free), None)
    instead = f"train.groups={fitting} ({needed(fitting) / 1e9:.2g} GB), or " if fitting else ""
    raise UsageError(
        f"graph.candidates={config.graph.candidates}: a step over {entities * min(2, groups) // groups:,} resident "
        f"entities of {dim} dimensions takes {needed(groups) / 1e9:.2g} GB with their rows, and there are "
        f"{free / 1e9:.2g} GB; set {instead}graph.candidates=sampled"
    )


def summary(info: RunInfo, data: Dataset) -> str:
    """One line about what will be trained."""
    counts, layout, model = data.manifest.counts, data.layout, info.config.model
    parts = [f"{layout.vocabulary:,} words, {layout.aligned + layout.entities:,} entities"]
    if "text" in info.sources:
        parts.append(f"{counts['cells']:,} cells")
    if "graph" in info.sources:
        parts.append(f"{counts['triples/train']:,} triples x {info.config.train.triple_passes} per epoch")
        parts.append(model.scorer + (" (cosine)" if model.cosine else ""))
        if candidates_of(info.config.graph.candidates).resident:
            resident = "all" if info.groups == 2 else f"those of 2 of {info.groups} groups"
            parts.append(f"{info.config.graph.candidates} over {resident} entities")
    if len(info.sources) == 2:
        parts.append(f"coupling {info.coupling}, alpha {info.config.loss.alpha:g}")
        shares = [100 * counts.get(f"aligned_ends/{ends}", 0) / counts["triples/train"] for ends in range(3)]
        parts.append("triples with 0, 1, 2 aligned ends: " + ", ".join(f"{share:.0f} %" for share in shares))
    parts += [f"{model.dim} dimensions", f"{info.lanes} lanes, {info.groups} groups of {layout.shards} shards"]
    return ", ".join(parts)
