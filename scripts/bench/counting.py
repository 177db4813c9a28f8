"""Counting and partitioning against Stanford GloVe's `cooccur` and `shuffle`, on the same text.

python scripts/bench/counting.py --corpus books.txt.zst [--glove-build GloVe/build] [--tokens 10000000] [--memory 1GB]

Both get one file of tokens in plain text, the same window, min count and memory; both choose the vocabulary
from it by the same rule, and the numbers of words and cells are compared. Stanford's side is timed without its
`vocab_count`; ours is the whole of `prepare`: reading, vocabulary, counting, shuffling, Parquet, checksums.
Each program is a process of its own, so peak memory is that of all it needs. Compiled loops are loaded from
their cache: a run on a few lines comes first. Where Stanford's programs are absent their line is left out.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from distjoint.base.progress import short
from distjoint.base.sizes import parse_bytes
from distjoint.data.corpus import Corpus
from distjoint.data.dataset import Dataset
from distjoint.data.tokens import Counter, Lexicon, encode_blocks

RECORD = 16
"""Bytes of one of Stanford's counts: two int32 and a float64."""

OURS = """
import json, sys, distjoint
corpus, out, options = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
summary = distjoint.prepare(out, corpus=corpus, tokenizer="whitespace", **options)
print(json.dumps(dict(summary.seconds)))
"""


@dataclass(frozen=True)
class Spent:
    """What a process needed: seconds by the clock, of processor time, and bytes at its peak."""

    seconds: float
    cpu: float
    peak: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--corpus", required=True, help="text in any format that prepare reads")
    parser.add_argument("--glove-build", type=Path, help="folder with cooccur, shuffle and vocab_count")
    parser.add_argument("--tokens", type=int, help="only so many tokens of it")
    parser.add_argument("--window", type=int, default=10)
    parser.add_argument("--min-count", type=int, default=5)
    parser.add_argument("--memory", default="1GB")
    parser.add_argument("--shards", type=int)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="distjoint-bench-") as scratch:
        run(arguments, Path(scratch))


def run(arguments: argparse.Namespace, scratch: Path) -> None:
    """Time both and print the table."""
    text = scratch / "tokens.txt"
    tokens = write_tokens(arguments.corpus, text, arguments.tokens)
    table = Table(title=f"{short(tokens)} tokens, window {arguments.window}, memory {arguments.memory}")
    for name in ("", "seconds", "CPU seconds", "tokens/s", "peak memory", "words", "cells"):
        table.add_column(name, justify="right" if name else "left")

    def line(name: str, spent: Spent, words: int | None = None, cells: int | None = None) -> None:
        counts = [f"{number:,}" if number is not None else "" for number in (words, cells)]
        seconds = [f"{spent.seconds:.1f}", f"{spent.cpu:.1f}", short(tokens / spent.seconds)]
        table.add_row(name, *seconds, f"{spent.peak / 1e9:.2f} GB", *counts)

    ours, phases, dataset = time_ours(arguments, text, scratch)
    line("distjoint prepare", ours, dataset.manifest.counts["words"], dataset.manifest.counts["cells"])
    console, ratio = Console(width=110), ""
    build = arguments.glove_build
    if build and all((build / name).is_file() for name in ("vocab_count", "cooccur", "shuffle")):
        vocabulary, counting, shuffling, words, cells = time_stanford(arguments, text, scratch)
        line("vocab_count", vocabulary)
        line("cooccur", counting, words, cells)
        line("shuffle", shuffling)
        times = (counting.seconds + shuffling.seconds) / ours.seconds
        ratio = f"cooccur + shuffle take {times:.1f} times as long as the whole of distjoint prepare"
    else:
        ratio = "Stanford's programs: left out, no --glove-build with vocab_count, cooccur and shuffle"
    console.print(table)
    console.print("of which: " + ", ".join(f"{name} {seconds:.1f} s" for name, seconds in phases.items()))
    console.print(ratio)


def write_tokens(corpus: str, place: Path, most: int | None) -> int:
    """The words of a corpus, a document a line; returns how many."""
    lexicon, counter = Lexicon("unicode"), Counter()
    with place.open("w") as out:
        for _, ids in encode_blocks(Corpus.find([corpus]).blocks(), lexicon, counter):
            words = lexicon.words()
            spelled = (words[token] + " " if token >= 0 else "\n" for token in ids.tolist())
            out.write("".join(spelled))
            if most and counter.tokens >= most:
                break
        out.write("\n")
    return counter.tokens


def time_ours(arguments: argparse.Namespace, text: Path, scratch: Path) -> tuple[Spent, dict[str, float], Dataset]:
    options = {name: getattr(arguments, name) for name in ("window", "min_count", "memory", "shards")}
    few = scratch / "few.txt"
    few.write_text("a b c d\n" * 9)
    spend([sys.executable, "-c", OURS, str(few), str(scratch / "few"), json.dumps(options)])
    out, phases = scratch / "dataset", scratch / "phases"
    spent = spend([sys.executable, "-c", OURS, str(text), str(out), json.dumps(options)], output=phases)
    return spent, json.loads(phases.read_text()), Dataset.open(str(out))


def time_stanford(arguments: argparse.Namespace, text: Path, scratch: Path) -> tuple[Spent, Spent, Spent, int, int]:
    """vocab_count, cooccur and shuffle one after the other; then how many words and cells they found."""
    build, gigabytes = arguments.glove_build.resolve(), str((parse_bytes(arguments.memory) or 0) / 2**30)
    vocabulary, counts, shuffled = (scratch / name for name in ("vocab.txt", "counts.bin", "shuffled.bin"))
    quiet = ["-verbose", "0"]
    first = spend([build / "vocab_count", "-min-count", str(arguments.min_count), *quiet], text, vocabulary, scratch)
    second = spend(
        [build / "cooccur", "-memory", gigabytes, "-vocab-file", vocabulary, "-window-size", str(arguments.window),
         "-overflow-file", scratch / "overflow", *quiet], text, counts, scratch,
    )  # fmt: skip
    third = spend(
        [build / "shuffle", "-memory", gigabytes, "-temp-file", scratch / "shuffle", *quiet], counts, shuffled, scratch
    )
    words = sum(1 for _ in vocabulary.open(errors="replace"))
    return first, second, third, words, shuffled.stat().st_size // RECORD


def spend(
    command: list[str | Path], text: Path | None = None, output: Path | None = None, at: Path | None = None
) -> Spent:
    """Run a program to its end; exits where it fails."""
    start = time.monotonic()
    with Path(text or os.devnull).open("rb") as source, Path(output or os.devnull).open("wb") as sink:
        process = subprocess.Popen(
            [str(word) for word in command], stdin=source, stdout=sink, stderr=subprocess.PIPE, cwd=at
        )
        assert process.stderr is not None
        messages = process.stderr.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{command[0]} failed: {messages.decode(errors='replace')[-500:]}")
    return Spent(time.monotonic() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)


if __name__ == "__main__":
    main()
