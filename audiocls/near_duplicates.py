"""Clips that hold the same recording and not the same samples: encoded anew, resampled, louder, trimmed or padded.

Two takes of one word by one speaker are alike in any spectrogram, and no copies. What a take does not repeat is its
waveform: shifted onto each other, the waveforms of a copy correlate with 0.9 and more between 150 and 3,400 Hz even
after a low bit rate, those of two takes with less than 0.7. So fingerprints propose pairs and waveforms decide.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import pandas as pd
import scipy.fft
from numpy.typing import NDArray

from audiocls.atomic import write_table
from audiocls.fingerprints import Fingerprints, fingerprint_clips
from audiocls.mapped import MappedWaveforms

ALGORITHM: Final = 1
"""Part of the table's name. Raise it when the same clips would have other near-duplicates."""

# Chosen on the letters corpus, see benchmarks/near_duplicates.py.
LEAST_SIMILARITY: Final = 0.8
_LEAST_OVERLAP: Final = 0.5  # of the energy of the clip that has less of its own in it
# A hum or a tone correlates with itself wherever it is put: where the peak does not stand out, nothing is known.
_MOST_REPETITION: Final = 0.8
_REPETITION_SECONDS: Final = 0.1  # beyond what the pitch of a voice repeats
_LOWEST_HZ, _HIGHEST_HZ, _RATE_HZ = 150.0, 3_400.0, 8_000.0
_LEAST_SECONDS, _MOST_SECONDS = 0.15, 8.0  # of what is compared
_GLANCE_SECONDS: Final = 0.5  # of what is compared first, to be rid of what only sounds alike
_GLANCE_SIMILARITY: Final = 0.6
_SLACK_SECONDS: Final = 0.05  # how far an anchor may be off
_LEAST_COSINE: Final = 0.8
_NEIGHBOURS: Final = 5  # proposed for each anchor
_CELL: Final = 512  # anchors that are compared with each other, about
_CELLS_PER_ANCHOR: Final = 3


class Match(NamedTuple):
    """How two waveforms lie on each other."""

    similarity: float  # correlation, in [0, 1]; a copy turned upside down is a copy
    shift_seconds: float  # what starts the second clip stands here in the first
    overlap: float  # share of energy of one clip that the other has too; of the clip where it is more
    repetition: float  # how well the sound correlates with itself elsewhere, relative to the similarity


def find_near_duplicates(clips: Path, store: Path) -> Path:
    """Find the near-duplicates of a corpus, unless that was done before, and return the table of their pairs.

    Its columns are `audio_sha256_a` and `audio_sha256_b`, `similarity` in [0, 1], `shift_seconds` and `overlap`. Clips
    with the same samples count as one, and segments of one file are not compared: where they overlap is known.

    Raises:
        StoreError: A file of the store is damaged.
    """
    target = clips.parent / f"near_duplicates-{ALGORITHM}.parquet"
    if not target.exists():
        table = pd.read_parquet(clips).drop_duplicates("audio_sha256", ignore_index=True)
        sample_rate_hz = int(json.loads((store / "settings.json").read_text())["sample_rate_hz"])
        write_table(search(table, store, sample_rate_hz), target)
    return target


def search(clips: pd.DataFrame, store: Path, sample_rate_hz: int) -> pd.DataFrame:
    """Return the pairs of near-duplicates among clips that all have other samples, as `find_near_duplicates` says."""
    waveforms = MappedWaveforms(clips, store)
    paths, hashes = clips["path"].to_numpy(), clips["audio_sha256"].to_numpy()
    rows = []
    for a, b, shift_seconds in propose(fingerprint_clips(clips, store, sample_rate_hz)):
        if paths[a] == paths[b]:
            continue
        match = compare(waveforms.read(a), waveforms.read(b), shift_seconds, sample_rate_hz)
        if is_copy(match):
            rows.append((hashes[a], hashes[b], *match[:3]))
    columns = ["audio_sha256_a", "audio_sha256_b", "similarity", "shift_seconds", "overlap"]
    kinds = dict.fromkeys(columns[:2], "string") | dict.fromkeys(columns[2:], "float64")
    return pd.DataFrame(rows, columns=columns).astype(kinds)


def is_copy(match: Match) -> bool:
    """Whether two clips that lie on each other like this hold the same recording."""
    return (
        match.similarity >= LEAST_SIMILARITY
        and match.overlap >= _LEAST_OVERLAP
        and match.repetition <= _MOST_REPETITION
    )


def propose(found: Fingerprints) -> Iterator[tuple[int, int, float]]:
    """Yield pairs of clips that sound alike around an anchor, and by how many seconds the second lies behind."""
    first, second, cosine = (np.concatenate(parts) for parts in zip(*_neighbours(found), strict=True))
    a, b = found.clip[first], found.clip[second]
    order = np.lexsort((-cosine, np.maximum(a, b), np.minimum(a, b)))
    seen = (-1, -1)
    for i in order:
        x, y = int(first[i]), int(second[i])
        if found.clip[x] > found.clip[y]:
            x, y = y, x
        pair = (int(found.clip[x]), int(found.clip[y]))
        if pair != seen:  # the best of their anchors speaks for both
            seen = pair
            yield *pair, float(found.seconds[x] - found.seconds[y])


