from __future__ import annotations

import json

import numpy as np
import pytest
import soundfile
import yaml
from flow_runs import run_flow
from mlflow import MlflowClient

from audiocls.params_file.reading import load_params
from flows.balance import balance_flow
from flows.ingest import ingest_flow
from flows.train import train_flow

pytestmark = pytest.mark.usefixtures("prefect_server")


@pytest.fixture(scope="module")
def params_file(tones, tmp_path_factory):
    """A params file of two classes of tones and a third, both of whose clips are cut off."""
    folder = tmp_path_factory.mktemp("lost")
    source = folder / "tones"
    for label in ("low", "high"):
        source.mkdir(exist_ok=True)
        (source / label).symlink_to(tones / label)
    (source / "cut").mkdir()
    for name in ("a.wav", "b.wav"):
        soundfile.write(source / "cut" / name, np.sin(np.arange(8_000) / 7), 16_000)
        (source / "cut" / name).write_bytes((source / "cut" / name).read_bytes()[:8_000])
    data = {"source": "folder", "path": str(source), "group_by": "folder", "max_bad_fraction": 0.2}
    path = folder / "tones.yaml"
    path.write_text(yaml.safe_dump({"experiment": "lost", "workspace": str(folder / "workspace"), "data": data}))
    return path


@pytest.mark.parametrize("flow", [ingest_flow, train_flow, balance_flow])
def test_a_lost_class_ends_every_flow_with_2_and_one_message(flow, params_file, capsys, caplog):
    assert run_flow(flow, [str(params_file)]) == 2
    captured = capsys.readouterr()
    assert "error: 1 of 3 classes has no usable clip: cut (2 clips: 2 truncated). " in captured.err
    assert "data.allow_lost_classes: true" in captured.err
    assert captured.out == ""
    assert "Traceback" not in captured.err + caplog.text
    assert "1 of 3 classes has no usable clip" in " ".join(r.getMessage() for r in caplog.records)
    if flow is ingest_flow:
        (page,) = (params_file.parent / "workspace").glob("runs/*/data/audit.html")
        assert "No problem was found" not in page.read_text(encoding="utf-8")
        assert "cut (2 clips: 2 truncated)" in page.read_text(encoding="utf-8")


def test_a_lost_class_that_is_allowed_is_told_and_the_run_goes_on(params_file, capsys):
    assert run_flow(ingest_flow, [str(params_file), "data.allow_lost_classes=true"]) == 0
    captured = capsys.readouterr()
    result = json.loads(captured.out.splitlines()[-1])
    run = MlflowClient(load_params(params_file).tracking_uri).get_run(result["run_id"])
    assert run.data.tags["data.lost_classes"] == "cut"
    assert "cut (2 clips: 2 truncated)" in " ".join(run.data.tags["mlflow.note.content"].split())
    assert "1 of 3 classes has no usable clip" in " ".join(captured.err.split())
