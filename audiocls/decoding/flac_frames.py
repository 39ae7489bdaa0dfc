"""Count FLAC frame by frame: its header may declare no length (if written to a pipe) or a wrong one.

libsndfile treats a missing length as the largest possible one, and reads no more samples than a wrong one declares. So
the chain of frames is followed, each with the expected number, and the header is corrected.

Source: RFC 9639, sections 8.2 (STREAMINFO) and 9.1 (frame header).
"""

from __future__ import annotations

from typing import Final, NamedTuple

MAGIC: Final = b"fLaC\0\0\0\x22"
"""The start of a file: STREAMINFO comes first and has 34 bytes. The last metadata block sets the highest bit."""
_LAST_MAGIC: Final = b"fLaC\x80\0\0\x22"
_INFO_AT: Final = 8
_RATES_HZ: Final = (0, 88_200, 176_400, 192_000, 8_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 96_000)
_BITS: Final = (0, 8, 12, None, 16, 20, 24, 32)
_MAX_HEADER_BYTES: Final = 16
_FIXED, _VARIABLE = b"\xff\xf8", b"\xff\xf9"  # sync codes for a fixed and a variable block size


class Info(NamedTuple):
    """The fields of STREAMINFO that are needed here."""

    block_samples: int  # the largest block
    rate_hz: int
    channels: int
    bits: int
    declared_samples: int  # per channel; 0 if unknown

    @property
    def most_frame_bytes(self) -> int:
        """Return an upper bound on the frame size: uncompressed samples, with one more bit for a side channel."""
        return self.block_samples * self.channels * (self.bits + 1) // 8 + 2 * _MAX_HEADER_BYTES


class Chain(NamedTuple):
    """Consecutive frames without a gap."""

    info: Info
    num_samples: int
    last_start: int


class _Frame(NamedTuple):
    number: int  # of the frame, or of its first sample if the block size is variable
    samples: int


def is_flac(content: bytes, at: int = 0) -> bool:
    """Return whether a FLAC file starts at `at`."""
    return content.startswith((MAGIC, _LAST_MAGIC), at)


def find_joined(content: bytes) -> list[int]:
    """Return the offsets of FLAC files that were appended to the first."""
    found, first, at = [], _audio_start(content), len(content)
    while (at := content.rfind(MAGIC[:4], first, at)) >= 0:  # backwards, which is twice as fast
        if is_flac(content, at):
            found.append(at)
    return found[::-1]


def count_by_last(content: bytes) -> int:
    """Return the number of samples according to the number of the last frame; 0 if no frame is found.

    This verifies a length in the header: both cannot be wrong by the same amount. Without a length in the header, use
    `follow`.
    """
    info, at = read_info(content), _audio_start(content)
    sync, least = content[at : at + 2], max(at, len(content) - 2 * info.most_frame_bytes)
    at = len(content)
    while (at := content.rfind(sync, least, at)) >= 0:
        frame = _parse(content, at, info)
        if frame is not None:
            return frame.number * (info.block_samples if sync == _FIXED else 1) + frame.samples
    return 0


def follow(content: bytes) -> Chain | None:
    """Follow the frames from the first; None if there is none."""
    info, at = read_info(content), _audio_start(content)
    sync = content[at : at + 2]
    frame = _parse(content, at, info) if sync in (_FIXED, _VARIABLE) else None
    if frame is None or info.rate_hz == 0:
        return None
    fixed, total, last = sync == _FIXED, frame.samples, at
    while (at := content.find(sync, at + 2)) >= 0:
        following = _parse(content, at, info)
        if following is not None and following.number == frame.number + (1 if fixed else frame.samples):
            frame, last = following, at
            total += frame.samples
    return Chain(info, total, last)


def describe_cut(content: bytes, chain: Chain) -> str | None:
    """Describe what is missing if the header declares more than is present or the last frame is incomplete."""
    info = chain.info
    seconds = chain.num_samples / info.rate_hz
    rest = len(content) - chain.last_start
    if rest > 2 * info.most_frame_bytes:
        return None  # the chain did not break at the end of the file
    if info.declared_samples > chain.num_samples:
        return f"the header declares {info.declared_samples / info.rate_hz:.3f} s, but the file has {seconds:.3f} s"
    return (
        None if _crc16(content[chain.last_start :]) == 0 else f"the file ends within a FLAC frame, at {seconds:.3f} s"
    )


