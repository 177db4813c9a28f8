"""The operations a backend has: rows, cross-entropy, filter masks, queries, waves of GloVe tiles, and threads.

Training is written in these and in plain torch operations. A backend is chosen once, at start (choice.py); outside this
room nothing asks what the device is.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import embedding_bag

from distjoint.base.arrays import Floats, Ints
from distjoint.model.comparisons import Comparison
from distjoint.model.scorers import Scorer
from distjoint.optim import Optimizer, step_rows

NONE = -1
"""Index of no row: gathered as zeros, never stepped."""

_Slice = TypeVar("_Slice")
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class WordParts:
    """What GloVe trains, with its AdaGrad accumulators: float32, contiguous, on one device; changed in place.

    W, C                         [rows, dim]; vectors and context vectors
    W_bias, C_bias               [rows]
    W_state, C_state             [rows]; one accumulator a row
    W_bias_state, C_bias_state   [rows]
    W_frozen, C_frozen           bool[rows]; rows that take no step, nor do their biases; empty for none
    W_pace, C_pace               [rows]; factor on the steps of a row and its bias; None where all are 1
    """

    W: Tensor
    C: Tensor
    W_bias: Tensor
    C_bias: Tensor
    W_state: Tensor
    C_state: Tensor
    W_bias_state: Tensor
    C_bias_state: Tensor
    W_frozen: Tensor
    C_frozen: Tensor
    W_pace: Tensor | None = None
    C_pace: Tensor | None = None


@dataclass(frozen=True)
class TileCells:
    """The samples between two tiles, in training order.

    row           uint16[cells]; index within the row tile
    column        uint16[cells]; index within the column tile
    log_count     float32[cells]
    weight        float32[cells]; min(1, (count / x_max) ** power)
    row_base      first row of the row tile in WordParts
    column_base   first row of the column tile in WordParts
    partition     where the cells lie in the dataset
    """

    row: NDArray[np.uint16]
    column: NDArray[np.uint16]
    log_count: Floats
    weight: Floats
    row_base: int
    column_base: int
    partition: tuple[int, int] = (0, 0)

    def check(self, rows: int) -> None:
        """Whether all cells are of a table of so many rows; kernels do not look, and would write anywhere.

        raises ValueError. Costs under 1 % of the training
        """
        for name, index, base in (("row", self.row, self.row_base), ("column", self.column, self.column_base)):
            if len(index) and (base < 0 or base + int(index.max()) >= rows):
                raise ValueError(f"a cell's {name} is {base + int(index.max())}, the table has {rows} rows")


@dataclass(frozen=True)
class WaveLoss:
    """What a wave of tiles came to.

    cost      sum of 0.5 * weight * difference ** 2 over the cells, each as it is met; a float, or float64[] on a device
    squares   sum of the squared gradients of the vectors W and C, likewise
    failed    float: place of the first tile with a cell whose gradient is not finite, and of that cell in it; None
              where all are finite. No row is stepped by such a cell
    """

    cost: float | Tensor
    squares: float | Tensor
    failed: tuple[int, int] | None = None


@dataclass(frozen=True)
class Distinct:
    """The distinct rows of a batch.

    rows      int64[distinct]: as many as there are, or padded with NONE to a length known beforehand
    inverse   int64[n]: the place in `rows` of each of the batch's rows
    """

    rows: Tensor
    inverse: Tensor


@dataclass(frozen=True)
class Bags:
    """Rows that are each a weighted sum of others: row k of those at [starts[k], starts[k + 1]).

    starts   int64[rows + 1]
    index    int32[n], int64[n] where there are more than an int32 counts
    weight   float32[n]
    """

    starts: Tensor
    index: Tensor
    weight: Tensor


class Random(Protocol):
    """A source of random numbers that lie where the rows lie."""

    def integers(self, high: int, shape: tuple[int, ...]) -> Tensor:
        """int64[shape], evenly from [0, high)"""

    def uniform(self, shape: tuple[int, ...]) -> Tensor:
        """float64[shape], evenly from [0, 1)"""

    def dropout(self, shape: tuple[int, int], share: float) -> Tensor:
        """float32[shape]: inverted-dropout masks, 0 for a share of the places and 1 / (1 - share) for the others"""


class Queries(Protocol):
    """The queries of some chunks of triples beside their targets. Tails are queried in [0], heads in [1].

    vectors   float[2, chunks, triples, dim]: the queries, ready to be compared
    target    float[2, chunks, triples]: the targets' scores, where they are not among the candidates; else None
    """

    vectors: Tensor
    target: Tensor | None

    def backward(self, d_vectors: Tensor, d_target: Tensor | None) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Gradients of heads and tails are accumulated in place, where `Batch` of `queries` says.

        d_vectors   gradient of the queries by way of the candidates, changed in place
        returns     relation ids int64[n] and their gradients float[n, relation_dim], to be added up; gradients of the
                    scorer's dense parameters
        """


