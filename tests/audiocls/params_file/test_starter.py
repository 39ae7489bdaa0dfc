"""The params file that `audiocls init` writes."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from audiocls.errors import DataError, ParamsError
from audiocls.params import FolderData, TableData
from audiocls.params_file import load_params, write_starter
from audiocls.sources import list_clips

WORDS, SPEAKERS = ("yes", "no", "stop"), ("ada", "bob", "cyd", "dan")


def make(folder: Path, names: Iterable[str]) -> Path:
    """Write a second of noise under every name."""
    noise = np.random.default_rng(1).normal(0, 0.1, 8_000)
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(folder / name, noise, 8_000)
    return folder


def listed(source: Path, tmp_path: Path) -> tuple[pd.DataFrame, str, FolderData | TableData]:
    """Write the starter of a source; list its clips as a run does; return what was seen, too."""
    look = write_starter(str(source), tmp_path / "params.yaml")
    params = load_params(tmp_path / "params.yaml")
    assert isinstance(params.data, FolderData | TableData)
    clips = pd.read_parquet(list_clips(params.data, tmp_path / "workspace"))
    assert set(clips["label"]) == set(WORDS)
    return clips, "\n".join(look.seen), params.data


def test_a_folder_a_class_without_anything_else(tmp_path):
    source = make(tmp_path / "clips", (f"{word}/{i}.wav" for word in WORDS for i in range(4)))
    clips, seen, data = listed(source, tmp_path)
    assert "12 clips of 3 classes: no (4), stop (4), yes (4)." in seen
    assert "No groups were found" in seen
    assert data == FolderData(source="folder", path=source)
    assert clips["group"].nunique() == 12


def test_speakers_in_the_names_of_files_are_groups(tmp_path):
    names = (f"{word}/{speaker}_nohash_{i}.wav" for word in WORDS for speaker in SPEAKERS for i in range(2))
    clips, seen, _ = listed(make(tmp_path / "clips", names), tmp_path)
    assert set(clips["group"]) == set(SPEAKERS)
    assert "4 groups are taken from the file names: ada, bob, cyd, dan." in seen


def test_numbers_in_the_names_of_files_are_no_groups(tmp_path):
    names = (f"{word}/{take}_{i}.wav" for word in WORDS for take in range(3) for i in range(2))
    clips, seen, _ = listed(make(tmp_path / "clips", names), tmp_path)
    assert clips["group"].nunique() == 18
    assert "No groups were found" in seen


def test_a_folder_a_speaker_below_the_classes(tmp_path):
    names = (f"{word}/{speaker}/{i}.wav" for word in WORDS for speaker in SPEAKERS for i in range(2))
    clips, seen, data = listed(make(tmp_path / "clips", names), tmp_path)
    assert isinstance(data, FolderData)
    assert data.group_by == "folder"
    assert clips["group"].nunique() == 12
    assert "12 groups" in seen


def test_classes_below_folders_of_splits_and_one_that_holds_them_all(tmp_path):
    names = (f"set/{part}/{word}/{i}.wav" for part in ("train", "test") for word in WORDS for i in range(3))
    _, seen, _ = listed(make(tmp_path / "clips", names), tmp_path)
    assert "18 clips of 3 classes" in seen
    assert "The directories test, train are not taken as the split" in seen


def test_files_in_one_folder_are_labelled_by_their_names(tmp_path):
    names = (f"{word}-{speaker}-{i}.wav" for word in WORDS for speaker in SPEAKERS for i in range(2))
    clips, seen, _ = listed(make(tmp_path / "clips", names), tmp_path)
    assert set(clips["group"]) == set(SPEAKERS)
    assert "check data.pattern" in seen


def test_files_in_one_folder_without_a_label_are_refused(tmp_path):
    source = make(tmp_path / "clips", (f"{i}.wav" for i in range(6)))
    with pytest.raises(DataError, match="neither a directory a class nor a part of the file names"):
        write_starter(str(source), tmp_path / "params.yaml")
    assert not (tmp_path / "params.yaml").exists()


def test_a_table_is_read_by_the_names_of_its_columns(tmp_path):
    make(tmp_path, (f"audio/{i}.wav" for i in range(6)))
    rows = [(f"audio/{i}.wav", WORDS[i % 3], SPEAKERS[i % 2], "train" if i else "test", i) for i in range(6)]
    table = pd.DataFrame(rows, columns=["filename", "category", "Speaker ID", "split", "fold"])
    table.to_csv(tmp_path / "table.csv", index=False)
    _, seen, data = listed(tmp_path / "table.csv", tmp_path)
    assert data == TableData(
        source="table", path=tmp_path / "table.csv", path_column="filename", label_column="category",
        group_column="Speaker ID", split_column="split",
    )  # fmt: skip
    assert "Column of the group: Speaker ID." in seen
    assert "1.0 to 1.0 s long, by 6 files" in seen
    assert load_params(tmp_path / "params.yaml").audio.max_seconds == 1.0


def test_a_split_by_other_names_is_not_used_and_missing_files_are_counted(tmp_path):
    rows = [(f"{i}.wav", WORDS[i % 3], "dev" if i else "test") for i in range(6)]
    pd.DataFrame(rows, columns=["path", "label", "subset"]).to_csv(tmp_path / "table.csv", index=False)
    _, seen, data = listed(tmp_path / "table.csv", tmp_path)
    assert isinstance(data, TableData)
    assert data.split_column is None
    assert "subset is not used: it holds other values than train, validation, test." in seen
    assert f"6 of 6 files that were looked for are not there, e.g. {tmp_path / '0.wav'}." in seen


def test_a_table_without_labels_is_refused_by_its_columns(tmp_path):
    pd.DataFrame({"path": ["a.wav"], "loudness": [1]}).to_csv(tmp_path / "table.csv", index=False)
    with pytest.raises(DataError, match=r"no column has a name for the label .* Its columns: path, loudness\."):
        write_starter(str(tmp_path / "table.csv"), tmp_path / "params.yaml")


def test_nothing_is_written_over(tmp_path):
    source = make(tmp_path / "clips", ["yes/1.wav", "no/1.wav"])
    file = tmp_path / "params.yaml"
    file.write_text("mine")
    with pytest.raises(ParamsError, match="is there already, and is not written over"):
        write_starter(str(source), file)
    assert file.read_text() == "mine"
    with pytest.raises(ParamsError, match=r"the folder .* is not there"):
        write_starter(str(source), tmp_path / "nowhere" / "params.yaml")


@pytest.mark.parametrize(("most", "method"), [(2, "none"), (9, "weighted_loss")])
def test_an_imbalanced_corpus_gets_a_weighted_loss(most, method, tmp_path):
    names = [*(f"yes/{i}.wav" for i in range(most)), "no/1.wav", "no/2.wav"]
    write_starter(str(make(tmp_path / "clips", names)), tmp_path / "params.yaml")
    assert load_params(tmp_path / "params.yaml").balance.method == method


def test_labels_cannot_break_out_of_their_comment(tmp_path):
    source = make(tmp_path / "clips", ["yes\nseed: 3/1.wav", "no/1.wav"])
    write_starter(str(source), tmp_path / "params.yaml")
    assert load_params(tmp_path / "params.yaml").seed == 17
