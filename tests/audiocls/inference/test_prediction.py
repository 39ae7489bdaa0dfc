from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from tiny_classifiers import save_classifier, write_clips, write_noise

from audiocls.errors import MissingExtraError, ParamsError, StoreError
from audiocls.inference import onnx_runtime, prediction, runtime_choice
from audiocls.inference.classifier import Classifier
from audiocls.inference.groups import GROUP_FILES, group_files
from audiocls.inference.journal import journal_of, locked_journal
from audiocls.inference.label_folder import label_names
from audiocls.inference.parts import PartParams
from audiocls.inference.prediction import PredictParams, plan_predictions, score_shard, write_predictions
from audiocls.inference.recordings import list_recordings
from audiocls.inference.rows import TableParams

SUPPORT = Path(__file__).parents[2] / "support"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_classifier(tmp_path_factory.mktemp("model"))


@pytest.fixture
def clips(tmp_path):
    return write_clips(tmp_path / "clips", 70)


def predict(model, clips, out, threads=1, top=3, threshold=None, shard_files=40, models=None, **asked):
    found = list_recordings([clips])
    params = PredictParams(tuple(models or [str(model)]), "cpu", threads, **asked)
    with locked_journal(out):
        plan = plan_predictions(found.paths, found.left_out, params, out, shard_files)
        for shard in plan.shards:
            score_shard(shard, plan.params)
        return write_predictions(plan, TableParams(top, threshold))


def scored(summary) -> int:
    return summary.answered + summary.unanswered - summary.reused


@pytest.mark.parametrize(("parts", "randomly", "in_lines"), [("none", 2, 2), ("segments", 1, 1)])
def test_after_kills_at_any_time_the_output_is_that_of_an_undisturbed_run_byte_for_byte(
    parts, randomly, in_lines, model, clips, tmp_path
):
    out = tmp_path / "outputs"
    out.mkdir()
    counts = map(str, (randomly, in_lines))
    command = [sys.executable, SUPPORT / "disturbed_predictions.py", model, clips, out, *counts, parts]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    summaries = json.loads(done.stdout)
    whole = (out / "whole.parquet").read_bytes()
    assert len(summaries) == 1 + randomly + in_lines
    assert [name for name in summaries if (out / f"{name}.parquet").read_bytes() != whole] == []
    assert {(each["answered"], each["unanswered"]) for each in summaries.values()} == {(70, 1)}
    reused = [summaries[f"line-{number}"]["reused"] for number in range(in_lines)]
    assert reused[0] == 0
    assert reused == sorted(set(reused))  # each line that was written whole is used


def test_the_answers_are_those_of_the_classifier_and_the_same_whatever_the_threads_and_shards(model, clips, tmp_path):
    outputs = []
    for number, (threads, shard_files) in enumerate([(1, 1), (3, 1_000)]):
        predict(model, clips, tmp_path / f"{number}.csv", threads, shard_files=shard_files)
        outputs.append((tmp_path / f"{number}.csv").read_bytes())
    assert outputs[0] == outputs[1]
    predict(model, clips, tmp_path / "out.parquet")
    rows = pq.read_table(tmp_path / "out.parquet").to_pylist()
    answers = Classifier.load(model).predict([row["path"] for row in rows])
    assert [row["label"] for row in rows] == [answer.label for answer in answers]
    assert [row["windows"] or 0 for row in rows] == [answer.windows for answer in answers]
    assert [row["reason"] for row in rows] == [answer.reason for answer in answers]
    for row, answer in zip(rows, answers, strict=True):
        ranked = [(row[f"label_{rank}"], row[f"probability_{rank}"]) for rank in (1, 2, 3) if row["label"]]
        assert [label for label, _ in ranked] == [label for label, _ in answer.top(3)]
        np.testing.assert_allclose([p for _, p in ranked], [p for _, p in answer.top(3)], atol=1e-6)


