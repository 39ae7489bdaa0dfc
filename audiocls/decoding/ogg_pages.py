"""The pages of an Ogg file: where joined files start ("chained" in RFC 3533), and how long the audio must be.

libsndfile reads only the first of joined files, and stops silently at a damaged page.
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct
from typing import Final, NamedTuple

MAGIC: Final = b"OggS"
_HEADER: Final = Struct("<4sBBqIIIB")
_FIRST: Final = 2
_OPUS_RATE_HZ: Final = 48_000  # RFC 7845, section 4: granules count at 48 kHz, whatever the source rate


class Page(NamedTuple):
    """A page, complete or truncated."""

    start: int
    is_first: bool  # of its stream
    granule: int  # samples up to here; -1 if no packet ends in the page
    end: int


def find_pages(content: bytes) -> Iterator[Page]:
    """Yield the pages in order; skip bytes between them."""
    at = content.find(MAGIC)
    while at >= 0 and at + _HEADER.size <= len(content):
        _, _, flags, granule, _, _, _, segments = _HEADER.unpack_from(content, at)
        table = at + _HEADER.size
        end = table + segments + sum(content[table : table + segments])
        yield Page(at, bool(flags & _FIRST), granule, end)
        at = end if content.startswith(MAGIC, end) else content.find(MAGIC, at + _HEADER.size)


class Link(NamedTuple):
    """One of the files in a chain."""

    start: int
    end: int
    granules: int  # number of samples in the file, or slightly less


def split_chain(content: bytes) -> list[Link]:
    """Return the joined files in order."""
    starts, granules = [0], [list[int]()]
    was_first = True
    for page in find_pages(content):
        if page.is_first and not was_first:
            starts.append(page.start)
            granules.append([])
        was_first = page.is_first
        if page.granule > 0 and page.end <= len(content):
            granules[-1].append(page.granule)
    ends = [*starts[1:], len(content)]
    return [
        Link(start, end, known[-1] - _first_sample(known[0]) if known else 0)
        for start, end, known in zip(starts, ends, granules, strict=True)
    ]


def _first_sample(granule: int) -> int:
    """Return the first sample of a recording whose first audio page ends at `granule`, or a later sample.

    A recording starts at sample 0 if its first page ends within the first second. A recording of a broadcast starts
    with a large granule, and the sample at which its first page starts is unknown.
    """
    return 0 if granule <= _OPUS_RATE_HZ else granule


def read_rate(content: bytes) -> tuple[int, int] | None:
    """Return the granules per second and the number of granules that are not played; None for other codecs."""
    start = content[:128]
    at = start.find(b"OpusHead")
    if at >= 0:  # RFC 7845, section 5.1: the pre-skip is counted, but dropped by decoders
        return _OPUS_RATE_HZ, int.from_bytes(start[at + 10 : at + 12], "little")
    at = start.find(b"\x01vorbis")
    rate_hz = int.from_bytes(start[at + 12 : at + 16], "little") if at >= 0 else 0
    return (rate_hz, 0) if rate_hz else None
