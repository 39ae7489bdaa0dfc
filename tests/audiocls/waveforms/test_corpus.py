from __future__ import annotations

import shutil

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings, strategies as st

from audiocls.errors import DataError
from audiocls.params.data import FolderData, TableData
from audiocls.sources.manifest import list_clips
from audiocls.waveforms.corpus import Corpus, check_quarantine, collect_corpus, quarantine_summary, quarantined


@pytest.fixture
def collect(list_table, fill_store, tmp_path):
    """A function that makes the corpus of a table's rows."""

    def collected(rows, columns=("path", "label"), workspace=tmp_path):
        manifest = list_table(workspace, rows, columns)
        return collect_corpus(manifest, fill_store(manifest, workspace), workspace)

    return collected


@pytest.fixture
def dirty(collect, write_tone, tmp_path):
    """Two good clips, one without a label, one too short, one that is no audio, one missing."""
    (tmp_path / "text.wav").write_text("no audio")
    for name, hz, seconds in (("a", 200, 0.1), ("b", 300, 0.1), ("bare", 400, 0.1), ("short", 500, 0.01)):
        write_tone(tmp_path / f"{name}.wav", hz, seconds)
    labels = {"a": "x", "b": "y", "bare": None, "short": "x", "text": "y", "gone": None}
    return collect([(f"{name}.wav", label) for name, label in labels.items()])


def quarantine_of(fraction_bad, total, tmp_path):
    """A corpus of which only the counts and the quarantine table are there."""
    bad = pd.DataFrame({"clip_id": [f"{i}.wav" for i in range(fraction_bad)], "reason": "silent", "detail": "all zero"})
    bad.to_parquet(tmp_path / "quarantine.parquet")
    return Corpus(tmp_path, tmp_path / "quarantine.parquet", tmp_path, "", total - fraction_bad, fraction_bad)


# Clips and quarantine


def test_good_clips_and_quarantined_ones_make_up_the_manifest(dirty):
    assert pq.read_table(dirty.clips)["clip_id"].to_pylist() == ["a.wav", "b.wav"]
    assert pq.read_table(dirty.quarantine)["clip_id"].to_pylist() == ["bare.wav", "gone.wav", "short.wav", "text.wav"]
    assert (dirty.num_clips, dirty.num_quarantined) == (2, 4)


def test_a_quarantined_clip_has_a_reason_and_a_detail(dirty):
    rows = pq.read_table(dirty.quarantine).to_pylist()
    assert {row["clip_id"]: (row["label"], row["reason"], row["detail"]) for row in rows} == {
        "bare.wav": (None, "unlabelled", "the source gives no label"),
        "gone.wav": (None, "missing", "no such file"),
        "short.wav": ("x", "too_short", "0.010 s, and audio.min_seconds is 0.05"),
        "text.wav": ("y", "unreadable", "Format not recognised."),
    }


def test_numbers_are_numbers_and_what_is_missing_is_null(dirty):
    table = pq.read_table(dirty.clips)
    kinds = {field.name: str(field.type) for field in table.schema}
    assert kinds["num_samples"] == kinds["first_sample"] == "int64"
    assert kinds["source_rate_hz"] == "int32"
    assert kinds["source_channels"] == "int16"
    assert kinds["scale"] == "float"
    assert kinds["split"] == kinds["label"] == kinds["audio_hash"] == "string"
    assert table["split"].to_pylist() == [None, None]
    assert table["num_samples"].to_pylist() == [1_600, 1_600]
    assert not {"reason", "detail"} & set(table.column_names)


def test_the_columns_are_the_same_whether_or_not_a_clip_is_bad(collect, write_tone, tmp_path, dirty):
    clean = collect([("a.wav", "x")], workspace=tmp_path)
    assert pq.read_schema(clean.clips).equals(pq.read_schema(dirty.clips))
    assert pq.read_table(clean.quarantine).num_rows == 0


