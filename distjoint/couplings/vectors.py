"""How the two sides of an aligned row are bound: the vector each side of the row is scored with.

`none`  entity X, word W + C: separate.
`tie`   the graph scores W + C itself; an entity without a word is X.
`dual`  entity X + (W + C) M, with M a learned map that starts at the identity. The graph loss is taken a
        second time, with relations of its own, on W + C.

For a complex scorer M's left half of columns makes the real parts and its right half the imaginary ones: the
two maps of OWE (Shah et al. 2019) side by side.
"""

from __future__ import annotations

from torch import Tensor

COUPLINGS = ("none", "tie", "dual")


def entity_vectors(coupling: str, own: Tensor, word: Tensor | None, map_: Tensor | None) -> Tensor:
    """Vectors of the entities of some rows, as the graph scores them.

    own       float[rows, dim], part X
    word      float[rows, dim], W + C; zero rows (or None for all) where an entity has no word
    map_      float[dim, dim], M of `dual`
    returns   float[rows, dim]
    """
    if word is None or coupling == "none":
        return own
    if coupling == "tie":
        aligned = (word != 0).any(-1, keepdim=True)
        return word.where(aligned, own)
    assert map_ is not None, "dual coupling has a map"
    return own + word @ map_