def test_what_changed_is_scored_again_and_all_else_is_kept_so_that_the_output_is_that_of_a_new_run(
    model, clips, tmp_path
):
    out = tmp_path / "out.jsonl"
    first = predict(model, clips, out)
    assert (first.answered, first.unanswered, first.reused) == (70, 1, 0)
    assert predict(model, clips, out).reused == 71
    size = write_noise(clips / "0" / "0003.wav", 0.7, seed=99).stat().st_size
    write_noise(clips / "1" / "more.wav", 0.3, seed=98)
    (clips / "2" / "0005.wav").unlink()
    assert size == (clips / "0" / "0003.wav").stat().st_size
    again = predict(model, clips, out)
    assert (again.answered, again.unanswered) == (70, 1)
    assert 0 < scored(again) <= 71
    predict(model, clips, tmp_path / "new.jsonl")
    assert out.read_bytes() == (tmp_path / "new.jsonl").read_bytes()
    os.utime(clips / "0" / "0006.wav", ns=(1, 1))
    assert scored(predict(model, clips, out)) > 0


def test_other_weights_or_settings_make_all_answers_anew(clips, tmp_path):
    model, out = save_classifier(tmp_path / "model"), tmp_path / "out.csv"
    predict(model, clips, out)
    before = out.read_bytes()
    save_classifier(tmp_path / "model", seed=2)
    assert predict(model, clips, out).reused == 0
    assert out.read_bytes() != before
    settings = json.loads((model / "inference.json").read_text())
    (model / "inference.json").write_text(json.dumps(settings | {"temperature": 2.0}))
    assert predict(model, clips, out).reused == 0
    # These are only how answers are told.
    assert predict(model, clips, out, top=1, threshold=0.9).reused == 71


def test_other_segments_are_found_anew(model, clips, tmp_path):
    out = tmp_path / "out.csv"
    asked = [None, *(PartParams("segments", on=on) for on in (0.6, 0.9)), PartParams("windows")]
    for parts in asked:
        assert predict(model, clips, out, parts=parts, top=1).reused == 0
        assert predict(model, clips, out, parts=parts, top=1).reused == 71


def test_another_runtime_makes_all_answers_anew_and_so_does_another_export(exported, clips, tmp_path):
    model, out = shutil.copytree(exported, tmp_path / "model"), tmp_path / "out.csv"
    predict(model, clips, out)
    for _ in range(2):
        assert predict(model, clips, out, runtimes=("onnx",)).reused == 0
        assert predict(model, clips, out, runtimes=("onnx",)).reused == 71
        with (model / "model.onnx").open("ab") as file:  # a field that no reader knows, for another digest
            file.write(b"\xfa\x7f\x00")
    assert predict(model, clips, out).reused == 0


def test_auto_goes_on_with_the_runtime_that_it_began_with(exported, clips, tmp_path, monkeypatch):
    out = tmp_path / "out.csv"
    for faster, slower in (("onnx", "torch"), ("torch", "onnx")):
        seconds = [0.1, 0.2] if faster == "torch" else [0.2, 0.1]
        monkeypatch.setattr(runtime_choice, "seconds_per_window", lambda runtimes, samples, seconds=seconds: seconds)
        before = predict(exported, clips, out, runtimes=(slower,))
        assert before.answered == 70
        # What is measured now says otherwise, and the answers that are kept go on.
        assert predict(exported, clips, out, runtimes=("auto",)).reused == 71
        new = predict(exported, clips, tmp_path / f"{faster}.csv", runtimes=("auto",))
        assert new.reused == 0
        predict(exported, clips, tmp_path / f"{faster}.2.csv", runtimes=(faster,))
        assert (tmp_path / f"{faster}.csv").read_bytes() == (tmp_path / f"{faster}.2.csv").read_bytes()
    monkeypatch.setattr(onnx_runtime, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match="onnxruntime"):
        predict(exported, clips, tmp_path / "new.csv", runtimes=("onnx",))


def test_exported_models_answer_the_same_whatever_the_threads_and_shards(exported, clips, tmp_path):
    outputs = []
    for number, (threads, shard_files) in enumerate([(1, 1_000), (3, 1)]):
        predict(exported, clips, tmp_path / f"{number}.csv", threads, shard_files=shard_files, runtimes=("onnx",))
        outputs.append((tmp_path / f"{number}.csv").read_bytes())
    assert outputs[0] == outputs[1]


