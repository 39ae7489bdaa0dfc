from __future__ import annotations

import csv
import io
import json
import os
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from bad_recordings import REASONS, lock, write_bad_recordings
from prefect.exceptions import ParameterTypeError
from tiny_classifiers import save_classifier, write_clips

from audiocls.inference import Classifier, PartParams, SegmentParams, onnx_runtime, prediction
from flows import cli
from flows.predict_flow import predict_flow


def main(arguments) -> int:
    return cli.main(["predict", *arguments])


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_classifier(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    return write_clips(tmp_path_factory.mktemp("clips"), 30)


def run(capsys, *argv) -> tuple[int, dict]:
    status = main([*map(str, argv)])
    return status, json.loads(capsys.readouterr().out.splitlines()[-1])


def test_the_last_line_says_how_many_were_answered_and_where(model, clips, tmp_path, capsys):
    out = tmp_path / "out.csv"
    status, said = run(capsys, model, clips, "--out", out, "--threshold", "0.5")
    assert status == 0
    assert said == {
        "answered": 30,
        "unanswered": 1,
        "reasons": {"unreadable": 1},
        "left_out": {"other_suffix": 1},
        "reused": 0,
        "out": str(out),
        "parts": None,
    }
    rows = list(csv.DictReader(out.open()))
    (broken,) = (row for row in rows if row["reason"])
    assert broken["path"].endswith("broken.wav")
    assert broken["detail"]
    assert len(rows) == 31


def test_strict_tells_unanswered_files_by_the_exit_status(model, clips, tmp_path, capsys):
    out = tmp_path / "out.csv"
    assert run(capsys, model, clips, "--out", out, "--strict") == (1, run(capsys, model, clips, "--out", out)[1] | {
        "reused": 0
    })  # fmt: skip
    assert run(capsys, model, clips / "0", "--out", out, "--strict")[0] == 0


def test_without_an_output_rows_are_json_lines_and_on_a_terminal_a_table(model, clips, capsys, monkeypatch):
    assert main([str(model), str(clips / "0"), str(clips / "broken.wav")]) == 0
    *lines, last = map(json.loads, capsys.readouterr().out.splitlines())
    assert len(lines) == last["answered"] + last["unanswered"] == 11
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr("sys.stdout", terminal)
    assert main([str(model), str(clips / "0"), str(clips / "broken.wav"), "--top", "2"]) == 0
    header, *table, last = terminal.getvalue().splitlines()
    assert header.split() == ["path", "label"]
    assert table[0].split()[1] == lines[0]["label"]
    assert len(table[0].split()) == 5
    assert "broken.wav  - unreadable: " in table[-1]


def test_an_empty_name_of_a_model_is_a_mistake(clips, capsys):
    assert main([",", str(clips)]) == 2
    assert capsys.readouterr().err == "error: MODEL: no model is named.\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--out", "out.txt"], "the suffix must be one of .parquet, .csv"),
        (["--out", "s3://bucket/out.csv"], "must be a path on this machine"),
        (["--threshold", "2"], "--threshold 2: must be from 0 to 1"),
        (["--top", "0"], "--top 0: must be at least 1"),
        (["--runner", "thread"], "--runner thread needs --out"),
        (["--model", "/none"], "/none: there is no such folder"),
        (["--out", "/proc/none/out.csv"], "No such file or directory"),
        (["--runtime", "onnx"], "has no model.onnx; run: python -m audiocls.inference.onnx_export"),
        (["--segments", "--windows"], "choose one of them"),
        (["--segments", "--top", "2"], "--segments has no --top"),
        (["--hop", "0.1"], "--hop needs --segments or --windows"),
        (["--windows", "--min-seconds", "1"], "--min-seconds needs --segments"),
        (["--windows", "--hop", "0.1", "--ignore", "a"], "--ignore needs --segments"),
        (["--format", "raven", "--out", "labels"], "--format needs --segments"),
        (["--segments", "--format", "raven"], "--format raven needs --out, the folder of the label files"),
        (["--segments", "--format", "raven", "--out", "out.csv"], "must be a folder with a name, as --format raven"),
        (["--segments", "--format", "raven", "--out", "."], "must be a folder with a name"),
        (["--segments", "--hop", "0.5"], "--hop 0.5: must be above 0 and at most 0.4"),
        (["--windows", "--hop", "0"], "--hop 0: must be above 0"),
        (["--segments", "--on", "0.2", "--off", "0.3"], "needed: 0 < off <= on <= 1"),
        (["--segments", "--ignore", "x"], "--ignore x: the model's labels are a, b, c"),
    ],
)
def test_a_mistake_ends_with_2_and_one_message(arguments, said, model, clips, capsys):
    assert main([str(model), str(clips), *arguments]) == 2
    captured = capsys.readouterr()
    assert said in captured.err
    assert captured.err.count("\n") == 1
    assert captured.out == ""


