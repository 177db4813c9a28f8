"""What was noticed while input was read: how often of each kind, with an example and the fix, for the summary."""

from __future__ import annotations

from distjoint.data.cases import Cases

_SHOWN = 300


class Noticed:
    """Kinds of things that were guessed, left out, merged or doubted, in order of first sight."""

    def __init__(self) -> None:
        self._kinds: dict[tuple[str, str], Cases] = {}
        self._alone: dict[tuple[str, str], str] = {}

    def add(self, what: str, example: str, fix: str = "", count: int = 1, alone: str = "") -> None:
        """Count some of a kind.

        what    the kind, as the beginning of a sentence
        fix     what to do, as the end of it
        alone   what is said where this is the only one
        """
        self._alone.setdefault((what, fix), alone)
        cases = self._kinds.setdefault((what, fix), Cases(what))
        cases.add(example if len(example) <= _SHOWN else f"{example[:_SHOWN]}...", count)

    def take(self, other: Noticed) -> None:
        """Count what another one noticed."""
        for (what, fix), cases in other._kinds.items():
            self.add(what, cases.example, fix, cases.count, other._alone[what, fix])

    def notes(self) -> list[str]:
        """A sentence a kind."""
        notes = []
        for kind, cases in self._kinds.items():
            said = self._alone[kind] if cases.count == 1 and self._alone[kind] else str(cases)
            notes.append(f"{said}{f'; {kind[1]}' * bool(kind[1])}.")
        return notes
