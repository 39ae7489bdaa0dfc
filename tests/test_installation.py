"""The wheel, and what `pip install audiocls` without an extra is enough for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
import zipfile
from collections import defaultdict
from email import message_from_bytes
from email.message import Message
from importlib.metadata import Distribution, distribution, distributions, packages_distributions
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from tiny_classifiers import save_classifier

from audiocls.errors import MissingExtraError
from audiocls.evaluation.scoring import predict
from audiocls.extras import PIPELINE, require_pipeline
from audiocls.models.families import build_model, save_model
from audiocls.params.data import TableData
from audiocls.params.model import ModelParams
from audiocls.params.run import AudioParams, RunParams
from audiocls.sources.manifest import list_clips
from audiocls.splits.prepared_data import PreparedData
from audiocls.waveforms.corpus import collect_corpus
from audiocls.waveforms.shards import write_shard
from audiocls.waveforms.store import plan_store

HOME = Path(__file__).resolve().parents[1]
PACKAGES = ("audiocls", "flows", "tasks")
LABELS = ["high", "low", "middle"]
AUDIO = AudioParams(max_seconds=0.5)

CLASSIFY = """
import json, sys
from pathlib import Path

import numpy as np
import torch

from audiocls.batches import average_windows, fill, input_samples, place_windows
from audiocls.decoding import FULL_SCALE, decode, look_at_files, read_file
from audiocls.models import load_model, model_inputs
from audiocls.params import AudioParams

audio = AudioParams(max_seconds=0.5)
length = input_samples(audio)
model, extractor = load_model(Path(sys.argv[1]))
scores = {}
for found in look_at_files(sys.argv[2:], audio):
    content, fault = read_file(found)
    recording = decode(content, audio)
    waveform = recording.samples.astype(np.float32) * np.float32(recording.scale / FULL_SCALE)
    windows = place_windows(np.array([len(waveform)]), audio)
    parts = [fill(waveform[start : start + samples], length, audio.pad) for _, start, samples in zip(*windows)]
    with torch.inference_mode():
        logits = model(**model_inputs(parts, extractor, length)).logits
    averaged = torch.from_numpy(average_windows(logits.numpy(), windows.clip))
    scores[found.path] = torch.softmax(averaged, dim=1)[0].tolist()
print(json.dumps(scores))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    pip("wheel", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", folder, HOME)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def metadata(wheel) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return message_from_bytes(archive.read(name))


@pytest.fixture(scope="module")
def small_python(wheel, metadata, tmp_path_factory) -> Path:
    """Python of an environment with the wheel, and with those distributions alone that it requires without an extra."""
    folder = tmp_path_factory.mktemp("small")
    venv.create(folder, symlinks=True, with_pip=False)
    (site_packages,) = folder.glob("lib/python*/site-packages")
    link_distributions(closure_of(metadata), site_packages)
    python = folder / "bin" / "python"
    pip("--python", python, "install", "--no-deps", "--no-index", "--no-compile", wheel)
    pip("--python", python, "check")
    return python


def pip(*arguments: str | Path) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def required_of(metadata: Message, extra: str = "") -> set[str]:
    """Return the names of what a distribution requires on this machine, and under the extra if one is named."""
    required = [Requirement(text) for text in metadata.get_all("Requires-Dist", [])]
    return {canonicalize_name(each.name) for each in required if applies(each, extra)}


def applies(requirement: Requirement, extra: str) -> bool:
    return requirement.marker is None or requirement.marker.evaluate({"extra": extra})


def closure_of(metadata: Message) -> dict[str, Distribution]:
    """Return all distributions of the running environment that the wheel requires, and that these require."""
    found: dict[str, Distribution] = {}
    seen: set[tuple[str, str]] = set()
    waiting = [Requirement(text) for text in metadata.get_all("Requires-Dist", [])]
    waiting = [each for each in waiting if applies(each, "")]
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        found[name] = distribution(requirement.name)
        theirs = [Requirement(text) for text in found[name].requires or []]
        for extra in {"", *requirement.extras} - {extra for other, extra in seen if other == name}:
            seen.add((name, extra))
            waiting += [each for each in theirs if applies(each, extra)]
    return found


def link_distributions(chosen: dict[str, Distribution], site_packages: Path) -> None:
    """Link the folders of some distributions; of a folder that others write to as well, only their own files."""
    owners = defaultdict(set)
    for installed in distributions():
        name = canonicalize_name(installed.metadata["Name"])
        for file in installed.files or []:
            owners[file.parts[0]].add(name)
    for each in chosen.values():
        for file in each.files or []:
            top = file.parts[0]
            part = Path(top) if owners[top] <= set(chosen) else Path(file)
            link = site_packages / part
            if top not in ("..", "__pycache__") and not link.exists():
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(Path(str(each.locate_file(part))))


def test_the_wheel_holds_all_of_the_packages_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    ours = {name for name in names if ".dist-info/" not in name}
    sources = [path for package in PACKAGES for path in (HOME / package).rglob("*") if path.is_file()]
    assert ours == {path.relative_to(HOME).as_posix() for path in sources if path.parent.name != "__pycache__"}
    assert {"audiocls/py.typed", "audiocls/models/__init__.pyi", "flows/train.py", "tasks/training.py"} <= ours
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)


