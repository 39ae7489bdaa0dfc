"""A stream gives the samples that decoding the whole file gives, and the same reasons where it cannot be used."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings, strategies as st

from audiocls.decoding import stream
from audiocls.decoding.reading import UnusableClipError
from audiocls.decoding.recording import decode
from audiocls.decoding.stream import MonoStream, stream_bytes, stream_file, to_mono
from audiocls.params.run import AudioParams

AUDIO = AudioParams()
FORMATS = [
    ("WAV", "PCM_16"),
    ("WAV", "PCM_24"),
    ("WAV", "FLOAT"),
    ("WAV", "ULAW"),
    ("AIFF", "PCM_16"),
    ("AU", "PCM_16"),
    ("W64", "PCM_16"),
    ("FLAC", "PCM_16"),
    ("OGG", "VORBIS"),
    ("MP3", "MPEG_LAYER_III"),
]


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(stream, "BLOCK_FRAMES", 4_096)


def noise(frames: int, channels: int = 2, peak: float = 0.3) -> np.ndarray:
    return np.random.default_rng(frames).uniform(-peak, peak, (frames, channels)).astype(np.float32)


def write(path: Path, container: str, subtype: str, rate_hz: int = 44_100, seconds: float = 1.3) -> Path:
    soundfile.write(path, noise(round(rate_hz * seconds)), rate_hz, format=container, subtype=subtype)
    return path


def whole(content: bytes, audio: AudioParams = AUDIO) -> np.ndarray:
    recording = decode(content, audio)
    return recording.samples.astype(np.float32) * np.float32(recording.scale / 32_768)


def refusal(call) -> tuple[str, str]:
    with pytest.raises(UnusableClipError) as caught:
        call()
    return caught.value.reason, caught.value.detail


@pytest.mark.parametrize(("container", "subtype"), FORMATS)
@pytest.mark.parametrize("rate_hz", [16_000, 44_100])
def test_samples_are_those_of_the_whole_file(container, subtype, rate_hz, tmp_path):
    path = write(tmp_path / "file", container, subtype, rate_hz)
    expected = whole(path.read_bytes())
    for found in (stream_file(path, AUDIO), stream_bytes(path.read_bytes(), AUDIO)):
        assert np.array_equal(np.concatenate([*found]), expected)


@settings(max_examples=40, deadline=None)
@given(
    frames=st.integers(2_000, 30_000),
    rate_hz=st.sampled_from([8_000, 16_000, 22_050, 44_100, 48_000, 192_000]),
    sizes=st.lists(st.integers(0, 9_000), min_size=1, max_size=30),
)
def test_blocks_leave_no_seam(frames, rate_hz, sizes):
    signal = noise(frames, 1)
    mono = MonoStream(rate_hz, AUDIO.model_copy(update={"min_seconds": 0.0}))
    at, found = 0, []
    for size in [*sizes, frames]:
        found.append(mono.add(signal[at : at + size]))
        at = min(frames, at + size)
    found.append(mono.finish())
    expected = np.concatenate([*to_mono([(rate_hz, signal)], AUDIO.model_copy(update={"min_seconds": 0.0}))])
    np.testing.assert_array_equal(np.concatenate(found), expected)


def test_a_wav_is_not_read_as_a_whole(tmp_path, monkeypatch):
    path = write(tmp_path / "long.wav", "WAV", "PCM_16", seconds=4)
    monkeypatch.setattr(Path, "read_bytes", lambda self: pytest.fail("the whole file was read"))
    assert sum(map(len, stream_file(path, AUDIO))) == 64_000


@pytest.mark.parametrize(("container", "subtype"), [("WAV", "PCM_16"), ("FLAC", "PCM_16"), ("OGG", "VORBIS")])
def test_a_cut_file_is_truncated_as_in_decoding(container, subtype, tmp_path):
    path = write(tmp_path / "cut", container, subtype)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3])
    reason, detail = refusal(lambda: [*stream_file(path, AUDIO)])
    assert (reason, detail) == refusal(lambda: decode(path.read_bytes(), AUDIO))
    assert reason == "truncated"


@pytest.mark.parametrize(("container", "subtype"), [("WAV", "PCM_16"), ("FLAC", "PCM_16"), ("MP3", "MPEG_LAYER_III")])
def test_joined_files_are_streamed_to_the_end_of_the_last(container, subtype, tmp_path):
    one = write(tmp_path / "one", container, subtype, seconds=2.1).read_bytes()
    (tmp_path / "joined").write_bytes(one + one)
    found = np.concatenate([*stream_file(tmp_path / "joined", AUDIO)])
    np.testing.assert_array_equal(found, whole(one + one))
    assert len(found) > 1.9 * len(whole(one))


@pytest.mark.parametrize(
    ("samples", "reason"),
    [
        (np.zeros((16_000, 1)), "silent"),
        (noise(100, 1), "too_short"),
        (np.where(np.arange(16_000) == 9_000, np.nan, 0.1)[:, None], "non_finite"),
    ],
    ids=["silent", "short", "nan"],
)
def test_what_cannot_be_used_has_the_reason_of_decoding(samples, reason, tmp_path):
    soundfile.write(tmp_path / "bad.wav", samples, 16_000, subtype="FLOAT")
    assert refusal(lambda: [*stream_file(tmp_path / "bad.wav", AUDIO)])[0] == reason
    assert refusal(lambda: decode((tmp_path / "bad.wav").read_bytes(), AUDIO))[0] == reason


@pytest.mark.parametrize("content", [b"", b"no audio at all" * 50], ids=["empty", "text"])
def test_what_is_no_audio_has_the_reason_of_decoding(content, tmp_path):
    (tmp_path / "bad").write_bytes(content)
    found = refusal(lambda: [*stream_file(tmp_path / "bad", AUDIO)])
    assert found == refusal(lambda: decode(content, AUDIO))
    assert found[0] == ("unreadable" if content else "empty")


@pytest.mark.parametrize("rate_hz", [0, -1, 10_000_000])
def test_a_rate_that_is_none_is_refused(rate_hz):
    assert refusal(lambda: [*to_mono([(rate_hz, noise(100))], AUDIO)])[0] == "unreadable"
