from .columns import (
    COLUMNS as COLUMNS,
    MANIFEST_SCHEMA as MANIFEST_SCHEMA,
    REFUSAL as REFUSAL,
    SEGMENT as SEGMENT,
    SPLITS as SPLITS,
)
from .listing import Listing as Listing, read_listing as read_listing
from .manifest import list_clips as list_clips
