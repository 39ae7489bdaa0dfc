"""Small pictures and sounds of clips, as `data:` URIs."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import soundfile
import soxr
from matplotlib import colormaps
from numpy.typing import NDArray
from PIL import Image

from audiocls.batches import log_mel_db
from audiocls.splits import PreparedData
from audiocls.waveforms import MappedWaveforms

MOST_SECONDS: Final = 4.0
"""Of a clip; the page has a size limit."""

_MP3_RATES_HZ: Final = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
_MP3_LEVEL: Final = 0.7  # of compression: about 10 kB for 3 s of 16 kHz
_PICTURE_SIZE: Final = (320, 96)
_PICTURE_QUALITY: Final = 60
_SHOWN_DB: Final = 70.0


@dataclass(frozen=True, slots=True)
class Excerpt:
    """The part of a clip that is shown and played, as `data:` URIs."""

    start_seconds: float
    seconds: float
    clip_seconds: float
    picture: str
    sound: str

    @property
    def size(self) -> int:
        """Bytes of both URIs."""
        return len(self.picture) + len(self.sound)


class Excerpts:
    """Cuts excerpts of clips from the waveform store."""

    def __init__(self, clip_ids: Sequence[str], data: PreparedData, starts: Mapping[str, float]) -> None:
        """Open the samples of some clips.

        Args:
            clip_ids: The clips; those that the clips table lacks have no excerpt.
            data: With the clips table and the store.
            starts: Where the excerpt of a clip begins, in seconds; 0 if it is not named.
        """
        columns = ["clip_id", "shard", "first_sample", "num_samples", "scale"]
        clips = pd.read_parquet(data.split_clips, columns=columns)
        clips = clips[clips["clip_id"].isin(set(clip_ids))].drop_duplicates("clip_id")
        self._rows = {clip_id: row for row, clip_id in enumerate(clips["clip_id"])}
        self._waveforms = MappedWaveforms(clips, data.waveforms)
        self._rate_hz = data.params.audio.sample_rate_hz
        self._starts = starts

    def cut(self, clip_id: str) -> Excerpt | None:
        """Return the excerpt of a clip; None if the clips table does not have it."""
        row = self._rows.get(clip_id)
        if row is None:
            return None
        total, length = int(self._waveforms.num_samples[row]), round(MOST_SECONDS * self._rate_hz)
        start = max(0, min(round(self._starts.get(clip_id, 0.0) * self._rate_hz), total - length))
        samples = self._waveforms.read(row, start, start + length)
        picture, sound = draw_spectrogram(samples, self._rate_hz), encode_mp3(samples, self._rate_hz)
        return Excerpt(
            start_seconds=start / self._rate_hz,
            seconds=len(samples) / self._rate_hz,
            clip_seconds=total / self._rate_hz,
            picture=_data_uri("image/webp", picture),
            sound=_data_uri("audio/mpeg", sound),
        )


def telling_starts(windows: Path, predicted: Mapping[str, str]) -> dict[str, float]:
    """Return where in long clips the window begins that speaks most for a label.

    Args:
        windows: `windows.parquet`, which need not exist.
        predicted: The label of each clip of interest.

    Returns:
        Seconds by clip, of the clips that have several windows.
    """
    if not predicted or not windows.exists():
        return {}
    table = pq.read_table(windows, filters=[("clip_id", "in", [*predicted])]).to_pandas()
    starts = {}
    for clip_id, rows in table.groupby("clip_id"):
        column = f"probability/{predicted[str(clip_id)]}"
        if column in rows:
            starts[str(clip_id)] = float(rows.loc[rows[column].idxmax(), "start_seconds"])
    return starts


def encode_mp3(samples: NDArray[np.float32], rate_hz: int) -> bytes:
    """Encode a mono waveform as MP3, which all browsers play; it is resampled if MP3 does not have its rate."""
    rate = next((each for each in _MP3_RATES_HZ if each >= rate_hz), _MP3_RATES_HZ[-1])
    if rate != rate_hz:
        samples = soxr.resample(samples, rate_hz, rate)
    buffer = io.BytesIO()
    options: dict[str, Any] = {"compression_level": _MP3_LEVEL, "bitrate_mode": "VARIABLE"}
    soundfile.write(buffer, np.clip(samples, -1, 1), rate, format="MP3", subtype="MPEG_LAYER_III", **options)
    return buffer.getvalue()


def draw_spectrogram(samples: NDArray[np.float32], rate_hz: int) -> bytes:
    """Draw the log-mel spectrogram of a mono waveform as WebP, low frequencies at the bottom."""
    levels = log_mel_db(samples, rate_hz)
    top = float(levels.max())
    shades = np.clip((levels - top + _SHOWN_DB) / _SHOWN_DB, 0, 1)
    colours = (colormaps["magma"](shades[::-1])[..., :3] * 255).round().astype(np.uint8)
    picture = Image.fromarray(colours).resize(_PICTURE_SIZE, Image.Resampling.BILINEAR)
    buffer = io.BytesIO()
    picture.save(buffer, "WEBP", quality=_PICTURE_QUALITY)
    return buffer.getvalue()


def _data_uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
