"""What serves as a negative, and how much a triple weighs, against plain references."""

from __future__ import annotations

from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small import Small, Train, config, league, tensors, write_league
from world import backend_of

import distjoint
from distjoint.backends.cpu import masks
from distjoint.base.errors import UsageError
from distjoint.data.types import Domains
from distjoint.train.batches import Batch, subsampled
from distjoint.train.known import KnownPositives
from distjoint.train.negatives import Pool, Typed, sampler_of
from distjoint.train.sources import triples as source

pytestmark = pytest.mark.unit

seeds = st.integers(0, 10**6)


def some_triples(rng: np.random.Generator, entities: int, relations: int, count: int) -> Batch:
    every = np.unique(rng.integers(0, [entities, relations, entities], (count, 3)), axis=0)
    head, relation, tail = np.ascontiguousarray(every[rng.permutation(len(every))].T)
    return Batch(head, relation, tail)


def some_domains(rng: np.random.Generator, triples: Batch, entities: int, relations: int) -> Domains:
    """Random ones, in which every triple keeps to the types of its ends."""
    type_of = rng.integers(0, 4, entities).astype(np.int32)
    head, tail = (rng.random((relations, 4)) < 0.2 for _ in range(2))
    head[triples.relation, type_of[triples.head]] = tail[triples.relation, type_of[triples.tail]] = True
    return Domains(type_of, head, tail)


def weights(rng: np.random.Generator, count: int, even: bool) -> np.ndarray:
    return np.ones(count) if even else rng.random(count) + 0.01


@pytest.mark.parametrize(
    ("backend", "many", "room"), [("cpu", 64, 64 << 20), ("cpu", 2, 64 << 20), ("cpu", 2, 4), ("torch", 64, 0)]
)
@given(seeds, st.integers(1, 5), st.integers(1, 4), st.integers(0, 9), st.integers(1, 2), st.booleans())
def test_known_answers_and_other_types_are_masked_and_nothing_else(
    backend: str, many: int, room: int, seed: int, chunk: int, chunks: int, negatives: int, threads: int, in_batch: bool
) -> None:
    rng, entities, relations = np.random.default_rng(seed), 9, 2
    triples = some_triples(rng, entities, relations, 30)
    domains = some_domains(rng, triples, entities, relations)
    batch = triples.select(rng.integers(0, len(triples), chunk * chunks))
    candidates = rng.integers(0, entities, (2, chunks, chunk + negatives))
    candidates[0, :, :chunk], candidates[1, :, :chunk] = batch.tail.reshape(-1, chunk), batch.head.reshape(-1, chunk)
    candidates = np.ascontiguousarray(candidates if in_batch else candidates[..., chunk:])
    rows, made = np.arange(entities), backend_of(backend, threads)
    typed = Typed(domains, rows, np.ones(entities), domains.type_of.astype(np.int64), made)
    there = set(zip(triples.head.tolist(), triples.relation.tolist(), triples.tail.tolist(), strict=True))
    with patch.multiple(masks, MANY=many, ROOM=room):
        known = KnownPositives(triples, entities, made)
    columns = [torch.from_numpy(column).view(-1, chunk) for column in (batch.head, batch.relation, batch.tail)]
    queried = (*columns, torch.from_numpy(candidates), in_batch, made)
    found = Pool(rows, typed, known).filter_mask(*queried)
    assert found is not None
    for side, which, k, place in np.ndindex(found.numpy().shape):
        at = which * chunk + k
        h, r, t, c = (
            int(x) for x in (batch.head[at], batch.relation[at], batch.tail[at], candidates[side, which, place])
        )
        right = ((h, r, c) if side == 0 else (c, r, t)) in there
        fits = (domains.tail if side == 0 else domains.head)[r, domains.type_of[c]]
        assert found[side, which, k, place] == (not (in_batch and place == k) and (right or not fits))
    assert Pool(rows, sampler_of(rows, None, None, domains.type_of, made)).filter_mask(*queried) is None
    made.close()


@pytest.mark.parametrize("backend", ["cpu", "torch"])
def test_entities_are_drawn_evenly_or_by_weight(backend: str) -> None:
    rows, made, relation = np.array([3, 5, 9]), backend_of(backend), torch.zeros(15, 4, dtype=torch.int64)

    def drawn(weight: np.ndarray | None) -> np.ndarray:
        random = made.random(np.random.default_rng(0))
        found = sampler_of(rows, weight, None, np.empty(0, np.int64), made).draw(random, relation, 1_000)
        assert found.shape == (2, 15, 1_000)
        return np.bincount(found.flatten().numpy(), minlength=10)

    even, weighted = drawn(None), drawn(np.array([1.0, 0.0, 3.0]))
    assert even.sum() == even[rows].sum() == 30_000
    np.testing.assert_allclose(even[rows] / 30_000, 1 / 3, atol=0.02)
    np.testing.assert_allclose(weighted[rows] / 30_000, (0.25, 0, 0.75), atol=0.02)


