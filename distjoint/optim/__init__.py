"""Row-wise optimizers, one file each: the only room that knows an update."""

from distjoint.optim.base import Optimizer, State, optimizer_of, step_rows

__all__ = ["Optimizer", "State", "optimizer_of", "step_rows"]
