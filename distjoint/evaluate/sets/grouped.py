"""Sets whose pairs are correlated group by group: entities ranked for a seed, pairs rated as examples of a relation."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from distjoint.evaluate.sets.base import (
    LEAST,
    EvaluationSets,
    Form,
    GroupedPairs,
    PairGroup,
    SetFile,
    SetLine,
    fields_of,
    most,
)
from distjoint.evaluate.sets.files import number_of


class Ranked(Form):
    """KORE: a seed, then the entities related to it, each indented, the most related first."""

    name = "ranked"
    option = "similarity"
    title = "seeds, each with its entities in order of relatedness"
    line = "a line of a seed, then lines that begin with a tab"

    def knows(self, lines: Sequence[SetLine]) -> bool:
        return not _is_indented(lines[0]) and most(lines[1:], [_is_indented(line) for line in lines[1:]])

    def read(self, files: Sequence[SetFile], found: EvaluationSets) -> tuple[str, str]:
        (file,) = files
        seeds: dict[str, list[str]] = {}
        line, seed = file.lines[0], ""
        for line in file.lines:
            name = line.text.strip()
            if _is_indented(line):
                if not seed:
                    raise file.error(line, "is indented, as an entity is, but stands before the first seed")
                if name in seeds[seed]:
                    raise file.error(line, f"stands twice among the entities of '{seed}'")
                seeds[seed].append(name)
                continue
            if seed and not seeds[seed]:
                raise file.error(line, f"follows the seed '{seed}', which has no entities; indent those by a tab")
            if name in seeds:
                raise file.error(line, "is a seed for the second time")
            seed, seeds[name] = name, []
        if not seeds[seed]:
            raise file.error(line, "is a seed without entities; indent those by a tab")
        groups = [
            PairGroup(seed, tuple((seed, name) for name in names), tuple(float(-place) for place in range(len(names))))
            for seed, names in seeds.items()
        ]
        _notice_small(file, groups, found)
        found.groups.append(GroupedPairs(file.name, tuple(groups), form=self.name))
        return "", f"{', '.join(groups[0].pairs[0])}"


class Rated(Form):
    """SemEval 2012 task 2: pairs `a:b` of one relation with how typical they are of it. A relation is a file."""

    name = "rated"
    option = "analogies"
    title = "pairs of a relation, rated as examples of it"
    line = '52.0 "flower:tulip"'
    together = True

    def knows(self, lines: Sequence[SetLine]) -> bool:
        return most(lines, [_rating(line, colon=True) is not None for line in lines])

    def read(self, files: Sequence[SetFile], found: EvaluationSets) -> tuple[str, str]:
        groups = []
        for file in files:
            pairs, scores = [], []
            for line in file.lines:
                rating = _rating(line)
                if rating is None:
                    raise file.error(line, f"is not a pair and its score, like '{self.line}'")
                pairs.append(rating[0])
                scores.append(rating[1])
            groups.append(PairGroup(file.name, tuple(pairs), tuple(scores)))
            _notice_small(file, groups[-1:], found)
        name = "rated pairs"
        found.groups.append(GroupedPairs(name, tuple(groups), by_offset=True, form=self.name))
        return "", f"{', '.join(groups[0].pairs[0])}"


def _is_indented(line: SetLine) -> bool:
    return line.text[0] in "\t "


def _rating(line: SetLine, colon: bool = False) -> tuple[tuple[str, str], float] | None:
    """The pair and the score of a line, in either order; None where it is no such line.

    colon   the pair must be written `a:b`
    """
    fields = [field.strip("\"'") for field in fields_of(line.text)]
    numbers = [value for field in fields if (value := number_of(field)) is not None and math.isfinite(value)]
    words = [field for field in fields if number_of(field) is None]
    if len(words) == 1:
        words = re.split(r"\s*:\s*", words[0])
    elif colon:
        return None
    return ((words[0], words[1]), numbers[0]) if len(words) == 2 and all(words) and len(numbers) == 1 else None


def _notice_small(file: SetFile, groups: Sequence[PairGroup], found: EvaluationSets) -> None:
    for group in groups:
        if len(group.pairs) < LEAST:
            found.notices.add(
                f"Groups of fewer than {LEAST} pairs, which have no correlation", f"{group.name} in {file.place}"
            )
