"""Options declared once: the function, the command and the record that come of them, and what is refused."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import FrozenInstanceError, fields, replace
from pathlib import Path
from typing import Any, Literal

import pytest
import typer
from typer.testing import CliRunner

import distjoint
from distjoint.base.errors import UsageError
from distjoint.base.options import CallOptions, keywords, like, option, options, spec_of, type_of
from distjoint.cli.options import options_of
from distjoint.data.request import PrepareOptions
from distjoint.evaluate.options import CompareOptions, EvaluateOptions
from distjoint.train.options import TrainOptions

pytestmark = pytest.mark.unit

MODELS = {
    "prepare": PrepareOptions,
    "train": TrainOptions,
    "evaluate": EvaluateOptions,
    "compare": CompareOptions,
}


@options
class BakeOptions(CallOptions):
    """Options of `bake`."""

    what: str = option("What to bake.", metavar="CAKE", argument=True, kw_only=False)
    minutes: int = option("How long.", default=40, min=1, max=90, metavar="N")
    with_: Sequence[str] = option("What goes in; may be repeated.", default=(), flag="--with", metavar="FRUIT")
    size: str | int = option("Weight, like 2kg.", default="1kg", doc="Weight: `2kg`, or grams.")
    hot: bool = option("Serve hot, or not.", default=False, flag="--hot/--cold")
    glaze: bool = option("Glaze it.", default=False)
    shape: Literal["round", "square"] | None = option("Of the tin.", default=None)
    corners: str | Sequence[str] | None = option("Names of corners.", default=None, separator=",")
    secret: Mapping[str, Any] | None = option("Of the cook.", default=None, command=False, recorded=False)

    def check(self) -> None:
        if self.corners and self.shape == "round":
            raise UsageError("--corners: a round tin has none")


@options
class CutOptions(CallOptions):
    """Options of another function, one of which is the same."""

    minutes: int = like(BakeOptions, "minutes", default=5, command=False)


@keywords(BakeOptions)
def bake(options: BakeOptions) -> BakeOptions:
    """Bake a cake.

    {parameters}

    raises UsageError
    """
    return options


def test_the_function_shows_its_options_as_arguments() -> None:
    signature = inspect.signature(bake)
    assert list(signature.parameters) == [each.name for each in fields(BakeOptions)]
    kinds = {name: parameter.kind for name, parameter in signature.parameters.items()}
    assert kinds["what"] is inspect.Parameter.POSITIONAL_OR_KEYWORD
    assert kinds["minutes"] is inspect.Parameter.KEYWORD_ONLY
    assert signature.parameters["what"].default is inspect.Parameter.empty
    assert signature.parameters["minutes"].default == 40
    assert signature.return_annotation == "BakeOptions"
    doc = inspect.getdoc(bake)
    assert doc and doc.startswith("Bake a cake.\n\nwhat     What to bake.\nminutes  How long.\n")
    assert "size     Weight: `2kg`, or grams." in doc and doc.endswith("raises UsageError")


def test_the_function_gets_a_checked_and_frozen_object() -> None:
    made = bake("tart", minutes=10, with_=["plum"], size=500)
    assert made == BakeOptions("tart", minutes=10, with_=("plum",), size=500)
    assert bake("tart", with_=(name for name in "ab")).with_ == ("a", "b")  # type: ignore[arg-type]
    assert bake(Path("tart"), with_="plum").with_ == ("plum",)  # type: ignore[arg-type]
    assert bake("tart", with_=[Path("plum")]).with_ == ("plum",)  # type: ignore[list-item]
    assert hash(made) == hash(replace(made))
    with pytest.raises(FrozenInstanceError):
        made.minutes = 5  # type: ignore[misc]
    with pytest.raises(UsageError, match="--minutes"):
        replace(made, minutes=0)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"minuts": 3}, "bake: no option 'minuts'; did you mean 'minutes'?"),
        ({"xyz": 3}, "bake: no option 'xyz'; it takes what, minutes, with_"),
        ({"minutes": 0}, "--minutes is 0; it must be at least 1"),
        ({"minutes": 91}, "--minutes is 91; it must be at most 90"),
        ({"minutes": "long"}, "--minutes is 'long'; it must be a valid integer"),
        ({"with_": 3}, "--with is 3; it must be"),
        ({"shape": "oval"}, "--shape is 'oval'; it must be 'round' or 'square'"),
        ({"size": []}, "--size is []; it must be a valid string or a valid integer"),
        ({"corners": 3}, "--corners is 3; it must be a valid string or a sequence"),
        ({"hot": "perhaps"}, "--hot is 'perhaps'; it must be a valid boolean"),
        ({"corners": ["a"], "shape": "round"}, "--corners: a round tin has none"),
    ],
)
def test_what_cannot_be_meant_is_named(given: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError) as caught:
        bake("tart", **given)
    assert says in str(caught.value)


def test_a_missing_argument_is_the_mistake_that_python_makes_of_it() -> None:
    with pytest.raises(TypeError, match="missing a required argument: 'what'"):
        bake()  # type: ignore[call-arg]


def test_the_record_leaves_out_what_is_not_to_be_recorded() -> None:
    record = BakeOptions("tart", secret={"key": "x"}).record()
    assert list(record) == [each.name for each in fields(BakeOptions) if each.name != "secret"]


def test_an_option_may_mean_the_same_elsewhere() -> None:
    (minutes,) = fields(CutOptions)
    assert (spec_of(minutes).help, spec_of(minutes).command, CutOptions().minutes) == ("How long.", False, 5)
    with pytest.raises(UsageError, match="--minutes is 0"):
        CutOptions(minutes=0)


@pytest.fixture
def command() -> tuple[typer.Typer, list[dict[str, Any]]]:
    """A command with the options of `bake`, and what it was called with."""
    app, calls = typer.Typer(rich_markup_mode=None, add_completion=False), []

    @options_of(BakeOptions)
    def bake_it(*, what: str, options: dict[str, Any], glaze: bool, loud: bool = False) -> None:
        """Bake a cake."""
        calls.append({"what": what, "glaze": glaze, "loud": loud, **options})

    app.command()(bake_it)
    return app, calls


def test_the_command_has_the_options_of_the_function(command: tuple[typer.Typer, list[dict[str, Any]]]) -> None:
    app, calls = command
    shown = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "120"}).output
    flags = [line.split()[0] for line in shown.partition("Options:")[2].splitlines() if line.startswith("  --")]
    assert flags[:-1] == ["--minutes", "--with", "--size", "--hot", "--shape", "--corners", "--glaze", "--loud"]
    for text in (
        "How long.  [default: 40; 1<=x<=90]",
        "--with FRUIT",
        "--hot / --cold",
        "CAKE",
        "--glaze ",
        "Names of",
    ):
        assert text in shown
    assert "--secret" not in shown and "--no-glaze" not in shown

    line = "tart --minutes 3 --with plum --with pear --hot --corners a,b --size 2kg"
    assert CliRunner().invoke(app, line.split()).exit_code == 0
    assert CliRunner().invoke(app, ["tart"]).exit_code == 0
    common = {"what": "tart", "glaze": False, "loud": False, "shape": None}
    assert calls == [
        {**common, "minutes": 3, "with_": ["plum", "pear"], "hot": True, "corners": ["a", "b"], "size": "2kg"},
        {**common, "minutes": 40, "with_": (), "hot": False, "corners": None, "size": "1kg"},
    ]
    assert [bake(**{k: v for k, v in call.items() if k != "loud"}).corners for call in calls] == [("a", "b"), None]
    assert CliRunner().invoke(app, ["tart", "--minutes", "0"]).exit_code == 2


@pytest.mark.parametrize("name", MODELS)
def test_public_functions_have_the_signature_of_their_options(name: str) -> None:
    model, function = MODELS[name], getattr(distjoint, name)
    signature = inspect.signature(function)
    assert list(signature.parameters) == [each.name for each in fields(model)]
    assert all(f"\n{each.name} " in inspect.getdoc(function) for each in fields(model))
    with pytest.raises(UsageError, match=f"{name}: no option 'storage_option'; did you mean 'storage_options'"):
        function("somewhere", storage_option={})


@pytest.mark.parametrize("name", MODELS)
def test_every_default_is_of_its_type_and_every_option_is_explained(name: str) -> None:
    for each in fields(MODELS[name]):
        assert spec_of(each).help.endswith(".")
        if spec_of(each).checked:
            type_of(MODELS[name], each.name)
    MODELS[name](*[["a", "b"] if name == "compare" else "a"], **({"corpus": "a"} if name == "prepare" else {}))


def test_the_order_of_a_manifests_options_is_that_of_the_first_ones() -> None:
    record = PrepareOptions("out", corpus="a.txt", memory="1KB", storage_options={"key": "secret"}).record()
    assert list(record) == [
        *("corpus", "labels", "types", "align", "align_ambiguous", "window", "symmetric", "min_count", "max_words"),
        *("tokenizer", "memory", "seed", "text_field", "text_column", "triple_columns"),
        *("triples", "valid", "test", "valid_negatives", "test_negatives", "valid_fraction", "test_fraction"),
        *(
            "descriptions",
            "description_columns",
            "name_before",
            "read_descriptions",
            "name_weight",
            "early_weight",
            "gram_weight",
        ),
        *("gram_entities", "unseen_fraction", "unseen", "format", "language", "skip_errors"),
        *("header", "relation", "weight_column", "nfc", "encoding", "type_columns"),
    ]
    assert (record["corpus"], record["memory"]) == (("a.txt",), 1000)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({}, "nothing to prepare: give text with --corpus, a graph with --triples or --graph, or both"),
        ({"test": "t"}, "or both; --test alone is not enough"),
        ({"corpus": "c", "valid_negatives": "v"}, "--valid-negatives belongs to a graph; give its triples"),
        ({"corpus": "c", "labels": "l"}, "--labels belongs to a graph"),
        ({"corpus": "c", "min_count": 0}, "--min-count is 0; it must be at least 1"),
        ({"corpus": "c", "memory": "0"}, "--memory is 0; it must be at least 1"),
        ({"corpus": "c", "memory": "much"}, "--memory: "),
        ({"corpus": "c", "window": 0}, "--window is 0; it must be at least 1"),
        ({"corpus": "c", "tokenizer": "x"}, "--tokenizer is 'x'; choose uax29, whitespace, icu, unicode"),
        ({"graph": "g", "align": "pairs.tsv"}, "--align pairs.tsv pairs entities with words; it needs --corpus"),
    ],
)
def test_prepare_refuses_what_cannot_be_meant(given: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError) as caught:
        distjoint.prepare("out", **given)
    assert says in str(caught.value)
