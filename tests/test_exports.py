"""Export formats: what each of them writes is what can be read back; one battery for every member of EXPORTS."""

from __future__ import annotations

import json
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pyarrow.parquet as pq
import pytest
from members import assert_covers
from runs import Rows, write_dataset, write_run
from safetensors import safe_open
from usearch.index import Index

import distjoint
from distjoint.base.errors import DistjointError, UsageError
from distjoint.data.vectors import read_vectors
from distjoint.evaluate.space import Space
from distjoint.registry import EXPORTS
from distjoint.results import exports
from distjoint.results.export import export
from distjoint.results.exports import base
from distjoint.results.exports.base import Export
from distjoint.storage import locate

pytestmark = pytest.mark.unit

DIM = 3
Found = dict[tuple[str, str], list[float]]
"""Vectors by kind and name."""


class Everything:
    """A container of all names."""

    def __contains__(self, name: object) -> bool:
        return True


def by_data_vectors(file: Path, unnamed: str = "word") -> Found:
    """As `train.init` reads them; text does not say that a word is one."""
    parts = read_vectors(locate(str(file)), DIM, Everything())
    return {
        (part.kind or unnamed, name): vector.tolist()
        for part in parts
        for name, vector in zip(part.names, part.vectors, strict=True)
    }


def by_pyarrow(file: Path) -> Found:
    table = pq.read_table(file, page_checksum_verification=True)
    return {(kind, name): vector for name, kind, vector in zip(*(c.to_pylist() for c in table.columns), strict=True)}


def by_gensim(file: Path, binary: bool, header: bool = True) -> Found:
    from gensim.models import KeyedVectors  # here, since it takes a second

    read = KeyedVectors.load_word2vec_format(str(file), binary=binary, no_header=not header)
    found = {}
    for name in read.index_to_key:
        kind = "entity" if name.startswith("ENTITY/") else "word"
        found[kind, name.removeprefix("ENTITY/")] = read[name].tolist()
    return found


def by_usearch(folder: Path) -> Found:
    names = pq.read_table(folder / "names.parquet").to_pylist()
    indexes = {kind: Index.restore(str(folder / f"{kind}.usearch")) for kind in {row["kind"] for row in names}}
    return {(row["kind"], row["name"]): indexes[row["kind"]].get(row["key"]).tolist() for row in names}


def by_lines(folder: Path) -> Found:
    """As TensorBoard does."""
    vectors = np.loadtxt(folder / "tensors.tsv", dtype=np.float32, delimiter="\t", ndmin=2)
    header, *rows = (folder / "metadata.tsv").read_text().splitlines()
    assert header == "name\tkind" and 'metadata_path: "metadata.tsv"' in (folder / "projector_config.pbtxt").read_text()
    named = (row.split("\t") for row in rows)
    return {(kind, name): vector.tolist() for (name, kind), vector in zip(named, vectors, strict=True)}


def by_safetensors(folder: Path) -> Found:
    """As a program does that has the hub's folder."""
    vocab = json.loads((folder / "vocab.json").read_text())
    with safe_open(folder / "model.safetensors", "numpy") as file:
        assert (
            json.loads(file.get_tensor("word.names" if "word" in vocab else "entity.names").tobytes()) in vocab.values()
        )
        tensors = {kind: file.get_tensor(kind).tolist() for kind in vocab}
    return {(kind, name): row for kind in vocab for name, row in zip(vocab[kind], tensors[kind], strict=True)}


READERS: dict[str, tuple[Callable[[Path], Found], ...]] = {
    "glove": (by_data_vectors, lambda file: by_gensim(file, False, header=False)),
    "word2vec": (by_data_vectors, lambda file: by_gensim(file, False)),
    "parquet": (by_data_vectors, by_pyarrow),
    "safetensors": (by_data_vectors,),
    "projector": (by_data_vectors, by_lines),
    "usearch": (by_usearch,),
    "huggingface": (by_data_vectors, by_safetensors),
}
BINARY_READERS: dict[str, tuple[Callable[[Path], Found], ...]] = {
    "word2vec": (by_data_vectors, lambda file: by_gensim(file, True)),
}
CASES = [(name, False) for name in READERS] + [(name, True) for name in BINARY_READERS]


def vectors(count: int, seed: int) -> np.ndarray:
    """Numbers of all sizes that float32 has, and those that are written in a way of their own."""
    random = np.random.default_rng(seed)
    values = random.normal(size=(count, DIM)) * 10.0 ** random.integers(-44, 37, (count, DIM))
    values[0] = 0, -1, 1e-45
    values[1] = 16777217, 0.1, np.finfo(np.float32).max
    return values.astype(np.float32)


