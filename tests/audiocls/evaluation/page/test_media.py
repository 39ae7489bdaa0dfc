"""The sounds and pictures of the error browser."""

from __future__ import annotations

import base64
import io

import numpy as np
import pandas as pd
import pytest
import soundfile
from made_evaluations import RATE_HZ, SECONDS, make_evaluation
from PIL import Image

from audiocls.evaluation.page.errors import collect_errors
from audiocls.evaluation.page.media import Excerpts, draw_spectrogram, encode_mp3, telling_starts
from audiocls.evaluation.page.predictions import read_predictions


def tone(hz, rate_hz, seconds=1.0):
    return (0.5 * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate_hz)) / rate_hz)).astype(np.float32)


def pitch(samples, rate_hz):
    return np.abs(np.fft.rfft(samples)).argmax() * rate_hz / len(samples)


@pytest.mark.parametrize(
    ("rate_hz", "encoded_hz"), [(8_000, 8_000), (16_000, 16_000), (20_000, 22_050), (96_000, 48_000)]
)
def test_a_sound_keeps_pitch_and_length_at_any_rate(rate_hz, encoded_hz):
    content = encode_mp3(tone(440, rate_hz), rate_hz)
    samples, found_hz = soundfile.read(io.BytesIO(content))
    assert found_hz == encoded_hz
    assert len(samples) / found_hz == pytest.approx(1, abs=0.1)
    assert pitch(samples, found_hz) == pytest.approx(440, abs=2)
    assert len(content) < 12_000


def test_low_sounds_are_at_the_bottom_of_a_spectrogram():
    for hz, bright in ((200, slice(72, 96)), (7_000, slice(0, 24))):
        picture = Image.open(io.BytesIO(draw_spectrogram(tone(hz, RATE_HZ), RATE_HZ)))
        levels = np.asarray(picture.convert("L"), float).mean(axis=1)
        assert picture.format == "WEBP"
        assert levels[bright].max() == levels.max()


def test_an_excerpt_is_what_the_store_has_at_its_place(recorded):
    clips = pd.read_parquet(recorded.split_clips)
    longest = clips.loc[clips["num_samples"].idxmax(), "clip_id"]
    first, later = (Excerpts([longest], recorded, starts).cut(longest) for starts in ({}, {longest: 5.5}))
    assert (first.start_seconds, first.seconds, first.clip_seconds) == (0, 4, SECONDS[-1])
    assert (later.start_seconds, later.seconds) == (2, 4)  # not beyond the end
    heard = [soundfile.read(io.BytesIO(base64.b64decode(each.sound.split(",")[1])))[0] for each in (first, later)]
    # The chirp rises by 300 Hz a second.
    low, high = (pitch(samples[: RATE_HZ // 4], RATE_HZ) for samples in heard)
    assert high - low == pytest.approx(600, abs=60)
    assert Excerpts([longest, "nowhere"], recorded, {}).cut("nowhere") is None


def test_the_window_that_speaks_most_for_a_label_is_chosen(tmp_path):
    windows = pd.DataFrame({"clip_id": ["a", "a", "a", "b"], "start_seconds": [0.0, 1.0, 2.0, 3.0]})
    windows = windows.assign(**{"probability/dog": [0.1, 0.7, 0.2, 0.9]})
    windows.to_parquet(tmp_path / "windows.parquet")
    assert telling_starts(tmp_path / "windows.parquet", {"a": "dog", "c": "dog"}) == {"a": 1.0}
    assert telling_starts(tmp_path / "nowhere.parquet", {"a": "dog"}) == {}


def test_sounds_end_at_their_limit(recorded, tmp_path):
    evaluation, data = make_evaluation(tmp_path / "evaluation", recorded, ["one", "three", "two"], 300)
    predictions = read_predictions(evaluation.folder / "predictions.parquet")
    errors = collect_errors(predictions, [], None, data, evaluation.folder, most_media_bytes=60_000)
    sizes = [len(item.get("sound", "")) + len(item.get("picture", "")) for item in errors.items]
    assert 60_000 <= sum(sizes) < 90_000
    assert sizes[0] > 0 == sizes[-1]
