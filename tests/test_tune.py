"""The search for settings: what a space may be, what is refused, and a whole search on Ray Tune."""

from __future__ import annotations

import json
from contextlib import nullcontext, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from small import FAST, LEAN, Small, info

import distjoint
from distjoint.base.errors import UsageError
from distjoint.config import Config
from distjoint.evaluate.tables import as_text
from distjoint.recipes.load import load_config
from distjoint.storage import locate
from distjoint.tune import run
from distjoint.tune.outcome import pareto, ranked, recipe_text
from distjoint.tune.search import Search
from distjoint.tune.space import PRESETS, OneOf, Range, check_space, read_space, settled
from distjoint.tune.trial import repeated, reported
from distjoint.tune.trials import Trial, read_trials

unit = pytest.mark.unit
BASE = {**FAST, "train.epochs": 4, "train.triple_passes": 1}


def written(folder: Path, **keys: Any) -> str:
    file = folder / "space.yaml"
    file.write_text(yaml.safe_dump({key.replace("__", "."): value for key, value in keys.items()}))
    return str(file)


@unit
@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_a_space_with_the_defaults_in_it(name: str) -> None:
    space, base = read_space(name), Config()
    check_space(space, base)
    around = space.around(base)
    first = around.first(base)
    assert first is not None
    assert set(first) == set(space.varied)
    for key, each in around.varied.items():
        assert each.has(first[key]), key
    assert settled(base, {**space.fixed, **first}).model.dim == 100


@unit
def test_a_space_is_values_choices_and_ranges(tmp_path: Path) -> None:
    file = written(
        tmp_path,
        model__cosine=True,
        model__dim=[8, 16],
        graph__learning_rate={"low": 0.01, "high": 1, "log": True},
        graph__batch={"low": 16, "high": 64},
    )
    space = read_space(file)
    assert space.fixed == {"model.cosine": True}
    assert space.varied == {
        "model.dim": OneOf((8, 16)),
        "graph.learning_rate": Range(0.01, 1, log=True),
        "graph.batch": Range(16, 64, whole=True),
    }
    base = load_config(overrides={"model.dim": 4, "graph.batch": 8})
    around = space.around(base)
    assert around.first(base) == {"model.dim": 4, "graph.learning_rate": 0.05, "graph.batch": 8}
    assert (around.varied["model.dim"], around.varied["graph.batch"]) == (OneOf((4, 8, 16)), Range(8, 64, whole=True))


@unit
@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"model__dmi": [8, 16]}, "unknown key 'model.dmi'; did you mean 'model.dim'?"),
        ({"model__scorer": ["transe", "transh"]}, "model.scorer = 'transh': choose transe"),
        ({"graph__learning_rate": {"low": -1, "high": 1}}, "graph.learning_rate = -1"),
        ({"graph__learning_rate": {"low": 0, "high": 1, "log": True}}, "low must lie above 0"),
        ({"graph__learning_rate": {"low": 1, "high": 0.1}}, "low must lie below high"),
        ({"graph__learning_rate": {"low": 1}}, "lacks low or high"),
        ({"graph__learning_rate": {"min": 1, "max": 2}}, "has max; write a value, a list"),
        ({"model__dim": []}, "model.dim: []: write a value, a list of choices"),
        ({"model__dim": 8}, "nothing varies"),
        ({"dim": [8, 16]}, "dim: write keys as section.key"),
        ({"train__epochs": [3, 4]}, "train.epochs: cannot vary"),
    ],
)
def test_a_bad_space_is_named_in_one_sentence(keys: dict[str, Any], says: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        check_space(read_space(written(tmp_path, **keys)), Config())
    assert says in str(caught.value)
    assert "space.yaml" in str(caught.value)
    assert "\n" not in str(caught.value)


@unit
def test_bad_requests_are_named(small: Small, tmp_path: Path) -> None:
    pytest.importorskip("optuna", reason="tune needs the extra 'tune'")
    space = written(tmp_path, model__dim=[8, 16])
    (tmp_path / "full").mkdir()
    (tmp_path / "full/thesis.txt").write_text("mine")
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"space": "graphs"}, "--space graphs: choose graph, text, joint, or give a YAML file"),
        ({"metric": "accuracy"}, "nothing is called accuracy"),
        ({"metric": ["mrr", "hits@1", "hits@10"]}, "name one, or two different ones"),
        ({"metric": "test_mrr"}, "test_mrr names a test set"),
        (
            {"metric": "hits@1", "config": {"train.validate.mrr": 1}},
            r"train\.validate has mrr; leave out one of the two",
        ),
        ({"trials": 0}, "--trials is 0; it must be at least 1"),
        ({"hours": 0}, "--hours 0: give more than 0"),
        ({"recipe": "complx"}, "did you mean 'complex'"),
        ({"dataset": small.text}, "text alone has no metric by itself"),
        ({"out": str(tmp_path / "full")}, "is a folder that is not empty and no search"),
    ]
    for request, says in wrong:
        with pytest.raises(UsageError, match=says):
            distjoint.tune(**{"dataset": small.joint, "out": str(tmp_path / "out"), "space": space, **request})
        assert not (tmp_path / "out").exists()


