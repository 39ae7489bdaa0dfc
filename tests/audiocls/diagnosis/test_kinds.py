from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from made_evidence import LABELS, answered, evidence, falling_loss

from audiocls.diagnosis.diagnosing import find_faults
from audiocls.diagnosis.evidence import Answered, Probed
from audiocls.diagnosis.finding import KINDS
from audiocls.diagnosis.kinds import DIAGNOSES
from audiocls.diagnosis.measures import ERROR_RATE
from audiocls.params_file import override_params


def names(found):
    return [f"{each.kind}/{each.cause}" for each in found]


def rare_class(params=None):
    counts = np.array([400, 100, 30, 8])
    return evidence(
        validation=answered([1, 1, 0.9, 0.2], into=[0, 0, 0, 0], split="validation"), counts=counts, params=params
    )


def stuck(rate, losses, norms=None, training=0.25, **changes):
    history = falling_loss(points=len(losses)).assign(**{"train/loss": losses, "train/learning_rate": rate})
    if norms is not None:
        history["train/grad_norm"] = norms
    params = {"training": {"learning_rate": rate}}
    answers = [1, 0, 0, 0] if training < 0.5 else training
    sizes = {"clips": 100, "into": [0, 0, 0, 0] if training < 0.5 else None}
    seen, unseen = answered(answers, **sizes), answered(answers, **sizes, seed=1, split="validation")
    return evidence(training=seen, validation=unseen, test=unseen, history=history, params=params, **changes)


def late_class():
    training, validation = answered(0.3, seconds=3.0), answered(0.3, split="validation", seed=1)
    rng, targets = np.random.default_rng(0), training.targets
    kept, whole = (np.where(rng.random(len(targets)) < p, targets, (targets + 1) % 4) for p in (0.3, 0.9))
    probed = Probed(np.arange(len(targets)), kept, whole)
    return evidence(training=training, validation=validation, probed=probed, params={"audio": {"max_seconds": 1.0}})


def confounded():
    found = {"nuisance": "background", "balanced_accuracy": 0.9, "chance": 0.25, "threshold": 0.46, "reported": True}
    return evidence(audit={"confounds": [found]})


def quiet_clips_fail():
    row = {"column": "rms_db", "value": "-60 to -50", "clips": 40, "groups": 8, "f1_macro": 0.4, "f1_macro_low": 0.3}
    return evidence(slices=pd.DataFrame([row | {"f1_macro_high": 0.5, "limit": 0.8, "verdict": "fail"}]))


def clipped_clips_fail():
    clean, clipped = answered(1.0, split="validation"), answered(0.3, split="validation", seed=1)
    loud = np.arange(len(clean.targets)) % 20 < 8
    clips = clean.clips.assign(clipped_fraction=np.where(loud, 0.01, 0.0))
    probabilities = np.where(loud[:, None], clipped.probabilities, clean.probabilities)
    return evidence(training=answered(0.8), validation=Answered(clips, clean.targets, probabilities))


def training_has_other_rates():
    narrow = answered(0.99)
    narrow.clips["source_rate_hz"] = 8_000
    return evidence(training=narrow)


def copies_disagree():
    pair = {"labels": ["a", "b"]}
    return evidence(audit={"near_duplicates": [pair] * 40, "corpus": {"clips": 160}})


NOISE = 0.01 * np.random.default_rng(0).normal(size=30)
PLANTED = {
    "imbalance/counts": rare_class,
    "overfitting/gap": lambda: evidence(training=1.0, validation=0.7),
    "overfitting/few_groups": lambda: evidence(training=1.0, validation=0.7, groups=3, effective_groups=2.8),
    "underfitting/rate_too_low": lambda: stuck(1e-5, 1.38 + NOISE, norms=3 + NOISE),
    "underfitting/rate_too_high": lambda: stuck(0.5, 1.4 + 10 * np.abs(NOISE)),
    "underfitting/too_short": lambda: stuck(1e-2, np.linspace(1.4, 0.7, 30) + NOISE, training=0.7),
    "underfitting/small_model": lambda: stuck(1e-2, np.r_[np.linspace(1.4, 0.7, 10), 0.7 + NOISE[:20]], training=0.7),
    "long_audio/truncated": late_class,
    "long_audio/padding": lambda: evidence(params={"audio": {"max_seconds": 10.0}}),
    "data/label_errors": lambda: evidence(training=answered(0.85, confidence=0.97), validation=0.98),
    "data/confound": confounded,
    "data/small_validation": lambda: evidence(validation=answered(1, clips=2, groups=2, split="validation")),
    "data/small_test": lambda: evidence(test=answered(0.45, clips=3, groups=6, split="test")),
    "data/confusable": lambda: evidence(
        validation=answered([0.5, 0.5, 1, 1], into=[1, 0, 0, 0], confidence=0.6, split="validation")
    ),
    "data/copies": copies_disagree,
    "front_end/rms_db": quiet_clips_fail,
    "front_end/clipped": clipped_clips_fail,
    "front_end/source_rates": training_has_other_rates,
    "calibration/overconfident": lambda: evidence(test=answered(0.8, confidence=0.99, split="test")),
}