def test_a_corpus_without_a_good_clip_has_the_same_columns(collect, dirty):
    bad = collect([("text.wav", "x"), ("gone.wav", "x")])
    assert (bad.num_clips, bad.num_quarantined) == (0, 2)
    assert pq.read_schema(bad.clips).equals(pq.read_schema(dirty.clips))


def test_groups_and_splits_come_through(collect, write_tone, tmp_path):
    for name, hz in (("a", 200), ("b", 300)):
        write_tone(tmp_path / f"{name}.wav", hz)
    corpus = collect(
        [("a.wav", "x", "ann", "train"), ("b.wav", "x", "bob", "test")], ("path", "label", "group", "split")
    )
    table = pq.read_table(corpus.clips, columns=["group", "split"])
    assert table.to_pydict() == {"group": ["ann", "bob"], "split": ["train", "test"]}


def test_one_file_under_two_labels_is_two_clips_of_one_audio(collect, write_tone, tmp_path):
    write_tone(tmp_path / "a.wav")
    clips = pq.read_table(collect([("a.wav", "x"), ("a.wav", "y")]).clips).to_pydict()
    assert clips["clip_id"] == ["a.wav", "a.wav#2"]
    assert clips["label"] == ["x", "y"]
    assert len(set(clips["audio_hash"])) == 1


def test_the_same_audio_in_another_container_has_the_same_audio_hash(collect, tmp_path, encode, tone):
    samples = (tone(440, 0.1) * 32_767).astype(np.int16)
    for name, container in (("a.wav", "WAV"), ("a.flac", "FLAC")):
        (tmp_path / name).write_bytes(encode(samples, container=container))
    clips = pq.read_table(collect([("a.wav", "x"), ("a.flac", "x")]).clips).to_pydict()
    assert len(set(clips["content_sha256"])) == 2
    assert len(set(clips["audio_hash"])) == 1


def test_what_the_manifest_refuses_is_quarantined_unread(write_tone, fill_store, tmp_path):
    for name in ("in/a.wav", "out.wav"):
        write_tone(tmp_path / name)
    (tmp_path / "in" / "clips.csv").write_text("path,label\na.wav,x\n../out.wav,x\n../gone.wav,\n")
    manifest = list_clips(TableData(source="table", path=tmp_path / "in" / "clips.csv", stay_in_folder=True), tmp_path)
    plan = fill_store(manifest, tmp_path)
    corpus = collect_corpus(manifest, plan, tmp_path)
    assert pq.read_table(plan.plan)["path"].to_pylist() == [str(tmp_path / "in" / "a.wav")]
    assert pq.read_table(corpus.clips)["clip_id"].to_pylist() == ["a.wav"]
    bad = pq.read_table(corpus.quarantine).to_pylist()
    assert [(row["clip_id"], row["reason"]) for row in bad] == [
        ("../gone.wav", "outside_folder"),
        ("../out.wav", "outside_folder"),
    ]
    assert all("data.stay_in_folder" in row["detail"] for row in bad)


# The digest


def folder_digest(root, workspace, fill_store):
    manifest = list_clips(FolderData(source="folder", path=root), workspace)
    return collect_corpus(manifest, fill_store(manifest, workspace), workspace).digest


def test_the_digest_is_the_same_when_the_folder_is_moved(fill_store, write_tone, tmp_path):
    for name, hz in (("x/a", 200), ("y/b", 300)):
        write_tone(tmp_path / "here" / f"{name}.wav", hz)
    shutil.copytree(tmp_path / "here", tmp_path / "there" / "deep")
    digest = folder_digest(tmp_path / "here", tmp_path / "w", fill_store)
    assert folder_digest(tmp_path / "there" / "deep", tmp_path / "other-w", fill_store) == digest
    assert len(digest) == 64


