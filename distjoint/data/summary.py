"""Summary of a prepared dataset, for people (a table) and for machines (a dictionary)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from distjoint.base.progress import short
from distjoint.data.streams import NEGATIVES, SPLITS


@dataclass(frozen=True)
class Aligned:
    """Figures of the alignment.

    aligned, ambiguous, unmatched   entities of each kind; ambiguous ones share no row
    samples     pairs of an entity and a word that share no row
    how         `label`, `alias`, `id`, `pairs` -> rows shared that way
    examples    kind -> some of each, in words
    """

    aligned: int
    ambiguous: int
    unmatched: int
    samples: int
    how: Mapping[str, int]
    examples: Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class MentionFigures:
    """Figures of the mentions.

    mentions        how many
    entities        `0`, `1`, `2-5`, `6 or more` mentions -> entities that have so many
    capped          entities that had more than are kept
    tokens, known   of all descriptions; those that are words of the vocabulary
    examples        some entities with their heaviest words
    """

    mentions: int
    entities: Mapping[str, int]
    capped: int
    tokens: int
    known: int
    examples: Sequence[str]


@dataclass(frozen=True)
class Summary:
    """Summary of a prepared dataset.

    dataset    its URL
    counts     as in its manifest
    shards, tiles, bytes   of the dataset on storage
    alignment  None where there is only text or only a graph, or nothing was to be aligned
    described  None where nothing is said of entities
    notes      sentences about what is worth knowing: duplicates dropped, unseen entities
    seconds    phase -> wall time
    """

    dataset: str
    counts: Mapping[str, int]
    shards: int
    tiles: int
    bytes: int
    alignment: Aligned | None = None
    described: MentionFigures | None = None
    notes: Sequence[str] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def __rich__(self) -> RenderableType:
        parts: list[RenderableType] = [Text(self.dataset, style="bold"), self.table()]
        if self.alignment or self.described:
            parts.append(self.examples())
        return Group(*parts, *map(Text, self.notes))  # what they quote from files is no markup

    def table(self) -> Table:
        """Table of the counts."""
        table = Table(show_header=False, box=None, pad_edge=False)
        table.add_column()
        table.add_column(justify="right")
        table.add_column()
        for name, number, remark in self._lines():
            table.add_row(name, f"{number:,}", remark)
        return table

    def _lines(self) -> list[tuple[str, int, str]]:
        counts, lines = self.counts, []
        if counts["words"]:
            dropped = counts["text_tokens"] - counts["tokens"]
            lines += [
                ("documents", counts["documents"], ""),
                ("tokens", counts["text_tokens"], f"{dropped:,} of them not in the vocabulary"),
                ("words", counts["words"], f"{counts['names']:,} are names of several words" * (counts["names"] > 0)),
                ("co-occurrences", counts["cells"], ""),
            ]
        if counts["entities"]:
            withheld = sum(counts.get(f"withheld/{split}", 0) for split in SPLITS)
            remark = f"{withheld:,} withheld from training" if withheld else ""
            lines += [("entities", counts["entities"], remark), ("relations", counts["relations"], "")]
            for split in SPLITS:
                if f"triples/{split}" in counts:
                    unseen = counts.get(f"unseen/{split}", 0)
                    parts = [f"{unseen:,} with an entity not seen in training"] if unseen else []
                    if untrained := counts.get(f"unseen_relation/{split}", 0):
                        parts.append(f"{untrained:,} with a relation not seen in training")
                    remark = ", ".join(parts)
                    lines.append((f"{split} triples", counts[f"triples/{split}"], remark))
            for split in NEGATIVES:
                if f"triples/{split}" in counts:
                    lines.append((split.replace("_", " "), counts[f"triples/{split}"], "known to be wrong"))
            if "types" in counts:
                lines.append(("types", counts["types"], f"of {counts['typed']:,} entities"))
        if self.alignment:
            found = ", ".join(f"{number:,} by {how}" for how, number in sorted(self.alignment.how.items()))
            lines += [
                ("aligned entities", self.alignment.aligned, found),
                ("ambiguous", self.alignment.ambiguous, "a name of theirs is a word, but not theirs alone"),
                ("unmatched", self.alignment.unmatched, "none of their names is a word"),
                ("pairs", self.alignment.samples, "of an entity and a word that share no row"),
                (
                    "train triples, both ends aligned",
                    counts["aligned_ends/2"],
                    f"{counts['aligned_ends/1']:,} with one",
                ),
            ]
        if self.described:
            found = ", ".join(f"{count:,} with {number}" for number, count in self.described.entities.items())
            known = f"; {self.described.known:,} of {self.described.tokens:,} words of descriptions are known"
            capped = f"; {self.described.capped:,} have too many, the heaviest are kept" * (self.described.capped > 0)
            lines.append(("mentions", self.described.mentions, f"of entities: {found}{known}{capped}"))
        lines += [
            ("rows", counts["rows"], f"in {self.tiles:,} tiles, {self.shards} shards"),
            ("bytes", self.bytes, f"in {sum(self.seconds.values()):.1f} s" if self.seconds else ""),
        ]
        return lines

    def examples(self) -> Table:
        """Table of a few entities of each kind of alignment, and of a few with what is said of them."""
        of_alignment = self.alignment.examples if self.alignment else {}
        of_mentions = {"said of": self.described.examples} if self.described else {}
        table = Table(show_header=False, box=None, pad_edge=False)
        for kind, examples in {**of_alignment, **of_mentions}.items():
            if examples:
                table.add_row(f"{kind}:", "; ".join(examples))
        return table

    def __str__(self) -> str:
        counts = self.counts
        triples = sum(counts.get(f"triples/{split}", 0) for split in SPLITS)
        return f"{self.dataset}: {counts['rows']:,} rows, {short(counts['cells'])} cells, {short(triples)} triples"
