"""The folder of a run, as the trainer writes it and everything after training reads it.

`run.json` says what was trained, on which data, and which checkpoint is the result. A checkpoint is a file of
tensors per shard, one of the dense parameters, and a manifest written last: it is complete or absent.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq
import xxhash
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError

from distjoint.base.arrays import Floats
from distjoint.base.errors import DistjointError
from distjoint.config import Config
from distjoint.names import RECORDED
from distjoint.runs.tensors import LazyFile, arrays_of, mapped_bytes
from distjoint.storage import Location, Options, locate
from distjoint.table.layout import Layout, Sizes

if TYPE_CHECKING:
    from torch import Tensor

FORMAT = 1
RUN = "run.json"
MANIFEST = "manifest.json"
DENSE = "dense.safetensors"
_ROWS = dict.fromkeys(("row", "count", "degree"), pa.int64()) | dict.fromkeys(("entity", "label", "word"), pa.string())
_RELATIONS = {"id": pa.int64(), "name": pa.string(), "frequency": pa.int64()}

Status = Literal["running", "finished", "stopped", "failed"]


class Change(BaseModel):
    """Settings that were changed when a run went on.

    epoch, round   where the checkpoint stood that it went on from
    settings       both values of each key
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    epoch: int
    round: int = 0
    settings: Mapping[str, tuple[Any, Any]]


class CarriedFrom(BaseModel):
    """A run that another went on from, on a dataset that grew.

    run, checkpoint   where it lay, and which of its checkpoints was taken
    dataset_fingerprint   of its dataset
    layout            of its rows, which are the first of the other's
    relations         how many it had, the first of the other's
    epochs            that it had trained by then
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    run: str
    checkpoint: str
    dataset_fingerprint: str
    layout: Sizes
    relations: int
    epochs: int


class RunInfo(BaseModel):
    """What `run.json` holds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = FORMAT
    dataset: str
    """URL of the dataset, absolute."""
    dataset_from_here: str | None = None
    """Where it lies as seen from the run, so that both can move together; None where that is on another filesystem."""
    dataset_fingerprint: str | None = None
    """Of what is in it; another dataset of the same fingerprint will do. None in runs of earlier versions."""
    dataset_checksum: str
    """Of its manifest."""
    layout: Sizes
    config: Config
    lanes: int
    groups: int
    sources: tuple[Literal["text", "graph"], ...]
    """Which losses trained."""
    coupling: str
    """The one in force: `none` where only one source trains."""
    result: str | None = None
    """The checkpoint that is the run's result, relative to the folder; None as long as there is none."""
    status: Status = "running"
    changes: tuple[Change, ...] = ()
    """How the configuration came to be what it is now; written where there are any."""
    carried: tuple[CarriedFrom, ...] = ()
    """The runs that this one goes on from, oldest first; the last one's rows are those it began with."""
    prefixes: Mapping[str, str] = {}
    """By which names are shown, as in the dataset's manifest; written where there are any."""

    @property
    def old(self) -> CarriedFrom | None:
        """The run whose rows this one began with."""
        return self.carried[-1] if self.carried else None

    def write(self, folder: Location) -> None:
        empty = {name for name in ("changes", "carried", "prefixes") if not getattr(self, name)}
        (folder / RUN).write_json(self.model_dump(mode="json", exclude=empty))

    @classmethod
    def read(cls, folder: Location) -> RunInfo:
        """raises DistjointError when there is no run, or its run.json is not of this format"""
        if not folder.exists():
            raise DistjointError(
                f"{folder}: no such run; make one with 'distjoint train DATASET --out {shlex.quote(str(folder))}'"
            )
        if not (folder / RUN).exists():
            raise DistjointError(f"{folder}: no {RUN}, so this is not a run; give the folder that 'train --out' wrote")
        return _parse(cls, folder / RUN)


class CheckpointFile(BaseModel):
    """One file of a checkpoint."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str
    """Relative to the checkpoint's folder."""
    bytes: int
    checksum: str


