"""Reading: the text of entities and the way back to words and map, against the same in float64 by autograd."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from small import SHARDS, Train, assert_same_bits, config, league, tensors, write_league
from test_export_scores import SCRIPT
from test_train_diverged import Bench
from torch import Tensor
from typer.testing import CliRunner
from world import backend_of

import distjoint
from distjoint.backends import Backend
from distjoint.backends.base import Bags
from distjoint.base.errors import DistjointError, DivergedError, UsageError
from distjoint.cli.app import app
from distjoint.config import Config
from distjoint.couplings.scheme import RESIDUAL
from distjoint.data.dataset import Dataset
from distjoint.data.streams import MENTIONS
from distjoint.recipes.load import load_config
from distjoint.runs.folder import RunFolder
from distjoint.table import layout
from distjoint.train import build
from distjoint.train.plan import unread_texts
from distjoint.train.rates import Rates
from distjoint.train.sources.base import LaneVisit

pytestmark = pytest.mark.unit

READS = {"model.coupling": "described", "graph.into_words": 2.0, "graph.into_reading": 3.0, "graph.own_l2": 0.0}
RATES = Rates(1.0, 1.0)


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> str:
    """URL of the league with a description of each player, coach and team, in the words of its team's topic; teams
    have labels, whose n-grams are mentions too.
    """
    folder = tmp_path_factory.mktemp("told")
    files = write_league(folder)
    rng, lines = np.random.default_rng(0), []
    for name in dict.fromkeys(end for split in league() for triple in split for end in triple[::2]):
        topic = "a" if name == "newcomer_1" else name.removeprefix("team").removeprefix("coach")[0]
        words = rng.choice([f"topic{topic}{chr(97 + m)}" for m in range(12)], 4, replace=False)
        if not name.startswith("city"):
            lines.append(f"{name}\t{' '.join(words)} common{chr(97 + int(rng.integers(20)))}\n")
    (folder / "about.tsv").write_text("".join(lines * 3))
    (folder / "labels.tsv").write_text("".join(f"team{team}\tteam of {team}\n" for team in "abcdef"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layout, "TILE_ROWS", 8)
        distjoint.prepare(
            str(folder / "data"),
            triples=files["train"],
            valid=files["valid"],
            test=files["test"],
            labels=str(folder / "labels.tsv"),
            descriptions=str(folder / "about.tsv"),
            min_count=1,
            shards=SHARDS,
        )
    return str(folder / "data")


@pytest.fixture(params=["cpu described", "torch described", "cpu fields", "torch fields"])
def bench(request: pytest.FixtureRequest, told: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    backend, coupling = request.param.split()
    monkeypatch.setattr(build, "backend_of", lambda device, threads: backend_of(backend))
    made = Bench(told, **{**READS, "model.coupling": coupling})
    yield made
    made.parts.close()


def attention(bench: Bench) -> Tensor:
    """float64[texts, places in W]: weights of all mentions, read from the dataset.

    Texts are those of all places in X: one each, or that of names and that of descriptions.
    """
    arena, data = bench.arena, bench.data
    fields = bench.parts.resources.scheme.coupling.fields
    found = torch.zeros(len(arena.arrays["X"]), fields, len(arena.arrays["W"]), dtype=torch.float64)
    for i in range(data.layout.shards):
        for j in range(data.layout.shards):
            part = data.samples(MENTIONS, i, j, dict.fromkeys(("entity", "word", "weight", "named")))
            for entity, word, weight, named in zip(*part.values(), strict=True):
                place, of = arena.entity_index[arena.base(i) + entity], arena.word_index[arena.base(j) + word]
                if fields == 1:
                    found[place, 0, of] += float(weight)
                else:
                    found[place, 0, of] += float(weight) * float(named)
                    found[place, 1, of] += float(weight) * (1 - float(named))
    return found.flatten(0, 1)


def texts(bench: Bench, part: str = "T") -> Tensor:
    """float32[texts, dim]: a part of entities, text by text."""
    return bench.arena.arrays[part].view(-1, bench.arena.arrays["X"].shape[1])


def text(bench: Bench, weights: Tensor, words: Tensor, map_: Tensor) -> Tensor:
    """T of all places in X: the centre is the mean of the vocabulary, without n-grams; no gradient goes through it."""
    arena, layout = bench.arena, bench.data.layout
    counted = [torch.from_numpy(layout.has_word(s) & ~layout.has_gram(s)) for s in range(layout.shards)]
    rows = torch.cat([arena.base(s) + torch.nonzero(which)[:, 0] for s, which in enumerate(counted)])
    assert len(rows) < layout.words + layout.aligned, "there are n-grams"
    mean = words[arena.word_index[rows]].mean(0).detach()
    return weights @ torch.nn.functional.normalize(words - mean, dim=1) @ map_


def leaves(bench: Bench) -> tuple[Tensor, Tensor]:
    """W + C + R and the map, in float64."""
    arrays, map_ = bench.arena.arrays, bench.parts.resources.dense.values["map"]
    return (arrays["W"] + arrays["C"] + arrays["R"]).double().requires_grad_(), map_.double().requires_grad_()


def shake(bench: Bench) -> None:
    """Words, accumulators and a map as training would have left them."""
    generator = torch.Generator().manual_seed(3)
    for name in ("W", "C", "R"):
        bench.arena.arrays[name].normal_(generator=generator)
    for name in ("word.graph_state", "R.state"):
        bench.arena.arrays[name].uniform_(generator=generator)
    bench.parts.resources.dense.values["map"].normal_(generator=generator)


def test_entities_read_the_words_of_their_mentions(bench: Bench) -> None:
    shake(bench)
    before = bench.copy()
    work, tally = bench.work("mentions")
    work.do(1, RATES, tally)
    weights = attention(bench)
    torch.testing.assert_close(
        texts(bench).double(), text(bench, weights, *leaves(bench)).detach(), rtol=1e-4, atol=1e-5
    )
    described = weights.sum(1).view(len(bench.arena.arrays["X"]), -1).sum(1) > 0
    assert described.sum() == bench.data.manifest.counts["described"]
    own, kept = bench.arena.arrays["X"], torch.where(described[:, None], RESIDUAL * 16**0.5, 1.0)
    torch.testing.assert_close(own, before["X"] * kept)


def test_the_gradient_of_text_goes_back_to_words_and_map(bench: Bench) -> None:
    shake(bench)
    work, tally = bench.work("mentions")
    work.do(1, RATES, tally)
    gradient = torch.randn(texts(bench).shape, generator=torch.Generator().manual_seed(1))
    texts(bench, "T.gradient").copy_(gradient)
    words, map_ = leaves(bench)
    (text(bench, attention(bench), words, map_) * gradient).sum().backward()
    assert words.grad is not None
    before = bench.copy()
    work.do(1, RATES, tally)
    dense, after = bench.parts.resources.dense, bench.arena.arrays
    torch.testing.assert_close(dense.gradients["map"].double(), map_.grad, rtol=1e-4, atol=1e-4)
    state = before["word.graph_state"] + words.grad.square().mean(1)
    torch.testing.assert_close(after["word.graph_state"].double(), state.double(), rtol=1e-4, atol=1e-5)
    rate = 2.0 * 0.1  # `into_words` times the learning rate of the small runs
    for part in ("W", "C"):
        step = rate / 2 * words.grad / (state + 1e-10).sqrt()[:, None]
        torch.testing.assert_close(after[part].double(), before[part].double() - step, rtol=1e-4, atol=1e-5)
    state = before["R.state"] + words.grad.square().mean(1)
    torch.testing.assert_close(after["R.state"].double(), state.double(), rtol=1e-4, atol=1e-5)
    step = 3.0 * 0.1 * words.grad / (state + 1e-10).sqrt()[:, None]
    torch.testing.assert_close(after["R"].double(), before["R"].double() - step, rtol=1e-4, atol=1e-5)
    assert not after["T.gradient"].any()
    now = text(bench, attention(bench), *leaves(bench)).detach()
    torch.testing.assert_close(texts(bench).double(), now, rtol=1e-4, atol=1e-5)
    there = bench.arena.entity_index[:-1]
    squares = gradient.view(len(bench.arena.arrays["X"]), -1)[there[there >= 0]].square().sum()
    assert tally.sums()["mentions_squares"] == pytest.approx(float(squares), rel=1e-5)


def test_text_is_only_read_where_nothing_goes_into_words(told: str) -> None:
    bench = Bench(told, **{**READS, "graph.into_words": 0.0, "graph.into_reading": 0.0})
    work, tally = bench.work("mentions")
    work.do(1, RATES, tally)
    bench.arena.arrays["T.gradient"].fill_(0.5)
    before = bench.copy()
    work.do(1, RATES, tally)
    for part, value in bench.arena.arrays.items():
        assert torch.equal(value, before[part]) == (part != "T.gradient"), part
    bench.parts.close()


def test_a_gradient_that_is_no_number_is_named_and_steps_no_word(told: str) -> None:
    bench = Bench(told, **READS)
    work, tally = bench.work("mentions")
    work.do(1, RATES, tally)
    bench.arena.arrays["T.gradient"][3] = torch.nan
    before = bench.copy()
    with pytest.raises(DivergedError, match=r"mentions: .* refresh 2 of 2\); no row was stepped by it"):
        work.do(1, RATES, tally)
    assert all(torch.equal(value, before[part]) for part, value in bench.arena.arrays.items() if part in "WCRX")
    bench.parts.close()


def test_the_first_refresh_goes_before_all_triples_and_the_others_are_spread(told: str) -> None:
    bench = Bench(told, **{**READS, "graph.refreshes": 2})
    source = next(source for source in bench.parts.sources if source.name == "mentions")
    names = [source.name for source in bench.parts.sources]
    assert names.index("mentions") < names.index("triples")
    work, done = source.visit(LaneVisit(bench.assigned.visit, epoch=1, passes=3)), []
    assert work.units == 7
    for step in range(12):
        done.append(work.due(step + 1, 12))
        work.done += done[-1]
    assert done == [1, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1]
    assert source.visit(bench.assigned).due(0, 12) == 0
    bench.parts.close()


def test_names_and_descriptions_are_two_texts(told: str) -> None:
    """A team is named by its label, a player by nothing but what is said of him; n-grams are of names."""
    bench = Bench(told, **{**READS, "model.coupling": "fields"})
    weights = attention(bench).view(len(bench.arena.arrays["X"]), 2, -1)
    rows = bench.data.rows(["entity"]).column("entity").to_pylist()

    def parts(name: str) -> list[bool]:
        (shard,), (offset,) = bench.data.layout.locate(np.array([rows.index(name)]))
        return (weights[bench.arena.entity_index[bench.arena.base(int(shard)) + int(offset)]].sum(1) > 0).tolist()

    assert parts("teama") == [True, True]
    assert parts("newcomer_1") == [False, True]
    grams = torch.cat([
        bench.arena.word_index[bench.arena.base(s) + torch.from_numpy(np.flatnonzero(bench.data.layout.has_gram(s)))]
        for s in range(bench.data.layout.shards)
    ])  # fmt: skip
    assert weights[:, 0, grams].any() and not weights[:, 1, grams].any()
    bench.parts.close()


def test_a_dataset_that_does_not_tell_names_is_refused(told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Dataset, "tells_names", False)
    with pytest.raises(UsageError, match=r"do not tell names from descriptions.*prepare it anew.*described"):
        Bench(told, **{**READS, "model.coupling": "fields"})


@pytest.mark.parametrize("backend", ["cpu", "torch"])
def test_weighted_sums_are_those_of_a_dense_matrix(backend: str) -> None:
    made: Backend = backend_of(backend)
    rng = np.random.default_rng(0)
    weights = torch.from_numpy(rng.normal(size=(9, 7)) * (rng.random((9, 7)) < 0.4)).float()
    row, index = weights.nonzero().T
    starts = torch.cat([torch.zeros(1, dtype=torch.int64), torch.bincount(row, minlength=9).cumsum(0)])
    bags, vectors = Bags(starts, index.contiguous(), weights[row, index]), torch.randn(7, 19)
    for part in (slice(0, 9), slice(2, 5), slice(8, 9)):
        torch.testing.assert_close(made.weighted_sums(vectors, bags, part), (weights @ vectors)[part])


# Runs


@pytest.mark.parametrize("coupling", ["described", "fields"])
def test_what_is_said_of_an_entity_places_it_though_no_triple_does(told: str, tmp_path: Path, coupling: str) -> None:
    """The newcomer, who is in no training triple, is described like those of one team: its coach is who he knows."""
    settings = {"train.epochs": 10, "train.triple_passes": 5, "model.dim": 32}
    distjoint.train(told, str(tmp_path / "run"), config({**READS, **settings, "model.coupling": coupling}))
    vectors = distjoint.load(str(tmp_path / "run"))
    answers = vectors.predict(head="newcomer_1", relation="knows", k=3, known="include")
    assert "coacha" in {answer.name for answer in answers}
    assert "newcomer_1" in {near.name for near in vectors.nearest("coacha", 100, kind="entity", of="entity")}
    words = "topicaa topicab topicac topicad"
    assert "coacha" in {answer.name for answer in vectors.predict(head_text=words, relation="knows", k=3)}
    near = vectors.nearest(vectors.text_vector(words), 10, of="entity", kind="entity")
    assert sum("a" in each.name.split("_")[0][-1] for each in near) >= 5
    one = vectors.nearest("topicaa", 10, of="word", kind="entity")  # a word beside entities is the text of that word
    other = vectors.nearest(vectors.text_vector("topicaa"), 10, of="entity", kind="entity")
    assert [near.name for near in one] == [near.name for near in other]
    assert [near.similarity for near in one] == pytest.approx([near.similarity for near in other], abs=1e-5)
    back = vectors.nearest(vectors.text_vector("topicaa"), 1, of="entity", kind="word")
    assert (back[0].name, back[0].similarity) == ("topicaa", pytest.approx(1, abs=1e-5))
    # "teamwork" is no word, but begins as the names of all teams do.
    near = vectors.nearest(vectors.text_vector("teamwork"), 6, of="entity", kind="entity")
    assert len({each.name for each in near} & {f"team{letter}" for letter in "abcdef"}) >= 4
    with pytest.raises(DistjointError, match="'unheard': none of its words is in the vocabulary, nor like a name"):
        vectors.text_vector("unheard")
    with pytest.raises(UsageError, match="one end"):
        vectors.predict(head="newcomer_1", head_text=words, relation="knows")


def test_the_manuals_script_scores_entities_of_several_parts(
    told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    distjoint.train(told, str(tmp_path / "run"), config({**READS, "model.coupling": "fields"}))
    vectors, file = distjoint.load(str(tmp_path / "run")), str(tmp_path / "all.safetensors")
    assert vectors.trained.model.relations[:, -6:].std() > 0, "relations weigh"
    vectors.export(file, "safetensors")
    monkeypatch.setattr(sys, "argv", ["score.py", file, "newcomer_1", "knows", "coacha"])
    exec(compile(SCRIPT, "score.py", "exec"), {})
    score = vectors.score("newcomer_1", "knows", "coacha")
    assert float(capsys.readouterr().out) == pytest.approx(score, rel=1e-5, abs=1e-5)
    there = distjoint.load(str(tmp_path / "run"), memory=100)
    assert there.score("newcomer_1", "knows", "coacha") == pytest.approx(score, rel=1e-6)


def test_texts_that_the_default_coupling_does_not_read_are_said(told: str) -> None:
    data = Dataset.open(told)
    said = unread_texts(Config(), data)
    assert said is not None and f"{data.manifest.counts['described']:,} entities have a text" in said
    assert "--set model.coupling=described" in said
    for wanted in ("dual", "described"):
        assert unread_texts(load_config(overrides={"model.coupling": wanted}), data) is None


def test_text_that_is_typed_is_the_vector_of_an_entity_so_described(told: str, tmp_path: Path) -> None:
    """But for X, and what the words have moved since the last refresh: nothing, where nothing trains them."""
    settings = {
        **READS,
        "graph.into_words": 0.0,
        "graph.into_reading": 0.0,
        "train.epochs": 1,
        "text.learning_rate": 1e-12,
    }
    distjoint.train(told, str(tmp_path / "run"), config({**settings, "train.freeze": ["map"]}))
    about = dict(line.split("\t") for line in (Path(told).parent / "about.tsv").read_text().splitlines())
    checkpoint, data = RunFolder.open(str(tmp_path / "run")).result(), Dataset.open(told)
    vectors, rows = distjoint.load(str(tmp_path / "run")), data.rows(["entity"]).column("entity").to_pylist()
    (shard,), (offset,) = data.layout.locate(np.array([rows.index("newcomer_1")]))
    place = int(data.layout.has_entity(int(shard))[: int(offset)].sum())
    expected = checkpoint.shard(int(shard))["T"][place].numpy()
    np.testing.assert_allclose(vectors.text_vector(about["newcomer_1"]), expected, rtol=1e-3, atol=1e-5)


def test_the_command_asks_with_words(told: str, tmp_path: Path) -> None:
    run = str(tmp_path / "run")
    distjoint.train(told, run, config(READS))
    asked = CliRunner().invoke(app, ["predict", run, "--head-text", "topicaa topicab", "--relation", "knows", "--json"])
    assert len(json.loads(asked.stdout)) == 10
    found = CliRunner().invoke(app, ["nearest", run, "--text", "topicaa topicab", "--kind", "entity", "-k", "3"])
    assert "text topicaa topicab" in found.stdout
    neither = CliRunner().invoke(app, ["nearest", run])
    assert isinstance(neither.exception, UsageError)


def test_other_couplings_make_no_vectors_of_text(run: Train) -> None:
    with pytest.raises(UsageError, match="coupling dual makes no vectors of text"):
        distjoint.load(str(run({"model.coupling": "dual"}))).text_vector("teama")


@pytest.mark.parametrize("coupling", ["described", "fields"])
def test_a_run_that_is_stopped_goes_on_to_the_same_bits(told: str, tmp_path: Path, coupling: str) -> None:
    whole, parted, reads = str(tmp_path / "whole"), str(tmp_path / "parted"), {**READS, "model.coupling": coupling}
    distjoint.train(told, whole, config({**reads, "train.epochs": 2}))
    distjoint.train(told, parted, config({**reads, "train.epochs": 1}))
    distjoint.train(resume=parted, settings={"train.epochs": 2})
    assert_same_bits(tensors(whole), tensors(parted))


def test_threads_change_no_bit(told: str, tmp_path: Path) -> None:
    for threads in (1, 2):
        distjoint.train(told, str(tmp_path / str(threads)), config({**READS, "train.threads": threads}))
    assert_same_bits(tensors(tmp_path / "1"), tensors(tmp_path / "2"))


def test_a_dataset_in_which_nothing_is_said_is_refused(tmp_path: Path, run: Train) -> None:
    (tmp_path / "t.tsv").write_text("a\tr\tb\n")
    (tmp_path / "text").write_text("c d\n")
    distjoint.prepare(str(tmp_path / "d"), triples=str(tmp_path / "t.tsv"), corpus=str(tmp_path / "text"), min_count=1)
    with pytest.raises(UsageError, match=r"nothing is said of entities in it.*prepare it with --descriptions"):
        run(READS, str(tmp_path / "d"), "refused")
    assert not (tmp_path / "refused").exists()


# Where shards rotate


ROTATING = {**READS, "train.triple_passes": 2, "train.epochs": 2, "train.groups": 4}


def whole(run: Path, part: str) -> np.ndarray:
    """A part of all shards, in order of shard and offset."""
    found, layout_ = tensors(run), RunFolder.open(str(run)).layout
    names = [name for name in found if name.endswith(f"/{part}")]
    assert len(names) == layout_.shards
    return np.concatenate([found[name] for name in names])


def test_a_round_of_visits_reads_what_one_refresh_does(told: str, tmp_path: Path) -> None:
    """Of words that stay where they are, and a map that does: the sum of all visits' parts is all that is said."""
    still = {"graph.into_words": 0.0, "graph.into_reading": 0.0, "text.learning_rate": 1e-12, "train.freeze": ["map"]}
    for name, groups in (("all", 2), ("some", 3), ("each", 4)):
        settings = {**ROTATING, **still, "train.groups": groups, "train.triple_passes": 1}
        distjoint.train(told, str(tmp_path / name), config(settings))
    text = whole(tmp_path / "all", "T")
    assert (np.abs(text).sum(1) > 0).sum() == Dataset.open(told).manifest.counts["described"]
    for name in ("some", "each"):  # a mean is that of the words that are there, so centres differ
        found = whole(tmp_path / name, "T")
        cosine = (found * text).sum(1) / np.maximum(np.linalg.norm(found, axis=1) * np.linalg.norm(text, axis=1), 1e-9)
        assert np.median(cosine[np.abs(text).sum(1) > 0]) > 0.9


