"""No recording that training hears as a background or an impulse response is one that it is tested on."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import soundfile

from audiocls.augmentation.firewall import check_recordings
from audiocls.augmentation.recordings import read_recordings
from audiocls.errors import DataError, LeakageError
from audiocls.params.run import RunParams
from audiocls.splits.prepared_data import PreparedData
from audiocls.waveforms.corpus import collect_corpus

RATE_HZ = 16_000


def burst(seed: int, seconds: float = 0.6) -> np.ndarray:
    """Filtered noise that swells and fades: nothing else sounds like it."""
    rng = np.random.default_rng(seed)
    noise = np.convolve(rng.normal(size=round(seconds * RATE_HZ)), np.hanning(9), "same")
    loudness = np.interp(np.arange(len(noise)), np.linspace(0, len(noise), 8), rng.uniform(0.05, 1, 8))
    return (0.3 * noise * loudness * np.hanning(len(noise)) / np.abs(noise).max()).astype(np.float32)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory, list_table, fill_store):
    """A workspace with a corpus of six bursts, two in each split, and the table of them."""
    workspace = tmp_path_factory.mktemp("firewall")
    rows = []
    for i, split in enumerate(["train", "validation", "test"] * 2):
        path = workspace / f"clip-{i}.wav"
        soundfile.write(path, burst(i), RATE_HZ)
        rows.append((str(path), "xy"[i // 3], f"group {i}", split))
    manifest = list_table(workspace, rows, ("path", "label", "group", "split"))
    return workspace, collect_corpus(manifest, fill_store(manifest, workspace), workspace)


@pytest.fixture
def check(corpus, tmp_path):
    """A function that checks a folder of recordings, by name, and returns the params to train with."""
    workspace, collected = corpus
    folder = tmp_path / "backgrounds"

    def checked(sounds, kind="background", leave_out=(), **split):
        folder.mkdir()
        for name, write in sounds.items():
            write(folder / name)
        params = RunParams.model_validate(
            {
                "workspace": str(workspace),
                "data": {"source": "sample"},
                "split": split,
                "augmentation": [{"kind": kind, "folder": str(folder), "leave_out": list(leave_out)}],
            }
        )
        done = check_recordings(PreparedData(collected.clips, collected.store, params))
        assert (done.split_clips, done.waveforms) == (collected.clips, collected.store)
        return done.params

    return checked


def written(signal, rate_hz=RATE_HZ, **options):
    return lambda path: soundfile.write(path, signal, rate_hz, **options)


def copy_of(corpus, number):
    return lambda path: shutil.copy(corpus[0] / f"clip-{number}.wav", path)


STREET = {"street.wav": written(burst(100, 3.0))}


@pytest.mark.parametrize("kind", ["background", "impulse_response"])
@pytest.mark.parametrize(("number", "split"), [(1, "validation"), (2, "test")])
def test_the_file_of_a_held_out_clip_stops_the_run_and_both_are_named(check, corpus, kind, number, split):
    with pytest.raises(LeakageError, match=rf"^1 recording .*copy\.wav = .*clip-{number}\.wav \({split}\)") as told:
        check(STREET | {"copy.wav": copy_of(corpus, number)}, kind)
    assert "split.duplicates=drop" in str(told.value)
    assert "leave_out" in str(told.value)


HIDDEN = np.concatenate([burst(101, 11.0), 0.8 * burst(2), burst(102, 9.0)])


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("same samples.flac", None),
        ("recoded.ogg", written(burst(2), format="OGG", subtype="VORBIS")),
        ("hidden.wav", written(HIDDEN)),
    ],
)
def test_a_held_out_clip_in_another_form_or_inside_a_long_recording_stops_the_run(check, corpus, name, write):
    if write is None:
        write = written(soundfile.read(corpus[0] / "clip-2.wav")[0], subtype="PCM_16")
    with pytest.raises(LeakageError, match=rf"{name} [=~] .*clip-2\.wav \(test\)"):
        check(STREET | {name: write})


def test_recordings_of_training_and_of_nowhere_pass(check, corpus):
    params = check(STREET | {"copy.wav": copy_of(corpus, 0), "silence.wav": written(np.zeros(8_000))})
    assert params.augmentation[0].leave_out == []


def test_with_drop_the_file_alone_is_left_out_and_told(check, corpus, caplog):
    sounds = STREET | {"copy.wav": copy_of(corpus, 2), "recoded.ogg": written(burst(1), format="OGG", subtype="VORBIS")}
    params = check(sounds, duplicates="drop", near_duplicates="drop")
    (step,) = params.augmentation
    assert sorted(step.leave_out) == ["copy.wav", "recoded.ogg"]
    assert "copy.wav" in caplog.text
    assert "recoded.ogg" in caplog.text
    (heard,) = read_recordings(step.folder, RATE_HZ, step.leave_out)
    assert len(heard) == 3 * RATE_HZ


def test_what_is_to_be_left_out_is_neither_looked_at_nor_heard(check, corpus):
    params = check(STREET | {"copy.wav": copy_of(corpus, 2)}, leave_out=["copy.wav"])
    assert params.augmentation[0].leave_out == ["copy.wav"]


def test_leaving_out_a_file_that_is_not_there_is_an_error(check):
    with pytest.raises(DataError, match=r"leave_out names files that do not exist: copi\.wav\."):
        check(STREET, leave_out=["copi.wav"])


def test_a_folder_of_nothing_but_held_out_recordings_is_an_error(check, corpus):
    with pytest.raises(DataError, match="no recordings to augment with besides the 1 that are left out"):
        check({"copy.wav": copy_of(corpus, 2)}, duplicates="drop")


def test_ignoring_near_duplicates_still_looks_for_the_same_samples(check, corpus):
    recoded = {"recoded.ogg": written(burst(2), format="OGG", subtype="VORBIS")}
    with pytest.raises(LeakageError, match=r"^1 recording .*copy\.wav"):
        check(STREET | recoded | {"copy.wav": copy_of(corpus, 2)}, near_duplicates="ignore")
