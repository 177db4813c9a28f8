"""The source of distjoint, its tests and its scripts: their syntax trees, and the imports in them.

Imports nothing of it. A file is parsed when its tree is asked for.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = "distjoint"

PUBLIC = {
    *("Callback", "Config", "DistjointError", "Stop", "UsageError"),
    *("compare", "describe", "evaluate", "load", "load_config", "plan", "prepare", "train", "tune"),
}
"""Names of `distjoint` itself; some are rooms' names too."""


@dataclass(frozen=True, eq=False)
class Module:
    """A file, parsed.

    name   `distjoint.data.text`, `tests.test_text`; a package's own is that of its `__init__`
    text   what is parsed
    """

    name: str
    file: str
    text: str

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text)

    @cached_property
    def nodes(self) -> tuple[ast.AST, ...]:
        """All of the tree that is a statement or an expression, or a part of one, as `ast.walk` finds it: its rest,
        such as whether a name is read or set, is half of it.
        """
        found: list[ast.AST] = [self.tree]
        for node in found:
            for value in vars(node).values():
                if value.__class__ is list:
                    found += [each for each in value if isinstance(each, ast.AST)]
                elif isinstance(value, ast.AST) and not isinstance(value, ast.expr_context):
                    found.append(value)
        return tuple(found)

    def place(self, node: ast.stmt | ast.expr) -> str:
        """`file:line: statement`"""
        return f"{self.file}:{node.lineno}: {ast.unparse(node).splitlines()[0]}"


@dataclass(frozen=True)
class Import:
    """An import of something of distjoint.

    target   the module that is imported, or that a name is imported from
    name     the name, None for the module itself
    alias    what it is called in the module that imports it
    """

    target: str
    name: str | None
    alias: str
    module: Module
    node: ast.stmt

    @property
    def place(self) -> str:
        """`file:line: statement`"""
        return self.module.place(self.node)


@cache
def modules() -> dict[str, Module]:
    """All modules of distjoint, tests and scripts, by name."""
    found = {}
    for folder in (PACKAGE, "tests", "scripts"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            file = path.relative_to(ROOT)
            name = ".".join(file.with_suffix("").parts).removesuffix(".__init__")
            found[name] = Module(name, str(file), path.read_text("utf-8"))
    return found


def package() -> list[Module]:
    """All modules of distjoint."""
    return [module for module in modules().values() if module.name.partition(".")[0] == PACKAGE]


@cache
def imports(module: Module) -> tuple[Import, ...]:
    """All imports of distjoint in a module, those in functions and under TYPE_CHECKING too."""
    return tuple(
        found
        for node in module.nodes
        if isinstance(node, ast.Import | ast.ImportFrom)
        for found in imported(module, node)
    )


def imported(module: Module, node: ast.Import | ast.ImportFrom) -> Iterator[Import]:
    """What one statement imports of distjoint."""
    if isinstance(node, ast.Import):
        names = (alias for alias in node.names if alias.name.partition(".")[0] == PACKAGE)
        yield from (Import(alias.name, None, alias.asname or alias.name, module, node) for alias in names)
        return
    assert not node.level, f"{module.place(node)}: imports are absolute"
    package = str(node.module)
    if package.partition(".")[0] != PACKAGE:
        return
    for alias in node.names:
        name, inner = alias.asname or alias.name, f"{package}.{alias.name}"
        # distjoint.train is a function for all but distjoint's own __init__, where it is the room.
        if inner in modules() and (alias.name not in PUBLIC or module.name == PACKAGE or package != PACKAGE):
            yield Import(inner, None, name, module, node)
        else:
            yield Import(package, alias.name, name, module, node)


def assigned(body: Iterable[ast.stmt]) -> Iterator[tuple[str, ast.expr]]:
    """Names that statements give a value, each with the value."""
    for node in body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                yield from ((name.id, node.value) for name in ast.walk(target) if isinstance(name, ast.Name))


def top_level_names(module: Module) -> set[str]:
    """What can be imported from a module."""
    names = {name for name, _ in assigned(module.tree.body)}
    for node in module.tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names |= {alias.asname or alias.name for alias in node.names}
    return names


def is_private(name: str | None) -> bool:
    return bool(name) and name.startswith("_") and not name.startswith("__")


@cache
def private_names() -> Mapping[str, set[str]]:
    """Private names that a module defines: functions, classes, variables, attributes; by module."""
    found: dict[str, set[str]] = defaultdict(set)
    for module in modules().values():
        for node in module.nodes:
            name = None
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                name = node.name
            elif isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Store):
                name = node.id if isinstance(node, ast.Name) else node.attr
            if is_private(name):
                found[module.name].add(str(name))
    return found


@cache
def private_to_distjoint() -> frozenset[str]:
    """All private names that modules of distjoint define."""
    return frozenset().union(*(names for name, names in private_names().items() if name.startswith(PACKAGE)))


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Sets of nodes that all reach each other: of two or more, or of one that reaches itself."""

    @cache
    def reached(start: str) -> frozenset[str]:
        found: set[str] = set()
        waiting = list(graph.get(start, ()))
        while waiting:
            if (node := waiting.pop()) not in found:
                found.add(node)
                waiting += graph.get(node, ())
        return frozenset(found)

    together = {
        tuple(sorted(other for other in reached(node) if node in reached(other)))
        for node in graph
        if node in reached(node)
    }
    return [list(circle) for circle in sorted(together)]
