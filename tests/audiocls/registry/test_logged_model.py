"""MLflow's ways to use a model answer as the Classifier does, whatever form the recordings come in."""

from __future__ import annotations

import base64
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from mlflow import MlflowClient
from mlflow.pyfunc import scoring_server
from packaging.requirements import Requirement
from tiny_configs import TINY_CONFIGS
from transformers import pipeline

from audiocls import tracking
from audiocls.errors import TrackingError
from audiocls.inference.classifier import Classifier
from audiocls.models.families import build_model, save_model
from audiocls.models.inference_settings import settings_of, write_settings
from audiocls.params.run import RunParams
from audiocls.registry.logged_model import log_model, save_pyfunc
from audiocls.registry.requirements import pinned_requirements

LABELS = ["a", "b", "c"]
RATE_HZ = 16_000
WINDOW_SECONDS = 0.4
CARD = "---\nlibrary_name: transformers\n---\n\n# A model\n\nOf three classes.\n"


def noise(seconds: float, seed: int, channels: int = 1, rate_hz: int = RATE_HZ) -> np.ndarray:
    samples = np.random.default_rng(seed).uniform(-0.3, 0.3, (round(seconds * rate_hz), channels))
    return samples[:, 0] if channels == 1 else samples


def params_of(family: str, workspace: Path) -> RunParams:
    return RunParams.model_validate(
        {
            "experiment": "models",
            "workspace": str(workspace),
            "data": {"source": "folder", "path": "recordings"},
            "audio": {"max_seconds": WINDOW_SECONDS},
            "model": {"family": family, "config": TINY_CONFIGS[family]},
        }
    )


def save(folder: Path, params: RunParams) -> Path:
    torch.manual_seed(1)
    model, extractor = build_model(params.model, params.audio, LABELS)
    save_model(model, extractor, folder)
    write_settings(settings_of(params, LABELS, extractor), folder)
    (folder / "README.md").write_text(CARD)
    return folder


@pytest.fixture(scope="module", params=["logmel-resnet", "wav2vec2"])
def folder(request, tmp_path_factory):
    """A model's folder, as training leaves it."""
    workspace = tmp_path_factory.mktemp("saved")
    return save(workspace / "model", params_of(request.param, workspace))


@pytest.fixture(scope="module")
def pyfunc_folder(folder, tmp_path_factory):
    target = tmp_path_factory.mktemp("pyfunc") / "model"
    save_pyfunc(folder, target)
    return target


@pytest.fixture(scope="module")
def loaded(pyfunc_folder):
    return mlflow.pyfunc.load_model(str(pyfunc_folder))


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Files of several lengths, rates and channels."""
    paths = []
    for i, (seconds, rate_hz, channels) in enumerate(
        [(0.2, 16_000, 1), (0.4, 44_100, 2), (1.3, 8_000, 1), (2.1, 48_000, 2), (0.7, 22_254, 3)]
    ):
        path = tmp_path_factory.mktemp("clips") / f"{i}.wav"
        soundfile.write(path, noise(seconds, i, channels, rate_hz), rate_hz)
        paths.append(path)
    return paths


@pytest.fixture(scope="module")
def expected(folder, clips):
    return matrix(each.probabilities for each in Classifier.load(folder).predict(clips))


def matrix(probabilities) -> np.ndarray:
    return np.array([[each[label] for label in LABELS] for each in probabilities])


def as_base64(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()


@contextmanager
def served(model: Path):
    """The address of `mlflow models serve`, which is stopped at the end."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", str(model), "--env-manager", "local"]
    # MLflow starts uvicorn by its name, which is beside Python also where the environment is not activated.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    process = subprocess.Popen(
        [*command, "--host", "127.0.0.1", "--port", port], env=os.environ | {"PATH": path},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    try:
        for _ in range(600):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=1).close()
                break
            except OSError:
                assert process.poll() is None, "the server ended"
                time.sleep(0.5)
        yield f"http://127.0.0.1:{port}/invocations"
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=60)


