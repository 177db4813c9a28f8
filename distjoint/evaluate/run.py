"""Evaluating a run: its result against the held-out triples of its dataset and against sets of words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
import xxhash
from torch import Tensor

from distjoint.config import parse_bytes
from distjoint.data.dataset import SPLITS, Triples
from distjoint.errors import DistjointError, UsageError
from distjoint.evaluate import ranking
from distjoint.evaluate.analogies import analogies as measure_analogies
from distjoint.evaluate.ranking import Candidates, entity_rows, link_prediction, listed_rows
from distjoint.evaluate.report import Links, Report
from distjoint.evaluate.scoring import TripleModel, entity_block
from distjoint.evaluate.similarity import similarity as measure_similarity
from distjoint.evaluate.space import Kind, Space, read_spaces
from distjoint.evaluate.wordsets import Questions, WordPairs, read_analogies, read_similarity
from distjoint.progress import Progress, Silent
from distjoint.run_folder import Checkpoint, RunFolder, open_dataset
from distjoint.storage import Options

Split = Literal["valid", "test"]


def evaluate(
    run_url: str,
    *,
    link_prediction: Split | None = None,
    similarity: Sequence[str] = (),
    analogies: Sequence[str] = (),
    standardize: bool = True,
    vectors: Kind | None = None,
    dataset: str | None = None,
    memory: str | int = "1GB",
    seed: int = 0,
    storage_options: Options | None = None,
    progress: Progress | None = None,
) -> Report:
    """Measure the result of a run. With nothing asked for, the test split of its graph.

    link_prediction   the split to rank, filtered, in both directions
    similarity        files, globs or folders of lines `word word score`
    analogies         files, globs or folders of questions of four words
    standardize       for words: columns to mean 0 and deviation 1 before the cosine
    vectors           for words: their own vectors or their entities'; by default their own where text was trained
    dataset           where the run's dataset lies now, if it was moved
    memory            for entities, queries and scores; what does not fit is read again as it is needed
    seed              of the bootstrap
    raises            UsageError for what the run cannot be asked, DistjointError for files missing or damaged, and
                      when the run knows the words of none of the sets
    """
    report = measure(
        run_url,
        link_prediction=link_prediction,
        similarity=similarity,
        analogies=analogies,
        standardize=standardize,
        vectors=vectors,
        dataset=dataset,
        memory=memory,
        seed=seed,
        storage_options=storage_options,
        progress=progress,
    )
    if report.uncovered:
        raise DistjointError(
            f"{', '.join(report.uncovered)}: no item is covered by the {report.vectors} vectors of {run_url}"
        )
    return report


def measure(
    run_url: str,
    *,
    link_prediction: Split | None,
    similarity: Sequence[str],
    analogies: Sequence[str],
    standardize: bool,
    vectors: Kind | None,
    dataset: str | None,
    memory: str | int,
    seed: int,
    storage_options: Options | None,
    progress: Progress | None,
) -> Report:
    """As `evaluate`, but sets whose words the run does not know are no error; they are without a result."""
    run, progress = RunFolder.open(run_url, storage_options), progress or Silent()
    if not (link_prediction or similarity or analogies):
        if "graph" not in run.info.sources:
            raise UsageError(
                f"{run_url}: was trained on text only; give similarity sets or analogies to evaluate it on"
            )
        link_prediction = "test"
    if link_prediction is not None and link_prediction not in ("valid", "test"):
        raise UsageError(f"link prediction on '{link_prediction}': choose valid or test")
    pairs, questions = read_similarity(similarity, storage_options), read_analogies(analogies, storage_options)
    links = None
    if link_prediction is not None:
        links = rank_split(run, link_prediction, dataset, parse_bytes(memory) or ranking.MEMORY, progress)
    report = Report(str(run.folder), run.info.result or "", standardize=standardize, links=links)
    if pairs or questions:
        report = _measure_words(report, word_space(run, vectors), pairs, questions, seed, progress)
    return report


def word_space(run: RunFolder, vectors: Kind | None = None) -> Space:
    """What stands for words in a run: their own vectors, or their entities' where only a graph was trained."""
    words, entities, _, _ = read_spaces(run)
    if vectors is None:
        return words if len(words) else entities
    space = words if vectors == "word" else entities
    if not len(space):
        raise UsageError(f"{run.folder}: has no {vectors} vectors; it trained {' and '.join(run.info.sources)} only")
    return space


