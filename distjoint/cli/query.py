"""The commands that look up a trained run: nearest, predict, explain, export."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated, Any, Literal

import typer

from distjoint.base.errors import UsageError
from distjoint.cli.common import Count, Dataset, Json, Run, StorageOptions, print_result, print_rows
from distjoint.evaluate.options import VECTORS, VectorParts
from distjoint.registry import EXPORTS


def _known_format(name: str) -> str:
    if name not in EXPORTS:
        raise typer.BadParameter(f"'{name}' is not one of {', '.join(map(repr, EXPORTS.names()))}")
    return name


def nearest(
    run: Run,
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="A word, an entity or its label.", show_default=False)
    ] = None,
    text: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Instead of a name: what an entity is, in words.")
    ] = None,
    count: Count = 10,
    of: Annotated[
        Literal["word", "entity"] | None, typer.Option(help="Which vector of a name that has two; both by default.")
    ] = None,
    to: Annotated[
        Literal["word", "entity"] | None, typer.Option("--kind", help="Only neighbours of this kind.")
    ] = None,
    dataset: Dataset = None,
    storage_options: StorageOptions = None,
    as_json: Json = False,
) -> None:
    """The nearest neighbours of a word or an entity.

    \b
    Examples:
      distjoint nearest runs/joint bank -k 10
      distjoint nearest runs/described --text "a large marine mammal" --kind entity
    """
    import distjoint

    if (name is None) == (text is None):
        raise UsageError("give a NAME, or --text and what an entity is, in words")
    result = distjoint.load(run, dataset=dataset)
    if name is None:
        vector = result.text_vector(text or "")
        found = [asdict(near) for near in result.nearest(vector, count, kind=to, of="entity")]
        typer.echo(json.dumps({"text": found}, indent=2)) if as_json else print_rows(f"text {text}", found)
        return
    # An aligned name has two vectors; an unknown one is named by the look-up itself.
    kinds: list[Any] = [of] if of else result.kinds(name) or [None]
    answers = {kind: [asdict(near) for near in result.nearest(name, count, kind=to, of=kind)] for kind in kinds}
    if as_json:
        typer.echo(json.dumps(answers, indent=2))
        return
    for kind, rows in answers.items():
        print_rows(f"{kind} {name}", rows)


def predict(
    run: Run,
    relation: Annotated[str, typer.Option(metavar="NAME", help="The relation's name.", show_default=False)],
    head: Annotated[str | None, typer.Option(metavar="NAME", help="The entity it starts from; predicts tails.")] = None,
    tail: Annotated[str | None, typer.Option(metavar="NAME", help="The entity it leads to; predicts heads.")] = None,
    head_text: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Instead of --head: what the entity is, in words.")
    ] = None,
    tail_text: Annotated[str | None, typer.Option(metavar="TEXT", help="Instead of --tail, likewise.")] = None,
    count: Count = 10,
    own_end: Annotated[bool, typer.Option("--own-end", help="The given entity may be an answer.")] = False,
    known: Annotated[
        Literal["exclude", "include"], typer.Option(help="Triples of the dataset: left out, or marked.")
    ] = "exclude",
    dataset: Dataset = None,
    storage_options: StorageOptions = None,
    as_json: Json = False,
) -> None:
    """The most plausible tails or heads of a relation.

    \b
    Examples:
      distjoint predict runs/joint --head dog --relation hypernym -k 10
      distjoint predict runs/described --head-text "a large marine mammal" --relation hypernym
    """
    import distjoint

    texts = {"head_text": head_text, "tail_text": tail_text}
    answers = distjoint.load(run, dataset=dataset).predict(head, relation, tail, count, known, own_end=own_end, **texts)
    rows = [asdict(answer) for answer in answers]
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
    else:
        print_rows(f"{head or head_text or '?'}  {relation}  {tail or tail_text or '?'}", rows)


def explain(
    run: Run,
    head: Annotated[str, typer.Argument(metavar="HEAD", help="An entity, by id, label or word.", show_default=False)],
    relation: Annotated[str, typer.Argument(metavar="RELATION", help="The relation's name.", show_default=False)],
    tail: Annotated[str, typer.Argument(metavar="TAIL", help="An entity, likewise.", show_default=False)],
    top: Annotated[
        int, typer.Option("-k", "--top", metavar="N", min=0, help="Words of each end that are told apart.")
    ] = 8,
    dataset: Dataset = None,
    storage_options: StorageOptions = None,
    as_json: Json = False,
) -> None:
    """Why a triple has its score: what the parts of its ends, and the words of their texts, add to it.

    The score is taken apart twice, by its head and by its tail; either time the shares add up to it.

    \b
    Example:
      distjoint explain runs/described dog hypernym animal
    """
    import distjoint

    print_result(distjoint.load(run, dataset=dataset).explain(head, relation, tail, top), as_json)


def export(
    run: Run,
    out: Annotated[str, typer.Option(metavar="FILE", help="File, folder or URL to write.", show_default=False)],
    form: Annotated[
        str,
        typer.Option(
            "--format",
            metavar=f"<{'|'.join(EXPORTS.names())}>",
            callback=_known_format,
            help="glove and word2vec are text, the latter with a header; projector, usearch, huggingface are folders.",
        ),
    ] = "glove",
    kind: Annotated[
        Literal["word", "entity", "relation"] | None,
        typer.Option(
            help="Only words, only entities, or what scores triples besides: relations, maps. By default words and "
            "entities; with parquet, safetensors and huggingface all."
        ),
    ] = None,
    vectors: Annotated[
        VectorParts,
        typer.Option(help=VECTORS),
    ] = "joint",
    binary: Annotated[bool, typer.Option("--binary", help="The format's binary form; word2vec has one.")] = False,
    dataset: Dataset = None,
    storage_options: StorageOptions = None,
    as_json: Json = False,
) -> None:
    """Write the vectors for other programs, or for another run: 'train --init' reads all formats but usearch.

    \b
    Examples:
      distjoint export runs/joint --format word2vec --out vectors.txt --kind word
      distjoint export runs/joint --format safetensors --out all.safetensors
      distjoint export runs/joint --format word2vec --out relations.txt --kind relation
      distjoint export runs/joint --format parquet --out apart.parquet --kind entity --vectors both
    """
    import distjoint

    notes: list[str] = []
    written = distjoint.load(run, dataset=dataset).export(
        out, form, kind=kind, vectors=vectors, binary=binary, say=notes.append
    )
    if as_json:
        typer.echo(json.dumps({"out": out, "format": form, "vectors": written, "notes": notes}, indent=2))
        return
    typer.echo(f"{out}: {written:,} vectors")
    for note in notes:
        typer.echo(f"  {note}", err=True)
