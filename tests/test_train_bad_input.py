"""What `train` is given wrongly, through the command line: one sentence, the right exit code, nothing half-written."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small import FAST, Small, config, info, tensors

from distjoint.base.errors import DistjointError
from distjoint.cli import app as cli
from distjoint.data.manifest import Manifest
from distjoint.runs.folder import RunFolder
from distjoint.storage import Location, locate
from distjoint.train import plan, train
from distjoint.train.candidates.everything import OneVersusAll
from distjoint.train.worker import Worker

pytestmark = pytest.mark.unit

Call = Callable[..., tuple[int, str]]


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """Run `distjoint train` with arguments and the fast settings; returns exit code and last line of standard error."""

    def go(*arguments: str) -> tuple[int, str]:
        fast = [] if "--resume" in arguments else [f"--set={key}={value}" for key, value in FAST.items()]
        monkeypatch.setattr(sys, "argv", ["distjoint", "train", *fast, *arguments])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        lines = capsys.readouterr().err.splitlines()
        assert "Traceback" not in "\n".join(lines)
        errors = [line for line in lines if line.startswith("distjoint: ")]
        assert len(errors) <= 1
        assert not errors or lines[-1] == errors[0]
        return int(stopped.value.code or 0), errors[0] if errors else ""

    return go


@pytest.fixture
def copied(small: Small, tmp_path: Path) -> Path:
    """A copy of the joint dataset, to be spoilt."""
    return Path(shutil.copytree(small.joint, tmp_path / "dataset"))


def first(folder: Path, stream: str) -> Path:
    return sorted((folder / stream).iterdir())[0]


def set_first(column: str, value: float, stream: str = "cooccurrence") -> Callable[[Path], None]:
    """Write a value into the first row of a column, keeping row groups as they are."""

    def change(folder: Path) -> None:
        file = first(folder, stream)
        groups = pq.ParquetFile(file)
        with pq.ParquetWriter(f"{file}.new", groups.schema_arrow, write_page_checksum=True) as writer:
            for number in range(groups.num_row_groups):
                table = groups.read_row_group(number)
                if number == 0:
                    index, field = table.schema.get_field_index(column), table.schema.field(column)
                    values = table.column(column).to_numpy().copy()
                    values[0] = value
                    table = table.set_column(index, field, pa.array(values, field.type))
                writer.write_table(table)
        Path(f"{file}.new").replace(file)

    return change


def truncate(stream: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        file = first(folder, stream)
        os.truncate(file, file.stat().st_size // 2)

    return change


def flip(stream: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        file = first(folder, stream)
        content = bytearray(file.read_bytes())
        content[200] ^= 0x40
        file.write_bytes(bytes(content))

    return change


SPOILT: list[tuple[Callable[[Path], Any], str]] = [
    (lambda folder: (folder / "manifest.json").unlink(), "no manifest.json, so this is not a complete dataset"),
    (lambda folder: shutil.rmtree(folder), "no such dataset"),
    (lambda folder: os.truncate(folder / "manifest.json", 100), "manifest.json: not a manifest"),
    (truncate("cooccurrence"), "cooccurrence/part-00000.parquet: damaged"),
    (truncate("triples/train"), "triples/train/part-00000.parquet: damaged"),
    (lambda folder: os.truncate(folder / "rows.parquet", 50), "rows.parquet: damaged"),
    (lambda folder: (folder / "relations.parquet").unlink(), "relations.parquet: no such file"),
    (lambda folder: first(folder, "cooccurrence").unlink(), "cooccurrence/part-00000.parquet: no such file"),
    (flip("cooccurrence"), "cooccurrence/part-00000.parquet: damaged"),
    (flip("triples/train"), "triples/train/part-00000.parquet: damaged"),
    (set_first("count", 0.0), "row group 0: column 'count' holds 0.0"),
    (set_first("count", -2.0), "row group 0: column 'count' holds -2.0"),
    (set_first("count", float("nan")), "row group 0: column 'count' holds nan"),
    (set_first("count", float("inf")), "row group 0: column 'count' holds inf"),
    (set_first("row", 10_000), "column 'row' holds 10000; it must lie between 0 and"),
    (set_first("head", -1, "triples/train"), "column 'head' holds -1"),
    (set_first("relation", 77, "triples/train"), "column 'relation' holds 77"),
]


@pytest.mark.parametrize(("spoil", "says"), SPOILT, ids=[says for _, says in SPOILT])
def test_a_spoilt_dataset_is_one_sentence(
    spoil: Callable[[Path], Any], says: str, copied: Path, call: Call, tmp_path: Path
) -> None:
    spoil(copied)
    code, error = call(str(copied), "--out", str(tmp_path / "run"))
    assert code == 1
    assert says in error
    assert str(copied) in error
    if (tmp_path / "run").exists():  # what was wrong showed when training had begun
        assert (info(tmp_path / "run")["status"], info(tmp_path / "run")["result"]) == ("failed", None)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ("--set=train.lanes=5", "4 shards are too few for 5 lanes, which need 2 x lanes = 10; prepare with --shards"),
        ("--set=train.groups=9", "train.groups=9: must lie between 2 x lanes = 2 and the dataset's 4 shards"),
        ("--set=train.memory=1KB", "train.memory=1000"),
        ("--set=model.dmi=3", "unknown key 'model.dmi'; did you mean 'model.dim'?"),
        ("--set=model.dim=[", "--set model.dim=["),
        ("--set=train.lanes=0", "train.lanes = 0"),
        ("--config=none.yaml", "none.yaml: no such file"),
        ("--workers=0", "--workers"),
    ],
)
def test_what_cannot_be_trained_is_one_sentence_before_anything_is_written(
    settings: str, says: str, small: Small, call: Call, tmp_path: Path
) -> None:
    code, error = call(small.joint, "--out", str(tmp_path / "run"), settings)
    assert code == (1 if "none.yaml" in says else 2)
    assert says in error
    assert not (tmp_path / "run").exists()


def test_validation_without_valid_triples_is_refused_before_anything_is_written(
    small: Small, call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(shutil.copytree(small.graph, tmp_path / "dataset"))
    counts = Manifest.read(locate(str(folder))).counts
    edit_json(folder / "manifest.json", counts={**counts, "triples/valid": 0})
    code, error = call(str(folder), "--out", str(tmp_path / "run"), "--set=train.validate_every=1")
    assert (code, "has no valid triples; prepare with --valid" in error) == (2, True)
    assert not (tmp_path / "run").exists()


def test_a_dataset_without_samples_is_refused(small: Small, call: Call, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(small.graph, tmp_path / "dataset"))
    counts = Manifest.read(locate(str(folder))).counts
    edit_json(folder / "manifest.json", counts={**counts, "triples/train": 0})
    code, error = call(str(folder), "--out", str(tmp_path / "run"))
    assert (code, "neither co-occurrence counts nor training triples" in error) == (2, True)


def test_a_run_folder_that_exists_is_kept_unless_it_may_be_replaced(small: Small, call: Call, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert call(small.joint, "--out", str(run)) == (0, "")
    before = (run / "run.json").read_bytes()
    code, error = call(small.joint, "--out", str(run), "--set=model.dim=8")
    assert code == 2
    assert f"is a run; continue it with --resume {run}, or give --overwrite" in error
    assert (run / "run.json").read_bytes() == before
    assert call(small.joint, "--out", str(run), "--overwrite", "--set=model.dim=8") == (0, "")
    assert info(run)["config"]["model"]["dim"] == 8
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("years of work")
    code, error = call(small.joint, "--out", str(tmp_path / "other"))
    assert (code, "a folder that is not empty" in error) == (2, True)
    code, error = call(small.joint, "--out", str(tmp_path / "other" / "thesis.txt"))
    assert code in (1, 2)
    assert "thesis.txt" in error
    assert (tmp_path / "other" / "thesis.txt").read_text() == "years of work"


def test_what_is_not_a_run_cannot_be_overwritten(small: Small, call: Call, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.txt").write_text("years of work")
    code, error = call(small.joint, "--out", str(tmp_path / "home"), "--overwrite")
    assert (code, "not a run" in error) == (2, True)
    assert (tmp_path / "home" / "thesis.txt").read_text() == "years of work"


# Resumption


def stop_in_third(data: str, run: Path) -> None:
    """Train, and be interrupted in the third epoch."""
    with pytest.MonkeyPatch.context() as patch:
        original = Worker.train_epoch

        def fail(self: Worker, epoch: int, *rest: Any) -> Any:
            if epoch == 2:
                raise KeyboardInterrupt
            return original(self, epoch, *rest)

        patch.setattr(Worker, "train_epoch", fail)
        with pytest.raises(KeyboardInterrupt):
            train(data, str(run), config({"train.epochs": 3}))


@pytest.fixture(scope="module")
def halted(small: Small, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was made to fail in its third epoch, to be copied."""
    run = tmp_path_factory.mktemp("halted") / "run"
    stop_in_third(small.joint, run)
    return run


