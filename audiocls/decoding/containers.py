"""Read formats that libsndfile does not support, such as m4a, AAC, WMA and WebM, with PyAV (the extra `formats`)."""

from __future__ import annotations

import io
from collections.abc import Iterator
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import av

INSTALL: Final = "pip install 'audiocls[formats]'"

# The demuxer is always named: if FFmpeg guessed it, a file could be a playlist that opens other files.
_SIGNATURES: Final = (
    (4, b"ftyp", "MP4", "mov"),
    (0, bytes.fromhex("3026b2758e66cf11"), "ASF", "asf"),
    (0, bytes.fromhex("1a45dfa3"), "MATROSKA", "matroska"),
    (0, b"wvpk", "WAVPACK", "wv"),
    (0, b"#!AMR", "AMR", "amr"),
)


class Container(NamedTuple):
    """A container format: its name in audiocls and the name of FFmpeg's demuxer."""

    name: str
    demuxer: str


class ContainerError(Exception):
    """FFmpeg cannot decode the bytes."""


def recognise(content: bytes) -> Container | None:
    """Return the container format by its first bytes; None if it is unknown."""
    for start, signature, name, demuxer in _SIGNATURES:
        if content.startswith(signature, start):
            return Container(name, demuxer)
    # ADTS: twelve one bits, one bit for the version, and layer 0, which MPEG audio does not use.
    if len(content) > 1 and content[0] == 0xFF and content[1] & 0xF6 == 0xF0:
        return Container("AAC", "aac")
    return None


def describe_change(first: tuple[int, int], found: tuple[int, int]) -> str:
    """Format a change of the rate in Hz or the number of channels within a file."""
    return (
        f"it starts with {first[0]} Hz and {first[1]} channels, then changes to {found[0]} Hz and {found[1]} channels"
    )


def is_installed() -> bool:
    """Return whether PyAV is installed."""
    return find_spec("av") is not None


class ContainerFile:
    """An open recording: the properties in its header, and its samples block by block.

    Raises:
        ContainerError: The header cannot be read, or the file has no audio stream.
    """

    def __init__(self, content: bytes, container: Container) -> None:
        import av

        try:
            self._file = av.open(io.BytesIO(content), format=container.demuxer, metadata_errors="replace")
        except av.FFmpegError as error:
            raise ContainerError(_plain(container, error)) from error
        if not self._file.streams.audio:
            self._file.close()
            raise ContainerError(f"{container.name}: the file has no audio stream")
        self._container = container
        self._stream: av.AudioStream = self._file.streams.audio[0]
        if self._stream.codec_context is None:
            self._file.close()
            raise ContainerError(f"{container.name}: FFmpeg has no decoder for the audio stream")
        # As declared in the header; the decoded rate can differ, as in AAC with spectral band replication.
        self.rate_hz = int(self._stream.rate or 0)
        self.channels = int(self._stream.channels or 0)
        self.seconds = (self._file.duration or 0) / av.time_base  # as declared in the header; 0 if absent
        self.format = f"{container.name}/{self._stream.codec_context.name.upper()}"

    def __enter__(self) -> ContainerFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def blocks(self) -> Iterator[NDArray[np.float32]]:
        """Yield blocks of shape (frames, channels), and set the rate and the channels to those of the first block.

        Raises:
            ContainerError: The bytes cannot be decoded, or the rate or the number of channels changes.
        """
        import av

        # Packed, because PyAV 18 cannot convert more than seven planes to an array.
        to_float, first = av.AudioResampler(format="flt"), None
        try:
            for frame in self._file.decode(self._stream):
                found = (frame.sample_rate, frame.layout.nb_channels)
                first = first or found
                if found != first:
                    raise ContainerError(f"{self._container.name}: {describe_change(first, found)}")
                self.rate_hz, self.channels = found
                for block in to_float.resample(frame):
                    yield block.to_ndarray().reshape(-1, block.layout.nb_channels)
        except av.FFmpegError as error:
            raise ContainerError(_plain(self._container, error)) from error


def _plain(container: Container, error: av.FFmpegError) -> str:
    reason = error.strerror or str(error)
    return f"{container.name}: {reason}"
