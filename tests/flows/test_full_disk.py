"""A disk that is full while a command trains."""

from __future__ import annotations

import json
import re

import pytest
import yaml
from flow_runs import run_flow
from mlflow import MlflowClient

from audiocls.params_file.reading import load_params
from flows.train import train_flow


@pytest.mark.usefixtures("prefect_server")
def test_a_full_disk_in_training_ends_with_2_and_the_same_command_goes_on(tones, tmp_path, capsys, full_disk):
    # Its weights are larger than every other file of the run.
    model = {"config": {"channels": [64, 128, 256]}}
    params = {
        "experiment": "tones",
        "workspace": str(tmp_path / "workspace"),
        "data": {"source": "folder", "path": str(tones), "group_by": "file"},
        "audio": {"max_seconds": 0.3},
        "model": model,
        "training": {"epochs": 1, "batch_size": 4},
    }
    params_file = tmp_path / "tones.yaml"
    params_file.write_text(yaml.safe_dump(params))
    with full_disk(2_000_000):
        assert run_flow(train_flow, [str(params_file)]) == 2
    refused = capsys.readouterr()
    (error,) = re.findall("^error: .*", refused.err, flags=re.MULTILINE)
    folder = tmp_path / "workspace" / "runs"
    assert re.search(f"{folder}.*no space left while a checkpoint was written.* Make room", error)
    assert "Traceback" not in refused.err
    assert refused.out == ""
    assert run_flow(train_flow, [str(params_file)]) == 0
    done = json.loads(capsys.readouterr().out.splitlines()[-1])
    client = MlflowClient(load_params(params_file).tracking_uri)
    (run,) = client.search_runs([client.get_experiment_by_name("tones").experiment_id])
    assert (run.info.run_id, run.info.status) == (done["run_id"], "FINISHED")
