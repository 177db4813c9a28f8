"""What validations measure, by which a run's epoch is chosen: the components, the weighted metric, what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from small import Small, Train, config, history, info, team

import distjoint
from distjoint.base.errors import DistjointError, UsageError
from distjoint.evaluate.choosing import find_sets, read_sets
from distjoint.storage import locate
from distjoint.train.objective import Objective

pytestmark = pytest.mark.unit

PAIRS = [(team(a), team(b), 10 - abs(a - b)) for a in range(6) for b in range(a + 1, 6)]


def write(folder: Path, name: str, pairs: list[tuple[str, str, int]] = PAIRS) -> str:
    file = folder / name
    file.parent.mkdir(exist_ok=True)
    file.write_text("".join(f"{one}\t{other}\t{score}\n" for one, other, score in pairs))
    return str(file)


def settings(validate: dict[str, float], **more: Any) -> dict[str, Any]:
    weights = {f"train.validate.{name}": weight for name, weight in validate.items() if "." not in name}
    return {"train.validate_every": 1, "train.epochs": 2, **weights, **more}


@pytest.fixture(scope="module")
def weighted(small: Small, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A run by two figures of the graph and a set of words, and the set's file."""
    folder = tmp_path_factory.mktemp("weighted")
    file = write(folder, "sets/Teams-15.txt")
    chosen = settings({"mrr": 1, "hits@10": 1, "teams": 0.5}, **{"train.validation_sets": str(folder / "sets")})
    distjoint.train(small.joint, str(folder / "run"), config({**chosen, "train.validation_triples": None}))
    return folder / "run", file


def test_each_component_is_what_evaluation_measures_and_the_metric_their_weighted_mean(
    weighted: tuple[Path, str],
) -> None:
    run, file = weighted
    line = history(run)[-1]
    report = distjoint.evaluate(str(run), link_prediction="valid", similarity=file).to_dict()
    links, (words,) = report["link_prediction"], report["similarity"]
    assert line["valid_mrr"] == pytest.approx(links["mrr"])
    assert line["valid_hits@10"] == pytest.approx(links["hits@10"])
    assert line["valid_teams"] == pytest.approx(words["spearman"])
    expected = (line["valid_mrr"] + line["valid_hits@10"] + 0.5 * line["valid_teams"]) / 2.5
    assert line["valid_score"] == pytest.approx(expected)
    best = max(history(run), key=lambda line: (line["valid_score"], -line["epoch"]))
    assert info(run)["result"] == f"checkpoints/epoch-{best['epoch']:05d}"


def test_evaluate_says_that_a_set_has_chosen_the_run_whatever_the_file_is_called(
    weighted: tuple[Path, str], tmp_path: Path
) -> None:
    run, _ = weighted
    other = [*((b.upper(), a, s) for a, b, s in PAIRS[:10]), (team(6), team(7), 3), (team(0), team(7), 1)]
    files = [write(tmp_path, "renamed.txt", other), write(tmp_path, "free.txt", [(team(6), t, 1) for t in "abc"])]
    report = distjoint.evaluate(str(run), similarity=files)
    (said,) = report.to_dict()["chosen_on"]
    assert said.startswith("renamed: 10 of its 12 pairs have chosen this run as Teams-15 (train.validate), so its")
    assert "not of a test" in " ".join(str(report).split())


def test_the_sets_are_in_the_run_so_that_their_files_may_go(weighted: tuple[Path, str]) -> None:
    run, file = weighted
    content = Path(file).read_bytes()
    Path(file).unlink()
    try:
        result = distjoint.train(resume=str(run), settings={"train.epochs": 3})
    finally:
        Path(file).write_bytes(content)
    assert "valid_teams" in result.history[-1]
    (chosen,) = read_sets(locate(str(run)))
    assert (chosen.key, chosen.content.name, len(chosen.content.pairs)) == ("teams", "Teams-15", 15)  # type: ignore[union-attr]


def test_other_weights_in_a_run_that_goes_on_choose_among_what_is_there(small: Small, tmp_path: Path) -> None:
    run, file = str(tmp_path / "run"), write(tmp_path, "words.txt")
    distjoint.train(small.joint, run, config(settings({"mrr": 1, "hits@1": 1})))
    changed = {"train.validate.mrr": 1, "train.epochs": 3, "train.validation_sets": [file], "train.validate.words": 2}
    result = distjoint.train(resume=run, settings=changed)
    assert [line.get("valid_words") is not None for line in result.history] == [False, False, True]
    assert info(run)["result"] == "checkpoints/epoch-00003"  # earlier ones were not measured by it
    assert [each.key for each in read_sets(locate(run))] == ["words"]


