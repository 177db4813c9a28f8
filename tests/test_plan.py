"""Plans: bytes as they are written and moved, sums that hang together, and requests that cannot be meant."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small import Small, Train, config
from typer.testing import CliRunner

import distjoint
from distjoint.base.errors import UsageError
from distjoint.base.sizes import in_bytes, parse_count
from distjoint.cli.app import app
from distjoint.data.dataset import Dataset
from distjoint.plan.imagined import estimate_cells, imagine, shrunk
from distjoint.plan.nodes import node_of, nodes
from distjoint.plan.result import Plan
from distjoint.registry import COUPLINGS
from distjoint.runs.folder import Checkpoint, RunFolder
from distjoint.table.parts import table_bytes
from distjoint.train import memory as memory_module
from distjoint.train.build import scheme_of
from distjoint.train.memory import foreseen, memory_of, typical_round
from distjoint.train.plan import plan as plan_run

pytestmark = pytest.mark.unit

SMALLER: dict[str, Any] = {"entities": "1M", "triples": "2M", "relations": 9, "words": "10k", "cells": "1M"}
WIKIDATA: dict[str, Any] = {"entities": "90M", "triples": "600M", "relations": 1300, "words": "5M", "tokens": "10B"}


def of(data: str, settings: dict[str, Any] | None = None, **more: Any) -> Plan:
    return distjoint.plan(data, config(settings), **more)


def moved(run: Path) -> dict[str, float]:
    """Bytes that the run's last epoch moved."""
    line = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
    return {name: line.get(name, 0) for name in ("moved_bytes", "sent_bytes")}


@pytest.mark.parametrize("coupling", ["none", "dual", "soft"])
def test_a_checkpoint_takes_the_bytes_that_were_foreseen(known: Train, small: Small, coupling: str) -> None:
    chosen = {"model.coupling": coupling}
    folder = RunFolder.open(str(known(chosen)))
    files = Checkpoint.open(folder.folder / str(folder.info.result)).manifest.files
    made = of(small.joint, chosen)
    assert made.checkpoint == sum(file.bytes for file in files)
    assert made.table == table_bytes(scheme_of(folder.info).parts, folder.layout)
    assert made.dataset == sum(file.bytes for file in Dataset.open(small.joint).manifest.files)


def test_adam_and_reciprocal_relations_too(known: Train, small: Small) -> None:
    settings = {"graph.optimizer": "adam", "model.reciprocal": True, "train.epochs": 1}
    folder = RunFolder.open(str(known(settings)))
    files = Checkpoint.open(folder.folder / str(folder.info.result)).manifest.files
    assert of(small.joint, settings).checkpoint == sum(file.bytes for file in files)


@pytest.mark.parametrize(("memory", "groups"), [(16_000, None), (None, 3)])
def test_what_an_epoch_moves_is_what_was_foreseen(
    known: Train, small: Small, memory: int | None, groups: int | None
) -> None:
    """Of the second epoch: in the first, shards begin."""
    settings = {"train.memory": memory, "train.groups": groups, "train.epochs": 2}
    made = of(small.joint, settings)
    measured = moved(known(settings))
    assert made.epoch.parked == measured["moved_bytes"]
    assert (made.epoch.parked > 0) == (memory is not None)
    assert made.epoch.sent == measured["sent_bytes"] == 0


def test_workers_send_shards_and_sums_of_gradients(known: Train, small: Small) -> None:
    """Two passes of three rounds; a shard is handed over no more than once a round."""
    made = of(small.joint, workers=2)
    assert made.epoch.rounds == 6
    assert made.epoch.visits == 12
    assert 0 < made.epoch.sent < 6 * made.checkpoint
    folder = RunFolder.open(str(known({})))
    dense = Checkpoint.open(folder.folder / str(folder.info.result)).dense()
    summed = sum(4 * values.numel() for name, values in dense.items() if not name.endswith(".state"))
    assert made.epoch.summed == pytest.approx(made.epoch.syncs * 2 * summed, rel=1e-9)


def test_parts_add_up_to_the_table_and_memory_to_its_sum(small: Small) -> None:
    made = of(small.joint)
    assert {part.holds for part in made.parts} == {"vectors", "optimizer"}
    assert {part.name for part in made.parts if part.holds == "vectors"} == {"W", "C", "W.bias", "C.bias", "X"}
    assert (
        made.to_dict()["memory"]["total"]
        == made.memory.total
        == sum(value for name, value in made.to_dict()["memory"].items() if name != "total")
    )
    assert made.epoch.samples["triples"] == 2 * made.counts["triples/train"]
    assert made.epoch.samples["cells"] == made.counts["cells"]
    json.dumps(made.to_dict())


def test_every_coupling_has_a_plan() -> None:
    for name in COUPLINGS.names():
        sizes = SMALLER | {"mentions": "10M", "aligned": "5k"}
        made = distjoint.plan(config={"model.coupling": name}, workers=2, node="r6i.32xlarge", dim=64, **sizes)
        assert made.coupling == name
        assert made.hours > 0
        assert made.price == pytest.approx(made.hours * 2 * 8.064)


