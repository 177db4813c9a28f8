"""The command that lists and prints recipes."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer

from distjoint.cli.common import Json

_WIDTH = 160


def recipes(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="Print this one.", show_default=False)] = None,
    as_json: Json = False,
) -> None:
    """Configurations for a graph and a scorer: what there is, or one of them, to be used or changed.

    \b
    Examples:
      distjoint recipes
      distjoint recipes wn18rr-complex > mine.yaml
      distjoint train data/wn18rr --recipe wn18rr-complex --out runs/wn18rr
    """
    from distjoint.recipes import find, recipes

    if name is not None:
        recipe = find(name)
        typer.echo(json.dumps(recipe.to_dict(), indent=2) if as_json else recipe.text, nl=as_json)
        return
    if as_json:
        typer.echo(json.dumps([recipe.to_dict() for recipe in recipes().values()], indent=2))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for column in ("recipe", "graph", "reaches"):
        table.add_column(column)
    for recipe in recipes().values():
        table.add_row(recipe.name, recipe.graph, recipe.reaches)
    Console(highlight=False, markup=False, emoji=False, width=None if sys.stdout.isatty() else _WIDTH).print(table)
