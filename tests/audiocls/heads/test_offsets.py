from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from audiocls.batches.windows import average_windows
from audiocls.heads.linear import LinearHead
from audiocls.heads.offsets import adjusted, best_by_macro_f1, fit_offsets, tau_normalised
from audiocls.metrics.classification import summary_metrics


def macro_f1(logits, targets):
    return summary_metrics(targets, logits.argmax(axis=1))["f1_macro"]


@pytest.fixture(scope="module")
def skewed():
    """(logits, targets, counts) of a model that has learnt that the last of three classes is rare."""
    rng = np.random.default_rng(0)
    counts = np.array([400, 80, 20])
    targets = np.repeat(np.arange(3), counts)
    logits = 1.5 * np.eye(3)[targets] + rng.normal(size=(500, 3)) + np.log(counts / 500)
    return logits, targets, counts


def test_adjustment_takes_the_logarithm_of_each_share_off_the_logits(skewed):
    logits, targets, counts = skewed
    head = LinearHead(np.eye(3), np.zeros(3))
    shifted = adjusted(head, counts, 1.0).logits(logits.astype(np.float32))
    np.testing.assert_allclose(shifted, logits - np.log([0.8, 0.16, 0.04]), atol=1e-5)
    before, after = (summary_metrics(targets, x.argmax(axis=1))["balanced_accuracy"] for x in (logits, shifted))
    assert after > before + 0.1
    np.testing.assert_array_equal(adjusted(head, counts, 0.0).bias, head.bias)


def test_tau_1_gives_all_classes_one_norm_and_keeps_their_mean():
    rng = np.random.default_rng(1)
    head = LinearHead(rng.normal(size=(3, 8)) * [[9], [3], [1]], np.ones(3))
    norms = np.linalg.norm(head.weight, axis=1)
    for tau, spread in ((0.0, norms.max() / norms.min()), (0.5, (norms.max() / norms.min()) ** 0.5), (1.0, 1.0)):
        found = np.linalg.norm(tau_normalised(head, tau).weight, axis=1)
        assert found.max() / found.min() == pytest.approx(spread)
        assert found.mean() == pytest.approx(norms.mean())
        assert (tau_normalised(head, tau).bias == 0).all()


def test_the_best_tau_is_by_macro_f1_and_the_smallest_of_equals(skewed):
    logits, targets, counts = skewed
    head = LinearHead(np.eye(3), np.zeros(3))
    found = {t: adjusted(head, counts, t).logits(logits.astype(np.float32)) for t in (0.0, 0.4, 0.8, 1.6)}
    scores = {tau: macro_f1(each, targets) for tau, each in found.items()}
    assert scores[best_by_macro_f1(found, targets)] == max(scores.values()) > min(scores.values())
    assert best_by_macro_f1({0.5: logits, 0.2: logits}, targets) == 0.2


def test_offsets_raise_the_macro_f1_of_a_skewed_model(skewed):
    logits, targets, _ = skewed
    offsets = fit_offsets(logits, targets)
    assert macro_f1(logits + offsets, targets) > macro_f1(logits, targets) + 0.03


@given(
    st.integers(0, 10_000), st.integers(2, 5), st.integers(1, 40), st.sampled_from([0.3, 0.0]),
)  # fmt: skip
@settings(deadline=None, max_examples=40)
def test_offsets_never_lower_macro_f1_whatever_the_logits_and_ties(seed, num_classes, num_clips, step):
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(num_clips, num_classes))
    if step:
        logits = np.round(logits / step) * step  # so that clips and classes tie
    targets = rng.integers(num_classes, size=num_clips)
    offsets = fit_offsets(logits, targets)
    assert np.isfinite(offsets).all()
    assert macro_f1(logits + offsets, targets) >= macro_f1(logits, targets) - 1e-9
    absent = np.setdiff1d(np.arange(num_classes), targets)
    assert (offsets[absent] == 0).all()


def test_offsets_of_windows_are_fitted_to_the_mean_of_their_probabilities():
    rng = np.random.default_rng(3)
    counts = np.array([24, 8, 4])
    targets = np.repeat(np.arange(3), counts)
    clip = np.repeat(np.arange(36), rng.integers(1, 5, 36))
    logits = 3 * rng.normal(size=(len(clip), 3)) + 1.5 * np.eye(3)[targets[clip]] + np.log(counts / 36)

    def scored(offsets):
        return macro_f1(average_windows(logits + offsets, clip), targets)

    offsets = fit_offsets(logits, targets, clip)
    of_clips = fit_offsets(average_windows(logits, clip), targets)  # right only where a clip is one window
    assert scored(offsets) > max(scored(0), scored(of_clips)) + 0.01
    one_class = max(scored(np.eye(3)[i] * shift) for i in range(3) for shift in np.linspace(-5, 5, 21))
    assert scored(offsets) >= one_class - 1e-9
    np.testing.assert_array_equal(
        fit_offsets(logits[:9], targets[:9], np.arange(9)), fit_offsets(logits[:9], targets[:9])
    )


def test_one_class_at_a_time_finds_what_a_search_of_all_offsets_finds():
    rng = np.random.default_rng(5)
    targets = np.array([0] * 12 + [1] * 3)
    logits = rng.normal(size=(15, 2)) + np.eye(2)[targets]
    gaps = np.sort(logits[:, 0] - logits[:, 1])
    tried = itertools.chain([gaps[0] - 1, gaps[-1] + 1], (gaps[1:] + gaps[:-1]) / 2)
    best = max(macro_f1(logits + np.array([0, shift]), targets) for shift in tried)
    assert macro_f1(logits + fit_offsets(logits, targets), targets) == pytest.approx(best)
