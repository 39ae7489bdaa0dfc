from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.special import softmax

from audiocls.batches import Windows
from audiocls.evaluation.calibration import calibration_metrics, choose_temperature, write_calibration
from audiocls.evaluation.held_out import HeldOut


def held_out(factor, windows_each, clips=1_500, classes=4, seed=0):
    """Clips whose classes are drawn from the mean over their windows of the softmax of `logits / factor`."""
    rng = np.random.default_rng(seed)
    clip = np.repeat(np.arange(clips), windows_each)
    logits = rng.normal(0, 2, (len(clip), classes))
    probabilities = softmax(logits, axis=1).reshape(clips, windows_each, classes).mean(axis=1)
    targets = (rng.random((clips, 1)) > probabilities.cumsum(axis=1)).sum(axis=1)
    places = Windows(clip, np.zeros(len(clip), np.int64), np.full(len(clip), 100))
    return HeldOut(pd.DataFrame({"clip_id": np.arange(clips)}), targets, places, (factor * logits).astype(np.float32))


@pytest.mark.parametrize("windows_each", [1, 3])
@pytest.mark.parametrize("factor", [0.6, 2.5])
def test_the_temperature_is_found_through_the_pooling_of_windows(factor, windows_each):
    assert choose_temperature(held_out(factor, windows_each), "mean") == pytest.approx(factor, rel=0.15)


def test_few_validation_clips_keep_the_temperature_of_1():
    assert choose_temperature(held_out(3.0, 1, clips=40), "mean") == 1.0


def test_the_tables_and_the_picture_are_written(tmp_path):
    data = held_out(2.5, 1)
    probabilities = softmax(data.logits, axis=1)
    metrics = calibration_metrics(data.targets, probabilities)
    assert metrics["calibration_error"] > 0.1
    write_calibration(data.targets, probabilities, tmp_path)
    curve = pd.read_csv(tmp_path / "risk_coverage.csv")
    assert len(curve) <= 1_000
    assert curve["coverage"].iloc[-1] == 1
    assert curve["risk"].mean() == pytest.approx(metrics["risk_coverage_area"], abs=0.02)
    assert pd.read_csv(tmp_path / "reliability.csv")["clips"].sum() == len(data.targets)
    assert (tmp_path / "calibration.png").stat().st_size > 5_000
