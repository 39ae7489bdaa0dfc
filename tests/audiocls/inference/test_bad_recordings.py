"""What cannot be used gets the same reason, whatever is asked about it."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile
from bad_recordings import REASONS, lock, write_bad_recordings
from tiny_classifiers import save_classifier

from audiocls.decoding.reading import UnusableClipError
from audiocls.inference.classifier import Classifier


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    return Classifier.load(save_classifier(tmp_path_factory.mktemp("model")))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bad")
    write_bad_recordings(folder)
    return folder


@pytest.fixture(autouse=True)
def locked(monkeypatch):
    lock(monkeypatch)


@pytest.mark.parametrize("name", REASONS)
def test_each_has_its_reason_alone_in_a_list_and_by_parts(name, folder, classifier):
    path, reason = folder / name, REASONS[name]
    (listed, whole) = classifier.predict([path, folder / "channels_8.wav"])
    assert listed.reason == reason
    assert whole.label is not None
    for ask in (classifier.predict, classifier.segments, classifier.windows, classifier.embed):
        if reason is None:
            assert ask(path) is not None
            continue
        with pytest.raises(UnusableClipError) as caught:
            ask(path)
        assert caught.value.reason == reason
        assert str(path) in str(caught.value)
        assert str(listed.detail) in str(caught.value)


@pytest.mark.parametrize("name", ["rate_192000.wav", "channels_8.wav"])
def test_a_stream_takes_what_a_file_can_have(name, folder, classifier):
    samples, rate_hz = soundfile.read(folder / name, dtype="float32")
    stream = classifier.stream(rate_hz)
    found = []
    for block in np.array_split(samples, 7):
        found += [*stream.add(block), *stream.add(block[:0])]  # a block may be empty
    found += stream.finish()
    expected = classifier.windows((samples, rate_hz))
    assert len(expected.starts) > 2
    rows = [[each.probabilities[label] for label in classifier.labels] for each in found]
    np.testing.assert_allclose(rows, expected.probabilities, atol=1e-6)


@pytest.mark.parametrize("hop_seconds", [0, -0.1, 1e-9, 0.5])
def test_a_hop_that_would_leave_samples_out_is_refused(hop_seconds, folder, classifier):
    for ask in (classifier.windows, classifier.segments):
        with pytest.raises(ValueError, match="must be from 1 to the window's 6400"):
            ask(folder / "channels_8.wav", hop_seconds=hop_seconds)
