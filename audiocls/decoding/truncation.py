"""Find recordings that were cut off, e.g. by a broken download or a full disk: their header declares more data.

Decoders silently read what is left. WAV (RIFF, RIFX, RF64, BW64), AIFF, AIFC, 8SVX, W64, AU, CAF and NIST SPHERE are
checked by their headers, and Ogg by its last page. `flac_frames` and `mpeg_frames` check FLAC and MP3, and
`container_ends` checks the formats that FFmpeg reads.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

TOLERANCE_SECONDS: Final = 0.05
"""How much can be missing: some programs count the header as samples, or round up to whole blocks."""

# Programs that write to a pipe declare the largest size or slightly less: 0x7F000000 (SoX, AIFF), 0x7FFFF000 (SoX and
# eSpeak, WAV), 0x7FFFFFFF (Android), 0x80000000 (arecord), 0xFFFFFFFF and, in W64, 2 ** 63 - 1 (FFmpeg).
_ENDLESS: Final = ((0x7F00_0000, 0x8000_0000), (0xFFFF_0000, 0xFFFF_FFFF), (2**62, 2**64))

_MOST_CHUNKS: Final = 1_000
_ENDIAN: Final = {b"RIFF": "<", b"RF64": "<", b"BW64": "<", b"RIFX": ">", b"FORM": ">", b".snd": ">", b"dns.": "<"}
_FORMS: Final = {b"WAVE": b"data", b"AIFF": b"SSND", b"AIFC": b"SSND", b"8SVX": b"BODY", b"16SV": b"BODY"}
_CODED_IN_BLOCKS: Final = (0x0002, 0x0011, 0x0031)  # Microsoft ADPCM, IMA ADPCM, GSM 6.10
_NIST: Final = b"NIST_1A\n"
# Sony Wave64: names are GUIDs, which all end like this except the first, and sizes include the 24 header bytes.
_GUID: Final = bytes.fromhex("f3acd3118cd100c04f8edb8a")
_GUID_HEADER: Final = struct.Struct("<16sQ")
# RFC 3533, section 6: the largest page has 255 segments of 255 bytes.
_PAGE_HEADER_BYTES: Final = 27
_GREATEST_PAGE_BYTES: Final = _PAGE_HEADER_BYTES + 255 + 255 * 255


class Samples(NamedTuple):
    """Where the samples start, and how many bytes the header declares for them."""

    start: int
    declared_bytes: int
    size_at: int | None = None  # offset of the size field in the header
    layout: str = ""  # of the size field, in `struct` format
    counted_bytes: int = 0  # other bytes that the size field includes
    block_bytes: int = 1
    block_seconds: float = 0.0  # of a block that is decoded as a whole; 0 if a block is one sample per channel


def find_truncation(content: bytes, seconds: float) -> str | None:
    """Describe what is missing from a recording with `seconds` of decoded audio; None if nothing is known to be."""
    if content.startswith(b"OggS"):
        return f"the file ends within an Ogg page, after {seconds:.3f} s" if _ends_within_page(content) else None
    samples = find_samples(content)
    if samples is None or not is_claim(samples.declared_bytes):
        return None
    present_bytes = len(content) - samples.start
    if not 0 < present_bytes < samples.declared_bytes:
        return None
    if samples.block_seconds:
        declared_seconds = -(-samples.declared_bytes // samples.block_bytes) * samples.block_seconds
    else:  # constant number of bytes per second
        declared_seconds = seconds * samples.declared_bytes / present_bytes
    if declared_seconds - seconds <= TOLERANCE_SECONDS:
        return None
    return f"the header declares {declared_seconds:.3f} s, but the file has {seconds:.3f} s"


def find_samples(content: bytes) -> Samples | None:
    """Return what the header declares about the samples; None if it is not supported or damaged."""
    try:
        return _read_header(content)
    except (struct.error, OverflowError):  # the file ends before the samples or declares an impossible size
        return None


def _read_header(content: bytes) -> Samples | None:
    magic, form = content[:4], content[8:12]
    if magic in (b".snd", b"dns."):
        start, size = struct.unpack_from(_ENDIAN[magic] + "II", content, 4)
        return Samples(start, size, 8, _ENDIAN[magic] + "I")
    if magic in _ENDIAN and form in _FORMS:
        return _find_in_chunks(content, _ENDIAN[magic], _FORMS[form])
    if content.startswith(_NIST):
        return _find_in_nist(content)
    if magic == b"caff":
        return _find_in_caf(content)
    return _find_in_wave64(content) if magic == b"riff" and content[24:40] == b"wave" + _GUID else None


def is_claim(num_bytes: int) -> bool:
    """Return whether a size is a real declaration, not 0 or a placeholder from an unfinished header."""
    return num_bytes > 0 and not any(least <= num_bytes <= most for least, most in _ENDLESS)


def _find_in_chunks(content: bytes, endian: str, wanted: bytes) -> Samples | None:
    header, large = struct.Struct(endian + "4sI"), None
    at, block = 12, (1, 0.0)
    for _ in range(_MOST_CHUNKS):
        name, size = header.unpack_from(content, at)
        body = at + header.size
        if name == b"ds64":  # EBU Tech 3306: the size of the file, then that of the samples
            (large_bytes,) = struct.unpack_from(endian + "Q", content, body + 8)
            large = Samples(0, large_bytes, body + 8, endian + "Q")
        if name == b"fmt ":
            block = _read_block(content[body : body + size], endian)
        if name == wanted:
            if wanted == b"SSND":  # the size includes two numbers before the samples
                return Samples(body + 8, size - 8, at + 4, endian + "I", 8)
            if size == 0xFFFF_FFFF and large is not None:
                return large._replace(start=body)
            return Samples(body, size, at + 4, endian + "I", 0, *block)
        at = body + size + size % 2
    return None


def _read_block(fmt: bytes, endian: str) -> tuple[int, float]:
    """Return the bytes and seconds of a block, from a `fmt ` chunk that declares the samples per block."""
    if len(fmt) < 20:
        return 1, 0.0
    coding, _, rate_hz, _, block_bytes, _, _, samples = struct.unpack_from(endian + "HHIIHHHH", fmt)
    known = coding in _CODED_IN_BLOCKS and rate_hz > 0 and block_bytes > 0
    return (block_bytes, samples / rate_hz) if known else (1, 0.0)


def _find_in_wave64(content: bytes) -> Samples | None:
    at = 40
    for _ in range(_MOST_CHUNKS):
        name, size = _GUID_HEADER.unpack_from(content, at)
        body = at + _GUID_HEADER.size
        if name == b"data" + _GUID:
            return Samples(body, size - _GUID_HEADER.size, at + 16, "<Q", _GUID_HEADER.size)
        at += max(_GUID_HEADER.size, size + -size % 8)
    return None


def _find_in_caf(content: bytes) -> Samples | None:
    """Read Apple's Core Audio Format, which declares the number of compressed samples per channel."""
    (rate_hz,) = struct.unpack_from(">d", content, 20)
    at, frames = 8, 0
    for _ in range(_MOST_CHUNKS):
        name, size = struct.unpack_from(">4sQ", content, at)
        if name == b"pakt":
            (frames,) = struct.unpack_from(">Q", content, at + 20)
        if name == b"data":
            seconds = frames / rate_hz if rate_hz > 0 else 0.0
            return Samples(at + 12, size, at + 4, ">Q", 0, max(1, size), seconds)
        at += 12 + size
    return None


def _find_in_nist(content: bytes) -> Samples | None:
    """Read header lines such as `sample_count -i 24000`; None for compressed samples, which have no fixed size."""
    fields = {words[0]: words[2] for line in content[:1_024].split(b"\n") if len(words := line.split()) == 3}
    sizes = [fields.get(name, b"") for name in (b"sample_count", b"sample_n_bytes", b"channel_count")]
    start = content[len(_NIST) : 16].strip()
    if not all(text.isdigit() for text in (*sizes, start)) or b"," in fields.get(b"sample_coding", b""):
        return None
    count, width, channels = (int(text) for text in sizes)
    return Samples(int(start), count * width * channels)


def _ends_within_page(content: bytes) -> bool:
    """Check only the last page. A complete page need not be flagged as the last one: Android does not set the flag."""
    page = content.rfind(b"OggS\0", max(0, len(content) - _GREATEST_PAGE_BYTES))
    if page < 0:
        return False
    table = page + _PAGE_HEADER_BYTES
    if table > len(content):
        return True
    segments = content[table - 1]
    return table + segments + sum(content[table : table + segments]) > len(content)
