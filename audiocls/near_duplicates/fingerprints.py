"""Fingerprints: descriptors of a clip around its loudest moments, a few hundred bytes each, to look up copies.

    <store>/fingerprints-<ALGORITHM>/<name>.parquet     one row per clip, by the hash of its samples

An anchor is a peak of the smoothed energy, which stays in place when a clip is re-encoded, trimmed or padded. Its
vector describes the log-mel spectrogram around it, independently of gain. Landmark hashes (Wang 2003) and
sub-fingerprints (Haitsma and Kalker 2002) need seconds of sound to be reliable. Clips of 0.3 s are too short for that,
so anchors only propose candidates: `audiocls.near_duplicates.pairs` compares the signals themselves.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import scipy.fft
import scipy.ndimage
import soxr
from numpy.typing import NDArray

from audiocls.files import damaged, write_table
from audiocls.progress import Bar, progress_bar
from audiocls.waveforms import MappedWaveforms

ALGORITHM: Final = 2
"""Part of the folder's name. Increment it when the same samples would give another fingerprint."""

# The band that survives telephone lines and low bit rates.
RATE_HZ: Final = 8_000
_LOWEST_HZ, _HIGHEST_HZ = 200.0, 3_300.0
_HOP: Final = 80  # samples between energy values, 10 ms
_SMOOTHING_HOPS: Final = 4  # so that a syllable has one peak
_APART_HOPS: Final = 12
_LEAST_ENERGY: Final = 0.01  # relative to the loudest anchor
MOST_ANCHORS: Final = 64
# A patch is 0.36 s, about a syllable: 16 windows of 64 ms, long enough to resolve harmonics, with a step of 20 ms.
_WINDOW, _STEP, _WINDOWS, _BANDS = 512, 160, 16, 32
_DEPTH: Final = 1e-3  # floor of a patch, 30 dB below its peak: codec artifacts and noise dominate below
_COEFFICIENTS: Final = (10, 12)  # of time and frequency; finer ones do not survive a codec
DIMS: Final = _COEFFICIENTS[0] * _COEFFICIENTS[1]
_CLIPS_PER_FILE: Final = 4_096

_SCHEMA: Final = pa.schema(
    [
        pa.field("audio_hash", pa.string()),
        pa.field("anchors", pa.binary(), metadata={"dtype": "int32, little-endian", "unit": f"1/{RATE_HZ} s"}),
        pa.field("vectors", pa.binary(), metadata={"dtype": "int8", "shape": f"(num_anchors, {DIMS})"}),
    ]
)


@dataclass(frozen=True, slots=True)
class Fingerprints:
    """The concatenated anchors of several clips."""

    clip: NDArray[np.int64]  # (num_anchors,), position of the clip
    seconds: NDArray[np.float64]  # (num_anchors,), from the clip's start
    vectors: NDArray[np.float32]  # (num_anchors, DIMS), of unit length


def fingerprint(waveform: NDArray[np.float32], sample_rate_hz: int) -> tuple[NDArray[np.int32], NDArray[np.int8]]:
    """Fingerprint one clip.

    Args:
        waveform: Mono, shape (num_samples,), at least one sample.
        sample_rate_hz: Its rate.

    Returns:
        The anchors in samples at RATE_HZ, shape (num_anchors,), and their vectors, shape (num_anchors, DIMS).
    """
    signal = waveform - waveform.mean()
    if sample_rate_hz != RATE_HZ:
        signal = soxr.resample(signal, sample_rate_hz, RATE_HZ, quality="LQ")
    signal = np.pad(signal, (0, max(0, _HOP - len(signal))))
    anchors = _find_anchors(signal)
    return anchors, _describe(signal, anchors)


