"""Every error that audiocls raises deliberately.

    AudioclsError
    ├── UserMistake              the input is wrong; the command line exits with status 2
    │   ├── ParamsError          the params file or an override
    │   ├── DataError            the recordings, the labels, the groups or the given split
    │   │   ├── LeakageError     a group is in more than one split
    │   │   └── BalanceError     the class counts do not allow the method
    │   └── MissingExtraError    an optional package is needed but not installed
    ├── StoreError               a store on disk is damaged or cannot be written
    │   └── FullDiskError        there is no space left
    ├── TrainingError            the weights cannot be trained as requested
    ├── TrackingError            the MLflow store or server cannot be used
    │   └── UnreachableError     the MLflow server does not answer; it may be back later
    └── RegistryError            a registered model cannot be put into use

A message names the object, its value, what is needed and what to do, and counts further mistakes.
"""

from __future__ import annotations

from collections.abc import Iterable


class AudioclsError(Exception):
    """Base class of all errors of this library."""


class UserMistake(AudioclsError):
    """The input is wrong, and retrying will not help."""


class ParamsError(UserMistake):
    """One or more mistakes in the params; the message lists all of them."""


class DataError(UserMistake):
    """The recordings, labels, groups or given splits do not allow what was requested."""


class LeakageError(DataError):
    """A group that must stay in one split is in several."""


class BalanceError(DataError):
    """The class counts do not allow the balance method."""


class MissingExtraError(UserMistake):
    """An optional package is needed but not installed."""


class StoreError(AudioclsError):
    """A store on disk is damaged, or cannot be written."""


class FullDiskError(StoreError):
    """The disk that is written to is full."""


class TrainingError(AudioclsError):
    """Training cannot continue."""


class TrackingError(AudioclsError):
    """The MLflow store or server cannot be used."""


class UnreachableError(TrackingError):
    """The MLflow server does not answer, or not with more than an error of its own."""


class RegistryError(AudioclsError):
    """A registered model cannot be put into use: it fails its check, or another process changes the registry."""


def name_some(names: Iterable[object], most: int = 10) -> str:
    """Join the first `most` names with commas and count the rest: "a, b, c and 4 more".

    Invisible characters in a name are escaped.
    """
    listed = [visible(str(name)) for name in names]
    shown = ", ".join(listed[:most])
    return f"{shown} and {len(listed) - most} more" if len(listed) > most else shown


def counted(number: int, one: str, many: str | None = None) -> str:
    """Write a number with its noun, and optionally a verb: "1 clip", "2,000 clips", "3 classes", "2 clips are".

    Args:
        number: At least 0.
        one: The words after 1.
        many: The words after other numbers; None adds the plural's ending to `one`.
    """
    several = many or f"{one}{'es' if one.endswith('s') else 's'}"
    return f"{number:,} {one if number == 1 else several}"


def visible(text: str) -> str:
    r"""Escape invisible characters: a zero-width space becomes \u200b, a line feed \n."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
