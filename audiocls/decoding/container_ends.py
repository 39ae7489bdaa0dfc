"""Find truncated files among those that FFmpeg reads: FFmpeg decodes what is left, or fails only at its end."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import Final

from audiocls.decoding.joined import find_blocks, find_boxes

# 3GPP TS 26.101 and 26.201, Table A.1b: bytes of a frame after its first byte, by frame type; 0 for none.
_AMR_BYTES: Final = (12, 13, 15, 17, 19, 20, 26, 31, 5, 0, 0, 0, 0, 0, 0, 0)
_AMR_WIDE_BYTES: Final = (17, 23, 32, 36, 40, 46, 50, 58, 60, 5, 0, 0, 0, 0, 0, 0)
_AMR_WIDE: Final = b"#!AMR-WB\n"
_AMR: Final = b"#!AMR\n"
_ADTS_HEADER_BYTES: Final = 7
# Advanced Systems Format Specification, section 3.2: the object, and the offsets of the file size and the flags in it.
_ASF_FILE: Final = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
_ASF_SIZE_AT: Final = 40
_ASF_FLAGS_AT: Final = 88
_ASF_BROADCAST: Final = 1
# RFC 8794 and 9559: the elements whose children are read; their own size may be unknown.
_EBML_INSIDE: Final = (b"\x18\x53\x80\x67", b"\x1f\x43\xb6\x75")  # Segment, Cluster


def find_cut(content: bytes, container: str) -> str | None:
    """Describe where the file is cut off; None if it is complete or the format does not show it."""
    ends = _ENDS.get(container)
    for name, end in ends(content) if ends is not None else ():
        if end > len(content):
            return f"the file ends within {name} of {container}, {end - len(content)} bytes too early"
    return None


def _boxes(content: bytes) -> Iterator[tuple[str, int]]:
    for _, end, name in find_boxes(content):
        yield f"the box {name.decode('latin-1')!r}", end


def _elements(content: bytes) -> Iterator[tuple[str, int]]:
    """Yield the elements of a Matroska file, including the children of segments and clusters."""
    at = 0
    while at < len(content):
        id_bytes = 9 - content[at].bit_length()
        name, size_at = content[at : at + id_bytes], at + id_bytes
        if id_bytes > 4 or size_at >= len(content):
            return
        size_bytes = 9 - content[size_at].bit_length()
        size = int.from_bytes(content[size_at : size_at + size_bytes], "big") & (1 << 7 * size_bytes) - 1
        start, unknown = size_at + size_bytes, size == (1 << 7 * size_bytes) - 1
        if not unknown:
            yield f"the element {name.hex()}", start + size
        elif name not in _EBML_INSIDE:
            return
        at = start if name in _EBML_INSIDE else start + size


def _aac_frames(content: bytes) -> Iterator[tuple[str, int]]:
    at = 0
    while at + _ADTS_HEADER_BYTES <= len(content) and content[at] == 0xFF and content[at + 1] & 0xF6 == 0xF0:
        at += max(_ADTS_HEADER_BYTES, int.from_bytes(content[at + 3 : at + 6], "big") >> 5 & 0x1FFF)
        yield "a frame", at


def _amr_frames(content: bytes) -> Iterator[tuple[str, int]]:
    wide = content.startswith(_AMR_WIDE)
    sizes = _AMR_WIDE_BYTES if wide else _AMR_BYTES
    at = len(_AMR_WIDE if wide else _AMR)
    while at < len(content):
        at += 1 + sizes[content[at] >> 3 & 15]
        yield "a frame", at


def _wavpack_blocks(content: bytes) -> Iterator[tuple[str, int]]:
    for _, end in find_blocks(content):
        yield "a block", end


def _asf_file(content: bytes) -> Iterator[tuple[str, int]]:
    at = content.find(_ASF_FILE)
    if at < 0 or at + _ASF_FLAGS_AT + 4 > len(content):
        return
    (size,) = struct.unpack_from("<Q", content, at + _ASF_SIZE_AT)
    (flags,) = struct.unpack_from("<I", content, at + _ASF_FLAGS_AT)
    if not flags & _ASF_BROADCAST:
        yield "the data", size


_ENDS: Final[dict[str, Callable[[bytes], Iterator[tuple[str, int]]]]] = {
    "MP4": _boxes,
    "MATROSKA": _elements,
    "AAC": _aac_frames,
    "AMR": _amr_frames,
    "WAVPACK": _wavpack_blocks,
    "ASF": _asf_file,
}
