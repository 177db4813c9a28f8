"""Cores and memory are the machine's, unless a container has less."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from distjoint.base import machine

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("content", "expected"),
    [("max 100000", 8), ("150000 100000", 2), ("50000 100000", 1), ("1600000 100000", 8), ("", 8)],
)
def test_cores_are_the_fewest_that_anything_allows(
    content: str, expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.setattr(machine, "CGROUP", tmp_path)
    (tmp_path / "cpu.max").write_text(content)
    assert machine.cores() == expected


@pytest.mark.parametrize(("content", "limited"), [("max", False), ("1000000\n", True)])
def test_memory_is_what_the_container_may_fill(
    content: str, limited: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "CGROUP", tmp_path)
    (tmp_path / "memory.max").write_text(content)
    assert (machine.memory() == 1_000_000) == limited


def test_a_machine_without_control_groups_is_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "CGROUP", tmp_path)
    assert machine.cores() >= 1
    assert machine.memory() > 1 << 28
