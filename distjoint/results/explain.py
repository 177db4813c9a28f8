"""Why a triple has its score: what each part of its head and of its tail, and each word of their texts, adds to it.

A score is taken apart twice, by the head with the tail as it is and by the tail with the head as it is; either time the
shares add up to it. They are those of `TripleModel.slopes`, in float64.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from distjoint.base.arrays import Doubles, Floats, Ints
from distjoint.base.errors import DistjointError
from distjoint.couplings.base import OWN, TEXT
from distjoint.data.dataset import Dataset
from distjoint.data.of_run import open_dataset
from distjoint.data.streams import MENTIONS
from distjoint.evaluate.scoring import Side
from distjoint.evaluate.stored import RowReader
from distjoint.evaluate.trained import TrainedVectors

_PARTS = {OWN: "its own vector", TEXT: "its text"}
"""Parts of an entity as the tables call them."""
_SEEN = 0.0005
"""The least share that three digits show."""


@dataclass(frozen=True)
class Share:
    """A word's share of a score.

    weight   of the word among all that is said of the entity
    score    what it adds
    """

    word: str
    weight: float
    score: float


@dataclass(frozen=True)
class End:
    """One end of a triple, and its shares of the score.

    name, label   its id, and what people may read instead, if anything
    rank          its place among the entities that `predict` ranks there, by the model's score for that direction
    among         how many these are
    parts         `own`, and `text` where words are read: what each adds to the score; with `rest` they are the score
    rest          what the relation and the other end add
    words         the words with the greatest shares of `text`, whichever their sign
    others        how many more words there are
    other_words   what these add
    moved         what `text` has besides its words as they are now: words and map have moved since it was read
    """

    name: str
    label: str | None
    rank: int
    among: int
    parts: Mapping[str, float]
    rest: float
    words: tuple[Share, ...] = ()
    others: int = 0
    other_words: float = 0.0
    moved: float = 0.0

    @property
    def title(self) -> str:
        """The label with the id, or the name alone."""
        return f"{self.label} ({self.name})" if self.label else self.name


@dataclass(frozen=True)
class Explanation:
    """A triple's score, taken apart by its head and by its tail.

    score   as the tail is scored, given head and relation
    known   whether the triple is in the dataset; None where that could not be read: then ranks are among known ones too
    relation_label   what people may read instead of the relation's name, if anything
    """

    head: End
    relation: str
    tail: End
    score: float
    known: bool | None
    relation_label: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """All numbers, ready for JSON."""
        return asdict(self)

    def __rich__(self) -> RenderableType:
        """A table for each end."""
        known = {True: "a triple of the dataset", False: "not in the dataset", None: "the dataset was not read"}
        head, tail = (end.label or end.name for end in (self.head, self.tail))
        line = f"{head}  {self.relation_label or self.relation}  {tail}"
        said = f"score {self.score:.3f}, {known[self.known]}"
        tables = self._table("head", self.head), self._table("tail", self.tail)
        return Group(Text(f"{line}: {said}"), "", tables[0], "", tables[1])

    def _table(self, side: Side, end: End) -> Table:
        title = f"By its {side}: {end.title}, rank {end.rank:,} of {end.among:,} {side}s"
        table = Table(title=Text(title), title_justify="left", box=None, pad_edge=False)
        table.add_column("")
        table.add_column("weight", justify="right")
        table.add_column("adds", justify="right")
        for name, share in end.parts.items():
            table.add_row(_PARTS.get(name, name), "", _signed(share))
            if name == TEXT:
                for word in end.words:
                    table.add_row(Text(f"  {word.word}"), f"{word.weight:.2f}", _signed(word.score))
                if end.others:
                    table.add_row(f"  {end.others:,} other words", "", _signed(end.other_words))
                if abs(end.moved) >= _SEEN:
                    table.add_row("  words have moved since it was read", "", _signed(end.moved))
        table.add_row("relation and the other end", "", _signed(end.rest))
        return table


def _signed(share: float) -> str:
    return f"{0.0 if abs(share) < _SEEN else share:+.3f}"


@dataclass(frozen=True)
class Words:
    """What is said of an entity.

    places    int64[n]: their places, as of `Layout.mentioned`
    weights   float64[n]
    named     float64[n]: the part of each weight that names give; None where that is not known
    """

    places: Ints
    weights: Doubles
    named: Doubles | None = None


def parts_of(trained: TrainedVectors, row: int, reader: RowReader | None = None) -> dict[str, Doubles]:
    """What makes the vector of one entity, by name: float64[dim] each.

    row      its row id
    reader   reads rows of a table that stays in its files; None for one that was read
    """
    if reader is not None:
        return {name: part[0].astype(np.float64) for name, part in reader.entity_parts(np.array([row])).items()}
    (shard,), (offset,) = (found.tolist() for found in trained.layout.locate(np.array([row])))
    place = int(trained.layout.has_entity(shard)[:offset].sum())
    return {name: part[place].double().cpu().numpy() for name, part in trained.entity_parts(shard).items()}


def slopes_of(
    trained: TrainedVectors, head: Mapping[str, Doubles], relation: int, tail: Mapping[str, Doubles]
) -> tuple[float, Doubles, Doubles]:
    """The score of a triple whose ends have some parts, and the slopes of head and tail: float64[dim] each."""
    ends = [torch.from_numpy(np.sum(list(parts.values()), axis=0))[None] for parts in (head, tail)]
    score, *slopes = trained.model.slopes(ends[0], torch.tensor([relation]), ends[1])
    of_head, of_tail = (slope[0].numpy() for slope in slopes)
    return float(score[0]), of_head, of_tail


def words_of(trained: TrainedVectors, row: int) -> Words:
    """What is said of an entity: its mentions where the coupling reads text, else the word of its row, if it has one.

    row      its row id
    raises   DistjointError where the dataset, which has the mentions, is gone
    """
    if trained.coupling.reads_text:
        try:
            return _mentions(open_dataset(trained.run), row)
        except DistjointError as error:
            raise DistjointError(f"{error}; --top 0 explains without its words") from error
    own = np.array([row])
    own = own[trained.layout.is_word(own)]
    return Words(trained.layout.mentioned(own), np.ones(len(own)))


def _mentions(dataset: Dataset, row: int) -> Words:
    """The mentions of an entity, from the partitions of its shard."""
    layout = dataset.layout
    (i,), (offset,) = (found.tolist() for found in layout.locate(np.array([row])))
    places, weights, named = [np.empty(0, np.int64)], [np.empty(0)], [np.empty(0)]
    numbers = dict.fromkeys(("weight", *(("named",) if dataset.tells_names else ())))
    for j in range(layout.shards):
        limits = {"entity": layout.shard_rows(i), "word": layout.shard_rows(j), **numbers}
        if found := dataset.samples(MENTIONS, i, j, limits):
            mine = found["entity"] == offset
            places.append(layout.mentioned(layout.rows_of(j)[found["word"][mine]]))
            weights.append(found["weight"][mine].astype(np.float64))
            if "named" in found:
                named.append(found["named"][mine].astype(np.float64))
    of_names = np.concatenate(named) if dataset.tells_names else None
    return Words(np.concatenate(places), np.concatenate(weights), of_names)


def word_shares(
    words: Words, names: Sequence[str], vectors: Floats, slope: Doubles, text: float, top: int
) -> dict[str, Any]:
    """The shares that words have in the share of a text: `words`, `others`, `other_words` and `moved` of `End`.

    names     of the words
    vectors   float32[n, dim]: the words where the entities are
    text      share of the whole text
    top       how many words are told apart
    """
    scores = words.weights * (vectors.astype(np.float64) @ slope)
    order = np.argsort(-np.abs(scores), kind="stable").tolist()
    return {
        "words": tuple(Share(names[k], float(words.weights[k]), float(scores[k])) for k in order[:top]),
        "others": len(order[top:]),
        "other_words": float(scores[order[top:]].sum()),
        "moved": float(text - scores.sum()),
    }