@unit
def test_trials_are_ranked_by_their_mean_over_seeds_and_a_front_holds_what_nothing_beats(tmp_path: Path) -> None:
    trials = [
        Trial("lucky", {}, score=0.5, parts={"mrr": 0.5, "words": 0.1}, repeats=(0.1, 0.1)),
        Trial("steady", {}, score=0.4, parts={"mrr": 0.4, "words": 0.2}, repeats=(0.4, 0.4), epochs=3),
        Trial("once", {}, score=0.3, parts={"mrr": 0.3, "words": 0.2}),
        Trial("broken", {}, error="diverged", state="failed"),
    ]
    assert [trial.name for trial in ranked(trials)] == ["steady", "lucky", "once", "broken"]
    assert set(pareto(trials, ["mrr", "words"])) == {"lucky", "steady"}
    config = load_config(overrides={"model.scorer": "complex", "train.threads": 7})
    file = tmp_path / "best.yaml"
    file.write_text(
        recipe_text(config, trials[1], "Best of 4 trials.", "mine (3 entities, 2 relations, 9 training triples)")
    )
    assert load_config(recipe=str(file)) == load_config(overrides={"model.scorer": "complex"})
    assert "metric 0.4000, 0.4000 on average over 3 seeds" in file.read_text()


@pytest.fixture
def one_by_one(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The trials of a search in this process, without Ray, with what they report: the base, four others, one bad."""
    pytest.importorskip("optuna", reason="tune needs the extra 'tune'")
    from ray import tune

    reports: list[dict[str, Any]] = []

    def search(self: Search, progress: Any) -> None:
        others = [{"graph.learning_rate": rate, "model.dim": 8} for rate in (1e-6, 0.01, 0.3, 0.5)]
        for number, settings in enumerate([dict(self.task.first or {}), *others, {"graph.batch": -1}]):
            monkeypatch.setattr(
                tune, "get_context", lambda name=f"t{number}": SimpleNamespace(get_trial_id=lambda: name)
            )
            with suppress(UsageError):
                reported(self.task, settings)

    def again(self: Search, wanted: Any, progress: Any) -> list[str]:
        return [repeated(self.task, settings, name, seed) for name, settings, seed in wanted]

    monkeypatch.setattr(tune, "report", reports.append)
    monkeypatch.setattr(Search, "run", search)
    monkeypatch.setattr(Search, "repeat", again)
    monkeypatch.setattr(run, "ray_session", lambda *_, **__: nullcontext())
    monkeypatch.setattr("ray.cluster_resources", lambda: {"CPU": 2})
    return reports


@unit
def test_what_a_search_finds_is_a_recipe_a_table_and_runs_like_any_other(
    small: Small, tmp_path: Path, one_by_one: list[dict[str, Any]]
) -> None:
    space = written(tmp_path, graph__learning_rate={"low": 1.0e-6, "high": 0.5, "log": True}, model__dim=[8, 16])
    out = tmp_path / "out"
    with pytest.raises(UsageError, match="--cores 9: the Ray cluster has 2"):
        distjoint.tune(small.graph, str(tmp_path / "wide"), space=space, config=BASE, cores=9)
    found = distjoint.tune(small.graph, str(out), space=space, trials=6, config={**BASE, "train.epochs": 2}, repeats=1)
    assert [trial.state for trial in found.trials].count("finished") == 5
    assert (found.trials[-1].state, found.trials[-1].score) == ("failed", None)
    assert "graph.batch = -1" in str(found.trials[-1].error)
    assert [line["epoch"] for line in one_by_one] == [1, 2] * 5
    assert all(line["score"] <= after["score"] for line, after in zip(one_by_one[::2], one_by_one[1::2], strict=True))
    best = found.trials[0]
    assert best.name == found.best
    assert [len(trial.repeats) for trial in found.trials[:4]] == [1, 1, 1, 0]
    assert best.worth == max(trial.worth for trial in found.trials[:3])
    assert sum(found.importance["score"].values()) == pytest.approx(1)
    assert info(out / "trials" / best.name)["config"]["train"]["seed"] == 0
    made = distjoint.train(small.graph, str(tmp_path / "best"), recipe=found.recipe)
    assert made.metrics["valid_score"] == pytest.approx(best.score)
    assert "What decided score" in as_text(found)


@unit
def test_two_metrics_give_a_front_with_a_recipe_each_and_a_plot(
    small: Small, tmp_path: Path, one_by_one: list[dict[str, Any]]
) -> None:
    pytest.importorskip("matplotlib", reason="tune needs the extra 'tune'")
    space = written(tmp_path, graph__learning_rate={"low": 1.0e-6, "high": 0.5, "log": True}, model__dim=[8, 16])
    request: dict[str, Any] = {"space": space, "config": {**BASE, "train.epochs": 1}, "metric": ["mrr", "hits@1"]}
    found = distjoint.tune(small.graph, str(tmp_path / "out"), **request, repeats=0)
    assert {"mrr", "hits@1", "score", "epoch"} <= set(one_by_one[0])
    assert found.front
    for name in found.front:
        assert distjoint.load_config(recipe=str(tmp_path / f"out/pareto-{name}.yaml")).train.validate["mrr"] == 1
    assert (tmp_path / "out/pareto.png").read_bytes().startswith(b"\x89PNG")
    assert "on the Pareto front of mrr and hits@1" in as_text(found)


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A small cluster."""
    pytest.importorskip("optuna", reason="tune needs the extra 'tune'")
    ray = pytest.importorskip("ray")
    for name, value in {"RAY_AUTH_MODE": "disabled", **LEAN}.items():
        monkeypatch.setenv(name, value)
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="error")
    yield
    ray.shutdown()


