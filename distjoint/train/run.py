"""`train`: check what is asked, make or find the run's folder, and run the workers."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table

from distjoint.config import Config
from distjoint.data.dataset import Dataset
from distjoint.errors import DistjointError, UsageError
from distjoint.evaluate.run import evaluate
from distjoint.machine import memory
from distjoint.progress import Progress, Silent
from distjoint.recipes import Recipe
from distjoint.recipes import find as find_recipe
from distjoint.recipes.load import load_config
from distjoint.runs import journal
from distjoint.runs.folder import RUN, RunFolder, RunInfo, Status, sizes_of
from distjoint.storage import Location, Options, locate
from distjoint.table.layout import Layout
from distjoint.table.parts import Scheme
from distjoint.train import initial
from distjoint.train.full import bytes_needed
from distjoint.train.residency import choose_groups, shard_bytes, slots_needed
from distjoint.train.worker import Worker, local_place

CONFIG = "config.yaml"
TEST = "test.json"
_COPIED = ("rows.parquet", "relations.parquet")


@dataclass(frozen=True)
class Result:
    """A finished training.

    run        URL of the run's folder
    metrics    the last epoch's: losses, samples, rates, and valid_mrr where it was measured
    history    every epoch's
    test       link prediction on the test split by the checkpoint that the run keeps as its result, where
               train.final_test asks for it; as `evaluate` has it, and in the run's folder as test.json
    """

    run: str
    metrics: dict[str, Any]
    history: list[dict[str, Any]] = field(repr=False)
    test: dict[str, Any] | None = None

    def to_dict(self) -> dict[str, Any]:
        return {"run": self.run, "metrics": self.metrics, "history": self.history, "test": self.test}

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        table = Table(box=None, pad_edge=False, show_header=False)
        test = self.test or {}
        among = "test (typed)" if test.get("typed") else "test"
        tested = {f"{among} {name}": value for name, value in test.items() if isinstance(value, float)}
        for name, value in {"run": self.run, **self.metrics, **tested}.items():
            table.add_row(name, f"{value:,.5g}" if isinstance(value, float) else str(value))
        yield table


def train(
    dataset: str | None,
    out: str,
    config: Config | Mapping[str, Any] | None = None,
    *,
    recipe: str | None = None,
    any_graph: bool = False,
    workers: int = 1,
    resume: bool = False,
    go_on: bool = False,
    overwrite: bool = False,
    storage_options: Options | None = None,
    progress: Progress | None = None,
) -> Result:
    """Train vectors on a prepared dataset.

    dataset           URL of what `prepare` made; None when resuming
    out               URL of the run's folder
    config            a Config, or a mapping of `section.key` to value on top of the recipe, or of the defaults
    recipe            name of one of `distjoint recipes`
    any_graph         train by the recipe though it is for another graph
    workers           1 trains in this process; more start Ray workers
    resume            continue the run at `out` after its newest checkpoint
    go_on             do so where there is a run at `out`, with this dataset and configuration; else begin it
    overwrite         replace the run at `out`
    storage_options   for the filesystem of the URLs
    raises            UsageError when the request does not fit the data; DivergedError when a loss is not finite
    """
    progress = progress or Silent()
    run = locate(out, storage_options)
    config = _tree(config, recipe)
    if go_on and (run / RUN).exists():
        _refuse_other(run, dataset, config)
        resume = True
    if resume:
        info = RunFolder.open(run).info
        data = Dataset.open(info.dataset, storage_options)
        if data.checksum() != info.dataset_checksum:
            raise UsageError(f"{info.dataset}: changed since {out} was started; start a new run")
    else:
        if dataset is None:
            raise UsageError("train needs a dataset; make one with 'distjoint prepare'")
        data = Dataset.open(dataset, storage_options)
        if recipe is not None:
            _check_graph(find_recipe(recipe), data, any_graph, progress)
        info = plan(data, dataset, config, workers)
        with _initial(info, data, storage_options, progress) as found:
            _make_folder(run, info, data, overwrite, found)
    progress.say(summary(info, data))
    info = _set_status(run, info, "running")
    try:
        _run_workers(run, info, data, workers, storage_options, progress)
    except KeyboardInterrupt:
        _set_status(run, RunInfo.read(run), "stopped")
        raise
    except BaseException:
        _set_status(run, RunInfo.read(run), "failed")
        raise
    _set_status(run, RunInfo.read(run), "finished")
    if info.config.train.init:
        (run / initial.FOLDER).delete()
    history = journal.read(run)
    asked, typed = info.config.train.final_test, info.config.graph.typed
    test = _final_test(run, out, typed, storage_options, progress) if asked else None
    return Result(out, history[-1] if history else {}, history, test)


def _final_test(run: Location, out: str, typed: bool, options: Options | None, progress: Progress) -> dict[str, Any]:
    """Rank the test split by what the run keeps as its result, and note it in the run's folder."""
    report = evaluate(out, link_prediction="test", typed=typed, storage_options=options, progress=progress).to_dict()
    found: dict[str, Any] = report["link_prediction"]
    (run / TEST).write_bytes(json.dumps({"checkpoint": report["checkpoint"], **found}, indent=1).encode())
    return found


