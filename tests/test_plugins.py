"""Scorers and losses that are not the package's: those that the docs show, TuckER, and how the registry finds them."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from small import Small, config, league
from torch import Tensor
from tucker import TuckER

import distjoint
from distjoint.base.errors import UsageError
from distjoint.model.losses import loss_of
from distjoint.model.scorers import Scorer, scorer
from distjoint.registry import ALL, LOSSES, SCORERS, load_plugins, plugin_modules

pytestmark = pytest.mark.unit

DOCS = Path(__file__).parent.parent / "docs/graph.md"
Install = Callable[..., None]


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """What a test adds is gone after it."""
    before, modules = [set(registry.names()) for registry in ALL], set(sys.modules)
    yield
    for registry, names in zip(ALL, before, strict=True):
        for name in set(registry.names()) - names:
            registry.remove(name)
    for module in {"hole", "bpr"} - modules:
        sys.modules.pop(module, None)


@pytest.fixture
def documented(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The modules that docs/graph.md shows, on the import path."""
    for code in re.findall(r"```python\n(.*?)```", DOCS.read_text(), re.DOTALL):
        if name := re.match(r"# (\w+\.py)\n", code):
            (tmp_path / name[1]).write_text(code)
    assert {path.name for path in tmp_path.glob("*.py")} == {"hole.py", "bpr.py"}
    monkeypatch.syspath_prepend(tmp_path)


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def correlation(head: Tensor, tail: Tensor) -> Tensor:
    """[k] is the sum over i of head[i] tail[i + k], the index modulo the width."""
    return torch.stack([(head * tail.roll(-k, -1)).sum(-1) for k in range(head.shape[-1])], -1)


@pytest.mark.usefixtures("documented")
@pytest.mark.parametrize("dim", [6, 7])
def test_the_scorer_of_the_docs_scores_as_its_paper_says(dim: int) -> None:
    load_plugins(["hole"])
    hole = scorer("hole")
    assert "hole" in SCORERS.names()
    assert plugin_modules() == ["hole"]
    head, relation, tail, gradient = (draw(5, dim, seed=seed) for seed in range(4))
    expected = (relation * correlation(head, tail)).sum(1)
    torch.testing.assert_close((hole.query(head, relation) * tail).sum(1), expected)
    torch.testing.assert_close((hole.query(tail, hole.inverse(relation)) * head).sum(1), expected)
    d_head, d_relation = hole.query_gradient(head, relation, gradient)
    torch.testing.assert_close(d_head, hole.query(gradient, hole.inverse(relation)))
    torch.testing.assert_close(d_relation, correlation(head, gradient))
    assert hole.initial_relations(3, dim, torch.Generator()).shape == (3, dim)
    assert hole.dense(dim, torch.Generator()) == hole.dense_gradient(head, relation, gradient, {}) == {}


@pytest.mark.usefixtures("documented")
def test_the_loss_of_the_docs_has_the_gradient_of_its_formula() -> None:
    load_plugins(["bpr"])
    loss = loss_of("bpr", margin=1.0, temperature=1.0)
    scores, weight = draw(2, 1, 3, 3), draw(1, 3, seed=1).abs()
    found, gradient, of_target = loss.sampled(scores, None, weight, None, lambda *_: torch.empty(0))
    apart = scores - scores.diagonal(dim1=-2, dim2=-1)[..., None]
    negative = 1 - torch.eye(3, dtype=torch.float64)
    torch.testing.assert_close(found, ((apart.exp().log1p() * negative).sum(-1) / 2 * weight).sum())
    share = apart.sigmoid() * negative / 2 * weight[..., None]
    torch.testing.assert_close(gradient, share - torch.diag_embed(share.sum(-1)))
    assert of_target is None
    assert "bpr" in LOSSES


@pytest.mark.usefixtures("documented")
def test_an_installed_package_is_found_by_its_entry_point(tmp_path: Path) -> None:
    assert "hole" not in SCORERS
    info = tmp_path / "hole-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: hole\nVersion: 1.0\n")
    entry = re.search(r"```toml\n(.*?)```", DOCS.read_text(), re.DOTALL)
    assert entry
    # As setuptools writes what pyproject.toml says.
    group, line = re.fullmatch(r"\[project\.entry-points\.\"(.*)\"\]\n(.*)\n", entry[1]).groups()
    (info / "entry_points.txt").write_text(f"[{group}]\n{line.replace(chr(34), '')}\n")
    assert "hole" in SCORERS
    assert "hole" not in sys.modules  # until it is used
    assert type(scorer("hole")).__name__ == "HolE"


