"""The command that serves a trained run over HTTP."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from distjoint.base.errors import DistjointError
from distjoint.base.ray_token import guard_ray
from distjoint.cli.common import Dataset, Json, Run, interruptible, progress

if TYPE_CHECKING:
    from distjoint.serve.settings import ServeSettings

_LOCAL = ("127.0.0.1", "localhost", "::1")


def _use_and_keep(given: list[str] | None) -> dict[str, Any]:
    from distjoint.storage import parse_options, use_options

    options = parse_options(given or ())
    use_options(options)
    return options


def serve(
    run: Run,
    host: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Who can ask: this machine, or all that reach it (0.0.0.0).")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(metavar="N", min=0, max=65535, help="0 takes a free one.")] = 8000,
    replicas: Annotated[int, typer.Option(metavar="N", min=1, help="Processes that answer, a core each.")] = 1,
    memory: Annotated[
        str,
        typer.Option(metavar="SIZE", help="Of each replica: vectors that take more stay in their files, read by all."),
    ] = "2GB",
    timeout: Annotated[
        float, typer.Option(metavar="SECONDS", min=0.1, help="After which a request is given up.")
    ] = 60.0,
    max_waiting: Annotated[
        int, typer.Option(metavar="N", min=0, help="Requests that may wait for a replica; more are refused.")
    ] = 100,
    max_k: Annotated[int, typer.Option(metavar="N", min=1, help="Answers of a question.")] = 1_000,
    max_batch: Annotated[int, typer.Option(metavar="N", min=1, help="Questions of a request.")] = 256,
    max_body: Annotated[str, typer.Option(metavar="SIZE", help="Body of a request.")] = "1MB",
    max_text: Annotated[int, typer.Option(metavar="N", min=1, help="Characters of a name or a text.")] = 10_000,
    dataset: Dataset = None,
    storage_options: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="For URLs, as for other commands; may be repeated."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Answer questions over HTTP until Ctrl-C: /neighbours, /predict, /vector, /score, /explain; /docs lists all.

    Needs pip install 'distjoint[serve]'. Nobody is asked for a password: keep it to this machine, or behind a proxy
    that does.

    \b
    Examples:
      distjoint serve runs/joint
      curl '127.0.0.1:8000/predict?head=dog&relation=hypernym&k=5'
      distjoint serve runs/joint --port 0 --replicas 4 --memory 500MB --json
    """
    guard_ray()
    try:
        from distjoint.serve.server import run_server
        from distjoint.serve.settings import ServeSettings
    except ImportError as error:
        raise DistjointError(
            f"'serve' needs Ray Serve ({error}); install it with pip install 'distjoint[serve]'"
        ) from error
    from distjoint.base.sizes import bytes_of
    from distjoint.registry import plugin_modules

    bytes_of("--memory", memory)
    settings = ServeSettings(
        run=run,
        dataset=dataset,
        memory=memory,
        replicas=replicas,
        max_waiting=max_waiting,
        max_k=max_k,
        max_batch=max_batch,
        max_body=max(1, bytes_of("--max-body", max_body)),
        max_text=max_text,
        plugins=list(plugin_modules()),
        storage_options=_use_and_keep(storage_options),
    )
    if host not in _LOCAL:
        typer.echo(f"distjoint: warning: whoever reaches {host} can ask; there is no password", err=True)
    with interruptible("nothing was served"):
        run_server(settings, host, port, timeout, progress(), lambda url: _say_ready(settings, url, as_json))


def _say_ready(settings: ServeSettings, url: str, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({"url": url, "run": settings.run, "replicas": settings.replicas}))
    else:
        typer.echo(f"{settings.run}: {url}/docs lists what can be asked; Ctrl-C ends it")
