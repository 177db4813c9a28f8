"""What a strategy for candidates is: what the target of a query is scored against, and how a batch is trained on it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar

from distjoint.backends.base import Random
from distjoint.config import Config
from distjoint.train.batches import Batch
from distjoint.train.negatives import Pool
from distjoint.train.terms import BatchLoss, Dropout, TermTrainer

Step = Callable[[float], BatchLoss]
"""Trains a planned batch, given the step size of its rows."""


class CandidateStrategy(ABC):
    """Strategy for candidates. It plans a batch, of what needs no vectors, then trains it."""

    name: ClassVar[str]
    one_end: ClassVar[bool] = False
    """Whether a batch queries one end of its triples; triples that make the same query are then in one batch."""
    resident: ClassVar[bool] = False
    """Whether every resident entity is a candidate, so that a step takes memory for each."""

    def __init__(self, trainer: TermTrainer) -> None:
        self.trainer = trainer

    @abstractmethod
    def plan(self, batch: Batch, pool: Pool, random: Random) -> Step:
        """Make a batch ready, of what needs no vectors: meanwhile another one may train.

        pool   what candidates are taken from
        """

    @classmethod
    def needs_known(cls, mask_known: bool, few: bool, complete: bool) -> bool:
        """Whether the known positives among a visit's shards are needed.

        mask_known   whether known positives are to be left out of the negatives
        few          whether they are few enough to be held
        complete     whether the visit's own triples are all of them, shuffled together
        """
        return False

    @classmethod
    def bytes_needed(cls, entities: int, dim: int, dropout: bool) -> int:
        """Memory of a step over so many candidates, besides the table."""
        return 0

    @classmethod
    def step_bytes(cls, config: Config, entities: int) -> int:
        """About what a batch takes, with the next one that is made ready meanwhile.

        entities   resident ones, which may be candidates
        """
        return cls.bytes_needed(entities, config.model.dim, bool(config.graph.dropout))

    def dropout(self, rows: int, random: Random) -> Dropout:
        """What is left out of so many rows, and of relations."""
        config, relations = self.trainer.config, self.trainer.relation_shape
        dim, text = self.trainer.dim, self.trainer.term.texts
        of_rows = random.dropout((rows, dim), config.dropout) if config.dropout else None
        of_relations = random.dropout(relations, config.relation_dropout) if config.relation_dropout else None
        own = random.uniform((rows,)) < config.own_dropout if text and config.own_dropout else None
        return Dropout(of_rows, of_relations, own)
