"""An evaluation shows that a model needs high frequencies, and which device it fails on."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import soundfile

from audiocls.balance.selection import balance
from audiocls.evaluation.answers import Answers
from audiocls.evaluation.projection import project
from audiocls.evaluation.robustness import CORRUPTIONS, compare
from audiocls.evaluation.scoring import evaluate
from audiocls.params.run import RunParams
from audiocls.sources.manifest import list_clips
from audiocls.splits.prepared_data import PreparedData
from audiocls.training.run import fit
from audiocls.waveforms.corpus import collect_corpus

RATE_HZ, SECONDS = 16_000, 0.3
HZ = {"high": 5_200, "higher": 7_000}
CLIPS = {"train": 48, "validation": 12, "test": 36}


def run_params(workspace, **evaluation) -> RunParams:
    return RunParams.model_validate(
        {
            "workspace": str(workspace),
            "data": {
                "source": "table",
                "path": str(workspace / "clips.csv"),
                "split_column": "split",
                "columns": ["device"],
            },
            "audio": {"max_seconds": SECONDS},
            "model": {"config": {"channels": [4, 8]}},
            "training": {"batch_size": 8, "epochs": 20, "learning_rate": 1.0e-2},
            "evaluation": evaluation,
        }
    )


@pytest.fixture(scope="module")
def prepared(tmp_path_factory, fill_store):
    """(split clips, store, workspace) of two tones above the telephone band; a device has the labels of test wrong."""
    workspace, rows = tmp_path_factory.mktemp("tones"), []
    time = np.arange(round(SECONDS * RATE_HZ)) / RATE_HZ
    for split, count in CLIPS.items():
        for number in range(count):
            rng, label = np.random.default_rng(len(rows)), [*HZ][number % 2]
            device = "broken" if split == "test" and number % 12 in (0, 1) else "good"
            other = [*HZ][1 - number % 2]
            hz = HZ[other if device == "broken" else label] + rng.uniform(-200, 200)
            noise = 10 ** rng.uniform(-3, -1)
            sound = rng.normal(0, noise, len(time)) + 0.2 * np.sin(2 * np.pi * hz * time)
            soundfile.write(workspace / f"{len(rows)}.wav", sound, RATE_HZ)
            rows.append((f"{len(rows)}.wav", label, split, device))
    pd.DataFrame(rows, columns=["path", "label", "split", "device"]).to_csv(workspace / "clips.csv", index=False)
    manifest = list_clips(run_params(workspace).data, workspace)
    corpus = collect_corpus(manifest, fill_store(manifest, workspace), workspace)
    return corpus.clips, corpus.store, workspace


@pytest.fixture(scope="module")
def trained(prepared, tmp_path_factory):
    """(model folder, evaluation)."""
    folder = tmp_path_factory.mktemp("trained")
    data = PreparedData(*prepared[:2], run_params(prepared[2]))
    balanced = balance(data.split_clips, data.params.balance, data.params.seed, folder)
    model = fit(data, balanced, folder, lambda metrics, step: None)
    return model.folder, evaluate(model.folder, data, folder / "evaluation")


def test_a_model_that_needs_high_frequencies_fails_over_a_telephone(trained):
    _, evaluation = trained
    table = pd.read_csv(evaluation.folder / "robustness.csv", keep_default_na=False).set_index("corruption")
    assert set(table.index) == set(CORRUPTIONS)
    assert table.loc["telephone_band", "verdict"] == "fail"
    assert table.loc["telephone_band", "loss"] > table.loc["telephone_band", "limit"] > 0
    assert table.loc["telephone_band", "loss_low"] > 0
    assert table.loc["telephone_band", "unchanged"] < 0.8
    for kind in ("noise_20_db", "gain_plus_6_db"):
        assert table.loc[kind, "verdict"] == "pass"
        assert table.loc[kind, "unchanged"] > 0.9
    metrics = {name: evaluation.metrics[f"test/robustness/{name}"] for name in table.index}
    assert metrics == pytest.approx(table["loss"].to_dict())
    # The clips are short, so that their only window is the whole clip.
    whole = evaluation.metrics["test/f1_macro"]
    assert (table["f1_macro"] + table["loss"]).to_numpy() == pytest.approx(np.full(len(table), whole))


def test_a_device_that_the_table_names_is_the_worst_slice(trained):
    _, evaluation = trained
    worst = pd.read_csv(evaluation.folder / "slices.csv", keep_default_na=False).iloc[0]
    assert (worst["column"], worst["value"], worst["verdict"]) == ("column/device", "broken", "fail")
    assert (worst["clips"], worst["groups"]) == (6, 6)
    assert evaluation.metrics["test/worst_slice"] == pytest.approx(worst["f1_macro"])
    assert evaluation.metrics["test/failed_slices"] >= 1


def test_the_wrong_labels_of_test_are_listed_and_no_label_of_a_clip_that_training_has(trained):
    """A device has the labels of test wrong; training labels are right, and separate by sound alone."""
    _, evaluation = trained
    found = pd.read_csv(evaluation.folder / "label_errors.csv", keep_default_na=False)
    wrong = pd.read_parquet(evaluation.folder / "predictions.parquet").query("split == 'test' and not correct")
    assert len(wrong) == 6
    assert set(found["clip_id"]) == set(wrong["clip_id"])
    assert set(found["split"]) == {"test"}
    assert found["rank"].tolist() == [1, 2, 3, 4, 5, 6]
    assert (found["suggested"] == found["label"].map({"high": "higher", "higher": "high"})).all()
    assert found["quality"].is_monotonic_increasing
    assert found["quality"].between(0, 0.5).all()
    assert "6 labels of 96 clips may be wrong" in evaluation.notes[0]


def test_the_pair_of_classes_that_are_confused_has_an_interval(trained):
    _, evaluation = trained
    table = pd.read_csv(evaluation.folder / "confusable_pairs.csv")
    assert table[["label_a", "label_b", "clips", "errors"]].to_numpy().tolist() == [["high", "higher", 36, 6]]
    assert 0 < table.loc[0, "low"] < table.loc[0, "rate"] < table.loc[0, "high"] < 0.5


def test_the_map_places_every_test_clip_and_classes_apart_and_the_rest_is_said_to_be_left_out(
    trained, prepared, tmp_path
):
    folder, evaluation = trained
    found = pd.read_parquet(evaluation.folder / "projection.parquet").set_index("clip_id")
    test = pd.read_parquet(evaluation.folder / "predictions.parquet").query("split == 'test'").set_index("clip_id")
    assert list(found.columns) == ["x", "y"]
    assert set(found.index) == set(test.index)
    places, sides = found.loc[test.index].to_numpy(), test["predicted"].to_numpy()
    distances = np.linalg.norm(places[:, None] - places, axis=2) + 1e9 * np.eye(len(places))
    assert (sides[distances.argmin(axis=1)] == sides).mean() > 0.9  # the next clip is predicted alike
    data = PreparedData(*prepared[:2], run_params(prepared[2], robustness_clips=0, projection_clips=20))
    again = evaluate(folder, data, tmp_path / "evaluation")
    assert len(pd.read_parquet(again.folder / "projection.parquet")) == 20
    assert "16 test clips are not in projection.parquet" in again.notes[-1]


@pytest.mark.parametrize(("clips", "dimensions"), [(1, 8), (2, 8), (3, 1), (9, 8), (12, 1), (60, 300)])
def test_few_clips_and_few_dimensions_are_placed_the_same_each_time(clips, dimensions):
    embeddings = np.random.default_rng(0).normal(size=(clips, dimensions)).astype(np.float32)
    places = project(embeddings, seed=0)
    assert places.shape == (clips, 2)
    assert np.isfinite(places).all()
    assert (places == project(embeddings, seed=0)).all()


def test_the_number_of_corrupted_clips_can_be_limited_and_0_leaves_them_out(trained, prepared, tmp_path):
    folder, _ = trained
    for clips in (10, 0):
        data = PreparedData(*prepared[:2], run_params(prepared[2], robustness_clips=clips))
        evaluation = evaluate(folder, data, tmp_path / "evaluation")
        assert (evaluation.folder / "robustness.csv").exists() == bool(clips)
        assert any("robustness" in name for name in evaluation.metrics) == bool(clips)
        if clips:
            assert set(pd.read_csv(evaluation.folder / "robustness.csv")["clips"]) == {clips}


def test_answers_that_only_differ_by_chance_pass_and_are_few_groups_without_a_verdict():
    rng = np.random.default_rng(0)
    targets, group = rng.integers(0, 4, 400), np.repeat(np.arange(40), 10)

    def model(right, groups=group):
        return Answers(targets, np.where(rng.random(400) < right, targets, rng.integers(0, 4, 400)), groups, 4)

    found = compare(model(0.8), {"same": model(0.8), "worse": model(0.6), "better": model(0.95)}, seed=0)
    assert [(each.kind, each.verdict) for each in found] == [("same", "pass"), ("worse", "fail"), ("better", "pass")]
    assert found[0].low < 0 < found[0].high
    assert compare(model(0.8, group // 10), {"worse": model(0.4, group // 10)}, seed=0)[0].verdict == ""


def test_chance_fails_a_corruption_as_often_as_is_promised():
    rng = np.random.default_rng(1)
    targets, group = rng.integers(0, 4, 200), np.repeat(np.arange(20), 10)
    hard = rng.uniform(0.3, 1, 20)

    def fails() -> bool:
        plain, *others = (
            Answers(targets, np.where(rng.random(200) < hard[group], targets, (targets + 1) % 4), group, 4)
            for _ in range(4)
        )
        found = compare(plain, {str(i): each for i, each in enumerate(others)}, seed=int(rng.integers(1_000)))
        return any(each.verdict == "fail" for each in found)

    assert np.mean([fails() for _ in range(300)]) == pytest.approx(0.025, abs=0.02)