@dataclass(frozen=True)
class QueryTables:
    """What the queries of a batch are made from, and where the gradients of their ends go.

    vectors        float[distinct, dim]: embeddings of the batch's distinct rows
    candidates     the same as they are compared (`Comparison.embed`)
    places         int64[2, chunks, triples + negatives]: their rows, the triples' own first: tails in [0], heads in [1]
    relations      float[2R, relation_dim]: read from head to tail, then from tail to head
    relation       int64[chunks, triples]
    dense          the scorer's dense parameters by name
    d_candidates   float[2, chunks, triples + negatives, dim]: gradient of the candidates
    d_ends         float[2, chunks, triples, dim]: gradient of the triples' own ends as they are embedded; the first
                   part of d_candidates, or apart where candidates are not the vectors themselves
    """

    vectors: Tensor
    candidates: Tensor
    places: Tensor
    relations: Tensor
    relation: Tensor
    dense: Mapping[str, Tensor]
    d_candidates: Tensor
    d_ends: Tensor


class FilterMask(Protocol):
    """Marks candidates that are known positives of a query."""

    def mark(self, side: int, head: Tensor, relation: Tensor, tail: Tensor, candidates: Tensor, mask: Tensor) -> None:
        """side         0 where tails are queried, 1 where heads are
        head, relation, tail   int64[chunks, triples]: every triple is a known one
        candidates   int64[chunks, width]: arena rows
        mask         bool[chunks, triples, width], set True in place
        """


@dataclass(frozen=True)
class KnownSide:
    """Known triples by the question they answer: which tails has (head, relation), or which heads (tail, relation).

    first      int64[rows + 1]: where the questions about a row begin, and where the last ones end
    relation   int64[questions]
    starts     int64[questions + 1]: where the answers of each begin, and where the last ones end
    answer     int64[triples]
    rows       arena rows
    """

    first: Ints
    relation: Ints
    starts: Ints
    answer: Ints
    rows: int


