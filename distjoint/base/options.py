"""Options of a public function, each declared once: a field of a frozen class, with its type, default and meaning.

From the class come the Python function's signature and list of parameters (`keywords`), the options of the command
(`distjoint.cli.options`), the checks, and what is recorded of the request (`record`). Fields are those of a dataclass
rather than of a pydantic model, so that type checkers see the keywords, and `import distjoint` and `distjoint --help`
need not wait for pydantic: it is imported when the first object is made, and checks the types.
"""

from __future__ import annotations

import inspect
import os
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields, replace
from difflib import get_close_matches
from functools import cache, wraps
from typing import Any, ParamSpec, TypeVar, dataclass_transform, get_type_hints

from distjoint.base.errors import UsageError
from distjoint.base.foreign import did_you_mean, meant_by

_P = ParamSpec("_P")
_O = TypeVar("_O")
_R = TypeVar("_R")
_C = TypeVar("_C", bound="CallOptions")
_WIDTH = 116
_SPEC = "option"


@dataclass(frozen=True)
class OptionSpec:
    """Description of an option, besides type and default.

    help      one sentence, as `--help` prints it
    doc       the same for the Python function, where the words of the command line do not fit
    metavar   what stands for the value in `--help`
    flag      how the command line spells it, where that is not `--` and the name
    argument  whether it is positional on the command line
    separator what parts several values in one word of the command line
    command   whether the command has it too
    checked   whether the type is checked when an object is made; not one that only type checkers can import
    recorded  whether `record` has it
    """

    help: str
    doc: str | None = None
    metavar: str | None = None
    flag: str | None = None
    argument: bool = False
    min: float | None = None
    max: float | None = None
    separator: str | None = None
    command: bool = True
    checked: bool = True
    recorded: bool = True


def option(help: str, *, default: Any = MISSING, kw_only: bool = True, **spec: Any) -> Any:
    """Declare an option; see `OptionSpec`.

    kw_only   False for one that the Python function takes by position too
    """
    return field(default=default, kw_only=kw_only, metadata={_SPEC: OptionSpec(help, **spec)})


def like(model: type[CallOptions], name: str, *, default: Any, **changes: Any) -> Any:
    """Declare an option that means what another class's does.

    default   of its own, as type checkers must see one
    changes   of what `OptionSpec` has
    """
    other = model.__dataclass_fields__[name]
    return field(default=default, kw_only=other.kw_only, metadata={_SPEC: replace(spec_of(other), **changes)})


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(option, like))
def options(model: type[_C]) -> type[_C]:
    """Make a class of options of a class with fields."""
    return dataclass(frozen=True, kw_only=True)(model)


@dataclass(frozen=True)
class CallOptions:
    """Base of the options of a function. Making one checks it. raises UsageError that names an option and its value"""

    def __post_init__(self) -> None:
        for each in fields(self):
            spec, value = spec_of(each), getattr(self, each.name)
            if spec.checked:
                given, value = value, _checked(type(self), each.name, value)
                if not (isinstance(given, str | tuple) and given == value):  # what is a kind of string stays one
                    object.__setattr__(self, each.name, value)
            _check_range(each, spec, value)
        self.check()

    def check(self) -> None:
        """Look at options together. raises UsageError for what cannot be meant"""

    def record(self) -> dict[str, Any]:
        """The options that say what was made, by name; none that may hold credentials."""
        return {each.name: getattr(self, each.name) for each in fields(self) if spec_of(each).recorded}

    def arguments(self) -> dict[str, Any]:
        """All options by name, as the function takes them."""
        return {each.name: getattr(self, each.name) for each in fields(self)}


def spec_of(each: Field[Any]) -> OptionSpec:
    """What a field says of its option."""
    spec: OptionSpec = each.metadata[_SPEC]
    return spec


def type_of(model: type[CallOptions], name: str) -> Any:
    """The type of an option, evaluated where its class is defined."""
    home = next(base for base in model.__mro__ if name in inspect.get_annotations(base))
    # A class with this annotation alone: the others may name what only type checkers import.
    alone = type(name, (), {"__annotations__": {name: inspect.get_annotations(home)[name]}})
    alone.__module__ = home.__module__
    return get_type_hints(alone, include_extras=True)[name]


def spelling(each: Field[Any]) -> str:
    """An option as the command line writes it: `--min-count`."""
    spec = spec_of(each)
    return (spec.flag or f"--{each.name.replace('_', '-')}").partition("/")[0]


