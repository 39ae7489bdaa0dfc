"""Check the data size in the header of a WAV, AIFF, AU, W64 or CAF file, which can be missing or too small.

A program that writes to a pipe cannot update the header: it leaves 0 or the largest size there. A recorder that was
switched off leaves the size that it wrote last. Decoders stop at the declared size.
"""

from __future__ import annotations

import struct
from typing import Final

from audiocls.decoding.truncation import TOLERANCE_SECONDS, Samples, find_samples, is_claim

_CHUNKED_BY_FOUR: Final = {b"RIFF": "<I", b"RF64": "<I", b"BW64": "<I", b"RIFX": ">I", b"FORM": ">I", b"caff": ">Q"}
_WITHOUT_CHUNKS: Final = (b".snd", b"dns.")
_MOST_CHUNKS: Final = 1_000


def with_right_size(content: bytes) -> bytes:
    """Return the file with a data size up to its end if its header declares none or a larger one."""
    samples = find_samples(content)
    if samples is None or samples.size_at is None:
        return content
    present_bytes = len(content) - samples.start
    # A size of 0 that is followed only by chunks means an empty recording.
    is_empty = samples.declared_bytes <= 0 and _rest_bytes(content, samples) == 0
    missing = not is_claim(samples.declared_bytes) and not is_empty
    if present_bytes <= 0 or not (missing or samples.declared_bytes > present_bytes):
        return content
    largest = 2 ** (8 * struct.calcsize(samples.layout)) - 1
    size = struct.pack(samples.layout, min(largest, present_bytes + samples.counted_bytes))
    return content[: samples.size_at] + size + content[samples.size_at + len(size) :]


def find_rest(content: bytes, seconds: float) -> str | None:
    """Describe data after the declared samples that is not a chunk; None if it is within the tolerance.

    Args:
        content: The file.
        seconds: Length of the decoded audio.
    """
    samples = find_samples(content)
    if samples is None or not is_claim(samples.declared_bytes):
        return None
    rest_bytes = _rest_bytes(content, samples)
    rest_seconds = seconds * rest_bytes / samples.declared_bytes
    if rest_seconds <= TOLERANCE_SECONDS:
        return None
    return (
        f"the header declares {seconds:.3f} s, but {rest_bytes} bytes follow that it does not account for: "
        f"{rest_seconds:.3f} s if they are samples"
    )


def _rest_bytes(content: bytes, samples: Samples) -> int:
    """Return the number of bytes after the samples that are neither chunks nor zero padding."""
    at, layout = samples.start + max(0, samples.declared_bytes), _CHUNKED_BY_FOUR.get(content[:4])
    if layout is None and not content.startswith(_WITHOUT_CHUNKS):
        return 0
    for _ in range(_MOST_CHUNKS if layout is not None else 0):
        ends = [end for start in (at, at + 1) if (end := _chunk_end(content, start, layout or "")) is not None]
        if not ends:
            break
        at = ends[0]
    return len(content[at:].strip(b"\0"))


def _chunk_end(content: bytes, at: int, layout: str) -> int | None:
    """Return the end of the chunk at `at`; None if it has no valid name or ends after the file."""
    name, body = content[at : at + 4], at + 4 + struct.calcsize(layout)
    if len(name) < 4 or body > len(content) or not all(0x20 <= byte < 0x7F for byte in name):
        return None
    end = body + int(struct.unpack_from(layout, content, at + 4)[0])
    return end if end <= len(content) + 1 else None
