from __future__ import annotations

import csv

import pytest

from audiocls.inference.label_files import SUFFIXES, write_labels
from audiocls.inference.segments import Segment

SEGMENTS = [Segment("great tit", 0.5, 1.25, 0.75), Segment("a\tb\nc", 61.0, 3_600.123456, 1.0)]


@pytest.fixture
def written(tmp_path):
    def write(label_format, segments=SEGMENTS):
        target = tmp_path / f"x{SUFFIXES[label_format]}"
        return write_labels(segments, target, label_format, "/rec/a b.wav", 8_000).read_text()

    return write


def test_audacity_has_a_line_a_label_with_tabs(written):
    assert written("audacity") == "0.500000\t1.250000\tgreat tit\n61.000000\t3600.123456\ta b c\n"


def test_raven_has_a_selection_table(written):
    rows = [*csv.DictReader(written("raven").splitlines(), delimiter="\t")]
    assert [row["Selection"] for row in rows] == ["1", "2"]
    assert [row["Begin Time (s)"] for row in rows] == ["0.500000", "61.000000"]
    assert {row["High Freq (Hz)"] for row in rows} == {"8000.0"}
    assert [row["Label"] for row in rows] == ["great tit", "a b c"]


def test_rttm_has_ten_fields_without_spaces(written):
    lines = [line.split(" ") for line in written("rttm").splitlines()]
    assert [len(line) for line in lines] == [10, 10]
    assert lines[0] == ["SPEAKER", "a_b", "1", "0.500000", "0.750000", "<NA>", "<NA>", "great_tit", "0.750000", "<NA>"]
    assert float(lines[1][3]) + float(lines[1][4]) == pytest.approx(3_600.123456)


@pytest.mark.parametrize("label_format", SUFFIXES)
def test_without_segments_there_is_a_file_without_labels(label_format, written):
    assert len(written(label_format, []).splitlines()) == (label_format == "raven")
