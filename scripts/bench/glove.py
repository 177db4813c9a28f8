"""GloVe against Stanford's C program, on the same text: counting, cells/s, cost per epoch, and (--parity) quality.

python scripts/bench/glove.py --text books.txt.zst --stanford GloVe/ [--parity --similarity sets/*.txt]

Both read one tokenised file, with equal threads, window, min count and x_max, so the counts are the same. The
learning rate and what it does are the same. Both costs are the mean over all cells of 0.5 * weight * difference^2,
taken before a cell's own update (glove.c adds `0.5 * fdiff * diff` and divides by the number of records), so they
compare directly.
Seconds are of whole epochs, reading included; the median epoch counts, so compilation does not. Where Stanford's
program is absent its columns are left out. GloVe/ is a checkout in which `make` has run.
"""

from __future__ import annotations

import argparse
import io
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

import distjoint
from distjoint.base.progress import for_terminal, short
from distjoint.evaluate.sets import read_similarity
from distjoint.evaluate.similarity import similarity
from distjoint.evaluate.space import Space

WINDOW, MIN_COUNT, X_MAX = 10, 5, 10
RECORD = 16
"""Bytes of one of Stanford's counts: two int32 and a float64."""


@dataclass(frozen=True)
class Trained:
    """One program's training.

    seconds, costs   of each epoch
    space            the vectors, W + C
    """

    cells: int
    seconds: list[float]
    costs: list[float]
    space: Space

    @property
    def rate(self) -> float:
        return self.cells / statistics.median(self.seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--text", type=Path, help="plain or .zst; without it WordNet's glosses")
    parser.add_argument("--tokens", type=int, help="take only so many")
    parser.add_argument("--stanford", type=Path, help="a built checkout of Stanford's GloVe")
    parser.add_argument("--dims", type=int, nargs="+", default=[100, 300])
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--rate", type=float, help="another text.learning_rate than the default, for distjoint")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--memory", type=float, default=4.0, help="GB for counting, both programs")
    parser.add_argument("--parity", action="store_true", help="100 dimensions, 15 epochs, and word similarity")
    parser.add_argument("--similarity", nargs="+", default=[], help="word pairs for --parity")
    parser.add_argument("--work", type=Path, help="folder for what is made; reused by the next run")
    args = parser.parse_args()
    if args.parity:
        args.dims, args.epochs = [100], 15
    with tempfile.TemporaryDirectory(prefix="distjoint-bench-") as scratch:
        work = args.work or Path(scratch)
        work.mkdir(parents=True, exist_ok=True)
        bench(args, work)


def bench(args: argparse.Namespace, work: Path) -> None:
    stanford = args.stanford if args.stanford and (args.stanford / "build" / "glove").is_file() else None
    if stanford is None:
        print("Stanford's GloVe: left out, no --stanford folder with build/glove")
    text = work / "text.txt"
    if not text.exists():
        write_tokens(args.text, text, args.tokens)
    ours, theirs = count(args, work), count_stanford(stanford, args, work) if stanford else None
    print(f"counting and partitioning: distjoint {ours:.1f} s", end="")
    print(f"; cooccur + shuffle {theirs:.1f} s; ratio {theirs / ours:.1f}" if theirs else "")
    for dim in args.dims:
        mine = train(args, work, dim)
        peer = train_stanford(stanford, args, work, dim) if stanford else None
        report(dim, args.threads, mine, peer)
        if args.parity:
            report_similarity(args.similarity, mine, peer)


def write_tokens(source: Path | None, target: Path, limit: int | None) -> None:
    """Lower-cased words between spaces, line by line, which both programs read as they stand."""
    left = limit or sys.maxsize
    with target.open("w") as out:
        for line in lines_of(source):
            words = re.findall(r"[^\W_]+", line.lower())[:left]
            if words:
                out.write(" ".join(words) + "\n")
            left -= len(words)
            if left <= 0:
                break


def lines_of(source: Path | None) -> Iterator[str]:
    if source is None:
        from distjoint.demo import wordnet

        yield from wordnet.read(wordnet.installed()).text
        return
    with source.open("rb") as raw:
        stream: Any = pa.CompressedInputStream(raw, "zstd") if source.suffix == ".zst" else raw
        yield from io.TextIOWrapper(stream, encoding="utf-8")


def count(args: argparse.Namespace, work: Path) -> float:
    """Seconds for text to partitions; those of the first time where the dataset is there already."""
    note = work / "prepare.json"
    if not note.exists():
        start = time.perf_counter()
        distjoint.prepare(
            str(work / "dataset"),
            corpus=[str(work / "text.txt")],
            tokenizer="whitespace",
            window=WINDOW,
            min_count=MIN_COUNT,
            memory=f"{args.memory}GB",
            overwrite=True,
            progress=for_terminal(),
        )
        note.write_text(json.dumps(time.perf_counter() - start))
    return float(json.loads(note.read_text()))


