"""A slice fails if it is worse than chance explains, and chance alone makes one fail as often as is promised."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from audiocls.evaluation.answers import Answers
from audiocls.evaluation.chance import ERROR_RATE, RandomSlices, lowest_by_chance
from audiocls.evaluation.slices import MOST_VALUES, score_slices, slices_table

GROUPS, CLIPS_PER_GROUP, CLASSES = 40, 10, 5
GROUP = np.repeat(np.arange(GROUPS), CLIPS_PER_GROUP)


def answers(skill) -> Answers:
    """Answers of a model that knows the class with a probability for each clip, and guesses otherwise."""
    rng = np.random.default_rng(0)
    targets, guesses = rng.integers(0, CLASSES, (2, len(GROUP)))
    return Answers(targets, np.where(rng.random(len(GROUP)) < skill, targets, guesses), GROUP.astype(str), CLASSES)


def several_labels(skill) -> Answers:
    rng = np.random.default_rng(1)
    targets = (rng.random((len(GROUP), CLASSES)) < 0.4).astype(np.float32)
    targets[::7, 2] = np.nan
    heard = np.where(rng.random(len(GROUP)) < skill, 1, 0)[:, None]
    probabilities = np.where(np.isnan(targets), 0.5, 0.2 * rng.random(targets.shape) + 0.7 * heard * (targets == 1))
    return Answers(targets, probabilities > 0.5, GROUP.astype(str), CLASSES, probabilities.astype(np.float32))


def of_groups(skills) -> np.ndarray:
    return np.asarray(skills)[GROUP]


@pytest.mark.parametrize("model", [answers, several_labels])
def test_a_slice_that_is_worse_fails_and_no_other_does(model):
    device = np.where(GROUP % 4 == 1, "bad", np.where(GROUP % 4 == 2, "good", "other"))
    rng = np.random.default_rng(2)
    clips = pd.DataFrame(
        {
            "group": GROUP.astype(str),
            "duration_seconds": rng.random(len(GROUP)),
            "source_rate_hz": 16_000,
            "column/device": device,
            "column/person": GROUP.astype(str) + "x",  # too few groups each, except for the rest
        }
    )
    slices = score_slices(clips, model(np.where(device == "bad", 0.4, 0.9)), seed=0)
    assert [(each.column, each.value) for each in slices if each.verdict == "fail"] == [("column/device", "bad")]
    assert (slices[0].value, slices[0].clips, slices[0].groups) == ("bad", 100, 10)
    tested = slices[0].scores[model(0.9).tested]
    assert tested.low < tested.value < min(tested.high, slices[0].limit)
    assert {each.column for each in slices} == {"duration_seconds", "column/device", "column/person"}
    assert sum(each.clips for each in slices if each.column == "duration_seconds") == len(GROUP)
    people = [each for each in slices if each.column == "column/person"]
    assert len(people) == MOST_VALUES + 1
    assert {each.value for each in people if each.verdict} == {"(others)"}
    assert np.isnan([each.limit for each in slices[-MOST_VALUES:]]).all()
    table = slices_table(slices, model(0.9).names)
    assert table["verdict"].value_counts().to_dict() == {
        "": MOST_VALUES,
        "pass": len(slices) - MOST_VALUES - 1,
        "fail": 1,
    }


def test_clips_that_do_not_differ_give_an_empty_table_with_its_columns():
    model = answers(0.8)
    table = slices_table(score_slices(pd.DataFrame({"rms_db": [-20.0] * len(GROUP)}), model, seed=0), model.names)
    assert len(table) == 0
    assert {"column", "value", "f1_macro", "accuracy_low", "verdict"} < set(table.columns)


def test_ten_thousand_random_slices_fail_as_often_as_is_promised():
    """Groups differ in difficulty, so the limits must know how many groups a slice has and not only how many clips."""
    rng = np.random.default_rng(3)
    model = answers(of_groups(rng.uniform(0.4, 1, GROUPS)))
    parts = model.parts()

    def whole_groups():
        return np.isin(GROUP, rng.choice(GROUPS, 8, replace=False))

    def two_of_each():
        return np.argsort(np.argsort(GROUP + rng.random(len(GROUP)))) % CLIPS_PER_GROUP < 2

    kinds = [whole_groups, two_of_each]
    assert [each().sum() for each in kinds] == [80, 80]
    chance = RandomSlices(model, 0)
    drawn = np.stack([chance.scores(np.full(8, 10) if each is whole_groups else np.full(40, 2)) for each in kinds * 10])
    assert drawn[::2].std() > 1.5 * drawn[1::2].std()
    families = [np.array([each() for each in kinds * 10], float) @ parts for _ in range(500)]
    scores = model.score_sums(np.stack(families))  # (families, slices)
    alone = np.stack([lowest_by_chance(each[None])[2] for each in drawn])[:, 0]
    assert (scores < alone).mean() == pytest.approx(ERROR_RATE, abs=0.007)
    together = lowest_by_chance(drawn)[2]
    # The limits come from 1,000 simulations, so their rate is between 2.5 % and 4.3 %, depending on the seed.
    assert ERROR_RATE / 2 < (scores < together).any(axis=1).mean() < ERROR_RATE * 2
