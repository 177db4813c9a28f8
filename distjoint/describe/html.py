"""Descriptions as one page of HTML: no script, no network, and readable in the dark, on a phone and aloud.

A table has a caption and headings of its columns and lines. Bars stand beside the numbers that they draw, and are
hidden from whoever has the page read out. Colours are those of the reader's system, light or dark.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape

from distjoint.describe.page import Chapter, Figures
from distjoint.version import __version__

_STYLE = """
:root { color-scheme: light dark; --line: #8888; --bar: #3a6ea5; }
@media (prefers-color-scheme: dark) { :root { --bar: #7fb0e6; } }
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 70rem; margin: 0 auto; padding: 1rem; background: Canvas;
  color: CanvasText; }
h1 { font-size: 1.4rem; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin-top: 2.5rem; border-bottom: 1px solid var(--line); }
nav ul { display: flex; flex-wrap: wrap; gap: .25rem 1rem; list-style: none; padding: 0; }
a { color: LinkText; }
.wide { overflow-x: auto; margin: 1rem 0; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
caption { text-align: left; font-style: italic; padding-bottom: .25rem; }
th, td { padding: .15rem .75rem .15rem 0; text-align: right; vertical-align: top;
  border-bottom: 1px solid var(--line); }
th { font-weight: 600; }
th[scope=row] { font-weight: 400; overflow-wrap: anywhere; min-width: 8rem; }
.text { text-align: left; }
.bar { min-width: 8rem; }
.bar span { display: block; height: 1em; margin-top: .25em; background: var(--bar); min-width: 1px; }
.note { font-size: .9rem; max-width: 50rem; }
footer { margin-top: 3rem; font-size: .9rem; }
@media print { nav { display: none; } .wide { overflow: visible; } }
"""


def page_of(title: str, chapters: Sequence[Chapter]) -> str:
    """A whole page."""
    links = "".join(f'<li><a href="#{_id(each.title)}">{escape(each.title)}</a></li>' for each in chapters)
    body = "".join(map(_chapter, chapters))
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        f'<header><h1>{escape(title)}</h1>\n<nav aria-label="Chapters"><ul>{links}</ul></nav></header>\n'
        f"<main>\n{body}</main>\n<footer>Made by distjoint {escape(__version__)}.</footer>\n</body>\n</html>\n"
    )


def _chapter(chapter: Chapter) -> str:
    name = _id(chapter.title)
    sentences = "".join(f"<p>{escape(sentence)}</p>\n" for sentence in chapter.sentences)
    tables = "".join(map(_table, chapter.tables))
    heading = f'<h2 id="{name}">{escape(chapter.title)}</h2>'
    return f'<section aria-labelledby="{name}">\n{heading}\n{sentences}{tables}</section>\n'


def _table(figures: Figures) -> str:
    kinds = [' class="text"' * figures.is_text(column) for column in range(len(figures.columns))]
    kinds[0] = ' class="text"'
    heads = "".join(
        f'<th scope="col"{kind}>{escape(name)}</th>' for kind, name in zip(kinds, figures.columns, strict=True)
    )
    if figures.bar is not None:
        heads += '<td aria-hidden="true"></td>'
    lines = []
    for row, length in zip(figures.rows, figures.lengths(), strict=True):
        first, *cells = (escape(figures.text(row, column)) for column in range(len(row)))
        line = f'<th scope="row" class="text">{first}</th>'
        line += "".join(f"<td{kind}>{cell}</td>" for kind, cell in zip(kinds[1:], cells, strict=True))
        if figures.bar is not None:
            bar = f'<span style="width:{100 * length:.1f}%"></span>' if length > 0 else ""
            line += f'<td class="bar" aria-hidden="true">{bar}</td>'
        lines.append(f"<tr>{line}</tr>\n")
    note = f'<p class="note">{escape(figures.note)}</p>\n' if figures.note else ""
    caption = escape(figures.title)
    return (
        f'<div class="wide" role="region" aria-label="{caption}" tabindex="0"><table>\n<caption>{caption}</caption>\n'
        f"<thead><tr>{heads}</tr></thead>\n<tbody>\n{''.join(lines)}</tbody>\n</table></div>\n{note}"
    )


def _id(title: str) -> str:
    return re.sub(r"\W+", "-", title.lower()).strip("-")
