"""The command line: parses, calls the public functions, prints. No logic, and no heavy import before it is needed.

An error is one line on standard error and an exit code: 2 for what was asked wrongly, 1 for what went wrong, 130
for Ctrl-C, 143 for SIGTERM. What is printed for people goes through rich; `--json` prints one JSON document instead.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn

import typer
from typer.core import TyperCommand

from distjoint.cli_doctor import doctor
from distjoint.cli_jobs import job_app, submit
from distjoint.cli_recipes import recipes
from distjoint.errors import DistjointError, UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from distjoint.progress import Progress

WIDTH = 160
"""Columns of a table that does not go to a terminal."""

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
config_app = typer.Typer()
app.add_typer(config_app, name="config")


class _Several(TyperCommand):
    """An option that may be repeated also takes several words, as a shell makes of `--similarity sets/*.txt`.

    Words after such an option belong to it, once the command's own arguments have begun.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        options = {name: param for param in self.params for name in (*param.opts, *param.secondary_opts)}
        arguments = [param for param in self.params if param.param_type_name == "argument"]
        expanded: list[str] = []
        option, taken, begun = "", 0, not arguments
        for word in args:
            param = options.get(option)
            if word.startswith("-") and len(word) > 1:
                option, taken = word.partition("=")[0], "=" in word
            elif param is not None and not getattr(param, "is_flag", False) and (begun or not taken):
                if taken and getattr(param, "multiple", False):
                    expanded.append(option)
                taken += 1
            else:
                option, begun = "", True
            expanded.append(word)
        return super().parse_args(ctx, expanded)


def _use_storage(given: list[str] | None) -> None:
    from distjoint.storage import parse_options, use_options

    use_options(parse_options(given or ()))


StorageOptions = Annotated[
    list[str] | None,
    typer.Option(
        metavar="KEY=VALUE",
        callback=_use_storage,
        expose_value=False,
        help="For URLs: endpoint_url, profile, key ..., or a JSON object; may be repeated. Or set the AWS environment.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document, for machines.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what is at --out.")]
Workers = Annotated[int, typer.Option(metavar="N", min=1, help="1 runs in this process; more run on Ray.")]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="A key of the configuration, like model.dim=100; may be repeated."),
]
Run = Annotated[str, typer.Argument(metavar="RUN", help="Folder or URL of a run.", show_default=False)]
LinkPrediction = Annotated[
    Literal["valid", "test"] | None, typer.Option(help="Rank the answers to the triples of this split.")
]
Similarity = Annotated[
    list[str] | None, typer.Option(metavar="FILE...", help="Word pairs with scores by people; files or globs.")
]
Analogies = Annotated[
    list[str] | None, typer.Option(metavar="FILE...", help="Questions a : b = c : d; files, globs or folders.")
]
Standardize = Annotated[
    bool, typer.Option("--standardize/--raw", help="Standardise the columns of word vectors first, or not.")
]
Vectors = Annotated[
    Literal["word", "entity"] | None,
    typer.Option(help="Which vectors stand for words; by default their own where text was trained."),
]
Count = Annotated[int, typer.Option("-k", metavar="N", min=1, help="How many.")]


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context, version: Annotated[bool, typer.Option("--version", help="Say which.")] = False
) -> None:
    """One table of vectors for the entities of a knowledge graph and the words of a text."""
    if version:
        import distjoint

        typer.echo(f"distjoint {distjoint.__version__}")
    elif context.invoked_subcommand is None:
        typer.echo(context.get_help())


