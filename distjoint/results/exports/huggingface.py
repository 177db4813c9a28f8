"""A folder as Hugging Face's hub has them: a model card, tensors, configuration, vocabulary. Nothing is sent."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from distjoint.results.exports.base import Export, NamedVectors, open_folder, open_whole
from distjoint.results.exports.safetensors import Safetensors
from distjoint.storage import Location

_CARD = """---
license: unknown  # as the data allows: say it here
library_name: distjoint
tags: [embeddings, knowledge-graph]
---
# Vectors trained by distjoint

{tables}

`model.safetensors` has a tensor for each of these, and their names as `KIND.names`, a JSON list in UTF-8; `vocab.json`
has the names too. `distjoint train DATASET --init FOLDER` begins with them.

## Licence

Unknown: set `license` above to what the data allows.

## Data

{data}

## Scores

{score}

## Figures

{figures}

## Settings

```json
{settings}
```
"""


class HuggingFace(Export):
    """`README.md`, `model.safetensors` (as format `safetensors`), `vocab.json` and `config.json`."""

    name: ClassVar[str] = "huggingface"
    holds_model: ClassVar[bool] = True
    files: ClassVar[tuple[str, ...]] = ("README.md", "model.safetensors", "vocab.json", "config.json")

    def write(self, spaces: Sequence[NamedVectors], out: Location) -> None:
        card, tensors, vocab, config = self.files
        inner = Safetensors()
        inner.about = self.about
        with open_folder(out, self.files) as folder:
            with open_whole(folder / card) as stream:
                stream.write(_card(spaces, self.about).encode())
            inner.write(spaces, folder / tensors)
            names = {space.kind: list(space.names) for space in spaces}
            with open_whole(folder / vocab) as stream:
                stream.write(json.dumps(names, ensure_ascii=False).encode())
            with open_whole(folder / config) as stream:
                stream.write(json.dumps({"model_type": "distjoint", **self.about}, indent=1).encode())


def _card(spaces: Sequence[NamedVectors], about: Mapping[str, Any]) -> str:
    tables = [f"| {space.kind} | {len(space):,} | {space.vectors.shape[1]} |" for space in spaces]
    return _CARD.format(
        tables="\n".join(["| kind | vectors | numbers |", "|---|---|---|", *tables]),
        data=_listed(about.get("data", {})),
        score=_listed(about.get("score", {})),
        figures=_listed(about.get("figures", {})),
        settings=json.dumps(about.get("settings", {}), indent=1),
    )


def _listed(values: Mapping[str, Any]) -> str:
    return "\n".join(f"* {name}: {value}" for name, value in values.items()) or "None."
