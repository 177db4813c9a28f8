"""Additions of a growth: graph, alignment, mentions, rows and relations of before, with what is new after it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa

from distjoint.base.arrays import Bools, Doubles, Ints
from distjoint.base.prefixes import Prefixes
from distjoint.data.alignment import Alignment, Sample
from distjoint.data.cases import Cases
from distjoint.data.growth.before import Before
from distjoint.data.knowledge import Knowledge
from distjoint.data.mentions import Mentions, Shares, find_shares, rarity
from distjoint.data.request import PrepareOptions
from distjoint.data.rows import Rows, relations_table
from distjoint.data.streams import NEGATIVES, SPLITS
from distjoint.data.triples import count_repeated, repeated


def with_knowledge(before: Knowledge, new: Knowledge, notes: list[str]) -> Knowledge:
    """Both graphs as one. `new` was read onto `before`, so that names have one number in both.

    notes   gets sentences about triples that are there already, and about new ones that other splits have
    """
    graph, earlier = new.graph, before.graph
    splits = {}
    for split in (*SPLITS, *NEGATIVES):
        parts = [each.splits[split] for each in (earlier, graph) if split in each.splits]
        if not parts:
            continue
        rows = np.concatenate(parts)
        again = repeated(rows)
        splits[split] = rows[~again]
        if again.any():
            head, relation, tail = rows[int(np.argmax(again))].tolist()
            names = graph.entities.list(), graph.relations.list()
            example = f"{names[0][head]} {names[1][relation]} {names[0][tail]}"
            notes.append(
                f"Triples of {split} that are there already, left out: {int(again.sum()):,} (such as {example})."
            )
        if split == "train" and (earlier.weights is not None or graph.weights is not None):
            weights = np.concatenate([_weights(each.weights, len(each.splits["train"])) for each in (earlier, graph)])
            graph.weights = weights[~again]
    graph.splits = splits
    counted, those_before = count_repeated(splits), count_repeated(earlier.splits)
    for split, count in counted.items():
        if count > those_before.get(split, 0):
            where = "in train" if split in SPLITS else "right by a split"
            notes.append(f"Triples of {split} that are {where} too, of before and new together, kept: {count:,}.")
    graph.repeated = counted
    types = new.types if before.types is None else {**before.types}
    if before.types is not None and types is not None:
        for entity, names_of_types in (new.types or {}).items():
            types[entity] = [*dict.fromkeys((*types.get(entity, ()), *names_of_types))]
    labels = {**new.relation_labels, **before.relation_labels}
    prefixes = Prefixes({**new.prefixes.namespaces, **before.prefixes.namespaces})
    return replace(new, types=types, relation_labels=labels, prefixes=prefixes)


def _weights(weights: Doubles | None, count: int) -> Doubles:
    """Weights with a mean of 1, as a dataset has them."""
    return np.ones(count) if weights is None or not count else weights / weights.mean()


def with_alignment(before: Before, found: Alignment, entities: Sequence[str], words: Sequence[str]) -> Alignment:
    """The alignment of before, and those pairs of another that have an end that is new.

    found    of all entities and words
    """
    known, first_entity, first_word = before.alignment(), len(before.of_entity), len(before.of_word)
    shared, samples = dict(known.shared), list(known.samples)
    there = {(sample.entity, sample.word) for sample in samples}

    def is_new(entity: int, word: int) -> bool:
        return entity >= first_entity or word >= first_word

    apart = []
    for entity, (word, how) in found.shared.items():
        if entity >= first_entity and word >= first_word:
            shared[entity] = word, how
        elif is_new(entity, word):
            apart.append(Sample(entity, word, 1.0, how))
    for sample in [*apart, *found.samples]:
        pair = sample.entity, sample.word
        if is_new(*pair) and pair not in there and shared.get(sample.entity, (None,))[0] != sample.word:
            there.add(pair)
            samples.append(sample)
    named = {entity: (word, count) for entity, word, count in found.ambiguous}
    named |= {sample.entity: (sample.word, 1) for sample in apart}
    ambiguous = [(entity, *each) for entity, each in sorted(named.items()) if entity not in shared]
    of_none = {*shared, *named}
    return Alignment(shared, samples, ambiguous, [k for k in range(len(entities)) if k not in of_none])


def notes_on_rows_apart(
    before: Before, alignment: Alignment, entities: Sequence[str], words: Sequence[str]
) -> list[str]:
    """A sentence about pairs of one name, one of them new, that would share a row were both."""
    apart = Cases("Pairs of an entity and a word of one name, of which one is new, which keep rows of their own")
    for sample in alignment.samples:
        if (sample.entity >= len(before.of_entity)) != (sample.word >= len(before.of_word)) and sample.weight == 1:
            apart.add(f"{entities[sample.entity]} and {words[sample.word]}")
    return [f"{apart}."] if apart.count else []


def fresh_entities(before: Before, texts: Iterable[str], numbers: Mapping[str, int], described: Ints) -> Bools:
    """bool[entities]: those that are new, are described anew, or of which nothing was said before.

    texts      names of entities that have descriptions now
    described  int64[n]: numbers of entities of which something was said
    """
    fresh = np.ones(len(numbers), np.bool_)
    fresh[described] = False
    fresh[[numbers[entity] for entity in texts]] = True
    fresh[len(before.of_entity) :] = True
    return fresh


def with_mentions(
    before: Mentions,
    first_gram: int,
    fresh: Bools,
    names: Sequence[Iterable[str]],
    texts: Sequence[Iterable[str]],
    alignment: Alignment,
    words: Sequence[str],
    options: PrepareOptions,
) -> Mentions:
    """What was said of entities that are not fresh, and what is said of those that are, weighed together.

    first_gram  words of the vocabulary of before
    fresh       bool[entities]
    the others  as of `find_mentions`
    """
    spoken = [[*each] if new else [] for each, new in zip(names, fresh, strict=True)]
    said = [[*each] if new else [] for each, new in zip(texts, fresh, strict=True)]
    pairs = Alignment(
        {entity: pair for entity, pair in alignment.shared.items() if fresh[entity]},
        [sample for sample in alignment.samples if fresh[sample.entity]],
    )
    new = find_shares(spoken, said, pairs, words, options, before.grams)
    word = before.word + np.where(before.word >= first_gram, len(words) - first_gram, 0)
    if not (len(new.entity) or fresh[before.entity].any()):
        return replace(before, word=word, grams=new.grams)
    # What a word says by where it stands is its weight without its rarity; length one comes again.
    share = before.weight / rarity(np.bincount(before.word), len(np.unique(before.entity)))[before.word]
    kept = ~fresh[before.entity]
    shares = Shares(
        np.append(before.entity[kept], new.entity),
        np.append(word[kept], new.word),
        np.append(share[kept], new.share),
        None if before.named is None or new.named is None else np.append(before.named[kept], new.named),
        new.grams,
        new.tokens,
    )
    return shares.weigh(len(fresh))


def with_rows(
    before: Before, words: int, grams: int, entities: Sequence[str], degrees: Ints, alignment: Alignment
) -> Rows:
    """Rows of before, and after them those of new words, n-grams and entities, each kind by rank.

    words, grams   how many there are now
    """
    old, first = before.data.layout, before.data.layout.rows
    of_word, of_entity = (np.append(each, np.full(n - len(each), -1)) for each, n in (
        (before.of_word, words), (before.of_entity, len(entities)),
    ))  # fmt: skip
    entity_of = {word: entity for entity, (word, _) in alignment.shared.items() if entity >= len(before.of_entity)}
    alone = [word for word in range(len(before.of_word), words) if word not in entity_of]
    of_word[alone] = first + np.arange(len(alone))
    first += len(alone)
    of_gram = np.append(before.of_gram, first + np.arange(grams - len(before.of_gram)))
    first += grams - len(before.of_gram)
    pairs = sorted(entity_of)
    of_word[pairs] = of_entity[[entity_of[word] for word in pairs]] = first + np.arange(len(pairs))
    rest = np.flatnonzero(of_entity < 0).tolist()
    rest.sort(key=lambda entity: (-degrees[entity], entities[entity]))
    of_entity[rest] = first + len(pairs) + np.arange(len(rest))
    kinds = old.words + len(alone) + grams - len(before.of_gram), old.aligned + len(pairs), old.entities + len(rest)
    return Rows(of_word, of_entity, of_gram, *kinds, old)


def with_relations(
    before: Before, names: Sequence[str], frequencies: Ints, labels: Mapping[str, str]
) -> tuple[Ints, pa.Table]:
    """As `number_relations`: ids of before stay, new ones follow."""
    first = len(before.relations)
    order = [*range(first), *sorted(range(first, len(names)), key=lambda k: (-frequencies[k], names[k]))]
    return relations_table(order, names, frequencies, labels)
