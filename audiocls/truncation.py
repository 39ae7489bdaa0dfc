"""Recordings that were cut off, by a broken download or a full disk: their header declares more than is there.

Decoders read what is there and say nothing. Told are WAV (RIFF, RIFX, RF64, BW64), AIFF, AIFC, W64, AU and Ogg, by
their headers alone.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

TOLERANCE_SECONDS: Final = 0.05
"""What may be missing: some writers count the header as samples, or round up to whole blocks."""

# Who writes to a pipe declares the most there can be or a little less: 0x7F000000 (SoX, AIFF), 0x7FFFF000 (SoX and
# eSpeak, WAV), 0x7FFFFFFF (Android), 0x80000000 (arecord), 0xFFFFFFFF and, in W64, 2 ** 63 - 1 (FFmpeg).
_ENDLESS: Final = ((0x7F00_0000, 0x8000_0000), (0xFFFF_0000, 0xFFFF_FFFF), (2**62, 2**64))

_MOST_CHUNKS: Final = 1_000
_ENDIAN: Final = {b"RIFF": "<", b"RF64": "<", b"BW64": "<", b"RIFX": ">", b"FORM": ">", b".snd": ">", b"dns.": "<"}
_FORMS: Final = {b"WAVE": b"data", b"AIFF": b"SSND", b"AIFC": b"SSND"}
# Sony Wave64: names are GUIDs, which but for the first end like this one, and sizes count the 24 bytes of the header.
_GUID: Final = bytes.fromhex("f3acd3118cd100c04f8edb8a")
_GUID_HEADER: Final = struct.Struct("<16sQ")
# RFC 3533, section 6: the greatest page has 255 segments of 255 bytes.
_PAGE_HEADER_BYTES: Final = 27
_GREATEST_PAGE_BYTES: Final = _PAGE_HEADER_BYTES + 255 + 255 * 255


class _Samples(NamedTuple):
    """Where the samples begin, and the number of bytes that the header says they take."""

    start: int
    declared_bytes: int


def find_truncation(content: bytes, seconds: float) -> str | None:
    """Say what is missing of a recording, of which `seconds` could be decoded; None where nothing is known to be."""
    if content.startswith(b"OggS"):
        return f"the file ends within a page of Ogg, after {seconds:.3f} s" if _ends_within_page(content) else None
    samples = _find_samples(content)
    if samples is None:
        return None
    present_bytes = len(content) - samples.start
    if present_bytes <= 0:
        return None
    # All that these files usually hold has as many bytes in every second.
    missing_seconds = seconds * (samples.declared_bytes - present_bytes) / present_bytes
    if missing_seconds <= TOLERANCE_SECONDS:
        return None
    return f"the header declares {seconds + missing_seconds:.3f} s, and {seconds:.3f} s are there"


def _find_samples(content: bytes) -> _Samples | None:
    """Return what the header says of the samples; None where it is none of ours, damaged, or without a size."""
    try:
        samples = _read_header(content)
    except struct.error:  # it ends before there are samples
        return None
    return samples if samples is not None and _is_claim(samples.declared_bytes) else None


def _read_header(content: bytes) -> _Samples | None:
    magic, form = content[:4], content[8:12]
    if magic in (b".snd", b"dns."):
        return _Samples(*struct.Struct(_ENDIAN[magic] + "II").unpack_from(content, 4))
    if magic in _ENDIAN and form in _FORMS:
        return _find_in_chunks(content, _ENDIAN[magic], _FORMS[form])
    return _find_in_wave64(content) if magic == b"riff" and content[24:40] == b"wave" + _GUID else None


def _is_claim(num_bytes: int) -> bool:
    """Say whether a size is meant: 0 is what a header says that was never finished."""
    return num_bytes > 0 and not any(least <= num_bytes <= most for least, most in _ENDLESS)


def _find_in_chunks(content: bytes, endian: str, wanted: bytes) -> _Samples | None:
    header, large = struct.Struct(endian + "4sI"), struct.Struct(endian + "Q")
    at, large_bytes = 12, None
    for _ in range(_MOST_CHUNKS):
        name, size = header.unpack_from(content, at)
        body = at + header.size
        if name == b"ds64":  # EBU Tech 3306: the size of the file, then that of the samples
            (large_bytes,) = large.unpack_from(content, body + 8)
        if name == wanted:
            if wanted == b"SSND":  # the samples follow two numbers, which count as well
                return _Samples(body + 8, size - 8)
            return _Samples(body, large_bytes if size == 0xFFFF_FFFF and large_bytes is not None else size)
        at = body + size + size % 2
    return None


def _find_in_wave64(content: bytes) -> _Samples | None:
    at = 40
    for _ in range(_MOST_CHUNKS):
        name, size = _GUID_HEADER.unpack_from(content, at)
        body = at + _GUID_HEADER.size
        if name == b"data" + _GUID:
            return _Samples(body, size - _GUID_HEADER.size)
        at += max(_GUID_HEADER.size, size + -size % 8)
    return None


def _ends_within_page(content: bytes) -> bool:
    """Look at the last page alone. Where it is whole, it need not be marked as the last one: Android does not."""
    page = content.rfind(b"OggS\0", max(0, len(content) - _GREATEST_PAGE_BYTES))
    if page < 0:
        return False
    table = page + _PAGE_HEADER_BYTES
    if table > len(content):
        return True
    segments = content[table - 1]
    return table + segments + sum(content[table : table + segments]) > len(content)
