"""Compares two checkouts by the bits of what they train: the same small runs by the code of each, a row for each run.

python scripts/same_bits.py OLD NEW [--only PATTERN] [--json]
python scripts/same_bits.py ../before . --only 'dual complex|resumed'

OLD and NEW are folders of checkouts, git worktrees or clones, of any two commits. Each prepares the same generated text
and triples, and trains every case of the matrix: couplings, scorers, candidates, lanes, workers (with Ray), losses and
other settings, a run that is killed and resumed, and OLD's killed run resumed by NEW. Compared are the datasets, every
tensor of the final checkpoints, the losses in metrics.jsonl and figures of evaluation to 4 digits. Some cases are also
compared with another of the same checkout that must train the same, as 1 thread must and 2. Workers of Ray may sum the
gradients of dense parameters in another order, and differ by rounding: those cases have a tolerance.

Only `distjoint.prepare`, `train` and `evaluate` are called, in a process whose code comes from the checkout; kernels
are compiled anew, since cached ones may be of older code. Exit status 1: something differs. Five minutes on 2 cores.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import yaml
from rich.console import Console
from rich.progress import track
from rich.table import Table
from rich.text import Text
from safetensors.numpy import load_file

BASE = (
    "model.dim=16 model.scorer=complex train.epochs=2 train.triple_passes=2 train.threads=2 "
    "graph.batch=256 graph.chunk=32 graph.negatives=32 graph.learning_rate=0.1"
)
"""Settings of every case, before its own: joint training with coupling dual and sampled negatives."""

SCORERS = ("complex", "transe", "rotate", "distmult")
CANDIDATES = {"sampled": "", "1vsall": "graph.candidates=1vsall"}

BOTH = """
rescal: model.scorer=rescal; rescal, no cosine: model.scorer=rescal model.cosine=false
transe, norm 1: model.scorer=transe model.cosine=false model.norm=1; l2: graph.l2=0.01
graph alone: loss.alpha=1; logistic: graph.loss=logistic; not reciprocal: model.reciprocal=false
n3: graph.n3=0.01 model.cosine=false; dropout: graph.dropout=0.2 graph.relation_dropout=0.1
relation weight: graph.relation_weight=0.5 model.cosine=false
"""
"""Cases that are trained with sampled negatives and with 1vsall: `name: settings`, in lines or by semicolons."""

OTHERS = """
text alone: loss.alpha=0; text alone, 2 lanes: loss.alpha=0 train.lanes=2
margin: graph.loss=margin model.cosine=false; margin, transe: graph.loss=margin model.scorer=transe model.cosine=false
adversarial: graph.loss=adversarial model.cosine=false
adversarial, rotate: graph.loss=adversarial graph.margin=3 model.scorer=rotate model.cosine=false
1vsall, smoothing: graph.candidates=1vsall graph.smoothing=0.1
kvsall, smoothing: graph.candidates=kvsall graph.smoothing=0.1 model.coupling=tie
kvsall, logistic: graph.candidates=kvsall graph.loss=logistic model.cosine=false model.coupling=none
relation weight, distmult: graph.relation_weight=0.5 model.scorer=distmult model.cosine=false
relation weight, rescal: graph.relation_weight=0.5 model.scorer=rescal model.cosine=false
typed negatives: graph.typed=true; known triples as negatives: graph.mask_known=false
negatives by degree: graph.power=0.75; no in-batch negatives: graph.in_batch=false
subsampling: graph.subsampling=0.5; decay and warm-up: text.decay=linear graph.decay=cosine graph.warmup=0.2
frozen words: train.freeze=words,contexts; frozen entities: train.freeze=entities
frozen relations and map: train.freeze=relations,map; initial vectors: train.init=init.txt
validation: train.validate_every=1 train.patience=1 train.epochs=4 train.final_test=true
4 groups: train.groups=4; 4 lanes, sync of every batch: train.lanes=4 train.sync_batches=1
"""

FIGURES = ("mrr", "hits@1", "hits@10", "spearman")
FIGURE, LOSS, CHANCE = 0.5e-4, 1e-6, 1e-4
"""What counts as nothing: of figures; of losses, relative to them, as threads may add them in any order; of tensors,
relative to their largest number, and of figures and losses, where the order of sums is left to chance."""


@dataclass(frozen=True)
class Case:
    """One run of the matrix.

    settings    `key=value`, separated by blanks; the last of a key counts
    data        the dataset: `small`, or `wide`, whose shards have several tiles
    workers     more than 1 are Ray's
    how         `train`; `resume`: killed after its first checkpoint and resumed; `adopt`: OLD's killed run resumed
    like        another case that must come to the same bits in the same checkout
    tolerance   relative difference that is none, where the order of sums depends on chance; 0 for the same bits
    """

    name: str
    settings: str
    data: str = "small"
    workers: int = 1
    how: str = "train"
    like: str = ""
    tolerance: float = 0.0

    def config(self, raw: Path) -> dict[str, Any]:
        pairs = (item.split("=", 1) for item in f"{BASE} {self.settings}".split())
        return {key: str(raw / value) if key == "train.init" else yaml.safe_load(value) for key, value in pairs}


def all_cases() -> dict[str, Case]:
    """The matrix by name."""
    found = [
        Case(f"{coupling} {scorer} {kind}", f"model.coupling={coupling} model.scorer={scorer} {CANDIDATES[kind]}")
        for coupling, scorer, kind in product(("none", "tie", "dual"), SCORERS, CANDIDATES)
    ]
    rotated = [case for case in found if case.name.endswith(("complex sampled", "transe 1vsall"))]
    found += [Case(f"{case.name}, 2 lanes", f"{case.settings} train.lanes=2") for case in rotated]
    both, others = (dict(re.findall(r"[;\s]*(.+?): ([^;\n]+)", table)) for table in (BOTH, OTHERS))
    both |= {f"{scorer}, no cosine": f"model.cosine=false model.scorer={scorer}" for scorer in SCORERS}
    found += [Case(f"{name}, {kind}", f"{both[name]} {CANDIDATES[kind]}") for name, kind in product(both, CANDIDATES)]
    found += [Case(name, settings) for name, settings in others.items()]
    long = "train.epochs=30 train.lanes=2 train.groups=6 train.checkpoint_rounds=1"
    two, full = "train.lanes=2", f"model.coupling=none model.scorer=transe {CANDIDATES['1vsall']}"
    found += [
        Case("1 thread", "train.threads=1", like="dual complex sampled"),
        Case("wide rows", "", data="wide"),
        Case("wide rows, 1 thread", "train.threads=1", data="wide", like="wide rows"),
        Case("wide rows, 4 groups", "train.groups=4", data="wide"),
        Case("wide rows, from disk", "train.groups=4 train.memory=1MB", data="wide", like="wide rows, 4 groups"),
        Case("long", long),
        Case("long, killed and resumed", long, how="resume", like="long"),
        Case("long, killed in OLD and resumed", long, how="adopt", like="long"),
        Case("text alone, 2 workers", f"loss.alpha=0 {two}", workers=2, like="text alone, 2 lanes"),
        Case("dual complex sampled, 2 workers", two, workers=2, like="dual complex sampled, 2 lanes", tolerance=CHANCE),
        # Batches of 1vsall depend on where rows lie in memory, so on the number of workers: it is like no other case.
        Case("none transe 1vsall, 2 workers", f"{full} {two}", workers=2, tolerance=CHANCE),
    ]
    return {case.name: case for case in found}


@dataclass
class Row:
    """What was found of a case or a dataset.

    wrong       what differs, in words; none where nothing does; and `tolerated`, by less than the case's tolerance
    tensors     of those that differ: how many numbers do, of how many, by how much at most, and relative to the largest
    numbers     figures of evaluation, and losses, by checkout
    """

    name: str
    wrong: list[str] = field(default_factory=list)
    tolerated: list[str] = field(default_factory=list)
    tensors: dict[str, dict[str, tuple[int, int, float, float]]] = field(default_factory=dict)
    numbers: dict[str, dict[str, float]] = field(default_factory=dict)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", type=Path, metavar="OLD", help="folder of a checkout")
    parser.add_argument("new", type=Path, metavar="NEW", help="folder of the checkout to compare with it")
    parser.add_argument("--only", default="", metavar="PATTERN", help="cases in whose name the regular expression is")
    parser.add_argument("--json", action="store_true", help="print JSON in place of the table")
    args, every = parser.parse_args(), all_cases()
    for checkout in (args.old, args.new):
        if not (checkout / "distjoint/__init__.py").is_file():
            parser.error(f"{checkout}: no checkout of distjoint; give a folder that holds distjoint/__init__.py")
    names = {name for name in every if re.search(args.only, name)}
    names |= {every[name].like for name in names}  # what they are compared with
    cases = {name: case for name, case in every.items() if name in names}
    with tempfile.TemporaryDirectory(prefix="distjoint-same-bits-", ignore_cleanup_errors=True) as scratch:
        rows = compare(Path(scratch), {"OLD": args.old.resolve(), "NEW": args.new.resolve()}, cases)
    if args.json:
        print(json.dumps([asdict(row) for row in rows], indent=1))
    else:
        print_table(rows)
    sys.exit(any(row.wrong for row in rows))


def compare(work: Path, checkouts: dict[str, Path], cases: dict[str, Case]) -> list[Row]:
    """Train every case by both checkouts, one after the other, and compare."""
    make_world(work / "raw/small", words=400, entities=300, shared=150, triples=3000)
    make_world(work / "raw/wide", words=9000, entities=5000, shared=2000, triples=9000)
    answers: Any = {side: {name: {"error": "its process ended too early"} for name in cases} for side in checkouts}
    for side, checkout in checkouts.items():
        (work / side / "kernels").mkdir(parents=True)
        job = {"checkout": str(checkout), "work": str(work), "side": side, "cases": list(map(asdict, cases.values()))}
        for name, answer in track(in_checkout(job), side, len(cases), console=Console(stderr=True)):
            answers[side][name] = answer
    rows = [compare_datasets(name, [work / side / name for side in checkouts]) for name in ("small", "wide")]
    return rows + [compare_case(work, case, answers) for case in cases.values()]


def make_world(folder: Path, words: int, entities: int, shared: int, triples: int, topics: int = 20) -> None:
    """Write text whose lines keep to a topic, triples whose relations lead from topic to topic, and more about them."""
    rng = np.random.default_rng(1)
    spelled = ["w" + "".join(chr(97 + int(digit)) for digit in f"{number:04d}") for number in range(words)]
    names = spelled[:shared] + [f"thing_{number}" for number in range(shared, entities)]
    topic = np.where(rng.random((5000, 12)) < 0.6, *(rng.integers(topics, size=(5000, n)) for n in (1, 12)))
    word = topic + topics * (rng.zipf(1.3, topic.shape) % (words // topics))
    relation = rng.integers(10, size=2 * triples)
    head = relation % 4 + 4 * rng.integers(entities // 4, size=2 * triples)
    tail = (head + 3 * relation + 1) % topics + topics * rng.integers(entities // topics, size=2 * triples)
    drawn = (f"{names[h]}\trelation_{r}\t{names[t]}" for h, r, t in zip(head, relation, tail, strict=True))
    found, held = list(dict.fromkeys(drawn))[:triples], triples // 20
    pairs, vectors = rng.integers(words, size=(100, 2)), rng.normal(size=(shared, 16)).round(3).tolist()
    files = {
        "corpus": [" ".join(spelled[k] for k in line) for line in word],
        "triples": found[2 * held :],
        "valid": found[:held],
        "test": found[held : 2 * held],
        "types": [f"{name}\ttype_{number % 4}" for number, name in enumerate(names)],
        "pairs": [f"{spelled[a]} {spelled[b]} {int(a % topics == b % topics)}" for a, b in pairs],
        "init": [" ".join([name, *map(str, vector)]) for name, vector in zip(names, vectors, strict=False)],
    }
    folder.mkdir(parents=True)
    for name, lines in files.items():
        (folder / f"{name}.txt").write_text("\n".join(lines) + "\n")


def in_checkout(job: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Run a job's cases by the code of its checkout; yields name and answer of each as soon as it is known."""
    place = Path(job["work"]) / job["side"]
    with (place / "log.txt").open("w") as log:
        process = start(job, place / "job.json", log)
        try:
            for line in process.stdout or ():
                if line.startswith('{"case"'):
                    answer = json.loads(line)
                    yield answer["case"], answer
            process.wait()
        finally:
            process.terminate()  # and not killed, so that Ray ends what it has started
            process.wait()
    if process.returncode:
        print((place / "log.txt").read_text(), file=sys.stderr)


