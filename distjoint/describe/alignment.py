"""The alignment of a dataset: which entity and which word are the same thing, how that was found, and what is doubtful.

As a table it can be reviewed, changed, and given back to `prepare --align`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from distjoint.base.arrays import Ints
from distjoint.data.alignment_table import SHARES_ROW, WEIGHT
from distjoint.data.dataset import Dataset
from distjoint.data.streams import PAIRS
from distjoint.data.vocabulary import key
from distjoint.describe.page import Chapter, Figures, Value
from distjoint.storage import Location

_EXAMPLES = 5


@dataclass(frozen=True)
class AlignmentFigures:
    """The alignment in figures.

    pairs             of an entity and a word, of which `shared` share a row
    how               `label`, `alias`, `id`, `pairs` -> pairs found so that share a row, and that share none
    ambiguous         entities that share no row, though they are paired with a word
    words_of_several, entities_of_several    words paired with several entities, and entities with several words
    many_to_many      pairs whose word has several entities and whose entity has several words
    unmatched         entities without any pair
    examples          ambiguous entities with the word, some
    """

    pairs: int
    shared: int
    how: Mapping[str, tuple[int, int]]
    ambiguous: int
    words_of_several: int
    entities_of_several: int
    many_to_many: int
    unmatched: int
    examples: Sequence[str]

    @classmethod
    def of(cls, table: pa.Table, entities: int) -> AlignmentFigures | None:
        """Figures of a table of `alignment_table`, of so many entities; None where nothing is aligned."""
        if not len(table):
            return None
        shares = table.column(SHARES_ROW).to_numpy()
        several_entities, several_words = (table.column(name).to_numpy() > 1 for name in ("entities", "words"))
        entity, word = (_numbers(table.column(name)) for name in ("entity", "word"))
        has_row = np.zeros(int(entity.max()) + 1, np.bool_)
        has_row[entity[shares]] = True
        ambiguous = ~has_row[entity]
        how = table.column("how").to_numpy()
        kinds = {
            kind: (int((shares & (how == kind)).sum()), int((~shares & (how == kind)).sum()))
            for kind in sorted(set(how.tolist()))
        }
        _, first = np.unique(entity[ambiguous], return_index=True)
        shown = table.take(pa.array(np.sort(np.flatnonzero(ambiguous)[first])[:_EXAMPLES])).to_pylist()
        return cls(
            pairs=len(table),
            shared=int(shares.sum()),
            how=kinds,
            ambiguous=len(first),
            words_of_several=len(np.unique(word[several_entities])),
            entities_of_several=len(np.unique(entity[several_words])),
            many_to_many=int((several_entities & several_words).sum()),
            unmatched=entities - len(has_row),
            examples=tuple(f"{_called(each)}: {each['word']} is the name of {each['entities']:,}" for each in shown),
        )

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        how = {kind: {"shared": both[0], "apart": both[1]} for kind, both in self.how.items()}
        return {**asdict(self), "how": how, "examples": list(self.examples)}

    def chapter(self) -> Chapter:
        rows: list[Sequence[Value]] = [(kind, *both) for kind, both in self.how.items()]
        doubts: list[Sequence[Value]] = [
            ("entities that share no row, though a word is theirs", self.ambiguous),
            ("words of several entities", self.words_of_several),
            ("entities of several words", self.entities_of_several),
            ("pairs that are both, many to many", self.many_to_many),
            ("entities without a word", self.unmatched),
        ]
        note = f"Such as {'; '.join(self.examples)}." if self.examples else ""
        tables = [
            Figures("Pairs by how they were found", ("found by", "share a row", "lie apart"), rows),
            Figures("What is doubtful", ("what", "count"), doubts, note=note),
        ]
        review = "'--alignment FILE' writes every pair, to be reviewed and given to 'prepare --align FILE'."
        return Chapter("Alignment", [f"{self.pairs:,} pairs of an entity and a word; {review}"], tables)


def alignment_table(data: Dataset, rows: pa.Table) -> pa.Table:
    """Every pair of an entity and a word that are the same thing, in order of the entities' rows, then of the words'.

    rows      as in rows.parquet: entity, label, word, count, degree
    returns   `entity`, its `label`, `word`, `shares_row`, `weight` of a pair that shares none, `how` it was found:
              `label`, `alias`, `id` or `pairs`; `entities` of this word, `words` of this entity, `count`, `degree`
    """
    valid = {name: rows.column(name).is_valid().to_numpy() for name in ("entity", "word", "label")}
    shared = np.flatnonzero(valid["entity"] & valid["word"])
    entity, word, weight, how = _apart(data)
    entity, word = np.append(shared, entity), np.append(shared, word)
    weight = np.append(np.full(len(shared), np.nan), weight)
    how = np.append(_how(data, rows.take(pa.array(shared))), how)
    order = np.lexsort((word, entity))
    entity, word, weight, how = entity[order], word[order], weight[order], how[order]
    of_word, of_entity = np.bincount(word, minlength=1), np.bincount(entity, minlength=1)
    of_entities, of_words = rows.take(pa.array(entity)), rows.take(pa.array(word))
    return pa.table(
        {
            "entity": of_entities.column("entity"),
            "label": of_entities.column("label"),
            "word": of_words.column("word"),
            SHARES_ROW: pa.array(entity == word),
            WEIGHT: pa.array(weight, pa.float64(), from_pandas=True),
            "how": pa.array(how, pa.string()),
            "entities": pa.array(of_word[word]),
            "words": pa.array(of_entity[entity]),
            "count": of_words.column("count"),
            "degree": of_entities.column("degree"),
        }
    )


def write_alignment(table: pa.Table, place: Location) -> None:
    """Write such a table as Parquet."""
    with place.open_output() as stream:
        pq.write_table(table, stream, write_page_checksum=True)


def _apart(data: Dataset) -> tuple[Ints, Ints, Any, Any]:
    """Pairs that share no row: row of the entity, row of the word, weight, how it was found."""
    layout = data.layout
    parts: list[tuple[Any, ...]] = [(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0), np.empty(0, object))]
    for span in data.manifest.streams.get(PAIRS, ()):
        limits = {"entity": layout.shard_rows(span.i), "word": layout.shard_rows(span.j), "weight": None, "how": None}
        found = data.samples(PAIRS, span.i, span.j, limits)
        ends = layout.rows_of(span.i)[found["entity"]], layout.rows_of(span.j)[found["word"]]
        parts.append((*ends, found["weight"].astype(np.float64), found["how"]))
    entity, word, weight, how = (np.concatenate(column) for column in zip(*parts, strict=True))
    return entity, word, weight, how


def _how(data: Dataset, shared: pa.Table) -> Any:
    """object[n]: how each entity that shares a row came to its word. The rules of `prepare` leave one possibility."""
    options = data.manifest.options
    if options.get("align", "auto") != "auto":
        return np.full(len(shared), "pairs", object)
    tokenizer = options.get("tokenizer", "uax29")
    labels, words = shared.column("label").to_pylist(), shared.column("word").to_pylist()
    return np.array(
        [
            "id" if label is None else "label" if key(label, tokenizer) == key(word, tokenizer) else "alias"
            for label, word in zip(labels, words, strict=True)
        ],
        object,
    )


def _numbers(column: pa.ChunkedArray) -> Ints:
    """int64[n]: the same number for the same text."""
    found: Ints = column.combine_chunks().dictionary_encode().indices.to_numpy(zero_copy_only=False).astype(np.int64)
    return found


def _called(line: Mapping[str, Any]) -> str:
    return f"{line['entity']} ({line['label']})" if line["label"] else str(line["entity"])
