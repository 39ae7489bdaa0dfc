"""Prepare the clips of a run without Prefect and MLflow, as the flows do: list, decode, find near-duplicates, split."""

from __future__ import annotations

from audiocls.near_duplicates.pairs import find_near_duplicates
from audiocls.params.run import RunParams
from audiocls.sources.manifest import list_clips
from audiocls.splits.assignment import assign_splits
from audiocls.splits.prepared_data import PreparedData
from audiocls.waveforms.corpus import collect_corpus
from audiocls.waveforms.shards import write_shard
from audiocls.waveforms.store import plan_store


def prepare(params: RunParams) -> PreparedData:
    """Return the clips of a run, decoded and split."""
    manifest = list_clips(params.data, params.workspace)
    plan = plan_store(manifest, params.audio, params.workspace)
    for shard in plan.shards:
        write_shard(shard, params.audio)
    corpus = collect_corpus(manifest, plan, params.workspace)
    pairs = find_near_duplicates(corpus.clips, corpus.store)
    splits = assign_splits(corpus.clips, params.split, params.seed, params.workspace, None, pairs)
    return PreparedData(splits, corpus.store, params)