def start(job: dict[str, Any], place: Path, log: Any) -> subprocess.Popen[str]:
    """A process of this file, with the code of the job's checkout; `place` is where the job is written for it."""
    place.write_text(json.dumps(job))
    environment = {**os.environ, "PYTHONPATH": job["checkout"], "RAY_AUTH_MODE": "disabled"}
    environment["NUMBA_CACHE_DIR"] = f"{job['work']}/{job['side']}/kernels"
    environment["RAY_TRAIN_HEALTH_CHECK_INTERVAL_S"] = "0.2"  # the end of a run is seen sooner
    command, out = [sys.executable, str(Path(__file__).resolve()), "--job", str(place)], subprocess.PIPE
    return subprocess.Popen(command, cwd=job["checkout"], env=environment, stdout=out, stderr=log, text=True)


def run_job(job: dict[str, Any]) -> None:
    """Run cases, in the process of a checkout; prints the answer of each as a line of JSON."""
    import distjoint

    if not Path(distjoint.__file__).is_relative_to(job["checkout"]):
        sys.exit(f"{distjoint.__file__} was imported, which is not of {job['checkout']}")
    cases, out = [Case(**case) for case in job["cases"]], Path(job["work"]) / job["side"]
    for data, shards in (("small", 8), ("wide", 4)):
        raw = Path(job["work"]) / "raw" / data
        files: Any = {name: str(raw / f"{name}.txt") for name in ("corpus", "triples", "valid", "test", "types")}
        if not (out / data).exists():
            distjoint.prepare(str(out / data), **files, shards=shards, min_count=1, window=5)
    for case in cases:
        try:
            answer = run_case(job, case, out)
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps({"case": case.name, **answer}), flush=True)


