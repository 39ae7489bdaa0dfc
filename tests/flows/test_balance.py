"""The comparison of balance methods, from recordings to the params file that trains by the best."""

from __future__ import annotations

import io
import json
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pandas as pd
import pytest
import yaml
from flow_runs import run_flow
from mlflow import MlflowClient
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId

from audiocls.comparison.scores import METRICS
from audiocls.params.comparison import ComparisonParams
from audiocls.params_file.reading import load_params
from flows.balance import balance_flow

pytestmark = pytest.mark.usefixtures("prefect_server")


def write_params(folder: Path, tones: Path, **sections) -> Path:
    params = {
        "experiment": "tones",
        "workspace": str(folder / "workspace"),
        "data": {"source": "folder", "path": str(tones), "group_by": "file"},
        "audio": {"max_seconds": 0.3},
        "split": {"test_fraction": 0.4},
        "model": {"config": {"channels": [4, 8]}},
        "training": {"epochs": 2, "batch_size": 8, "learning_rate": 1.0e-2},
        "evaluation": {"robustness_clips": 0},
    }
    path = folder / "tones.yaml"
    path.write_text(yaml.safe_dump(params | sections))
    return path


@pytest.fixture(scope="module")
def compared(tones, tmp_path_factory, prefect_server):
    """A comparison of heads and of one method that is trained end to end: (what stdout and stderr say, its params)."""
    comparison = {"methods": ["oversample", "smote", "class_thresholds"], "end_to_end": ["weighted_loss"], "seeds": 2}
    params_file = write_params(tmp_path_factory.mktemp("compared"), tones, comparison=comparison)
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        assert run_flow(balance_flow, [str(params_file), "training.max_steps=6"]) == 0
    return json.loads(out.getvalue().splitlines()[-1]), err.getvalue(), load_params(params_file)


METHODS = {"none", "decoupled, oversample", "decoupled, smote", "class_thresholds", "weighted_loss, end to end"}


def artifact(compared, path: str) -> Path:
    said, _, params = compared
    return Path(MlflowClient(params.tracking_uri).download_artifacts(said["run_id"], path))


def test_each_method_and_seed_is_a_finished_run_below_the_one_of_the_comparison(compared):
    said, _, params = compared
    client = MlflowClient(params.tracking_uri)
    experiment = client.get_experiment_by_name("tones").experiment_id
    nested = client.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{said['run_id']}'")
    assert {run.info.run_name for run in nested} == {f"{name}, seed {seed}" for name in METHODS for seed in (17, 18)}
    assert {run.info.status for run in nested} == {"FINISHED"}
    (smote,) = (run for run in nested if run.info.run_name == "decoupled, smote, seed 18")
    assert smote.data.params["balance.resampling"] == "smote"
    metrics = smote.data.metrics
    assert {f"{split}/{metric}" for split in ("validation", "test") for metric in METRICS} < set(metrics)


def test_each_of_them_says_what_was_trained_on(compared):
    """Clips of each class before and after, and the number and the clips of copies and synthetic samples."""
    said, _, params = compared
    client = MlflowClient(params.tracking_uri)
    experiment = client.get_experiment_by_name("tones").experiment_id
    nested = client.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{said['run_id']}'")
    tables = [pd.read_parquet(path) for path in (params.workspace / "splits").glob("*.parquet")]
    (splits,) = (table.set_index("clip_id")["split"] for table in tables if {"clip_id", "split"} <= set(table))
    for run in nested:
        rows = pd.read_parquet(client.download_artifacts(run.info.run_id, "data/balance/rows.parquet"))
        made_of = pd.concat([rows["clip_id"], rows.get("other_clip_id", pd.Series(dtype=object)).dropna()])
        assert (splits[made_of] == "train").all()
        counts = {name: run.data.metrics[f"rows/{name}"] for name in ("original", "copy", "synthetic", "left_out")}
        after = sum(value for name, value in run.data.metrics.items() if name.startswith("clips_after/"))
        assert counts["original"] + counts["copy"] + counts["synthetic"] == after
        assert (counts["synthetic"] > 0) == ("smote" in run.info.run_name)
        if "kind" in rows:
            assert counts | rows["kind"].value_counts().to_dict() == counts
        pictures = [each.path for each in client.list_artifacts(run.info.run_id, "data/balance") if "png" in each.path]
        assert len(pictures) == run.info.run_name.startswith("decoupled")


def test_the_table_has_each_method_on_both_splits_and_the_seeds_are_in_it(compared):
    table = pd.read_parquet(artifact(compared, "comparison/scores.parquet"))
    assert {(row.split, row.method) for row in table.itertuples()} == {
        (split, name) for split in ("validation", "test") for name in METHODS
    }
    runs = pd.read_parquet(artifact(compared, "comparison/runs.parquet"))
    test = table[table["split"] == "test"].set_index("method")
    assert runs.groupby("method")["test/f1_macro"].mean().to_dict() == pytest.approx(test["f1_macro"].to_dict())
    # Every seed has a model of its own, trained plainly.
    assert runs[runs["method"] == "none"]["validation/calibration_error"].nunique() == 2


def test_the_verdict_is_on_both_pages_with_the_table_and_the_picture(compared):
    said, _, params = compared
    run = MlflowClient(params.tracking_uri).get_run(said["run_id"])
    assert said["verdict"] in run.data.tags["mlflow.note.content"]
    assert run.data.tags["balance.verdict"] == said["verdict"]
    assert artifact(compared, "comparison/gains.png").stat().st_size > 10_000
    flow_run = ArtifactFilterFlowRunId(any_=[run.data.tags["prefect.flow_run_id"]])
    with get_client(sync_client=True) as client:
        shown = {
            each.key: each.data for each in client.read_artifacts(artifact_filter=ArtifactFilter(flow_run_id=flow_run))
        }
    assert all(f"| {name} |" in shown["balance-comparison"].replace("**", "") for name in METHODS)
    assert shown["balance-gains"].startswith("data:image/png;base64,")


def test_the_command_line_ends_with_one_json_line_and_shows_the_verdict(compared):
    said, shown, _ = compared
    assert set(said) == {"run_id", "method", "verdict", "params_file", "metrics", "seconds", "unsent"}
    assert said["verdict"] in " ".join(shown.split())
    assert {"train_contenders", "compare", "assign_splits"} < set(said["seconds"])


def test_the_params_file_is_of_a_run_by_the_method_to_take(compared):
    said, _, params = compared
    written = load_params(said["params_file"])
    assert written.comparison == ComparisonParams()
    assert written.balance.method in said["method"]
    assert written.workspace == params.workspace
