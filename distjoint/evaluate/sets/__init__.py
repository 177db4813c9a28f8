"""Evaluation sets of words and entities as files, in the forms in which they are published.

A file's form is told by its lines, never by its name: most of the first ones must be like it. Then every line must be,
so a damaged line is refused by its number, and no pair is dropped.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from distjoint.base.errors import UsageError
from distjoint.evaluate.options import SetForm
from distjoint.evaluate.sets.base import (
    LEAST,
    EvaluationSets,
    Form,
    GroupedPairs,
    Option,
    PairGroup,
    Question,
    Questions,
    SetFile,
    WordPairs,
)
from distjoint.evaluate.sets.files import named_apart, read_set, set_files
from distjoint.evaluate.sets.grouped import Ranked, Rated
from distjoint.evaluate.sets.pairs import Contexts, Lemmas, Pairs
from distjoint.evaluate.sets.questions import Bats, Google, Microsoft
from distjoint.storage import Options

__all__ = [
    "FORMS",
    "LEAST",
    "EvaluationSets",
    "GroupedPairs",
    "PairGroup",
    "Question",
    "Questions",
    "WordPairs",
    "option_of",
    "read_analogies",
    "read_similarity",
]

FORMS: tuple[type[Form], ...] = (Ranked, Contexts, Lemmas, Pairs, Rated, Google, Microsoft, Bats)
"""Asked in this order whether they know a file's first lines."""
_LOOKED_AT = 50
"""Lines that tell a file's form."""


def read_similarity(
    urls: Iterable[str],
    options: Options | None = None,
    form: SetForm | None = None,
    columns: Sequence[str] | None = None,
) -> tuple[EvaluationSets, list[str]]:
    """Sets whose measure is a rank correlation of cosines: pairs with scores, entities ranked for seeds.

    urls      files, globs, folders, zip archives
    form      of all of them; None to look
    columns   of the two words and the score, see `Pairs`
    returns   the sets, named after their files, and a sentence on each way in which files were read
    raises    DistjointError naming a file, and line, that is missing, empty or of no form
    """
    return _read("similarity", urls, options, form, columns)


def read_analogies(
    urls: Iterable[str], options: Options | None = None, form: SetForm | None = None
) -> tuple[EvaluationSets, list[str]]:
    """Sets on relations between words: questions of four words, pairs that make questions, rated pairs.

    See `read_similarity`.
    """
    return _read("analogies", urls, options, form, None)


def _read(
    option: Option,
    urls: Iterable[str],
    storage: Options | None,
    wanted: SetForm | None,
    columns: Sequence[str] | None,
) -> tuple[EvaluationSets, list[str]]:
    found = EvaluationSets()
    forms = [Pairs(columns) if form is Pairs else form() for form in FORMS]
    chosen = [form for form in forms if wanted == form.name and form.option == option]
    files = [read_set(file) for file in set_files(urls, storage, found.notices)]
    by_form: dict[Form, list[SetFile]] = {}
    for file in files:
        by_form.setdefault(chosen[0] if chosen else _form_of(file, forms, option, columns), []).append(file)
    named = iter(named_apart([(file.name, file.folder, file.place) for some in by_form.values() for file in some]))
    notes: dict[str, tuple[str, list[str]]] = {}
    for form, some in by_form.items():
        apart = [replace(file, name=name) for file, name in zip(some, named, strict=False)]
        for several in [apart] if form.together else [[file] for file in apart]:
            how, first = form.read(several, found)
            said = f"read as {form.name}: {form.title}{f', {how}' if how else ''}"
            notes.setdefault(said, (first, []))[1].extend(file.place for file in several)
    read_as = [f"{_places(places)} {said} (first: {first})." for said, (first, places) in notes.items()]
    return found, read_as + found.notices.notes()


def _form_of(file: SetFile, forms: Sequence[Form], option: Option, columns: Sequence[str] | None) -> Form:
    """The form that knows a file's first lines. raises DistjointError where none of the option's does"""
    lines = file.lines[:_LOOKED_AT]
    here = [form for form in forms if form.option == option]
    if columns is not None and option == "similarity":
        return next(form for form in here if isinstance(form, Pairs) and form.name == Pairs.name)
    for form in here:
        if form.knows(lines):
            return form
    other = next((form for form in forms if form.option != option and form.knows(lines)), None)
    if other is not None:
        raise UsageError(f"{file.place}: holds {other.title} ({other.name}); give it with --{other.option}")
    names = "--form or --pair-columns names it" if option == "similarity" else "--form names it"
    known = "; ".join(f"{form.name}: {form.line}" for form in here)
    raise file.error(lines[0], f"is the first line of a file of no known form ({known}); {names}")


def _places(places: Sequence[str]) -> str:
    return places[0] if len(places) == 1 else f"{places[0]} and {len(places) - 1:,} more"


def option_of(form: SetForm) -> Option:
    """The option that takes sets of a form."""
    return next(each.option for each in FORMS if each.name == form)
