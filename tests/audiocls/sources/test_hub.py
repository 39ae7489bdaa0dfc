from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from datasets import Audio, ClassLabel, Dataset, DatasetDict, Features, Sequence, Value, disable_progress_bars

from audiocls.errors import DataError
from audiocls.params.data import HubData
from audiocls.sources.listing import read_listing
from audiocls.sources.manifest import list_clips
from audiocls.waveforms.corpus import collect_corpus

NAMES = ["no", "yes"]


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path):
    """No test writes into the cache of whoever runs it, nor finds there what another left."""
    disable_progress_bars()
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")


@pytest.fixture
def list_rows(tmp_path):
    """A function that lists a data set and returns the manifest's rows as dicts."""

    def rows(name, **options):
        params = HubData(source="hub", name=str(name), **options)
        return pq.read_table(list_clips(params, tmp_path / "workspace")).to_pylist()

    return rows


@pytest.fixture
def recordings(tmp_path, write_tone):
    """Six tones in two class folders, each with a file of the same name."""
    names = [f"{label}/{i}.wav" for label in NAMES for i in (0, 1, 2)]
    return [write_tone(tmp_path / "audio" / name, 300 + 50 * i) for i, name in enumerate(names)]


def of_bytes(paths, labels=None, names=True):
    """A data set that holds each file's bytes and its bare name, as those of the hub do."""
    features = Features(
        {
            "audio": {"bytes": Value("binary"), "path": Value("string")},
            "label": ClassLabel(names=NAMES),
            "speaker": Value("string"),
        }
    )
    rows = [
        {
            "audio": {"bytes": path.read_bytes(), "path": path.name if names else None},
            "label": NAMES.index(path.parent.name) if labels is None else labels[i],
            "speaker": f"s{i % 2}",
        }
        for i, path in enumerate(paths)
    ]
    return Dataset.from_list(rows, features=features).cast_column("audio", Audio(decode=False))


def test_a_saved_data_set_is_listed_with_class_names_and_its_bytes_become_files(recordings, list_rows, tmp_path):
    of_bytes(recordings).save_to_disk(tmp_path / "saved")
    rows = list_rows(tmp_path / "saved", group_column="speaker")
    assert len(rows) == 6
    assert Counter(row["label"] for row in rows) == {"no": 3, "yes": 3}
    assert {row["group"] for row in rows} == {"s0", "s1"}
    assert {(row["split"], row["reason"]) for row in rows} == {(None, None)}
    by_content = {path.read_bytes(): path for path in recordings}
    for row in rows:
        original = by_content[Path(row["path"]).read_bytes()]
        assert row["label"] == original.parent.name
        assert row["clip_id"].startswith(f"{original.stem}-")
        assert Path(row["path"]).is_relative_to(tmp_path / "workspace" / "hub" / "files")
        assert Path(row["path"]).suffix == ".wav"


def test_bytes_are_written_once(recordings, list_rows, tmp_path):
    of_bytes([*recordings, recordings[0]]).save_to_disk(tmp_path / "saved")
    rows = list_rows(tmp_path / "saved")
    files = list((tmp_path / "workspace" / "hub" / "files").rglob("*.wav"))
    assert len(files) == len({path.read_bytes() for path in recordings})
    times = {file: file.stat().st_mtime_ns for file in files}
    assert list_rows(tmp_path / "saved") == rows
    assert {file: file.stat().st_mtime_ns for file in files} == times


def test_the_workspace_may_be_elsewhere_and_ids_and_groups_stay(recordings, tmp_path):
    of_bytes(recordings, names=False).save_to_disk(tmp_path / "saved")
    params = HubData(source="hub", name=str(tmp_path / "saved"))
    here, there = (pq.read_table(list_clips(params, tmp_path / where)).to_pydict() for where in ("a", "b"))
    for column in ("clip_id", "label", "group"):
        assert here[column] == there[column]
    assert here["path"] != there["path"]


def test_splits_are_taken_by_name_or_put_together(recordings, list_rows, tmp_path):
    parts = {"train": recordings[:3], "dev": recordings[3:5], "extra": recordings[5:]}
    DatasetDict({name: of_bytes(paths) for name, paths in parts.items()}).save_to_disk(tmp_path / "saved")
    rows = list_rows(tmp_path / "saved", splits={"train": "train", "validation": "dev"})
    assert Counter(row["split"] for row in rows) == {"train": 3, "validation": 2}
    assert Counter(row["split"] for row in list_rows(tmp_path / "saved")) == {None: 6}
    with pytest.raises(DataError, match=r"no such split: data.splits.test = exam. Its splits: train, dev, extra"):
        list_rows(tmp_path / "saved", splits={"train": "train", "test": "exam"})


