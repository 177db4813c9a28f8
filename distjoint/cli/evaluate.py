"""The commands that measure runs: evaluate, compare."""

from __future__ import annotations

from typing import Any

from distjoint.cli.common import Json, StorageOptions, print_result, progress
from distjoint.cli.options import options_of
from distjoint.evaluate.options import CompareOptions, EvaluateOptions


@options_of(EvaluateOptions)
def evaluate(
    run_url: str, options: dict[str, Any], storage_options: StorageOptions = None, as_json: Json = False
) -> None:
    """Measure a run: link prediction, triple classification, word similarity, analogies.

    Link prediction comes with triples of unseen entities apart, by the training triples of the rarer end, and as if the
    entity that a triple gives were no candidate.

    \b
    Examples:
      distjoint evaluate runs/joint --link-prediction test --similarity sets/*.txt --analogies questions/
      distjoint evaluate runs/joint --similarity kore.txt --kind entity
      distjoint evaluate runs/joint --link-prediction test --by category --by degree
      distjoint evaluate runs/unseen --link-prediction valid --json
    """
    import distjoint
    from distjoint.storage import locate

    report = distjoint.evaluate(run_url, **options, progress=progress())
    report.save(locate(run_url))
    print_result(report, as_json)


@options_of(CompareOptions)
def compare(
    runs: list[str], options: dict[str, Any], storage_options: StorageOptions = None, as_json: Json = False
) -> None:
    """Measure runs side by side.

    Differences to the first run come with paired bootstrap intervals. Without sets, what 'evaluate' found before.

    \b
    Examples:
      distjoint compare runs/glove runs/kge runs/joint
      distjoint compare runs/glove runs/joint --similarity sets/*.txt
    """
    import distjoint

    print_result(distjoint.compare(runs, **options, progress=progress()), as_json)
