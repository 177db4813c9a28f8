"""The token stream as rows of the table, cut into segments that fit in memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from distjoint.base.arrays import TokenIds
from distjoint.data import counting
from distjoint.data.spool import Tokens


@dataclass(frozen=True)
class Segment:
    """Segment of the token stream, with its surroundings.

    tokens       int32: rows, -1 between documents; up to a window more on either side
    begin, end   the segment itself, in `tokens`
    """

    tokens: TokenIds
    begin: int
    end: int


def segment_length(memory: int, window: int) -> int:
    """Tokens of a segment, by the bytes there are for counting."""
    return max(int(0.5 * memory / 8), 8 * window + 64)


def renumbered(tokens: Tokens, table: TokenIds) -> Iterator[TokenIds]:
    """A text's tokens as rows. table: int32[provisional ids], -1 for words without a row."""
    for block in tokens.blocks():
        out = np.empty(len(block), np.int32)
        yield out[: counting.renumber(block, table, out)]


def segments(blocks: Iterator[TokenIds], total: int, length: int, window: int) -> Iterator[Segment]:
    """Cut a stream of about `total` tokens into segments of `length`. Each reuses the memory of the last."""
    room = min(total, length) + 2 * window
    buffer, filled, begin = np.empty(room, np.int32), 0, 0
    for block in blocks:
        while len(block):
            taken = min(room - filled, len(block))
            buffer[filled : filled + taken] = block[:taken]
            filled, block = filled + taken, block[taken:]
            if filled == room:
                yield Segment(buffer, begin, room - window)
                # A window already counted, as surroundings, and a window still to count.
                buffer[: 2 * window] = buffer[room - 2 * window :].copy()
                filled, begin = 2 * window, window
    if filled > begin:
        yield Segment(buffer[:filled], begin, filled)