def test_words_move_by_the_gradient_of_the_round_before(told: str, tmp_path: Path) -> None:
    for name, into in (("read", 0.0), ("moved", 2.0)):
        moved = {"graph.into_words": into, "graph.into_reading": into}
        distjoint.train(told, str(tmp_path / name), config({**ROTATING, **moved}))
    for part in ("word.graph_state", "R.state"):
        states = [whole(tmp_path / name, part) for name in ("read", "moved")]
        assert not states[0].any()
        assert (states[1] > 0).sum() > 50


OF_FIELDS = {"model.coupling": "fields", "train.memory": 50_000}


@pytest.mark.parametrize(
    "settings", [{"train.lanes": 2}, {"train.memory": 40_000}, OF_FIELDS], ids=["lanes", "disk", "fields"]
)
def test_a_stopped_run_goes_on_to_the_same_bits_where_shards_rotate(
    settings: dict[str, object], told: str, tmp_path: Path
) -> None:
    every = {**ROTATING, **settings}
    distjoint.train(told, str(tmp_path / "whole"), config({**every, "train.epochs": 2}))
    distjoint.train(told, str(tmp_path / "parted"), config({**every, "train.epochs": 1}))
    distjoint.train(resume=str(tmp_path / "parted"), settings={"train.epochs": 2})
    assert_same_bits(tensors(tmp_path / "whole"), tensors(tmp_path / "parted"))


def test_it_learns_where_shards_rotate(told: str, tmp_path: Path) -> None:
    settings = {**ROTATING, "train.epochs": 3, "train.triple_passes": 10, "model.dim": 32}
    made = distjoint.train(told, str(tmp_path / "run"), config(settings))
    assert made.history[-1]["graph_loss"] < made.history[0]["graph_loss"]
    assert made.metrics["refreshes"] == 10 * 6  # of an epoch: passes times visits
    answers = distjoint.load(str(tmp_path / "run")).predict(head="newcomer_1", relation="knows", k=3, known="include")
    assert "coacha" in {answer.name for answer in answers}
    assert np.array_equal(tensors(tmp_path / "run")["dense/map"], np.eye(32))  # a visit sees too little to turn it
