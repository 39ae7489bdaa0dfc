"""The pages of an Ogg file: where files were joined to it (RFC 3533 calls them chained), and how long it must be.

libsndfile reads the first of them alone, and stops without a word at a damaged page.
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct
from typing import Final, NamedTuple

MAGIC: Final = b"OggS"
_HEADER: Final = Struct("<4sBBqIIIB")
_FIRST: Final = 2
_OPUS_RATE_HZ: Final = 48_000  # RFC 7845, section 4: granules count at 48 kHz, whatever the rate of the source was


class Page(NamedTuple):
    """A page, whole or not."""

    start: int
    is_first: bool  # of its stream
    granule: int  # samples until here; -1 where no packet ends in the page
    end: int


def find_pages(content: bytes) -> Iterator[Page]:
    """Yield the pages in order; what stands between them is passed over."""
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
    granules: int  # of the samples in it, or less


def split_chain(content: bytes) -> list[Link]:
    """Return the files that were joined, in order."""
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
    """Return at which sample a recording starts, whose first page with sound ends at a granule, or a later one.

    It is the first there is, unless that is a second away: a recording of a broadcast starts with a large granule,
    and nothing says at which sample the page started.
    """
    return 0 if granule <= _OPUS_RATE_HZ else granule


def read_rate(content: bytes) -> tuple[int, int] | None:
    """Return how many granules are a second, and how many of them are not played; None for other codecs."""
    start = content[:128]
    at = start.find(b"OpusHead")
    if at >= 0:  # RFC 7845, section 5.1: what the decoder needs to settle is counted and dropped
        return _OPUS_RATE_HZ, int.from_bytes(start[at + 10 : at + 12], "little")
    at = start.find(b"\x01vorbis")
    rate_hz = int.from_bytes(start[at + 12 : at + 16], "little") if at >= 0 else 0
    return (rate_hz, 0) if rate_hz else None
