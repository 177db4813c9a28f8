"""The architecture, read from the source: which room may import which, that nothing private is shared, that importing a
module does nothing but define, and that a name means one thing.

A failure shows the offending line as `file:line: statement`.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from source import (
    PACKAGE,
    PUBLIC,
    ROOT,
    Import,
    Module,
    assigned,
    circles,
    imports,
    is_private,
    modules,
    package,
    private_names,
    private_to_distjoint,
    top_level_names,
)

pytestmark = pytest.mark.unit

BASE = {"base", "names", "registry", "version"}
"""Modules that every room may import, and that import no room."""

ROOMS: dict[str, set[str]] = {
    "model": set(),
    "storage": set(),
    "optim": set(),
    "config": {"model"},
    "recipes": {"config", "storage"},
    "table": {"config", "model"},
    "backends": {"model", "optim", "table"},
    "couplings": {"config", "model", "optim", "table", "backends"},
    "runs": {"config", "storage", "table"},
    "data": {"config", "storage", "table", "backends", "runs"},
    "evaluate": {"config", "storage", "model", "table", "backends", "couplings", "runs", "data"},
    "results": {"config", "storage", "model", "table", "couplings", "runs", "data", "evaluate"},
    "train": {
        *("config", "storage", "recipes", "model", "optim", "table", "backends", "couplings", "runs", "data"),
        "evaluate",
    },
    "describe": {"config", "storage", "table", "couplings", "runs", "data", "evaluate", "train"},
    "plan": {"config", "storage", "recipes", "model", "backends", "couplings", "runs", "table", "data", "train"},
    "tune": {"config", "storage", "recipes", "data", "runs", "train"},
    "serve": {"storage", "evaluate", "results"},
    "doctor": {"storage"},
    "jobs": {"storage"},
    "api": {"config", "recipes", "data", "train", "plan", "tune", "evaluate", "results", "describe"},
    "demo": {"api", "storage", "data"},
    "cli": {
        *("api", "config", "storage", "recipes", "model", "optim", "table", "backends", "couplings", "runs", "data"),
        *("train", "plan", "tune", "evaluate", "results", "describe", "serve", "doctor", "jobs", "demo"),
    },
    "__main__": {"cli"},
}
"""What each room may import besides itself and the base modules. `api` is distjoint's own `__init__`."""

CALLS = re.compile(
    r"re\.compile|TypeVar|ParamSpec|Path|MappingProxyType|frozenset|dict\.fromkeys|logging\.getLogger|Registry"
    r"|np\.\w+|pa\.\w+|TRIPLES\.append|ir\.\w+|constant"  # types and constants of arrays, Arrow and LLVM
    r"|typer\.(Typer|Option|Argument)|option|like|BeforeValidator|NameOf|ConfigDict|Field|field"
    r"|(Model|Graph)\.model_construct|Loss|Text|Train"  # defaults of the configuration's sections
)
"""What a module may call while it is imported, to give a constant its value."""

ASSEMBLY = {"distjoint/__main__.py": r"main\(\)", "distjoint/cli/app.py": r"app\.(command|add_typer)\(.*\)"}
"""Files whose bodies call something for its effect, and what."""

DEFINES = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.AsyncFunctionDef, ast.Expr, ast.Delete)
"""Statements that change nothing but what names stand for; of expressions, those that are looked at before."""

SHARED_TYPES = {"Ints", "Floats", "Doubles", "Bools", "Offsets"}
ARRAY_TYPE = re.compile(r"NDArray\[np\.(int32|int64|float32|float64|bool_)\]")

SAME_NAME = {
    "Text": "a section of the configuration is named as its key",
    "Graph": "a section of the configuration is named as its key",
}
"""Names that classes of several modules share, and why."""


def check(found: Iterable[str]) -> None:
    """Fail by the places that violate a rule."""
    places = sorted(found)
    assert not places, "\n".join(["", *places])


# Which room may import which


def room(module: str) -> str:
    parts = module.split(".")
    if len(parts) == 1:
        return "api"
    return "base" if parts[1] in BASE else parts[1]


