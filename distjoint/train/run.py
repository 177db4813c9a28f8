"""`train`: check the request, make or find the run's folder, and run the workers."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table

from distjoint.base.errors import DistjointError, UsageError
from distjoint.base.progress import Progress, Silent
from distjoint.config import Config, validate
from distjoint.data.dataset import Dataset
from distjoint.data.of_run import open_dataset, placed
from distjoint.evaluate import evaluate
from distjoint.evaluate.choosing import FILE as SETS
from distjoint.evaluate.choosing import ChosenBy, read_sets, write_sets
from distjoint.recipes import Recipe
from distjoint.recipes import find as find_recipe
from distjoint.recipes.load import load_config, set_key
from distjoint.runs import journal
from distjoint.runs.checkpoint import Position, newest_position
from distjoint.runs.folder import RUN, RunFolder, RunInfo, Status
from distjoint.storage import Location, Options, locate
from distjoint.storage.lock import NAME as LOCK
from distjoint.storage.lock import Holder, Lock, hold
from distjoint.train import initial
from distjoint.train.build import local_place, scheme_of
from distjoint.train.callbacks import TrainingRun, callbacks_of
from distjoint.train.callbacks.early_stopping import EarlyStopping
from distjoint.train.callbacks.telling import Callbacks
from distjoint.train.carry import Old, write_carried
from distjoint.train.changes import CONFIG, change, edited, nothing_left, told_changes, wanted_of
from distjoint.train.memory import foreseen
from distjoint.train.options import TrainOptions
from distjoint.train.papers import unlike_the_paper
from distjoint.train.plan import check_begun, plan, summary, unread_texts
from distjoint.train.validate import check_components
from distjoint.train.worker import Worker

TEST = "test.json"
_COPIED = ("rows.parquet", "relations.parquet")
_OF_VALIDATION = ("validate", "validation_sets", "validate_every")


@dataclass(frozen=True)
class Result:
    """A finished training.

    run        URL of the run's folder
    metrics    those of the epoch whose vectors the run keeps as its result, the best one where there were
               validations: losses, samples, rates, and valid_mrr where it was measured
    history    every epoch's
    failures   how often each callback has raised something, by name; none where none has
    test       link prediction on the test split by the checkpoint that the run keeps as its result, where
               train.final_test asks for it; as `evaluate` has it, and in the run's folder as test.json
    """

    run: str
    metrics: dict[str, Any]
    history: list[dict[str, Any]] = field(repr=False)
    test: dict[str, Any] | None = None
    failures: dict[str, int] = field(default_factory=dict)

    @property
    def last_epoch(self) -> int:
        """The last epoch that was trained; `metrics["epoch"]` is the one that is kept."""
        return int(self.history[-1]["epoch"]) if self.history else 0

    def to_dict(self) -> dict[str, Any]:
        return {
            "run": self.run,
            "metrics": self.metrics,
            "last_epoch": self.last_epoch,
            "history": self.history,
            "test": self.test,
            "callback_failures": self.failures,
        }

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        table = Table(box=None, pad_edge=False, show_header=False)
        test = self.test or {}
        among = "test (typed)" if test.get("typed") else "test"
        tested = {f"{among} {name}": value for name, value in test.items() if isinstance(value, float)}
        kept = self.metrics.get("epoch", 0)
        epoch = f"{kept}, the best of {self.last_epoch}" if kept < self.last_epoch else kept
        for name, value in {"run": self.run, **self.metrics, "epoch": epoch, **tested}.items():
            table.add_row(name, f"{value:,.5g}" if isinstance(value, float) else str(value))
        for name, times in self.failures.items():
            table.add_row(f"failures of callback {name}", str(times))
        yield table


def run_training(options: TrainOptions) -> Result:
    """`train`, of checked options."""
    progress, storage = options.progress or Silent(), options.storage_options
    out = options.resume if isinstance(options.resume, str) else options.out
    if out is None:
        raise UsageError("train needs a folder for the run; give out, or resume=RUN")
    run, resume = locate(out, storage), bool(options.resume)
    if resume and options.parent:
        raise UsageError(f"a run that goes on has what it began with; leave out --from {options.parent}")
    if options.go_on and (run / RUN).exists():
        resume = True
    # A run that is there has what it took of another, which may be gone.
    old = Old.open(options.parent, storage) if options.parent and not resume else None
    base = old.config if old else RunInfo.read(run).config if options.parent else None
    config = _tree(options.config, options.recipe, base)
    if not resume:
        callbacks_of(config, options.callbacks)  # so that nothing is written where one is missing
    if resume:
        RunInfo.read(run)  # so that nothing is written where there is no run
    else:
        _refuse_folder(run, options.overwrite)
    with hold(run, "train", progress, wait=options.go_on) as lock:
        if resume:
            info, data = _continued(run, config, options, progress)
        else:
            info, data = _new(run, config, options, old, progress)
        progress.say(summary(info, data))
        callbacks = Callbacks(callbacks_of(info.config, options.callbacks))
        before = newest_position(run)
        status = _run_to_the_end(lock, info, data, callbacks, options, progress)
        if (info.config.train.init or info.old) and newest_position(run) != Position(0):
            (run / initial.FOLDER).delete()
        for line in _ended(run, info, callbacks, before if resume else None):
            progress.say(line)
        history = journal.read(run)
        kept = _kept(RunInfo.read(run), history)
        if kept and kept["epoch"] < history[-1]["epoch"]:
            progress.say(f"kept: epoch {kept['epoch']}, the best of {history[-1]['epoch']}; its figures follow")
        test = None
        if info.config.train.final_test and status == "finished":
            test = _final_test(run, out, info.config.graph.typed, storage, progress)
    return Result(out, kept, history, test, dict(callbacks.failures))


def _new(
    run: Location, config: Config, options: TrainOptions, old: Old | None, progress: Progress
) -> tuple[RunInfo, Dataset]:
    """Plan a new run and make its folder."""
    if options.settings:
        raise UsageError("settings change a run that goes on (resume); give those of a new run as config")
    if options.dataset is None:
        raise UsageError("train needs a dataset; make one with 'distjoint prepare'")
    data = Dataset.open(options.dataset, options.storage_options)
    if options.recipe is not None:
        _check_graph(find_recipe(options.recipe), data, options.any_graph, progress)
    info = placed(plan(data, options.dataset, config, options.workers), run, data)
    if old:
        info = old.noted(info, old.check(info, data))
    check_begun(info)
    progress.say(foreseen(info, data, options.workers, _stays_here(options.workers), not options.any_memory))
    if "graph" in info.sources:
        for said in (unlike_the_paper(config), unread_texts(config, data)):
            if said is not None:
                progress.say(said)
    sets = check_components(config, info.sources, data, options.dataset, options.storage_options)
    sets = [*(read_sets(old.run.folder) if old else []), *sets]
    with _initial(info, data, options.storage_options, progress) as found:
        _make_folder(run, info, data, options.overwrite, found, old, sets, progress)
    return info, data


def _stays_here(workers: int) -> bool:
    """Whether workers will run on this machine: not where Ray is connected to a cluster, or told of one."""
    if workers == 1:
        return True
    ray = sys.modules.get("ray")
    return not os.environ.get("RAY_ADDRESS") and not (ray and ray.is_initialized())


def _continued(run: Location, config: Config, options: TrainOptions, progress: Progress) -> tuple[RunInfo, Dataset]:
    """A run to go on with, changed as is wanted, and its dataset."""
    info, settings = RunInfo.read(run), options.settings or {}
    if not options.resume:
        settings = {**wanted_of(run, info, config), **settings}
    data = open_dataset(RunFolder(run, info), options.dataset)
    here = placed(info, run, data)
    if here.dataset != info.dataset:
        progress.say(f"{run}: its dataset is in {here.dataset} now, and was in {info.dataset}")
    info = change(run, here, data, settings)
    if any(getattr(info.config.train, key) != getattr(here.config.train, key) for key in _OF_VALIDATION):
        sets = check_components(info.config, info.sources, data, info.dataset, options.storage_options)
        write_sets(run, sets)
    for note in (*told_changes(here, info), edited(run, here, settings)):
        if note is not None:
            progress.say(note)
    if info.changes:
        (run / CONFIG).write_bytes(info.config.to_yaml().encode())
    return info, data


def _run_to_the_end(
    lock: Lock, info: RunInfo, data: Dataset, callbacks: Callbacks, options: TrainOptions, progress: Progress
) -> Status:
    """Train what is left, and note in the run how it ended, unless another process has taken it over."""
    run = lock.folder
    info = _set_status(run, info, "running")
    status: Status = "failed"
    epoch = newest_position(run).epoch
    history = [line for line in journal.read(run) if line["epoch"] <= epoch]
    told = TrainingRun(run.absolute, run, info.config, info.sources, epoch, history, progress)
    try:
        if not callbacks.start(told):
            _run_workers(run, info, data, callbacks, options, progress)
        stop = callbacks.stopped_by
        status = "stopped" if stop and not stop[1].finished else "finished"
    except KeyboardInterrupt:
        status = "stopped"
        raise
    finally:
        if lock.taken_by is None:
            _set_status(run, RunInfo.read(run), status)
        callbacks.end(status)
    return status


def _ended(run: Location, info: RunInfo, callbacks: Callbacks, before: Position | None) -> Iterator[str]:
    """What to say of how a run ended.

    before   where it stood when it went on; None for a new one
    """
    at, epochs = newest_position(run), info.config.train.epochs
    name, stop = callbacks.stopped_by or ("", None)
    if stop and not (name == EarlyStopping.name and at == before):
        why = f": {stop.reason}" if stop.reason else ""
        again = "" if stop.finished else f"; go on with: distjoint train --resume {shlex.quote(str(run))}"
        yield f"{run}: callback {name} ended the run after epoch {at.epoch} of {epochs}{why}{again}"
    elif at == before:
        yield nothing_left(run, info, at)


def _kept(info: RunInfo, history: list[dict[str, Any]]) -> dict[str, Any]:
    """The metrics of the epoch whose vectors are the run's result."""
    epoch = Position.of(info.result).epoch if info.result else 0
    return next((line for line in history if line["epoch"] == epoch), history[-1] if history else {})


