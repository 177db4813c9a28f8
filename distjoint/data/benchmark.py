"""Folders of benchmarks of link prediction: which file is which split, by their names.

Files of triples called train, valid and test are what most bring (FB15k-237, WN18RR, YAGO3-10, those of PyKEEN), CoDEx
with negatives beside them and types of entities; OpenKE numbers names and triples (`tables.openke`); BLP has a second
split beside the usual one, whose valid and test name entities that its train does not (`ind-train.tsv`). Texts of
entities lie beside the triples, or in the folder that was unpacked.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace

from distjoint.base.errors import DistjointError
from distjoint.data.families import FAMILIES, Benchmark
from distjoint.data.packing import inner_name
from distjoint.data.rdf import ENDINGS, RdfReading, recognise
from distjoint.data.streams import NEGATIVES, SPLITS
from distjoint.data.tables.dictionaries import NUMBERED, STRINGS, beside
from distjoint.storage import Location

TYPES = "entity2types.json"
_LONG, _SHORT = ("entity2textlong.txt", "FB15k_mid2description.txt"), "entity2text.txt"
DESCRIPTIONS = (*_LONG, "wordnet-mlj12-definitions.txt", "entity2wikidata.json", "entities.json", _SHORT)
"""Files of descriptions by KG-BERT, BLP, DKRL, Bordes, Villmow. One is read, so those come first that say most."""
LABELS = ("entity2label.txt", "entity2wikidata.json", "entities.json", "FB15k_mid2name.txt", STRINGS, _SHORT)
"""Files of names; `entity2text.txt` is one where there is a long one beside it, else it may have glosses."""
_BELOW = ("", "original", "release", "Release", "triples", "data", "data/triples")
"""Where archives keep the triples, below the folder that they unpack to."""
_BY_ENTITIES = "ind-"
"""Prefix of the files of a split by entities, as BLP names them."""
_DICTIONARIES = {
    "entities.dict": "DGL-KE, with names by number",
    "entity_ids.del": "LibKGE, with names by number",
    "entity_to_id.tsv.gz": "PyKEEN, with names by number",
}
"""Files of names by number, beside triples of either, and whose layout that is."""
_OTHER_NAMES = {"valid": ("dev", "validation")}
_TABLES = "txt|tsv|csv|del|jsonl|ndjson|sif|parquet|pq|arrow|feather|npz|npy|pt"
_RDF = "nt|ntriples|nq|nquads|ttl|turtle|trig|rdf|rdfs|owl"
_FORMATS = rf"(\.({_TABLES}|{_RDF}))?(\.(gz|zst|zstd|bz2|xz|lz4|zip))?"
_ARCHIVES = (".tar", ".tgz", ".tar.gz", ".tar.xz", ".tar.bz2", ".zip")


def find_benchmark(folder: Location, format: str = "auto") -> Benchmark:
    """The files of a benchmark in a folder, or in the usual ones below it; or of RDF, a file or those in a folder.

    format   of the triples, as `RdfReading` has it
    raises   DistjointError where no training triples are found, or several graphs
    """
    if not folder.exists():
        raise DistjointError(f"{folder}: no such folder; --graph takes the folder of a benchmark, or RDF")
    if not folder.is_dir():
        if not folder.path.endswith(_ARCHIVES) and recognise(folder, RdfReading(format, graph=(folder.absolute,))):
            return Benchmark("plain", folder.url.rpartition("/")[0] or ".", {"train": folder.url})
        unpack = "unpack it first" if folder.path.endswith(_ARCHIVES) else "a file of triples goes to --triples"
        raise DistjointError(f"{folder}: is a file; --graph takes the folder of a benchmark; {unpack}")
    several: list[Location] = []
    for below in _BELOW:
        place = folder / below if below else folder
        there = place.list()
        by_name = {item.name: item for item in there}
        for kind in FAMILIES:
            if family := kind.find(place, by_name):
                return family
        if found := _splits({item.name: item for item in there}):
            around = [*_around(folder), *(there if place == folder else [*folder.list(), *there])]
            by_entities = [*_by_entities({item.name: item for item in there}).values()]
            made = _benchmark(place, found, by_entities, {item.name: item.url for item in around})
            return replace(made, twins=_twins(found, {item.name: item for item in there}))
        if below in ("triples", "data", "data/triples", ""):
            several += [item for item in there if item.name not in _BELOW and item.is_dir() and _holds(item)]
    if not several and (dump := _dump(folder)):
        return dump
    if len(several) == 1:
        return find_benchmark(several[0], format)
    if several:
        names = ", ".join(str(place) for place in several)
        raise DistjointError(f"{folder}: holds {len(several)} graphs; give one of them with --graph: {names}")
    there_are = ", ".join(item.name for item in folder.list()[:8]) or "nothing"
    raise DistjointError(
        f"{folder}: no training triples: looked for train.txt (.tsv, .csv, .parquet, .nt, .ttl; compressed or not) and "
        f"OpenKE's train2id.txt there and in {', '.join(_BELOW[1:])}; it holds {there_are}; name the files with "
        "--triples"
    )


def _dump(folder: Location) -> Benchmark | None:
    """All files of RDF in a folder, as training triples; None where there are none.

    raises DistjointError where no pattern stands for them alone
    """
    endings = {item.name: _rdf_ending(item) for item in folder.list() if not item.name.startswith(".")}
    several = {ending for ending in endings.values() if ending}
    if not several:
        return None
    if len(several) > 1 and not all(endings.values()):
        others = ", ".join([name for name, ending in endings.items() if not ending][:4])
        raise DistjointError(
            f"{folder}: RDF of {len(several)} endings ({', '.join(sorted(several))}) and others ({others}); "
            "move those away, or name the RDF with --triples"
        )
    pattern = folder.url if len(several) > 1 else f"{folder.url}/*{several.pop()}"
    return Benchmark("plain", folder.url, {"train": pattern})


def _rdf_ending(file: Location) -> str:
    """The ending of a file that is RDF by it, with that of its compression; empty for others, and for folders."""
    name = inner_name(file.name)
    ending = next((ending for ending in ENDINGS if name.endswith(ending)), "")
    return file.name[len(name) - len(ending) :] if ending and not file.is_dir() else ""


def _around(folder: Location) -> list[Location]:
    """Files of CoDEx that lie beside the folder of all its graphs: labels, texts and types of entities."""
    if folder.path.split("/")[-2:-1] != ["triples"]:
        return []
    places = [beside(folder, name) for name in ("../entities/en/entities.json", f"../types/{TYPES}")]
    return [place for place in places if place.exists()]


def _holds(folder: Location) -> bool:
    return bool(_splits({item.name: item for item in folder.list()}))


def _benchmark(folder: Location, paths: dict[str, str], by_entities: list[str], there: Mapping[str, str]) -> Benchmark:
    """by_entities: URLs of the files of a split by entities; there: URLs of all files by their names"""
    layout = next((title for name, title in _DICTIONARIES.items() if name in there), "plain")
    if any(NUMBERED.fullmatch(path.rpartition("/")[2]) for path in paths.values()):
        layout = "OpenKE"
    elif any(split in paths for split in NEGATIVES):
        layout = "CoDEx"
    elif list(paths.values()) == by_entities:
        layout, by_entities = "BLP", []
    others = tuple(url.rpartition("/")[2] for url in by_entities)
    texts = tuple(there[name] for name in DESCRIPTIONS if name in there)
    long = any(name in there for name in _LONG)
    names = [there[name] for name in LABELS if name in there and (name != _SHORT or long)]
    return Benchmark(layout, folder.url, paths, there.get(TYPES), others, texts, names[0] if names else None)


def _splits(there: Mapping[str, Location]) -> dict[str, str]:
    """Split -> URL, of files by their names; nothing where there are no training triples.

    The usual split of the graph where there is one, else that by entities; never files of both.
    """
    usual = {name: place for name, place in there.items() if not name.startswith(_BY_ENTITIES)}
    numbered = {split: there[f"{split}2id.txt"].url for split in SPLITS if f"{split}2id.txt" in there}
    return next((found for found in (_named(usual), numbered, _by_entities(there)) if "train" in found), {})


def _twins(found: Mapping[str, str], there: Mapping[str, Location]) -> tuple[str, ...]:
    """Names of files that are called like a split that is read from another one: `train.tsv` beside `train.txt`."""
    taken = {url.rpartition("/")[2] for url in found.values()}
    names = [item.name for split in found for item in _matching(re.compile(split + _FORMATS), there)]
    return tuple(name for name in names if name not in taken)


def _by_entities(there: Mapping[str, Location]) -> dict[str, str]:
    """Split -> URL, of the files of a split by entities."""
    return _named({name.removeprefix(_BY_ENTITIES): at for name, at in there.items() if name.startswith(_BY_ENTITIES)})


def _named(there: Mapping[str, Location]) -> dict[str, str]:
    return {split: url for split in (*SPLITS, *NEGATIVES) if (url := _file_of(split, there))}


def _file_of(split: str, there: Mapping[str, Location]) -> str | None:
    """URL of a split's file: `train.txt` before `wordnet-mlj12-train.txt`, a name of one file before one of two."""
    for name in (split, *_OTHER_NAMES.get(split, ())):
        for prefix in ("", r"[^.].*[-_]"):
            matches = _matching(re.compile(prefix + name + _FORMATS), there)
            if len(matches) == 1 or (matches and not prefix):
                return matches[0].url
    return None


def _matching(pattern: re.Pattern[str], there: Mapping[str, Location]) -> list[Location]:
    names: Iterable[str] = sorted(there, key=lambda name: (not name.endswith(".txt"), name))
    return [there[name] for name in names if pattern.fullmatch(name) and not there[name].is_dir()]