def is_allowed(importing: str, imported: str) -> bool:
    return imported in {importing, "base"} or imported in ROOMS.get(importing, set())


def test_every_room_is_in_the_table_and_every_entry_is_a_room() -> None:
    assert {room(module.name) for module in package()} - {"base"} == ROOMS.keys()
    assert set().union(*ROOMS.values()) <= ROOMS.keys()
    table = next(value for name, value in assigned(modules()[PACKAGE].tree.body) if name == "__all__")
    assert set(ast.literal_eval(table)) == PUBLIC


def test_every_folder_is_a_package() -> None:
    """setuptools leaves out of a wheel what is not."""
    folders = {Path(module.file).parent for module in package()}
    assert not [str(folder) for folder in folders if not (ROOT / folder / "__init__.py").is_file()]


def test_imports_between_rooms_point_one_way() -> None:
    check(found.place for module in package() for found in imports(module) if not allowed(module, found))


def allowed(module: Module, found: Import) -> bool:
    return is_allowed(room(module.name), room(found.target))


def test_the_table_of_rooms_has_no_circle() -> None:
    assert circles(ROOMS) == []


def test_modules_import_each_other_in_no_circle() -> None:
    graph = {module.name: {found.target for found in imports(module)} for module in package()}
    check(" <-> ".join(circle) for circle in circles(graph))


def test_what_is_imported_is_there() -> None:
    """mypy sees the names that distjoint imports; here are its modules, and what tests and scripts import."""

    def is_there(module: Module, found: Import) -> bool:
        if found.target not in modules():
            return False
        own = module.name.startswith(PACKAGE) or found.target == PACKAGE or found.name is None
        return own or found.name in top_level_names(modules()[found.target])

    everything = modules().values()
    check(found.place for module in everything for found in imports(module) if not is_there(module, found))


def test_an_import_is_found_wherever_it_stands() -> None:
    module = Module(
        "distjoint.model.mine",
        "distjoint/model/mine.py",
        "import torch, distjoint.storage as s\n"
        "from distjoint import registry, train\n"
        "if TYPE_CHECKING:\n"
        "    from distjoint.data import text\n"
        "def f():\n"
        "    from distjoint.config import Config as C\n",
    )
    found = [(each.target, each.name, each.alias) for each in imports(module)]
    assert sorted(found, key=str) == [
        ("distjoint", "train", "train"),
        ("distjoint.config", "Config", "C"),
        ("distjoint.data.text", None, "text"),
        ("distjoint.registry", None, "registry"),
        ("distjoint.storage", None, "s"),
    ]
    wrong = [each.place for each in imports(module) if not allowed(module, each)]
    assert sorted(wrong) == [
        "distjoint/model/mine.py:1: import torch, distjoint.storage as s",
        "distjoint/model/mine.py:2: from distjoint import registry, train",
        "distjoint/model/mine.py:4: from distjoint.data import text",
        "distjoint/model/mine.py:6: from distjoint.config import Config as C",
    ]


def test_a_circle_is_found_however_long() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": set()}) == []
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"d"}}) == [["b", "c"], ["d"]]


# What is private


def test_no_module_uses_what_is_private_to_another() -> None:
    check(place for module in modules().values() for place in foreign_privates(module))


def foreign_privates(module: Module) -> Iterator[str]:
    """Private names that are imported, read from an imported module, patched there, or attributes of its objects."""
    for found in imports(module):
        if any(map(is_private, [*found.target.split("."), found.name or ""])):
            yield found.place
    aliases = {found.alias for found in imports(module) if found.name is None}
    own = private_names()[module.name]
    for node in module.nodes:
        if isinstance(node, ast.Attribute) and is_private(node.attr):
            if (node.attr in private_to_distjoint() and node.attr not in own) or ast.unparse(node.value) in aliases:
                yield module.place(node)
        elif isinstance(node, ast.Call) and node.args:  # monkeypatch.setattr(module, "_name", ...)
            words = [arg.value for arg in node.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]
            of_module = ast.unparse(node.args[0]) in aliases and any(map(is_private, words))
            if of_module or any(re.fullmatch(rf"{PACKAGE}(\.\w+)*\._[a-z]\w*", word) for word in words):
                yield module.place(node)


