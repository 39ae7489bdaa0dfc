"""MPEG audio (MP3, MP2), counted frame by frame: its header for the length is often missing or wrong.

libsndfile estimates the length of a stream without a Xing header from the size of one frame, and returns no more than
that; it believes a wrong Xing header, such as the one of the first of two joined files. So the frames are walked, and
a stream whose header is missing or wrong gets one that is right.

Source: ISO/IEC 11172-3 and 13818-3 for frames; the LAME Project's "Mp3 Info Tag revision 1" for the Xing header.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from itertools import pairwise
from typing import Final, NamedTuple

# By the two bits of the version: 3 is MPEG 1, 2 is MPEG 2, 0 is MPEG 2.5.
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
    """What stays the same in a stream."""

    version: int
    layer: int
    rate_hz: int
    channels: int


class Header(NamedTuple):
    """What the four bytes at the start of a frame say."""

    size: int
    samples: int  # in each channel
    kind: Kind
    tag_at: int  # where a Xing header stands: after the side information


class Stream(NamedTuple):
    """Frames that one encoder wrote, and what their own header says of them."""

    kind: Kind
    starts: list[int]  # of each frame, the frame with the Xing header included
    ends: list[int]
    frame_samples: int
    tagged: bool  # whether the first frame is a header and holds no sound
    declared_frames: int | None  # as the header says, which does not count its own frame
    trimmed_samples: int  # what a decoder drops at both ends, as the encoder added it
    clean: bool  # whether there is nothing between the frames
    damaged_bytes: int  # between and after the frames, tags and padding aside

    @property
    def num_frames(self) -> int:
        """Return the number of frames that hold sound."""
        return len(self.starts) - self.tagged

    @property
    def num_samples(self) -> int:
        """Return how many samples for each channel there are, or a few less: what is damaged counts as well."""
        damaged = self.damaged_bytes * len(self.starts) // (self.ends[-1] - self.starts[0])
        return max(0, (self.num_frames + damaged) * self.frame_samples - self.trimmed_samples)


def is_mpeg(content: bytes) -> bool:
    """Say whether a frame of MPEG audio stands at the start, or after an ID3 tag."""
    at = skip_id3(content, 0)
    return parse_header(content[at : at + _HEADER_BYTES]) is not None


def skip_id3(content: bytes, at: int) -> int:
    """Return where an ID3v2 tag at `at` ends; `at` where there is none."""
    while content[at : at + 3] == b"ID3" and len(content) >= at + 10:
        seven_bits = content[at + 6 : at + 10]
        footer = 10 if content[at + 5] & 0x10 else 0
        at += 10 + sum((byte & 0x7F) << 7 * (3 - i) for i, byte in enumerate(seven_bits)) + footer
    return at


@lru_cache(maxsize=4_096)
def parse_header(header: bytes) -> Header | None:
    """Read four bytes; None where no frame starts with them. Frames of a free bit rate are not recognised."""
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
    """Walk all frames, and split them where another header, rate or number of channels shows a joined file."""
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
    """Say what is missing at the end of a stream: a part of its last frame, or frames that its header declares."""
    frame_seconds = stream.frame_samples / stream.kind.rate_hz
    seconds = stream.num_frames * frame_seconds
    declared = stream.declared_frames or 0
    if (declared - stream.num_frames) * frame_seconds > tolerance_seconds:
        return f"the header declares {declared * frame_seconds:.3f} s, and {seconds:.3f} s are there"
    if stream.ends[-1] > len(content):
        return f"the file ends within a frame of MPEG audio, after {seconds - frame_seconds:.3f} s"
    return None


def with_right_header(content: bytes, stream: Stream) -> bytes:
    """Return the frames of a stream alone, with a header that declares as many as there are.

    Only layer III has such headers. In the others, nearly all streams have frames of one size, from which the length
    is told.
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
    """Say whether another frame, a tag or the end stands where a frame ends: two bytes alone are easily mistaken."""
    end = at + header.size
    if end == len(content) or _tag_end(content, end) is not None:
        return True
    following = parse_header(content[end : end + _HEADER_BYTES])
    return following is not None and following.kind == header.kind


def _next_start(content: bytes, at: int) -> int:
    """Return where a tag ends, or where the next frame starts for sure; the end of the file where there is none."""
    end = _tag_end(content, at)
    if end is not None:
        return end
    while (at := content.find(b"\xff", at + 1)) >= 0:
        header = parse_header(content[at : at + _HEADER_BYTES])
        if header is not None and _is_followed(content, at, header):
            return at
    return len(content)


def _tag_end(content: bytes, at: int) -> int | None:
    """Return where a tag of ID3v2, ID3v1 or APEv2 ends; None where there is none."""
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
    """Return the starts of the frames that are headers, and the name of each."""
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
    """Return the number of frames and the samples to be trimmed, of a Xing header whose name stands at `at`."""
    flags = int.from_bytes(content[at + 4 : at + 8], "big")
    frames = int.from_bytes(content[at + 8 : at + 12], "big") if flags & 1 else 0
    lame = at + 8 + 4 * (flags & 1) + 2 * (flags & 2) + 25 * (flags & 4) + (flags & 8) // 2
    both = int.from_bytes(content[lame + 21 : lame + 24], "big")  # 12 bits each
    return frames or None, (both >> 12) + (both & 0xFFF)


def _xing_frame(like: bytes, num_frames: int) -> bytes:
    """Return a frame of silence that declares how many frames follow, in the least size that holds it."""
    for bit_rate in range(1, 15):
        four = bytes([0xFF, like[1] | 1, bit_rate << 4 | like[2] & 0x0C, like[3]])
        header = parse_header(four)
        if header is not None and header.size >= (end := header.tag_at + 12):
            tag = b"Xing" + (1).to_bytes(4, "big") + num_frames.to_bytes(4, "big")
            return (four + bytes(end - 12 - _HEADER_BYTES) + tag).ljust(header.size, b"\0")
    raise ValueError(f"no frame of {like.hex()} can hold a header")
