"""Alignment: which entity and which word are the same thing, and how that was found.

A one-to-one pair shares a row. Every other pair is an alignment sample with a weight: further words of an
entity that already has its row, and names that several entities bear. Names and words are compared in one
form (`vocabulary.key`): NFKC, case folded, words joined by underscores.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from distjoint.base.errors import DistjointError
from distjoint.data.label_tables import LABEL_COLUMNS, read_label_table
from distjoint.data.lines import decoded, open_text
from distjoint.data.packing import inner_name
from distjoint.data.record_columns import is_pair_header, is_table
from distjoint.data.records import read_json_object
from distjoint.data.tables.dictionaries import name_files
from distjoint.data.vocabulary import key
from distjoint.storage import Location

_ALIASES = ("alternatives", "aliases")
"""Fields of JSON that hold further names of an entity."""


@dataclass(frozen=True)
class Name:
    """Name of an entity.

    text   as written
    how    `label`, `alias` or `id`
    """

    text: str
    how: str


@dataclass(frozen=True)
class Sample:
    """An entity and a word that mean the same but share no row.

    entity, word   their numbers
    weight         1, or 1 / n for a name that n entities bear
    how            as found: `label`, `alias`, `id`, `pairs`
    """

    entity: int
    word: int
    weight: float
    how: str


@dataclass
class Alignment:
    """Alignment of entities and words, by their numbers.

    shared      entity -> (word, how): pairs that share a row, one to one
    samples     every other pair
    ambiguous   entities without a shared row though a name of theirs is a word: (entity, word, entities so called)
    unmatched   entities none of whose names is a word
    """

    shared: dict[int, tuple[int, str]] = field(default_factory=dict)
    samples: list[Sample] = field(default_factory=list)
    ambiguous: list[tuple[int, int, int]] = field(default_factory=list)
    unmatched: list[int] = field(default_factory=list)


class NoLabelsError(DistjointError):
    """A file without labels, which is wrong only where it is not one of several parts."""


def read_labels(file: Location, notes: list[str] | None = None) -> dict[str, list[str]]:
    """Labels of entities: entity -> label, alias, alias... from lines `entity TAB label [TAB alias...]`, or from JSON.

    JSON is `{entity: label}`, `{entity: [label, alias...]}` or `{entity: {"label": ..., "alternatives": [...]}}`. The
    entities of LibKGE's labels are numbers of a file beside them, see `tables.dictionaries`.

    notes    gets sentences about a header that is left out, and about marks between columns
    raises   DistjointError naming the line, or the entity, that is wrong
    """
    if is_table(file):
        labels = read_label_table(file, notes)
    else:
        labels = _json_labels(file) if inner_name(file.path).endswith(".json") else _label_lines(file, notes)
    if not labels:
        raise NoLabelsError(f"{file}: no labels in it")
    for place in name_files(file):
        ids = dict(read_pairs(place))
        if number := next((number for number in labels if number not in ids), None):
            raise DistjointError(f"{file}: entity {number} is not in {place.name}, which numbers {len(ids):,}")
        labels = {ids[number]: names for number, names in labels.items()}
    return labels


def _label_lines(file: Location, notes: list[str] | None) -> dict[str, list[str]]:
    labels: dict[str, list[str]] = {}
    for number, fields in fields_of_lines(file, LABEL_COLUMNS, notes):
        if len(fields) < 2 or not fields[0] or not fields[1]:
            raise DistjointError(f"{file}, line {number}: expected 'entity TAB label [TAB alias...]'")
        if fields[0] in labels:
            raise DistjointError(
                f"{file}, line {number}: entity {fields[0]!r} has a label already; put further names on its line"
            )
        labels[fields[0]] = [name for name in dict.fromkeys(fields[1:]) if name]
    return labels


def _json_labels(file: Location) -> dict[str, list[str]]:
    """Labels by JSON; entities that have none there are left out."""
    labels: dict[str, list[str]] = {}
    for entity, value in read_json_object(file):
        if isinstance(value, dict):
            aliases: Any = next((value[name] for name in _ALIASES if value.get(name)), [])
            value = [value.get("label"), *(aliases if isinstance(aliases, list) else [aliases])]
        names = value if isinstance(value, list) else [value]
        if wrong := [name for name in names if not isinstance(name, str | None)]:
            raise DistjointError(f"{file}: entity {entity!r} is called {str(wrong[0])[:80]}; a name is text")
        if entity in labels:
            raise DistjointError(f"{file}: entity {entity!r} has a label already; put further names in one list")
        if names and names[0]:
            labels[entity] = [name for name in dict.fromkeys(map(_stripped, names)) if name]
    return labels


def _stripped(name: str | None) -> str:
    return (name or "").encode(errors="replace").decode().strip()


def read_pairs(file: Location, values: Sequence[str] = (), notes: list[str] | None = None) -> list[tuple[str, str]]:
    """Pairs of entity and word, from lines `entity TAB word`.

    values, notes   as `fields_of_lines` takes them
    raises          DistjointError naming the line that is not one
    """
    pairs: dict[tuple[str, str], None] = {}
    for number, fields in fields_of_lines(file, values, notes):
        if len(fields) != 2 or not all(fields):
            raise DistjointError(f"{file}, line {number}: expected 'entity TAB word', found {len(fields)} columns")
        pairs[fields[0], fields[1]] = None
    if not pairs:
        raise DistjointError(f"{file}: no pairs in it")
    return list(pairs)


def fields_of_lines(
    file: Location, values: Sequence[str] = (), notes: list[str] | None = None
) -> Iterator[tuple[int, list[str]]]:
    """Number and fields of each line that is not empty, parted by tabs. raises DistjointError for what is not UTF-8

    values   names of a column of values: a first line of an entities' column and one of these is a header, left out
    notes    gets a sentence about it
    """
    if file.size() == 0:
        raise DistjointError(f"{file}: the file is empty")
    with open_text(file) as (stream, _):
        content = bytes(stream.read())
    for number, line in enumerate(content.removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1):
        text = decoded(file, line, number).rstrip("\r")
        if not text.strip():
            continue
        fields = [part.strip() for part in text.split("\t")]
        if number == 1 and is_pair_header(fields, values):
            if notes is not None:
                notes.append(f"{file}: its first line, '{fields[0]}, {fields[1]}', is taken for a header.")
            continue
        yield number, fields


def names_of(entities: Sequence[str], labels: dict[str, list[str]] | None) -> list[list[Name]]:
    """The names of each entity: label and aliases; or its readable id where there are no labels, or it is a URI."""

    def called(entity: str) -> list[Name]:
        if labels is None or ("://" in entity and entity not in labels):
            return [Name(_readable(entity), "id")]
        return [Name(text, "label" if k == 0 else "alias") for k, text in enumerate(labels.get(entity, ()))]

    return [called(entity) for entity in entities]


def _readable(entity: str) -> str:
    """The last part of an id that is a URI, without percent-encoding; other ids as they are."""
    return unquote(entity.rstrip("/>").rsplit("/", 1)[-1].rsplit("#", 1)[-1]) if "://" in entity else entity


def align_by_names(
    names: Sequence[Sequence[Name]],
    words: Sequence[str],
    degrees: Sequence[int],
    tokenizer: str,
    most_frequent: bool,
    entities: Sequence[str],
) -> Alignment:
    """Alignment by names: each entity with the word that is its label or an alias of it.

    names           per entity; its label or id first
    words           by falling count: of two spellings of one name the more frequent is taken
    degrees         per entity; decides who gets an ambiguous name where `most_frequent`
    """
    spelled: dict[str, list[int]] = defaultdict(list)
    for word, text in enumerate(words):
        if form := key(text, tokenizer):
            spelled[form].append(word)
    # For each entity the forms of its names that are words, main names apart from aliases.
    mains, aliases = _bearers(names, spelled, tokenizer)
    result = Alignment()
    taken: set[int] = set()
    # A label outweighs an alias: aliases get the words that no label took.
    for bearers in (mains, {form: {**found, **mains.get(form, {})} for form, found in aliases.items()}):
        for form in sorted(bearers, key=lambda form: spelled[form][0]):
            word = spelled[form][0]
            able = list(bearers[form])
            if len(able) > 1 and not most_frequent:
                # `hood` belongs to hood rather than to 'hood, which lost a mark on the way.
                able = [entity for entity in able if any(_unmarked(name.text) == form for name in names[entity])]
                if len(able) != 1:
                    continue
            if word in taken:
                continue
            best = min(able, key=lambda entity: (-degrees[entity], entities[entity]))
            if best not in result.shared:
                result.shared[best] = (word, bearers[form][best])
                taken.add(word)
    _samples(result, spelled, mains, aliases)
    return result


def _unmarked(name: str) -> str:
    """The name's form with nothing left out: what `key` gives where there is no punctuation."""
    return key(name, "whitespace")


