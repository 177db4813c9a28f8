"""Files of evaluation sets as lines: unpacked, in UTF-8, of a size that fits memory."""

from __future__ import annotations

import posixpath
import re
from codecs import BOM_UTF8
from collections.abc import Iterable, Sequence

from distjoint.base.errors import DistjointError
from distjoint.data.encodings import UTF8_MARKED, guess_encoding, marked_encoding, transcoded
from distjoint.data.lines import Block, open_text
from distjoint.data.looks import refuse_markup
from distjoint.data.noticed import Noticed
from distjoint.data.packing import files_of, inner_name
from distjoint.evaluate.sets.base import SetFile, SetLine
from distjoint.storage import Location, Options

LARGEST = 64 << 20
"""Bytes of a set, unpacked; the largest that is published has 10 MB."""
_BESIDE = re.compile(
    r"(?i)(readme|licen[cs]e|copying|copyright|citation|notice|changelog|source)([-_.].*)?"
    r"|.*\.(md|rst|py|pl|json|ya?ml|sh|pdf|html?|bib)"
)
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def set_files(urls: Iterable[str], options: Options | None, notices: Noticed) -> list[Location]:
    """The files that URLs, globs, folders and zip archives stand for.

    notices   gets those that lie beside sets and describe them, such as a licence, and are left out
    """
    kept: dict[str, Location] = {}
    for url in urls:
        files = files_of([url], options)
        beside = [file for file in files if _BESIDE.fullmatch(posixpath.basename(file.path))]
        if len(beside) == len(files):
            beside = []
        for file in beside:
            notices.add("Files beside the sets, left out", file.url, "name one alone if it is a set")
        kept |= {file.url: file for file in files if file not in beside}
    return list(kept.values())


def read_set(file: Location) -> SetFile:
    """A file's lines that hold something; `#` begins a comment.

    raises DistjointError naming a file that is empty, too large, damaged or no text in UTF-8
    """
    content = _content(file)
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        likely = guess_encoding(content[max(0, error.start - 2000) : error.start + 2000])
        number = content.count(b"\n", 0, error.start) + 1
        raise DistjointError(
            f"{file}, line {number}: not UTF-8 text (byte {error.start}); convert the file, perhaps with "
            f"'iconv -f {likely.upper()} -t UTF-8'"
        ) from error
    every = [SetLine(number, line) for number, line in enumerate(re.split(r"\r\n|\n|\r", text), 1)]
    lines = [line for line in every if line.text.strip() and not line.text.lstrip().startswith("#")]
    folder, base = posixpath.split(file.path)
    name = posixpath.splitext(base[: len(inner_name(base))])[0]
    found = SetFile(str(file), name, posixpath.basename(folder), lines)
    if not lines:
        raise DistjointError(f"{file}: holds no line but comments and empty ones")
    odd = next((line for line in lines if _CONTROL.search(line.text)), None)
    if odd is not None:
        raise DistjointError(f"{file}, line {odd.number}: holds a control character, so it is no text")
    return found


def _content(file: Location) -> bytes:
    """All of a file as UTF-8, unpacked. raises DistjointError for one that is empty, too large, or no text"""
    with open_text(file) as (stream, _):
        content = b""
        while len(content) <= LARGEST and (piece := bytes(stream.read(LARGEST))):
            content += piece
    if len(content) > LARGEST:
        raise DistjointError(f"{file}: holds more than {LARGEST >> 20} MB, which is no evaluation set")
    if not content:
        raise DistjointError(f"{file}: the file is empty")
    refuse_markup(Block(file, content, len(content), last=True))
    marked = marked_encoding(content)
    if marked == UTF8_MARKED:
        return content.removeprefix(BOM_UTF8)
    return b"".join(transcoded([content], marked, str(file))) if marked else content


def number_of(text: str) -> float | None:
    """The number that a field is, NaN and infinity too; None where it is none."""
    try:
        return None if "_" in text else float(text)
    except ValueError:
        return None


def named_apart(names: Sequence[tuple[str, str, str]]) -> list[str]:
    """Names of sets, each once: the file's, with the folder's where several share it, or the whole place.

    names   of each set: the file's, the folder's, the place
    """
    shown = [name for name, _, _ in names]
    longer = [name if shown.count(name) == 1 else f"{folder}/{name}" for name, folder, _ in names]
    return [name if longer.count(name) == 1 else place for name, (_, _, place) in zip(longer, names, strict=True)]
