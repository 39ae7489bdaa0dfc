"""Which sound is where in a long recording: the probabilities of overlapping windows as segments."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from itertools import product
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from audiocls.errors import ParamsError, name_some
from audiocls.metrics import event_f1


class Segment(NamedTuple):
    """A sound in a recording."""

    label: str
    start_seconds: float
    end_seconds: float
    probability: float
    """The mean over the segment."""


@dataclass(frozen=True, slots=True)
class SegmentParams:
    """How probabilities become segments."""

    on: float = 0.5
    """A segment starts where a label's probability reaches this."""
    off: float = 0.35
    """It ends where the probability falls below this."""
    smoothing_seconds: float = 0.0
    """Width of the moving median that is taken first."""
    min_seconds: float = 0.0
    """Shorter segments are dropped."""
    merge_seconds: float = 0.0
    """Segments of a label that are no further apart become one."""

    def __post_init__(self) -> None:
        if not 0 < self.off <= self.on <= 1:
            raise ParamsError(f"segments: off = {self.off:g} and on = {self.on:g}; needed: 0 < off <= on <= 1")
        for name in ("smoothing_seconds", "min_seconds", "merge_seconds"):
            value = getattr(self, name)
            if not 0 <= value < float("inf"):
                raise ParamsError(f"segments: {name} = {value:g} must be 0 or more")

    @classmethod
    def of(cls, settings: dict[str, float]) -> SegmentParams:
        """Make them from a model's settings; what these do not say has its default."""
        known = {each.name for each in fields(cls)}
        unknown = settings.keys() - known
        if unknown:
            raise ParamsError(f"segmentation: {name_some(sorted(unknown))}: unknown; use {name_some(sorted(known))}")
        return cls(**settings)

    def as_settings(self) -> dict[str, float]:
        """Return what `of` reads."""
        return asdict(self)


class WindowScores(NamedTuple):
    """What the windows of a recording say; all windows but a short recording's only one are of one length."""

    starts: NDArray[np.int64]  # (num_windows,), in samples, ascending
    lengths: NDArray[np.int64]  # (num_windows,), in samples
    probabilities: NDArray[np.float64]  # (num_windows, num_classes)
    num_samples: int  # of the recording