def test_a_training_of_which_only_the_last_learning_rate_was_logged_is_diagnosed():
    found = stuck(0.01, np.array([1.4]))
    found.history["train/learning_rate"] = 0.0
    assert "underfitting" in [finding.kind for finding in find_faults(found)]


@pytest.mark.parametrize("fault", PLANTED)
def test_a_planted_fault_is_found_with_overrides_that_the_params_allow(fault):
    run = PLANTED[fault]()
    found = dict(zip(names(find_faults(run)), find_faults(run), strict=True))
    assert fault in found
    assert found[fault].kind in KINDS
    assert len(found[fault].overrides) <= 3
    for override in found[fault].overrides:
        assert override_params(run.params, [override]) != run.params


@pytest.mark.parametrize("fault", [name for name in PLANTED if name.split("/")[0] not in ("calibration", "long_audio")])
def test_the_planted_fault_comes_first(fault):
    assert names(find_faults(PLANTED[fault]()))[0] == fault


def test_a_healthy_run_has_no_finding_and_chance_alone_makes_few():
    found = [
        names(
            find_faults(
                evidence(*(answered(p, seed=3 * seed + i, split=str(i)) for i, p in enumerate((0.97, 0.95, 0.95))))
            )
        )
        for seed in range(20)
    ]
    # All diagnoses together have an error rate of one in twenty.
    assert sum(map(bool, found)) <= 3, found


def test_every_diagnosis_is_planted_and_together_they_err_in_one_of_twenty_runs():
    assert len(PLANTED) >= len(DIAGNOSES)
    # Five look at nothing that chance decides: a confound of the audit, padding, copies, and the sizes of two splits.
    assert (len(DIAGNOSES) - 5) * ERROR_RATE / 2 <= 0.05


def test_balanced_classes_are_never_imbalanced():
    found = names(find_faults(evidence(validation=answered([1, 1, 1, 0.3], split="validation"))))
    assert not any(name.startswith("imbalance") for name in found)


def test_a_method_that_the_run_has_is_not_suggested_again():
    first = find_faults(rare_class())[0]
    again = find_faults(rare_class({"balance": {"method": "oversample"}}))[0]
    assert first.overrides[0] == "balance={method: oversample}"
    assert first.overrides[0] not in again.overrides
    assert "despite balance.method=oversample" in again.sentence


def test_a_learning_rate_is_moved_towards_the_one_that_lets_weights_move_ten_times_their_size():
    low = find_faults(PLANTED["underfitting/rate_too_low"]())[0]
    high = find_faults(PLANTED["underfitting/rate_too_high"]())[0]
    assert low.overrides[0] == "training.learning_rate=0.001"
    assert float(high.overrides[0].partition("=")[2]) < 0.5


def test_a_wrong_learning_rate_is_found_even_if_validation_has_too_few_groups_for_an_interval():
    run = PLANTED["underfitting/rate_too_low"]()
    few = answered([1, 0, 0, 0], into=[0, 0, 0, 0], groups=3, split="validation")
    found = names(find_faults(replace(run, validation=few)))
    assert {"underfitting/rate_too_low", "data/small_validation"} <= set(found)
    assert not any(name.startswith("overfitting") for name in found)


def test_wrong_labels_name_the_clips_to_listen_to():
    found = find_faults(PLANTED["data/label_errors"]())[0]
    run = PLANTED["data/label_errors"]()
    wrong = set(run.training.clips["clip_id"][~run.training.right])
    listed = [each.partition(":")[0] for each in found.look_at if "->" in each]
    assert len(listed) == 10
    assert set(listed) <= wrong


def test_a_truncation_that_loses_nothing_explains_no_errors():
    run = late_class()
    same = Probed(run.probed.rows, run.probed.whole, run.probed.whole)
    assert "long_audio/truncated" not in names(find_faults(evidence(run.training, run.validation, probed=same)))


def test_the_errors_on_validation_are_split_into_parts_that_add_up():
    from audiocls.diagnosis.error_parts import error_parts

    run = rare_class()
    parts = error_parts(run)
    total = sum(float(np.squeeze(each.value)) for each in (parts.underfitting, parts.overfitting, parts.imbalance))
    recall = np.mean([run.validation.right[run.validation.targets == k].mean() for k in range(len(LABELS))])
    assert total == pytest.approx(1 - recall)
