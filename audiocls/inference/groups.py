"""Files in groups that are scored together, and the same groups again when some files have come or gone."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import xxhash

from audiocls.decoding import FileFound, look_at_files
from audiocls.params import AudioParams

GROUP_FILES: Final = 96
"""The most files in a group."""
_FILES_TO_A_START: Final = 48
_ALONE_BYTES: Final = 4_000_000
# What limits memory limits nothing here: a file is decoded as a stream.
_ANY_LENGTH: Final = AudioParams(max_file_seconds=1e9)


@dataclass(frozen=True, slots=True)
class Group:
    """Files, and a key that changes with the path, the size, the time or the ETag of one of them."""

    key: str
    paths: tuple[str, ...]
    size_bytes: int


def group_files(paths: Iterable[str]) -> Iterator[Group]:
    """Yield the files in groups, in order.

    The rounding of a recording's scores depends on what is in its batch, and no batch holds recordings of two groups.
    A large file is a group of its own. Of the small ones, each whose path hashes to a certain value begins a group, so
    that a file more or less changes its own group and leaves the others as they are.
    """
    members: list[FileFound] = []
    for file in look_at_files(paths, _ANY_LENGTH):
        alone = file.size_bytes >= _ALONE_BYTES
        if members and (alone or len(members) == GROUP_FILES or _is_start(file.path)):
            yield _group(members)
            members = []
        members.append(file)
        if alone:
            yield _group(members)
            members = []
    if members:
        yield _group(members)


def _is_start(path: str) -> bool:
    return xxhash.xxh3_64_intdigest(_encoded(path)) % _FILES_TO_A_START == 0


def _group(members: Sequence[FileFound]) -> Group:
    states = [[file.path, file.size_bytes, file.modified_ns, file.etag, file.reason] for file in members]
    key = xxhash.xxh3_128_hexdigest(json.dumps(states).encode())
    return Group(key, tuple(file.path for file in members), sum(max(0, file.size_bytes) for file in members))


def _encoded(path: str) -> bytes:
    return path.encode("utf-8", "surrogateescape")
