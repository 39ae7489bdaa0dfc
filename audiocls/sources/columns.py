"""The columns of a manifest, which the tables of a corpus extend."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import pyarrow as pa

SPLITS: Final = ("train", "validation", "test")
COLUMNS: Final = ("clip_id", "path", "label", "group", "split", "source")
SEGMENT: Final = ("start_seconds", "end_seconds")
REFUSAL: Final = ("reason", "detail")
COLUMN: Final = "column/"
"""Before the names of columns of the user's table that are kept as they are, as text."""
MANIFEST_SCHEMA: Final = pa.schema(
    [(name, pa.float64() if name in SEGMENT else pa.string()) for name in (*COLUMNS, *SEGMENT, *REFUSAL)]
)


def kept_fields(columns: Iterable[str]) -> list[pa.Field]:
    """Return the fields of the columns that are kept as they are, among the names of a table's columns."""
    return [pa.field(name, pa.string()) for name in columns if name.startswith(COLUMN)]