@pytest.mark.ray
@pytest.mark.usefixtures("cluster")
def test_a_search_finds_a_recipe_that_trains_and_is_the_same_when_it_goes_on(small: Small, tmp_path: Path) -> None:
    space = written(tmp_path, graph__learning_rate={"low": 1.0e-6, "high": 0.5, "log": True}, model__dim=[8, 16])
    out = tmp_path / "out"
    request: dict[str, Any] = {"space": space, "trials": 5, "config": BASE, "repeats": 1}
    found = distjoint.tune(small.graph, str(out), **request)
    assert len(found.trials) == 5
    assert sum(trial.base for trial in found.trials) == 1
    assert {trial.state for trial in found.trials} <= {"finished", "pruned"}
    assert sum(len(trial.repeats) for trial in found.trials) == 3
    assert found.trials[0].name == found.best
    runs = [out / "trials" / trial.name for trial in found.trials]
    assert all(info(run)["status"] in ("finished", "stopped") for run in runs)
    assert json.loads((out / "tune.json").read_text())["best"] == found.best
    text = str(distjoint.load_config(recipe=found.recipe).model.dim)
    assert text in ("8", "16")
    made = distjoint.train(small.graph, str(tmp_path / "best"), recipe=found.recipe)
    assert made.metrics["valid_score"] == pytest.approx(found.trials[0].score)
    again = distjoint.tune(small.graph, str(out), **request)
    assert [trial.name for trial in again.trials] == [trial.name for trial in found.trials]
    with pytest.raises(UsageError, match="is a search with another space; give another --out"):
        distjoint.tune(small.graph, str(out), **{**request, "space": written(tmp_path, model__dim=[8])})
    assert len(read_trials(locate(str(out)))) == 5