def spread(scores: WindowScores, hop: int) -> NDArray[np.float64]:
    """Return the mean probabilities of the windows that cover each `hop` samples, shape (num_frames, num_classes)."""
    num_frames = -(-scores.num_samples // hop)
    # The last window may start between two frames; it counts for those whose middle it covers.
    middles = np.minimum(np.arange(num_frames) * hop + hop / 2, scores.num_samples - 0.5)
    first = np.searchsorted(middles, scores.starts, "left")
    last = np.searchsorted(middles, scores.starts + scores.lengths, "left")
    changes = np.zeros((num_frames + 1, scores.probabilities.shape[1]))
    counts = np.zeros(num_frames + 1)
    np.add.at(changes, first, scores.probabilities)
    np.add.at(changes, last, -scores.probabilities)
    np.add.at(counts, first, 1)
    np.add.at(counts, last, -1)
    covered = np.maximum(np.cumsum(counts)[:-1, None], 1)
    return np.clip(np.cumsum(changes, axis=0)[:-1] / covered, 0, 1)


def find_segments(
    scores: WindowScores,
    labels: Sequence[str],
    params: SegmentParams,
    hop: int,
    rate_hz: int,
    ignore: Iterable[str] = (),
    thresholds: Mapping[str, float] | None = None,
) -> list[Segment]:
    """Find the segments of a recording, by their start; those of different labels may overlap.

    Args:
        scores: Of its windows.
        labels: Class names; the position is the class index.
        params: Thresholds and durations.
        hop: Samples between the starts of two windows, which is the resolution of the segments.
        rate_hz: Of the samples.
        ignore: Labels that are not reported, such as that of background noise.
        thresholds: Of single labels, instead of `params.on`; `params.off` changes in proportion.
    """
    if not scores.num_samples:
        return []
    frames = _smoothed(spread(scores, hop), round(params.smoothing_seconds * rate_hz / hop))
    end = scores.num_samples / rate_hz
    left_out = set(ignore)
    found: list[Segment] = []
    for label, probability in zip(labels, frames.T, strict=True):
        if label in left_out:
            continue
        on, off = params.on, params.off
        if thresholds and label in thresholds:
            on, off = thresholds[label], off * thresholds[label] / on
        runs = _hysteresis(probability, on, off)
        for first, last in _merged(runs, round(params.merge_seconds * rate_hz / hop)):
            start, stop = first * hop / rate_hz, min(last * hop / rate_hz, end)
            if stop - start >= params.min_seconds:
                found.append(Segment(label, start, stop, float(probability[first:last].mean())))
    return sorted(found, key=lambda segment: (segment.start_seconds, segment.label))


def _smoothed(frames: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    """Return moving medians over an odd number of frames, at most `width`, the ends repeated."""
    reach = width // 2
    if reach < 1:
        return frames
    padded = np.pad(frames, ((reach, reach), (0, 0)), mode="edge")
    medians: NDArray[np.float64] = np.median(
        np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1, 0), axis=-1
    )
    return medians


def _hysteresis(probability: NDArray[np.float64], on: float, off: float) -> list[tuple[int, int]]:
    """Return (first, one past the last) of the runs of at least `off` that reach `on`."""
    above = np.concatenate([[False], probability >= off, [False]])
    edges = np.flatnonzero(np.diff(above.astype(np.int8)))
    runs = zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)
    return [(first, last) for first, last in runs if probability[first:last].max() >= on]


def _merged(runs: list[tuple[int, int]], gap: int) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for first, last in runs:
        if merged and gap > 0 and first - merged[-1][1] <= gap:
            merged[-1] = (merged[-1][0], last)
        else:
            merged.append((first, last))
    return merged


ONS: Final = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
OFF_FRACTIONS: Final = (0.5, 0.7, 1.0)
_SMOOTHING_SECONDS: Final = (0.0, 0.5)
_MIN_SECONDS: Final = (0.0, 0.2)
_MERGE_SECONDS: Final = (0.0, 0.3)


def tune_segments(
    recordings: Sequence[tuple[WindowScores, Sequence[Segment]]],
    labels: Sequence[str],
    hop: int,
    rate_hz: int,
    *,
    collar_seconds: float = 0.2,
    ignore: Iterable[str] = (),
    on_progress: Callable[[SegmentParams, float], None] | None = None,
) -> tuple[SegmentParams, float]:
    """Choose the params that do best in event F1 on validation recordings.

    Args:
        recordings: The scores of each, and its true segments.
        labels: Class names.
        hop: Samples between windows.
        rate_hz: Of the samples.
        collar_seconds: By how much onsets may differ, and offsets, at least.
        ignore: Labels that are not reported.
        on_progress: Takes the params that were tried, and their F1.

    Returns:
        The params and their event F1; the first of the grid among equals.
    """
    best: tuple[SegmentParams, float] | None = None
    for params in _grid():
        found = [find_segments(scores, labels, params, hop, rate_hz, ignore) for scores, _ in recordings]
        score = event_f1([true for _, true in recordings], found, collar_seconds).f1
        if on_progress is not None:
            on_progress(params, score)
        if best is None or score > best[1]:
            best = (params, score)
    assert best is not None  # the grid is not empty
    return best


def _grid() -> Iterator[SegmentParams]:
    for on, fraction, smoothing, shortest, gap in product(
        ONS, OFF_FRACTIONS, _SMOOTHING_SECONDS, _MIN_SECONDS, _MERGE_SECONDS
    ):
        yield SegmentParams(on, on * fraction, smoothing, shortest, gap)
