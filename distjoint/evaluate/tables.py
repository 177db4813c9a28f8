"""Tables of results for a terminal, with what the numbers depend on in a line under each.

They are made from the parts of a report or a comparison, which put them together; nothing here knows either.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from distjoint.base.arrays import Bools
from distjoint.evaluate.analogies import Analogies
from distjoint.evaluate.classification import Classification
from distjoint.evaluate.link_result import CANDIDATES, FILTER, TIES, Links
from distjoint.evaluate.lookup import Coverage
from distjoint.evaluate.measures import Difference, Measure
from distjoint.evaluate.options import AnalogyMethod, Ties, VectorKind, VectorParts
from distjoint.evaluate.queries import TIE
from distjoint.evaluate.ranks import HITS
from distjoint.evaluate.similarity import GroupedSimilarity, Similarity

WIDTH = 160
"""Columns of tables that are plain text."""

_BY = {
    "relation": "by relation",
    "category": "by category of relation",
    "degree": "by training triples of the answer",
    "rarer": "by training triples of the rarer end",
    "growth": "by old and new entities",
}
_ENDS = {
    "seen": "both ends seen",
    "one_unseen": "one unseen end",
    "both_unseen": "both ends unseen",
    "unseen": "any unseen end",
}
_CHANCE = "Its vector is as it began, and what it says is chance."
_METHODS: dict[AnalogyMethod, str] = {"3cosadd": "3CosAdd", "3cosmul": "3CosMul"}
OF_ALL = "Of all: what is left out counted as a cosine of 0, or as a wrong answer."
CLASSIFIED = (
    "Triple classification: a threshold for each relation, chosen on valid and its negatives; one for all relations "
    "that valid does not have."
)


def link_tables(links: Links, epoch: str) -> list[RenderableType]:
    """Ranks over all triples and by groups, with what they depend on.

    epoch   which checkpoint was ranked, for the titles
    """
    grouped = [_grouped(links, by, epoch) for by in links.parts]
    notes = [link_note(links), *_of_unknown(links), *_of_untrained(links)]
    return [_links(links, epoch), *grouped, *(_note(text) for text in notes)]


def classification_tables(result: Classification, epoch: str) -> list[RenderableType]:
    """Triple classification, in one line."""
    columns = ("accuracy", "F1", "precision", "recall", "triples", "negatives")
    table = _table(f"Triple classification, test, {epoch}", "", *columns)
    tree = result.to_dict()
    figures = (number(tree[name]) for name in ("accuracy", "f1", "precision", "recall"))
    _add_row(table, "all", *figures, *(f"{tree[name]:,}" for name in ("triples", "negatives")))
    notes = [CLASSIFIED]
    if result.untrained:
        notes.append(f"Triples whose relation no training triple has: {result.untrained:,}. {_CHANCE}")
    return [table, *map(_note, notes)]


def similarity_tables(results: Sequence[Similarity], epoch: str, note: str) -> list[RenderableType]:
    """Rank correlations with people, a set a line.

    note   `word_note` of how they were taken
    """
    table = _table(f"Word similarity, {epoch}", "set", "Spearman", "95 % interval", "covered", "of all")
    for result in results:
        _add_row(table, result.name, *_correlation(result, result.covered))
    skipped = [text for result in results for text in _skipped(result.name, result.covered, result.words, "pairs")]
    return [table, _note(note), _note(OF_ALL), *map(_note, skipped)]


def grouped_tables(result: GroupedSimilarity, epoch: str, note: str) -> list[RenderableType]:
    """Rank correlations group by group, and their mean.

    note   `word_note` of how they were taken
    """
    table = _table(f"{result.name}, {epoch}", "group", "Spearman", "95 % interval", "covered", "of all")
    for group in result.to_dict()["groups"]:
        _add_row(table, group["name"], number(group["spearman"]), "", f"{group['covered']:,} of {group['pairs']:,}", "")
    table.add_section()
    _add_row(table, "mean of groups", *_correlation(result, result.covered))
    without = int((~np.isfinite(result.by_group)).sum())
    notes = [f"{result.name}: groups without a correlation, left out of the mean: {without:,}."] if without else []
    notes += _skipped(result.name, result.covered, result.words, "pairs")
    return [table, _note(note), _note(OF_ALL), *map(_note, notes)]


def analogy_tables(result: Analogies, epoch: str, note: str) -> list[RenderableType]:
    """Share of right answers, a section a line.

    note   `word_note` of how they were found
    """
    tree, parts = result.to_dict(), list[RenderableType]()
    for form in tree["forms"]:
        title = f"Analogies ({_METHODS[result.method]}), {form['name']}, {epoch}"
        table = _table(title, "relation", "accuracy", "covered", "of all")
        for section in tree["sections"]:
            if section["form"] == form["name"]:
                _add_row(table, *_accuracy(section["name"], section))
        table.add_section()
        for category in form["categories"]:
            _add_row(table, *_accuracy(category["name"], category))
            _add_row(table, *_macro("  mean of its relations", category))
        _add_row(table, *_accuracy("total", form))
        if form["relations"] > 1:
            kinds = "mean of categories" if form["categories"] else "mean of relations"
            _add_row(table, *_macro(f"  {kinds}", form))
        parts.append(table)
    notes = list(_skipped("Analogies", result.covered, result.words, "questions"))
    if result.ties:
        notes.append(f"Questions with several best answers, right ones counted by their share: {result.ties:,}.")
    if result.excluded:
        notes.append(f"Questions whose answer is one of their own words, which are left out: {result.excluded:,}.")
    return [*parts, _note(note), _note(OF_ALL), *map(_note, notes)]


def notes_under(texts: Iterable[str]) -> list[RenderableType]:
    """Lines under tables."""
    return [_note(text) for text in texts]


def comparison_tables(
    names: Sequence[str],
    measures: Mapping[str, Sequence[Measure | None]],
    differences: Mapping[str, Sequence[Difference | None]],
    notes: Iterable[str],
) -> list[RenderableType]:
    """Runs as columns, measures as rows; beside each value its difference to the first run.

    names         of the runs
    measures      by name, one for each run
    differences   by name of the measure, one for each run
    notes         what the numbers depend on
    """
    table = Table(title="Comparison", title_justify="left")
    table.add_column("measure")
    for name in names:
        table.add_column(Text(name), justify="right")
    for name, row in measures.items():
        _add_row(table, name, *(_compared(*pair) for pair in zip(row, differences[name], strict=True)))
    beside = (
        f"Beside each value: difference to {names[0]} with its 95 % interval, by paired bootstrap over the "
        "items both cover; * where it excludes 0."
    )
    return [table, *(_note(text) for text in dict.fromkeys([beside, *notes, *_coverage(names, measures)]))]


def as_text(result: RenderableType) -> str:
    """A result as plain text, as a console prints it."""
    console = Console(width=WIDTH, highlight=False, force_terminal=False, markup=False, emoji=False)
    with console.capture() as printed:
        console.print(result)
    return "\n".join(line.rstrip() for line in printed.get().splitlines())


def link_note(links: Links) -> str:
    """How ranks were taken, in a line."""
    ranks = links.ranks
    against = f"{ranks.candidates:,} {CANDIDATES}"
    if links.sample and links.sample.candidates is not None:
        against = (
            f"{ranks.candidates:,} {CANDIDATES}, drawn evenly for each answer (seed {links.sample.seed}), "
            "which is easier than against all"
        )
    if ranks.typed:
        against += f", less those that the relation's types do not allow, {ranks.mean_candidates:,.0f} on average"
    of = ""
    if links.sample and links.sample.triples < links.sample.of:
        of = f"{links.sample.triples:,} of {links.sample.of:,} triples, drawn (seed {links.sample.seed}), "
    ties = f"{TIES[links.ties]} (scores within {TIE:g} of the size of their terms)"
    return f"Link prediction: {links.split}, {of}both directions, {FILTER}; against {against}; {ties}."


def _of_unknown(links: Links) -> Iterable[str]:
    """A line where vectors were ranked that mean nothing."""
    one, both = links.unknown
    if one + both:
        yield (
            f"Triples with an end of which neither a training triple nor text says anything: {one + both:,}, "
            f"{both:,} of them with two such ends. Its vector is as it began, and its ranks are chance."
        )


def _of_untrained(links: Links) -> Iterable[str]:
    """A line where relations were ranked that mean nothing."""
    if links.ranks.unseen_relation is not None:
        count, names = int(links.ranks.unseen_relation.sum()), links.untrained
        relations = f"{len(names):,} relation{'s' * (len(names) > 1)} (such as {links.prefixes.shown(names[0])})"
        yield f"Triples whose relation no training triple has: {count:,}, of {relations}. {_CHANCE}"


def word_note(kind: VectorKind | None, vectors: VectorParts, standardize: bool) -> str:
    """How cosines of words were taken, in a line."""
    how = "columns standardised" if standardize else "raw"
    of = "word vectors" if kind == "word" else "entity vectors"
    if vectors == "both":
        of = (
            "word and entity vectors side by side"
            if kind == "word"
            else "own and text vectors of entities side by side"
        )
    elif kind == "entity" and vectors != "joint":
        of = f"{vectors} vectors of entities"
    return f"Words: {of}, {how}, cosine; pairs and questions with an unknown word left out."


def number(value: float | None, digits: int = 3) -> str:
    """`.3` as `0.300`; a dash for what there is none of."""
    return "-" if value is None or value != value else f"{value:.{digits}f}"


def _links(links: Links, epoch: str) -> Table:
    label = f" ({links.label})" if links.label else ""
    columns = ("", "MRR", *(f"Hits@{k}" for k in HITS), "mean rank", "triples")
    table = _table(f"Link prediction, {links.split}, {epoch}{label}", *columns)
    tree = links.ranks.metrics()
    rows = {"both": tree, "head": tree["head"], "tail": tree["tail"], "without own end": tree["without_own_end"]}
    ends = {name: tree.get(key) for key, name in _ENDS.items()}
    relation = {"unseen relation": tree.get("unseen_relation")}
    for part in (rows, *({name: figures for name, figures in some.items() if figures} for some in (ends, relation))):
        for name, figures in part.items():
            _add_row(table, name, *_figures(figures, links.ties), f"{figures['triples']:,}")
        table.add_section()
    return table


def _grouped(links: Links, by: str, epoch: str) -> Table:
    label = f" ({links.label})" if links.label else ""
    title = f"Link prediction, {links.split}, {_BY[by]}, {epoch}{label}"
    columns = (
        "MRR",
        *(f"Hits@{k}" for k in HITS),
        "mean rank",
        "MRR of heads",
        "MRR of tails",
        "without own end",
        "answers",
    )
    table = _table(title, "", *columns)
    for part in links.parts[by]:
        ends = (number(_by_ties(part[end], links.ties)["mrr"]) if part[end] else "-" for end in ("head", "tail"))
        without = number(_by_ties(part["without_own_end"], links.ties)["mrr"])
        shown = links.prefixes.shown(part["name"])
        _add_row(table, shown, *_figures(part, links.ties), *ends, without, f"{part['answers']:,}")
    return table


def _figures(part: dict[str, Any], ties: Ties) -> Iterable[str]:
    figures = _by_ties(part, ties)
    return number(figures["mrr"]), *(number(figures[f"hits@{k}"]) for k in HITS), number(figures["mean_rank"], 1)


def _by_ties(part: dict[str, Any], ties: Ties) -> dict[str, Any]:
    """Figures by the rank of ties that is wanted."""
    figures: dict[str, Any] = part if ties == "realistic" else part[ties]
    return figures


def _accuracy(name: str, part: dict[str, Any]) -> Sequence[str]:
    covered = f"{part['covered']:,} of {part['questions']:,}"
    return name, number(part["accuracy"]), covered, number(part["accuracy_all"])


def _macro(name: str, part: dict[str, Any]) -> Sequence[str]:
    return name, number(part["macro_accuracy"]), "", number(part["macro_accuracy_all"])


def _correlation(result: Similarity | GroupedSimilarity, covered: Bools) -> Sequence[str]:
    ends = f"{number(result.interval.low)} to {number(result.interval.high)}"
    of = f"{int(covered.sum()):,} of {len(covered):,}"
    return number(result.spearman), ends, of, number(result.spearman_all)


def _skipped(name: str, covered: Bools, words: Coverage, items: str) -> Iterable[str]:
    """A line where names have no vector, and one where they stand for several."""
    if not covered.all():
        more = ", ..." if words.unknown > len(words.examples) else ""
        yield (
            f"{name}: {items} left out: {int((~covered).sum()):,}; names without a vector: {words.unknown:,} of "
            f"{words.names:,} ({', '.join(words.examples)}{more})."
        )
    if words.shared:
        examples = ", ".join(words.shared_examples)
        yield f"{name}: names of several vectors, of which the first was taken: {words.shared:,} ({examples})."


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


def _coverage(names: Sequence[str], measures: Mapping[str, Sequence[Measure | None]]) -> list[str]:
    """A line for each measure that not all runs cover alike."""
    notes = []
    for name, row in measures.items():
        covered = [int(measure.covered.sum()) if measure is not None else 0 for measure in row]
        present = [measure for measure in row if measure is not None]
        if len({measure.items for measure in present}) > 1:
            notes.append(f"{name}: not paired, the runs were measured on different items.")
        elif len({count for count, measure in zip(covered, row, strict=True) if measure is not None}) > 1:
            counts = ", ".join(f"{run} {count:,}" for run, count in zip(names, covered, strict=True))
            notes.append(f"{name}: covered {counts}, of {len(present[0].values):,}.")
    return notes


def _table(title: str, *columns: str) -> Table:
    named = Text(title, style="table.title")
    table = Table(title=named, title_justify="left", min_width=len(title))  # a title is wrapped at the table's width
    for place, column in enumerate(columns):
        table.add_column(column, justify="right" if place else "left")
    return table


def _add_row(table: Table, *cells: str) -> None:
    """Add a row; square brackets in names are no markup."""
    table.add_row(*map(Text, cells))


def _note(text: str) -> Text:
    """A line under a table."""
    return Text(text, style="dim")