def with_length(content: bytes, num_samples: int) -> bytes:
    """Return the file with `num_samples` in its STREAMINFO."""
    at = _INFO_AT + 10
    fields = int.from_bytes(content[at : at + 8], "big")
    return content[:at] + (fields >> 36 << 36 | num_samples).to_bytes(8, "big") + content[at + 8 :]


def read_info(content: bytes) -> Info:
    """Read the STREAMINFO block at the start of a file."""
    fields = int.from_bytes(content[_INFO_AT + 10 : _INFO_AT + 18], "big")
    block_samples = int.from_bytes(content[_INFO_AT + 2 : _INFO_AT + 4], "big")
    rate_hz, channels, bits = fields >> 44, (fields >> 41 & 7) + 1, (fields >> 36 & 31) + 1
    return Info(block_samples, rate_hz, channels, bits, fields & (1 << 36) - 1)


def _audio_start(content: bytes) -> int:
    """Return the offset where the metadata blocks end."""
    at, last = 4, 0
    while not last and at + 4 <= len(content):
        last = content[at] & 0x80
        at += 4 + int.from_bytes(content[at + 1 : at + 4], "big")
    return at


def _parse(content: bytes, at: int, info: Info) -> _Frame | None:
    """Read the header of a frame; None if these bytes are not a frame of this stream."""
    head = content[at : at + _MAX_HEADER_BYTES]
    if len(head) < 6 or not _fits(head, info):
        return None
    leading_ones = 8 - (~head[4] & 0xFF).bit_length()
    coded = 4 + (leading_ones or 1)
    number = _coded_number(head[4:coded])
    block, rate = head[2] >> 4, head[2] & 15
    block_bytes, rate_bytes = {6: 1, 7: 2}.get(block, 0), {12: 1, 13: 2, 14: 2}.get(rate, 0)
    end = coded + block_bytes + rate_bytes
    if number is None or end >= len(head) or _crc8(head[:end]) != head[end]:
        return None
    if block_bytes:
        return _Frame(number, int.from_bytes(head[coded : coded + block_bytes], "big") + 1)
    return _Frame(number, 192 if block == 1 else 576 << block - 2 if block < 6 else 256 << block - 8)


def _fits(head: bytes, info: Info) -> bool:
    """Return whether the fields at fixed positions agree with STREAMINFO."""
    block, rate, channels, bits = head[2] >> 4, head[2] & 15, head[3] >> 4, _BITS[head[3] >> 1 & 7]
    known_rate = rate == 0 or rate in (12, 13, 14) or (rate < 12 and _RATES_HZ[rate] == info.rate_hz)
    known_channels = channels + 1 == info.channels or (info.channels == 2 and 8 <= channels <= 10)
    return block > 0 and known_rate and known_channels and bits in (0, info.bits) and not head[3] & 1


def _coded_number(coded: bytes) -> int | None:
    """Read a number in the UTF-8 coding scheme, extended to seven bytes."""
    if len(coded) == 1:
        return coded[0] if coded[0] < 0x80 else None
    if coded[0] < 0xC0 or any(byte & 0xC0 != 0x80 for byte in coded[1:]):
        return None
    number = coded[0] & (0x7F >> len(coded))
    for byte in coded[1:]:
        number = number << 6 | byte & 0x3F
    return number


def _crc_table(polynomial: int, bits: int) -> tuple[int, ...]:
    table = []
    for byte in range(256):
        value = byte << bits - 8
        for _ in range(8):
            value = value << 1 ^ (polynomial if value >> bits - 1 else 0)
        table.append(value & (1 << bits) - 1)
    return tuple(table)


_CRC8: Final = _crc_table(0x107, 8)
_CRC16: Final = _crc_table(0x18005, 16)


def _crc8(data: bytes) -> int:
    value = 0
    for byte in data:
        value = _CRC8[value ^ byte]
    return value


def _crc16(data: bytes) -> int:
    """Compute the CRC-16; it is 0 for a complete frame, which ends with its own checksum."""
    value = 0
    for byte in data:
        value = (value << 8 & 0xFFFF) ^ _CRC16[value >> 8 ^ byte]
    return value
