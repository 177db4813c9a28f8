"""The arithmetic between row ids and places is a bijection, and every tile has its share of every kind."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from distjoint.table.layout import Layout, choose_tiles

pytestmark = pytest.mark.unit

sizes = st.integers(0, 60)
layouts = st.builds(
    lambda shards, per_shard, words, aligned, entities: Layout(shards, shards * per_shard, words, aligned, entities),
    st.integers(1, 6), st.integers(1, 5), sizes, sizes, sizes,
)  # fmt: skip


@given(layouts)
def test_every_row_has_one_place_and_comes_back_from_it(layout: Layout) -> None:
    rows = np.arange(layout.rows)
    shard, offset = layout.locate(rows)
    places = set(zip(shard.tolist(), offset.tolist(), strict=True))
    assert len(places) == layout.rows == sum(map(layout.shard_rows, range(layout.shards)))
    for s in range(layout.shards):
        ids = layout.rows_of(s)
        assert len(ids) == layout.shard_rows(s)
        assert np.array_equal(layout.locate(ids), np.stack([np.full(len(ids), s), np.arange(len(ids))]))


@given(layouts)
def test_rank_k_of_a_kind_lives_in_tile_k_mod_tiles(layout: Layout) -> None:
    starts = (0, layout.words, layout.words + layout.aligned)
    for start, count in zip(starts, (layout.words, layout.aligned, layout.entities), strict=True):
        shard, offset = layout.locate(start + np.arange(count))
        local = np.array(
            [np.searchsorted(layout.tile_offsets[s], o, "right") - 1 for s, o in zip(shard, offset, strict=True)], int
        )
        assert np.array_equal(shard * layout.tiles_per_shard + local, np.arange(count) % layout.tiles)


@given(layouts)
def test_every_tile_has_its_share_of_every_kind_words_first_entities_last(layout: Layout) -> None:
    assert np.array_equal(layout.tile_kinds.sum(0), [layout.words, layout.aligned, layout.entities])
    assert (layout.tile_kinds.max(0) - layout.tile_kinds.min(0)).max() <= 1
    for shard in range(layout.shards):
        word, entity = layout.has_word(shard), layout.has_entity(shard)
        assert (word | entity).all()
        assert (int(word.sum()), int(entity.sum())) == (layout.shard_words(shard), layout.shard_entities(shard))
        for tile in range(layout.tiles_per_shard):
            cut = slice(*layout.tile_offsets[shard, tile : tile + 2])
            assert np.array_equal(word[cut], np.sort(word[cut])[::-1])
            assert np.array_equal(entity[cut], np.sort(entity[cut]))
            assert word[cut].sum() == np.diff(layout.word_offsets[shard, tile : tile + 2])
            assert entity[cut].sum() == np.diff(layout.entity_offsets[shard, tile : tile + 2])


@pytest.mark.parametrize(("shards", "tiles"), [(0, 4), (3, 4), (2, 0), (4, 2)])
def test_tiles_that_do_not_fall_into_shards_are_refused(shards: int, tiles: int) -> None:
    with pytest.raises(ValueError, match="do not fall into"):
        Layout(shards, tiles, 1, 1, 1)


@given(st.integers(1, 10**7), st.integers(1, 64))
def test_tiles_are_a_multiple_of_the_shards_of_about_a_thousand_rows(rows: int, shards: int) -> None:
    tiles = choose_tiles(rows, shards)
    assert tiles % shards == 0
    assert tiles == shards or 500 < rows / tiles < 2000
