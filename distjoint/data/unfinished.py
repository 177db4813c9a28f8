"""Counted shards that an interrupted `prepare` leaves for the next one.

`unfinished/request.json` has the options, and the input files; `unfinished/part-00003.json` says of a
shard's file what the manifest would say. Each is written whole or not at all, the latter when the shard's file is
closed. But a file is only taken over when its bytes have the checksum that was noted, so it does not matter what
reached the disk first. The folder goes when the manifest is there.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa
import pyarrow.fs as pafs
import xxhash
from pydantic import BaseModel, ConfigDict

from distjoint.base.errors import DistjointError
from distjoint.data.handed_paths import Handed
from distjoint.data.manifest import File
from distjoint.data.partition import Written
from distjoint.data.request import PrepareOptions
from distjoint.data.rows import Rows
from distjoint.data.streams import COOCCURRENCE, shard_file
from distjoint.data.vocabulary import Vocabulary
from distjoint.storage import Location
from distjoint.table.layout import Layout
from distjoint.version import __version__

NAME = "unfinished"
_REQUEST = "request.json"
_AT_ONCE = 32
_CHANGES = ("ETag", "etag", "last_modified", "created")

Made = dict[str, Any]


def made_from(options: PrepareOptions, files: Sequence[Location], parent: str | None = None) -> Made:
    """Fingerprint of a dataset: everything that decides its bits, as `request.json` holds it; no storage options.

    files    all input
    parent   fingerprint of the dataset that it grows from
    """
    given = (*options.paths.values(), options.labels, *options.about)
    handed = {str(path): path.what for path in given if isinstance(path, Handed)}
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        inputs = list(pool.map(lambda file: _stamp(file, handed), files))
    made = {
        "made_by": {"distjoint": __version__, "pyarrow": pa.__version__},
        "request": options.record() | {"shards": options.shards} | ({"from": parent} if parent else {}),
        "inputs": inputs,
    }
    return dict(json.loads(json.dumps(made)))


def _stamp(file: Location, handed: Mapping[str, str]) -> dict[str, Any]:
    """handed: what tables were, by the paths they were written to; these are other ones each time"""
    if file.path in handed:
        return {"file": handed[file.path]}
    info = file.fs.get_file_info(file.path)
    modified: Any = info.mtime_ns
    if modified is None and isinstance(file.fs, pafs.PyFileSystem) and info.type == pafs.FileType.File:
        detail = file.fs.handler.fs.info(file.path)
        modified = next((str(detail[name]) for name in _CHANGES if name in detail), None)
    return {"file": file.url, "bytes": info.size, "modified": modified}


def difference(folder: Location, made: Made) -> str | None:
    """Why the unfinished dataset in `folder` cannot be continued, as part of a sentence; None where it can be."""
    before: Any = None
    with suppress(DistjointError, ValueError):
        before = json.loads((folder / NAME / _REQUEST).read_bytes())
    if not isinstance(before, dict):
        return "which does not say what it was made of"
    if before.get("made_by") != made["made_by"]:
        return "made by another version of distjoint or pyarrow"
    then, now = before.get("request", {}), made["request"]
    if changed := [name for name in now if name not in then or then[name] != now[name]]:
        return f"made with another --{changed[0].replace('_', '-')}"
    known = {json.dumps(stamp, sort_keys=True) for stamp in before.get("inputs", ())}
    if changed := [stamp["file"] for stamp in made["inputs"] if json.dumps(stamp, sort_keys=True) not in known]:
        return f"made before {changed[0]} was changed or added"
    return None if before == made else "made of more files"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    key: str
    file: File
    spans: tuple[tuple[int, int, int, int], ...]


@dataclass(frozen=True)
class Counted:
    """The shards that are counted, in a dataset's folder.

    key    stands for everything that decides their bits; a shard noted with another one is not taken
    """

    folder: Location
    key: str

    @classmethod
    def begin(cls, folder: Location, made: Made, layout: Layout, words: Vocabulary, rows: Rows) -> Counted:
        """Note what is to be counted."""
        digest = xxhash.xxh3_64(json.dumps([made, asdict(layout)], sort_keys=True).encode())
        for part in ("\n".join(words.words).encode(), words.counts.data, rows.of_word.data):
            digest.update(part)
        (folder / NAME).make_dir()
        (folder / NAME / _REQUEST).write_bytes(json.dumps(made, indent=1).encode())
        return cls(folder, digest.hexdigest())

    def note(self, written: Written) -> None:
        """To be called when a shard's file is closed."""
        part = _Part(key=self.key, file=written.file, spans=tuple(written.spans))
        (self.folder / NAME / _noted(written.file.path)).write_bytes(part.model_dump_json().encode())

    def take(self, shards: Sequence[int]) -> dict[int, Written]:
        """Those of some shards that are counted already: every byte is there and as it was written."""
        there = {place.name for place in (self.folder / NAME).list()}
        wanted = [shard for shard in shards if _noted(shard_file(shard)) in there]
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            found = zip(wanted, pool.map(self._check, wanted), strict=True)
            return {shard: written for shard, written in found if written is not None}

    def drop_others(self, taken: Collection[int]) -> None:
        """Delete what is there of shards that are not taken: half-written, damaged, or of something else."""
        files = {shard_file(shard) for shard in taken}
        for place in (self.folder / COOCCURRENCE).list():
            if f"{COOCCURRENCE}/{place.name}" not in files:
                place.delete()
        for path in noted(self.folder) - files:
            (self.folder / NAME / _noted(path)).delete()

    def _check(self, shard: int) -> Written | None:
        path = shard_file(shard)
        with suppress(DistjointError, ValueError):
            part = _Part.model_validate_json((self.folder / NAME / _noted(path)).read_bytes())
            file = self.folder / path
            same = part.key == self.key and part.file.path == path and file.size() == part.file.bytes
            if same and file.checksum() == part.file.checksum:
                return Written(part.file, list(part.spans))
        return None


def _noted(path: str) -> str:
    return path.rpartition("/")[2].replace(".parquet", ".json")


def noted(folder: Location) -> set[str]:
    """Paths of the files of shards that are noted as counted."""
    places = (folder / NAME).list()
    return {
        f"{COOCCURRENCE}/{place.name.removesuffix('.json')}.parquet"
        for place in places
        if place.name.startswith("part-") and place.name.endswith(".json")
    }
