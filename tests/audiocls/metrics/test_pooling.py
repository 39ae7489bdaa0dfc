"""Windows are pooled alike one by one and in batches."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

from audiocls.metrics.pooling import Pooler, WindowPooler, probabilities_of
from audiocls.params.evaluation import Pooling


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(get_args(Pooling)),
    st.lists(st.integers(1, 6), min_size=1, max_size=6),
    st.lists(st.integers(0, 5), min_size=1, max_size=4).filter(any),
    st.integers(0, 99),
)
def test_wherever_batches_end_clips_are_pooled_as_one_by_one(pooling, counts, sizes, seed):
    logits = np.random.default_rng(seed).normal(0, 5, (sum(counts), 3)).astype(np.float32)
    clip = np.repeat(np.arange(len(counts)), counts)
    pooler, parts, start = WindowPooler(clip, pooling), [], 0
    while start < len(logits):
        for size in sizes:
            parts.append(pooler.add(logits[start : start + size]))
            start += size
    found = np.concatenate(parts)
    assert np.array_equal(found, WindowPooler(clip, pooling).add(logits))
    for position in range(len(counts)):
        alone = Pooler(pooling)
        for row in probabilities_of(logits[clip == position]):
            alone.add(row)
        pooled = torch.softmax(torch.from_numpy(found[position]), dim=0)
        np.testing.assert_allclose(pooled, alone.result(), atol=1e-5)
        if counts[position] == 1:
            assert np.array_equal(found[position], logits[clip == position][0])


@pytest.mark.parametrize(
    ("pooling", "expected"),
    [
        ("mean", [0.66, 0.34]),
        ("max", [0.8 / 1.7, 0.9 / 1.7]),
        ("vote", [0.8, 0.2]),
    ],
)
def test_a_pooling_is_what_its_name_says(pooling, expected):
    pooler = Pooler(pooling)
    for row in ([0.8, 0.2], [0.8, 0.2], [0.8, 0.2], [0.8, 0.2], [0.1, 0.9]):
        pooler.add(np.array(row))
    np.testing.assert_allclose(pooler.result(), expected)


def test_attention_listens_to_the_windows_that_are_certain():
    pooler = Pooler("attention")
    for row in ([0.55, 0.45], [0.55, 0.45], [0.55, 0.45], [0.001, 0.999]):
        pooler.add(np.array(row))
    assert pooler.result()[1] > 0.9


def test_without_a_window_there_is_no_answer():
    with pytest.raises(ValueError, match="no window"):
        Pooler("mean").result()