def run_case(job: dict[str, Any], case: Case, out: Path) -> dict[str, Any]:
    """Train and evaluate one case; returns figures of its evaluation, and losses."""
    import ray

    import distjoint

    raw, run, killed = Path(job["work"]) / "raw" / case.data, out / case.name, Path(job["work"]) / "killed"
    config = case.config(raw)
    if case.workers > 1:
        ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False, ignore_reinit_error=True)
    if case.how == "train":
        result = distjoint.train(str(out / case.data), str(run), config, workers=case.workers)
    else:
        left = run if case.how == "resume" else killed
        if not left.exists():  # OLD, which is first, leaves `killed` for both
            train_and_kill(job, case, left)
        if case.how == "adopt":
            shutil.copytree(killed, run)
        result = distjoint.train(None, str(run), resume=True)
    numbers, alpha = {}, config.get("loss.alpha", 0.5)
    if alpha > 0:
        numbers |= distjoint.evaluate(str(run), link_prediction="test").to_dict()["link_prediction"]
    if alpha < 1:
        numbers |= distjoint.evaluate(str(run), similarity=[str(raw / "pairs.txt")]).to_dict()["similarity"][0]
    numbers = {name: value for name, value in numbers.items() if name in FIGURES and value is not None}
    for line in result.history:
        kept = {key for key in line if key.endswith("loss") or key in ("cells", "triples", "valid_mrr")}
        numbers |= {f"{key} of epoch {line['epoch']}": line[key] for key in sorted(kept)}
    return {"numbers": numbers}


