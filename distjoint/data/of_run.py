"""The dataset that a run was trained on, wherever it lies by now.

A run remembers the absolute place, the way from its own folder, and the fingerprint. A dataset is looked for at both
places, or where somebody says, and is the run's if its fingerprint is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from distjoint.base.errors import DistjointError
from distjoint.data.dataset import Dataset
from distjoint.data.manifest import NAME
from distjoint.runs.folder import RunFolder, RunInfo
from distjoint.storage import Location, locate

_ABOVE = 4
"""Folders above a run that are tried for a relative path, which earlier versions noted as it was typed."""


def open_dataset(run: RunFolder, url: str | None = None) -> Dataset:
    """The dataset a run was trained on. raises DistjointError when it is not found, or is another one by now

    url   where it lies now, if it was moved since; by default what `run` says of that
    """
    if given := url or run.dataset:
        found = Dataset.open(given, run.folder.options)
        if not is_of(found, run.info):
            raise DistjointError(_other(found, run))
        return found
    others: list[Dataset] = []
    for place in _places(run):
        if (place / NAME).exists():
            found = Dataset.open(place)
            if is_of(found, run.info):
                return found
            others.append(found)
    if others:
        raise DistjointError(f"{_other(others[0], run)}; give where it lies with --dataset")
    raise DistjointError(f"{run.info.dataset}: {_missing(run)}; give where it lies now with --dataset")


def is_of(data: Dataset, info: RunInfo) -> bool:
    """Whether a dataset is the one that a run was trained on, or has the same content."""
    return data.checksum() == info.dataset_checksum or data.manifest.fingerprint() == info.dataset_fingerprint


def placed(info: RunInfo, run: Location, data: Dataset) -> RunInfo:
    """The run with the place where its dataset lies.

    run   its folder
    """
    place = {"dataset": data.folder.absolute, "dataset_from_here": run.way_to(data.folder)}
    fingerprint = info.dataset_fingerprint or data.manifest.fingerprint()
    return info.model_copy(update={**place, "dataset_fingerprint": fingerprint})


def own_place(run: RunFolder, urls: Sequence[str]) -> str | None:
    """That of several datasets which a run was trained on; None where none of them is it."""
    return next((url for url in urls if is_of(Dataset.open(url, run.folder.options), run.info)), None)


def _places(run: RunFolder) -> Iterator[Location]:
    """Where a run's dataset may lie, likelier places first."""
    noted, way = run.info.dataset, run.info.dataset_from_here
    yield locate(noted, run.folder.options)
    if way is not None:
        yield run.folder.beside(way)
    elif "://" not in noted and not noted.startswith(("/", "~")):
        for steps in range(1, _ABOVE + 1):
            yield run.folder.beside("../" * steps + noted)


def _missing(run: RunFolder) -> str:
    tried = dict.fromkeys(place.absolute for place in _places(run))
    here = ", ".join(list(tried)[1:])
    incomplete = any(place.exists() for place in _places(run))
    what = f"no {NAME}, so this is not a complete dataset" if incomplete else "no such dataset"
    return f"{what}, which {run.folder} was trained on" + (f" (nor does it lie in {here})" if here else "")


def _other(found: Dataset, run: RunFolder) -> str:
    info = run.info
    both = (found.manifest.fingerprint(), info.dataset_fingerprint)
    if both[1] is None:
        both = found.checksum(), info.dataset_checksum
    return (
        f"{found.folder}: is not the dataset {run.folder} was trained on, or was changed since: its fingerprint is "
        f"{both[0]}, that of the run's ({info.dataset}) is {both[1]}"
    )
