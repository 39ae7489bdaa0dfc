"""Counts of files, clips, groups and classes at every stage, from the listing to the splits.

The counts.json of a corpus has the listed and the usable numbers, the quarantined clips by reason, and the classes,
groups, splits and sources that were lost entirely. The counts.json of a run adds the splits.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import pandas as pd
import pyarrow.parquet as pq

from audiocls.errors import DataError, counted, name_some
from audiocls.files import replacing
from audiocls.sources import SPLITS, Listing, by_label, label_columns

LEFT_OUT: Final = {
    "hidden": "hidden files and directories",
    "filtered": "files excluded by data.include and data.exclude",
    "other_suffix": "files with a non-audio extension",
    "links_to_above": "links to a parent directory",
    "other_splits": "clips of splits not listed in data.splits",
    "not_in_metadata": "recordings not listed in the metadata file",
}


@dataclass(frozen=True, slots=True)
class Stage:
    """The size of a corpus at one stage."""

    clips: int
    files: int
    groups: int
    classes: dict[str, int]  # clips of each; 0 for a declared class without clips


@dataclass(frozen=True, slots=True)
class Counts:
    """The stages of a corpus, and what was lost between them."""

    listed: Stage
    usable: Stage
    unlabelled: int
    left_out: dict[str, int]  # unlisted files of the source, by reason
    quarantined: dict[str, int]  # clips by reason
    quarantined_of_class: dict[str, dict[str, int]]
    lost_classes: list[str]
    lost_groups: list[str]  # only groups with a name of their own, not single files
    lost_splits: dict[str, dict[str, int]]  # splits given by the source: clips by reason
    lost_sources: dict[str, dict[str, int]]  # pooled sources: clips by reason


def count_stages(rows: pd.DataFrame, listing: Listing) -> Counts:
    """Count the rows of a manifest, and those without a `reason` to be in quarantine."""
    usable, bad = rows[rows["reason"].isna()], rows[rows["reason"].notna()]
    named = rows[[is_named(*pair) for pair in zip(rows["group"], rows["clip_id"], strict=True)]]
    listed = _stage(rows, listing.empty_classes)
    return Counts(
        listed=listed,
        usable=_stage(usable),
        unlabelled=int(rows["label"].isna().sum()),
        left_out={reason: count for reason, count in listing.left_out.items() if count},
        quarantined=_reasons(bad),
        quarantined_of_class={str(label): _reasons(clips) for label, clips in by_label(bad).groupby("label")},
        lost_classes=sorted(set(listed.classes) - set(by_label(usable)["label"])),
        lost_groups=sorted(set(named["group"]) - set(usable["group"])),
        lost_splits=_lost(usable, bad, "split"),
        lost_sources=_lost(usable, bad, "source"),
    )


def _stage(rows: pd.DataFrame, empty_classes: Sequence[str] = ()) -> Stage:
    classes = dict.fromkeys(empty_classes, 0) | _by_name(by_label(rows)["label"])
    return Stage(len(rows), rows["path"].nunique(), rows["group"].nunique(), dict(sorted(classes.items())))


def _by_name(values: pd.Series) -> dict[str, int]:
    return {str(name): int(count) for name, count in values.value_counts().items()}


def _reasons(rows: pd.DataFrame) -> dict[str, int]:
    return _by_name(rows["reason"])


def is_named(group: str, clip_id: str) -> bool:
    """Return whether a group has a name of its own, and is not just the clip's own file."""
    return group != clip_id and not clip_id.startswith((f"{group}@", f"{group}#"))


def _lost(usable: pd.DataFrame, bad: pd.DataFrame, column: str) -> dict[str, dict[str, int]]:
    lost = bad[~bad[column].isin(usable[column].dropna())]
    return {str(name): _reasons(rows) for name, rows in lost.groupby(column)}


