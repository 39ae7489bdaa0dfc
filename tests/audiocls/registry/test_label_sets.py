from __future__ import annotations

import mlflow
import pandas as pd
import pytest
from tiny_classifiers import save_classifier, write_noise

from audiocls.inference import Classifier
from audiocls.models import load_settings, write_settings
from audiocls.registry.logged_model import save_pyfunc


@pytest.fixture(scope="module")
def logged(tmp_path_factory):
    """(model folder, its folder for MLflow) of a model that gives any number of three labels."""
    root = tmp_path_factory.mktemp("logged")
    folder = save_classifier(root / "model", multi_label=True)
    settings = load_settings(folder)
    write_settings(settings.model_copy(update={"thresholds": {"a": 0.45, "b": 0.99, "c": 0.3}}), folder)
    save_pyfunc(folder, root / "logged")
    return folder, root / "logged"


def test_mlflow_answers_with_the_labels_above_their_thresholds(logged, tmp_path):
    folder, path = logged
    files = [str(write_noise(tmp_path / f"{i}.wav", 0.4 + 0.5 * i, i)) for i in range(3)]
    (tmp_path / "broken.wav").write_text("no audio")
    model = mlflow.pyfunc.load_model(str(path))
    found = model.predict(pd.DataFrame({"path": [*files, str(tmp_path / "broken.wav")]}))
    expected = Classifier.load(folder).predict(files)
    for row, answer in zip(found.to_dict(orient="records"), expected, strict=False):
        assert row["labels"] == list(answer.labels)
        assert row["probabilities"] == pytest.approx(answer.probabilities)
        assert sorted(answer.labels) == sorted(
            label for label, least in (("a", 0.45), ("b", 0.99), ("c", 0.3)) if answer.probabilities[label] >= least
        )
    assert found["labels"].iloc[-1] is None
    assert found["reason"].iloc[-1] == "unreadable"
    everything = model.predict(pd.DataFrame({"path": files}), params={"threshold": 1e-6})
    assert all(sorted(labels) == ["a", "b", "c"] for labels in everything["labels"])


def test_models_of_one_and_of_several_labels_are_not_averaged(logged, tmp_path):
    from audiocls.errors import ParamsError
    from audiocls.inference.ensemble import Ensemble

    single = save_classifier(tmp_path / "single")
    with pytest.raises(ParamsError, match="some of the models give one label and others any number"):
        Ensemble.load([str(logged[0]), str(single)], runtimes=("torch", "torch"))
