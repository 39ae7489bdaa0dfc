from __future__ import annotations

import io
import struct
from dataclasses import asdict

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings, strategies as st

from audiocls.decoding import reading
from audiocls.decoding.plain_wav import read_plain_wav
from audiocls.decoding.reading import UnusableClipError
from audiocls.decoding.recording import decode
from audiocls.params.run import AudioParams


def found_in(content):
    """All that `decode` says of the bytes: a recording's fields, or the reason and the detail."""
    try:
        found = asdict(decode(content, AudioParams(min_seconds=0.0)))
    except UnusableClipError as error:
        return error.reason, error.detail
    return found | {"samples": found["samples"].tobytes()}


def found_by_libsndfile(content):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reading, "read_plain_wav", lambda _: None)
        return found_in(content)


@pytest.mark.parametrize("channels", [1, 2, 5])
def test_samples_and_rate_are_those_of_libsndfile(encode, channels):
    signal = np.random.default_rng(0).normal(0, 0.3, (4_000, channels)).astype(np.float32)
    content = encode(signal, 22_254)
    samples, rate_hz = read_plain_wav(content)
    expected, expected_hz = soundfile.read(io.BytesIO(content), dtype="int16", always_2d=True)
    np.testing.assert_array_equal(samples, expected)
    assert rate_hz == expected_hz
    assert found_in(content) == found_by_libsndfile(content)


@pytest.mark.parametrize(
    ("container", "subtype"),
    [("WAV", "PCM_24"), ("WAV", "FLOAT"), ("WAV", "ULAW"), ("WAVEX", "PCM_16"), ("RF64", "PCM_16"), ("FLAC", "PCM_16")],
)
def test_any_other_file_is_left_to_libsndfile(tone, encode, container, subtype):
    assert read_plain_wav(encode(tone(440), 16_000, container, subtype)) is None


@pytest.mark.parametrize("size", [0, 3, 43, 44, 45, 1_000])
def test_a_file_that_is_shorter_than_its_header_says_is_left_to_libsndfile(tone, encode, size):
    assert read_plain_wav(encode(tone(440))[:size]) is None


@pytest.mark.parametrize(("channels", "rate_hz"), [(65, 8_000), (1_025, 8_000), (0, 8_000), (1, 0), (1, 800_000)])
def test_a_header_that_agrees_with_itself_and_is_absurd_is_refused_as_libsndfile_does(tone, encode, channels, rate_hz):
    content = encode(tone(440, 65 * 1_025 / 16_000))  # whole frames of as many channels
    content = (
        content[:22] + struct.pack("<HIIH", channels, rate_hz, 2 * channels * rate_hz, 2 * channels) + content[34:]
    )
    assert found_in(content)[0] == "unreadable"
    assert found_in(content) == found_by_libsndfile(content)


@settings(deadline=None, max_examples=100, derandomize=True)
@given(data=st.data())
def test_whatever_the_header_says_the_outcome_is_that_of_libsndfile(encode, tone, data):
    content = bytearray(encode(tone(440, 0.02), 8_000))
    for _ in range(data.draw(st.integers(0, 2))):
        value = data.draw(st.sampled_from([0, 1, 2, 3, 16, 255]) | st.integers(0, 255))
        content[data.draw(st.integers(0, 43))] = value
    assert found_in(bytes(content)) == found_by_libsndfile(bytes(content))
