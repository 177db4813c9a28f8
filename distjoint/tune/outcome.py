"""What a search has found: the best settings as a recipe, what mattered, a table; of two metrics the Pareto front."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from distjoint.config import Config
from distjoint.storage import Location
from distjoint.tune.search import distribution
from distjoint.tune.space import SearchSpace
from distjoint.tune.trials import Trial

BEST, JSON, PLOT = "best.yaml", "tune.json", "pareto.png"
_FEWEST = 4
"""Trials without which nothing can be said of what mattered."""


@dataclass(frozen=True)
class Outcome:
    """A search that is done.

    out         URL of its folder
    metrics     what it maximised; none for the weighted mean
    trials      the best first
    best        name of the best one, by the mean over seeds
    recipe      URL of its configuration, as `train --recipe` takes it
    importance  share of each varied key in how trials differ, most first; by metric
    front       names of the trials that no other beats in both of two metrics
    """

    out: str
    metrics: tuple[str, ...]
    trials: tuple[Trial, ...]
    best: str
    recipe: str
    importance: Mapping[str, Mapping[str, float]]
    front: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """All of it as JSON."""
        return {
            "out": self.out,
            "metrics": list(self.metrics),
            "best": self.best,
            "recipe": self.recipe,
            "importance": {name: dict(shares) for name, shares in self.importance.items()},
            "pareto_front": list(self.front),
            "trials": [trial.to_dict() for trial in self.trials],
        }

    def __rich__(self) -> RenderableType:
        """Trials as a table, what mattered below it."""
        table = Table(box=None, pad_edge=False, title=f"Trials of {self.out}", title_justify="left")
        parts = list(self.trials[0].parts)
        for column in ("trial", "state", "epochs", "seconds", *parts, "score", "mean over seeds", "settings"):
            table.add_column(column)
        for trial in self.trials:
            numbers = [*(trial.parts.get(name) for name in parts), trial.score]
            mean = f"{trial.worth:.4f} of {1 + len(trial.repeats)}" if trial.repeats else ""
            name = f"{trial.name} *" if trial.name in self.front else trial.name
            row = [name, trial.state, str(trial.epochs), f"{trial.seconds:.0f}", *map(_number, numbers), mean]
            table.add_row(*row, trial.error or trial.values)
        lines: list[RenderableType] = [table]
        if self.front:
            lines.append(Text(f"* on the Pareto front of {' and '.join(self.metrics)}; {self.out}/{PLOT} shows it."))
        for metric, shares in self.importance.items():
            told = ", ".join(f"{key} {share:.2f}" for key, share in shares.items())
            lines.append(Text(f"What decided {metric} (PED-ANOVA): {told}."))
        lines.append(Text(f"Best: {self.best}; its settings are the recipe {self.recipe}."))
        return Group(*lines)


def ranked(trials: Sequence[Trial]) -> list[Trial]:
    """The best first: those that were repeated with other seeds by their mean, then others; failed ones last."""
    return sorted(trials, key=lambda trial: (trial.score is None, not trial.repeats, -trial.worth, trial.name))


def pareto(trials: Sequence[Trial], metrics: Sequence[str]) -> list[str]:
    """Names of the trials that no other is at least as good as in both metrics, and better in one."""
    points = {trial.name: [trial.parts[name] for name in metrics] for trial in trials if trial.score is not None}

    def beaten(name: str) -> bool:
        mine = points[name]
        return any(other != mine and all(a >= b for a, b in zip(other, mine, strict=True)) for other in points.values())

    return [name for name in points if not beaten(name)]


def importance(trials: Sequence[Trial], space: SearchSpace, metrics: Sequence[str]) -> dict[str, dict[str, float]]:
    """Share of each varied key in how trials differ, by Optuna; empty where there are too few trials to tell."""
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

    scored = [trial for trial in trials if trial.score is not None]
    found = {}
    for metric in metrics or ("score",):
        values = [_value(trial, metric) for trial in scored]
        if len(scored) >= _FEWEST and len(set(values)) > 1:
            study = _study(scored, space, [metric])
            shares = get_param_importances(study, evaluator=PedAnovaImportanceEvaluator())
            found[metric] = {key: float(share) for key, share in shares.items()}
    return found


def plot_front(trials: Sequence[Trial], space: SearchSpace, metrics: Sequence[str], place: Location) -> None:
    """Draw the trials and their Pareto front, by Optuna and matplotlib, as a PNG file."""
    import io
    import warnings

    import matplotlib
    from optuna.visualization.matplotlib import plot_pareto_front

    matplotlib.use("Agg")
    scored = [trial for trial in trials if trial.score is not None]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Optuna calls its matplotlib plots experimental
        axes = plot_pareto_front(_study(scored, space, list(metrics)), target_names=list(metrics))
    content = io.BytesIO()
    axes.figure.savefig(content, dpi=120, bbox_inches="tight", format="png")
    place.write_bytes(content.getvalue())


def recipe_text(config: Config, trial: Trial, title: str, graph: str) -> str:
    """A configuration as the file of a recipe: what it is, then the keys that do not keep their defaults."""
    default = Config().model_dump(mode="json")
    tree = {
        section: {key: value for key, value in keys.items() if value != default[section][key] and key != "threads"}
        for section, keys in config.model_dump(mode="json").items()
    }
    parts = ", ".join(f"{name} {value:.4f}" for name, value in trial.parts.items())
    over = f", {trial.worth:.4f} on average over {1 + len(trial.repeats)} seeds" if trial.repeats else ""
    header = [
        f"# {title}",
        "#",
        f"# Graph:   {graph}",
        "# Paper:   none; found by distjoint tune",
        f"# Reaches: on valid, {parts}, metric {trial.score:.4f}{over}; {trial.epochs} epochs",
    ]
    return "\n".join([*header, "", yaml.safe_dump({k: v for k, v in tree.items() if v}, sort_keys=False)])


def _study(trials: Sequence[Trial], space: SearchSpace, metrics: Sequence[str]) -> Any:
    """The trials as a study of Optuna's."""
    import optuna

    distributions = {key: distribution(each) for key, each in space.varied.items()}
    study = optuna.create_study(directions=["maximize"] * len(metrics))
    for trial in trials:
        values = [_value(trial, metric) for metric in metrics]
        inside = {key: value for key, value in trial.settings.items() if key in distributions}
        study.add_trial(optuna.trial.create_trial(params=inside, distributions=distributions, values=values))
    return study


def _value(trial: Trial, metric: str) -> float:
    return float(trial.parts.get(metric, trial.score or 0.0))


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"