def test_segments_take_one_model(model, clips, tmp_path):
    with pytest.raises(ParamsError, match=r"--segments takes one model, and 2 are named"):
        predict(None, clips, tmp_path / "out.csv", models=[str(model)] * 2, parts=PartParams("segments"))


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["/a/b/x.wav", "/a/c/d/y.mp3"], ["b/x.txt", "c/d/y.txt"]),
        (["/a/x.wav", "/a/x.mp3", "/a/y.wav"], ["x.wav.txt", "x.mp3.txt", "y.wav.txt"]),
        (["s3://bucket/b/x.wav", "s3://bucket/../b/y.wav"], ["x.txt", "y.txt"]),
        (["/a/x.wav", "s3://bucket/x.wav"], ["a/x.txt", "bucket/x.txt"]),
        (["/a/x.wav"], ["x.txt"]),
    ],
)
def test_label_files_lie_as_the_recordings_do(paths, names):
    assert label_names(paths, ".txt") == names


def test_one_file_more_leaves_most_groups_as_they_are(tmp_path):
    paths = [str(tmp_path / f"{number:05d}.wav") for number in range(2_000)]
    before, after = list(group_files(paths)), list(group_files([*paths[:70], str(tmp_path / "new.wav"), *paths[70:]]))
    assert [path for group in before for path in group.paths] == paths
    assert max(len(group.paths) for group in before) <= GROUP_FILES
    assert len({group.key for group in before} - {group.key for group in after}) <= 3


def test_a_large_file_is_a_group_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setattr("audiocls.inference.groups._ALONE_BYTES", 10_000)
    paths = [str(write_noise(tmp_path / f"{n}.wav", seconds, n)) for n, seconds in enumerate([0.1, 0.1, 1, 0.1])]
    assert tuple(paths[2:3]) in [group.paths for group in group_files(paths)]


def test_several_models_are_averaged_by_label(clips, tmp_path):
    models = [save_classifier(tmp_path / "one", "abc", 1), save_classifier(tmp_path / "two", "cab", 2)]
    predict(None, clips, tmp_path / "out.parquet", models=[",".join(map(str, models))])
    rows = [row for row in pq.read_table(tmp_path / "out.parquet").to_pylist() if row["reason"] is None]
    answers = [Classifier.load(model).predict([row["path"] for row in rows]) for model in models]
    for row, one, two in zip(rows, *answers, strict=True):
        for rank in (1, 2, 3):
            label = row[f"label_{rank}"]
            mean = (one.probabilities[label] + two.probabilities[label]) / 2
            assert row[f"probability_{rank}"] == pytest.approx(mean, abs=1e-6)


def test_models_of_other_labels_are_refused_with_the_labels(clips, tmp_path):
    models = [str(save_classifier(tmp_path / name, name)) for name in ("abc", "abd")]
    with pytest.raises(ParamsError, match=r"abc and .*abd have different labels, .* only one of them has c, d\."):
        predict(None, clips, tmp_path / "out.csv", models=models)


def test_a_threshold_makes_unknown_of_a_label_and_keeps_the_candidates(model, clips, tmp_path):
    predict(model, clips, tmp_path / "plain.parquet")
    plain = [row for row in pq.read_table(tmp_path / "plain.parquet").to_pylist() if row["label"]]
    middle = float(np.median([row["probability"] for row in plain]))
    predict(model, clips, tmp_path / "out.parquet", threshold=middle)
    rows = [row for row in pq.read_table(tmp_path / "out.parquet").to_pylist() if row["label"]]
    expected = [row["label"] if row["probability"] >= middle else "unknown" for row in plain]
    assert [row["label"] for row in rows] == expected
    assert {"unknown"} < set(expected)
    assert [row["label_1"] for row in rows] == [row["label"] for row in plain]


def test_two_runs_do_not_write_one_output_at_a_time(model, clips, tmp_path):
    out = tmp_path / "out.csv"
    with locked_journal(out), pytest.raises(StoreError, match="another run is writing it"):
        predict(model, clips, out)


def test_only_the_answers_and_their_settings_are_left_in_the_journal(model, clips, tmp_path):
    out = tmp_path / "out.csv"
    predict(model, clips, out)
    assert {file.name for file in journal_of(out).iterdir()} == {"answers.jsonl", "lock", "settings.json"}


def test_a_model_that_is_saved_anew_is_loaded_anew_in_the_same_process(clips, tmp_path):
    model = save_classifier(tmp_path / "model")
    with_first = prediction._load_once(PredictParams((str(model),)), "first")
    assert prediction._load_once(PredictParams((str(model),)), "first") is with_first
    assert prediction._load_once(PredictParams((str(model),)), "second") is not with_first
