"""The gate promotes what is shown to be better and loses nothing more than allowed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from pydantic import ValidationError

from audiocls.errors import ParamsError
from audiocls.evaluation import Answers
from audiocls.params import GateParams
from audiocls.registry import Side, decide, decide_first

LABELS = ["a", "b", "c"]
CLIPS, GROUPS = 600, 30


def answers_with(wrong: np.ndarray, targets: np.ndarray | None = None, groups: int = GROUPS) -> Answers:
    """Answers that are wrong for some clips: the next class."""
    targets = np.arange(CLIPS) % 3 if targets is None else targets
    group = np.arange(len(targets)) // 3 % groups
    return Answers(targets, np.where(wrong, (targets + 1) % 3, targets), group, 3)


def wrong_for(fraction: float, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random(CLIPS) < fraction


def side(wrong: np.ndarray, noisy: np.ndarray | None = None, groups: int = GROUPS, **costs) -> Side:
    corrupted = {} if noisy is None else {"noise_0_db": answers_with(noisy, groups=groups)}
    return Side(answers_with(wrong, groups=groups), corrupted, **costs)


def failed(decision) -> list[str]:
    return [check.name for check in decision.checks if not check.passed]


def test_a_clear_gain_promotes_and_its_interval_is_in_the_sentence():
    decision = decide(GateParams(), side(wrong_for(0.05)), side(wrong_for(0.2)), LABELS)
    assert decision.promote
    assert failed(decision) == []
    gain = decision.checks[0]
    assert gain.name == "gain"
    assert 0.1 < gain.figures["low"] < gain.figures["value"] == pytest.approx(0.15, abs=0.05)
    assert f"[{gain.figures['low']:+.3f}, {gain.figures['high']:+.3f}]" in decision.sentence


@pytest.mark.parametrize(
    ("params", "promoted"),
    [
        ({}, False),
        ({"margin": 0.3}, False),
        ({"rule": "not_worse", "margin": 0.05}, True),
        ({"rule": "not_worse", "margin": 1e-6}, False),
    ],
)
def test_equal_models_are_not_better_but_may_be_not_worse(params, promoted):
    equal = side(wrong_for(0.1, 1)), side(wrong_for(0.1, 2))
    assert decide(GateParams(**params), *equal, LABELS).promote is promoted


def test_not_worse_than_what_is_asked():
    with pytest.raises(ValidationError, match="needs a margin above 0"):
        GateParams(rule="not_worse")


def test_a_class_a_slice_and_a_corruption_that_fall_refuse_a_model_that_is_better_on_the_whole():
    targets = np.arange(CLIPS) % 3
    rows = np.flatnonzero(np.arange(CLIPS) % 10 == 0)
    champion = side(wrong_for(0.4), wrong_for(0.4))
    worse = {
        "class c": side(wrong_for(0.02) | ((targets == 2) & wrong_for(0.8, 1)), wrong_for(0.1)),
        "slice quiet": side(np.isin(np.arange(CLIPS), rows) & wrong_for(0.8, 1), wrong_for(0.1)),
        "corruption noise_0_db": side(wrong_for(0.02), wrong_for(0.7)),
    }
    allowed = GateParams(metric="accuracy", max_class_drop=0.02, max_slice_drop=0.02, max_corruption_drop=0.02)
    for name, challenger in worse.items():
        decision = decide(allowed, challenger, champion, LABELS, {"quiet": rows})
        gain = next(check for check in decision.checks if check.name == "gain")
        assert gain.passed
        assert not decision.promote
        assert failed(decision) == [name]
        assert decision.sentence.startswith(f"{name}: ")
    lenient = GateParams(metric="accuracy", max_class_drop=1, max_slice_drop=1, max_corruption_drop=1)
    assert all(decide(lenient, each, champion, LABELS, {"quiet": rows}).promote for each in worse.values())


def test_a_class_of_few_groups_is_judged_by_its_clips():
    targets = np.concatenate([np.zeros(300, int), np.ones(280, int), np.full(20, 2)])
    champion = answers_with(np.arange(600) % 3 == 0, targets)
    champion = replace(champion, groups=np.where(targets == 2, 0, champion.groups))
    lost = replace(answers_with(targets == 2, targets), groups=champion.groups)
    params = GateParams(metric="accuracy", max_class_drop=0.1)
    assert failed(decide(params, Side(lost, {}), Side(champion, {}), LABELS)) == ["class c"]
    kept = replace(answers_with((targets == 2) & (np.arange(600) % 3 == 0), targets), groups=champion.groups)
    assert failed(decide(params, Side(kept, {}), Side(champion, {}), LABELS)) == []


def test_a_slower_or_larger_model_is_refused_beyond_the_limits():
    better, champion = wrong_for(0.05), side(wrong_for(0.2), compute_ratio=0.01, weight_bytes=100)
    challenger = side(better, compute_ratio=0.02, weight_bytes=150)
    decision = decide(GateParams(), challenger, champion, LABELS)
    assert failed(decision) == ["latency"]
    assert "2.00 times the champion's; at most 1.5 is allowed" in decision.sentence
    assert failed(decide(GateParams(max_latency_ratio=3, max_size_ratio=1.2), challenger, champion, LABELS)) == ["size"]


def test_too_few_groups_show_nothing():
    decision = decide(GateParams(), side(wrong_for(0.01), groups=4), side(wrong_for(0.6), groups=4), LABELS)
    assert failed(decision) == ["gain"]
    assert "4 groups are too few for an interval" in decision.sentence


def test_the_first_model_must_beat_the_most_frequent_class():
    counts = np.array([100, 20, 20])
    assert decide_first(GateParams(), answers_with(wrong_for(0.2)), counts).promote
    useless = answers_with(wrong_for(0.8))
    decision = decide_first(GateParams(metric="accuracy"), useless, counts)
    assert not decision.promote
    assert "does not show that the model is better than the most frequent class alone" in decision.sentence


def test_several_labels_are_compared_by_map():
    rng = np.random.default_rng(0)
    targets = (rng.random((CLIPS, 3)) < 0.3).astype(float)
    targets[:5, 0] = np.nan

    def answered(noise: float) -> Side:
        scores = np.clip(np.nan_to_num(targets) * 0.6 + rng.normal(0.2, noise, targets.shape), 0, 1)
        return Side(Answers(targets, scores > 0.5, np.arange(CLIPS) % GROUPS, 3, scores), {})

    decision = decide(GateParams(), answered(0.1), answered(0.6), LABELS)
    assert decision.metric == "map_macro"
    assert decision.promote
    assert not decide(GateParams(), answered(0.6), answered(0.1), LABELS).promote
    assert decide_first(GateParams(), answered(0.1).answers, np.array([5, 9, 3])).promote
    with pytest.raises(ParamsError, match="f1_macro: clips have any number of labels"):
        decide(GateParams(metric="f1_macro"), answered(0.1), answered(0.6), LABELS)
