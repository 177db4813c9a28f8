"""`tune`: check the request, run or continue the search, repeat the best, write what was found."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from distjoint.base.errors import DistjointError, UsageError
from distjoint.base.machine import cores
from distjoint.base.progress import Progress, Silent
from distjoint.base.ray_session import ray_session
from distjoint.config import Config
from distjoint.data.dataset import Dataset
from distjoint.recipes import find
from distjoint.recipes.load import load_config, parse_settings
from distjoint.registry import plugin_modules
from distjoint.storage import Location, locate
from distjoint.storage.lock import NAME as LOCK
from distjoint.storage.lock import hold
from distjoint.train.objective import Objective
from distjoint.train.plan import plan
from distjoint.train.validate import check_components
from distjoint.tune.options import TuneOptions
from distjoint.tune.outcome import BEST, JSON, PLOT, Outcome, importance, pareto, plot_front, ranked, recipe_text
from distjoint.tune.search import Search, check_packages
from distjoint.tune.space import SearchSpace, check_space, read_space, settled, value_of
from distjoint.tune.trial import REPEATS, Shared
from distjoint.tune.trials import Trial, close_broken_off, reached, read_trials

_REQUEST = "request.json"
_REPEATED = 3
"""How many of the best are repeated with other seeds."""


def run_tuning(options: TuneOptions) -> Outcome:
    """`tune`, of checked options."""
    check_packages()
    progress, folder = options.progress or Silent(), locate(options.out, options.storage_options)
    data = Dataset.open(options.dataset, options.storage_options)
    space, base = read_space(options.space, options.storage_options), _base(options, tuple(options.metric), data)
    metrics = tuple(options.metric) if len(options.metric) == 2 else ()  # of one, it is the weighted mean
    check_space(space, base)
    space = space.around(base)
    sources = _check(settled(base, space.fixed, space.name), data, options)
    _claim(folder, options, data, space, base, metrics)
    task = Shared(
        data.folder.absolute,
        folder.absolute,
        base,
        space.fixed,
        space.first(base),
        options.cores,
        options.storage_options,
        tuple(plugin_modules()),
    )
    search = Search(folder, task, space, metrics, options.trials, options.hours, options.seed, options.prune)
    if task.first is None:
        outside = [key for key, each in space.varied.items() if not each.has(value_of(base, key))]
        progress.say(f"{', '.join(outside)}: the base has no value here that fits the space; no trial is the base")
    with hold(folder, "tune", progress), ray_session(progress, dashboard=False):
        _check_room(options.cores)
        search.run(progress)
        close_broken_off(folder)
        trials = read_trials(folder)
        _refuse_without_result(folder, trials)
        trials = _repeat(search, trials, options.repeats, progress)
    return _write(folder, data, space, task, metrics, trials, sources)


def _base(options: TuneOptions, metrics: Sequence[str], data: Dataset) -> Config:
    """The configuration that settings go on top of: it validates, and keeps one checkpoint besides the best."""
    if options.recipe is not None and (misfit := find(options.recipe).misfit(data.manifest.counts)):
        is_error, sentence = misfit
        if is_error and not options.any_graph:
            raise UsageError(f"{data.folder}: {sentence}; take another recipe, or give --any-graph")
    given = dict(parse_settings(options.config or {}))
    config = load_config(overrides={"train.validate_every": 1, **given}, recipe=options.recipe)
    wanted: dict[str, Any] = {"train.final_test": False, "train.keep": 1}
    if not config.train.validate_every:
        wanted["train.validate_every"] = 1
    named = config.train.validate or dict.fromkeys(metrics, 1.0)
    missing = [name for name in metrics if name not in named]
    if missing or (len(metrics) == 1 and len(named) > 1):
        name = (missing or metrics)[0]
        raise UsageError(
            f"--metric {name}: train.validate has {', '.join(named)}; leave out one of the two, or name the same two "
            "in both, for a Pareto front"
        )
    return settled(config, {**wanted, "train.validate": named}, "config")


def _check(config: Config, data: Dataset, options: TuneOptions) -> tuple[str, ...]:
    """Whether a run on the dataset can be measured by the metric; which losses train. raises UsageError"""
    info = plan(data, options.dataset, config, 1)
    check_components(config, info.sources, data, options.dataset, options.storage_options)
    objective = Objective.of(config, info.sources)
    if not objective.weights:
        raise UsageError(
            f"{options.dataset}: text alone has no metric by itself; name word similarity sets: "
            "--set train.validation_sets=FILES --set train.validate.NAME=1"
        )
    return info.sources


def _claim(
    folder: Location, options: TuneOptions, data: Dataset, space: SearchSpace, base: Config, metrics: Sequence[str]
) -> None:
    """Note what is searched in its folder. raises UsageError where another search, or something else, lies there"""
    request = {
        "dataset": data.manifest.fingerprint(),
        "space": {key: repr(each) for key, each in space.varied.items()} | dict(space.fixed),
        "base": base.model_dump(mode="json"),
        "metric": list(metrics),
        "trials": options.trials,
        "seed": options.seed,
        "prune": options.prune,
    }
    request = json.loads(json.dumps(request))
    place = folder / _REQUEST
    if place.exists():
        before = place.read_json()
        other = [key for key in request if before.get(key) != request[key]]
        if other:
            raise UsageError(
                f"{folder}: is a search with another {' and '.join(other)}; give another --out, or the request that it "
                "began with to go on"
            )
        return
    if [each for each in folder.list() if not each.name.startswith(LOCK)]:
        raise UsageError(f"{folder}: is a folder that is not empty and no search; give another --out")
    folder.make_dir()
    place.write_json(request)


def _check_room(wanted: int) -> None:
    import ray

    there = int(ray.cluster_resources().get("CPU", 0)) or cores()
    if wanted > there:
        raise UsageError(f"--cores {wanted}: the Ray cluster has {there}, so no trial could begin; give fewer")


def _refuse_without_result(folder: Location, trials: Sequence[Trial]) -> None:
    if any(trial.score is not None for trial in trials):
        return
    errors = [trial.error for trial in trials if trial.error]
    why = f"the first that failed: {errors[0]}" if errors else "none was validated in time; give more --hours"
    raise DistjointError(f"{folder}: none of {len(trials)} trials came to a result; {why}")


def _repeat(search: Search, trials: list[Trial], repeats: int, progress: Progress) -> list[Trial]:
    """The trials, the best three of them with their scores by other seeds."""
    if not repeats:
        return trials
    best = [trial for trial in ranked(trials) if trial.score is not None][:_REPEATED]
    seed = search.task.base.train.seed
    wanted = [(trial.name, trial.settings, seed + 1 + more) for trial in best for more in range(repeats)]
    search.repeat(wanted, progress)
    scores: dict[str, list[float]] = {}
    for name, _, other in wanted:
        score = reached(search.folder / REPEATS / f"{name}-seed-{other}")[2]
        scores.setdefault(name, []).append(score or 0.0)
    return [replace(trial, repeats=tuple(scores.get(trial.name, ()))) for trial in trials]


def _write(
    folder: Location,
    data: Dataset,
    space: SearchSpace,
    task: Shared,
    metrics: tuple[str, ...],
    trials: Sequence[Trial],
    sources: tuple[str, ...],
) -> Outcome:
    """The best settings as a recipe, those of a Pareto front too, and all of it as JSON."""
    order = ranked(trials)
    best, counts = order[0], data.manifest.counts
    graph = "any"
    if "graph" in sources:
        sizes = (counts.get("entities", 0), counts.get("relations", 0), counts.get("triples/train", 0))
        entities, relations, triples = sizes
        name = "_".join(data.folder.name.split()) or "graph"
        graph = f"{name} ({entities:,} entities, {relations:,} relations, {triples:,} training triples)"

    def write(trial: Trial, name: str) -> None:
        title = f"Best of {len(trials)} trials in space {space.name}." if trial is best else f"Trial {trial.name}."
        text = recipe_text(task.config(trial.settings), trial, title, graph)
        (folder / name).write_bytes(text.encode())

    write(best, BEST)
    front = pareto(order, metrics) if len(metrics) == 2 else []
    for trial in order:
        if trial.name in front:
            write(trial, f"pareto-{trial.name}.yaml")
    if front:
        plot_front(order, space, metrics, folder / PLOT)
    shares = importance(order, space, metrics)
    outcome = Outcome(str(folder), metrics, tuple(order), best.name, str(folder / BEST), shares, tuple(front))
    (folder / JSON).write_json(outcome.to_dict())
    return outcome
