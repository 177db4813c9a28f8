"""Any names in any form of triples, prepared, trained, exported in every format and read back, have the same vectors,
or a sentence says why not.
"""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pyoxigraph
import pytest
from hypothesis import HealthCheck, event, example, given, settings
from hypothesis import strategies as st
from small import config
from test_prepare_continue import Said

import distjoint
from distjoint.base.errors import DistjointError
from distjoint.couplings.scheme import Scheme
from distjoint.data.dataset import Dataset
from distjoint.data.naming import Cleaning
from distjoint.registry import EXPORTS
from distjoint.results.embeddings import Embeddings
from distjoint.storage import locate
from distjoint.train import initial

pytestmark = pytest.mark.unit

Triple = tuple[str, str, str]
DIM = 4
SETTINGS = {"model.dim": DIM, "train.epochs": 1, "model.coupling": "none"}
FORMATS = sorted({*EXPORTS.names()} - {"usearch"})  # an index, from which no vectors are read
MORE = int(os.environ.get("DISTJOINT_EXAMPLES", "3"))
ODD = ["New York", "New_York", " x", "x", "a\u00a0b", "a\tb", "a\nb", '"', 'say "hi"', "'", "%20", "ENTITY/x", "WORD/x"]
ODD += [
    "RELATION/x",
    "\u05e9\u05dc\u05d5\u05dd",
    "\u202eabc",
    "e\u0301",
    "\u00e9",
    "\u200d",
    "\ufeffx",
    "\u2028",
    "1 2",
]
ODD += ["\x85", "\x00", "\ud800", "\U0001f600", "_:b", "<x>", "#a", "a,b", "=1+1", "{{x}}", "PK", "\\", "[x]", "nan"]
UNFIT = ("goes over the end of a line", "a NUL byte")
"""Why a file of lines is refused."""
NAME = st.text(min_size=1, max_size=6) | st.sampled_from(ODD)
TRIPLES = st.lists(st.tuples(NAME, NAME, NAME), min_size=1, max_size=5)


def write(form: str, triples: list[Triple], folder: Path) -> Any:
    """The triples in a form, with names as it can hold them, and what `prepare` takes for it."""
    place, names = folder / f"kg.{form}", ("head", "relation", "tail")
    if form == "table":
        return triples
    if form == "parquet":
        pq.write_table(pa.table({name: [each[k] for each in triples] for k, name in enumerate(names)}), place)
    elif form == "nt":
        lines = [f"{_iri(h)} {_iri(r)} {_iri(t)} ." for h, r, t in triples]
        place.write_text("\n".join([*lines, ""]), "utf-8")
    else:
        with place.open("w", newline="", encoding="utf-8") as stream:
            if form == "csv":
                csv.writer(stream).writerows([names, *triples])
            else:
                stream.writelines("\t".join(each) + "\n" for each in (names, *triples))
    return str(place)


def _iri(name: str) -> pyoxigraph.NamedNode:
    """As it is where an IRI may have these characters, else percent-encoded."""
    try:
        return pyoxigraph.NamedNode(f"http://x/{name}")
    except ValueError:
        return pyoxigraph.NamedNode(f"http://x/{quote(name, safe='')}")


def stored(form: str, triples: list[Triple]) -> set[Triple]:
    """The triples that a dataset of these must have."""
    clean = Cleaning().clean
    named = [[_iri(name).value for name in each] for each in triples] if form == "nt" else triples
    found = {(clean(h), clean(r), clean(t)) for h, r, t in named}
    return {each for each in found if any(each) or form not in ("tsv", "csv")}  # a blank line is none


def has(form: str, triples: list[Triple]) -> bool:
    """Whether a form has these names at all: TSV has no tabs in them, and no file halves of characters."""
    text = "".join("".join(each) for each in triples)
    if form == "tsv" and any(mark in text for mark in "\t\n\r"):
        return False
    return form == "table" or text.isascii() or not any("\ud800" <= mark <= "\udfff" for mark in text)


def triples_of(data: Dataset) -> set[Triple]:
    entities, relations = data.rows()["entity"].to_pylist(), data.relations()["name"].to_pylist()
    found = data.split("train")
    ends = zip(found.head.tolist(), found.relation.tolist(), found.tail.tolist(), strict=True)
    return {(entities[h], relations[r], entities[t]) for h, r, t in ends}


@settings(
    max_examples=MORE,
    derandomize="DISTJOINT_EXAMPLES" not in os.environ,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    deadline=None,
)
@example(triples=[("a", "b", "\u2028")], form="table", worded=False)  # of which nothing is left
@given(triples=TRIPLES, form=st.sampled_from(["tsv", "csv", "parquet", "nt", "table"]), worded=st.booleans())
def test_any_names_come_back_with_their_vectors_or_are_refused(
    triples: list[Triple], form: str, worded: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("trip")
    if not has(form, triples):
        return event("not of this form")
    options: dict[str, Any] = {"triples": write(form, triples, folder), "shards": 2, "nfc": True, "min_count": 1}
    if worded:
        text = " ".join(name for each in triples for name in each).encode(errors="replace")
        (folder / "text.txt").write_bytes(text + b" and more words of it")
        options |= {"corpus": str(folder / "text.txt"), "tokenizer": "whitespace"}
    data = str(folder / "data")
    try:
        distjoint.prepare(data, **options)
    except DistjointError as refused:
        said = str(refused)
        assert "\n" not in said and ("kg." in said or "--triples" in said), said
        empty = any(not all(each) for each in stored(form, triples)) or not stored(form, triples)
        assert empty or form == "table" or (form in ("csv", "tsv") and any(why in said for why in UNFIT)), said
        return event(f"refused: {said.split(' ', 1)[1][:40]}")
    dataset = Dataset.open(data)
    assert triples_of(dataset) == stored(form, triples)
    distjoint.train(data, str(folder / "run"), config(SETTINGS))
    run = distjoint.load(str(folder / "run"))
    for name in FORMATS:
        files = [folder / f"{name}-out", folder / f"{name}-relations"]
        run.export(str(files[0]), name)
        run.export(str(files[1]), name, kind="relation")
        check(files, dataset, run)
    event("came back")


def check(files: list[Path], dataset: Dataset, run: Embeddings) -> None:
    """What `train --init` reads from these files is what the run has, of words, entities and relations."""
    scheme = Scheme.of(config(SETTINGS), bool(len(run.words)), True)
    with initial.find([locate(str(file)) for file in files], dataset, scheme, Said()) as found:
        entities = found.entities.get(dataset.layout.words + np.arange(len(run.entities))).numpy()
        words = found.words.get(np.arange(len(run.words))).numpy() if len(run.words) else run.words.vectors
        tensors = found.tables.tensors()
    np.testing.assert_array_equal(entities, run.entities.vectors, str(files))
    np.testing.assert_array_equal(words, run.words.vectors, str(files))
    places = tensors["relation.place"].tolist()
    assert sorted(places) == list(range(2 * len(run.relations)))
    wanted = run.run.result().dense()["relation"].numpy()
    np.testing.assert_array_equal(tensors["relation"].numpy()[np.argsort(places)], wanted)