def plan(data: Dataset, dataset: str, config: Config, workers: int) -> RunInfo:
    """Decide what a run is before it starts: sources, coupling, lanes, groups.

    raises UsageError when the dataset is too small for it, or the table for the memory
    """
    counts, layout = data.manifest.counts, data.layout
    scheme = Scheme.of(config, counts.get("cells", 0) > 0, counts.get("triples/train", 0) > 0)
    if not scheme.text and not scheme.graph:
        raise UsageError(f"{dataset}: holds neither co-occurrence counts nor training triples")
    if workers < 1:
        raise UsageError(f"--workers {workers}: at least 1")
    if config.train.validate_every and scheme.graph and not counts.get("triples/valid"):
        raise UsageError(
            f"train.validate_every={config.train.validate_every}: {dataset} has no valid triples; "
            "prepare with --valid or --valid-fraction, or set it to 0"
        )
    if config.train.final_test and not scheme.graph:
        raise UsageError("train.final_test: this run trains no graph (loss.alpha=0); set it to false")
    if config.train.final_test and not counts.get("triples/test"):
        raise UsageError(f"train.final_test: {dataset} has no test triples for it; set it to false")
    if scheme.graph and config.graph.typed and not data.has_types:
        raise UsageError(f"graph.typed: {dataset} knows no types; prepare with --types FILE, or set it to false")
    lanes = config.train.lanes or (workers if layout.shards >= 2 * workers else max(1, layout.shards // 2))
    if layout.shards < 2 * lanes:
        fewer = f", or set train.lanes={layout.shards // 2}" if layout.shards > 1 else ""
        raise UsageError(
            f"{dataset}: {layout.shards} shards are too few for {lanes} lanes, which need 2 x lanes = {2 * lanes}; "
            f"prepare with --shards {8 * lanes}{fewer}"
        )
    groups = config.train.groups or _choose_groups(scheme, layout, config, lanes, min(workers, lanes))
    if not 2 * lanes <= groups <= layout.shards:
        raise UsageError(
            f"train.groups={groups}: must lie between 2 x lanes = {2 * lanes} and the dataset's {layout.shards} shards"
        )
    if scheme.graph and config.graph.candidates != "sampled":
        _refuse_too_many_candidates(config, scheme, layout, groups)
    return RunInfo(
        dataset=dataset,
        dataset_checksum=data.checksum(),
        layout=sizes_of(layout),
        config=config,
        lanes=lanes,
        groups=groups,
        sources=tuple(name for name, on in (("text", scheme.text), ("graph", scheme.graph)) if on),  # type: ignore[misc]
        coupling=scheme.coupling,
    )


def _choose_groups(scheme: Scheme, layout: Layout, config: Config, lanes: int, workers: int) -> int:
    """As few groups as the memory allows: the resident ones of a worker's lanes must fit."""
    limit, each = config.train.memory, -(-lanes // workers)
    if limit is None or scheme.bytes(layout) <= limit * workers:
        return 2 * lanes
    groups = choose_groups(scheme, layout, lanes, each, limit)
    if groups is not None:
        return groups
    least = slots_needed(layout, layout.shards, each) * shard_bytes(scheme, layout)
    raise UsageError(
        f"train.memory={limit}: {2 * each} of the dataset's {layout.shards} shards take {least} bytes; "
        "give more memory, or prepare with more shards"
    )


def _refuse_too_many_candidates(config: Config, scheme: Scheme, layout: Layout, groups: int) -> None:
    """raises UsageError where a step over all resident entities does not fit this machine; says what would"""
    entities, dim, free = layout.aligned + layout.entities, config.model.dim, memory()

    def needed(groups: int) -> int:
        resident = scheme.bytes(layout) * min(2, groups) // groups
        return resident + bytes_needed(entities * min(2, groups) // groups, dim, bool(config.graph.dropout))

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
    parts = [f"{layout.words + layout.aligned:,} words, {layout.aligned + layout.entities:,} entities"]
    if "text" in info.sources:
        parts.append(f"{counts['cells']:,} cells")
    if "graph" in info.sources:
        parts.append(f"{counts['triples/train']:,} triples x {info.config.train.triple_passes} per epoch")
        parts.append(model.scorer + (" (cosine)" if model.cosine else ""))
        if info.config.graph.candidates != "sampled":
            resident = "all" if info.groups == 2 else f"those of 2 of {info.groups} groups"
            parts.append(f"{info.config.graph.candidates} over {resident} entities")
    if len(info.sources) == 2:
        parts.append(f"coupling {info.coupling}, alpha {info.config.loss.alpha:g}")
        shares = [100 * counts.get(f"aligned_ends/{ends}", 0) / counts["triples/train"] for ends in range(3)]
        parts.append("triples with 0, 1, 2 aligned ends: " + ", ".join(f"{share:.0f} %" for share in shares))
    parts += [f"{model.dim} dimensions", f"{info.lanes} lanes, {info.groups} groups of {layout.shards} shards"]
    return ", ".join(parts)


def _tree(config: Config | Mapping[str, Any] | None, recipe: str | None) -> Config:
    if not isinstance(config, Config):
        return load_config(overrides=config or {}, recipe=recipe)
    if recipe is not None:
        raise UsageError(
            f"recipe {recipe} is a whole configuration; give what is to be other as a mapping, not a Config"
        )
    return config


def _check_graph(recipe: Recipe, data: Dataset, any_graph: bool, progress: Progress) -> None:
    """raises UsageError where the dataset is not of the graph that the recipe is for, unless that is wanted"""
    if misfit := recipe.misfit(data.manifest.counts):
        is_error, sentence = misfit
        if is_error and not any_graph:
            scorer = recipe.settings()["model"]["scorer"]
            raise UsageError(
                f"{data.folder}: {sentence}; take recipe {scorer}, which is for any graph, or give --any-graph"
            )
        progress.say(f"{data.folder}: {sentence}")


def _refuse_other(run: Location, dataset: str | None, config: Config) -> None:
    """raises UsageError where the run that is there is not of this dataset and configuration; both values are named"""
    info, asked = RunInfo.read(run), config.model_dump(mode="json")
    there = info.config.model_dump(mode="json")
    for section, keys in asked.items():
        for key, value in keys.items():
            if there[section][key] != value:
                raise UsageError(f"{run}: is a run with {section}.{key}={there[section][key]}, not {value}")
    if dataset is not None and dataset.rstrip("/") != info.dataset.rstrip("/"):
        raise UsageError(f"{run}: is a run on {info.dataset}, not {dataset}")


@contextmanager
def _initial(
    info: RunInfo, data: Dataset, options: Options | None, progress: Progress
) -> Iterator[initial.Found | None]:
    """What `train.init` has for the rows; None without it."""
    url = info.config.train.init
    if url is None:
        yield None
        return
    scheme = Scheme.of(info.config, "text" in info.sources, "graph" in info.sources)
    with initial.find(locate(url, options), data, scheme, progress) as found:
        yield found


def _make_folder(run: Location, info: RunInfo, data: Dataset, overwrite: bool, found: initial.Found | None) -> None:
    there = {place.name.removesuffix(".part") for place in run.list()}
    if RUN in there and not overwrite:
        raise UsageError(f"{run}: is a run; continue it with --resume {run}, or give --overwrite, or another --out")
    begun = {*_COPIED, CONFIG, RUN, initial.FOLDER}
    if RUN not in there and not there <= begun:  # else it is what a start broken off has left
        raise UsageError(f"{run}: is a folder that is not empty and not a run; give another --out")
    if there:
        run.delete()
    run.make_dir()
    try:
        for name in _COPIED:
            (run / name).write_bytes((data.folder / name).read_bytes())
        (run / CONFIG).write_bytes(info.config.to_yaml().encode())
        if found:
            found.write(run, info)
        info.write(run)
    except BaseException:
        with suppress(DistjointError, OSError):
            run.delete()  # not a run yet
        raise


def _run_workers(
    run: Location, info: RunInfo, data: Dataset, workers: int, options: Options | None, progress: Progress
) -> None:
    if workers == 1:
        worker = Worker(run, info, data, local_place(info.config.train.threads), progress)
        try:
            worker.train()
        finally:
            worker.close()
    else:
        from distjoint.train import cluster  # Ray is imported only where it is used

        cluster.run(run, info, workers, options, progress)


def _set_status(run: Location, info: RunInfo, status: Status) -> RunInfo:
    info = info.model_copy(update={"status": status})
    info.write(run)
    return info
