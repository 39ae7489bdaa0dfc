from __future__ import annotations

import csv
import io
import json
import os
from importlib.util import find_spec

import pytest
from tiny_classifiers import save_classifier, write_clips

from audiocls.inference import prediction
from flows.predict import main


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
