"""The configuration of a run: one frozen tree. Every key is documented here; an unknown key is an error.

Names of scorers, couplings, losses, candidates and optimizers are those of the registry, and what a scorer or a loss
can do is asked of its class: none is known here by name. `recipes/load.py` reads a tree from files and settings.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, ValidationInfo, model_validator
from pydantic.fields import FieldInfo

from distjoint.base.errors import UsageError
from distjoint.base.foreign import did_you_mean, meant_by
from distjoint.base.sizes import parse_bytes
from distjoint.names import OF_LINKS, RECORDED, Freezable, NameOf
from distjoint.registry import CALLBACKS, CANDIDATES, COUPLINGS, LOSSES, OPTIMIZERS, SCORERS, Registry


def _listed(value: Any) -> Any:
    """`words,contexts` as a list: how a command line says it."""
    return [name.strip() for name in value.split(",") if name.strip()] if isinstance(value, str) else value


def _is_recorded(info: ValidationInfo) -> bool:
    return info.context == RECORDED


Bytes = Annotated[int, BeforeValidator(parse_bytes)]
Decay = Literal["none", "linear", "cosine"]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Model(_Section):
    """What is trained."""

    dim: int = Field(
        100,
        ge=2,
        description="Width of every vector, in reals; some scorers want an even one (complex, rotate), or a multiple "
        "of 4 (quate).",
    )
    scorer: Annotated[str, NameOf(SCORERS)] = Field("transe", description="How triples are scored.")
    coupling: Annotated[str, NameOf(COUPLINGS)] = Field(
        "dual", description="How the word and the entity of an aligned row are bound; see docs/concepts.md."
    )
    coupling_options: dict[str, float] = Field(
        default_factory=dict, description="Arguments of the coupling, by name, of one that takes any."
    )
    cosine: bool = Field(True, description="Compare query and candidate by cosine instead of dot product or distance.")
    norm: Literal[1, 2] = Field(
        2,
        description="Of transe's distance: 2 Euclidean, 1 the sum of differences, which costs eight times as much.",
    )
    scale: float | None = Field(
        None, gt=0, description="Factor on scores before the softmax; by default 10 for cosine scores, else 1."
    )
    reciprocal: bool = Field(True, description="Give each relation a second vector for predicting heads.")

    @model_validator(mode="after")
    def _fits_the_scorer(self, info: ValidationInfo) -> Model:
        if _is_recorded(info):
            return self
        scorer = SCORERS[self.scorer]
        if self.dim % scorer.multiple:
            why = f"makes a coordinate of {scorer.multiple} reals, so dim must be a multiple of that"
            if scorer.multiple == 2:
                why = "pairs real and imaginary parts, so dim must be even"
            raise ValueError(f"{self.scorer} {why}, not {self.dim}")
        if self.dim % scorer.dim_multiple:
            raise ValueError(f"{self.scorer} wants a dim that is a multiple of {scorer.dim_multiple}, not {self.dim}")
        if not (scorer.invertible or self.reciprocal):
            raise ValueError(f"{self.scorer} reads no relation from tail to head, so reciprocal must be true")
        if self.norm == 1 and (self.cosine or not _has_norms(scorer)):
            which = "a cosine has none; set cosine to false" if self.cosine else f"{self.scorer} has none to choose"
            raise ValueError(f"norm 1 is for the distance of {_listing(SCORERS, _has_norms)}; {which}")
        return self


def _has_norms(scorer: Any) -> bool:
    """Whether a scorer compares by a distance that has norms to choose from; that of complex numbers has not."""
    return bool(scorer.compare == "distance" and scorer.multiple == 1)


def _listing(registry: Registry, fits: Callable[[Any], bool]) -> str:
    """The names of the classes that fit: `a, b or c`."""
    *most, last = (name for name in registry.names() if fits(registry[name]))
    return f"{', '.join(most)} or {last}" if most else last


class Loss(_Section):
    """The combined loss, alpha * KGE + (1 - alpha) * GloVe."""

    alpha: float = Field(
        0.5, ge=0, le=1, description="Share of the graph; acts on step sizes. 0 is GloVe alone, 1 the graph alone."
    )
    x_max: float = Field(10.0, gt=0, description="GloVe: counts from here on have full weight.")
    power: float = Field(0.75, gt=0, description="GloVe: exponent of the weight below x_max.")


class Text(_Section):
    """GloVe's optimizer."""

    learning_rate: float = Field(
        0.05, gt=0, description="Size of the first steps of W and C; the eta of Stanford's GloVe."
    )
    decay: Decay = Field("none", description="Whether steps shrink to zero over the run, besides what AdaGrad does.")


