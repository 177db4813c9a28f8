"""Couplings: how graph and text are bound. One file each; what others need to know of one they ask it."""

from __future__ import annotations

from distjoint.base.errors import UsageError
from distjoint.config import Model
from distjoint.couplings.base import Coupling
from distjoint.registry import COUPLINGS

__all__ = ["Coupling", "coupling_of"]


def coupling_of(name: str, model: Model | None = None) -> Coupling:
    """The coupling of a name.

    model    whose options it takes where it is that model's; `none` is in force where one side trains alone
    raises   UsageError for an unknown name or option
    """
    kind, options = COUPLINGS[name], model.coupling_options if model and name == model.coupling else {}
    try:
        found: Coupling = kind(**options)
    except TypeError as error:
        raise UsageError(f"model.coupling_options={options}: {name} does not take them ({error})") from error
    return found
