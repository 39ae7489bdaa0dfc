"""What was listed, what of it is usable and where it went: counted in, counted out, at every stage.

counts.json of a corpus holds files, clips, groups and classes as they were listed, as they are usable, by the reason of
what is in quarantine, and what was lost whole; a run's own adds the splits.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import pandas as pd

from audiocls.errors import DataError, name_some
from audiocls.files import replacing
from audiocls.sources import SPLITS, Listing

LEFT_OUT: Final = {
    "hidden": "hidden files and directories",
    "filtered": "files that data.include and data.exclude leave out",
    "other_suffix": "files that are no recordings by their names",
    "links_to_above": "links to a directory above",
    "other_splits": "clips of splits that data.splits does not name",
    "not_in_metadata": "recordings that the metadata file does not name",
}


@dataclass(frozen=True, slots=True)
class Stage:
    """How much there is of a corpus at one stage."""

    clips: int
    files: int
    groups: int
    classes: dict[str, int]  # clips of each; 0 of a class that is named and has none


@dataclass(frozen=True, slots=True)
class Counts:
    """The stages of a corpus, and what was lost from one to the next."""

    listed: Stage
    usable: Stage
    unlabelled: int
    left_out: dict[str, int]  # files of the source that are not listed, by the reason
    quarantined: dict[str, int]  # clips by reason
    quarantined_of_class: dict[str, dict[str, int]]
    lost_classes: list[str]
    lost_groups: list[str]  # of those that have a name of their own, and are not just a file
    lost_splits: dict[str, dict[str, int]]  # that the source gives: clips by reason
    lost_sources: dict[str, dict[str, int]]  # of those that are pooled


def count_stages(rows: pd.DataFrame, listing: Listing) -> Counts:
    """Count the rows of a manifest, and those of them that have no `reason` to be in quarantine."""
    usable, bad = rows[rows["reason"].isna()], rows[rows["reason"].notna()]
    named = rows[[is_named(*pair) for pair in zip(rows["group"], rows["clip_id"], strict=True)]]
    listed = _stage(rows, listing.empty_classes)
    return Counts(
        listed=listed,
        usable=_stage(usable),
        unlabelled=int(rows["label"].isna().sum()),
        left_out={reason: count for reason, count in listing.left_out.items() if count},
        quarantined=_reasons(bad),
        quarantined_of_class={str(label): _reasons(clips) for label, clips in bad.groupby("label")},
        lost_classes=sorted(set(listed.classes) - set(usable["label"])),
        lost_groups=sorted(set(named["group"]) - set(usable["group"])),
        lost_splits=_lost(usable, bad, "split"),
        lost_sources=_lost(usable, bad, "source"),
    )


def _stage(rows: pd.DataFrame, empty_classes: Sequence[str] = ()) -> Stage:
    classes = dict.fromkeys(empty_classes, 0) | _by_name(rows["label"])
    return Stage(len(rows), rows["path"].nunique(), rows["group"].nunique(), dict(sorted(classes.items())))


def _by_name(values: pd.Series) -> dict[str, int]:
    return {str(name): int(count) for name, count in values.value_counts().items()}


def _reasons(rows: pd.DataFrame) -> dict[str, int]:
    return _by_name(rows["reason"])


def is_named(group: str, clip_id: str) -> bool:
    """Say whether a group is more than the file that the clip is, or is a segment or a copy of."""
    return group != clip_id and not clip_id.startswith((f"{group}@", f"{group}#"))


def _lost(usable: pd.DataFrame, bad: pd.DataFrame, column: str) -> dict[str, dict[str, int]]:
    lost = bad[~bad[column].isin(usable[column].dropna())]
    return {str(name): _reasons(rows) for name, rows in lost.groupby(column)}


def write_counts(counts: Counts, path: Path, splits: Mapping[str, Any] | None = None) -> Path:
    """Write the counts as JSON, and those of the splits where there are any."""
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
        DataError: The splits do not hold all usable clips of every class, each once.
    """
    rows = pd.read_parquet(split_clips, columns=["clip_id", "path", "label", "group", "split"])
    classes = _by_name(rows["label"])
    odd = {name for name in {*classes, *counts.usable.classes} if classes.get(name) != counts.usable.classes.get(name)}
    if odd or rows["clip_id"].duplicated().any() or not rows["split"].isin(SPLITS).all():
        raise DataError(
            f"{counts.usable.clips} clips are usable and {len(rows)} are in the splits ({split_clips}); "
            f"classes that differ: {name_some(sorted(odd)) or 'none'}. Delete that file, and run it again."
        )
    return {name: asdict(_stage(rows[rows["split"] == name])) for name in SPLITS}


