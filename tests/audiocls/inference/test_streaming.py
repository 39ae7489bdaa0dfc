from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from audiocls.batches.lengths import input_samples
from audiocls.decoding.reading import UnusableClipError
from audiocls.inference.classifier import Classifier
from audiocls.models.inference_settings import InferenceSettings
from audiocls.params.run import AudioParams

AUDIO = AudioParams(max_seconds=0.4)
RESAMPLER_SECONDS = 0.12  # what it holds back at most


class Loudness:
    """A model that says how loud the first and the last half of a window are, which no other window can share."""

    def logits(self, windows):
        halves = [(window[: len(window) // 2], window[len(window) // 2 :]) for window in windows]
        return np.array([[np.abs(first).sum(), np.abs(last).sum()] for first, last in halves], np.float32)


@pytest.fixture
def classifier():
    return Classifier(Loudness(), InferenceSettings(audio=AUDIO, labels=["first", "last"]))


def noise(frames: int, channels: int = 1) -> np.ndarray:
    return np.random.default_rng(frames).uniform(-0.3, 0.3, (frames, channels)).astype(np.float32)


@settings(max_examples=60, deadline=None)
@given(
    frames=st.integers(3_000, 60_000),
    rate_hz=st.sampled_from([8_000, 16_000, 44_100, 48_000]),
    hop_seconds=st.sampled_from([None, 0.1, 0.33, 0.4]),
    sizes=st.lists(st.integers(0, 9_000), max_size=30),
    channels=st.sampled_from([1, 2]),
)
def test_decisions_are_those_on_the_whole_recording(frames, rate_hz, hop_seconds, sizes, channels):
    classifier = Classifier(Loudness(), InferenceSettings(audio=AUDIO, labels=["first", "last"]))
    signal = noise(frames, channels)
    stream, at, found = classifier.stream(rate_hz, hop_seconds=hop_seconds), 0, []
    for size in [*sizes, frames]:
        found += stream.add(signal[at : at + size])
        at = min(frames, at + size)
        covered = max((decision.end_seconds for decision in found), default=0.0)
        # The resampler holds back some milliseconds, and so does a window that is not complete.
        waits = stream.hop_seconds if found else stream.latency_seconds
        assert stream.received_seconds - covered <= waits + RESAMPLER_SECONDS
    found += stream.finish()
    whole = classifier.windows((signal, rate_hz), hop_seconds=hop_seconds)
    starts = np.array([decision.start_seconds for decision in found]) * AUDIO.sample_rate_hz
    np.testing.assert_allclose(starts, whole.starts, atol=1e-6)
    rows = np.array([[decision.probabilities[label] for label in classifier.labels] for decision in found])
    np.testing.assert_array_equal(rows, whole.probabilities)
    # Nothing is dropped: from the first sample to the last, windows touch.
    assert found[0].start_seconds == 0
    assert found[-1].end_seconds == pytest.approx(whole.num_samples / AUDIO.sample_rate_hz)
    for one, following in pairwise(found):
        assert following.start_seconds <= one.end_seconds


def test_silence_and_blocks_without_samples_are_no_errors(classifier):
    stream = classifier.stream(16_000)
    assert stream.add(np.zeros(0, np.float32)) == []
    first = stream.add(np.zeros(input_samples(AUDIO), np.float32))
    assert [decision.probability for decision in first] == [0.5]
    assert stream.add(np.zeros((0, 1), np.float32)) == []
    assert stream.finish() == []


def test_a_bad_block_is_refused_and_the_stream_goes_on(classifier):
    clean, disturbed = classifier.stream(16_000), classifier.stream(16_000)
    signal = noise(20_000)
    expected = [*clean.add(signal[:9_000]), *clean.add(signal[9_000:]), *clean.finish()]
    found = disturbed.add(signal[:9_000])
    for bad, reason in (
        (np.full(100, np.nan, np.float32), "non_finite"),
        (np.array(["a"]), "unreadable"),
        (np.zeros((2, 2, 2), np.float32), "unreadable"),
        (np.zeros((5, 2), np.float32), "unreadable"),
    ):
        with pytest.raises(UnusableClipError) as caught:
            disturbed.add(bad)
        assert caught.value.reason == reason
    found += [*disturbed.add(signal[9_000:]), *disturbed.finish()]
    assert found == expected


@pytest.mark.parametrize("rate_hz", [0, -16_000, 10**7])
def test_a_rate_that_is_none_is_refused(rate_hz, classifier):
    with pytest.raises(UnusableClipError, match=f"the rate is {rate_hz} Hz"):
        classifier.stream(rate_hz)


def test_a_stream_of_nothing_says_so_and_ends_once(classifier):
    stream = classifier.stream(16_000)
    with pytest.raises(UnusableClipError, match="empty"):
        stream.finish()
    for call in (stream.finish, lambda: stream.add(noise(100))):
        with pytest.raises(RuntimeError, match="the stream is finished"):
            call()


def test_a_hop_longer_than_a_window_is_refused(classifier):
    with pytest.raises(ValueError, match="must be from 1 to the window's 6400"):
        classifier.stream(16_000, hop_seconds=0.5)
