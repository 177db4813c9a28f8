"""A small world with a known structure, through the real `prepare`: a league of teams, in triples and in text.

Who plays for a team knows its coach: that is how held-out `knows` triples can be predicted. The text speaks of
teams and coaches in the words of their topic. Teams and half of the coaches are words and entities, all other
entities have no word, most words no entity.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import distjoint
from distjoint.config import Config
from distjoint.recipes.load import load_config
from distjoint.runs.folder import Checkpoint, RunFolder
from distjoint.table import layout

TEAMS, PLAYERS = 8, 6
SHARDS, MANY = 4, 8
Triple = tuple[str, str, str]
Train = Callable[..., Path]
"""Trains by settings on a dataset; returns the run's folder."""

FAST: dict[str, Any] = {
    "model.dim": 16,
    "train.epochs": 2,
    "train.threads": 1,
    "train.triple_passes": 2,
    "graph.batch": 64,
    "graph.chunk": 16,
    "graph.negatives": 16,
    "graph.learning_rate": 0.1,
}
"""Settings for a run of a fifth of a second."""

LEAN = {
    "RAY_TRAIN_ENABLE_STATE_TRACKING": "0",
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",
}
"""Environment in which Ray Train starts fewer processes of its own, and sees sooner that a run has ended."""


@dataclass(frozen=True)
class Small:
    """URLs of the prepared datasets.

    joint   text and graph, 4 shards of several tiles: enough for two lanes
    many    the same in 8 shards, for more lanes or groups; a run takes twice as long
    text, graph    each alone
    known   the graph, with a fifth of its training triples as valid split
    """

    joint: str
    many: str
    text: str
    graph: str
    known: str


def team(k: int) -> str:
    return "team" + chr(97 + k)


def league() -> tuple[list[Triple], list[Triple], list[Triple]]:
    """Triples of train, valid and test: every sixth `knows` is held out."""
    train, held = [], []
    for k in range(TEAMS):
        coach = f"coach{chr(97 + k)}"
        train += [(coach, "coach_of", team(k)), (team(k), "plays_against", team((k + 1) % TEAMS))]
        for p in range(PLAYERS):
            player = f"{team(k)}_player_{p}"
            train.append((player, "plays_for", team(k)))
            train.append((player, "born_in", f"city_{(7 * k + p) % 9}"))
            (held if p in (k % PLAYERS, (k + 3) % PLAYERS) else train).append((player, "knows", coach))
    return train, held[::2], [*held[1::2], ("newcomer_1", "knows", "coacha")]


def write_league(folder: Path, ending: str = "tsv") -> dict[str, str]:
    """Write the league's splits; the path of each."""
    files = {split: folder / f"{split}.{ending}" for split in ("train", "valid", "test")}
    for file, triples in zip(files.values(), league(), strict=True):
        file.write_text("".join("\t".join(triple) + "\n" for triple in triples))
    return {split: str(file) for split, file in files.items()}


def sentences(count: int = 500, seed: int = 0) -> list[str]:
    """Each about one team, in its topic's words among common ones."""
    rng = np.random.default_rng(seed)
    common = [f"common{chr(97 + k)}" for k in range(20)]
    lines = []
    for _ in range(count):
        k = int(rng.integers(TEAMS))
        topic = [f"topic{chr(97 + k)}{chr(97 + m)}" for m in range(12)]
        words = [team(k), *rng.choice(topic, 5), *rng.choice(common, 4)]
        if k % 2:
            words.append(f"coach{chr(97 + k)}")
        lines.append(" ".join(rng.permutation(words)))
    return lines


def make(folder: Path, shards: int = SHARDS) -> Small:
    """Write the raw files and prepare them five times."""
    text, files = folder / "text.txt", write_league(folder)
    text.write_text("\n".join(sentences()) + "\n")
    graph = {"triples": files["train"], "valid": files["valid"], "test": files["test"]}
    known = folder / "known.tsv"
    known.write_text("".join("\t".join(triple) + "\n" for triple in league()[0][::5]))
    made = Small(*(str(folder / name) for name in ("joint", "many", "text", "graph", "known")))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layout, "TILE_ROWS", 8)  # so that a shard has several tiles
        options: dict[str, Any] = {"shards": shards, "min_count": 1, "window": 5}
        distjoint.prepare(made.joint, corpus=str(text), **graph, **options)
        distjoint.prepare(made.many, corpus=str(text), **graph, **{**options, "shards": MANY})
        distjoint.prepare(made.text, corpus=str(text), **options)
        distjoint.prepare(made.graph, **graph, **options)
        distjoint.prepare(made.known, triples=files["train"], valid=str(known), **options)
    return made


def make_paired(folder: Path) -> str:
    """Prepare the league with pairs: each team is its own word, and three words of its topic besides; its URL."""
    text, pairs, files = folder / "text.txt", folder / "pairs.tsv", write_league(folder)
    text.write_text("\n".join(sentences()) + "\n")
    further = ((team(k), f"topic{chr(97 + k)}{chr(97 + m)}") for k in range(TEAMS) for m in range(3))
    lines = [*((team(k), team(k)) for k in range(TEAMS)), *further]
    pairs.write_text("".join("\t".join(line) + "\n" for line in lines))
    graph = {"triples": files["train"], "valid": files["valid"], "align": str(pairs)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layout, "TILE_ROWS", 8)
        distjoint.prepare(str(folder / "paired"), corpus=str(text), **graph, shards=SHARDS, min_count=1, window=5)
    return str(folder / "paired")


def config(settings: Mapping[str, Any] | None = None, **sections: Any) -> Config:
    """FAST with changes, as `{"model.dim": 8}`."""
    return load_config(overrides={**FAST, **(settings or {}), **sections})


def tensors(run: str | Path, epoch: int | None = None) -> dict[str, np.ndarray]:
    """Everything in a checkpoint, by shard and name; by default in the run's result."""
    folder = RunFolder.open(str(run))
    checkpoint = folder.result() if epoch is None else Checkpoint.open(folder.folder / f"checkpoints/epoch-{epoch:05d}")
    found = {f"dense/{name}": value.numpy() for name, value in checkpoint.dense().items()}
    for shard in range(folder.layout.shards):
        found |= {f"{shard}/{name}": value.numpy() for name, value in checkpoint.shard(shard).items()}
    return found


def assert_same_bits(one: Mapping[str, np.ndarray], other: Mapping[str, np.ndarray]) -> None:
    assert set(one) == set(other)
    for name, value in one.items():
        assert np.array_equal(value.view(np.int32), other[name].view(np.int32)), name


def info(run: str | Path) -> dict[str, Any]:
    """run.json."""
    return dict(json.loads((Path(run) / "run.json").read_text()))


def history(run: Path) -> list[dict[str, Any]]:
    """metrics.jsonl."""
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def losses(run: Path) -> list[dict[str, float]]:
    """By epoch, without what a clock says, and what moved."""
    return [{k: v for k, v in line.items() if "second" not in k and not k.endswith("_bytes")} for line in history(run)]


__all__ = [
    "FAST",
    "LEAN",
    "SHARDS",
    "Small",
    "Train",
    "assert_same_bits",
    "config",
    "history",
    "info",
    "league",
    "losses",
    "make",
    "make_paired",
    "sentences",
    "tensors",
    "write_league",
]
