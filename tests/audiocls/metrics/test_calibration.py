from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.special import softmax
from sklearn.metrics import log_loss, matthews_corrcoef, roc_auc_score, top_k_accuracy_score

from audiocls.metrics import (
    GroupCounts,
    area_under_risk_coverage,
    calibration_error,
    classwise_calibration_error,
    correlation_interval,
    fit_temperature,
    jackknife,
    matthews,
    ranking_metrics,
    reliability,
    risk_coverage,
)


@pytest.fixture(scope="module")
def drawn():
    """(targets, logits) of 5,000 clips of 5 classes, whose classes are drawn from the softmax of the logits."""
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (5_000, 5))
    cumulated = softmax(logits, axis=1).cumsum(axis=1)
    return (rng.random((5_000, 1)) > cumulated).sum(axis=1), logits


def confidence_of(logits, targets):
    probabilities = softmax(logits, axis=1)
    return probabilities, probabilities.max(axis=1), probabilities.argmax(axis=1) == targets


def test_the_temperature_of_overconfident_logits_is_found(drawn):
    targets, logits = drawn
    for factor in (0.5, 1.0, 3.0):

        def loss(temperature, scaled=logits * factor):
            return log_loss(targets, softmax(scaled / temperature, axis=1))

        assert fit_temperature(loss, len(targets)) == pytest.approx(factor, rel=0.06)


def test_few_clips_or_a_faultless_validation_give_no_extreme_temperature():
    assert fit_temperature(lambda temperature: 1 / temperature, 49) == 1.0
    logits = np.tile([4.0, 0.0], (60, 1))
    targets = np.zeros(60, np.int64)
    found = fit_temperature(lambda t: log_loss(targets, softmax(logits / t, axis=1), labels=[0, 1]), 60)
    assert 0.3 < found < 1.0


def test_calibrated_probabilities_have_a_small_error_and_overconfident_ones_a_large_one(drawn):
    targets, logits = drawn
    _, confidence, correct = confidence_of(logits, targets)
    assert calibration_error(confidence, correct) < 0.03
    probabilities, confidence, correct = confidence_of(3 * logits, targets)
    assert calibration_error(confidence, correct) > 0.15
    assert classwise_calibration_error(probabilities, targets) > 0.05
    bins = reliability(confidence, correct)
    assert bins["clips"].sum() == len(targets)
    gaps = (bins["clips"] * (bins["confidence"] - bins["accuracy"]).abs()).sum() / len(targets)
    assert gaps == pytest.approx(calibration_error(confidence, correct))


def test_risk_falls_as_fewer_answers_are_given(drawn):
    targets, logits = drawn
    _, confidence, correct = confidence_of(logits, targets)
    curve = risk_coverage(confidence, correct)
    assert curve["risk"].iloc[-1] == pytest.approx(1 - correct.mean())
    assert curve["coverage"].iloc[-1] == 1
    half = curve[curve["coverage"] <= 0.5].iloc[-1]
    given = confidence >= half["threshold"]
    assert half["coverage"] == pytest.approx(given.mean())
    assert half["risk"] == pytest.approx(1 - correct[given].mean())
    assert half["risk"] < curve["risk"].iloc[-1]
    assert area_under_risk_coverage(confidence, correct) < area_under_risk_coverage(1 - confidence, correct)


def test_equal_confidences_are_given_together():
    curve = risk_coverage(np.array([0.9, 0.5, 0.5]), np.array([True, False, True]))
    pd.testing.assert_frame_equal(
        curve, pd.DataFrame({"threshold": [0.9, 0.5], "coverage": [1 / 3, 1.0], "risk": [0.0, 1 / 3]})
    )


def test_ranking_metrics_are_those_of_scikit_learn(drawn):
    targets, logits = drawn
    probabilities = softmax(logits, axis=1)
    found = ranking_metrics(targets, probabilities)
    assert found["auroc_macro"] == pytest.approx(roc_auc_score(targets, probabilities, multi_class="ovr"))
    assert found["top_3_accuracy"] == pytest.approx(top_k_accuracy_score(targets, probabilities, k=3))
    predicted = probabilities.argmax(axis=1)
    assert found["matthews"] == pytest.approx(matthews_corrcoef(targets, predicted))
    groups = np.arange(len(targets)) % 9
    scores = jackknife(GroupCounts.of(targets, predicted[None], groups, 5), matthews)
    assert scores.whole[0] == pytest.approx(found["matthews"])
    found_interval = correlation_interval(scores)
    assert -1 <= found_interval.low < found_interval.value < found_interval.high <= 1
    assert found_interval.value == pytest.approx(found["matthews"])
    left = groups != 4
    assert scores.without[0, 4] == pytest.approx(matthews_corrcoef(targets[left], predicted[left]))


def test_a_single_class_has_no_area_and_no_correlation():
    found = ranking_metrics(np.zeros(4, np.int64), np.tile([0.7, 0.3], (4, 1)))
    assert np.isnan(found["auroc_macro"])
    assert found["matthews"] == 0
