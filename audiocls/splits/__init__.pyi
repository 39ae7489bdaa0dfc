from .assignment import assign_splits as assign_splits, ledger_of as ledger_of
from .contents import SplitContent as SplitContent, split_contents as split_contents
from .copies import same_sound as same_sound
from .dropped import dropped_beside as dropped_beside, dropped_summary as dropped_summary, read_dropped as read_dropped
from .leakage import linked_groups as linked_groups
from .prepared_data import PreparedData as PreparedData
from .stratification import fold_groups as fold_groups
from .trained_clips import (
    of_groups_named_alike as of_groups_named_alike,
    trained_on as trained_on,
    write_training_clips as write_training_clips,
)
from .units import wide_unit_findings as wide_unit_findings