@pytest.mark.usefixtures("prefect_server")
@pytest.mark.parametrize("kind", ["thread", "process", "dask", "ray"])
def test_the_output_is_the_same_byte_for_byte_whatever_runs_the_shards(
    kind, model, clips, tmp_path, capsys, monkeypatch
):
    if kind in ("dask", "ray") and find_spec(f"prefect_{kind}") is None and "TEST_CLUSTERS" not in os.environ:
        pytest.skip(f"NOT TESTED: --runner {kind} needs pip install 'audiocls[{kind}]', as make test-clusters does")
    run(capsys, model, clips, "--out", tmp_path / "alone.parquet", "--top", "3")
    monkeypatch.setattr(prediction, "SHARD_FILES", 5)
    out = tmp_path / f"{kind}.parquet"
    status, said = run(capsys, model, clips, "--out", out, "--top", "3", "--runner", kind, "--workers", "2")
    assert (status, said["answered"], said["reused"]) == (0, 30, 0)
    assert out.read_bytes() == (tmp_path / "alone.parquet").read_bytes()
    assert run(capsys, model, clips, "--out", out, "--runner", kind)[1]["reused"] == 31


def rows_of(out) -> list[dict]:
    return pq.read_table(out).to_pylist()


def by_path(rows, *columns) -> dict[str, list]:
    found = {}
    for row in rows:
        found.setdefault(row["path"], []).append([row[name] for name in columns])
    return found


def test_every_runtime_has_torchs_answers(exported, clips, tmp_path, capsys):
    answers = {}
    for runtime in ("torch", "onnx", "onnx-int8", "auto"):
        out = tmp_path / f"{runtime}.parquet"
        status, said = run(capsys, exported, clips, "--out", out, "--runtime", runtime, "--top", 3)
        assert (status, said["answered"], said["reasons"]) == (0, 30, {"unreadable": 1})
        answers[runtime] = rows_of(out)
    for runtime, tolerance in (("onnx", 1e-4), ("auto", 1e-4), ("onnx-int8", 0.05)):
        for expected, found in zip(answers["torch"], answers[runtime], strict=True):
            assert found["label"] == expected["label"]
            assert found["probability"] == pytest.approx(expected["probability"], abs=tolerance)
    assert answers["onnx"] != answers["torch"] != answers["onnx-int8"]  # that is what computed them


def test_without_onnx_runtime_the_extra_is_named(exported, clips, capsys, monkeypatch):
    monkeypatch.setattr(onnx_runtime, "find_spec", lambda name: None)
    assert main([str(exported), str(clips), "--runtime", "onnx"]) == 2
    assert capsys.readouterr().err == "error: ONNX needs onnxruntime: pip install 'audiocls[onnx]'\n"


PARTS = ("--hop", "0.1", "--on", "0.96", "--off", "0.92", "--min-seconds", "0.15")


def test_segments_in_a_table_are_those_of_the_classifier(model, clips, tmp_path, capsys):
    out = tmp_path / "segments.parquet"
    status, said = run(capsys, model, clips, "--segments", "--out", out, *PARTS)
    rows = rows_of(out)
    assert (status, said["answered"], said["reasons"]) == (0, 30, {"unreadable": 1})
    assert said["parts"] == len(rows) - 1 > 10
    found = by_path(rows, "label", "start_seconds", "end_seconds", "probability")
    classifier = Classifier.load(model)
    params = SegmentParams(on=0.96, off=0.92, min_seconds=0.15)
    for path in clips.rglob("0*.wav"):
        expected = classifier.segments(path, hop_seconds=0.1, params=params)
        segments = found.pop(str(path), [])
        assert [label for label, *_ in segments] == [segment.label for segment in expected]
        for (_, *numbers), segment in zip(segments, expected, strict=True):
            assert numbers == pytest.approx(segment[1:], abs=1e-6)
    ((broken, ((label, *_),)),) = found.items()
    assert (broken.endswith("broken.wav"), label) == (True, None)
    assert [row["reason"] for row in rows if row["label"] is None] == ["unreadable"]


def test_thresholds_of_the_model_hold_unless_others_are_given(clips, tmp_path, capsys):
    model = save_classifier(tmp_path / "model")
    settings = json.loads((model / "inference.json").read_text())
    (model / "inference.json").write_text(json.dumps(settings | {"segmentation": {"on": 0.9999, "off": 0.5}}))
    assert run(capsys, model, clips, "--segments")[1]["parts"] == 0
    assert run(capsys, model, clips, "--segments", "--on", "0.5")[1]["parts"] >= 30
    assert run(capsys, model, clips, "--segments", "--on", "0.5", "--ignore", "c")[1]["parts"] < 10


