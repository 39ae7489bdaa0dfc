from __future__ import annotations

import json
import os
import time

import pandas as pd
import pytest
import yaml

from audiocls.files import local_folder, write_table
from audiocls.files.atomic import replacing
from audiocls.inspection.generations import list_generations, main
from audiocls.params.run import AudioParams
from audiocls.waveforms.store import open_store


@pytest.fixture
def stores(tmp_path, list_table, fill_store, write_tone):
    """A function that returns the store of each rate, filled with one clip; they are made with the fixture."""
    manifest = list_table(tmp_path, [(write_tone(tmp_path / "a.wav"), "x")])
    made = {
        rate_hz: fill_store(manifest, tmp_path / "workspace", AudioParams(sample_rate_hz=rate_hz)).store
        for rate_hz in (16_000, 8_000)
    }
    return made.__getitem__


@pytest.fixture
def features(tmp_path):
    """A feature store of two rows, by an extractor with a long list of settings."""
    store = tmp_path / "workspace" / "features" / "abc"
    rows = pd.DataFrame({"audio_hash": ["1", "2"], "scale": [1.0, 1.0], "input_values": [b"", b""]})
    write_table(rows, store / "shards" / "one.parquet")
    extractor = {"class": "ASTFeatureExtractor", "mel_filters": 999 * [0.5]}
    (store / "settings.json").write_text(json.dumps({"extractor": extractor, "pad": "zero"}))
    return store


@pytest.fixture
def run(tmp_path):
    """A function that runs the command on a params file of 16 kHz."""
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump({"workspace": str(tmp_path / "workspace"), "data": {"source": "sample"}}))
    return lambda *arguments: main([str(path), *arguments])


def age(store, days):
    """Let the last use of a store be as long ago."""
    for path in store.rglob("*"):
        os.utime(path, (time.time() - days * 86_400,) * 2)


def test_stores_are_listed_with_settings_size_and_last_use(stores, tmp_path, run, capsys):
    age(stores(16_000), 9)
    new, old = list_generations(AudioParams(), tmp_path / "workspace")
    assert [g.settings["sample_rate_hz"] for g in (new, old)] == [8_000, 16_000]
    assert [g.recordings for g in (new, old)] == [1, 1]
    assert old.size_bytes == sum(path.stat().st_size for path in old.store.rglob("*") if path.is_file())
    assert time.time() - old.last_use.timestamp() == pytest.approx(9 * 86_400, abs=600)
    assert (new.in_use, old.in_use) == ("modified within a day", "of this params file")
    assert run() == 0
    text = capsys.readouterr().out
    assert "sample_rate_hz 8000" in text
    assert "1 recording, " in text


def test_what_is_out_of_use_is_removed_with_yes_and_not_before(stores, run, capsys):
    age(stores(8_000), 40)
    assert run("--remove-unused-days", "30") == 0
    assert "1 of 2 stores" in capsys.readouterr().out
    assert stores(8_000).exists()
    assert run("--remove-unused-days", "30", "--yes") == 0
    assert not stores(8_000).exists()
    assert (stores(16_000) / "settings.json").exists()


def test_the_store_of_the_params_and_younger_ones_stay(stores, run):
    age(stores(16_000), 40)
    age(stores(8_000), 20)
    assert run("--remove-unused-days", "30", "--yes") == 0
    assert stores(16_000).exists()
    assert stores(8_000).exists()


def test_a_store_that_is_being_filled_stays_however_few_days_are_given(stores, run):
    assert run("--remove-unused-days", "0", "--yes") == 0
    assert stores(8_000).exists()
    (shard,) = (stores(8_000) / "shards").iterdir()
    with replacing(shard) as part:
        part.write_bytes(shard.read_bytes())
        age(stores(8_000), 40)
        assert run("--remove-unused-days", "1", "--yes") == 0
        assert stores(8_000).exists()
    age(stores(8_000), 40)
    assert run("--remove-unused-days", "1", "--yes") == 0
    assert not stores(8_000).exists()


def test_a_workspace_without_stores_has_none(run, capsys):
    assert run("--remove-unused-days", "1") == 0
    assert capsys.readouterr().out == "0 of 0 stores, 0.0 MB, would be removed, with --yes: none\n"


def test_a_damaged_shard_is_named(stores, run, capsys):
    (shard,) = (stores(8_000) / "shards").iterdir()
    shard.write_bytes(b"PAR1")
    assert run() == 1
    assert f"error: {shard}: cannot be read" in capsys.readouterr().err


def test_feature_stores_are_listed_and_removed_too(stores, features, run, capsys):
    age(features, 40)
    assert run("--remove-unused-days", "30") == 0
    text = capsys.readouterr().out
    assert (
        f"{features}\n    extractor ASTFeatureExtractor, pad zero\n    features of 2 clips or windows, 0.0 MB" in text
    )
    assert "1 of 3 stores" in text
    assert run("--remove-unused-days", "30", "--yes") == 0
    assert not features.exists()
    assert stores(8_000).exists()


def test_a_feature_store_that_was_used_lately_stays(features, run):
    age(features, 20)
    assert run("--remove-unused-days", "30", "--yes") == 0
    assert features.exists()


@pytest.mark.parametrize("where", [None, "memory://elsewhere"])
def test_copies_of_stores_elsewhere_are_removed_and_those_of_the_params_file_stay(where, run, tmp_path, capsys):
    elsewhere = [AudioParams(store="memory://elsewhere", sample_rate_hz=rate_hz) for rate_hz in (16_000, 8_000)]
    stores = [open_store(audio, tmp_path / "workspace") for audio in elsewhere]
    copies = [local_folder(store, tmp_path / "workspace" / "waveforms") for store in stores]
    for copy in copies:
        age(copy, 40)
    assert run("--remove-unused-days", "30", "--yes", *([f"audio.store={where}"] if where else [])) == 0
    assert f"copies of {stores[0]}" in capsys.readouterr().out
    assert [copy.exists() for copy in copies] == [where is not None, False]
    assert (stores[0] / "settings.json").exists()


def test_no_password_of_a_store_elsewhere_is_shown(run, tmp_path, capsys):
    copy = tmp_path / "workspace" / "waveforms" / "abc-1"
    copy.mkdir(parents=True)
    (copy / "store.txt").write_text("https://bob:hunter2@host/abc")
    (copy / "settings.json").write_text("{}")
    assert run() == 0
    assert "copies of https://bob:***@host/abc," in capsys.readouterr().out
