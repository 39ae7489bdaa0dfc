"""From the bytes of a recording to mono 16-bit samples at one rate, or to the reason why not."""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass
from typing import Final

import numpy as np
import soxr
import xxhash
from numpy.typing import NDArray

from audiocls.decoding.reading import MissingDecoderError, UnusableClipError, read
from audiocls.params import AudioParams

__all__ = ["MissingDecoderError", "Recording", "UnusableClipError", "decode", "hash_audio", "measure_levels"]

ALGORITHM: Final = 8
"""Part of every store's key. Raise it when the same bytes would become other samples or measures.

2: PyAV. 3: DC offset and silence share. 4: levels added up without BLAS, whose sums depend on the number of threads.
5: audio is told by XXH3. 6: levels added up in float32 where that is exact enough. 7: no truncated recordings.
8: lengths are counted and not believed: FLAC and MP3 without a length, joined files, GSM; more truncated ones.
"""

FULL_SCALE: Final = 32_768.0
LARGEST: Final = 1.0 - 1.0 / FULL_SCALE  # of 16-bit samples; smaller by one step than full scale
# A corpus has one rate or a few; what is kept of each takes little.
MOST_RESAMPLERS: Final = 8
# 2 ** 100 times full scale is no recording, and float32 overflows where such samples are added up.
MAX_MAGNITUDE: Final = 2.0**100
# Silence is told by frames of about a short phoneme, against the clip's own loudest: the gain of a recording is chance,
# and a quiet recording is not a silent one. 40 dB is about the range of speech, so that what lies below is a pause.
SILENCE_FRAME_SECONDS: Final = 0.025
SILENCE_BELOW_LOUDEST_DB: Final = 40.0


@dataclass(frozen=True, slots=True)
class Recording:
    """A decoded recording, and what was measured on it before resampling."""

    samples: NDArray[np.int16]  # (num_samples,), mono, at AudioParams.sample_rate_hz
    scale: float  # the signal is samples / 32768 * scale; 1.0 unless the source exceeds full scale
    duration_seconds: float
    source_rate_hz: int
    source_channels: int
    source_format: str  # container and subtype, e.g. "WAV/PCM_16"
    peak: float  # of the mono mix, full scale is 1.0
    rms_db: float  # relative to full scale
    clipped_fraction: float  # share of samples at full scale in any channel
    dc_offset: float  # mean of the mono mix, full scale is 1.0
    silence_fraction: float  # share of 25 ms frames that, their mean aside, lie 40 dB or more below the loudest


def hash_audio(samples: bytes | memoryview) -> str:
    """Tell decoded audio from other audio, in 32 hexadecimal digits.

    XXH3 in 128 bits takes 2 microseconds for a second at 16 kHz, where SHA-256 takes 30. Whoever makes two sounds of
    one hash on purpose deceives nobody but themselves: files are told by the SHA-256 of their bytes.
    """
    return xxhash.xxh3_128_hexdigest(samples)


def decode(content: bytes, params: AudioParams) -> Recording:
    """Decode, mix to mono, resample and measure one recording.

    Raises:
        UnusableClipError: With the reason `unreadable`, `truncated`, `empty`, `too_short`, `too_long`, `non_finite` or
            `silent`.
    """
    if not content:
        raise UnusableClipError("empty", "the file has no bytes")
    original, rate_hz, source_format = read(content, params)
    loudest = _checked_peak(original, rate_hz, params)
    channels = _to_float(original)
    mono = _mix(channels)
    peak = loudest if channels.shape[1] == 1 else _peak(mono)
    if peak < 10 ** (params.silence_db / 20):
        raise UnusableClipError(
            "silent", f"the peak is {peak:.1e} of full scale, and audio.silence_db is {params.silence_db:g}"
        )
    resampled = _resample(mono, rate_hz, params.sample_rate_hz)
    samples, scale = _to_int16(resampled)
    if samples is None:
        raise UnusableClipError("silent", f"every 16-bit sample at {params.sample_rate_hz} Hz is zero")
    rms_db, dc_offset, silence_fraction = measure_levels(mono, rate_hz)
    return Recording(
        samples=samples,
        scale=scale,
        duration_seconds=len(mono) / rate_hz,
        source_rate_hz=rate_hz,
        source_channels=channels.shape[1],
        source_format=source_format,
        peak=peak,
        rms_db=rms_db,
        clipped_fraction=_clipped_fraction(channels) if loudest >= LARGEST else 0.0,
        dc_offset=dc_offset,
        silence_fraction=silence_fraction,
    )


def measure_levels(mono: NDArray[np.float32], rate_hz: int) -> tuple[float, float, float]:
    """Return the level in dB, the DC offset and the silence share of (num_samples,), as `Recording` defines them.

    What is left over after the last whole frame is not looked at for silence; a clip shorter than a frame has none.
    """
    length = max(1, round(SILENCE_FRAME_SECONDS * rate_hz))
    levels, exact = _levels(mono, length)
    return levels if exact else _levels(mono.astype(np.float64), length)[0]