def _measure_words(
    report: Report,
    space: Space,
    pairs: Sequence[WordPairs],
    questions: Sequence[Questions],
    seed: int,
    progress: Progress,
) -> Report:
    results = tuple(measure_similarity(space, each, report.standardize, seed) for each in pairs)
    answered = None
    if questions:
        with progress.task("analogies", sum(len(section.questions) for section in questions), "questions") as task:
            answered = measure_analogies(space, questions, report.standardize, task.advance)
    return Report(report.run, report.checkpoint, space.kind, report.standardize, report.links, results, answered)


def rank_split(run: RunFolder, split: Split, dataset: str | None, memory: int, progress: Progress) -> Links:
    """Filtered ranks of a split's triples by the run's result, in order of the triples' names."""
    if "graph" not in run.info.sources:
        raise UsageError(f"{run.folder}: was trained on text only, so it has no link prediction")
    data = open_dataset(run, dataset)
    splits = {name: data.split(name) for name in SPLITS}
    if not len(splits[split]):
        raise UsageError(f"{data.folder}: has no {split} triples; prepare it with --{split}, or choose another split")
    rows = run.rows()
    triples, checksum = in_order_of_name(splits[split], rows, run.relations())
    known = Triples(
        *(np.concatenate([getattr(splits[name], end) for name in SPLITS]) for end in ("head", "relation", "tail"))
    )
    degree = rows.column("degree").combine_chunks().to_numpy(zero_copy_only=False)
    unseen = (degree[triples.head] == 0) | (degree[triples.tail] == 0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    checkpoint = run.result()
    dense = {name: tensor.to(device) for name, tensor in checkpoint.dense().items()}
    model = TripleModel.of(run.info.config.model, dense["relation"])
    entities = _Entities(run, checkpoint, dense.get("map"), device, memory)
    candidates = Candidates(entity_rows(run.layout), entities.block, listed_rows(run.layout.rows, *splits.values()))
    with progress.task(f"link prediction, {split}", len(triples), "triples") as task:
        ranks = link_prediction(
            model, candidates, triples, known, unseen, memory=max(memory // 4, 1), progress=task.advance
        )
    return Links(split, ranks, checksum)


def in_order_of_name(triples: Triples, rows: pa.Table, relations: pa.Table) -> tuple[Triples, str]:
    """The triples sorted by the names of head, relation and tail, and a checksum of those names.

    Row ids differ from one dataset to the next; in this order runs on other datasets can be compared, triple by
    triple, when the checksums agree.
    """
    entity = rows.column("entity")
    names = pa.table(
        {
            "head": entity.take(pa.array(triples.head)),
            "relation": relations.column("name").take(pa.array(triples.relation)),
            "tail": entity.take(pa.array(triples.tail)),
        }
    )
    order = pc.sort_indices(names, [(name, "ascending") for name in names.column_names])
    digest = xxhash.xxh3_64()
    for batch in names.take(order).to_batches(1 << 16):
        for values in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            digest.update(("\t".join(values) + "\n").encode())
    places = order.to_numpy()
    return Triples(triples.head[places], triples.relation[places], triples.tail[places]), f"xxh3:{digest.hexdigest()}"


class _Entities:
    """Entity vectors of a checkpoint by shard: kept once read where they fit, read again where they do not."""

    def __init__(
        self, run: RunFolder, checkpoint: Checkpoint, map_: Tensor | None, device: torch.device, memory: int
    ) -> None:
        self.run, self.checkpoint, self.map, self.device = run, checkpoint, map_, device
        entities = run.layout.aligned + run.layout.entities
        self.kept: dict[int, Tensor] | None = {} if 4 * entities * checkpoint.manifest.dim <= memory // 2 else None

    def block(self, shard: int) -> Tensor:
        """float32[entities of the shard, dim]"""
        if self.kept is not None and shard in self.kept:
            return self.kept[shard]
        parts = {
            name: tensor.to(self.device)
            for name, tensor in self.checkpoint.shard(shard).items()
            if name in ("X", "W", "C")
        }
        vectors = entity_block(parts, self.run.layout, shard, self.run.info.coupling, self.map)
        if not bool(torch.isfinite(vectors).all()):
            raise DistjointError(f"{self.checkpoint.folder}, shard {shard}: entity vectors hold NaN or infinity")
        if self.kept is not None:
            self.kept[shard] = vectors
        return vectors
