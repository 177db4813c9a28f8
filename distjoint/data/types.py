"""Which entities may stand at which end of which relation, by their types: what typed ranking is limited to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Domains:
    """Sets of types, and where entities of each may stand.

    type_of   int32[rows]: by row id, the id of the entity's set of types; -1 where it has none
    head      bool[relations, sets]: entities with this set may be the head of this relation
    tail      bool[relations, sets]: the same for the tail
    """

    type_of: NDArray[np.int32]
    head: NDArray[np.bool_]
    tail: NDArray[np.bool_]

    def allowed(self, relation: int, side: Literal["head", "tail"]) -> NDArray[np.bool_]:
        """bool[rows]: which rows may stand at this end of the relation; one without types may not."""
        sets = (self.head if side == "head" else self.tail)[relation]
        # -1 picks what is appended.
        return np.append(sets, False)[self.type_of]
