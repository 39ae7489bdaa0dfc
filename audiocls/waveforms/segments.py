"""Segments: clips that are part of a long recording, which is decoded and stored once, as a whole.

A segment is a view: a range of samples in its recording. Whole files are measured before resampling; segments are
measured on the stored samples, so clipping in a single channel or between samples is not detected.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from audiocls.decoding import FULL_SCALE, hash_audio, measure_levels
from audiocls.files import Place, home_of, read_table
from audiocls.waveforms.file_maps import FileMaps
from audiocls.waveforms.mapped import unpack_shard

END_TOLERANCE_SECONDS: Final = 0.05
"""A segment may end this far past its recording and is cut there; tables are often rounded to tenths of a second."""

_BLOCK_SAMPLES: Final = 1 << 20  # limits memory: samples are squared as 64-bit floats


@dataclass(frozen=True, slots=True)
class _Limits:
    """The settings of the store that also apply to segments."""

    rate_hz: int
    min_seconds: float
    silence_db: float


def cut_segments(rows: pd.DataFrame, store: Path) -> pd.DataFrame:
    """Cut segments out of their recordings and measure each; samples are memory-mapped and read once.

    Args:
        rows: Segments with `start_seconds`, `end_seconds` and the store's columns of their whole recordings.
        store: The waveform store.

    Returns:
        With the index of `rows`: the columns in which a clip differs from its recording, `reason` and `detail`.
    """
    limits = _read_limits(store)
    codes, names = pd.factorize(rows["shard"])
    shards = FileMaps([unpack_shard(store, name) for name in names], "<i2")
    cut = [_cut(row, shards[code], limits) for code, row in zip(codes, rows.itertuples(), strict=True)]
    return pd.DataFrame(cut, index=rows.index)


def whole_recordings(clips: pd.DataFrame, store: Path) -> pd.DataFrame:
    """Return the recordings that clips are part of, each once.

    Args:
        clips: Rows of the clips table.
        store: The waveform store.

    Returns:
        A row per recording, in the order of the clips, with the samples and the hash of the whole, and the columns that
        its clips share. The index is `recording_keys` of its clips.
    """
    rows = clips.assign(first_sample=clips["first_sample"] - clips["start_sample"], audio_hash=clips["recording_hash"])
    rows = rows.set_index(recording_keys(clips))
    rows = rows[~rows.index.duplicated()]
    for name, of_shard in rows.groupby("shard", sort=False):
        stored = read_table(home_of(store) / "shards" / f"{name}.parquet", ["audio_hash", "num_samples"]).to_pandas()
        lengths = stored.dropna().drop_duplicates("audio_hash").set_index("audio_hash")["num_samples"].astype("int64")
        rows.loc[of_shard.index, "num_samples"] = lengths.loc[of_shard["audio_hash"]].to_numpy()
    return rows


def recording_keys(clips: pd.DataFrame) -> pd.Index:
    """Return a key of each clip's recording, the same for all clips of it: the place of its samples in the store."""
    first = (clips["first_sample"] - clips["start_sample"]).astype("int64").astype(str)
    return pd.Index(clips["shard"].astype(str) + ":" + first)


def cut_segment(row: Any, recording: NDArray[np.int16], store: Place) -> dict[str, Any]:
    """Cut one segment, a row as in `cut_segments`, out of its recording's samples, shape (num_samples,)."""
    return _cut(row._replace(first_sample=0), recording, _read_limits(store))


def _read_limits(store: Place) -> _Limits:
    settings = json.loads((store / "settings.json").read_text())
    return _Limits(settings["sample_rate_hz"], settings["min_seconds"], settings["silence_db"])


def _cut(row: Any, shard: NDArray[np.int16], limits: _Limits) -> dict[str, Any]:
    length, start = int(row.num_samples), round(row.start_seconds * limits.rate_hz)
    end_seconds = math.inf if np.isnan(row.end_seconds) else row.end_seconds
    stop = min(length, round(end_seconds * limits.rate_hz)) if math.isfinite(end_seconds) else length
    first = int(row.first_sample) + start
    view = {
        "start_sample": start,
        "first_sample": first,
        "num_samples": stop - start,
        "duration_seconds": (stop - start) / limits.rate_hz,
    }
    if start >= length:
        return view | _refused("outside_file", f"starts at {row.start_seconds:g} s{_length_of(row)}")
    if math.isfinite(end_seconds) and end_seconds > row.duration_seconds + END_TOLERANCE_SECONDS:
        return view | _refused("outside_file", f"ends at {end_seconds:g} s{_length_of(row)}")
    # One sample less is a rounding error.
    if stop - start < max(1, limits.min_seconds * limits.rate_hz - 1):
        detail = f"{view['duration_seconds']:.3f} s, and audio.min_seconds is {limits.min_seconds:g}"
        return view | _refused("too_short", detail)
    return view | _measured(shard[first : first + stop - start], row.scale, limits)


def _length_of(row: Any) -> str:
    return f", and the recording is {row.duration_seconds:.3f} s long"


def _refused(reason: str, detail: str) -> dict[str, Any]:
    return {"reason": reason, "detail": detail}


def _measured(samples: NDArray[np.int16], scale: float, limits: _Limits) -> dict[str, Any]:
    """Measure stored samples, shape (num_samples,), as whole files are measured before they are stored."""
    peak = max(int(samples.max()), -int(samples.min())) / FULL_SCALE * scale
    if peak < 10 ** (limits.silence_db / 20):
        detail = f"the peak is {peak:.1e} of full scale, and audio.silence_db is {limits.silence_db:g}"
        return _refused("silent", detail)
    full = (FULL_SCALE - 1) / scale
    energy, clipped = 0.0, 0
    for start in range(0, len(samples), _BLOCK_SAMPLES):
        block = samples[start : start + _BLOCK_SAMPLES].astype(np.float64)
        energy += float(block @ block)
        clipped += int(np.count_nonzero(np.abs(block) >= full))
    signal = samples * np.float32(scale / FULL_SCALE)
    _, dc_offset, silence_fraction = measure_levels(signal, limits.rate_hz)
    return {
        "peak": peak,
        "rms_db": 10 * math.log10(energy / len(samples) * (scale / FULL_SCALE) ** 2),
        "clipped_fraction": clipped / len(samples),
        "dc_offset": dc_offset,
        "silence_fraction": silence_fraction,
        "audio_hash": hash_audio(samples.data),
        "reason": None,
        "detail": None,
    }