def test_the_metadata_tell_what_it_is(metadata):
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert metadata.get_payload().strip() == (HOME / "README.md").read_text().strip()
    assert "Typing :: Typed" in metadata.get_all("Classifier")
    assert {"pipeline", "sample", "formats", "s3", "dask", "ray", "lora"} <= set(metadata.get_all("Provides-Extra"))


def test_training_stands_in_the_extra_alone(metadata):
    small, pipeline = required_of(metadata), required_of(metadata, "pipeline") - required_of(metadata)
    assert {"accelerate", "datasets", "imbalanced-learn", "mlflow", "pandas", "prefect", "scikit-learn"} <= pipeline
    assert not {"accelerate", "datasets", "matplotlib", "mlflow", "pandas", "prefect", "scikit-learn", "scipy"} & set(
        closure_of(metadata)
    )
    assert small >= {"torch", "transformers"}


def test_the_packages_that_are_checked_for_are_those_of_the_extra(metadata):
    extra = required_of(metadata, "pipeline") - required_of(metadata)
    owners = packages_distributions()
    # MLflow's package is that of several distributions.
    checked = [extra & {canonicalize_name(owner) for owner in owners[module]} for module in PIPELINE]
    assert [module for module, names in zip(PIPELINE, checked, strict=True) if not names] == []
    assert set().union(*checked) == extra


def test_without_the_extra_a_saved_model_classifies_files_as_evaluation_does(small_python, tmp_path):
    torch.manual_seed(0)
    model, extractor = build_model(ModelParams(config={"channels": [4, 8]}), AUDIO, LABELS)
    save_model(model, extractor, tmp_path / "model")
    clips = write_clips(tmp_path)
    expected = scores_of_evaluation(model.eval(), extractor, clips, tmp_path)
    # Without a trace of this environment: -I leaves out PYTHONPATH and the folder.
    command = [small_python, "-I", "-c", CLASSIFY, tmp_path / "model", *clips]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert list(found) == clips
    np.testing.assert_allclose(list(found.values()), expected, atol=1e-6)
    assert np.ptp(expected, axis=0).max() > 1e-3  # other sounds have other scores


def test_without_the_extra_files_are_classified_to_a_table(small_python, tmp_path):
    model, clips, out = save_classifier(tmp_path / "model"), write_clips(tmp_path), tmp_path / "out.parquet"
    (tmp_path / "clips.csv").write_text("path\n" + "\n".join(clips) + "\nnone.wav\n")
    command = [small_python, "-I", "-m", "flows.cli", "predict", model, tmp_path / "clips.csv", "--out", out]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["reasons"] == {"missing": 1}
    found = pd.read_parquet(out)
    assert found["path"].tolist() == [*clips, str(tmp_path / "none.wav")]
    assert found["label"].notna().tolist() == [True, True, False]


def write_clips(folder: Path) -> list[str]:
    """Write one clip shorter than the model's input, and a stereo one of another rate that takes several windows."""
    rng = np.random.default_rng(5)
    soundfile.write(folder / "short.wav", rng.normal(0, 0.1, 3_000), 16_000)
    sweep = 0.4 * np.sin(np.cumsum(np.linspace(0.05, 1.5, 30_000)))
    soundfile.write(folder / "long.flac", np.stack([sweep, 0.5 * sweep], axis=1), 22_050)
    return [str(folder / "short.wav"), str(folder / "long.flac")]


def scores_of_evaluation(model, extractor, clips: list[str], folder: Path) -> np.ndarray:
    """Return the probabilities of the clips, (clips, classes), by way of the stores of a run."""
    pd.DataFrame({"path": clips, "label": "low"}).to_csv(folder / "clips.csv", index=False)
    manifest = list_clips(TableData(source="table", path=folder / "clips.csv"), folder)
    plan = plan_store(manifest, AUDIO, folder)
    for shard in plan.shards:
        write_shard(shard, AUDIO)
    corpus = collect_corpus(manifest, plan, folder)
    table = pd.read_parquet(corpus.clips).set_index("path", drop=False).loc[clips].reset_index(drop=True)
    source, training = {"source": "table", "path": folder / "clips.csv"}, {"eval_batch_size": 2}
    params = RunParams.model_validate({"data": source, "audio": AUDIO, "training": training})
    logits = predict(model, extractor, table, PreparedData(corpus.clips, corpus.store, params))
    return torch.softmax(torch.from_numpy(logits), dim=1).numpy()


def test_without_the_extra_a_command_that_needs_it_names_it(small_python, tmp_path):
    command = [small_python, "-I", "-m", "audiocls.inspection.explanation", "params.yaml", "clip"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    (said,) = done.stderr.strip().splitlines()[-1:]
    assert "MissingExtraError: audiocls.inspection needs" in said
    assert said.endswith("pip install 'audiocls[pipeline]'")


def test_only_what_is_missing_of_the_extra_is_named(monkeypatch):
    require_pipeline("train")
    monkeypatch.setattr("audiocls.extras.find_spec", lambda name: None if name == "prefect" else name)
    with pytest.raises(MissingExtraError, match=r"train needs .* not installed: prefect\. .*audiocls\[pipeline\]"):
        require_pipeline("train")