@pytest.mark.parametrize("backend", ["cpu", "torch"])
@settings(max_examples=settings.default.max_examples // 4)
@given(seeds, st.booleans())
def test_typed_negatives_fit_a_triple_of_their_chunk_and_come_by_weight(backend: str, seed: int, even: bool) -> None:
    rng, entities, relations, count = np.random.default_rng(seed), 12, 3, 2000
    triples = some_triples(rng, entities, relations, 20)
    domains = some_domains(rng, triples, entities, relations)
    rows, made = np.unique(np.concatenate([triples.head, triples.tail])), backend_of(backend)
    weight = weights(rng, len(rows), even)
    sampler = sampler_of(rows, None if even else weight, domains, domains.type_of.astype(np.int64), made)
    relation = torch.from_numpy(triples.relation[: len(triples) // 2 * 2].reshape(-1, 2))
    drawn = sampler.draw(made.random(rng), relation, count)
    assert drawn.shape == (2, len(relation), count)
    for side, allowed in enumerate((domains.tail, domains.head)):
        for chunk, kinds in enumerate(relation.tolist()):
            expected = np.zeros(entities)
            for kind in kinds:
                fits = allowed[kind][domains.type_of[rows]] * weight
                expected[rows] += fits / fits.sum() / len(kinds)
            share = np.bincount(drawn[side, chunk].numpy(), minlength=entities) / count
            np.testing.assert_allclose(share, expected, atol=0.08)
            assert not share[expected == 0].any()


@given(seeds, st.sampled_from([0.0, 0.5, 1.0]))
def test_frequent_triples_weigh_less_and_the_mean_is_one(seed: int, power: float) -> None:
    rng = np.random.default_rng(seed)
    triples = some_triples(rng, 6, 2, 30)
    found = subsampled(triples, power).weight
    if not power:
        assert found is None
        return
    plain = np.array(
        [
            (
                6
                + np.sum((triples.head == h) & (triples.relation == r))
                + np.sum((triples.tail == t) & (triples.relation == r))
            )
            ** -power
            for h, r, t in zip(triples.head, triples.relation, triples.tail, strict=True)
        ]
    )
    assert found is not None
    np.testing.assert_allclose(found, plain / plain.mean(), rtol=1e-5)


def test_a_batch_carries_its_weights_and_padding_weighs_nothing() -> None:
    batch = Batch(np.arange(5), np.zeros(5, int), np.arange(5), weight=np.arange(1, 6, dtype=np.float32))
    padded, weight = batch.select(np.array([4, 0, 2])).wide().padded(4)
    assert padded.head.tolist() == [4, 0, 2, 4]
    assert weight.tolist() == [5, 1, 3, 0]


@pytest.fixture(scope="module")
def typed(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The league as a graph with types: what comes before a name's number or letter."""
    folder = tmp_path_factory.mktemp("typed")
    write_league(folder, "txt")
    names = sorted({end for triple in league()[0] for end in (triple[0], triple[2])})
    kinds = {name: next(k for k in ("player", "coach", "team", "city") if k in name) for name in names}
    (folder / "types.txt").write_text("".join(f"{name}\t{kind}\n" for name, kind in kinds.items()))
    distjoint.prepare(str(folder / "data"), graph=str(folder), types=str(folder / "types.txt"), shards=4)
    return str(folder / "data")


@pytest.mark.parametrize(("key", "groups"), [("graph.mask_known", 4), ("graph.typed", 4), ("graph.subsampling", 2)])
def test_a_run_learns_with_each_option_and_is_tested_in_the_end(
    typed: str, tmp_path: Path, known: Train, key: str, groups: int
) -> None:
    settings = {"train.groups": groups, "train.final_test": True, "train.epochs": 3, "train.validate_every": 3}
    value = {"graph.mask_known": False, "graph.typed": True, "graph.subsampling": 0.5}[key]
    made = distjoint.train(typed, str(tmp_path / "made"), config({**settings, key: value}))
    assert made.history[-1]["graph_loss"] < made.history[0]["graph_loss"]
    one, other = tensors(known(settings, typed)), tensors(tmp_path / "made")
    assert any(not np.array_equal(values, other[name]) for name, values in one.items())
    assert made.test is not None
    assert made.test["mrr"] > 0.2
    assert made.test["typed"] == (key == "graph.typed") == made.metrics.get("typed", False)
    report = distjoint.evaluate(str(tmp_path / "made"), link_prediction="test", typed=made.test["typed"]).to_dict()
    assert made.test == report["link_prediction"]
    assert (tmp_path / "made" / "test.json").is_file()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"graph.typed": True}, "--types"),
        ({"train.final_test": True}, "no test triples"),
        ({"graph.typed": True, "graph.candidates": "1vsall"}, "typed is for sampled negatives"),
        ({"graph.subsampling": 0.5, "graph.candidates": "kvsall"}, "subsampling is for sampled negatives"),
        ({"model.norm": 1, "model.scorer": "complex", "model.cosine": False}, "complex has none"),
        ({"model.norm": 1, "model.scorer": "transe", "model.cosine": True}, "set cosine to false"),
    ],
)
def test_what_does_not_go_together_is_named(
    small: Small, tmp_path: Path, settings: dict[str, object], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        distjoint.train(small.known, str(tmp_path / "run"), config(settings))


def test_a_run_without_its_graph_has_no_final_test(small: Small, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"this run trains no graph \(loss.alpha=0\)"):
        distjoint.train(small.joint, str(tmp_path / "run"), config({"train.final_test": True, "loss.alpha": 0.0}))


def test_a_visit_of_too_many_triples_is_not_masked(typed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(name: str, masked: bool) -> dict[str, np.ndarray]:
        distjoint.train(typed, str(tmp_path / name), config({"graph.mask_known": masked, "train.epochs": 1}))
        return tensors(tmp_path / name)

    monkeypatch.setattr(source, "BLOCK", 50)
    masked, unmasked = run("masked", True), run("unmasked", False)
    assert all(np.array_equal(values, unmasked[name]) for name, values in masked.items())
