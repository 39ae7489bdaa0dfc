"""Every metric has the interval of the jackknife over groups, computed here by leaving each group out."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from audiocls.metrics.classification import per_class_metrics, ranking_metrics, summary_metrics
from audiocls.metrics.classification_intervals import ClassificationIntervals
from audiocls.metrics.intervals import Jackknife, correlation_interval, interval
from audiocls.metrics.multi_label_intervals import average_precision_without_each

CLASSES, GROUPS = 4, 12


@pytest.fixture(scope="module")
def clips():
    """(targets, probabilities, losses, groups) of a model that is right on half of the clips."""
    rng = np.random.default_rng(0)
    targets, groups = rng.integers(0, CLASSES, 240), rng.integers(0, GROUPS, 240)
    scores = rng.normal(size=(240, CLASSES)) + 1.5 * np.eye(CLASSES)[targets]
    probabilities = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    return targets, probabilities, -np.log(probabilities[np.arange(240), targets]), groups


def metrics_of(targets, probabilities, losses, _):
    found = summary_metrics(targets, probabilities.argmax(axis=1)) | ranking_metrics(targets, probabilities)
    return found | {"loss": float(losses.mean())}


def without_each(clips, score):
    effective = np.bincount(clips[3]).sum() ** 2 / (np.bincount(clips[3]) ** 2).sum()
    kept = [clips[3] != group for group in range(GROUPS)]
    left = [score(*(part[rows] for part in clips)) for rows in kept]
    return Jackknife(np.array([score(*clips)]), np.array([left]), effective)


def test_each_metric_has_the_interval_of_the_jackknife(clips):
    found = ClassificationIntervals(*clips).overall()
    assert set(found) == set(metrics_of(*clips))
    for name, each in found.items():
        expected = without_each(clips, lambda *part, name=name: metrics_of(*part)[name])
        in_range = correlation_interval(expected) if name == "matthews" else interval(expected, fraction=True)
        wanted = interval(expected) if name == "loss" else in_range
        ends = [float(np.squeeze(end)) for end in (each.value, each.low, each.high)]
        assert ends == pytest.approx([float(np.squeeze(end)) for end in (wanted.value, wanted.low, wanted.high)]), name
        assert ends[1] < ends[0] < ends[2]


def test_each_class_has_intervals_and_one_in_few_groups_has_none(clips):
    targets, probabilities, losses, groups = clips
    labels = [*"abcde"]
    rare = np.isin(groups, [0, 1, 2]) | (targets != 3)
    probabilities = np.hstack([probabilities, np.zeros((240, 1))])[rare]
    part = targets[rare], probabilities, losses[rare], groups[rare]
    table = ClassificationIntervals(*part).per_class(labels).set_index("label")
    values = per_class_metrics(part[0], probabilities.argmax(axis=1), labels, probabilities).set_index("label")
    for label in "abc":
        for name in ("precision", "recall", "f1", "auroc", "average_precision"):
            low, high = table.loc[label, [f"{name}_low", f"{name}_high"]]
            assert 0 < low < values.loc[label, name] < high < 1, (label, name)
    assert table.loc["d", ["recall_low", "auroc_low", "average_precision_high"]].isna().all()
    assert table.loc["e"].isna().all()


@pytest.mark.parametrize("digits", [1, 6])
def test_average_precision_without_each_block_is_that_of_the_other_clips(digits):
    rng = np.random.default_rng(digits)
    for _ in range(20):
        present, blocks = rng.random(40) < 0.3, rng.integers(0, 5, 40)
        present[0] = True
        scores = np.round(rng.random(40), digits)
        left = [average_precision_score(present[blocks != k], scores[blocks != k]) for k in range(5)]
        expected = [average_precision_score(present, scores), *left]
        assert average_precision_without_each(present, scores, blocks, 5) == pytest.approx(expected)
