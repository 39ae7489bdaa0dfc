from .columns import (
    COLUMN as COLUMN,
    COLUMNS as COLUMNS,
    MANIFEST_SCHEMA as MANIFEST_SCHEMA,
    REFUSAL as REFUSAL,
    SEGMENT as SEGMENT,
    SPLITS as SPLITS,
    kept_fields as kept_fields,
)
from .events import EVENTS as EVENTS, event_windows as event_windows, is_within as is_within
from .folder import list_folder as list_folder
from .guessing import (
    guess_column as guess_column,
    guess_group as guess_group,
    guess_label as guess_label,
    name_pattern as name_pattern,
    stem as stem,
)
from .label_names import (
    LABEL_SETS as LABEL_SETS,
    LABELS as LABELS,
    NO_LABEL as NO_LABEL,
    UNKNOWN_LABELS as UNKNOWN_LABELS,
    label_text as label_text,
)
from .label_sets import (
    LABEL_SET_FIELDS as LABEL_SET_FIELDS,
    by_label as by_label,
    class_names as class_names,
    is_multi_label as is_multi_label,
    label_columns as label_columns,
    targets_of as targets_of,
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
