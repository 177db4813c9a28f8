"""The command that makes datasets: prepare."""

from __future__ import annotations

import shlex
from typing import Any

from distjoint.cli.common import Json, StorageOptions, interruptible, print_result, progress, say_next
from distjoint.cli.options import options_of
from distjoint.data.request import PrepareOptions


@options_of(PrepareOptions)
def prepare(out: str, options: dict[str, Any], storage_options: StorageOptions = None, as_json: Json = False) -> None:
    """Turn raw text and triples into a dataset to train on. Text alone or triples alone will do.

    \b
    Examples:
      distjoint prepare --graph FB15k-237 --align none --out data/fb15k-237
      distjoint prepare --graph WN18RR --descriptions found --align none --min-count 2 --out data/wn18rr-text
      distjoint prepare --graph WN18RR --descriptions found --unseen-fraction .1 --out data/unseen
      distjoint prepare --graph dbpedia.nt.bz2 --descriptions found --out data/dbpedia
      distjoint prepare --corpus 'text/*.txt.zst' --triples kg/train.txt --valid kg/valid.txt --test kg/test.txt \\
                        --labels kg/labels.tsv --out data/mine --min-count 5 --memory 2GB
      distjoint prepare --from data/mine --triples kg/more.txt --corpus more.txt --out data/grown
    """
    import distjoint

    with interruptible(f"{out} is not a complete dataset; run the same command again to make it"):
        summary = distjoint.prepare(out, **options, progress=progress())
    print_result(summary, as_json)
    grown = " --from OLD_RUN" if options["parent"] else ""
    say_next(as_json, f"distjoint train {shlex.quote(out)}{grown} --out RUN")
