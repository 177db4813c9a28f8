"""Shared by all tests: no deadline for properties (machines are shared), and the small dataset, made once."""

from __future__ import annotations

import pytest
from hypothesis import settings
from small import Small, make, make_paired

settings.register_profile("distjoint", deadline=None)
settings.load_profile("distjoint")


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Small:
    """Text and graph of a small league, prepared together, and each alone."""
    return make(tmp_path_factory.mktemp("small"))


@pytest.fixture(scope="session")
def paired(tmp_path_factory: pytest.TempPathFactory) -> str:
    """URL of the small league with pairs of teams and words."""
    return make_paired(tmp_path_factory.mktemp("paired"))
