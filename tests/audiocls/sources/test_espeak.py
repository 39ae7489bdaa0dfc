from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from audiocls.errors import DataError, MissingExtraError
from audiocls.sources.espeak import Espeak, Prosody

PLAIN = Prosody(words_per_minute=175, pitch=50, pitch_range=50)


@pytest.fixture
def espeak():
    pytest.importorskip("espeakng_loader", reason="espeak-ng is in an extra: pip install 'audiocls[sample]'")
    with Espeak() as opened:
        yield opened


def say(espeak, text="seven", accent="en-us", variant="m3", prosody=PLAIN, noise_seed=1):
    return espeak.speak(text, accent, variant, prosody, noise_seed)


def fundamental_hz(waveform, rate_hz):
    """Median over loud frames of the autocorrelation's peak between 60 and 400 Hz."""
    frames = np.lib.stride_tricks.sliding_window_view(waveform, 1024)[::256] * np.hanning(1024)
    energies = np.square(frames).sum(axis=1)
    spectra = np.abs(np.fft.rfft(frames[energies > energies.max() / 4], 4096)) ** 2
    correlations = np.fft.irfft(spectra)[:, rate_hz // 400 : rate_hz // 60]
    return np.median(rate_hz / (rate_hz // 400 + correlations.argmax(axis=1)))


def test_a_word_is_heard_at_22050_hz_and_lasts_about_half_a_second(espeak):
    waveform = say(espeak)
    assert espeak.sample_rate_hz == 22_050
    assert waveform.dtype == np.float32
    assert 0.3 < waveform.size / espeak.sample_rate_hz < 0.8
    assert 0.05 < np.abs(waveform).max() < 1.0


def test_a_higher_pitch_raises_the_fundamental(espeak):
    low, high = (
        fundamental_hz(say(espeak, prosody=Prosody(175, pitch, 50)), espeak.sample_rate_hz) for pitch in (30, 70)
    )
    assert 60 < low < high < 300
    assert high / low > 1.3


def test_more_words_a_minute_are_shorter_words(espeak):
    assert say(espeak, prosody=Prosody(200, 50, 50)).size < say(espeak, prosody=Prosody(140, 50, 50)).size


def test_accents_and_variants_change_the_sound(espeak):
    spoken = [
        say(espeak, accent=accent, variant=variant)
        for accent in ("en-us", "en-gb-scotland")
        for variant in ("f3", "m7")
    ]
    assert len({waveform.tobytes() for waveform in spoken}) == 4


@pytest.mark.parametrize("variant", ["m3", "f3", "klatt3"])  # flutter alone, with breath noise, the other synthesiser
def test_each_copy_speaks_the_same_samples_whatever_other_copies_spoke(espeak, variant):
    first = [say(espeak, word, variant=variant) for word in ("six", "one")]
    with Espeak() as fresh:
        say(espeak, "eight")
        again_six = say(fresh, "six", variant=variant)
        say(espeak, "two", "en-029", "f5")
        again_one = say(fresh, "one", variant=variant)
    np.testing.assert_array_equal(first[0], again_six)
    np.testing.assert_array_equal(first[1], again_one)


@pytest.mark.parametrize(("accent", "variant"), [("en-us", "nobody"), ("xx", "f3")])
def test_an_unknown_voice_is_an_error_and_not_the_default_voice(espeak, accent, variant):
    with pytest.raises(MissingExtraError, match=rf"no voice {accent}\+{variant}"):
        say(espeak, accent=accent, variant=variant)


@pytest.mark.parametrize("text", ["", " "])
def test_text_without_words_is_an_error_and_not_silence(espeak, text):
    with pytest.raises(DataError, match="nothing to speak"):
        say(espeak, text)


def test_without_the_extra_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)  # what Python finds where the wheel is missing
    with pytest.raises(MissingExtraError, match=r"GPL.*pip install 'audiocls\[sample\]'"):
        Espeak()


def test_opening_leaves_no_file_behind(espeak, tmp_path, monkeypatch):
    if sys.platform == "win32":
        pytest.skip("Windows locks the file of a loaded library")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with Espeak() as other:
        assert say(other).size > 0
    assert list(Path(tmp_path).iterdir()) == []
