"""The table: which parts a run allocates, how shards begin, and that they come through slots, flat arrays and
checkpoints unchanged.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from distjoint.couplings.scheme import Scheme, initial_shard
from distjoint.recipes.load import load_config
from distjoint.table.arena import NONE, Arena, pack, unpack
from distjoint.table.layout import Layout
from distjoint.table.parts import Shard, packed_size, table_bytes
from distjoint.train.residency import shard_bytes, slots_needed

pytestmark = pytest.mark.unit

CPU = torch.device("cpu")
LAYOUT = Layout(4, 8, 30, 9, 41)
ADAM = {"mean": 6, "square": 0, "steps": 0}
TEXT = {"W", "C", "W.bias", "C.bias", "W.state", "C.state", "W.bias.state", "C.bias.state"}


def scheme_of(text: bool, graph: bool, coupling: str = "none", **settings: Any) -> Scheme:
    config = load_config(overrides={"model.dim": 6, "model.coupling": coupling, **settings})
    return Scheme.of(config, text, graph)


TEXT_ALONE, GRAPH_ALONE = scheme_of(True, False), scheme_of(False, True)
JOINT = {coupling: scheme_of(True, True, coupling) for coupling in ("none", "tie", "dual")}
SCHEMES = {"text": TEXT_ALONE, "graph": GRAPH_ALONE, **JOINT}


def start(scheme: Scheme, shard: int, layout: Layout = LAYOUT) -> Shard:
    return initial_shard(scheme, layout, shard)


@pytest.mark.parametrize(
    ("alpha", "text", "graph", "coupling", "parts"),
    [
        (0.5, True, True, "dual", TEXT | {"word.graph_state", "X", "X.state"}),
        (0.5, True, True, "tie", TEXT | {"word.graph_state", "X", "X.state"}),
        (0.5, True, True, "none", TEXT | {"X", "X.state"}),
        (0, True, True, "dual", TEXT),
        (1, True, True, "dual", {"X", "X.state"}),
        (0.5, True, False, "dual", TEXT),
        (1, True, False, "dual", TEXT),
        (0.5, False, True, "dual", {"X", "X.state"}),
        (0, False, True, "dual", {"X", "X.state"}),
    ],
)
def test_only_what_trains_is_allocated(alpha: float, text: bool, graph: bool, coupling: str, parts: set[str]) -> None:
    scheme = scheme_of(text, graph, coupling, **{"loss.alpha": alpha})
    assert {part.name for part in scheme.parts} == parts
    assert scheme.coupling.name == (coupling if text and graph and 0 < alpha < 1 else "none")
    sizes = sum(packed_size(scheme.parts, LAYOUT, shard) for shard in range(LAYOUT.shards))
    assert 4 * sizes == table_bytes(scheme.parts, LAYOUT)


def test_an_optimizer_has_the_state_it_declares_of_each_part() -> None:
    adam = scheme_of(True, True, "dual", **{"graph.optimizer": "adam"})
    states = {f"{part}{name}": width for part in ("X.", "word.graph_") for name, width in ADAM.items()}
    assert {part.name: part.width for part in adam.parts if part.name not in TEXT | {"X"}} == states
    assert bool((torch.cat([start(adam, 0)[name].flatten() for name in states]) == 0).all())


def test_a_shard_begins_as_the_seed_and_its_number_say() -> None:
    schemes = [scheme_of(True, True, "dual", **{"train.seed": seed}) for seed in (0, 1)]
    one, again, other, seeded = (start(schemes[seed], shard) for shard, seed in ((0, 0), (0, 0), (1, 0), (0, 1)))
    assert all(torch.equal(one[name], again[name]) for name in one)
    assert not torch.equal(one["W"], other["W"])
    assert not torch.equal(one["W"], seeded["W"])


@pytest.mark.parametrize("coupling", ["none", "dual"])
def test_an_entity_beside_a_word_begins_near_zero_where_it_is_added_to_the_word(coupling: str) -> None:
    X = start(JOINT[coupling], 2)["X"]
    aligned = LAYOUT.has_word(2)[LAYOUT.has_entity(2)]
    norms = X.norm(dim=1).numpy()
    assert norms[~aligned].min() > 0.1
    assert (norms[aligned].max() < 0.01) == (coupling == "dual")


@pytest.mark.parametrize("name", SCHEMES)
def test_a_shard_comes_through_slots_and_flat_arrays_unchanged(name: str) -> None:
    scheme = SCHEMES[name]
    arena = Arena(scheme.parts, LAYOUT, 3, CPU)
    starts = {shard: start(scheme, shard) for shard in range(LAYOUT.shards)}
    for shard in (2, 0, 1):
        arena.put(shard, starts[shard])
    arena.drop(0)
    arena.put(3, starts[3])
    for shard in (1, 2, 3):
        views = arena.views(shard)
        assert list(views) == list(starts[shard])
        assert all(torch.equal(views[name], starts[shard][name]) for name in views)
        flat = pack(views)
        assert len(flat) == packed_size(scheme.parts, LAYOUT, shard)
        back = unpack(flat, scheme.parts, LAYOUT, shard)
        assert all(torch.equal(back[name], views[name]) for name in views)


def test_views_are_the_arenas_own_memory_and_the_index_finds_them() -> None:
    scheme, arena = JOINT["dual"], Arena(JOINT["dual"].parts, LAYOUT, 2, CPU)
    arena.put(3, start(scheme, 3))
    arena.put(1, start(scheme, 1))
    arena.views(1)["W"][:] = 7
    base, word = arena.base(1), LAYOUT.has_word(1)
    index = arena.word_index[base : base + LAYOUT.shard_rows(1)]
    assert np.array_equal(index != NONE, word)
    assert np.array_equal(arena.has_word[base : base + LAYOUT.shard_rows(1)], word)
    assert arena.word_index[NONE] == arena.entity_index[NONE] == NONE
    assert bool((arena.arrays["W"][index[word]] == 7).all())
    assert int((arena.arrays["W"] == 7).all(1).sum()) == LAYOUT.shard_words(1)
    tile = LAYOUT.tiles_per_shard + 1  # the second tile of shard 1
    first = int(LAYOUT.tile_offsets[1, 1])
    assert arena.word_base(tile) == arena.word_index[base + first]
    arena.drop(1)
    assert (arena.word_index[base : base + LAYOUT.shard_rows(1)] == NONE).all()
    assert not arena.has_word[base : base + LAYOUT.shard_rows(1)].any()


def test_an_arena_row_knows_its_shard_and_row_id() -> None:
    scheme, arena = JOINT["none"], Arena(JOINT["none"].parts, LAYOUT, 2, CPU)
    for shard in (3, 1):
        arena.put(shard, start(scheme, shard))
    for shard in (3, 1):
        rows = arena.base(shard) + np.arange(LAYOUT.shard_rows(shard))
        assert {arena.shard_of(row) for row in rows.tolist()} == {shard}
        assert [arena.row_id(row) for row in rows.tolist()] == LAYOUT.rows_of(shard).tolist()


def test_masks_of_frozen_rows_are_of_what_is_frozen_and_there() -> None:
    scheme = scheme_of(True, False, **{"train.freeze": "contexts,entities,relations"})
    arena = Arena(scheme.parts, LAYOUT, 2, CPU, scheme.frozen)
    assert scheme.frozen == {"C", "X"}
    assert arena.frozen.keys() == {"C"}
    assert arena.frozen["C"].shape == (len(arena.arrays["C"]),)
    assert bool(arena.frozen["C"].all())


def test_shards_without_words_or_without_rows_are_no_trouble() -> None:
    layout, scheme = Layout(4, 4, 0, 0, 3), GRAPH_ALONE
    arena = Arena(scheme.parts, layout, 4, CPU)
    for shard in range(4):
        arena.put(shard, start(scheme, shard, layout))
    assert pack(arena.views(3)).shape == (0,)
    assert arena.views(0)["X"].shape == (1, 6)


def test_slots_and_bytes_of_the_largest_shard() -> None:
    assert slots_needed(LAYOUT, 2, 1) == 4
    assert slots_needed(LAYOUT, 4, 1) == 2
    assert slots_needed(LAYOUT, 3, 1) == 4
    assert shard_bytes(GRAPH_ALONE.parts, LAYOUT) == 4 * 7 * max(map(LAYOUT.shard_entities, range(4)))
