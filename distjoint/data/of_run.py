"""The dataset that a run was trained on."""

from __future__ import annotations

from distjoint.base.errors import DistjointError
from distjoint.data.dataset import Dataset
from distjoint.runs.folder import RunFolder


def open_dataset(run: RunFolder, url: str | None = None) -> Dataset:
    """The dataset a run was trained on. raises DistjointError when it is gone, or is another one by now

    url   where it lies now, if it was moved since
    """
    dataset = Dataset.open(url or run.info.dataset, run.folder.options)
    found = dataset.checksum()
    if found != run.info.dataset_checksum:
        raise DistjointError(
            f"{dataset.folder}: is not the dataset {run.folder} was trained on: its manifest has checksum {found}, "
            f"the run's {run.info.dataset_checksum}"
        )
    return dataset
