"""Read the most common recordings without a decoder: 16-bit PCM in a WAV file with a minimal header.

libsndfile takes longer to open such a file than soxr takes to resample it. Any file that deviates from this form is
left to libsndfile, so that damaged headers are handled in one place.
"""

from __future__ import annotations

from struct import Struct
from typing import Final

import numpy as np
from numpy.typing import NDArray

FORMAT: Final = "WAV/PCM_16"
_PCM: Final = 1
_MOST_CHANNELS: Final = 8
# Multimedia Programming Interface and Data Specifications 1.0 (IBM and Microsoft, 1991), "WAVE form".
_HEADER: Final = Struct("<4sI4s 4sIHHIIHH 4sI")


def read_plain_wav(content: bytes) -> tuple[NDArray[np.int16], int] | None:
    """Return the samples as a view, shape (frames, channels), and the rate in Hz; None for any other file."""
    if len(content) <= _HEADER.size or not content.startswith(b"RIFF"):
        return None
    _, riff_bytes, *wave, coding, channels, rate_hz, per_second, block, bits, data, data_bytes = _HEADER.unpack_from(
        content
    )
    frames, rest = divmod(len(content) - _HEADER.size, max(block, 1))
    plain = wave == [b"WAVE", b"fmt ", 16] and (coding, bits, data, rest) == (_PCM, 16, b"data", 0)
    sized = (riff_bytes, data_bytes) == (len(content) - 8, frames * block)
    usual = 0 < channels <= _MOST_CHANNELS and rate_hz > 0
    if not (plain and sized and usual and block == 2 * channels and per_second == rate_hz * block):
        return None
    return np.frombuffer(content, "<i2", offset=_HEADER.size).reshape(frames, channels), rate_hz
