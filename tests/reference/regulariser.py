"""The nuclear 3-norm and the squared norm of vectors, by which frequent rows are held back."""

from __future__ import annotations

from torch import Tensor

_SQUARE = 1e-20


def regulariser(multiple: int, vectors: Tensor, weight: Tensor, n3: float, l2: float) -> Tensor:
    """n3 times the nuclear 3-norm (Lacroix et al. 2018, eq. 4) plus l2 / 2 times the squared norm; float[].

    multiple   reals that make one coordinate, as in `Scorer.multiple`
    vectors    float[..., width]
    weight     float[...]: of each vector
    """
    found = n3 * (cubed_moduli(multiple, vectors) * weight[..., None]).sum() if n3 else vectors.new_zeros(())
    return found + l2 / 2 * (vectors.square() * weight[..., None]).sum() if l2 else found


def cubed_moduli(multiple: int, vectors: Tensor) -> Tensor:
    """|x|^3 of each coordinate, float[..., width / multiple]; of each real where the width is no multiple."""
    if multiple == 1 or vectors.shape[-1] % multiple:
        return vectors.abs() ** 3
    first, *others = (part * part for part in vectors.chunk(multiple, -1))
    return sum(others, start=first).clamp_min(_SQUARE) ** 1.5
