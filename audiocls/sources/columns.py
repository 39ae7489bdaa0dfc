"""The columns of a manifest, which the tables of a corpus extend."""

from __future__ import annotations

from typing import Final

import pyarrow as pa

SPLITS: Final = ("train", "validation", "test")
COLUMNS: Final = ("clip_id", "path", "label", "group", "split", "source")
SEGMENT: Final = ("start_seconds", "end_seconds")
REFUSAL: Final = ("reason", "detail")
MANIFEST_SCHEMA: Final = pa.schema(
    [(name, pa.float64() if name in SEGMENT else pa.string()) for name in (*COLUMNS, *SEGMENT, *REFUSAL)]
)