def test_paths_are_left_where_they_are(recordings, list_rows, tmp_path):
    names = [str(path) for path in [*recordings, tmp_path / "gone.wav"]]
    data = Dataset.from_dict({"clip": names, "word": [" yes "] * 5 + ["", None]})
    data.save_to_disk(tmp_path / "saved")
    rows = list_rows(tmp_path / "saved", audio_column="clip", label_column="word")
    assert sorted(row["path"] for row in rows) == sorted(names)
    assert Counter(row["label"] for row in rows) == {"yes": 5, None: 2}
    assert not (tmp_path / "workspace" / "hub" / "files").exists()


def test_rows_without_audio_or_label_are_quarantined_with_a_reason(recordings, fill_store, tmp_path):
    bare = [{"bytes": None, "path": None}, {"bytes": b"", "path": "empty.wav"}]
    audio = [{"bytes": path.read_bytes(), "path": None} for path in recordings[:2]]
    data = Dataset.from_dict({"audio": audio + bare, "label": [1, -1, 0, 0]})
    data.cast_column("label", ClassLabel(names=NAMES)).save_to_disk(tmp_path / "saved")
    workspace = tmp_path / "workspace"
    manifest = list_clips(HubData(source="hub", name=str(tmp_path / "saved")), workspace)
    corpus = collect_corpus(manifest, fill_store(manifest, workspace), workspace)
    reasons = pq.read_table(corpus.quarantine)["reason"].to_pylist()
    assert sorted(reasons) == ["empty", "missing", "unlabelled"]
    assert pq.read_table(corpus.clips)["label"].to_pylist() == ["yes"]


def test_a_folder_of_recordings_needs_no_torchcodec(recordings, list_rows, tmp_path):
    rows = list_rows(tmp_path / "audio")
    assert [(row["clip_id"], row["label"]) for row in rows] == [
        (path.relative_to(tmp_path / "audio").as_posix(), path.parent.name) for path in sorted(recordings)
    ]
    assert [row["path"] for row in rows] == [str(path) for path in sorted(recordings)]


@pytest.fixture
def half_named_test(tmp_path, write_tone):
    """Twenty-four tones in two class folders, half of them named as those of a test split."""
    names = [f"{label}/{'test_' if i % 2 else ''}{i:02}.wav" for label in NAMES for i in range(12)]
    return [write_tone(tmp_path / "audio" / name, 300 + 20 * i) for i, name in enumerate(names)]


def test_no_recording_is_dropped_for_its_name(half_named_test, list_rows, tmp_path):
    rows = list_rows(tmp_path / "audio")
    assert sorted(row["path"] for row in rows) == sorted(str(path) for path in half_named_test)
    assert Counter((row["label"], row["split"], row["reason"]) for row in rows) == {
        ("no", None, None): 12,
        ("yes", None, None): 12,
    }


def test_recordings_that_are_in_none_of_the_given_splits_are_quarantined(half_named_test, list_rows, tmp_path):
    half_named_test[0].rename(half_named_test[0].with_name("train_0.wav"))
    half_named_test[12].rename(half_named_test[12].with_name("train_12.wav"))
    rows = list_rows(tmp_path / "audio", splits={"train": "train", "test": "test"})
    assert Counter((row["split"], row["reason"], row["label"]) for row in rows) == {
        ("train", None, "no"): 1,
        ("train", None, "yes"): 1,
        ("test", None, "no"): 6,
        ("test", None, "yes"): 6,
        (None, "left_out", "no"): 5,
        (None, "left_out", "yes"): 5,
    }


def test_recordings_of_a_suffix_that_the_library_does_not_know_are_clips_too(recordings, list_rows, tmp_path):
    odd = recordings[0].with_name("odd.m4a")
    odd.write_bytes(recordings[0].read_bytes())
    rows = list_rows(tmp_path / "audio")
    assert [(row["label"], row["reason"]) for row in rows if row["path"] == str(odd)] == [("no", None)]
    assert len(rows) == 7


