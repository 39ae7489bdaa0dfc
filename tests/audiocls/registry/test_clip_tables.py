from __future__ import annotations

import base64

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch

from audiocls.errors import ParamsError
from audiocls.inference.classifier import Classifier
from audiocls.models.families import build_model, save_model
from audiocls.models.inference_settings import InferenceSettings, write_settings
from audiocls.params.model import ModelParams
from audiocls.params.run import AudioParams
from audiocls.registry.clip_tables import OUTPUTS, classify_table

LABELS = ["a", "b", "c"]
AUDIO = AudioParams(max_seconds=0.4)
NOISE = np.random.default_rng(0).uniform(-0.3, 0.3, 8_000)


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    torch.manual_seed(1)
    save_model(*build_model(ModelParams(config={"channels": [4, 8]}), AUDIO, LABELS), folder)
    write_settings(InferenceSettings(audio=AUDIO, labels=LABELS), folder)
    return Classifier.load(folder)


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    path = tmp_path_factory.mktemp("clips") / "noise.wav"
    soundfile.write(path, NOISE, 16_000)
    return path


def classify(classifier, rows, *, read_paths=True):
    return classify_table(classifier, pd.DataFrame(rows), threshold=0.0, read_paths=read_paths)


def test_forms_can_be_mixed_in_one_table(classifier, clip):
    text = base64.b64encode(clip.read_bytes()).decode()
    rows = [
        {"path": str(clip)},
        {"audio": clip.read_bytes()},
        {"audio": f"{text[:80]}\n{text[80:]}"},
        {"audio": NOISE, "rate_hz": 16_000},  # in a column with gaps, and so 16000.0
        {"audio": np.round(NOISE * 2**15).astype(np.int16), "rate_hz": 16_000},
        {"audio": NOISE.tolist(), "rate_hz": 16_000},
        {"audio": [[value, value] for value in NOISE.tolist()], "rate_hz": 16_000},
    ]
    found = classify(classifier, rows)
    assert found.columns.tolist() == list(OUTPUTS)
    assert found["reason"].isna().all()
    scores = np.array([[each[label] for label in LABELS] for each in found["probabilities"]])
    np.testing.assert_allclose(scores, scores[:1].repeat(len(rows), axis=0), atol=1e-4)


@pytest.mark.parametrize(
    ("row", "reason", "detail"),
    [
        ({}, "missing", "neither audio nor path"),
        ({"audio": b"", "path": "a.wav"}, "unreadable", "both audio and path"),
        ({"path": "no/such.wav"}, "missing", "such file"),
        ({"path": 3}, "unreadable", "path is 3"),
        ({"audio": "clip.wav"}, "unreadable", "not base64"),
        ({"audio": base64.b64encode(b"text").decode()}, "unreadable", "Format not recognised"),
        ({"audio": NOISE}, "unreadable", "samples need rate_hz"),
        ({"audio": NOISE, "rate_hz": 16_000.5}, "unreadable", "16000.5"),
        ({"audio": NOISE, "rate_hz": "16000"}, "unreadable", "'16000'"),
        ({"audio": [0, 12_000, -9_000] * 1_000, "rate_hz": 16_000}, "unreadable", "list of integers"),
        ({"audio": ["UklGR", "T2dnUw"], "rate_hz": 16_000}, "unreadable", "a row is one clip"),
        ({"audio": [[0.1], [0.1, 0.2]], "rate_hz": 16_000}, "unreadable", "a row is one clip"),
        ({"audio": {"raw": [0.1]}, "rate_hz": 16_000}, "unreadable", "a dict that holds no samples"),
        ({"audio": 0.1, "rate_hz": 16_000}, "unreadable", "shape ()"),
        ({"audio": NOISE * 0, "rate_hz": 16_000}, "silent", "peak"),
    ],
)
def test_a_bad_clip_has_a_reason_of_its_own_and_the_others_are_answered(row, reason, detail, classifier, clip):
    good = {"audio": clip.read_bytes(), "path": None, "rate_hz": None}
    found = classify(classifier, [good, {"audio": None, "path": None, "rate_hz": None} | row, good])
    assert found["reason"].tolist() == [None, reason, None]
    assert detail in found["detail"][1]
    assert found.loc[1, ["label", "probability", "probabilities"]].tolist() == [None, None, None]
    assert found["label"].isin(LABELS).tolist() == [True, False, True]


def test_a_table_without_clips_is_a_mistake_and_an_empty_one_is_not(classifier, clip):
    with pytest.raises(ParamsError, match="neither a column `audio` nor a column `path`"):
        classify(classifier, {"file": [str(clip)]})
    assert classify(classifier, {"audio": []}).columns.tolist() == list(OUTPUTS)


def test_paths_are_not_read_where_that_is_forbidden(classifier, clip):
    found = classify(classifier, [{"path": str(clip)}, {"audio": clip.read_bytes()}], read_paths=False)
    assert found["reason"].tolist() == ["unreadable", None]
    assert "send the file as base64" in found["detail"][0]
