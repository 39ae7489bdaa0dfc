"""Compute what a slow feature extractor makes of the clips, and keep it."""

from __future__ import annotations

from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE

from audiocls import features
from audiocls.params import AudioParams, RunnerParams, RunParams
from audiocls.stopwatch import timed
from tasks.retries import unless_mistaken
from tasks.runners import run_shards


@timed
def cache_features(split_clips: Path, waveforms: Path, params: RunParams) -> Path | None:
    """Fill the feature store, one mapped task a shard; return it, or None where the extractor is quick."""
    plan = plan_features(split_clips, waveforms, params)
    if plan is None:
        return None
    # The feature store is in the workspace, which workers elsewhere do not see.
    runner = RunnerParams() if params.runner.address else params.runner
    run_shards(write_features, plan.shards, params.audio, runner, "computing features")
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
def write_features(shard: features.FeatureShard, params: AudioParams) -> int:
    """Compute the features of one shard; return of how many clips."""
    return features.write_features(shard, params)
