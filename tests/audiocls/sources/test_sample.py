from __future__ import annotations

import hashlib
import subprocess
import sys
from collections import Counter

import numpy as np
import pandas as pd
import pytest
import soundfile
from hypothesis import given, strategies as st

from audiocls.errors import MissingExtraError, ParamsError, StoreError
from audiocls.sources.espeak import Espeak, Prosody
from audiocls.sources.sample import (
    ACCENTS,
    DIGITS,
    SAMPLE_RATE_HZ,
    VARIANTS,
    add_echo,
    add_noise,
    build_sample_corpus,
    cast_takes,
    class_counts,
    draw_voices,
)

SMALL = {"voices": 12, "clips": 150, "imbalance_ratio": 10.0, "seed": 3}

BUILD = """
import sys
from pathlib import Path
from audiocls.sources.sample import build_sample_corpus
build_sample_corpus(Path(sys.argv[1]), voices=12, clips=int(sys.argv[2]), imbalance_ratio=10.0, seed=3)
"""


@pytest.fixture(scope="module")
def extra():
    return pytest.importorskip("espeakng_loader", reason="espeak-ng is in an extra: pip install 'audiocls[sample]'")


@pytest.fixture(scope="module")
def corpus(extra, tmp_path_factory):
    folder = tmp_path_factory.mktemp("sample") / "small"
    assert build_sample_corpus(folder, **SMALL) == folder / "manifest.csv"
    return folder


@pytest.fixture(scope="module")
def table(corpus):
    return pd.read_csv(corpus / "manifest.csv")


def digest(folder):
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    assert files
    hashed = hashlib.sha256()
    for path in files:
        hashed.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes())
    return hashed.hexdigest()


def noise_rng():
    return np.random.default_rng(5)


def tone():
    return np.sin(2 * np.pi * 440 * np.arange(SAMPLE_RATE_HZ) / SAMPLE_RATE_HZ).astype(np.float32) / 4


# The files


def test_every_clip_is_16_khz_mono_16_bits_and_about_a_word_long(corpus, table):
    for path in table["path"]:
        info = soundfile.info(corpus / path)
        assert (info.samplerate, info.channels, info.subtype) == (16_000, 1, "PCM_16")
        assert 0.3 < info.duration < 1.1


def test_every_clip_is_audible_and_none_is_clipped(corpus, table):
    for path in table["path"]:
        samples, _ = soundfile.read(corpus / path)
        assert -15.5 < 20 * np.log10(np.abs(samples).max()) < -0.9
        assert 20 * np.log10(np.sqrt(np.square(samples).mean())) > -45


def test_the_manifest_lists_every_file_once_in_sorted_order(corpus, table):
    assert list(table.columns) == ["path", "label", "group"]
    assert table["path"].tolist() == sorted(path.relative_to(corpus).as_posix() for path in corpus.rglob("*.wav"))
    assert all(path.startswith(f"clips/{label}/{group}-") for path, label, group in table.itertuples(index=False))


def test_no_two_clips_are_copies(corpus, table):
    assert len({(corpus / path).read_bytes() for path in table["path"]}) == SMALL["clips"]


def test_clips_are_long_tailed_by_label_and_even_by_voice(table):
    assert table["label"].value_counts().reindex(DIGITS).to_dict() == class_counts(SMALL["clips"], 10.0)
    voices = table["group"].value_counts()
    assert len(voices) == SMALL["voices"]
    assert voices.max() - voices.min() <= 1


# The same bytes


def test_the_same_settings_give_the_same_bytes_in_this_process_and_in_another(corpus, tmp_path):
    build_sample_corpus(tmp_path / "again", **SMALL)
    subprocess.run([sys.executable, "-c", BUILD, tmp_path / "other", str(SMALL["clips"])], check=True)
    assert digest(corpus) == digest(tmp_path / "again") == digest(tmp_path / "other")


def test_another_seed_speaks_other_clips(corpus, tmp_path):
    build_sample_corpus(tmp_path / "other", **SMALL | {"seed": 4})
    clips, others = ({path.read_bytes() for path in folder.rglob("*.wav")} for folder in (corpus, tmp_path / "other"))
    assert len(others) == SMALL["clips"]
    assert not clips & others


# The folder


def test_a_finished_corpus_is_not_spoken_again(corpus):
    before = {path: path.stat().st_mtime_ns for path in corpus.rglob("*")}
    build_sample_corpus(corpus, **SMALL)
    assert {path: path.stat().st_mtime_ns for path in corpus.rglob("*")} == before


def test_a_finished_corpus_is_found_without_the_extra(corpus, monkeypatch):
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    assert build_sample_corpus(corpus, **SMALL).is_file()


def test_other_settings_in_one_folder_are_an_error_that_names_both(corpus):
    with pytest.raises(StoreError, match=r"'seed': 3.*'seed': 4"):
        build_sample_corpus(corpus, **SMALL | {"seed": 4})


@pytest.mark.parametrize("content", [None, "{", "[]"])
def test_a_folder_that_is_no_corpus_is_left_alone(tmp_path, content):
    (tmp_path / "thesis.txt").write_text("mine")
    if content is not None:
        (tmp_path / "settings.json").write_text(content)
    with pytest.raises(StoreError, match="Delete it or use another folder"):
        build_sample_corpus(tmp_path, **SMALL)
    assert (tmp_path / "thesis.txt").read_text() == "mine"


