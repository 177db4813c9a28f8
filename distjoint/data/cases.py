"""How often something was seen in the input, and the first of it, for the sentence that tells of it."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Cases:
    """Number of things of a kind, and the first of them. what: the kind, as part of a sentence"""

    what: str = ""
    count: int = field(default=0, init=False)
    example: str = field(default="", init=False)

    def add(self, example: str, count: int = 1) -> None:
        self.example = self.example or example
        self.count += count

    def __str__(self) -> str:
        return f"{self.what}: {self.count:,} (such as {self.example})"
