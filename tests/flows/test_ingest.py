from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml
from flow_runs import run_flow
from mlflow import MlflowClient
from prefect.client.orchestration import get_client

from audiocls.params_file.reading import load_params
from flows.ingest import ingest_flow

pytestmark = pytest.mark.usefixtures("prefect_server")


def write_params(folder: Path, source: Path) -> Path:
    data = {"source": "folder", "path": str(source), "group_by": "folder"}
    path = folder / "tones.yaml"
    path.write_text(yaml.safe_dump({"experiment": "tones", "workspace": str(folder / "workspace"), "data": data}))
    return path


def test_the_page_the_json_and_the_quarantine_are_in_the_run_and_the_verdict_is_in_prefect(tones, tmp_path, capsys):
    source = tmp_path / "tones"
    for label in ("low", "high"):
        (source / label / "broken").mkdir(parents=True)
        for speaker in (tones / label).iterdir():
            (source / label / speaker.name).symlink_to(speaker)
    (source / "low" / "broken" / "broken.wav").write_text("this is no recording")
    params_file = write_params(tmp_path, source)
    assert run_flow(ingest_flow, [str(params_file)]) == 0
    captured = capsys.readouterr()
    result = json.loads(captured.out.splitlines()[-1])
    assert set(result) == {"run_id", "report", "clips", "quarantined", "seconds", "unsent"}
    assert (result["clips"], result["quarantined"]) == (34, 1)
    assert Path(result["report"]).exists()
    assert {"ingest", "cache_waveforms", "collect_corpus", "audit_corpus"} <= set(result["seconds"])
    client = MlflowClient(load_params(params_file).tracking_uri)
    names = {entry.path for entry in client.list_artifacts(result["run_id"], "data")}
    assert {"data/audit.html", "data/audit.json", "data/quarantine.parquet"} <= names
    run = client.get_run(result["run_id"])
    assert run.info.status == "FINISHED"
    assert run.data.tags["data.verdict"] in run.data.tags["mlflow.note.content"]
    assert run.data.tags["prefect.flow_run_name"] == run.info.run_name
    with get_client(sync_client=True) as prefect:
        shown = [a for a in prefect.read_artifacts() if str(a.flow_run_id) == run.data.tags["prefect.flow_run_id"]]
    by_key = {artifact.key: artifact.data for artifact in shown}
    assert run.data.tags["data.verdict"] in by_key["corpus-audit"]
    (refused,) = json.loads(by_key["quarantine"])
    assert (refused["clip_id"], refused["reason"]) == ("low/broken/broken.wav", "unreadable")


def test_a_missing_folder_ends_with_2_and_one_message(tmp_path, capsys):
    assert run_flow(ingest_flow, [str(write_params(tmp_path, tmp_path / "nowhere"))]) == 2
    captured = capsys.readouterr()
    assert "nowhere: no such directory" in captured.err
    assert "Traceback" not in captured.err
    assert captured.out == ""


def test_a_full_disk_ends_with_2_and_one_message(tmp_path, capsys, caplog, full_disk):
    source = tmp_path / "tones" / "low"
    source.mkdir(parents=True)
    soundfile.write(source / "long.wav", np.sin(np.arange(4_000_000) / 9), 16_000)
    params_file = write_params(tmp_path, source.parent)
    with full_disk(7_000_000):
        assert run_flow(ingest_flow, [str(params_file)]) == 2
    captured = capsys.readouterr()
    assert "shards: File too large while" in captured.err
    assert "1 file of 8 MB remains to be stored" in captured.err
    assert "Traceback" not in captured.err + caplog.text
    assert captured.out == ""