def test_windows_are_those_of_the_classifier(model, clips, tmp_path, capsys):
    out = tmp_path / "windows.parquet"
    assert run(capsys, model, clips / "0", "--windows", "--hop", "0.1", "--top", "3", "--out", out)[0] == 0
    found = by_path(rows_of(out), "start_seconds", "end_seconds", "probability", "probability_1", "probability_3")
    classifier = Classifier.load(model)
    assert len(found) == 10
    for path, rows in found.items():
        scores = classifier.windows(path, hop_seconds=0.1)
        expected = np.column_stack(
            [scores.starts / 16_000, (scores.starts + scores.lengths) / 16_000]
            + [np.sort(scores.probabilities, axis=1)[:, column] for column in (2, 2, 0)]
        )
        np.testing.assert_allclose(rows, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("label_format", "suffix", "columns"),
    [("audacity", ".txt", 3), ("raven", ".selections.txt", 9), ("rttm", ".rttm", 10)],
)
def test_a_folder_gets_a_label_file_for_each_recording(label_format, suffix, columns, model, clips, tmp_path, capsys):
    out = tmp_path / "labels"
    out.mkdir()
    (out / f"broken{suffix}").write_text("of an earlier run")
    status, said = run(capsys, model, clips, "--segments", "--format", label_format, "--out", out, *PARTS)
    written = {file.relative_to(out).as_posix(): file.read_text().splitlines() for file in out.rglob(f"*{suffix}")}
    assert (status, len(written)) == (0, 30)
    assert f"0/0000{suffix}" in written
    header, between = int(label_format == "raven"), " " if label_format == "rttm" else "\t"
    assert sum(len(lines) - header for lines in written.values()) == said["parts"] > 10
    assert {len(line.split(between)) for lines in written.values() for line in lines} == {columns}
    (refused,) = csv.DictReader((out / "unusable.csv").open())
    assert (refused["path"], refused["reason"]) == (str(clips / "broken.wav"), "unreadable")
    assert run(capsys, model, clips, "--segments", "--format", label_format, "--out", out, *PARTS)[1]["reused"] == 31


def test_segments_on_a_terminal_have_their_times(model, clips, monkeypatch):
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr("sys.stdout", terminal)
    assert main([str(model), str(clips / "0" / "0003.wav"), "--segments", "--on", "0.4", "--off", "0.4"]) == 0
    header, *table, _ = terminal.getvalue().splitlines()
    assert header.split() == ["path", "start", "end", "label"]
    assert float(table[0].split()[1]) < float(table[0].split()[2]) <= 0.7


@pytest.mark.usefixtures("prefect_server")
def test_the_flow_finds_the_same_segments_with_the_same_runtime(exported, clips, tmp_path, capsys):
    options = ("--segments", "--runtime", "onnx", *PARTS)
    run(capsys, exported, clips, "--out", tmp_path / "alone.parquet", *options)
    status, said = run(capsys, exported, clips, "--out", tmp_path / "flow.parquet", *options, "--runner", "thread")
    assert (status, said["reused"]) == (0, 0)
    assert (tmp_path / "flow.parquet").read_bytes() == (tmp_path / "alone.parquet").read_bytes()


@pytest.mark.parametrize("option", [(), ("--segments",), ("--windows",)])
def test_every_bad_file_has_its_reason_and_the_others_are_answered(option, model, tmp_path, capsys, monkeypatch):
    paths = write_bad_recordings(tmp_path)
    lock(monkeypatch)
    (tmp_path / "all.csv").write_text("\n".join(["path", *map(str, paths)]))
    out = tmp_path / "out.parquet"
    status, said = run(capsys, model, tmp_path / "all.csv", "--out", out, *option)
    assert (status, said["answered"]) == (0, list(REASONS.values()).count(None))
    found = {Path(row["path"]).name: row["reason"] for row in rows_of(out)}
    assert {name: reason for name, reason in found.items() if reason} == {
        name: reason for name, reason in REASONS.items() if reason
    }
    assert all(row["detail"] for row in rows_of(out) if row["reason"])


def test_an_empty_folder_is_a_mistake(model, tmp_path, capsys):
    assert main([str(model), str(tmp_path)]) == 2
    assert capsys.readouterr().err == "error: FILES: no recordings found.\n"


def test_a_deployment_takes_segments_as_json():
    given = {"models": ["model"], "files": ["clips"], "out": "labels", "runtime": "onnx", "label_format": "rttm"}
    asked = given | {"parts": {"kind": "segments", "hop_seconds": 0.5, "ignore": ["a"]}}
    assert predict_flow.validate_parameters(asked)["parts"] == PartParams("segments", hop_seconds=0.5, ignore=("a",))
    with pytest.raises(ParameterTypeError, match="runtime"):
        predict_flow.validate_parameters(asked | {"runtime": "tensorrt"})
