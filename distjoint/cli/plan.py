"""The command that says what a run will take: plan."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from distjoint.cli.common import Json, Settings, StorageOptions, console, print_result, progress
from distjoint.cli.options import options_of
from distjoint.plan.options import PlanOptions


@options_of(PlanOptions)
def plan(
    *,
    dataset: str | None,
    config: Annotated[str | None, typer.Option(metavar="FILE", help="YAML file; see 'distjoint config show'.")] = None,
    recipe: str | None,
    settings: Settings = None,
    options: dict[str, Any],
    nodes: Annotated[bool, typer.Option("--nodes", help="List the types of nodes that are known.")] = False,
    storage_options: StorageOptions = None,
    as_json: Json = False,
) -> None:
    """Say what a run will take before it starts: table, memory, bytes moved, hours, price; and what to change.

    \b
    Examples:
      distjoint plan data/mine --set model.dim=200
      distjoint plan data/mine --workers 4 --memory 16GB --probe
      distjoint plan s3://bucket/data --workers 8 --node r6i.8xlarge --price 1.2
      distjoint plan --entities 90M --triples 600M --relations 1300 --words 5M --tokens 10B --dim 200
    """
    import distjoint
    from distjoint.recipes.load import load_config, parse_settings

    if nodes:
        _print_nodes(as_json)
        return
    changes: Any = parse_settings(settings or ())
    if config is not None:
        dim = {"model.dim": options.pop("dim")} if options.get("dim") is not None else {}
        changes, recipe = load_config(config, changes | dim, recipe=recipe), None
        options["dim"] = None
    made = distjoint.plan(dataset, changes, recipe=recipe, **options, progress=progress())
    print_result(made, as_json)


def _print_nodes(as_json: bool) -> None:
    from dataclasses import asdict

    from rich.table import Table

    from distjoint.base.sizes import in_bytes
    from distjoint.plan.nodes import nodes

    if as_json:
        typer.echo(json.dumps([asdict(node) for node in nodes().values()], indent=2))
        return
    table = Table(box=None, pad_edge=False)
    for column in ("node", "cores", "memory", "Gbit/s", "disk MB/s", "USD an hour"):
        table.add_column(column, justify="left" if column == "node" else "right")
    for node in nodes().values():
        price = "" if node.price is None else f"{node.price:g}"
        table.add_row(node.name, str(node.cores), in_bytes(node.memory), f"{node.network:g}", f"{node.disk:g}", price)
    console().print(table)
