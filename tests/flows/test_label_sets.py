from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import soundfile
import yaml
from flow_runs import run_flow
from mlflow import MlflowClient

from flows.balance import balance_flow
from flows.train import train_flow

pytestmark = pytest.mark.usefixtures("prefect_server")


@pytest.fixture(scope="module")
def params_file(tmp_path_factory):
    """Params of long recordings with tones that overlap, whose times a table gives."""
    folder = tmp_path_factory.mktemp("events")
    rng = np.random.default_rng(0)
    rows = []
    for number in range(12):
        sound = rng.normal(0, 0.01, 4 * 16_000)
        for label, hz in (("low", 500), ("high", 2_000)):
            start, end = sorted(rng.uniform(0, 4, 2))
            span = np.arange(round(start * 16_000), round(end * 16_000))
            sound[span] += 0.2 * np.sin(2 * np.pi * hz * span / 16_000)
            rows.append((f"{number}.wav", label, start, end))
        soundfile.write(folder / f"{number}.wav", sound, 16_000)
    pd.DataFrame(rows, columns=["path", "label", "start", "end"]).to_csv(folder / "events.csv", index=False)
    data = {
        "source": "table", "path": str(folder / "events.csv"), "labels": "multi", "start_column": "start",
        "end_column": "end", "events": {"window_seconds": 0.5},
    }  # fmt: skip
    params = {
        "experiment": "events",
        "workspace": str(folder / "workspace"),
        "data": data,
        "audio": {"max_seconds": 0.5},
        "split": {"near_duplicates": "ignore"},
        "model": {"config": {"channels": [8, 16]}},
        "balance": {"method": "oversample"},
        "augmentation": [{"kind": "mixup", "probability": 0.3}],
        "training": {"epochs": 6, "batch_size": 16, "learning_rate": 1.0e-2, "schedule": "cosine"},
    }
    path = folder / "events.yaml"
    path.write_text(yaml.safe_dump(params))
    return path


def test_events_that_overlap_become_a_tracked_model_of_several_labels(params_file, capsys):
    result = train_flow(str(params_file))
    assert result.metrics["test/map_macro"] > 0.7
    assert result.metrics["test/exact_match"] > 0.4
    workspace = params_file.parent / "workspace"
    client = MlflowClient(f"sqlite:///{workspace / 'mlflow.db'}")
    run = client.get_run(result.run_id)
    assert run.data.metrics["test/lwlrap"] > 0.7
    assert run.data.params["data.labels"] == "multi"
    names = {file.path for file in client.list_artifacts(result.run_id, "evaluation")}
    assert {"evaluation/label_scores.png", "evaluation/thresholds.json"} <= names
    predictions = pd.read_parquet(workspace / "runs" / result.run_id / "evaluation" / "predictions.parquet")
    both = predictions[predictions["label"] == "high + low"]
    assert len(both)
    assert set(both["labels"].iloc[0]) == {"high", "low"}
    audit = json.loads((workspace / "runs" / result.run_id / "data" / "audit.json").read_text())
    assert audit["corpus"]["label_sets"]["sets"] == 4


def test_balance_methods_are_not_compared_on_several_labels(params_file, capsys):
    assert run_flow(balance_flow, [str(params_file)]) == 2
    assert "balance methods are compared for clips with one label each" in capsys.readouterr().err
