"""safetensors: a tensor for each kind of vector, which `train.init` and `distjoint.data.vectors` read back exactly."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from distjoint.data.vectors.safetensors import NAMES
from distjoint.results.exports.base import Export, NamedVectors, blocks, open_whole
from distjoint.storage import Location


class Safetensors(Export):
    """A tensor float32[n, width] for each kind, and one of bytes, `KIND.names`: a JSON list in UTF-8.

    What the vectors are is JSON in the file's metadata, `distjoint`. Names are no metadata: readers refuse a header
    above 100 MB.
    """

    name: ClassVar[str] = "safetensors"
    holds_model: ClassVar[bool] = True

    def write(self, spaces: Sequence[NamedVectors], out: Location) -> None:
        names = {space.kind: json.dumps(list(space.names), ensure_ascii=False).encode() for space in spaces}
        header: dict[str, Any] = {"__metadata__": {"distjoint": json.dumps(self.about)}} if self.about else {}
        end = 0
        for space in spaces:
            count, width = space.vectors.shape
            for name, kind, shape, size in (
                (space.kind, "F32", [count, width], 4 * count * width),
                (space.kind + NAMES, "U8", [len(names[space.kind])], len(names[space.kind])),
            ):
                header[name] = {"dtype": kind, "shape": shape, "data_offsets": [end, end + size]}
                end += size
        content = json.dumps(header).encode()
        content += b" " * (-len(content) % 8)
        # By blocks, which package safetensors does not write: the vectors may be more than memory.
        with open_whole(out) as stream:
            stream.write(len(content).to_bytes(8, "little") + content)
            for space in spaces:
                for _, vectors in blocks(space):
                    stream.write(np.ascontiguousarray(vectors, "<f4").tobytes())
                stream.write(names[space.kind])
