"""Clips with the same audio, exactly or nearly."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from audiocls.audit.findings import Finding
from audiocls.errors import counted, name_some


@dataclass(frozen=True, slots=True)
class Duplicates:
    """Sets of clips with identical samples, under any file names."""

    clips: int  # that have an exact copy
    sets: list[dict[str, Any]]  # clip_ids, labels and groups of each; sets with several labels first

    @property
    def conflicts(self) -> list[dict[str, Any]]:
        """The sets with several labels."""
        return [row for row in self.sets if len(row["labels"]) > 1]


def find_duplicates(clips: pd.DataFrame) -> Duplicates:
    """Find the clips that share their `audio_hash` with another clip."""
    same = clips[clips.duplicated("audio_hash", keep=False)]
    sets = [
        {name: sorted(set(rows[column])) for name, column in _COLUMNS.items()}
        for _, rows in same.groupby("audio_hash", sort=False)
    ]
    return Duplicates(len(same), sorted(sets, key=lambda row: (-len(row["labels"]), row["clip_ids"])))


_COLUMNS = {"clip_ids": "clip_id", "labels": "label", "groups": "group"}


def duplicate_findings(duplicates: Duplicates) -> Iterator[Finding]:
    """Yield what the duplicates mean for the labels and for the split."""
    conflicts = duplicates.conflicts
    if conflicts:
        yield Finding(
            "problem",
            f"{_recordings(len(conflicts))} listed under several labels",
            "At most one of the labels can be correct: "
            + name_some((f"{' = '.join(row['clip_ids'])} ({', '.join(row['labels'])})" for row in conflicts), 5)
            + ".",
        )
    if duplicates.sets:
        apart = sum(len(row["groups"]) > 1 for row in duplicates.sets)
        yield Finding(
            "warning" if apart else "note",
            f"{_recordings(len(duplicates.sets))} in the corpus more than once",
            f"{duplicates.clips} clips contain them"
            + (f", {apart} of the recordings in several groups. " if apart else ". ")
            + "A test clip that is a copy of a training clip inflates the score.",
        )


@dataclass(frozen=True, slots=True)
class NearDuplicate:
    """Two recordings that seem to be the same one in two forms; see `near_duplicates` for the method."""

    clip_ids: tuple[str, str]  # the first name if there are exact copies
    labels: list[str]  # of all clips with either recording
    groups: list[str]
    similarity: float
    shift_seconds: float  # where the second recording starts in the first


def name_near_duplicates(clips: pd.DataFrame, pairs: pd.DataFrame) -> list[NearDuplicate]:
    """Add the clips of each pair; pairs with several labels come first, then the most similar."""
    named = clips[clips["audio_hash"].isin([*pairs["audio_hash_a"], *pairs["audio_hash_b"]])]
    by_hash = dict(iter(named.groupby("audio_hash")))
    found = []
    for pair in pairs.itertuples():
        both = (by_hash[pair.audio_hash_a], by_hash[pair.audio_hash_b])
        clip_ids = (min(both[0]["clip_id"]), min(both[1]["clip_id"]))
        labels, groups = (sorted({*both[0][name], *both[1][name]}) for name in ("label", "group"))
        found.append(NearDuplicate(clip_ids, labels, groups, round(pair.similarity, 4), round(pair.shift_seconds, 4)))
    return sorted(found, key=lambda pair: (-len(pair.labels), -pair.similarity, pair.clip_ids))


def near_duplicate_findings(pairs: Sequence[NearDuplicate]) -> Iterator[Finding]:
    """Yield what the near-duplicates mean for the labels and for the split."""
    conflicts = [pair for pair in pairs if len(pair.labels) > 1]
    if conflicts:
        yield Finding(
            "warning",
            f"{_pairs(len(conflicts))} listed under several labels",
            "If they are the same recording, at most one of the labels can be correct: "
            + name_some((f"{' ~ '.join(pair.clip_ids)} ({', '.join(pair.labels)})" for pair in conflicts), 5)
            + ".",
        )
    if pairs:
        apart = sum(len(pair.groups) > 1 for pair in pairs)
        yield Finding(
            "warning" if apart else "note",
            f"{_pairs(len(pairs))} in the corpus",
            (f"{apart} of them in several groups. " if apart else "")
            + "They seem to be one recording that was re-encoded, resampled, cut or padded. If a given split separates "
            "them, training stops, or they are dropped or moved; see split.near_duplicates.",
        )


def _pairs(number: int) -> str:
    return counted(number, "pair of near-duplicates is", "pairs of near-duplicates are")


def _recordings(number: int) -> str:
    return counted(number, "recording is", "recordings are")