def test_a_module_that_cannot_be_imported_is_named() -> None:
    with pytest.raises(UsageError, match=r"--plugin no_such_module: cannot be imported .* PYTHONPATH"):
        load_plugins(["no_such_module"])


def test_a_name_that_is_taken_is_refused_and_a_class_defined_again_is_not() -> None:
    def define(name_: str, compare_: str, module: str = "notebook") -> type[Scorer]:
        return type("Mine", (TuckER,), {"name": name_, "compare": compare_, "__module__": module})

    with pytest.raises(UsageError, match="scorer 'transe' of notebook: the name is taken"):
        SCORERS.add(define("transe", "dot"))
    SCORERS.add(define("mine", "dot"))
    SCORERS.add(define("mine", "distance"))
    assert scorer("mine").compare == "distance"
    with pytest.raises(UsageError, match="scorer 'mine' of elsewhere: the name is taken"):
        SCORERS.add(define("mine", "dot", "elsewhere"))
    with pytest.raises(UsageError, match=r"scorer 'other': choose transe, .*, mine$"):
        scorer("other")


def test_a_core_tensor_is_trained_by_the_gradients_that_a_scorer_gives() -> None:
    """TuckER on the small league, against all entities, by AdaGrad: the coach that each player knows comes first."""
    train, _, _ = league()
    entities, relations = ({name: k for k, name in enumerate(sorted(set(names)))} for names in zip_ends(train))
    head, relation, tail = torch.tensor([(entities[h], relations[r], entities[t]) for h, r, t in train]).T
    tucker, dim, generator = TuckER(), 16, torch.Generator().manual_seed(0)
    values = {
        "entity": 0.1 * torch.randn(len(entities), dim, generator=generator),
        "relation": tucker.initial_relations(len(relations), dim, generator),
        **tucker.dense(dim, generator),
    }
    start = {name: value.clone() for name, value in values.items()}
    states = {name: torch.zeros_like(value) for name, value in values.items()}
    losses = []
    for _ in range(100):
        X, R = values["entity"], values["relation"]
        dense = {"core": values["core"]}
        queries = tucker.query(X[head], R[relation], dense)
        scores = queries @ X.T
        losses.append(torch.nn.functional.cross_entropy(scores, tail).item())
        d_scores = scores.softmax(1)
        d_scores[torch.arange(len(tail)), tail] -= 1
        d_query = d_scores @ X
        d_head, d_relation = tucker.query_gradient(X[head], R[relation], d_query, dense)
        gradients = {
            "entity": (d_scores.T @ queries).index_add_(0, head, d_head),
            "relation": torch.zeros_like(R).index_add_(0, relation, d_relation),
            **tucker.dense_gradient(X[head], R[relation], d_query, dense),
        }
        for name, value in values.items():
            states[name] += gradients[name].square()
            value -= 0.1 * gradients[name] / (states[name] + 1e-10).sqrt()
    assert losses[-1] < 0.2 * losses[0]
    assert not torch.equal(values["core"], start["core"])
    knows = relation == relations["knows"]
    ranked = tucker.query(values["entity"][head[knows]], values["relation"][relation[knows]], {"core": values["core"]})
    assert ((ranked @ values["entity"].T).argmax(1) == tail[knows]).float().mean() > 0.95


def zip_ends(triples: list[tuple[str, str, str]]) -> tuple[list[str], list[str]]:
    """Names of all entities, and of all relations."""
    return [end for head, _, tail in triples for end in (head, tail)], [relation for _, relation, _ in triples]


def learned(data: str, run: Path, settings: dict[str, Any]) -> float:
    """MRR on the valid split after training by the public API."""
    plain = {"model.cosine": False, "model.dim": 32, "train.epochs": 1, "train.triple_passes": 25}
    distjoint.train(data, str(run), config({**plain, **settings}))
    return distjoint.evaluate(str(run), link_prediction="valid").to_dict()["link_prediction"]["mrr"]


@pytest.mark.usefixtures("documented")
def test_the_scorer_and_the_loss_of_the_docs_learn_the_league(small: Small, tmp_path: Path) -> None:
    load_plugins(["hole", "bpr"])
    assert learned(small.known, tmp_path / "run", {"model.scorer": "hole", "graph.loss": "bpr"}) > 0.9


def test_a_scorer_with_a_core_tensor_learns_the_league(small: Small, tmp_path: Path) -> None:
    SCORERS.add(TuckER)
    assert learned(small.known, tmp_path / "run", {"model.scorer": "tucker"}) > 0.9