WORDS = Space("word", ["of", "Of", "naïve", "狗", "1.5", "bank"], vectors(6, 0))
ENTITIES = Space("entity", ["bank", "Q1", "/m/02"], vectors(3, 1))


def expected(*spaces: Space) -> Found:
    return {
        (space.kind, name): vector.tolist()
        for space in spaces
        for name, vector in zip(space.names, space.vectors, strict=True)
    }


def test_the_battery_has_every_format() -> None:
    assert_covers(set(READERS), EXPORTS, Export, exports)
    assert set(BINARY_READERS) == {name for name in EXPORTS.names() if EXPORTS[name].has_binary}


@pytest.mark.parametrize("name", READERS)
def test_a_format_is_an_export_by_its_name(name: str) -> None:
    assert issubclass(EXPORTS[name], Export) and EXPORTS[name].name == name


@pytest.mark.parametrize(("name", "binary"), CASES)
@pytest.mark.parametrize("spaces", [(WORDS,), (WORDS, ENTITIES)], ids=["words", "both"])
def test_what_is_written_is_read_back_to_the_last_bit(
    name: str, binary: bool, spaces: tuple[Space, ...], tmp_path: Path
) -> None:
    out = tmp_path / "not/there/vectors"
    assert export(spaces, locate(str(out)), name, binary) == sum(map(len, spaces))
    assert [place.name for place in out.parent.iterdir()] == [out.name]
    for reader in (BINARY_READERS if binary else READERS)[name]:
        assert reader(out) == expected(*spaces)


@pytest.mark.parametrize(("name", "binary"), CASES)
def test_entities_alone_go_by_their_bare_names(name: str, binary: bool, tmp_path: Path) -> None:
    out = tmp_path / "vectors"
    export([ENTITIES], locate(str(out)), name, binary)
    for reader in (BINARY_READERS if binary else READERS)[name]:
        assert [found for _, found in reader(out)] == ENTITIES.names


ROWS = 256


@pytest.fixture
def few_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """ROWS vectors are written at a time."""
    monkeypatch.setattr(base, "ROWS_AT_ONCE", ROWS)


@pytest.mark.usefixtures("few_at_once")
@pytest.mark.parametrize(("name", "binary"), CASES)
def test_more_vectors_than_are_written_at_a_time(name: str, binary: bool, tmp_path: Path) -> None:
    count = 2 * ROWS + 1
    many = Space("word", [f"w{place}" for place in range(count)], vectors(count, 2))
    out = tmp_path / "vectors"
    assert export([many], locate(str(out)), name, binary) == count
    found = (BINARY_READERS if binary else READERS)[name][0](out)
    assert list(found) == [("word", name) for name in many.names]
    np.testing.assert_array_equal(list(found.values()), many.vectors)


class _Unwritable:
    """Names that cannot be had once half of them are written."""

    def __getitem__(self, part: Any) -> Any:
        if part.start:
            raise RuntimeError("in the middle")
        return [f"w{place}" for place in range(part.start, part.stop)]

    def __len__(self) -> int:
        return 2 * ROWS

    def __iter__(self) -> Any:
        raise RuntimeError("in the middle")


@pytest.mark.usefixtures("few_at_once")
@pytest.mark.parametrize(("name", "binary"), CASES)
def test_a_write_that_fails_leaves_nothing_and_keeps_what_was_there(name: str, binary: bool, tmp_path: Path) -> None:
    half: Any = Space("word", _Unwritable(), vectors(2 * ROWS, 3))
    out = tmp_path / "vectors"
    export([WORDS], locate(str(out)), name, binary)
    before = {place: place.read_bytes() for place in tmp_path.rglob("*") if place.is_file()}
    with pytest.raises(RuntimeError, match="in the middle"):
        export([half], locate(str(out)), name, binary)
    assert {place: place.read_bytes() for place in tmp_path.rglob("*") if place.is_file()} == before


