"""Every error that audiocls raises on purpose.

    AudioclsError
    ├── UserMistake              what was given is wrong; the command line ends with status 2
    │   ├── ParamsError          the params file or an override
    │   ├── DataError            the recordings, the labels, the groups or the given split
    │   │   ├── LeakageError     a group stands in more than one split
    │   │   └── BalanceError     the class counts do not allow the method
    │   └── MissingExtraError    an optional package is needed and not installed
    ├── StoreError               a store on disk is damaged or cannot be written
    │   └── FullDiskError        there is no space left
    ├── TrainingError            the weights cannot be fitted as asked
    └── TrackingError            the MLflow store or server does not answer

A message names the thing, what it is, what is needed and what to do, and counts what else is wrong.
"""

from __future__ import annotations

from collections.abc import Iterable


class AudioclsError(Exception):
    """Root of all errors of this library."""


class UserMistake(AudioclsError):
    """What was given is wrong, and trying again will not help."""


class ParamsError(UserMistake):
    """One or more mistakes in the params; the message lists all of them."""


class DataError(UserMistake):
    """The recordings, labels, groups or given splits do not allow what was asked."""


class LeakageError(DataError):
    """What must stay in one split stands in several."""


class BalanceError(DataError):
    """The class counts do not allow the balance method."""


class MissingExtraError(UserMistake):
    """An optional package is needed and not installed."""


class StoreError(AudioclsError):
    """A store on disk is damaged, or cannot be written."""


class FullDiskError(StoreError):
    """There is no space left where something is written."""


class TrainingError(AudioclsError):
    """Training cannot go on."""


class TrackingError(AudioclsError):
    """The MLflow store or server cannot be used."""


def name_some(names: Iterable[object], most: int = 10) -> str:
    """Join the first `most` names with commas and count the rest: "a, b, c and 4 more".

    What cannot be seen in a name is escaped.
    """
    listed = [visible(str(name)) for name in names]
    shown = ", ".join(listed[:most])
    return f"{shown} and {len(listed) - most} more" if len(listed) > most else shown


def visible(text: str) -> str:
    r"""Write what cannot be seen as an escape: a zero-width space as \u200b, a line feed as \n."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