class Graph(_Section):
    """The graph's loss, negatives and optimizer."""

    loss: Annotated[str, NameOf(LOSSES)] = Field("softmax", description="Loss function; see docs/graph.md.")
    candidates: Annotated[str, NameOf(CANDIDATES)] = Field(
        "sampled", description="Negatives: sampled ones, or all resident entities, by triple or by distinct question."
    )
    margin: float = Field(1.0, ge=0, description="Of the losses margin and adversarial (there also called gamma).")
    temperature: float = Field(1.0, ge=0, description="Of the loss adversarial: how much hard negatives weigh more.")
    smoothing: float = Field(
        0.0, ge=0, lt=1, description="Share of the target spread over all entities; 1vsall and kvsall only."
    )

    optimizer: Annotated[str, NameOf(OPTIMIZERS)] = Field(
        "adagrad", description="How entities and relations are stepped; see docs/graph.md."
    )
    optimizer_options: dict[str, float] = Field(
        default_factory=dict, description="Arguments of the optimizer, by name; by default its own."
    )
    learning_rate: float = Field(0.05, gt=0, description="Step size for entities and relations.")
    decay: Decay = Field(
        "none", description="Whether steps shrink to zero over the run, besides what the optimizer does."
    )
    warmup: float = Field(0.0, ge=0, lt=1, description="Share of the run over which steps grow to their full size.")
    map_learning_rate: float = Field(0.01, gt=0, description="Step size for the map of a coupling that has one.")
    into_words: float = Field(
        0.3,
        ge=0,
        description="Where texts are read: step size of words, by what entities that read them want, as a multiple of "
        "learning_rate. 0 leaves words to the text.",
    )
    into_reading: float = Field(
        6.0,
        ge=0,
        description="Where texts are read: the same of R, which entities read in a word besides W + C. It is no part "
        "of the word's own vector.",
    )
    refreshes: int = Field(
        1, ge=1, description="Where texts are read: how often entities read their text, in each pass over the triples."
    )
    own_end: bool | None = Field(
        None,
        description="Whether the given end of a triple is one of its own negatives; sampled candidates only. By "
        "default for cosines of vectors that have a text.",
    )
    own_l2: float = Field(
        0.03,
        ge=0,
        description="Where texts are read, and under dual: pull of an entity's own vector X to zero, and so to what "
        "words say.",
    )
    own_dropout: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="Where texts are read: share of the entities whose own vector X a step leaves out, so that their "
        "text must do.",
    )
    batch: int = Field(4096, ge=1, description="Triples per step.")
    chunk: int = Field(64, ge=1, description="Triples that share negatives; sampled candidates only.")
    negatives: int = Field(192, ge=0, description="Negatives drawn per chunk and side; sampled candidates only.")
    relation_weight: float = Field(
        0.0,
        ge=0,
        description="Weight of predicting the relation between two entities (Chen et al. 2021), an auxiliary loss; for "
        "scorers that are linear in the relation, such as distmult, complex and rescal, not as cosines.",
    )
    in_batch: bool = Field(
        True, description="Whether the triples of a chunk serve each other as negatives, besides what is drawn."
    )
    power: float = Field(
        0.0, ge=0, description="Negatives are drawn by degree to this power: 0 all alike, 1 as often as in triples."
    )
    mask_known: bool = Field(
        True,
        description="Leave out sampled negatives that are right by a training triple between resident entities; not "
        "where those are more than 20 million.",
    )
    typed: bool = Field(
        False,
        description="Only entities whose types a relation has at an end in training are its negatives there, and what "
        "validation and the final test rank; sampled candidates only, of a dataset with types.",
    )
    subsampling: float = Field(
        0.0,
        ge=0,
        description="Triples weigh less by this power of how many, of those read with them, share their head and "
        "relation, or relation and tail (Sun et al. 2019: 0.5); sampled candidates only.",
    )
    n3: float = Field(
        0.0,
        ge=0,
        description="Weight of the nuclear 3-norm (Lacroix et al. 2018) of each triple; with 1vsall, twice that of its "
        "entities, once for either question.",
    )
    l2: float = Field(0.0, ge=0, description="Weight of half the squared norm of each triple's vectors.")
    dropout: float = Field(0.0, ge=0, lt=1, description="Share of the coordinates of entities that a step leaves out.")
    relation_dropout: float = Field(0.0, ge=0, lt=1, description="The same of relations.")

    @model_validator(mode="after")
    def _possible(self, info: ValidationInfo) -> Graph:
        if _is_recorded(info):
            return self
        # Asked for last: strategies bring all of training with them.
        if not LOSSES[self.loss].over_all and self._over_all():
            fit = _listing(LOSSES, lambda loss: loss.over_all)
            raise ValueError(f"the loss {self.loss} is for sampled negatives; {self.candidates} takes {fit}")
        if self.smoothing and not self._over_all():
            fit = _listing(CANDIDATES, lambda candidates: candidates.resident)
            raise ValueError(f"smoothing spreads the target over all entities; set candidates to {fit}")
        alone = not self.negatives and (self.chunk == 1 or not self.in_batch)
        if alone and not self.relation_weight and not self._over_all():
            raise ValueError("there are no negatives at all: set negatives above 0, or in_batch with a larger chunk")
        sampled = {"typed": self.typed, "subsampling": self.subsampling, "power": self.power}
        for name, value in sampled.items():
            if value and self._over_all():
                fit = _listing(CANDIDATES, lambda candidates: not candidates.resident)
                raise ValueError(f"{name} is for sampled negatives; leave it out, or set candidates to {fit}")
        return self

    def _over_all(self) -> bool:
        """Whether the candidates are all resident entities."""
        return bool(CANDIDATES[self.candidates].resident)


