"""Descriptions: all analyses of a dataset, or of a run, in the order in which they are shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from rich.console import RenderableType

from distjoint.base.errors import DistjointError, UsageError
from distjoint.base.progress import Progress, Silent
from distjoint.data.dataset import Dataset
from distjoint.data.manifest import NAME as MANIFEST
from distjoint.describe.alignment import AlignmentFigures, alignment_table, write_alignment
from distjoint.describe.course import Cost, Course, Settings, Vectors
from distjoint.describe.distributions import Degrees
from distjoint.describe.hints import hints_on
from distjoint.describe.html import page_of
from distjoint.describe.keys import NumberedGraph
from distjoint.describe.leakage import Leakage
from distjoint.describe.options import DescribeOptions
from distjoint.describe.page import Chapter
from distjoint.describe.relations import GraphRelations
from distjoint.describe.sizes import DatasetSizes
from distjoint.describe.splits import Connections
from distjoint.describe.terminal import printed
from distjoint.describe.text import Said, WordFigures
from distjoint.runs.folder import RUN, RunFolder
from distjoint.storage import Location, locate

FORMAT = 1


class Analysis(Protocol):
    """Result of one analysis."""

    def to_dict(self) -> Any:
        """All figures, ready for JSON."""

    def chapter(self) -> Chapter:
        """What people are shown of it."""


@dataclass(frozen=True)
class Description:
    """Description of a dataset or a run.

    kind       `dataset` or `run`
    url        where it lies
    analyses   name -> result, in the order in which they are shown; those that do not apply are left out
    """

    kind: str
    url: str
    analyses: dict[str, Analysis]

    def __getitem__(self, name: str) -> Analysis:
        """The result of one analysis: `leakage`, `relations`, ... raises KeyError where there is none"""
        return self.analyses[name]

    def to_dict(self) -> dict[str, Any]:
        """All figures, ready for JSON; what is not a number is None."""
        tree: dict[str, Any] = {"format": FORMAT, "kind": self.kind, "url": self.url}
        cleaned: dict[str, Any] = _finite(tree | {name: each.to_dict() for name, each in self.analyses.items()})
        return cleaned

    def chapters(self) -> Sequence[Chapter]:
        """What people are shown."""
        return [each.chapter() for each in self.analyses.values()]

    def to_html(self) -> str:
        """One page of HTML that needs nothing else: no network, no script."""
        return page_of(f"{self.kind.capitalize()} {self.url}", self.chapters())

    def __rich__(self) -> RenderableType:
        return printed(self.chapters())


def describe(options: DescribeOptions) -> Description:
    """The description of what lies at a URL, written where the options say. Raises as `distjoint.describe` does"""
    place, progress = locate(options.url, options.storage_options), options.progress or Silent()
    outputs = {
        name: locate(path, options.storage_options)
        for name, path in (("--alignment", options.alignment), ("--html", options.html))
        if path
    }
    for name, out in outputs.items():
        if out.exists() and not options.overwrite:
            raise UsageError(f"{name} {out}: is there already; give another name, or --overwrite")
    if (place / RUN).exists():
        if options.alignment:
            raise UsageError(f"--alignment is of a dataset, and {place} is a run; describe its dataset")
        found = _of_run(RunFolder.open(place), progress)
    elif not place.exists() or (place / MANIFEST).exists():
        found = _of_dataset(Dataset.open(place), options, outputs.get("--alignment"), progress)
    else:
        raise DistjointError(f"{place}: neither a dataset (no {MANIFEST}) nor a run (no {RUN})")
    if "--html" in outputs:
        outputs["--html"].write_bytes(found.to_html().encode())
    return found


def _of_dataset(data: Dataset, options: DescribeOptions, out: Location | None, progress: Progress) -> Description:
    with progress.task("reading names and triples"):
        rows = data.rows(["entity", "label", "word", "count", "degree"])
        graph = NumberedGraph.of(data)
    with progress.task("words and their entities"):
        words = WordFigures.of(data, rows)
        pairs = alignment_table(data, rows) if graph.entities and words else None
    if out is not None:
        if pairs is None or not len(pairs):
            raise UsageError(
                f"--alignment: no entity of {data.folder} is paired with a word; there is nothing to write"
            )
        write_alignment(pairs, out)
    aligned = AlignmentFigures.of(pairs, graph.entities) if pairs is not None else None
    del rows, pairs  # the names are large
    found: dict[str, Analysis | None] = {"sizes": DatasetSizes.of(data)}
    relations, degrees, leakage, connections, said = None, None, None, None, None
    if graph.entities:
        degrees = Degrees.of(graph)
        relations = GraphRelations.of(graph, options.share, options.seed, progress)
        leakage = Leakage.of(graph, relations.pairs, progress)
        with progress.task("components"):
            connections = Connections.of(graph)
        said = Said.of(data, graph, progress)
        found |= {"degrees": degrees, "relations": relations, "splits": connections}
        found["leakage"] = leakage if leakage.splits else None
    found |= {"words": words, "alignment": aligned, "said": said}
    of_entities = degrees.of_entities if degrees else None
    found["hints"] = hints_on(relations, of_entities, leakage, connections, said, words is not None)
    return Description("dataset", data.folder.url, {name: each for name, each in found.items() if each is not None})


def _of_run(run: RunFolder, progress: Progress) -> Description:
    course = Course.of(run)
    found: dict[str, Analysis | None] = {
        "settings": Settings.of(run),
        "training": course,
        "norms": Vectors.of(run, progress),
        "cost": Cost.of(run, course),
    }
    return Description("run", run.folder.url, {name: each for name, each in found.items() if each is not None})


def _finite(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {key: _finite(value) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [_finite(value) for value in tree]
    return None if isinstance(tree, float) and tree - tree != 0 else tree
