"""The configuration: what is refused, in which words, and that what is written comes back."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError
from torch import Tensor

from distjoint.base.errors import DistjointError, UsageError
from distjoint.base.sizes import parse_bytes
from distjoint.config import Config
from distjoint.model.scorers.base import NO_DENSE, Dense, Scorer
from distjoint.recipes.load import load_config
from distjoint.registry import SCORERS, Registry

pytestmark = pytest.mark.unit


def test_keys_that_users_rely_on_keep_their_names() -> None:
    keys = "model.dim model.scorer model.coupling loss.alpha train.epochs train.lanes train.groups train.triple_passes"
    tree: Any = Config().model_dump()
    for key in [*keys.split(), "train.memory", "train.seed"]:
        section, name = key.split(".")
        assert name in tree[section]


@pytest.mark.parametrize("comments", [False, True])
def test_yaml_comes_back_as_it_was(comments: bool, tmp_path: Path) -> None:
    config = load_config(overrides=["model.dim=30", "train.memory=1.5GB", "loss.alpha=0.25", "model.scale=3"])
    file = tmp_path / "config.yaml"
    file.write_text(config.to_yaml(comments))
    assert load_config(str(file)) == config


def test_overrides_go_on_top_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("model: {dim: 20, scorer: complex}\n")
    config = load_config(str(file), {"model.dim": 40})
    assert (config.model.dim, config.model.scorer, config.train.epochs) == (40, "complex", Config().train.epochs)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (["model.dmi=3"], "unknown key 'model.dmi'; did you mean 'model.dim'?"),
        (["modle.dim=3"], "unknown key 'modle'; did you mean 'model'?"),
        (["zzz=3"], "unknown key 'zzz'; 'distjoint config show' lists the keys"),
        (["model.dim=ten"], "model.dim = 'ten'"),
        (["model.dim=1"], "model.dim = 1"),
        (["model.dim.x=1"], "model.dim"),
        (["model=3"], "model = 3"),
        (["model=3", "model.dim=3"], "model is not a section"),
        (["model.dim"], "section.key=value"),
        (["model.dim=[1"], "model.dim=[1"),
        (
            ["model.scorer=transh"],
            "config: model.scorer = 'transh': choose transe, distmult, complex, rotate, rescal, quate",
        ),
        (["model.coupling=glue"], "model.coupling = 'glue': choose none, tie, dual"),
        (["graph.loss=hinge"], "graph.loss = 'hinge': choose softmax, logistic, margin, adversarial"),
        (["graph.candidates=all"], "graph.candidates = 'all': choose sampled, 1vsall, kvsall"),
        (["graph.optimizer=sgd"], "graph.optimizer = 'sgd': choose adagrad, adam"),
        (["model.scorer=3"], "model.scorer = 3"),
        (["model.scorer=quate", "model.dim=30"], "4 reals, so dim must be a multiple of that, not 30"),
        (["model.norm=1"], "norm 1 is for the distance of transe; a cosine has none; set cosine to false"),
        (["model.norm=1", "model.cosine=false", "model.scorer=rotate"], "of transe; rotate has none to choose"),
        (["model.norm=1", "model.cosine=false", "model.scorer=complex"], "of transe; complex has none to choose"),
        (["graph.relation_weight=1", "model.scorer=complex"], "not complex as cosine"),
        (
            ["graph.relation_weight=1", "model.scorer=quate", "model.cosine=false"],
            "graph.relation_weight=1.0 needs a score that is linear in the relation: distmult, complex",
        ),
        (
            ["graph.candidates=kvsall", "graph.loss=margin"],
            "the loss margin is for sampled negatives; kvsall takes softmax or logistic",
        ),
        (["train.metric=hits"], "unknown key 'train.metric'"),
        (["model.scorer=rotate", "model.dim=31"], "dim must be even, not 31"),
        (["loss.alpha=1.5"], "less than or equal to 1"),
        (["loss.alpha=.nan"], "loss.alpha = nan"),
        (["graph.learning_rate=.inf"], "graph.learning_rate = inf"),
        (["text.learning_rate=0"], "greater than 0"),
        (["train.epochs=0"], "train.epochs = 0"),
        (["train.epochs=1.5"], "train.epochs = 1.5"),
        (["train.lanes=2", "train.groups=3"], "2 lanes need at least 4 groups, not 3"),
        (["train.memory=lots"], "'lots' is not a size; write it like 2GB or 500MB"),
        (["train.memory=1.2.3GB"], "'1.2.3GB' is not a size"),
        (["train.memory=-5"], "train.memory = -5"),
        (["train.patience=2"], "patience needs validations"),
        (["model.dim=1", "loss.alpha=2"], "; config: loss.alpha"),
    ],
)
def test_what_is_wrong_is_one_sentence_with_key_and_value(settings: list[str], says: str) -> None:
    with pytest.raises(UsageError) as caught:
        load_config(overrides=settings)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("model: [", ""),
        ("- 1\n- 2\n", ""),
        ("just text", ""),
        ("\x00", ""),
        ("model:\n\tdim: 8\n", "not YAML: line 2: found character"),
        ("train:\n  epochs: 3\nmodel:\n  dim: 8\ntrain:\n  seed: 1\n", "line 5: the key 'train' is there already"),
    ],
)
def test_a_file_that_is_not_a_configuration_is_named(text: str, says: str, tmp_path: Path) -> None:
    file = tmp_path / "wrong.yaml"
    file.write_text(text)
    with pytest.raises(UsageError, match=rf"wrong\.yaml: .*{says}"):
        load_config(str(file))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DistjointError, match=r"none\.yaml: no such file"):
        load_config(str(tmp_path / "none.yaml"))


def test_an_empty_file_is_the_defaults(tmp_path: Path) -> None:
    file = tmp_path / "empty.yaml"
    file.write_text("# nothing\n")
    assert load_config(str(file)) == Config()


def test_a_configuration_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Config().model.dim = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    ("text", "size"),
    [("2GB", 2 * 10**9), ("500M", 5 * 10**8), ("1.5 gb", 15 * 10**8), ("7", 7), (9, 9), ("3KiB", 3072), (None, None)],
)
def test_sizes(text: Any, size: int | None) -> None:
    assert parse_bytes(text) == size


def test_the_key_that_earlier_versions_had_is_dropped(tmp_path: Path) -> None:
    file = tmp_path / "old.yaml"
    file.write_text("train: {epochs: 2, metric: mrr}\n")
    config = load_config(str(file))
    assert config == load_config(overrides={"train.epochs": 2})
    assert "metric" not in config.to_yaml()


def test_importing_the_configuration_imports_no_scorer() -> None:
    code = (
        "import sys, distjoint.config as c\n"
        "c.Config().to_yaml(comments=True)\n"
        "assert 'torch' not in sys.modules\n"
        "sys.modules['torch'] = None  # whoever imports it fails\n"
        "c.validate({'model': {'dim': 30}})"
    )
    found = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert "ModuleNotFoundError: import of torch halted" in found.stderr
    assert "in validate" in found.stderr, "what is validated is asked of the scorer"


def test_a_class_that_is_added_can_be_named_and_is_asked_what_it_can() -> None:
    class Triplets(Scorer):
        name = "triplets"
        compare = "distance"
        multiple = 3
        invertible = False

        def query(self, entity: Tensor, relation: Tensor, dense: Dense = NO_DENSE) -> Tensor:
            return entity

    registry = Registry("scorer", "scorers", {"transe": "model.scorers.transe:TransE"})
    registry.add(Triplets)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SCORERS, "__dict__", registry.__dict__)
        assert load_config(overrides={"model.scorer": "triplets", "model.dim": 30}).model.scorer == "triplets"
        assert "One of transe, triplets." in Config().to_yaml(comments=True)
        assert Config.model_json_schema()["$defs"]["Model"]["properties"]["scorer"]["enum"] == ["transe", "triplets"]
        for settings, says in (
            ({"model.dim": 31}, "triplets makes a coordinate of 3 reals, so dim must be a multiple of that, not 31"),
            ({"model.dim": 30, "model.reciprocal": False}, "triplets reads no relation from tail to head"),
            ({"model.dim": 30, "model.cosine": False, "model.norm": 1}, "triplets has none to choose"),
        ):
            with pytest.raises(UsageError, match=says):
                load_config(overrides={"model.scorer": "triplets", **settings})


def test_options_of_the_optimizer_are_set_one_at_a_time(tmp_path: Path) -> None:
    settings = ["graph.optimizer=adam", "graph.optimizer_options.beta=0.8"]
    config = load_config(overrides=settings)
    assert config.graph.optimizer_options == {"beta": 0.8}
    (tmp_path / "adam.yaml").write_text(config.to_yaml(comments=True))
    assert load_config(str(tmp_path / "adam.yaml")) == config


def test_every_key_has_a_description() -> None:
    for section in Config.model_fields.values():
        for key, field in type(section.default).model_fields.items():
            assert field.description, key
    assert yaml.safe_load(Config().to_yaml())["train"]["lanes"] is None
