"""Parts: the arrays that the rows of a table consist of.

A part is an array over the rows of a shard that have it: `W`, `C` and their biases over the rows with a word, `X`
over the rows with an entity. Each comes with the state of its optimizer; an aligned row has one state per loss. Which
parts a run has is for its sources, coupling and optimizer to say.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from distjoint.table.layout import Layout

Shard = dict[str, Tensor]
"""The parts of one shard by name, rows in order of offset."""


@dataclass(frozen=True)
class Part:
    """One array of the table.

    of      over which rows
    width   0 for one float a row, else floats a row
    start   what its floats begin as, unless they are drawn (W, C, X)
    made    whether it is made anew of other parts, so that none is carried to another run
    """

    name: str
    of: Literal["word", "entity"]
    width: int
    start: float = 0.0
    made: bool = False

    def rows(self, layout: Layout, shard: int) -> int:
        """Rows of a shard that have it."""
        return layout.shard_words(shard) if self.of == "word" else layout.shard_entities(shard)


Parts = tuple[Part, ...]


def state_parts(prefix: str, of: Literal["word", "entity"], floats: Mapping[str, int]) -> list[Part]:
    """The parts that hold an optimizer's state of another part, in the words of `Optimizer.state`."""
    return [Part(prefix + name, of, width) for name, width in floats.items()]


def table_bytes(parts: Parts, layout: Layout) -> int:
    """Size of the whole table."""
    floats = {"word": layout.words + layout.aligned, "entity": layout.aligned + layout.entities}
    return 4 * sum(max(part.width, 1) * floats[part.of] for part in parts)


def packed_size(parts: Parts, layout: Layout, shard: int) -> int:
    """Floats of a packed shard."""
    return sum(part.rows(layout, shard) * max(part.width, 1) for part in parts)
