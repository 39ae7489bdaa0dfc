from __future__ import annotations

import os

import numpy as np
import pandas as pd
import pytest
import soundfile
import yaml

from audiocls.decoding.clip_files import FileFound
from audiocls.errors import StoreError
from audiocls.files import write_table
from audiocls.inspection.explanation import main
from audiocls.params_file.reading import load_params
from audiocls.sources.manifest import list_clips
from audiocls.waveforms.corpus import collect_corpus
from audiocls.waveforms.store import look_up


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
    assert "known: path, size and modification time match table" in text
    assert f"shared by 1 other path, e.g. {tmp_path / 'copy.wav'}" in text
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
    assert "not created yet" in text
    assert "will be read by the next run: no run has seen this path" in text
    plan = fill()
    old = (tmp_path / "good.wav").stat().st_mtime_ns
    write_tone(tmp_path / "good.wav", 900, modified_ns=old + 10**9)
    assert "will be read by the next run: it changed; when last read it had 3,244 bytes" in say("good.wav")
    for shard in (plan.store / "shards").iterdir():
        shard.unlink()
    os.utime(tmp_path / "good.wav", ns=(old, old))
    assert "will be read by the next run: the shard with its bytes" in say("good.wav")


def test_a_file_beside_the_corpus_is_explained_too(fill, say, tmp_path, write_tone):
    fill()
    text = say(write_tone(tmp_path / "elsewhere.wav", 300))
    assert "which data does not list" in text
    assert "no run has seen this path" in text


def test_what_nobody_knows_is_a_mistake(say):
    assert "nobody.wav: data lists no clip with this id or path" in say("nobody.wav", status=2)


@pytest.fixture
def say_of_segments(tmp_path, tone, params_file, say, fill_store):
    """A function as `say`, of segments of a second of a tone and one of silence, which are in the store."""
    signal = np.concatenate([tone(300, 1), np.zeros(16_000)])
    soundfile.write(tmp_path / "long.wav", signal, 16_000, subtype="PCM_16")
    lines = ["0,0.5,x", "0.5,1,y", "1.2,1.7,x", "1.5,9,x", "0.1,,"]
    text = "path,start,end,label\n" + "".join(f"long.wav,{line}\n" for line in lines)
    (tmp_path / "t.csv").write_text(text)
    params = yaml.safe_load(params_file.read_text())
    params["data"] |= {"start_column": "start", "end_column": "end"}
    params_file.write_text(yaml.safe_dump(params))
    run = load_params(params_file)
    manifest = list_clips(run.data, run.workspace)
    corpus = collect_corpus(manifest, fill_store(manifest, run.workspace, run.audio), run.workspace)
    say.quarantine = pd.read_parquet(corpus.quarantine).set_index("clip_id")
    return say


def test_a_segment_is_explained_with_its_bounds_and_its_own_samples(say_of_segments):
    text = say_of_segments("long.wav@0.50-1.00")
    assert "decoded: 2.000 s of WAV/PCM_16" in text
    assert "segment: from 0.5 s to 1 s" in text
    assert "stored: 8,000 samples, from sample 8,000 of " in text


@pytest.mark.parametrize(
    ("clip", "bounds", "reason"),
    [
        ("long.wav@1.20-1.70", "from 1.2 s to 1.7 s", "silent"),
        ("long.wav@1.50-9.00", "from 1.5 s to 9 s", "outside_file"),
        ("long.wav@0.10-end", "from 0.1 s to the end", "unlabelled"),
    ],
)
def test_a_segment_or_an_unlabelled_clip_in_quarantine_is_explained_as_the_quarantine_table_does(
    say_of_segments, clip, bounds, reason
):
    text = say_of_segments(clip)
    refused = say_of_segments.quarantine.loc[clip]
    assert refused["reason"] == reason
    assert f"segment: {bounds}" in text
    assert f"in quarantine: {reason}: {refused['detail']}" in text
    assert "stored:" not in text


def test_the_path_of_several_segments_names_them(say_of_segments, tmp_path):
    text = say_of_segments(tmp_path / "long.wav")
    assert "clips: 5 in one file; give the id of one of them: long.wav@0.00-0.50, " in text
    assert "stored: 32,000 samples, from sample 0 of " in text


def test_features_that_are_kept_are_named_with_the_extractor_that_made_them(fill, say, tmp_path):
    plan = fill()
    stored = look_up(plan).set_index("path").loc[str(tmp_path / "good.wav")]
    store = tmp_path / "workspace" / "features" / "abc"
    hashes = [stored["audio_hash"], f"{stored['audio_hash']}:160", "another"]
    kept = pd.DataFrame({"audio_hash": hashes, "scale": np.float32(stored["scale"])})
    write_table(kept, store / "shards" / "one.parquet")
    (store / "settings.json").write_text('{"extractor": {"class": "ASTFeatureExtractor"}}')
    said = f"features: 2 of the clip or its windows, by ASTFeatureExtractor, in {store / 'shards' / 'one.parquet'}"
    assert said in say("good.wav")
    kept.assign(scale=np.float32(2 * stored["scale"])).to_parquet(store / "shards" / "one.parquet")
    assert "features:" not in say("good.wav")


def test_no_password_or_token_is_shown(params_file, say, tmp_path, monkeypatch):
    uri = "http://bob:hunter2@127.0.0.1:9/a.wav?token=SECRET"
    shown = "http://bob:***@127.0.0.1:9/a.wav?token=***"
    pd.DataFrame({"path": [uri], "label": "x"}).to_csv(tmp_path / "t.csv", index=False)
    found = FileFound(uri, -1, -1, None, "missing", f"nobody answers at {uri}")
    monkeypatch.setattr("audiocls.inspection.explanation.look_at_files", lambda paths, audio: [found])
    texts = [say(uri), say(shown), say(uri.replace("a.wav", "b.wav"))]
    assert f"path: {shown}" in texts[0]
    assert texts[0] == texts[1]

    def fail(paths, audio):
        raise StoreError(f"{paths[0]}: the storage does not respond")

    monkeypatch.setattr("audiocls.inspection.explanation.look_at_files", fail)
    texts.append(say(uri, status=1))
    assert f"error: {shown}: the storage" in texts[-1]
    assert not [text for text in texts if "hunter2" in text or "SECRET" in text]