@settings(max_examples=15)
@given(
    rows=st.integers(1_000, 10**8), more=st.integers(0, 10**8), words=st.integers(64, 10**6), dim=st.integers(2, 500),
    wider=st.integers(0, 500), workers=st.sampled_from([1, 2, 4]), coupling=st.sampled_from(["none", "dual", "tie"]),
)  # fmt: skip
def test_more_rows_or_dimensions_never_take_less_memory(
    rows: int, more: int, words: int, dim: int, wider: int, workers: int, coupling: str
) -> None:
    def memory(entities: int, dim: int) -> int:
        sizes = dict.fromkeys(("tokens", "aligned", "mentions"), 0)
        sizes |= {"entities": entities, "words": words, "triples": 10**6, "relations": 10, "cells": 10**6}
        data = imagine(sizes, workers, shards=16)
        chosen = config({"model.dim": 2 * dim, "model.coupling": coupling, "train.threads": 1})
        info = plan_run(data, "sizes", chosen, workers, 1 << 50)
        return memory_of(info, data, workers, [typical_round(info)], available=1 << 40).total

    assert memory(rows, dim) <= memory(rows + more, dim) <= memory(rows + more, dim + wider)


@given(st.integers(2, 40), st.integers(1, 10**12))
def test_more_tokens_never_have_fewer_counts(words: int, tokens: int) -> None:
    assert 0 <= estimate_cells(tokens, words) <= words**2
    assert estimate_cells(tokens, words) <= estimate_cells(2 * tokens, words)


def test_an_imagined_dataset_holds_all_of_its_samples() -> None:
    sizes = {"entities": 1000, "triples": 5001, "relations": 3, "words": 200, "cells": 777, "aligned": 20}
    data = imagine(sizes | {"tokens": 0, "mentions": 13}, shards=4)
    for stream, count in (("triples/train", 5001), ("cooccurrence", 777), ("mentions", 13), ("pairs", 0)):
        assert sum(data.manifest.samples(stream, i, j) for i in range(4) for j in range(4)) == count
    triples = data.triples(1, 2)
    assert len(triples) == data.manifest.samples("triples/train", 1, 2)
    assert triples.head.max() < data.layout.shard_rows(1)
    assert data.layout.with_entity == 1000
    assert data.layout.with_word == 200
    assert shrunk(data, 100).layout.rows < 300


def test_a_probe_measures_each_source_and_says_so(small: Small) -> None:
    made = of(small.joint, probe=True, probe_seconds=0.3)
    assert made.speed.measured
    assert made.speed.rates.keys() == {"cells", "triples"}
    assert all(rate > 0 for rate in made.speed.rates.values())
    assert "a probe of this machine" in made.speed.said
    assert not of(small.joint).speed.measured


def test_a_probe_of_sizes_trains_on_drawn_samples() -> None:
    sizes: dict[str, Any] = {
        "entities": 5000,
        "triples": 20_000,
        "relations": 5,
        "words": 2000,
        "cells": 10_000,
        "mentions": 9000,
    }
    made = distjoint.plan(config=config({"model.coupling": "described"}), probe=True, probe_seconds=0.3, **sizes)
    assert made.speed.rates.keys() == {"cells", "triples", "mentions"}
    assert "drawn" in made.speed.said


def test_workers_without_a_lane_are_named() -> None:
    made = distjoint.plan(workers=6, shards=8, dim=10, **SMALLER)
    assert made.lanes == 4
    assert any("2 of 6 workers idle" in line for line in made.advice)


def test_what_does_not_fit_says_what_would() -> None:
    made = distjoint.plan(dim=200, node="c6i.8xlarge", **WIKIDATA)
    assert not made.fits
    assert made.bound == "memory"
    workers = next(int(line.split()[1].rstrip(":")) for line in made.advice if line.startswith("--workers"))
    more = distjoint.plan(dim=200, node="c6i.8xlarge", workers=workers, **WIKIDATA)
    assert more.fits
    limit = next(line.split("=")[1].split(":")[0] for line in made.advice if "train.memory" in line)
    less = distjoint.plan(config={"train.memory": limit}, dim=200, node="c6i.8xlarge", **WIKIDATA)
    assert less.fits
    assert less.epoch.parked > 0


def test_what_bounds_an_epoch_follows_the_machine() -> None:
    plenty = {"node": "r6i.32xlarge", "workers": 2, "dim": 100, "shards": 16, **SMALLER}
    assert distjoint.plan(network=0.1, **plenty).bound == "network"
    assert distjoint.plan(cores=1, network=1000, **plenty).bound == "compute"
    slow = distjoint.plan(config={"train.memory": "100MB"}, disk=1, network=1000, **plenty)
    assert slow.bound == "disk"


