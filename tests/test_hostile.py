"""Files made to be executed by whoever reads them: refused in one sentence, and nothing of theirs is run."""

from __future__ import annotations

import ast
import os
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from runs import Rows, write_dataset, write_run

import distjoint
from distjoint.base.errors import DistjointError
from distjoint.recipes.load import load_config
from distjoint.runs.folder import MANIFEST, RUN, CheckpointManifest, describe, shard_file
from distjoint.storage import locate

pytestmark = pytest.mark.unit

SOURCES = Path(distjoint.__file__).parent
FORBIDDEN = {"pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve", "allow_pickle", "eval", "exec"}
LOADERS = {("torch", "load"), ("np", "load"), ("numpy", "load"), ("yaml", "load"), ("pd", "read_pickle")}
WORDS = rf"\b({'|'.join(sorted(FORBIDDEN | {name for _, name in LOADERS}))})\b"
"""Without one of these words, a file need not be parsed."""


class Bomb:
    """Unpickled, it leaves a file."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.mark),)


@pytest.fixture
def mark(tmp_path: Path) -> Any:
    """Where a file's code would leave a folder; it must not be there at the end."""
    mark = tmp_path / "executed"
    pickle.loads(pickle.dumps(Bomb(mark)))
    assert mark.exists()  # the file would do it
    mark.rmdir()
    yield mark
    assert not mark.exists()


def names(tree: ast.AST) -> Any:
    """Every name that code can load something by, with what it is of; not `torch.load` of weights only."""
    safe = {
        node.func
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and "weights_only=True" in map(ast.unparse, node.keywords)
    }
    for node in ast.walk(tree):
        if node in safe:
            continue
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield from ((None, part) for alias in node.names for part in alias.name.split("."))
            yield None, (getattr(node, "module", None) or "").split(".")[0]
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            yield node.value.id, node.attr
        elif isinstance(node, ast.Name):
            yield None, node.id
        elif isinstance(node, ast.keyword):
            yield None, node.arg


def test_nothing_that_executes_what_it_reads_is_used() -> None:
    files = sorted(SOURCES.rglob("*.py"))
    assert len(files) > 40
    for file in files:
        text = file.read_text()
        if not re.search(WORDS, text):
            continue
        for of, name in names(ast.parse(text)):
            assert of is not None or name not in FORBIDDEN, f"{file}: {name}"
            assert (of, name) not in LOADERS, f"{file}: {of}.{name}"


def test_the_search_would_find_them() -> None:
    for code in ("import pickle", "from torch import load as f; import joblib.x", "np.load(f, allow_pickle=True)"):
        found = set(names(ast.parse(code)))
        assert re.search(WORDS, code)
        assert {name for _, name in found} & FORBIDDEN
    for code in ("torch.load(file)", "torch.load(file, weights_only=False)", "torch.load(file, weights_only=maybe)"):
        assert set(names(ast.parse(code))) & LOADERS
    assert not set(names(ast.parse("torch.load(file, weights_only=True)"))) & LOADERS


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """A finished run of three words, on a dataset beside it."""
    rows = Rows(words=["a", "b", "c"], relations=[])
    dataset = write_dataset(tmp_path / "dataset", rows)
    return write_run(tmp_path / "run", dataset, words=np.eye(3, 4, dtype=np.float32))


def hostile(form: str, mark: Path) -> bytes:
    if form == "torch":
        torch.save(Bomb(mark), mark.with_suffix(".pt"))
        return mark.with_suffix(".pt").read_bytes()
    if form == "numpy":
        np.save(mark.with_suffix(".npy"), np.array([Bomb(mark)], object), allow_pickle=True)
        return mark.with_suffix(".npy").read_bytes()
    return pickle.dumps(Bomb(mark), protocol=0 if form == "text" else 5)


FORMS = ("pickle", "text", "torch", "numpy")


@pytest.mark.parametrize("form", FORMS)
def test_a_shard_that_is_a_pickle_is_refused(made: Path, mark: Path, form: str) -> None:
    """With a checksum that is right: whoever made the file made the manifest."""
    folder = locate(str(made / "checkpoints/epoch-00001"))
    shard = folder / shard_file(0)
    shard.write_bytes(hostile(form, mark))
    manifest = CheckpointManifest.read(folder)
    files = [file for file in manifest.files if file.path != shard.name]
    manifest.model_copy(update={"files": (*files, describe(folder, shard.name))}).write(folder)
    with pytest.raises(DistjointError, match=r"shard-00000\.safetensors: not a safetensors file"):
        distjoint.load(str(made)).vector("a")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("path", [RUN, f"checkpoints/epoch-00001/{MANIFEST}", "rows.parquet"])
def test_a_file_of_a_run_that_is_a_pickle_is_refused(made: Path, mark: Path, path: str, form: str) -> None:
    (made / path).write_bytes(hostile(form, mark))
    with pytest.raises(DistjointError, match=path):
        distjoint.load(str(made)).vector("a")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("path", ["manifest.json", "rows.parquet", "relations.parquet"])
def test_a_file_of_a_dataset_that_is_a_pickle_is_refused(made: Path, mark: Path, path: str, form: str) -> None:
    folder = made.parent / "dataset"
    (folder / path).write_bytes(hostile(form, mark))
    with pytest.raises(DistjointError, match=path):
        data = distjoint.data.dataset.Dataset.open(str(folder))  # type: ignore[attr-defined]
        data.rows()
        data.relations()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "name", ["triples.tsv", "triples.npy", "triples.pkl", "triples.parquet", "triples.csv.gz", "triples.pt"]
)
def test_triples_that_are_a_pickle_are_refused(tmp_path: Path, mark: Path, name: str, form: str) -> None:
    (tmp_path / name).write_bytes(hostile(form, mark))
    with pytest.raises(DistjointError, match=f"{name}") as caught:
        distjoint.prepare(str(tmp_path / "out"), triples=str(tmp_path / name))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["text.txt", "text.parquet", "text.jsonl", "text.txt.zst"])
def test_a_corpus_that_is_a_pickle_is_refused(tmp_path: Path, mark: Path, name: str) -> None:
    (tmp_path / name).write_bytes(hostile("pickle", mark))
    with pytest.raises(DistjointError, match=f"{name}"):
        distjoint.prepare(str(tmp_path / "out"), corpus=str(tmp_path / name))


def test_a_configuration_that_calls_something_is_refused(tmp_path: Path, mark: Path) -> None:
    (tmp_path / "config.yaml").write_text(f"train: !!python/object/apply:os.mkdir ['{mark}']\n")
    with pytest.raises(DistjointError, match=r"config\.yaml"):
        load_config(str(tmp_path / "config.yaml"))
