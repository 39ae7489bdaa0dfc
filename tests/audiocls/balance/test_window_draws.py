"""Windows are drawn file by file, by the seed and the epoch alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from audiocls.balance.draws import EpochSampler
from audiocls.balance.window_draws import WindowSampler
from audiocls.params.balance import Oversample, Undersample


def drawn(sampler: WindowSampler, epoch: int = 0) -> np.ndarray:
    sampler.set_epoch(epoch)
    indices = np.array(list(sampler))
    assert len(indices) == len(sampler)
    return indices


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=8), st.none() | st.integers(1, 10), st.integers(0, 3))
def test_each_file_gives_the_asked_number_of_different_windows(counts, per_epoch, seed):
    clip = np.repeat(np.arange(len(counts)), counts)
    windows = drawn(WindowSampler(clip, seed, per_epoch=per_epoch), epoch=seed)
    assert len(set(windows.tolist())) == len(windows)
    taken = np.minimum(counts, per_epoch or np.inf)
    assert np.array_equal(np.bincount(clip[windows], minlength=len(counts)), taken)


def test_epochs_and_seeds_draw_other_windows_and_the_same_ones_again():
    clip = np.repeat(np.arange(5), 40)
    sampler = WindowSampler(clip, 1, per_epoch=4)
    epochs = [drawn(sampler, epoch) for epoch in range(40)]
    assert np.array_equal(drawn(WindowSampler(clip, 1, per_epoch=4), 7), epochs[7])
    assert not np.array_equal(np.sort(epochs[0]), np.sort(epochs[1]))
    assert not np.array_equal(drawn(WindowSampler(clip, 2, per_epoch=4), 0), epochs[0])
    # 160 draws of each file's 40 windows leave 1.7 % of them out on average, where every window has the same chance.
    assert len(set(np.concatenate(epochs).tolist())) > 0.9 * len(clip)


def test_a_copy_of_a_file_takes_the_windows_that_its_original_left():
    labels = np.array(["rare"] + ["common"] * 4)
    clip = np.repeat(np.arange(5), 12)
    files = EpochSampler(labels, Oversample(method="oversample"), 3, epochs=1, max_clips=None)
    indices = drawn(WindowSampler(clip, 3, per_epoch=3, files=files))
    of_rare = indices[clip[indices % 60] == 0]
    assert len(set((of_rare % 60).tolist())) == 12  # 4 draws of the file, 3 windows each: all of it, each once
    assert np.array_equal(np.unique(of_rare // 60, return_counts=True), ([0, 1, 2, 3], [3, 3, 3, 3]))


@pytest.mark.parametrize("method", [Oversample(method="oversample"), Undersample(method="undersample")])
def test_epochs_have_one_length_where_files_have_windows_of_different_numbers(method):
    labels, counts = np.array(["a", "b", "b", "b", "c", "c"]), [7, 1, 5, 9, 2, 3]
    clip = np.repeat(np.arange(6), counts)
    files = EpochSampler(labels, method, 3, epochs=20, max_clips=None)
    sampler = WindowSampler(clip, 3, per_epoch=4, files=files)
    for epoch in range(20):
        indices = drawn(sampler, epoch)
        assert len(set(indices.tolist())) == len(indices)  # a repeated window is a copy with another index
