"""The commands that measure runs: evaluate, compare."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from distjoint.cli.common import (
    Analogies,
    Json,
    LinkPrediction,
    Run,
    Similarity,
    Standardize,
    StorageOptions,
    Vectors,
    print_result,
    progress,
)


def evaluate(
    run: Run,
    link_prediction: LinkPrediction = None,
    by: Annotated[
        list[str] | None,
        typer.Option(
            metavar="relation|category|degree",
            help="Link prediction by relation, its category (1-1 to N-N) or the answer's degree; may be repeated.",
        ),
    ] = None,
    ties: Annotated[
        Literal["realistic", "optimistic", "pessimistic"],
        typer.Option(help="The rank shown for answers that tie: their mean, the first or the last; JSON has all."),
    ] = "realistic",
    sample_candidates: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Rank each answer among N drawn entities, not among all.")
    ] = None,
    sample_triples: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Rank N drawn triples of the split, not all.")
    ] = None,
    typed: Annotated[
        bool, typer.Option("--typed", help="Leave out candidates that the types of the relation do not allow.")
    ] = False,
    classify: Annotated[
        bool, typer.Option("--classify", help="Take test triples and given negatives for right or wrong.")
    ] = False,
    similarity: Similarity = None,
    analogies: Analogies = None,
    standardize: Standardize = True,
    vectors: Vectors = None,
    memory: Annotated[str, typer.Option(metavar="SIZE", help="Memory for vectors and scores, like 2GB.")] = "1GB",
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="Decides what is drawn.")] = 0,
    dataset: Annotated[
        str | None, typer.Option(metavar="DATASET", help="Where the dataset lies now, if moved.")
    ] = None,
    storage_options: StorageOptions = None,
    as_json: Json = False,
) -> None:
    """Measure a run: link prediction, triple classification, word similarity, analogies.

    \b
    Examples:
      distjoint evaluate runs/joint --link-prediction test --similarity sets/*.txt --analogies questions/
      distjoint evaluate runs/joint --link-prediction test --by category --by degree
    """
    import distjoint
    from distjoint.storage import locate

    report = distjoint.evaluate(
        run,
        link_prediction=link_prediction,
        by=by or (),
        ties=ties,
        sample_candidates=sample_candidates,
        sample_triples=sample_triples,
        typed=typed,
        classify=classify,
        similarity=similarity or (),
        analogies=analogies or (),
        standardize=standardize,
        vectors=vectors,
        memory=memory,
        seed=seed,
        dataset=dataset,
        progress=progress(),
    )
    report.save(locate(run))
    print_result(report, as_json)


def compare(
    runs: Annotated[list[str], typer.Argument(metavar="RUN...", help="Two runs or more.", show_default=False)],
    link_prediction: LinkPrediction = None,
    similarity: Similarity = None,
    analogies: Analogies = None,
    standardize: Standardize = True,
    vectors: Vectors = None,
    storage_options: StorageOptions = None,
    as_json: Json = False,
) -> None:
    """Measure runs side by side.

    Differences to the first run come with paired bootstrap intervals. Without sets, what 'evaluate' found before.

    \b
    Examples:
      distjoint compare runs/glove runs/kge runs/joint
      distjoint compare runs/glove runs/joint --similarity sets/*.txt
    """
    import distjoint

    comparison = distjoint.compare(
        runs,
        link_prediction=link_prediction,
        similarity=similarity or (),
        analogies=analogies or (),
        standardize=standardize,
        vectors=vectors,
        progress=progress(),
    )
    print_result(comparison, as_json)