class Backend(ABC):
    """Where rows lie and how fast operations on them are done."""

    name: str
    device: torch.device
    threads: int

    # Work

    @abstractmethod
    def slices(self, count: int, size: int) -> list[slice]:
        """Work on `count` rows in slices of nearly equal size, at most `size` each where smaller ones are faster."""

    def map(self, function: Callable[[_Slice], _Result], slices: Sequence[_Slice]) -> Iterable[_Result]:
        """The function's results for some slices of work, in their order."""
        return map(function, slices)

    def begin(self, function: Callable[[_Slice], _Result], argument: _Slice) -> Callable[[], _Result]:
        """Start some work that may use `map`, beside what goes on; returns what waits for it."""
        return lambda: function(argument)

    def warm_up(self) -> None:
        """Compile what a wave of tiles goes through, or load it from a cache, before the clock runs."""
        return None

    def close(self) -> None:
        """Give back threads."""
        return None

    # Indices and random numbers

    def tensor(self, array: NDArray[Any]) -> Tensor:
        """An array where the rows lie."""
        return torch.from_numpy(array).to(self.device, non_blocking=True)

    @abstractmethod
    def random(self, rng: np.random.Generator) -> Random:
        """A source of random numbers, decided by the generator."""

    @abstractmethod
    def compact(self, chosen: Tensor) -> Tensor | None:
        """Places where a mask bool[n] is True; None stands for all n, where to count them would wait for the device."""

    # Rows

    @abstractmethod
    def gather(self, part: Tensor, index: Tensor, out: Tensor | None = None) -> Tensor:
        """Rows of a part, zeros where the index is NONE: float[rows, dim], int64[n] to float[n, dim]."""

    @abstractmethod
    def distinct(self, ids: Tensor, rows: int) -> Distinct:
        """The distinct ones of ids int64[n], each in [0, rows)."""

    @abstractmethod
    def occurrences(self, inverse: Tensor, distinct: int) -> Any:
        """Index of where each distinct row occurs in a batch, for `sum_rows`. inverse: int64[n], as of `Distinct`."""

    @abstractmethod
    def sum_rows(self, gradient: Tensor, occurrences: Any, rows: slice) -> Tensor:
        """Sums of the gradients that meet in some distinct rows, zero where a row does not occur.

        gradient   float[n, dim], one row for each occurrence
        returns    float[rows of the slice, dim]
        """

    def weighted_sums(self, vectors: Tensor, bags: Bags, rows: slice) -> Tensor:
        """Some rows of the sums that bags are of `vectors`: float32[rows of the slice, dim]."""
        starts, index, weight = bags.starts[rows.start : rows.stop + 1], bags.index, bags.weight
        if len(starts) < len(bags.starts):
            some = slice(int(starts[0]), int(starts[-1]))
            starts, index, weight = starts - starts[0], index[some], weight[some]
        starts = starts.to(index.dtype)
        return embedding_bag(index, vectors, starts, mode="sum", per_sample_weights=weight, include_last_offset=True)

    def step(
        self,
        optimizer: Optimizer,
        parts: Sequence[Tensor],
        state: Mapping[str, Tensor],
        index: Tensor,
        gradient: Tensor,
        rate: float,
        allowed: Tensor | None = None,
    ) -> None:
        """Step rows of one part, or of several whose sum is the vector: `optim.step_rows`, or faster."""
        step_rows(optimizer, parts, state, index, gradient, rate, allowed)

    @abstractmethod
    def regularise(
        self, multiple: int, n3: float, l2: float, vectors: Tensor, weight: Tensor, gradient: Tensor
    ) -> float | Tensor:
        """Weighted regulariser of some rows; adds its gradient.

        multiple            reals that make a number of the scorer's: 1 real, 2 complex, 4 quaternion
        n3, l2              weights of the nuclear 3-norm (Lacroix et al. 2018, eq. 4) and of half the squared norm
        vectors, gradient   float[n, width]
        weight              float[n]: triples that a row is an end of
        """

    @abstractmethod
    def check(self, *values: float | Tensor) -> Tensor | None:
        """Look at a batch's loss and squared gradients before rows are stepped by it.

        returns   bool[]: whether all are finite, for `step`'s `allowed`; None for yes
        raises    NotFiniteError where the answer is known at once and is no
        """

    # Scores

    @abstractmethod
    def cross_entropy(
        self, scores: Tensor, weight: Tensor, target: Tensor | None, place: Tensor | None, mask: Tensor | None
    ) -> float | Tensor:
        """Softmax cross-entropy of queries, weighted and summed; scores and target become its gradient.

        Without `target` and `place` it is the part that knows no target: logarithms of the sums of exponentials.

        scores    float[..., candidates], contiguous; no candidates at all where targets stand apart
        weight    float: as many as queries, or the trailing dimensions of that shape
        target    float[...], contiguous: the targets' scores, where they are not among the candidates
        place     int64, as weight: which candidate is the target, where it is one
        mask      bool, the shape of scores: filter mask, True for candidates that are left out; never at a target
        returns   float[]
        """

    @abstractmethod
    def queries(
        self, scorer: Scorer, comparison: Comparison, in_batch: bool, tables: QueryTables, chunks: slice
    ) -> Queries:
        """The queries of some chunks of triples."""

    @abstractmethod
    def filter_mask(self, sides: tuple[KnownSide, KnownSide]) -> FilterMask:
        """Filter masks by the known triples: tails in [0], heads in [1]."""

    # Text

    @abstractmethod
    def wave(self, parts: WordParts, tiles: Sequence[TileCells], rate: float) -> WaveLoss:
        """Train the tiles of one wave, no two of which share a row tile or a column tile.

        rate     factor of the steps; see `text.initial_states`
        raises   ValueError where a cell names a row the parts lack
        """


class NotFiniteError(ArithmeticError):
    """A loss or gradient is NaN or infinite."""
