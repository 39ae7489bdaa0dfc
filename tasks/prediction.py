"""Score files in shards with a trained model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE

from audiocls import inference
from audiocls.inference import PredictParams, PredictPlan, PredictShard, PredictSummary, TableParams
from audiocls.params import RunnerParams
from tasks.retries import unless_mistaken
from tasks.runners import run_shards


def score_shards(plan: PredictPlan, runner: RunnerParams) -> None:
    """Score what the journal lacks, one mapped task a shard."""
    # The runner scores several shards at a time, so that each needs one thread.
    run_shards(score_shard, plan.shards, replace(plan.params, threads=1), runner, "classifying")


@task(cache_policy=NO_CACHE, retries=2, retry_delay_seconds=5, retry_condition_fn=unless_mistaken)
def plan_predictions(files: Sequence[str], path_column: str, params: PredictParams, out: Path) -> PredictPlan:
    """List the files, and find those without an answer."""
    found = inference.list_recordings(files, path_column)
    return inference.plan_predictions(found.paths, found.left_out, params, out)


@task(
    cache_policy=NO_CACHE,
    retries=2,
    retry_delay_seconds=5,
    retry_condition_fn=unless_mistaken,
    task_run_name="shard-{shard.start}",
)
def score_shard(shard: PredictShard, params: PredictParams) -> int:
    """Score the files of one shard; return how many."""
    return inference.score_shard(shard, params)


@task(cache_policy=NO_CACHE, retries=2, retry_delay_seconds=5, retry_condition_fn=unless_mistaken)
def write_predictions(plan: PredictPlan, table: TableParams) -> PredictSummary:
    """Write the output."""
    return inference.write_predictions(plan, table)
