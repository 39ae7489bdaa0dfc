from .corpus import (
    Corpus as Corpus,
    check_lost_classes as check_lost_classes,
    check_quarantine as check_quarantine,
    collect_corpus as collect_corpus,
    quarantine_summary as quarantine_summary,
    quarantined as quarantined,
)
from .counts import (
    LEFT_OUT as LEFT_OUT,
    Counts as Counts,
    count_splits as count_splits,
    is_named as is_named,
    left_out_table as left_out_table,
    lost_summary as lost_summary,
    name_lost_classes as name_lost_classes,
    name_reasons as name_reasons,
    read_counts as read_counts,
    stage_table as stage_table,
    write_counts as write_counts,
)
from .file_maps import FileMaps as FileMaps
from .mapped import MappedWaveforms as MappedWaveforms, unpack_shard as unpack_shard
from .reach import doubtful_reach as doubtful_reach
from .segments import (
    cut_segment as cut_segment,
    recording_keys as recording_keys,
    whole_recordings as whole_recordings,
)
from .shards import ShardPlan as ShardPlan, write_shard as write_shard
from .store import (
    StorePlan as StorePlan,
    look_up as look_up,
    met_files as met_files,
    name_store as name_store,
    plan_store as plan_store,
    shard_rows as shard_rows,
    stores_folder as stores_folder,
)
