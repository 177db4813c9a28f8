"""Files in other encodings than UTF-8, as streams of UTF-8: named by the user, or told by a byte order mark."""

from __future__ import annotations

import codecs
import unicodedata
from collections.abc import Iterable, Iterator
from itertools import chain

from charset_normalizer import from_bytes

from distjoint.base.errors import DistjointError
from distjoint.storage import Location

UTF8_MARKED = "utf-8-sig"
_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
    codecs.BOM_UTF8: UTF8_MARKED,
}
"""Byte order marks, longer ones first, and the codec that reads what follows and them."""
_TYPOGRAPHY = "\u00a0«»‘’“”–—…€£§°·"
_ERRORS = "distjoint-bad-byte"
_MOSTLY = 0.75
"""Share of letters, marks, digits and blanks in text of any language, at least."""


def marked_encoding(begin: bytes) -> str | None:
    """Encoding by the byte order mark that a file begins with; None where there is none. begin: 4 bytes or more"""
    return next((name for mark, name in _MARKS.items() if begin.startswith(mark)), None)


def marked_wide(begin: bytes) -> str | None:
    """UTF-16 or UTF-32 by the byte order mark that a file begins with; None for UTF-8 and others."""
    marked = marked_encoding(begin)
    return None if marked == UTF8_MARKED else marked


def encoding_of(file: Location) -> str | None:
    """Encoding of a file that is not compressed, by its byte order mark; None where it has none."""
    with file.open_input() as stream:
        return marked_encoding(bytes(stream.read(4)))


def transcoded(pieces: Iterable[bytes], encoding: str, place: str) -> Iterator[bytes]:
    """A file as UTF-8, piece by piece. What its encoding does not allow comes out as bytes that are not UTF-8.

    place   names the file
    """
    codecs.register_error(_ERRORS, _as_bad_bytes)
    decoder = codecs.getincrementaldecoder(encoding)(_ERRORS)
    for piece in chain(pieces, [b""]):
        try:
            text = decoder.decode(bytes(piece), not piece)
        except UnicodeError as error:  # of codecs that let no handler mend
            raise DistjointError(f"{place}: not {encoding} ({error})") from error
        if text:
            yield text.encode("utf-8", "surrogateescape")


def guess_encoding(sample: bytes) -> str:
    """The likely encoding of some bytes that are not UTF-8, as Python calls it."""
    if b"\0" in sample and (wide := wide_encoding(sample)):
        return wide
    best = from_bytes(sample).best()
    if best is None or _is_western(sample, best.encoding):
        return "cp1252"
    return best.encoding.replace("_", "-")


def wide_encoding(sample: bytes) -> str | None:
    """UTF-16 of either order where some bytes with NULs among them are text in it; None where they are in none."""
    zeros = sample[::2].count(0), sample[1::2].count(0)
    name = "utf-16-be" if zeros[0] > zeros[1] else "utf-16-le"
    text = sample[: len(sample) & ~1].decode(name, "replace")
    ascii_ = [c for c in text if c < "\x80"]
    plain = sum(c.isalnum() or c.isspace() or unicodedata.category(c)[0] in "PM" for c in text)
    # Of other alphabets, little is ASCII but what separates words.
    separating = 2 * len(ascii_) > len(text) or 2 * sum(not c.isalpha() for c in ascii_) >= len(ascii_) > 0
    return name if plain > _MOSTLY * len(text) and separating and "\0" not in ascii_ else None


def _is_western(sample: bytes, other: str) -> bool:
    """Whether bytes are letters of Western Europe, where the other encoding has letters of the Latin alphabet too."""
    beyond = "".join(c for c in sample.decode(other, "ignore") if c > "\x7f")
    latin = sum(unicodedata.name(c, "").startswith("LATIN") for c in beyond)
    western = {c for c in sample.decode("cp1252", "replace") if c > "\x7f"}
    return 2 * latin >= len(beyond) and all(c.isalpha() or c in _TYPOGRAPHY for c in western)


def _as_bad_bytes(error: UnicodeError) -> tuple[str, int]:
    """Handler of errors of decoding: each byte becomes one that is no UTF-8, however it is encoded again."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return "\udcff" * max(1, error.end - error.start), max(error.end, error.start + 1)
