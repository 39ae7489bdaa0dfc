from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from audiocls.batches.windows import place_windows
from audiocls.inference.windows import WindowCutter
from audiocls.params.run import AudioParams


@settings(max_examples=200, deadline=None)
@given(
    num_samples=st.integers(1, 700),
    length=st.integers(1, 90),
    hop=st.integers(1, 90),
    sizes=st.lists(st.integers(0, 200), max_size=20),
)
def test_windows_are_the_same_whatever_the_blocks(num_samples, length, hop, sizes):
    hop = min(hop, length)
    signal = np.random.default_rng(num_samples).random(num_samples).astype(np.float32)
    cutter, at, found = WindowCutter(length, hop), 0, []
    for size in [*sizes, num_samples]:
        found += cutter.add(signal[at : at + size])
        at = min(num_samples, at + size)
    found += cutter.finish()
    last = num_samples - length
    expected = [0] if last <= 0 else sorted({*range(0, last + 1, hop), last})
    assert [window.first_sample for window in found] == expected
    for window in found:
        np.testing.assert_array_equal(window.samples, signal[window.first_sample :][:length])
    assert cutter.received == num_samples


@pytest.mark.parametrize("overlap", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("seconds", [0.3, 1.0, 1.01, 2.5, 7.77])
def test_they_are_those_that_evaluation_scores(overlap, seconds):
    audio = AudioParams(max_seconds=1.0, window_overlap=overlap)
    num_samples = round(seconds * audio.sample_rate_hz)
    placed = place_windows(np.array([num_samples]), audio)
    cutter = WindowCutter(16_000, max(1, round(16_000 * (1 - overlap))))
    found = [*cutter.add(np.zeros(num_samples, np.float32)), *cutter.finish()]
    assert [window.first_sample for window in found] == placed.start.tolist()
    assert [len(window.samples) for window in found] == placed.length.tolist()


@pytest.mark.parametrize("hop", [0, -1, 11])
def test_a_hop_that_would_leave_samples_out_is_refused(hop):
    with pytest.raises(ValueError, match="from 1 to the window's 10"):
        WindowCutter(10, hop)


def test_without_samples_there_is_no_window():
    cutter = WindowCutter(10, 5)
    assert [*cutter.add(np.zeros(0, np.float32)), *cutter.finish()] == []
