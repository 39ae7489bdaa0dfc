"""Convert a long file to what `decode` returns, block by block: only the resulting samples are held as a whole."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from audiocls.decoding.reading import UnusableClipError
from audiocls.decoding.recording import (
    FULL_SCALE,
    LARGEST,
    SILENCE_FRAME_SECONDS,
    Recording,
    levels_of_frames,
    mix,
)
from audiocls.decoding.stream import MonoStream, decode_blocks
from audiocls.params import AudioParams

Block = NDArray[np.float32]


def decode_file(path: Path, params: AudioParams) -> Recording:
    """Decode, mix to mono, resample and measure a file as `decode` does; it is read twice if it exceeds full scale.

    Raises:
        UnusableClipError: With the reasons of `decode`.
        OSError: The file cannot be read.
    """
    measured = _Measured(path, params)
    samples = bytearray()
    peak = 0.0
    for block in measured.resampled():
        peak = max(peak, _peak(block))
        samples += _quantized(block, 1.0).tobytes()
    # Values up to half a step are rounded to zero.
    if peak * FULL_SCALE <= 0.5:
        raise UnusableClipError("silent", f"every 16-bit sample at {params.sample_rate_hz} Hz is zero")
    if peak > 1.0:
        samples.clear()
        for block in _Measured(path, params).resampled():
            samples += _quantized(block, peak).tobytes()
    return measured.recording(np.frombuffer(samples, "<i2"), max(1.0, peak))


class _Measured:
    """The blocks of a file, measured as they pass."""

    def __init__(self, path: Path, params: AudioParams) -> None:
        self._path, self._params = path, params
        self._formats: list[str] = []
        self._rate_hz = self._channels = self._frames = self._clipped = 0
        self._peak = 0.0
        self._levels = _Levels(1)

    def resampled(self) -> Iterator[Block]:
        """Yield the mono signal at the rate of the params, not rounded."""
        stream: MonoStream | None = None
        with closing(decode_blocks(self._path, self._formats.append)) as blocks:
            for rate_hz, channels in blocks:
                if stream is None:
                    stream = MonoStream(rate_hz, self._params, rounds=False)
                    self._rate_hz, self._channels = rate_hz, channels.shape[1]
                    self._levels = _Levels(max(1, round(SILENCE_FRAME_SECONDS * rate_hz)))
                self._check(rate_hz, channels)
                yield stream.add(channels)
                self._measure(channels)
        if stream is None:
            raise UnusableClipError("empty", "the file has a header but no samples")
        yield stream.finish()
        self._peak = stream.peak

    def _check(self, rate_hz: int, channels: Block) -> None:
        if rate_hz != self._rate_hz:
            raise UnusableClipError(
                "unreadable",
                f"the file consists of joined files: {self._rate_hz} Hz at first, and {rate_hz} Hz later",
            )
        seconds = (self._frames + len(channels)) / rate_hz
        if seconds > self._params.max_file_seconds:
            raise UnusableClipError(
                "too_long", f"over {seconds:.1f} s, and audio.max_file_seconds is {self._params.max_file_seconds:g}"
            )

    def _measure(self, channels: Block) -> None:
        self._frames += len(channels)
        if len(channels) and max(float(channels.max()), -float(channels.min())) >= LARGEST:
            self._clipped += int(np.count_nonzero((np.abs(channels) >= LARGEST).any(axis=1)))
        self._levels.add(mix(channels))

    def recording(self, samples: NDArray[np.int16], scale: float) -> Recording:
        """Return the recording, once all blocks have passed."""
        rms_db, dc_offset, silence_fraction = self._levels.result()
        return Recording(
            samples=samples,
            scale=scale,
            duration_seconds=self._frames / self._rate_hz,
            source_rate_hz=self._rate_hz,
            source_channels=self._channels,
            source_format=self._formats[0],
            peak=self._peak,
            rms_db=rms_db,
            clipped_fraction=self._clipped / self._frames,
            dc_offset=dc_offset,
            silence_fraction=silence_fraction,
        )


class _Levels:
    """Sums of the frames of a signal that comes in blocks, in 64 bits; a few bytes a frame."""

    def __init__(self, length: int) -> None:
        """Expect frames of so many samples."""
        self._length = length
        self._rest = np.zeros(0)
        self._energies: list[NDArray[np.float64]] = []
        self._sums: list[NDArray[np.float64]] = []
        self._num_samples = 0

    def add(self, mono: Block) -> None:
        """Take the next samples, (num_samples,)."""
        self._num_samples += len(mono)
        signal = np.concatenate([self._rest, mono])
        whole = len(signal) // self._length * self._length
        frames, self._rest = signal[:whole].reshape(-1, self._length), signal[whole:].copy()
        self._energies.append(np.einsum("ij,ij->i", frames, frames))
        self._sums.append(np.einsum("ij->i", frames))

    def result(self) -> tuple[float, float, float]:
        """Return what `measure_levels` does for the whole signal."""
        of_rest = float(np.einsum("i,i->", self._rest, self._rest)), float(np.add.reduce(self._rest))
        energies, sums = np.concatenate(self._energies), np.concatenate(self._sums)
        return levels_of_frames(energies, sums, of_rest, self._num_samples, self._length)[0]


def _peak(block: Block) -> float:
    return max(float(block.max()), -float(block.min())) if len(block) else 0.0


def _quantized(block: Block, scale: float) -> NDArray[np.int16]:
    """Return 16-bit samples of a signal divided by `scale`; what is beyond is cut off."""
    scaled = (block if scale == 1.0 else block / np.float32(scale)) * np.float32(FULL_SCALE)
    np.rint(scaled, out=scaled)
    return np.clip(scaled, -FULL_SCALE, FULL_SCALE - 1).astype("<i2")