def keywords(model: Callable[_P, _O]) -> Callable[[Callable[[_O], _R]], Callable[_P, _R]]:
    """Let a function of an options object be called with the options as its arguments.

    model   a class of options: gives the signature; its list of parameters stands for `{parameters}` in the docstring
    """

    def decorate(function: Callable[[_O], _R]) -> Callable[_P, _R]:
        signature = _signature(model, function)

        @wraps(function)
        def call(*args: _P.args, **given: _P.kwargs) -> _R:
            for name in given:
                if name not in signature.parameters:
                    raise UsageError(_unknown(function.__name__, name, signature.parameters))
            signature.bind(*args, **given)  # a TypeError that names the function's parameters
            return function(model(*args, **given))

        shown: Any = call
        shown.__signature__ = signature
        shown.__annotations__ = {name: each.annotation for name, each in signature.parameters.items()}
        shown.__annotations__["return"] = signature.return_annotation
        shown.__doc__ = _documented(function, model)
        del shown.__wrapped__  # has another signature
        return call

    return decorate


def _signature(model: Any, function: Callable[..., Any]) -> inspect.Signature:
    kinds = {True: inspect.Parameter.KEYWORD_ONLY, False: inspect.Parameter.POSITIONAL_OR_KEYWORD}
    return inspect.Signature(
        [
            inspect.Parameter(
                each.name,
                kinds[bool(each.kw_only)],
                default=inspect.Parameter.empty if each.default is MISSING else each.default,
                annotation=each.type,
            )
            for each in sorted(fields(model), key=lambda each: bool(each.kw_only))
        ],
        return_annotation=function.__annotations__.get("return", inspect.Signature.empty),
    )


def _documented(function: Callable[..., Any], model: Any) -> str | None:
    """The function's docstring with its parameters, one below the other."""
    if function.__doc__ is None:  # python -OO
        return None
    width = 2 + max(len(each.name) for each in fields(model))
    lines = [
        textwrap.fill(
            spec_of(each).doc or spec_of(each).help,
            _WIDTH,
            initial_indent=each.name.ljust(width),
            subsequent_indent=" " * width,
            break_long_words=False,
            break_on_hyphens=False,
        )
        for each in fields(model)
    ]
    return inspect.cleandoc(function.__doc__).replace("{parameters}", "\n".join(lines))


def _unknown(function: str, name: str, known: Mapping[str, Any]) -> str:
    near, settings = get_close_matches(name, known, n=1), [key for key in meant_by(name) if " " not in key]
    if settings and "config" in known:
        hint = f"it is a setting: config={{{settings[0]!r}: ...}}"
    elif options := [word for key in meant_by(name) if (word := _option_of(key, function)) in known]:
        hint = did_you_mean(tuple(options))
    else:
        hint = f"did you mean '{near[0]}'?" if near else f"it takes {', '.join(known)}"
    return f"{function}: no option '{name}'; {hint}"


def _option_of(key: str, function: str) -> str:
    """`prepare --min-count` as the option of `prepare` that it is; empty for what is none."""
    command, _, flag = key.partition(" --")
    return flag.replace("-", "_") if command == function else ""


@cache
def _adapter(model: Any, name: str) -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(type_of(model, name))


def _checked(model: type[CallOptions], name: str, value: Any) -> Any:
    """The value as its type has it. raises UsageError where it is not of the type"""
    from pydantic import ValidationError

    if isinstance(value, Iterable) and not isinstance(value, str | bytes | Sequence | Mapping):
        value = tuple(value)  # such as a set, or what globbing yields
    if isinstance(value, list | tuple):
        value = [os.fspath(each) if isinstance(each, os.PathLike) else each for each in value]
    elif isinstance(value, os.PathLike):
        value = os.fspath(value)
    if isinstance(value, str) and type_of(model, name) == Sequence[str]:
        value = (value,)  # one of them is no sequence of its letters
    try:
        found = _adapter(model, name).validate_python(value)  # type: ignore[arg-type]
        return tuple(found) if isinstance(found, list) else found
    except ValidationError as error:
        # Of a union, each member says what it takes.
        rules = dict.fromkeys(item["msg"].partition(",")[0].removeprefix("Input should be ") for item in error.errors())
        rule = " or ".join(rules).replace("an instance of Sequence", "a sequence")
        where = spelling(model.__dataclass_fields__[name])
        raise UsageError(f"{where} is {value!r}; it must be {rule}") from None


def _check_range(each: Field[Any], spec: OptionSpec, value: Any) -> None:
    if not isinstance(value, int | float):
        return
    if spec.min is not None and value < spec.min:
        raise UsageError(f"{spelling(each)} is {value}; it must be at least {spec.min:g}")
    if spec.max is not None and value > spec.max:
        raise UsageError(f"{spelling(each)} is {value}; it must be at most {spec.max:g}")
