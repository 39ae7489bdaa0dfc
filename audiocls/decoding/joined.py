"""Find recordings that were appended to another one, for example with `cat`.

Decoders read the first recording and silently ignore the others, or decode the header of the second as samples.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import Final

_MOST_CHUNKS: Final = 1_000
_RIFF: Final = (b"RIFF", b"RIFX", b"FORM")
_RF64: Final = (b"RF64", b"BW64")
_AU: Final = {b".snd": ">", b"dns.": "<"}
_UNKNOWN: Final = 0x7F00_0000  # the smallest size that programs declare when they write to a pipe
_ASF: Final = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_AMR: Final = b"#!AMR"
_WAVPACK: Final = b"wvpk"
_APE_TAG: Final = b"APETAGEX"
# NIST SPHERE, VOC, PVF, AVR, WVE, PAF, MAT5, XI and IRCAM, by their first four bytes.
_SAME: Final = (
    b"NIST",
    b"Crea",
    b"PVF1",
    b"2BIT",
    b"ALaw",
    b" paf",
    b"MATL",
    b"Exte",
    b"fap ",
    *(bytes([0x64, 0xA3, n, 0]) for n in range(5)),
)
_SAME_BYTES: Final = 16


def split_joined(content: bytes) -> list[bytes]:
    """Return the joined recordings in order; a single recording is returned as it is."""
    parts = []
    while (end := find_second(content)) is not None:
        parts.append(content[:end])
        content = content[end:]
    return [*parts, content]


def find_second(content: bytes) -> int | None:
    """Return the offset of the second recording in a file; None if there is none."""
    finder = _FINDERS.get(content[:4]) or _find_finder(content)
    try:
        end = finder(content) if finder is not None else None
    except (struct.error, OverflowError):  # the file ends within a header or declares an impossible size
        return None
    return end if end is not None and 0 < end < len(content) else None


def _find_finder(content: bytes) -> Callable[[bytes], int | None] | None:
    """Return the finder for formats that are not identified by their first four bytes."""
    if content[4:8] == b"ftyp":
        return _in_boxes
    if content[20:30] == b"samplerate":  # MAT4
        return _after_signature(content[:30])
    # A MIDI Sample Dump: the data after the header has only bytes below 0x80, so it cannot look like a header.
    is_dump = content.startswith(b"\xf0\x7e") and content[3:4] == b"\x01"
    return _after_signature(content[:10]) if is_dump else None


def _after_riff(content: bytes) -> int | None:
    """Look at the end that the header declares; if it declares none, search for the next header."""
    (size,) = struct.unpack_from(">I" if content[:4] in (b"RIFX", b"FORM") else "<I", content, 4)
    if content[:4] in _RF64:
        (size,) = struct.unpack_from("<Q", content, 20)
    if 0 < size < _UNKNOWN:
        return next((end for end in (size + 8, size + 9) if content.startswith(content[:4], end)), None)
    at = content.find(content[8:16], 16) - 8
    return at if content.startswith(content[:4], at) else None


def _after_au(content: bytes) -> int | None:
    start, size = struct.unpack_from(_AU[content[:4]] + "II", content, 4)
    if size < _UNKNOWN:
        return start + size if content.startswith(content[:4], start + size) else None
    at = content.find(content[:8], start)
    return at if content[at + 12 : at + 24] == content[12:24] else None  # same encoding, rate and channels


def _after_wave64(content: bytes) -> int | None:
    (size,) = struct.unpack_from("<Q", content, 16)
    ends = (size, size + -size % 8)
    return next((end for end in ends if content.startswith(content[:16], end)), None)


def _after_caf(content: bytes) -> int | None:
    at = 8
    for _ in range(_MOST_CHUNKS):
        at += not content.startswith(content[:6], at) and content.startswith(content[:6], at + 1)
        if content.startswith(content[:6], at):
            return at
        (size,) = struct.unpack_from(">q", content, at + 4)
        if size < 0:  # written to a pipe
            return content.find(content[:12], at)
        at += 12 + size
    return None


def _in_boxes(content: bytes) -> int | None:
    return next((start for start, _, name in find_boxes(content) if start and name == b"ftyp"), None)


def find_boxes(content: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Yield the start, declared end and name of each box of an MP4 file (ISO/IEC 14496-12, 4.2)."""
    at = 0
    while at + 8 <= len(content):
        size, name = struct.unpack_from(">I4s", content, at)
        if size == 1 and at + 16 <= len(content):
            (size,) = struct.unpack_from(">Q", content, at + 8)
        if size < 8:  # 0: the box extends to the end of the file
            return
        yield at, at + size, name
        at += size


def _after_signature(signature: bytes) -> Callable[[bytes], int | None]:
    return lambda content: content.find(signature, len(signature))


def _after_wavpack(content: bytes) -> int | None:
    """Search for a second block with index 0; with many channels, several blocks share an index."""
    counting = False
    for start, _ in find_blocks(content):
        (index,) = struct.unpack_from("<I", content, start + 16)
        if counting and index == 0:
            return start
        counting = counting or index > 0 or bool(content[start + 25] & 0x10)  # the last block with these samples
    return None


def _after_same(content: bytes) -> int | None:
    """Search for the first bytes of the header again: these formats give no better information about their end."""
    return content.find(content[:_SAME_BYTES], _SAME_BYTES)


def find_blocks(content: bytes) -> Iterator[tuple[int, int]]:
    """Yield the start and declared end of each block of a WavPack file, which can end with a tag."""
    at = 0
    while at + 32 <= len(content):
        if content.startswith(_APE_TAG, at):
            at += 32 + int.from_bytes(content[at + 12 : at + 16], "little")
            continue
        if not content.startswith(_WAVPACK, at):
            return
        end = at + 8 + int.from_bytes(content[at + 4 : at + 8], "little")
        yield at, end
        at = end


_FINDERS: Final[dict[bytes, Callable[[bytes], int | None]]] = {
    **dict.fromkeys((*_RIFF, *_RF64), _after_riff),
    **dict.fromkeys(_AU, _after_au),
    b"riff": _after_wave64,
    b"caff": _after_caf,
    _ASF[:4]: _after_signature(_ASF),
    _AMR[:4]: _after_signature(_AMR),
    _WAVPACK: _after_wavpack,
    **dict.fromkeys(_SAME, _after_same),
}
