"""Character n-grams of names: those that entities share, and rows and vectors of their own."""

from __future__ import annotations

from collections import Counter, defaultdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from distjoint.data import grams
from distjoint.data.grams import find_grams, grams_of

pytestmark = pytest.mark.unit


def test_a_name_has_the_pieces_between_its_marked_ends() -> None:
    assert grams_of("cat") == ["<cat", "cat>", "<cat>"]
    assert grams_of("ab") == ["<ab>"]
    assert grams_of("") == grams_of("a") == []


@given(
    st.lists(st.tuples(st.integers(0, 3), st.text("ab\U0001f40bé_", max_size=9)), max_size=8),
    st.integers(1, 3),
    st.integers(1, 30),
)
def test_grams_are_those_that_enough_entities_share(named: list[tuple[int, str]], least: int, size: int) -> None:
    of = defaultdict(set)
    for entity, name in named:
        for gram in grams_of(name):
            of[gram].add(entity)
    expected = {(entity, gram) for gram, entities in of.items() if len(entities) >= least for entity in entities}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(grams, "SLICE", size)
        owner = np.array([entity for entity, _ in named], np.int64)
        entity, gram, spelled = find_grams(owner, [name for _, name in named], least)
    found = list(zip(entity.tolist(), (spelled[k] for k in gram.tolist()), strict=True))
    assert len(found) == len(set(found)) and set(found) == expected
    assert (np.diff(entity) >= 0).all()
    counts = Counter(gram for _, gram in found)
    assert spelled == sorted(counts, key=lambda gram: (-counts[gram], gram))
