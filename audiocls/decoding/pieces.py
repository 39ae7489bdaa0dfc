"""Split a file into pieces that are decoded separately, and compute how long each must be.

Decoders trust the length in a header, which can be missing (if written to a pipe), wrong, or that of the first of
several files joined with `cat`. Here the file content is counted instead: a piece has a correct header and the minimum
length that decoding must return.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from audiocls.decoding import flac_frames, joined, mpeg_frames, ogg_pages
from audiocls.decoding.containers import Container
from audiocls.decoding.sample_sizes import with_right_size
from audiocls.decoding.truncation import TOLERANCE_SECONDS, find_truncation

_MPEG_IN_WAV: Final = 0x0055


class Piece(NamedTuple):
    """Bytes that are decoded separately."""

    content: bytes
    original: bytes  # as in the file
    least_seconds: float = 0.0  # decoding must return at least this much; 0 if unknown
    truncated: str | None = None  # what is missing at its end
    container: Container | None = None  # for PyAV, if libsndfile does not read all of it


def split(content: bytes) -> list[Piece]:
    """Return the pieces of a file in order, at least one."""
    content = content[mpeg_frames.skip_id3(content, 0) :] or content
    if flac_frames.is_flac(content):
        return _flac(content)
    if content.startswith(ogg_pages.MAGIC):
        return _ogg(content)
    if mpeg_frames.is_mpeg(content):
        return _mpeg(content)
    return [piece for part in joined.split_joined(content) for piece in _sized(part)]


def explain_failure(piece: Piece) -> str | None:
    """Describe what is missing from a piece that cannot be decoded; None if nothing is known to be missing."""
    if not flac_frames.is_flac(piece.original):
        return find_truncation(piece.original, 0.0)
    chain = flac_frames.follow(piece.original)
    return flac_frames.describe_cut(piece.original, chain) if chain is not None else None


def _flac(content: bytes) -> list[Piece]:
    starts = [0, *flac_frames.find_joined(content)]
    return [_one_flac(content[start:end]) for start, end in zip(starts, [*starts[1:], len(content)], strict=True)]


def _one_flac(content: bytes) -> Piece:
    info = flac_frames.read_info(content)
    declared = info.declared_samples
    if declared and info.rate_hz and flac_frames.count_by_last(content) == declared:
        return Piece(content, content, declared / info.rate_hz)
    chain = flac_frames.follow(content)
    if chain is None:
        return Piece(content, content)
    seconds = chain.num_samples / info.rate_hz
    if declared == chain.num_samples:
        return Piece(content, content, seconds)
    cut = flac_frames.describe_cut(content, chain) if declared > chain.num_samples else None
    right = flac_frames.with_length(content, max(chain.num_samples, declared))
    return Piece(right, content, seconds, cut)


def _ogg(content: bytes) -> list[Piece]:
    return [_one_ogg(content[link.start : link.end], link.granules) for link in ogg_pages.split_chain(content)]


def _one_ogg(content: bytes, granules: int) -> Piece:
    rate_hz, dropped = ogg_pages.read_rate(content) or (1, granules)
    return Piece(content, content, (granules - dropped) / rate_hz, None, Container("OGG", "ogg"))


def _mpeg(content: bytes) -> list[Piece]:
    streams = mpeg_frames.find_streams(content)
    alone = len(streams) == 1
    # A header without frames is ignored if it declares none; otherwise its frames were cut off.
    kept = [stream for stream in streams if stream.num_frames or stream.declared_frames]
    return [_one_mpeg(content, stream, alone=alone) for stream in kept] or [Piece(content, content)]


def _one_mpeg(content: bytes, stream: mpeg_frames.Stream, *, alone: bool) -> Piece:
    declared = stream.declared_frames or 0
    # Some encoders also count the header frame.
    good = alone and stream.clean and 0 <= declared - stream.num_frames <= 1
    right = content if good or not stream.num_frames else mpeg_frames.with_right_header(content, stream)
    # If the stream is part of a longer one, its first frame refers to missing frames.
    least = (stream.num_samples - 2 * stream.frame_samples) / stream.kind.rate_hz
    cut = mpeg_frames.describe_cut(content, stream, TOLERANCE_SECONDS)
    return Piece(right, content, least, cut, Container("MP3", "mp3"))


def _sized(content: bytes) -> list[Piece]:
    if (
        content.startswith(b"RIFF")
        and content[12:16] == b"fmt "
        and content[20:22] == _MPEG_IN_WAV.to_bytes(2, "little")
    ):
        return _mpeg_in_wav(content)
    return [Piece(with_right_size(content), content)]


def _mpeg_in_wav(content: bytes) -> list[Piece]:
    at = 12
    while at + 8 <= len(content):
        name, size = struct.unpack_from("<4sI", content, at)
        if name == b"data":
            pieces = _mpeg(content[at + 8 : at + 8 + size])
            return [pieces[0]._replace(original=content)] if len(pieces) == 1 else pieces
        at += 8 + size + size % 2
    return [Piece(content, content)]
