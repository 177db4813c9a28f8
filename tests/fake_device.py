"""A fake CUDA device: tensors without values that say where they lie, and a look at each operation on them.

`FakeTensorMode` raises where an operation mixes tensors of the host and of a device, and where it needs a value.
`Watch` notes besides what makes the host wait for a device, or would on a real one.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from distjoint.backends.base import Random
from distjoint.backends.torch.backend import TorchBackend

CUDA = torch.device("cuda", 0)
WAITING = {
    "_local_scalar_dense",
    "is_nonzero",
    "equal",
    "nonzero",
    "masked_select",
    "_unique",
    "_unique2",
    "unique_dim",
    "unique_consecutive",
    "bincount",
}
"""Operations that give the host a number, or a size, that only the device knows."""


class FakeRandom:
    """Random numbers of a fake device. torch makes no generator for a device that is not there."""

    def integers(self, high: int, shape: tuple[int, ...]) -> Tensor:
        return torch.randint(0, high, shape, device=CUDA)

    def uniform(self, shape: tuple[int, ...]) -> Tensor:
        return torch.rand(shape, device=CUDA, dtype=torch.float64)

    def dropout(self, shape: tuple[int, int], share: float) -> Tensor:
        return (torch.rand(shape, device=CUDA) >= share).float().div_(1 - share)


class FakeCudaBackend(TorchBackend):
    """The torch backend of a fake CUDA device: all of it but its generator."""

    def __init__(self, device: torch.device = CUDA, threads: int = 1) -> None:
        super().__init__(device, threads)

    def random(self, rng: np.random.Generator) -> Random:
        return FakeRandom()


DIRECT = {
    Tensor.copy_: torch.ops.aten.copy_,
    Tensor.__invert__: torch.ops.aten.bitwise_not,
    Tensor.contiguous: torch.ops.aten.contiguous,
    Tensor.nonzero: torch.ops.aten.nonzero,
    torch.nonzero: torch.ops.aten.nonzero,
    Tensor.item: torch.ops.aten._local_scalar_dense,
    Tensor.__float__: torch.ops.aten._local_scalar_dense,
    Tensor.__int__: torch.ops.aten._local_scalar_dense,
}
"""Functions of torch that look for support of a device at once, and the operations that they come to."""


class Direct(TorchFunctionMode):
    """Indexing, and what else torch does only where there is support for the device, as the operations behind it."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        given = [arg for arg in args[:2] if isinstance(arg, Tensor)]
        if not any(tensor.device.type == "cuda" for tensor in given):
            return func(*args, **(kwargs or {}))
        if func in (Tensor.__getitem__, Tensor.__setitem__):
            view, places = split(*args[:2])
            if func is Tensor.__getitem__:
                return torch.ops.aten.index.Tensor(view, places) if places else view
            value = args[2] if isinstance(args[2], Tensor) else torch.tensor(args[2], dtype=view.dtype)
            return view.index_put_(places, value) if places else torch.ops.aten.copy_(view, value)
        return DIRECT.get(func, func)(*args, **(kwargs or {}))


def split(tensor: Tensor, key: Any) -> tuple[Tensor, list[Tensor | None]]:
    """The view that the numbers and slices of an index make, and the tensors in it by axis; none if there are none."""
    keys = list(key) if isinstance(key, tuple) else [key]
    taken = sum(each is not None and each is not Ellipsis for each in keys)
    if Ellipsis in [each for each in keys if not isinstance(each, Tensor)]:
        place = next(k for k, each in enumerate(keys) if each is Ellipsis)
        keys[place : place + 1] = [slice(None)] * (tensor.dim() - taken)
    places: list[Tensor | None] = []
    for each in keys:
        axis = len(places)
        if each is None:
            tensor = tensor.unsqueeze(axis)
        elif isinstance(each, slice) and each != slice(None):
            tensor = torch.ops.aten.slice.Tensor(tensor, axis, each.start, each.stop, each.step or 1)
        elif not isinstance(each, slice | Tensor):
            tensor = tensor.select(axis, int(each))
            continue
        places.append(each if isinstance(each, Tensor) else None)
    return tensor, places if any(place is not None for place in places) else []


class Watch(TorchDispatchMode):
    """Notes operations.

    seen     names of all on the device
    waits    those that make the host wait for it
    """

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()
        self.waits: list[str] = []

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = dict(kwargs or {})
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        name = func.overloadpacket.__name__
        on_device = [tensor for tensor in tensors if tensor.device.type == "cuda"]
        if on_device:
            self.seen.add(name)
            if why := waits(name, args, kwargs, tensors):
                self.waits.append(f"{name}: {why}")
        return func(*args, **kwargs)


def waits(name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], tensors: list[Tensor]) -> str:
    """Why an operation with tensors of a device makes the host wait; empty where it does not."""
    if name in WAITING:
        return "its result is the host's, or of a size that only the device knows"
    if name == "_to_copy" and torch.device(kwargs.get("device", "cuda")).type == "cpu":
        return "copies to the host"
    if name == "copy_" and tensors[0].device.type == "cpu":
        return "copies to the host"
    if name == "repeat_interleave" and kwargs.get("output_size") is None:
        return "of a size that only the device knows"
    if name in ("index", "index_put", "index_put_", "_index_put_impl_"):
        indices = [index for index in args[1] if index is not None]
        if any(index.dtype in (torch.bool, torch.uint8) for index in indices):
            return "indexed by a mask, whose places are counted first"
    if name not in ("copy_", "_to_copy") and len({t.device.type for t in tensors if t.dim()}) > 1:
        return "takes tensors of both host and device"
    return ""


@contextmanager
def fake_device() -> Iterator[FakeTensorMode]:
    """Within it, tensors of device `cuda` are fake ones; those of the host take part as they are."""
    with warnings.catch_warnings(), Direct(), FakeTensorMode(allow_non_fake_inputs=True) as mode:
        warnings.simplefilter("ignore")
        yield mode


def watched(work: Callable[[], Any]) -> Watch:
    """What some work does on the device; inside of `fake_device`."""
    with Watch() as watch:
        work()
    return watch