def test_tables_are_all_read_or_the_run_stops(recordings, list_rows, tmp_path):
    (tmp_path / "repo").mkdir()
    for name, paths in {"first": recordings[:3], "test": recordings[3:]}.items():
        of_bytes(paths).to_parquet(tmp_path / "repo" / f"{name}.parquet")
    assert Counter(row["label"] for row in list_rows(tmp_path / "repo")) == {"no": 3, "yes": 3}
    with pytest.raises(DataError, match=r"assigns 1 file to no split.*first\.parquet.*drop data\.splits"):
        list_rows(tmp_path / "repo", splits={"train": "test"})


def test_metadata_beside_recordings_named_as_a_split_is_read(half_named_test, list_rows, tmp_path):
    lines = [f"{path.relative_to(tmp_path / 'audio')},w{i % 3}\n" for i, path in enumerate(half_named_test)]
    (tmp_path / "audio" / "metadata.csv").write_text("file_name,word\n" + "".join(lines[1:]))
    rows = list_rows(tmp_path / "audio", label_column="word")
    assert Counter(row["label"] for row in rows) == {"w0": 7, "w1": 8, "w2": 8}
    listing = read_listing(
        list_clips(HubData(source="hub", name=str(tmp_path / "audio"), label_column="word"), tmp_path)
    )
    assert listing.left_out["not_in_metadata"] == 1


def test_classes_that_are_declared_and_have_no_clip_are_told(recordings, tmp_path):
    (tmp_path / "audio" / "maybe").mkdir()
    in_folder = list_clips(HubData(source="hub", name=str(tmp_path / "audio")), tmp_path / "workspace")
    assert read_listing(in_folder).empty_classes == ("maybe",)
    of_bytes(recordings[:3]).save_to_disk(tmp_path / "saved")
    saved = list_clips(HubData(source="hub", name=str(tmp_path / "saved")), tmp_path / "workspace")
    assert read_listing(saved).empty_classes == ("yes",)


def test_clips_of_splits_that_are_not_named_are_counted(recordings, tmp_path, caplog):
    parts = {"train": recordings[:3], "dev": recordings[3:]}
    DatasetDict({name: of_bytes(paths) for name, paths in parts.items()}).save_to_disk(tmp_path / "saved")
    params = HubData(source="hub", name=str(tmp_path / "saved"), splits={"train": "train"})
    assert read_listing(list_clips(params, tmp_path / "workspace")).left_out["other_splits"] == 3
    assert "3 clips are left out because data.splits does not name their split" in caplog.text


def test_a_folder_with_metadata_has_its_columns(recordings, list_rows, tmp_path):
    lines = [f"{path.relative_to(tmp_path / 'audio')},w{i % 2},s{i}\n" for i, path in enumerate(recordings)]
    (tmp_path / "audio" / "metadata.csv").write_text("file_name,word,speaker\n" + "".join(lines))
    rows = list_rows(tmp_path / "audio", label_column="word", group_column="speaker")
    assert [(row["path"], row["label"], row["group"]) for row in rows] == [
        (str(path), f"w{i % 2}", f"s{i}") for i, path in enumerate(recordings)
    ]


def test_parquet_as_on_the_hub_is_loaded(recordings, list_rows, tmp_path):
    (tmp_path / "repo" / "data").mkdir(parents=True)
    for split, paths in {"train": recordings[:4], "test": recordings[4:]}.items():
        of_bytes(paths).to_parquet(tmp_path / "repo" / "data" / f"{split}-00000-of-00001.parquet")
    rows = list_rows(tmp_path / "repo", splits={"train": "train", "test": "test"})
    assert Counter((row["split"], row["label"]) for row in rows) == {
        ("train", "no"): 3,
        ("train", "yes"): 1,
        ("test", "yes"): 2,
    }


def test_a_configuration_is_chosen_by_its_name(recordings, list_rows, tmp_path):
    repo = tmp_path / "repo"
    lines = ["---", "configs:"]
    for config, paths in {"en": recordings[:2], "de": recordings[2:]}.items():
        (repo / config).mkdir(parents=True)
        of_bytes(paths).to_parquet(repo / config / "train.parquet")
        lines += [f"- config_name: {config}", f"  data_files: {config}/train.parquet"]
    (repo / "README.md").write_text("\n".join([*lines, "---", ""]))
    assert len(list_rows(repo, config="en")) == 2
    assert len(list_rows(repo, config="de")) == 4
    for config in (None, "fr"):
        with pytest.raises(DataError, match=r"(?s)the dataset cannot be loaded: .*'en', 'de'"):
            list_rows(repo, config=config)


