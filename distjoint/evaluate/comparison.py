"""Comparison of runs: every measure, and its difference to the first run with a paired bootstrap interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from rich.console import Group, RenderableType

from distjoint.base.errors import DistjointError, UsageError
from distjoint.data.of_run import open_dataset, own_place
from distjoint.evaluate.link_result import Links
from distjoint.evaluate.measures import Difference, Measure, paired_difference
from distjoint.evaluate.options import CompareOptions, EvaluateOptions
from distjoint.evaluate.ranks import HITS
from distjoint.evaluate.report import Report
from distjoint.evaluate.run import measure
from distjoint.evaluate.tables import as_text, comparison_tables, link_note
from distjoint.runs.folder import RunFolder
from distjoint.storage import locate


@dataclass(frozen=True)
class RunComparison:
    """Runs side by side.

    names         short name of each run
    measures      for each measure, a value per run; None where a run has none
    differences   for each measure, a difference per run; None for the first run and where nothing can be paired
    """

    names: tuple[str, ...]
    reports: tuple[Report, ...]
    measures: dict[str, tuple[Measure | None, ...]]
    differences: dict[str, tuple[Difference | None, ...]]

    def __rich__(self) -> RenderableType:
        """A table of the runs side by side, and what its numbers depend on."""
        epochs = [f"{name} {report.epoch}" for name, report in zip(self.names, self.reports, strict=True)]
        notes = [f"Measured at: {', '.join(epochs)}."]
        notes += [link_note(report.links) for report in self.reports if report.links is not None]
        worded = [report for report in self.reports if report.similarity or report.grouped or report.analogies]
        notes += [report.word_note for report in worded]
        notes += [note for report in worded for note in report.read_as]
        notes += [
            f"{name}: {note}"
            for name, report in zip(self.names, self.reports, strict=True)
            for note in report.chosen_on
        ]
        return Group(*comparison_tables(self.names, self.measures, self.differences, notes))

    def __str__(self) -> str:
        return as_text(self)

    def to_dict(self) -> dict[str, Any]:
        """Every value and difference by measure, ready for JSON."""
        table = {
            name: [_entry(*pair) for pair in zip(row, self.differences[name], strict=True)]
            for name, row in self.measures.items()
        }
        return {
            "runs": list(self.names),
            "baseline": self.names[0],
            "measures": table,
            "reports": [report.to_dict() for report in self.reports],
        }


def _entry(measure: Measure | None, difference: Difference | None) -> dict[str, Any] | None:
    if measure is None:
        return None
    entry: dict[str, Any] = {"value": _finite(measure.value()), "items": int(measure.covered.sum())}
    if difference is not None:
        ends = [_finite(difference.interval.low), _finite(difference.interval.high)]
        entry["difference"] = {"value": _finite(difference.value), "interval": ends, "items": difference.items}
        entry["difference"]["significant"] = difference.significant
    return entry


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None


def compare(options: CompareOptions) -> RunComparison:
    """Reports of some runs side by side. raises UsageError for runs without a graph, DistjointError as `evaluate`"""
    places = zip(options.runs, _places(options), strict=True)
    reports = [_report(options.of_run(url, dataset)) for url, dataset in places]
    if not any(measures_of(report) for report in reports):
        raise UsageError("no run has a graph, so there is no link prediction to compare; give word sets instead")
    if all(report.uncovered for report in reports):
        raise DistjointError(f"{', '.join(reports[0].uncovered)}: no item is covered by the vectors of any run")
    return compare_reports(reports, options.seed)


def _places(options: CompareOptions) -> list[str | None]:
    """For each run, which of the datasets that are given is its own; None where none is.

    raises   DistjointError for a dataset that is no run's
    """
    given = (options.dataset,) if isinstance(options.dataset, str) else options.dataset
    runs = [RunFolder.open(url, options.storage_options) for url in options.runs]
    for place in given:
        if all(own_place(run, [place]) is None for run in runs):
            open_dataset(runs[0], place)  # raises, and says why
    return [own_place(run, given) for run in runs]


def _report(options: EvaluateOptions) -> Report:
    """A run's report: the saved one where no sets are wanted and it is of the run's result, else measured now.

    Empty for a run without a graph where nothing but link prediction is wanted.
    """
    run = RunFolder.open(options.run_url, options.storage_options)
    words = bool(options.similarity or options.analogies)
    if not (options.link_prediction or words):
        saved = Report.read(run.folder)
        if saved is not None and saved.checkpoint == run.info.result:
            return saved
    elif "graph" not in run.info.sources:
        if not words:
            return Report(str(run.folder), run.info.result or "")
        options = replace(options, link_prediction=None)
    return measure(options)


def compare_reports(reports: Sequence[Report], seed: int = 0) -> RunComparison:
    """Reports side by side; the others are compared with the first."""
    by_run = [{measure.name: measure for measure in measures_of(report)} for report in reports]
    names = list(dict.fromkeys(name for measures in by_run for name in measures))
    table = {name: tuple(measures.get(name) for measures in by_run) for name in names}
    differences = {
        name: (None, *(paired_difference(row[0], measure, seed) for measure in row[1:])) for name, row in table.items()
    }
    return RunComparison(_names(reports), tuple(reports), table, differences)


def measures_of(report: Report) -> list[Measure]:
    """Everything a report measures, item by item."""
    measures: list[Measure] = []
    if report.links is not None:
        measures += _of_links(report.links)
    if report.classification is not None:
        right = (report.classification.truth == report.classification.taken).astype(float)
        measures.append(Measure("classification accuracy", right, None, report.classification.triples))
    for result in report.similarity:
        measures.append(Measure(result.name, result.cosines, result.gold, f"{result.gold.tobytes().hex()}"))
    for group in report.grouped:
        items = f"{group.groups} {group.gold.tobytes().hex()}"
        measures.append(Measure(f"{group.name}, mean of groups", group.by_group, None, items))
    if report.analogies is not None:
        made = report.analogies
        sections = " ".join(f"{section.name}:{section.count}" for section in made.sections)
        measures.append(Measure("analogies", made.right, None, f"{made.method} {sections}"))
    return measures


def _of_links(links: Links) -> list[Measure]:
    """Measures by triple, by mean ranks of ties; named apart where they are sampled or typed."""
    head, tail, unseen, label = links.ranks.head, links.ranks.tail, links.ranks.unseen, links.label
    items = f"{links.split} {links.triples} {links.ranks.candidates} {label} {links.sample and links.sample.seed}"
    by_triple = {"MRR": (1 / head + 1 / tail) / 2}
    by_triple |= {f"Hits@{k}": ((head <= k).astype(float) + (tail <= k)) / 2 for k in HITS}
    by_triple["mean rank"] = (head + tail) / 2
    without = links.ranks.without_own_end
    by_triple["MRR, without own end"] = (1 / without.head + 1 / without.tail) / 2
    if unseen.any():
        by_triple["MRR, unseen end"] = np.where(unseen, by_triple["MRR"], np.nan)
    if links.ranks.unseen_relation is not None:
        by_triple["MRR, unseen relation"] = np.where(links.ranks.unseen_relation, by_triple["MRR"], np.nan)
    named = f" ({label})" if label else ""
    return [Measure(name + named, values, None, items) for name, values in by_triple.items()]


def _names(reports: Sequence[Report]) -> tuple[str, ...]:
    """The last part of each run's URL where that tells the runs apart, else the whole URL."""
    short = [locate(report.run).name for report in reports]
    return tuple(short) if len(set(short)) == len(short) else tuple(report.run for report in reports)
