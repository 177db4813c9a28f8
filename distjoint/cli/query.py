"""The commands that ask a trained run: nearest, predict, score, explain, export."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from distjoint.base.errors import UsageError
from distjoint.cli.common import (
    Count,
    Json,
    Run,
    StorageOptions,
    interruptible,
    print_result,
    print_rows,
    progress,
)
from distjoint.cli.options import options_of
from distjoint.evaluate.options import VECTORS, VectorParts
from distjoint.registry import EXPORTS
from distjoint.results.options import FileOptions, LoadOptions

if TYPE_CHECKING:
    from distjoint.results.embeddings import Embeddings
    from distjoint.results.questions import AnswerTally

Queries = Annotated[
    str | None,
    typer.Option(
        metavar="FILE",
        help="Many questions: a file or URL of TSV, CSV, Parquet or JSON Lines.",
    ),
]
Out = Annotated[
    str | None, typer.Option(metavar="FILE", help="Where answers to --queries go; its ending says the format.")
]
Likely = Annotated[
    bool,
    typer.Option("--probabilities", help="How likely a triple is true where one of two is, by the validation split."),
]
_AGAIN = "no answers were written; ask again"


def _known_format(name: str) -> str:
    if name not in EXPORTS:
        raise typer.BadParameter(f"'{name}' is not one of {', '.join(map(repr, EXPORTS.names()))}")
    return name


@options_of(FileOptions)
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
    standardize: Annotated[
        bool, typer.Option("--standardize/--raw", help="Standardise the columns of word vectors first, or not.")
    ] = True,
    queries: Queries = None,
    out: Out = None,
    *,
    options: dict[str, Any],
    storage_options: StorageOptions = None,
    as_json: Json = False,
) -> None:
    """The nearest neighbours of a word or an entity.

    \b
    Examples:
      distjoint nearest runs/joint bank -k 10
      distjoint nearest runs/described --text "a large marine mammal" --kind entity
      distjoint nearest runs/joint --queries names.txt --out near.tsv --of word --raw
    """
    chosen = FileOptions(**options)
    if queries is not None:
        from distjoint.results.batch import nearest_file
        from distjoint.storage import locate

        _refuse_both(out, name, text)
        places, which = (locate(queries), locate(out or "")), {"of": of, "kind": to, "standardize": standardize}
        more: Any = {**which, "progress": progress()}
        with interruptible(_AGAIN):
            tally = nearest_file(_load(run, chosen), *places, count, chosen, **more)
        _say_tally(tally, out, as_json)
        return
    if (name is None) == (text is None):
        raise UsageError("give a NAME, or --text and what an entity is, in words, or --queries and a file of names")
    result = _load(run, chosen)
    if name is None:
        vector = result.text_vector(text or "")
        found = result.nearest(vector, count, kind=to, of="entity", standardize=standardize).to_dicts()
        typer.echo(json.dumps({"text": found}, indent=2)) if as_json else print_rows(f"text {text}", found)
        return
    # An aligned name has two vectors; an unknown one is named by the look-up itself.
    kinds: list[Any] = [of] if of else result.kinds(name) or [None]
    answers = {
        each: result.nearest(name, count, kind=to, of=each, standardize=standardize).to_dicts() for each in kinds
    }
    if as_json:
        typer.echo(json.dumps(answers, indent=2))
        return
    for each, rows in answers.items():
        print_rows(f"{each} {name}", rows)


@options_of(FileOptions)
def predict(
    run: Run,
    relation: Annotated[
        str | None, typer.Option(metavar="NAME", help="The relation's name; left out, relations are predicted.")
    ] = None,
    head: Annotated[str | None, typer.Option(metavar="NAME", help="The entity it starts from.")] = None,
    tail: Annotated[str | None, typer.Option(metavar="NAME", help="The entity it leads to.")] = None,
    head_text: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Instead of --head: what the entity is, in words.")
    ] = None,
    tail_text: Annotated[str | None, typer.Option(metavar="TEXT", help="Instead of --tail, likewise.")] = None,
    count: Count = 10,
    own_end: Annotated[bool, typer.Option("--own-end", help="The given entity may be an answer.")] = False,
    known: Annotated[
        Literal["exclude", "include"], typer.Option(help="Triples of the dataset: left out, or marked.")
    ] = "exclude",
    known_of: Annotated[
        Literal["all", "train", "none"],
        typer.Option("--filter", help="Which triples are known: of all splits, of train, or none."),
    ] = "all",
    candidates: Annotated[
        str | None, typer.Option(metavar="FILE", help="The only entities that may be answers: a name a line.")
    ] = None,
    types: Annotated[
        bool, typer.Option("--types", help="Only entities of the types that stood there in training.")
    ] = False,
    type_names: Annotated[
        list[str] | None, typer.Option("--type", metavar="TYPE", help="Only entities of this type; may be repeated.")
    ] = None,
    probabilities: Likely = False,
    queries: Queries = None,
    out: Out = None,
    *,
    options: dict[str, Any],
    storage_options: StorageOptions = None,
    as_json: Json = False,
) -> None:
    """The most plausible tails, heads or relations: what is left out of a triple is predicted.

    \b
    Examples:
      distjoint predict runs/joint --head dog --relation hypernym -k 10
      distjoint predict runs/joint --head dog --tail animal
      distjoint predict runs/described --head-text "a large marine mammal" --relation hypernym
      distjoint predict runs/joint --queries questions.tsv --out answers.parquet
    """
    from distjoint.storage import locate

    chosen = FileOptions(**options)
    result = _load(run, chosen)
    listed = None
    if candidates is not None:
        from distjoint.results.files import read_names

        listed = read_names(locate(candidates), "name")
    if types and type_names:
        raise UsageError("--types takes the types of training, --type those that you name; give one of the two")
    limits: dict[str, Any] = {
        "filter": known_of,
        "own_end": own_end,
        "candidates": listed,
        "types": type_names or types,
    }
    if queries is not None:
        from distjoint.results.batch import predict_file

        _refuse_both(out, head, relation, tail, head_text, tail_text)
        places, choice = (locate(queries), locate(out or "")), result.choice(known, **limits)
        more: dict[str, Any] = {"probabilities": probabilities, "progress": progress()}
        with interruptible(_AGAIN):
            tally = predict_file(result, *places, count, choice, chosen, **more)
        _say_tally(tally, out, as_json)
        return
    texts: dict[str, Any] = {"head_text": head_text, "tail_text": tail_text, "probabilities": probabilities}
    rows = result.predict(head, relation, tail, count, known, **limits, **texts).to_dicts()
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
    else:
        print_rows(f"{head or head_text or '?'}  {relation or '?'}  {tail or tail_text or '?'}", rows)


@options_of(FileOptions)
def score(
    run: Run,
    triples: Annotated[
        list[str],
        typer.Argument(metavar="FILE | HEAD RELATION TAIL", help="A file of triples, or one.", show_default=False),
    ],
    out: Annotated[
        str | None, typer.Option(metavar="FILE", help="Where the scores of a file go; its ending says the format.")
    ] = None,
    probabilities: Likely = False,
    *,
    options: dict[str, Any],
    storage_options: StorageOptions = None,
    as_json: Json = False,
) -> None:
    """Scores of triples: how plausible each is, among those of its relation.

    \b
    Examples:
      distjoint score runs/joint dog hypernym animal
      distjoint score runs/joint triples.tsv --out scores.tsv --probabilities
    """
    from distjoint.storage import locate

    if len(triples) not in (1, 3):
        raise UsageError(f"{len(triples)} arguments after RUN: give a file of triples, or HEAD RELATION TAIL")
    chosen = FileOptions(**options)
    result = _load(run, chosen)
    if len(triples) == 1:
        from distjoint.results.batch import score_file

        if out is None:
            raise UsageError(f"{triples[0]}: give the file for its scores, --out FILE")
        more: dict[str, Any] = {"probabilities": probabilities, "progress": progress()}
        with interruptible(_AGAIN):
            tally = score_file(result, locate(triples[0]), locate(out), chosen, **more)
        _say_tally(tally, out, as_json)
        return
    if out is not None:
        raise UsageError("--out: is for a file of triples; the score of one is printed")
    found = {"score": result.score(*triples)}
    if probabilities:
        import numpy as np

        found["probability"] = float(result.graph.calibration.probability(np.array([found["score"]]))[0])
    typer.echo(json.dumps(found) if as_json else "  ".join(f"{name} {value:.4f}" for name, value in found.items()))


def _say_tally(tally: AnswerTally, out: str | None, as_json: bool) -> None:
    """Print what a file of questions came to."""
    if as_json:
        typer.echo(json.dumps({"out": out, **tally.to_dict()}, indent=2))
        return
    typer.echo(f"{out}: {tally.answers:,} answers to {tally.questions:,} questions")
    for note in tally.notes:
        typer.echo(f"  {note}", err=True)


@options_of(LoadOptions)
def explain(
    run: Run,
    head: Annotated[str, typer.Argument(metavar="HEAD", help="An entity, by id, label or word.", show_default=False)],
    relation: Annotated[str, typer.Argument(metavar="RELATION", help="The relation's name.", show_default=False)],
    tail: Annotated[str, typer.Argument(metavar="TAIL", help="An entity, likewise.", show_default=False)],
    top: Annotated[
        int, typer.Option("-k", "--top", metavar="N", min=0, help="Words of each end that are told apart.")
    ] = 8,
    *,
    options: dict[str, Any],
    storage_options: StorageOptions = None,
    as_json: Json = False,
) -> None:
    """Why a triple has its score: what the parts of its ends, and the words of their texts, add to it.

    The score is taken apart twice, by its head and by its tail; either time the shares add up to it.

    \b
    Example:
      distjoint explain runs/described dog hypernym animal
    """
    print_result(_load(run, LoadOptions(**options)).explain(head, relation, tail, top), as_json)


@options_of(LoadOptions)
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
    *,
    options: dict[str, Any],
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
    notes: list[str] = []
    result = _load(run, LoadOptions(**options))
    written = result.export(out, form, kind=kind, vectors=vectors, binary=binary, say=notes.append)
    if as_json:
        typer.echo(json.dumps({"out": out, "format": form, "vectors": written, "notes": notes}, indent=2))
        return
    typer.echo(f"{out}: {written:,} vectors")
    for note in notes:
        typer.echo(f"  {note}", err=True)


def _load(run: str, options: LoadOptions) -> Embeddings:
    import distjoint

    return distjoint.load(run, dataset=options.dataset, memory=options.memory, progress=progress())


def _refuse_both(out: str | None, *others: object) -> None:
    if out is None:
        raise UsageError("--queries: give the file for the answers, --out FILE")
    if any(other is not None for other in others):
        raise UsageError("--queries asks many questions; leave out the single one")
