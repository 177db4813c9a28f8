"""Checks of Python and of the packages that distjoint needs."""

from __future__ import annotations

import importlib
import platform
import socket
import sys
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path

from distjoint.doctor.findings import Finding, sentence
from distjoint.version import __version__

PYTHON = (3, 11)
REQUIRED = (
    "charset-normalizer>=3",
    "fsspec",
    "numba>=0.60",
    "numpy>=2",
    "packaging",
    "pyarrow>=17",
    "pydantic>=2.7",
    "pyoxigraph>=0.5",
    "pyyaml",
    "ray[default,train]>=2.49",
    "rich",
    "s3fs",
    "safetensors",
    "scipy",
    "tensorboardX",
    "torch>=2.6",
    "typer",
    "xxhash",
)
"""As in pyproject.toml: that file and the package's metadata are missing where the package came with a job."""
_IMPORTED = ("torch", "ray", "pyarrow", "numba")
"""Packages that are imported too: they may have been built for another numpy, driver or C library."""


def python() -> Iterator[Finding]:
    """Versions of distjoint and Python, and where they are."""
    yield Finding("distjoint", "ok", f"{__version__} at {Path(__file__).parents[1]}, on {socket.gethostname()}")
    found = f"{platform.python_version()} at {sys.executable}"
    if sys.version_info >= PYTHON:
        yield Finding("Python", "ok", found)
    else:
        yield Finding("Python", "problem", found, f"use Python {'.'.join(map(str, PYTHON))} or newer")


def packages(required: Sequence[str] = REQUIRED, imported: Sequence[str] = _IMPORTED) -> Iterator[Finding]:
    """Versions of packages: those that are imported a line each, the others together."""
    from packaging.requirements import Requirement

    fine = 0
    for requirement in map(Requirement, required):
        name, fix = requirement.name, f"pip install '{requirement}'"
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            yield Finding(name, "problem", "not installed", fix)
            continue
        if not requirement.specifier.contains(version, prereleases=True):
            yield Finding(name, "problem", f"{version}, where {requirement.specifier} is needed", fix)
        elif name not in imported:
            fine += 1
        else:
            yield _imported(name, version, fix)
    yield Finding("other packages", "ok", f"{fine} present")


def _imported(name: str, version: str, fix: str) -> Finding:
    """Whether an installed package can be imported."""
    try:
        importlib.import_module(name)
    except Exception as error:
        return Finding(name, "problem", f"{version} cannot be imported: {sentence(error)}", fix + " --force-reinstall")
    return Finding(name, "ok", version)
