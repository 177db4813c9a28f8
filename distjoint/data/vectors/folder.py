"""Folders of vectors that `export` makes: which file of one to read."""

from __future__ import annotations

from distjoint.base.errors import DistjointError
from distjoint.storage import Location

_FILES = ("model.safetensors", "tensors.tsv")
"""Of `export --format huggingface` and of `--format projector`."""


def find_file(file: Location) -> Location:
    """The file of vectors in a folder that `export` made; a file is itself. raises DistjointError for other folders"""
    if not file.is_dir():
        return file
    names = [place.name for place in file.list()]
    for name in _FILES:
        if name in names:
            return file / name
    if any(name.endswith(".usearch") for name in names):
        raise DistjointError(f"{file}: an index, from which vectors are not read; export as safetensors, say")
    held = f"it holds {', '.join(names[:6])}" if names else "it is empty"
    raise DistjointError(f"{file}: a folder, and no file of vectors; {held}: give one file")
