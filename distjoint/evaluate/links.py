"""Link prediction and triple classification of a run on its dataset."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from distjoint.backends import choose_device
from distjoint.base.arrays import Bools, Ints
from distjoint.base.errors import UsageError
from distjoint.base.prefixes import Prefixes
from distjoint.base.progress import Progress
from distjoint.data.dataset import Dataset, Triples
from distjoint.data.of_run import open_dataset
from distjoint.data.streams import SPLITS
from distjoint.data.types import Domains
from distjoint.evaluate.breakdown import ALWAYS, GROUPINGS, GROWTH, breakdown, groups, growths
from distjoint.evaluate.candidates import Candidates, entity_rows
from distjoint.evaluate.classification import Classification, classify
from distjoint.evaluate.link_result import Links, Sampling
from distjoint.evaluate.options import Split, Ties
from distjoint.evaluate.ranking import link_prediction
from distjoint.evaluate.trained import TrainedVectors
from distjoint.runs.folder import RunFolder


@dataclass(frozen=True)
class LinkOptions:
    """Options of link prediction.

    by                  groups whose figures are given too
    ties                the rank that tables show for answers that tie
    sample_candidates   rank among so many drawn candidates; None for all
    sample_triples      rank so many drawn triples of the split; None for all
    typed               leave out candidates that the relation's types do not allow
    seed                of what is drawn
    """

    by: tuple[str, ...] = ()
    ties: Ties = "realistic"
    sample_candidates: int | None = None
    sample_triples: int | None = None
    typed: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        for name, value in (("candidates", self.sample_candidates), ("triples", self.sample_triples)):
            if value is not None and value < 1:
                raise UsageError(f"--sample-{name} is {value}; give 1 or more, or leave it out for all")
        for by in self.by:
            if by not in GROUPINGS:
                raise UsageError(f"--by {by}: choose {', '.join(GROUPINGS[:-1])} or {GROUPINGS[-1]}")


class GraphResult:
    """The graph of a run's result and the dataset's triples, read once for both ways to measure it.

    memory   bytes: half for entity vectors, which are kept where they all fit; a quarter for queries and scores
    raises   UsageError for a run without a graph
    """

    def __init__(self, run: RunFolder, dataset: str | None, memory: int) -> None:
        if "graph" not in run.info.sources:
            raise UsageError(f"{run.folder}: was trained on text only, so it has no link prediction")
        self.run, self.memory = run, memory
        self.data: Dataset = open_dataset(run, dataset)
        self.splits = {name: self.data.split(name) for name in SPLITS}
        relations = run.relations()
        self.relations: list[str] = relations.column("name").to_pylist()
        self.trained_relations: Bools = relations.column("frequency").to_numpy() > 0

    def rank(self, split: Split, options: LinkOptions, progress: Progress) -> Links:
        """Filtered ranks of a split's triples, in order of the triples' names."""
        every = self._held_out(split)
        allowed = self._domains() if options.typed else None
        rows = self.run.rows().select(["entity", "degree"])
        wanted = in_order_of_name(every, rows, self.relations).drawn(options.sample_triples, options.seed)
        checksum = checksum_of_names(wanted, rows, self.relations)
        degree = rows.column("degree").combine_chunks().to_numpy(zero_copy_only=False)
        del rows  # the names are large
        unseen_ends = (degree[wanted.head] == 0).astype(np.int64) + (degree[wanted.tail] == 0)
        known = Triples.together(*self.splits.values())
        with progress.task(f"link prediction, {split}", len(wanted), "triples") as task:
            ranks = link_prediction(
                self.trained.model,
                self.candidates,
                wanted,
                known,
                unseen_ends,
                allowed=allowed,
                sample=options.sample_candidates,
                seed=options.seed,
                memory=self._room,
                progress=task.advance,
            )
        untrained = ~self.trained_relations[wanted.relation]
        if untrained.any():
            ranks = replace(ranks, unseen_relation=untrained)
        parts = {
            by: breakdown(ranks, groups(by, wanted, self.splits["train"], degree, self.relations), by == "relation")
            for by in dict.fromkeys([*options.by, ALWAYS])
        }
        if self.run.layout.grown:
            parts[GROWTH] = breakdown(ranks, growths(wanted, self.run.layout))
        sample = Sampling(options.sample_candidates, len(wanted), len(every), options.seed)
        unknown = self._unknown(wanted, degree) if unseen_ends.any() else (0, 0)
        names = tuple(self.relations[each] for each in np.unique(wanted.relation[untrained]).tolist())
        sampled, prefixes = sample if str(sample) else None, Prefixes(self.run.info.prefixes)
        return Links(split, ranks, checksum, parts, sampled, options.ties, unknown, names, prefixes)

    def classify(self, progress: Progress) -> Classification:
        """Triple classification of test triples and their negatives, by thresholds chosen on valid."""
        rows = self.run.rows().select(["entity"])
        test = [in_order_of_name(self._held_out(name), rows, self.relations) for name in ("test", "test_negatives")]
        valid = [self._held_out(name) for name in ("valid", "valid_negatives")]
        checksum = checksum_of_names(Triples.together(*test), rows, self.relations)
        del rows
        with progress.task("triple classification", unit="triples"):
            found = classify(
                self.trained.model,
                self.candidates,
                (valid[0], valid[1]),
                (test[0], test[1]),
                self.relations,
                checksum,
                memory=self._room,
            )
        untrained = sum(int((~self.trained_relations[part.relation]).sum()) for part in test)
        return replace(found, untrained=untrained)

    def _unknown(self, triples: Triples, degree: Ints) -> tuple[int, int]:
        """How many triples have one end, and two, of which neither a training triple nor the coupling's text speaks."""
        layout, unknown = self.trained.layout, degree == 0
        for shard, rows in enumerate(entity_rows(layout)):
            unknown[rows] &= ~self.trained.said(shard)
        ends = unknown[triples.head].astype(np.int64) + unknown[triples.tail]
        return int((ends == 1).sum()), int((ends == 2).sum())

    @property
    def _room(self) -> int:
        return max(self.memory // 4, 1)

    def _held_out(self, split: str) -> Triples:
        triples = self.splits[split] if split in self.splits else self.data.split(split)
        if not len(triples):
            option = split.replace("_", "-")
            other = "leave --classify out" if "negatives" in split else "choose another split"
            raise UsageError(f"{self.data.folder}: has no {split} triples; prepare it with --{option}, or {other}")
        return triples

    def _domains(self) -> Domains:
        domains = self.data.domains()
        if domains is None:
            raise UsageError(f"{self.data.folder}: has no types of entities; prepare it with --types, or rank untyped")
        return domains

    @cached_property
    def trained(self) -> TrainedVectors:
        """Entity vectors and triple model of the result."""
        return TrainedVectors(self.run, self.run.result(), choose_device(), self.memory // 2)

    @cached_property
    def candidates(self) -> Candidates:
        """The entities of train, valid and test."""
        return self.trained.candidates(*self.splits.values())


def in_order_of_name(triples: Triples, rows: pa.Table, relations: list[str]) -> Triples:
    """The triples sorted by the names of head, relation and tail.

    Row ids differ from one dataset to the next; in this order runs on other datasets can be compared, triple by
    triple, when the checksums of the names agree.
    """
    names = _names(triples, rows, relations)
    places = pc.sort_indices(names, [(name, "ascending") for name in names.column_names]).to_numpy()
    return triples.select(places)


def checksum_of_names(triples: Triples, rows: pa.Table, relations: list[str]) -> str:
    """Checksum of the triples in this order, by name."""
    digest = xxhash.xxh3_64()
    for batch in _names(triples, rows, relations).to_batches(1 << 16):
        for values in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            digest.update(("\t".join(values) + "\n").encode())
    return f"xxh3:{digest.hexdigest()}"


def _names(triples: Triples, rows: pa.Table, relations: list[str]) -> pa.Table:
    entity = rows.column("entity")
    return pa.table(
        {
            "head": entity.take(pa.array(triples.head)),
            "relation": pa.array(relations, pa.string()).take(pa.array(triples.relation)),
            "tail": entity.take(pa.array(triples.tail)),
        }
    )
