"""Clips that hold the same audio."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pandas as pd

from audiocls.errors import name_some
from audiocls.findings import Finding


@dataclass(frozen=True, slots=True)
class Duplicates:
    """Sets of clips whose samples are the same, whatever their files are called."""

    clips: int  # that are one of two or more
    sets: list[dict[str, Any]]  # clip_ids, labels and groups of each; those under several labels first

    @property
    def conflicts(self) -> list[dict[str, Any]]:
        """The sets that stand under several labels."""
        return [row for row in self.sets if len(row["labels"]) > 1]


def find_duplicates(clips: pd.DataFrame) -> Duplicates:
    """Find the clips that share their `audio_sha256` with another."""
    same = clips[clips.duplicated("audio_sha256", keep=False)]
    sets = [
        {name: sorted(set(rows[column])) for name, column in _COLUMNS.items()}
        for _, rows in same.groupby("audio_sha256", sort=False)
    ]
    return Duplicates(len(same), sorted(sets, key=lambda row: (-len(row["labels"]), row["clip_ids"])))


_COLUMNS = {"clip_ids": "clip_id", "labels": "label", "groups": "group"}


def duplicate_findings(duplicates: Duplicates) -> Iterator[Finding]:
    """Yield what the duplicates mean for the labels and for the split."""
    conflicts = duplicates.conflicts
    if conflicts:
        yield Finding(
            "problem",
            f"{_recordings(len(conflicts))} under several labels",
            "At most one of the labels can be right: "
            + name_some((f"{' = '.join(row['clip_ids'])} ({', '.join(row['labels'])})" for row in conflicts), 5)
            + ".",
        )
    if duplicates.sets:
        apart = sum(len(row["groups"]) > 1 for row in duplicates.sets)
        yield Finding(
            "warning" if apart else "note",
            f"{_recordings(len(duplicates.sets))} in the corpus more than once",
            f"{duplicates.clips} clips hold them"
            + (f", {apart} of the recordings in several groups. " if apart else ". ")
            + "A copy of a training clip in the test split would be scored as known.",
        )


def _recordings(number: int) -> str:
    return "1 recording stands" if number == 1 else f"{number} recordings stand"
