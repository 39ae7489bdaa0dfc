from .columns import (
    COLUMNS as COLUMNS,
    MANIFEST_SCHEMA as MANIFEST_SCHEMA,
    REFUSAL as REFUSAL,
    SEGMENT as SEGMENT,
    SPLITS as SPLITS,
)
from .listing import Listing as Listing, read_listing as read_listing
from .manifest import list_clips as list_clips
from .tables import read_columns as read_columns, text_cells as text_cells
from .walking import RECORDING_SUFFIXES as RECORDING_SUFFIXES, names_at as names_at, names_below as names_below
