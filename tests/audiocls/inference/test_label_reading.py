from __future__ import annotations

import pytest

from audiocls.errors import DataError
from audiocls.inference.label_files import SUFFIXES, write_labels
from audiocls.inference.label_reading import Detection, read_label_file, recording_of
from audiocls.inference.segments import Segment

SEGMENTS = [Segment("song thrush", 0.5, 1.25, 0.75), Segment("rook", 1.0, 3.0, 0.5)]


@pytest.mark.parametrize(("label_format", "scored"), [("audacity", False), ("raven", True)])
def test_what_predict_writes_is_read_again(tmp_path, label_format, scored):
    file = write_labels(SEGMENTS, tmp_path / f"a{SUFFIXES[label_format]}", label_format, "a.wav", 8_000.0)
    assert read_label_file(file) == [
        Detection(each.label, each.start_seconds, each.end_seconds, each.probability if scored else None)
        for each in SEGMENTS
    ]


def test_a_table_of_several_files_and_views_has_each_selection_once_at_its_place_in_its_file(tmp_path):
    heads = (
        "Selection",
        "View",
        "Begin Time (s)",
        "End Time (s)",
        "Species",
        "Confidence",
        "Begin Path",
        "File Offset (s)",
    )
    rows = [
        ("1", "Waveform 1", "2", "4", "rook", "0.9", "/data/a.wav", "2"),
        ("1", "Spectrogram 1", "2", "4", "rook", "0.9", "/data/a.wav", "2"),
        ("2", "Spectrogram 1", "62", "65,5", "wren", "", "/data/b.wav", "2"),
    ]
    file = tmp_path / "all.selections.txt"
    file.write_text("\n".join("\t".join(row) for row in (heads, *rows)), encoding="utf-8-sig")
    assert read_label_file(file) == [
        Detection("rook", 2.0, 4.0, 0.9, "/data/a.wav"),
        Detection("wren", 2.0, 5.5, None, "/data/b.wav"),
    ]


def test_a_label_track_may_have_scores_frequencies_and_empty_lines(tmp_path):
    file = tmp_path / "a.txt"
    file.write_text("1.0\t2.0\trook\t0.25\n\\\t100\t2000\n\n3,5\t3,5\twren\n")
    assert read_label_file(file) == [Detection("rook", 1.0, 2.0, 0.25), Detection("wren", 3.5, 3.5)]
    file.write_text("")
    assert read_label_file(file) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("soon\t2.0\trook", "line 1: 'soon' is not a time in seconds"),
        ("1.0\t2.0\trook\thigh", "line 1: 'high' is not a probability"),
        ("1.0\t2.0\t", "line 1: the label has no text"),
        ("a text", "line 1: a label has a start, an end and a text"),
        ("3.0\t2.0\trook", "rook has the times 3 to 2 s"),
        (
            "Begin Time (s)\tEnd Time (s)\tNote\n1\t2\trook",
            "no column with labels; there are .*Name one by --label-column",
        ),
        ("Begin Time (s)\tEnd Time (s)\tLabel\n1\t2\t", "line 2: the column Label is empty"),
    ],
)
def test_a_file_that_is_no_label_file_is_refused_by_its_line(tmp_path, text, message):
    file = tmp_path / "a.txt"
    file.write_text(text)
    with pytest.raises(DataError, match=message):
        read_label_file(file)


def test_the_label_column_may_be_named(tmp_path):
    file = tmp_path / "a.txt"
    file.write_text("Begin Time (s)\tEnd Time (s)\tLabel\tNote\n1\t2\tx\trook\n")
    assert read_label_file(file, "Note") == [Detection("rook", 1.0, 2.0)]


@pytest.mark.parametrize(
    ("name", "recording"),
    [
        ("a.txt", "/r/one/a.wav"),
        ("a.wav.txt", "/r/one/a.wav"),
        ("a.Table.1.selections.txt", "/r/one/a.wav"),
        ("a.b.selections.txt", "/r/one/a.b.flac"),  # the longest name counts
        ("two/c.txt", "/r/two/c.wav"),
        ("d.txt", None),
        ("ab.txt", None),
    ],
)
def test_a_label_file_is_of_the_recording_that_its_name_begins_with(tmp_path, name, recording):
    paths = ["/r/one/a.wav", "/r/one/a.b.flac", "/r/one/c.wav", "/r/two/c.wav"]
    assert recording_of(tmp_path.joinpath(name).relative_to(tmp_path), paths) == recording


def test_a_label_file_that_may_be_of_two_recordings_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"may belong to .* or "):
        recording_of(tmp_path / "c.txt", ["/r/one/c.wav", "/r/two/c.wav"])
