"""Another pooling than the mean is used only where it is clearly better on validation."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from audiocls.batches.windows import Windows
from audiocls.evaluation.held_out import HeldOut
from audiocls.evaluation.pooling_choice import choose_pooling
from audiocls.params.evaluation import EvaluationParams


def held_out(probabilities, groups=12, windows=8):
    """Recordings of class 0 and 1 in turn; `probabilities(recording, window)` is that of class 1."""
    targets = np.arange(groups) % 2
    clip = np.repeat(np.arange(groups), windows)
    ones = np.array([probabilities(c, w) for c in range(groups) for w in range(windows)])
    logits = np.log(np.stack([1 - ones, ones], axis=1)).astype(np.float32)
    starts = np.tile(np.arange(windows), groups)
    clips = pd.DataFrame({"group": [f"g{number}" for number in range(groups)]})
    return HeldOut(clips, targets, Windows(clip, starts, np.ones_like(starts)), logits)


def rare_sound(recording, window):
    """The sound of class 1 is in one window, and all others are taken for class 0."""
    return 0.99 if recording % 2 and window == 5 else 0.3


def rare_sound_in_one_recording(recording, window):
    """Max finds one recording more than the mean, which is no more than chance."""
    return 0.8 if recording % 2 and recording != 1 else rare_sound(recording, window)


def test_a_sound_in_few_windows_is_found_by_max():
    choice = choose_pooling(held_out(rare_sound), EvaluationParams(), 2)
    assert choice.pooling == "max"
    assert choice.scores["mean"].score == pytest.approx(1 / 3)
    assert choice.scores["max"].score == 1
    assert choice.scores["max"].low > 0
    assert choice.described()["validation"]["mean"]["low"] is None


@pytest.mark.parametrize(
    "shown",
    [
        held_out(rare_sound, groups=4),  # too few groups for an interval
        held_out(rare_sound, windows=1),  # no choice
        held_out(lambda recording, window: 0.8 if recording % 2 else 0.2),  # all are right
        held_out(rare_sound_in_one_recording),
    ],
)
def test_otherwise_it_is_the_mean(shown):
    assert choose_pooling(shown, EvaluationParams(), 2).pooling == "mean"


def test_a_pooling_that_the_params_name_is_used():
    assert choose_pooling(held_out(rare_sound), EvaluationParams(pooling="vote"), 2).pooling == "vote"
