"""Word similarity sets that validations of a run measure, `train.validate`: found by name, copied into its folder.

The copy is what validations read, on every machine and after every change of the files; and `evaluate` tells by it that
a set which it reports has chosen the run's epoch or settings.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeAlias

from pydantic import TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as parsed

from distjoint.base.errors import DistjointError, UsageError
from distjoint.config import names_test
from distjoint.evaluate.sets import EvaluationSets, GroupedPairs, WordPairs, read_similarity
from distjoint.names import OF_LINKS
from distjoint.storage import Location, Options

FILE = "validation.json"
AnySet: TypeAlias = WordPairs | GroupedPairs


@parsed(frozen=True)
class ChosenBy:
    """A set by which a run was chosen.

    key      what `train.validate` calls it
    pairs    the set, of pairs or of groups of pairs
    """

    key: str
    pairs: WordPairs | None = None
    groups: GroupedPairs | None = None

    @property
    def content(self) -> AnySet:
        """The set."""
        found = self.pairs or self.groups
        assert found is not None
        return found


def find_sets(keys: Sequence[str], files: Sequence[str], options: Options | None = None) -> list[ChosenBy]:
    """The sets that `train.validate` names.

    keys     each a file, or the beginning of a set's name among `files`, in any case
    files    files, globs, folders: `train.validation_sets`
    raises   UsageError for a key that is neither, for one that fits several sets, and for a test set; DistjointError
             naming a file that cannot be read
    """
    named = _all(read_similarity(files, options)[0]) if files else []
    found = []
    for key in keys:
        fitting = [each for each in named if _plain(each.name) == _plain(key)]
        fitting = fitting or [each for each in named if _plain(each.name).startswith(_plain(key))]
        if not fitting and re.search(r"[/.*\\]", key):
            fitting = _all(read_similarity([key], options)[0])
        names = ", ".join(each.name for each in fitting)
        if not fitting:
            sets = ", ".join(each.name for each in named) or "none"
            raise UsageError(
                f"train.validate: nothing is called {key}; choose {', '.join(OF_LINKS)}, a set of "
                f"train.validation_sets (there: {sets}), or a file"
            )
        if len(fitting) > 1:
            raise UsageError(f"train.validate: {key} stands for several sets ({names}); name one of them")
        if names_test(fitting[0].name):
            raise UsageError(
                f"train.validate: {key} is {names}, a test set by its name, by which nothing may be chosen; name "
                "another"
            )
        found.append(_chosen_by(key, fitting[0]))
    return found


def write_sets(run: Location, sets: Iterable[ChosenBy]) -> None:
    """Copy sets into a run's folder, beside those that have chosen it before; of one key the newest counts."""
    kept = [each for each in read_sets(run) if each not in sets]
    content: dict[str, Any] = {"sets": _adapter().dump_python([*kept, *sets], mode="json")}
    (run / FILE).write_json(content)


def read_sets(run: Location) -> list[ChosenBy]:
    """The sets that choose a run, or chose it before; none where there are none."""
    place = run / FILE
    if not place.exists():
        return []
    try:
        return _adapter().validate_python(place.read_json()["sets"])
    except (ValueError, KeyError, TypeError, ValidationError) as error:
        raise DistjointError(f"{place}: damaged ({str(error).splitlines()[0]})") from error


def chosen_on(run: Location, sets: EvaluationSets) -> list[str]:
    """A sentence for each set whose pairs have chosen a run's epoch or settings."""
    chosen = {pair: each.content.name for each in read_sets(run) for pair in _pairs(each.content)}
    said = []
    for each in _all(sets) if chosen else ():
        pairs = set(_pairs(each))
        if shared := pairs & chosen.keys():
            by = ", ".join(sorted({chosen[pair] for pair in shared}))
            also = "" if by == each.name else f" as {by}"
            said.append(
                f"{each.name}: {len(shared):,} of its {len(pairs):,} pairs have chosen this run{also} "
                f"(train.validate), so its figure is one of validation, not of a test."
            )
    return said


def _all(sets: EvaluationSets) -> list[AnySet]:
    return [*sets.pairs, *sets.groups]


def _chosen_by(key: str, content: AnySet) -> ChosenBy:
    return ChosenBy(key, content, None) if isinstance(content, WordPairs) else ChosenBy(key, None, content)


def _pairs(content: AnySet) -> Iterator[frozenset[str]]:
    """Pairs without order or case."""
    parts = [content.pairs] if isinstance(content, WordPairs) else [group.pairs for group in content.groups]
    return (frozenset(name.casefold() for name in pair) for part in parts for pair in part)


def _plain(name: str) -> str:
    """A name without case and marks: `simlex999`."""
    return re.sub(r"[\W_]", "", name.casefold())


def _adapter() -> TypeAdapter[list[ChosenBy]]:
    return TypeAdapter(list[ChosenBy])
