"""The dataset that another grows from: where it lies, and the options that stay as it was made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields, replace
from typing import Any

from distjoint.base.errors import UsageError
from distjoint.data.dataset import Dataset
from distjoint.data.of_run import open_dataset
from distjoint.data.request import PrepareOptions
from distjoint.runs.folder import RUN, RunFolder
from distjoint.storage import locate

_MEANING = ("tokenizer", "window", "symmetric", "name_weight", "early_weight", "gram_weight")
"""Options that decide what the numbers of a dataset mean: they stay."""
_HABITS = ("min_count", "max_words", "gram_entities", "align", "align_ambiguous", "nfc", "seed")
"""Options that may be given anew, and else stay."""


def open_parent(options: PrepareOptions) -> Dataset:
    """The dataset that `parent` names, or that the run was trained on which it names.

    raises DistjointError where there is none; UsageError where the new one would replace it, and for options at odds
    """
    if options.unseen or options.unseen_fraction:
        raise UsageError("--unseen would move triples that a dataset has; leave it out with --from")
    held_out = [split for split, path in options.paths.items() if path is not None and split != "train"]
    if held_out and options.paths["train"] is None:
        raise UsageError(f"--{held_out[0].replace('_', '-')} belongs to a graph; give its new triples with --triples")
    place = locate(str(options.parent), options.storage_options)
    data = open_dataset(RunFolder.open(place)) if (place / RUN).exists() else Dataset.open(place)
    if data.folder.absolute == locate(options.out, options.storage_options).absolute:
        raise UsageError(f"--out {options.out}: is what --from grows, which stays as it is; choose another --out")
    if options.shards not in (None, data.layout.shards):
        raise UsageError(
            f"--shards {options.shards}: {data.folder} has {data.layout.shards} shards, and a dataset that grows from "
            "it keeps them; leave --shards out"
        )
    return data


def inherited(options: PrepareOptions, data: Dataset, notes: list[str]) -> PrepareOptions:
    """The options with those of the dataset that they grow from, where they are not given.

    notes    gets a sentence about those that are not the usual ones
    raises   UsageError for one that must stay, and is given otherwise
    """
    recorded, usual = data.manifest.options, {each.name: each.default for each in fields(PrepareOptions)}
    taken: dict[str, Any] = {}
    for name in (*_MEANING, *_HABITS):
        before, given, default = recorded.get(name, usual[name]), getattr(options, name), usual[name]
        if name == "align" and before not in ("auto", "none"):
            before = "none"
        if given == before or default is MISSING:
            continue
        if given == default:
            taken[name] = before
        elif name in _MEANING:
            raise UsageError(
                f"--{name.replace('_', '-')} is {given}; {data.folder} was made with {before}, and what grows from it "
                "must be; leave it out, or prepare all of it anew"
            )
    if taken:
        said = ", ".join(f"{name.replace('_', '-')} {value}" for name, value in taken.items())
        notes.append(f"As in {data.folder}: {said}.")
    if options.about and options.read_descriptions is None and not options.texts:
        taken["read_descriptions"] = _read_descriptions(recorded)
    if isinstance(align := recorded.get("align"), str) and align not in ("auto", "none") and options.align == "auto":
        notes.append(f"{data.folder} was aligned by {align}, which is not read again; name a file with --align.")
    return replace(options, **taken)


def _read_descriptions(recorded: Mapping[str, Any]) -> bool:
    """Whether the dataset's descriptions were corpus too, as those of one that grows from it are then."""
    given = recorded.get("read_descriptions")
    return not recorded.get("corpus") if given is None else bool(given)
