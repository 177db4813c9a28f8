"""What a coupling is: how the graph and the text of a run are bound. All that others need to know of it they ask here.

An entity's vector, as the graph scores it, is made from the parts of its row: its own vector X, and the vector W + C of
the word it shares the row with. A coupling says how, which graph losses train which rows, and what that needs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from distjoint.base.arrays import Bools
from distjoint.config import Config
from distjoint.table.layout import Layout

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from distjoint.backends.base import Backend
    from distjoint.couplings.views import TextView, View
    from distjoint.model.scorers import Scorer
    from distjoint.table.arena import Arena
    from distjoint.table.parts import Shard

MAP = "map"
"""Name of the map from words to entities, a dense parameter of some couplings, and of its group."""
RELATION = "relation"
"""Of a dense parameter: the vectors of all relations, and the end of its name where a term has its own."""
OWN, TEXT = "own", "text"
"""Names of what makes the vector of an entity: what it has of its own, and what words make of it."""
NO_ROW = -1
"""Place of no row; a backend's NONE."""
NO_MAPS: Mapping[str, Tensor] = MappingProxyType({})


@dataclass(frozen=True)
class DenseParameter:
    """A parameter that is the same on every worker.

    value    its start
    group    what `train.freeze` calls it
    rate     step size
    by_row   whether its optimizer keeps state by row, or by number
    """

    value: Tensor
    group: str
    rate: float
    by_row: bool = True


@dataclass(frozen=True)
class GraphTerm:
    """A graph loss of a coupling.

    name     of its sums and metrics
    view     the vectors it scores
    prefix   of the names of its dense parameters: `prefix + "relation"`, and the scorer's own
    worded   whether it takes only triples whose two ends have a word, and negatives among such rows
    texts    the view, where its vectors have a text: then by cosine an entity is nearest to itself, whatever is asked
    parts    `Coupling.parts`
    """

    name: str
    view: View
    prefix: str = ""
    worded: bool = False
    texts: TextView | None = None
    parts: int = 1


