"""Reading: mentions/s of a refresh of all texts, and of the way of their gradient back to words and map.

python scripts/bench/mentions.py                                   # 10 M entities x 20 mentions, 100 dimensions; 16 GB
python scripts/bench/mentions.py --entities 1000000 --dim 200

Synthetic: words of entities are drawn by Zipf's law from a vocabulary. The peer is torch's `embedding_bag`, on the same
tables and as many threads; it only sums, where ours also go through the map and the lengths of words. The floor is what
memory needs to move the bytes: each mention reads a row of `dim` floats from anywhere, its place and its weight, and
each row of the result is written once; the speed of memory is that of a copy of one large array to another by all
threads. What of the words fits the cache makes a refresh faster than that.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from distjoint.backends import Backend, backend_of
from distjoint.backends.base import Bags
from distjoint.base.machine import cores, memory
from distjoint.base.progress import short
from distjoint.couplings.described import Described
from distjoint.train.reading import MentionTables, UnitWords, give_back, read_text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entities", type=int, default=10_000_000)
    parser.add_argument("--each", type=int, default=20, help="mentions of an entity")
    parser.add_argument("--words", type=int, default=200_000)
    parser.add_argument("--dim", type=int, default=100)
    parser.add_argument("--threads", type=int, default=cores())
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    console, mentions = Console(width=120), args.entities * args.each
    needed = 4 * args.dim * (2 * args.entities + 5 * args.words) + 2 * 8 * mentions + 24 * mentions
    console.print(f"{short(mentions)} mentions: about {needed / 1e9:.1f} GB, of {memory() / 1e9:.1f} GB")
    torch.set_num_threads(args.threads)
    backend = backend_of(torch.device("cpu"), args.threads)
    tables = make(backend, args.entities, args.each, args.words)
    generator = torch.Generator().manual_seed(0)
    arrays = {name: torch.randn(args.words, args.dim, generator=generator) for name in Described.read_parts}
    map_, of_map, text = torch.eye(args.dim), torch.zeros(args.dim, args.dim), torch.zeros(args.entities, args.dim)
    gradient = torch.zeros_like(text).normal_(generator=generator)
    words = UnitWords(arrays, tables)
    table = Table("", "seconds", "mentions/s", "of the floor", f"embedding_bag, {args.threads} threads, mentions/s")
    speed = bandwidth()
    for name, run, peer, rows in (
        (
            "refresh",
            lambda: read_text(backend, words, map_, tables, text, add=False),
            lambda: bag(words.units, tables.by_entity),
            args.entities,
        ),
        (
            "way back",
            lambda: give_back(backend, gradient, words, map_, tables, of_map),
            lambda: bag(gradient, tables.by_word),
            args.words,
        ),
    ):
        seconds = best(run, args.repeats)
        floor = (mentions * (4 * args.dim + 8) + 2 * 4 * args.dim * rows) / speed
        table.add_row(
            name,
            f"{seconds:.2f}",
            short(mentions / seconds),
            f"{floor / seconds:.2f}",
            short(mentions / best(peer, 1)),
        )
    console.print(f"memory moves {speed / 1e9:.1f} GB/s")
    console.print(table)


def make(backend: Backend, entities: int, each: int, words: int) -> MentionTables:
    """Mentions whose words are drawn by Zipf's law, and placed at random."""
    rng = np.random.default_rng(0)
    share = 1 / np.arange(1, words + 1)
    ends = np.cumsum(share / share.sum())
    place = rng.permutation(words).astype(np.int32)
    word = np.empty(entities * each, np.int32)
    for start in range(0, len(word), 1 << 24):
        drawn = rng.random(min(1 << 24, len(word) - start))
        word[start : start + len(drawn)] = place[np.minimum(np.searchsorted(ends, drawn), words - 1)]
    weight = np.full(len(word), each**-0.5, np.float32)
    order = np.argsort(word, kind="stable")
    by_entity = Bags(*map(torch.from_numpy, (each * np.arange(entities + 1), word, weight)))
    starts = np.concatenate([[0], np.cumsum(np.bincount(word, minlength=words))])
    by_word = Bags(*map(torch.from_numpy, (starts, (order // each).astype(np.int32), weight)))
    rows = torch.arange(words)
    return MentionTables(by_entity, by_word, torch.arange(entities), rows, rows, rows, torch.ones(entities, dtype=bool))


def bag(vectors: torch.Tensor, bags: Bags) -> torch.Tensor:
    """The same sums by torch."""
    starts = bags.starts.to(bags.index.dtype)
    return torch.nn.functional.embedding_bag(
        bags.index, vectors, starts, mode="sum", per_sample_weights=bags.weight, include_last_offset=True
    )


def best(run: Callable[[], object], repeats: int) -> float:
    """Seconds of the fastest of some runs, after one that compiles."""
    run()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def bandwidth() -> float:
    """Bytes/s that memory reads and writes in a copy."""
    source = torch.ones(1 << 27)
    target = torch.empty_like(source)
    return 2 * 4 * len(source) / best(lambda: target.copy_(source), 3)


if __name__ == "__main__":
    main()
