"""The arithmetic between row ids and places is a bijection, and every tile has its share of every kind."""

from __future__ import annotations

from dataclasses import replace

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


added = st.tuples(st.integers(0, 20), st.integers(0, 20), st.integers(0, 20), st.integers(0, 9))


@given(layouts, st.integers(0, 9), st.lists(added, max_size=4))
def test_a_layout_that_grows_keeps_rows_where_they_were_and_has_one_place_for_each(
    first: Layout, grams: int, growths: list[tuple[int, int, int, int]]
) -> None:
    old = replace(first, grams=min(grams, first.words))
    layout = old
    for words, aligned, entities, count in growths:
        layout = layout.grow(words, aligned, entities, min(count, words))
    assert layout.grew_from(old) and (layout.rows == old.rows) == (layout == old)
    test_every_row_has_one_place_and_comes_back_from_it.hypothesis.inner_test(layout)
    test_every_tile_has_its_share_of_every_kind_words_first_entities_last.hypothesis.inner_test(layout)

    def tiles(of: Layout, rows: np.ndarray) -> list[tuple[int, int]]:
        shard, offset = of.locate(rows)
        starts = of.tile_offsets
        found = zip(shard.tolist(), offset.tolist(), strict=True)
        return [(s, int(np.searchsorted(starts[s], o, "right"))) for s, o in found]

    rows = np.arange(old.rows)
    assert tiles(layout, rows) == tiles(old, rows), "a row keeps its tile"
    for kind in ("is_word", "is_entity"):
        assert np.array_equal(getattr(layout, kind)(rows), getattr(old, kind)(rows)), "a row keeps its kind"
    for shard in range(old.shards):
        now, before = layout.rows_of(shard), old.rows_of(shard)
        for tile in range(old.tiles_per_shard):
            cuts = [slice(*of.tile_offsets[shard, tile : tile + 2]) for of in (layout, old)]
            for has in ("is_word", "is_entity"):
                kinds = [part[getattr(layout, has)(part)] for part in (now[cuts[0]], before[cuts[1]])]
                assert np.array_equal(kinds[0][kinds[0] < old.rows], kinds[1]), "rows of a kind keep their order"


@given(layouts, st.integers(0, 9), st.lists(added, max_size=3))
def test_words_ngrams_and_entities_are_numbered_by_their_ids(
    first: Layout, grams: int, growths: list[tuple[int, int, int, int]]
) -> None:
    layout = replace(first, grams=min(grams, first.words))
    kinds = ["w"] * (layout.words - layout.grams) + ["g"] * layout.grams + ["a"] * layout.aligned
    kinds += ["e"] * layout.entities
    for words, aligned, entities, count in growths:
        layout = layout.grow(words, aligned, entities, min(count, words))
        kinds += ["w"] * (words - min(count, words)) + ["g"] * min(count, words) + ["a"] * aligned + ["e"] * entities
    kind, rows = np.array(kinds, object), np.arange(layout.rows)
    words_of = [rows[np.isin(kind, list(names))] for names in ("wga", "wa", "g", "ae")]
    assert np.array_equal(layout.word_rows, words_of[0]) and np.array_equal(layout.entity_rows, words_of[3])
    assert np.array_equal(layout.word_places(words_of[0]), np.arange(layout.with_word))
    assert np.array_equal(layout.entity_places(words_of[3]), np.arange(layout.with_entity))
    assert np.array_equal(layout.mentioned(np.append(words_of[1], words_of[2])), np.arange(layout.with_word))
    assert np.array_equal(layout.entities_at(np.arange(layout.with_entity)), words_of[3])
    assert np.array_equal(layout.words_at(np.arange(layout.vocabulary)), words_of[1])
    for shard in range(layout.shards):
        assert np.array_equal(layout.has_gram(shard), kind[layout.rows_of(shard)] == "g")