def train_and_kill(job: dict[str, Any], case: Case, run: Path) -> None:
    """Leave a run as it is when its process is killed after the first checkpoint."""
    place = Path(job["work"]) / job["side"]
    job = {**job, "cases": [{**asdict(case), "how": "train"}]}
    process = start(job, place / "killed.json", subprocess.DEVNULL)
    try:
        while process.poll() is None and not list((place / case.name).glob("checkpoints/*/manifest.json")):
            time.sleep(0.01)
    finally:
        process.kill()
        process.wait()
    (place / case.name).rename(run)
    if json.loads((run / "run.json").read_text())["status"] != "running":
        raise RuntimeError("the run ended before it was killed")


def compare_datasets(name: str, folders: list[Path]) -> Row:
    """Compare the files that `prepare` wrote: tables by their rows, others by their bytes."""
    row = Row(f"dataset {name}")
    old, new = ({str(file.relative_to(top)) for file in top.rglob("*") if file.is_file()} for top in folders)
    row.wrong = [f"only one has {path}" for path in sorted(old ^ new)] + ["there is none"] * (not old and not new)
    for path in sorted(old & new):
        read: Any = pq.read_table if path.endswith(".parquet") else Path.read_bytes
        if read(folders[0] / path) != read(folders[1] / path):
            row.wrong.append(f"{path}: other contents")
    return row


