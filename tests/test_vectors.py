"""Files of named vectors: every format, however it is packed, comes back as it went, or is refused by name."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from runs import Rows, write_dataset, write_run
from test_prepare_continue import Said

import distjoint
from distjoint.base.errors import DistjointError
from distjoint.couplings.scheme import Scheme
from distjoint.data.dataset import Dataset
from distjoint.data.vectors import FORMATS, Findings, read_vectors
from distjoint.evaluate.space import Space
from distjoint.recipes.load import load_config
from distjoint.registry import EXPORTS
from distjoint.results.export import export
from distjoint.storage import locate
from distjoint.train import initial

pytestmark = pytest.mark.unit

DIM = 4
NAMES = ["the", "New York", "caf\u00e9", "2", "\u72d7"]
VECTORS = np.random.default_rng(0).normal(size=(len(NAMES), DIM)).astype(np.float32)
Found = dict[tuple[str | None, str], np.ndarray]


class Every:
    def __contains__(self, name: object) -> bool:
        return True


def read(place: Path, findings: Findings | None = None, dim: int = DIM) -> Found:
    found: Found = {}
    for part in read_vectors(locate(str(place)), dim, Every(), findings):
        assert np.isfinite(part.vectors).all() and len(part.names) == len(part.vectors)
        found |= {(part.kind, name): vector for name, vector in zip(part.names, part.vectors, strict=True)}
    return found


def text(between: str = " ", end: str = "\n", header: bool = False) -> bytes:
    lines = [between.join([name, *map(repr, row.tolist())]) for name, row in zip(NAMES, VECTORS, strict=True)]
    return end.join([*([f"{len(NAMES)} {DIM}"] if header else []), *lines, ""]).encode()


def zipped(content: bytes, *others: str) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("folder/", "__MACOSX/folder/._v.txt", "folder/v.txt", *others):
            archive.writestr(name, b"" if name.endswith("/") else content)
    return packed.getvalue()


PACKED: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "gzip": gzip.compress,
    "gzip, two parts": lambda content: gzip.compress(content[:50]) + gzip.compress(content[50:]),
    "bz2": bz2.compress,
    "bz2, two parts": lambda content: bz2.compress(content[:50]) + bz2.compress(content[50:]),
    "xz": lzma.compress,
    "zstd": zstandard.compress,
    "zip": zipped,
    "lz4": lambda content: bytes(pa.compress(content, "lz4", asbytes=True)),
}


def npy(vectors: np.ndarray = VECTORS) -> bytes:
    packed = io.BytesIO()
    np.save(packed, vectors)
    return packed.getvalue()


def parquet() -> bytes:
    packed = io.BytesIO()
    columns = {"token": NAMES, "embedding": pa.array(VECTORS.astype(np.float64).tolist())}
    pq.write_table(pa.table(columns), packed, write_page_checksum=True)
    return packed.getvalue()


def exported(form: str, binary: bool = False) -> bytes:
    place = locate("memory://exported-vectors")
    export([Space("word", NAMES, VECTORS)], place, form, binary)
    return place.read_bytes()


CONTENTS: dict[str, Callable[[], bytes]] = {
    "glove": text,
    "word2vec": lambda: text(header=True),
    "fastText": lambda: text(end=" \n", header=True),
    "tabs": lambda: text("\t"),
    "a byte order mark, Windows": lambda: b"\xef\xbb\xbf" + text(end="\r\n"),
    "binary": lambda: exported("word2vec", True),
    "parquet": lambda: exported("parquet"),
    "another's parquet": parquet,
    "safetensors": lambda: exported("safetensors"),
    "npy": npy,
    "npy by columns": lambda: npy(np.asfortranarray(VECTORS)),
}
CHECKED = {"word2vec", "fastText", "binary", "parquet", "another's parquet", "safetensors", "npy", "npy by columns"}
"""Of which any shorter file is known to be cut short."""


def write(place: Path, name: str, content: bytes) -> Path:
    place.write_bytes(content)
    if name.startswith("npy"):
        place.with_suffix(".vocab").write_text("\n".join(NAMES) + "\n")
    return place


@pytest.mark.parametrize("name", CONTENTS)
def test_a_file_is_read_by_what_is_in_it_however_it_is_packed(name: str, tmp_path: Path) -> None:
    for packed, pack in PACKED.items():
        findings = Findings()
        found = read(write(tmp_path / "v", name, pack(CONTENTS[name]())), findings)
        assert [known for _, known in found] == NAMES, packed
        np.testing.assert_array_equal(np.array(list(found.values())), VECTORS)
        assert findings.lines() == []
    assert {form.title for form in FORMATS} == {"safetensors", "parquet", "npy", "word2vec's binary form", "text"}


def test_gensim_reads_what_is_written_and_writes_what_is_read(tmp_path: Path) -> None:
    from gensim.models import KeyedVectors  # here, since it takes a second

    mine = KeyedVectors(DIM)
    mine.add_vectors(["dog", "new_york"], VECTORS[:2])
    for binary in (False, True):
        mine.save_word2vec_format(str(tmp_path / "v"), binary=binary)
        found = read(tmp_path / "v")
        np.testing.assert_allclose(found[None, "new_york"], VECTORS[1], rtol=0 if binary else 1e-6)
    mine.save(str(tmp_path / "v"))
    with pytest.raises(DistjointError, match=r"v: a pickle.*save_word2vec_format"):
        read(tmp_path / "v")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (zipped(text(), "b.txt"), r"v: a zip archive with 2 files \(b.txt, folder/v.txt\); unpack it"),
        (zipped(text())[:-9], "v: a zip archive that is damaged or cut short"),
        (zipped(text()).replace(b"folder/v.txt", b"\0older/v.txt"), "v: a zip archive that is damaged"),
        (gzip.compress(gzip.compress(text())), "v: compressed twice"),
        (gzip.compress(text())[:-9], "v: the file is cut short"),
        (zstandard.compress(text())[:-5], "v: the file is cut short"),
        (lzma.compress(text())[:-15], "v: the file is cut short"),
        (bz2.compress(text())[:-5], "v: the file is cut short"),
        (text().decode().encode("utf-16"), "v: not UTF-8 but, it seems, UTF-16"),
        (b"\x89HDF\r\n", "v: HDF5"),
        (b"SQLite format 3\0", "v: an SQLite database; write the vectors as text"),
        (bz2.compress(b""), "v: the file is empty"),
        (gzip.compress(zipped(text())), "v: compressed twice"),
        (b"\x1f\x8b\x00 1 2 3 4 5", "v: vectors of 5 numbers"),
        (npy(np.array([{}])), "v: numbers of type object"),
        (npy(VECTORS[0]), r"v: shape \(4,\); save a matrix"),
        (npy(VECTORS[:, :3]), r"v: vectors of 3 numbers, model.dim is 4; set model.dim=3"),
        (npy(), "v: has no names; put them beside it, a line each, as v.vocab"),
        (b"", "v: the file is empty"),
    ],
)
def test_what_cannot_be_read_is_said_with_what_to_do(content: bytes, says: str, tmp_path: Path) -> None:
    (tmp_path / "v").write_bytes(content)
    with pytest.raises(DistjointError, match=says):
        read(tmp_path / "v")


def test_names_beside_a_matrix_are_those_of_one_file_of_its_length(tmp_path: Path) -> None:
    place = write(tmp_path / "v.npy", "npy", npy())
    (tmp_path / "v.vocab").write_text("\n".join(f"{name} {7 * at}" for at, name in enumerate(NAMES)))
    findings = Findings()
    assert [name for _, name in read(place, findings)] == NAMES
    assert findings.lines() == ["5 names have a number after them, which is taken for a count ('the 0')"]
    (tmp_path / "v.vocab").write_text("\n".join(NAMES[:4]))
    with pytest.raises(DistjointError, match=r"v\.vocab: 4 names, and .*v\.npy has more vectors"):
        read(place)
    (tmp_path / "v.vocab").write_text("\n".join([*NAMES, "more"]))
    with pytest.raises(DistjointError, match=r"v\.vocab: 6 names, and .*v\.npy has 5 vectors"):
        read(place)
    (tmp_path / "names.txt").write_text("\n".join(NAMES))
    with pytest.raises(DistjointError, match=r"v\.vocab, names\.txt beside it might hold them"):
        read(place)


def test_what_is_mended_or_left_out_of_text_is_counted(tmp_path: Path) -> None:
    content = b"5 2\nbro\xffken 1 2\nApollo 11 1 2\n 1 2\n. . . 1 2\nlast 1 2\nmore 1 2"
    (tmp_path / "v").write_bytes(content)
    findings = Findings()
    assert [name for _, name in read(tmp_path / "v", findings, 2)] == [
        "bro\ufffdken",
        "Apollo 11",
        ". . .",
        "last",
        "more",
    ]
    assert findings.lines() == [
        "1 names are not UTF-8: their bad bytes are read as \ufffd ('bro\ufffdken', line 2)",
        "1 lines have more numbers than others; what is before the last ones is taken for a name ('Apollo 11', line 3)",
        "1 lines have no name and are left out (line 4)",
        "the last line has no end: is the file cut short? (line 7)",
        "1 more vectors than the header says, which are read too (5)",
    ]


def test_a_first_name_with_blanks_or_numbers_does_not_hide_the_width(tmp_path: Path) -> None:
    for first in (". . .", "Apollo 11", "1 2 3", "at name@domain.com", "PK", "PKR", "ARROW1"):
        (tmp_path / "v").write_text(f"{first} .1 .2\nthe .3 .4\nNew York .5 .6\n")
        assert list(read(tmp_path / "v", dim=2)) == [(None, first), (None, "the"), (None, "New York")]
        with pytest.raises(DistjointError, match=r"vectors of 2 numbers, model\.dim is 3"):
            read(tmp_path / "v", dim=3)


# Any damage


def damaged(content: bytes, random: np.random.Generator) -> bytes:
    """Cut, shuffled, overwritten, doubled: one of them."""
    data, at = bytearray(content), int(random.integers(len(content)))
    size = int(random.integers(1, 40))
    kind = int(random.integers(5))
    if kind == 0:
        return bytes(data[:at])
    if kind == 1:
        part = np.frombuffer(bytes(data[at : at + size]), np.uint8).copy()
        random.shuffle(part)
        data[at : at + size] = part.tobytes()
    elif kind == 2:
        data[at : at + size] = random.integers(0, 256, size, np.uint8).tobytes()
    elif kind == 3:
        data[at:at] = data[at : at + size]
    else:
        data[at] ^= 1 << int(random.integers(8))
    return bytes(data)


def test_damage_is_named_or_leaves_vectors(tmp_path: Path) -> None:
    random, count = np.random.default_rng(1), int(os.environ.get("DISTJOINT_FUZZ", "150"))
    contents = {
        (name, pack): PACKED[pack](make()) for name, make in CONTENTS.items() for pack in ("plain", "gzip", "zip")
    }
    for turn in range(count):
        name, pack = list(contents)[turn % len(contents)]
        content = damaged(contents[name, pack], random)
        place, shortened = write(tmp_path / "v", name, content), len(content) < len(contents[name, pack])
        findings = Findings()
        try:
            found = read(place, findings)
        except DistjointError as error:
            assert str(place.with_suffix("")) in str(error) and "\n" not in str(error)
            continue
        whole = content == contents[name, pack] or content.strip() == contents[name, pack].strip()
        assert whole or findings.lines() or not (shortened and (name in CHECKED or pack != "plain")), (
            name,
            pack,
            content,
        )
        assert len(found) <= len(NAMES) + 1


# There and back


def rows_of(words: list[str], entities: list[str], relations: list[str]) -> Rows:
    return Rows(words=words, entities=list(entities), relations=relations)


A_NAME = st.text(st.characters(codec="utf-8"), min_size=1, max_size=6) | st.sampled_from(
    [
        "New York",
        "New_York",
        "a\u00a0b",
        "a b",
        "%20",
        "ENTITY/x",
        "x",
        "\u2028",
        "\x85",
        "\ufeffx",
        "1 2",
        "\n",
        "\t",
        "\x00",
    ]
)
NAME_LISTS = st.lists(A_NAME, min_size=2, max_size=6, unique=True)
FORMS = [
    ("glove", False),
    ("word2vec", False),
    ("word2vec", True),
    *((form, False) for form in ("parquet", "safetensors")),
]
FORMS += [("projector", False), ("huggingface", False)]


@settings(
    max_examples=int(os.environ.get("DISTJOINT_EXAMPLES", "6")),
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(words=NAME_LISTS, entities=NAME_LISTS, relations=NAME_LISTS, form=st.sampled_from(FORMS), seed=st.integers(0, 9))
def test_any_names_come_back_with_their_own_vectors(
    words: list[str],
    entities: list[str],
    relations: list[str],
    form: tuple[str, bool],
    seed: int,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder, random = tmp_path_factory.mktemp("names"), np.random.default_rng(seed)
    triples = [(entity, relations[at % len(relations)], entities[0]) for at, entity in enumerate(entities)]
    data = write_dataset(folder / "data", rows_of(words, entities, relations), train=triples)
    parts = {"words": random.normal(size=(len(words), DIM)), "entities": random.normal(size=(len(entities), DIM))}
    dense = {"relation": random.normal(size=(2 * len(relations), DIM))}
    run = distjoint.load(str(write_run(folder / "run", data, **parts, dense=dense)))
    files = [folder / "out", folder / "relations"]
    run.export(str(files[0]), form[0], binary=form[1])
    run.export(str(files[1]), form[0], kind="relation", binary=form[1])
    scheme = Scheme.of(load_config(None, {"model.dim": DIM, "model.coupling": "none"}), True, True)
    said = Said()
    places = [locate(str(file)) for file in files]
    with initial.find(places, Dataset.open(str(data)), scheme, said) as found:
        words_found = found.words.get(np.arange(len(words))).numpy()
        entities_found = found.entities.get(len(words) + np.arange(len(entities))).numpy()
        tensors = found.tables.tensors()
    np.testing.assert_array_equal(words_found, run.words.vectors)
    np.testing.assert_array_equal(entities_found, run.entities.vectors)
    if form[0] != "projector":  # which holds no relations but by themselves
        assert tensors["relation.place"].tolist() == list(range(2 * len(relations)))
    np.testing.assert_array_equal(tensors["relation"].numpy(), dense["relation"].astype(np.float32))
    assert "several vectors" not in said and "underscores" not in said


def test_every_format_but_the_index_is_in_the_round_trip() -> None:
    assert {form for form, _ in FORMS} == set(EXPORTS.names()) - {"usearch"}
