"""Statistics of a corpus: classes, groups, durations, levels and sources."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from audiocls.audit.findings import Finding
from audiocls.decoding import SILENCE_BELOW_LOUDEST_DB
from audiocls.errors import counted, name_some
from audiocls.sources import LABELS, UNKNOWN_LABELS, by_label, is_multi_label

# A clip counts as clipped if at least this fraction of its samples is at full scale; one in a thousand is audible.
CLIPPED_FRACTION: Final = 1e-3
_CLIPPED_SHARE: Final = 0.05
DC_OFFSET: Final = 0.01  # of full scale: 40 dB below it, the level of a bad microphone's hum
MOSTLY_SILENT: Final = 0.8  # fraction of a clip
_MOSTLY_SILENT_SHARE: Final = 0.05  # of the clips
_IMBALANCE: Final = 10.0
_PAIRS: Final = 20  # of labels that occur together, in the report
_BARS: Final = 40  # of the duration histogram
_FAR_APART: Final = 20
_QUANTILES: Final = {"least": 0.0, "a_twentieth_below": 0.05, "median": 0.5, "a_twentieth_above": 0.95, "most": 1.0}


@dataclass(frozen=True, slots=True)
class LabelSets:
    """The labels of clips that have any number of them."""

    clips_by_number: dict[int, int]  # clips with so many labels
    sets: int  # different sets
    unknown: int  # labels of clips that nobody checked
    together: list[tuple[str, str, int]]  # pairs of labels, with the clips that have both, the most frequent first


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
    sources: list[dict[str, Any]]  # pooled sources, the largest first
    source_rates_hz: dict[str, int]
    source_formats: dict[str, int]
    source_channels: dict[str, int]
    duration_seconds: dict[str, float]
    duration_histogram: dict[str, list[float]]  # `clips` between consecutive `edges_seconds`
    rms_db: dict[str, float]
    peak: dict[str, float]
    clipped: int
    silence_fraction: dict[str, float]
    mostly_silent: int
    dc_offset: dict[str, float]  # absolute values
    dc_offsets: dict[str, float]  # of clips with a notable offset, the largest first
    quarantined: dict[str, int]  # by reason
    label_sets: LabelSets | None = None  # if clips have any number of labels


def count_corpus(clips: pd.DataFrame, quarantine: pd.DataFrame) -> Census:
    """Compute the statistics of the two tables of a corpus.

    Args:
        clips: The usable clips, at least one, with the columns of `corpus.CLIPS_SCHEMA`.
        quarantine: The others, with a column `reason`.
    """
    labelled = by_label(clips)
    sizes = labelled["label"].value_counts()
    by_group = labelled.groupby("group")["label"]
    offsets = clips.set_index("clip_id")["dc_offset"].sort_values(key=abs, ascending=False, kind="stable")
    return Census(
        clips=len(clips),
        hours=float(clips["duration_seconds"].sum() / 3600),
        groups=int(clips["group"].nunique()),
        groups_of_one_clip=int((clips.groupby("group").size() == 1).sum()),
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
        label_sets=_label_sets(clips) if is_multi_label(clips) else None,
    )


def _label_sets(clips: pd.DataFrame) -> LabelSets:
    numbers = clips[LABELS].map(len)
    pairs = Counter(pair for labels in clips[LABELS] for pair in combinations(labels, 2))
    return LabelSets(
        clips_by_number={int(number): int(count) for number, count in numbers.value_counts().sort_index().items()},
        sets=int(clips["label"].nunique()),
        unknown=int(clips[UNKNOWN_LABELS].map(len).sum()),
        together=[(first, second, count) for (first, second), count in pairs.most_common(_PAIRS)],
    )


def _classes(clips: pd.DataFrame) -> list[dict[str, Any]]:
    table = (
        by_label(clips)
        .groupby("label")
        .agg(
            clips=("clip_id", "size"),
            hours=("duration_seconds", lambda seconds: float(seconds.sum()) / 3600),
            groups=("group", "nunique"),
            largest_group=("group", lambda groups: int(groups.value_counts().iloc[0])),
            median_seconds=("duration_seconds", "median"),
            median_rms_db=("rms_db", "median"),
        )
    )
    table = table.reset_index().sort_values(["clips", "label"], ascending=[False, True])
    return table.round(6).to_dict(orient="records")


def _sources(clips: pd.DataFrame) -> list[dict[str, Any]]:
    table = clips.groupby("source").agg(
        clips=("clip_id", "size"),
        hours=("duration_seconds", lambda seconds: float(seconds.sum()) / 3600),
        groups=("group", "nunique"),
    )
    table.insert(2, "classes", by_label(clips).groupby("source")["label"].nunique().reindex(table.index, fill_value=0))
    table = table.reset_index().sort_values(["clips", "source"], ascending=[False, True])
    return table.round(6).to_dict(orient="records")


def _counts(values: pd.Series) -> dict[str, int]:
    return {str(value): int(count) for value, count in values.value_counts().items()}


def _quantiles(values: pd.Series) -> dict[str, float]:
    return {name: round(float(values.quantile(q)), 4) for name, q in _QUANTILES.items()}


def _histogram(seconds: NDArray[np.float64]) -> dict[str, list[float]]:
    low, high = float(seconds.min()), float(seconds.max())
    # If durations span a wide range, equal steps would put almost all clips into one bar.
    ratios = high > _FAR_APART * low > 0
    edges = np.geomspace(low, high, _BARS + 1) if ratios else np.histogram_bin_edges(seconds, _BARS)
    return {"edges_seconds": edges.round(6).tolist(), "clips": np.histogram(seconds, edges)[0].tolist()}


def census_findings(census: Census) -> Iterator[Finding]:
    """Yield the findings that follow from the counts alone."""
    if census.quarantined:
        total = sum(census.quarantined.values())
        reasons = ", ".join(f"{count} {reason}" for reason, count in census.quarantined.items())
        yield Finding("note", f"{total} of {counted(total + census.clips, 'clip')} are in quarantine", f"{reasons}.")
    yield from _level_findings(census)
    if census.imbalance_ratio >= _IMBALANCE:
        most, least = census.classes[0], census.classes[-1]
        yield Finding(
            "note",
            f"The classes are imbalanced, {census.imbalance_ratio:.0f} : 1",
            f"{most['label']!r} has {most['clips']} clips and {least['label']!r} has {least['clips']}. Use macro-F1 "
            "and balanced accuracy, which weight all classes equally, and see balance.method.",
        )
    few = [row["label"] for row in census.classes if row["groups"] == 2]
    if few:
        yield Finding(
            "warning",
            f"{len(few)} of {len(census.classes)} classes have only two groups",
            f"Training, validation and test need a group each, so these are missing from one split: {name_some(few)}.",
        )
    if census.groups_of_one_clip == census.groups:
        yield Finding(
            "note",
            "Every clip is its own group",
            "If a speaker, place or recording has several clips, it can be in both training and test, and the score is "
            "too optimistic. Provide the group if you can.",
        )


def _level_findings(census: Census) -> Iterator[Finding]:
    if census.clipped > _CLIPPED_SHARE * census.clips:
        yield Finding(
            "warning",
            f"{census.clipped} of {census.clips} clips are clipped",
            f"At least {CLIPPED_FRACTION:.1%} of their samples are at full scale: they were recorded too loud.",
        )
    if census.dc_offsets:
        largest = name_some((f"{clip_id} ({offset:+.3f})" for clip_id, offset in census.dc_offsets.items()), 5)
        yield Finding(
            "note",
            f"{len(census.dc_offsets)} of {census.clips} clips have a DC offset",
            f"The mean of their samples is at least {DC_OFFSET:.0%} of full scale away from zero. This comes from the "
            f"recording device, not from the sound: {largest}.",
        )
    if census.mostly_silent > _MOSTLY_SILENT_SHARE * census.clips:
        yield Finding(
            "note",
            f"{census.mostly_silent} of {census.clips} clips are mostly silence",
            f"At least {MOSTLY_SILENT:.0%} of each is {SILENCE_BELOW_LOUDEST_DB:.0f} dB or more below its loudest "
            "part. If audio.max_seconds cuts such a clip at random, only silence may be left.",
        )
