"""The result of listing a source: its clips, and facts that the clips do not show."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

_KEY: Final = b"audiocls.sources.listing"


@dataclass(frozen=True, slots=True)
class Listing:
    """Facts about a source that its clips do not show."""

    empty_classes: tuple[str, ...] = ()  # classes that the source declares but has no clips of
    left_out: Mapping[str, int] = field(default_factory=dict)  # number of items not listed, by reason


@dataclass(frozen=True, slots=True)
class Listed:
    """The clips of a source, with manifest columns, and the facts that they do not show."""

    clips: pd.DataFrame
    rest: Listing = field(default_factory=Listing)


def together(listings: Iterable[Listing]) -> Listing:
    """Merge the listings of several sources."""
    listings = list(listings)
    classes = sorted({label for listing in listings for label in listing.empty_classes})
    left_out: Counter[str] = Counter()
    for listing in listings:
        left_out.update(listing.left_out)
    return Listing(tuple(classes), dict(left_out))


def with_listing(manifest: pa.Table, listing: Listing) -> pa.Table:
    """Store a listing in the metadata of a manifest."""
    facts = json.dumps(asdict(listing))
    return manifest.replace_schema_metadata({**(manifest.schema.metadata or {}), _KEY: facts})


def read_listing(manifest: Path) -> Listing:
    """Read the listing from the metadata of a manifest."""
    facts = json.loads((pq.read_schema(manifest).metadata or {}).get(_KEY, b'{"empty_classes": [], "left_out": {}}'))
    return Listing(tuple(facts["empty_classes"]), facts["left_out"])
