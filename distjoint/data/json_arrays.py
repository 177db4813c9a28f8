"""Files that are one array of JSON, element by element: memory is that of a block and of the largest element."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from distjoint.base.errors import DistjointError
from distjoint.data.lines import Block, open_text
from distjoint.storage import Location

ENDINGS = (".jsonl", ".ndjson", ".json")
"""Of names of files of JSON."""
MOST = 1 << 26
"""Characters that an element may have."""
_BLANKS = re.compile(r"[ \t\r\n]*")
_BEGIN = re.compile(rb"\s*\[")
_LOOKED_AT = 1 << 12


def is_array(begin: bytes) -> bool:
    """Whether a file of JSON is one array rather than lines of objects. begin: its first bytes of UTF-8"""
    return _BEGIN.match(begin) is not None


def file_is_array(file: Location) -> bool:
    """The same of a file of UTF-8. raises DistjointError for a file that cannot be read"""
    with open_text(file) as (stream, _):
        return is_array(bytes(stream.read(_LOOKED_AT)).removeprefix(b"\xef\xbb\xbf"))


def elements(blocks: Iterator[Block]) -> Iterator[tuple[Block, list[Any]]]:
    """The elements of the array that a file is, those that end in each block of it.

    blocks   of valid UTF-8
    raises   DistjointError naming the record that is no JSON, is too large, or is not there
    """
    array = _Array()
    for block in blocks:
        try:
            found = [*array.feed(block.text.decode(), block.last)]
        except (ValueError, RecursionError) as error:
            reason = error.msg if isinstance(error, json.JSONDecodeError) else str(error).splitlines()[0]
            raise DistjointError(
                f"{block.file}, record {array.number + 1:,}: not an array of JSON ({reason}); mend it, or write a "
                f"record a line with: jq -c '.[]' {block.file.name} > records.jsonl"
            ) from error
        yield block, found


class _Array:
    """An array whose text arrives in pieces. number: of elements that have ended"""

    def __init__(self) -> None:
        self.number = 0
        self._decoder = json.JSONDecoder()
        self._rest, self._enough, self._between, self._ended = "", 0, False, False
        self._begun = False

    def feed(self, text: str, last: bool) -> Iterator[Any]:
        """The elements that end in a piece. raises ValueError for what is no array, RecursionError"""
        self._rest += text
        if len(self._rest) < self._enough and not last:
            return
        place = 0
        while (place := _blank(self._rest, place)) < len(self._rest) and not self._ended:
            if not self._begun or self._between:
                place = self._mark(self._rest[place], place)
                continue
            if self._rest[place] == "]" and not self.number:
                self._ended, place = True, place + 1
                continue
            try:
                value, stop = self._decoder.raw_decode(self._rest, place)
            except json.JSONDecodeError:
                if last or len(self._rest) - place > MOST:
                    raise
                break  # it may go on in the next piece
            if stop == len(self._rest) and not last:
                break  # a number may go on
            place, self._between, self.number = stop, True, self.number + 1
            yield value
        self._rest = self._rest[place:]
        # What did not end is read again when there is twice as much of it.
        self._enough = 2 * len(self._rest)
        if self._ended and self._rest.strip():
            raise ValueError("there is more after its end")
        if last and not self._ended:
            raise ValueError("its end is missing")

    def _mark(self, mark: str, place: int) -> int:
        """Read what stands before the first element, or after one."""
        if mark not in ("," if self._begun else "[") + "]" * self._between:
            raise ValueError(f"{mark!r} where a comma or the end belongs")
        self._begun, self._between, self._ended = True, False, mark == "]"
        return place + 1


def _blank(text: str, place: int) -> int:
    found = _BLANKS.match(text, place)
    return found.end() if found else place