def _neighbours(found: Fingerprints) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]]:
    """Yield, cell by cell, anchors, the anchors of other clips that are nearest to them, and the cosine of both."""
    yield np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32)
    for members in _cells(found.vectors):
        for start in range(0, len(members), _CELL):
            rows = members[start : start + _CELL]
            cosine = found.vectors[rows] @ found.vectors[members].T
            cosine[found.clip[rows][:, None] == found.clip[members]] = -1
            most = min(_NEIGHBOURS, len(members))
            nearest = np.argpartition(-cosine, most - 1, axis=1)[:, :most]
            values = np.take_along_axis(cosine, nearest, axis=1)
            row, column = np.nonzero(values >= _LEAST_COSINE)
            yield rows[row], members[nearest[row, column]], values[row, column]


def _cells(vectors: NDArray[np.float32]) -> Iterator[NDArray[np.int64]]:
    """Yield sets of anchors that are near each other; each anchor is in several, so that no border parts a pair."""
    count = len(vectors) * _CELLS_PER_ANCHOR // _CELL
    if count <= 2 * _CELLS_PER_ANCHOR:
        yield np.arange(len(vectors))
        return
    centres = vectors[np.random.default_rng(0).choice(len(vectors), count, replace=False)]
    blocks = [
        np.argpartition(-(vectors[start : start + _CELL] @ centres.T), _CELLS_PER_ANCHOR, axis=1)
        for start in range(0, len(vectors), _CELL)
    ]
    cells = np.concatenate([block[:, :_CELLS_PER_ANCHOR].astype(np.int32) for block in blocks]).ravel()
    order = np.argsort(cells, kind="stable")
    yield from np.split(order // _CELLS_PER_ANCHOR, np.flatnonzero(np.diff(cells[order])) + 1)


def compare(
    first: NDArray[np.float32], second: NDArray[np.float32], shift_seconds: float, sample_rate_hz: int
) -> Match:
    """Lay two waveforms on each other, `shift_seconds` apart or a little more or less, and correlate them.

    Args:
        first: Mono, shape (num_samples,).
        second: Mono, shape (num_samples_2,).
        shift_seconds: What starts the second stands about here in the first.
        sample_rate_hz: Of both.
    """
    shift = round(shift_seconds * sample_rate_hz)
    glance = _correlate(*_overlap(first, second, shift, round(_GLANCE_SECONDS * sample_rate_hz)), sample_rate_hz)
    if glance[0] < _GLANCE_SIMILARITY:
        return Match(glance[0], shift_seconds, 0.0, glance[2])
    shift += round(glance[1] * sample_rate_hz)
    most = round(_MOST_SECONDS * sample_rate_hz)
    similarity, lag_seconds, repetition = _correlate(*_overlap(first, second, shift, most), sample_rate_hz)
    whole = _overlap(first, second, shift, max(len(first), len(second)))
    shares = [
        float(part @ part) / max(float(clip @ clip), 1e-20) for part, clip in zip(whole, (first, second), strict=True)
    ]
    return Match(similarity, shift / sample_rate_hz + lag_seconds, max(shares), repetition)


def _overlap(
    first: NDArray[np.float32], second: NDArray[np.float32], shift: int, most: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Cut both to what lies on each other, and to the loudest `most` samples or so of that."""
    start, stop = max(0, shift), min(len(first), len(second) + shift)
    if stop - start > most:
        blocks = np.square(first[start:stop]).cumsum(dtype=np.float64)
        start += int((blocks[most:] - blocks[:-most]).argmax())
        stop = start + most
    return first[start:stop], second[start - shift : stop - shift]


def _correlate(
    first: NDArray[np.float32], second: NDArray[np.float32], sample_rate_hz: int
) -> tuple[float, float, float]:
    """Return the highest correlation within the slack, at how many seconds, and the repetition as `Match` says it."""
    if len(first) < _LEAST_SECONDS * sample_rate_hz:
        return 0.0, 0.0, 1.0
    size = scipy.fft.next_fast_len(len(first) + 2 * round(_SLACK_SECONDS * sample_rate_hz), real=True)
    low, high = (round(hz * size / sample_rate_hz) for hz in (_LOWEST_HZ, min(_HIGHEST_HZ, sample_rate_hz / 2.2)))
    a, b = (scipy.fft.rfft(clip, size)[:high] for clip in (first, second))
    a[:low] = 0
    # As many lags as the band needs, and no more.
    lags = min(size, round(size * _RATE_HZ / sample_rate_hz))
    energy = float(np.vdot(a, a).real) * float(np.vdot(b[low:], b[low:]).real)
    curve = np.abs(scipy.fft.irfft(a * np.conj(b), lags)) * (lags / 2 / np.sqrt(max(energy, 1e-30)))
    seconds = np.arange(lags) * (size / lags / sample_rate_hz)
    seconds[lags // 2 + 1 :] -= size / sample_rate_hz
    near = np.flatnonzero(np.abs(seconds) <= _SLACK_SECONDS)
    peak = near[curve[near].argmax()]
    similarity = min(1.0, float(curve[peak]))
    # Of two pieces of one tone the less lies on each other, the further they are shifted.
    length, away = len(first) / sample_rate_hz, np.abs(seconds - seconds[peak])
    beside = (away > min(_REPETITION_SECONDS, length / 3)) & (away < length / 2)
    repeated = float((curve[beside] / (1 - away[beside] / length)).max(initial=0.0))
    return similarity, float(seconds[peak]), repeated / max(similarity, 1e-9)
