"""Decode and resample the recordings that the waveform store lacks."""

from __future__ import annotations

import logging
from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE

from audiocls import waveforms
from audiocls.params import AudioParams, RunnerParams
from audiocls.stopwatch import timed
from tasks.retries import unless_mistaken
from tasks.runners import run_shards

logger = logging.getLogger("audiocls.waveforms.reach")


@timed
def cache_waveforms(manifest: Path, params: AudioParams, workspace: Path, runner: RunnerParams) -> waveforms.StorePlan:
    """Fill the store, one mapped task per shard; return the plan."""
    plan = plan_store(manifest, params, workspace)
    doubt = waveforms.doubtful_reach(runner.address, manifest, plan.store, workspace) if plan.shards else None
    if doubt:
        logger.warning(doubt)
    run_shards(write_shard, plan.shards, params, runner, "decoding")
    return plan


@task(cache_policy=NO_CACHE, retries=2, retry_delay_seconds=5, retry_condition_fn=unless_mistaken)
def plan_store(manifest: Path, params: AudioParams, workspace: Path) -> waveforms.StorePlan:
    """Find the new files."""
    return waveforms.plan_store(manifest, params, workspace)


@task(
    cache_policy=NO_CACHE,
    retries=2,
    retry_delay_seconds=5,
    retry_condition_fn=unless_mistaken,
    task_run_name="shard-{shard.start}",
)
def write_shard(shard: waveforms.ShardPlan, params: AudioParams) -> int:
    """Decode the files of one shard; return their number."""
    return waveforms.write_shard(shard, params)