def post(address: str, body: dict) -> tuple[int, dict]:
    request = urllib.request.Request(address, json.dumps(body).encode(), {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def test_paths_bytes_base64_and_samples_have_the_answers_of_the_classifier(loaded, clips, expected):
    read = [soundfile.read(path, dtype="int16") for path in clips]
    for table in (
        {"path": [str(path) for path in clips]},
        {"audio": [path.read_bytes() for path in clips]},
        {"audio": [as_base64(path) for path in clips]},
        {"audio": [samples for samples, _ in read], "rate_hz": [rate_hz for _, rate_hz in read]},
        {"audio": [(samples / 2**15).tolist() for samples, _ in read], "rate_hz": [rate_hz for _, rate_hz in read]},
    ):
        found = loaded.predict(pd.DataFrame(table, index=[f"clip {i}" for i in range(len(clips))]))
        np.testing.assert_allclose(matrix(found["probabilities"]), expected, atol=1e-4)
        assert found["label"].tolist() == [LABELS[i] for i in expected.argmax(axis=1)]
        np.testing.assert_allclose(found["probability"].astype(float), expected.max(axis=1), atol=1e-4)
        assert found.index.tolist() == [f"clip {i}" for i in range(len(clips))]
        assert found[["reason", "detail"]].isna().all(axis=None)


@pytest.mark.parametrize("folder", ["logmel-resnet"], indirect=True)  # a server takes long to start
def test_served_over_http_many_clips_of_one_request_have_the_answers_of_the_classifier(pyfunc_folder, clips, expected):
    rows = [{"audio": as_base64(path)} for path in clips]
    bad = [{"audio": "%%%"}, {"path": str(clips[0])}, {"audio": [0.1, -0.1] * 2_000}, {}]
    samples = {"audio": noise(0.3, 7).tolist(), "rate_hz": RATE_HZ}
    with served(pyfunc_folder) as address:
        status, answer = post(address, {"dataframe_records": [*rows, *bad, samples]})
        split = post(address, {"dataframe_split": {"columns": ["audio"], "data": [[row["audio"]] for row in rows]}})
        refused, said = post(address, {"inputs": [row["audio"] for row in rows]})
    assert status == split[0] == 200
    found = answer["predictions"]
    np.testing.assert_allclose(matrix(each["probabilities"] for each in found[: len(rows)]), expected, atol=1e-4)
    np.testing.assert_allclose(matrix(each["probabilities"] for each in split[1]["predictions"]), expected, atol=1e-4)
    assert [each["reason"] for each in found[len(rows) :]] == [
        "unreadable",
        "unreadable",
        "unreadable",
        "missing",
        None,
    ]
    assert "paths are not read while the model is served" in found[len(rows) + 1]["detail"]
    assert all(each["label"] is None and each["probabilities"] is None for each in found[len(rows) : -1])
    assert refused == 400
    assert "neither a column `audio` nor a column `path`" in said["stack_trace"]


def test_the_pipeline_of_transformers_has_the_same_answers_on_windows(folder, loaded):
    windows = [noise(WINDOW_SECONDS, seed).astype(np.float32) for seed in range(3)]
    classify = pipeline("audio-classification", model=str(folder), top_k=None)
    theirs = matrix({each["label"]: each["score"] for each in classify(window)} for window in windows)
    ours = loaded.predict(pd.DataFrame({"audio": windows, "rate_hz": [RATE_HZ] * 3}))
    np.testing.assert_allclose(matrix(ours["probabilities"]), theirs, atol=1e-4)


def test_what_is_saved_is_code_and_safetensors_with_pinned_requirements(pyfunc_folder):
    names = {path.name for path in pyfunc_folder.rglob("*") if path.is_file()}
    assert {
        "MLmodel",
        "pyfunc_model.py",
        "model.safetensors",
        "inference.json",
        "README.md",
        "input_example.json",
    } <= names
    assert not [name for name in names if name.endswith((".pkl", ".pickle", ".bin", ".pt", ".pyc"))]
    assert (pyfunc_folder / "code" / "audiocls" / "inference" / "__init__.pyi").exists()
    pinned = [Requirement(line) for line in (pyfunc_folder / "requirements.txt").read_text().splitlines()]
    assert all([clause.operator for clause in each.specifier] == ["=="] for each in pinned)
    assert {"mlflow", "numpy", "pandas", "safetensors", "soundfile", "soxr", "torch", "transformers"} <= {
        each.name for each in pinned
    }
    assert "audiocls" not in {each.name for each in pinned}  # it is with the model, and on no index
    assert pinned_requirements() == [str(each) for each in pinned]


def test_the_input_example_is_answered(loaded, pyfunc_folder):
    example = loaded.metadata.load_input_example(str(pyfunc_folder))
    assert loaded.predict(example)["label"].isin(LABELS).all()
    assert loaded.metadata.signature.inputs.input_names() == ["audio", "path", "rate_hz"]


def test_a_low_probability_is_unknown_and_the_config_can_forbid_paths(loaded, pyfunc_folder, clips):
    table = pd.DataFrame({"path": [str(clips[0])]})
    assert loaded.predict(table, params={"threshold": 0.99})["label"].tolist() == ["unknown"]
    strict = mlflow.pyfunc.load_model(str(pyfunc_folder), model_config={"read_paths": False})
    assert strict.predict(table)["reason"].tolist() == ["unreadable"]


@pytest.fixture(scope="module")
def exported_pyfunc(exported, tmp_path_factory):
    target = tmp_path_factory.mktemp("pyfunc") / "model"
    save_pyfunc(exported, target)
    return target


def test_the_config_chooses_the_runtime_which_has_torchs_answers(exported_pyfunc, clips, monkeypatch):
    table, answers = pd.DataFrame({"path": list(map(str, clips))}), {}
    for runtime in ("torch", "onnx", "onnx-int8"):
        model = mlflow.pyfunc.load_model(str(exported_pyfunc), model_config={"runtime": runtime})
        answers[runtime] = matrix(model.predict(table)["probabilities"])
    np.testing.assert_allclose(answers["onnx"], answers["torch"], atol=1e-4)
    np.testing.assert_allclose(answers["onnx-int8"], answers["torch"], atol=0.05)
    assert not np.array_equal(answers["onnx"], answers["torch"])  # that is what computed them
    assert not np.array_equal(answers["onnx"], answers["onnx-int8"])
    # What a server reads, at its start.
    monkeypatch.setenv("SERVING_MODEL_CONFIG", '{"runtime": "onnx"}')
    served_model = scoring_server.load_model_with_mlflow_config(str(exported_pyfunc))
    np.testing.assert_array_equal(matrix(served_model.predict(table)["probabilities"]), answers["onnx"])


def test_an_exported_model_needs_onnx_runtime_and_another_does_not(exported_pyfunc, pyfunc_folder):
    pinned = [(folder / "requirements.txt").read_text() for folder in (exported_pyfunc, pyfunc_folder)]
    assert ["\nonnxruntime==" in each for each in pinned] == [True, False]


def test_a_run_has_one_model_with_its_metrics_params_card_and_data(tracked_workspace, tmp_path, monkeypatch, clips):
    params = params_of("logmel-resnet", tracked_workspace(tmp_path / "workspace"))
    folder = save(tmp_path / "model", params)
    digest = "0123456789abcdef" * 4
    with tracking.tracked_run(params, "one model", {}) as run:
        tracking.log_dataset(run, tmp_path / "clips.parquet", "clips", digest, {"clips": 7})
        log_model(run, folder, {"test/f1_macro": 0.5}, 3)
        log_model(run, folder, {"test/f1_macro": 0.5}, 3)  # as a task that is tried again
    client = MlflowClient(params.tracking_uri)
    (model,) = client.search_logged_models([run.experiment_id])
    assert (str(model.status), model.source_run_id, model.name) == ("READY", run.run_id, "model")
    assert model.params["audio.max_seconds"] == "0.4"
    assert model.tags["mlflow.note.content"] == "# A model\n\nOf three classes."
    (metric,) = model.metrics
    assert (metric.key, metric.value, metric.step, metric.dataset_digest) == ("test/f1_macro", 0.5, 3, digest[:36])
    assert client.get_run(run.run_id).data.metrics == {"test/f1_macro": 0.5}
    assert [output.model_id for output in client.get_run(run.run_id).outputs.model_outputs] == [model.model_id]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", params.tracking_uri)
    answers = [Classifier.load(name).predict(clips[2]) for name in (folder, run.run_id, f"models:/{model.model_id}")]
    assert answers[0] == answers[1] == answers[2]


def test_a_model_that_could_not_be_sent_is_replaced(tracked_workspace, tmp_path, monkeypatch):
    params = params_of("logmel-resnet", tracked_workspace(tmp_path / "workspace"))
    folder = save(tmp_path / "model", params)
    client = MlflowClient(params.tracking_uri)
    run = tracking.start_run(params, "second try", {})

    def fail(*arguments):
        raise ConnectionResetError("the store is gone")

    with monkeypatch.context() as patched:
        patched.setattr(MlflowClient, "log_model_artifact", fail)
        with pytest.raises(TrackingError, match="the store is gone"):
            log_model(run, folder, {"test/f1_macro": 0.5}, 3)
    (left,) = client.search_logged_models([run.experiment_id])
    assert str(left.status) == "PENDING"
    log_model(run, folder, {"test/f1_macro": 0.5}, 3)
    (made,) = client.search_logged_models([run.experiment_id])
    assert made.model_id != left.model_id
    assert str(made.status) == "READY"
