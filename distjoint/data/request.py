"""What `prepare` is asked for, checked as far as it can be before a file is opened."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, get_args

from distjoint.config import parse_bytes
from distjoint.data.numbered import name_files
from distjoint.data.tokens import Tokenizer
from distjoint.data.triples import NEGATIVES, SPLITS
from distjoint.errors import UsageError
from distjoint.storage import Location, expand, locate


@dataclass(frozen=True)
class Request:
    """The arguments of `prepare`, in the words of its docstring."""

    corpus: tuple[str, ...]
    paths: dict[str, str | None]
    labels: str | None
    types: str | None
    align: str
    align_ambiguous: str
    shards: int | None
    window: int
    symmetric: bool
    min_count: int
    max_words: int | None
    tokenizer: Tokenizer
    memory: int
    workers: int
    fractions: tuple[float, float]
    seed: int
    text_field: str
    text_column: str
    triple_columns: str | Sequence[str] | None
    storage: dict[str, Any]

    def check(self) -> None:
        """raises UsageError for what cannot be meant"""
        if not self.corpus and not self.paths["train"]:
            given = next((split for split in (*SPLITS, *NEGATIVES) if self.paths[split]), None)
            also = f"; --{_option(given)} alone is not enough" if given else ""
            raise UsageError(
                f"nothing to prepare: give text with --corpus, a graph with --triples or --graph, or both{also}"
            )
        if not self.paths["train"]:
            for name, value in {**self.paths, "labels": self.labels, "types": self.types}.items():
                if value:
                    raise UsageError(f"--{_option(name)} belongs to a graph; give its triples with --triples")
        for name in ("window", "min_count", "max_words", "shards", "workers", "memory"):
            number = getattr(self, name)
            if number is not None and number < 1:
                raise UsageError(f"--{name.replace('_', '-')} is {number}; it must be at least 1")
        if self.tokenizer not in get_args(Tokenizer):
            raise UsageError(f"--tokenizer is {self.tokenizer!r}; it must be 'unicode' or 'whitespace'")
        if self.align_ambiguous not in ("none", "most-frequent"):
            raise UsageError(f"--align-ambiguous is {self.align_ambiguous!r}; it must be 'none' or 'most-frequent'")
        if self.align not in ("auto", "none") and not (self.corpus and self.paths["train"]):
            raise UsageError(f"--align {self.align} pairs entities with words; it needs --corpus and --triples")

    def inputs(self) -> list[Location]:
        """Every file that is read. raises DistjointError where a pattern finds nothing"""
        patterns = [*self.corpus, *(path for path in self.paths.values() if path)]
        files = [locate(name, self.storage) for pattern in patterns for name in expand(pattern, self.storage)]
        if self.triple_columns is None:
            files += {place.url: place for file in files for place in name_files(file)}.values()
        names = [self.labels, self.types, self.align if self.align not in ("auto", "none") else None]
        return files + [locate(name, self.storage) for name in names if name]

    def record(self) -> dict[str, Any]:
        """For the manifest: without storage options, which may hold credentials."""
        plain = {item.name: getattr(self, item.name) for item in fields(self)}
        for name in ("paths", "fractions", "storage", "shards", "workers"):
            del plain[name]
        return plain | {
            "triples": self.paths["train"],
            **{split: self.paths[split] for split in (*SPLITS[1:], *NEGATIVES)},
            "valid_fraction": self.fractions[0],
            "test_fraction": self.fractions[1],
        }


def _option(name: str) -> str:
    return name.replace("_", "-")


def memory_in_bytes(value: str | int) -> int:
    """`2GB` as bytes. raises UsageError"""
    try:
        return int(parse_bytes(value) or 0)
    except ValueError as error:
        raise UsageError(f"--memory: {error}") from None
