"""Either side keeps a vector of its own, and the two of a pair are pulled to each other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from distjoint.base.errors import UsageError
from distjoint.couplings.separate import Separate
from distjoint.table.layout import Layout

if TYPE_CHECKING:
    from torch import Tensor

    from distjoint.backends.base import Backend
    from distjoint.couplings.views import View
    from distjoint.optim import Optimizer
    from distjoint.table.arena import Arena


class Soft(Separate):
    """`soft`: as `none`, with a pull between X and W + C of each pair, which may share a row or not.

    A pair of weight a adds a |X - (W + C)|^2 / 2 to the loss; its gradient goes to both (train/sources/pairs.py).

    pull   step size of the pull, as a multiple of `graph.learning_rate`; a factor of the loss AdaGrad would cancel
    """

    name = "soft"
    kinds_meet = True
    sources = ("pairs",)
    unseen_begin_at_zero = True

    def __init__(self, pull: float = 1.0) -> None:
        if not pull >= 0:
            raise UsageError(f"model.coupling_options.pull={pull:g}: must be 0 or more")
        self.pull = pull

    def pulled_words(self, arena: Arena, backend: Backend, optimizer: Optimizer, dense: Mapping[str, Tensor]) -> View:
        """Words as they are compared with X, where the gradient of a pull goes on to them.

        Its optimizer's state is in parts that begin with `pairs.word.`
        """
        from distjoint.couplings.views import Word

        return Word(arena, backend, optimizer, "pairs.word.")

    def says_something(self, parts: Mapping[str, Tensor], layout: Layout, shard: int) -> Tensor:
        """X of an entity without any triple is zero unless it was pulled to a word."""
        return parts["X"].any(1)
