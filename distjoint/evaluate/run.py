"""Evaluation of a run: its result on held-out triples of its dataset and on sets of words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from distjoint.config import parse_bytes
from distjoint.errors import DistjointError, UsageError
from distjoint.evaluate.analogies import analogies as measure_analogies
from distjoint.evaluate.links import GraphResult, LinkOptions
from distjoint.evaluate.options import EvaluateOptions, Split
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
    options = EvaluateOptions(
        link_prediction=link_prediction,
        by=tuple(by),
        ties=ties,
        sample_candidates=sample_candidates,
        sample_triples=sample_triples,
        typed=typed,
        classify=classify,
        similarity=tuple(similarity),
        analogies=tuple(analogies),
        standardize=standardize,
        vectors=vectors,
        dataset=dataset,
        memory=memory,
        seed=seed,
        storage_options=storage_options,
    )
    report = measure(run_url, options, progress)
    if report.uncovered:
        raise DistjointError(
            f"{', '.join(report.uncovered)}: no item is covered by the {report.vectors} vectors of {run_url}"
        )
    return report


def measure(run_url: str, options: EvaluateOptions, progress: Progress | None = None) -> Report:
    """As `evaluate`, but sets whose words the run does not know are no error; they are without a result."""
    ranking = _link_options(options)
    run, progress = RunFolder.open(run_url, options.storage_options), progress or Silent()
    split = _split(run, options)
    pairs = read_similarity(options.similarity, options.storage_options)
    questions = read_analogies(options.analogies, options.storage_options)
    report = Report(str(run.folder), run.info.result or "", standardize=options.standardize)
    if split is not None or options.classify:
        graph = GraphResult(run, options.dataset, parse_bytes(options.memory) or MEMORY)
        if split is not None:
            report = replace(report, links=graph.rank(split, ranking, progress))
        if options.classify:
            report = replace(report, classification=graph.classify(progress))
    if pairs or questions:
        report = _measure_words(report, word_space(run, options.vectors), pairs, questions, options.seed, progress)
    return report


def _link_options(options: EvaluateOptions) -> LinkOptions:
    """The options of link prediction among all. raises UsageError for a bad value"""
    sizes = options.sample_candidates, options.sample_triples
    return LinkOptions(options.by, options.ties, *sizes, options.typed, options.seed)


def _split(run: RunFolder, options: EvaluateOptions) -> Split | None:
    """The split to rank: the wanted one, or test where nothing is wanted; None for no link prediction.

    raises UsageError for an unknown split, and for options of link prediction without one
    """
    split = options.link_prediction
    if not (split or options.similarity or options.analogies or options.classify):
        if "graph" not in run.info.sources:
            raise UsageError(
                f"{run.folder}: was trained on text only; give similarity sets or analogies to evaluate it on"
            )
        return "test"
    if split is None and _link_options(options) != LinkOptions(seed=options.seed):
        raise UsageError("--by, --ties, --sample-* and --typed say how to rank; add --link-prediction valid or test")
    if split is not None and split not in ("valid", "test"):
        raise UsageError(f"link prediction on '{split}': choose valid or test")
    return split


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