def _final_test(run: Location, out: str, typed: bool, options: Options | None, progress: Progress) -> dict[str, Any]:
    """Rank the test split by what the run keeps as its result, and note it in the run's folder."""
    report = evaluate(out, link_prediction="test", typed=typed, storage_options=options, progress=progress).to_dict()
    found: dict[str, Any] = report["link_prediction"]
    (run / TEST).write_bytes(json.dumps({"checkpoint": report["checkpoint"], **found}, indent=1).encode())
    return found


def _tree(config: Config | Mapping[str, Any] | None, recipe: str | None, base: Config | None) -> Config:
    """The configuration. base: what it is changed from, where no whole one is given; by default the defaults"""
    if base and recipe is None and not isinstance(config, Config):
        tree = base.model_dump(mode="json")
        for key, value in (config or {}).items():
            set_key(tree, key, value)
        return validate(tree)
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


@contextmanager
def _initial(
    info: RunInfo, data: Dataset, options: Options | None, progress: Progress
) -> Iterator[initial.Found | None]:
    """What `train.init` has for the rows; None without it."""
    urls = info.config.train.init
    if not urls:
        yield None
        return
    files = [locate(url, options) for url in ([urls] if isinstance(urls, str) else urls)]
    with initial.find(files, data, scheme_of(info), progress) as found:
        yield found