Bearers = dict[str, dict[int, str]]


def _bearers(names: Sequence[Sequence[Name]], spelled: dict[str, list[int]], tokenizer: str) -> tuple[Bearers, Bearers]:
    """Form -> {entity: how}, of main names and of aliases; only forms that are words."""
    mains: Bearers = defaultdict(dict)
    aliases: Bearers = defaultdict(dict)
    for entity, called in enumerate(names):
        for name in called:
            form = key(name.text, tokenizer)
            if form not in spelled:
                continue
            if name.how != "alias":
                mains[form][entity] = name.how
            elif entity not in mains.get(form, {}):
                aliases[form][entity] = name.how
    return mains, aliases


def _samples(result: Alignment, spelled: dict[str, list[int]], mains: Bearers, aliases: Bearers) -> None:
    """Every pair of entity and word that shares no row; then who is ambiguous."""
    best: dict[int, tuple[int, int]] = {}
    for form in sorted({*mains, *aliases}, key=lambda form: spelled[form][0]):
        bearers = {**aliases.get(form, {}), **mains.get(form, {})}
        for entity, how in sorted(bearers.items()):
            for word in spelled[form]:
                if result.shared.get(entity, (None,))[0] != word:
                    result.samples.append(Sample(entity, word, 1.0 / len(bearers), how))
            if entity not in result.shared and entity not in best:
                best[entity] = (spelled[form][0], len(bearers))
    result.ambiguous = [(entity, word, count) for entity, (word, count) in sorted(best.items())]


