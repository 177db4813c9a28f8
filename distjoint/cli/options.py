"""Options of a command from those of the function it calls: names, metavars, defaults, limits and help."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import MISSING, Field, fields
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

import typer

from distjoint.base.options import CallOptions, OptionSpec, spec_of, spelling, type_of


def options_of(model: type[CallOptions]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the options of a function.

    A parameter of the command that bears the name of an option, and says nothing of its own about it, is that option.
    Parameter `options` stands for all others: as keywords of the function, in the order of the class.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        hints = get_type_hints(command, include_extras=True)
        hints.pop("return")
        own = {name for name, hint in hints.items() if get_origin(hint) is Annotated}
        known = {each.name: each for each in fields(model) if spec_of(each).command and each.name not in own}
        rest = [name for name in known if name not in hints]
        parameters: list[inspect.Parameter] = []
        for each in inspect.signature(command).parameters.values():
            if each.name == "options":
                parameters += [_parameter(model, known[name]) for name in rest]
            elif each.name in known:
                parameters.append(_parameter(model, known[each.name]))
            else:
                parameters.append(each.replace(annotation=hints[each.name], kind=inspect.Parameter.KEYWORD_ONLY))

        def call(**words: Any) -> None:
            values = {name: _value(known[name], word) if name in known else word for name, word in words.items()}
            command(options={name: values.pop(name) for name in rest}, **values)

        shown: Any = call
        shown.__name__, shown.__doc__ = command.__name__, command.__doc__
        shown.__signature__ = inspect.Signature(parameters)
        shown.__annotations__ = {each.name: each.annotation for each in parameters}
        return call

    return decorate


def _parameter(model: type[CallOptions], each: Field[Any]) -> inspect.Parameter:
    """An option as typer reads it from a function's signature."""
    spec = spec_of(each)
    kind = _kind(type_of(model, each.name), spec)
    details: dict[str, Any] = {"metavar": spec.metavar, "help": spec.help}
    default = None if each.default == () else each.default
    if each.default is MISSING:
        default, details["show_default"] = inspect.Parameter.empty, False
    if spec.argument:
        info: Any = typer.Argument(**details)
    else:
        # Without a spelling of its own, typer gives a flag a negation too.
        flags = [spec.flag or spelling(each)] if spec.flag or kind is bool else []
        info = typer.Option(*flags, min=spec.min, max=spec.max, **details)
    return inspect.Parameter(
        each.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, info]
    )


def _kind(annotation: Any, spec: OptionSpec) -> Any:
    """The type that typer reads: `str | int` is one word, a sequence an option that may be repeated."""
    members = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)
    kinds = [member for member in members if member is not NoneType]
    if any(get_origin(kind) is Sequence for kind in kinds):
        return str | None if spec.separator else list[str] | None
    kind = str if len(kinds) > 1 else kinds[0]
    return kind | None if NoneType in members else kind


def _value(each: Field[Any], word: Any) -> Any:
    """The value of an option, from the word or words of the command line."""
    if word is None:
        return each.default
    separator = spec_of(each).separator
    return word.split(separator) if separator else word
