from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import soundfile

from audiocls.audit.report import audit_markdown, write_audit
from audiocls.errors import DataError
from audiocls.near_duplicates.pairs import find_near_duplicates
from audiocls.params.data import FolderData, PoolData, TableData
from audiocls.params.run import AudioParams
from audiocls.sources.manifest import list_clips
from audiocls.waveforms.corpus import check_lost_classes, collect_corpus
from audiocls.waveforms.counts import Stage, count_splits, lost_summary, read_counts, write_counts


@pytest.fixture
def collect(fill_store, tmp_path):
    """A function that makes the corpus of a source."""

    def collected(params, audio=None):
        workspace = tmp_path / "workspace"
        manifest = list_clips(params, workspace)
        return collect_corpus(manifest, fill_store(manifest, workspace, audio), workspace)

    return collected


@pytest.fixture
def folders(root, write_tone):
    """Two classes of three tones by as many speakers."""
    for n, label in enumerate(("low", "high")):
        for i in range(3):
            write_tone(root / label / f"speaker-{i}" / "a.wav", 200 + 300 * n + 10 * i, 0.2)
    return root


def folder(root, **options):
    return FolderData(source="folder", path=root, group_by="folder", **options)


def cut_off(path):
    """A recording of which half is gone, though its header promises all of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.sin(np.arange(8_000) / 7), 16_000)
    path.write_bytes(path.read_bytes()[:8_000])


def test_what_is_listed_is_what_is_usable_and_what_is_in_quarantine(folders, collect):
    cut_off(folders / "low" / "speaker-0" / "b.wav")
    cut_off(folders / "low" / "speaker-9" / "c.wav")
    (folders / "low" / "notes.txt").touch()
    counts = read_counts(collect(folder(folders)).counts)
    assert counts.listed == Stage(8, 8, 7, {"high": 3, "low": 5})
    assert counts.usable == Stage(6, 6, 6, {"high": 3, "low": 3})
    assert counts.quarantined == {"truncated": 2}
    assert counts.quarantined_of_class == {"low": {"truncated": 2}}
    assert counts.left_out == {"other_suffix": 1}
    assert (counts.lost_classes, counts.lost_groups) == ([], ["low/speaker-9"])
    assert lost_summary(counts) == "1 of 7 groups have no usable clip: low/speaker-9"


def test_a_class_with_no_clip_left_stops_the_run_unless_that_is_allowed(folders, collect):
    for name in "ab":
        cut_off(folders / "cut" / f"{name}.wav")
    (folders / "void").mkdir()
    corpus = collect(folder(folders))
    with pytest.raises(DataError) as caught:
        check_lost_classes(corpus, allow=False)
    message = str(caught.value)
    assert message.startswith(
        "2 of 4 classes have no usable clip: cut (2 clips: 2 truncated), void (no clip is listed). "
    )
    assert "data.allow_lost_classes: true" in message
    assert str(corpus.quarantine) in message
    check_lost_classes(corpus, allow=True)
    assert lost_summary(read_counts(corpus.counts)).endswith(
        "the model cannot predict them. 1 of 7 groups have no usable clip: cut"
    )


def test_a_corpus_that_lost_nothing_passes_and_has_nothing_to_tell(folders, collect):
    corpus = collect(folder(folders))
    check_lost_classes(corpus, allow=False)
    assert lost_summary(read_counts(corpus.counts)) == ""


@pytest.mark.parametrize(
    ("row", "options", "audio", "reason"),
    [
        ("gone.wav,c", {}, {}, "missing"),
        ("a.wav,c", {}, {"min_seconds": 0.15}, "too_short"),
        ("../out.wav,c", {"stay_in_folder": True}, {}, "outside_folder"),
        ("long.wav,c,5,6", {"start_column": "start", "end_column": "end"}, {}, "outside_file"),
        ("long.wav,c,2,1", {"start_column": "start", "end_column": "end"}, {}, "bad_segment"),
    ],
)
def test_a_class_is_lost_whatever_its_clips_were_refused_for(
    root, write_csv, write_tone, collect, row, options, audio, reason
):
    write_tone(root / "a.wav", 200, 0.1)
    write_tone(root.parent / "out.wav", 250, 0.3)
    write_tone(root / "long.wav", 300, 0.3)
    path = write_csv(root, f"path,label,start,end\nlong.wav,a,,\n{row}{',' * (3 - row.count(','))}\n")
    corpus = collect(TableData(source="table", path=path, **options), AudioParams(**audio))
    with pytest.raises(DataError, match=rf"1 of 2 classes has no usable clip: c \(1 clip: 1 {reason}\)"):
        check_lost_classes(corpus, allow=False)


def test_a_given_split_with_no_clip_left_stops_the_run_and_is_not_made_out_of_training(
    root, write_csv, write_tone, collect
):
    write_tone(root / "a.wav")
    path = write_csv(root, "path,label,part\na.wav,x,train\na.wav,x,validation\ngone.wav,x,test\n")
    corpus = collect(TableData(source="table", path=path, split_column="part"))
    with pytest.raises(DataError, match=r"No usable clip is left in the given split test \(1 clip: 1 missing"):
        check_lost_classes(corpus, allow=True)


def test_a_pooled_source_with_no_clip_left_stops_the_run(folders, write_csv, collect):
    table = {"source": "table", "path": write_csv(folders.parent, "path,label\ngone.wav,low\n")}
    first = {"source": "folder", "path": folders}
    corpus = collect(PoolData(source="pool", sources={"ours": first, "theirs": table}))
    with pytest.raises(DataError, match=r"No usable clip is left in the source theirs \(1 clip: 1 missing\)"):
        check_lost_classes(corpus, allow=True)


def test_a_class_that_is_empty_in_one_pooled_source_is_not_lost(folders, tmp_path, write_tone, collect):
    (tmp_path / "more" / "high").mkdir(parents=True)
    write_tone(tmp_path / "more" / "low" / "z.wav", 900)
    sources = {name: {"source": "folder", "path": path} for name, path in (("a", folders), ("b", tmp_path / "more"))}
    corpus = collect(PoolData(source="pool", sources=sources))
    check_lost_classes(corpus, allow=False)


def test_rows_of_one_file_are_counted_as_rows_and_as_a_file(root, write_csv, write_tone, collect):
    write_tone(root / "a.wav")
    path = write_csv(root, "path,label\na.wav,x\na.wav,x\na.wav,\n")
    counts = read_counts(collect(TableData(source="table", path=path)).counts)
    assert (counts.listed.clips, counts.listed.files, counts.unlabelled) == (3, 1, 1)
    assert counts.listed.classes == {"x": 2}
    assert counts.quarantined == {"unlabelled": 1}


def test_each_split_is_counted_and_a_clip_that_is_in_none_is_told(folders, collect, tmp_path):
    corpus = collect(folder(folders))
    counts, table = read_counts(corpus.counts), pd.read_parquet(corpus.clips)
    table["split"] = ["train", "validation", "test"] * 2
    table.to_parquet(tmp_path / "splits.parquet")
    splits = count_splits(counts, tmp_path / "splits.parquet")
    assert splits["test"] == {"clips": 2, "files": 2, "groups": 2, "classes": {"high": 1, "low": 1}}
    written = json.loads(write_counts(counts, tmp_path / "counts.json", splits).read_text(encoding="utf-8"))
    assert set(written["splits"]) == {"train", "validation", "test"}
    assert read_counts(tmp_path / "counts.json") == counts
    table[1:].to_parquet(tmp_path / "splits.parquet")
    with pytest.raises(DataError, match=r"6 clips are usable, but 5 are in the splits .* classes that differ: high"):
        count_splits(counts, tmp_path / "splits.parquet")


# The audit


@pytest.fixture
def audit(collect, tmp_path):
    def audited(params):
        corpus = collect(params)
        near = find_near_duplicates(corpus.clips, corpus.store)
        report = write_audit(corpus, near, tmp_path / "audit")
        return report, json.loads(report.json.read_text(encoding="utf-8"))

    return audited


def test_the_audit_names_a_lost_class_and_what_was_counted(folders, audit):
    cut_off(folders / "cut" / "a.wav")
    (folders / "void").mkdir()
    report, facts = audit(folder(folders))
    assert report.verdict != "No problem was found."
    found = next(f for f in report.findings if f.title == "2 of 4 classes have no usable clip")
    assert found.severity == "problem"
    assert "cut (1 clip: 1 truncated), void (no clip is listed)" in found.text
    assert facts["counts"]["lost_classes"] == ["cut", "void"]
    page = report.html.read_text(encoding="utf-8")
    assert "From the source to the corpus" in page
    assert "<td>listed</td><td>7</td><td>7</td><td>7</td><td>4</td>" in page
    assert "void" in audit_markdown(report)
    assert "classes have no usable clip" in report.line


def test_the_audit_warns_of_labels_and_of_groups_that_look_alike(root, write_csv, write_tone, audit):
    lines = ["path,label,who"]
    labels = ["yes", "Yes", "no", "no\u200b", "1", "1.0", "maybe"]
    for i, label in enumerate(labels):
        for j, who in enumerate(("ann", "Ann ", "bob")):
            write_tone(root / f"{i}{j}.wav", 200 + 40 * i + 9 * j, 0.2)
            lines.append(f"{i}{j}.wav,{label},{who}")
    report, _ = audit(TableData(source="table", path=write_csv(root, "\n".join(lines)), group_column="who"))
    warned = {f.title: f.text for f in report.findings if f.severity == "warning"}
    assert "'1' ~ '1.0', 'Yes' ~ 'yes', 'no' ~ 'no\\u200b'" in warned["3 sets of labels look alike"]
    assert "'Ann' ~ 'ann'" in warned["1 set of groups looks alike"]
    assert "'no\\u200b'" in warned["1 of 7 labels contain invisible characters"]
    assert report.verdict != "No problem was found."


def test_files_that_are_groups_of_their_own_are_not_compared(root, write_tone, audit):
    for label in ("low", "high"):
        for i, name in enumerate(("1.wav", "01.wav", "A.wav", "a.wav")):
            write_tone(root / label / name, 200 + 40 * i + 7 * len(label), 0.2)
    report, _ = audit(FolderData(source="folder", path=root))
    assert not [f.title for f in report.findings if "look alike" in f.title]


def test_a_class_that_lost_half_of_its_clips_is_told(folders, audit):
    for i in range(3):
        cut_off(folders / "low" / f"cut-{i}" / "a.wav")
    report, _ = audit(folder(folders))
    found = next(f for f in report.findings if "lost at least half" in f.title)
    assert (found.severity, found.text) == ("warning", "They are in quarantine: low (3 of 6 clips).")