@config_app.callback(invoke_without_command=True)
def _config(context: typer.Context) -> None:
    """The configuration of a run: show, validate, schema."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@app.command(cls=_Several)
def prepare(
    out: Annotated[
        str, typer.Option(metavar="DATASET", help="Folder or URL of the dataset to make.", show_default=False)
    ],
    corpus: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE...", help="Text files, globs or folders: plain, .gz, .zst, .xz, .bz2, .jsonl, .parquet."
        ),
    ] = None,
    graph: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER", help="A benchmark as it was published: FB15k-237, WN18RR, YAGO3-10, CoDEx, OpenKE's."
        ),
    ] = None,
    triples: Annotated[str | None, typer.Option(metavar="FILE", help="Training triples: TSV, CSV or Parquet.")] = None,
    valid: Annotated[str | None, typer.Option(metavar="FILE", help="Validation triples.")] = None,
    test: Annotated[str | None, typer.Option(metavar="FILE", help="Test triples.")] = None,
    valid_negatives: Annotated[
        str | None, typer.Option(metavar="FILE", help="Triples known to be wrong, for 'evaluate --classify'.")
    ] = None,
    test_negatives: Annotated[str | None, typer.Option(metavar="FILE", help="The same for the test split.")] = None,
    types: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Types of entities, for 'evaluate --typed': TSV of entity, type; or JSON."),
    ] = None,
    labels: Annotated[
        str | None, typer.Option(metavar="FILE", help="TSV of: entity, label, any number of aliases.")
    ] = None,
    align: Annotated[
        str, typer.Option(metavar="auto|none|FILE", help="auto, none, or a TSV file of: entity, word.")
    ] = "auto",
    align_ambiguous: Annotated[
        Literal["none", "most-frequent"], typer.Option(help="Who shares a row where several entities have one label.")
    ] = "none",
    shards: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Shards of the table; by default chosen by size.")
    ] = None,
    window: Annotated[
        int, typer.Option(metavar="N", min=1, help="Words to the left (and right) that count as context.")
    ] = 10,
    symmetric: Annotated[bool, typer.Option("--symmetric/--left-only", help="Contexts on both sides, or left.")] = True,
    min_count: Annotated[int, typer.Option(metavar="N", help="Rarer words are dropped.")] = 5,
    max_words: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Keep only so many words, the most frequent.")
    ] = None,
    tokenizer: Annotated[
        Literal["unicode", "whitespace"],
        typer.Option(help="Words in lower case, or what white space separates (already tokenised)."),
    ] = "unicode",
    memory: Annotated[str, typer.Option(metavar="SIZE", help="Memory for counting, like 2GB.")] = "2GB",
    workers: Workers = 1,
    valid_fraction: Annotated[
        float, typer.Option(metavar="SHARE", min=0, max=1, help="Share of --triples to hold out.")
    ] = 0.0,
    test_fraction: Annotated[
        float, typer.Option(metavar="SHARE", min=0, max=1, help="Share of --triples to hold out.")
    ] = 0.0,
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="Decides the split and the order of samples.")] = 0,
    text_field: Annotated[str, typer.Option(metavar="NAME", help="Field of JSON Lines that holds the text.")] = "text",
    text_column: Annotated[str, typer.Option(metavar="NAME", help="Column of Parquet that holds the text.")] = "text",
    triple_columns: Annotated[
        str | None, typer.Option(metavar="H,R,T", help="Columns of the triples, by name or by number from 0.")
    ] = None,
    overwrite: Overwrite = False,
    storage_options: StorageOptions = None,
    as_json: Json = False,
) -> None:
    """Turn raw text and triples into a dataset to train on. Text alone or triples alone will do.

    \b
    Examples:
      distjoint prepare --graph FB15k-237 --align none --out data/fb15k-237
      distjoint prepare --corpus 'text/*.txt.zst' --triples kg/train.txt --valid kg/valid.txt --test kg/test.txt \\
                        --labels kg/labels.tsv --out data/mine --min-count 5 --memory 2GB
    """
    import distjoint

    with _interruptible(f"{out} is not a complete dataset; run the same command again to make it"):
        summary = distjoint.prepare(
            out,
            corpus=corpus or (),
            graph=graph,
            triples=triples,
            valid=valid,
            test=test,
            valid_negatives=valid_negatives,
            test_negatives=test_negatives,
            types=types,
            labels=labels,
            align=align,
            align_ambiguous=align_ambiguous,
            shards=shards,
            window=window,
            symmetric=symmetric,
            min_count=min_count,
            max_words=max_words,
            tokenizer=tokenizer,
            memory=memory,
            workers=workers,
            valid_fraction=valid_fraction,
            test_fraction=test_fraction,
            seed=seed,
            text_field=text_field,
            text_column=text_column,
            triple_columns=triple_columns.split(",") if triple_columns else None,
            overwrite=overwrite,
            progress=_progress(),
        )
    _print(summary, as_json)
    _next(as_json, f"distjoint train {out} --out RUN")


@app.command()
def train(
    dataset: Annotated[
        str | None, typer.Argument(metavar="DATASET", help="What 'prepare' made.", show_default=False)
    ] = None,
    out: Annotated[str | None, typer.Option(metavar="RUN", help="Folder or URL of the run.")] = None,
    config: Annotated[str | None, typer.Option(metavar="FILE", help="YAML file; see 'distjoint config show'.")] = None,
    recipe: Annotated[str | None, typer.Option(metavar="NAME", help="One of 'distjoint recipes'.")] = None,
    any_graph: Annotated[
        bool, typer.Option("--any-graph", help="Take the recipe though it is for another graph.")
    ] = False,
    settings: Settings = None,
    init: Annotated[
        str | None,
        typer.Option(
            metavar="VECTORS", help="Begin with these, by name: GloVe's text, word2vec's, or exported safetensors."
        ),
    ] = None,
    workers: Workers = 1,
    resume: Annotated[str | None, typer.Option(metavar="RUN", help="Continue this run; takes nothing else.")] = None,
    go_on: Annotated[
        bool,
        typer.Option("--continue", help="Continue the run at --out if there is one: for jobs that are retried."),
    ] = False,
    overwrite: Overwrite = False,
    storage_options: StorageOptions = None,
    as_json: Json = False,
) -> None:
    """Train vectors: words, entities or both together.

    \b
    Examples:
      distjoint train data/mine --out runs/joint --set model.dim=100 --set loss.alpha=0.5
      distjoint train data/mine --out runs/glove --set loss.alpha=0
      distjoint train data/wn18rr --out runs/wn18rr --recipe wn18rr-complex --set model.dim=400
      distjoint train data/mine --out runs/more --init glove.6B.100d.txt --set train.freeze=words,contexts
      distjoint train --resume runs/joint
    """
    import distjoint
    from distjoint.config import parse_settings

    if resume is not None:
        if dataset or out or config or recipe or any_graph or settings or init or overwrite or go_on:
            raise UsageError("--resume RUN continues with the run's own dataset and configuration; give nothing else")
        run = resume
        arguments: tuple[Any, ...] = (None, run, None)
    elif dataset is None or out is None:
        raise UsageError("say what to train and where: distjoint train DATASET --out RUN, or --resume RUN")
    else:
        run = out
        overrides = parse_settings(settings or ()) | ({"train.init": init} if init else {})
        checked = distjoint.load_config(config, overrides, recipe=recipe)
        arguments = (dataset, run, overrides if recipe else checked)
    with _interruptible(f"continue with: distjoint train --resume {run}"):
        result = distjoint.train(
            *arguments,
            recipe=recipe,
            any_graph=any_graph,
            workers=workers,
            resume=resume is not None,
            go_on=go_on,
            overwrite=overwrite,
            progress=_progress(),
        )
    _print(result, as_json)
    _next(as_json, f"distjoint evaluate {run} --link-prediction test", f"distjoint nearest {run} NAME")


@app.command(cls=_Several)
def evaluate(
    run: Run,
    link_prediction: LinkPrediction = None,
    by: Annotated[
        list[str] | None,
        typer.Option(
            metavar="relation|category|degree",
            help="Link prediction by relation, its category (1-1 to N-N) or the answer's degree; may be repeated.",
        ),
    ] = None,
    ties: Annotated[
        Literal["realistic", "optimistic", "pessimistic"],
        typer.Option(help="The rank shown for answers that tie: their mean, the first or the last; JSON has all."),
    ] = "realistic",
    sample_candidates: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Rank each answer among N drawn entities, not among all.")
    ] = None,
    sample_triples: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Rank N drawn triples of the split, not all.")
    ] = None,
    typed: Annotated[
        bool, typer.Option("--typed", help="Leave out candidates that the types of the relation do not allow.")
    ] = False,
    classify: Annotated[
        bool, typer.Option("--classify", help="Take test triples and given negatives for right or wrong.")
    ] = False,
    similarity: Similarity = None,
    analogies: Analogies = None,
    standardize: Standardize = True,
    vectors: Vectors = None,
    memory: Annotated[str, typer.Option(metavar="SIZE", help="Memory for vectors and scores, like 2GB.")] = "1GB",
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="Decides what is drawn.")] = 0,
    dataset: Annotated[
        str | None, typer.Option(metavar="DATASET", help="Where the dataset lies now, if moved.")
    ] = None,
    storage_options: StorageOptions = None,
    as_json: Json = False,
) -> None:
    """Measure a run: link prediction, triple classification, word similarity, analogies.

    \b
    Examples:
      distjoint evaluate runs/joint --link-prediction test --similarity sets/*.txt --analogies questions/
      distjoint evaluate runs/joint --link-prediction test --by category --by degree
    """
    import distjoint
    from distjoint.storage import locate

    report = distjoint.evaluate(
        run,
        link_prediction=link_prediction,
        by=by or (),
        ties=ties,
        sample_candidates=sample_candidates,
        sample_triples=sample_triples,
        typed=typed,
        classify=classify,
        similarity=similarity or (),
        analogies=analogies or (),
        standardize=standardize,
        vectors=vectors,
        memory=memory,
        seed=seed,
        dataset=dataset,
        progress=_progress(),
    )
    report.save(locate(run))
    _print(report, as_json)


@app.command(cls=_Several)
def compare(
    runs: Annotated[list[str], typer.Argument(metavar="RUN...", help="Two runs or more.", show_default=False)],
    link_prediction: LinkPrediction = None,
    similarity: Similarity = None,
    analogies: Analogies = None,
    standardize: Standardize = True,
    vectors: Vectors = None,
    storage_options: StorageOptions = None,
    as_json: Json = False,
) -> None:
    """Measure runs side by side.

    Differences to the first run come with paired bootstrap intervals. Without sets, what 'evaluate' found before.

    \b
    Examples:
      distjoint compare runs/glove runs/kge runs/joint
      distjoint compare runs/glove runs/joint --similarity sets/*.txt
    """
    import distjoint

    comparison = distjoint.compare(
        runs,
        link_prediction=link_prediction,
        similarity=similarity or (),
        analogies=analogies or (),
        standardize=standardize,
        vectors=vectors,
        progress=_progress(),
    )
    _print(comparison, as_json)


@app.command()
def nearest(
    run: Run,
    name: Annotated[str, typer.Argument(metavar="NAME", help="A word, an entity or its label.", show_default=False)],
    count: Count = 10,
    of: Annotated[
        Literal["word", "entity"] | None, typer.Option(help="Which vector of a name that has two; both by default.")
    ] = None,
    to: Annotated[
        Literal["word", "entity"] | None, typer.Option("--kind", help="Only neighbours of this kind.")
    ] = None,
    storage_options: StorageOptions = None,
    as_json: Json = False,
) -> None:
    """The nearest neighbours of a word or an entity.

    \b
    Example:
      distjoint nearest runs/joint bank -k 10
    """
    import distjoint

    result = distjoint.load(run)
    # An aligned name has two vectors; an unknown one is named by the look-up itself.
    kinds: list[Any] = [of] if of else result.kinds(name) or [None]
    answers = {kind: [asdict(near) for near in result.nearest(name, count, kind=to, of=kind)] for kind in kinds}
    if as_json:
        typer.echo(json.dumps(answers, indent=2))
        return
    for kind, rows in answers.items():
        _print_rows(f"{kind} {name}", rows)


@app.command()
def predict(
    run: Run,
    relation: Annotated[str, typer.Option(metavar="NAME", help="The relation's name.", show_default=False)],
    head: Annotated[str | None, typer.Option(metavar="NAME", help="The entity it starts from; predicts tails.")] = None,
    tail: Annotated[str | None, typer.Option(metavar="NAME", help="The entity it leads to; predicts heads.")] = None,
    count: Count = 10,
    known: Annotated[
        Literal["exclude", "include"], typer.Option(help="Triples of the dataset: left out, or marked.")
    ] = "exclude",
    storage_options: StorageOptions = None,
    as_json: Json = False,
) -> None:
    """The most plausible tails or heads of a relation.

    \b
    Example:
      distjoint predict runs/joint --head dog --relation hypernym -k 10
    """
    import distjoint

    answers = distjoint.load(run).predict(head=head, relation=relation, tail=tail, k=count, known=known)
    rows = [asdict(answer) for answer in answers]
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
    else:
        _print_rows(f"{head or '?'}  {relation}  {tail or '?'}", rows)


@app.command()
def export(
    run: Run,
    out: Annotated[str, typer.Option(metavar="FILE", help="File or URL to write.", show_default=False)],
    form: Annotated[
        Literal["glove", "word2vec", "parquet", "safetensors"],
        typer.Option("--format", help="glove and word2vec are text, the latter with a header."),
    ] = "glove",
    kind: Annotated[Literal["word", "entity"] | None, typer.Option(help="Only words, or only entities.")] = None,
    storage_options: StorageOptions = None,
) -> None:
    """Write the vectors for other programs.

    \b
    Example:
      distjoint export runs/joint --format word2vec --out vectors.txt --kind word
    """
    import distjoint

    written = distjoint.load(run).export(out, form, kind=kind)
    typer.echo(f"{out}: {written:,} vectors")


@app.command()
def demo(
    out: Annotated[str, typer.Option(metavar="DIR", help="Folder or URL for the demo's data and runs.")] = "demo",
    workers: Workers = 1,
    settings: Settings = None,
    storage_options: StorageOptions = None,
) -> None:
    """Train on WordNet and compare. About three minutes.

    GloVe alone, the graph alone, and both together.

    \b
    Examples:
      distjoint demo --out demo
      distjoint submit -- demo --out s3://bucket/demo --workers 2
    """
    from distjoint.demo import run

    with _interruptible(f"run it again with: distjoint demo --out {out}"):
        run(out, _console(), _progress(), workers, settings or ())


app.command()(doctor)
app.command()(recipes)
app.command()(submit)
app.add_typer(job_app, name="job")


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
    from distjoint.config import load_config

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
    from distjoint.config import load_config

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


def main() -> NoReturn:
    """The entry point: any error a user is meant to read is one line and an exit code."""
    # Torch's threads spin while they wait, at the cost of whatever shares the cores: two trainings side by side on
    # 2 cores do 50 k triples/s together, and 70 k when waiting threads sleep; one alone is as fast either way.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    try:
        sys.exit(app(standalone_mode=False) or 0)
    except DistjointError as error:
        _fail(str(error), error.exit_code)
    except OSError as error:
        if isinstance(error, BrokenPipeError):  # `distjoint ... | head`
            sys.stderr.close()
            sys.exit(1)
        _fail(str(error), 1)
    except Exception as error:
        message = getattr(error, "format_message", None)  # of the command line's own errors
        if message is None:
            raise
        context = getattr(error, "ctx", None)
        hint = f"; see '{context.command_path} --help'" if context is not None else ""
        _fail(message().rstrip(".") + hint, 2)


def _fail(message: str, code: int) -> NoReturn:
    print(f"distjoint: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(code)


class _InterruptedError(DistjointError):
    def __init__(self, message: str, by: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + by


@contextmanager
def _interruptible(hint: str) -> Iterator[None]:
    """Make Ctrl-C, and the signal of a machine or a job that is to end, one line that says how to go on."""

    def end(number: int, _: object) -> NoReturn:
        raise KeyboardInterrupt(number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    except KeyboardInterrupt as error:
        by = int(error.args[0]) if error.args else signal.SIGINT
        raise _InterruptedError(f"{'interrupted' if by == signal.SIGINT else 'stopped'}; {hint}", by) from error
    finally:
        signal.signal(signal.SIGTERM, before)


def _progress() -> Progress:
    from distjoint.progress import for_terminal

    return for_terminal()


def _print(result: Any, as_json: bool) -> None:
    """What a command has made: as a table for people, as its `to_dict()` for machines."""
    if as_json:
        typer.echo(json.dumps(result.to_dict(), indent=2))
    else:
        _console().print(result)


def _print_rows(title: str, rows: list[dict[str, Any]]) -> None:
    """Neighbours or predictions: a line each, only the columns that say something."""
    from rich.table import Table

    columns = [column for column in (rows[0] if rows else ()) if any(row[column] not in (None, False) for row in rows)]
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for column in columns:
        table.add_column(column)
    for row in rows:
        table.add_row(
            *(f"{value:.3f}" if isinstance(value := row[column], float) else str(value) for column in columns)
        )
    _console().print(table)


def _console() -> Console:
    """Standard output; wide where it is a file or a pipe, so that no table is cut."""
    from rich.console import Console

    return Console(highlight=False, width=None if sys.stdout.isatty() else WIDTH)


def _next(as_json: bool, *commands: str) -> None:
    if not as_json:
        typer.echo("Next:\n" + "\n".join(f"  {command}" for command in commands))
