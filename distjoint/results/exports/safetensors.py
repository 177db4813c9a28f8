"""safetensors: a tensor for each kind of vector, which `train.init` and `distjoint.data.vectors` read back exactly."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from safetensors.numpy import save

from distjoint.data.vectors.safetensors import NAMES
from distjoint.results.exports.base import Export, NamedVectors, open_whole
from distjoint.storage import Location


class Safetensors(Export):
    """A tensor float32[n, width] for each kind, and one of bytes, `KIND.names`: a JSON list in UTF-8.

    What the vectors are is JSON in the file's metadata, `distjoint`. Names are no metadata: readers refuse a header
    above 100 MB.
    """

    name: ClassVar[str] = "safetensors"
    holds_model: ClassVar[bool] = True

    def write(self, spaces: Sequence[NamedVectors], out: Location) -> None:
        tensors = {space.kind: np.ascontiguousarray(space.vectors) for space in spaces}
        for space in spaces:
            names = json.dumps(list(space.names), ensure_ascii=False).encode()
            tensors[space.kind + NAMES] = np.frombuffer(names, np.uint8)
        content = save(tensors, metadata={"distjoint": json.dumps(self.about)} if self.about else None)
        with open_whole(out) as stream:
            stream.write(content)