def check_lost(counts: Counts, quarantine: Path, *, allow_lost_classes: bool) -> None:
    """Stop where a class, a given split or a pooled source has no usable clip left.

    Args:
        counts: Of the corpus.
        quarantine: The quarantine table, which the message names.
        allow_lost_classes: Whether classes may be lost; splits and sources never are.

    Raises:
        DataError: Names all of them, with the reasons of their clips.
    """
    faults = []
    if counts.lost_classes and not allow_lost_classes:
        faults.append(
            f"{name_lost_classes(counts)}. A model would not know {'it' if len(counts.lost_classes) == 1 else 'them'}. "
            "Mend the recordings or remove the class from the data (where a directory is no class, by data.exclude); "
            "to go on without it, set data.allow_lost_classes: true."
        )
    for what, lost, fix in (
        ("given split", counts.lost_splits, "leave the split out of the data to have one made"),
        ("source", counts.lost_sources, "take the source out of data.sources"),
    ):
        if lost:
            names = name_some(f"{name} ({name_reasons(reasons)})" for name, reasons in lost.items())
            faults.append(f"No usable clip is left of the {what} {names}. Mend the recordings, or {fix}.")
    if faults:
        raise DataError(f"{' '.join(faults)} The quarantine: {quarantine}")


def lost_summary(counts: Counts) -> str:
    """Name in one line the classes and groups that have no usable clip left; "" where there are none."""
    known = "it" if len(counts.lost_classes) == 1 else "them"
    lines = [f"{name_lost_classes(counts)}; the model does not know {known}"] if counts.lost_classes else []
    if counts.lost_groups:
        lines.append(
            f"{len(counts.lost_groups)} of {counts.listed.groups} groups have no usable clip: "
            f"{name_some(counts.lost_groups)}"
        )
    return ". ".join(lines)


def name_lost_classes(counts: Counts) -> str:
    """Name the classes that have no usable clip, with the reasons."""
    lost = counts.lost_classes
    named = (f"{name} ({name_reasons(counts.quarantined_of_class.get(name, {}))})" for name in lost)
    have = "has" if len(lost) == 1 else "have"
    return f"{len(lost)} of {len(counts.listed.classes)} classes {have} no usable clip: {name_some(named)}"


def name_reasons(reasons: Mapping[str, int]) -> str:
    """Say where the clips went: "2 clips: 1 missing, 1 truncated"."""
    if not reasons:
        return "no clip is listed"
    total = sum(reasons.values())
    shown = ", ".join(f"{count} {reason}" for reason, count in reasons.items())
    return f"{total} {'clip' if total == 1 else 'clips'}: {shown}"


def stage_table(counts: Counts) -> list[tuple[str, ...]]:
    """Return the rows of a table: the stage, and its files, clips, groups and classes."""
    return [
        (name, *(f"{n:,}" for n in (stage.files, stage.clips, stage.groups, len(stage.classes))))
        for name, stage in (("listed", counts.listed), ("usable", counts.usable))
    ]


def left_out_table(counts: Counts) -> list[tuple[str, str]]:
    """Return the rows of a table: what was not listed, and how much of it."""
    return [(LEFT_OUT.get(reason, reason), f"{count:,}") for reason, count in counts.left_out.items()]
