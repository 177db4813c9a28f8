"""Evaluation of a run: its result on held-out triples of its dataset and on sets of words."""

from __future__ import annotations

from dataclasses import replace

from distjoint.base.errors import DistjointError, UsageError
from distjoint.base.progress import Progress, Silent
from distjoint.evaluate.analogies import analogies as measure_analogies
from distjoint.evaluate.choosing import chosen_on
from distjoint.evaluate.chosen import choose
from distjoint.evaluate.links import GraphResult, LinkOptions
from distjoint.evaluate.options import EvaluateOptions, Split
from distjoint.evaluate.ranking import MEMORY
from distjoint.evaluate.report import Report
from distjoint.evaluate.sets import EvaluationSets, option_of, read_analogies, read_similarity
from distjoint.evaluate.similarity import grouped_similarity
from distjoint.evaluate.similarity import similarity as measure_similarity
from distjoint.evaluate.space import Space, read_spaces
from distjoint.evaluate.trained import TrainedVectors
from distjoint.runs.folder import RunFolder


def evaluate(options: EvaluateOptions) -> Report:
    """The report of a run. raises DistjointError when it knows the words of none of the sets; see `measure`"""
    report = measure(options)
    if report.uncovered:
        hint = "; --kind entity looks the names up among entities" if report.kind == "word" else ""
        raise DistjointError(
            f"{', '.join(report.uncovered)}: no item is covered by the {report.kind} vectors of {options.run_url}{hint}"
        )
    return report


def measure(options: EvaluateOptions) -> Report:
    """The report of a run, in which sets whose words the run does not know are without a result.

    raises   UsageError for what the run has no vectors for, DistjointError for files missing or damaged
    """
    ranking, progress = _link_options(options), options.progress or Silent()
    run = RunFolder.open(options.run_url, options.storage_options)
    split = _split(run, options)
    sets, read_as = _read_sets(options)
    report = Report(
        str(run.folder),
        run.info.result or "",
        standardize=options.standardize,
        read_as=tuple(read_as),
        chosen_on=tuple(chosen_on(run.folder, sets)),
    )
    if split is not None or options.classify:
        graph = GraphResult(run, options.dataset, options.memory_bytes or MEMORY)
        if split is not None:
            report = replace(report, links=graph.rank(split, ranking, progress))
        if options.classify:
            report = replace(report, classification=graph.classify(progress))
    if options.similarity or options.analogies:
        trained = TrainedVectors(run, run.result())
        spaces = read_spaces(trained, options.memory_bytes or MEMORY, progress)
        space = choose(trained, spaces, options.kind, options.vectors)
        report = replace(report, kind=space.kind, vectors=options.vectors)
        report = _measure_words(report, space, sets, options, progress)
    return report


def _link_options(options: EvaluateOptions) -> LinkOptions:
    """The options of link prediction among all. raises UsageError for a bad value"""
    sizes = options.sample_candidates, options.sample_triples
    return LinkOptions(tuple(options.by), options.ties, *sizes, options.typed, options.seed)


def _split(run: RunFolder, options: EvaluateOptions) -> Split | None:
    """The split to rank: the wanted one, or test where nothing is wanted; None for no link prediction.

    raises UsageError for options of link prediction without a split
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
    return split


def _read_sets(options: EvaluateOptions) -> tuple[EvaluationSets, list[str]]:
    """The sets of words and entities, and how their files were read. raises DistjointError, see `read_similarity`"""
    if options.form is not None and not getattr(options, option_of(options.form)):
        raise UsageError(f"--form {options.form} is of sets that --{option_of(options.form)} takes")
    storage = options.storage_options
    found, notes = read_similarity(options.similarity, storage, options.form, options.columns)
    asked, more = read_analogies(options.analogies, storage, options.form)
    return EvaluationSets(found.pairs, found.groups + asked.groups, asked.questions), notes + more


def _measure_words(
    report: Report, space: Space, sets: EvaluationSets, options: EvaluateOptions, progress: Progress
) -> Report:
    how = report.standardize, options.seed
    results = tuple(measure_similarity(space, each, *how) for each in sets.pairs)
    grouped = tuple(grouped_similarity(space, each, *how) for each in sets.groups)
    answered = None
    if sets.questions:
        with progress.task("analogies", sum(len(each.questions) for each in sets.questions), "questions") as task:
            answered = measure_analogies(
                space, sets.questions, report.standardize, task.advance, options.analogy_method
            )
    return replace(report, similarity=results, grouped=grouped, analogies=answered)
