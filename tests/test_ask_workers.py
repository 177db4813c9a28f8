"""Files of questions answered by several threads: the same lines in the same order, and the same errors."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from runs import Rows, write_dataset, write_run

import distjoint
from distjoint.base.errors import DistjointError, UsageError
from distjoint.base.progress import Silent
from distjoint.evaluate import stored as stored_module
from distjoint.evaluate.stored import StoredVectors
from distjoint.results import batch, questions
from distjoint.results.batch import nearest_file, predict_file, score_file
from distjoint.results.embeddings import Embeddings
from distjoint.results.options import FileOptions
from distjoint.results.workers import in_order
from distjoint.storage import locate

pytestmark = pytest.mark.unit

ASKED = 60


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of random vectors, of which a tenth are the same, and files of questions that lack this or that."""
    folder, random = tmp_path_factory.mktemp("workers"), np.random.default_rng(0)
    names = [f"e{k}" for k in range(120)]
    rows = Rows(words=["the", "of"], aligned=[(name, name) for name in names[:40]], entities=names[40:],
                relations=["r0", "r1"], shards=3, tiles=12)  # fmt: skip
    drawn = random.integers(0, 120, (300, 2)).tolist()
    triples = sorted({(f"e{head}", f"r{(head + tail) % 2}", f"e{tail}") for head, tail in drawn})
    write_dataset(folder / "data", rows, train=triples[40:], valid=triples[:20], test=triples[20:40])
    entities = random.normal(size=(120, 8))
    entities[60:72] = entities[60]
    dense = {"relation": random.normal(size=(4, 8)), "map": np.eye(8)}
    vectors = {"words": random.normal(size=(42, 8)), "entities": entities}
    write_run(folder / "run", folder / "data", **vectors, dense=dense, coupling="dual")
    lines = []
    for k in range(ASKED):
        triple = [f"e{(7 * k) % 120}", f"r{k % 2}", f"e{(11 * k + 60) % 120}"]
        triple[k % 3] = "?"
        lines.append("\t".join(triple))
    (folder / "q.tsv").write_text("\n".join(lines) + "\n")
    (folder / "n.txt").write_text("".join(f"e{(5 * k) % 120}\n" for k in range(ASKED)))
    (folder / "t.tsv").write_text("".join(f"e{k}\tr{k % 2}\te{2 * k % 120}\n" for k in range(ASKED)))
    return folder


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seven questions are a block."""
    monkeypatch.setattr(batch, "QUERIES", 7)
    monkeypatch.setattr(batch, "AT_ONCE", 7)
    monkeypatch.setattr(questions, "AT_ONCE", 7)
    monkeypatch.setattr(stored_module, "LEAST", 16)


class Told(Silent):
    """Counts what it is told."""

    def __init__(self) -> None:
        self.count = 0.0

    def task(self, *_: Any, **__: Any) -> Any:
        told = self

        class Task:
            def __enter__(self) -> Any:
                return self

            def __exit__(self, *_: object) -> None: ...

            def advance(self, count: float) -> None:
                told.count += count

        return Task()


def predictions(result: Embeddings, folder: Path, out: str, options: FileOptions, told: Told) -> Any:
    return predict_file(result, locate(str(folder / "q.tsv")), locate(out), 5, result.choice("include"), options,
                        probabilities=True, progress=told)  # fmt: skip


def scores(result: Embeddings, folder: Path, out: str, options: FileOptions, told: Told) -> Any:
    return score_file(result, locate(str(folder / "t.tsv")), locate(out), options, probabilities=True, progress=told)


def neighbours(result: Embeddings, folder: Path, out: str, options: FileOptions, told: Told) -> Any:
    return nearest_file(result, locate(str(folder / "n.txt")), locate(out), 5, options, progress=told)


@pytest.mark.parametrize("ask", [predictions, scores, neighbours])
@pytest.mark.parametrize("memory", ["1GB", "1B"])
@pytest.mark.usefixtures("small_blocks")
def test_several_threads_write_what_one_does(
    folder: Path, tmp_path: Path, memory: str, ask: Callable[..., Any]
) -> None:
    result = distjoint.load(str(folder / "run"), memory=memory)
    assert isinstance(result.entities.vectors, StoredVectors) == (memory == "1B")
    files = []
    for workers in (1, 3):
        told, out = Told(), tmp_path / f"{workers}.tsv"
        tally = ask(result, folder, str(out), FileOptions(workers=workers), told)
        assert (tally.questions, told.count) == (ASKED, 2 * ASKED)  # looked up, then answered
        files.append(out.read_text())
    assert files[0] == files[1]
    lines = [line.split("\t") for line in files[0].splitlines()[1:]]
    assert len(lines) == tally.answers >= ASKED
    if ask is not scores:
        numbers = [int(line[0]) for line in lines]
        assert numbers == sorted(numbers)
        assert set(numbers) == set(range(1, ASKED + 1))


@pytest.mark.usefixtures("small_blocks")
def test_an_error_of_a_thread_is_the_command_s_and_leaves_no_file(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result, met = distjoint.load(str(folder / "run")), list[int]()
    whole = result.graph.predict

    def damaged(*given: Any) -> Any:
        met.append(threading.get_ident())
        if len(met) > 4:
            raise DistjointError("the vector of row 7 holds NaN or infinity")
        return whole(*given)

    monkeypatch.setattr(result.graph, "predict", damaged)
    with pytest.raises(DistjointError, match="row 7"):
        predictions(result, folder, str(tmp_path / "a.tsv"), FileOptions(workers=3), Told())
    assert not list(tmp_path.iterdir())
    assert threading.active_count() == 1 or not [t for t in threading.enumerate() if t.name.startswith("answers")]


def test_results_come_in_order_and_few_blocks_are_in_memory() -> None:
    """Whichever thread is quicker; no more blocks are read ahead than there are workers, and one."""
    read, done = list[int](), list[int]()
    late = threading.Event()

    def blocks() -> Any:
        for number in range(20):
            read.append(number)
            assert len(read) - len(done) <= 3 + 2
            yield number

    def work(number: int) -> int:
        if number == 3:
            late.wait(5)
        if number == 5:
            late.set()
        return number * number

    found = []
    for result in in_order(3, blocks(), work):
        found.append(result)
        done.append(result)
    assert found == [number * number for number in range(20)]
    assert list(in_order(3, [], work)) == [] and list(in_order(4, [2], work)) == [4]


@pytest.mark.parametrize(
    ("given", "message"), [(0, "--workers is 0; it must be at least 1"), ("two", "--workers is 'two'")]
)
def test_a_wrong_number_of_workers_is_named(given: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        FileOptions(workers=given)
