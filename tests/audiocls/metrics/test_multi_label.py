from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

from audiocls.metrics.multi_label import lwlrap, multi_label_metrics, per_label_metrics
from audiocls.metrics.multi_label_intervals import multi_label_jackknife
from audiocls.metrics.thresholds import cross_fitted, fit_thresholds


@pytest.fixture(scope="module")
def scored():
    """Targets and probabilities of 200 clips and 4 labels, of which each clip has any number."""
    rng = np.random.default_rng(0)
    targets = (rng.random((200, 4)) < [0.4, 0.2, 0.1, 0.05]).astype(np.float32)
    return targets, 1 / (1 + np.exp(-(2.5 * targets - 1.5 + rng.normal(size=targets.shape))))


def test_metrics_are_those_of_scikit_learn_if_all_labels_are_known(scored):
    targets, probabilities = scored
    found = multi_label_metrics(targets, probabilities, np.full(4, 0.5))
    assert found["map_macro"] == pytest.approx(average_precision_score(targets, probabilities, average="macro"))
    assert found["map_micro"] == pytest.approx(average_precision_score(targets, probabilities, average="micro"))
    area = roc_auc_score(targets, probabilities, average="macro")
    assert found["auroc_macro"] == pytest.approx(area)
    assert found["d_prime"] == pytest.approx(2**0.5 * norm.ppf(area))
    predicted = probabilities >= 0.5
    assert found["f1_macro"] == pytest.approx(f1_score(targets, predicted, average="macro"))
    assert found["f1_micro"] == pytest.approx(f1_score(targets, predicted, average="micro"))
    assert found["exact_match"] == pytest.approx((predicted == targets).all(axis=1).mean())


def test_lwlrap_is_the_mean_precision_at_the_rank_of_each_label(scored):
    targets, probabilities = scored
    precisions = []
    for true, scores in zip(targets, probabilities, strict=True):
        for label in np.flatnonzero(true):
            above = scores >= scores[label]
            precisions.append(true[above].sum() / above.sum())
    assert lwlrap(targets, probabilities) == pytest.approx(np.mean(precisions))


def test_the_jackknife_leaves_out_one_group_after_another(scored):
    targets, probabilities = scored[0].copy(), np.round(scored[1], 2)  # with ties
    targets[np.random.default_rng(3).random(targets.shape) < 0.1] = np.nan
    groups = np.random.default_rng(4).integers(0, 12, len(targets)).astype(str)
    thresholds = np.full(4, 0.4)
    found = multi_label_jackknife(targets, probabilities, probabilities >= thresholds, groups)
    whole = multi_label_metrics(targets, probabilities, thresholds)
    for name, scores in found.items():
        assert scores.whole == pytest.approx([whole[name]]), name
        for i, group in enumerate(np.unique(groups)):
            left = groups != group
            expected = multi_label_metrics(targets[left], probabilities[left], thresholds)[name]
            assert scores.without[0, i] == pytest.approx(expected), (name, group)


def test_unknown_labels_count_nowhere(scored):
    targets, probabilities = scored[0].copy(), scored[1]
    rng = np.random.default_rng(1)
    targets[rng.random(targets.shape) < 0.3] = np.nan
    found = multi_label_metrics(targets, probabilities, np.full(4, 0.5))
    # Whatever the model says of unknown labels changes nothing.
    other = np.where(np.isnan(targets), rng.random(targets.shape), probabilities)
    assert multi_label_metrics(targets, other, np.full(4, 0.5)) == pytest.approx(found)
    known = ~np.isnan(targets[:, 0])
    table = per_label_metrics(targets, probabilities, np.full(4, 0.5), list("abcd"))
    assert table["auroc"][0] == pytest.approx(roc_auc_score(targets[known, 0], probabilities[known, 0]))
    assert table["unknown"].tolist() == np.isnan(targets).sum(axis=0).tolist()


def test_a_label_that_no_clip_has_is_not_scored_and_lowers_no_mean():
    targets = np.array([[1, 0], [0, 0], [1, 0.0]])
    found = multi_label_metrics(targets, np.array([[0.9, 0.1], [0.2, 0.1], [0.8, 0.9]]), np.full(2, 0.5))
    assert found["map_macro"] == 1
    assert found["f1_macro"] == 1
    assert found["exact_match"] == pytest.approx(2 / 3)
    table = per_label_metrics(targets, np.full((3, 2), 0.5), np.full(2, 0.5), ["a", "b"])
    assert table[["average_precision", "auroc", "f1"]].iloc[1].isna().all()


def test_thresholds_have_the_best_f1_of_all(scored):
    targets, probabilities = scored
    thresholds = fit_thresholds(targets, probabilities)
    for k in range(3):
        best = max(f1_score(targets[:, k], probabilities[:, k] >= t) for t in probabilities[:, k])
        assert f1_score(targets[:, k], probabilities[:, k] >= thresholds[k]) == pytest.approx(best)


def test_a_label_with_few_clips_keeps_the_default_threshold():
    targets = np.zeros((50, 1))
    targets[:4] = 1
    assert fit_thresholds(targets, np.linspace(0.2, 0.1, 50)[:, None]) == 0.5


def test_cross_fitted_scores_promise_no_gain_where_there_is_none():
    """Probabilities that say nothing: thresholds fitted on the same clips seem to help, cross-fitted ones do not."""
    rng = np.random.default_rng(2)
    targets = (rng.random((300, 1)) < 0.1).astype(float)
    groups = np.arange(300) // 10
    fitted, cross = [], []
    for seed in range(20):
        noise = rng.random((300, 1))
        fitted.append(f1_score(targets, noise >= fit_thresholds(targets, noise)))
        cross.append(f1_score(targets, cross_fitted(targets, noise, groups, seed)[0]))
    assert np.mean(fitted) > np.mean(cross) + 0.03
    assert np.mean(cross) < 0.2