def test_train_says_what_it_takes_and_refuses_what_does_not_fit(
    small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = Dataset.open(small.joint)
    info = plan_run(data, small.joint, config(), 1)
    assert "of memory a worker" in foreseen(info, data, 1, here=True, refuse=True)
    monkeypatch.setattr(memory_module, "available_memory", lambda: 1_000_000)
    with pytest.raises(UsageError, match=r"and there are 1 MB; .*--any-memory"):
        distjoint.train(small.joint, str(tmp_path / "run"), config())
    assert not (tmp_path / "run" / "run.json").exists()
    assert "are free" in foreseen(info, data, 1, here=True, refuse=False)
    assert "free" not in foreseen(info, data, 1, here=False, refuse=True)


def test_the_refusal_names_a_limit_that_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = {"entities": 10**7, "triples": 10**6, "relations": 5, "words": 0, "cells": 0, "aligned": 0, "tokens": 0}
    data = imagine(sizes | {"mentions": 0}, shards=64)
    info = plan_run(data, "sizes", config({"model.dim": 200}), 1, 1 << 40)
    monkeypatch.setattr(memory_module, "available_memory", lambda: 6 * 10**9)
    with pytest.raises(UsageError, match=r"set train\.memory=\d+MB, so that shards wait on disk"):
        foreseen(info, data, 1, here=True, refuse=True)


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({}, "say what to plan"),
        ({"dataset": "x", "entities": 5}, "leave out --entities"),
        ({"entities": "many", "triples": 1}, r"--entities: 'many' is not a count; write it like 90M"),
        ({"triples": 5}, "--triples 5 needs --entities too"),
        ({"entities": "1M"}, "nothing would train"),
        ({"entities": 5, "triples": 5, "words": 5, "tokens": 9, "aligned": 6}, "more than there are entities"),
        ({**WIKIDATA, "node": "r6i.8xlrage"}, "--node r6i.8xlrage: no such type; did you mean r6i.8xlarge?"),
        ({**WIKIDATA, "memory": "lots"}, "--memory: 'lots' is not a size"),
        ({**WIKIDATA, "memory": "0GB"}, "--memory 0GB: a node has some"),
        ({**WIKIDATA, "price": -1.0}, "--price is -1.0; it must be at least 0"),
        ({**SMALLER, "shards": 8, "config": {"train.lanes": 5}}, "8 shards are too few for 5 lanes"),
        ({**WIKIDATA, "dim": 100, "config": {"model.dim": 50}}, "give one of them"),
    ],
)
def test_what_cannot_be_meant_is_named(asked: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence.replace("?", r"\?")):
        distjoint.plan(**asked)


def test_counts_and_sizes_as_people_write_them() -> None:
    assert [parse_count(x) for x in ("90M", "1.2B", "5000", "600k", 7, "1,300", "2T")] == [
        90_000_000, 1_200_000_000, 5000, 600_000, 7, 1300, 2 * 10**12,
    ]  # fmt: skip
    assert [in_bytes(x) for x in (5, 1_500, 2.5e9, 3e12)] == ["5 bytes", "1.5 kB", "2.5 GB", "3 TB"]


def test_this_machine_is_a_node_without_a_price() -> None:
    assert node_of(None).price is None
    assert all(node.price and node.cores and node.memory for node in nodes().values())


def test_the_command_prints_the_plan_and_its_json(small: Small) -> None:
    runner = CliRunner()
    words = ["plan", small.joint, "--set", "model.dim=16", "--price", "2"]
    shown = runner.invoke(app, words)
    assert shown.exit_code == 0, shown.output
    assert "bound by" in shown.output
    made = json.loads(runner.invoke(app, [*words, "--json"]).output)
    assert made["fits"] is True
    assert made["price"] == pytest.approx(2 * made["hours"])
    assert "r6i.8xlarge" in runner.invoke(app, ["plan", "--nodes"]).output


def test_hours_and_price_count_every_epoch(small: Small) -> None:
    one, many = (of(small.joint, {"train.epochs": n}, price=3.0) for n in (1, 10))
    assert many.hours == pytest.approx(10 * one.hours)
    assert many.price == pytest.approx(10 * (one.price or 0))
    assert replace(one, node=node_of(None)).price is None


def test_the_page_on_scale_says_what_its_command_prints() -> None:
    """The command for 8 nodes in docs/scale.md, and its column of the table."""
    page = (Path(__file__).parents[1] / "docs" / "scale.md").read_text()
    command = re.search(r"^(distjoint plan --entities 100M .*?)\n```", page, re.DOTALL | re.MULTILINE)
    assert command
    shown = CliRunner().invoke(app, [*shlex.split(command[1].replace("\\\n", " "))[1:], "--json"])
    assert shown.exit_code == 0, shown.output
    made = json.loads(shown.output)
    row = [line.split("|")[3].strip() for line in page.splitlines() if line.startswith("| ") and line.count("|") == 6]
    nodes_, groups, arena, memory, sent, summed, seconds, hours = row
    assert nodes_ == f"{made['workers']} {made['node']['name']}"
    assert groups == f"{made['groups']} of {made['shards']}"
    assert [arena, memory] == [in_bytes(made["memory"][name]) for name in ("table", "total")]
    assert [sent, summed] == [in_bytes(made["epoch"][name]) for name in ("sent", "summed")]
    assert seconds == f"{made['epoch']['compute']:.0f}, {made['epoch']['network']:.0f}"
    assert float(hours) == pytest.approx(made["hours"], abs=0.01)
