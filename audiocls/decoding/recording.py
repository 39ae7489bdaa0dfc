"""Convert the bytes of a recording to mono 16-bit samples at one rate, or raise with the reason why not."""

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

ALGORITHM: Final = 9
"""Part of every store's key. Increment it when the same bytes would give other samples or measurements.

2: PyAV. 3: DC offset and silence fraction. 4: levels summed without BLAS, whose sums depend on the number of threads.
5: XXH3 as audio hash. 6: levels summed in float32 if exact enough. 7: truncated recordings refused.
8: lengths counted, not trusted: FLAC and MP3 without a length, joined files, GSM; more truncated recordings found.
9: files above LONG_BYTES decoded in blocks.
"""

FULL_SCALE: Final = 32_768.0
LARGEST: Final = 1.0 - 1.0 / FULL_SCALE  # largest 16-bit sample, one step below full scale
# A corpus has few sample rates, and a cached resampler takes little memory.
MOST_RESAMPLERS: Final = 8
# A recording does not reach 2 ** 100 times full scale, and sums of such samples overflow float32.
MAX_MAGNITUDE: Final = 2.0**100
# Silence is measured in frames of about a short phoneme, relative to the clip's loudest frame, because the gain of a
# recording is arbitrary. The range of speech is about 40 dB, so quieter frames are pauses.
SILENCE_FRAME_SECONDS: Final = 0.025
SILENCE_BELOW_LOUDEST_DB: Final = 40.0


@dataclass(frozen=True, slots=True)
class Recording:
    """A decoded recording, and measurements taken before resampling."""

    samples: NDArray[np.int16]  # (num_samples,), mono, at AudioParams.sample_rate_hz
    scale: float  # the signal is samples / 32768 * scale; 1.0 unless the source exceeds full scale
    duration_seconds: float
    source_rate_hz: int
    source_channels: int
    source_format: str  # container and subtype, e.g. "WAV/PCM_16"
    peak: float  # of the mono mix, full scale is 1.0
    rms_db: float  # relative to full scale
    clipped_fraction: float  # fraction of frames at full scale in any channel
    dc_offset: float  # mean of the mono mix, full scale is 1.0
    silence_fraction: float  # fraction of 25 ms frames that, mean removed, are at least 40 dB below the loudest


def hash_audio(samples: bytes | memoryview) -> str:
    """Hash decoded audio to 32 hexadecimal digits.

    XXH3 with 128 bits takes 2 microseconds for one second at 16 kHz; SHA-256 takes 30. A cryptographic hash is not
    needed, because files are identified by the SHA-256 of their bytes.
    """
    return xxhash.xxh3_128_hexdigest(samples)


def decode(content: bytes, params: AudioParams) -> Recording:
    """Decode, mix to mono, resample and measure one recording.

    Raises:
        UnusableClipError: The reason is `unreadable`, `truncated`, `empty`, `too_short`, `too_long`, `non_finite` or
            `silent`.
    """
    if not content:
        raise UnusableClipError("empty", "the file has no bytes")
    original, rate_hz, source_format = read(content, params)
    loudest = _checked_peak(original, rate_hz, params)
    channels = _to_float(original)
    mono = mix(channels)
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
    """Return the level in dB, the DC offset and the silence fraction of (num_samples,), as `Recording` defines them.

    Samples after the last whole frame do not count for silence; a clip shorter than a frame has none.
    """
    length = max(1, round(SILENCE_FRAME_SECONDS * rate_hz))
    levels, exact = _levels(mono, length)
    return levels if exact else _levels(mono.astype(np.float64), length)[0]


def _levels(signal: NDArray[np.float32 | np.float64], length: int) -> tuple[tuple[float, float, float], bool]:
    """Measure in frames of `length` samples; also return whether the precision of the signal's dtype was enough."""
    whole = len(signal) // length * length
    frames, rest = signal[:whole].reshape(-1, length), signal[whole:]
    # No BLAS: it would start threads in every worker, and its sums depend on their number.
    energies = np.einsum("ij,ij->i", frames, frames).astype(np.float64)
    sums = np.einsum("ij->i", frames).astype(np.float64)
    of_rest = float(np.einsum("i,i->", rest, rest)), float(np.add.reduce(rest))
    levels, energy, loudest = levels_of_frames(energies, sums, of_rest, len(signal), length)
    # The squares of samples near MAX_MAGNITUDE overflow float32.
    exact = signal.dtype == np.float64 or math.isfinite(energy)
    if len(frames) == 0 or not exact:
        return levels, exact
    # If the offset dominates, float32 rounding errors would be measured as sound.
    exact = signal.dtype == np.float64 or loudest >= 0.1 * float(energies.max())
    return levels, exact


