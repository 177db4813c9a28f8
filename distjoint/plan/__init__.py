"""Plans: what a run will take and cost, before it starts, of a dataset or of one that does not exist yet.

The public function is here, and imports what does the work when it is called.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from distjoint.base.options import keywords
from distjoint.plan.options import PlanOptions

if TYPE_CHECKING:
    from distjoint.plan.result import Plan


@keywords(PlanOptions)
def plan(options: PlanOptions) -> Plan:
    """Foresee a run's table, memory, traffic, hours and price, and say what bounds it and what to change.

    {parameters}

    raises UsageError for sizes, nodes and prices that cannot be meant, or a dataset too small for the request
    """
    from distjoint.plan.make import make_plan

    return make_plan(options)
