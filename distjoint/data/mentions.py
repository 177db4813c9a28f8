"""Mentions: which words say something of an entity, and how much.

They are the words of its names and of its descriptions, and character n-grams of its names. A word says more the fewer
entities it is said of; those of a name and the first ones of a description say what the entity is. Weights of an entity
have length one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from distjoint.base.arrays import Bools, Doubles, Ints
from distjoint.data.alignment import Alignment
from distjoint.data.grams import find_grams, grams_of
from distjoint.data.lines import pieces
from distjoint.data.request import PrepareOptions
from distjoint.data.summary import MentionFigures
from distjoint.data.tokens import SEPARATOR, Lexicon
from distjoint.data.vocabulary import key

MOST = 512
"""Mentions of an entity that are kept, the heaviest."""
PIECE = 1 << 22
"""Bytes of text that are tokenised at a time."""
_EARLY_WORDS = 3
"""Words of a description after which what its first words weigh more has fallen by a factor of e."""
_EXAMPLES, _HEAVIEST = 5, 5
_MARK = b"x "
"""Begins each line that is tokenised, so that none is empty."""


@dataclass(frozen=True)
class Mentions:
    """Mentions, sorted by entity.

    entity    int64[n]: numbers of entities
    word      int64[n]: numbers of words of the vocabulary, and after these of `grams`
    weight    float64[n], > 0
    named     float64[n]: the part of the weight that names give, 0 to 1; None where that is not known
    grams     character n-grams of names, those of most entities first
    capped    entities that have `MOST` of more
    tokens    tokens of all descriptions, and how many of these are words of the vocabulary
    """

    entity: Ints
    word: Ints
    weight: Doubles
    named: Doubles | None
    grams: Sequence[str] = ()
    capped: int = 0
    tokens: tuple[int, int] = (0, 0)

    def __len__(self) -> int:
        return len(self.entity)


def no_mentions() -> Mentions:
    """Where there is only text or only a graph."""
    none = np.zeros(0, np.int64)
    return Mentions(none, none, np.zeros(0), np.zeros(0))


@dataclass(frozen=True)
class Shares:
    """What is said of entities before words are weighed by how many entities each is said of.

    entity, word   int64[n]: as of `Mentions`; each pair once
    share          float64[n], > 0: how much a word says of an entity by where it stands
    named          as of `Mentions`
    grams, tokens  as of `Mentions`
    """

    entity: Ints
    word: Ints
    share: Doubles
    named: Doubles | None
    grams: Sequence[str] = ()
    tokens: tuple[int, int] = (0, 0)

    def weigh(self, entities: int) -> Mentions:
        """The mentions of so many entities, the heaviest of each."""
        entity, word = self.entity, self.word
        weight = self.share * rarity(np.bincount(word), len(np.unique(entity)))[word]
        order = np.argsort(entity, kind="stable")
        kept, capped = _heaviest(entity, weight)
        order = order[kept[order]]
        entity, word, weight = entity[order], word[order], weight[order]
        named = None if self.named is None else self.named[order]
        length = np.sqrt(np.bincount(entity, weight**2, entities))
        return Mentions(entity, word, weight / length[entity], named, self.grams, capped, self.tokens)


def find_mentions(
    names: Sequence[Iterable[str]],
    texts: Sequence[Iterable[str]],
    alignment: Alignment,
    words: Sequence[str],
    options: PrepareOptions,
) -> Mentions:
    """The mentions of entities, by the words of a vocabulary.

    names, texts   of each entity
    alignment      whose pairs are names too
    """
    return find_shares(names, texts, alignment, words, options).weigh(len(names))


def find_shares(
    names: Sequence[Iterable[str]],
    texts: Sequence[Iterable[str]],
    alignment: Alignment,
    words: Sequence[str],
    options: PrepareOptions,
    grams: Sequence[str] = (),
) -> Shares:
    """What names and texts say, by the words of a vocabulary; arguments as of `find_mentions`.

    grams   n-grams that count however few entities share them; they keep their numbers
    """
    places = {word: place for place, word in enumerate(words)}
    (in_names, spoken, *_), (in_texts, said, position, _) = (
        _words_of(kind, places, options.tokenizer) for kind in (names, texts)
    )
    pairs = [(entity, word) for entity, (word, _) in alignment.shared.items()]
    pairs += [(sample.entity, sample.word) for sample in alignment.samples]
    aligned = np.array(pairs, np.int64).reshape(-1, 2)
    in_names, spoken = np.append(in_names, aligned[:, 0]), np.append(spoken, aligned[:, 1])
    # A word counts once among all names, but each time that it stands in a description.
    of_names = np.unique((in_names * len(words) + spoken)[spoken >= 0])
    known = said >= 0
    of_texts = (in_texts * len(words) + said)[known]
    keys, inverse = np.unique(np.append(of_names, of_texts), return_inverse=True)
    shares = np.append(np.full(len(of_names), options.name_weight), _by_place(position[known], options.early_weight))
    entity, word = np.divmod(keys, max(len(words), 1))
    share = np.bincount(inverse, shares, len(keys))
    named = np.bincount(inverse[: len(of_names)], shares[: len(of_names)], len(keys)) / share
    gram_entity, gram, grams = _grams_of(names, options, grams)
    entity, word = np.append(entity, gram_entity), np.append(word, gram + len(words))
    of_grams = _gram_share(gram_entity, options.gram_weight)
    every: Doubles = np.append(share, of_grams)
    of_names_alone: Doubles = np.append(named, np.ones(len(of_grams)))
    return Shares(entity, word, every, of_names_alone, grams, (len(said), int(known.sum())))


@dataclass(frozen=True)
class Weighing:
    """How a dataset weighs text: what makes the same mentions of a text that somebody types.

    words       number of each word of the vocabulary
    grams       number of each gram; they follow the words
    said_of     int64[words + grams]: entities that each is said of
    described   entities of which anything is said
    """

    words: Mapping[str, int]
    grams: Mapping[str, int]
    said_of: Ints
    described: int
    early_weight: float
    gram_weight: float
    tokenizer: str

    def weigh(self, text: str) -> dict[int, float]:
        """Weights of the words of a text, as those of a description: word or gram -> weight.

        Words that are not in the vocabulary are read by their grams, as names are.

        returns   weights of length one; empty where nothing of it is known
        """
        _, said, position, distinct = _words_of([[text]], self.words, self.tokenizer)
        known = said >= 0
        strange = [word for word in distinct if word not in self.words]
        grams = [self.grams[gram] for word in strange for gram in grams_of(word) if gram in self.grams]
        found, inverse = np.unique(np.append(said[known], np.array(grams, np.int64)), return_inverse=True)
        shares = _by_place(position[known], self.early_weight)
        shares = np.append(shares, _gram_share(np.zeros(len(grams), np.int64), self.gram_weight))
        weight = np.bincount(inverse, shares, len(found)) * rarity(self.said_of[found], self.described)
        length = np.linalg.norm(weight)
        return dict(zip(found.tolist(), (weight / length).tolist(), strict=True)) if length else {}


def describe(mentions: Mentions, entities: Sequence[str], words: Sequence[str]) -> MentionFigures:
    """Figures and examples of mentions."""
    counts = np.bincount(mentions.entity, minlength=len(entities))
    upto = {"0": (0, 0), "1": (1, 1), "2-5": (2, 5), "6 or more": (6, counts.max(initial=0))}
    starts = np.searchsorted(mentions.entity, np.arange(len(entities) + 1))
    examples = []
    spelled = [*words, *(f"#{gram}" for gram in mentions.grams)]
    for entity in np.flatnonzero(counts)[:: max(1, int((counts > 0).sum()) // _EXAMPLES)][:_EXAMPLES].tolist():
        here = slice(starts[entity], starts[entity + 1])
        order = np.argsort(-mentions.weight[here], kind="stable")[:_HEAVIEST]
        heaviest = zip(mentions.word[here][order].tolist(), mentions.weight[here][order].tolist(), strict=True)
        examples.append(
            f"{entities[entity]}: " + ", ".join(f"{spelled[word]} {weight:.2f}" for word, weight in heaviest)
        )
    return MentionFigures(
        mentions=len(mentions),
        entities={name: int(((counts >= low) & (counts <= high)).sum()) for name, (low, high) in upto.items()},
        capped=mentions.capped,
        tokens=mentions.tokens[0],
        known=mentions.tokens[1],
        examples=examples,
    )


def _words_of(
    texts: Sequence[Iterable[str]], places: Mapping[str, int], tokenizer: str
) -> tuple[Ints, Ints, Ints, Sequence[str]]:
    """The words of entities' texts, text after text.

    places    number of each word of the vocabulary
    returns   int64[tokens] each: the entity, the word, -1 where it is not in the vocabulary, its place in its text;
              and the distinct words, among them the mark
    """
    lines = [(entity, text) for entity, several in enumerate(texts) for text in several]
    lexicon = Lexicon(tokenizer)
    content = b"".join(_MARK + text.replace("\n", " ").replace("\0", " ").encode() + b"\n" for _, text in lines)
    tokens = _encoded(content, lexicon)
    spelled = lexicon.words()
    number = np.array([places.get(word, -1) for word in spelled], np.int64)
    ends = np.flatnonzero(tokens == SEPARATOR)
    starts = np.append(0, ends[:-1] + 1)
    line = np.repeat(np.arange(len(ends)), ends - starts)
    position = np.arange(len(tokens))[tokens != SEPARATOR] - starts[line] - 1
    said = position >= 0  # not the mark
    owner = np.array([entity for entity, _ in lines], np.int64)
    return owner[line[said]], number[tokens[tokens != SEPARATOR][said]], position[said], spelled


def _grams_of(
    names: Sequence[Iterable[str]], options: PrepareOptions, earlier: Sequence[str] = ()
) -> tuple[Ints, Ints, list[str]]:
    """The n-grams of entities' names: int64[n] entity, int64[n] gram, and the grams, `earlier` ones first."""
    if not options.gram_weight:
        return np.empty(0, np.int64), np.empty(0, np.int64), list(earlier)
    forms = [(entity, key(name, options.tokenizer)) for entity, several in enumerate(names) for name in several]
    owner, spelled = np.array([entity for entity, _ in forms], np.int64), [form for _, form in forms]
    if not earlier:
        return find_grams(owner, spelled, options.gram_entities)
    entity, gram, found = find_grams(owner, spelled, 1)
    places = {text: place for place, text in enumerate(earlier)}
    shared = np.bincount(gram, minlength=len(found)).tolist()
    for text, count in zip(found, shared, strict=True):
        if count >= options.gram_entities:
            places.setdefault(text, len(places))
    number = np.array([places.get(text, -1) for text in found], np.int64)
    kept = number[gram] >= 0
    return entity[kept], number[gram[kept]], list(places)


