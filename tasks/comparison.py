"""Compare balance methods, and finished runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from prefect import task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE

from audiocls import comparison, tracking
from audiocls.errors import BalanceError
from audiocls.params_file import NONE
from audiocls.splits import PreparedData
from audiocls.stopwatch import stage, timed


def train_candidates(data: PreparedData, run: tracking.TrackedRun) -> tuple[list[comparison.Training], dict[str, str]]:
    """Train the models one after another: concurrent trainings would share the cores or the GPU.

    Returns:
        The trainings, and by name, why the class counts do not allow a method. Such methods are not compared.
    """
    trained: list[comparison.Training] = []
    refused: dict[str, str] = {}
    with stage("train_contenders"):  # the stage's key in the JSON output
        for training in comparison.plan_trainings(data.params, run.folder):
            name = training.candidate.name
            if name in refused:
                continue
            try:
                trained.append(train_candidate(training, data))
            except BalanceError as error:
                if name == NONE or not training.candidate.end_to_end:
                    raise
                refused[name] = str(error)
    return [each for each in trained if each.candidate.name not in refused], refused


# No retries: a failed fit would fail again, hours later.
@task(cache_policy=NO_CACHE, task_run_name="train {training.name}")
def train_candidate(training: comparison.Training, data: PreparedData) -> comparison.Training:
    """Train one model."""
    return comparison.train_candidate(training, data)


@task(cache_policy=NO_CACHE)
@timed
def compare(
    trained: tuple[Sequence[comparison.Training], Mapping[str, str]], data: PreparedData, run: tracking.TrackedRun
) -> comparison.Comparison:
    """Score every method and seed, and recommend one."""
    models, refused = trained
    return comparison.compare(models, data, run.folder, refused)


@task(cache_policy=NO_CACHE)
@timed
def compare_runs(runs: Sequence[str], workspace: Path, uri: str, out: Path | None) -> comparison.RunComparison:
    """Compare finished runs with the first of them, and show the summary in Prefect."""
    compared = comparison.compare_runs(runs, workspace, uri, out)
    create_markdown_artifact(key="run-comparison", markdown=compared.summary)
    return compared
