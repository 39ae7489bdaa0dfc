from .columns import (
    COLUMNS as COLUMNS,
    MANIFEST_SCHEMA as MANIFEST_SCHEMA,
    REFUSAL as REFUSAL,
    SEGMENT as SEGMENT,
    SPLITS as SPLITS,
)
from .folder import list_folder as list_folder
from .guessing import (
    guess_column as guess_column,
    guess_group as guess_group,
    guess_label as guess_label,
    name_pattern as name_pattern,
    stem as stem,
)
from .listing import Listing as Listing, read_listing as read_listing
from .manifest import list_clips as list_clips
from .tables import (
    TABLE_SUFFIXES as TABLE_SUFFIXES,
    column_names as column_names,
    read_columns as read_columns,
    text_cells as text_cells,
)
from .walking import RECORDING_SUFFIXES as RECORDING_SUFFIXES, names_at as names_at, names_below as names_below
