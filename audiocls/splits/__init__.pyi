from .assignment import assign_splits as assign_splits, ledger_of as ledger_of
from .copies import same_sound as same_sound
from .dropped import dropped_beside as dropped_beside, dropped_summary as dropped_summary, read_dropped as read_dropped
from .prepared_data import PreparedData as PreparedData
from .trained_clips import (
    of_groups_named_alike as of_groups_named_alike,
    trained_on as trained_on,
    write_training_clips as write_training_clips,
)
from .units import wide_unit_findings as wide_unit_findings
