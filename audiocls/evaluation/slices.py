"""Scores of slices of the test clips: short or long, quiet or loud, of one source or format, of one value of a column.

A slice fails if its score is lower than chance explains: lower than that of random slices of the same size, which are
drawn by group (`chance.RandomSlices`), with a correction for the number of slices (`chance.lowest_by_chance`). Slices
with fewer than FEWEST_GROUPS groups have neither an interval nor a verdict.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from audiocls.evaluation.answers import Answers
from audiocls.evaluation.chance import RandomSlices, lowest_by_chance, standardised
from audiocls.metrics import FEWEST_GROUPS, interval
from audiocls.sources import COLUMN
from audiocls.waveforms import MappedWaveforms

SNR: Final = "snr_estimate_db"
QUANTILES: Final = 4
MOST_VALUES: Final = 20
"""The most frequent values of a column are slices of their own, and all others are one together."""

_NUMBERS: Final = ("duration_seconds", "rms_db", "silence_fraction", SNR)
_VALUES: Final = ("source_rate_hz", "source_format", "source_channels", "source")
_EMPTY: Final = "(empty)"
_OTHERS: Final = "(others)"
_FRAME_SECONDS: Final = 0.02
_MOST_SECONDS: Final = 60  # of a clip, for the estimate


@dataclass(frozen=True, slots=True)
class Scored:
    """A score and its 95 % interval over groups; the ends are NaN if there are too few."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Slice:
    """A slice of the test clips."""

    column: str
    value: str
    clips: int
    groups: int
    scores: dict[str, Scored]  # by name, see `answers.NAMES`
    limit: float = np.nan  # the lowest value of the tested score that chance explains; NaN: there is no verdict
    distance: float = np.nan  # of the tested score from the mean of random slices, in their standard deviations

    @property
    def verdict(self) -> str:
        """`pass`, `fail`, or "" with too few groups."""
        if np.isnan(self.limit):
            return ""
        return "fail" if [*self.scores.values()][-1].value < self.limit - 1e-12 else "pass"


def score_slices(clips: pd.DataFrame, answers: Answers, seed: int) -> list[Slice]:
    """Score all slices, the worst first: by their distance from random slices, and those without a verdict last.

    Args:
        clips: Rows of the clips table, with the column of `estimate_snr_db` if it is wanted.
        answers: To these clips.
        seed: Of the random slices.
    """
    chance = RandomSlices(answers, seed)
    found = [_score(column, value, answers.take(rows)) for column, value, rows in slices_of(clips)]
    slices = [each for each, _ in found]
    judged = [i for i, each in enumerate(slices) if _can_be_judged(each, answers.tested)]
    if judged:
        drawn = np.stack([chance.scores(found[i][1]) for i in judged])
        means, deviations, limits = lowest_by_chance(drawn)
        values = np.array([slices[i].scores[answers.tested].value for i in judged])
        distances = standardised(values, means, deviations)
        for i, limit, distance in zip(judged, limits.tolist(), distances.tolist(), strict=True):
            each = slices[i]
            slices[i] = Slice(each.column, each.value, each.clips, each.groups, each.scores, limit, distance)
    return sorted(slices, key=lambda each: (np.isnan(each.distance), each.distance, each.scores[answers.tested].value))


def _score(column: str, value: str, answers: Answers) -> tuple[Slice, NDArray[np.int64]]:
    """Return a slice without a verdict, and how many clips it has of each of its groups."""
    clips_per_group = np.unique(answers.groups, return_counts=True)[1]
    scores = {}
    for name, scored in answers.jackknifes().items():
        found = interval(scored, fraction=True)
        scores[name] = Scored(*(float(np.squeeze(end)) for end in (found.value, found.low, found.high)))
    return Slice(column, value, len(answers), len(clips_per_group), scores), clips_per_group


def _can_be_judged(part: Slice, tested: str) -> bool:
    return part.groups >= FEWEST_GROUPS and not np.isnan(part.scores[tested].value)


def slices_of(clips: pd.DataFrame) -> Iterator[tuple[str, str, NDArray[np.int64]]]:
    """Yield column, value and rows of each slice; a column that is the same everywhere gives none."""
    own = [name for name in clips.columns if name.startswith(COLUMN)]
    for column in (*_NUMBERS, *_VALUES, *own):
        if column not in clips:
            continue
        values = _binned(clips[column]) if column in _NUMBERS or column in own else _named(clips[column])
        names = values.unique()
        if len(names) > 1:
            yield from ((column, str(name), np.flatnonzero(values == name)) for name in names)


def _binned(column: pd.Series) -> pd.Series:
    """Return the quantile of each number as text; text is left as it is."""
    numbers = pd.to_numeric(column, errors="coerce").astype(float)
    numbers = numbers.where(np.isfinite(numbers))
    if not numbers.notna().equals(column.notna()) or numbers.nunique() <= QUANTILES:
        return _named(column)
    edges = np.unique(np.quantile(numbers.dropna(), np.linspace(0, 1, QUANTILES + 1)))
    # Each bin has its upper edge, and the first one its lower edge as well.
    number = np.clip(np.searchsorted(edges, numbers.fillna(edges[0])), 1, len(edges) - 1)
    names = [f"{low:.4g} to {high:.4g}" for low, high in pairwise(edges)]
    return pd.Series([names[i - 1] for i in number], column.index).where(numbers.notna(), _EMPTY)


def _named(column: pd.Series) -> pd.Series:
    """Return each value as text, and the rare ones as one."""
    text = column.map(_text, na_action="ignore").astype(object)
    text = text.where(text.notna(), _EMPTY)
    frequent = text.value_counts().index[:MOST_VALUES]
    return text.where(text.isin(frequent), _OTHERS)


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def estimate_snr_db(clips: pd.DataFrame, store: Path, sample_rate_hz: int) -> pd.Series:
    """Estimate the signal-to-noise ratio of each clip: the level of its loud frames above that of its quiet ones.

    These are the 95th and the 5th percentile of the levels of frames of 20 ms, in the first minute of a clip. It is an
    estimate for sounds with pauses: a clip without pauses has a low value even if it is clean. A level below that of
    16-bit rounding counts as that level. A clip shorter than two frames has none, NaN.
    """
    waveforms, length = MappedWaveforms(clips, store), round(_FRAME_SECONDS * sample_rate_hz)
    estimates = []
    for index in range(len(clips)):
        samples = waveforms.read(index, 0, _MOST_SECONDS * sample_rate_hz)
        frames = samples[: len(samples) // length * length].reshape(-1, length).astype(np.float64)
        if len(frames) < 2:
            estimates.append(np.nan)
            continue
        quiet, loud = np.quantile(np.maximum((frames**2).mean(axis=1), 2.0**-30 / 12), (0.05, 0.95))
        estimates.append(10 * float(np.log10(loud / quiet)))
    return pd.Series(estimates, clips.index)


def slices_table(slices: list[Slice], names: Sequence[str]) -> pd.DataFrame:
    """Return a row per slice; `names` are those of the scores."""
    rows = []
    for each in slices:
        row: dict[str, Any] = {"column": each.column, "value": each.value}
        row |= {"clips": each.clips, "groups": each.groups}
        for name, score in each.scores.items():
            row |= {name: score.value, f"{name}_low": score.low, f"{name}_high": score.high}
        rows.append(row | {"limit": each.limit, "verdict": each.verdict})
    scores = [f"{name}{end}" for name in names for end in ("", "_low", "_high")]
    return pd.DataFrame(rows, columns=["column", "value", "clips", "groups", *scores, "limit", "verdict"])
