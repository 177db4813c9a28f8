"""Mentions: what `prepare` says of entities by their names and descriptions, and what it says of what it leaves out."""

from __future__ import annotations

import math
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import distjoint
from distjoint.data import mentions
from distjoint.data.alignment import Alignment, Sample
from distjoint.data.dataset import Dataset
from distjoint.data.mentions import Mentions, find_mentions
from distjoint.data.request import PrepareOptions
from distjoint.data.streams import MENTIONS

pytestmark = pytest.mark.unit

OPTIONS = PrepareOptions("somewhere", corpus="text", triples="graph", gram_entities=2)
WORDS = ["a", "dog", "animal", "barks", "new", "york", "new_york"]


def weights(found: Mentions, words: list[str]) -> dict[tuple[int, str], float]:
    return {(e, words[w]): x for e, w, x in zip(found.entity.tolist(), found.word.tolist(), found.weight, strict=True)}


def test_weights_are_those_computed_by_hand() -> None:
    """Rarity is log((entities + 1) / entities it is said of), of the three that have text."""
    names, texts = [["Dog"], ["New York"], [], []], [["an animal, a dog that barks"], [], ["A thing. A"], ["unheard"]]
    alignment = Alignment(shared={0: (1, "label")}, samples=[Sample(1, 6, 0.5, "label")])
    found = weights(find_mentions(names, texts, alignment, WORDS, OPTIONS), WORDS)
    once, twice = math.log(4 / 1), math.log(4 / 2)

    def early(place: int) -> float:
        return 1 + 8 * math.exp(-place / 3)

    dog = {"dog": once * (2 + early(3)), "animal": once * early(1), "barks": once * early(5), "a": twice * early(2)}
    york = {"new": once * 2, "york": once * 2, "new_york": once * 2}
    thing = {"a": twice * (early(0) + early(2))}
    expected = {}
    for entity, said in enumerate((dog, york, thing)):
        length = math.sqrt(sum(value**2 for value in said.values()))
        expected |= {(entity, word): value / length for word, value in said.items()}
    assert found == pytest.approx(expected)


def test_settings_weigh_names_and_early_words() -> None:
    options = PrepareOptions("somewhere", corpus="text", triples="graph", name_weight=5.0, early_weight=0.0)
    found = weights(find_mentions([["dog"], []], [["animal barks"], []], Alignment(), WORDS, options), WORDS)
    assert found[0, "dog"] == pytest.approx(5 * found[0, "animal"])
    assert found[0, "barks"] == pytest.approx(found[0, "animal"])


def test_grams_of_names_weigh_what_was_computed_by_hand() -> None:
    """`dog` is no word here; two names share three grams, which have a weight together."""
    found = find_mentions([["A Dog"], ["my dog"], ["dogs"]], [[], [], []], Alignment(), ["a"], OPTIONS)
    assert found.grams == ["_dog", "_dog>", "dog>"]
    # `<dogs>` shares none of its grams, so two entities are described.
    once, twice = math.log(3 / 1), math.log(3 / 2)
    word, gram = 2 * once, 1 / math.sqrt(3) * twice
    first = math.sqrt(word**2 + 3 * gram**2)
    expected = {(0, "a"): word / first} | {(0, name): gram / first for name in found.grams}
    expected |= {(1, name): 1 / math.sqrt(3) for name in found.grams}
    assert weights(found, ["a", *found.grams]) == pytest.approx(expected)


@given(
    st.lists(st.lists(st.text("ab cd\n-\t\0", max_size=12), max_size=3), min_size=1, max_size=5),
    st.lists(st.sampled_from("abcd"), max_size=3, unique=True),
)
def test_mentions_are_the_words_of_each_entity_alone_and_have_length_one(
    texts: list[list[str]], words: list[str]
) -> None:
    found = find_mentions([[] for _ in texts], texts, Alignment(), words, OPTIONS)
    said = defaultdict(set)
    for entity, word in zip(found.entity.tolist(), found.word.tolist(), strict=True):
        said[entity].add(words[word])
    for entity, several in enumerate(texts):
        tokens = {token for text in several for token in text.replace("-", " ").replace("\0", " ").split()}
        assert said[entity] == tokens & set(words)
        if said[entity]:
            assert (found.weight[found.entity == entity] ** 2).sum() == pytest.approx(1)
    assert (found.weight > 0).all()
    assert (np.diff(found.entity) >= 0).all()


def test_an_entity_of_very_many_words_keeps_the_heaviest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mentions, "MOST", 2)
    texts = [["dog animal barks"], ["barks"], ["barks"]]
    found = find_mentions([[], [], []], texts, Alignment(), WORDS, OPTIONS)
    assert set(weights(found, WORDS)) == {(0, "dog"), (0, "animal"), (1, "barks"), (2, "barks")}
    assert found.capped == 1


