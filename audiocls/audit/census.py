"""What a corpus is made of, in numbers: classes, groups, lengths, levels and where the recordings come from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from audiocls.audit.findings import Finding
from audiocls.decoding import SILENCE_BELOW_LOUDEST_DB
from audiocls.errors import name_some

# A clip counts as clipped when at least this share of its samples stands at full scale: one in a thousand is heard.
CLIPPED_FRACTION: Final = 1e-3
_CLIPPED_SHARE: Final = 0.05
DC_OFFSET: Final = 0.01  # of full scale: 40 dB below it, where the hum of a bad microphone stands
MOSTLY_SILENT: Final = 0.8  # share of a clip
_MOSTLY_SILENT_SHARE: Final = 0.05  # of the clips
_IMBALANCE: Final = 10.0
_BARS: Final = 40  # of the histogram of lengths
_FAR_APART: Final = 20
_QUANTILES: Final = {"least": 0.0, "a_twentieth_below": 0.05, "median": 0.5, "a_twentieth_above": 0.95, "most": 1.0}


@dataclass(frozen=True, slots=True)
class Census:
    """Counts and quantiles of a corpus, ready for JSON."""

    clips: int
    hours: float
    groups: int
    groups_of_one_clip: int
    groups_of_several_classes: int
    imbalance_ratio: float  # clips of the most frequent class per clip of the rarest
    classes: list[dict[str, Any]]  # the most frequent first
    sources: list[dict[str, Any]]  # of those that are pooled; the largest first
    source_rates_hz: dict[str, int]
    source_formats: dict[str, int]
    source_channels: dict[str, int]
    duration_seconds: dict[str, float]
    duration_histogram: dict[str, list[float]]  # `clips` between each two of `edges_seconds`
    rms_db: dict[str, float]
    peak: dict[str, float]
    clipped: int
    silence_fraction: dict[str, float]
    mostly_silent: int
    dc_offset: dict[str, float]  # of its magnitude
    dc_offsets: dict[str, float]  # of the clips that have one worth naming, the largest first
    quarantined: dict[str, int]  # by reason


def count_corpus(clips: pd.DataFrame, quarantine: pd.DataFrame) -> Census:
    """Count what is in the two tables of a corpus.

    Args:
        clips: The usable clips, one at least, with the columns of `corpus.CLIPS_SCHEMA`.
        quarantine: The others, with a column `reason`.
    """
    sizes = clips["label"].value_counts()
    by_group = clips.groupby("group")["label"]
    offsets = clips.set_index("clip_id")["dc_offset"].sort_values(key=abs, ascending=False, kind="stable")
    return Census(
        clips=len(clips),
        hours=float(clips["duration_seconds"].sum() / 3600),
        groups=int(clips["group"].nunique()),
        groups_of_one_clip=int((by_group.size() == 1).sum()),
        groups_of_several_classes=int((by_group.nunique() > 1).sum()),
        imbalance_ratio=float(sizes.max() / sizes.min()),
        classes=_classes(clips),
        sources=_sources(clips),
        source_rates_hz=_counts(clips["source_rate_hz"]),
        source_formats=_counts(clips["source_format"]),
        source_channels=_counts(clips["source_channels"]),
        duration_seconds=_quantiles(clips["duration_seconds"]),
        duration_histogram=_histogram(clips["duration_seconds"].to_numpy(np.float64)),
        rms_db=_quantiles(clips["rms_db"]),
        peak=_quantiles(clips["peak"]),
        clipped=int((clips["clipped_fraction"] >= CLIPPED_FRACTION).sum()),
        silence_fraction=_quantiles(clips["silence_fraction"]),
        mostly_silent=int((clips["silence_fraction"] >= MOSTLY_SILENT).sum()),
        dc_offset=_quantiles(offsets.abs()),
        dc_offsets=offsets[offsets.abs() >= DC_OFFSET].astype(float).round(4).to_dict(),
        quarantined=_counts(quarantine["reason"]),
    )


def _classes(clips: pd.DataFrame) -> list[dict[str, Any]]:
    table = clips.groupby("label").agg(
        clips=("clip_id", "size"),
        hours=("duration_seconds", lambda seconds: float(seconds.sum()) / 3600),
        groups=("group", "nunique"),
        largest_group=("group", lambda groups: int(groups.value_counts().iloc[0])),
        median_seconds=("duration_seconds", "median"),
        median_rms_db=("rms_db", "median"),
    )
    table = table.reset_index().sort_values(["clips", "label"], ascending=[False, True])
    return table.round(6).to_dict(orient="records")


def _sources(clips: pd.DataFrame) -> list[dict[str, Any]]:
    table = clips.groupby("source").agg(
        clips=("clip_id", "size"),
        hours=("duration_seconds", lambda seconds: float(seconds.sum()) / 3600),
        classes=("label", "nunique"),
        groups=("group", "nunique"),
    )
    table = table.reset_index().sort_values(["clips", "source"], ascending=[False, True])
    return table.round(6).to_dict(orient="records")


def _counts(values: pd.Series) -> dict[str, int]:
    return {str(value): int(count) for value, count in values.value_counts().items()}


def _quantiles(values: pd.Series) -> dict[str, float]:
    return {name: round(float(values.quantile(q)), 4) for name, q in _QUANTILES.items()}


def _histogram(seconds: NDArray[np.float64]) -> dict[str, list[float]]:
    low, high = float(seconds.min()), float(seconds.max())
    # Where the longest clip is far from the shortest, equal steps would put all into one bar.
    ratios = high > _FAR_APART * low > 0
    edges = np.geomspace(low, high, _BARS + 1) if ratios else np.histogram_bin_edges(seconds, _BARS)
    return {"edges_seconds": edges.round(6).tolist(), "clips": np.histogram(seconds, edges)[0].tolist()}


def census_findings(census: Census) -> Iterator[Finding]:
    """Yield what the counts alone say about a score on this corpus."""
    if census.quarantined:
        total = sum(census.quarantined.values())
        reasons = ", ".join(f"{count} {reason}" for reason, count in census.quarantined.items())
        yield Finding("note", f"{total} of {total + census.clips} clips are in quarantine", f"{reasons}.")
    yield from _level_findings(census)
    if census.imbalance_ratio >= _IMBALANCE:
        most, least = census.classes[0], census.classes[-1]
        yield Finding(
            "note",
            f"The classes are imbalanced, {census.imbalance_ratio:.0f} : 1",
            f"{most['label']!r} has {most['clips']} clips and {least['label']!r} has {least['clips']}. Read macro-F1 "
            "and balanced accuracy, which count every class alike, and see balance.method.",
        )
    few = [row["label"] for row in census.classes if row["groups"] == 2]
    if few:
        yield Finding(
            "warning",
            f"{len(few)} of {len(census.classes)} classes have two groups only",
            f"Training, validation and test need one each, so these are missing from one of them: {name_some(few)}.",
        )
    if census.groups_of_one_clip == census.groups:
        yield Finding(
            "note",
            "Every clip is a group of its own",
            "If one speaker, place or recording stands in several clips, it will stand in training and in test, and "
            "the score will be too good. Name the group where you can.",
        )


def _level_findings(census: Census) -> Iterator[Finding]:
    if census.clipped > _CLIPPED_SHARE * census.clips:
        yield Finding(
            "warning",
            f"{census.clipped} of {census.clips} clips are clipped",
            f"At least {CLIPPED_FRACTION:.1%} of their samples stand at full scale: they were recorded too loud.",
        )
    if census.dc_offsets:
        largest = name_some((f"{clip_id} ({offset:+.3f})" for clip_id, offset in census.dc_offsets.items()), 5)
        yield Finding(
            "note",
            f"{len(census.dc_offsets)} of {census.clips} clips have a DC offset",
            f"The mean of their samples is {DC_OFFSET:.0%} of full scale or more away from zero, which points to the "
            f"device that recorded them and is no sound: {largest}.",
        )
    if census.mostly_silent > _MOSTLY_SILENT_SHARE * census.clips:
        yield Finding(
            "note",
            f"{census.mostly_silent} of {census.clips} clips are mostly silence",
            f"At least {MOSTLY_SILENT:.0%} of each lies {SILENCE_BELOW_LOUDEST_DB:.0f} dB or more below its loudest "
            "part. Where audio.max_seconds cuts such a clip at random, there may be nothing left to hear.",
        )
