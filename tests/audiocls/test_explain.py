from __future__ import annotations

import os

import pandas as pd
import pytest
import yaml

from audiocls.explain import main
from audiocls.manifest import list_clips
from audiocls.params_file import load_params


@pytest.fixture
def params_file(tmp_path, write_tone):
    """A params file of a table of good.wav, copy.wav (the same bytes), broken.wav and gone.wav."""
    good = write_tone(tmp_path / "good.wav", 200)
    (tmp_path / "copy.wav").write_bytes(good.read_bytes())
    (tmp_path / "broken.wav").write_text("no audio")
    names = ["good", "copy", "broken", "gone"]
    pd.DataFrame({"path": [f"{name}.wav" for name in names], "label": "x"}).to_csv(tmp_path / "t.csv", index=False)
    path = tmp_path / "params.yaml"
    data = {"source": "table", "path": str(tmp_path / "t.csv")}
    path.write_text(yaml.safe_dump({"workspace": str(tmp_path / "workspace"), "data": data}))
    return path


@pytest.fixture
def fill(params_file, fill_store):
    def filled():
        params = load_params(params_file)
        return fill_store(list_clips(params.data, params.workspace), params.workspace, params.audio)

    return filled


@pytest.fixture
def say(params_file, capsys):
    """A function that explains a clip, and returns what is printed."""

    def said(clip, status=0):
        assert main([str(params_file), str(clip)]) == status
        captured = capsys.readouterr()
        return captured.err if status else captured.out

    return said


def test_a_stored_clip_is_explained_by_its_id_and_by_its_path(fill, say, tmp_path):
    plan = fill()
    text = say("good.wav")
    assert "known: path, size and time of change are those of table" in text
    assert f"as have 1 other paths, e.g. {tmp_path / 'copy.wav'}" in text
    assert "decoded: 0.100 s of WAV/PCM_16, 16000 Hz, 1 channels" in text
    (shard,) = (plan.store / "shards").iterdir()
    assert f"stored: 1,600 samples, from sample 0 of {shard}" in text
    assert '"sample_rate_hz": 16000' in text
    assert say(tmp_path / "good.wav") == text


def test_a_clip_in_quarantine_is_explained_with_its_reason(fill, say):
    fill()
    assert "decoded, and in quarantine: unreadable: Format not recognised." in say("broken.wav")
    assert "not read: missing: no such file" in say("gone.wav")


def test_what_the_next_run_reads_is_explained(fill, say, tmp_path, write_tone):
    text = say("good.wav")
    assert "not made yet" in text
    assert "will be read by the next run: no run has met this path" in text
    plan = fill()
    old = (tmp_path / "good.wav").stat().st_mtime_ns
    write_tone(tmp_path / "good.wav", 900, modified_ns=old + 10**9)
    assert "will be read by the next run: it changed; when it was read it had 3,244 bytes" in say("good.wav")
    for shard in (plan.store / "shards").iterdir():
        shard.unlink()
    os.utime(tmp_path / "good.wav", ns=(old, old))
    assert "will be read by the next run: the shard with its bytes" in say("good.wav")


def test_a_file_beside_the_corpus_is_explained_too(fill, say, tmp_path, write_tone):
    fill()
    text = say(write_tone(tmp_path / "elsewhere.wav", 300))
    assert "which is none of the clips that data lists" in text
    assert "no run has met this path" in text


def test_what_nobody_knows_is_a_mistake(say):
    assert "nobody.wav: data lists no clip with this id or path" in say("nobody.wav", status=2)
