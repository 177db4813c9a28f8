"""Reports and comparisons as tables for a terminal, with what the numbers depend on printed under them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from distjoint.evaluate import report as reports
from distjoint.evaluate.comparison import Comparison, Difference, Measure
from distjoint.evaluate.ranking import HITS


def report_tables(report: reports.Report) -> Group:
    """Everything one evaluation found."""
    parts: list[RenderableType] = []
    if report.links is not None:
        parts += [_links(report.links), _note(link_note(report.links))]
    if report.similarity:
        table = _table("Word similarity", "set", "Spearman", "95 % interval", "covered")
        for result in report.similarity:
            ends = f"{number(result.interval.low)} to {number(result.interval.high)}"
            covered = f"{int(result.covered.sum()):,} of {len(result.gold):,}"
            table.add_row(result.name, number(result.spearman), ends, covered)
        parts += [table, _note(word_note(report))]
    if report.analogies is not None:
        table = _table("Analogies (3CosAdd)", "section", "accuracy", "covered")
        tree = report.analogies.to_dict()
        for section in tree["sections"]:
            table.add_row(*_accuracy(section["name"], section))
        table.add_section()
        table.add_row(*_accuracy("total", tree["total"]))
        parts += [table, _note(word_note(report))]
    return Group(*parts)


def comparison_table(comparison: Comparison) -> Group:
    """Runs as columns, measures as rows; beside each value its difference to the first run."""
    table = Table(title="Comparison", title_justify="left")
    table.add_column("measure")
    for name in comparison.names:
        table.add_column(name, justify="right")
    for name, row in comparison.measures.items():
        cells = [_compared(*pair) for pair in zip(row, comparison.differences[name], strict=True)]
        table.add_row(name, *cells)
    notes = [
        f"Beside each value: difference to {comparison.names[0]} with its 95 % interval, by paired bootstrap over the "
        "items both cover; * where it excludes 0."
    ]
    described = [report for report in comparison.reports if report.links is not None]
    notes += _distinct(link_note(report.links) for report in described if report.links is not None)
    worded = [report for report in comparison.reports if report.similarity or report.analogies]
    notes += _distinct(word_note(report) for report in worded)
    notes += _coverage(comparison)
    return Group(table, *(_note(note) for note in notes))


def link_note(links: reports.Links) -> str:
    """What ranks depend on, in a line."""
    candidates = f"{links.ranks.candidates:,} {reports.CANDIDATES}"
    return f"Link prediction: {links.split}, both directions, {reports.FILTER}; against {candidates}; {reports.TIES}."


def word_note(report: reports.Report) -> str:
    """What cosines of words depend on, in a line."""
    how = "columns standardised" if report.standardize else "raw"
    of = "word vectors" if report.vectors == "word" else "entity vectors"
    return f"Words: {of}, {how}, cosine; pairs and questions with an unknown word left out."


def number(value: float | None, digits: int = 3) -> str:
    """`.3` as `0.300`; a dash for what there is none of."""
    return "-" if value is None or value != value else f"{value:.{digits}f}"


def _links(links: reports.Links) -> Table:
    table = _table(f"Link prediction, {links.split}", "", "MRR", *(f"Hits@{k}" for k in HITS), "mean rank", "triples")
    tree = links.ranks.metrics()
    rows: list[tuple[str, dict[str, Any]]] = [("both", tree), ("head", tree["head"]), ("tail", tree["tail"])]
    if "unseen" in tree:
        rows.append(("unseen end", tree["unseen"]))
    for name, part in rows:
        hits = (number(part[f"hits@{k}"]) for k in HITS)
        table.add_row(name, number(part["mrr"]), *hits, number(part["mean_rank"], 1), f"{part['triples']:,}")
    return table


def _accuracy(name: str, part: dict[str, Any]) -> Sequence[str]:
    return name, number(part["accuracy"]), f"{part['covered']:,} of {part['questions']:,}"


def _compared(measure: Measure | None, difference: Difference | None) -> str:
    if measure is None:
        return "-"
    digits = 1 if measure.name == "mean rank" else 3
    value = number(measure.value(), digits)
    if difference is None:
        return value
    low, high = difference.interval.low, difference.interval.high
    mark = "*" if difference.significant else " "
    return f"{value}  {difference.value:+.{digits}f} [{low:+.{digits}f}, {high:+.{digits}f}]{mark}"


def _coverage(comparison: Comparison) -> list[str]:
    """A line for each measure that not all runs cover alike."""
    notes = []
    for name, row in comparison.measures.items():
        covered = [int(measure.covered.sum()) if measure is not None else 0 for measure in row]
        present = [measure for measure in row if measure is not None]
        if len({measure.items for measure in present}) > 1:
            notes.append(f"{name}: not paired, the runs were measured on different items.")
        elif len({count for count, measure in zip(covered, row, strict=True) if measure is not None}) > 1:
            counts = ", ".join(f"{run} {count:,}" for run, count in zip(comparison.names, covered, strict=True))
            notes.append(f"{name}: covered {counts}, of {len(present[0].values):,}.")
    return notes


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left")
    for place, column in enumerate(columns):
        table.add_column(column, justify="right" if place else "left")
    return table


def _note(text: str) -> Text:
    return Text(text, style="dim")


def _distinct(lines: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(lines))
