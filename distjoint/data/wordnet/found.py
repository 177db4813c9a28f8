"""Wordnets that `--graph` names: known by their look, and written as plain files into the scratch folder.

So whatever reads triples, labels and descriptions reads them.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from distjoint.base.errors import DistjointError
from distjoint.base.progress import Silent
from distjoint.data.handed_paths import Handed
from distjoint.data.lines import open_text
from distjoint.data.packing import inner_name
from distjoint.data.request import FOUND, NONE, PrepareOptions
from distjoint.data.wordnet.base import Synsets
from distjoint.data.wordnet.lmf import MARK, read_lmf
from distjoint.data.wordnet.princeton import FILES, INDEX, read_synsets
from distjoint.data.wordnet.wn_database import MARK as DATABASE_MARK
from distjoint.data.wordnet.wn_database import read_database
from distjoint.storage import Location, locate

_BELOW = ("", "dict")
"""Where the files lie, below the folder that an archive unpacks to."""
_LMF, _DATABASE = "WN-LMF", "a database of the package wn"
_NAME = "wn.db"
_LOOKED_AT = 1 << 12


@contextmanager
def wordnet_written(options: PrepareOptions) -> Iterator[tuple[PrepareOptions, list[str]]]:
    """The options with files in place of a wordnet, which are there while the context lasts, and what to say of it.

    raises DistjointError for a wordnet that is damaged, or in a form that is not read
    """
    found = _look(locate(options.graph, options.storage_options)) if options.graph else None
    if found is None:
        yield options, []
        return
    kind, place = found
    with (options.progress or Silent()).task("reading the wordnet"):
        synsets = _read(kind, place, options.scratch)
    if not synsets.triples:
        raise DistjointError(
            f"{place}: a wordnet without a relation between two synsets. {' '.join(synsets.notes)}".strip()
        )
    with tempfile.TemporaryDirectory(prefix="distjoint-wordnet-", dir=options.scratch) as folder:
        files = _write(synsets, Path(folder), str(options.graph))
        yield _filled(options, files), [_said(kind, place, synsets, options), *synsets.notes]


def _read(kind: str, place: Location, scratch: str | None) -> Synsets:
    if kind == _DATABASE:
        return read_database(place, scratch)
    return read_lmf(place) if kind == _LMF else read_synsets(place)


def _look(place: Location) -> tuple[str, Location] | None:
    """The form of a wordnet and where it is; None for what is none."""
    if not place.exists():
        return None
    if not place.is_dir():
        begin = _begin(place)
        if begin.startswith(DATABASE_MARK):
            return _DATABASE, place
        return (_LMF, place) if MARK in begin else None
    for below in _BELOW:
        folder = place / below if below else place
        names = {item.name for item in folder.list()}
        if {FILES[0], INDEX["n"]} <= names:
            return "Princeton's files", folder
        if "dict" not in names:
            break
    several = [found for item in place.list() if (found := _in_folder(item))]
    if len(several) > 1:
        names_of = ", ".join(item.name for _, item in several[:6])
        raise DistjointError(f"{place}: holds {len(several)} wordnets ({names_of}); give one of them with --graph")
    return several[0] if several else None


def _in_folder(item: Location) -> tuple[str, Location] | None:
    """A file of WN-LMF, or a database that is called as `wn` calls its own."""
    name = inner_name(item.name)
    if name == _NAME and not item.is_dir() and _begin(item).startswith(DATABASE_MARK):
        return _DATABASE, item
    return (_LMF, item) if name.endswith(".xml") and not item.is_dir() and MARK in _begin(item) else None


def _begin(file: Location) -> bytes:
    if not file.size():
        return b""
    try:
        with open_text(file) as (stream, _):
            return bytes(stream.read(_LOOKED_AT))
    except DistjointError:  # whoever reads it says what is wrong
        return b""


def _write(synsets: Synsets, folder: Path, graph: str) -> dict[str, Handed]:
    contents = {
        "triples": ("\t".join(triple) for triple in synsets.triples),
        "labels": ("\t".join((name, *lemmas)) for name, lemmas in synsets.names.items() if lemmas),
        "descriptions": (f"{name}\t{'; '.join(said)}" for name, said in synsets.glosses.items() if said),
    }
    files = {}
    for name, lines in contents.items():
        path = Handed(folder / f"{name}.tsv")
        Path(path).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        path.what = f"{name} of the wordnet {graph}, {locate(path).checksum()}"
        files[name] = path
    return {name: path for name, path in files.items() if Path(path).stat().st_size}


def _filled(options: PrepareOptions, files: dict[str, Handed]) -> PrepareOptions:
    """The options with the files; what is named otherwise goes before them."""
    changes: dict[str, Any] = {"graph": None}
    if options.triples is None:
        changes |= {"triples": files.get("triples")}
    if options.labels is None:
        changes |= {"labels": files.get("labels")}
    given = [options.descriptions] if isinstance(options.descriptions, str) else [*options.descriptions]
    if not given and options.texts:
        given = [FOUND]
    glosses = files.get("descriptions")
    changes["descriptions"] = tuple(glosses if each == FOUND and glosses else each for each in given)
    return replace(options, **changes)


def _said(kind: str, place: Location, synsets: Synsets, options: PrepareOptions) -> str:
    said = (
        f"Graph found: {place}: a wordnet ({kind}) of {len(synsets.names):,} synsets; labels are lemmas, descriptions "
        "are glosses"
    )
    wanted = options.texts or options.about or options.descriptions == NONE
    return said + ("." if wanted else f", which '--descriptions {FOUND}' reads.")
