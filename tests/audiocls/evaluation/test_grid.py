"""Predictions in files against annotations, on cases that can be worked out by hand."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from audiocls.errors import DataError, ParamsError
from audiocls.evaluation.annotations import Annotated
from audiocls.evaluation.detections import Detections, is_predictions, read_detections
from audiocls.evaluation.grid import build_grid, count_events
from audiocls.evaluation.grid_report import GridOptions, score_detections, summarise_detections
from audiocls.inference.label_reading import Detection


def one(*events, path="/r/a.wav", group="g", seconds=3.5) -> Annotated:
    return Annotated(path, group, seconds, [Detection(*event) for event in events])


def found(path="/r/a.wav", *given) -> Detections:
    return Detections({path: [Detection(*each) for each in given]})


def test_a_cell_has_the_labels_that_cover_half_of_it_or_that_it_covers_half_of():
    recording = one(("x", 0.6, 1.5), ("y", 1.9, 2.2), ("z", 3.0, 3.5))
    grid = build_grid([recording], found("/r/a.wav", ("x", 0.0, 0.4, 0.9), ("y", 2.6, 9.0, 0.7)), 1.0)
    assert grid.labels == ["x", "y", "z"]
    assert grid.cells["clip_id"].tolist() == [
        "a.wav@0.00-1.00",
        "a.wav@1.00-2.00",
        "a.wav@2.00-3.00",
        "a.wav@3.00-3.50",
    ]
    # x: 0.4 of cell 0, which is less than half of it, and of the event; half of cell 1.
    assert grid.true[:, 0].tolist() == [False, True, False, False]
    # y: a third of the event is in cell 1, two thirds in cell 2.
    assert grid.true[:, 1].tolist() == [False, False, True, False]
    assert grid.true[:, 2].tolist() == [False, False, False, True]
    # The whole of a short prediction is in cell 0. A prediction that ends after the recording ends with it.
    assert grid.given[:, 0].tolist() == [True, False, False, False]
    assert grid.given[:, 1].tolist() == [False, False, False, True]
    assert grid.scores[:, :2].round(6).tolist() == [[pytest.approx(0.9), 0], [0, 0], [0, 0], [0, pytest.approx(0.7)]]


def test_a_label_at_one_point_in_time_marks_its_cell():
    grid = build_grid([one(("x", 1.2, 1.2))], found("/r/a.wav"), 1.0)
    assert grid.true[:, 0].tolist() == [False, True, False, False]


def test_scores_of_a_case_worked_out_by_hand(tmp_path):
    recordings = [one(("x", 0, 2), ("y", 2, 3), path=f"/r/{name}.wav", group=name, seconds=4.0) for name in "abcdef"]
    # Of x: one cell of two is found, and one more is wrong. Of y: nothing is found.
    given = [Detection("x", 1.0, 2.0, 0.9), Detection("x", 3.0, 4.0, 0.5), Detection("other", 0.0, 1.0, 0.5)]
    detections = Detections({each.path: given for each in recordings})
    report = score_detections(recordings, detections, tmp_path, GridOptions())
    assert (report.cells, report.recordings, report.groups) == (24, 6, 6)
    assert report.metrics["test/precision/x"] == report.metrics["test/recall/x"] == report.metrics["test/f1/x"] == 0.5
    assert report.metrics["test/f1/y"] == 0
    assert report.metrics["test/f1_macro"] == 0.25
    assert report.metrics["test/recall_micro"] == pytest.approx(1 / 3)
    assert report.metrics["test/exact_match"] == 0.25  # the second cell alone
    # The cells of x by score: one right, one wrong, and one of two without a score.
    assert report.metrics["test/map_macro"] == pytest.approx((0.5 * 1 + 0.5 * 0.5 + 0.25) / 2)
    assert report.metrics["test/event_recall"] == 0
    assert report.notes == ("1 predicted label is not annotated, and not scored: other.",)
    said = json.loads((tmp_path / "classification_report.json").read_text())
    assert said["summary"]["f1_macro"]["value"] == 0.25
    assert [each["label"] for each in said["classes"]] == ["x", "y"]
    cells = pd.read_parquet(tmp_path / "predictions.parquet")
    assert cells["correct"].mean() == 0.25
    assert "**F1, macro 0.250" in summarise_detections(report, "x.txt", GridOptions())


def test_events_are_counted_by_group_and_label_unless_predictions_overlap():
    recordings = [one(("x", 0.0, 1.0), ("y", 2.0, 3.0), group="g"), one(("x", 0, 1), path="/r/b.wav", group="h")]
    given = {"/r/a.wav": [Detection("x", 0.1, 1.1), Detection("x", 2.0, 3.0), Detection("y", 2.5, 3.0)]}
    counts = count_events(recordings, given, ["x", "y"], collar_seconds=0.2)
    assert counts.true[0].tolist() == [[1, 1], [1, 0]]
    assert counts.found[0].tolist() == [[2, 1], [0, 0]]
    assert counts.right[0].tolist() == [[1, 0], [0, 0]]
    windows = {"/r/a.wav": [Detection("x", 0.0, 1.0), Detection("x", 0.5, 1.5)]}
    assert count_events(recordings, windows, ["x", "y"], collar_seconds=0.2) is None


def test_a_recording_without_a_prediction_has_none_in_a_folder_and_is_left_out_with_a_single_file(tmp_path):
    recordings = [one(("x", 0, 1), path=f"/r/{name}.wav", group=name) for name in "ab"]
    paths = [each.path for each in recordings]
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "a.txt").write_text("0\t1\tx\n")
    (tmp_path / "labels" / "z.txt").write_text("a text on the labels\n")
    both = score_detections(recordings, read_detections(tmp_path / "labels", paths), tmp_path / "1", GridOptions())
    assert both.metrics["test/recall_micro"] == 0.5
    assert both.left_out == {"not_predicted": 0, "unmatched": 1}
    assert both.notes[0] == "1 recording has no prediction: nothing was found in them."
    assert both.notes[1] == "1 prediction is of no recording here: z.txt."
    single = score_detections(
        recordings, read_detections(tmp_path / "labels" / "a.txt", paths), tmp_path / "2", GridOptions()
    )
    assert single.metrics["test/recall_micro"] == 1
    assert single.left_out == {"not_predicted": 1, "unmatched": 0}
    assert np.isnan(single.labels["f1_low"]).all()  # one group


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".jsonl"])
def test_tables_of_predict_are_read_with_their_ranks_and_their_refusals(tmp_path, suffix):
    table = pd.DataFrame(
        {
            "path": ["r/a.wav", "r/a.wav", "r/b.wav", "r/c.wav", "else.wav"],
            "start_seconds": [0.0, 1.0, np.nan, np.nan, 0.0],
            "end_seconds": [1.0, 2.0, np.nan, np.nan, 1.0],
            "label": ["x", "x + y", None, "y", "x"],
            "probability": [0.75, 0.5, np.nan, 0.25, 0.5],
            "reason": [None, None, "unreadable", None, None],
            "label_1": ["x", "y", None, "y", "x"],
            "probability_1": [0.75, 0.5, np.nan, 0.25, 0.5],
            "label_2": ["y", "x", None, "x", "y"],
            "probability_2": [0.125, 0.5, np.nan, 0.125, 0.5],
        }
    )
    file = tmp_path / f"found{suffix}"
    match suffix:
        case ".csv":
            table.to_csv(file, index=False)
        case ".parquet":
            table.to_parquet(file)
        case ".jsonl":
            table.to_json(file, orient="records", lines=True)
    assert is_predictions(str(file))
    read = read_detections(file, ["/data/r/a.wav", "/data/r/b.wav", "/data/r/c.wav"])
    assert read.of["/data/r/a.wav"] == [
        Detection("x", 0.0, 1.0, 0.75),
        Detection("x", 1.0, 2.0, 0.5),
        Detection("y", 1.0, 2.0, 0.5),
    ]
    assert read.of["/data/r/c.wav"] == [Detection("y", 0.0, np.inf, 0.25)]
    assert Detection("y", 0.0, 1.0, 0.125) in read.ranked["/data/r/a.wav"]
    assert (read.refused, read.unmatched, read.have_scores) == ({"/data/r/b.wav"}, ["else.wav"], True)


def test_what_is_no_prediction_of_the_corpus_is_refused(tmp_path):
    other = tmp_path / "other.csv"
    other.write_text("file,class\na.wav,x\n")
    with pytest.raises(DataError, match="no columns path and label"):
        read_detections(other, ["/r/a.wav"])
    (tmp_path / "z.txt").write_text("0\t1\tx\n")
    with pytest.raises(DataError, match=r"no prediction is of a recording of the corpus.*z\.txt.*/r/a\.wav"):
        read_detections(tmp_path / "z.txt", ["/r/a.wav"])
    with pytest.raises(DataError, match="none has an annotated event"):
        score_detections([one()], found("/r/a.wav"), tmp_path, GridOptions())
    with pytest.raises(ParamsError, match=r"--grid-seconds 0: must be from 0\.01 to 3600"):
        GridOptions(grid_seconds=0)
    assert not is_predictions(str(tmp_path / "nowhere"))
    (tmp_path / "config.json").write_text("{}")
    assert not is_predictions(str(tmp_path))  # a model