def test_unseen_entities_and_text_alone_can_be_validated(small: Small, tmp_path: Path) -> None:
    unseen = tmp_path / "valid.tsv"
    unseen.write_text("newcomer\tknows\tcoacha\nteama_player_0\tknows\tcoacha\n")
    train = tmp_path / "train.tsv"
    train.write_text("".join(f"teama_player_{k}\tplays_for\tteama\n" for k in range(9)) + "coacha\tcoach_of\tteama\n")
    distjoint.prepare(str(tmp_path / "data"), triples=str(train), valid=str(unseen), shards=2)
    run = tmp_path / "run"
    distjoint.train(str(tmp_path / "data"), str(run), config(settings({"mrr": 1, "unseen_mrr": 3})))
    line = history(run)[-1]
    links = distjoint.evaluate(str(run), link_prediction="valid").to_dict()["link_prediction"]
    assert line["valid_unseen_mrr"] == pytest.approx(links["unseen"]["mrr"])
    words = settings({"words": 1}, **{"train.validation_sets": write(tmp_path, "words.txt"), "train.patience": 1})
    distjoint.train(small.text, str(tmp_path / "text"), config(words))
    assert set(history(tmp_path / "text")[0]) >= {"valid_words", "valid_score"}


@pytest.mark.parametrize(
    ("validate", "says"),
    [
        (
            {"test_mrr": 1},
            "test_mrr names a test set, by which nothing may be chosen; name a figure of the valid split",
        ),
        ({"test": 1}, "test names a test set"),
        ({"mrr": 0}, "mrr has the weight 0; give one above 0"),
        ({"mrr": -1}, "mrr has the weight -1"),
        ({"mrr": "much"}, "train.validate.mrr = 'much'"),
    ],
)
def test_what_cannot_be_an_objective_is_refused(validate: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError) as caught:
        config(settings(validate))
    assert says in str(caught.value)


def test_what_a_dataset_or_a_run_lacks_is_named_before_anything_is_written(
    small: Small, known: Train, tmp_path: Path
) -> None:
    write(tmp_path, "sets/One-a.txt"), write(tmp_path, "sets/One-b.txt"), write(tmp_path, "sets/Verbs-test.txt")
    sets = {"train.validation_sets": str(tmp_path / "sets")}
    few = write(tmp_path, "few.txt", [("moon", "sun", 1), ("sea", "sun", 2), ("sun", "sand", 3)])
    for data, validate, more, says in (
        (small.joint, {"simlex": 1}, {}, r"nothing is called simlex; choose mrr, .*\(there: none\), or a file"),
        (small.joint, {"one": 1}, sets, r"one stands for several sets \(One-a, One-b\)"),
        (small.joint, {"verbs": 1}, sets, "verbs is Verbs-test, a test set by its name"),
        (small.joint, {"few": 1}, {"train.validation_sets": few}, "few: 0 of the 3 pairs of few have vectors"),
        (small.text, {"mrr": 1}, {}, "mrr is of the graph, and this run trains text only"),
        (small.joint, {"unseen_mrr": 1}, {}, "has no valid triple of an entity that training does not know"),
    ):
        with pytest.raises(DistjointError, match=says):
            distjoint.train(data, str(tmp_path / "run"), config(settings(validate, **more)))
        assert not (tmp_path / "run").exists()
    for unused, says in (({"train.validate.mrr": 1}, "set validate_every too"), (sets, "set validate_every too")):
        with pytest.raises(UsageError, match=says):
            config(unused)


def test_a_set_is_named_by_its_file_too(tmp_path: Path) -> None:
    file = write(tmp_path, "mine.txt")
    (found,) = find_sets([file], [])
    assert (found.key, found.content.name) == (file, "mine")
    yaml = tmp_path / "config.yaml"
    yaml.write_text(json.dumps({"train": {"validate_every": 1, "validate": {"mrr": 1, file: 0.5}}}))
    loaded = distjoint.load_config(str(yaml))
    assert Objective.of(loaded, ("text",)).of_sets == (file,)
    as_mapping = distjoint.load_config(None, ["train.validate_every=1", "train.validate={mrr: 1, " + file + ": .5}"])
    assert as_mapping.train.validate == loaded.train.validate
