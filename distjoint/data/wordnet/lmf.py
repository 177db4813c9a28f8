"""Wordnets in WN-LMF, the Global WordNet Association's XML, as the package `wn` and Open English WordNet write it.

The file is read piece by piece. Entities of XML that the file defines are refused: they can blow up without bound.
"""

from __future__ import annotations

from collections.abc import Mapping
from xml.parsers import expat

from distjoint.base.errors import DistjointError
from distjoint.data.cases import Cases
from distjoint.data.lines import BLOCK, open_text
from distjoint.data.wordnet.base import Synsets, Triple
from distjoint.storage import Location

MARK = b"<LexicalResource"
"""Near the beginning of every such file."""
INVERSES = {
    "hyponym": "hypernym",
    "instance_hyponym": "instance_hypernym",
    **{f"mero_{kind}": f"holo_{kind}" for kind in ("location", "member", "part", "portion", "substance")},
    "meronym": "holonym",
    "has_domain_topic": "domain_topic",
    "has_domain_region": "domain_region",
    "is_exemplified_by": "exemplifies",
    "is_caused_by": "causes",
    "is_entailed_by": "entails",
}
"""Relations that say what another one says the other way round; they are turned."""
_TEXTS = ("Definition", "Example")


def read_lmf(file: Location) -> Synsets:
    """All synsets of the lexicons of a file, under their ids; relations of senses are those of their synsets.

    raises DistjointError naming what is no such file, with the line
    """
    reader = _Reader(file)
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler, parser.EndElementHandler = reader.start, reader.end
    parser.CharacterDataHandler, parser.EntityDeclHandler = reader.text, reader.refuse_entity
    try:
        with open_text(file) as (stream, _):
            while piece := bytes(stream.read(BLOCK)):
                parser.Parse(piece, False)
        parser.Parse(b"", True)
    except expat.ExpatError as error:
        raise DistjointError(f"{file}, line {error.lineno:,}: not XML ({expat.ErrorString(error.code)})") from error
    except (LookupError, ValueError) as error:
        raise DistjointError(f"{file}: XML in an encoding that is not read ({error}); write it as UTF-8") from error
    return reader.synsets()


class _Reader:
    """What a file says, as far as it was read."""

    def __init__(self, file: Location) -> None:
        self._file = file
        self._written: dict[str, str] = {}  # form of each entry
        self._members: dict[str, list[str]] = {}  # entries of each synset, by its senses
        self._ordered: dict[str, list[str]] = {}  # the same, as the synset lists them
        self._texts: dict[str, list[str]] = {}
        self._synset_of: dict[str, str] = {}  # of each sense
        self._of_synsets: list[Triple] = []
        self._of_senses: list[Triple] = []
        self._entry = self._sense = self._synset = ""
        self._characters: list[str] | None = None
        self._depth, self._incomplete = 0, Cases()

    def refuse_entity(self, name: str, *_: object) -> None:
        raise DistjointError(f"{self._file}: defines the XML entity '{name}', which is not read; write it out")

    def start(self, tag: str, values: Mapping[str, str]) -> None:
        tag = tag.removeprefix("External")
        if not self._depth and tag != "LexicalResource":
            raise DistjointError(f"{self._file}: XML of '{tag}', not of a wordnet in WN-LMF (LexicalResource)")
        self._depth += 1
        if tag in ("LexicalEntry", "Sense", "Synset") and not values.get("id"):
            self._incomplete.add(f"{tag} without an id")
        if tag == "LexicalEntry":
            self._entry = values.get("id", "")
        elif tag == "Lemma" and self._entry:
            self._written[self._entry] = values.get("writtenForm", "")
        elif tag == "Sense":
            self._sense = values.get("id", "")
            if synset := values.get("synset"):
                self._synset_of[self._sense] = synset
                self._members.setdefault(synset, []).append(self._entry)
        elif tag == "Synset":
            self._synset = values.get("id", "")
            if self._synset:
                self._texts.setdefault(self._synset, [])
                self._ordered.setdefault(self._synset, []).extend(values.get("members", "").split())
        elif tag in ("SynsetRelation", "SenseRelation"):
            self._relate(tag == "SynsetRelation", values)
        elif tag in _TEXTS and self._synset:
            self._characters = []

    def end(self, tag: str) -> None:
        tag = tag.removeprefix("External")
        self._depth -= 1
        if tag == "Synset":
            self._synset = ""
        elif tag == "LexicalEntry":
            self._entry = ""
        elif tag == "Sense":
            self._sense = ""
        elif tag in _TEXTS and self._characters is not None:
            said = " ".join("".join(self._characters).split())
            self._texts[self._synset] += [said] * bool(said)
            self._characters = None

    def text(self, characters: str) -> None:
        if self._characters is not None:
            self._characters.append(characters)

    def _relate(self, of_synset: bool, values: Mapping[str, str]) -> None:
        source, target = self._synset if of_synset else self._sense, values.get("target", "")
        kind = values.get("relType", "")
        if kind == "other":
            kind = values.get("dc:type", kind)
        if not (source and target and kind):
            self._incomplete.add(f"a relation of {source or 'nothing'} to {target or 'nothing'}")
            return
        triple = (target, INVERSES[kind], source) if kind in INVERSES else (source, kind, target)
        (self._of_synsets if of_synset else self._of_senses).append(triple)

    def synsets(self) -> Synsets:
        if not self._texts:
            raise DistjointError(f"{self._file}: no synsets in it")
        dangling, itself, triples = Cases(), 0, set[Triple]()
        found = [(head, relation, tail, self._texts) for head, relation, tail in self._of_synsets]
        of = self._synset_of
        found += [(of.get(head, head), name, of.get(tail, tail), self._texts) for head, name, tail in self._of_senses]
        for head, relation, tail, known in found:
            if head not in known or tail not in known:
                dangling.add(f"{head} {relation} {tail}")
            elif head == tail:
                itself += 1
            else:
                triples.add((head, relation, tail))
        names = {}
        for synset in self._texts:
            entries = dict.fromkeys((*self._ordered[synset], *self._members.get(synset, ())))
            forms = [self._written[entry] for entry in entries if self._written.get(entry)]
            names[synset] = [*dict.fromkeys(" ".join(form.split()) for form in forms)]
        notes = []
        if dangling.count:
            notes.append(f"Relations with a synset that is not there, left out{dangling}.")
        if itself:
            notes.append(f"Relations of senses of one synset, left out: {itself:,}.")
        if self._incomplete.count:
            notes.append(f"Elements that say too little, left out{self._incomplete}.")
        return Synsets(sorted(triples), names, self._texts, tuple(notes))
