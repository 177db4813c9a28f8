"""Describing datasets before training and runs after it: what is in the data, whether it leaks, what a run came to.

The public function is here, and imports what does the work when it is called. Every analysis is a file: a frozen class
with figures, `to_dict()` for machines and `chapter()` for people.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from distjoint.base.options import keywords
from distjoint.describe.options import DescribeOptions

if TYPE_CHECKING:
    from distjoint.describe.description import Description


@keywords(DescribeOptions)
def describe(options: DescribeOptions) -> Description:
    """Describe a dataset, or a run.

    Of a dataset: sizes, distributions, relations by kind, leakage between splits, unseen entities, components, what is
    said of entities, the alignment, hints. Of a run: settings, the course of training, norms, cost. It prints as
    tables; `to_dict()` has all figures, `to_html()` is a page.

    {parameters}

    raises UsageError for an option that does not go with what is described, DistjointError where there is neither a
    dataset nor a run, or a file is damaged
    """
    from distjoint.describe import description

    return description.describe(options)