class _Validate:
    """A key of Train, in a class of its own because pydantic's models have a method of this name."""

    validate: dict[str, float] = Field(
        default_factory=dict,
        description="What validations measure, each with its weight in the one metric that early stopping and tuning "
        "use: mrr, hits@1, hits@3 or hits@10 of the valid split, the same of its triples with an unseen end, as "
        "unseen_mrr, and word similarity sets, by file or by a name among validation_sets. By default mrr, of a graph.",
    )


class Train(_Validate, _Section):  # type: ignore[misc]
    """The run."""

    epochs: int = Field(15, ge=1, description="Passes over the counts (over the triples where there is no text).")
    triple_passes: int = Field(1, ge=1, description="Passes over the triples per epoch.")
    lanes: int | None = Field(None, ge=1, description="What trains at a time; by default the number of workers.")
    groups: int | None = Field(
        None, ge=2, description="Groups of shards that travel together; at least 2 x lanes, the default."
    )
    memory: Bytes | None = Field(
        None, gt=0, description="Memory for the resident table per worker, like 2GB; a larger table waits on disk."
    )
    disk_cache: Bytes | None = Field(
        None, ge=0, description="Local disk for decoded partitions per worker; by default half of it, 0 for local data."
    )
    seed: int = Field(0, ge=0, description="Decides the start values, the order of samples and the negatives.")
    threads: int | None = Field(None, ge=1, description="Threads per worker; by default its share of the cores.")
    sync_batches: int = Field(
        4, ge=1, description="Batches of triples between two sums of relations' gradients over lanes (1 lane: 1)."
    )
    validate_every: int = Field(0, ge=0, description="Epochs between validations; 0 for none.")
    validation_triples: int | None = Field(
        2000, ge=1, description="Triples of the valid split that a validation ranks, filtered; null for all."
    )
    validation_sets: Annotated[tuple[str, ...], BeforeValidator(_listed)] = Field(
        (), description="Files of word similarity sets, which validate can name: files, globs, folders."
    )
    final_test: bool = Field(
        False, description="Rank the test split in the end, by the best epoch where there were validations."
    )
    patience: int = Field(
        0, ge=0, description="Stop after this many validations without gain, and keep the best epoch; 0: never."
    )
    checkpoint_rounds: int | None = Field(
        None, ge=1, description="Rounds between checkpoints within an epoch; there is one after each epoch besides."
    )
    checkpoint_minutes: float | None = Field(
        None, gt=0, description="Minutes after which the next end of a round is a checkpoint too."
    )
    checkpoint_seconds: float = Field(
        30.0,
        ge=0,
        description="Object store: seconds that pass between the checkpoints of short epochs, but for the last's.",
    )
    init: str | tuple[str, ...] | None = Field(
        None,
        description="Vectors to begin with, by name: a file or a list of files, as GloVe, word2vec, fastText and "
        "'export' write them.",
    )
    freeze: Annotated[tuple[Annotated[str, NameOf(Freezable())], ...], BeforeValidator(_listed)] = Field(
        (),
        description="What takes no step: any of words, contexts, entities, relations, and what a coupling has besides: "
        "the map of dual, described, fields and project; old: all that a run has from another (--from); given: words "
        "and entities that begin with vectors of init.",
    )
    old_rate: float = Field(
        1.0, gt=0, description="Factor on the step sizes of all that a run has from another (--from)."
    )
    keep: int = Field(2, ge=1, description="Checkpoints kept, besides the best.")
    max_failures: int = Field(
        3, ge=0, description="Ray: failures in a row, without a new checkpoint between them, that a run gets over."
    )
    callbacks: Annotated[tuple[Annotated[str, NameOf(CALLBACKS, opened=False)], ...], BeforeValidator(_listed)] = Field(
        ("tensorboard",),
        description="What is told of each epoch, besides progress and early stopping; see docs/callbacks.md.",
    )

    @model_validator(mode="before")
    @classmethod
    def _without_metric(cls, tree: Any) -> Any:
        """Drop `metric: mrr`, a key that earlier versions had, with this one value, and wrote into every run."""
        if isinstance(tree, Mapping) and tree.get("metric") == "mrr":
            return {key: value for key, value in tree.items() if key != "metric"}
        return tree

    @model_validator(mode="after")
    def _consistent(self) -> Train:
        if self.groups is not None and self.groups < 2 * (self.lanes or 1):
            raise ValueError(f"{self.lanes or 1} lanes need at least {2 * (self.lanes or 1)} groups, not {self.groups}")
        if self.patience and not self.validate_every:
            raise ValueError("patience needs validations; set validate_every too")
        if (self.validate or self.validation_sets) and not self.validate_every:
            name = "validate" if self.validate else "validation_sets"
            raise ValueError(f"{name} says what validations measure, and there are none; set validate_every too")
        if self.validation_sets and not set(self.validate) - set(OF_LINKS):
            raise ValueError("validation_sets are not measured unless validate names them, with their weights")
        for name, weight in self.validate.items():
            if not weight > 0:
                raise ValueError(f"validate: {name} has the weight {weight:g}; give one above 0, or leave it out")
            if names_test(name):
                raise ValueError(
                    f"validate: {name} names a test set, by which nothing may be chosen; name a figure of the valid "
                    f"split ({', '.join(OF_LINKS)}) or another set"
                )
        return self


