"""Options of `plan`: the arguments of the Python function and options of the command. Nothing heavy is imported."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from distjoint.base.errors import UsageError
from distjoint.base.options import CallOptions, option, options
from distjoint.base.sizes import parse_bytes, parse_count

if TYPE_CHECKING:
    from distjoint.base.progress import Progress
    from distjoint.config import Config

Number = str | int | None
"""A count as people write it: 90M, 1.2B, 5000."""
SIZES = ("entities", "triples", "relations", "words", "tokens", "cells", "aligned", "mentions")
"""Options that say how large a dataset is that does not exist yet."""


@options
class PlanOptions(CallOptions):
    """Options of `plan`."""

    dataset: str | None = option(
        "What 'prepare' made; or give sizes instead.",
        default=None,
        metavar="DATASET",
        argument=True,
        kw_only=False,
        doc="URL of what `prepare` made; None where sizes are given instead.",
    )
    config: Config | Mapping[str, Any] | None = option(
        "A Config, or a mapping of `section.key` to value on top of the recipe, or of the defaults.",
        default=None,
        kw_only=False,
        command=False,
        checked=False,
    )
    recipe: str | None = option("One of 'distjoint recipes'.", default=None, metavar="NAME")
    entities: Number = option("Entities of a dataset that does not exist yet: 90M.", default=None, metavar="N")
    triples: Number = option("Its training triples.", default=None, metavar="N")
    relations: Number = option("Its relations.", default=None, metavar="N")
    words: Number = option("Words of its vocabulary.", default=None, metavar="N")
    tokens: Number = option(
        "Tokens of its text; co-occurrence counts are estimated from them.", default=None, metavar="N"
    )
    cells: Number = option("Its co-occurrence counts, where they are known better.", default=None, metavar="N")
    aligned: Number = option("Entities that share a row with a word.", default=None, metavar="N")
    mentions: Number = option("Words said of its entities, in all; for coupling described.", default=None, metavar="N")
    dim: int | None = option("Short for --set model.dim=N.", default=None, metavar="N", min=1)
    shards: int | None = option(
        "Of a dataset that does not exist yet; by default as many as suit it.", default=None, metavar="N", min=2
    )
    workers: int = option("Workers, one a node.", default=1, metavar="N", min=1)
    memory: Number = option(
        "Memory of a node, like 64GB; by default its type's, or this machine's.", default=None, metavar="SIZE"
    )
    node: str | None = option("Type of the nodes; 'distjoint plan --nodes' lists them.", default=None, metavar="TYPE")
    price: float | None = option(
        "Of a node for an hour; by default its type's, in USD.", default=None, metavar="USD", min=0
    )
    cores: int | None = option("Of a node; by default its type's, or this machine's.", default=None, metavar="N", min=1)
    network: float | None = option(
        "Gbit/s between nodes; by default its type's.", default=None, metavar="GBIT", min=0.001
    )
    disk: float | None = option(
        "MB/s of a node's local disk; by default its type's.", default=None, metavar="MB", min=0.1
    )
    probe: bool = option("Measure this machine's speed for 20 seconds, rather than quote another's.", default=False)
    probe_seconds: float = option("How long a probe may train.", default=20.0, metavar="S", min=0.1)
    storage_options: Mapping[str, Any] | None = option(
        "Credentials and the like of the URLs.", default=None, command=False, recorded=False
    )
    progress: Progress | None = option(
        "Where to show how far it is; nowhere by default.", default=None, command=False, checked=False, recorded=False
    )

    def check(self) -> None:
        given = [name for name in SIZES if getattr(self, name) is not None]
        if self.dataset is not None and given:
            raise UsageError(
                f"plan takes a dataset or sizes: {self.dataset} has its own, leave out --{', --'.join(given)}"
            )
        if self.dataset is not None and self.shards is not None:
            raise UsageError(f"--shards {self.shards} is for sizes; {self.dataset} has its shards from 'prepare'")
        if self.dataset is None and not given:
            raise UsageError("say what to plan: distjoint plan DATASET, or --entities 90M --triples 600M ...")
        sizes = self.sizes()
        for name, needed in (
            ("triples", "entities"),
            ("tokens", "words"),
            ("cells", "words"),
            ("mentions", "entities"),
        ):
            if sizes[name] and not sizes[needed]:
                raise UsageError(f"--{name} {getattr(self, name)} needs --{needed} too")
        if given and not (sizes["triples"] or sizes["tokens"] or sizes["cells"]):
            raise UsageError("nothing would train: give --triples with --entities, or --tokens with --words")
        if sizes["aligned"] > min(sizes["entities"], sizes["words"]):
            raise UsageError(
                f"--aligned {self.aligned}: more than there are entities ({sizes['entities']:,}) "
                f"or words ({sizes['words']:,})"
            )
        try:
            parse_bytes(self.memory)
        except ValueError as error:
            raise UsageError(f"--memory: {error}") from None

    def sizes(self) -> dict[str, int]:
        """The sizes that are given, as numbers; 0 for the others. raises UsageError that names an option"""
        found = {}
        for name in SIZES:
            value = getattr(self, name)
            try:
                found[name] = 0 if value is None else parse_count(value)
            except ValueError as error:
                raise UsageError(f"--{name}: {error}") from None
        return found
