from __future__ import annotations

from audiocls.evaluation.metric_names import headline_first, top_level

METRICS = {
    "test/recall/a/b": 0.1, "test/matthews": 0.2, "test/robustness/shift": 0.3, "test/f1_weighted": 0.4,
    "validation/temperature": 0.5, "validation/f1_macro": 0.6, "test/accuracy": 0.7, "test/window/f1_macro": 0.8,
    "test/f1_macro": 0.9, "train/grad_norm": 1.0, "train/loss": 1.1, "system/cpu_utilization_percentage": 1.2,
}  # fmt: skip


def test_scores_to_compare_come_first_and_all_others_are_in_a_namespace():
    found = headline_first(METRICS)
    assert list(found) == [
        "test/f1_macro", "test/accuracy", "validation/f1_macro", "train/loss",
        "class/recall/a/b", "details/test/f1_weighted", "details/test/matthews", "details/test/window/f1_macro",
        "details/train/grad_norm", "details/validation/temperature", "robustness/shift",
        "system/cpu_utilization_percentage",
    ]  # fmt: skip
    assert sorted(found.values()) == sorted(METRICS.values())
    assert headline_first(found) == found


def test_the_score_that_a_run_is_chosen_by_is_at_the_top_level():
    assert list(top_level(METRICS, "f1_weighted"))[:2] == ["test/f1_weighted", "test/f1_macro"]
