"""Reports and comparisons as tables for a terminal, with what the numbers depend on printed under them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from distjoint.evaluate import report as reports
from distjoint.evaluate.classification import Classification
from distjoint.evaluate.comparison import Comparison, Difference, Measure
from distjoint.evaluate.queries import TIE
from distjoint.evaluate.ranks import HITS, Ties

_BY = {"relation": "by relation", "category": "by category of relation", "degree": "by training triples of the answer"}
CLASSIFIED = (
    "Triple classification: a threshold for each relation, chosen on valid and its negatives; one for all relations "
    "that valid does not have."
)


def report_tables(report: reports.Report) -> Group:
    """Everything one evaluation found."""
    parts: list[RenderableType] = []
    if report.links is not None:
        parts.append(_links(report.links))
        parts += [_grouped(report.links, by) for by in report.links.parts]
        parts.append(_note(link_note(report.links)))
    if report.classification is not None:
        parts += [_decided(report.classification), _note(CLASSIFIED)]
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
    ranks = links.ranks
    against = f"{ranks.candidates:,} {reports.CANDIDATES}"
    if links.sample and links.sample.candidates is not None:
        against = (
            f"{ranks.candidates:,} {reports.CANDIDATES}, drawn evenly for each answer (seed {links.sample.seed}), "
            "which is easier than against all"
        )
    if ranks.typed:
        against += f", less those that the relation's types do not allow, {ranks.mean_candidates:,.0f} on average"
    of = ""
    if links.sample and links.sample.triples < links.sample.of:
        of = f"{links.sample.triples:,} of {links.sample.of:,} triples, drawn (seed {links.sample.seed}), "
    ties = f"{reports.TIES[links.ties]} (scores within {TIE:g} of the size of their terms)"
    return f"Link prediction: {links.split}, {of}both directions, {reports.FILTER}; against {against}; {ties}."


def word_note(report: reports.Report) -> str:
    """What cosines of words depend on, in a line."""
    how = "columns standardised" if report.standardize else "raw"
    of = "word vectors" if report.vectors == "word" else "entity vectors"
    return f"Words: {of}, {how}, cosine; pairs and questions with an unknown word left out."


def number(value: float | None, digits: int = 3) -> str:
    """`.3` as `0.300`; a dash for what there is none of."""
    return "-" if value is None or value != value else f"{value:.{digits}f}"


def _links(links: reports.Links) -> Table:
    label = f" ({links.label})" if links.label else ""
    columns = ("", "MRR", *(f"Hits@{k}" for k in HITS), "mean rank", "triples")
    table = _table(f"Link prediction, {links.split}{label}", *columns)
    tree = links.ranks.metrics()
    rows: list[tuple[str, dict[str, Any]]] = [("both", tree), ("head", tree["head"]), ("tail", tree["tail"])]
    if "unseen" in tree:
        rows.append(("unseen end", tree["unseen"]))
    for name, part in rows:
        table.add_row(name, *_figures(part, links.ties), f"{part['triples']:,}")
    return table


def _grouped(links: reports.Links, by: str) -> Table:
    label = f" ({links.label})" if links.label else ""
    title = f"Link prediction, {links.split}, {_BY[by]}{label}"
    columns = ("MRR", *(f"Hits@{k}" for k in HITS), "mean rank", "MRR of heads", "MRR of tails", "answers")
    table = _table(title, "", *columns)
    for part in links.parts[by]:
        ends = (number(_shown(part[end], links.ties)["mrr"]) if part[end] else "-" for end in ("head", "tail"))
        table.add_row(part["name"], *_figures(part, links.ties), *ends, f"{part['answers']:,}")
    return table


def _figures(part: dict[str, Any], ties: Ties) -> Iterable[str]:
    shown = _shown(part, ties)
    return number(shown["mrr"]), *(number(shown[f"hits@{k}"]) for k in HITS), number(shown["mean_rank"], 1)


def _shown(part: dict[str, Any], ties: Ties) -> dict[str, Any]:
    figures: dict[str, Any] = part if ties == "realistic" else part[ties]
    return figures


def _decided(result: Classification) -> Table:
    columns = ("accuracy", "F1", "precision", "recall", "triples", "negatives")
    table = _table("Triple classification, test", "", *columns)
    tree = result.to_dict()
    figures = (number(tree[name]) for name in ("accuracy", "f1", "precision", "recall"))
    table.add_row("all", *figures, *(f"{tree[name]:,}" for name in ("triples", "negatives")))
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
