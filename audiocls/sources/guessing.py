"""What parts of file names and columns of tables probably mean, guessed from their names and values."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath
from typing import Final, NamedTuple

# Names of columns by meaning, the clearest first; in lower case, without spaces, dashes and underscores.
COLUMN_NAMES: Final = {
    "path": ("path", "filepath", "audiopath", "filename", "file", "audio", "audiofile", "wav", "clip", "uri"),
    "label": (
        "label", "class", "classname", "category", "emotion", "intent", "language", "species", "word", "keyword",
        "command", "instrument", "genre", "diagnosis", "target", "y",
    ),
    "group": (
        "group", "groupid", "speaker", "speakerid", "clientid", "patient", "patientid", "subject", "subjectid", "actor",
        "singer", "user", "userid", "participant", "recordist", "session", "sessionid", "recording", "recordingid",
        "srcfile", "source", "device", "site",
    ),
    "split": ("split", "subset", "partition", "set"),
    "start": ("start", "startseconds", "starttime", "begin", "onset"),
    "end": ("end", "endseconds", "endtime", "stop"),
}  # fmt: skip
_SEPARATORS: Final = ("_", "-")
# How many values a part may have at most, for each clip: a part that names every clip is its number.
_MOST_VALUES_A_CLIP: Final = 0.5


class NamePart(NamedTuple):
    """One part of every file's name: what stands at a position between separators."""

    separator: str
    position: int
    parts: int
    values: tuple[str, ...]  # one a file


def name_pattern(**meant: NamePart) -> str:
    """Return a regular expression of file names with their suffix, in which each part is a group of its meaning."""
    part = next(iter(meant.values()))
    other = f"[^{re.escape(part.separator)}/]+"
    regexes = [other] * part.parts
    for meaning, each in meant.items():
        regexes[each.position] = f"(?P<{meaning}>{other})"
    return rf"{part.separator.join(regexes)}\.[^./]+"


def guess_column(meaning: str, columns: Iterable[str]) -> str | None:
    """Return the column that probably holds the paths, labels, groups, splits, starts or ends; None: there is none."""
    plain = {re.sub(r"[\s_-]", "", column).lower(): column for column in reversed(list(columns))}
    return next((plain[name] for name in COLUMN_NAMES[meaning] if name in plain), None)


def guess_label(stems: Sequence[str]) -> NamePart | None:
    """Return the part of file names without suffixes that is probably the label: the first that is no number."""
    return next((part for part in _parts(stems) if _is_text(part.values) and _repeats(part.values)), None)


def guess_group(stems: Sequence[str], labels: Sequence[str]) -> NamePart | None:
    """Return the part of file names that probably names a speaker or a recording.

    It is no number, comes back in clips, and under several labels; of several such parts, that with the most values.
    """
    found = [
        part
        for part in _parts(stems)
        if _is_text(part.values) and _repeats(part.values) and _crosses(part.values, labels)
    ]
    return max(found, key=lambda part: len(set(part.values)), default=None)


def stem(name: str) -> str:
    """Return a file's name without its folders and its suffix."""
    return PurePosixPath(name).stem


def _parts(stems: Sequence[str]) -> list[NamePart]:
    """Return the parts by the first separator that cuts every stem into as many."""
    for separator in _SEPARATORS:
        cut = [each.split(separator) for each in stems]
        counts = {len(parts) for parts in cut}
        if len(counts) == 1 and counts != {1} and all(all(parts) for parts in cut):
            (count,) = counts
            return [NamePart(separator, i, count, tuple(parts[i] for parts in cut)) for i in range(count)]
    return []


def _is_text(values: Sequence[str]) -> bool:
    return not all(value.isdecimal() for value in values)


def _repeats(values: Sequence[str]) -> bool:
    return 2 <= len(set(values)) <= _MOST_VALUES_A_CLIP * len(values)


def _crosses(values: Sequence[str], labels: Sequence[str]) -> bool:
    """Say whether most values stand under several labels, as a speaker does who says several words."""
    under: defaultdict[str, set[str]] = defaultdict(set)
    for value, label in zip(values, labels, strict=True):
        under[value].add(label)
    return 2 * sum(len(found) > 1 for found in under.values()) >= len(under)
