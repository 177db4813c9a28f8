"""A lane at work on a visit: some of each source's units, then some more, in equal steps.

All randomness comes from (seed, epoch, the visit's groups): who runs the lane, and beside whom, changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from distjoint.base.arrays import Ints
from distjoint.train.agreement import Agreement
from distjoint.train.rates import Rates
from distjoint.train.sources.base import LaneVisit, Resources, Source
from distjoint.train.tally import Tally

_AGREEMENT_EVERY = 16
"""Steps between two looks at how the sources' updates agree."""


class Lane:
    """One visit, advanced in equal steps so that lanes of a round can meet at sync points.

    sources   in the order in which they train
    """

    def __init__(self, resources: Resources, sources: Sequence[Source], assigned: LaneVisit, tally: Tally) -> None:
        self._sources, self._tally = sources, tally
        self._work = [source.visit(assigned) for source in sources]
        reads_words = resources.scheme.coupling.reads_words
        self._staggered = reads_words and assigned.epoch == 0 and assigned.visit.repeat == 0
        self._awaits_text = self._staggered and resources.scheme.rotates and resources.scheme.coupling.reads_text
        comparable = reads_words and sum(source.compared for source in sources) == 2
        shared = shared_rows(resources, assigned) if comparable else np.empty(0, np.int64)
        self._agreement = Agreement(resources.arena, resources.backend.tensor(shared)) if len(shared) else None

    def advance(self, step: int, steps: int, rates: Rates) -> None:
        """Do step `step` of `steps`: what is due of each source's work."""
        due = [
            work.due(self._share(source, step + 1, steps), steps)
            for source, work in zip(self._sources, self._work, strict=True)
        ]
        compared = all(count for source, count in zip(self._sources, due, strict=True) if source.compared)
        watch = self._agreement if compared and step % _AGREEMENT_EVERY == 0 else None
        for source, work, count in zip(self._sources, self._work, due, strict=True):
            if watch and source.compared:
                watch.mark()
            work.do(count, rates, self._tally)
            if watch and source.compared:
                watch.mark()
        if watch:
            watch.add_to(self._tally)
        if step + 1 == steps:
            for work in self._work:
                work.verify()
                work.release()

    def _share(self, source: Source, step: int, steps: int) -> int:
        """Steps' worth of a source's work that are to be done after a step: where one goes first, all of its work in
        the first half of the steps, and that of the others in the second. Where entities first read their text while
        shards rotate, the graph begins when they have.
        """
        if self._awaits_text:
            return 0 if source.compared and not source.first else step
        if not self._staggered:
            return step
        return min(steps, 2 * step) if source.first else max(0, 2 * step - steps)


def shared_rows(resources: Resources, assigned: LaneVisit) -> Ints:
    """Arena rows of a visit that have a training triple and a word, so that both sides step them."""
    rows, _ = resources.trained_rows(assigned.visit)
    return rows[resources.arena.has_word[rows]]
