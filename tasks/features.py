"""Compute and store the features of clips, for slow feature extractors."""

from __future__ import annotations

from dataclasses import replace

from prefect import task
from prefect.cache_policies import NO_CACHE

from audiocls import features
from audiocls.params import AudioParams, RunnerParams
from audiocls.splits import PreparedData
from audiocls.stopwatch import timed
from tasks.retries import unless_mistaken
from tasks.runners import run_shards


@timed
def cache_features(data: PreparedData) -> PreparedData:
    """Fill the feature store, one mapped task per shard; return the data with the store, if one is used."""
    plan = plan_features(data)
    if plan is None:
        return data
    # The feature store is in the workspace, which remote workers cannot access.
    runner = RunnerParams() if data.params.runner.address else data.params.runner
    run_shards(write_features, plan.shards, data.params.audio, runner, "computing features")
    return replace(data, features=plan.store)


@task(cache_policy=NO_CACHE, retries=2, retry_delay_seconds=5, retry_condition_fn=unless_mistaken)
def plan_features(data: PreparedData) -> features.FeaturePlan | None:
    """Find the clips whose features are missing."""
    return features.plan_features(data)


@task(
    cache_policy=NO_CACHE,
    retries=2,
    retry_delay_seconds=5,
    retry_condition_fn=unless_mistaken,
    task_run_name="features-{shard.start}",
)
def write_features(shard: features.FeatureShard, params: AudioParams) -> int:
    """Compute the features of one shard; return the number of clips."""
    return features.write_features(shard, params)