def _find_anchors(signal: NDArray[np.float32]) -> NDArray[np.int32]:
    hops = len(signal) // _HOP
    energy = np.square(signal[: hops * _HOP]).reshape(hops, _HOP).sum(axis=1)
    smooth = scipy.ndimage.gaussian_filter1d(energy, _SMOOTHING_HOPS, mode="constant")
    highest = scipy.ndimage.maximum_filter1d(smooth, _APART_HOPS, mode="constant")
    peaks = np.flatnonzero((smooth == highest) & (smooth >= _LEAST_ENERGY * smooth.max()))
    loudest = peaks[np.argsort(-smooth[peaks], kind="stable")[:MOST_ANCHORS]]
    return (np.sort(loudest) * _HOP + _HOP // 2).astype(np.int32)


def _describe(signal: NDArray[np.float32], anchors: NDArray[np.int32]) -> NDArray[np.int8]:
    """Return the leading DCT coefficients of the log-mel patch around each anchor, without the mean, which is gain."""
    half = ((_WINDOWS - 1) * _STEP + _WINDOW) // 2
    starts = anchors[:, None] + np.arange(_WINDOWS) * _STEP  # the padding shifts the signal by half a patch
    windows = np.pad(signal, half)[starts[:, :, None] + np.arange(_WINDOW)]
    power = np.abs(scipy.fft.rfft(windows * np.hanning(_WINDOW).astype(np.float32))) ** 2 @ _mel_filters()
    patch = np.log(power + _DEPTH * power.max(axis=(1, 2), keepdims=True) + np.float32(1e-20))
    shape = scipy.fft.dctn(patch, axes=(1, 2), norm="ortho")[:, : _COEFFICIENTS[0], : _COEFFICIENTS[1]]
    vectors = shape.reshape(len(anchors), DIMS)
    vectors[:, 0] = 0
    return np.rint(127 * vectors / np.maximum(np.abs(vectors).max(axis=1, keepdims=True), 1e-9)).astype(np.int8)


@cache
def _mel_filters() -> NDArray[np.float32]:
    """Return triangular filters of equal area, shape (_WINDOW // 2 + 1, _BANDS)."""
    hz = np.fft.rfftfreq(_WINDOW, 1 / RATE_HZ)[:, None]
    mel = np.linspace(np.log1p(_LOWEST_HZ / 700), np.log1p(_HIGHEST_HZ / 700), _BANDS + 2)
    low, centre, high = (700 * np.expm1(mel[i : i + _BANDS]) for i in range(3))
    filters = np.maximum(np.minimum((hz - low) / (centre - low), (high - hz) / (high - centre)), 0)
    return (filters / filters.sum(axis=0)).astype(np.float32)


def fingerprint_clips(clips: pd.DataFrame, store: Path, sample_rate_hz: int) -> Fingerprints:
    """Return the fingerprints of clips in the waveform store, computing those that are not stored yet.

    Args:
        clips: With the columns of `corpus.CLIPS_SCHEMA`; `Fingerprints.clip` is the row number.
        store: The waveform store, where fingerprints are saved.
        sample_rate_hz: Of the store.

    Raises:
        StoreError: A file of the store is damaged.
    """
    folder = store / f"fingerprints-{ALGORITHM}"
    known = _read(folder)
    new = clips[~clips["audio_hash"].isin(known.index)].drop_duplicates("audio_hash")
    new = new.sort_values(["shard", "first_sample"])  # reading in the order of the store is fastest
    if len(new):
        with progress_bar("fingerprinting", len(new)) as bar:
            for start in range(0, len(new), _CLIPS_PER_FILE):
                _write(new.iloc[start : start + _CLIPS_PER_FILE], store, sample_rate_hz, folder, bar)
        known = _read(folder)
    return _join(known.loc[clips["audio_hash"]])


def _write(clips: pd.DataFrame, store: Path, sample_rate_hz: int, folder: Path, bar: Bar) -> None:
    table = pa.Table.from_pylist(list(_rows(clips, store, sample_rate_hz, bar)), schema=_SCHEMA)
    name = hashlib.sha256("\n".join(clips["audio_hash"]).encode()).hexdigest()[:16]
    write_table(table, folder / f"{name}.parquet")


def _rows(clips: pd.DataFrame, store: Path, sample_rate_hz: int, bar: Bar) -> Iterator[dict[str, Any]]:
    waveforms = MappedWaveforms(clips, store)
    for i, digest in enumerate(clips["audio_hash"]):
        anchors, vectors = fingerprint(waveforms.read(i), sample_rate_hz)
        yield {
            "audio_hash": digest,
            "anchors": anchors.astype("<i4", copy=False).tobytes(),
            "vectors": vectors.tobytes(),
        }
        bar.advance(1)


def _read(folder: Path) -> pd.DataFrame:
    """Read all stored fingerprints, indexed by the hash of the samples."""
    parts = [_SCHEMA.empty_table()]
    for path in sorted(folder.glob("*.parquet")):
        try:
            parts.append(pq.read_table(path, schema=_SCHEMA))
        except (pa.ArrowException, OSError) as error:
            raise damaged(path, error) from error
    # Two concurrent runs may have computed the same clip.
    return pa.concat_tables(parts).to_pandas().drop_duplicates("audio_hash").set_index("audio_hash")


def _join(rows: pd.DataFrame) -> Fingerprints:
    anchors = [np.frombuffer(row, "<i4") for row in rows["anchors"]]
    clip = np.repeat(np.arange(len(rows)), [len(row) for row in anchors])
    vectors = np.frombuffer(b"".join(rows["vectors"]), np.int8).reshape(len(clip), DIMS).astype(np.float32)
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return Fingerprints(clip, np.concatenate([*anchors, []]) / RATE_HZ, vectors / np.maximum(length, 1e-9))