def test_bad_requests_are_said(tmp_path: Path) -> None:
    out = locate(str(tmp_path / "v"))
    with pytest.raises(UsageError, match="--format csv: choose glove, word2vec, parquet, safetensors, projector"):
        export([WORDS], out, "csv")
    with pytest.raises(UsageError, match="--format glove has no binary form; only word2vec has"):
        export([WORDS], out, "glove", binary=True)
    with pytest.raises(UsageError, match="is a folder"):
        export([WORDS], locate(str(tmp_path)), "glove")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.txt").write_text("all there is")
    for name in ("mine", "mine/thesis.txt"):
        with pytest.raises(UsageError, match=f"{name}: (holds thesis.txt|is a file); this format is"):
            export([WORDS], locate(str(tmp_path / name)), "projector")
    assert (tmp_path / "mine/thesis.txt").read_text() == "all there is"
    assert not (tmp_path / "v").exists()


def test_names_that_text_cannot_hold_are_written_as_in_urls_and_that_is_said(tmp_path: Path) -> None:
    names = ["New York", "New_York", "\u00a0", "a\u2028b", "100%", "%20", "ENTITY/x"]
    cities = Space("entity", names, np.eye(len(names), dtype=np.float32))
    said: list[str] = []
    for form in ("glove", "word2vec"):
        export([cities], locate(str(tmp_path / "v.txt")), form, say=said.append)
    _, *lines = (tmp_path / "v.txt").read_text().splitlines()
    written = [line.split(" ")[0] for line in lines]
    assert written == ["New%20York", "New_York", "%C2%A0", "a%E2%80%A8b", "100%", "%2520", "%45NTITY/x"]
    assert [unquote(name) for name in written] == names
    assert said == ["5 names with blanks or marks are written as in URLs ('New York' is New%20York)"] * 2
    with pytest.raises(DistjointError, match="one of word has no name"):
        export([Space("word", ["a", ""], np.eye(2, dtype=np.float32))], locate(str(tmp_path / "w.txt")), "glove")


@pytest.fixture
def joint(tmp_path: Path) -> str:
    """A run with words and entities."""
    rows = Rows(words=["the"], aligned=[("dog", "Q144")], entities=["Q1"], relations=["likes"])
    data = write_dataset(tmp_path / "data", rows, train=[("Q144", "likes", "Q1")])
    parts: dict[str, Any] = {"words": np.eye(2), "entities": np.eye(2) + 1, "dense": {"relation": np.zeros((2, 2))}}
    return str(write_run(tmp_path / "run", data, **parts))


def test_a_run_is_exported_by_kind_or_whole(joint: str, tmp_path: Path) -> None:
    loaded = distjoint.load(joint)
    assert loaded.export(str(tmp_path / "all.txt"), "word2vec") == 4
    assert (tmp_path / "all.txt").read_text() == "4 2\nthe 1 0\ndog 0 1\nENTITY/Q144 2 1\nENTITY/Q1 1 2\n"
    assert loaded.export(str(tmp_path / "words.txt"), kind="word") == 2
    assert (tmp_path / "words.txt").read_text() == "the 1 0\ndog 0 1\n"
    loaded.export(str(tmp_path / "words.bin"), "word2vec", "word", binary=True)
    assert (tmp_path / "words.bin").read_bytes().startswith(b"2 2\nthe \0\0\x80\x3f\0\0\0\0\n")


MINE = '''
import sys

from distjoint.cli import main
from distjoint.registry import EXPORTS
from distjoint.results.exports.base import Export, open_whole


@EXPORTS.add
class Names(Export):
    """The names alone, in upper case where the form is binary."""

    name = "names"
    has_binary = True

    def write(self, spaces, out):
        with open_whole(out) as stream:
            for space in spaces:
                for name in space.names:
                    stream.write(((name.upper() if self.binary else name) + "\\n").encode())


sys.argv[0] = "distjoint"
main()
'''


def test_a_format_of_a_users_own_is_exported_from_the_command_line(
    joint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """By a script, as it runs when it is the program."""
    (tmp_path / "mine.py").write_text(MINE)
    monkeypatch.chdir(tmp_path)

    def call(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["mine.py", *words])
        try:
            with pytest.raises(SystemExit) as stopped:
                runpy.run_path("mine.py", run_name="__main__")
        finally:
            EXPORTS.remove("names")
        return int(stopped.value.code or 0), *capsys.readouterr()

    code, out, err = call("export", joint, "--format", "names", "--kind", "entity", "--out", "out.txt")
    assert (code, out) == (0, "out.txt: 2 vectors\n"), err
    assert (tmp_path / "out.txt").read_text() == "Q144\nQ1\n"
    code, _, err = call("export", joint, "--format", "csv", "--out", "out.csv")
    assert code == 2 and "'names'" in err
