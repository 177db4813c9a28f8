"""Options of `prepare`: the arguments of the Python function, the options of the command, and what a manifest records.

Nothing heavy is imported here: the command line reads this file to print its help.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from distjoint.base.errors import UsageError
from distjoint.base.options import CallOptions, option, options
from distjoint.base.sizes import bytes_of
from distjoint.data.columns import TableForm, two_columns
from distjoint.data.encoding_names import is_encoding
from distjoint.data.handed_paths import Handed, is_given
from distjoint.data.streams import NEGATIVES, SPLITS
from distjoint.registry import TOKENIZERS

if TYPE_CHECKING:
    from distjoint.base.progress import Progress

Format = Literal["auto", "table", "ntriples", "nquads", "turtle", "trig", "rdfxml"]
FOUND, NONE = "found", "none"
"""Words that stand for descriptions: those in the folder, or the RDF, of the graph; and that those are not wanted."""

_FIRST_RECORDED = (
    "corpus",
    "labels",
    "types",
    "align",
    "align_ambiguous",
    "window",
    "symmetric",
    "min_count",
    "max_words",
    "tokenizer",
    "memory",
    "seed",
    "text_field",
    "text_column",
    "triple_columns",
    "triples",
    *SPLITS[1:],
    *NEGATIVES,
    "valid_fraction",
    "test_fraction",
)
"""The order in which the first manifests have the options, which keeps their bytes the same; newer options follow."""


@options
class PrepareOptions(CallOptions):
    """Options of `prepare`."""

    out: str = option("Folder or URL of the dataset to make.", metavar="DATASET", kw_only=False, recorded=False)
    parent: str | None = option(
        "Grow this dataset, or that of this run: all of it, where it was, and what is given besides.",
        default=None,
        metavar="DATASET|RUN",
        flag="--from",
        recorded=False,  # the manifest says it by fingerprint
    )
    corpus: str | Sequence[str] = option(
        "Text files, globs or folders: plain, .gz, .zst, .xz, .bz2, .jsonl, .parquet.",
        default=(),
        metavar="FILE...",
        doc="Text files, globs or folders: plain, .gz, .zst, .xz, .bz2, JSON Lines (`text_field`), Parquet "
        "(`text_column`).",
    )
    graph: str | None = option(
        "A benchmark as it was published (FB15k-237, WN18RR, CoDEx, OpenKE's ...), RDF, or a wordnet; file or folder.",
        default=None,
        metavar="FOLDER",
        recorded=False,  # the files that are found are
        doc="Folder of a benchmark as it was published: FB15k-237, WN18RR, YAGO3-10, CoDEx, OpenKE's; or a file, or a "
        "folder, of RDF, or of a wordnet (Princeton's files, WN-LMF). Files are found by their names; what is named by "
        "one of the following goes before what is found.",
    )
    triples: str | Any | None = option(
        "Training triples: TSV, CSV, JSON Lines, SIF, Parquet or RDF (N-Triples, N-Quads, Turtle, TriG, RDF/XML).",
        default=None,
        checked=False,
        metavar="FILE",
        doc="Training triples: TSV, CSV, JSON Lines, SIF or Parquet of head, relation, tail, or of the three columns "
        "of `triple_columns`; or RDF, whose labels and descriptions come along. Or a table of pandas, Polars or Arrow, "
        "an array of three columns, a sequence of triples or of records; so for the other splits.",
    )
    valid: str | Any | None = option("Validation triples.", default=None, checked=False, metavar="FILE")
    test: str | Any | None = option("Test triples.", default=None, checked=False, metavar="FILE")
    valid_negatives: str | Any | None = option(
        "Triples known to be wrong, for 'evaluate --classify'.",
        default=None,
        checked=False,
        metavar="FILE",
        doc="Triples known to be wrong, in the same formats: for triple classification.",
    )
    test_negatives: str | Any | None = option(
        "The same for the test split.", default=None, checked=False, metavar="FILE"
    )
    types: str | None = option(
        "Types of entities, for 'evaluate --typed': TSV of entity, type; CSV, Parquet, JSON. 'found' takes rdf:type.",
        default=None,
        metavar="FILE|found",
        doc='Types of entities: lines `entity TAB type`, several for an entity that has several; or .json, `{"entity": '
        '["type", ...]}`; or a table, CSV, Parquet, JSON Lines (`type_columns`). `found` takes what `rdf:type` says in '
        "RDF for types, not for triples.",
    )
    labels: str | None = option(
        "TSV of: entity, label, any number of aliases; or JSON, or RDF.",
        default=None,
        metavar="FILE",
        doc='Lines `entity TAB label [TAB alias...]`; or .json, `{entity: [label, alias...]}` or `{entity: {"label": '
        '..., "alternatives": [...]}}`; or RDF.',
    )
    descriptions: str | Sequence[str] = option(
        "Texts about entities: lines of entity TAB text, .csv, .parquet, .jsonl, .json, RDF. 'found' reads those in "
        "the folder of --graph or in its RDF, which --corpus reads too; 'none' leaves them.",
        default=(),
        metavar="FILE...|found|none",
        doc="What is said of entities of the graph: files, globs or folders of lines `entity TAB text`, CSV, Parquet, "
        "JSON Lines (`description_columns`), JSON (`{entity: text}`) or RDF. `found` stands for those in the folder of "
        "`graph`, or in the graph's RDF; where there is a `corpus` and nothing is named, they are taken too, unless it "
        "is `none`. They are read as corpus where `read_descriptions` says so.",
    )
    description_columns: str | Sequence[str] | None = option(
        "Columns of the descriptions, by name or by number from 0.",
        default=None,
        metavar="ENTITY,TEXT",
        separator=",",
        doc="Columns of the descriptions, by name or by number from 0; by default those called entity, id or name, and "
        "text, description, gloss or comment. Lines of text have columns only where named.",
    )
    name_before: str | None = option(
        "Descriptions begin with the entity's name, up to this text.",
        default=None,
        metavar="TEXT",
        doc="Descriptions begin with the entity's name, up to this text: `,` for `whale, a large marine mammal`. "
        "The name is a label where `labels` has none, and no more part of what is said of the entity.",
    )
    read_descriptions: bool | None = option(
        "Read descriptions as corpus too; by default where there is no other.",
        default=None,
        flag="--read-descriptions/--no-read-descriptions",
    )
    name_weight: float = option(
        "Weight of a name's words among what is said of an entity.", default=2.0, metavar="WEIGHT", min=0
    )
    early_weight: float = option(
        "What a description's first word weighs more than the last ones.", default=8.0, metavar="WEIGHT", min=0
    )
    gram_weight: float = option(
        "Weight of the character n-grams of an entity's names, together; 0 for none.",
        default=1.0,
        metavar="WEIGHT",
        min=0,
    )
    gram_entities: int = option("Entities that must share an n-gram.", default=3, metavar="N", min=1)
    align: str = option(
        "auto, none, or a file of: entity, word; TSV, or a table as 'describe --alignment' writes it.",
        default="auto",
        metavar="auto|none|FILE",
        doc="How entities find their words: `auto` by labels and aliases (ids where there are no labels), `none`, or a "
        "file of lines `entity TAB word`, or a table (Parquet, CSV, JSON Lines) with columns `entity` and `word`, as "
        "`describe --alignment` writes it: there `shares_row` and `weight` may say how each pair is aligned.",
    )
    align_ambiguous: Literal["none", "most-frequent"] = option(
        "Who shares a row where several entities have one label.", default="none"
    )
    shards: int | None = option(
        "Shards of the table; by default chosen by size.", default=None, metavar="N", min=1, recorded=False
    )
    window: int = option(
        "Words to the left (and right) that count as context.",
        default=10,
        metavar="N",
        min=1,
        doc="Words to the left (and right) that count as context, each 1 / distance.",
    )
    symmetric: bool = option("Contexts on both sides, or left.", default=True, flag="--symmetric/--left-only")
    min_count: int = option("Rarer words are dropped.", default=5, metavar="N")
    max_words: int | None = option("Keep only so many words, the most frequent.", default=None, metavar="N", min=1)
    tokenizer: str = option(
        "uax29: words by Unicode's rules, in lower case; whitespace: what blanks separate (already tokenised); icu: by "
        "its dictionaries; unicode: the rules before uax29; or one of a plugin.",
        default="uax29",
        metavar="NAME",
        doc="`uax29`: words by Unicode's rules, in lower case; `whitespace`: what blanks separate, as it stands "
        "(already tokenised); `icu`: by its dictionaries, for Chinese, Japanese, Thai, Khmer (extra `icu`); `unicode`: "
        "the rules before `uax29`; or one that was added to the registry's TOKENIZERS.",
    )
    memory: str | int = option(
        "Memory for counting, like 2GB.",
        default="2GB",
        metavar="SIZE",
        doc="Memory for counting, per worker, like 2GB.",
    )
    workers: int = option("1 runs in this process; more run on Ray.", default=1, metavar="N", min=1, recorded=False)
    valid_fraction: float = option(
        "Share of --triples to hold out.",
        default=0.0,
        metavar="SHARE",
        min=0,
        max=1,
        doc="Share of `triples` to hold out for validation, drawn by `seed`.",
    )
    test_fraction: float = option(
        "Share of --triples to hold out.",
        default=0.0,
        metavar="SHARE",
        min=0,
        max=1,
        doc="Share of `triples` to hold out for the test split.",
    )
    unseen_fraction: float = option(
        "Share of the entities to withhold whole: no training triple names them.",
        default=0.0,
        metavar="SHARE",
        min=0,
        max=1,
        doc="Share of the entities of the training triples to withhold whole, drawn by `seed`: half of them for valid "
        "and half for test. Every triple goes where its ends belong.",
    )
    unseen: str | None = option(
        "Entities to withhold whole, a name a line.",
        default=None,
        metavar="FILE",
        doc="Entities to withhold whole instead, a name a line; `seed` decides which are for valid.",
    )
    seed: int = option("Decides the split and the order of samples.", default=0, metavar="N", min=0)
    text_field: str = option("Field of JSON Lines that holds the text.", default="text", metavar="NAME")
    text_column: str = option("Column of Parquet that holds the text.", default="text", metavar="NAME")
    triple_columns: str | Sequence[str] | None = option(
        "Columns of the triples, by name or by number from 0.",
        default=None,
        metavar="H,R,T",
        separator=",",
    )
    format: Format = option(
        "Format of the triples, where content and ending mislead.",
        default="auto",
        doc="Format of the triples: by content and ending, `table` (TSV, CSV, Parquet), or one of RDF's.",
    )
    language: str | None = option(
        "Language of labels and descriptions in RDF, by default en; of ConceptNet's terms, by default all.",
        default=None,
        metavar="TAG",
    )
    skip_errors: int = option(
        "Go on past so many wrong lines of a file of N-Triples or N-Quads.", default=0, metavar="N", min=0
    )
    header: bool | None = option(
        "Whether tables begin with a line of column names; by default told by the names.",
        default=None,
        flag="--header/--no-header",
        doc="Whether tables of triples begin with a line of column names; by default where these are known, such as "
        "head, relation, tail.",
    )
    relation: str | None = option("Relation of all triples, in tables of two columns.", default=None, metavar="NAME")
    weight_column: str | None = option(
        "Column of the training triples with their weights, by name or by number from 0.",
        default=None,
        metavar="NAME",
        doc="Column of the training triples with their weights, by name or by number from 0; a triple's loss is "
        "multiplied by its weight, divided by the mean of all.",
    )
    nfc: bool = option(
        "Bring names to Unicode's form NFC, so that one is not two.", default=True, flag="--nfc/--no-nfc"
    )
    encoding: str | None = option(
        "Encoding of text, CSV and JSON of --corpus and --descriptions, like latin-1; by default UTF-8 or as a byte "
        "order mark says.",
        default=None,
        metavar="NAME",
    )
    type_columns: str | Sequence[str] | None = option(
        "Columns of the types, by name or by number from 0.",
        default=None,
        metavar="ENTITY,TYPE",
        separator=",",
        doc="Columns of the types, by name or by number from 0; by default those called entity, id or name, and type, "
        "types, class, category or kind.",
    )
    overwrite: bool = option(
        "Replace what is at --out.",
        default=False,
        recorded=False,
        doc="Replace a dataset that is there; one that is not complete is made anew.",
    )
    storage_options: Mapping[str, Any] | None = option(
        "Credentials and the like of the URLs.", default=None, command=False, recorded=False
    )
    progress: Progress | None = option(
        "Where to show how far it is; nowhere by default.", default=None, command=False, checked=False, recorded=False
    )
    scratch: str | None = option(
        "Local folder for temporary files; the system's by default.", default=None, command=False, recorded=False
    )

    @property
    def texts(self) -> tuple[str, ...]:
        """URLs, globs and folders of the text."""
        return (self.corpus,) if isinstance(self.corpus, str) else tuple(self.corpus)

    @property
    def about(self) -> tuple[str, ...]:
        """URLs, globs and folders of the descriptions, and `FOUND`; empty for `NONE`."""
        given = (self.descriptions,) if isinstance(self.descriptions, str) else tuple(self.descriptions)
        return tuple(name for name in given if name != NONE)

    @property
    def about_columns(self) -> tuple[str, str] | None:
        """Columns of entity and text in descriptions. raises UsageError for what is not two names"""
        return two_columns("--description-columns", self.description_columns, "entity,text")

    @property
    def type_pair(self) -> tuple[str, str] | None:
        """Columns of entity and type in tables of types. raises UsageError for what is not two names"""
        return two_columns("--type-columns", self.type_columns, "entity,type")

    @property
    def reads_descriptions(self) -> bool:
        """Whether they are corpus too."""
        return bool(self.about) and (not self.texts if self.read_descriptions is None else self.read_descriptions)

    @property
    def paths(self) -> dict[str, str | None]:
        """URL, glob or folder of each split's triples."""
        return {split: self.triples if split == "train" else getattr(self, split) for split in (*SPLITS, *NEGATIVES)}

    @property
    def table_form(self) -> TableForm:
        """What is known of tables of triples. raises UsageError for options at odds"""
        columns, weight = self.triple_columns, self.weight_column
        return TableForm.of(columns, self.header, self.relation, weight, self.language)

    @property
    def fractions(self) -> tuple[float, float]:
        """Shares of the training triples to hold out for valid and test."""
        return self.valid_fraction, self.test_fraction

    @property
    def memory_bytes(self) -> int:
        """Bytes for counting. raises UsageError for what is no size"""
        return bytes_of("--memory", self.memory)

    def check(self) -> None:
        """Look at options together. raises UsageError for what cannot be meant"""
        if not self.parent and not (is_given(self.triples) or self.graph):
            belongs = (*SPLITS[1:], *NEGATIVES, "labels", "types", "descriptions", "unseen", "unseen_fraction")
            given = [name for name in belongs if is_given(getattr(self, name))]
            if not self.corpus:
                also = f"; --{_dashed(given[0])} alone is not enough" if given and given[0] in self.paths else ""
                raise UsageError(
                    f"nothing to prepare: give text with --corpus, a graph with --triples or --graph, or both{also}"
                )
            if given:
                raise UsageError(f"--{_dashed(given[0])} belongs to a graph; give its triples with --triples")
        if self.tokenizer not in TOKENIZERS:
            raise UsageError(f"--tokenizer is {self.tokenizer!r}; choose {', '.join(TOKENIZERS.names())}")
        if self.encoding is not None and not is_encoding(self.encoding):
            raise UsageError(
                f"--encoding is {self.encoding!r}; it takes one that Python knows, such as latin-1 or cp1252"
            )
        for name, number in (("min-count", self.min_count), ("memory", self.memory_bytes)):
            if number < 1:
                raise UsageError(f"--{name} is {number}; it must be at least 1")
        if self.unseen and self.unseen_fraction:
            raise UsageError(
                f"--unseen names a file, so --unseen-fraction cannot be {self.unseen_fraction:g}; give one of the two"
            )
        _ = self.table_form
        if self.type_pair and self.types in (None, FOUND) and not self.graph:
            raise UsageError("--type-columns belongs to a file of types; name it with --types")
        self._check_descriptions()
        has_text = self.corpus or self.reads_descriptions
        if self.encoding is not None and not (has_text or self.about):
            raise UsageError("--encoding belongs to --corpus and --descriptions; triples are UTF-8")
        if self.parent:
            return  # it has words, and entities
        if self.about and not has_text:
            raise UsageError("--no-read-descriptions leaves no text to learn words from; give some with --corpus")
        if self.align not in ("auto", "none") and not (has_text and (is_given(self.triples) or self.graph)):
            raise UsageError(f"--align {self.align} pairs entities with words; it needs --corpus and --triples")

    def _check_descriptions(self) -> None:
        given = (self.descriptions,) if isinstance(self.descriptions, str) else self.descriptions
        if NONE in given and len(given) > 1:
            raise UsageError(f"--descriptions {NONE} goes with no other; a file of this name is ./{NONE}")
        if self.about_columns and not self.about:
            raise UsageError("--description-columns belongs to descriptions; name their files with --descriptions")

    def record(self) -> dict[str, Any]:
        """What decides the bits of a dataset, but for its shards: for the manifest."""
        values = {**super().record(), "corpus": self.texts, "memory": self.memory_bytes}
        values["descriptions"] = tuple(map(Handed.recorded, self.about))
        values = {name: Handed.recorded(value) for name, value in values.items()}
        order = [*_FIRST_RECORDED, *(name for name in values if name not in _FIRST_RECORDED)]
        return {name: values[name] for name in order}


def _dashed(name: str) -> str:
    return name.replace("_", "-")
