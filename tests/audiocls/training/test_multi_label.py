from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import soundfile
from tiny_configs import TINY_CONFIGS
from transformers import Wav2Vec2FeatureExtractor, pipeline
from variants import QUICK_FAMILIES, some

from audiocls.balance import balance
from audiocls.evaluation import evaluate
from audiocls.inference import Classifier
from audiocls.metrics import multi_label_metrics
from audiocls.models import ADAPTERS
from audiocls.params import RunParams
from audiocls.params.model import FAMILIES
from audiocls.sources import list_clips, targets_of
from audiocls.splits import PreparedData, assign_splits
from audiocls.training import fit
from audiocls.waveforms import collect_corpus

HZ = {"low": 400.0, "middle": 900.0, "high": 2_000.0}
SECONDS = 0.3
DIGITS = {"source": "sample", "labels": "multi", "voices": 18, "clips": 60, "imbalance_ratio": 2.0}


def run_params(workspace, family="logmel-resnet", **sections) -> RunParams:
    return RunParams.model_validate(
        {
            "workspace": str(workspace),
            "data": {
                "source": "table", "path": str(workspace / "clips.csv"), "labels": "multi", "group_column": "group",
                "unknown_column": "unknown",
            },
            "audio": {"max_seconds": SECONDS, "cache_features": "never"},
            "split": {"near_duplicates": "ignore"},
            "model": {"family": family, "config": TINY_CONFIGS[family]},
            "training": {"batch_size": 8, "learning_rate": 5.0e-3, "epochs": 2},
            "evaluation": {"robustness_clips": 0},
        }
        | sections
    )  # fmt: skip


@pytest.fixture(scope="module")
def prepared(tmp_path_factory, fill_store):
    """(folder, split clips, store) of chords of up to three tones; some clips are only noise, some labels unknown."""
    root = tmp_path_factory.mktemp("chords")
    rng = np.random.default_rng(0)
    time = np.arange(round(SECONDS * 16_000)) / 16_000
    rows = []
    for number in range(72):
        there = [name for name in HZ if rng.random() < 0.45]
        sound = rng.normal(0, 0.01, len(time))
        for name in there:
            sound += 0.2 * np.sin(2 * np.pi * (HZ[name] + rng.uniform(-20, 20)) * time + rng.uniform(0, 6))
        soundfile.write(root / f"{number}.wav", sound, 16_000)
        absent = [name for name in HZ if name not in there]
        unknown = absent[:1] if number % 9 == 0 else []
        rows.append((f"{number}.wav", ",".join(there), ",".join(unknown), f"g{number % 18}"))
    pd.DataFrame(rows, columns=["path", "label", "unknown", "group"]).to_csv(root / "clips.csv", index=False)
    params = run_params(root)
    manifest = list_clips(params.data, root)
    corpus = collect_corpus(manifest, fill_store(manifest, root), root)
    return root, assign_splits(corpus.clips, params.split, params.seed, root), corpus.store


def train(prepared, params, folder):
    _, splits, store = prepared
    data = PreparedData(splits, store, params)
    balanced = balance(splits, params.balance, params.seed, folder)
    model = fit(data, balanced, folder, lambda metrics, step: None)
    return model, evaluate(model.folder, data, folder / "evaluation")


@pytest.fixture(scope="module")
def mixtures(tmp_path_factory, fill_store):
    """(folder, split clips, store) of the sample corpus of spoken digits, one to three at once."""
    pytest.importorskip("espeakng_loader", reason="the sample corpus speaks: pip install 'audiocls[sample]'")
    root = tmp_path_factory.mktemp("mixtures")
    params = run_params(root, data=DIGITS, audio={"max_seconds": 2.0})
    manifest = list_clips(params.data, root)
    corpus = collect_corpus(manifest, fill_store(manifest, root), root)
    return root, assign_splits(corpus.clips, params.split, params.seed, root), corpus.store


@pytest.mark.parametrize("family", some(FAMILIES, QUICK_FAMILIES))
def test_every_family_trains_is_saved_and_answers_everywhere_the_same(family, mixtures, tmp_path):
    model, report = train(mixtures, run_params(mixtures[0], family, data=DIGITS, audio={"max_seconds": 2.0}), tmp_path)
    table = pd.read_parquet(report.folder / "predictions.parquet")
    classifier = Classifier.load(model.folder)
    pipe = pipeline("audio-classification", model=str(model.folder))
    for row in table.iloc[[0, 1, -1]].to_dict(orient="records"):
        scores = {label: row[f"probability/{label}"] for label in classifier.labels}
        answer = classifier.predict(row["path"])
        assert answer.probabilities == pytest.approx(scores, abs=1e-5)
        assert sorted(answer.labels) == sorted(row["predicted"])
        samples, rate_hz = soundfile.read(row["path"], dtype="float32")
        fills_no_clips = ADAPTERS[family].extractor_class is Wav2Vec2FeatureExtractor  # as the model card says
        if fills_no_clips:
            samples = np.pad(samples, (0, round(2.0 * rate_hz) - len(samples)))
        said = pipe({"raw": samples, "sampling_rate": rate_hz}, top_k=None)
        # A clip that is filled before it reaches the extractor is also normalized with its zeros.
        within = 1e-3 if fills_no_clips else 1e-4
        assert {each["label"]: each["score"] for each in said} == pytest.approx(scores, abs=within)
    # The scores are those of the labels that are known, and nothing else.
    test = table[table["split"] == "test"]
    probabilities = test[[f"probability/{label}" for label in classifier.labels]].to_numpy()
    thresholds = np.array([classifier.settings.thresholds[label] for label in classifier.labels])
    expected = multi_label_metrics(targets_of(test, classifier.labels), probabilities, thresholds)
    assert {name: report.metrics[f"test/{name}"] for name in expected} == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize(
    "balance_params",
    some(
        [
            {"method": "oversample"},
            {"method": "square_root"},
            {"method": "progressive"},
            {"method": "weighted_loss"},
            {"method": "focal", "weighting": "effective_number"},
            {"method": "asymmetric"},
            {"method": "distribution_balanced"},
        ],
        quick=[{"method": "oversample"}, {"method": "distribution_balanced"}],
    ),
    ids=lambda params: params["method"],
)
def test_every_balance_method_learns_the_chords(balance_params, prepared, tmp_path):
    training = {"batch_size": 8, "learning_rate": 2.0e-2, "epochs": 20, "schedule": "cosine"}
    params = run_params(prepared[0], balance=balance_params, training=training)
    _, report = train(prepared, params, tmp_path)
    assert report.metrics["test/map_macro"] > 0.75  # at random: 0.45


def test_mixtures_of_clips_have_mixtures_of_their_labels(prepared, tmp_path):
    params = run_params(prepared[0], augmentation=[{"kind": "mixup", "probability": 1.0}])
    _, report = train(prepared, params, tmp_path)
    assert np.isfinite(report.metrics["validation/loss"])


def test_clips_without_labels_are_trained_on_and_unknown_labels_are_not_scored(prepared):
    table = pd.read_parquet(prepared[1])
    assert {"(none)"} < set(table.loc[table["split"] == "train", "label"])
    assert table["unknown"].map(len).sum() > 3
