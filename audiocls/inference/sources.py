"""What can be classified: files, URIs, bytes of a file, and samples with their rate."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from audiocls.decoding import (
    MAX_CHANNELS,
    UnusableClipError,
    check_rate,
    look_at_files,
    read_file,
    stream_bytes,
    stream_file,
    to_mono,
)
from audiocls.files import is_uri, local_path, masked
from audiocls.params import AudioParams

ARRAY_BLOCK_FRAMES: Final = 1 << 18


class Samples(NamedTuple):
    """Samples in memory: shape (frames,) or (frames, channels), floats of full scale 1.0 or integers."""

    samples: NDArray[Any]
    rate_hz: int


Source = str | Path | bytes | Samples | tuple[NDArray[Any], int]
"""A path or URI, the bytes of a file, or samples with their rate in Hz."""


def name_of(source: Source) -> str:
    """Return what a result is named by: the path, or what the source is."""
    match source:
        case str() | Path():
            return masked(str(source))
        case bytes():
            return f"<{len(source)} bytes>"
        case (samples, rate_hz):
            return f"<samples of shape {np.shape(samples)} at {rate_hz} Hz>"
        case _:
            raise _no_source(source)


def stream(source: Source, audio: AudioParams) -> Iterator[NDArray[np.float32]]:
    """Yield the source's mono samples at `audio.sample_rate_hz`, block by block.

    Raises:
        UnusableClipError: With the reasons of quarantine, such as `missing`, `unreadable` or `silent`.
        TypeError: It is not a source.
    """
    match source:
        case bytes():
            yield from stream_bytes(source, audio)
        case str() | Path():
            yield from _stream_path(str(source), audio)
        case (samples, rate_hz):
            yield from to_mono(_blocks(np.asarray(samples), rate_hz), audio)
        case _:
            raise _no_source(source)


def _no_source(given: object) -> TypeError:
    kind = type(given).__name__
    return TypeError(f"{kind} cannot be classified: give a path, bytes, (samples, rate_hz), or a list of these")


def _stream_path(path: str, audio: AudioParams) -> Iterator[NDArray[np.float32]]:
    # What limits memory limits nothing here: a stream takes as much for an hour as for a minute.
    (found,) = look_at_files([path], audio.model_copy(update={"max_file_seconds": 1e9}))
    if found.reason is not None:
        raise UnusableClipError(found.reason, str(found.detail))
    local = local_path(path) if is_uri(path) else path
    if local is None:
        content, fault = read_file(found)
        if fault is not None:
            raise UnusableClipError("unreadable", fault)
        yield from stream_bytes(content, audio)
        return
    try:
        yield from stream_file(Path(local), audio)
    except OSError as error:
        raise UnusableClipError("unreadable", str(error.strerror)) from error


def _blocks(samples: NDArray[Any], rate_hz: Any) -> Iterator[tuple[int, NDArray[np.float32]]]:
    if isinstance(rate_hz, bool) or not isinstance(rate_hz, int | np.integer):
        raise UnusableClipError("unreadable", f"the rate is {rate_hz!r}; it must be a whole number of Hz")
    check_rate(int(rate_hz))
    samples = as_frames(samples, scaled=False)
    for first in range(0, len(samples), ARRAY_BLOCK_FRAMES):
        yield int(rate_hz), full_scale(samples[first : first + ARRAY_BLOCK_FRAMES])


def as_frames(samples: NDArray[Any], *, scaled: bool = True) -> NDArray[Any]:
    """Return samples as (frames, channels), of full scale 1.0 if asked.

    Raises:
        UnusableClipError: They have another shape, or are not numbers of a recording.
    """
    if samples.ndim == 1:
        samples = samples[:, None]
    if samples.ndim != 2 or samples.shape[1] == 0 or samples.shape[1] > MAX_CHANNELS:
        raise UnusableClipError(
            "unreadable", f"samples of shape {samples.shape}; they must be (frames,) or (frames, channels)"
        )
    return full_scale(samples) if scaled else samples


def full_scale(samples: NDArray[Any]) -> NDArray[np.float32]:
    """Return samples as float32 of full scale 1.0; integers are scaled by the range of their type.

    Raises:
        UnusableClipError: They are not numbers of a recording.
    """
    kind = samples.dtype.kind
    if kind == "f":
        return samples.astype(np.float32)
    if kind == "i":
        return samples.astype(np.float32) / np.float32(2.0 ** (8 * samples.dtype.itemsize - 1))
    if samples.dtype == np.uint8:
        return (samples.astype(np.float32) - 128) / np.float32(128)
    raise UnusableClipError("unreadable", f"samples of type {samples.dtype}; they must be floats or signed integers")


def as_sources(given: Any) -> tuple[list[Source], bool]:
    """Return the sources, and whether one was given and not a list.

    A tuple of an array and a rate is one source.
    """
    if isinstance(given, str | Path | bytes | Samples):
        return [given], True
    if isinstance(given, tuple) and len(given) == 2 and not isinstance(given[0], str | Path | bytes | tuple):
        return [Samples(*given)], True
    if isinstance(given, Sequence):
        return list(given), False
    if isinstance(given, Iterator):
        return list(given), False
    raise _no_source(given)
