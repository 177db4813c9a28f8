"""Rows that begin with vectors of a file."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
from small import Small, Train, assert_same_bits, config, tensors
from test_prepare_continue import Said

import distjoint
from distjoint.base.errors import DistjointError
from distjoint.couplings.scheme import Scheme, initial_shard
from distjoint.data.dataset import Dataset
from distjoint.data.vectors import read_vectors
from distjoint.storage import locate
from distjoint.train import initial, train
from distjoint.train.plan import plan
from distjoint.train.worker import Worker

pytestmark = pytest.mark.unit

DIM = 16
Vectors = dict[str, np.ndarray]


class Every:
    def __contains__(self, name: object) -> bool:
        return True


def some(names: list[str], dim: int = DIM, seed: int = 0) -> Vectors:
    random = np.random.default_rng(seed)
    return {name: random.normal(size=dim).astype(np.float32) for name in names}


def write_text(place: Path, vectors: Vectors, header: bool = False, end: str = "\n") -> str:
    lines = [" ".join([name, *map(repr, vector.tolist())]) for name, vector in vectors.items()]
    counts = [f"{len(vectors)} {len(next(iter(vectors.values())))}"] if header else []
    place.write_text(end.join([*counts, *lines]) + end)
    return str(place)


def read(place: Path, dim: int = DIM) -> Vectors:
    parts = list(read_vectors(locate(str(place)), dim, Every()))
    return {f"{part.kind}:{name}": v for part in parts for name, v in zip(part.names, part.vectors, strict=True)}


@pytest.mark.parametrize(("header", "end"), [(False, "\n"), (True, "\n"), (True, " \n"), (False, "\r\n")])
def test_text_is_read_as_it_was_written(header: bool, end: str, tmp_path: Path) -> None:
    vectors = some(["dog", "New_York", "2", "a b", "Ä"])
    write_text(tmp_path / "v.txt", vectors, header, end)
    found = read(tmp_path / "v.txt")
    assert list(found) == [f"None:{name}" for name in vectors]
    for name, vector in vectors.items():
        np.testing.assert_array_equal(found[f"None:{name}"], vector)


@pytest.mark.parametrize("form", ["glove", "word2vec", "safetensors"])
def test_what_export_writes_comes_back(form: Any, known: Train, tmp_path: Path) -> None:
    result = distjoint.load(str(known({"train.epochs": 1})))
    out = tmp_path / ("v.safetensors" if form == "safetensors" else "v.txt")
    result.export(str(out), form)
    found = read(out)
    kind = {"word": "word" if form == "safetensors" else "None", "entity": "entity"}
    for name, of in (("teama", "word"), ("teama", "entity"), ("city_3", "entity"), ("topicaa", "word")):
        np.testing.assert_array_equal(found[f"{kind[of]}:{name}"], result.vector(name, kind=of))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "v.txt: the file is empty"),
        ("dog 1 2 3\n", "v.txt: vectors of 3 numbers, model.dim is 2; set model.dim=3, or give other vectors"),
        ("7 300\n", "v.txt: vectors of 300 numbers, model.dim is 2"),
        ("dog 1 2\ncat 1\n", "v.txt, line 2: 1 numbers after the name instead of 2"),
        ("dog 1 2\ncat 1 x\n", "v.txt, line 2: 'x' is not a finite number"),
        ("dog 1 2\n\ncat nan 1\n", "v.txt, line 3: 'nan' is not a finite number"),
        ("dog 1 1e99\n", "v.txt, line 1: '1e99' is not a finite number"),
        ("dog 1 2\ncat 1_0 2\n", "v.txt, line 2: '1_0' is not a finite number"),
        ("dog 0,5 0,25\ncat 1,5 2,5\n", "v.txt, line 1: numbers with decimal commas; write them with points"),
        ('{"name": "dog", "vector": [1, 2]}\n', "v.txt: JSON; write a line of text for each vector"),
        ("dog,1,2\n", "v.txt: numbers between commas; put blanks or tabs between them"),
        ("<html>\n", "v.txt: a web page, not vectors"),
        ("3 2\ndog 1 2\ncat 1 2\n", "v.txt: the file is cut short: 2 of the 3 vectors of its header"),
        (b"2 2\ndog \0\0\x80?\0\0\0@\n", "v.txt: the file is cut short in vector 2 of the 2"),
        (b"1 2\ndog \0\0\x80?\0\0\0@\ncat", "v.txt: more after the 1 vectors of its header"),
        (b"1 2\ndog \0\0\xc0\x7f\0\0\0@\n", "v.txt, vector 1: a number of 'dog' is not finite"),
        (b"\x80\x04\x95 gensim", "v.txt: a pickle, as gensim's save() writes it, which may run code and is never read"),
    ],
)
def test_bad_text_is_named(text: str | bytes, says: str, tmp_path: Path) -> None:
    (tmp_path / "v.txt").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(DistjointError) as caught:
        read(tmp_path / "v.txt", 2)
    assert says in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("cut", [0, 4, 9, 60, -4])
def test_a_damaged_safetensors_file_is_named(cut: int, known: Train, small: Small, tmp_path: Path) -> None:
    place = tmp_path / "v.safetensors"
    distjoint.load(str(known({"train.epochs": 1}, small.text))).export(str(place), "safetensors")
    with pytest.raises(DistjointError, match=r"v\.safetensors: vectors of 16 numbers, model\.dim is 8"):
        read(place, 8)
    place.write_bytes(place.read_bytes()[:cut])
    with pytest.raises(DistjointError, match=r"v\.safetensors: (not a safetensors file|the file is cut short)"):
        read(place)


def start_of(small: Small, tmp_path: Path, file: str, coupling: str, said: Said | None = None) -> dict[str, Vectors]:
    """Words' W + C and entities' vectors as the graph sees them, by name, before the first step."""
    settings = config({"train.init": file, "model.coupling": coupling})
    data, run = Dataset.open(small.joint), tmp_path / f"run-{coupling}"
    info, layout = plan(data, small.joint, settings, 1), data.layout
    scheme = Scheme.of(settings, True, True)
    with initial.find(locate(file), data, scheme, said or Said()) as found:
        found.write(locate(str(run)), info)
    rows = data.rows().to_pylist()
    seen: dict[str, Vectors] = {"word": {}, "entity": {}}
    for shard in range(layout.shards):
        parts = initial_shard(scheme, layout, shard)
        parts = initial.begin_with(parts, initial.open_initial(locate(str(run))).shard(shard), scheme, layout, shard)
        ids, word, entity = layout.rows_of(shard), layout.has_word(shard), layout.has_entity(shard)
        for place, row in enumerate(ids[word].tolist()):
            seen["word"][rows[row]["word"]] = (parts["W"][place] + parts["C"][place]).numpy()
        for place, row in enumerate(ids[entity].tolist()):
            own, name = parts["X"][place].numpy(), rows[row]["word"]
            if name is not None and coupling != "none":
                own = seen["word"][name] + (own if coupling == "dual" else 0)
            seen["entity"][rows[row]["entity"]] = own
    return seen


@pytest.mark.parametrize("coupling", ["none", "tie", "dual"])
def test_rows_begin_with_what_the_file_has_for_their_names(coupling: str, small: Small, tmp_path: Path) -> None:
    names = ["teama", "topicaa", "city_3", "nobody", "ENTITY/teamb", "teamc"]
    vectors, said = some(names), Said()
    seen = start_of(small, tmp_path, write_text(tmp_path / "v.txt", vectors), coupling, said)
    usual = start_of(small, tmp_path, write_text(tmp_path / "w.txt", some(["city_4"])), coupling)
    for name in ("teama", "topicaa", "teamc"):
        np.testing.assert_array_equal(seen["word"][name], vectors[name])
    np.testing.assert_array_equal(seen["entity"]["city_3"], vectors["city_3"])
    np.testing.assert_allclose(seen["entity"]["teama"], vectors["teama"], atol=0.02)  # X is near zero beside a word
    np.testing.assert_allclose(seen["entity"]["teamb"], vectors["ENTITY/teamb"], atol=1e-6)
    for kind, name in (("word", "topicab"), ("entity", "city_5"), ("entity", "coacha")):
        np.testing.assert_array_equal(seen[kind][name], usual[kind][name])
    assert "v.txt: vectors of 3 of " in said and " and 4 of " in said and "all others begin as usual" in said


def test_a_label_names_an_entity_and_its_id_outweighs_it(tmp_path: Path) -> None:
    (tmp_path / "kg.tsv").write_text("Q1\tr\tQ2\nQ2\tr\tQ3\n")
    (tmp_path / "labels.tsv").write_text("Q1\tNew York\nQ2\tNew York\nQ3\tQ1\n")
    distjoint.prepare(str(tmp_path / "data"), triples=str(tmp_path / "kg.tsv"), labels=str(tmp_path / "labels.tsv"))
    vectors = some(["Q2", "New_York", "Q1"])
    data, scheme = Dataset.open(str(tmp_path / "data")), Scheme.of(config(), False, True)
    for order in (["Q2", "New_York", "Q1"], ["Q1", "New_York", "Q2"]):
        file = write_text(tmp_path / "v.txt", {name: vectors[name] for name in order})
        with initial.find(locate(file), data, scheme, Said()) as found:
            ids = data.rows()["entity"].to_pylist()
            for entity, name in (("Q1", "Q1"), ("Q2", "Q2"), ("Q3", "Q1")):
                row = np.array([ids.index(entity)])
                np.testing.assert_array_equal(found.entities.get(row)[0].numpy(), vectors[name])


def test_vectors_come_compressed_and_from_anywhere(small: Small, tmp_path: Path) -> None:
    vectors = some(["teama", "city_3"])
    text = Path(write_text(tmp_path / "v.txt", vectors)).read_bytes()
    with fsspec.open("memory://vectors/v.txt.gz", "wb") as stream:
        stream.write(gzip.compress(text))
    train(small.joint, str(tmp_path / "one"), config({"train.init": "memory://vectors/v.txt.gz", "train.epochs": 1}))
    train(small.joint, str(tmp_path / "two"), config({"train.init": str(tmp_path / "v.txt"), "train.epochs": 1}))
    assert_same_bits(tensors(tmp_path / "one"), tensors(tmp_path / "two"))


def test_a_file_that_names_no_row_is_refused_and_leaves_no_run(small: Small, tmp_path: Path) -> None:
    file = write_text(tmp_path / "v.txt", some(["nobody"]))
    for vectors, says in ((file, "names none of the rows of"), (str(tmp_path / "none.txt"), "no such file of vectors")):
        with pytest.raises(DistjointError, match=says):
            train(small.joint, str(tmp_path / "run"), config({"train.init": vectors}))
        assert not (tmp_path / "run").exists()


def test_a_run_goes_on_alike_whenever_it_was_stopped(
    small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "v.txt"
    write_text(file, some(["teama", "topicaa", "city_3"]))
    settings = {"train.init": str(file), "train.epochs": 2}
    train(small.joint, str(tmp_path / "whole"), config(settings))
    assert not (tmp_path / "whole" / initial.FOLDER).exists()
    train(small.joint, str(tmp_path / "groups"), config({**settings, "train.groups": 4, "train.memory": "20KB"}))
    epoch = Worker.train_epoch
    for stopped in (0, 1):

        def stop(self: Worker, number: int, *rest: Any, at: int = stopped) -> Any:
            if number == at:
                raise KeyboardInterrupt
            return epoch(self, number, *rest)

        run = str(tmp_path / f"stopped-{stopped}")
        with monkeypatch.context() as patch:
            patch.setattr(Worker, "train_epoch", stop)
            with pytest.raises(KeyboardInterrupt):
                train(small.joint, run, config(settings))
        moved = file.rename(tmp_path / "gone.txt")  # a run needs it only to begin
        train(None, run, resume=True)
        moved.rename(file)
        assert_same_bits(tensors(run), tensors(tmp_path / "whole"))


def test_what_a_run_begins_with_is_checked(small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write_text(tmp_path / "v.txt", some(["teama"]))
    with monkeypatch.context() as patch:
        patch.setattr(Worker, "train", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            train(small.joint, str(tmp_path / "run"), config({"train.init": file}))
    place = tmp_path / "run" / initial.FOLDER / "shard-00000.safetensors"
    damaged = bytearray(place.read_bytes())
    damaged[-1] ^= 1
    place.write_bytes(damaged)
    with pytest.raises(DistjointError, match=r"initial/shard-00000\.safetensors: does not match its checksum"):
        train(None, str(tmp_path / "run"), resume=True)
    (place.parent / "manifest.json").unlink()
    with pytest.raises(DistjointError, match="initial: not there, so the run cannot begin again"):
        train(None, str(tmp_path / "run"), resume=True)
