"""Options of `describe`: arguments of the Python function and options of the command.

Nothing heavy is imported here: the command line reads this file to print its help.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from distjoint.base.options import CallOptions, option, options

if TYPE_CHECKING:
    from distjoint.base.progress import Progress


@options
class DescribeOptions(CallOptions):
    """Options of `describe`."""

    url: str = option("Folder or URL of a dataset or of a run.", metavar="DATASET|RUN", argument=True, kw_only=False)
    share: float = option(
        "Share of the triples of two relations that makes them an inverse pair or duplicates.",
        default=0.8,
        metavar="SHARE",
        min=0.01,
        max=1,
        doc="Share of the triples of two relations that makes them an inverse pair or duplicates, or of one that makes "
        "it symmetric; of the whole data, of which a random split leaves less in training.",
    )
    alignment: str | None = option(
        "Write every pair of an entity and a word as Parquet, to be reviewed and given to 'prepare --align'.",
        default=None,
        metavar="FILE",
    )
    html: str | None = option(
        "Write the description as one page of HTML, which needs no network.", default=None, metavar="FILE"
    )
    overwrite: bool = option("Replace what is at --alignment and --html.", default=False)
    seed: int = option("Decides which paths are drawn, of relations that have too many.", default=0, metavar="N", min=0)
    storage_options: Mapping[str, Any] | None = option(
        "Credentials and the like of the URLs.", default=None, command=False, recorded=False
    )
    progress: Progress | None = option(
        "Where to show how far it is; nowhere by default.", default=None, command=False, checked=False, recorded=False
    )
