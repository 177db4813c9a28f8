"""A run that goes on from another on a dataset that grew: what it takes over, what it refuses, and how it stops."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small import FAST, SHARDS, Small, Train, assert_same_bits, config, info, league, tensors

import distjoint
from distjoint.base.errors import DistjointError, UsageError
from distjoint.data.dataset import Triples
from distjoint.evaluate.breakdown import growths
from distjoint.evaluate.tables import as_text
from distjoint.runs.folder import CheckpointManifest, RunFolder
from distjoint.table.layout import Layout
from distjoint.train import train
from distjoint.train.worker import Worker

pytestmark = pytest.mark.unit

NEW = [
    ("newcomer_2", "knows", "coacha"),
    ("teamz", "plays_against", "teama"),
    ("teama", "liked_by", "fan_1"),
    ("teamz", "liked_by", "fan_1"),
]
MADE = ("T", "T.gradient")
"""Parts that are made of others before the first triple."""


@pytest.fixture(scope="module")
def grown(small: Small, tmp_path_factory: pytest.TempPathFactory) -> str:
    """URL of the joint dataset with a team, two people, a relation and some words more."""
    folder = tmp_path_factory.mktemp("grown")
    (folder / "new.tsv").write_text("".join("\t".join(triple) + "\n" for triple in NEW))
    (folder / "new.txt").write_text("teamz plays teama with commona topicza\n" * 6)
    given = {"corpus": str(folder / "new.txt"), "triples": str(folder / "new.tsv"), "header": False}
    distjoint.prepare(str(folder / "data"), parent=small.joint, **given)
    return str(folder / "data")


def by_row(run: Path, epoch: int | None = None) -> dict[str, dict[int, np.ndarray]]:
    """Every part of a run by row id."""
    folder = RunFolder.open(str(run))
    layout, found = folder.layout, tensors(run, epoch)
    rows: dict[str, dict[int, np.ndarray]] = {}
    for key, values in found.items():
        shard, _, name = key.partition("/")
        if shard != "dense":
            ids = layout.rows_of(int(shard))
            of_entity = name.startswith(("X", "T", "pairs.X"))
            ids = ids[layout.is_entity(ids) if of_entity else layout.is_word(ids)]
            rows.setdefault(name, {}).update(zip(ids.tolist(), values, strict=True))
    return rows


def moved(before: dict[int, np.ndarray], after: dict[int, np.ndarray]) -> float:
    """Mean distance that rows of before have moved."""
    return float(np.mean([np.linalg.norm(after[row] - value) for row, value in before.items()]))


@pytest.mark.parametrize("coupling", ["described", "fields", "dual", "soft"])
def test_frozen_rows_relations_and_maps_keep_their_bits_and_new_ones_learn(
    coupling: str, known: Train, grown: str, tmp_path: Path
) -> None:
    settings = {"model.coupling": coupling}
    old, run = known(settings), tmp_path / "run"
    changes = {"train.freeze": ["old"], "train.epochs": 1}
    train(grown, str(run), changes, parent=str(old))
    before, after = by_row(old), by_row(run)
    first = RunFolder.open(str(old)).layout.rows
    assert before.keys() == after.keys()
    for name in before.keys() - {*MADE}:
        assert all(np.array_equal(value, after[name][row]) for row, value in before[name].items()), name
        assert max(after[name]) > first, "there are new rows"
    dense, then = ({k: v for k, v in tensors(of).items() if k.startswith("dense/")} for of in (run, old))
    count = len(RunFolder.open(str(old)).relations())
    for name, values in then.items():
        if "relation" not in name:
            assert np.array_equal(dense[name], values), name
            continue
        more = (len(dense[name]) - len(values)) // 2
        assert more == 1
        kept = np.delete(dense[name], [count, 2 * count + 1], axis=0)
        assert np.array_equal(kept, values), name
    found = distjoint.load(str(run))
    start = np.linalg.norm(found.vector("teamz", kind="word"))
    assert start > 0.1, "a new word has learned from its text"
    theirs = distjoint.load(str(old))
    for name in ("teama", "coachb", "commona"):
        assert np.array_equal(found.vector(name, kind="word"), theirs.vector(name, kind="word")), name
    for name in ("teama", "teama_player_1", "city_3"):
        same = np.allclose(found.vector(name, kind="entity"), theirs.vector(name, kind="entity"), atol=1e-5)
        centred = coupling in ("described", "fields") and name == "teama"
        assert same or centred, "all words are centred anew"
    assert info(run)["carried"][0]["run"] == str(old) and info(run)["carried"][0]["epochs"] == FAST["train.epochs"]
    assert not (run / "initial").exists()


def test_names_of_a_grown_run_have_the_vectors_of_their_rows(known: Train, grown: str, tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(grown, str(run), {"train.epochs": 1}, parent=str(known({"model.coupling": "soft"})))
    parts, folder, found = by_row(run), RunFolder.open(str(run)), distjoint.load(str(run))
    rows = folder.rows().select(["row", "word", "entity"]).to_pylist()
    assert sum(row["word"] is not None for row in rows) == len(found.words)
    for row in rows:
        if row["word"] is not None:
            own = parts["W"][row["row"]] + parts["C"][row["row"]]
            assert np.array_equal(found.vector(row["word"], kind="word"), own), row
        if row["entity"] is not None:
            assert np.array_equal(found.vector(row["entity"], kind="entity"), parts["X"][row["row"]]), row
    said = found.explain("teamz", "plays_against", "teama")
    score = found.score("teamz", "plays_against", "teama")
    assert sum(said.head.parts.values()) + said.head.rest == pytest.approx(score, abs=1e-4)
    assert said.known and "teama" not in [each.name for each in found.predict("teamz", "plays_against", k=100)]
    stored = distjoint.load(str(run), memory=1)
    for name in ("teama", "teamz", "commona", "topicza", "newcomer_2", "fan_1"):
        kinds = [kind for kind in ("word", "entity") if name in [row[kind] for row in rows]]
        for kind in kinds:
            assert np.array_equal(stored.vector(name, kind=kind), found.vector(name, kind=kind)), (name, kind)
    assert [each.name for each in stored.nearest("teamz", k=5)] == [each.name for each in found.nearest("teamz", k=5)]
    asked = [each.predict("teamz", "plays_against", k=5) for each in (stored, found)]
    assert [each.name for each in asked[0]] == [each.name for each in asked[1]]
    ranked = distjoint.evaluate(str(run), link_prediction="test").to_dict()["link_prediction"]
    assert ranked["triples"] == len(league()[2])
    found.export(str(tmp_path / "both.txt"), "word2vec", kind="word", vectors="both")
    beside = [line.split()[0] for line in (tmp_path / "both.txt").read_text().splitlines()[1:]]
    assert beside == [row["word"] for row in rows if row["word"] and row["entity"]] and "teamz" in beside


def test_what_a_run_has_from_another_can_take_smaller_steps(known: Train, grown: str, tmp_path: Path) -> None:
    old, distance = known({"model.coupling": "described"}), {}
    before = by_row(old)
    for rate in (1.0, 0.1):
        run = tmp_path / str(rate)
        train(grown, str(run), {"train.old_rate": rate, "train.epochs": 1}, parent=str(old))
        after = by_row(run)
        distance[rate] = {name: moved(before[name], after[name]) for name in ("X", "W", "C", "W.bias", "R")}
        relations = [tensors(of)["dense/relation"] for of in (old, run)]
        distance[rate]["relation"] = float(np.abs(relations[1][:4] - relations[0][:4]).mean())
    for name, whole in distance[1.0].items():
        assert 0 < distance[0.1][name] < 0.35 * whole, name


def test_a_growth_of_nothing_goes_on_as_the_run_itself_would(known: Train, small: Small, tmp_path: Path) -> None:
    old = known()
    train(small.joint, str(tmp_path / "run"), {"train.epochs": 1}, parent=str(old))
    before = by_row(old)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Worker, "train_epoch", stop)
        with pytest.raises(KeyboardInterrupt):
            train(small.joint, str(tmp_path / "begun"), {"train.epochs": 1}, parent=str(old))
    place = RunFolder.open(str(tmp_path / "begun")).folder / "initial"
    from distjoint.runs.folder import Checkpoint

    begun = Checkpoint.open(place)
    theirs = RunFolder.open(str(old)).result()
    for shard in range(SHARDS):
        for name, value in theirs.shard(shard).items():
            assert torch.equal(value, begun.shard(shard)[name]), name
    for name, value in theirs.dense().items():
        assert torch.equal(value, begun.dense()[name]), name
    assert moved(before["W"], by_row(tmp_path / "run")["W"]) > 0


def stop(*_: Any) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize(("lanes", "call"), [(1, 1), (2, 2)])
def test_a_killed_growth_goes_on_to_the_same_bits_though_the_other_run_is_gone(
    lanes: int, call: int, known: Train, grown: str, tmp_path: Path
) -> None:
    settings = {"model.coupling": "described", "train.lanes": lanes}
    parent, whole, stopped = tmp_path / "parent", tmp_path / "whole", tmp_path / "stopped"
    shutil.copytree(known(settings), parent)
    train(grown, str(whole), {"train.epochs": 2}, parent=str(parent))
    with pytest.MonkeyPatch.context() as patch:
        original, calls = CheckpointManifest.write, []

        def write(self: CheckpointManifest, folder: Any) -> None:
            calls.append(1)
            if len(calls) == call + 1:  # the first is of what it begins with
                raise KeyboardInterrupt
            original(self, folder)

        patch.setattr(CheckpointManifest, "write", write)
        with pytest.raises(KeyboardInterrupt):
            train(grown, str(stopped), {"train.epochs": 2}, parent=str(parent))
    shutil.rmtree(parent)
    if call == 1:
        train(grown, str(stopped), {"train.epochs": 2}, parent=str(parent), go_on=True)
    else:
        train(None, str(stopped), resume=True)
    assert_same_bits(tensors(whole), tensors(stopped))


def test_new_rows_can_begin_with_vectors_from_elsewhere(known: Train, grown: str, tmp_path: Path) -> None:
    old, file = known({"model.coupling": "none"}), tmp_path / "vectors.txt"
    given = {"teamz": np.full(16, 2.0), "teama": np.full(16, 3.0)}
    file.write_text("".join(f"{name} {' '.join(map(str, vector))}\n" for name, vector in given.items()))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Worker, "train_epoch", stop)
        with pytest.raises(KeyboardInterrupt):
            train(grown, str(tmp_path / "run"), {"train.init": str(file)}, parent=str(old))
    from distjoint.runs.folder import Checkpoint

    run = RunFolder.open(str(tmp_path / "run"))
    start, rows = Checkpoint.open(run.folder / "initial"), run.rows()
    words = rows.column("word").to_pylist()
    found = {}
    for name in given:
        (shard,), (offset,) = run.layout.locate(np.array([words.index(name)]))
        place = int(run.layout.has_word(shard)[:offset].sum())
        parts = start.shard(int(shard))
        found[name] = (parts["W"] + parts["C"])[place].numpy()
    assert np.allclose(found["teamz"], 2.0)
    assert np.array_equal(found["teama"], distjoint.load(str(old)).vector("teama", kind="word")), "it has a vector"


def test_rows_with_vectors_from_elsewhere_can_be_held_and_the_others_train(small: Small, tmp_path: Path) -> None:
    file, run = tmp_path / "vectors.txt", tmp_path / "run"
    given = {"teama": np.linspace(-1, 1, 16), "city_3": np.linspace(0, 1, 16)}
    file.write_text("".join(f"{name} {' '.join(map(str, vector))}\n" for name, vector in given.items()))
    held = {"train.init": str(file), "train.freeze": ["given"], "model.coupling": "none"}
    train(small.joint, str(run), config({**held, "train.epochs": 1}))
    first = distjoint.load(str(run))
    train(None, str(run), resume=True, settings={"train.epochs": 2})
    found = distjoint.load(str(run))
    for name, kind in (("teama", "word"), ("teama", "entity"), ("city_3", "entity")):
        assert np.allclose(found.vector(name, kind=kind), given[name], atol=1e-6), (name, kind)
    for name, kind in (("teamb", "word"), ("teamb", "entity"), ("city_4", "entity")):
        assert not np.allclose(found.vector(name, kind=kind), first.vector(name, kind=kind)), (name, kind)
    with pytest.raises(UsageError, match=r"train\.freeze=given is about vectors to begin with; give some with --init"):
        train(small.joint, str(tmp_path / "none"), config({"train.freeze": ["given"]}))


def test_a_run_that_does_not_fit_is_refused_by_name(known: Train, small: Small, grown: str, tmp_path: Path) -> None:
    run = str(tmp_path / "run")
    with pytest.raises(DistjointError, match=r"known: did not grow from the dataset of .* distjoint prepare --from"):
        train(small.known, run, parent=str(known(data=small.graph)))
    with pytest.raises(UsageError, match=r"model\.dim is 16 and must stay, not 8"):
        train(grown, run, {"model.dim": 8}, parent=str(known()))
    with pytest.raises(UsageError, match=r"trained text by coupling none; on .* text and graph would train"):
        train(grown, run, {"loss.alpha": 0.5}, parent=str(known({"loss.alpha": 0.0})))
    for settings in ({"train.freeze": ["old"]}, {"train.old_rate": 0.5}):
        with pytest.raises(UsageError, match=r"is about what a run has from another; give that with --from RUN"):
            train(grown, run, config(settings))
    with pytest.raises(UsageError, match="leave out --from"):
        train(None, run, resume=True, parent=run)
    assert not Path(run).exists()


def test_old_and_new_entities_are_measured_apart(known: Train, small: Small, tmp_path: Path) -> None:
    """A triple is new by either end; a dataset that did not grow, or that only words came to, has no such table."""
    (tmp_path / "new.tsv").write_text("teamz\tplays_against\tteama\nteamz\tplays_against\tteamb\n")
    (tmp_path / "test.tsv").write_text("teamz\tplays_against\tteamc\nteamd\tplays_against\tteamz\n")
    given = {"triples": str(tmp_path / "new.tsv"), "test": str(tmp_path / "test.tsv"), "header": False}
    distjoint.prepare(str(tmp_path / "data"), parent=small.joint, **given)
    old, run = known(), tmp_path / "run"
    train(str(tmp_path / "data"), str(run), {"train.epochs": 1}, parent=str(old))
    report = distjoint.evaluate(str(run), link_prediction="test")
    found = {part["name"]: part for part in report.to_dict()["link_prediction"]["by"]["growth"]}
    before = len(league()[2])
    assert {name: part["answers"] for name, part in found.items()} == {"old ends only": 2 * before, "a new end": 4}
    everything = report.to_dict()["link_prediction"]["mrr"]
    parts = sum(part["mrr"] * part["answers"] for part in found.values()) / (2 * before + 4)
    assert parts == pytest.approx(everything)
    text = as_text(report)
    assert "by old and new entities" in text and "old ends only" in text and "a new end" in text
    assert "growth" not in distjoint.evaluate(str(old), link_prediction="test").to_dict()["link_prediction"]["by"]
    twice = Layout(2, 4, 5, 6, 7, grown=((1, 0, 2, 0), (0, 1, 1, 0)))
    assert twice.growth_of(np.arange(twice.rows)).tolist() == [0] * 13 + [1] * 3 + [2] * 2
    triples = Triples(np.array([4, 5, 17]), np.zeros(3, np.int64), np.array([5, 14, 14]))
    groups = growths(triples, twice)
    assert [groups.names[each] for each in groups.head.tolist()] == [
        "old ends only", "an end of growth 1", "an end of growth 2"]  # fmt: skip
