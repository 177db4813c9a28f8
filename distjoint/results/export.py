"""Writing vectors for other programs, in any format of the registry's EXPORTS."""

from __future__ import annotations

from collections.abc import Sequence

from distjoint.base.errors import UsageError
from distjoint.evaluate.space import Space
from distjoint.registry import EXPORTS
from distjoint.results.exports.base import Export
from distjoint.storage import Location


def export(spaces: Sequence[Space], out: Location, form: str = "glove", binary: bool = False) -> int:
    """Write named vectors to a file, most frequent names first; returns how many.

    form     `glove`, `word2vec`, `parquet`, `safetensors`, or a format that was added to EXPORTS
    binary   the format's binary form, which word2vec has
    raises   UsageError for an unknown format, one without a binary form, or a folder in the file's place
    """
    if form not in EXPORTS:
        raise UsageError(f"--format {form}: choose {', '.join(EXPORTS.names())}")
    chosen: type[Export] = EXPORTS[form]
    if binary and not chosen.has_binary:
        having = ", ".join(name for name in EXPORTS.names() if EXPORTS[name].has_binary)
        raise UsageError(f"--format {form} has no binary form; only {having} has")
    if out.is_dir():
        raise UsageError(f"{out}: is a folder; give the name of a file")
    chosen(binary).write(spaces, out)
    return sum(len(space) for space in spaces)
