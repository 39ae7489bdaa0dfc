from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from transformers import EvalPrediction

from audiocls.batches.windows import WindowAverager, average_windows
from audiocls.metrics.clip_scores import CLIP_LOSS, ClipScores, ValidationScores


def batches_of(logits: np.ndarray, sizes: list[int]) -> list[np.ndarray]:
    """The rows in batches of these sizes, over and over."""
    ends = np.cumsum(np.resize(sizes, len(logits)))
    return np.split(logits, ends[ends < len(logits)])


@settings(max_examples=40)
@given(
    counts=st.lists(st.integers(1, 6), min_size=1, max_size=8),
    sizes=st.lists(st.integers(1, 5), min_size=1, max_size=4),
    seed=st.integers(0, 99),
)
def test_wherever_batches_end_the_clips_are_the_same_to_the_bit(counts, sizes, seed):
    logits = np.random.default_rng(seed).normal(0, 20, (sum(counts), 3)).astype(np.float32)
    clip = np.repeat(np.arange(len(counts)), counts)
    averager = WindowAverager(clip)
    parts = [averager.add(batch) for batch in batches_of(logits, sizes)]
    assert np.array_equal(np.concatenate(parts), average_windows(logits, clip))


def test_scores_are_those_of_all_logits_at_once():
    rng = np.random.default_rng(1)
    clip = np.repeat(np.arange(30), rng.integers(1, 5, 30))
    targets = rng.integers(0, 4, 30)
    logits = rng.normal(0, 3, (len(clip), 4)).astype(np.float32)
    averaged = average_windows(logits, clip)
    loss = torch.nn.functional.cross_entropy(torch.from_numpy(averaged), torch.from_numpy(targets)).item()
    scores = ValidationScores(clip, targets)
    batches = batches_of(logits, [7])
    for _ in range(2):  # an evaluation leaves nothing behind for the next one
        for batch in batches[:-1]:
            assert scores(EvalPrediction(torch.from_numpy(batch), None), compute_result=False) == {}
        metrics = scores(EvalPrediction(torch.from_numpy(batches[-1]), None), compute_result=True)
        assert metrics["accuracy"] == pytest.approx((averaged.argmax(axis=1) == targets).mean())
        assert metrics[CLIP_LOSS] == pytest.approx(loss, rel=1e-6)


def test_memory_does_not_grow_with_the_logits():
    windows, classes = 6_000, 200
    clip = np.repeat(np.arange(windows // 4), 4)
    scores = ClipScores(clip, np.zeros(len(clip) // 4, np.int64))
    batch = np.random.default_rng(1).normal(size=(50, classes)).astype(np.float32)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for _ in range(windows // len(batch)):
        scores.add(batch)
    most = tracemalloc.get_traced_memory()[1] - before
    tracemalloc.stop()
    assert most < windows * classes * 4 / 10
    assert scores.metrics()["loss"] > 0
