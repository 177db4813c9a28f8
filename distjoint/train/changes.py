"""What may change in a run that goes on: `train --resume RUN --set KEY=VALUE`.

A change is noted in the run, with the epoch after which it took effect. What decides the shape of the table, the order
of samples or what a number in a checkpoint means must stay.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from distjoint.base.errors import UsageError
from distjoint.config import Config, validate
from distjoint.couplings.scheme import Scheme
from distjoint.data.dataset import Dataset
from distjoint.runs.checkpoint import Position, newest_position
from distjoint.runs.folder import Change, RunInfo
from distjoint.storage import Location
from distjoint.train.plan import check_data

_STAYS = {
    "train": {"seed", "lanes", "groups", "init"},
    "loss": {"x_max", "power"},
    "graph": {"optimizer", "optimizer_options"},
}
"""Keys that must stay, besides all of section `model`."""


def change(run: Location, info: RunInfo, data: Dataset, settings: Mapping[str, Any]) -> RunInfo:
    """The run with other settings from its newest checkpoint on.

    settings   `section.key` to value
    raises     UsageError that names each key that must stay, with both values, and what else does not fit
    """
    tree = info.config.model_dump(mode="json")
    for key, value in settings.items():
        section, _, name = key.partition(".")
        tree.setdefault(section, {})[name] = value
    config, at = validate(tree, f"--resume {run}"), newest_position(run)
    changed = differences(info.config, config)
    if not changed:
        return info
    _refuse_what_stays(run, changed)
    _refuse_misfit(run, info, config, at, changed)
    check_data(Scheme.of(config, "text" in info.sources, "graph" in info.sources), data, info.dataset)
    note = Change(epoch=at.epoch, round=at.round, settings=changed)
    return info.model_copy(update={"config": config, "changes": (*info.changes, note)})


def differences(before: Config, after: Config) -> dict[str, tuple[Any, Any]]:
    """Both values of each key that differs."""
    old, new = before.model_dump(mode="json"), after.model_dump(mode="json")
    return {
        f"{section}.{key}": (old[section][key], value)
        for section, keys in new.items()
        for key, value in keys.items()
        if old[section].get(key) != value
    }


def first_value(info: RunInfo, key: str) -> Any:
    """What a key was when the run began."""
    values = [change.settings[key][0] for change in info.changes if key in change.settings]
    section, _, name = key.partition(".")
    return values[0] if values else getattr(getattr(info.config, section), name)


def _refuse_what_stays(run: Location, changed: Mapping[str, tuple[Any, Any]]) -> None:
    wrong = []
    for key, (old, new) in changed.items():
        section, _, name = key.partition(".")
        if section == "model" or name in _STAYS.get(section, ()):
            wrong.append(f"{key} is {old} and must stay, not {new}")
    if wrong:
        raise UsageError(f"{run}: {'; '.join(wrong)}; start a new run for that")


def _refuse_misfit(
    run: Location, info: RunInfo, config: Config, at: Position, changed: Mapping[str, tuple[Any, Any]]
) -> None:
    """What could change, but not to this value, or not from this checkpoint."""
    scheme = Scheme.of(config, "text" in info.sources, "graph" in info.sources)
    trains = tuple(name for name, on in (("text", scheme.text), ("graph", scheme.graph)) if on)
    if trains != info.sources:
        raise UsageError(
            f"{run}: loss.alpha={config.loss.alpha:g} would train {' and '.join(trains)} only, and this run trains "
            f"{' and '.join(info.sources)}; give a value between 0 and 1"
        )
    if config.train.epochs < at.epoch + (at.round > 0):
        raise UsageError(f"{run}: train.epochs={config.train.epochs}, and {at.epoch} are done; give more")
    if at.round and "train.triple_passes" in changed:
        raise UsageError(
            f"{run}: train.triple_passes can change between epochs only, and the newest checkpoint lies within epoch "
            f"{at.epoch + 1}; resume without it first"
        )
