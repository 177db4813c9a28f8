"""A configuration from what people write: a YAML file or a recipe, and settings `section.key=value` on top of it.

Apart from `config.py`, which is the tree itself and reads no files.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import yaml

from distjoint.base.errors import UsageError
from distjoint.config import Config, validate
from distjoint.recipes import find
from distjoint.storage import Options, locate


class _OnceLoader(yaml.SafeLoader):
    """YAML, in which a mapping may name a key once only: of two values one would be lost without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """A mapping. raises YAMLError for a key that it has already"""
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value != "<<":
                if key.value in seen:
                    line = key.start_mark.line + 1
                    raise yaml.YAMLError(f"line {line}: the key {key.value!r} is there already; put both together")
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def load_config(
    url: str | None = None,
    overrides: Iterable[str] | Mapping[str, Any] = (),
    options: Options | None = None,
    *,
    recipe: str | None = None,
) -> Config:
    """A configuration from a YAML file or a recipe, and overrides, on top of the defaults.

    url         a YAML file, or None
    recipe      name of one of `distjoint recipes`, or a recipe's file, as `tune` writes one
    overrides   `section.key=value` strings, or a mapping of `section.key` to value
    raises      UsageError that names the key, the value and what would be right
    """
    tree: dict[str, Any] = {}
    if recipe is not None:
        if url is not None:
            raise UsageError(f"--config {url} and --recipe {recipe}: give one of the two, and --set on top of it")
        tree = find(recipe).settings()
    elif url is not None:
        tree = read_tree(url, options)
    for key, value in parse_settings(overrides).items():
        set_key(tree, key, value)
    return validate(tree, url or recipe or "config")


def parse_settings(settings: Iterable[str] | Mapping[str, Any]) -> dict[str, Any]:
    """`section.key=value` strings as `section.key` to value; of a key that is there twice, the last counts.

    raises   UsageError for a string that is not of this form
    """
    return dict(settings) if isinstance(settings, Mapping) else dict(_parse(text) for text in settings)


def read_tree(url: str, options: Options | None) -> dict[str, Any]:
    """The tree of a YAML file; an empty file is an empty tree. raises UsageError for what is no such file"""
    try:
        tree = _OnceLoader(locate(url, options).read_bytes()).get_single_data() or {}
    except yaml.MarkedYAMLError as error:
        where = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise UsageError(f"{url}: not YAML: {where}{error.problem or error.context}") from error
    except yaml.YAMLError as error:
        raise UsageError(f"{url}: not YAML: {str(error).splitlines()[0]}") from error
    if not isinstance(tree, dict):
        raise UsageError(f"{url}: holds {type(tree).__name__}, not a mapping of sections")
    return tree


def _parse(text: str) -> tuple[str, Any]:
    """`section.key=value` as key and value."""
    key, equals, value = text.partition("=")
    if not equals:
        raise UsageError(f"--set {text}: write it as section.key=value, like model.dim=100")
    try:
        return key.strip(), yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise UsageError(f"--set {text}: the value is not YAML: {str(error).splitlines()[0]}") from error


def set_key(tree: dict[str, Any], key: str, value: Any) -> None:
    """Set a key of the tree, in place; sections that are not there are made."""
    *sections, last = key.split(".")
    for section in sections:
        inner = tree.setdefault(section, {})
        if not isinstance(inner, dict):
            raise UsageError(f"{key}: {section} is not a section")
        tree = inner
    if isinstance(value, Mapping) and not sections:
        raise UsageError(f"{key}={value}: give one key at a time, like {key}.{next(iter(value), 'key')}=...")
    tree[last] = value
