"""Names of encodings; apart from `encodings`, which imports more than the command line needs for its help."""

from __future__ import annotations

import codecs


def is_encoding(name: str) -> bool:
    """Whether Python knows an encoding of text by a name, and reads it piece by piece."""
    try:
        known = codecs.lookup(name)
        return known.incrementaldecoder is not None and isinstance(b"".decode(name), str)
    except (LookupError, ValueError):
        return False