def test_a_killed_build_leaves_nothing_that_looks_finished(extra, corpus, tmp_path):
    target = tmp_path / "corpus"
    with subprocess.Popen([sys.executable, "-c", BUILD, target, "100000"]) as process:
        while process.poll() is None and not any(tmp_path.rglob("*.wav")):
            pass
        process.kill()
    assert any(tmp_path.rglob("*.wav"))
    assert not target.exists()
    build_sample_corpus(target, **SMALL)
    assert digest(target) == digest(corpus)


def test_a_failed_build_leaves_nothing_at_all(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    with pytest.raises(MissingExtraError):
        build_sample_corpus(tmp_path / "corpus", **SMALL)
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_a_store_error(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError, match="cannot be written"):
        build_sample_corpus(tmp_path / "file" / "corpus", **SMALL)


# Who says what


@given(clips=st.integers(300, 20_000), ratio=st.floats(1, 20))
def test_counts_fall_exponentially_from_first_to_last_and_add_up(clips, ratio):
    counts = np.array(list(class_counts(clips, ratio).values()))
    assert counts.sum() == clips
    assert (np.diff(counts) <= 0).all()
    exact = counts[0] * ratio ** -np.linspace(0, 1, 10)
    assert np.abs(counts - exact).max() < 2


def test_the_default_corpus_is_as_long_tailed_as_asked():
    counts = class_counts(1_800, 10.0)
    assert counts["five"] / counts["nine"] == pytest.approx(10, rel=0.02)


def test_too_few_clips_for_three_splits_are_an_error():
    with pytest.raises(ParamsError, match=r"leaves 1 clip of 'nine'"):
        class_counts(40, 10.0)


def test_every_voice_says_every_class_that_is_large_enough_and_rare_ones_once_at_most():
    counts = class_counts(1_800, 10.0)
    said = Counter((take.label, take.voice.name) for take in cast_takes(draw_voices(72, 1), counts, seed=1))
    for label, count in counts.items():
        times = [said[label, voice.name] for voice in draw_voices(72, 1)]
        assert sum(times) == count
        assert min(times) == count // 72
        assert max(times) <= count // 72 + 1


def test_voices_are_distinct_groups_with_vocal_tracts_of_their_own():
    voices = draw_voices(1_000, 1)
    assert len({voice.name for voice in voices}) == 1_000
    assert len({voice.variant for voice in voices[:64]}) == 64
    assert len({(voice.accent, voice.variant) for voice in voices[:512]}) == 512
    assert {voice.accent for voice in voices[:8]} == set(ACCENTS)


def test_every_variant_says_every_digit_audibly(extra):
    with Espeak() as espeak:
        for index, variant in enumerate(VARIANTS):
            for word in DIGITS:
                waveform = espeak.speak(word, ACCENTS[index % len(ACCENTS)], variant, Prosody(175, 50, 50), 1)
                voiced = np.flatnonzero(np.abs(waveform) > 0.1 * np.abs(waveform).max())
                assert 0.1 < (voiced[-1] - voiced[0]) / espeak.sample_rate_hz < 0.9, (variant, word)
                assert np.abs(waveform).max() > 0.01, (variant, word)


# The room


@pytest.mark.parametrize("slope", [0.0, 1.0])
@pytest.mark.parametrize("snr_db", [0.0, 20.0])
def test_noise_has_the_asked_level(snr_db, slope):
    noise = add_noise(tone(), snr_db, slope, noise_rng()) - tone()
    measured_db = 10 * np.log10(np.square(tone()).mean() / np.square(noise).mean())
    assert measured_db == pytest.approx(snr_db, abs=0.05)


@pytest.mark.parametrize(("slope", "db_per_octave"), [(0.0, 0.0), (1.0, -3.0)])
def test_white_noise_is_flat_and_pink_noise_falls_by_3_db_an_octave(slope, db_per_octave):
    silence = np.full(2**16, 1e-3, dtype=np.float32)
    power = np.abs(np.fft.rfft(add_noise(silence, 0.0, slope, noise_rng()))) ** 2
    octaves_db = [10 * np.log10(power[2**octave : 2 ** (octave + 1)].mean()) for octave in range(8, 15)]
    assert np.polyfit(range(7), octaves_db, 1)[0] == pytest.approx(db_per_octave, abs=0.3)


def test_echo_follows_the_direct_sound_at_the_asked_level_and_falls_by_60_db_in_its_decay_time():
    click = np.zeros(SAMPLE_RATE_HZ, dtype=np.float32)
    click[100] = 1
    heard = add_echo(click, decay_seconds=0.2, echo_db=-12.0, rng=noise_rng())
    echo = heard[101:]
    assert np.abs(heard[:100]).max() < 1e-5
    assert heard[100] == pytest.approx(1, abs=1e-5)
    assert 10 * np.log10(np.square(echo).sum()) == pytest.approx(-12, abs=0.05)
    early, late = (np.square(echo[start : start + 400]).mean() for start in (0, 1_600))  # 0.1 s apart
    assert 10 * np.log10(late / early) == pytest.approx(-30, abs=2)