@pytest.mark.parametrize(
    "other",
    [
        [("a.wav", "y", "ann", "train"), ("b.wav", "x", "bob", "test")],
        [("a.wav", "x", "bob", "train"), ("b.wav", "x", "bob", "test")],
        [("a.wav", "x", "ann", "test"), ("b.wav", "x", "bob", "test")],
        [("a.wav", "x", "ann", "train"), ("c.wav", "x", "bob", "test")],
        [("a.wav", "x", "ann", "train")],
    ],
)
def test_the_digest_changes_with_label_group_split_and_clips(collect, write_tone, tmp_path, other):
    for name, hz in (("a", 200), ("b", 300), ("c", 400)):
        write_tone(tmp_path / f"{name}.wav", hz)
    columns = ("path", "label", "group", "split")
    first = collect([("a.wav", "x", "ann", "train"), ("b.wav", "x", "bob", "test")], columns)
    changed = collect(other, columns)
    assert changed.digest != first.digest
    assert changed.clips != first.clips


def test_the_digest_changes_with_the_audio(collect, write_tone, tmp_path):
    write_tone(tmp_path / "a.wav", 200, modified_ns=10**18)
    first = collect([("a.wav", "x")])
    write_tone(tmp_path / "a.wav", 201, modified_ns=2 * 10**18)
    assert collect([("a.wav", "x")]).digest != first.digest


def test_the_digest_does_not_depend_on_when_the_clips_came(collect, write_tone, tmp_path):
    for name, hz in (("a", 200), ("b", 300)):
        write_tone(tmp_path / f"{name}.wav", hz)
    rows = [("a.wav", "x"), ("b.wav", "y")]
    collect(rows[1:])
    assert collect(rows).digest == collect(rows).digest


# The limit


@settings(deadline=None, max_examples=60)
@given(total=st.integers(2, 1_000), data=st.data())
def test_the_limit_itself_is_allowed_and_one_clip_more_is_not(tmp_path_factory, total, data):
    bad = data.draw(st.integers(0, total - 2))
    limit = bad / total
    folder = tmp_path_factory.mktemp("corpus")
    check_quarantine(quarantine_of(bad, total, folder), limit)
    with pytest.raises(DataError):
        check_quarantine(quarantine_of(bad + 1, total, folder), limit)


def test_a_limit_written_in_decimals_is_met_exactly(tmp_path):
    for percent in range(1, 100):
        corpus, limit = quarantine_of(percent, 100, tmp_path), float(f"0.{percent:02}")
        assert check_quarantine(corpus, limit) is None
        with pytest.raises(DataError, match=f"{percent} of 100 clips cannot be used"):
            check_quarantine(corpus, limit - 1e-6)


def test_no_good_clip_at_all_stops_the_run_whatever_the_limit(tmp_path):
    with pytest.raises(DataError, match="3 of 3 clips cannot be used"):
        check_quarantine(quarantine_of(3, 3, tmp_path), 1.0)


def test_the_message_names_ten_clips_with_their_reasons_and_counts_the_rest(tmp_path):
    corpus = quarantine_of(14, 20, tmp_path)
    with pytest.raises(DataError) as caught:
        check_quarantine(corpus, 0.05)
    names = ", ".join(f"{i}.wav (silent: all zero)" for i in range(10))
    assert str(caught.value) == (
        f"14 of 20 clips cannot be used, but data.max_bad_fraction is 0.05: {names} and 4 more. "
        f"Full list: {corpus.quarantine}"
    )


# What is told


def test_the_summary_counts_the_reasons(dirty):
    summary = quarantine_summary(dirty)
    assert summary.startswith("4 clips are in quarantine (")
    for reason in ("1 unlabelled", "1 missing", "1 too_short", "1 unreadable"):
        assert reason in summary
    assert summary.endswith(f"see {dirty.quarantine}")


def test_a_clean_corpus_has_no_summary(collect, write_tone, tmp_path):
    write_tone(tmp_path / "a.wav")
    assert quarantine_summary(collect([("a.wav", "x")])) == ""


def test_the_first_rows_of_the_quarantine_are_text_in_every_cell(dirty):
    assert quarantined(dirty, 1) == [
        {"clip_id": "bare.wav", "label": "", "reason": "unlabelled", "detail": "the source gives no label"}
    ]
    assert len(quarantined(dirty, 100)) == 4
