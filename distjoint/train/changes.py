"""What may change in a run that goes on: `train --resume RUN --set KEY=VALUE`.

A change is noted in the run, with the epoch after which it took effect. What decides the shape of the table, the order
of samples or what a number in a checkpoint means must stay.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import yaml

from distjoint.base.errors import DistjointError, UsageError
from distjoint.config import Config, validate
from distjoint.couplings.scheme import Scheme
from distjoint.data.dataset import Dataset
from distjoint.recipes.load import set_key
from distjoint.runs.checkpoint import Position, newest_position
from distjoint.runs.folder import Change, RunInfo
from distjoint.storage import Location
from distjoint.train.plan import check_begun, check_data

CONFIG = "config.yaml"
"""The run's copy of its configuration, for people; `run.json` has the one that counts."""
_STAYS = {
    "train": {"seed", "lanes", "groups", "init"},
    "loss": {"x_max", "power"},
    "graph": {"optimizer", "optimizer_options"},
}
"""Keys that must stay, besides all of section `model`."""


def wanted_of(run: Location, info: RunInfo, config: Config) -> dict[str, Any]:
    """What is to change in a run so that it has a configuration: `train --continue` with another one.

    raises   UsageError where a key differs that must stay; both values are named
    """
    changed = differences(info.config, config)
    for key, (old, new) in changed.items():
        if _stays(key):
            raise UsageError(f"{run}: is a run with {key}={old}, not {new}; that must stay, so start a new run for it")
    return {key: new for key, (_, new) in changed.items()}


def told_changes(before: RunInfo, after: RunInfo) -> list[str]:
    """A sentence for each setting that was changed just now."""
    new = after.changes[len(before.changes) :]
    return [f"{key}: {old} before, {value} from here on" for note in new for key, (old, value) in note.settings.items()]


def edited(run: Location, info: RunInfo, settings: Mapping[str, Any]) -> str | None:
    """A sentence where somebody has edited the run's copy of its configuration, which is not read; None otherwise.

    settings   what is to change anyway
    """
    with suppress(DistjointError, ValueError, yaml.YAMLError):
        copy = validate(yaml.safe_load((run / CONFIG).read_bytes()))
        for key, (value, typed) in differences(info.config, copy).items():
            if key not in settings:
                return (
                    f"{run / CONFIG}: was edited ({key}: {typed}), and is not read: the run has {value}. To change "
                    f"it: distjoint train --resume {shlex.quote(str(run))} --set {key}={typed}"
                )
    return None


def change(run: Location, info: RunInfo, data: Dataset, settings: Mapping[str, Any]) -> RunInfo:
    """The run with other settings from its newest checkpoint on.

    settings   `section.key` to value
    raises     UsageError that names each key that must stay, with both values, and what else does not fit
    """
    tree = info.config.model_dump(mode="json")
    for key, value in settings.items():
        set_key(tree, key, value)
    config, at = validate(tree, f"--resume {run}"), newest_position(run)
    changed = differences(info.config, config)
    if not changed:
        return info
    _refuse_what_stays(run, changed)
    _refuse_misfit(run, info, config, at, changed)
    check_data(Scheme.of(config, "text" in info.sources, "graph" in info.sources), data, info.dataset)
    note = Change(epoch=at.epoch, round=at.round, settings=changed)
    result = info.model_copy(update={"config": config, "changes": (*info.changes, note)})
    check_begun(result)
    return result


def nothing_left(run: Location, info: RunInfo, at: Position) -> str:
    """What to say of a run that went on and had nothing to do."""
    epochs = info.config.train.epochs
    if at.epoch < epochs:
        why = f"{at.epoch} of {epochs} epochs are done, and train.patience={info.config.train.patience} has run out"
        more = f"train.patience={2 * info.config.train.patience}"
    else:
        why, more = f"all {epochs} epochs are done", f"train.epochs={2 * epochs}"
    again = f"distjoint train --resume {shlex.quote(str(run))} --set {more}"
    return f"{run}: {why}; nothing was left to train. For more: {again}"


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
        if _stays(key):
            wrong.append(f"{key} is {old} and must stay, not {new}")
    if wrong:
        raise UsageError(f"{run}: {'; '.join(wrong)}; start a new run for that")


def _stays(key: str) -> bool:
    section, _, name = key.partition(".")
    return section == "model" or name in _STAYS.get(section, ())


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
