"""Small datasets and run folders made by hand, to the format that `prepare` and `train` write."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from safetensors.torch import save_file

from distjoint.data.manifest import File, Manifest, Span
from distjoint.recipes.load import load_config
from distjoint.runs.folder import CheckpointManifest, RunInfo, describe, shard_file, sizes_of
from distjoint.storage import locate
from distjoint.table.layout import Layout, Sizes

Names = tuple[str, str, str]


@dataclass
class Rows:
    """Names of the rows by kind, most frequent first; an entity may be (id, label)."""

    words: list[str] = field(default_factory=list)
    aligned: list[tuple[str, str]] = field(default_factory=list)
    entities: list[str | tuple[str, str]] = field(default_factory=list)
    relations: list[str] = field(default_factory=list)
    shards: int = 2
    tiles: int = 4

    @property
    def layout(self) -> Layout:
        return Layout(self.shards, self.tiles, len(self.words), len(self.aligned), len(self.entities))

    @property
    def entity_ids(self) -> list[str]:
        own = [entity if isinstance(entity, str) else entity[0] for entity in self.entities]
        return [entity for _, entity in self.aligned] + own


def write_dataset(folder: Path, rows: Rows, **splits: list[Names]) -> Path:
    """A dataset without co-occurrences: names, relations and the triples of train, valid and test."""
    folder.mkdir(parents=True)
    layout, ids = rows.layout, {name: len(rows.words) + place for place, name in enumerate(rows.entity_ids)}
    degree = np.zeros(layout.rows, np.int64)
    for head, _, tail in splits.get("train", []):
        degree[ids[head]] += 1
        degree[ids[tail]] += 1
    labels = [e if isinstance(e, str) else e[1] for e in rows.entities]
    table = {
        "row": pa.array(range(layout.rows), pa.int64()),
        "entity": pa.array([None] * len(rows.words) + rows.entity_ids, pa.string()),
        "label": pa.array([*rows.words, *(entity for _, entity in rows.aligned), *labels], pa.string()),
        "word": pa.array([*rows.words, *(word for word, _ in rows.aligned), *[None] * len(labels)], pa.string()),
        "count": pa.array([5] * (layout.words + layout.aligned) + [0] * layout.entities, pa.int64()),
        "degree": pa.array(degree),
    }
    pq.write_table(pa.table(table), folder / "rows.parquet", write_page_checksum=True)
    count = len(rows.relations)
    types = pa.schema({"id": pa.int64(), "name": pa.string(), "frequency": pa.int64()})
    relations = pa.table([list(range(count)), rows.relations, [1] * count], schema=types)
    pq.write_table(relations, folder / "relations.parquet", write_page_checksum=True)
    files, streams = [], {}
    for split, triples in splits.items():
        by_row = [(ids[head], rows.relations.index(relation), ids[tail]) for head, relation, tail in triples]
        file, streams[f"triples/{split}"] = _write_split(folder, split, layout, by_row, len(files))
        files.append(file)
    Manifest(
        layout_sizes=Sizes(**asdict(layout)),
        counts={f"triples/{split}": len(triples) for split, triples in splits.items()},
        options={},
        files=tuple(files),
        streams=streams,
    ).write(locate(str(folder)))
    return folder


def _write_split(folder: Path, split: str, layout: Layout, triples: list[tuple[int, int, int]], index: int):
    array = np.array(triples, np.int64).reshape(-1, 3)
    (i, head), (j, tail) = layout.locate(array[:, 0]), layout.locate(array[:, 2])
    order = np.lexsort((j, i))
    columns = {"head": head[order], "relation": array[order, 1], "tail": tail[order]}
    path = f"triples/{split}/part-00000.parquet"
    (folder / path).parent.mkdir(parents=True)
    table = pa.table({name: pa.array(values.astype(np.int32)) for name, values in columns.items()})
    pq.write_table(table, folder / path, write_page_checksum=True)
    keys = (i * layout.shards + j)[order]
    spans = tuple(
        Span(
            i=int(key) // layout.shards,
            j=int(key) % layout.shards,
            file=index,
            start=int(np.searchsorted(keys, key)),
            stop=int(np.searchsorted(keys, key, "right")),
        )
        for key in np.unique(keys)
    )
    place = locate(str(folder / path))
    row_groups = (len(array),) if len(array) else ()
    return File(path=path, bytes=place.size(), rows=len(array), checksum=place.checksum(), row_groups=row_groups), spans


def write_run(
    folder: Path,
    dataset: Path,
    *,
    words: np.ndarray | None = None,
    entities: np.ndarray | None = None,
    dense: dict[str, np.ndarray] | None = None,
    coupling: str = "none",
    settings: dict[str, object] | None = None,
) -> Path:
    """A finished run with these vectors.

    words      float[word rows, dim]: W + C by row id; None for a run on triples alone
    entities   float[entity rows, dim]: part X by row id; None for a run on text alone
    dense      relation, map
    """
    (folder / "checkpoints/epoch-00001").mkdir(parents=True)
    layout = Layout(**json.loads((dataset / "manifest.json").read_text())["layout_sizes"])
    for name in ("rows.parquet", "relations.parquet"):
        (folder / name).write_bytes((dataset / name).read_bytes())
    dim = (words if words is not None else entities).shape[1]
    config = load_config(None, {"model.dim": dim, "model.coupling": coupling, **(settings or {})})
    sources = tuple(name for name, part in (("text", words), ("graph", entities)) if part is not None)
    checkpoint = folder / "checkpoints/epoch-00001"
    for shard in range(layout.shards):
        ids, parts = layout.rows_of(shard), {}
        if words is not None:
            half = torch.from_numpy(words[ids[layout.has_word(shard)]].astype(np.float32)) / 2
            parts |= {"W": half, "C": half.clone()}
        if entities is not None:
            mine = entities[ids[layout.has_entity(shard)] - layout.words]
            parts["X"] = torch.from_numpy(mine.astype(np.float32))
        save_file(parts, checkpoint / shard_file(shard))
    files = [shard_file(shard) for shard in range(layout.shards)]
    if dense:
        tensors = {name: torch.from_numpy(np.asarray(values, np.float32)) for name, values in dense.items()}
        save_file(tensors, checkpoint / "dense.safetensors")
        files.append("dense.safetensors")
    checksum, place = locate(str(dataset / "manifest.json")).checksum(), locate(str(checkpoint))
    shared = {"dataset_checksum": checksum, "coupling": coupling, "lanes": 1, "groups": 2}
    listed = tuple(describe(place, path) for path in files)
    CheckpointManifest(**shared, dim=dim, seed=0, epoch=1, files=listed).write(place)
    RunInfo(
        **shared,
        dataset=str(dataset),
        layout=sizes_of(layout),
        prefixes=json.loads((dataset / "manifest.json").read_text()).get("prefixes", {}),
        config=config,
        sources=sources,
        result="checkpoints/epoch-00001",
        status="finished",
    ).write(locate(str(folder)))
    return folder
