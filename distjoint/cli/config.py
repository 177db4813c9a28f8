"""The commands about configurations: config show, validate, schema."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from distjoint.cli.common import Settings, StorageOptions

config_app = typer.Typer()


@config_app.callback(invoke_without_command=True)
def _config(context: typer.Context) -> None:
    """The configuration of a run: show, validate, schema."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@config_app.command("show")
def config_show(
    file: Annotated[
        str | None, typer.Argument(metavar="FILE", help="A YAML file to complete.", show_default=False)
    ] = None,
    settings: Settings = None,
    storage_options: StorageOptions = None,
) -> None:
    """Every key with its meaning and its value: the defaults, or those of a file.

    \b
    Example:
      distjoint config show > joint.yaml
    """
    from distjoint.recipes.load import load_config

    typer.echo(load_config(file, settings or ()).to_yaml(comments=True), nl=False)


@config_app.command("validate")
def config_validate(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A YAML file.", show_default=False)],
    settings: Settings = None,
    storage_options: StorageOptions = None,
) -> None:
    """Check a configuration without training.

    \b
    Example:
      distjoint config validate joint.yaml
    """
    from distjoint.recipes.load import load_config

    load_config(file, settings or ())
    typer.echo(f"{file}: valid")


@config_app.command("schema")
def config_schema() -> None:
    """The JSON Schema of the configuration, for editors.

    \b
    Example:
      distjoint config schema > distjoint.schema.json
    """
    from distjoint.config import Config

    typer.echo(json.dumps(Config.model_json_schema(), indent=2))
