"""The text beside a graph: how frequent its words are, how much of it they cover, what is said of entities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from distjoint.base.arrays import Bools, Ints
from distjoint.base.progress import Progress
from distjoint.data.dataset import Dataset
from distjoint.data.streams import MENTIONS
from distjoint.describe.distributions import Distribution
from distjoint.describe.keys import NumberedGraph
from distjoint.describe.page import Chapter, Figures, Value

_FEW = (0, 1, 2, 6)
_NAMES = ("0", "1", "2-5", "6 or more")


@dataclass(frozen=True)
class WordFigures:
    """The words of a dataset.

    words          of the vocabulary
    names          those of them that are names of several words
    text_tokens    of the text; those that are words of the vocabulary are `tokens`
    cells          co-occurrence counts
    frequencies    tokens of each word
    most_frequent  some words with their tokens
    """

    words: int
    names: int
    text_tokens: int
    tokens: int
    cells: int
    frequencies: Distribution | None
    most_frequent: Mapping[str, int]

    @classmethod
    def of(cls, data: Dataset, rows: pa.Table) -> WordFigures | None:
        """None of a dataset without text. rows: as in rows.parquet, `word` and `count`"""
        counts = data.manifest.counts
        worded = rows.column("word").is_valid().to_numpy()
        if not worded.any():
            return None
        of_rows = rows.column("count").to_numpy()
        places = np.flatnonzero(worded)
        of_words = of_rows[places]
        first = places[np.argsort(-of_words, kind="stable")[:10]]
        names = rows.column("word").take(pa.array(first)).to_pylist()
        return cls(
            words=len(places),
            names=counts.get("names", 0),
            text_tokens=counts.get("text_tokens", int(of_words.sum())),
            tokens=int(of_words.sum()),
            cells=counts.get("cells", 0),
            frequencies=Distribution.of_counts("Frequencies of words", of_words),
            most_frequent=dict(zip(names, of_rows[first].tolist(), strict=True)),
        )

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return asdict(self)

    def chapter(self) -> Chapter:
        share = self.tokens / self.text_tokens if self.text_tokens else 0.0
        sentences = [
            f"{self.words:,} words, {self.names:,} of them names of several words; they cover {100 * share:.1f} % of "
            f"{self.text_tokens:,} tokens. {self.cells:,} co-occurrence counts.",
            "Most frequent: " + ", ".join(f"{word} ({count:,})" for word, count in self.most_frequent.items()) + ".",
        ]
        return Chapter("Words", sentences, [self.frequencies.table("words")] if self.frequencies else [])


@dataclass(frozen=True)
class Said:
    """What is said of entities.

    aligned        entities that share a row with a word
    mentions       by `0`, `1`, `2-5`, `6 or more` words that are mentions of an entity: entities; n-grams do not count
    grams          entities that have n-grams of their names, but no word
    train_ends     `0`, `1`, `2` ends that a word is said of -> training triples
    unseen         entities that no training triple names; those of them that a word is said of are `unseen_said`
    """

    aligned: int
    mentions: Mapping[str, int]
    grams: int
    train_ends: Mapping[str, int]
    unseen: int
    unseen_said: int

    @classmethod
    def of(cls, data: Dataset, graph: NumberedGraph, progress: Progress) -> Said | None:
        """None where the dataset has no text, or no graph."""
        layout = data.layout
        if not layout.with_word or not graph.entities:
            return None
        counted, grams = _mentions(data, graph.rows, progress)
        aligned = layout.is_word(graph.rows)
        if not counted.any():
            counted = counted + aligned  # of datasets without mentions, the shared word is all that is said
        said = counted > 0
        bins = np.bincount(np.searchsorted(_FEW, counted, "right") - 1, minlength=len(_FEW))
        ends = said[graph.train.head].astype(np.int64) + said[graph.train.tail]
        unseen = graph.degree == 0
        return cls(
            aligned=int(aligned.sum()),
            mentions=dict(zip(_NAMES, bins.tolist(), strict=True)),
            grams=int((grams & ~said).sum()),
            train_ends={str(k): n for k, n in enumerate(np.bincount(ends, minlength=3).tolist())},
            unseen=int(unseen.sum()),
            unseen_said=int((unseen & said).sum()),
        )

    @property
    def share_said(self) -> float:
        """Share of the entities that some word is said of."""
        every = sum(self.mentions.values())
        return 1 - self.mentions["0"] / every if every else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return asdict(self)

    def chapter(self) -> Chapter:
        every, triples = sum(self.mentions.values()), sum(self.train_ends.values())
        sentences = [f"{self.aligned:,} of {every:,} entities share a row with a word."]
        if self.grams:
            sentences.append(f"{self.grams:,} have no word, but n-grams of their names.")
        if self.unseen:
            sentences.append(
                f"Of {self.unseen:,} entities that no training triple names, {self.unseen_said:,} have words."
            )
        rows: list[Sequence[Value]] = [(name, count, count / every) for name, count in self.mentions.items()]
        ends: list[Sequence[Value]] = [
            (name, count, count / triples if triples else 0.0) for name, count in self.train_ends.items()
        ]
        tables = [
            Figures("Words said of an entity", ("words", "entities", "share"), rows, ("share",), "entities"),
            Figures("Ends of training triples with words", ("ends", "triples", "share"), ends, ("share",), "triples"),
        ]
        return Chapter("What is said of entities", sentences, tables)


def _mentions(data: Dataset, entities: Ints, progress: Progress) -> tuple[Ints, Bools]:
    """int64[entities]: words that are mentions of each; bool[entities]: which have n-grams as mentions.

    entities   their row ids
    """
    layout = data.layout
    words, grams = np.zeros(layout.rows, np.int64), np.zeros(layout.rows, np.bool_)
    spans = data.manifest.streams.get(MENTIONS, ())
    ids = [layout.rows_of(shard) for shard in range(layout.shards)]
    with progress.task("mentions", len(spans)) as task:
        for span in spans:
            limits = {"entity": layout.shard_rows(span.i), "word": layout.shard_rows(span.j)}
            found = data.samples(MENTIONS, span.i, span.j, limits)
            is_gram = layout.has_gram(span.j)[found["word"]]
            of_words = np.bincount(found["entity"][~is_gram], minlength=layout.shard_rows(span.i))
            words[ids[span.i]] += of_words
            grams[ids[span.i][found["entity"][is_gram]]] = True
            task.advance()
    return words[entities], grams[entities]