def _refuse_folder(run: Location, overwrite: bool) -> None:
    """raises UsageError where something else lies at the output, or a run that is not to be replaced"""
    there = {place.name.removesuffix(".part") for place in run.list() if not place.name.startswith(LOCK)}
    if RUN in there and not overwrite:
        running = Holder.read(run / LOCK)
        if running is not None and not running.is_gone():
            return  # what holds it says so
        raise UsageError(
            f"{run}: is a run; continue it with --resume {shlex.quote(str(run))}, or give --overwrite, or another --out"
        )
    begun = {*_COPIED, CONFIG, RUN, SETS, initial.FOLDER, initial.GIVEN}
    if RUN not in there and not there <= begun:  # else it is what a start broken off has left
        raise UsageError(f"{run}: is a folder that is not empty and not a run; give another --out")


def _clear(run: Location) -> None:
    """Delete all that is in a run's folder but the lock; what makes it a run goes first."""
    (run / RUN).delete()
    for place in run.list():
        if not place.name.startswith(LOCK):
            place.delete()


def _make_folder(
    run: Location,
    info: RunInfo,
    data: Dataset,
    overwrite: bool,
    found: initial.Found | None,
    old: Old | None,
    sets: Sequence[ChosenBy],
    progress: Progress,
) -> None:
    _refuse_folder(run, overwrite)  # another process may have made a run there meanwhile
    _clear(run)
    try:
        for name in _COPIED:
            (run / name).write_bytes((data.folder / name).read_bytes())
        (run / CONFIG).write_bytes(info.config.to_yaml().encode())
        if found:
            found.note(run)
        if old:
            write_carried(old, run, info, data, found, progress)
        elif found:
            found.write(run, info)
        if sets:
            write_sets(run, sets)
        info.write(run)
    except BaseException:
        with suppress(DistjointError, OSError):
            _clear(run)  # not a run yet
        raise


def _run_workers(
    run: Location, info: RunInfo, data: Dataset, callbacks: Callbacks, options: TrainOptions, progress: Progress
) -> None:
    if options.workers == 1:
        worker = Worker(run, info, data, local_place(info.config.train.threads), progress, callbacks.tell)
        try:
            worker.train()
        finally:
            worker.close()
    else:
        from distjoint.train import cluster  # Ray is imported only where it is used

        cluster.run(run, info, data, options.workers, options.storage_options, progress, callbacks.tell)


def _set_status(run: Location, info: RunInfo, status: Status) -> RunInfo:
    info = info.model_copy(update={"status": status})
    info.write(run)
    return info
