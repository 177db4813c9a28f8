"""A trained result: look names up, find neighbours, predict and score triples.

Words and entities each have vectors of their own. An aligned row is a word and an entity, and has two. Vectors that
take more than the memory for them stay in their files, and are read as they are needed. Torch is loaded by what scores
triples, not by look-ups and neighbours.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from distjoint.base.arrays import Floats
from distjoint.base.errors import DistjointError, UnknownNameError, UsageError
from distjoint.base.progress import Progress
from distjoint.base.sizes import bytes_of
from distjoint.evaluate.chosen import spaces_of
from distjoint.evaluate.options import VectorKind, VectorParts
from distjoint.evaluate.space import Space, Spaces, read_spaces, unknown
from distjoint.evaluate.trained import TrainedVectors
from distjoint.results.answers import AnswerList, Neighbour, Prediction, predictions_of
from distjoint.results.ends import AskedEnd
from distjoint.results.graph import Choice, Filter, GraphAnswers, Known
from distjoint.results.keyed import Keyed
from distjoint.results.limits import Side
from distjoint.results.neighbours import Nearest, Neighbours
from distjoint.results.options import MEMORY
from distjoint.results.relation_names import RelationNames
from distjoint.results.texts import Texts
from distjoint.runs.folder import RunFolder
from distjoint.storage import Options, locate

if TYPE_CHECKING:
    from distjoint.results.explain import Explanation
    from distjoint.results.export import ExportKind, Say


def load(
    url: str,
    storage_options: Options | None = None,
    *,
    dataset: str | None = None,
    memory: str | int = MEMORY,
    progress: Progress | None = None,
) -> Embeddings:
    """The result of the run at a URL.

    dataset    where its dataset lies now, if it was moved to where it cannot be found
    memory     vectors that take more stay in their files and are read as they are needed; those of a store in a copy on
               this machine, in the folder DISTJOINT_CACHE. Their files are compared with sizes, not with checksums
    progress   shown while files are fetched from a store
    raises     DistjointError when there is no result, or it is damaged, or the dataset is another one
    """
    run = RunFolder.open(url, storage_options, dataset)
    if dataset is not None:
        from distjoint.data.of_run import open_dataset

        open_dataset(run)
    return Embeddings.read(run, bytes_of("memory", memory), progress)


class Embeddings(Keyed):
    """The vectors of a run.

    words, entities   the names and vectors of each kind; empty where the run has none
    relations         names of the relations
    graph             predictions and scores by number, for many questions at a time
    """

    def __init__(self, trained: TrainedVectors, every: Spaces, relations: RelationNames) -> None:
        self.run, self.words, self.entities, self.relations = trained.run, every.words, every.entities, relations.names
        self.trained, self.every = trained, every
        self.graph = GraphAnswers(trained, every, relations)

    @classmethod
    def read(cls, run: RunFolder, memory: int | None = None, progress: Progress | None = None) -> Embeddings:
        """The vectors of a run's result. raises DistjointError when it has none, or a file of it is damaged

        memory   bytes that vectors may take to be read at once; None for any
        """
        trained = TrainedVectors(run, run.result())
        columns = run.relations().to_pydict() if "relation" in trained.reader().dense else {"name": []}
        spaces = read_spaces(trained, memory, progress)
        return cls(trained, spaces, RelationNames(columns["name"], columns.get("label", ()), spaces.prefixes))

    def __len__(self) -> int:
        """How many vectors there are; an aligned row counts twice."""
        return len(self.words) + len(self.entities)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and any(space.find(name) is not None for space in self.spaces(None))

    @property
    def dim(self) -> int:
        return self.run.info.config.model.dim

    def kinds(self, name: str) -> list[VectorKind]:
        """Which kinds of vector a name has."""
        return [space.kind for space in self.spaces(None) if space.find(name) is not None]

    def vector(self, name: str, kind: VectorKind | None = None) -> Floats:
        """float32[dim]: the vector of a word, or of an entity by its id or label.

        kind      `word` or `entity`; None for the first of the two that knows the name
        raises    DistjointError for an unknown name, with the nearest known ones
        """
        space, index = self.find(name, kind)
        return space.vectors[index]

    def nearest(
        self,
        name: str | NDArray[np.floating],
        k: int = 10,
        kind: VectorKind | None = None,
        *,
        of: VectorKind | None = None,
        standardize: bool = True,
    ) -> AnswerList[Neighbour]:
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
            source, index = self.find(name, of)
            vector, itself = source.vectors[index], name
            self.graph.warn(None, [index] if source.kind == "entity" else [])
        else:
            source, vector, itself, index = self.spaces(of)[0], np.asarray(name, np.float32), None, -1
            width = source.vectors.shape[1]
            if vector.shape != (width,):
                raise UsageError(f"a vector of shape {vector.shape} was given; this run's have {width} numbers")
        spaces = self.meeting(source, kind, itself)
        found = self.neighbours.nearest(source, np.array([index]), vector[None], k, spaces, standardize)
        return self.listed(found, spaces, 0)

    def listed(self, found: Nearest, spaces: Sequence[Space], query: int) -> AnswerList[Neighbour]:
        """The neighbours of one query among several, in the spaces in which they were sought."""
        columns = (found.space, found.places, found.similarity)
        rows = zip(*(column[query].tolist() for column in columns), strict=True)
        return AnswerList(
            Neighbour,
            [
                Neighbour(spaces[number].names[at], spaces[number].kind, cosine, self.label(spaces[number], at))
                for number, at, cosine in rows
                if at >= 0
            ],
        )

    def meeting(self, source: Space, kind: VectorKind | None, name: str | None = None) -> list[Space]:
        """The spaces whose vectors can be compared with those of a space.

        kind     only this one
        raises   UsageError where it cannot be
        """
        spaces = self.spaces(kind)
        if self.trained.coupling.kinds_meet:
            return spaces
        if kind not in (None, source.kind):
            raise UsageError(
                f"{name or 'the vector'} is of kind {source.kind}, and without coupling the {kind} vectors lie in a "
                f"space of their own; ask for kind {source.kind}"
            )
        return [space for space in spaces if space.kind == source.kind]

    def text_vector(self, text: str) -> Floats:
        """float32[dim]: the vector of an entity of which a text is all that is known; reads the dataset.

        raises   UsageError where the run's coupling reads no text; DistjointError where no word of it is known
        """
        return self.texts.typed.vector(text)

    def predict(
        self,
        head: str | None = None,
        relation: str | None = None,
        tail: str | None = None,
        k: int = 10,
        known: Known = "exclude",
        *,
        head_text: str | None = None,
        tail_text: str | None = None,
        own_end: bool = False,
        filter: Filter = "all",
        candidates: Sequence[str] | None = None,
        types: bool | Sequence[str] = False,
        probabilities: bool = False,
    ) -> AnswerList[Prediction]:
        """What best completes (head, relation, ?), (?, relation, tail) or (head, ?, tail), best first.

        Candidates are the entities with a training triple, or of which words say something that the coupling reads;
        and the relations with a training triple.

        head, tail   one end, by id, label or word; both where the relation is predicted
        known        `exclude` leaves out triples of the dataset, which it reads; `include` marks them if it is there
        head_text, tail_text   instead of a name: what the given end is, in words (see `text_vector`)
        own_end      whether the given end may be an answer
        filter       which triples are known: `all`, those of `train`, or `none`, for which no dataset is read
        candidates   the only entities that may be answers, by name
        types        only entities of the types that stood there in training, or, where the dataset has no types, that
                     stood there themselves; or names of types, one of which an answer must have
        probabilities   with each answer, how likely its triple is true where one of two is (see docs/ask.md)
        raises       DistjointError for an unknown name, UsageError unless exactly two of the three are given
        """
        ends = [
            None if head is None and head_text is None else 1,
            relation,
            None if tail is None and tail_text is None else 1,
        ]
        both = (head is not None and head_text is not None) or (tail is not None and tail_text is not None)
        if both or sum(end is not None for end in ends) != 2:
            raise UsageError("give a relation and one end, head or tail, or both ends; what is left out is predicted")
        if k < 1:
            raise UsageError(f"k = {k}: ask for at least one prediction")
        choice = self.choice(known, filter, own_end, candidates, types)
        if relation is None:
            return self._relations(head, tail, k, choice, probabilities)
        side: Side = "tail" if ends[2] is None else "head"
        name, text = (head, head_text) if side == "tail" else (tail, tail_text)
        given, relation_id = self._entity(name) if text is None else -1, self.graph.names.find(relation)
        self.graph.warn(relation_id, [given] if given >= 0 else [])
        vector = self.text_vector(text or "") if given < 0 else self.entities.vectors[given]
        asked = np.array([given]), np.array([relation_id])
        places, scores, marks = self.graph.predict(vector[None], *asked, side, k, choice)
        likely = self.graph.calibration.probability(scores) if probabilities else None
        return predictions_of(0, places, scores, marks, likely, self.entities.names, self.every.readable)

    def choice(
        self,
        known: Known = "exclude",
        filter: Filter = "all",
        own_end: bool = False,
        candidates: Sequence[str] | None = None,
        types: bool | Sequence[str] = False,
    ) -> Choice:
        """How answers are chosen, as `predict` takes it. raises UnknownNameError for an unknown candidate"""
        listed = None
        if candidates is not None:
            names = list(candidates)
            listed = self.spaces("entity")[0].find_all(names)
            if not len(listed):
                raise DistjointError("--candidates: no names in it")
            if len(unknown := np.flatnonzero(listed < 0)):
                try:
                    self._entity(names[int(unknown[0])])
                except UnknownNameError as error:
                    raise UnknownNameError(f"--candidates: {error}, one of {len(unknown):,} unknown") from error
        names_of_types = () if isinstance(types, bool) else tuple(types)
        return Choice(known, filter, own_end, listed, types is True, names_of_types)

    def score(
        self,
        head: str | None,
        relation: str,
        tail: str | None,
        *,
        head_text: str | None = None,
        tail_text: str | None = None,
    ) -> float:
        """How plausible a triple is: the model's score; comparable between triples of one relation.

        head, tail   by id, label or word; None where head_text, tail_text says what it is, in words
        """
        predictor, relation_id = self.graph.predictor, self.graph.names.find(relation)
        ends = self.end("head", head, head_text), self.end("tail", tail, tail_text)
        self.graph.warn(relation_id, [end.place for end in ends if end.place >= 0])
        vectors = [end.vector[None] for end in ends]
        return float(predictor.scores_of(vectors[0], np.array([relation_id]), vectors[1])[0])

    def explain(
        self,
        head: str | None,
        relation: str,
        tail: str | None,
        top: int = 8,
        *,
        head_text: str | None = None,
        tail_text: str | None = None,
    ) -> Explanation:
        """What each part of a triple's ends, and each word of their texts, adds to its score.

        head, tail   by id, label or word; None where head_text, tail_text says what it is, in words
        top          words of each end that are told apart; 0: no words, which the dataset would have to be read for
        raises       DistjointError for an unknown name, UsageError where no graph was trained
        """
        self.graph.predictor  # noqa: B018 - tells of a run without a graph
        if top < 0:
            raise UsageError(f"top = {top}: ask for 0 words or more")
        relation_id = self.graph.names.find(relation)
        ends = self.end("head", head, head_text), self.end("tail", tail, tail_text)
        self.graph.warn(relation_id, [end.place for end in ends if end.place >= 0])
        return self.explained(ends, relation_id, top)

    def explained(self, ends: tuple[AskedEnd, AskedEnd], relation: int, top: int) -> Explanation:
        """`explain` of ends and a relation that were looked up."""
        from distjoint.results.explaining import explain_triple

        return explain_triple(self.graph, ends, relation, top, self.texts)

    def end(self, which: Side, name: str | None, text: str | None) -> AskedEnd:
        """An end of a triple, by its name or in words.

        raises   UsageError unless one of the two is given; DistjointError for what is unknown
        """
        if (name is None) == (text is None):
            raise UsageError(f"give {which}, a name, or {which}_text: what it is, in words")
        if text is not None:
            return AskedEnd(-1, self.text_vector(text), text)
        place = self._entity(name)
        return AskedEnd(place, self.entities.vectors[place])

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
        from distjoint.results.export import export_run

        run, place = (self.trained, self.every, self.relations), locate(out, storage_options)
        return export_run(*run, place, form, kind, vectors, binary, say or (lambda _: None))

    @cached_property
    def neighbours(self) -> Neighbours:
        """The vectors, compared: for many questions at a time."""
        return Neighbours(self.trained, self.every, self.graph.plausible)

    def spaces(self, kind: VectorKind | None) -> list[Space]:
        """The spaces of a kind, or of both, that have vectors. raises UsageError where there is none"""
        return spaces_of(self.trained, self.every, kind)

    def find(self, name: str, kind: VectorKind | None) -> tuple[Space, int]:
        """The space and place of a name. raises DistjointError for an unknown one, with the nearest known ones"""
        spaces = self.spaces(kind)
        for space in spaces:
            index = space.find(name)
            if index is not None:
                return space, index
        raise UnknownNameError(unknown(" or ".join(space.kind for space in spaces), name, spaces))

    def label(self, space: Space, place: int) -> str | None:
        """What people may read instead of an entity's name; None where that is its name."""
        return self.every.readable(place) if space.kind == "entity" else None

    @cached_property
    def texts(self) -> Texts:
        """Words and texts as the run reads them."""
        return Texts(self.trained, self.every, self.graph, self.neighbours)

    def _relations(
        self, head: str | None, tail: str | None, k: int, choice: Choice, probabilities: bool
    ) -> AnswerList[Prediction]:
        if head is None or tail is None:
            raise UsageError(
                "a relation is predicted between two entities; --head-text and --tail-text need a relation"
            )
        one, other = np.array([self._entity(head)]), np.array([self._entity(tail)])
        self.graph.predictor  # noqa: B018 - tells of a run without a graph
        self.graph.warn(None, [int(one[0]), int(other[0])], 1)
        places, scores, marks = self.graph.predict_relations(one, other, k, choice)
        likely = self.graph.calibration.probability(scores) if probabilities else None
        return predictions_of(0, places, scores, marks, likely, self.relations, self.graph.names.readable)

    def _entity(self, name: str | None) -> int:
        return self.find(name or "", "entity")[1]
