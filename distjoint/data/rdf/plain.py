"""Lines of three plain IRIs, which most of a dump is, told apart by Arrow: five times faster than a parser.

Only what any parser takes as it stands is plain: an absolute IRI with a host, of letters, digits and the marks that
IRIs have, without escapes. All other lines are left to the parser, so nothing is decided here that it decides
otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from distjoint.base.arrays import Ints

_CHARACTER = r"(?:[A-Za-z0-9\-._~!$&'()*+,;=:@/?]|%[0-9A-Fa-f]{2}|[\x{A0}-\x{D7FF}])"
_IRI = rf"[A-Za-z][A-Za-z0-9+.\-]*://[A-Za-z0-9.\-]+/{_CHARACTER}*(?:#{_CHARACTER}*)?"
_SAYS_NOTHING = r"^[ \t\n\v\f\r]*(?:#|$)"
_LINE = rf"^<(?P<head>{_IRI})>[ \t]+<(?P<relation>{_IRI})>[ \t]+<(?P<tail>{_IRI})>[ \t]*\.[ \t]*\r?\n$"


@dataclass(frozen=True)
class PlainLines:
    """A block of lines, of which some are plain.

    columns   heads, relations and tails of the plain ones, string[n] each
    places    int64[n]: numbers of these lines within the block
    others    int64[m]: numbers of the other lines with something in them
    rest      these other lines
    """

    columns: tuple[pa.Array, pa.Array, pa.Array]
    places: Ints
    others: Ints
    rest: bytes

    def merged(self, columns: tuple[pa.Array, pa.Array, pa.Array], which: Ints) -> tuple[pa.Array, pa.Array, pa.Array]:
        """The plain triples with others, in order of their lines.

        columns   heads, relations and tails of the others
        which     int64[k]: place of the line of each in `others`
        """
        order = np.argsort(np.concatenate([self.places, self.others[which]]), kind="stable")
        head, relation, tail = (
            pa.concat_arrays(pair).take(pa.array(order)) for pair in zip(self.columns, columns, strict=True)
        )
        return head, relation, tail


def split_plain(text: bytes) -> PlainLines:
    """The plain lines of a block and the others. text: whole lines, each with its end"""
    ends = np.flatnonzero(np.frombuffer(text, np.uint8) == ord("\n")) + 1
    offsets = np.concatenate([[0], ends])
    lines = pa.LargeStringArray.from_buffers(len(ends), pa.py_buffer(offsets), pa.py_buffer(text))
    found = pc.extract_regex(lines, _LINE)
    plain = found.is_valid().to_numpy(zero_copy_only=False)
    matched = found.filter(pa.array(plain))
    head, relation, tail = (matched.field(k).cast(pa.string()) for k in range(3))
    others = np.flatnonzero(~plain)
    left = lines.take(pa.array(others))
    says = pc.invert(pc.match_substring_regex(left, _SAYS_NOTHING))
    left, others = left.filter(says), others[says.to_numpy(zero_copy_only=False)]
    rest = b"".join(left.cast(pa.large_binary()).to_pylist())
    return PlainLines((head, relation, tail), np.flatnonzero(plain), others, rest)