def _gram_share(entity: Ints, gram_weight: float) -> Doubles:
    """float64[n]: what the grams of entities weigh, which is less for each where there are more of them."""
    return np.asarray(gram_weight / np.sqrt(np.maximum(np.bincount(entity), 1))[entity])


def _encoded(content: bytes, lexicon: Lexicon) -> Ints:
    """int64[tokens]: ids of words, by pieces, since a lexicon makes room for as many words as bytes could hold.

    content   lines that begin with `_MARK`, so that a blank is in a line of which a word was read
    """
    parts = [lexicon.encode(piece, after_word=number > 0) for number, piece in enumerate(pieces(content, PIECE))]
    return np.concatenate([np.zeros(0, np.int32), *parts]).astype(np.int64)


def _by_place(position: Ints, early_weight: float) -> Doubles:
    """float64[n]: weight of the words of a description by their place in it, from 0."""
    return np.asarray(1 + early_weight * np.exp(-position / _EARLY_WORDS))


def rarity(said_of: Ints, described: int) -> Doubles:
    """float64[words], > 0: weight of words by how many entities they are said of, among so many that are described."""
    return np.asarray(np.log((described + 1) / np.maximum(said_of, 1)))


def _heaviest(entity: Ints, weight: Doubles) -> tuple[Bools, int]:
    """Which mentions are among the MOST heaviest of their entity, and how many entities have more."""
    order = np.lexsort((-weight, entity))
    counts = np.bincount(entity)
    rank = np.empty(len(entity), np.int64)
    rank[order] = np.arange(len(entity)) - np.repeat(np.cumsum(counts) - counts, counts)
    return rank < MOST, int((counts > MOST).sum())
