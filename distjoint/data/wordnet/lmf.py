"""Wordnets in WN-LMF, the Global WordNet Association's XML, as the package `wn` and Open English WordNet write it.

The file is read piece by piece. Entities of XML that the file defines are refused: they can blow up without bound.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain
from xml.parsers import expat

from distjoint.base.errors import DistjointError
from distjoint.data.cases import Cases
from distjoint.data.lines import BLOCK, open_text
from distjoint.data.wordnet.base import Synsets, Triple
from distjoint.storage import Location

MARK = b"<LexicalResource"
"""Near the beginning of every such file."""
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
        self._entry_of: dict[str, str] = {}  # of each sense, by which the package wn lists members
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
                self._synset_of[self._sense], self._entry_of[self._sense] = synset, self._entry
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
        (self._of_synsets if of_synset else self._of_senses).append((source, kind, target))

    def synsets(self) -> Synsets:
        if not self._texts:
            raise DistjointError(f"{self._file}: no synsets in it")
        of = self._synset_of
        of_senses = ((of.get(source, source), kind, of.get(target, target)) for source, kind, target in self._of_senses)
        lemmas = {}
        for synset in self._texts:
            listed = (self._entry_of.get(member, member) for member in self._ordered[synset])
            entries = dict.fromkeys((*listed, *self._members.get(synset, ())))
            lemmas[synset] = [self._written.get(entry, "") for entry in entries]
        notes = [f"Elements that say too little, left out{self._incomplete}."] * bool(self._incomplete.count)
        return Synsets.of(chain(self._of_synsets, of_senses), lemmas, self._texts, notes)
