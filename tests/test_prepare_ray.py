"""Counting by Ray tasks equals counting in one process."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import distjoint
from distjoint.data.dataset import Dataset
from distjoint.errors import DistjointError

pytestmark = pytest.mark.ray


def test_ray_workers_count_the_same_bits(tmp_path: Path) -> None:
    documents = np.random.default_rng(0).integers(0, 300, (50, 100))
    text = tmp_path / "text"
    text.write_text("\n".join(" ".join(f"w{word}" for word in document) for document in documents.tolist()))
    manifests = []
    for workers in (1, 2):
        out = str(tmp_path / str(workers))
        distjoint.prepare(out, corpus=str(text), workers=workers, memory="20KB")
        manifests.append(Dataset.open(out).manifest)
    assert manifests[0].files == manifests[1].files
    assert manifests[0].streams == manifests[1].streams


def test_ray_tasks_raise_the_same_sentences(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from distjoint.data import ray_driver

    (tmp_path / "text").write_text("a b c d\n" * 99)
    put = ray_driver._count
    monkeypatch.setattr(
        ray_driver, "_count",
        lambda blocks, plan, workers, folder, task: put(
            blocks, plan, workers, replace(folder, path=str(tmp_path / "text")), task
        ),
    )  # fmt: skip
    with pytest.raises(DistjointError, match="a part of this path is a file"):
        distjoint.prepare(str(tmp_path / "out"), corpus=str(tmp_path / "text"), workers=2)
    assert not (tmp_path / "out").exists()
