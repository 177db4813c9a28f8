"""A disk that is really full: one sentence, what was complete stays so, and with more room the work goes on."""

from __future__ import annotations

import subprocess
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from small import Small, assert_same_bits, config, tensors

import distjoint
from distjoint.base.errors import DistjointError
from distjoint.data.dataset import Dataset
from distjoint.runs.folder import RunFolder
from distjoint.storage import locate

pytestmark = pytest.mark.unit

PAGE = 4096
TRAIN = {"loss.alpha": 0, "train.epochs": 3, "train.keep": 3}


class Disk:
    """A small file system in memory."""

    def __init__(self, place: Path, size: int) -> None:
        self.place = place
        place.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", place], check=True, capture_output=True)

    def grow(self, size: int) -> None:
        subprocess.run(["mount", "-o", f"remount,size={size}", self.place], check=True, capture_output=True)

    def close(self) -> None:
        subprocess.run(["umount", "-l", self.place], check=True, capture_output=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[[int], Disk]]:
    """Makes a disk of so many bytes."""
    made: list[Disk] = []

    def make(size: int) -> Disk:
        try:
            made.append(Disk(tmp_path / "disk", size))
        except (OSError, subprocess.CalledProcessError) as error:
            pytest.skip(f"no file system can be mounted here: {error}")
        return made[-1]

    yield make
    for one in made:
        one.close()


def taken(folder: Path) -> int:
    """Bytes that its files take of a disk."""
    return sum(-(-file.stat().st_size // PAGE) * PAGE for file in folder.rglob("*") if file.is_file())


def prepare(small: Small, out: Path, scratch: Path | None = None) -> None:
    raw = Path(small.joint).parent
    options = {"shards": 8, "min_count": 1, "window": 5}
    files = {"corpus": str(raw / "text.txt"), "triples": str(raw / "train.tsv")}
    distjoint.prepare(str(out), **files, **options, scratch=None if scratch is None else str(scratch))


@pytest.mark.parametrize("pages", [1, 4, 9, 12])
def test_a_dataset_that_does_not_fit_is_one_sentence_and_no_dataset(
    small: Small, disk: Callable[[int], Disk], pages: int, tmp_path: Path
) -> None:
    full = disk(pages * PAGE)
    out = full.place / "data"
    with pytest.raises(DistjointError, match=rf"^{full.place}\S*: no space left on the disk; free some") as caught:
        prepare(small, out)
    assert "\n" not in str(caught.value)
    with pytest.raises(DistjointError, match=r"no such dataset|not a complete dataset"):
        Dataset.open(str(out))
    full.grow(1 << 20)
    prepare(small, out)
    prepare(small, tmp_path / "data")
    assert Dataset.open(str(out)).checksum() == Dataset.open(str(tmp_path / "data")).checksum()


def test_temporary_files_that_do_not_fit_are_one_sentence(
    small: Small, disk: Callable[[int], Disk], tmp_path: Path
) -> None:
    full = disk(PAGE)
    with pytest.raises(DistjointError, match=rf"^{full.place}\S*: no space left on the disk.*TMPDIR|--scratch"):
        prepare(small, tmp_path / "data", full.place)


def test_a_checkpoint_that_does_not_fit_leaves_the_one_before(
    small: Small, disk: Callable[[int], Disk], tmp_path: Path
) -> None:
    distjoint.train(small.joint, str(tmp_path / "whole"), config(TRAIN))
    checkpoint = taken(tmp_path / "whole/checkpoints/epoch-00001")
    others = taken(tmp_path / "whole") - taken(tmp_path / "whole/checkpoints")
    full = disk(others + 3 * checkpoint // 2)
    run = full.place / "run"
    with pytest.raises(
        DistjointError, match=rf"^{run}/checkpoints/epoch-00002\S*: no space left on the disk"
    ) as caught:
        distjoint.train(small.joint, str(run), config(TRAIN))
    assert "\n" not in str(caught.value)
    assert RunFolder.open(str(run)).info.result == "checkpoints/epoch-00001"
    assert_same_bits(tensors(run), tensors(tmp_path / "whole", epoch=1))
    full.grow(1 << 24)
    distjoint.train(None, str(run), resume=True)
    assert_same_bits(tensors(run), tensors(tmp_path / "whole"))


def test_a_run_that_does_not_fit_at_all_is_one_sentence(small: Small, disk: Callable[[int], Disk]) -> None:
    full = disk(3 * PAGE)
    with pytest.raises(DistjointError, match=rf"^{full.place}\S*: no space left on the disk"):
        distjoint.train(small.joint, str(full.place / "run"), config(TRAIN))


def test_what_waits_to_be_sent_to_a_store_and_does_not_fit_is_one_sentence(
    disk: Callable[[int], Disk], monkeypatch: pytest.MonkeyPatch
) -> None:
    full, place = disk(4 * PAGE), locate(f"memory://{uuid.uuid4().hex}/large")
    monkeypatch.setattr(tempfile, "tempdir", str(full.place))
    with (
        pytest.raises(DistjointError, match=rf"^{full.place}.*on its way to {place}\): no space left on the disk"),
        place.open_output() as stream,
    ):
        stream.write(bytes(8 * PAGE))
    assert not place.exists()
    assert list(full.place.iterdir()) == []