def levels_of_frames(
    energies: NDArray[np.float64],
    sums: NDArray[np.float64],
    of_rest: tuple[float, float],
    num_samples: int,
    length: int,
) -> tuple[tuple[float, float, float], float, float]:
    """Return what `measure_levels` does, the energy, and that of the loudest frame with its mean removed.

    Args:
        energies: Sum of the squares of each whole frame, (num_frames,).
        sums: Sum of each whole frame, (num_frames,).
        of_rest: Both of the samples after the last whole frame.
        num_samples: Of the signal.
        length: Samples of a frame.
    """
    energy = float(np.add.reduce(energies)) + of_rest[0]
    offset = (float(np.add.reduce(sums)) + of_rest[1]) / num_samples
    rms_db = 10 * math.log10(energy / num_samples)
    if len(energies) == 0 or not math.isfinite(energy):
        return (rms_db, offset, 0.0), energy, 0.0
    power = energies - np.square(sums) / length
    loudest = float(power.max())
    # The second term is the rounding error of a signal that consists only of an offset.
    level = max(loudest * 10 ** (-SILENCE_BELOW_LOUDEST_DB / 10), 1e-12 * energy / len(energies))
    return (rms_db, offset, int(np.count_nonzero(power <= level)) / len(energies)), energy, loudest


def _checked_peak(channels: NDArray[np.float32 | np.int16], rate_hz: int, params: AudioParams) -> float:
    """Return the largest magnitude in any channel; raise if the length or the values are invalid."""
    frames = len(channels)
    if frames == 0:
        raise UnusableClipError("empty", "the file has a header but no samples")
    if frames / rate_hz < params.min_seconds or frames * params.sample_rate_hz < rate_hz:
        raise UnusableClipError(
            "too_short", f"{frames / rate_hz:.3f} s, and audio.min_seconds is {params.min_seconds:g}"
        )
    # NaN compares as false, so one comparison finds NaN, infinities and values near overflow.
    peak = _peak(channels)
    if not peak < MAX_MAGNITUDE:
        broken = frames - int((np.abs(channels) < MAX_MAGNITUDE).all(axis=1).sum())
        raise UnusableClipError("non_finite", f"{broken} of {frames} frames are NaN, infinite or too large")
    return peak


def _to_float(channels: NDArray[np.float32 | np.int16]) -> NDArray[np.float32]:
    """Return float32 samples with full scale 1.0."""
    if channels.dtype == np.int16:
        return channels * np.float32(1 / FULL_SCALE)
    return channels.astype(np.float32, copy=False)


def mix(channels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Average (frames, channels) to (frames,)."""
    match channels.shape[1]:
        case 1:
            return channels[:, 0]
        case 2:  # bit-identical to the mean over the axis, which takes twenty times as long
            return (channels[:, 0] + channels[:, 1]) / np.float32(2)
        case _:
            return channels.mean(axis=1, dtype=np.float32)


def _peak(signal: NDArray[np.float32 | np.int16]) -> float:
    """Return the largest magnitude, or NaN if any sample is NaN; max and min need no copy."""
    peak = max(float(signal.max()), -float(signal.min()))  # with a NaN sample, both are NaN
    return peak / FULL_SCALE if signal.dtype == np.int16 else peak


def _clipped_fraction(channels: NDArray[np.float32]) -> float:
    """Return the fraction of frames that are at full scale in any channel."""
    return float(np.mean(np.any([np.abs(channel) >= LARGEST for channel in channels.T], axis=0)))


class _Resamplers(threading.local):
    """One resampler per thread and pair of rates: designing its filter takes as long as resampling a short clip."""

    def __init__(self) -> None:
        self._made: dict[tuple[int, int], soxr.ResampleStream] = {}

    def of(self, rate_hz: int, target_hz: int) -> soxr.ResampleStream:
        """Return a resampler with cleared state."""
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
    # soxr accepts (frames,) or (frames, channels) and crashes the process on (channels, frames), so pass only mono.
    # One channel of an interleaved array is not contiguous, so it is copied.
    resampler = _resamplers.of(rate_hz, target_hz)
    resampled: NDArray[np.float32] = resampler.resample_chunk(np.ascontiguousarray(mono), last=True)
    return resampled


def _to_int16(signal: NDArray[np.float32]) -> tuple[NDArray[np.int16] | None, float]:
    """Return 16-bit samples and their scale; None if all of them would be zero.

    The factor of 32768 is the exact inverse of how 16-bit sources are read, so their samples stay unchanged.
    """
    peak = _peak(signal) if len(signal) else 0.0
    # Values up to half a step are rounded to zero.
    if peak * FULL_SCALE <= 0.5:
        return None, 1.0
    scale = max(1.0, peak)
    scaled = (signal if scale == 1.0 else signal / np.float32(scale)) * np.float32(FULL_SCALE)
    np.rint(scaled, out=scaled)
    if peak > LARGEST:
        np.minimum(scaled, FULL_SCALE - 1, out=scaled)
    return scaled.astype(np.int16), scale