def align_by_pairs(
    pairs: Sequence[tuple[int, int]], counts: Sequence[int], degrees: Sequence[int], most_frequent: bool
) -> Alignment:
    """Alignment by a list of (entity, word) pairs; a word paired with several entities is ambiguous.

    An entity paired with several words shares a row with the most frequent of those it has to itself.
    """
    result, taken = Alignment(), set()
    of_word: dict[int, list[int]] = defaultdict(list)
    for entity, word in pairs:
        of_word[word].append(entity)
    for word in sorted(of_word, key=lambda word: (-counts[word], word)):
        bearers = of_word[word]
        free = [entity for entity in bearers if entity not in result.shared]
        if free and (len(bearers) == 1 or most_frequent):
            entity = min(free, key=lambda entity: (-degrees[entity], entity))
            result.shared[entity] = (word, "pairs")
            taken.add((entity, word))
    for entity, word in pairs:
        if (entity, word) not in taken:
            result.samples.append(Sample(entity, word, 1.0 / len(of_word[word]), "pairs"))
    seen: set[int] = set()
    for entity, word in pairs:
        if entity not in result.shared and entity not in seen:
            seen.add(entity)
            result.ambiguous.append((entity, word, len(of_word[word])))
    return result


def align_as_said(pairs: Sequence[tuple[int, int, bool, float | None]]) -> Alignment:
    """Alignment by a list that says of each pair whether it shares a row; the others are samples.

    pairs   entity, word, whether they share a row, and the weight where they do not: by default 1 / n for a word that
            n entities are paired with
    raises  ValueError where a pair that shares a row has an end that already does: its arguments are the two pairs
    """
    result, taken = Alignment(), dict[int, int]()
    bearers: dict[int, set[int]] = defaultdict(set)
    for entity, word, shares, _ in pairs:
        bearers[word].add(entity)
        if not shares:
            continue
        other = (entity, result.shared[entity][0]) if entity in result.shared else (taken.get(word), word)
        if other[0] is not None and other != (entity, word):
            raise ValueError(other, (entity, word))
        result.shared[entity], taken[word] = (word, "pairs"), entity
    said: dict[tuple[int, int], float] = {}
    for entity, word, _, weight in pairs:
        if taken.get(word) != entity:
            said.setdefault((entity, word), 1.0 / len(bearers[word]) if weight is None else weight)
    result.samples = [Sample(entity, word, weight, "pairs") for (entity, word), weight in said.items()]
    first = {entity: word for entity, word in reversed(said) if entity not in result.shared}
    result.ambiguous = [(entity, word, len(bearers[word])) for entity, word in sorted(first.items())]
    return result