def test_the_hub_is_asked_for_the_revision(recordings, list_rows, monkeypatch):
    asked = []

    def load(**where):
        asked.append(where)
        return DatasetDict({"train": of_bytes(recordings)})

    monkeypatch.setattr("datasets.load_dataset_builder", load)
    monkeypatch.setattr("datasets.load_dataset", load)
    assert len(list_rows("lab/digits", config="en", revision="4f2c1d")) == 6
    assert asked == [{"path": "lab/digits", "name": "en", "revision": "4f2c1d"}] * 2


def test_a_stranger_names_no_file_of_ours(recordings, list_rows, tmp_path):
    odd = ["../../up.wav", "a.wav?x=/etc", "a." + "w" * 300, "/etc/passwd.wav"]
    audio = [{"bytes": recordings[i].read_bytes(), "path": name} for i, name in enumerate(odd)]
    Dataset.from_dict({"audio": audio, "label": ["x"] * 4}).save_to_disk(tmp_path / "saved")
    files = tmp_path / "workspace" / "hub" / "files"
    for row in list_rows(tmp_path / "saved"):
        assert Path(row["path"]).parent.parent == files
        assert len(Path(row["path"]).name) <= 64 + 9


def test_missing_columns_and_columns_of_another_kind_are_told(recordings, list_rows, tmp_path):
    of_bytes(recordings).save_to_disk(tmp_path / "saved")
    with pytest.raises(
        DataError, match=r"no such column: data.label_column = word. Its columns: audio, label, speaker"
    ):
        list_rows(tmp_path / "saved", label_column="word")
    Dataset.from_dict({"audio": [1, 2], "label": [["x"], ["y"]]}).save_to_disk(tmp_path / "numbers")
    with pytest.raises(DataError, match=r"the column audio holds .*int64.*, not audio"):
        list_rows(tmp_path / "numbers")
    Dataset.from_dict({"audio": ["a.wav"], "label": [["x"]]}).save_to_disk(tmp_path / "lists")
    with pytest.raises(DataError, match=r"the column label holds .*, but text is needed"):
        list_rows(tmp_path / "lists")


def test_a_data_set_that_is_not_there_is_told(list_rows, tmp_path):
    (tmp_path / "empty").mkdir()
    for name in (tmp_path / "none", tmp_path / "empty"):
        with pytest.raises(DataError, match=f"data.name = {name}: the dataset cannot be loaded"):
            list_rows(name)


def test_what_the_network_did_is_no_mistake_of_the_user(list_rows):
    with pytest.raises(ConnectionError):
        list_rows("nobody/nothing-at-all")


def test_listing_without_the_hub_does_not_import_datasets():
    script = "import sys, audiocls.sources.manifest; sys.exit('datasets' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


@pytest.mark.parametrize("named", [True, False])
def test_lists_of_labels_are_listed_with_their_names_and_a_missing_list_is_no_annotation(
    named, recordings, list_rows, tmp_path
):
    given = [[0, 1], [1], [], [0], None, [1, 1]]
    labels = given if named else [None if each is None else [NAMES[i] for i in each] for each in given]
    kind = ClassLabel(names=[*NAMES, "maybe"]) if named else Value("string")
    features = Features({"audio": {"bytes": Value("binary"), "path": Value("string")}, "label": Sequence(kind)})
    rows = [
        {"audio": {"bytes": path.read_bytes(), "path": path.name}, "label": label}
        for path, label in zip(recordings, labels, strict=True)
    ]
    data = Dataset.from_list(rows, features=features).cast_column("audio", Audio(decode=False))
    data.save_to_disk(tmp_path / "saved")
    found = list_rows(tmp_path / "saved", labels="multi")
    by_content = {Path(row["path"]).read_bytes(): row for row in found}
    ordered = [by_content[path.read_bytes()] for path in recordings]
    assert [row["labels"] for row in ordered] == [["no", "yes"], ["yes"], [], ["no"], [], ["yes"]]
    assert [row["label"] for row in ordered] == ["no + yes", "yes", "(none)", "no", None, "yes"]
    (manifest,) = (tmp_path / "workspace" / "manifests").glob("*.parquet")
    assert read_listing(manifest).empty_classes == (("maybe",) if named else ())


def test_one_label_a_row_is_no_list_of_labels(recordings, list_rows, tmp_path):
    of_bytes(recordings).save_to_disk(tmp_path / "saved")
    with pytest.raises(DataError, match=r"data\.labels=multi needs a list of labels in each row"):
        list_rows(tmp_path / "saved", labels="multi")
