"""Evaluation of a run: its result on held-out triples of its dataset and on sets of words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from distjoint.config import parse_bytes
from distjoint.errors import DistjointError, UsageError
from distjoint.evaluate.analogies import analogies as measure_analogies
from distjoint.evaluate.links import GraphResult, LinkOptions, Split
from distjoint.evaluate.ranking import MEMORY
from distjoint.evaluate.ranks import Ties
from distjoint.evaluate.report import Report
from distjoint.evaluate.similarity import similarity as measure_similarity
from distjoint.evaluate.space import Space, VectorKind, read_spaces
from distjoint.evaluate.trained import TrainedVectors
from distjoint.evaluate.wordsets import Questions, WordPairs, read_analogies, read_similarity
from distjoint.progress import Progress, Silent
from distjoint.runs.folder import RunFolder
from distjoint.storage import Options


def evaluate(
    run_url: str,
    *,
    link_prediction: Split | None = None,
    by: Sequence[str] = (),
    ties: Ties = "realistic",
    sample_candidates: int | None = None,
    sample_triples: int | None = None,
    typed: bool = False,
    classify: bool = False,
    similarity: Sequence[str] = (),
    analogies: Sequence[str] = (),
    standardize: bool = True,
    vectors: VectorKind | None = None,
    dataset: str | None = None,
    memory: str | int = "1GB",
    seed: int = 0,
    storage_options: Options | None = None,
    progress: Progress | None = None,
) -> Report:
    """Measure the result of a run; without options, by link prediction on the test split.

    link_prediction    the split to rank, filtered, in both directions
    by                 `relation`, `category`, `degree`: link prediction by groups of answers too
    ties               the rank that tables show for answers that tie; `to_dict()` has all three
    sample_candidates  rank among so many candidates, drawn for each answer, where all are too many
    sample_triples     rank so many triples of the split, drawn
    typed              leave out candidates that the types of the relation do not allow
    classify           take test triples and their negatives for right or wrong, by their scores
    similarity         files, globs or folders of lines `word word score`
    analogies          files, globs or folders of questions of four words
    standardize        for words: columns to mean 0 and deviation 1 before the cosine
    vectors            for words: their own vectors or their entities'; by default their own where text was trained
    dataset            where the run's dataset lies now, if it was moved
    memory             for entities, queries and scores; what does not fit is read again as it is needed
    seed               of the bootstrap, and of what is drawn
    raises             UsageError for what the run has no vectors for, DistjointError for files missing or damaged, and
                       when the run knows the words of none of the sets
    """
    report = measure(
        run_url,
        link_prediction=link_prediction,
        options=LinkOptions(tuple(by), ties, sample_candidates, sample_triples, typed, seed),
        classify=classify,
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
    options: LinkOptions | None = None,
    classify: bool = False,
    similarity: Sequence[str],
    analogies: Sequence[str],
    standardize: bool,
    vectors: VectorKind | None,
    dataset: str | None,
    memory: str | int,
    seed: int,
    storage_options: Options | None,
    progress: Progress | None,
) -> Report:
    """As `evaluate`, but sets whose words the run does not know are no error; they are without a result."""
    run, progress = RunFolder.open(run_url, storage_options), progress or Silent()
    if not (link_prediction or similarity or analogies or classify):
        if "graph" not in run.info.sources:
            raise UsageError(
                f"{run_url}: was trained on text only; give similarity sets or analogies to evaluate it on"
            )
        link_prediction = "test"
    options = options or LinkOptions(seed=seed)
    if link_prediction is None and options != LinkOptions(seed=seed):
        raise UsageError("--by, --ties, --sample-* and --typed say how to rank; add --link-prediction valid or test")
    if link_prediction is not None and link_prediction not in ("valid", "test"):
        raise UsageError(f"link prediction on '{link_prediction}': choose valid or test")
    pairs, questions = read_similarity(similarity, storage_options), read_analogies(analogies, storage_options)
    report = Report(str(run.folder), run.info.result or "", standardize=standardize)
    if link_prediction is not None or classify:
        graph = GraphResult(run, dataset, parse_bytes(memory) or MEMORY)
        if link_prediction is not None:
            report = replace(report, links=graph.rank(link_prediction, options, progress))
        if classify:
            report = replace(report, classification=graph.classify(progress))
    if pairs or questions:
        report = _measure_words(report, word_space(run, vectors), pairs, questions, seed, progress)
    return report


def word_space(run: RunFolder, vectors: VectorKind | None = None) -> Space:
    """Vectors for word tests: those of words, or of entities where only a graph was trained.

    vectors   which of the two, instead
    """
    spaces = read_spaces(TrainedVectors(run, run.result()))
    if vectors is None:
        return spaces.words if len(spaces.words) else spaces.entities
    space = spaces.words if vectors == "word" else spaces.entities
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
    return replace(report, vectors=space.kind, similarity=results, analogies=answered)
