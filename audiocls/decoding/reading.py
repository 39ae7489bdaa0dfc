"""Decode the bytes of a recording to all of its samples, or raise with the reason why that is impossible.

libsndfile reads most formats, and PyAV the rest. Their lengths are not trusted: `pieces` counts what the file contains.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Final

import numpy as np
import soundfile
from numpy.typing import NDArray

from audiocls.decoding.container_ends import find_cut
from audiocls.decoding.containers import (
    INSTALL,
    ContainerError,
    ContainerFile,
    describe_change,
    is_installed,
    recognise,
)
from audiocls.decoding.pieces import Piece, explain_failure, split
from audiocls.decoding.plain_wav import FORMAT as PLAIN_WAV, read_plain_wav
from audiocls.decoding.sample_sizes import find_rest
from audiocls.decoding.truncation import TOLERANCE_SECONDS, find_truncation
from audiocls.errors import DataError
from audiocls.params import AudioParams

# Headers beyond these limits are damaged or malicious. With max_file_seconds, the limits bound the allocated memory.
MAX_RATE_HZ: Final = 768_000
MAX_CHANNELS: Final = 64
# No codec reaches this: the largest FLAC block, 65,535 frames, takes 13 bytes for digital silence.
MAX_FRAMES_PER_BYTE: Final = 6_000


class UnusableClipError(DataError):
    """A recording that cannot be used for training; `reason` is one word, `detail` says what was found."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class MissingDecoderError(UnusableClipError):
    """A recording that needs an extra; every run tries it again, because the extra may be installed in between."""


class _LostSamplesError(Exception):
    """A decoder returned fewer samples than were counted in the file."""


def read(content: bytes, params: AudioParams) -> tuple[NDArray[np.float32 | np.int16], int, str]:
    """Return samples of shape (frames, channels), the rate and the format; joined files are concatenated."""
    plain = read_plain_wav(content)
    if plain is not None:
        samples, rate_hz = plain
        _check_header(rate_hz, samples.shape[1], len(samples) / max(rate_hz, 1), params)
        return samples, rate_hz, PLAIN_WAV
    first, *others = split(content)
    channels, rate_hz, source_format = _read_piece(first, params)
    return (_join(channels, rate_hz, others, params) if others else channels), rate_hz, source_format


def _join(channels: NDArray[np.float32], rate_hz: int, others: list[Piece], params: AudioParams) -> NDArray[np.float32]:
    """Append the samples of the other pieces; the total length must not exceed `max_file_seconds`."""
    read, frames = [channels], len(channels)
    for piece in others:
        following, following_hz, _ = _read_piece(piece, params)
        first, found = (rate_hz, channels.shape[1]), (following_hz, following.shape[1])
        if found != first:
            raise UnusableClipError("unreadable", f"the file consists of joined files: {describe_change(first, found)}")
        frames += len(following)
        if frames > params.max_file_seconds * rate_hz:
            raise _too_long(frames / rate_hz, params)
        read.append(following)
    return np.concatenate(read)


def _read_piece(piece: Piece, params: AudioParams) -> tuple[NDArray[np.float32], int, str]:
    """Read a piece with libsndfile, or with PyAV if libsndfile fails or returns less than was counted."""
    check_whole(piece.truncated)
    try:
        read = _read_by_libsndfile(piece, params)
    except (soundfile.SoundFileError, _LostSamplesError) as error:
        check_whole(explain_failure(piece))
        read = _read_container(piece, _plain(error), params)
    seconds = len(read[0]) / read[1]
    check_whole(find_truncation(piece.original, seconds))
    rest = find_rest(piece.original, seconds)
    if rest is not None:
        raise UnusableClipError("unreadable", rest)
    return read