def write_counts(counts: Counts, path: Path, splits: Mapping[str, Any] | None = None) -> Path:
    """Write the counts as JSON, with those of the splits if given."""
    facts = asdict(counts) | ({} if splits is None else {"splits": splits})
    with replacing(path) as part:
        part.write_text(json.dumps(facts, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def read_counts(path: Path) -> Counts:
    """Read the counts of a corpus."""
    facts = json.loads(path.read_text(encoding="utf-8"))
    facts |= {name: Stage(**facts[name]) for name in ("listed", "usable")}
    facts.pop("splits", None)
    return Counts(**facts)


def count_splits(counts: Counts, split_clips: Path) -> dict[str, dict[str, Any]]:
    """Count the clips, groups and classes of each split.

    Raises:
        DataError: The splits do not contain every usable clip exactly once.
    """
    labels = label_columns(pq.read_schema(split_clips).names)
    rows = pd.read_parquet(split_clips, columns=["clip_id", "path", *labels, "group", "split"])
    classes = _by_name(by_label(rows)["label"])
    odd = {name for name in {*classes, *counts.usable.classes} if classes.get(name) != counts.usable.classes.get(name)}
    if odd or rows["clip_id"].duplicated().any() or not rows["split"].isin(SPLITS).all():
        raise DataError(
            f"{counted(counts.usable.clips, 'clip is', 'clips are')} usable, but {len(rows)} are in the splits "
            f"({split_clips}); classes that differ: {name_some(sorted(odd)) or 'none'}. Delete that file and run again."
        )
    return {name: asdict(_stage(rows[rows["split"] == name])) for name in SPLITS}


def check_lost(counts: Counts, quarantine: Path, *, allow_lost_classes: bool) -> None:
    """Raise an error if a class, a given split or a pooled source has no usable clip left.

    Args:
        counts: Counts of the corpus.
        quarantine: The quarantine table, named in the message.
        allow_lost_classes: Whether lost classes are accepted. Lost splits and sources never are.

    Raises:
        DataError: At least one has none; the message names all, with the reasons of their clips.
    """
    faults = []
    if counts.lost_classes and not allow_lost_classes:
        faults.append(
            f"{name_lost_classes(counts)}. A model cannot predict {'it' if len(counts.lost_classes) == 1 else 'them'}. "
            "Fix the recordings or remove the class from the data (if a directory is not a class, with data.exclude). "
            "To continue without it, set data.allow_lost_classes: true."
        )
    for what, lost, fix in (
        ("given split", counts.lost_splits, "remove the split from the data to have one generated"),
        ("source", counts.lost_sources, "remove the source from data.sources"),
    ):
        if lost:
            names = name_some(f"{name} ({name_reasons(reasons)})" for name, reasons in lost.items())
            faults.append(f"No usable clip is left in the {what} {names}. Fix the recordings, or {fix}.")
    if faults:
        raise DataError(f"{' '.join(faults)} Quarantine table: {quarantine}")


def lost_summary(counts: Counts) -> str:
    """Summarize in one line the classes and groups without a usable clip; "" if there are none."""
    known = "it" if len(counts.lost_classes) == 1 else "them"
    lines = [f"{name_lost_classes(counts)}; the model cannot predict {known}"] if counts.lost_classes else []
    if counts.lost_groups:
        lines.append(
            f"{len(counts.lost_groups)} of {counted(counts.listed.groups, 'group')} have no usable clip: "
            f"{name_some(counts.lost_groups)}"
        )
    return ". ".join(lines)


def name_lost_classes(counts: Counts) -> str:
    """List the classes without a usable clip, with the reasons."""
    lost = counts.lost_classes
    named = (f"{name} ({name_reasons(counts.quarantined_of_class.get(name, {}))})" for name in lost)
    have = "has" if len(lost) == 1 else "have"
    return f"{len(lost)} of {len(counts.listed.classes)} classes {have} no usable clip: {name_some(named)}"


def name_reasons(reasons: Mapping[str, int]) -> str:
    """Format clip counts by reason, such as "2 clips: 1 missing, 1 truncated"."""
    if not reasons:
        return "no clip is listed"
    total = sum(reasons.values())
    shown = ", ".join(f"{count} {reason}" for reason, count in reasons.items())
    return f"{counted(total, 'clip')}: {shown}"


def stage_table(counts: Counts) -> list[tuple[str, ...]]:
    """Return table rows: each stage with its files, clips, groups and classes."""
    return [
        (name, *(f"{n:,}" for n in (stage.files, stage.clips, stage.groups, len(stage.classes))))
        for name, stage in (("listed", counts.listed), ("usable", counts.usable))
    ]


def left_out_table(counts: Counts) -> list[tuple[str, str]]:
    """Return table rows: what was not listed, and how many."""
    return [(LEFT_OUT.get(reason, reason), f"{count:,}") for reason, count in counts.left_out.items()]
