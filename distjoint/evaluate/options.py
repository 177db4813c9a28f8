"""Options of `evaluate` and `compare`: arguments of the Python functions and options of the commands.

Nothing heavy is imported here: the command line reads this file to print its help.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from distjoint.base.errors import UsageError
from distjoint.base.options import CallOptions, like, option, options
from distjoint.base.sizes import bytes_of

if TYPE_CHECKING:
    from distjoint.base.progress import Progress

Split = Literal["valid", "test"]
Ties = Literal["realistic", "optimistic", "pessimistic"]
VectorKind = Literal["word", "entity"]
VectorParts = Literal["joint", "own", "text", "both"]
SetForm = Literal["pairs", "lemmas", "contexts", "ranked", "google", "msr", "bats", "rated"]
AnalogyMethod = Literal["3cosadd", "3cosmul"]
VECTORS = (
    "Which of an entity's: joint, as the graph scores it; own, X alone; text, what words make of it alone; both of "
    "these two side by side. With --kind word: both, the word's and its entity's side by side."
)


@options
class EvaluateOptions(CallOptions):
    """Options of `evaluate`."""

    run_url: str = option("Folder or URL of a run.", metavar="RUN", argument=True, kw_only=False)
    link_prediction: Split | None = option(
        "Rank the answers to the triples of this split.",
        default=None,
        doc="The split to rank, filtered, in both directions.",
    )
    by: Sequence[str] = option(
        "Link prediction also by relation, its category (1-1 to N-N) or the answer's degree; may be repeated.",
        default=(),
        metavar="relation|category|degree",
        doc="`relation`, its `category` (1-1 to N-N), the answer's `degree`: link prediction by groups of answers too.",
    )
    ties: Ties = option(
        "The rank shown for answers that tie: their mean, the first or the last; JSON has all.",
        default="realistic",
        doc="The rank that tables show for answers that tie: their mean, the first or the last; `to_dict()` has all.",
    )
    sample_candidates: int | None = option(
        "Rank each answer among N drawn entities, not among all.",
        default=None,
        metavar="N",
        min=1,
        doc="Rank among so many candidates, drawn for each answer, where all are too many.",
    )
    sample_triples: int | None = option(
        "Rank N drawn triples of the split, not all.",
        default=None,
        metavar="N",
        min=1,
        doc="Rank so many triples of the split, drawn.",
    )
    typed: bool = option("Leave out candidates that the types of the relation do not allow.", default=False)
    classify: bool = option(
        "Take test triples and given negatives for right or wrong.",
        default=False,
        doc="Take test triples and their negatives for right or wrong, by their scores.",
    )
    similarity: Sequence[str] = option(
        "Pairs of words or entities with scores by people, or entities ranked for seeds; files, globs, folders.",
        default=(),
        metavar="FILE...",
        doc="Pairs with scores by people (SimLex, SimVerb, WordSim, MEN, MTurk, RG, RW, SCWS), or entities ranked for "
        "seeds (KORE): files, globs, folders or zip archives, whose form is told by their lines.",
    )
    analogies: Sequence[str] = option(
        "Questions a : b = c : d, or pairs of relations; files, globs, folders.",
        default=(),
        metavar="FILE...",
        doc="Questions of four words (Google, MSR), pairs that make questions (BATS), pairs rated as examples of a "
        "relation (SemEval 2012 task 2): files, globs, folders or zip archives, whose form is told by their lines.",
    )
    form: SetForm | None = option(
        "Form of the sets' files, where their lines mislead.",
        default=None,
        doc="Form of the sets' files, where their lines mislead; docs/evaluation.md has each with an example.",
    )
    pair_columns: str | Sequence[str] | None = option(
        "Columns of the words and the score of pairs, by name or by number from 0.",
        default=None,
        metavar="WORD,WORD,SCORE",
        separator=",",
    )
    analogy_method: AnalogyMethod = option(
        "Score of an answer: 3CosAdd, the cosine with b - a + c, or 3CosMul.", default="3cosadd"
    )
    standardize: bool = option(
        "Standardise the columns of word vectors first, or not.",
        default=True,
        flag="--standardize/--raw",
        doc="Standardise the columns of word vectors, to mean 0 and deviation 1, before the cosine.",
    )
    kind: VectorKind | None = option(
        "Whose vectors stand for words: words' or entities'; by default words' where text was trained.", default=None
    )
    vectors: VectorParts = option(
        VECTORS,
        default="joint",
        doc="Which of an entity's: `joint`, as the graph scores it; `own`, X alone; `text`, what words make of it; "
        "`both` of these two side by side. Of a word: `both` is its own and its entity's side by side.",
    )
    memory: str | int = option(
        "Memory for vectors and scores, like 2GB.",
        default="1GB",
        metavar="SIZE",
        doc="Memory for vectors and scores, like 2GB; what does not fit is read again as it is needed.",
    )
    seed: int = option(
        "Decides what is drawn.", default=0, metavar="N", min=0, doc="Decides what is drawn, and the bootstrap."
    )
    dataset: str | None = option("Where the run's dataset lies now, if moved.", default=None, metavar="DATASET")
    storage_options: Mapping[str, Any] | None = option(
        "Credentials and the like of the URLs.", default=None, command=False, recorded=False
    )
    progress: Progress | None = option(
        "Where to show how far it is; nowhere by default.", default=None, command=False, checked=False, recorded=False
    )

    @property
    def memory_bytes(self) -> int:
        """Bytes for vectors and scores. raises UsageError for what is no size"""
        return bytes_of("--memory", self.memory)

    @property
    def columns(self) -> tuple[str, ...] | None:
        """The columns of pairs. raises UsageError where they are not three"""
        if self.pair_columns is None:
            return None
        parts = self.pair_columns.split(",") if isinstance(self.pair_columns, str) else self.pair_columns
        found = tuple(str(part).strip() for part in parts)
        if len(found) != 3 or len(set(found)) != 3:
            raise UsageError(f"--pair-columns {','.join(found)}: name three columns: word, word and score")
        return found

    def check(self) -> None:
        """Raise UsageError for a memory that is no size, columns that are not three, or raw vectors side by side."""
        self.memory_bytes  # noqa: B018 - reading it checks it
        if self.columns is not None and not self.similarity:
            raise UsageError("--pair-columns is about sets of pairs; add --similarity FILE")
        if self.form is not None and not (self.similarity or self.analogies):
            raise UsageError("--form is about sets; add --similarity FILE or --analogies FILE")
        if self.vectors == "both" and not self.standardize:
            raise UsageError(
                "--vectors both --raw: halves side by side are standardised, to weigh alike; leave out --raw"
            )


@options
class CompareOptions(CallOptions):
    """Options of `compare`: those of `evaluate` that mean something for several runs."""

    runs: Sequence[str] = option("Two runs or more.", metavar="RUN...", argument=True, kw_only=False)
    link_prediction: Split | None = like(EvaluateOptions, "link_prediction", default=None)
    similarity: Sequence[str] = like(EvaluateOptions, "similarity", default=())
    analogies: Sequence[str] = like(EvaluateOptions, "analogies", default=())
    form: SetForm | None = like(EvaluateOptions, "form", default=None)
    pair_columns: str | Sequence[str] | None = like(EvaluateOptions, "pair_columns", default=None)
    analogy_method: AnalogyMethod = like(EvaluateOptions, "analogy_method", default="3cosadd")
    standardize: bool = like(EvaluateOptions, "standardize", default=True)
    kind: VectorKind | None = like(EvaluateOptions, "kind", default=None)
    vectors: VectorParts = like(EvaluateOptions, "vectors", default="joint")
    dataset: Sequence[str] = option(
        "Where a run's dataset lies now, if moved; may be repeated: each run takes its own.",
        default=(),
        metavar="DATASET...",
    )
    memory: str | int = like(EvaluateOptions, "memory", default="1GB", command=False)
    seed: int = like(EvaluateOptions, "seed", default=0, command=False)
    storage_options: Mapping[str, Any] | None = like(EvaluateOptions, "storage_options", default=None)
    progress: Progress | None = like(EvaluateOptions, "progress", default=None)

    def check(self) -> None:
        """Raise UsageError for fewer than two runs."""
        if len(self.runs) < 2:
            raise UsageError("compare needs at least two runs")

    def of_run(self, url: str, dataset: str | None) -> EvaluateOptions:
        """The options by which one of the runs is evaluated."""
        shared = {name: value for name, value in self.arguments().items() if name not in ("runs", "dataset")}
        return EvaluateOptions(url, **shared, dataset=dataset)