def compare_case(work: Path, case: Case, answers: dict[str, dict[str, Any]]) -> Row:
    """Compare a case's results of both checkouts, and in each checkout with the case it is like."""
    row, here = Row(case.name), {side: found[case.name] for side, found in answers.items()}
    row.wrong = [f"{side} fails: {answer['error']}" for side, answer in here.items() if "error" in answer]
    row.numbers = {side: answer.get("numbers", {}) for side, answer in here.items()}
    pairs = {"OLD and NEW": [("OLD", case.name), ("NEW", case.name)]}
    if case.like:
        pairs |= {f"{side}, {case.like} and this": [(side, case.like), (side, case.name)] for side in answers}
    for label, ends in pairs.items():
        if not any("error" in answers[side][name] for side, name in ends):  # else a row of its own says so
            compare_numbers(row, label, [answers[side][name]["numbers"] for side, name in ends], case.tolerance)
            compare_bits(row, label, [tensors(work / side / name) for side, name in ends], case.tolerance)
    return row


def compare_numbers(row: Row, label: str, pair: list[dict[str, float]], tolerance: float) -> None:
    """Note figures and losses that differ."""
    found = []
    for name, one in pair[0].items():
        other, limit = pair[1].get(name, float("nan")), FIGURE if name in FIGURES else LOSS * abs(one)
        if not abs(other - one) <= max(limit, tolerance * abs(one)):
            found.append(f"{name} {one:.8g} and {other:.8g}")
    if found:
        row.wrong.append(f"{label}: {'; '.join(found[:5])}" + f"; {len(found) - 5} more" * (len(found) > 5))


def tensors(run: Path) -> dict[str, list[np.ndarray]]:
    """Tensors of a run's result by name, of every shard in turn."""
    found: dict[str, list[np.ndarray]] = {}
    for file in sorted((run / json.loads((run / "run.json").read_text())["result"]).glob("*.safetensors")):
        for name, values in load_file(file).items():
            found.setdefault(f"{file.stem.rstrip('-0123456789')} {name}", []).append(values)
    return found


def compare_bits(row: Row, label: str, pair: list[dict[str, list[np.ndarray]]], tolerance: float) -> None:
    """Note tensors that differ in a shape or a bit, or that only one side has."""
    differ = {}
    for name in sorted(pair[0].keys() | pair[1].keys()):
        shapes = [[(values.shape, str(values.dtype)) for values in side.get(name, ())] for side in pair]
        if shapes[0] != shapes[1]:
            row.wrong.append(f"{label}: {name} has shapes {shapes[0] or 'none'} and {shapes[1] or 'none'}")
            continue
        one, other = (np.concatenate([values.ravel() for values in side[name]]) for side in pair)
        unequal = (one.view(np.uint8) != other.view(np.uint8)).reshape(-1, one.itemsize).any(1).sum()
        if unequal:
            absolute, largest = float(np.abs(one - other).max()), max(float(np.abs(one).max()), 1e-30)
            differ[name] = (int(unequal), one.size, absolute, absolute / largest)
    if differ:
        row.tensors[label], worst = differ, max(differ, key=lambda name: differ[name][-1])
        numbers, of, absolute, relative = differ[worst]
        note = f"{label}: {worst}: {numbers:,} of {of:,} numbers by up to {absolute:.1e}, {relative:.1e} of the largest"
        note += f"; less of {', '.join(sorted(differ.keys() - {worst}))}" if len(differ) > 1 else ""
        (row.tolerated if relative <= tolerance else row.wrong).append(note)


def print_table(rows: list[Row]) -> None:
    table = Table("case", "result", "MRR OLD", "NEW", box=None, pad_edge=False)
    for row in rows:
        figures = [row.numbers.get(side, {}).get("mrr") for side in ("OLD", "NEW")]
        result = [f"differs: {note}" for note in row.wrong] + [f"within tolerance: {note}" for note in row.tolerated]
        if not row.wrong and "OLD and NEW" not in row.tensors:
            result.insert(0, "same bits")
        verdict = Text("\n".join(result), "red" if row.wrong else "")
        table.add_row(row.name, verdict, *("" if value is None else f"{value:.4f}" for value in figures))
    console = Console(width=None if sys.stdout.isatty() else 160)
    console.print(table)
    console.print(f"{sum(bool(row.wrong) for row in rows)} of {len(rows)} rows differ", highlight=False)


if __name__ == "__main__":
    run_job(json.loads(Path(sys.argv[2]).read_text())) if sys.argv[1:2] == ["--job"] else main()
