"""A long file gives what decoding it as a whole gives."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import soundfile

from audiocls.decoding import stream
from audiocls.decoding.long_recording import decode_file
from audiocls.decoding.reading import UnusableClipError
from audiocls.decoding.recording import decode
from audiocls.params.run import AudioParams

AUDIO = AudioParams()
FORMATS = [
    ("WAV", "PCM_16"),
    ("WAV", "PCM_24"),
    ("WAV", "FLOAT"),
    ("AIFF", "PCM_16"),
    ("W64", "PCM_16"),
    ("FLAC", "PCM_16"),
    ("OGG", "VORBIS"),
    ("MP3", "MPEG_LAYER_III"),
]


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(stream, "BLOCK_FRAMES", 4_001)


def sound(channels: int, peak: float, rate_hz: int, seconds: float = 1.3) -> np.ndarray:
    """Noise that is loud, quiet and silent in turn, with an offset."""
    frames = round(seconds * rate_hz)
    signal = np.random.default_rng(frames).uniform(-peak, peak, (frames, channels))
    signal *= np.repeat([1.0, 1e-3, 0.0], -(-frames // 3))[:frames, None]
    return (signal + 0.01).astype(np.float32)


def assert_alike(path: Path) -> None:
    found, expected = asdict(decode_file(path, AUDIO)), asdict(decode(path.read_bytes(), AUDIO))
    assert np.array_equal(found.pop("samples"), expected.pop("samples"))
    assert found.pop("source_format") == expected.pop("source_format")
    assert found == pytest.approx(expected, rel=1e-5, abs=1e-7)


@pytest.mark.parametrize(("container", "subtype"), FORMATS)
@pytest.mark.parametrize("rate_hz", [16_000, 44_100])
@pytest.mark.parametrize("channels", [1, 2])
def test_all_that_is_known_of_a_recording_is_the_same(container, subtype, rate_hz, channels, tmp_path):
    soundfile.write(tmp_path / "file", sound(channels, 0.5, rate_hz), rate_hz, format=container, subtype=subtype)
    assert_alike(tmp_path / "file")


@pytest.mark.parametrize("peak", [0.98, 1.0, 1.7])
@pytest.mark.parametrize(("container", "subtype"), [("WAV", "FLOAT"), ("WAV", "PCM_16")])
def test_what_exceeds_full_scale_is_scaled_and_clipping_is_counted(peak, container, subtype, tmp_path):
    soundfile.write(tmp_path / "file", sound(2, peak, 44_100), 44_100, format=container, subtype=subtype)
    assert_alike(tmp_path / "file")


def test_files_that_were_joined_are_one_recording(tmp_path):
    parts = []
    for seconds in (0.9, 1.2):
        soundfile.write(tmp_path / "part", sound(1, 0.5, 16_000, seconds), 16_000, format="FLAC")
        parts.append((tmp_path / "part").read_bytes())
    (tmp_path / "joined").write_bytes(b"".join(parts))
    assert_alike(tmp_path / "joined")
    assert decode_file(tmp_path / "joined", AUDIO).duration_seconds == pytest.approx(2.1)


@pytest.mark.parametrize(
    ("signal", "audio", "reason"),
    [
        (np.zeros((0, 1)), AUDIO, "empty"),
        (sound(1, 0.5, 16_000, 0.02), AUDIO, "too_short"),
        (sound(1, 0.5, 16_000, 2.0), AudioParams(max_file_seconds=1.5), "too_long"),
        (np.full((16_000, 1), 1e-4), AUDIO, "silent"),
        (np.full((16_000, 1), 1e-6), AudioParams(silence_db=-150.0), "silent"),
        (np.full((16_000, 2), np.nan), AUDIO, "non_finite"),
    ],
)
def test_what_cannot_be_used_has_the_reason_of_decoding(signal, audio, reason, tmp_path):
    soundfile.write(tmp_path / "bad", signal, 16_000, format="WAV", subtype="FLOAT")
    for decoded in (
        lambda: decode_file(tmp_path / "bad", audio),
        lambda: decode((tmp_path / "bad").read_bytes(), audio),
    ):
        with pytest.raises(UnusableClipError) as caught:
            decoded()
        assert caught.value.reason == reason


def test_what_is_no_audio_or_cut_off_has_the_reason_of_decoding(tmp_path):
    (tmp_path / "text").write_text("no audio" * 99)
    soundfile.write(tmp_path / "whole", sound(1, 0.5, 16_000), 16_000, format="FLAC")
    content = (tmp_path / "whole").read_bytes()
    (tmp_path / "cut").write_bytes(content[: len(content) * 2 // 3])
    for name, reason in (("text", "unreadable"), ("cut", "truncated")):
        with pytest.raises(UnusableClipError) as caught:
            decode_file(tmp_path / name, AUDIO)
        assert caught.value.reason == reason
