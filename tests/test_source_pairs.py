"""Couplings `soft` and `project`: pairs pull on each other by the formula, wherever they lie, whoever trains them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from reference.pairs import Pair, pulled
from small import Small, Train, assert_same_bits, config, losses, tensors
from test_train_diverged import Bench
from torch import Tensor

import distjoint
from distjoint.backends.torch.backend import TorchBackend
from distjoint.base.errors import UsageError
from distjoint.couplings.scheme import Scheme
from distjoint.data.dataset import Dataset
from distjoint.runs.checkpoint import Position
from distjoint.table.parts import table_bytes
from distjoint.train import build as build_module
from distjoint.train.rates import Rates
from distjoint.train.worker import Worker

pytestmark = pytest.mark.unit

COUPLINGS = ("soft", "project")
RATES = Rates(text=1.0, graph=0.5)


@pytest.fixture(scope="module")
def farm(tmp_path_factory: pytest.TempPathFactory) -> str:
    """URL of a dataset with pairs of either kind: `dog` shares a row with its word, `cat` and `puss` have one word.

    No training triple names `puss` and `stone`; the stone has no word either.
    """
    folder = tmp_path_factory.mktemp("farm")
    lines = [f"{a} {b} {c}\n" for a in ("cat", "dog", "cow") for b in ("eats", "sleeps") for c in ("here", "there")]
    (folder / "text.txt").write_text("".join(lines) * 9)
    (folder / "train.tsv").write_text("cat\tis\tanimal\ndog\tis\tanimal\ncow\tis\tanimal\n")
    (folder / "test.tsv").write_text("puss\tis\tanimal\nstone\tis\tanimal\n")
    (folder / "pairs.tsv").write_text("cat\tcat\ndog\tdog\ndog\tsleeps\npuss\tcat\n")
    text, train, test, pairs = (str(folder / name) for name in ("text.txt", "train.tsv", "test.tsv", "pairs.tsv"))
    data = str(folder / "data")
    distjoint.prepare(data, corpus=text, triples=train, test=test, align=pairs, shards=2, min_count=1)
    return data


FARM = [("cat", "cat", 0.5), ("dog", "dog", 1.0), ("dog", "sleeps", 1.0), ("puss", "cat", 0.5)]
"""Its pairs, and their weights: a word of n entities pulls each by 1 / n."""


def pairs_of(bench: Bench) -> list[Pair]:
    """The farm's pairs by their places in an arena."""
    rows = [(bench.row("entity", entity), bench.row("word", word), weight) for entity, word, weight in FARM]
    return [(int(bench.arena.entity_index[e]), int(bench.arena.word_index[w]), weight) for e, w, weight in rows]


def drawn(bench: Bench) -> dict[str, Tensor]:
    """Every array of the arena and the map, with values that steps could have left."""
    dense = bench.parts.resources.dense
    every = {**bench.arena.arrays, **{name: value for name, value in dense.tensors().items() if name.startswith("map")}}
    for seed, (name, value) in enumerate(every.items()):
        noise = torch.randn(value.shape, generator=torch.Generator().manual_seed(seed))
        value.copy_(noise.abs() if "state" in name else noise / 4)
    return every