def test_a_private_name_is_found_however_it_is_used() -> None:
    module = Module(
        "tests.mine",
        "tests/mine.py",
        "from distjoint.base import errors\n"
        "from distjoint.config import _Section\n"
        "errors._x\n"
        "patch.setattr(errors, '_y', 1)\n"
        "patch.setattr('distjoint.base.machine._limit', 1)\n"
        "something._fits_the_scorer\n"
        "errors.fine, something._of_numpy, self._mine\n"
        "self._mine = 1\n",
    )
    assert [int(place.split(":")[1]) for place in foreign_privates(module)] == [2, 3, 4, 5, 6]


# What a module does when it is imported


def test_importing_a_module_only_defines() -> None:
    check(place for module in package() for place in acts(module, module.tree.body))


def acts(module: Module, body: Iterable[ast.stmt]) -> Iterator[str]:
    """Statements of a module's or a class's body that do more than bind a name to a constant, function or class."""
    for node in body:
        if isinstance(node, ast.ClassDef):
            yield from acts(module, node.body)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            of_names = all(isinstance(target, ast.Name | ast.Tuple) for target in targets)
            if not of_names or (node.value is not None and not is_constant(node.value)):
                yield module.place(node)
        elif isinstance(node, ast.If):
            if ast.unparse(node.test) != "TYPE_CHECKING":
                yield module.place(node)
            yield from acts(module, [*node.body, *node.orelse])
        elif isinstance(node, ast.Expr) and not isinstance(node.value, ast.Constant):
            if not re.fullmatch(ASSEMBLY.get(module.file, r"(?!)"), ast.unparse(node)):
                yield module.place(node)
        elif not isinstance(node, DEFINES):
            yield module.place(node)


def is_constant(value: ast.expr) -> bool:
    """Whether an expression makes a value and changes nothing."""
    calls = [ast.unparse(node.func) for node in ast.walk(value) if isinstance(node, ast.Call)]
    return all(map(CALLS.fullmatch, calls)) and "sys.modules" not in ast.unparse(value)


def test_a_body_that_acts_is_found() -> None:
    defines = (
        "'''Words.'''\nimport sys\nX, Y = 1, re.compile('x')\nZ: int\nif TYPE_CHECKING:\n    import json\n"
        "class A:\n    a: int = field(default=1)\n    def f(self):\n        sys.exit()\ndef g():\n    g()\n"
    )
    does = ["print(1)", "sys.modules[__name__].__class__ = A", "os.environ['X'] = '1'", "A.x = 1", "B = make()"]
    does += ["B = sys.modules[__name__]", "for x in y: z = x", "if sys.platform: X = 1", "class A:\n    print(1)"]
    assert not list(acts(Module("m", "m.py", defines), ast.parse(defines).body))
    for text in does:
        assert list(acts(Module("m", "m.py", text), ast.parse(text).body)), text


# Names that mean one thing


def test_types_of_arrays_are_defined_once() -> None:
    arrays = modules()[f"{PACKAGE}.base.arrays"]
    assert top_level_names(arrays) >= SHARED_TYPES
    check(
        (
            f"{module.file}:{value.lineno}: {name} = {ast.unparse(value)}"
            for module in package()
            for name, value in assigned(module.tree.body)
            if module is not arrays and (name in SHARED_TYPES or ARRAY_TYPE.fullmatch(ast.unparse(value)))
        ),
    )


def test_a_class_has_a_name_of_its_own() -> None:
    files = defaultdict(list)
    for module in package():
        for node in module.nodes:
            if isinstance(node, ast.ClassDef) and not is_private(node.name):
                files[node.name].append(module.file)
    shared = {name for name in files if len(files[name]) > 1}
    assert SAME_NAME.keys() <= shared
    check(f"{name}: {', '.join(files[name])}" for name in shared - SAME_NAME.keys())
