"""Limits of the server: sizes above which a question is refused, so that none takes the memory of all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from distjoint.base.errors import UsageError
from distjoint.serve.questions import AskedOne, texts_of


class TooLargeError(UsageError):
    """Request that is larger than the server takes."""


@dataclass(frozen=True)
class RequestLimits:
    """What the server takes at most.

    k       answers of one question, or words of each end that are told apart
    batch   questions of one request
    body    bytes of one request's body
    text    characters of a name or a text
    """

    k: int = 1_000
    batch: int = 256
    body: int = 1_000_000
    text: int = 10_000

    def check(self, question: AskedOne) -> None:
        """raises UsageError for too many answers, TooLargeError for too long a text"""
        for name in ("k", "top"):
            if (count := getattr(question, name, 0)) > self.k:
                raise UsageError(f"{name} = {count}: this server gives at most {self.k:,} (--max-k)")
        for name, text in texts_of(question):
            if len(text) > self.text:
                raise TooLargeError(
                    f"{name}: has {len(text):,} characters; this server reads at most {self.text:,} (--max-text)"
                )

    def check_batch(self, questions: Sequence[AskedOne]) -> None:
        """raises TooLargeError for too many"""
        if len(questions) > self.batch:
            raise TooLargeError(
                f"questions: there are {len(questions):,}; this server takes {self.batch:,} at once (--max-batch)"
            )

    def check_body(self, size: int) -> None:
        """raises TooLargeError for too many bytes"""
        if size > self.body:
            raise TooLargeError(f"the body has more than {self.body:,} bytes (--max-body); ask in several requests")