@pytest.fixture
def stopped(halted: Path, tmp_path: Path) -> Path:
    """A copy of that, to be spoilt."""
    return Path(shutil.copytree(halted, tmp_path / "run"))


def edit_json(file: Path, **changes: Any) -> None:
    place = locate(str(file))
    place.write_json(place.read_json() | changes)


def test_only_a_run_can_be_resumed(call: Call, tmp_path: Path, small: Small) -> None:
    code, error = call("--resume", str(tmp_path / "none"))
    assert (code, "no such run" in error) == (1, True)
    code, error = call("--resume", small.joint)
    assert (code, "no run.json, so this is not a run" in error) == (1, True)


def test_a_dataset_that_changed_is_not_trained_on(copied: Path, tmp_path: Path, call: Call) -> None:
    stopped = tmp_path / "run"
    stop_in_third(str(copied), stopped)
    edit_json(copied / "manifest.json", options={"seed": 99})
    code, error = call("--resume", str(stopped))
    assert (code, "changed since" in error) == (1, True)
    shutil.rmtree(copied)
    code, error = call("--resume", str(stopped))
    assert (code, "no such dataset" in error) == (1, True)


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("dim", 99, "dim is 99, the run's is 16"),
        ("coupling", "tie", "coupling is tie, the run's is dual"),
        ("groups", 4, "groups is 4, the run's is 2"),
        ("seed", 5, "seed is 5, the run's is 0"),
        ("dataset_checksum", "xxh3:0", "dataset checksum is xxh3:0"),
        ("format", 7, "format 7, this distjoint reads 1"),
    ],
)
def test_a_checkpoint_of_another_run_is_refused_with_both_values(
    key: str, value: Any, says: str, stopped: Path, call: Call
) -> None:
    edit_json(stopped / "checkpoints/epoch-00002/manifest.json", **{key: value})
    code, error = call("--resume", str(stopped))
    assert code == 1
    assert says in error


