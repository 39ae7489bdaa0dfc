"""A recording of any length as a stream of mono blocks at one rate, in memory that does not grow with its length.

Files whose header declares a length that the file bears out (WAV, AIFF, FLAC and their kin) are decoded straight from
the disk. Of all others the encoded bytes are read, their frames counted as in `pieces`, and decoded block by block.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from audiocls.decoding import flac_frames
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
from audiocls.decoding.plain_wav import FORMAT as PLAIN_FORMAT, read_plain_wav
from audiocls.decoding.reading import (
    MAX_CHANNELS,
    MAX_RATE_HZ,
    MissingDecoderError,
    UnusableClipError,
    check_rate,
    check_whole,
)
from audiocls.decoding.recording import FULL_SCALE, MAX_MAGNITUDE, mix
from audiocls.decoding.sample_sizes import find_rest
from audiocls.decoding.truncation import TOLERANCE_SECONDS, find_samples, find_truncation, is_claim
from audiocls.params import AudioParams

Block = NDArray[np.float32]

BLOCK_FRAMES: Final = 1 << 18  # 6 s at 44.1 kHz
_HEAD_BYTES: Final = 1 << 16
_SMALL_BYTES: Final = 1 << 22  # files that are read at once; libsndfile takes longer to open one than it has to decode
# Formats whose samples lie behind a header that declares their number, or whose header counts them.
_DIRECT: Final = ("WAV", "WAVEX", "RF64", "W64", "AIFF", "AU", "FLAC")
# What may follow the samples without being read: chunks of metadata.
_TAIL_BYTES: Final = 1 << 16
_MAGICS: Final = (b"fLaC", b"RIFF", b"RF64", b"riff", b"FORM", b".snd", b"OggS")


class MonoStream:
    """Mixes, checks and resamples blocks as `decode` does a whole recording; the samples are the same.

    The blocks are rounded to 16 bits as the waveform store does. Samples beyond full scale keep their size, which the
    store reaches by a scale of the whole recording; they can differ from the store's by one rounding step.
    """

    def __init__(self, rate_hz: int, params: AudioParams, *, rounds: bool = True) -> None:
        """Expect samples at a rate.

        Args:
            rate_hz: Of the samples that will come.
            params: Rate of the result, and limits.
            rounds: Round to 16 bits; False leaves that to the caller.

        Raises:
            UnusableClipError: The rate is not one of a recording.
        """
        check_rate(rate_hz)
        self._rounds = rounds
        self.rate_hz = rate_hz
        self.frames = 0  # taken so far
        self.samples = 0  # given so far
        self.peak = 0.0  # of the mono mix so far, full scale is 1.0
        self.rest: Block = np.zeros(0, np.float32)  # what `finish` returned, or would have but for its error
        self._params = params
        self._channels = 0
        same = rate_hz == params.sample_rate_hz
        self._resampler = None if same else soxr.ResampleStream(rate_hz, params.sample_rate_hz, 1, "float32", "HQ")

    def add(self, channels: NDArray[np.float32]) -> Block:
        """Take (frames, channels), full scale 1.0; return what is complete of the mono signal, shape (samples,).

        Raises:
            UnusableClipError: Samples are NaN, infinite or far beyond full scale.
        """
        if not len(channels):
            return np.zeros(0, np.float32)
        if self.frames and channels.shape[1] != self._channels:
            change = describe_change((self.rate_hz, self._channels), (self.rate_hz, channels.shape[1]))
            raise UnusableClipError("unreadable", change)
        loudest = max(float(channels.max()), -float(channels.min()))
        if not loudest < MAX_MAGNITUDE:
            at = self.frames + int(np.argmax(~(np.abs(channels) < MAX_MAGNITUDE).all(axis=1)))
            raise UnusableClipError(
                "non_finite", f"samples at {at / self.rate_hz:.3f} s are NaN, infinite or far beyond full scale"
            )
        self._channels = channels.shape[1]
        self.frames += len(channels)
        mono = mix(channels)
        self.peak = max(self.peak, float(mono.max()), -float(mono.min()))
        return self._resampled(mono, last=False)

    def finish(self) -> Block:
        """Return what the resampler still holds.

        Raises:
            UnusableClipError: The whole was `empty`, `too_short` or `silent`.
        """
        self.rest = rest = self._resampled(np.zeros(0, np.float32), last=True)
        seconds, params = self.frames / self.rate_hz, self._params
        if not self.frames:
            raise UnusableClipError("empty", "there are no samples")
        if seconds < params.min_seconds or self.frames * params.sample_rate_hz < self.rate_hz:
            raise UnusableClipError("too_short", f"{seconds:.3f} s, and audio.min_seconds is {params.min_seconds:g}")
        if self.peak < 10 ** (params.silence_db / 20):
            raise UnusableClipError(
                "silent", f"the peak is {self.peak:.1e} of full scale, and audio.silence_db is {params.silence_db:g}"
            )
        return rest

    def _resampled(self, mono: Block, *, last: bool) -> Block:
        made = mono
        if self._resampler is not None:
            made = self._resampler.resample_chunk(np.ascontiguousarray(mono), last=last)
        self.samples += len(made)
        if not self._rounds:
            return made
        rounded = made * np.float32(FULL_SCALE)
        np.rint(rounded, out=rounded)
        rounded *= np.float32(1 / FULL_SCALE)
        return rounded


def stream_file(path: Path, params: AudioParams) -> Iterator[Block]:
    """Yield a file's mono samples at `params.sample_rate_hz`, block by block; see `MonoStream`.

    Raises:
        UnusableClipError: With the reasons of `decode`, but for `too_long`; some are known only at the end.
        OSError: The file cannot be read.
    """
    with closing(decode_blocks(path)) as blocks:
        yield from to_mono(blocks, params)


def stream_bytes(content: bytes, params: AudioParams) -> Iterator[Block]:
    """Do what `stream_file` does for the bytes of a file."""
    with closing(_decode_pieces(content)) as blocks:
        yield from to_mono(blocks, params)


def to_mono(blocks: Iterable[tuple[int, NDArray[np.float32]]], params: AudioParams) -> Iterator[Block]:
    """Yield mono blocks at `params.sample_rate_hz` from (rate in Hz, (frames, channels)) of one recording.

    Raises:
        UnusableClipError: See `MonoStream`; or the rate or the number of channels changes on the way.
    """
    stream: MonoStream | None = None
    first = (0, 0)
    for rate_hz, channels in blocks:
        found = (rate_hz, channels.shape[1])
        if stream is None:
            stream, first = MonoStream(rate_hz, params), found
        if found != first:
            raise UnusableClipError("unreadable", f"files were joined: {describe_change(first, found)}")
        yield stream.add(channels)
    if stream is None:
        raise UnusableClipError("empty", "there are no samples")
    yield stream.finish()


def decode_blocks(
    path: Path, note_format: Callable[[str], None] = lambda name: None
) -> Generator[tuple[int, NDArray[np.float32]], None, None]:
    """Decode from the disk as far as the file keeps what its header declares, and the rest from its bytes.

    Args:
        path: Of the file.
        note_format: Takes the container and subtype whenever a decoder begins, such as "WAV/PCM_16".

    Yields:
        The rate in Hz and (frames, channels), full scale 1.0.

    Raises:
        UnusableClipError: The file is no audio, or not all of it can be decoded.
        OSError: The file cannot be read.
    """
    done = 0
    size = path.stat().st_size
    if not size:
        raise UnusableClipError("empty", "the file has no bytes")
    with path.open("rb") as opened:
        head = opened.read(_HEAD_BYTES if size > _SMALL_BYTES else -1)
    if size <= _SMALL_BYTES and (plain := read_plain_wav(head)) is not None:
        samples, rate_hz = plain
        _check_header(rate_hz, samples.shape[1])
        note_format(PLAIN_FORMAT)
        for first in range(0, len(samples), BLOCK_FRAMES):
            yield rate_hz, samples[first : first + BLOCK_FRAMES] * np.float32(1 / FULL_SCALE)
        return
    if _is_direct(head):
        try:
            handle = os.open(path, os.O_RDONLY)
            try:
                with soundfile.SoundFile(handle, closefd=False) as file:
                    if file.format in _DIRECT and _declares_its_length(file, head, size):
                        _check_header(file.samplerate, file.channels)
                        note_format(f"{file.format}/{file.subtype}")
                        for block in file.blocks(BLOCK_FRAMES, dtype="float32", always_2d=True):
                            done += len(block)
                            yield int(file.samplerate), block
                        if done == file.frames and _is_metadata(handle, size):
                            return
            finally:
                os.close(handle)
        except soundfile.SoundFileError:
            pass  # the bytes say what is wrong, or hold what it does not read
    for rate_hz, block in _decode_pieces(path.read_bytes(), note_format):
        skipped = min(done, len(block))
        done -= skipped
        if skipped < len(block):
            yield rate_hz, block[skipped:]


def _is_metadata(handle: int, size: int) -> bool:
    """Return whether what follows the samples is short, and not another recording that was appended."""
    if size - os.lseek(handle, 0, os.SEEK_CUR) > _TAIL_BYTES:
        return False
    # A decoder of FLAC reads ahead of its samples. The file's own magic is not searched.
    start = max(4, size - 2 * _TAIL_BYTES)
    tail = os.pread(handle, size - start, start)
    return not any(magic in tail for magic in _MAGICS)


def _is_direct(head: bytes) -> bool:
    return flac_frames.is_flac(head) or find_samples(head) is not None


def _declares_its_length(file: soundfile.SoundFile, head: bytes, size: int) -> bool:
    if flac_frames.is_flac(head):
        return flac_frames.read_info(head).declared_samples == file.frames
    samples = find_samples(head)
    if samples is None or not is_claim(samples.declared_bytes) or samples.block_seconds:
        return False
    rest = size - samples.start - samples.declared_bytes
    return 0 <= rest <= _TAIL_BYTES


def _decode_pieces(
    content: bytes, note_format: Callable[[str], None] = lambda name: None
) -> Generator[tuple[int, NDArray[np.float32]], None, None]:
    if not content:
        raise UnusableClipError("empty", "the file has no bytes")
    for piece in split(content):
        yield from _decode_piece(piece, note_format)


def _decode_piece(piece: Piece, note_format: Callable[[str], None]) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Decode with libsndfile, and with PyAV what it refuses or has less of than was counted."""
    check_whole(piece.truncated)
    done, rate_hz = 0, 0
    refusal = ""
    try:
        with _Sequential(io.BytesIO(piece.content)) as file:
            _check_header(file.samplerate, file.channels)
            note_format(f"{file.format}/{file.subtype}")
            rate_hz = int(file.samplerate)
            for block in _blocks_of(file):
                done += len(block)
                yield rate_hz, block
    except soundfile.SoundFileError as error:
        refusal = str(error).rsplit(">: ", 1)[-1].strip()
    if not refusal and piece.least_seconds - done / rate_hz > TOLERANCE_SECONDS:
        refusal = f"{piece.least_seconds:.3f} s are in the file, and {done / rate_hz:.3f} s could be decoded"
    if refusal:
        check_whole(explain_failure(piece))
        skip = done
        for container_rate_hz, block in _decode_container(piece, refusal, note_format):
            skipped = min(skip, len(block))
            skip -= skipped
            if skipped < len(block):
                done += len(block) - skipped
                rate_hz = container_rate_hz
                yield rate_hz, block[skipped:]
    seconds = done / max(rate_hz, 1)
    if refusal and piece.least_seconds - seconds > TOLERANCE_SECONDS:
        raise UnusableClipError("unreadable", refusal)
    check_whole(find_truncation(piece.original, seconds))
    rest = find_rest(piece.original, seconds)
    if rest is not None:
        raise UnusableClipError("unreadable", rest)


