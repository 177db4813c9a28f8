"""Recipes: each is a valid configuration with a header, and is refused for another graph than its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from small import Small, config, info
from test_cli_way import call  # noqa: F401 - a fixture
from test_prepare_continue import Said

import distjoint
from distjoint.base.errors import UsageError
from distjoint.config import Config, validate
from distjoint.recipes import ANY, Recipe, find, recipes
from distjoint.recipes.load import load_config
from distjoint.train import train

pytestmark = pytest.mark.unit

SCORERS = ("transe", "distmult", "complex", "rotate")
NAMES = {f"{graph}-{scorer}" for graph in ("fb15k-237", "wn18rr") for scorer in SCORERS} | {
    *("codex-m-complex", "fb15k-237-joint", "wn18rr-joint", "wordnet-joint"),
    *SCORERS,
}
JOINT = {"fb15k-237-joint": "complex", "wn18rr-joint": "rotate", "wordnet-joint": "rotate"}
COUNTS = {
    "FB15k-237": (14541, 237, 272115),
    "WN18RR": (40943, 11, 86835),
    "CoDEx-M": (17050, 51, 185584),
    "WordNet": (117659, 16, 212035),
}


def test_all_are_there() -> None:
    assert set(recipes()) == NAMES


@pytest.mark.parametrize("name", sorted(NAMES))
def test_each_is_a_configuration_of_its_scorer(name: str, tmp_path: Path) -> None:
    recipe = find(name)
    made = validate(recipe.settings(), name)
    assert made.model.scorer == JOINT.get(name, name.rpartition("-")[2])
    assert made == load_config(recipe=name) != Config()
    (tmp_path / "mine.yaml").write_text(recipe.text)  # what is printed can be given to --config
    assert load_config(str(tmp_path / "mine.yaml")) == made


@pytest.mark.parametrize("name", sorted(NAMES))
def test_each_says_which_graph_it_is_for_and_what_was_published(name: str) -> None:
    recipe = find(name)
    assert recipe.title.endswith(".") and recipe.paper and recipe.reaches
    assert (recipe.graph == ANY) == (name in SCORERS) == (not recipe.counts)
    if recipe.counts:
        assert recipe.name.startswith(recipe.graph.lower())
        assert tuple(recipe.counts.values()) == COUNTS[recipe.graph]
        assert "valid" in recipe.text


def test_overrides_go_on_top_and_a_file_excludes_it(tmp_path: Path) -> None:
    made = load_config(overrides=["model.dim=20"], recipe="complex")
    assert (made.model.dim, made.model.scorer, made.graph.candidates) == (20, "complex", "1vsall")
    (tmp_path / "c.yaml").write_text("model: {dim: 20}")
    with pytest.raises(UsageError, match=r"c\.yaml and --recipe complex: give one of the two"):
        load_config(str(tmp_path / "c.yaml"), recipe="complex")
    with pytest.raises(UsageError, match=r"complex: model = .* dim must be even, not 31"):
        load_config(overrides={"model.dim": 31, "model.cosine": False}, recipe="complex")


@pytest.mark.parametrize("name", ["../complex", "/etc/passwd", "complex.yaml", "", "zzz", "wn18rr-complx"])
def test_an_unknown_name_is_no_path(name: str) -> None:
    with pytest.raises(UsageError, match=r"no recipe .*'distjoint recipes' lists them"):
        find(name)


def counts(entities: int, relations: int, triples: int) -> dict[str, int]:
    return {"entities": entities, "relations": relations, "triples/train": triples}


@pytest.mark.parametrize(
    ("there", "error"),
    [
        ((40943, 11, 86835), None),
        ((41000, 11, 86835), None),  # with labels of entities that are in no triple
        ((40943, 11, 20000), False),
        ((40942, 11, 86835), True),
        ((40943, 12, 86835), True),
        ((0, 0, 0), True),
    ],
)
def test_another_graph_is_noticed_by_its_counts(there: tuple[int, int, int], error: bool | None) -> None:
    misfit = find("wn18rr-complex").misfit(counts(*there))
    assert (misfit and misfit[0]) == error
    if misfit:
        assert "wn18rr-complex is for WN18RR, which has 40,943 entities, 11 relations and 86,835 t" in misfit[1]
    assert find("complex").misfit(counts(*there)) is None


FEW = {"model.dim": 16, "train.epochs": 1, "train.validate_every": 0, "train.patience": 0, "train.threads": 1}


def test_a_recipe_for_another_graph_is_refused_unless_that_is_wanted(small: Small, tmp_path: Path) -> None:
    run = str(tmp_path / "run")
    with pytest.raises(UsageError, match=r"graph: recipe wn18rr-complex is for WN18RR.*; take recipe complex, .*--any"):
        train(small.graph, run, FEW, recipe="wn18rr-complex")
    assert not Path(run).exists()
    said = Said()
    train(small.graph, run, FEW, recipe="wn18rr-complex", any_graph=True, progress=said)
    assert "recipe wn18rr-complex is for WN18RR" in said
    assert (info(run)["config"]["model"]["scorer"], info(run)["config"]["model"]["dim"]) == ("complex", 16)
    with pytest.raises(UsageError, match="give what is to be other as a mapping"):
        train(small.graph, run, config(), recipe="complex")


@pytest.mark.parametrize("scorer", SCORERS)
def test_a_general_recipe_trains_any_graph(scorer: str, small: Small, tmp_path: Path) -> None:
    result = distjoint.train(small.graph, str(tmp_path / "run"), FEW, recipe=scorer, go_on=True)
    assert result.metrics["graph_loss"] > 0
    again = distjoint.train(small.graph, str(tmp_path / "run"), FEW, recipe=scorer, go_on=True)
    assert again.history == result.history


def test_the_command_lists_and_prints_them(call: Any) -> None:  # noqa: F811
    listed = call("recipes")
    assert all(name in listed for name in NAMES)
    assert {item["name"] for item in json.loads(call("recipes", "--json"))} == NAMES
    assert call("recipes", "wn18rr-rotate") == find("wn18rr-rotate").text
    told: dict[str, Any] = json.loads(call("recipes", "wn18rr-rotate", "--json"))
    assert (told["settings"]["model"]["scorer"], told["counts"]["relations"]) == ("rotate", 11)
    assert isinstance(find("rotate"), Recipe)