class CheckpointManifest(BaseModel):
    """What a checkpoint's `manifest.json` holds; the trainer may note more than is named here."""

    model_config = ConfigDict(frozen=True, extra="allow")

    format: int = FORMAT
    dataset_checksum: str
    coupling: str
    dim: int
    dtype: str = "float32"
    groups: int
    lanes: int
    seed: int
    epoch: int
    round: int = 0
    """Rounds of the epoch after `epoch` that are in it too."""
    metrics: Mapping[str, Any] = {}
    """The epoch's line of metrics; none where `round` is not 0."""
    tally: Mapping[str, float] = {}
    """Sums over those rounds, by name."""
    text_learning_rate: float | None = None
    """The text's step size, which lies in where its accumulators started; None where that was not noted."""
    files: tuple[CheckpointFile, ...]

    def write(self, folder: Location) -> None:
        (folder / MANIFEST).write_json(self.model_dump(mode="json"))

    @classmethod
    def read(cls, folder: Location) -> CheckpointManifest:
        """raises DistjointError when the checkpoint is incomplete, or not of this format"""
        if not (folder / MANIFEST).exists():
            raise DistjointError(f"{folder}: no {MANIFEST}, so this checkpoint is not complete")
        return _parse(cls, folder / MANIFEST)


@dataclass(frozen=True)
class Checkpoint:
    """A complete checkpoint, read a file at a time; each file is checked against its checksum."""

    folder: Location
    manifest: CheckpointManifest

    @classmethod
    def open(cls, folder: Location) -> Checkpoint:
        return cls(folder, CheckpointManifest.read(folder))

    def shard(self, shard: int) -> dict[str, Tensor]:
        """The parts of a shard by name, rows in order of offset."""
        return self.tensors(shard_file(shard))

    def dense(self) -> dict[str, Tensor]:
        """Relations and maps by name; nothing where the run has none."""
        return self.tensors(DENSE) if any(file.path == DENSE for file in self.manifest.files) else {}

    def tensors(self, path: str) -> dict[str, Tensor]:
        """One file's tensors. raises DistjointError when it is missing, cut short or changed"""
        from safetensors.torch import load

        content = self._content(path)
        try:
            return dict(load(content))
        except SafetensorError as error:
            raise DistjointError(f"{self.folder / path}: not a safetensors file ({error})") from error

    def arrays(self, path: str) -> dict[str, Floats]:
        """One file's tensors as arrays, which cannot be written to: torch is not loaded. Raises as `tensors` does"""
        return arrays_of(self._content(path, mapped=True), str(self.folder / path))

    def dense_arrays(self) -> dict[str, Floats]:
        """`dense`, as arrays."""
        return self.arrays(DENSE) if any(file.path == DENSE for file in self.manifest.files) else {}

    def lazy(self, path: str, advance: Callable[[float], Any]) -> LazyFile:
        """A file that is read row by row: not compared with its checksum, unless it has to be fetched from a store.

        advance   told how many bytes of it have been fetched since it was last told
        """
        expected = self._expected(path)
        return LazyFile(self.folder / path, expected.bytes, expected.checksum, advance)

    def _expected(self, path: str) -> CheckpointFile:
        expected = next((file for file in self.manifest.files if file.path == path), None)
        if expected is None:
            raise DistjointError(f"{self.folder / MANIFEST}: does not list {path}; the checkpoint is damaged")
        return expected

    def _content(self, path: str, mapped: bool = False) -> bytes:
        """A file's bytes, which are those that its checksum says.

        mapped   not copied, where the file is on this machine: half the time of reading it
        """
        place, expected = self.folder / path, self._expected(path)
        if not place.exists():
            raise DistjointError(f"{place}: missing, though the checkpoint's manifest lists it")
        content = mapped_bytes(place.path) if mapped and place.is_local else place.read_bytes()
        if len(content) != expected.bytes:
            raise DistjointError(f"{place}: {len(content)} bytes, the manifest says {expected.bytes}; it is damaged")
        if f"xxh3:{xxhash.xxh3_64(content).hexdigest()}" != expected.checksum:
            raise DistjointError(f"{place}: does not match its checksum in the manifest; it is damaged")
        return content


