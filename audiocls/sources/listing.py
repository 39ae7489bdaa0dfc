"""What listing a source gives: the rows of its clips, and what it has beside them."""

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
    """What a source has and its clips do not show."""

    empty_classes: tuple[str, ...] = ()  # classes that it names and has no clip of
    left_out: Mapping[str, int] = field(default_factory=dict)  # what is not listed, by the reason


@dataclass(frozen=True, slots=True)
class Listed:
    """A source's clips, with columns of the manifest, and the rest."""

    clips: pd.DataFrame
    rest: Listing = field(default_factory=Listing)


def together(listings: Iterable[Listing]) -> Listing:
    """Join what several sources have beside their clips."""
    listings = list(listings)
    classes = sorted({label for listing in listings for label in listing.empty_classes})
    left_out: Counter[str] = Counter()
    for listing in listings:
        left_out.update(listing.left_out)
    return Listing(tuple(classes), dict(left_out))


def with_listing(manifest: pa.Table, listing: Listing) -> pa.Table:
    """Put what the source has beside its clips into the metadata of a manifest."""
    facts = json.dumps(asdict(listing))
    return manifest.replace_schema_metadata({**(manifest.schema.metadata or {}), _KEY: facts})


def read_listing(manifest: Path) -> Listing:
    """Return what the source of a manifest has beside the clips in it."""
    facts = json.loads((pq.read_schema(manifest).metadata or {}).get(_KEY, b'{"empty_classes": [], "left_out": {}}'))
    return Listing(tuple(facts["empty_classes"]), facts["left_out"])