def names_test(name: str) -> bool:
    """Whether a component of `train.validate`, or the name of a set, has the word test in it, like `test_mrr`."""
    return re.search(r"(?<![a-z])test(?![a-z])", posixpath.basename(name).lower()) is not None


class Config(_Section):
    """Everything a run is told."""

    # Not validated, so that importing this module imports no scorer or loss, and with it torch.
    model: Model = Model.model_construct()
    loss: Loss = Loss()  # type: ignore[call-arg]
    text: Text = Text()  # type: ignore[call-arg]
    graph: Graph = Graph.model_construct()
    train: Train = Train()  # type: ignore[call-arg]

    @model_validator(mode="after")
    def _relations_can_be_predicted(self, info: ValidationInfo) -> Config:
        if _is_recorded(info):
            return self
        weight, scorer = self.graph.relation_weight, self.model.scorer
        if weight and (self.model.cosine or not SCORERS[scorer].linear_in_relation):
            raise ValueError(
                f"graph.relation_weight={weight} needs a score that is linear in the relation: "
                f"{_listing(SCORERS, lambda scorer: scorer.linear_in_relation)} with model.cosine=false, not {scorer}"
                + (" as cosine" if self.model.cosine else "")
            )
        return self

    def to_yaml(self, comments: bool = False) -> str:
        """The tree as YAML; with `comments`, the meaning of each key stands above it, with the names to choose from."""
        tree = self.model_dump(mode="json")
        if not comments:
            return _yaml(tree, sort_keys=False)
        lines = []
        for name, info in type(self).model_fields.items():
            section = type(info.default)
            lines += [f"# {section.__doc__}", f"{name}:"]
            for key, value in tree[name].items():
                text = _yaml(value, default_flow_style=True, width=999).removesuffix("...\n").strip()
                lines += [f"  # {_meaning(section.model_fields[key])}", f"  {key}: {text}"]
            lines.append("")
        return "\n".join(lines)


