"""The description of prepared datasets and of runs: figures, alignment out and in again, the page, the command."""

from __future__ import annotations

import json
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest
from small import FAST, TEAMS, Small, Train, sentences, team

import distjoint
from distjoint.base.errors import DistjointError, UsageError
from distjoint.cli import app as cli
from distjoint.data.dataset import Dataset

pytestmark = pytest.mark.unit


@pytest.fixture(scope="module")
def doubtful(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A dataset whose labels are not all clear, and what it was prepared of.

    Two clubs are called teama and one of them has it as an alias only; teamb has an alias that is a word; a city has no
    word.
    """
    folder = tmp_path_factory.mktemp("doubtful")
    (folder / "text.txt").write_text("\n".join(sentences(200)) + "\n")
    (folder / "triples.tsv").write_text("q1\tplays\tq2\nq2\tplays\tq3\nq3\tplays\tq4\nq4\tin\tq5\nq6\tplays\tq1\n")
    labels = ["q1\tteama", "q2\tteamb\ttopicba", "q3\tsome club\tteama", "q4\tteamc", "q5\ta city", "q6\tteamc"]
    (folder / "labels.tsv").write_text("\n".join(labels) + "\n")
    given = {
        "corpus": str(folder / "text.txt"),
        "triples": str(folder / "triples.tsv"),
        "labels": str(folder / "labels.tsv"),
        "min_count": 1,
        "shards": 2,
    }
    distjoint.prepare(str(folder / "data"), **given)
    return folder / "data", given


def test_added_inverses_are_found_to_the_triple(tmp_path: Path) -> None:
    """As in FB15k and WN18: each triple of three relations stands in a fourth to sixth too, the other way around."""
    random = np.random.default_rng(0)
    drawn = {tuple(each) for each in random.integers(0, [120, 3, 120], (1500, 3)).tolist()}
    every = sorted((f"e{h}", f"r{r}", f"e{t}") for h, r, t in drawn)
    every += [("e1", "rare", "e2"), ("e3", "rare", "e4")]
    every += [(t, f"{r}_inverse", h) for h, r, t in every]
    random.shuffle(every)
    parts = {"triples": every[: len(every) * 8 // 10], "test": every[len(every) * 8 // 10 :]}
    for name, part in parts.items():
        (tmp_path / f"{name}.tsv").write_text("".join("\t".join(each) + "\n" for each in part))
    distjoint.prepare(str(tmp_path / "data"), **{name: str(tmp_path / f"{name}.tsv") for name in parts})
    found = distjoint.describe(str(tmp_path / "data")).to_dict()
    train = {tuple(each) for each in parts["triples"]}

    def turned(triple: tuple[str, str, str]) -> tuple[str, str, str]:
        head, relation, tail = triple
        other = relation.removesuffix("_inverse") if relation.endswith("_inverse") else f"{relation}_inverse"
        return tail, other, head

    pairs = {frozenset((pair["first"], pair["second"])) for pair in found["relations"]["pairs"]}
    assert pairs == {frozenset((name, f"{name}_inverse")) for name in ("r0", "r1", "r2", "rare")}
    test = found["leakage"]["splits"]["test"]
    given = sum(turned(tuple(each)) in train for each in parts["test"])
    assert test["given"] == test["by"]["inverse"] == given
    assert test["share"] == pytest.approx(given / len(parts["test"]))
    assert test["figures"]["hits@1"] == pytest.approx(test["share"], abs=0.01)


def test_a_joint_dataset_is_described_whole(small: Small) -> None:
    found = distjoint.describe(small.joint).to_dict()
    manifest = Dataset.open(small.joint).manifest
    assert found["kind"] == "dataset"
    assert found["sizes"]["fingerprint"] == manifest.fingerprint()
    assert found["sizes"]["samples"]["triples/train"] == manifest.counts["triples/train"]
    assert found["splits"]["splits"]["test"]["one_unseen"] == manifest.counts["unseen/test"] == 1
    assert found["words"]["tokens"] == manifest.counts["tokens"]
    assert found["said"]["aligned"] == manifest.counts["aligned"] == found["alignment"]["shared"]
    assert sum(found["said"]["mentions"].values()) == manifest.counts["entities"]
    assert found["said"]["train_ends"]["2"] == manifest.counts["aligned_ends/2"]
    assert found["alignment"]["how"] == {"id": {"shared": manifest.counts["aligned"], "apart": 0}}
    assert [hint["key"] for hint in found["hints"]][:2] == ["model.coupling", "model.scorer"]
    by_name = {each["name"]: each for each in found["relations"]["relations"]}
    assert by_name["plays_for"]["category"] == "N-1"
    assert by_name["plays_against"]["category"] == "1-1"
    json.dumps(found, allow_nan=False)


@pytest.mark.parametrize(("which", "lacks"), [("text", {"relations", "leakage", "said"}), ("graph", {"words", "said"})])
def test_what_a_dataset_lacks_is_left_out(small: Small, which: str, lacks: set[str]) -> None:
    found = distjoint.describe(getattr(small, which)).to_dict()
    assert not lacks & found.keys()
    assert found["hints"][0]["value"] == "none"


def test_an_alignment_says_how_each_pair_was_found(doubtful: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    out = tmp_path / "pairs.parquet"
    found = distjoint.describe(str(doubtful[0]), alignment=str(out)).to_dict()["alignment"]
    lines = {(line["entity"], line["word"]): line for line in pq.read_table(out).to_pylist()}
    shared = {pair: line["how"] for pair, line in lines.items() if line["shares_row"]}
    assert shared == {("q1", "teama"): "label", ("q2", "teamb"): "label"}
    apart = {pair: (line["how"], line["weight"]) for pair, line in lines.items() if not line["shares_row"]}
    assert apart == {
        ("q2", "topicba"): ("alias", 1.0),
        ("q3", "teama"): ("alias", 0.5),
        ("q4", "teamc"): ("label", 0.5),
        ("q6", "teamc"): ("label", 0.5),
    }
    assert found["how"] == {"alias": {"shared": 0, "apart": 2}, "label": {"shared": 2, "apart": 2}}
    assert (found["ambiguous"], found["words_of_several"], found["entities_of_several"]) == (3, 2, 1)
    assert (found["many_to_many"], found["unmatched"]) == (0, 1)


def pairs_in(data: str | Path) -> list[tuple[str, str, bool, float | None]]:
    """Entity, word, whether they share a row, and the weight, of each pair of a dataset."""
    out = Path(data).parent / f"{Path(data).name}-pairs.parquet"
    distjoint.describe(str(data), alignment=str(out), overwrite=True)
    names = ("entity", "word", "shares_row", "weight")
    return sorted(tuple(line[name] for name in names) for line in pq.read_table(out).to_pylist())


@pytest.mark.parametrize("ending", ["parquet", "csv", "jsonl"])
def test_an_alignment_given_back_is_the_same(
    doubtful: tuple[Path, dict[str, Any]], tmp_path: Path, ending: str
) -> None:
    data, given = doubtful
    distjoint.describe(str(data), alignment=str(tmp_path / "pairs.parquet"))
    table, file = pq.read_table(tmp_path / "pairs.parquet"), tmp_path / f"pairs.{ending}"
    if ending == "csv":
        pa_csv.write_csv(table, file)
    elif ending == "jsonl":
        file.write_text("".join(json.dumps(line) + "\n" for line in table.to_pylist()))
    distjoint.prepare(str(tmp_path / "again"), **given, align=str(file))
    assert pairs_in(tmp_path / "again") == pairs_in(data)
    assert Dataset.open(str(tmp_path / "again")).rows().equals(Dataset.open(str(data)).rows())


def test_a_reviewed_alignment_is_followed(doubtful: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    """teamc is said to be q4, and q3 to be no teama; a column of weights may be left out."""
    file = tmp_path / "reviewed.csv"
    file.write_text("entity,word,shares_row\nq1,teama,yes\nq2,teamb,1\nq2,topicba,\nq4,teamc,true\nq6,teamc,no\n")
    distjoint.prepare(str(tmp_path / "again"), **doubtful[1], align=str(file))
    assert pairs_in(tmp_path / "again") == [
        ("q1", "teama", True, None),
        ("q2", "teamb", True, None),
        ("q2", "topicba", False, 1.0),
        ("q4", "teamc", True, None),
        ("q6", "teamc", False, 0.5),
    ]


def test_a_table_that_only_pairs_follows_the_rules_of_pairs(
    doubtful: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    pq.write_table(pa.table({"entity": ["q1", "q4"], "word": ["teama", "teamd"]}), tmp_path / "pairs.parquet")
    distjoint.prepare(str(tmp_path / "again"), **doubtful[1], align=str(tmp_path / "pairs.parquet"))
    assert pairs_in(tmp_path / "again") == [("q1", "teama", True, None), ("q4", "teamd", True, None)]


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("q1,teama,maybe,1", r"pairs.csv, row 1: column 'shares_row' holds 'maybe'; it must be true or false"),
        ("q1,teama,no,-2", r"pairs.csv, row 1: column 'weight' holds '-2'; it must be a number above 0"),
        ("q1,,no,1", r"pairs.csv, row 1: entity 'q1', word ''; both must be there"),
        ("q9,teama,no,1", r"entity 'q9' \(word 'teama'\) is in no triple"),
        ("q1,teama,yes,1\nq2,teama,yes,1", r"'q2' is to share a row with word 'teama', and entity 'q1' with 'teama'"),
        ("q1,teama,yes,1\nq1,teamb,yes,1", r"'q1' is to share a row with word 'teamb', and entity 'q1' with 'teama'"),
    ],
)
def test_what_is_wrong_in_a_reviewed_alignment_is_named(
    doubtful: tuple[Path, dict[str, Any]], tmp_path: Path, lines: str, said: str
) -> None:
    (tmp_path / "pairs.csv").write_text(f"entity,word,shares_row,weight\n{lines}\n")
    with pytest.raises(DistjointError, match=said):
        distjoint.prepare(str(tmp_path / "again"), **doubtful[1], align=str(tmp_path / "pairs.csv"))


def test_a_run_is_described(known: Train) -> None:
    run = known({"train.validate_every": 1})
    found = distjoint.describe(str(run)).to_dict()
    assert found["settings"]["changed"]["model.dim"] == {"default": 100, "value": 16}
    assert found["training"]["epochs"] == found["training"]["wanted"] == FAST["train.epochs"]
    mrr = {line["epoch"]: line["valid_mrr"] for line in found["training"]["metrics"]}
    assert found["training"]["best"] == max(mrr, key=lambda epoch: mrr[epoch])
    norms = {each["of"]: each for each in found["norms"]["norms"]}
    assert norms.keys() == {"entities", "entities, own part", "entities, text part", "words"}
    vectors = distjoint.load(str(run))
    lengths = [np.linalg.norm(vectors.vector(team(k), kind="word")) for k in range(TEAMS)]
    assert norms["words"]["percentiles"]["0"] <= min(lengths) <= max(lengths) <= norms["words"]["percentiles"]["100"]
    triples = Dataset.open(found["settings"]["dataset"]).manifest.counts["triples/train"]
    assert found["cost"]["samples"]["triples"] == FAST["train.epochs"] * FAST["train.triple_passes"] * triples
    assert found["cost"]["seconds"] > 0


class Page(HTMLParser):
    """What a page is made of: tags in order, where it reaches outside, and its text."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.open: list[str] = []
        self.outside: list[str] = []
        self.ids: set[str] = set()
        self.targets: set[str] = set()
        self.words = ""
        self.feed(content)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag != "meta":
            self.open.append(tag)
        for name, value in attrs:
            if name in ("src", "href") and not (value or "").startswith("#"):
                self.outside.append(f"{tag} {value}")
            if name == "href" and (value or "").startswith("#"):
                self.targets.add(str(value)[1:])
            if name == "id":
                self.ids.add(str(value))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data: str) -> None:
        self.words += data


