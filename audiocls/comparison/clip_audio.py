"""Short clips as MP3 in a page, so that they can be heard without their files."""

from __future__ import annotations

import base64
import math
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from audiocls.decoding import UnusableClipError, stream_file
from audiocls.evaluation import encode_mp3
from audiocls.files import is_uri
from audiocls.params import AudioParams

RATE_HZ: Final = 16_000
MOST_SECONDS: Final = 10.0
_DECODING: Final = AudioParams(sample_rate_hz=RATE_HZ, min_seconds=0, max_file_seconds=1e9, silence_db=-200.0)


def encode_clip(path: str, start_seconds: Any = None, end_seconds: Any = None) -> str | None:
    """Return the first seconds of a clip as a `data:` URI; None if its file is not here or cannot be read.

    Args:
        path: Of the file.
        start_seconds: Of the clip in the file; None or NaN for its beginning.
        end_seconds: The same, for its end.
    """
    if is_uri(path) or not Path(path).is_file():
        return None
    start = _or(start_seconds, 0.0)
    first = round(start * RATE_HZ)
    last = round(min(_or(end_seconds, math.inf), start + MOST_SECONDS) * RATE_HZ)
    try:
        samples = _read(Path(path), first, last)
    except (UnusableClipError, OSError):
        return None
    if not len(samples):
        return None
    return f"data:audio/mpeg;base64,{base64.b64encode(encode_mp3(samples, RATE_HZ)).decode()}"


def _read(path: Path, first: int, last: int) -> NDArray[np.float32]:
    parts: list[NDArray[np.float32]] = []
    place = 0
    for block in stream_file(path, _DECODING):
        parts.append(block[max(0, first - place) : max(0, last - place)])
        place += len(block)
        if place >= last:
            break
    return np.concatenate(parts) if parts else np.zeros(0, np.float32)


def _or(value: Any, default: float) -> float:
    return default if value is None or math.isnan(value) else float(value)