def _levels(signal: NDArray[np.float32 | np.float64], length: int) -> tuple[tuple[float, float, float], bool]:
    """Measure by frames of `length` samples, and tell whether the precision of the signal's type was enough for it."""
    whole = len(signal) // length * length
    frames, rest = signal[:whole].reshape(-1, length), signal[whole:]
    # No BLAS: it would start threads in every worker for so little, and its sums depend on how many.
    energies = np.einsum("ij,ij->i", frames, frames).astype(np.float64)
    sums = np.einsum("ij->i", frames).astype(np.float64)
    energy = float(np.add.reduce(energies)) + float(np.einsum("i,i->", rest, rest))
    offset = (float(np.add.reduce(sums)) + float(np.add.reduce(rest))) / len(signal)
    rms_db = 10 * math.log10(energy / len(signal))
    # Squares of what MAX_MAGNITUDE lets pass overflow float32.
    exact = signal.dtype == np.float64 or math.isfinite(energy)
    if len(frames) == 0 or not exact:
        return (rms_db, offset, 0.0), exact
    power = energies - np.square(sums) / length
    loudest = float(power.max())
    # The second is what rounding leaves of a signal that is nothing but its offset.
    level = max(loudest * 10 ** (-SILENCE_BELOW_LOUDEST_DB / 10), 1e-12 * energy / len(frames))
    silence_fraction = int(np.count_nonzero(power <= level)) / len(frames)
    # Where there is little but an offset, the rounding of float32 would be taken for sound.
    exact = signal.dtype == np.float64 or loudest >= 0.1 * float(energies.max())
    return (rms_db, offset, silence_fraction), exact


def _checked_peak(channels: NDArray[np.float32 | np.int16], rate_hz: int, params: AudioParams) -> float:
    """Return the largest magnitude in any channel, once the length and the numbers are found to be good."""
    frames = len(channels)
    if frames == 0:
        raise UnusableClipError("empty", "the file has a header and no samples")
    if frames / rate_hz < params.min_seconds or frames * params.sample_rate_hz < rate_hz:
        raise UnusableClipError(
            "too_short", f"{frames / rate_hz:.3f} s, and audio.min_seconds is {params.min_seconds:g}"
        )
    # Not a number is not smaller than anything, so that one comparison finds NaN, infinities and what is near them.
    peak = _peak(channels)
    if not peak < MAX_MAGNITUDE:
        broken = frames - int((np.abs(channels) < MAX_MAGNITUDE).all(axis=1).sum())
        raise UnusableClipError("non_finite", f"{broken} of {frames} frames are NaN, infinite or beyond all measure")
    return peak


def _to_float(channels: NDArray[np.float32 | np.int16]) -> NDArray[np.float32]:
    """Return samples of which full scale is 1.0."""
    if channels.dtype == np.int16:
        return channels * np.float32(1 / FULL_SCALE)
    return channels.astype(np.float32, copy=False)


def _mix(channels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Average (frames, channels) to (frames,)."""
    match channels.shape[1]:
        case 1:
            return channels[:, 0]
        case 2:  # the same to the bit as the mean over an axis of two, which takes twenty times as long
            return (channels[:, 0] + channels[:, 1]) / np.float32(2)
        case _:
            return channels.mean(axis=1, dtype=np.float32)


def _peak(signal: NDArray[np.float32 | np.int16]) -> float:
    """Return the largest magnitude, or NaN where there is one; reductions over all axes need no copy."""
    peak = max(float(signal.max()), -float(signal.min()))  # where there is NaN, both are
    return peak / FULL_SCALE if signal.dtype == np.int16 else peak


def _clipped_fraction(channels: NDArray[np.float32]) -> float:
    """Return the share of the frames that are at full scale in any channel."""
    return float(np.mean(np.any([np.abs(channel) >= LARGEST for channel in channels.T], axis=0)))


class _Resamplers(threading.local):
    """One resampler for each pair of rates, of the thread's own: to design its filter takes as long as a short clip."""

    def __init__(self) -> None:
        self._made: dict[tuple[int, int], soxr.ResampleStream] = {}

    def of(self, rate_hz: int, target_hz: int) -> soxr.ResampleStream:
        """Return a resampler that has forgotten what it was last used for."""
        made = self._made.get((rate_hz, target_hz))
        if made is None:
            if len(self._made) == MOST_RESAMPLERS:
                self._made.clear()
            made = self._made[rate_hz, target_hz] = soxr.ResampleStream(rate_hz, target_hz, 1, "float32", "HQ")
        made.clear()
        return made


_resamplers: Final = _Resamplers()


def _resample(mono: NDArray[np.float32], rate_hz: int, target_hz: int) -> NDArray[np.float32]:
    if rate_hz == target_hz:
        return mono
    # soxr takes (frames,) or (frames, channels) and kills the process on (channels, frames): mono is all it gets.
    # The copy is for one channel cut out of many, which is not contiguous.
    resampler = _resamplers.of(rate_hz, target_hz)
    resampled: NDArray[np.float32] = resampler.resample_chunk(np.ascontiguousarray(mono), last=True)
    return resampled


def _to_int16(signal: NDArray[np.float32]) -> tuple[NDArray[np.int16] | None, float]:
    """Return 16-bit samples and their scale; None where all of them would be zero.

    Scaled by 32768, the exact inverse of how 16-bit sources are read, so that those come through unchanged.
    """
    peak = _peak(signal) if len(signal) else 0.0
    # What is not above half a step is rounded to zero.
    if peak * FULL_SCALE <= 0.5:
        return None, 1.0
    scale = max(1.0, peak)
    scaled = (signal if scale == 1.0 else signal / np.float32(scale)) * np.float32(FULL_SCALE)
    np.rint(scaled, out=scaled)
    if peak > LARGEST:
        np.minimum(scaled, FULL_SCALE - 1, out=scaled)
    return scaled.astype(np.int16), scale
