"""A folder for TensorBoard's embedding projector, in the browser (projector.tensorflow.org) or in TensorBoard."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from distjoint.data.vectors.names import encoded
from distjoint.results.exports.base import Export, NamedVectors, blocks, open_folder, open_whole, text_rows
from distjoint.storage import Location

_CONFIG = """embeddings {
  tensor_name: "distjoint"
  tensor_path: "tensors.tsv"
  metadata_path: "metadata.tsv"
}
"""


class Projector(Export):
    """`tensors.tsv`, numbers between tabs; `metadata.tsv`, names and kinds; `projector_config.pbtxt`."""

    name: ClassVar[str] = "projector"
    files: ClassVar[tuple[str, ...]] = ("tensors.tsv", "metadata.tsv", "projector_config.pbtxt")

    def write(self, spaces: Sequence[NamedVectors], out: Location) -> None:
        changed = 0
        tensors, metadata, config = self.files
        with open_folder(out, self.files) as folder:
            with open_whole(folder / tensors) as stream:
                for space in spaces:
                    for _, vectors in blocks(space):
                        stream.write(("\n".join(text_rows(vectors, "\t").to_pylist()) + "\n").encode())
            with open_whole(folder / metadata) as stream:
                stream.write(b"name\tkind\n")
                for space in spaces:
                    for names, _ in blocks(space):
                        written = [encoded(name, blanks=True) for name in names]
                        changed += sum(name != text for name, text in zip(names, written, strict=True))
                        stream.write("".join(f"{name}\t{space.kind}\n" for name in written).encode())
            with open_whole(folder / config) as stream:
                stream.write(_CONFIG.encode())
        if changed:
            self.notes.append(f"{changed:,} names with tabs, line ends or marks are written as in URLs")
