"""A trained result in memory: look names up, find neighbours, predict and score triples.

Words and entities each have vectors of their own. An aligned row is a word and an entity, and has two.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from distjoint.base.arrays import Bools, Doubles, Floats, Ints
from distjoint.base.errors import DistjointError, UsageError
from distjoint.couplings.base import TEXT
from distjoint.data.dataset import Triples
from distjoint.data.of_run import open_dataset
from distjoint.data.streams import SPLITS
from distjoint.evaluate.chosen import spaces_of
from distjoint.evaluate.known import KnownAnswers
from distjoint.evaluate.options import VectorKind, VectorParts
from distjoint.evaluate.scoring import Side, TripleModel
from distjoint.evaluate.space import Space, Spaces, read_spaces, unknown
from distjoint.evaluate.trained import TrainedVectors
from distjoint.results.answers import Neighbour, Prediction, largest, warn_of_chance
from distjoint.results.explain import End, Explanation, parts_of, slopes_of, word_shares, words_of
from distjoint.results.export import ExportKind, Say, export_run
from distjoint.results.relation_names import RelationNames
from distjoint.results.typed import TypedText
from distjoint.runs.folder import RunFolder
from distjoint.storage import Options, locate


def load(url: str, storage_options: Options | None = None, *, dataset: str | None = None) -> Embeddings:
    """The result of the run at a URL.

    dataset   where its dataset lies now, if it was moved to where it cannot be found
    raises    DistjointError when there is no result, or it is damaged, or the dataset is another one
    """
    run = RunFolder.open(url, storage_options, dataset)
    if dataset is not None:
        open_dataset(run)
    return Embeddings.read(run)


class Embeddings:
    """The vectors of a run.

    words, entities   the names and vectors of each kind; empty where the run has none
    relations         names of the relations
    """

    def __init__(
        self,
        run: RunFolder,
        trained: TrainedVectors,
        spaces: Spaces,
        relations: RelationNames,
    ) -> None:
        self.run, self.words, self.entities, self.relations = run, spaces.words, spaces.entities, relations.names
        self._trained, self._every, self._relations = trained, spaces, relations
        self._model = trained.model if "relation" in trained.dense else None
        self._plausible: Bools = (spaces.degrees > 0) | spaces.said
        """bool[entities]: those whose vector means something; that of the others is chance."""
        self._coupling, self._dense = trained.coupling, trained.dense

    @classmethod
    def read(cls, run: RunFolder) -> Embeddings:
        """The vectors of a run's result. raises DistjointError when it has none, or a file of it is damaged"""
        trained = TrainedVectors(run, run.result())
        columns = run.relations().to_pydict() if "relation" in trained.dense else {"name": []}
        spaces = read_spaces(trained)
        return cls(run, trained, spaces, RelationNames(columns["name"], columns.get("label", ()), spaces.prefixes))

    def __len__(self) -> int:
        """How many vectors there are; an aligned row counts twice."""
        return len(self.words) + len(self.entities)

    def __contains__(self, name: str) -> bool:
        return any(space.find(name) is not None for space in self._spaces(None))

    @property
    def dim(self) -> int:
        return self.run.info.config.model.dim

    def kinds(self, name: str) -> list[VectorKind]:
        """Which kinds of vector a name has."""
        return [space.kind for space in self._spaces(None) if space.find(name) is not None]

    def vector(self, name: str, kind: VectorKind | None = None) -> Floats:
        """float32[dim]: the vector of a word, or of an entity by its id or label.

        kind      `word` or `entity`; None for the first of the two that knows the name
        raises    DistjointError for an unknown name, with the nearest known ones
        """
        space, index = self._find(name, kind)
        return space.vectors[index]

    def nearest(
        self,
        name: str | NDArray[np.floating],
        k: int = 10,
        kind: VectorKind | None = None,
        *,
        of: VectorKind | None = None,
        standardize: bool = True,
    ) -> list[Neighbour]:
        """The words and entities nearest to a name or vector, by cosine, nearest first.

        Within a kind its own vectors are compared. Across kinds, entity vectors meet (W + C) M (coupling `dual`,
        `project`), W + C (`tie`, `soft`) or the vector of the word as text (`described`), unstandardised; under `none`
        the kinds share no space, and only one's own is searched.

        name          a name, or float[dim]
        kind          only neighbours of this kind
        of            which of a name's two vectors is meant, or what kind a given vector is; words come first
        standardize   compare words by standardised columns
        raises        DistjointError for an unknown name; UsageError for a kind that cannot be compared
        """
        if k < 1:
            raise UsageError(f"k = {k}: ask for at least one neighbour")
        if isinstance(name, str):
            source, index = self._find(name, of)
            vector, itself = source.vectors[index], name
            self._warn(None, *([index] if source.kind == "entity" else []))
        else:
            source, vector, itself = self._spaces(of)[0], np.asarray(name, np.float32), None
            if vector.shape != (self.dim,):
                raise UsageError(f"a vector of shape {vector.shape} was given; this run's have {self.dim} numbers")
            index = -1
        spaces = self._spaces(kind)
        if kind not in (None, source.kind) and not self._coupling.kinds_meet:
            raise UsageError(
                f"{itself or 'the vector'} is of kind {source.kind}, and without coupling the {kind} vectors lie in a "
                f"space of their own; ask for kind {source.kind}"
            )
        found: list[Neighbour] = []
        for space in spaces:
            if space.kind == source.kind:
                left = space.to_unit(vector[None], standardize and space.kind == "word")[0]
                cosines = space.unit(standardize and space.kind == "word") @ left
                found += self._best(space, cosines, k, skip=index)
            elif self._coupling.kinds_meet:
                found += self._best(space, self._across(source, index, vector, space), k, skip=-1)
        return sorted(found, key=lambda neighbour: -neighbour.similarity)[:k]

    def text_vector(self, text: str) -> Floats:
        """float32[dim]: the vector of an entity of which a text is all that is known; reads the dataset.

        raises   UsageError where the run's coupling reads no text; DistjointError where no word of it is known
        """
        return self._typed.vector(text)

    def predict(
        self,
        head: str | None = None,
        relation: str | None = None,
        tail: str | None = None,
        k: int = 10,
        known: Literal["exclude", "include"] = "exclude",
        *,
        head_text: str | None = None,
        tail_text: str | None = None,
        own_end: bool = False,
    ) -> list[Prediction]:
        """The entities that best complete (head, relation, ?) or (?, relation, tail), best first.

        Candidates are the entities with a training triple, or of which words say something that the coupling reads.

        head, tail   the one that is given, by id, label or word
        known        `exclude` leaves out triples of the dataset, which it reads; `include` marks them if it is there
        head_text, tail_text   instead of a name: what the given end is, in words (see `text_vector`)
        own_end      whether the given end may be an answer
        raises       DistjointError for an unknown name, UsageError unless exactly one end and a relation are given
        """
        ends = [head, tail, head_text, tail_text]
        if relation is None or sum(end is not None for end in ends) != 1:
            raise UsageError("give a relation and one end, head or tail; the other end is predicted")
        if k < 1:
            raise UsageError(f"k = {k}: ask for at least one prediction")
        side: Side = "tail" if tail is None and tail_text is None else "head"
        name, text = (head, head_text) if side == "tail" else (tail, tail_text)
        given, relation_id = self._entity(name) if text is None else None, self._relations.find(relation)
        self._warn(relation_id, *([] if given is None else [given]))
        vector = self.text_vector(text or "") if given is None else self.entities.vectors[given]
        scores = np.where(self._plausible, self._scores(vector, relation_id, side), -np.inf)
        answers = None
        if given is not None:
            answers = self._known_answers(given, relation_id, side, required=known == "exclude")
            if not own_end:
                scores[given] = -np.inf
        if known == "exclude" and answers is not None:
            scores[answers] = -np.inf
        found: list[Prediction] = []
        for index in largest(scores, k).tolist():
            marked = None if answers is None else bool((answers == index).any())
            readable = self._every.readable(index)
            found.append(Prediction(self.entities.names[index], float(scores[index]), readable, marked))
        return found

    def score(self, head: str, relation: str, tail: str) -> float:
        """How plausible a triple is: the model's score; comparable between triples of one relation."""
        model, relation_id, places = (
            self._triple_model(),
            self._relations.find(relation),
            list(map(self._entity, (head, tail))),
        )
        self._warn(relation_id, *places)
        ends = [torch.from_numpy(self.entities.vectors[[place]]) for place in places]
        query = model.queries(ends[0], torch.tensor([relation_id]), "tail")
        return float(model.score(query, ends[1])[0, 0])

    def explain(self, head: str, relation: str, tail: str, top: int = 8) -> Explanation:
        """What each part of a triple's ends, and each word of their texts, adds to its score.

        head, tail   by id, label or word
        top          words of each end that are told apart; 0: no words, which the dataset would have to be read for
        raises       DistjointError for an unknown name, UsageError where no graph was trained
        """
        self._triple_model()
        if top < 0:
            raise UsageError(f"top = {top}: ask for 0 words or more")
        relation_id, ends = self._relations.find(relation), (self._entity(head), self._entity(tail))
        self._warn(relation_id, *ends)
        parts = [parts_of(self._trained, self._row(end)) for end in ends]
        score, *slopes = slopes_of(self._trained, parts[0], relation_id, parts[1])
        found: list[End] = []
        sides: tuple[Side, Side] = ("head", "tail")
        for side, end, other, own, slope in zip(sides, ends, ends[::-1], parts, slopes, strict=True):
            shares = {name: float(slope @ part) for name, part in own.items()}
            rank, among = self._rank(other, relation_id, end, side)
            words = self._shares_of_words(end, slope, shares[TEXT], top) if top and TEXT in shares else {}
            names, rest = (self.entities.names[end], self._every.readable(end)), score - sum(shares.values())
            found.append(End(*names, rank, among, shares, rest, **words))
        answers = self._known_answers(ends[0], relation_id, "tail", required=False)
        known = None if answers is None else bool((answers == ends[1]).any())
        readable = self._relations.readable(relation_id)
        return Explanation(found[0], self.relations[relation_id], found[1], score, known, readable)

    def export(
        self,
        out: str,
        form: str = "glove",
        kind: ExportKind | None = None,
        *,
        vectors: VectorParts = "joint",
        binary: bool = False,
        storage_options: Options | None = None,
        say: Say | None = None,
    ) -> int:
        """Write the vectors of a kind, or of all, to a file or folder at a URL; returns how many.

        form      `glove`, `word2vec`, `parquet`, `safetensors`, ..., or one that was added to the registry's EXPORTS
        kind      None for words and entities, and what scores triples besides where the format can hold it; `relation`
                  for that alone
        vectors   of the kind: `joint`, `own`, `text` or `both`, as `evaluate` takes them
        binary    the format's binary form, which word2vec has
        say       takes what is to be said of it, a line each: names that are escaped, say
        raises    UsageError for an unknown format, one without a binary form, or vectors that the run has not
        """
        run, place = (self._trained, self._every, self.relations), locate(out, storage_options)
        return export_run(*run, place, form, kind, vectors, binary, say or (lambda _: None))

    def _spaces(self, kind: VectorKind | None) -> list[Space]:
        return spaces_of(self._trained, self._every, kind)

    def _find(self, name: str, kind: VectorKind | None) -> tuple[Space, int]:
        spaces = self._spaces(kind)
        for space in spaces:
            index = space.find(name)
            if index is not None:
                return space, index
        raise DistjointError(unknown(" or ".join(space.kind for space in spaces), name, spaces))

    def _entity(self, name: str | None) -> int:
        return self._find(name or "", "entity")[1]

    def _warn(self, relation_id: int | None, *entities: int) -> None:
        """Warn of a relation or entities whose vectors are as they began."""
        chance = [self._every.shown(place) for place in dict.fromkeys(entities) if not self._plausible[place]]
        untrained = relation_id is not None and not self._relation_trained[relation_id]
        warn_of_chance(chance, self._relations.shown(relation_id) if relation_id is not None and untrained else None)

    @cached_property
    def _relation_trained(self) -> Bools:
        """bool[relations]: those that a training triple has."""
        return np.asarray(self.run.relations().column("frequency").to_numpy() > 0)

    def _triple_model(self) -> TripleModel:
        if self._model is None:
            raise UsageError(f"{self.run.folder}: was trained on text only, so it scores no triples")
        return self._model

    def _scores(self, vector: Floats, relation_id: int, side: Side) -> Floats:
        """float32[entities]: scores of all as the other end.

        side   the end that they stand at
        """
        model = self._triple_model()
        query = model.queries(torch.from_numpy(vector[None]), torch.tensor([relation_id]), side)
        return np.asarray(model.score(query, torch.from_numpy(self.entities.vectors))[0].numpy())

    def _rank(self, given: int, relation_id: int, answer: int, side: Side) -> tuple[int, int]:
        """An answer's place among those that `predict` ranks, other known ones left out, and how many these are."""
        scores, others = self._scores(self.entities.vectors[given], relation_id, side), self._plausible.copy()
        known = self._known_answers(given, relation_id, side, required=False)
        others[[given, answer, *(() if known is None else known.tolist())]] = False
        return 1 + int((scores[others] > scores[answer]).sum()), 1 + int(others.sum())

    def _shares_of_words(self, entity: int, slope: Doubles, text: float, top: int) -> dict[str, Any]:
        """`word_shares` of an entity."""
        words = words_of(self._trained, self._row(entity))
        names = [self._mentioned.names[place] for place in words.places.tolist()]
        return word_shares(words, names, self._mentioned.vectors[words.places], slope, text, top)

    def _best(self, space: Space, cosines: Floats, k: int, skip: int) -> list[Neighbour]:
        if skip >= 0:
            cosines = cosines.copy()
            cosines[skip] = -np.inf
        if space.kind == "entity":
            cosines = np.where(self._plausible, cosines, -np.inf)
        readable = self._every.readable if space.kind == "entity" else lambda _: None
        return [
            Neighbour(space.names[index], space.kind, float(cosines[index]), readable(index))
            for index in largest(cosines, k).tolist()
        ]

    def _across(self, source: Space, index: int, vector: Floats, space: Space) -> Floats:
        """float32[n]: cosines between a vector of one kind and all of the other, in the entities' space.

        index   place of the vector in its space, -1 for one that was given
        """
        if source.kind == "word":
            known = self._words_among_entities.vectors[index] if index >= 0 else self._among_entities(vector[None])[0]
            return space.unit(False) @ space.to_unit(known[None], False)[0]
        return self._words_among_entities.unit(False) @ space.to_unit(vector[None], False)[0]

    def _among_entities(self, words: Floats) -> Floats:
        """Vectors of words where the coupling puts them beside entities."""
        every = torch.from_numpy(self.words.vectors)
        return self._coupling.words_among_entities(torch.from_numpy(words), self._dense, every).numpy()

    @cached_property
    def _typed(self) -> TypedText:
        if not self._coupling.reads_text:
            raise UsageError(
                f"{self.run.folder}: coupling {self._coupling.name} makes no vectors of text; train with "
                "model.coupling=described"
            )
        return TypedText(open_dataset(self.run), self._mentioned, self._every.grams.names)

    @cached_property
    def _words_among_entities(self) -> Space:
        return Space("word", self.words.names, self._mentioned.vectors[: len(self.words)])

    @cached_property
    def _mentioned(self) -> Space:
        """What entities are said with, where they are: words, then n-grams of names."""
        layout, grams = self.run.layout, self._every.grams.names
        read = np.empty((len(self.words) + len(grams), self.dim), np.float32)
        for shard in range(layout.shards):
            rows = layout.rows_of(shard)[layout.has_word(shard)]
            read[layout.mentioned(rows)] = self._trained.read_words(shard).cpu().numpy()
        every = torch.from_numpy(read[: len(self.words)])
        found = self._coupling.words_among_entities(torch.from_numpy(read), self._dense, every).numpy()
        return Space("word", [*self.words.names, *(f"#{gram}" for gram in grams)], found)

    def _known_answers(self, given: int, relation_id: int, side: Side, required: bool) -> Ints | None:
        """int64[n]: indices of the entities that complete a triple of the dataset.

        required   raise DistjointError where the dataset is gone, instead of returning None
        """
        try:
            triples = self._dataset_triples
        except DistjointError as error:
            if required:
                raise DistjointError(f"{error}; known triples cannot be left out, include them instead") from error
            return None
        rows = np.array([self._row(given)])
        answers = KnownAnswers(triples, side, rows, np.array([relation_id])).answers
        return self.run.layout.entity_places(answers)

    def _row(self, entity: int) -> int:
        """The row id of an entity, by its place among them."""
        return int(self.run.layout.entity_rows[entity])

    @cached_property
    def _dataset_triples(self) -> Triples:
        """The triples of all splits."""
        dataset = open_dataset(self.run)
        return Triples.together(*(dataset.split(split) for split in SPLITS))
