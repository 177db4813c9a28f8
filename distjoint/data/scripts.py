"""Words of scripts that do not separate them: how much of a text they are, and what to do."""

from __future__ import annotations

import numpy as np

from distjoint.data.tokenizers import OfCharacters
from distjoint.data.tokenizers.base import ALONE, CODES, RUN
from distjoint.data.tokenizers.uax29 import Uax29
from distjoint.data.tokenizers.whitespace import Whitespace
from distjoint.data.tokens import Lexicon

_MUCH = 0.05
"""Share of the text's letters, in bytes, from which on it is told."""
_FIX = "separate the words first and give --tokenizer whitespace, or give --tokenizer icu"


def notes_on_scripts(lexicon: Lexicon) -> list[str]:
    """Sentences about text whose words are not separated, and about blanks that are not taken for such."""
    if isinstance(lexicon.reads, Whitespace):
        return _notes_on_blanks(lexicon)
    if not isinstance(lexicon.reads, OfCharacters):
        return []
    lengths, counts = lexicon.lengths(), lexicon.counts[: lexicon.size]
    kinds = Uax29.characters().kinds[np.minimum(lexicon.first_codes(), CODES - 1)]
    much = _MUCH * int((lengths * counts).sum())
    notes = []
    alone = "read one by one" if lexicon.reads.name == Uax29.name else "read in runs"
    for kind, scripts, how in (
        (ALONE, "Chinese characters and hiragana", alone),
        (RUN, "Thai, Lao, Khmer or Burmese", "read in whole runs"),
    ):
        here = np.flatnonzero(kinds == kind)
        if (lengths[here] * counts[here]).sum() > much:
            number, example = int(counts[here].sum()), lexicon.word(int(here[counts[here].argmax()]))
            notes.append(f"Words of {scripts}, which nothing separates: {number:,}, {how} (such as {example}); {_FIX}.")
    return notes


def _notes_on_blanks(lexicon: Lexicon) -> list[str]:
    found = [word for word in lexicon.words() if not word.isascii() and any(map(str.isspace, word))]
    if not found:
        return []
    return [
        f"Words with blanks in them that do not separate words, such as no-break spaces: {len(found):,} "
        f"(such as {found[0]!r}); write plain blanks where words end."
    ]