def count_stanford(folder: Path, args: argparse.Namespace, work: Path) -> float:
    """Seconds for vocab_count, cooccur and shuffle."""
    note, build = work / "stanford.json", folder / "build"
    if not note.exists():
        memory = ["-memory", str(args.memory), "-verbose", "0"]
        start = time.perf_counter()
        vocabulary = ["-min-count", str(MIN_COUNT), "-verbose", "0"]
        pipe([build / "vocab_count", *vocabulary], work / "text.txt", work / "vocab.txt", work)
        window = ["-vocab-file", "vocab.txt", "-window-size", str(WINDOW), "-overflow-file", "overflow"]
        pipe([build / "cooccur", *memory, *window], work / "text.txt", work / "counts.bin", work)
        shuffle = ["-temp-file", "shuffle", "-seed", "1"]
        pipe([build / "shuffle", *memory, *shuffle], work / "counts.bin", work / "shuffled.bin", work)
        note.write_text(json.dumps(time.perf_counter() - start))
        (work / "counts.bin").unlink()
    return float(json.loads(note.read_text()))


def pipe(command: list[Any], source: Path, target: Path, folder: Path) -> None:
    with source.open("rb") as stdin, target.open("wb") as stdout:
        words = [str(Path(command[0]).resolve()), *map(str, command[1:])]
        subprocess.run(words, stdin=stdin, stdout=stdout, stderr=subprocess.PIPE, cwd=folder, check=True)


def train(args: argparse.Namespace, work: Path, dim: int) -> Trained:
    run = str(work / f"run-{dim}")
    settings = {
        "model.dim": dim,
        "loss.alpha": 0,
        "loss.x_max": X_MAX,
        "train.epochs": args.epochs,
        "train.threads": args.threads,
        "train.keep": 1,
    }
    if args.rate is not None:
        settings["text.learning_rate"] = args.rate
    result = distjoint.train(str(work / "dataset"), run, settings, overwrite=True, progress=for_terminal())
    history = result.history
    seconds, costs = [line["seconds"] for line in history], [line["text_loss"] for line in history]
    return Trained(int(history[0]["cells"]), seconds, costs, distjoint.load(run).words)


def train_stanford(folder: Path, args: argparse.Namespace, work: Path, dim: int) -> Trained:
    options = {
        "input-file": "shuffled.bin",
        "vocab-file": "vocab.txt",
        "save-file": f"vectors-{dim}",
        "x-max": X_MAX,
        "alpha": 0.75,
        "iter": args.epochs,
        "threads": args.threads,
        "vector-size": dim,
        "binary": 0,
        "model": 2,
        "seed": 1,
        "verbose": 2,
    }
    command = [str((folder / "build" / "glove").resolve())]
    command += [word for name, value in options.items() for word in (f"-{name}", str(value))]
    seconds: list[float] = []
    costs: list[float] = []
    started = time.perf_counter()
    with subprocess.Popen(command, cwd=work, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "x_max" in line:  # the last line before the first epoch, but for one
                started = time.perf_counter()
            if found := re.search(r"iter: \d+, cost: ([\d.]+|nan)", line):
                now = time.perf_counter()
                seconds, costs, started = [*seconds, now - started], [*costs, float(found[1])], now
                print(f"  Stanford, {dim} dimensions, epoch {len(costs)}: cost {costs[-1]:.5f}, {seconds[-1]:.1f} s")
    if process.returncode:
        sys.exit(f"{command[0]}: exit code {process.returncode}")
    cells = (work / "shuffled.bin").stat().st_size // RECORD
    return Trained(cells, seconds, costs, read_vectors(work / f"vectors-{dim}.txt"))


def read_vectors(path: Path) -> Space:
    """Vectors in GloVe's text format, without the row for unknown words."""
    names: list[str] = []
    rows: list[np.ndarray[Any, Any]] = []
    with path.open() as lines:
        for line in lines:
            name, _, numbers = line.partition(" ")
            if name != "<unk>":
                names.append(name)
                rows.append(np.fromstring(numbers, np.float32, sep=" "))
    return Space("word", names, np.stack(rows))


def report(dim: int, threads: int, mine: Trained, peer: Trained | None) -> None:
    print(f"\nGloVe, {dim} dimensions, {threads} threads")
    print(f"  distjoint  {mine.cells:,} cells  {short(mine.rate)} cells/s")
    if peer is None:
        print("  cost by epoch  " + "  ".join(f"{cost:.5f}" for cost in mine.costs))
        return
    print(f"  Stanford   {peer.cells:,} cells  {short(peer.rate)} cells/s  ratio {mine.rate / peer.rate:.1f}")
    print("  epoch  distjoint  Stanford")
    for epoch, (cost, other) in enumerate(zip(mine.costs, peer.costs, strict=True), 1):
        print(f"  {epoch:5}  {cost:9.5f}  {other:8.5f}{'' if cost <= other else '  higher'}")


def report_similarity(files: list[str], mine: Trained, peer: Trained | None) -> None:
    """Spearman of both, vectors standardised; the two vocabularies are the same, so the pairs are too."""
    for pairs in read_similarity(files)[0].pairs:
        line = f"  {pairs.name:24} distjoint {similarity(mine.space, pairs).spearman:.3f}"
        if peer is not None:
            line += f"  Stanford {similarity(peer.space, pairs).spearman:.3f}"
        print(line)


if __name__ == "__main__":
    main()
