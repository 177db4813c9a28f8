"""Descriptions on a terminal: a heading, sentences and tables for each chapter."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from distjoint.describe.page import Chapter, Figures

_BAR = 24
"""Characters of the longest bar."""


def printed(chapters: Sequence[Chapter]) -> RenderableType:
    """All chapters, one below the other."""
    parts: list[RenderableType] = []
    for chapter in chapters:
        parts += [Text(chapter.title, style="bold"), *map(Text, chapter.sentences)]
        for figures in chapter.tables:
            parts += ["", _table(figures)]
            if figures.note:
                parts.append(Text(figures.note))
        parts.append("")
    return Group(*parts[:-1])


def _table(figures: Figures) -> Table:
    table = Table(title=Text(figures.title), title_justify="left", title_style="italic", box=None, pad_edge=False)
    for column, name in enumerate(figures.columns):
        is_text = figures.is_text(column)
        table.add_column(name, justify="left" if is_text else "right", overflow="fold", no_wrap=not is_text)
    if figures.bar is not None:
        table.add_column("")
    for row, length in zip(figures.rows, figures.lengths(), strict=True):
        cells = [Text(figures.text(row, column)) for column in range(len(row))]
        bar = [Text("█" * round(length * _BAR) or "▏" * (length > 0))] if figures.bar is not None else []
        table.add_row(*cells, *bar)
    return table