def test_the_page_stands_alone(small: Small, known: Train, tmp_path: Path) -> None:
    for url in (small.joint, str(known({"train.validate_every": 1}))):
        out = tmp_path / "page.html"
        distjoint.describe(url, html=str(out), overwrite=True)
        content = out.read_text()
        page = Page(content)
        assert page.open == [], "every element is closed"
        assert not page.outside
        assert not {"script", "link", "img", "iframe"} & set(page.tags)
        assert "url(" not in content
        assert "@import" not in content
        assert page.targets == page.ids, "each chapter is in the list of chapters"
        assert page.tags.count("table") == page.tags.count("caption") == page.tags.count("thead") > 3
        assert "color-scheme: light dark" in content
        assert '<html lang="en">' in content
        assert "aria-hidden" in content


def test_names_are_text_in_the_page_and_on_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "t.tsv").write_text("a\t<b>[red]x & y</b>\tb\nb\t<b>[red]x & y</b>\ta\n")
    distjoint.prepare(str(tmp_path / "data"), triples=str(tmp_path / "t.tsv"))
    content = distjoint.describe(str(tmp_path / "data")).to_html()
    assert "&lt;b&gt;[red]x &amp; y&lt;/b&gt;" in content
    cli.app(["describe", str(tmp_path / "data")], standalone_mode=False)
    assert "<b>[red]x & y</b>" in capsys.readouterr().out


