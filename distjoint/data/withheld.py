"""Entities that are withheld whole, so that evaluation tells what is known of entities that training never names.

A share of the entities, or those of a file, leave the training triples: half of them for valid and half for test, so
that settings are chosen on other unseen entities than those that are reported. Daza et al. 2021 (BLP, appendix A) split
so too, but pass over entities that others depend on; here every entity is as likely, and what the others lose is said.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from distjoint.base.arrays import Bools, Ints
from distjoint.base.errors import DistjointError, UsageError
from distjoint.data.alignment import fields_of_lines
from distjoint.data.request import PrepareOptions
from distjoint.data.streams import NEGATIVES, SPLITS
from distjoint.data.triples import Graph, count_repeated, distinct
from distjoint.storage import Location, locate

_VALID, _TEST = 1, 2
"""Places in SPLITS."""
_STREAM = 2
"""Of the seed's random streams; the first holds triples out."""


def withhold(graph: Graph, options: PrepareOptions, notes: list[str]) -> dict[str, int]:
    """Withhold the entities that the options name, or a share of those in train; triples go where their ends belong.

    A triple with an end that is withheld for test goes to test, else one with an end for valid to valid; one of other
    entities stays in its split. Negatives go by the same rule. What is drawn depends on the names of the entities and
    the seed, not on the order of the triples.

    notes     gets sentences about what moved, and what lost all its training triples
    returns   `withheld/valid`, `withheld/test`: how many entities; empty where nothing is to be withheld
    raises    DistjointError for a file that is wrong; UsageError where nothing is left to train on
    """
    if not (options.unseen or options.unseen_fraction):
        return {}
    degrees, frequencies, names = graph.degrees(), graph.frequencies(), graph.entities.list()
    if options.unseen:
        chosen = _named(locate(options.unseen, options.storage_options), graph, notes)
        count = len(chosen)
    else:
        chosen = np.flatnonzero(degrees)
        count = max(1, round(options.unseen_fraction * len(chosen)))
    ordered = np.array(sorted(chosen.tolist(), key=names.__getitem__), np.int64)
    withheld = np.random.default_rng([options.seed, _STREAM]).permutation(ordered)[:count]
    test, valid = np.split(withheld, [(count + 1) // 2])
    belongs = np.zeros(len(names), np.int64)
    belongs[valid], belongs[test] = _VALID, _TEST
    moves = [*_move(graph, dict(enumerate(SPLITS)), belongs), *_move(graph, dict(enumerate(NEGATIVES, 1)), belongs)]
    if not len(graph.splits["train"]):
        given = f"--unseen {options.unseen}" if options.unseen else f"--unseen-fraction {options.unseen_fraction:g}"
        of = f"{count:,} of {np.count_nonzero(degrees):,} entities"
        raise UsageError(f"{given} withholds {of} and leaves no triple to train on; withhold fewer")
    graph.repeated = count_repeated(graph.splits)
    notes.append(
        f"Entities withheld from training: {len(valid):,} for valid, {len(test):,} for test (such as {names[test[0]]})."
    )
    notes.append(f"Triples that moved with them: {', '.join(moves) or 'none'}.")
    others = (belongs == 0) & (degrees > 0) & (graph.degrees() == 0)
    _say("Other entities that lost all their training triples by it", others, names, notes)
    relations = (frequencies > 0) & (graph.frequencies() == 0)
    _say("Relations that lost all their training triples by it", relations, graph.relations.list(), notes)
    return {"withheld/valid": len(valid), "withheld/test": len(test)}


def _named(file: Location, graph: Graph, notes: list[str]) -> Ints:
    """Ids of the entities that a file names, one a line."""
    named: list[str] = []
    for number, fields in fields_of_lines(file):
        if len(fields) != 1:
            raise DistjointError(f"{file}, line {number}: expected the name of an entity, found {len(fields)} columns")
        named += [graph.cleaning.clean(name) for name in fields]
    ids, distinct_names = graph.entities.ids, list(dict.fromkeys(named))
    unknown = [name for name in distinct_names if name not in ids]
    if len(unknown) == len(distinct_names):
        example = f"it has {named[0]!r}, they have {next(iter(ids))!r}" if named else "it is empty"
        raise DistjointError(f"{file}: none of its {len(unknown):,} entities is in the triples: {example}")
    if unknown:
        notes.append(f"Entities of {file} that are in no triple, left out: {len(unknown):,} (such as {unknown[0]}).")
    if again := len(named) - len(distinct_names):
        notes.append(f"Lines of {file} that name an entity again: {again:,}.")
    return np.array([ids[name] for name in distinct_names if name in ids], np.int64)


def _move(graph: Graph, splits: dict[int, str], belongs: Ints) -> list[str]:
    """Give every triple of some splits to the one that its ends belong to; the moves in words.

    splits    by their place in SPLITS
    belongs   int64[entities]: the place of the split that an entity is withheld for; 0 for none
    """
    empty = np.zeros((0, 3), np.int64)
    before = {place: graph.splits.get(split, empty) for place, split in splits.items()}
    goes = {}
    for place, rows in before.items():
        needs = np.maximum(belongs[rows[:, 0]], belongs[rows[:, 2]])
        goes[place] = np.where(needs > 0, needs, place)
    moves = []
    for place, split in splits.items():
        parts = {source: rows[goes[source] == place] for source, rows in before.items()}
        arrived = {source: len(rows) for source, rows in parts.items() if source != place and len(rows)}
        moves += [f"{count:,} from {splits[source]} to {split}" for source, count in arrived.items()]
        if split == "train":  # no triple moves there
            graph.keep(goes[place] == place)
        elif split in graph.splits or arrived:
            graph.splits[split], again = distinct(np.concatenate([parts.pop(place), *parts.values()]))
            graph.duplicates[split] = graph.duplicates.get(split, 0) + again
    return moves


def _say(what: str, which: Bools, names: Sequence[str], notes: list[str]) -> None:
    if count := int(which.sum()):
        notes.append(f"{what}: {count:,} (such as {names[int(np.argmax(which))]}).")
