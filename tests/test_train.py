"""Training in one process, on a small league: what is allocated, what repeats bit by bit, what is learned."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from members import names_of
from small import Small, Train, assert_same_bits, config, history, info, losses, tensors

import distjoint
from distjoint.backends.cpu.backend import CpuBackend
from distjoint.base.errors import DivergedError, UsageError
from distjoint.base.progress import Silent
from distjoint.registry import SCORERS
from distjoint.train import train
from distjoint.train.candidates.sampled import Sampled
from distjoint.train.run import Result
from distjoint.train.sources.cells import CellsDecoder, CellSource
from distjoint.train.sources.triples import TriplesDecoder, TripleSource
from distjoint.train.terms import TermTrainer
from distjoint.train.worker import Worker

pytestmark = pytest.mark.unit


def parts(run: Path) -> set[str]:
    return {name.partition("/")[2] for name in tensors(run)}


TEXT = {"W", "C", "W.bias", "C.bias", "W.state", "C.state", "W.bias.state", "C.bias.state"}
GRAPH = {"X", "X.state", "relation", "relation.state"}


@pytest.fixture
def never(monkeypatch: pytest.MonkeyPatch) -> Callable[[type, str], None]:
    """Make a method an error to call."""

    def forbid(owner: type, name: str) -> None:
        def fail(*_: Any, **__: Any) -> None:
            raise AssertionError(f"{owner.__name__}.{name} was called")

        monkeypatch.setattr(owner, name, fail)

    return forbid


def test_alpha_0_runs_no_graph_code_and_is_the_text_alone(run: Train, small: Small, never: Any) -> None:
    for owner, name in (
        (TripleSource, "__init__"),
        (TriplesDecoder, "decode"),
        (TermTrainer, "__init__"),
        (Sampled, "plan"),
    ):
        never(owner, name)
    made = run({"loss.alpha": 0})
    assert parts(made) == TEXT
    assert (info(made)["sources"], info(made)["coupling"]) == (["text"], "none")
    of_text = {"text_loss", "cells", "cells_per_second", "text_gradient_norm", "cells_step_size"}
    assert set(history(made)[0]) == {"epoch", "seconds", *of_text}


def test_alpha_1_runs_no_text_code_and_is_the_graph_alone(run: Train, never: Any) -> None:
    for owner, name in ((CellSource, "__init__"), (CellsDecoder, "decode"), (CpuBackend, "wave")):
        never(owner, name)
    made = run({"loss.alpha": 1})
    assert parts(made) == GRAPH
    assert info(made)["sources"] == ["graph"]
    assert not {"text_loss", "word_graph_loss", "update_cosine"} & set(history(made)[0])


@pytest.mark.parametrize(("source", "alpha"), [("text", 1.0), ("text", 0.9), ("graph", 0.0), ("graph", 0.2)])
def test_a_dataset_of_one_source_trains_the_same_whatever_alpha_says(
    known: Train, small: Small, source: str, alpha: float
) -> None:
    data = getattr(small, source)
    alone, made = known({"loss.alpha": 0.5}, data), known({"loss.alpha": alpha}, data)
    assert_same_bits(tensors(alone), tensors(made))
    assert losses(made)[-1][f"{source}_loss"] < losses(made)[0][f"{source}_loss"]


@pytest.mark.parametrize(
    ("coupling", "more"),
    [
        ("none", set()),
        ("tie", {"word.graph_state"}),
        ("dual", {"word.graph_state", "word_relation", "word_relation.state", "map", "map.state"}),
    ],
)
def test_every_coupling_trains_both_sides_where_most_entities_have_no_word(
    run: Train, coupling: str, more: set[str]
) -> None:
    made = run({"model.coupling": coupling, "train.epochs": 4})
    assert parts(made) == TEXT | GRAPH | more
    first, *_, last = losses(made)
    for name in ("text_loss", "graph_loss", *(["word_graph_loss"] if coupling == "dual" else [])):
        assert last[name] < first.get(name, np.inf), name
    assert ("word_graph_loss" in last) == (coupling == "dual")
    if coupling != "none":
        assert -1 <= last["update_cosine"] <= 1
        assert last["update_norm_ratio"] > 0


def test_alpha_scales_the_steps_of_the_smaller_side(run: Train, known: Train) -> None:
    """At .5 and with coupling `none`, each side is what it is alone; at .25 the graph steps a third as far."""
    joint, text = tensors(known({"model.coupling": "none"})), tensors(known({"loss.alpha": 0.0}))
    for name, value in text.items():
        if name.partition("/")[2] in ("W", "C"):  # same start, same samples in the same order
            assert np.array_equal(value, joint[name]), name
    slow = tensors(run({"model.coupling": "none", "loss.alpha": 0.25}))
    third = tensors(run({"model.coupling": "none", "graph.learning_rate": 0.1 / 3}))
    for name in slow:
        np.testing.assert_allclose(slow[name], third[name], rtol=1e-4, atol=1e-5, err_msg=name)


@pytest.mark.parametrize(("alpha", "threads"), [(0.0, 2), (0.5, 1), (0.5, 3), (1.0, 2)])
def test_the_same_seed_gives_the_same_bits_with_any_number_of_threads(
    run: Train, known: Train, alpha: float, threads: int
) -> None:
    settings = {"loss.alpha": alpha, "graph.dropout": 0.1, "graph.relation_dropout": 0.1, "train.epochs": 2}
    one, again = known(settings), run({**settings, "train.threads": threads})
    assert_same_bits(tensors(one), tensors(again))
    assert losses(one) == losses(again)


def test_another_seed_gives_other_bits(known: Train) -> None:
    one, other = tensors(known({"loss.alpha": 0.5})), tensors(known({"train.seed": 1}))
    assert not np.array_equal(one["0/W"], other["0/W"])
    assert not np.array_equal(one["dense/relation"], other["dense/relation"])


# Lanes, groups, memory

GRID = [(1, 2), (1, 4), (2, 4), (2, 6)]


def test_any_lanes_and_groups_train_to_a_similar_loss(run: Train, small: Small) -> None:
    found = []
    for lanes, groups in GRID:
        # With few entities resident, a mask would leave few negatives of so small a graph, and another loss.
        made = run({"train.lanes": lanes, "train.groups": groups, "graph.mask_known": False}, small.many)
        assert (info(made)["lanes"], info(made)["groups"]) == (lanes, groups)
        last = losses(made)[-1]
        assert (last["cells"], last["triples"]) == (losses(made)[0]["cells"], losses(made)[0]["triples"])
        found.append((last["text_loss"], last["graph_loss"]))
    text, graph = np.array(found).T
    assert text.max() < 1.15 * text.min()
    assert graph.max() < 1.5 * graph.min()


@pytest.mark.parametrize(("lanes", "groups"), [(1, 4), (2, 8)])
def test_shards_that_wait_on_disk_come_back_with_the_same_bits(
    lanes: int, groups: int, run: Train, known: Train, small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"train.lanes": lanes, "train.groups": groups}
    roomy, parked = known(settings, small.many), []
    original = Worker.__init__

    def noted(self: Worker, *args: Any) -> None:
        original(self, *args)
        parked.append((self.parts.resources.arena.slots, self.parking.folder))

    monkeypatch.setattr(Worker, "__init__", noted)
    tight = run({**settings, "train.memory": 20_000}, small.many)
    ((slots, folder),) = parked
    assert slots < 8
    assert folder is not None
    assert not folder.exists()
    assert_same_bits(tensors(roomy), tensors(tight))
    assert losses(roomy) == losses(tight)


def test_groups_are_chosen_to_fit_the_memory_and_too_little_is_refused(run: Train, small: Small, known: Train) -> None:
    table = sum(
        value.nbytes
        for name, value in tensors(known({"train.lanes": 1, "train.groups": 4}, small.many)).items()
        if not name.startswith("dense")
    )
    made = run({"train.memory": int(table * 0.6), "train.epochs": 1}, small.many)
    assert 4 <= info(made)["groups"] <= 8
    with pytest.raises(UsageError, match=r"train\.memory=1000: 2 of the dataset's 8 shards take \d+ bytes"):
        run({"train.memory": 1000}, small.many)


# Divergence


def test_a_loss_that_is_not_finite_stops_the_run_and_names_the_batch(run: Train) -> None:
    settings = {"model.cosine": False, "model.scorer": "distmult", "model.coupling": "none"}
    where = r"epoch 1, groups 0 and 1, batch 2 of 6, partition \(\d, \d\), triple '.*'"
    with pytest.raises(DivergedError, match=rf"triples: the loss .*{where}.*lower graph\.learning_rate, 5e\+29 say"):
        run({"graph.learning_rate": 1e30, **settings}, out="bad")


@pytest.mark.parametrize("rate", [1e-30, 1e30])
def test_no_learning_rate_makes_the_text_diverge(rate: float, run: Train) -> None:
    folder = run({"text.learning_rate": rate, "loss.alpha": 0})
    assert all(np.isfinite(value).all() for value in tensors(folder).values())


def test_divergence_keeps_the_last_good_checkpoint(run: Train, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        original = Worker.train_epoch

        def spoil(self: Worker, epoch: int, *args: Any) -> Any:
            if epoch == 2:
                arena = self.parts.resources.arena
                arena.views(next(iter(arena.slot)))["W"].fill_(float("nan"))
            return original(self, epoch, *args)

        patch.setattr(Worker, "train_epoch", spoil)
        where = r"epoch 3, groups 0 and 1, partition \(\d, \d\), wave \d+ of \d+, cell '.*' with '.*': W of it"
        advice = r"checkpoints/epoch-00002 is kept; .* --resume \S+/bad --set text\.learning_rate=0\.025$"
        with pytest.raises(DivergedError, match=rf"cells: the loss .*{where} are not finite.*; {advice}"):
            run({"train.epochs": 4}, out="bad")
    folder = tmp_path / "bad"
    assert info(folder) == info(folder) | {"status": "failed", "result": "checkpoints/epoch-00002"}
    assert all(np.isfinite(value).all() for value in tensors(folder).values())


@pytest.mark.parametrize("what", ["shard", "dense"])
def test_divergence_behind_the_last_loss_of_an_epoch_is_not_saved(what: str, run: Train, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        original = Worker.train_epoch

        def spoil(self: Worker, epoch: int, *args: Any) -> Any:
            metrics = original(self, epoch, *args)
            if epoch == 1:
                array = (
                    self.parts.resources.arena.views(0)["X"]
                    if what == "shard"
                    else self.parts.resources.dense.values["relation"]
                )
                array[0, 0] = float("inf")
            return metrics

        patch.setattr(Worker, "train_epoch", spoil)
        with pytest.raises(DivergedError, match=r"is not finite; "):
            run({"train.epochs": 4}, out="bad")
    assert [place.name for place in (tmp_path / "bad/checkpoints").iterdir()] == ["epoch-00001"]
    assert info(tmp_path / "bad")["result"] == "checkpoints/epoch-00001"


@pytest.mark.parametrize("coupling", ["none", "tie", "dual"])
def test_a_dataset_with_more_shards_than_rows_trains(coupling: str, tmp_path: Path) -> None:
    """One triple, five words: most partitions, tiles and shards are empty."""
    (tmp_path / "text.txt").write_text("a b a b c\n")
    (tmp_path / "train.tsv").write_text("a\tr\td\n")
    data = str(tmp_path / "data")
    files = {"corpus": str(tmp_path / "text.txt"), "triples": str(tmp_path / "train.tsv")}
    distjoint.prepare(data, **files, min_count=1, shards=16)
    settings = {"train.lanes": 4, "train.groups": 9, "model.coupling": coupling, "train.epochs": 1}
    result = train(data, str(tmp_path / "run"), config(settings))
    assert np.isfinite([value for name, value in result.metrics.items() if name.endswith("loss")]).all()
    distjoint.prepare(data, **files, min_count=1, shards=1, overwrite=True)
    with pytest.raises(UsageError, match=r"1 shards are too few for 1 lanes.*prepare with --shards 8$"):
        train(data, str(tmp_path / "other"), config())


# What is learned


@pytest.mark.parametrize(
    ("scorer", "cosine"),
    [*((name, k % 2 == 0) for k, name in enumerate(names_of(SCORERS))), ("transe", False), ("distmult", True)],
)
def test_every_scorer_learns_the_league(scorer: str, cosine: bool, run: Train, small: Small) -> None:
    """Triples of train are told from all others; by cosine and not, for every second scorer and two more.

    That each scorer steps as its formula says by either comparison, test_backends and test_graph_step show.
    """
    settings = {"model.scorer": scorer, "model.cosine": cosine, "model.dim": 32}
    made = run({**settings, "train.epochs": 1, "train.triple_passes": 20}, small.known)
    report = distjoint.evaluate(str(made), link_prediction="valid").to_dict()["link_prediction"]
    assert report["mrr"] > 0.9


def test_players_who_were_held_out_know_the_coach_of_their_team(run: Train, small: Small) -> None:
    settings = {"model.dim": 32, "train.epochs": 1, "train.triple_passes": 60, "graph.learning_rate": 0.2}
    made = run(settings, small.graph)
    report = distjoint.evaluate(str(made), link_prediction="valid").to_dict()["link_prediction"]
    assert report["mrr"] > 0.7


@pytest.mark.parametrize("coupling", ["tie", "dual"])
def test_the_text_tells_teams_apart_for_the_graph(coupling: str, run: Train) -> None:
    """Of 20 words nearest to a team, 2 would be of its topic by chance; they were 5.6 and 6.0."""
    # Some thousand tokens need large steps.
    settings = {"train.epochs": 15, "text.learning_rate": 2.0, "train.triple_passes": 1}
    made = run({"model.coupling": coupling, **settings})
    vectors = distjoint.load(str(made))
    near = {k: vectors.nearest(f"team{k}", 20, kind="word", of="word") for k in "abcdefgh"}
    assert sum(word.name.startswith(f"topic{k}") for k, words in near.items() for word in words) >= 4 * len(near)


def test_results_are_told(run: Train, small: Small, tmp_path: Path) -> None:
    said: list[str] = []

    class Teller(Silent):
        def say(self, text: str) -> None:
            said.append(text)

    result = train(small.joint, str(tmp_path / "told"), config(), progress=Teller())
    assert isinstance(result, Result)
    assert result.metrics == result.history[-1]
    assert "116" not in said[0].split(",")[0]
    assert any(line.startswith("epoch 2/2  text loss") for line in said)
    assert torch.get_num_threads() >= 1
