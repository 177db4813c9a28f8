"""Call commands again and again on a busy machine: does any of them end badly after it has done its work?

python scripts/exits.py --calls 1000 [--busy 4] [--out results/exits]

Each call is a process of `python -m distjoint`: `nearest` and `evaluate` on a small run, and `prepare`, in turn, while
`--busy` other processes keep the cores at work. A call is bad when its exit code is not 0; each such is named with its
code and the last line that it printed, and makes the exit code of this one 1. A call takes 2 seconds on an idle core.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

SPIN = "while True: sum(range(1000))"
SETTINGS = ("model.dim=8", "train.epochs=2", "train.threads=1")
PEOPLE, PLACES = [f"person{k}" for k in range(30)], [f"place{k}" for k in range(8)]


def write_input(folder: Path) -> dict[str, str]:
    """A small text and graph; the path of each file."""
    draw = random.Random(0)
    text = "\n".join(" ".join(draw.choices(PEOPLE + PLACES, k=12)) for _ in range(400))
    triples = [f"{person}\tlives_in\t{draw.choice(PLACES)}" for person in PEOPLE]
    triples += [f"{person}\tknows\t{draw.choice(PEOPLE)}" for person in PEOPLE]
    contents = {"corpus": text, "triples": "\n".join(triples), "test": "\n".join(triples[::7])}
    for name, content in contents.items():
        (folder / name).write_text(content + "\n")
    return {name: str(folder / name) for name in contents}


@contextmanager
def busy(count: int) -> Iterator[None]:
    """Processes that do nothing but work."""
    others = [subprocess.Popen([sys.executable, "-c", SPIN]) for _ in range(count)]
    try:
        yield
    finally:
        for each in others:
            each.kill()
            each.wait()


def call(words: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "distjoint", *words]
    return subprocess.run(command, env=environment, capture_output=True, text=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=300)
    parser.add_argument("--busy", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--out", help="Folder for the dataset and the run; a temporary one by default.")
    given = parser.parse_args()
    root = Path(__file__).resolve().parents[1]
    environment = {**os.environ, "PYTHONPATH": f"{root}:{os.environ.get('PYTHONPATH', '')}"}
    with tempfile.TemporaryDirectory() as scratch, busy(given.busy):
        folder = Path(given.out or scratch)
        folder.mkdir(parents=True, exist_ok=True)
        files = [word for name, path in write_input(folder).items() for word in (f"--{name}", path)]
        data, run = str(folder / "data"), str(folder / "run")
        prepare = ["prepare", *files, "--min-count", "2", "--overwrite", "--out"]
        train = ["train", data, "--out", run, "--overwrite", *(word for s in SETTINGS for word in ("--set", s))]
        for words in ([*prepare, data], train):
            if (made := call(words, environment)).returncode:
                sys.exit(made.stderr)
        commands = {
            "nearest": ["nearest", run, PEOPLE[0], "-k", "2"],
            "evaluate": ["evaluate", run, "--link-prediction", "test", "--json"],
            "prepare": [*prepare, str(folder / "again")],
        }
        codes: Counter[tuple[str, int]] = Counter()
        began = time.monotonic()
        with suppress(KeyboardInterrupt):  # then the calls so far are told
            for number in range(given.calls):
                name = list(commands)[number % len(commands)]
                found = call(commands[name], environment)
                codes[name, found.returncode] += 1
                if found.returncode:
                    lines = found.stderr.strip().splitlines() or [""]
                    print(f"call {number}, {name}: exit code {found.returncode}: {lines[-1]}", flush=True)
    bad = sum(count for (_, code), count in codes.items() if code)
    each = ", ".join(f"{name} {code}: {count}" for (name, code), count in sorted(codes.items()))
    print(
        f"{bad} of {codes.total()} calls ended badly (command and exit code: {each}); {time.monotonic() - began:.0f} s"
    )
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
