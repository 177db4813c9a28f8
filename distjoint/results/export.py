"""Writing vectors for other programs, in any format of the registry's EXPORTS."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from distjoint.base.errors import UsageError
from distjoint.evaluate.chosen import choose, spaces_of
from distjoint.evaluate.options import VectorKind, VectorParts
from distjoint.evaluate.space import Spaces
from distjoint.evaluate.trained import TrainedVectors
from distjoint.registry import EXPORTS
from distjoint.results.about import about
from distjoint.results.exports.base import OF_ROWS, Export, NamedVectors
from distjoint.results.model_tables import ModelTable, model_tables
from distjoint.storage import Location

ExportKind = Literal["word", "entity", "relation"]
Say = Callable[[str], None]


def export(
    spaces: Sequence[NamedVectors],
    out: Location,
    form: str = "glove",
    binary: bool = False,
    about: Mapping[str, Any] | None = None,
    say: Say | None = None,
) -> int:
    """Write named vectors to a file or folder, most frequent names first; returns how many.

    spaces   words, entities, tables of the model's; these are counted only where they are alone
    form     `glove`, `word2vec`, `parquet`, `safetensors`, ..., or a format that was added to EXPORTS
    binary   the format's binary form, which word2vec has
    about    what the vectors are; a format that can hold it writes it with them
    say      takes what is to be said of what was written: names that are escaped, say
    raises   UsageError for an unknown format, one without a binary form, or a folder in the file's place
    """
    made = format_of(form, binary)(binary)
    if out.is_dir() and not made.files:
        raise UsageError(f"{out}: is a folder; give the name of a file")
    made.about = about or {}
    made.write(spaces, out)
    for note in made.notes:
        (say or (lambda _: None))(note)
    return sum(len(space) for space in spaces if space.kind in OF_ROWS) or sum(map(len, spaces))


def format_of(form: str, binary: bool = False) -> type[Export]:
    """The class of a format. raises UsageError for an unknown one, or one without a binary form that is wanted"""
    if form not in EXPORTS:
        raise UsageError(f"--format {form}: choose {', '.join(EXPORTS.names())}")
    chosen: type[Export] = EXPORTS[form]
    if binary and not chosen.has_binary:
        having = ", ".join(name for name in EXPORTS.names() if EXPORTS[name].has_binary)
        raise UsageError(f"--format {form} has no binary form; only {having} has")
    return chosen


def export_run(
    trained: TrainedVectors,
    every: Spaces,
    relations: Sequence[str],
    out: Location,
    form: str,
    kind: ExportKind | None,
    vectors: VectorParts,
    binary: bool,
    say: Say,
) -> int:
    """`Embeddings.export`: the vectors of a run, and with a format that holds them its relations and maps."""
    if vectors != "joint" and kind in (None, "relation"):
        raise UsageError(f"--vectors {vectors}: says which vectors of one kind; add --kind word or --kind entity")
    model, chosen = model_tables(trained, relations), format_of(form, binary)
    told = about(trained, model, vectors)
    if kind == "relation":
        if not model:
            raise UsageError(f"{trained.run.folder}: has no relations; it was trained on text only")
        return export(_of_one_width(model, chosen, say), out, form, binary, told, say)
    spaces: list[NamedVectors] = list(_spaces(trained, every, kind, vectors))
    if kind is None and model and chosen.holds_model:
        spaces += model
        say(f"with {', '.join(f'{table.kind} ({len(table):,})' for table in model)}")
    elif kind is None and model:
        say("relations are not in it; --kind relation writes them")
    return export(spaces, out, form, binary, told, say)


def _spaces(
    trained: TrainedVectors, every: Spaces, kind: VectorKind | None, vectors: VectorParts
) -> Sequence[NamedVectors]:
    return spaces_of(trained, every, kind) if vectors == "joint" else [choose(trained, every, kind, vectors)]


def _of_one_width(model: Sequence[ModelTable], chosen: type[Export], say: Say) -> Sequence[ModelTable]:
    """What a format can hold of the model's tables."""
    if chosen.holds_model:
        return model
    width = model[0].vectors.shape[1]
    kept = [table for table in model if table.kind.endswith("relation") and table.vectors.shape[1] == width]
    if left := [table.kind for table in model if table not in kept]:
        holding = ", ".join(name for name in EXPORTS.names() if EXPORTS[name].holds_model)
        say(f"{', '.join(left)}: not in it, which is for rows of one width; {holding} hold all")
    return kept