# Through `prepare`


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "train.tsv").write_text("e1\tis\te2\ne3\tis\te2\ne4\tis\te1\n")
    (tmp_path / "about.tsv").write_text("e1\ta dog that barks\ne2\tan animal\ne3\ta cat that meows\ttwice\n")
    return tmp_path


def prepared(folder: Path, **options: object) -> tuple[distjoint.data.summary.Summary, Dataset]:
    given: dict[str, object] = {"triples": str(folder / "train.tsv"), "descriptions": str(folder / "about.tsv")}
    summary = distjoint.prepare(str(folder / "data"), **{**given, "min_count": 1, "shards": 2, **options})
    return summary, Dataset.open(str(folder / "data"))


def test_descriptions_are_a_stream_by_partition_and_corpus_where_there_is_no_other(folder: Path) -> None:
    summary, data = prepared(folder)
    rows, found = data.rows().to_pydict(), {}
    ids = [data.layout.rows_of(shard) for shard in range(2)]
    for i in range(2):
        for j in range(2):
            part = data.samples(MENTIONS, i, j, {"entity": None, "word": None, "weight": None})
            for entity, word, weight in zip(*part.values(), strict=True):
                found[rows["entity"][ids[i][entity]], rows["word"][ids[j][word]]] = weight
    assert {word for entity, word in found if entity == "e3"} == {"a", "cat", "that", "meows", "twice"}
    assert {entity for entity, _ in found} == {"e1", "e2", "e3"}
    assert sum(weight**2 for (entity, _), weight in found.items() if entity == "e1") == pytest.approx(1)
    assert "e1" not in rows["word"]
    assert summary.counts["mentions"] == data.manifest.counts["mentions"] == len(found) == 11
    assert summary.counts["described"] == 3
    assert summary.counts["documents"] == 3
    assert summary.described is not None
    assert summary.described.entities == {"0": 1, "1": 0, "2-5": 3, "6 or more": 0}
    assert (summary.described.tokens, summary.described.known) == (11, 11)
    assert any(line.startswith("e1: ") and "dog" in line for line in summary.described.examples)
    assert "There is no other text, so the descriptions are read as corpus." in summary.notes


def test_beside_a_corpus_descriptions_are_read_when_asked(folder: Path) -> None:
    (folder / "text").write_text("a dog\na dog\n")
    for asked, tokens in ((None, 4), (False, 4), (True, 15)):
        summary, data = prepared(folder, corpus=str(folder / "text"), read_descriptions=asked, overwrite=True)
        assert summary.counts["text_tokens"] == tokens
        assert data.manifest.counts["described"] == (3 if asked else 2)  # e2 is said to be what the text does not know


def test_names_alone_say_something_of_entities(folder: Path) -> None:
    (folder / "text").write_text("a dog\nnew york\n")
    (folder / "labels").write_text("e1\tDog\ne4\tNew Dog\tYork\n")
    given = {"descriptions": (), "corpus": str(folder / "text"), "labels": str(folder / "labels"), "gram_entities": 2}
    summary, _ = prepared(folder, **given)
    assert (summary.counts["mentions"], summary.counts["grams"]) == (4 + 2, 1)  # both are said by "dog>" too
    assert summary.described is not None
    assert summary.described.entities["0"] == 2


def test_grams_have_rows_that_change_nothing_of_what_is_counted(folder: Path) -> None:
    """They lie between words alone and aligned ones, so the rows of the latter move."""
    (folder / "text").write_text("".join(f"{name} barks at {name}\n" for name in ("dogfish", "catfish", "the cat")))
    (folder / "labels").write_text("e1\tDogfish\ne2\tCatfish\ne3\tSwordfish\ne4\tSunfish\n")
    given = {"descriptions": (), "corpus": str(folder / "text"), "labels": str(folder / "labels"), "overwrite": True}
    counted = []
    for weight in (0.0, 1.0):
        _, data = prepared(folder, gram_weight=weight, **given)
        rows, ids = data.rows().to_pydict(), [data.layout.rows_of(shard) for shard in range(2)]
        cells = {}
        for i in range(2):
            for j in range(2):
                part = data.cells(i, j)
                pairs = zip(ids[i][part.row].tolist(), ids[j][part.column].tolist(), part.count.tolist(), strict=True)
                cells |= {(rows["word"][row], rows["word"][column]): count for row, column, count in pairs}
        counted.append(cells)
        grams = [gram for gram in rows.get("gram", ()) if gram is not None]
        assert data.manifest.counts.get("grams", 0) == data.layout.grams == len(grams)
    assert counted[0] == counted[1] and len(grams) == 3
    assert data.manifest.counts["aligned"] == 2
