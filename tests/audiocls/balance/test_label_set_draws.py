from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from audiocls.balance.label_set_draws import LabelSetSampler, draw_expected, expected_draws
from audiocls.errors import BalanceError
from audiocls.params import Oversample, Progressive, SquareRoot

SETS = [["a"]] * 60 + [["a", "b"]] * 20 + [["b", "c"]] * 5 + [[]] * 15
METHODS = [
    Oversample(method="oversample"),
    Oversample(method="oversample", ratio=0.5),
    SquareRoot(method="square_root"),
    Progressive(method="progressive"),
]


def test_oversampling_repeats_a_clip_as_its_rarest_label_needs():
    expected = expected_draws(SETS, METHODS[0])
    assert expected[0] == 1  # a has 80 clips
    assert expected[60] == 80 / 25
    assert expected[80] == 80 / 5
    assert expected[-1] == 1  # without a label


def test_square_root_draws_classes_and_none_by_the_root_of_their_count():
    expected = expected_draws(SETS, METHODS[2])
    roots = {name: count**0.5 for name, count in {"a": 80, "b": 25, "c": 5, "": 15}.items()}
    weights = [sum(roots[label] / n for label, n in of) for of in ([("a", 80)], [("b", 25), ("c", 5)], [("", 15)])]
    assert expected[0] / expected[-1] == pytest.approx(weights[0] / weights[2])
    assert expected[80] / expected[0] == pytest.approx(weights[1] / weights[0])
    assert expected.sum() == pytest.approx(len(SETS))


def test_progressive_begins_with_every_clip_about_once_and_ends_with_equal_classes():
    begin, end = (expected_draws(SETS, METHODS[3], progress) for progress in (0.0, 1.0))
    assert begin[0] == pytest.approx(begin[-1])  # one label, or none
    shares = {name: sum(e / max(len(s), 1) for e, s in zip(end, SETS, strict=True) if name in s) for name in "abc"}
    assert end[80] > 5 * end[0]
    assert shares["c"] > 10 * 5 / len(SETS)


@settings(max_examples=50, deadline=None)
@given(
    expected=st.lists(st.floats(0.05, 6.0), min_size=1, max_size=40),
    seed=st.integers(0, 2**16),
)
def test_each_clip_is_drawn_its_expected_number_of_times_rounded(expected, seed):
    wanted = np.array(expected)
    drawn = draw_expected(wanted, np.random.default_rng(seed))
    assert len(drawn) == round(float(wanted.sum()))
    scaled = wanted * round(float(wanted.sum())) / wanted.sum()
    times = np.bincount(drawn, minlength=len(wanted))
    assert (np.abs(times - scaled) < 1 + 1e-6).all()


def test_draws_are_unbiased():
    expected = np.array([0.25, 1.0, 1.75, 2.0])
    rng = np.random.default_rng(0)
    times = np.mean([np.bincount(draw_expected(expected, rng), minlength=4) for _ in range(4_000)], axis=0)
    np.testing.assert_allclose(times, expected, atol=0.03)


@pytest.mark.parametrize("params", METHODS, ids=lambda params: params.method)
def test_an_epoch_keeps_clips_without_labels_and_is_the_same_for_a_seed(params):
    sampler = LabelSetSampler(SETS, params, 3, epochs=4, max_clips=None)
    for epoch in range(4):
        sampler.set_epoch(epoch)
        drawn = list(sampler)
        assert len(drawn) == len(sampler)
        assert drawn == list(sampler)
        clips = Counter(row % len(SETS) for row in drawn)
        assert sum(count for row, count in clips.items() if not SETS[row]) >= 5
    # A copy of a clip has a number of its own, so that it may be cut and augmented differently.
    assert len(set(drawn)) == len(drawn)


def test_no_labels_at_all_are_told():
    with pytest.raises(BalanceError, match="no training clip has a label"):
        expected_draws([[], []], METHODS[2])
