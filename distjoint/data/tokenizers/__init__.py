"""What a word is: one class a tokeniser. The registry's TOKENIZERS lists them; a dataset records the name of its own.

Rules that a name stands for never change, since what is typed later is read as the dataset was: new rules want a new
name.
"""

from __future__ import annotations

from distjoint.data.tokenizers.base import Characters, OfCharacters, OfFunction, Tokenizer
from distjoint.registry import TOKENIZERS


def tokenizer_of(name: str) -> Tokenizer:
    """The tokeniser of a name: a class, or a function of a user's own. raises UsageError for an unknown one"""
    found = TOKENIZERS[name]
    return found() if isinstance(found, type) else OfFunction(name, found)


__all__ = ["Characters", "OfCharacters", "OfFunction", "Tokenizer", "tokenizer_of"]
