"""Compute what a slow feature extractor makes of the clips, and keep it."""

from __future__ import annotations

from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.futures import as_completed

from audiocls import features
from audiocls.params import AudioParams, RunParams
from audiocls.progress import progress_bar
from audiocls.stopwatch import timed
from tasks.retries import unless_mistaken


@timed
def cache_features(split_clips: Path, waveforms: Path, params: RunParams) -> Path | None:
    """Fill the feature store, one mapped task a shard; return it, or None where the extractor is quick."""
    plan = plan_features(split_clips, waveforms, params)
    if plan is None:
        return None
    new = sum(shard.stop - shard.start for shard in plan.shards)
    with progress_bar("computing features", new) as advance:
        if params.runner.address:  # the feature store is in the workspace, which workers elsewhere do not see
            for shard in plan.shards:
                advance(write_features(shard, params.audio))
            return plan.store
        futures = [write_features.submit(shard, params.audio) for shard in plan.shards]
        for future in as_completed(futures):
            advance(future.result())
    return plan.store


@task(cache_policy=NO_CACHE, retries=2, retry_delay_seconds=5, retry_condition_fn=unless_mistaken)
def plan_features(split_clips: Path, waveforms: Path, params: RunParams) -> features.FeaturePlan | None:
    """Find the clips whose features are missing."""
    return features.plan_features(split_clips, waveforms, params)


@task(
    cache_policy=NO_CACHE,
    retries=2,
    retry_delay_seconds=5,
    retry_condition_fn=unless_mistaken,
    task_run_name="features-{shard.start}",
)
def write_features(shard: features.FeatureShard, audio: AudioParams) -> int:
    """Compute the features of one shard; return of how many clips."""
    return features.write_features(shard, audio)
