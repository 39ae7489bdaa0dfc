"""Thresholds and taus that validation chooses are taken where they help on clips that they were not fitted on."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from audiocls.heads.after_training import changed_head
from audiocls.heads.clips import Clips
from audiocls.heads.linear import LinearHead
from audiocls.metrics.classification import summary_metrics
from audiocls.params.balance import ClassThresholds, PostHocLogitAdjustment, TauNorm

COUNTS = np.array([600, 300, 100])
LABELS = ("a", "b", "c")
HEAD = LinearHead(np.eye(3), np.zeros(3))
THRESHOLDS = ClassThresholds(method="class_thresholds")
SKEW = np.array([0.0, -2.0, -4.0])


def drawn(rng, num_groups=30, skew=0.0):
    """Clips of classes as frequent, whose embeddings are their logits: without a skew no shift raises macro-F1."""
    groups = np.repeat(np.arange(num_groups), 8)
    targets = rng.integers(3, size=len(groups))
    logits = (
        1.5 * np.eye(3)[targets] + rng.normal(size=(len(groups), 3)) + 0.5 * rng.normal(size=(num_groups, 3))[groups]
    )
    return Clips((logits + skew).astype(np.float32), targets, groups.astype(str).astype(object))


def macro_f1(head, clips):
    return summary_metrics(clips.targets, clips.logits(head).argmax(axis=1))["f1_macro"]


@pytest.fixture(scope="module", params=[0.0, SKEW], ids=["cannot help", "help"])
def trials(request):
    """(whether a shift helps, by trial whether it was applied and its gain on fresh clips)."""
    rng = np.random.default_rng(11)
    fresh = drawn(rng, 2_000, request.param)
    made = [changed_head(THRESHOLDS, HEAD, COUNTS, drawn(rng, skew=request.param), LABELS, i) for i in range(40)]
    gains = [macro_f1(each.head, fresh) - macro_f1(HEAD, fresh) for each in made]
    return np.any(request.param), [each.said["applied"] for each in made], gains


def test_thresholds_are_applied_where_they_help_and_only_there(trials):
    help_, applied, gains = trials
    if help_:
        assert np.mean(applied) >= 0.9
        assert np.mean(gains) > 0.05
    else:
        assert np.mean(applied) <= 0.1
        assert np.mean(gains) > -0.003


@pytest.mark.parametrize(
    "params",
    [
        THRESHOLDS,
        TauNorm(method="tau_norm"),
        PostHocLogitAdjustment(method="post_hoc_logit_adjustment", tau=None),
    ],
    ids=lambda params: params.method,
)
def test_what_does_not_help_leaves_the_head_as_it_is_and_is_told(params, caplog):
    clips = drawn(np.random.default_rng(3))
    noise = Clips(clips.embeddings, np.random.default_rng(4).permutation(clips.targets), clips.groups)
    with caplog.at_level(logging.INFO):
        made = changed_head(params, HEAD, COUNTS, noise, LABELS, 1)
    np.testing.assert_array_equal(made.head.weight, HEAD.weight)
    np.testing.assert_array_equal(made.head.bias, HEAD.bias)
    assert made.said["applied"] is False
    assert f"{params.method}: macro-F1 on held-out folds of validation changes by" in caplog.text
    assert "so the plain head is kept" in caplog.text


def test_what_is_reported_is_of_the_held_out_folds_and_near_what_fresh_clips_say():
    """Of the clips that they were fitted on the thresholds say more than they keep."""
    rng = np.random.default_rng(5)
    fresh, fitted, reported, kept = drawn(rng, 2_000, SKEW), [], [], []
    for seed in range(20):
        clips = drawn(rng, 12, SKEW)
        made = changed_head(THRESHOLDS, HEAD, COUNTS, clips, LABELS, seed)
        if made.said["applied"]:
            fitted.append(macro_f1(made.head, clips))
            reported.append(made.said["held_out_f1_macro_changed"])
            kept.append(macro_f1(made.head, fresh))
    assert len(kept) >= 10
    assert np.mean(fitted) > np.mean(kept) + 0.02
    assert np.mean(reported) == pytest.approx(np.mean(kept), abs=0.03)


def test_of_too_few_groups_to_judge_the_plain_decision_is_kept(caplog):
    with caplog.at_level(logging.INFO):
        made = changed_head(THRESHOLDS, HEAD, COUNTS, drawn(np.random.default_rng(6), 4, SKEW), LABELS, 1)
    assert made.said["applied"] is False
    assert made.said["held_out_gain_low"] is None
    assert "too few groups for an interval" in caplog.text


def test_a_tau_of_the_params_is_taken_as_it_is():
    asked = PostHocLogitAdjustment(method="post_hoc_logit_adjustment", tau=0.5)
    made = changed_head(asked, HEAD, COUNTS, drawn(np.random.default_rng(7)), LABELS, 1)
    np.testing.assert_allclose(made.head.bias, -0.5 * np.log([0.6, 0.3, 0.1]))
    assert made.said == {"tau": 0.5, "chosen_on": "params"}