@dataclass(frozen=True)
class RunFolder:
    """A run at a URL.

    dataset   URL of where its dataset lies now, if that was moved
    """

    folder: Location
    info: RunInfo
    dataset: str | None = None

    @classmethod
    def open(cls, url: str | Location, options: Options | None = None, dataset: str | None = None) -> RunFolder:
        """raises DistjointError when there is no run at the URL"""
        folder = locate(url, options)
        return cls(folder, RunInfo.read(folder), dataset)

    @property
    def layout(self) -> Layout:
        return Layout(**self.info.layout.model_dump())

    def rows(self, columns: Sequence[str] | None = None) -> pa.Table:
        """rows.parquet: row, entity, label, word, count, degree, gram where there are any; in order of row id.

        columns   only these of them
        """
        grams = {"gram": pa.string()} if self.layout.grams else {}
        table = _table(self.folder / "rows.parquet", _ROWS | grams, wanted=columns)
        if len(table) != self.layout.rows:
            raise DistjointError(f"{self.folder}/rows.parquet: {len(table)} rows, {RUN} says {self.layout.rows}")
        return table

    def relations(self) -> pa.Table:
        """relations.parquet: id, name, frequency (in train), label where there are any; in order of id."""
        return _table(self.folder / "relations.parquet", _RELATIONS, {"label": pa.string()})

    def result(self) -> Checkpoint:
        """The checkpoint that is the run's result. raises DistjointError as long as there is none"""
        if self.info.result is None:
            raise DistjointError(
                f"{self.folder}: no result yet, the run is {self.info.status}; it has one after its first epoch"
            )
        checkpoint = Checkpoint.open(self.folder / self.info.result)
        for name, theirs, ours in (
            ("dataset", checkpoint.manifest.dataset_checksum, self.info.dataset_checksum),
            ("coupling", checkpoint.manifest.coupling, self.info.coupling),
            ("dim", checkpoint.manifest.dim, self.info.config.model.dim),
        ):
            if theirs != ours:
                raise DistjointError(f"{checkpoint.folder / MANIFEST}: {name} is {theirs}, {RUN} says {ours}")
        return checkpoint


def shard_file(shard: int) -> str:
    return f"shard-{shard:05d}.safetensors"


def describe(place: Location, path: str) -> CheckpointFile:
    """The manifest's entry for a file just written to `place / path`."""
    file = place / path
    return CheckpointFile(path=path, bytes=file.size(), checksum=file.checksum())


def sizes_of(layout: Layout) -> Sizes:
    return Sizes(**asdict(layout))


_Record = TypeVar("_Record", RunInfo, CheckpointManifest)


def _parse(record: type[_Record], place: Location) -> _Record:
    try:
        content = place.read_json()
    except ValueError as error:
        raise DistjointError(f"{place}: not JSON ({error}); the file is damaged") from error
    found = content.get("format") if isinstance(content, Mapping) else None
    if found != FORMAT:
        raise DistjointError(f"{place}: format {found}, this distjoint reads {FORMAT}")
    try:
        return record.model_validate(content, context=RECORDED)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise DistjointError(f"{place}: {key}: {first['msg']}; the file is damaged") from error


def _table(
    place: Location,
    columns: Mapping[str, pa.DataType],
    also: Mapping[str, pa.DataType] | None = None,
    wanted: Sequence[str] | None = None,
) -> pa.Table:
    """A table of these columns, and of those that there are also in some; or only the wanted ones of them.

    The names and types of the columns lie in the footer, which has no checksum of its own.
    """
    try:
        with pq.ParquetFile(pa.BufferReader(place.read_bytes()), page_checksum_verification=True) as file:
            found = {field.name: field.type for field in file.schema_arrow}
            if found not in ({**columns}, {**columns, **(also or {})}):
                raise pa.ArrowInvalid(f"its columns are not {', '.join(columns)}")
            return file.read(columns=wanted)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        reason = str(error).splitlines()[0]
        raise DistjointError(f"{place}: damaged or not Parquet ({reason})") from error
