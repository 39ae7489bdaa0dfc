"""A trained model is evaluated again, on its own corpus and on another one, and its runs are compared."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import yaml
from flow_runs import run_flow
from mlflow import MlflowClient

from audiocls.params_file import load_params
from flows.cli import main
from flows.compare import compare_flow
from flows.evaluate import evaluate_flow
from flows.train import train_flow

pytestmark = pytest.mark.usefixtures("prefect_server")

RATE_HZ = 16_000
HZ = {"low": 300.0, "middle": 1_200.0, "high": 4_000.0}


def write_corpus(folder: Path, speakers: range, labels: dict[str, str] | None = None) -> Path:
    """Two clips of each tone by every speaker; labels may be named otherwise."""
    rows = []
    for speaker in speakers:
        for number, (name, hz) in enumerate([*HZ.items()] * 2):
            label = (labels or {}).get(name, name)
            rng = np.random.default_rng(speaker * 100 + number)
            time = np.arange(round(0.3 * RATE_HZ)) / RATE_HZ
            sound = 0.3 * np.sin(2 * np.pi * hz * rng.uniform(0.95, 1.05) * time) + rng.normal(0, 0.02, len(time))
            path = folder / f"{speaker}-{number}.wav"
            folder.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, sound, RATE_HZ)
            rows.append((path.name, label, f"speaker-{speaker}"))
    table = folder / "clips.csv"
    pd.DataFrame(rows, columns=["path", "label", "speaker"]).to_csv(table, index=False)
    return table


def write_params(folder: Path, name: str, table: Path, **sections) -> str:
    params = {
        "experiment": "tones",
        "workspace": str(folder / "workspace"),
        "data": {"source": "table", "path": str(table), "group_column": "speaker"},
        "audio": {"max_seconds": 0.3},
        "model": {"config": {"channels": [4, 8]}},
        "training": {"epochs": 6, "batch_size": 8, "learning_rate": 1.0e-2},
        "evaluation": {"robustness_clips": 0},
    }
    file = folder / f"{name}.yaml"
    file.write_text(yaml.safe_dump(params | sections))
    return str(file)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("tones")


@pytest.fixture(scope="module")
def params_file(folder):
    return write_params(folder, "own", write_corpus(folder / "own", range(40)))


@pytest.fixture(scope="module")
def trained(params_file, prefect_server):
    return train_flow(params_file)


@pytest.fixture(scope="module")
def again(trained, params_file):
    return evaluate_flow(trained.run_id, params_file)


def predictions(result) -> pd.DataFrame:
    return pd.read_parquet(Path(result.report) / "predictions.parquet")


def test_on_its_own_corpus_a_model_is_scored_on_the_test_clips_of_its_training_alone(trained, again, folder):
    before = pd.read_parquet(folder / "workspace" / "runs" / trained.run_id / "evaluation" / "predictions.parquet")
    test = before[before["split"] == "test"]
    assert sorted(predictions(again)["clip_id"]) == sorted(test["clip_id"])
    assert again.left_out == {"trained_on": 240 - len(test), "unknown_labels": 0}
    assert again.metrics["test/f1_macro"] == trained.metrics["test/f1_macro"]
    assert again.metrics["test/loss"] == pytest.approx(trained.metrics["test/loss"], abs=1e-6)
    assert "are of groups that the model was trained on, and left out." in again.summary


def test_the_run_of_an_evaluation_names_the_run_of_its_model(trained, again, params_file):
    run = MlflowClient(load_params(params_file).tracking_uri).get_run(again.run_id)
    assert run.data.tags["kind"] == "evaluate"
    assert run.info.run_name.startswith("evaluate-own-")
    assert run.data.tags["evaluated.run_id"] == trained.run_id
    assert run.data.metrics["test/f1_macro"] == again.metrics["test/f1_macro"]
    assert run.data.metrics["data/trained_on"] == again.left_out["trained_on"]
    page = Path(again.report) / "report.html"
    assert f"Report page: `{page}`" in again.summary
    assert "are of groups that the model was trained on, and left out." in page.read_text()
    client = MlflowClient(load_params(params_file).tracking_uri)
    assert "evaluation/report.html" in [file.path for file in client.list_artifacts(again.run_id, "evaluation")]
    assert "Audit of the data: " in again.summary
    (data,) = run.inputs.dataset_inputs
    assert data.tags[0].value == "evaluation"


def test_the_test_split_of_the_params_is_that_of_the_training(trained, again, params_file):
    test = evaluate_flow(trained.model, params_file, part="test")
    assert sorted(predictions(test)["clip_id"]) == sorted(predictions(again)["clip_id"])
    assert test.left_out["trained_on"] == 0


def test_clips_that_trained_the_model_are_scored_if_that_is_asked_for(trained, params_file):
    everything = evaluate_flow(trained.run_id[:8], params_file, keep_trained=True)
    assert everything.clips == 240
    assert "the scores are too good" in everything.summary


def test_other_speakers_are_scored_by_the_preprocessing_of_the_model_and_unknown_labels_are_counted(trained, folder):
    table = write_corpus(folder / "other", range(100, 108), {"middle": "mid", "high": "shrill"})
    file = write_params(folder, "other", table, audio={"max_seconds": 1.0})
    names = folder / "names.yaml"
    names.write_text("mid: middle\n")
    found = evaluate_flow(trained.run_id, file, label_map=str(names))
    assert found.clips == 32
    assert found.left_out == {"trained_on": 0, "unknown_labels": 16}
    assert set(predictions(found)["label"]) == {"low", "middle"}
    assert "audio.max_seconds = 1.0 is not used: the model has 0.3." in found.summary
    assert "cannot be right: shrill (16)." in found.summary
    wrong = found.metrics["test/accuracy"] * 32 / 48
    assert f"Accuracy if these count as wrong: {wrong:.4f}." in found.summary
    unknown = pd.read_csv(Path(found.report) / "unknown_labels.csv")
    assert unknown.to_dict("list") == {"label": ["shrill"], "clips": [16]}


def test_without_a_label_that_the_model_knows_the_command_says_what_to_do(trained, folder, capsys):
    table = write_corpus(folder / "none", range(200, 203), {"low": "a", "middle": "b", "high": "c"})
    file = write_params(folder, "none", table)
    asked = [trained.run_id, file]
    assert main(["evaluate", *asked, "--grid-seconds", "1"]) == 2
    assert "--grid-seconds: is for predictions in files, not for a model; leave it out." in capsys.readouterr().err
    assert main(["evaluate", *asked]) == 2
    said = capsys.readouterr().err
    assert "18 have labels that it does not know" in said
    assert "--label-map renames those of the corpus" in said


def test_a_comparison_of_a_model_with_itself_finds_no_difference(trained, again, folder):
    found = compare_flow([trained.run_id, again.run_id], str(folder / "compared"), str(folder / "workspace"))
    assert found.differences == [{"value": 0.0, "low": 0.0, "high": 0.0, "verdict": "the same"}]
    assert found.flips == [{"broken": 0, "fixed": 0, "changed": 0}]
    said = json.loads((folder / "compared" / "comparison.json").read_text())
    assert said["differences"] == []
    assert said["params"] == {}
    assert "audio" not in (folder / "compared" / "comparison.html").read_text().partition("</style>")[2]


def test_segments_that_a_model_finds_are_scored_against_the_annotations(trained, folder, capsys):
    events, sounds, start = [], [], 0.0
    for name, hz in [*HZ.items()] * 2:
        time = np.arange(RATE_HZ) / RATE_HZ
        sounds.append(0.3 * np.sin(2 * np.pi * hz * time) + np.random.default_rng(1).normal(0, 0.02, RATE_HZ))
        events.append(("long.wav", name, start, start + 1.0))
        start += 1.0
    (folder / "long").mkdir()
    soundfile.write(folder / "long" / "long.wav", np.concatenate(sounds), RATE_HZ)
    table = folder / "long" / "events.csv"
    pd.DataFrame(events, columns=["path", "label", "start", "end"]).to_csv(table, index=False)
    data = {"source": "table", "path": str(table), "start_column": "start", "end_column": "end"}
    file = write_params(folder, "long", table, data=data)
    out = folder / "labels"
    assert (
        main(["predict", trained.model, str(folder / "long"), "--segments", "--format", "raven", "--out", str(out)])
        == 0
    )
    capsys.readouterr()
    assert run_flow(evaluate_flow, [file], model=str(out), grid_seconds=0.5) == 0
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert said["clips"] == 12
    assert said["metrics"]["test/f1_macro"] > 0.8
    assert said["metrics"]["test/map_macro"] > 0.8
    cells = predictions(evaluate_flow(str(out), file, grid_seconds=0.5))
    assert [labels.tolist() for labels in cells["labels"][:4]] == [["low"], ["low"], ["middle"], ["middle"]]