class Coupling(ABC):
    """How graph and text are bound, where both train.

    Its arguments are floats with defaults, named in `model.coupling_options`; here there are none.
    """

    name: ClassVar[str]
    formula: ClassVar[str] = "as its class says"
    """How an entity's vector is made, for people who use it elsewhere; W + C is the vector of its word."""
    reads_words: ClassVar[bool] = True
    """Whether the vector of an entity with a word is made from the word's too.

    Then its own vector X begins near zero, it means something before the entity is in a training triple, words are
    stepped by the graph, and text trains first: words start near zero, where the gradient of a cosine is huge; met
    then, it would fill the graph's accumulators and stall it for good (SimLex of `dual` .36 instead of .5).
    """
    sources: ClassVar[tuple[str, ...]] = ()
    """Names of sources that it trains besides those of the text and of the graph."""
    groups: ClassVar[tuple[str, ...]] = ()
    """What `train.freeze` calls the dense parameters that only this coupling has."""
    kinds_meet: ClassVar[bool] = True
    """Whether words and entities can be compared with each other."""
    reads_text: ClassVar[bool] = False
    """Whether a text is a vector: then one of words where the entities are, weighted, is an entity of that text."""
    unseen_begin_at_zero: ClassVar[bool] = False
    """Whether X of an entity that no training triple names begins at zero, because something else will move it."""
    read_parts: ClassVar[tuple[str, ...]] = ("W", "C")
    """Parts of words whose sum is what entities read in them."""
    own_parts: ClassVar[tuple[str, ...]] = ("X",)
    """Parts of entities whose sum is what an entity has besides its word, or that lie side by side."""
    fields: ClassVar[int] = 1
    """Texts that an entity has: one, or that of its names and that of its descriptions apart."""
    parts: ClassVar[int] = 1
    """Vectors of the model's width that an entity's is, side by side; where there are several, relations weigh them."""
    of_arrays: ClassVar[bool] = False
    """Whether vectors, and what says something, can be made of numpy's arrays too: then torch is not loaded for it."""

    def dense(
        self, config: Config, scorer: Scorer, relations: int, generator: torch.Generator
    ) -> dict[str, DenseParameter]:
        """Dense parameters and how they begin, by name.

        relations   rows of a relation table
        """
        return relation_parameters(config, scorer, relations, generator)

    @abstractmethod
    def terms(self, config: Config, arena: Arena, backend: Backend, dense: Mapping[str, Tensor]) -> list[GraphTerm]:
        """The graph losses in force; the first is on entities.

        dense   values of the dense parameters
        """

    @abstractmethod
    def entity_vectors(self, own: Tensor, word: Tensor, worded: Tensor, dense: Mapping[str, Tensor]) -> Tensor:
        """Vectors of entities as the graph scores them: float[rows, dim * self.parts].

        own      float[rows, dim * self.parts], `own_vectors`
        word     float[rows, dim], W + C; zero where an entity has no word
        worded   bool[rows]: which entities have one
        """

    def own_vectors(self, parts: Mapping[str, Tensor]) -> Tensor:
        """What entities have besides their words, of `own_parts`: float[entity rows, dim * self.parts]."""
        return sum((parts[name] for name in self.own_parts[1:]), parts[self.own_parts[0]])

    def entity_block(
        self, parts: Mapping[str, Tensor], layout: Layout, shard: int, dense: Mapping[str, Tensor]
    ) -> Tensor:
        """The entities of a shard as the graph scores them: float[entity rows, dim].

        parts   at least `own_parts`, and W and C where the coupling reads words
        """
        own = self.own_vectors(parts)
        if not self.reads_words:
            return own
        has_word, has_entity = layout.has_word(shard), layout.has_entity(shard)
        # The same rows seen from both sides: entities that have a word, words that have an entity.
        worded, word = like(own, has_word[has_entity]), zeros_like(own)
        word[worded] = word_block(parts)[like(own, has_entity[has_word])]
        return self.entity_vectors(own, word, worded, dense)

    def entity_parts(
        self, parts: Mapping[str, Tensor], layout: Layout, shard: int, dense: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """What makes the vectors of `entity_block`: by name, parts that add up to them.

        `own`, and where words are read `text`: here all that a vector has more than it would have without its word.

        parts, dense   as of `entity_block`
        returns        float[entity rows, dim] each
        """
        whole = self.entity_block(parts, layout, shard, dense)
        if not self.reads_words:
            return {OWN: whole}
        wordless = {name: zeros_like(part) if name in ("W", "C") else part for name, part in parts.items()}
        own = self.entity_block(wordless, layout, shard, dense)
        return {OWN: own, TEXT: whole - own}

    def says_something(self, parts: Mapping[str, Tensor], layout: Layout, shard: int) -> Tensor:
        """bool[entity rows]: whose vector means something though no training triple names them."""
        worded = layout.has_word(shard)[layout.has_entity(shard)]
        return like(parts[self.own_parts[0]], worded & self.reads_words)

    def words_among_entities(self, words: Tensor, dense: Mapping[str, Tensor], every: Tensor) -> Tensor:
        """Words where the entities are, to be compared with them: float[n, dim] to the same shape.

        every   float[words, dim], all words of the run, or float[1, dim], their mean, where these are too many
        """
        return words

    def said(self, words: Any, named: Any) -> Any:
        """What words add to the vector of an entity that they are said of, each by a weight of one.

        words     float[n, dim * self.parts], of `words_among_entities`
        named     float[n]: the part of the weight that the entity's names give; None where that is not known
        returns   of the shape of `words`
        """
        return words

    def begin_entities(
        self, parts: Shard, word_of: Tensor, vectors: Tensor, taken: Tensor, dense: Mapping[str, Tensor] = NO_MAPS
    ) -> tuple[Tensor, Tensor]:
        """Start values of X of entities with a word, given vectors to begin with; may set words that have none.

        Here X takes up what the word lacks; beside a word with the same vector it stays near zero.

        parts      of the shard, words already begun
        word_of    int64[n]: place of each entity's word in W and C
        vectors    float[n, dim]: what the entity is to begin as
        taken      bool[n]: whether its word begins with a vector of its own
        dense      maps that do not begin as usual
        returns    bool[n] where X does not begin as usual, and its values float[n, dim]
        """
        word = parts["W"][word_of] + parts["C"][word_of]
        return (word != vectors).any(1), vectors - word


def inverse_kind(name: str) -> str:
    """What the second half of a table of relations, which predicts heads, is called where it is a table by itself."""
    return f"{name.removesuffix(RELATION)}inverse_{RELATION}"


def relation_parameters(
    config: Config, scorer: Scorer, relations: int, generator: torch.Generator, prefix: str = ""
) -> dict[str, DenseParameter]:
    """A relation table and the scorer's own parameters for one graph loss."""
    rate, dim = config.graph.learning_rate, config.model.dim
    found = {
        f"{prefix}{RELATION}": DenseParameter(scorer.initial_relations(relations, dim, generator), "relations", rate)
    }
    for name, value in scorer.dense(dim, generator).items():
        found[f"{prefix}scorer.{name}"] = DenseParameter(value, "relations", rate, by_row=False)
    return found


def map_parameter(config: Config) -> DenseParameter:
    """The map from words to entities: float32[dim, dim], at first the identity."""
    import torch

    return DenseParameter(torch.eye(config.model.dim), MAP, config.graph.map_learning_rate, by_row=False)


def word_block(parts: Mapping[str, Tensor]) -> Tensor:
    """float32[word rows, dim]: the words of a shard as GloVe exports them, W + C."""
    return parts["W"] + parts["C"]


def words_of_entities(layout: Layout, shard: int) -> Tensor:
    """int64[entity rows]: place of each entity's word in W and C of its shard, -1 for none."""
    import torch

    has_word, has_entity = layout.has_word(shard), layout.has_entity(shard)
    places = np.where(has_word, np.cumsum(has_word) - 1, -1)
    return torch.from_numpy(places[has_entity])


def like(rows: Any, mask: Bools) -> Any:
    """A mask of numpy's as `rows` takes it: as it is, or on the device of a tensor."""
    if isinstance(rows, np.ndarray):
        return mask
    import torch

    return torch.from_numpy(mask).to(rows.device)


def zeros_like(rows: Any) -> Any:
    """Zeros of the shape and kind of an array or a tensor."""
    return np.zeros_like(rows) if isinstance(rows, np.ndarray) else rows.new_zeros(rows.shape)
