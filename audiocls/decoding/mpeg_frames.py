"""Count MPEG audio (MP3, MP2) frame by frame: its length header is often missing or wrong.

Without a Xing header, libsndfile estimates the length from the size of one frame and returns no more samples than that.
It trusts a wrong Xing header, such as that of the first of two joined files. So the frames are walked, and a stream
with a missing or wrong header gets a correct one.

Source: ISO/IEC 11172-3 and 13818-3 for frames; the LAME Project's "Mp3 Info Tag revision 1" for the Xing header.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from itertools import pairwise
from typing import Final, NamedTuple

# Keyed by the two version bits: 3 is MPEG 1, 2 is MPEG 2, 0 is MPEG 2.5.
_RATES_HZ: Final = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}
_KBPS: Final = {
    (1, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (1, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (1, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (2, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_HEADER_BYTES: Final = 4
_FREE, _NO_BIT_RATE, _NO_RATE, _NO_VERSION, _NO_LAYER = 0, 15, 3, 1, 4
_MONO: Final = 3
_LAYER_III: Final = 3
_VBRI_AT: Final = 36


class Kind(NamedTuple):
    """Properties that are constant within a stream."""

    version: int
    layer: int
    rate_hz: int
    channels: int


class Header(NamedTuple):
    """The fields of the four-byte header of a frame."""

    size: int
    samples: int  # per channel
    kind: Kind
    tag_at: int  # offset of a Xing header: after the side information


class Stream(NamedTuple):
    """The frames that one encoder wrote, and what its length header declares."""

    kind: Kind
    starts: list[int]  # of each frame, including the frame with the Xing header
    ends: list[int]
    frame_samples: int
    tagged: bool  # whether the first frame is a header without audio
    declared_frames: int | None  # in the header, which does not count its own frame
    trimmed_samples: int  # encoder padding at both ends, which a decoder drops
    clean: bool  # whether there is nothing between the frames
    damaged_bytes: int  # between and after the frames, without tags and padding

    @property
    def num_frames(self) -> int:
        """Return the number of frames that hold audio."""
        return len(self.starts) - self.tagged

    @property
    def num_samples(self) -> int:
        """Return the number of samples per channel, or slightly less; damaged parts are counted too."""
        damaged = self.damaged_bytes * len(self.starts) // (self.ends[-1] - self.starts[0])
        return max(0, (self.num_frames + damaged) * self.frame_samples - self.trimmed_samples)


def is_mpeg(content: bytes) -> bool:
    """Return whether the file starts with an MPEG audio frame, optionally after an ID3 tag."""
    at = skip_id3(content, 0)
    return parse_header(content[at : at + _HEADER_BYTES]) is not None


def skip_id3(content: bytes, at: int) -> int:
    """Return the end of an ID3v2 tag at `at`; `at` if there is none."""
    while content[at : at + 3] == b"ID3" and len(content) >= at + 10:
        seven_bits = content[at + 6 : at + 10]
        footer = 10 if content[at + 5] & 0x10 else 0
        at += 10 + sum((byte & 0x7F) << 7 * (3 - i) for i, byte in enumerate(seven_bits)) + footer
    return at


@lru_cache(maxsize=4_096)
def parse_header(header: bytes) -> Header | None:
    """Parse a four-byte frame header; None if it is not one. Frames with a free bit rate are not recognized."""
    if len(header) < _HEADER_BYTES or header[0] != 0xFF or header[1] & 0xE0 != 0xE0:
        return None
    version, layer = header[1] >> 3 & 3, 4 - (header[1] >> 1 & 3)
    bit_rate, rate, padding = header[2] >> 4, header[2] >> 2 & 3, header[2] >> 1 & 1
    if version == _NO_VERSION or layer == _NO_LAYER or bit_rate in (_FREE, _NO_BIT_RATE) or rate == _NO_RATE:
        return None
    rate_hz = _RATES_HZ[version][rate]
    bits = 1_000 * _KBPS[1 if version == 3 else 2, layer][bit_rate - 1]
    kind = Kind(version, layer, rate_hz, 1 if header[3] >> 6 == _MONO else 2)
    tag_at = _HEADER_BYTES + {(True, 2): 32, (True, 1): 17, (False, 2): 17, (False, 1): 9}[version == 3, kind.channels]
    if layer == 1:
        return Header((12 * bits // rate_hz + padding) * 4, 384, kind, tag_at)
    samples = 576 if layer == _LAYER_III and version != 3 else 1_152
    return Header(samples // 8 * bits // rate_hz + padding, samples, kind, tag_at)


def find_streams(content: bytes) -> list[Stream]:
    """Walk all frames, and split them where a new header, rate or number of channels indicates a joined file."""
    frames = list(_walk(content, skip_id3(content, 0)))
    starts = [at for at, _ in frames]
    tags = _tag_frames(content, frames)
    kinds = [header.kind for _, header in frames]
    parts = [0, *(i for i in range(1, len(frames)) if starts[i] in tags or kinds[i] != kinds[i - 1]), len(frames)]
    streams = [_stream(content, frames[first:end], tags) for first, end in pairwise(parts) if end > first]
    if streams:
        after = _skip_tags(content, streams[-1].ends[-1])
        rest_bytes = len(content[after:].strip(b"\0"))
        streams[-1] = streams[-1]._replace(damaged_bytes=streams[-1].damaged_bytes + rest_bytes)
    return streams


def describe_cut(content: bytes, stream: Stream, tolerance_seconds: float) -> str | None:
    """Describe what is missing at the end of a stream: part of its last frame, or frames that its header declares."""
    frame_seconds = stream.frame_samples / stream.kind.rate_hz
    seconds = stream.num_frames * frame_seconds
    declared = stream.declared_frames or 0
    if (declared - stream.num_frames) * frame_seconds > tolerance_seconds:
        return f"the header declares {declared * frame_seconds:.3f} s, but the file has {seconds:.3f} s"
    if stream.ends[-1] > len(content):
        return f"the file ends within an MPEG audio frame, after {seconds - frame_seconds:.3f} s"
    return None


def with_right_header(content: bytes, stream: Stream) -> bytes:
    """Return only the frames of a stream, with a header that declares the correct number of frames.

    Only layer III has such headers. In the other layers, nearly all streams have a constant frame size, from which
    decoders compute the length.
    """
    frames = list(zip(stream.starts, stream.ends, strict=True))
    if stream.declared_frames == stream.num_frames or stream.kind.layer != _LAYER_III:
        return b"".join(content[start:end] for start, end in frames)
    first = frames[stream.tagged][0]
    header = _xing_frame(content[first : first + _HEADER_BYTES], stream.num_frames)
    return header + b"".join(content[start:end] for start, end in frames[stream.tagged :])


def _walk(content: bytes, at: int) -> Iterator[tuple[int, Header]]:
    kind = None
    while at < len(content):
        header = parse_header(content[at : at + _HEADER_BYTES])
        if header is None or (header.kind != kind and not _is_followed(content, at, header)):
            at = _next_start(content, at)
            continue
        yield at, header
        kind = header.kind
        at += header.size


def _is_followed(content: bytes, at: int, header: Header) -> bool:
    """Return whether a frame is followed by another frame, a tag or the end: a sync code alone is ambiguous."""
    end = at + header.size
    if end == len(content) or _tag_end(content, end) is not None:
        return True
    following = parse_header(content[end : end + _HEADER_BYTES])
    return following is not None and following.kind == header.kind


def _next_start(content: bytes, at: int) -> int:
    """Return the end of a tag or the start of the next confirmed frame; the end of the file if there is none."""
    end = _tag_end(content, at)
    if end is not None:
        return end
    while (at := content.find(b"\xff", at + 1)) >= 0:
        header = parse_header(content[at : at + _HEADER_BYTES])
        if header is not None and _is_followed(content, at, header):
            return at
    return len(content)


def _tag_end(content: bytes, at: int) -> int | None:
    """Return the end of an ID3v2, ID3v1 or APEv2 tag; None if there is none."""
    if content.startswith(b"ID3", at):
        return max(skip_id3(content, at), at + 3)
    if content.startswith(b"TAG", at):
        return at + 128
    if content.startswith(b"APETAGEX", at):
        return at + 32 + int.from_bytes(content[at + 12 : at + 16], "little")
    return None


def _skip_tags(content: bytes, at: int) -> int:
    while (end := _tag_end(content, at)) is not None:
        at = end
    return at


def _tag_frames(content: bytes, frames: list[tuple[int, Header]]) -> dict[int, bytes]:
    """Return the starts of the frames that hold a length header, with the name of the header."""
    found = {}
    for start, header in frames:
        at = start + header.tag_at
        name = content[at : at + 4]
        if name in (b"Xing", b"Info"):
            found[start] = name
        elif content.startswith(b"VBRI", start + _VBRI_AT):
            found[start] = b"VBRI"
    return found


def _stream(content: bytes, frames: list[tuple[int, Header]], tags: dict[int, bytes]) -> Stream:
    starts = [at for at, _ in frames]
    ends = [at + header.size for at, header in frames]
    kind, name = frames[0][1].kind, tags.get(starts[0])
    declared, trimmed = _declared(content, starts[0] + frames[0][1].tag_at) if name in (b"Xing", b"Info") else (None, 0)
    gaps = [(end, start) for end, start in zip(ends[:-1], starts[1:], strict=True) if end != start]
    damaged_bytes = sum(max(0, start - _skip_tags(content, end)) for end, start in gaps)
    samples = frames[0][1].samples
    return Stream(kind, starts, ends, samples, name is not None, declared, trimmed, not gaps, damaged_bytes)


def _declared(content: bytes, at: int) -> tuple[int | None, int]:
    """Return the number of frames and of samples to trim, from the Xing header whose name is at `at`."""
    flags = int.from_bytes(content[at + 4 : at + 8], "big")
    frames = int.from_bytes(content[at + 8 : at + 12], "big") if flags & 1 else 0
    lame = at + 8 + 4 * (flags & 1) + 2 * (flags & 2) + 25 * (flags & 4) + (flags & 8) // 2
    both = int.from_bytes(content[lame + 21 : lame + 24], "big")  # 12 bits each
    return frames or None, (both >> 12) + (both & 0xFFF)


def _xing_frame(like: bytes, num_frames: int) -> bytes:
    """Return a silent frame of the smallest possible size that declares how many frames follow."""
    for bit_rate in range(1, 15):
        four = bytes([0xFF, like[1] | 1, bit_rate << 4 | like[2] & 0x0C, like[3]])
        header = parse_header(four)
        if header is not None and header.size >= (end := header.tag_at + 12):
            tag = b"Xing" + (1).to_bytes(4, "big") + num_frames.to_bytes(4, "big")
            return (four + bytes(end - 12 - _HEADER_BYTES) + tag).ljust(header.size, b"\0")
    raise ValueError(f"no frame of {like.hex()} can hold a header")
