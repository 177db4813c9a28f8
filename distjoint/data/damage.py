"""What of a file is not text. Bytes that are not UTF-8 and NUL bytes are counted, and read as U+FFFD and as blanks, so
that every word around them stays. A file where they are many is refused, with the encoding that it seems to have.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from dataclasses import replace

from distjoint.base.errors import DistjointError
from distjoint.data.encodings import guess_encoding, wide_encoding
from distjoint.data.lines import Block, lines_before
from distjoint.data.normal import look, repaired

_NOT_TEXT = "Bytes that are not {}, read as '\ufffd', which separates words"
_OTHER_ENCODING = "a file in another encoding is read with --encoding NAME"
_NULS = "NUL bytes, read as blanks"
_FEW = 3
_BAD_SHARE, _NUL_SHARE = 5_000, 100
"""Of so many bytes one may be bad; a file of another encoding has more."""
_SAMPLE = 1 << 16
_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")
"""Characters that text of no encoding has."""
_BESIDE = 20


def mended(blocks: Iterator[Block], encoding: str | None = None) -> Iterator[Block]:
    """The same blocks of a file, or of a slice of one, as text without NUL bytes; what was amiss is noticed in them.

    encoding   that the file was said to be in; None for UTF-8
    raises     DistjointError naming the file that is no text, with the line
    """
    damage = _Damage(encoding)
    for block in blocks:
        yield damage.mended(block)


class _Damage:
    """What of a file is not text, so far."""

    def __init__(self, encoding: str | None = None) -> None:
        self._encoding = encoding
        self._lines, self._bytes, self._spots, self._nuls, self._others = 0, 0, 0, 0, 0

    def mended(self, block: Block) -> Block:
        text, found = block.text, look(block.text)
        self._bytes += len(text)
        self._others += found.others
        if found.clean:
            self._lines += text.count(b"\n")
            return replace(block, found=found)
        self._spots, self._nuls = self._spots + found.spots, self._nuls + found.nuls
        noticed = [*block.noticed]
        for count, first, what, fix in (
            (found.bad, found.first, _NOT_TEXT.format(self._encoding or "UTF-8"), _OTHER_ENCODING),
            (found.nuls, text.find(b"\0"), _NULS, ""),
        ):
            if count:
                line = self._lines + text.count(b"\n", 0, first) + 1 + lines_before(block.file, block.start)
                self._refuse(block, first, line)
                name = posixpath.basename(block.file.path)
                noticed.append((what, f"line {line:,} of {name}: {_beside(text, first)}", fix, count))
        self._lines += text.count(b"\n")
        text = repaired(text)
        return replace(block, text=text, noticed=tuple(noticed), found=look(text))

    def _refuse(self, block: Block, first: int, line: int) -> None:
        place = f"{block.file}, line {line:,}"
        if self._nuls >= _FEW and self._nuls * _NUL_SHARE > self._bytes:
            named = wide_encoding(block.text[:_SAMPLE])
            looks = f"by its look {named}: read it with --encoding {named}" if named else "so it is binary, no text"
            raise DistjointError(f"{place}: {self._nuls:,} NUL bytes in the first {self._bytes:,}, {looks}")
        if self._spots >= _FEW and self._spots > self._others and self._spots * _BAD_SHARE > self._bytes:
            if self._encoding:  # its bytes are no longer those of the file
                raise DistjointError(
                    f"{place}: not {self._encoding}, at {self._spots:,} places of the first {self._bytes:,} bytes; "
                    "give the encoding that it has, or leave --encoding out for UTF-8"
                )
            sample = block.text[max(0, first - _SAMPLE // 2) :][:_SAMPLE]
            if len(_CONTROL.findall(sample)) * _NUL_SHARE > len(sample):
                raise DistjointError(
                    f"{place}: byte 0x{block.text[first]:02x} among control characters: binary, no text"
                )
            named = guess_encoding(sample)
            raise DistjointError(
                f"{place}: byte 0x{block.text[first]:02x} is not UTF-8, and {self._spots - 1:,} more of the first "
                f"{self._bytes:,} are not; by its look the file is {named}: read it with --encoding {named}"
            )


def _beside(text: bytes, position: int) -> str:
    """The bytes beside a position, on its line, as they can be printed."""
    start = max(text.rfind(b"\n", 0, position) + 1, position - _BESIDE)
    stop = text.find(b"\n", position)
    piece = text[start : min(position + _BESIDE, stop if stop >= 0 else len(text))]
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in piece.decode(errors="backslashreplace"))
