"""Names as files of text hold them: marked by kind, and escaped where a blank or a mark in them would be misread.

`New York` the entity is `ENTITY/New%20York`. What is escaped is written as in URLs, so that
`urllib.parse.unquote` gives it back in any program; all other names stand as they are.
"""

from __future__ import annotations

import re
from urllib.parse import quote, unquote

ENTITY = "ENTITY/"
"""Before the name of an entity, in text that holds words too."""
_MARK = re.compile(r"(ENTITY|(?:[A-Z]+_)*RELATION)/")
"""Before a name: what kind it is. Words have none."""
_MISREAD = r"\x00-\x1f\x7f-\x9f\u2028\u2029\ufeff"
_IN_LINES = re.compile(rf"[\s{_MISREAD}]|%(?=[0-9A-Fa-f]{{2}})")
"""Blanks of any alphabet, control characters, a byte order mark, and what would be taken for an escape."""
_IN_TABLES = re.compile(rf"[{_MISREAD}]|%(?=[0-9A-Fa-f]{{2}})")


def mark(kind: str) -> str:
    """What stands before names of a kind, in text that holds several: `ENTITY/`; nothing before words."""
    return "" if kind == "word" else f"{kind.upper()}/"


def encoded(name: str, blanks: bool = False) -> str:
    """A name as it stands in a line of text, without its mark: `New%20York`.

    blanks   whether blanks may stand as they are, as between tabs
    """
    found = (_IN_TABLES if blanks else _IN_LINES).sub(lambda match: quote(match[0], safe=""), name)
    return f"%{ord(found[0]):02X}{found[1:]}" if _MARK.match(found) else found


def decoded(text: str) -> tuple[str | None, str]:
    """Kind and name of what `encoded` made, with its mark; kind is None where there is none."""
    kind = None
    if found := _MARK.match(text):
        kind, text = found[1].lower(), text[found.end() :]
    if "%" not in text:
        return kind, text
    try:
        return kind, unquote(text, errors="strict")
    except UnicodeDecodeError:  # escapes of another sort: a name that was never encoded
        return kind, text