def command(*words: str) -> int:
    sys.argv = ["distjoint", *words]
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    return int(stopped.value.code or 0)


def test_the_command_prints_tables_or_json(
    small: Small, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", sys.argv)
    assert command("describe", small.joint) == 0
    out = capsys.readouterr().out
    assert all(word in out for word in ("Relations by kind", "plays_against", "Answers that training gives away"))
    assert command("describe", small.joint, "--json") == 0
    assert json.loads(capsys.readouterr().out) == distjoint.describe(small.joint).to_dict()


def test_what_cannot_be_described_is_said(small: Small, known: Train, tmp_path: Path) -> None:
    with pytest.raises(DistjointError, match=r"neither a dataset \(no manifest.json\) nor a run \(no run.json\)"):
        distjoint.describe(str(tmp_path))
    with pytest.raises(DistjointError, match="no such dataset"):
        distjoint.describe(str(tmp_path / "nothing"))
    with pytest.raises(UsageError, match="--alignment is of a dataset"):
        distjoint.describe(str(known({"train.validate_every": 1})), alignment=str(tmp_path / "x.parquet"))
    with pytest.raises(UsageError, match="there is nothing to write"):
        distjoint.describe(small.graph, alignment=str(tmp_path / "x.parquet"))
    (tmp_path / "there.html").write_text("mine")
    with pytest.raises(UsageError, match="is there already; give another name, or --overwrite"):
        distjoint.describe(small.graph, html=str(tmp_path / "there.html"))
    assert (tmp_path / "there.html").read_text() == "mine"
    with pytest.raises(UsageError, match="--share is 2"):
        distjoint.describe(small.graph, share=2)
