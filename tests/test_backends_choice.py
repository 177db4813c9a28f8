"""The device is asked for in one place, and a backend chosen there; whole runs on the torch backend learn the same."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from problem import ComparableBackend
from small import Small, config, tensors
from source import Module, package
from torch import Tensor

import distjoint
from distjoint.backends import Backend, backend_of, choose_device
from distjoint.backends.cpu.backend import CpuBackend
from distjoint.backends.torch.backend import TorchBackend
from distjoint.base.errors import DivergedError
from distjoint.model.scorers import NO_DENSE, Dense
from distjoint.model.scorers.transe import TransE
from distjoint.registry import SCORERS
from distjoint.train import build

pytestmark = pytest.mark.unit

ASKS = {
    "distjoint/doctor/machine.py": "says what GPUs torch finds, and uses none",
}
"""Files outside the backends that ask what device there is, and why they may."""


def questions(module: Module) -> Iterator[str]:
    """What asks for a device: `x.device.type`, `x.is_cuda`, `torch.cuda.anything`, `x.cuda()`, and the name `cuda`."""
    if not re.search(r"cuda|device.*\btype", module.text, re.DOTALL):
        return
    for node in module.nodes:
        if isinstance(node, ast.Attribute):
            owner = node.value.attr if isinstance(node.value, ast.Attribute) else getattr(node.value, "id", "")
            if node.attr in ("is_cuda", "cuda") or owner == "cuda" or (node.attr == "type" and "device" in owner):
                yield module.place(node)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith("cuda"):
            yield module.place(node)


def test_outside_the_backends_nothing_asks_what_the_device_is() -> None:
    asking = {module.file: list(questions(module)) for module in package() if "/backends/" not in module.file}
    found = {file: places for file, places in asking.items() if places}
    assert not [place for file, places in found.items() if file not in ASKS for place in places]
    assert found.keys() == ASKS.keys()


def test_within_the_backends_one_place_asks() -> None:
    asking = {module.file for module in package() if "/backends/" in module.file and list(questions(module))}
    assert asking == {"distjoint/backends/choice.py"}


def test_a_question_is_found_however_it_is_put() -> None:
    asked = [
        "x.device.type == 'cpu'",
        "device.type",
        "self._device.type",
        "x.is_cuda",
        "torch.cuda.is_available()",
        "cuda.device_count()",
        "x.cuda()",
        "torch.zeros(3, device='cuda')",
        "torch.device('cuda:1')",
    ]
    for line in [*asked, "x.device", "kind.type", "x.to(device)"]:
        assert bool(list(questions(Module("m", "m.py", line)))) == (line in asked), line


# Which one


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> list[torch.device]:
    """A process that finds GPUs; the devices that it makes the current one."""
    made: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "set_device", made.append)
    return made


def test_without_a_gpu_it_is_the_cpu_and_the_compiled_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device() == torch.device("cpu")
    backend = backend_of(torch.device("cpu"), 2)
    assert isinstance(backend, CpuBackend)
    assert backend.threads == 2
    backend.close()


@pytest.mark.parametrize("rank", [None, "0", "3"])
def test_with_gpus_it_is_that_of_the_local_rank_and_the_torch_backend(
    gpus: list[torch.device], monkeypatch: pytest.MonkeyPatch, rank: str | None
) -> None:
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    if rank is not None:
        monkeypatch.setenv("LOCAL_RANK", rank)
    device = choose_device()
    assert device == torch.device("cuda", int(rank or 0))
    assert gpus == [device]
    assert isinstance(backend_of(device, 1), TorchBackend)
    assert choose_device() == device  # again, after the room `torch` of the backends was imported


# Whole runs


SETTINGS: dict[str, Any] = {
    "model.coupling": "dual",
    "model.scorer": "complex",
    "model.dim": 32,
    "train.epochs": 2,
    "train.triple_passes": 4,
    "train.validate_every": 1,
}


def test_a_run_on_the_torch_backend_learns_what_one_on_the_compiled_one_does(
    small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both see the same triples and negatives. Cells are in batches on the torch backend, so words differ a little."""
    settings = config(SETTINGS)
    made = distjoint.train(small.joint, str(tmp_path / "compiled"), settings)
    used: list[Backend] = []

    def torch_backend(device: torch.device, threads: int) -> Backend:
        used.append(ComparableBackend(device, threads))
        return used[-1]

    monkeypatch.setattr(build, "backend_of", torch_backend)
    again = distjoint.train(small.joint, str(tmp_path / "torch"), settings)
    assert len(used) == 1
    for one, other in zip(made.history, again.history, strict=True):
        measured = [name for name in one if "second" not in name]
        expected = pytest.approx({name: one[name] for name in measured}, rel=1e-2, abs=2e-3)
        assert {name: other[name] for name in measured} == expected
    assert again.history[-1]["graph_loss"] < again.history[0]["graph_loss"]
    ranked = [
        distjoint.evaluate(str(tmp_path / name), link_prediction="valid").to_dict()["link_prediction"]["mrr"]
        for name in ("compiled", "torch")
    ]
    assert ranked[1] == pytest.approx(ranked[0], abs=0.02)
    assert tensors(tmp_path / "torch").keys() == tensors(tmp_path / "compiled").keys()


class Overflowing(TransE):
    """A scorer whose gradient of relations, and of nothing else, is infinite."""

    name = "overflowing"

    def query_gradient(
        self, entity: Tensor, relation: Tensor, gradient: Tensor, dense: Dense = NO_DENSE
    ) -> tuple[Tensor, Tensor]:
        return gradient, torch.full_like(gradient, torch.inf)


@pytest.mark.parametrize("name", ["compiled", "torch"])
def test_a_gradient_of_relations_that_is_not_finite_stops_a_run(
    small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """At once, or at the end of the epoch where the host did not wait to see it; rows may all be finite."""
    if name == "torch":
        monkeypatch.setattr(build, "backend_of", ComparableBackend)
    SCORERS.add(Overflowing)
    try:
        with pytest.raises(DivergedError, match="relations: the gradient is not a finite number; no dense parameter"):
            distjoint.train(small.graph, str(tmp_path / "run"), config({"model.scorer": "overflowing"}))
    finally:
        SCORERS.remove("overflowing")
