"""Questions and answers of the server, as JSON: pydantic models, from which the OpenAPI page comes.

A question is the same in a URL (GET) and in a batch (POST). What depends on the run or on the server's limits is
checked where questions are answered.
"""

from __future__ import annotations

from typing import Annotated, Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from distjoint.evaluate.options import VectorKind
from distjoint.results.answers import Neighbour, Prediction
from distjoint.results.explain import Explanation
from distjoint.results.graph import Filter, Known

Question = TypeVar("Question", bound="AskedOne")
Answer = TypeVar("Answer", bound=BaseModel)

Name = Annotated[str | None, Field(description="A word, or an entity's id, label or word.")]
Text = Annotated[str | None, Field(description="Instead of a name: what an entity is, in words.")]
Which = Annotated[VectorKind | None, Field(description="Which vector of a name that has two; the word's by default.")]
Top = Annotated[int, Field(ge=1, description="How many, at most.")]
Entity = Annotated[str | None, Field(description="An entity, by id, label or word.")]
Likely = Annotated[bool, Field(description="How likely a triple is true where one of two is, by the validation split.")]
Notes = Annotated[list[str], Field(description="What makes an answer mean little: vectors that are as they began.")]


class AskedOne(BaseModel):
    """A question. Fields that it does not have are refused."""

    model_config = ConfigDict(extra="forbid")


class NeighboursQuestion(AskedOne):
    """Words and entities near a name, or near what a text says."""

    name: Name = None
    text: Text = None
    k: Top = 10
    of: Annotated[
        VectorKind | None, Field(description="Which vector of a name that has two; by default the word's.")
    ] = None
    kind: Annotated[VectorKind | None, Field(description="Only neighbours of this kind.")] = None
    standardize: Annotated[bool, Field(description="Standardise the columns of word vectors first.")] = True


class PredictQuestion(AskedOne):
    """What completes a triple: two of head, relation and tail are given, the third is predicted."""

    head: Annotated[str | None, Field(description="The entity it starts from.")] = None
    relation: Annotated[str | None, Field(description="The relation's name.")] = None
    tail: Annotated[str | None, Field(description="The entity it leads to.")] = None
    head_text: Text = None
    tail_text: Text = None
    k: Top = 10
    known: Annotated[Known, Field(description="Triples of the dataset: left out, or marked.")] = "exclude"
    filter: Annotated[Filter, Field(description="Which triples are known: of all splits, of train, or none.")] = "all"
    own_end: Annotated[bool, Field(description="The given entity may be an answer.")] = False
    candidates: Annotated[list[str] | None, Field(description="The only entities that may be answers.")] = None
    types: Annotated[bool, Field(description="Only entities of the types that stood there in training.")] = False
    type: Annotated[list[str], Field(description="Only entities of one of these types.")] = []
    probabilities: Likely = False


class VectorQuestion(AskedOne):
    """The vector of a name, or of what a text says."""

    name: Name = None
    text: Text = None
    kind: Annotated[
        VectorKind | None, Field(description="Which vector of a name that has two; by default the word's.")
    ] = None


class TripleQuestion(AskedOne):
    """A whole triple."""

    head: Entity = None
    relation: Annotated[str, Field(description="The relation's name.")]
    tail: Entity = None
    head_text: Text = None
    tail_text: Text = None


class ScoreQuestion(TripleQuestion):
    """How plausible a triple is."""

    probabilities: Likely = False


class ExplainQuestion(TripleQuestion):
    """Why a triple has its score."""

    top: Annotated[int, Field(ge=0, description="Words of each end that are told apart.")] = 8


class NeighboursAnswer(BaseModel):
    """Neighbours, nearest first.

    of   kind of the vector that they are neighbours of
    """

    of: VectorKind
    neighbours: list[Neighbour]
    notes: Notes = []


class PredictAnswer(BaseModel):
    """Predictions, best first."""

    predictions: list[Prediction]
    notes: Notes = []


class VectorAnswer(BaseModel):
    """A vector, and of which kind it is."""

    kind: VectorKind
    vector: list[float]
    notes: Notes = []


class ScoreAnswer(BaseModel):
    """The model's score, comparable between triples of one relation; a probability where it was asked for."""

    score: float
    probability: float | None = None
    notes: Notes = []


class ExplainAnswer(BaseModel):
    """A score taken apart, by its head and by its tail."""

    explanation: Explanation
    notes: Notes = []


class Refusal(BaseModel):
    """Why there is no answer, in a sentence.

    status   HTTP status that the question alone would have had
    """

    error: str
    status: int


class QuestionBatch(BaseModel, Generic[Question]):
    """Several questions of one kind."""

    model_config = ConfigDict(extra="forbid")

    questions: Annotated[list[Question], Field(min_length=1)]


class BatchAnswer(BaseModel, Generic[Answer]):
    """An answer or a refusal for each question, in their order; how many are refusals."""

    answers: list[Answer | Refusal]
    refused: int


class Health(BaseModel):
    """What is served."""

    status: str = "ok"
    version: str
    run: str
    words: int
    entities: int
    relations: int
    dim: int
    coupling: str


def texts_of(question: AskedOne) -> list[tuple[str, str]]:
    """Every text of a question: the field's name, and what it holds."""
    values: dict[str, Any] = dict(question)
    several = [(name, value if isinstance(value, list) else [value]) for name, value in values.items()]
    return [(name, text) for name, texts in several for text in texts if isinstance(text, str)]
