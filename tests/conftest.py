"""Shared by all tests: no deadline for properties (machines are shared) and 20 examples of each, others in each run,
DISTJOINT_EXAMPLES for more; and the small dataset, made once.

Tests start some hundred interpreters: each would compile the package anew if modules' bytecode were not kept.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import uuid
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from small import Small, Train, config, make, make_paired

import distjoint

settings.register_profile("distjoint", deadline=None, max_examples=int(os.environ.get("DISTJOINT_EXAMPLES", "20")))
settings.load_profile("distjoint")

os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False


gc.disable()  # until all modules are imported


def pytest_collection_finish() -> None:
    """Modules and tests stay to the end: no collection of garbage looks at them again, nor for each few objects."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
    gc.enable()


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Small:
    """Text and graph of a small league, prepared together, and each alone."""
    return make(tmp_path_factory.mktemp("small"))


@pytest.fixture(scope="session")
def paired(tmp_path_factory: pytest.TempPathFactory) -> str:
    """URL of the small league with pairs of teams and words."""
    return make_paired(tmp_path_factory.mktemp("paired"))


@pytest.fixture
def run(small: Small, tmp_path: Path) -> Train:
    """Train on the joint dataset with settings on top of the fast ones; returns the run's folder."""

    def go(settings: dict[str, Any] | None = None, data: str = small.joint, out: str | None = None) -> Path:
        folder = tmp_path / (out or uuid.uuid4().hex)
        distjoint.train(data, str(folder), config(settings))
        return folder

    return go


@pytest.fixture(scope="session")
def known(small: Small, tmp_path_factory: pytest.TempPathFactory) -> Train:
    """The same, but a run asked for again is not trained again; for what only reads."""
    made: dict[str, Path] = {}

    def go(settings: dict[str, Any] | None = None, data: str = small.joint) -> Path:
        key = json.dumps([config(settings).model_dump(mode="json"), data])
        if key not in made:
            made[key] = tmp_path_factory.mktemp("known") / "run"
            distjoint.train(data, str(made[key]), config(settings))
        return made[key]

    return go