def _yaml(value: Any, **style: Any) -> str:
    """As `yaml.safe_dump`, by libyaml where PyYAML has it: a quarter of the time."""
    return str(yaml.dump(value, Dumper=getattr(yaml, "CSafeDumper", yaml.SafeDumper), **style))


def _meaning(field: FieldInfo) -> str:
    """What a key means, in one line, and the names that it takes where those are of a registry."""
    choices = [constraint.choices() for constraint in field.metadata if isinstance(constraint, NameOf)]
    return " ".join([str(field.description), *(f"One of {names}." for names in choices)])


def validate(tree: Mapping[str, Any], source: str = "config") -> Config:
    """raises UsageError, one sentence per key that is wrong"""
    try:
        return Config.model_validate(tree)
    except ValidationError as error:
        raise UsageError("; ".join(_sentence(source, dict(item)) for item in error.errors())) from error


def _sentence(source: str, item: dict[str, Any]) -> str:
    key = ".".join(str(part) for part in item["loc"])
    if item["type"] == "extra_forbidden":
        return "; ".join(f"{source}: unknown key '{each}'{_nearest(each)}" for each in _leaves(key, item["input"]))
    if key in Config.model_fields and not isinstance(item["input"], Mapping) and (meant := meant_by(key)):
        return f"{source}: {key} = {item['input']!r}: {key} is a section; {did_you_mean(meant)}"
    return f"{source}: {key or 'tree'} = {item['input']!r}: {item['msg'].removeprefix('Value error, ')}"


def _leaves(key: str, value: Any) -> list[str]:
    """The keys in a section that is not known, if one of them is another trainer's; else the section's own."""
    if not isinstance(value, Mapping):
        return [key]
    inner = [name for each, below in value.items() for name in _leaves(f"{key}.{each}", below)]
    return inner if any(map(meant_by, inner)) and not _close(key, list(Config.model_fields), 0.8) else [key]


def _nearest(key: str) -> str:
    """What may be meant by a key: another trainer's name, the same name in another section, or one spelled alike."""
    known = [
        f"{section}.{name}" for section, info in Config.model_fields.items() for name in type(info.default).model_fields
    ]
    last = key.rpartition(".")[2]
    near = meant_by(key) or tuple(each for each in known if each.endswith(f".{last}"))
    near = near or _close(key, [*known, *Config.model_fields])
    return f"; {did_you_mean(near)}" if near else "; 'distjoint config show' lists the keys"


def _close(key: str, known: list[str], cutoff: float = 0.6) -> tuple[str, ...]:
    """The name that is spelled most like a key, if any is."""
    from difflib import get_close_matches

    return tuple(get_close_matches(key, known, n=1, cutoff=cutoff))