@pytest.mark.parametrize("damage", ["missing", "short", "flipped"])
def test_a_damaged_checkpoint_is_named(damage: str, stopped: Path, call: Call) -> None:
    shard = stopped / "checkpoints/epoch-00002/shard-00003.safetensors"
    content = shard.read_bytes()
    if damage == "missing":
        shard.unlink()
    else:
        shard.write_bytes(content[:-8] if damage == "short" else content[:-1] + bytes([content[-1] ^ 1]))
    code, error = call("--resume", str(stopped))
    assert code == 1
    assert "shard-00003.safetensors: " in error


def test_ctrl_c_says_how_to_go_on_and_the_advice_is_right(
    small: Small, call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Worker, "publish", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
        code, error = call(small.joint, "--out", str(tmp_path / "run"))
    assert code == 130
    assert f"continue with: distjoint train --resume {tmp_path / 'run'}" in error
    assert call("--resume", str(tmp_path / "run")) == (0, "")
    assert info(tmp_path / "run")["status"] == "finished"


# A full disk


def fill(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Let the disk be full for files of this name."""
    original = Location.write_bytes

    def write(self: Location, content: bytes) -> None:
        if name in self.path:
            Path(f"{self.path}.part").write_bytes(content[: len(content) // 2])
            raise DistjointError(f"{self}: no space left on the disk; free some, or write elsewhere")
        original(self, content)

    monkeypatch.setattr(Location, "write_bytes", write)


def test_a_disk_full_at_the_start_leaves_no_run(small: Small, call: Call, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        fill(patch, "relations.parquet")
        code, error = call(small.joint, "--out", str(tmp_path / "run"))
    assert (code, "no space left" in error) == (1, True)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["epoch-00002/shard-00003", "epoch-00002/dense", "epoch-00002/manifest.json"])
def test_a_disk_full_at_a_checkpoint_leaves_the_one_before(name: str, small: Small, call: Call, tmp_path: Path) -> None:
    run = tmp_path / "run"
    with pytest.MonkeyPatch.context() as patch:
        fill(patch, name)
        code, error = call(small.joint, "--out", str(run))
    assert (code, "no space left" in error) == (1, True)
    assert [place.name for place in (run / "checkpoints").iterdir()] == ["epoch-00001"]
    assert (info(run)["status"], info(run)["result"]) == ("failed", "checkpoints/epoch-00001")
    assert all(np.isfinite(value).all() for value in tensors(run).values())
    assert call("--resume", str(run)) == (0, "")
    assert RunFolder.open(str(run)).info.result == "checkpoints/epoch-00002"


def test_a_disk_full_of_parked_shards_is_one_sentence(
    small: Small, call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "scratch").mkdir()
    for shard in range(8):
        (tmp_path / "scratch" / f"{shard}.bin").symlink_to("/dev/full")
    monkeypatch.setattr(tempfile, "mkdtemp", lambda **_: str(tmp_path / "scratch"))
    arguments = ("--set=train.groups=8", "--set=train.memory=20000")
    code, error = call(small.many, "--out", str(tmp_path / "run"), *arguments)
    assert code == 1
    assert "bin: cannot park a shard here ([Errno 28] No space left on device); free some disk" in error


@pytest.mark.parametrize(("free", "instead"), [(70_000, "; set train.groups=4 (6.2e-05 GB), or "), (1, "; set ")])
def test_all_entities_that_do_not_fit_say_what_they_need_and_what_fits(
    call: Call, small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, instead: str
) -> None:
    monkeypatch.setattr(plan, "memory", lambda: free)
    monkeypatch.setattr(OneVersusAll, "bytes_needed", lambda entities, dim, dropout: 100 * entities * dim)
    code, said = call(small.graph, "--out", str(tmp_path / "run"), "--set", "graph.candidates=1vsall")
    assert code == 2
    assert "graph.candidates=1vsall: a step over" in said
    assert said.endswith(instead + "graph.candidates=sampled")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "settings",
    [
        ("graph.candidates=kvsall", "graph.loss=margin"),
        ("graph.smoothing=0.1",),
        ("graph.warmup=1",),
        ("graph.in_batch=false", "graph.negatives=0"),
        ("graph.candidates=1vsall", "graph.power=0.5"),
        ("graph={negatives: 3}",),
        ("graph.relation_weight=1",),
    ],
)
def test_a_loss_that_does_not_go_with_its_candidates_is_named(
    call: Call, small: Small, tmp_path: Path, settings: tuple[str, ...]
) -> None:
    given = [word for setting in settings for word in ("--set", setting)]
    code, said = call(small.graph, "--out", str(tmp_path / "run"), *given)
    assert code == 2
    assert settings[-1].partition("=")[0].removeprefix("graph.").split("=")[0] in said
