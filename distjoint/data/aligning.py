"""Alignment phase of `prepare`: entities and words aligned as the options say, and what the summary tells of it.

The rules themselves are in `alignment`, which knows no options.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from distjoint.base.arrays import Ints
from distjoint.base.errors import DistjointError
from distjoint.data.alignment import (
    Alignment,
    Name,
    align_as_said,
    align_by_names,
    align_by_pairs,
    read_pairs,
)
from distjoint.data.alignment_table import SHARES_ROW, NamedPair, read_pair_table
from distjoint.data.record_columns import WORD_COLUMNS, is_table
from distjoint.data.request import PrepareOptions
from distjoint.data.summary import Aligned
from distjoint.data.triples import Graph
from distjoint.data.vocabulary import Vocabulary, key
from distjoint.storage import locate

EXAMPLES = 5


@dataclass(frozen=True)
class GivenPair:
    """A pair of the file that `align` names: the entity's number, and what else the file says of it."""

    entity: int
    named: NamedPair

    @property
    def word(self) -> str:
        """The word as the file has it."""
        return self.named.word


def named_pairs(options: PrepareOptions, graph: Graph, notes: list[str]) -> list[GivenPair]:
    """Pairs of the file that `align` names; none where it names no file.

    notes    gets a sentence about a header that is left out
    raises   DistjointError for a file that is not there, or names an entity that the graph does not have
    """
    if options.align in ("auto", "none"):
        return []
    place = locate(options.align, options.storage_options)
    if not place.exists():
        raise DistjointError(f"{place}: no such file; --align takes 'auto', 'none' or a file of pairs")
    if is_table(place):
        named = read_pair_table(place)
    else:
        named = [NamedPair(*pair) for pair in read_pairs(place, WORD_COLUMNS, notes)]
    pairs = []
    for pair in named:
        entity = graph.cleaning.clean(pair.entity)
        if entity not in graph.entities:
            raise DistjointError(f"{place}: entity {entity!r} (word {pair.word!r}) is in no triple and has no label")
        pairs.append(GivenPair(graph.entities.ids[entity], pair))
    return pairs


def align(
    options: PrepareOptions,
    names: list[list[Name]],
    pairs: list[GivenPair],
    words: Vocabulary,
    graph: Graph,
    degrees: Ints,
    notes: list[str],
) -> Alignment:
    """Alignment of a graph's entities and the words of a text.

    names     of each entity; for `auto`
    pairs     of the file, where there is one
    degrees   int64[entities]
    notes     gets a sentence about pairs that are left out
    raises    DistjointError where the file says that an entity or a word shares two rows
    """
    entities, most_frequent = graph.entities.list(), options.align_ambiguous == "most-frequent"
    if not len(words) or not entities or options.align == "none":
        return Alignment(unmatched=list(range(len(entities))))
    if options.align == "auto":
        found = align_by_names(names, words.words, degrees.tolist(), options.tokenizer, most_frequent, entities)
    else:
        found = _by_file(options, pairs, words, entities, degrees, notes)
    ambiguous = {entity for entity, _, _ in found.ambiguous}
    found.unmatched = [e for e in range(len(entities)) if e not in found.shared and e not in ambiguous]
    return found


def _by_file(
    options: PrepareOptions,
    pairs: Sequence[GivenPair],
    words: Vocabulary,
    entities: Sequence[str],
    degrees: Ints,
    notes: list[str],
) -> Alignment:
    """Alignment by a file: as it says of each pair, or by the rules for pairs where it says nothing."""
    spelled = {word: k for k, word in enumerate(words.words)}
    forms = {key(word, options.tokenizer): k for word, k in reversed(spelled.items())}
    known = [(pair, spelled.get(pair.word, forms.get(key(pair.word, options.tokenizer), -1))) for pair in pairs]
    if missing := sum(word < 0 for _, word in known):
        notes.append(f"Pairs of {options.align} whose word is not in the vocabulary: {missing:,}.")
    known = [(pair, word) for pair, word in known if word >= 0]
    if all(pair.named.shares is None for pair, _ in known):
        kept = list(dict.fromkeys((pair.entity, word) for pair, word in known))
        most_frequent = options.align_ambiguous == "most-frequent"
        return align_by_pairs(kept, words.counts.tolist(), degrees.tolist(), most_frequent)
    try:
        return align_as_said([(pair.entity, word, bool(pair.named.shares), pair.named.weight) for pair, word in known])
    except ValueError as error:
        (entity, word), (other, second) = error.args
        raise DistjointError(
            f"{options.align}: entity {entities[other]!r} is to share a row with word {words.words[second]!r}, and "
            f"entity {entities[entity]!r} with {words.words[word]!r}; an entity or a word shares one row at most: set "
            f"{SHARES_ROW} to false for one of the two"
        ) from error


def described(
    options: PrepareOptions,
    alignment: Alignment,
    words: Vocabulary,
    graph: Graph,
    labels: Mapping[str, Sequence[str]] | None,
) -> Aligned | None:
    """Figures and examples of an alignment; None where nothing was to be aligned."""
    entities = graph.entities.list()
    if not len(words) or not entities or options.align == "none":
        return None

    def called(entity: int) -> str:
        label = (labels or {}).get(entities[entity])
        return f"{entities[entity]} ({label[0]})" if label else entities[entity]

    shared = sorted(alignment.shared.items(), key=lambda pair: -words.counts[pair[1][0]])[:EXAMPLES]
    return Aligned(
        aligned=len(alignment.shared),
        ambiguous=len(alignment.ambiguous),
        unmatched=len(alignment.unmatched),
        samples=len(alignment.samples),
        how=dict(Counter(how for _, how in alignment.shared.values())),
        examples={
            "aligned": [f"{called(entity)} = {words.words[word]}" for entity, (word, _) in shared],
            "ambiguous": [
                f"{called(entity)}: {words.words[word]} is the name of {count}"
                for entity, word, count in alignment.ambiguous[:EXAMPLES]
            ],
            "unmatched": [called(entity) for entity in alignment.unmatched[:EXAMPLES]],
        },
    )