@pytest.mark.parametrize("backend", ["cpu", "torch"])
@pytest.mark.parametrize("coupling", COUPLINGS)
def test_a_pass_is_the_reference_on_all_pairs_and_touches_nothing_else(
    coupling: str, backend: str, farm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One batch of all pairs, of all partitions, is one step of AdaGrad by autograd's gradient."""
    if backend == "torch":
        monkeypatch.setattr(build_module, "backend_of", lambda device, threads: TorchBackend(device))
    settings = {"model.coupling": coupling, "model.coupling_options.pull": 0.5, "graph.map_learning_rate": 0.02}
    bench = Bench(farm, **settings)
    values = drawn(bench)
    rates = {"rows": 0.1 * 0.5 * RATES.graph, "map": 0.02 * RATES.graph}
    expected, loss = pulled({name: value.clone() for name, value in values.items()}, pairs_of(bench), rates)
    work, tally = bench.work("pairs")
    assert work.units == 1
    work.do(1, RATES, tally)
    bench.parts.resources.dense.sync(RATES.graph)
    assert tally.sums()["pairs"] == len(FARM)
    assert tally.sums()["pair_loss"] == pytest.approx(loss)
    for name, value in values.items():
        torch.testing.assert_close(
            value.double(), expected[name], rtol=1e-4, atol=1e-5, msg=lambda m, n=name: f"{n}: {m}"
        )
    bench.parts.close()


@pytest.mark.parametrize("coupling", COUPLINGS)
def test_without_a_pull_both_sides_train_as_with_none(coupling: str, known: Train, paired: str) -> None:
    apart = tensors(known({"model.coupling": "none"}, paired))
    loose = tensors(known({"model.coupling": coupling, "model.coupling_options.pull": 0}, paired))
    vectors = [name for name in apart if name.rsplit("/")[-1] in ("W", "C", "X")]
    assert_same_bits({name: apart[name] for name in vectors}, {name: loose[name] for name in vectors})


def closeness(run: Path) -> tuple[float, float]:
    """Mean cosine of entities with their own word, and with the word of another."""
    loaded = distjoint.load(str(run))
    shared = [name for name in loaded.entities.names if name in set(loaded.words.names)]
    own, other = [], []
    for name, further in zip(shared, [*shared[1:], shared[0]], strict=True):
        found = {n.name: n.similarity for n in loaded.nearest(name, len(loaded), kind="word", of="entity")}
        own.append(found[name])
        other.append(found[further])
    return float(np.mean(own)), float(np.mean(other))


@pytest.mark.parametrize("coupling", COUPLINGS)
def test_pairs_meet_and_a_stronger_pull_brings_them_closer(coupling: str, known: Train, paired: str) -> None:
    settings = {"model.coupling": coupling, "train.epochs": 3}
    runs = [known({**settings, "model.coupling_options.pull": pull}, paired) for pull in (0, 0.1, 1)]
    near = [closeness(run) for run in runs]
    assert near[0][0] < near[1][0] < near[2][0]
    assert near[2][0] > near[2][1] + 0.3
    first, *_, last = losses(runs[2])
    assert last["pair_loss"] < 0.5 * first["pair_loss"]
    assert last["pairs"] == first["pairs"] == 2 * 32  # passes
    assert last["pairs_step_size"] == last["triples_step_size"]


@pytest.mark.parametrize("coupling", COUPLINGS)
def test_an_entity_without_a_triple_begins_at_zero_and_goes_to_its_words(
    coupling: str, farm: str, tmp_path: Path
) -> None:
    distjoint.train(farm, str(tmp_path / "run"), config({"model.coupling": coupling, "train.epochs": 30}))
    loaded = distjoint.load(str(tmp_path / "run"))
    assert not loaded.vector("stone", kind="entity").any()
    nearest = loaded.nearest("puss", of="entity", kind="word", k=1)
    assert [near.name for near in nearest] == ["cat"]
    assert nearest[0].similarity > 0.9
    found = {near.name for near in loaded.nearest("animal", of="entity", kind="entity", k=10)}
    assert found == {"cat", "dog", "cow", "puss"}  # of the stone nothing is known


@pytest.mark.parametrize("coupling", COUPLINGS)
def test_rotating_shards_threads_and_a_stop_within_an_epoch_change_no_bit(
    coupling: str, run: Train, paired: str, tmp_path: Path
) -> None:
    settings: dict[str, Any] = {"model.coupling": coupling, "train.groups": 4, "train.epochs": 2}
    whole = run(settings, paired)
    for line in losses(whole):
        assert line["pairs"] == 2 * (24 + 8)  # each pair once a pass, wherever it lies
    parts = Scheme.of(config(settings), has_text=True, has_graph=True, rotates=True).parts
    too_little = table_bytes(parts, Dataset.open(paired).layout) - 1
    from_disk = run({**settings, "train.memory": too_little, "train.threads": 2}, paired)
    assert_same_bits(tensors(whole), tensors(from_disk))
    stopped, save = tmp_path / "stopped", Worker.save
    with pytest.MonkeyPatch.context() as patch:

        def stop(self: Worker, position: Position, *rest: Any, **kept: Any) -> None:
            save(self, position, *rest, **kept)
            if position == Position(1, 3):
                raise KeyboardInterrupt

        patch.setattr(Worker, "save", stop)
        with pytest.raises(KeyboardInterrupt):
            distjoint.train(paired, str(stopped), config({**settings, "train.checkpoint_rounds": 3}))
    distjoint.train(resume=str(stopped))
    assert_same_bits(tensors(whole), tensors(stopped))


def test_what_cannot_be_pulled_is_refused(small: Small, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("some words that name nothing\n" * 9)
    (tmp_path / "train.tsv").write_text("e1\tr\te2\n")
    data = str(tmp_path / "data")
    distjoint.prepare(
        data, corpus=str(tmp_path / "text.txt"), triples=str(tmp_path / "train.tsv"), shards=2, min_count=1
    )
    with pytest.raises(UsageError, match=r"data: no entity of it is paired with a word, and coupling soft pulls pairs"):
        distjoint.train(data, str(tmp_path / "run"), config({"model.coupling": "soft"}))
    with pytest.raises(UsageError, match=r"model\.coupling_options\.pull=-1: must be 0 or more"):
        distjoint.train(
            small.joint, str(tmp_path / "run"), config({"model.coupling": "project", "model.coupling_options.pull": -1})
        )
    assert not (tmp_path / "run").exists()
