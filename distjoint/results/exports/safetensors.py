"""safetensors: a tensor for each kind of vector, which `train.init` and `distjoint.data.vectors` read back exactly."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from safetensors.numpy import save

from distjoint.evaluate.space import Space
from distjoint.results.exports.base import Export, open_whole
from distjoint.storage import Location


class Safetensors(Export):
    """A tensor float32[n, dim] for each kind, and the names as JSON lists in the file's metadata."""

    name: ClassVar[str] = "safetensors"

    def write(self, spaces: Sequence[Space], out: Location) -> None:
        names = {f"{space.kind}.names": json.dumps(list(space.names), ensure_ascii=False) for space in spaces}
        content = save({space.kind: np.ascontiguousarray(space.vectors) for space in spaces}, metadata=names)
        with open_whole(out) as stream:
            stream.write(content)
