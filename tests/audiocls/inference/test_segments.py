from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from audiocls.errors import ParamsError
from audiocls.inference.classifier import Classifier
from audiocls.inference.segments import Segment, SegmentParams, WindowScores, find_segments, spread, tune_segments
from audiocls.models.inference_settings import InferenceSettings
from audiocls.params.run import AudioParams

RATE_HZ = 1_000
LABELS = ["quiet", "loud"]


def scores_of(loud: list[float], hop: int = 100, length: int = 100) -> WindowScores:
    """Windows that follow one another, with the probability of `loud` in each."""
    starts = np.arange(len(loud)) * hop
    rows = np.column_stack([1 - np.array(loud), loud])
    return WindowScores(starts, np.full(len(loud), length), rows, int(starts[-1]) + length)


def loud_segments(loud: list[float], **params) -> list[tuple[float, float]]:
    found = find_segments(scores_of(loud), LABELS, SegmentParams(**params), 100, RATE_HZ, ignore=["quiet"])
    assert {segment.label for segment in found} <= {"loud"}
    return [(segment.start_seconds, segment.end_seconds) for segment in found]


def test_a_segment_starts_at_on_and_lasts_until_off():
    loud = [0.1, 0.4, 0.9, 0.4, 0.4, 0.1, 0.4, 0.1]
    assert loud_segments(loud, on=0.8, off=0.3) == [(0.1, 0.5)]
    assert loud_segments(loud, on=0.8, off=0.8) == [(0.2, pytest.approx(0.3))]
    assert loud_segments(loud, on=0.4, off=0.4) == [(0.1, 0.5), (pytest.approx(0.6), pytest.approx(0.7))]


def test_short_ones_are_dropped_and_near_ones_merged():
    loud = [0.9, 0.9, 0.1, 0.9, 0.1, 0.1, 0.1, 0.9]
    assert loud_segments(loud, merge_seconds=0.1) == [(0.0, 0.4), (pytest.approx(0.7), pytest.approx(0.8))]
    assert loud_segments(loud, min_seconds=0.2) == [(0.0, 0.2)]
    assert loud_segments(loud, merge_seconds=0.3) == [(0.0, pytest.approx(0.8))]


def test_a_median_takes_out_what_is_shorter_than_half_of_it():
    assert loud_segments([0.1, 0.9, 0.1, 0.1, 0.9, 0.9, 0.9, 0.1], smoothing_seconds=0.3) == [(0.4, pytest.approx(0.7))]


def test_probabilities_are_the_mean_of_a_segment():
    (found,) = find_segments(scores_of([0.6, 1.0]), LABELS, SegmentParams(), 100, RATE_HZ, ignore=["quiet"])
    assert found == Segment("loud", 0.0, 0.2, pytest.approx(0.8))


@settings(max_examples=100, deadline=None)
@given(
    num_samples=st.integers(1, 900),
    length=st.integers(20, 200),
    overlap=st.sampled_from([1, 2, 4]),
    seed=st.integers(0, 99),
)
def test_frames_have_the_mean_of_the_windows_over_their_middle(num_samples, length, overlap, seed):
    hop = max(1, length // overlap)
    last = num_samples - length
    starts = np.array([0] if last <= 0 else sorted({*range(0, last + 1, hop), last}))
    lengths = np.minimum(length, num_samples - starts)
    rows = np.random.default_rng(seed).random((len(starts), 2))
    frames = spread(WindowScores(starts, lengths, rows, num_samples), hop)
    assert len(frames) == -(-num_samples // hop)
    for k, frame in enumerate(frames):
        middle = min(k * hop + hop / 2, num_samples - 0.5)
        over = (starts <= middle) & (middle < starts + lengths)
        np.testing.assert_allclose(frame, rows[over].mean(axis=0), atol=1e-9)


@pytest.mark.parametrize(
    "params",
    [{"on": 0.5, "off": 0.6}, {"off": 0.0}, {"on": 1.1}, {"min_seconds": -1}, {"merge_seconds": float("nan")}],
)
def test_impossible_params_are_refused(params):
    with pytest.raises(ParamsError, match="segments: "):
        SegmentParams(**params)


def test_params_come_back_from_the_settings_of_a_model():
    params = SegmentParams(0.7, 0.4, 0.5, 0.2, 0.3)
    assert SegmentParams.of(params.as_settings()) == params
    with pytest.raises(ParamsError, match="smooth: unknown; use merge_seconds, min_seconds, off, on"):
        SegmentParams.of({"smooth": 1})


def test_tuned_thresholds_find_what_the_defaults_do_not():
    rng = np.random.default_rng(3)
    recordings = []
    for _ in range(6):
        loud = np.full(60, 0.25) + rng.normal(0, 0.02, 60)
        true = []
        for first in (7, 25, 48):
            loud[first : first + 6] = 0.45 + rng.normal(0, 0.02, 6)
            true.append(Segment("loud", first / 10, (first + 6) / 10, 1.0))
        recordings.append((scores_of(loud.tolist()), true))
    tried = []
    params, f1 = tune_segments(
        recordings, LABELS, 100, RATE_HZ, ignore=["quiet"], on_progress=lambda each, score: tried.append((each, score))
    )
    untuned = dict(tried)[SegmentParams(0.5, 0.5 * 0.7)]
    assert f1 == max(score for _, score in tried) == 1.0
    assert untuned < 0.5
    assert params.on < 0.5


class Loudness:
    def logits(self, windows):
        return np.array([[0.0, 200 * (np.abs(window).mean() - 0.05)] for window in windows], np.float32)


def test_a_long_recording_has_its_sounds_where_they_are():
    audio = AudioParams(max_seconds=0.4)
    classifier = Classifier(Loudness(), InferenceSettings(audio=audio, labels=LABELS))
    signal = np.random.default_rng(0).normal(0, 0.003, 44_100 * 20).astype(np.float32)
    true = [(3.0, 5.0), (9.5, 10.5), (15.0, 19.0)]
    for start, end in true:
        signal[round(start * 44_100) : round(end * 44_100)] *= 60
    found = classifier.segments((signal, 44_100), hop_seconds=0.1, ignore=["quiet"])
    assert [segment.label for segment in found] == ["loud"] * 3
    for segment, (start, end) in zip(found, true, strict=True):
        assert segment.start_seconds == pytest.approx(start, abs=0.25)
        assert segment.end_seconds == pytest.approx(end, abs=0.25)
