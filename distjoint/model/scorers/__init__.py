"""Scorers of triples, one a file. `scorer(name)` gives the one that a configuration names; base.py has their form."""

from __future__ import annotations

from functools import cache
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import normalize

from distjoint.model.scorers.base import NO_DENSE, Compare, Dense, Scorer
from distjoint.registry import SCORERS

__all__ = ["NO_DENSE", "Compare", "Dense", "Scorer", "comparison", "default_scale", "scorer", "similarity"]


def scorer(name: str) -> Scorer:
    """The scorer of a name. raises UsageError for an unknown one, with those there are"""
    return _instance(SCORERS[name])


@cache
def _instance(kind: type[Scorer]) -> Scorer:
    return kind()


def similarity(query: Tensor, candidate: Tensor, compare: Compare, scale: float = 1.0) -> Tensor:
    """Scores of every query against every candidate; higher is more plausible.

    query       float[..., queries, dim]
    candidate   float[..., candidates, dim]
    compare     `dot`: q . c; `distance`: -||q - c||; `manhattan`: -||q - c||_1; `cosine`: cos(q, c)
    scale       factor on the score; sharpens the softmax of bounded scores
    returns     float[..., queries, candidates]
    """
    if compare == "cosine":
        query, candidate = normalize(query, dim=-1), normalize(candidate, dim=-1)
    if compare == "manhattan":
        return -scale * torch.cdist(query, candidate, p=1)
    products = query @ candidate.transpose(-1, -2)
    if compare == "distance":
        squares = (query * query).sum(-1)[..., :, None] + (candidate * candidate).sum(-1)[..., None, :]
        return -scale * (squares - 2 * products).clamp_min(1e-9).sqrt()
    return scale * products


def comparison(scorer: Scorer, cosine: bool, norm: Literal[1, 2]) -> Compare:
    """How a run compares: by cosine where asked for, else as its scorer does, by the distance of a norm."""
    if cosine:
        return "cosine"
    return "manhattan" if norm == 1 and scorer.compare == "distance" else scorer.compare


def default_scale(compare: Compare) -> float:
    """A cosine lies in [-1, 1]: as a logit of a softmax over hundreds it needs a factor."""
    return 10.0 if compare == "cosine" else 1.0