class _Sequential(soundfile.SoundFile):  # type: ignore[misc]  # soundfile has no types
    """A file that is read from its beginning to its end.

    soundfile seeks to the present position after each block of a seekable file, and an MP3 decoder then loses what it
    knows of the frames before.
    """

    def seekable(self) -> bool:
        """Say that it is not."""
        return False


def _blocks_of(file: soundfile.SoundFile) -> Iterator[NDArray[np.float32]]:
    left = file.frames
    while left > 0:
        block = file.read(min(left, BLOCK_FRAMES), dtype="float32", always_2d=True)
        if not len(block):
            return
        left -= len(block)
        yield block


def _decode_container(
    piece: Piece, refusal: str, note_format: Callable[[str], None]
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    container = piece.container or recognise(piece.content)
    if container is None:
        raise UnusableClipError("unreadable", refusal)
    if not is_installed():
        raise MissingDecoderError(
            "unreadable", f"{refusal.rstrip('.')}; it looks like {container.name}, which {INSTALL} might read"
        )
    check_whole(find_cut(piece.original, container.name))
    try:
        with ContainerFile(piece.content, container) as file:
            _check_header(file.rate_hz, file.channels)
            note_format(file.format)
            for block in file.blocks():
                yield file.rate_hz, block
    except ContainerError as error:
        raise UnusableClipError("unreadable", str(error)) from error


def _check_header(rate_hz: int, channels: int) -> None:
    if not 0 < rate_hz <= MAX_RATE_HZ or not 0 < channels <= MAX_CHANNELS:
        raise UnusableClipError("unreadable", f"the header says {rate_hz} Hz and {channels} channels")
