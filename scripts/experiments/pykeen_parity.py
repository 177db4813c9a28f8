"""Are these ranks the field's? The vectors of models trained by PyKEEN, ranked here and by PyKEEN itself.

python scripts/experiments/pykeen_parity.py --pykeen PYTHON FOLDER...

PYTHON is a Python with PyKEEN (`python -m venv pykeen && pykeen/bin/pip install pykeen`), FOLDER holds train.txt,
valid.txt and test.txt, like those of Nations and Kinships. Trains TransE, DistMult and ComplEx for a few epochs on
each, and exits with 1 unless the filtered MRR agrees to 1e-4 for each of the three ways to rank ties.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from distjoint.data.dataset import Triples
from distjoint.evaluate.candidates import Candidates
from distjoint.evaluate.ranking import link_prediction
from distjoint.evaluate.scoring import TripleModel
from distjoint.model import scorers
from distjoint.model.comparisons import comparison_of

MODELS = ("TransE", "DistMult", "ComplEx")
WAYS = ("realistic", "optimistic", "pessimistic")
TOLERANCE = 1e-4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+", metavar="FOLDER")
    parser.add_argument("--pykeen", required=True, metavar="PYTHON", help="a Python that has PyKEEN")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--dim", type=int, default=32)
    args = parser.parse_args()
    table = Table(title="filtered MRR of the test split, PyKEEN and here")
    for column in ("graph", "model", *(f"{who}{ties}" for ties in WAYS for who in ("PyKEEN, ", "")), "agree"):
        table.add_column(column)
    wrong = 0
    with tempfile.TemporaryDirectory(prefix="distjoint-pykeen-") as scratch:
        for folder in args.folders:
            for model in MODELS:
                saved = train(args, folder, model, Path(scratch) / "model.npz")
                theirs, ours = [float(saved[ties]) for ties in WAYS], rank(saved, model)
                agree = bool(np.abs(np.subtract(theirs, ours)).max() < TOLERANCE)
                wrong += not agree
                figures = (f"{value:.6f}" for pair in zip(theirs, ours, strict=True) for value in pair)
                table.add_row(folder.name, model, *figures, "yes" if agree else "NO")
    Console(width=140).print(table)
    sys.exit(1 if wrong else 0)


def train(args: argparse.Namespace, folder: Path, model: str, out: Path) -> dict[str, NDArray[np.generic]]:
    """What pykeen_train.py saved."""
    script = Path(__file__).with_name("pykeen_train.py")
    command = [args.pykeen, str(script), str(folder), model, str(args.epochs), str(args.dim), str(out)]
    ran = subprocess.run(command, check=False, capture_output=True, text=True)
    if ran.returncode:
        sys.exit(f"{args.pykeen}: PyKEEN could not train {model} on {folder}: {ran.stderr.strip().splitlines()[-1]}")
    with np.load(out) as found:
        return dict(found)


def rank(saved: dict[str, NDArray[np.generic]], model: str) -> list[float]:
    """MRR by each way to rank ties, of the vectors that PyKEEN trained."""
    scorer, vectors = scorers.scorer(model.lower()), torch.from_numpy(saved["entity"])
    comparison = comparison_of(scorer, cosine=False, norm=2, scale=None)
    dense = TripleModel(scorer, comparison, torch.from_numpy(saved["relation"]), reciprocal=False)
    splits = {name: Triples(*saved[name].T.copy()) for name in ("train", "valid", "test")}
    known = Triples(*np.concatenate([saved[name] for name in splits]).T.copy())
    candidates = Candidates([np.arange(len(vectors))], lambda _: vectors)
    found = link_prediction(dense, candidates, splits["test"], known).metrics()
    return [found["mrr"], found["optimistic"]["mrr"], found["pessimistic"]["mrr"]]


if __name__ == "__main__":
    main()
