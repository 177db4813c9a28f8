"""Evaluating and comparing runs on folders made by hand."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console
from runs import Rows, write_dataset, write_run
from safetensors.numpy import load_file

import distjoint
from distjoint.base.errors import DistjointError, UsageError
from distjoint.data.dataset import Dataset
from distjoint.data.types import Domains
from distjoint.evaluate.comparison import compare_reports
from distjoint.evaluate.report import Report
from distjoint.storage import locate

pytestmark = pytest.mark.unit

COUNT = 40
TRANSE = {"model.scorer": "transe", "model.cosine": False, "model.reciprocal": False}


@pytest.fixture
def world(tmp_path):
    """Entities on a circle, `next` turns to the neighbour; words for half of them. TransE cannot hold it, quite."""
    random = np.random.default_rng(0)
    aligned = [(f"w{i}", f"e{i}") for i in range(COUNT // 2)]
    own = [f"e{i}" for i in range(COUNT // 2, COUNT)]
    rows = Rows(words=["alone"], aligned=aligned, entities=[*own, "only_label"], relations=["next", "near"], shards=3,
                tiles=3)  # fmt: skip
    every = [(f"e{i}", "next", f"e{(i + 1) % COUNT}") for i in range(COUNT - 1)]
    every += [(f"e{i}", "near", f"e{(i + 3) % COUNT}") for i in range(COUNT - 1)]
    held = set(random.choice(len(every), 20, replace=False).tolist())
    train = [t for i, t in enumerate(every) if i not in held and f"e{COUNT - 1}" not in t]
    test = [t for i, t in enumerate(every) if i in held or f"e{COUNT - 1}" in t]
    data = write_dataset(tmp_path / "data", rows, train=train, valid=test[:2], test=test[2:])
    pairs = [f"w{a} w{b} {abs(a - b)}" for a, b in random.integers(0, COUNT // 2, (30, 2))]
    (tmp_path / "near.txt").write_text("\n".join([*pairs, "w0 unknown 3"]))
    (tmp_path / "questions.txt").write_text(": turns\nw0 w1 w2 w3\nw1 w2 w3 w4\nw1 w2 w3 unknown\n")
    return tmp_path, data, rows


def graph_run(world, name, noise, coupling="none"):
    folder, data, _ = world
    random = np.random.default_rng(1)
    angle = 2 * np.pi * np.arange(COUNT + 1) / COUNT
    circle = np.stack([np.cos(angle), np.sin(angle), *random.normal(size=(2, COUNT + 1)) * 0.1], 1)
    words = random.normal(size=(1 + COUNT // 2, 4)) if coupling != "none" else None
    dense = {"relation": random.normal(size=(2, 4)) * 0.1, "map": np.eye(4)}
    if coupling != "dual":
        del dense["map"]
    entities = circle + noise * random.normal(size=circle.shape)
    parts = {"words": words, "entities": entities, "dense": dense}
    return str(write_run(folder / name, data, coupling=coupling, settings=TRANSE, **parts))


def brute_force(run_url, data, split="test"):
    """Ranks, and ranks without the own end, as a reader of the definition would take them from the public interface."""
    loaded = distjoint.load(run_url)
    from distjoint.data.dataset import Dataset

    dataset = Dataset.open(str(data))
    names = dict(enumerate(dataset.rows().column("entity").to_pylist()))
    triples = {
        s: [
            (names[h], r, names[t])
            for h, r, t in zip(*(getattr(dataset.split(s), f).tolist() for f in ("head", "relation", "tail")),
                               strict=True)
        ]
        for s in ("train", "valid", "test")
    }  # fmt: skip
    known = set().union(*triples.values())
    listed = sorted({end for h, _, t in known for end in (h, t)})
    ranks, without = {}, {}
    for h, r, t in triples[split]:
        for side in ("head", "tail"):
            made = {e: ((e, r, t) if side == "head" else (h, r, e)) for e in listed}
            score = {e: loaded.score(a, loaded.relations[b], c) for e, (a, b, c) in made.items()}
            answer, given = (h, t) if side == "head" else (t, h)
            others = [e for e in listed if made[e] not in known]
            for found, kept in ((ranks, others), (without, [e for e in others if e != given])):
                higher, ties = (sum(score[e] > score[answer] + 1e-6 for e in kept),
                                sum(abs(score[e] - score[answer]) <= 1e-6 for e in kept))  # fmt: skip
                found[h, r, t, side] = 1 + higher + ties / 2
    return ranks, without, len(listed)


def mean_reciprocal(ranks):
    return pytest.approx(np.mean([1 / rank for rank in ranks]))


@pytest.mark.parametrize("coupling", ["none", "tie", "dual"])
def test_link_prediction_of_a_run_is_that_of_the_definition(world, coupling):
    url = graph_run(world, "run", 0.1, coupling)
    report = distjoint.evaluate(url, link_prediction="test", memory="1KB")
    expected, without, candidates = brute_force(url, world[1])
    tree = report.to_dict()["link_prediction"]
    assert sorted([*report.links.ranks.head, *report.links.ranks.tail]) == sorted(expected.values())
    assert tree["mrr"] == mean_reciprocal(expected.values())
    assert tree["candidates"] == candidates == COUNT and "mean rank" in tree["ties"]
    assert tree["without_own_end"]["mrr"] == mean_reciprocal(without.values()) and without != expected
    rows = Dataset.open(str(world[1])).rows()
    degree = dict(zip(rows.column("entity").to_pylist(), rows.column("degree").to_pylist(), strict=True))
    rarer = {triple: min(degree[triple[0]], degree[triple[2]]) for triple in expected}
    # Nobody trains the last entity, and no triple of the test is between two such.
    parts = {"unseen": [t for t in rarer if not rarer[t]], "seen": [t for t in rarer if rarer[t]]}
    for name, chosen in {**parts, "one_unseen": parts["unseen"]}.items():
        assert tree[name]["mrr"] == mean_reciprocal([expected[t] for t in chosen])
        assert 0 < 2 * tree[name]["triples"] == len(chosen) < len(expected)
    assert tree["both_unseen"] is None
    # With a coupling the word of an unseen entity says something of it.
    words = {f"e{i}" for i in range(COUNT // 2)} if coupling != "none" else set()
    silent = [t for t in parts["unseen"] if {e for e in (t[0], t[2]) if not degree[e]} - words]
    assert tree["nothing_known"] == {"one_end": len(silent) // 2, "both_ends": 0}
    for part in tree["by"]["rarer"]:
        low, high = {"0": (0, 0), "1-2": (1, 2), "3-10": (3, 10)}[part["name"]]
        chosen = [t for t in rarer if low <= rarer[t] <= high]
        assert part["mrr"] == mean_reciprocal([expected[t] for t in chosen]) and part["answers"] == len(chosen)
        assert part["without_own_end"]["mrr"] == mean_reciprocal([without[t] for t in chosen])
    assert sum(part["answers"] for part in tree["by"]["rarer"]) == len(expected)


SETS = {
    "kore.txt": "First\n\tlabel_1\n\tlabel_2\n\tlabel_3\n\tnobody\nSecond\n\tlabel_5\n\tlabel_6\n\tlabel_7\n",
    "scored.csv": "entity1,entity2,note,score\nlabel 1,label 2,5,3\nlabel 1,label 3,6,2\nlabel 1,label 4,7,1\n",
    "asked/1_kind/N1 [next].txt": "label_1\tlabel_2\nlabel_2\tlabel_3/label_4\nlabel_3\tlabel_4\n",
    "asked/google.txt": ": gram1-next\nlabel_1 label_2 label_3 label_4\n: near\nlabel_1 label_3 label_2 gone\n",
    "asked/rated.txt": '3 "label_1:label_2"\n2 "label_2:label_3"\n1 "label_5:label_7"\n',
}


def test_sets_of_entities_are_measured_by_their_labels_saved_and_compared(tmp_path):
    """Entities on a circle, by labels; two of them share one."""
    names = ["First", *(f"label {k}" for k in range(1, 8)), "Second", "label 7"]
    rows = Rows(entities=[(f"Q{k}", name) for k, name in enumerate(names)], relations=["next"], shards=1, tiles=1)
    train = [(f"Q{k}", "next", f"Q{k + 1}") for k in range(9)]
    data = write_dataset(tmp_path / "data", rows, train=train, valid=train[:1], test=train[:1])
    angle = 0.3 * np.arange(10)
    circle = np.stack([np.cos(angle), np.sin(angle)], 1)
    runs = []
    for name, vectors in (("run", circle), ("other", circle[::-1] + np.array([0.5, 0]))):
        dense = {"relation": np.ones((1, 2))}
        runs.append(str(write_run(tmp_path / name, data, entities=vectors, dense=dense, settings=TRANSE)))
    for name, text in SETS.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    given = {
        "similarity": [str(tmp_path / name) for name in ("kore.txt", "scored.csv")],
        "analogies": [str(tmp_path / "asked")],
        "kind": "entity",
        "standardize": False,
    }
    report = distjoint.evaluate(runs[0], **given)
    tree = json.loads(json.dumps(report.to_dict()))
    kore, rated = tree["grouped"]
    # First is nearest to label 1, then 2, then 3; Second is nearest to 7, which is ranked last of its three.
    assert [(part["name"], part["spearman"]) for part in kore["groups"]] == [("First", 1), ("Second", -1)]
    assert (kore["spearman"], kore["covered"], kore["pairs"]) == (0, 6, 7)
    assert kore["words"]["unknown_examples"] == ["nobody"] and kore["words"]["shared_examples"] == ["label_7"]
    assert (rated["name"], rated["form"], rated["covered"]) == ("rated pairs", "rated", 3)
    assert tree["similarity"][0]["spearman"] == 1 and tree["similarity"][0]["form"] == "pairs"
    sections = tree["analogies"]["sections"]
    assert [(part["name"], part["form"], part["category"], part["questions"]) for part in sections] == [
        ("N1 [next]", "bats", "1_kind", 6), ("gram1-next", "google", "syntactic", 1), ("near", "google", "semantic", 1)
    ]  # fmt: skip
    assert [form["name"] for form in tree["analogies"]["forms"]] == ["bats", "google"]
    assert len(tree["read_as"]) == 5 and "score in 3 'score'" in tree["read_as"][1]
    text = str(report)
    for said in (
        "kore: pairs left out: 1; names without a vector: 1 of 9 (nobody).",
        "kore: names of several vectors, of which the first was taken: 1 (label_7).",
        "Analogies: questions left out: 1; names without a vector: 1 of 5 (gone).",
        "Analogies (3CosAdd), bats, epoch 1",
        "rated pairs, epoch 1",
        "│ N1 [next] │",
        *tree["read_as"],
    ):
        assert " ".join(said.split()) in " ".join(text.split()), said
    report.save(locate(runs[0]))
    assert Report.read(locate(runs[0])).to_dict() == report.to_dict()
    distjoint.evaluate(runs[0], link_prediction="test").save(locate(runs[0]))  # what the sets gave stays
    assert Report.read(locate(runs[0])).to_dict()["grouped"] == tree["grouped"]
    older = json.loads((tmp_path / "run/evaluation.json").read_text())  # as it was before sets had forms
    del older["grouped"], older["read_as"], older["similarity"][0]["words"], older["similarity"][0]["form"]
    older["analogies"] = {"total": {}, "sections": [{"name": "all", "questions": 8}]}
    (tmp_path / "run/evaluation.json").write_text(json.dumps(older))
    assert Report.read(locate(runs[0])).to_dict()["analogies"]["total"] == tree["analogies"]["total"]
    found = distjoint.compare(runs, **given).to_dict()["measures"]
    assert found["kore, mean of groups"][0]["value"] == 0 and found["kore, mean of groups"][0]["items"] == 2
    assert {"scored", "rated pairs, mean of groups", "analogies"} <= found.keys()

    columns = distjoint.evaluate(runs[0], similarity=given["similarity"][1:], pair_columns="entity1,entity2,note")
    assert columns.similarity[0].gold.tolist() == [5, 6, 7]
    multiplied = distjoint.evaluate(runs[0], analogies=given["analogies"], analogy_method="3cosmul")
    assert multiplied.to_dict()["analogies"]["method"] == "3cosmul" and "3CosMul" in str(multiplied)


def test_options_of_sets_need_sets(world):
    url, near = graph_run(world, "run", 0.1), [str(world[0] / "near.txt")]
    for options, message in (
        ({"form": "pairs"}, "--form is about sets; add --similarity"),
        ({"form": "bats", "similarity": near}, "--form bats is of sets that --analogies takes"),
        ({"pair_columns": "0,1,2"}, "--pair-columns is about sets of pairs"),
        ({"pair_columns": "0,1", "similarity": near}, "--pair-columns 0,1: name three columns"),
        ({"form": "simlex", "similarity": near}, "form"),
    ):
        with pytest.raises(UsageError, match=message):
            distjoint.evaluate(url, **options)


def test_ends_of_which_nothing_is_known_tie_in_the_middle_and_are_said(tmp_path):
    """Ghosts are in no training triple and have no text: their vectors are zero."""
    rows = Rows(entities=["a", "b", "c", "d", "ghost", "spirit"], relations=["r"])
    train = [("a", "r", "b"), ("b", "r", "c"), ("c", "r", "d")]
    test = [("ghost", "r", "spirit"), ("a", "r", "ghost"), ("a", "r", "c")]
    data = write_dataset(tmp_path / "data", rows, train=train, test=test)
    vectors = np.vstack([np.random.default_rng(0).uniform(1, 2, (4, 4)), np.zeros((2, 4))])
    settings = {"model.scorer": "distmult", "model.cosine": False, "model.reciprocal": False}
    run = write_run(tmp_path / "run", data, entities=vectors, dense={"relation": np.ones((1, 4))}, settings=settings)
    report = distjoint.evaluate(str(run), link_prediction="test")
    tree = report.to_dict()["link_prediction"]
    # All six score zero: the mean of six places, or of the five without the question.
    assert (tree["both_unseen"]["mean_rank"], tree["both_unseen"]["triples"]) == (3.5, 1)
    assert report.links.ranks.without_own_end.head[report.links.ranks.unseen_ends == 2].tolist() == [3]
    assert [tree[name]["triples"] for name in ("seen", "one_unseen", "unseen")] == [1, 1, 2]
    assert tree["nothing_known"] == {"one_end": 1, "both_ends": 1}
    text = printed(report)
    assert "neither a training triple nor text says anything: 2, 1 of them with two such ends" in text
    for row in ("without own end", "both ends seen", "one unseen end", "both ends unseen", "any unseen end"):
        assert f"\n│ {row} " in text
    assert "Link prediction, test, by training triples of the rarer end, epoch 1" in text
    report.save(locate(str(run)))
    assert Report.read(locate(str(run))).to_dict() == report.to_dict()
    assert compare_reports([report]).measures["MRR, without own end"][0].value() == tree["without_own_end"]["mrr"]


def printed(result):
    console = Console(width=200, record=True, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123
    console.print(result)
    return "\n".join(line.rstrip() for line in console.export_text().splitlines()) + "\n"


def test_groups_of_answers_are_printed_and_in_json_and_survive_the_disk(world):
    url = graph_run(world, "run", 0.1)
    report = distjoint.evaluate(url, link_prediction="test", by=["relation", "category", "degree"], ties="pessimistic")
    tree = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    links = tree["link_prediction"]
    assert {part["name"] for part in links["by"]["relation"]} == {"next", "near"}
    assert {part["name"] for part in links["by"]["category"]} == {"1-1"}
    for parts in links["by"].values():
        assert sum(part["answers"] for part in parts) == 2 * links["triples"]
        assert sum(part["mrr"] * part["answers"] for part in parts) == pytest.approx(
            links["mrr"] * 2 * links["triples"]
        )
    assert links["optimistic"]["mrr"] >= links["mrr"] >= links["pessimistic"]["mrr"] and links["tie_tolerance"] == 1e-6
    text = printed(report)
    for part in ("by relation", "by category of relation", "by training triples of the answer", "MRR of heads",
                 "ties before the right answer"):  # fmt: skip
        assert part in text
    report.save(locate(url))
    assert Report.read(locate(url)).to_dict() == report.to_dict()


def test_every_table_names_the_epoch_it_measured(world):
    folder = world[0]
    url = graph_run(world, "run", 0.1, "tie")
    (folder / "run/checkpoints/epoch-00001").rename(folder / "run/checkpoints/epoch-00012")
    info = locate(url) / "run.json"
    info.write_json({**info.read_json(), "result": "checkpoints/epoch-00012"})
    sets = {"similarity": [str(folder / "near.txt")], "analogies": [str(folder / "questions.txt")]}
    report = distjoint.evaluate(url, link_prediction="test", by=["degree"], **sets)
    for text in (printed(report), str(report)):
        assert "Link prediction, test, epoch 12\n" in text
        assert "Link prediction, test, by training triples of the answer, epoch 12\n" in text
        assert "Word similarity, epoch 12\n" in text and "Analogies (3CosAdd), google, epoch 12\n" in text
    assert replace(report, checkpoint="checkpoints/epoch-00012-round-00003").epoch == "epoch 12, round 3"
    assert replace(report, checkpoint="elsewhere").epoch == "elsewhere"


def test_sampled_ranks_are_labelled_and_never_replace_or_meet_exact_ones(world):
    url, other = graph_run(world, "run", 0.5), graph_run(world, "other", 0.0)
    exact = distjoint.evaluate(url, link_prediction="test")
    drawn = distjoint.evaluate(url, link_prediction="test", sample_candidates=5, sample_triples=10, seed=3)
    tree = drawn.to_dict()["link_prediction"]
    assert tree["sampled"] == {"candidates": 5, "triples": 10, "of": len(exact.links.ranks.head), "seed": 3}
    assert (tree["candidates"], tree["triples"]) == (5, 10) and exact.to_dict()["link_prediction"]["sampled"] is None
    text = printed(drawn)
    assert "5 sampled candidates, 10 sampled triples" in text and "easier than against all" in text
    both = compare_reports([exact, drawn])
    assert both.differences["MRR"] == (None, None) and "MRR (5 sampled candidates, 10 sampled triples)" in both.measures
    pair = compare_reports([drawn, distjoint.evaluate(other, link_prediction="test", sample_candidates=5,
                                                      sample_triples=10, seed=3)])  # fmt: skip
    assert pair.differences["MRR (5 sampled candidates, 10 sampled triples)"][1] is not None
    drawn.save(locate(url))
    assert Report.read(locate(url)).to_dict() == drawn.to_dict()
    exact.save(locate(url))
    drawn.save(locate(url))
    assert Report.read(locate(url)).to_dict() == exact.to_dict()
    few = distjoint.evaluate(url, link_prediction="test", sample_triples=10)
    same = distjoint.evaluate(url, link_prediction="test", sample_triples=10, memory="1KB")
    np.testing.assert_array_equal(few.links.ranks.head, same.links.ranks.head)
    assert not few.links.ranks.sampled and few.links.label == "10 sampled triples"
    for option in ("sample_candidates", "sample_triples"):
        with pytest.raises(UsageError, match="is 0; it must be at least 1"):
            distjoint.evaluate(url, link_prediction="test", **{option: 0})


def test_typed_ranks_need_types_and_are_labelled(world, monkeypatch):
    url = graph_run(world, "run", 0.5)
    with pytest.raises(UsageError, match="has no types of entities; prepare it with --types"):
        distjoint.evaluate(url, link_prediction="test", typed=True)
    rows = len(world[2].entity_ids) + 1
    type_of = (np.arange(rows) % 2).astype(np.int32)
    odd = np.array([[False, True]] * 2)
    monkeypatch.setattr(Dataset, "domains", lambda _: Domains(type_of, odd, odd), raising=False)
    exact, typed = (distjoint.evaluate(url, link_prediction="test", typed=typed) for typed in (False, True))
    tree = typed.to_dict()["link_prediction"]
    assert tree["typed"] and tree["mean_candidates"] == COUNT / 2 and tree["mrr"] > exact.links.ranks.mrr
    assert "less those that the relation's types do not allow, 20 on average" in printed(typed)
    assert "MRR (typed)" in compare_reports([exact, typed]).measures


def test_classification_of_a_dataset_with_negatives(world):
    folder, _, rows = world
    with pytest.raises(UsageError, match="has no test_negatives triples; prepare it with --test-negatives"):
        distjoint.evaluate(graph_run(world, "run", 0.0), classify=True)
    # Right: the neighbour. Wrong: the entity across. TransE tells them apart by distance.
    right = [(f"e{i}", "next", f"e{(i + 1) % COUNT}") for i in range(COUNT)]
    wrong = [(f"e{i}", "next", f"e{(i + COUNT // 2) % COUNT}") for i in range(COUNT)]
    splits = {"train": right[:20], "valid": right[20:30], "test": right[30:]}
    data = write_dataset(folder / "data2", rows, **splits, valid_negatives=wrong[20:30], test_negatives=wrong[30:])
    url = graph_run((folder, data, rows), "run2", 0.0)
    report = distjoint.evaluate(url, classify=True)
    tree = report.to_dict()
    assert (tree["classification"]["accuracy"], tree["classification"]["f1"]) == (1, 1)
    assert tree["link_prediction"] is None and list(tree["classification"]["thresholds"]) == ["next"]
    assert "Triple classification, test, epoch 1\n" in printed(report)
    report.save(locate(url))
    assert Report.read(locate(url)).to_dict() == tree
    worse = distjoint.evaluate(graph_run((folder, data, rows), "run3", 9.0), classify=True)
    assert compare_reports([report, worse]).differences["classification accuracy"][1].significant


def test_options_of_ranking_without_ranking_are_refused(world):
    url = graph_run(world, "run", 0.0)
    with pytest.raises(UsageError, match="add --link-prediction"):
        distjoint.evaluate(url, by=["degree"], similarity=[str(world[0] / "near.txt")])
    assert distjoint.evaluate(url, by=["degree"]).links.split == "test"
    with pytest.raises(UsageError, match="choose relation, category or degree"):
        distjoint.evaluate(url, by=["colour"])


def test_a_report_of_another_format_is_named_and_written_over(world):
    url = graph_run(world, "run", 0.0)
    report = distjoint.evaluate(url, link_prediction="test")
    report.save(locate(url))
    place = world[0] / "run/evaluation.json"
    place.write_text(place.read_text().replace('"format": 3', '"format": 2'))
    with pytest.raises(DistjointError, match="format 2, this distjoint reads 3; evaluate the run again"):
        Report.read(locate(url))
    report.save(locate(url))
    assert Report.read(locate(url)) is not None


def test_words_of_a_text_run_and_of_a_graph_run(world):
    folder, data, _ = world
    sets = {"similarity": [str(folder / "near.txt")], "analogies": [str(folder / "questions.txt")]}
    text = str(write_run(folder / "text", data, words=np.random.default_rng(0).normal(size=(1 + COUNT // 2, 4))))
    report = distjoint.evaluate(text, **sets).to_dict()
    assert (
        (report["kind"], report["vectors"]) == ("word", "joint")
        and report["standardize"] is True
        and report["link_prediction"] is None
    )
    assert (report["similarity"][0]["covered"], report["similarity"][0]["pairs"]) == (30, 31)
    assert report["analogies"]["total"]["covered"] == 2
    graph = distjoint.evaluate(graph_run(world, "graph", 0.0), standardize=False, **sets)
    assert graph.kind == "entity" and graph.similarity[0].spearman < -0.5  # nearer on the circle, more alike


def test_words_are_measured_by_the_vectors_that_are_wanted(world):
    folder, _, _ = world
    url, sets = graph_run(world, "run", 0.0, "dual"), [str(folder / "near.txt")]
    loaded = distjoint.load(url)
    with pytest.raises(UsageError, match="--vectors both --raw"):
        distjoint.evaluate(url, similarity=sets, vectors="both", standardize=False)
    rhos = {}
    for kind, vectors, said in (
        ("word", "joint", "word vectors,"),
        ("word", "both", "word and entity vectors side by side"),
        ("entity", "joint", "entity vectors,"),
        ("entity", "own", "own vectors of entities"),
        ("entity", "both", "own and text vectors of entities side by side"),
    ):
        report = distjoint.evaluate(url, similarity=sets, kind=kind, vectors=vectors)
        report.save(locate(url))
        kept = Report.read(locate(url))
        assert (kept.kind, kept.vectors, len(kept.similarity)) == (kind, vectors, 1) and said in str(report)
        rhos[kind, vectors] = report.similarity[0].spearman
        loaded.export(str(folder / "out.safetensors"), "safetensors", kind, vectors=vectors)
        file = load_file(folder / "out.safetensors")
        assert file[kind].shape[1] == (8 if vectors == "both" else 4)
    assert len(set(rhos.values())) == len(rhos)
    with pytest.raises(UsageError, match="--vectors own: says which vectors of one kind; add --kind"):
        loaded.export(str(folder / "out.txt"), vectors="own")
    place = folder / "run/evaluation.json"
    tree = json.loads(place.read_text())
    place.write_text(json.dumps({**{key: tree[key] for key in tree if key != "kind"}, "vectors": "word"}))
    before = Report.read(locate(url))  # written when `vectors` was the kind
    assert (before.kind, before.vectors) == ("word", "joint")


def test_nothing_asked_for_means_the_test_split_or_says_what_to_give(world):
    folder, data, _ = world
    assert distjoint.evaluate(graph_run(world, "graph", 0.1)).links.split == "test"
    text = str(write_run(folder / "text", data, words=np.ones((1 + COUNT // 2, 4))))
    with pytest.raises(UsageError, match="give similarity sets or analogies"):
        distjoint.evaluate(text)
    with pytest.raises(UsageError, match="trained on text only"):
        distjoint.evaluate(text, link_prediction="test")


def test_another_dataset_in_the_place_is_refused(world):
    url = graph_run(world, "graph", 0.1)
    manifest = world[1] / "manifest.json"
    manifest.write_text(manifest.read_text() + "\n")
    with pytest.raises(DistjointError, match="is not the dataset"):
        distjoint.evaluate(url, link_prediction="test")
    manifest.unlink()
    with pytest.raises(DistjointError, match=r"no manifest\.json"):
        distjoint.evaluate(url, link_prediction="test")


def test_comparison_marks_what_differs_and_only_that(world):
    good, bad = graph_run(world, "good", 0.0), graph_run(world, "bad", 2.0)
    same = graph_run(world, "same", 0.0)
    found = distjoint.compare([good, bad, same], link_prediction="test", similarity=[str(world[0] / "near.txt")])
    assert found.names == ("good", "bad", "same")
    _, worse, equal = found.differences["MRR"]
    assert worse.significant and worse.value < 0 and worse.interval.low < worse.value < worse.interval.high
    assert (equal.value, equal.interval.low, equal.significant) == (0, 0, False)
    assert found.differences["near"][1].items == 30
    tree = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert tree["measures"]["MRR"][1]["difference"]["significant"] is True
    text = printed(found)
    assert "ties at their mean rank" in text and "columns standardised" in text and "]*" in text
    assert "Measured at: good epoch 1, bad epoch 1, same epoch 1." in text
    assert "Measured at: good epoch 1" in str(found)


def test_saved_reports_are_compared_when_no_sets_are_given(world):
    good, bad = graph_run(world, "good", 0.0), graph_run(world, "bad", 2.0)
    sets = [str(world[0] / "near.txt")]
    for url in (good, bad):
        distjoint.evaluate(url, similarity=sets).save(locate(url))
    distjoint.evaluate(good, link_prediction="test").save(locate(good))  # added to what is there
    found = distjoint.compare([good, bad])
    assert found.measures["near"][0] is not None and found.measures["MRR"][1] is None
    assert found.reports[0].to_dict() == Report.read(locate(good)).to_dict()
    fresh = compare_reports([distjoint.evaluate(good, similarity=sets), distjoint.evaluate(bad, similarity=sets)])
    assert found.differences["near"][1] == fresh.differences["near"][1]
    (world[0] / "good/evaluation.safetensors").write_bytes(b"x")
    with pytest.raises(DistjointError, match=r"evaluation\.json: damaged"):
        distjoint.compare([good, bad])


def test_report_is_printed_with_what_it_depends_on(world):
    report = distjoint.evaluate(
        graph_run(world, "good", 0.1, "dual"),
        link_prediction="test",
        similarity=[str(world[0] / "near.txt")],
        analogies=[str(world[0] / "questions.txt")],
        standardize=False,
    )
    console = Console(width=160, record=True, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123
    console.print(report)
    text = console.export_text()
    for part in ("unseen end", "40 entities of train, valid and test", "raw", "30 of 31", "2 of 3", "turns"):
        assert part in text


def test_sets_of_unknown_words_are_an_error_unless_another_run_knows_them(world):
    folder, _, _ = world
    (folder / "foreign.txt").write_text("eins zwei 1\ndrei vier 2\nsechs sieben 3\n")
    good = graph_run(world, "good", 0.1)
    with pytest.raises(DistjointError, match="foreign: no item is covered by the entity vectors"):
        distjoint.evaluate(good, similarity=[str(folder / "foreign.txt")])
    partly = distjoint.evaluate(good, similarity=[str(folder / "foreign.txt"), str(folder / "near.txt")]).to_dict()
    assert partly["similarity"][0]["spearman"] is None and partly["similarity"][1]["covered"] == 30
    with pytest.raises(DistjointError, match="of any run"):
        distjoint.compare([good, good], similarity=[str(folder / "foreign.txt")])
    other = write_dataset(
        folder / "ids", Rows(entities=["/m/1", "/m/2"], relations=["r"]), train=[("/m/1", "r", "/m/2")]
    )
    ids = str(write_run(folder / "idrun", other, entities=np.eye(2), dense={"relation": np.ones((1, 2))}))
    found = distjoint.compare([good, ids], similarity=[str(folder / "near.txt")])
    assert found.differences["near"] == (None, None) and found.to_dict()["measures"]["near"][1]["value"] is None


def test_comparing_needs_two_runs_and_something_to_compare(world):
    folder, data, _ = world
    with pytest.raises(UsageError, match="at least two runs"):
        distjoint.compare([graph_run(world, "good", 0.1)])
    text = str(write_run(folder / "text", data, words=np.ones((1 + COUNT // 2, 4))))
    with pytest.raises(UsageError, match="no run has a graph"):
        distjoint.compare([text, text], link_prediction="test")
    mixed = distjoint.compare([str(folder / "good"), text], link_prediction="test")
    assert mixed.measures["MRR"][1] is None