def _read_by_libsndfile(piece: Piece, params: AudioParams) -> tuple[NDArray[np.float32], int, str]:
    with soundfile.SoundFile(io.BytesIO(piece.content)) as file:
        _check_frames(file.frames, len(piece.content))
        _check_header(file.samplerate, file.channels, file.frames / max(file.samplerate, 1), params)
        # Without a frame count, soundfile refuses formats that are not seekable, such as GSM 6.10.
        channels = file.read(file.frames, dtype="float32", always_2d=True)
        _check_counted(len(channels) / file.samplerate, piece)
        return channels, int(file.samplerate), f"{file.format}/{file.subtype}"


def _check_counted(seconds: float, piece: Piece) -> None:
    if piece.least_seconds - seconds > TOLERANCE_SECONDS:
        raise _LostSamplesError(f"the file has {piece.least_seconds:.3f} s, but only {seconds:.3f} s could be decoded")


def _read_container(piece: Piece, refusal: str, params: AudioParams) -> tuple[NDArray[np.float32], int, str]:
    """Read a piece that libsndfile refuses with PyAV, if PyAV supports its container; return as `_read_piece`."""
    container = piece.container or recognise(piece.content)
    if container is None:
        raise UnusableClipError("unreadable", refusal)
    if not is_installed():
        raise MissingDecoderError(
            "unreadable",
            f"{refusal.rstrip('.')}; it looks like {container.name}; {INSTALL} may add support",
        )
    check_whole(find_cut(piece.original, container.name))
    try:
        with ContainerFile(piece.content, container) as file:
            _check_header(file.rate_hz, file.channels, file.seconds, params)
            blocks = list(_up_to_limit(file, params)) or [np.zeros((0, file.channels), np.float32)]
            channels = np.concatenate(blocks)
            _check_counted(len(channels) / file.rate_hz, piece)
            return channels, file.rate_hz, file.format
    except (ContainerError, _LostSamplesError) as error:
        raise UnusableClipError("unreadable", str(error)) from error


def _up_to_limit(file: ContainerFile, params: AudioParams) -> Iterator[NDArray[np.float32]]:
    """Yield blocks, and raise as soon as they exceed `max_file_seconds`, whatever the header declares."""
    frames = 0
    for block in file.blocks():
        frames += len(block)
        if frames > params.max_file_seconds * file.rate_hz:
            raise _too_long(frames / file.rate_hz, params)
        yield block


def _check_header(rate_hz: int, channels: int, seconds: float, params: AudioParams) -> None:
    if not 0 < rate_hz <= MAX_RATE_HZ or not 0 < channels <= MAX_CHANNELS:
        raise UnusableClipError("unreadable", f"the header declares {rate_hz} Hz and {channels} channels")
    if seconds > params.max_file_seconds:
        raise _too_long(seconds, params)


def _too_long(seconds: float, params: AudioParams) -> UnusableClipError:
    return UnusableClipError("too_long", f"{seconds:.1f} s, and audio.max_file_seconds is {params.max_file_seconds:g}")


def _check_frames(frames: int, num_bytes: int) -> None:
    if frames > num_bytes * MAX_FRAMES_PER_BYTE:
        raise UnusableClipError(
            "unreadable", f"the header declares {frames} frames, but the file has {num_bytes} bytes"
        )


def check_rate(rate_hz: int) -> None:
    """Refuse what is not the rate of a recording.

    Raises:
        UnusableClipError: It is zero, negative or beyond MAX_RATE_HZ.
    """
    if not 0 < rate_hz <= MAX_RATE_HZ:
        raise UnusableClipError("unreadable", f"the rate is {rate_hz} Hz; it must be from 1 to {MAX_RATE_HZ} Hz")


def check_whole(missing: str | None) -> None:
    """Raise an error if something is missing at the end of a file; None if nothing is."""
    if missing is not None:
        raise UnusableClipError("truncated", missing)


def _plain(error: Exception) -> str:
    """Remove the buffer address, which differs between runs, from a libsndfile message."""
    return str(error).rsplit(">: ", 1)[-1].strip()
