from __future__ import annotations

import html
import json
import logging
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import soundfile
import torch
import yaml
from flow_runs import run_flow
from mlflow import MlflowClient
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId
from transformers import AutoFeatureExtractor, AutoModelForAudioClassification

from audiocls.batches.loading import choose_loading
from audiocls.evaluation import held_out
from audiocls.models.inference_settings import load_settings
from audiocls.params_file.reading import load_params
from audiocls.tracking.models import download_model
from audiocls.training import arguments
from flows.train import train_flow

pytestmark = pytest.mark.usefixtures("prefect_server")

TRAINING = {"epochs": 15, "batch_size": 4, "learning_rate": 1.0e-2, "schedule": "cosine"}
TINY = {"config": {"channels": [8, 16]}}


def write_params(folder: Path, tones: Path, **sections) -> Path:
    params = {
        "experiment": "tones",
        "workspace": str(folder / "workspace"),
        "data": {"source": "folder", "path": str(tones), "group_by": "file"},
        "audio": {"max_seconds": 0.3},
        "model": TINY,
        "training": TRAINING,
    }
    path = folder / "tones.yaml"
    path.write_text(yaml.safe_dump(params | sections))
    return path


@pytest.fixture(scope="module")
def finished(tones, tmp_path_factory, prefect_server):
    """One whole run: (its last line on stdout as JSON, its params)."""
    folder = tmp_path_factory.mktemp("finished")
    source = folder / "tones"
    (source / "low").mkdir(parents=True)
    for path in tones.rglob("*.wav"):
        link = source / path.relative_to(tones)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(path)
    (source / "low" / "broken.wav").write_text("this is no recording")
    (source / "void").mkdir()
    data = {"source": "folder", "path": str(source), "group_by": "file", "allow_lost_classes": True}
    augmentation = [{"kind": "noise", "probability": 0.2, "min_snr_db": 30.0}, {"kind": "mixup", "probability": 0.2}]
    sections = {"data": data, "balance": {"method": "oversample"}, "augmentation": augmentation}
    params_file = write_params(folder, source, **sections)
    result = train_flow(str(params_file))
    return result, load_params(params_file)


@pytest.fixture(scope="module")
def run(finished):
    result, params = finished
    return MlflowClient(params.tracking_uri).get_run(result.run_id)


def artifact(finished, path: str) -> Path:
    result, params = finished
    return Path(MlflowClient(params.tracking_uri).download_artifacts(result.run_id, path))


def test_a_lost_class_that_is_allowed_is_named_in_the_summary_the_description_and_a_tag(finished, run):
    lost = "1 of 4 classes has no usable clip: void (no clip is listed); the model cannot predict it"
    assert lost in finished[0].summary
    assert lost in run.data.tags["mlflow.note.content"]
    assert run.data.tags["data.lost_classes"] == "void"
    assert run.data.tags["data.verdict"] != "No problem was found."


def test_what_was_listed_what_is_usable_and_what_each_split_has_is_in_the_run(finished):
    counts = json.loads(artifact(finished, "data/counts.json").read_text(encoding="utf-8"))
    assert counts["listed"]["clips"] == counts["usable"]["clips"] + 1
    assert counts["listed"]["classes"]["void"] == 0
    assert counts["quarantined"] == {"unreadable": 1}
    assert sum(split["clips"] for split in counts["splits"].values()) == counts["usable"]["clips"]
    assert set(counts["splits"]) == {"train", "validation", "test"}


def test_the_result_names_the_run_the_model_the_metrics_and_the_seconds_of_each_stage(finished):
    result, _ = finished
    assert {
        "test/accuracy",
        "test/precision_macro",
        "test/recall_macro",
        "test/f1_macro",
        "validation/f1_macro",
    } <= set(result.metrics)
    assert {"ingest", "cache_waveforms", "assign_splits", "balance_classes", "fit", "evaluate"} <= set(result.seconds)
    assert all(seconds >= 0 for seconds in result.seconds.values())


def test_the_diagnosis_ends_the_summary_in_at_most_five_lines_and_is_in_mlflow(finished, run):
    said = json.loads(artifact(finished, "diagnosis/findings.json").read_text(encoding="utf-8"))
    kinds = {each["kind"] for each in said["findings"]}
    assert {name for name in run.data.tags if name.startswith("finding.")} == {f"finding.{kind}" for kind in kinds}
    assert (run.data.tags["findings"] == "none") == (not kinds)
    lines = finished[0].summary.rpartition("\n\n")[2].splitlines()
    assert 1 <= len(lines) <= 5
    assert all(line.startswith("- ") for line in lines)
    assert finished[0].seconds["diagnose"] > 0


def test_three_tones_are_told_apart(finished):
    result, _ = finished
    assert result.metrics["test/f1_macro"] > 0.9


def test_the_model_loads_with_the_labels_of_the_data_and_knows_its_tones(finished, tones, monkeypatch):
    result, params = finished
    monkeypatch.setenv("MLFLOW_TRACKING_URI", params.tracking_uri)
    waveform, rate_hz = soundfile.read(tones / "high" / "speaker-3" / "high-3.wav", dtype="float32")
    for folder in (result.model, download_model(result.run_id)):
        model = AutoModelForAudioClassification.from_pretrained(folder)
        extractor = AutoFeatureExtractor.from_pretrained(folder)
        assert model.config.id2label == {0: "high", 1: "low", 2: "middle"}
        assert model.config.label2id == {"high": 0, "low": 1, "middle": 2}
        inputs = extractor(waveform, sampling_rate=rate_hz, return_tensors="pt")
        with torch.no_grad():
            assert model.eval()(**inputs).logits.argmax().item() == model.config.label2id["high"]


def test_the_logged_model_has_the_metrics_the_card_and_the_settings_of_the_run(finished, run):
    result, params = finished
    (model,) = MlflowClient(params.tracking_uri).search_logged_models([run.info.experiment_id])
    assert (str(model.status), model.source_run_id) == ("READY", result.run_id)
    of_model = {metric.key: metric.value for metric in model.metrics}
    assert 5 < len(of_model) <= 13
    assert of_model == {name: result.metrics[name] for name in of_model}
    card = (Path(result.model) / "README.md").read_text()
    assert (
        f"| F1, macro | {result.metrics['validation/f1_macro']:.4f} | {result.metrics['test/f1_macro']:.4f} |" in card
    )
    assert model.tags["mlflow.note.content"].splitlines()[0] == "# tones: 3 classes of audio"
    settings = load_settings(Path(result.model))
    assert settings.audio == params.audio
    assert settings.params == params.model_dump(mode="json")
    assert settings.data_digest == run.data.tags["data.digest"]


def test_the_run_holds_params_digest_git_revision_and_the_flow_run(run, finished):
    assert run.info.status == "FINISHED"
    assert run.data.params["training.epochs"] == "15.0"
    assert run.data.params["balance.method"] == "oversample"
    assert run.inputs.dataset_inputs[0].dataset.digest == run.data.tags["data.digest"][:36]
    assert len(run.data.tags["mlflow.source.git.commit"]) == 40
    assert run.data.tags["prefect.flow_run_name"] == run.info.run_name
    assert run.data.tags["prefect.flow_name"] == "train-flow"
    assert run.info.run_name.startswith("tones-")


def test_the_resolved_params_are_logged_and_load_again(finished):
    _, params = finished
    assert load_params(artifact(finished, "params.yaml")) == params


def test_metrics_are_logged_by_step_for_training_and_validation(run, finished):
    _, params = finished
    client = MlflowClient(params.tracking_uri)
    assert len(client.get_metric_history(run.info.run_id, "validation/f1_macro")) >= 15
    losses = client.get_metric_history(run.info.run_id, "train/loss")
    assert losses
    assert losses[-1].step > 0
    assert losses[-1].value < losses[0].value or len(losses) == 1


def test_a_dozen_metrics_are_at_the_top_level_and_the_machine_is_measured(run, finished):
    top = {name for name in run.data.metrics if name.startswith(("test/", "validation/", "train/"))}
    assert {"test/f1_macro", "test/accuracy", "validation/f1_macro", "train/loss"} <= top
    assert len(top) <= 14
    assert run.data.metrics["class/f1/high"] == finished[0].metrics["test/f1/high"]
    assert run.data.metrics["details/test/matthews"] == finished[0].metrics["test/matthews"]
    assert run.data.metrics["system/cpu_utilization_percentage"] >= 0
    assert {name.partition("/")[0] for name in set(run.data.metrics) - top} == {
        "class", "details", "robustness", "system",
    }  # fmt: skip


def test_each_split_is_a_dataset_of_the_run_and_the_test_scores_are_on_the_one_of_test(run, finished):
    found = {each.dataset.name: each.dataset for each in run.inputs.dataset_inputs}
    assert set(found) == {"clips", "train", "validation", "test"}
    assert len({each.digest for each in found.values()}) == 4
    client = MlflowClient(finished[1].tracking_uri)
    (model,) = client.search_logged_models([run.info.experiment_id])
    assert {metric.dataset_digest for metric in model.metrics} == {found["test"].digest}


def test_the_description_begins_with_the_test_score_its_interval_and_the_verdict(run, finished):
    first = run.data.tags["mlflow.note.content"].splitlines()[0]
    score = re.escape(f"{finished[0].metrics['test/f1_macro']:.3f}")
    interval = r"(95 % interval over groups: 0\.\d{3} to [01]\.\d{3}|too few groups for an interval)"
    assert re.fullmatch(rf"\*\*Test macro-F1 {score}\*\* \({interval}\)\. Audit of the data: \w.*", first)
    assert run.data.tags["data.verdict"] == finished[0].verdict
    assert run.data.tags["data.confounds"] == ("; ".join(finished[0].confounds) or "none")
    for doubt in (finished[0].verdict, *finished[0].confounds):
        assert doubt in first
        assert doubt in (Path(finished[0].model) / "README.md").read_text()
    assert finished[0].summary.startswith(first)


def test_the_experiment_has_a_view_with_the_scores_to_which_the_run_links(run, finished):
    experiment = MlflowClient(finished[1].tracking_uri).get_experiment(run.info.experiment_id)
    view = json.loads(experiment.tags["mlflow.sharedViewState.audiocls"])
    assert (view["orderByKey"], view["orderByAsc"]) == ("metrics.`test/f1_macro`", False)
    columns = [re.fullmatch(r"(metrics|params|tags)\.`(.+)`", column) for column in view["selectedColumns"]]
    assert len(columns) > 4
    assert all(column[2] in getattr(run.data, column[1]) for column in columns)
    link = f"#/experiments/{experiment.experiment_id}/runs?workflowType=machine_learning&viewStateShareKey=audiocls"
    assert link in "".join(finished[0].summary.split())


def test_class_counts_before_and_after_are_logged(run, finished):
    counts = json.loads(artifact(finished, "data/class_counts.json").read_text())
    assert set(counts["counts_after"].values()) == {max(counts["counts_before"].values())}
    table = pd.read_csv(artifact(finished, "data/class_counts.csv"), index_col="label")
    assert table["training_clips"].to_dict() == counts["counts_before"]
    assert table["after_balance"].to_dict() == counts["counts_after"]
    assert not [name for name in run.data.metrics if name.startswith("clips_")]
    assert artifact(finished, "data/class_counts.png").stat().st_size > 5_000


def test_a_picture_of_augmented_clips_is_logged(finished):
    assert artifact(finished, "data/augmentation.png").stat().st_size > 5_000


def test_the_audit_is_logged_with_every_training(run, finished):
    facts = json.loads(artifact(finished, "data/audit.json").read_text())
    assert facts["verdict"] == run.data.tags["data.verdict"]
    assert artifact(finished, "data/audit.html").stat().st_size > 20_000


def test_the_broken_file_is_in_the_quarantine_table_with_its_reason(run, finished):
    table = pd.read_parquet(artifact(finished, "data/quarantine.parquet"))
    assert table["clip_id"].tolist() == ["low/broken.wav"]
    assert table["reason"].tolist() == ["unreadable"]
    assert run.data.tags["data.quarantined"] == "1"
    shown = pd.read_csv(artifact(finished, "data/quarantine.csv"), keep_default_na=False)
    assert shown[["clip_id", "reason"]].values.tolist() == [["low/broken.wav", "unreadable"]]


def test_the_table_of_clips_left_out_of_the_split_is_logged_without_rows_too(run, finished):
    table = pd.read_parquet(artifact(finished, "data/dropped.parquet"))
    assert table.columns.tolist() == ["clip_id", "label", "group", "split", "reason", "detail"]
    assert (run.data.tags["data.dropped"], len(table)) == ("0", 0)


def test_the_report_has_the_matrix_as_picture_and_as_numbers_and_every_class(finished):
    matrix = pd.read_csv(artifact(finished, "evaluation/confusion_matrix.csv"), index_col="label")
    predictions = pd.read_parquet(artifact(finished, "evaluation/predictions.parquet"))
    assert matrix.to_numpy().sum() == (predictions["split"] == "test").sum()
    assert list(matrix.index) == list(matrix.columns) == ["high", "low", "middle"]
    report = json.loads(artifact(finished, "evaluation/classification_report.json").read_text())
    assert [row["label"] for row in report["classes"]] == ["high", "low", "middle"]
    assert artifact(finished, "evaluation/confusion_matrix.png").stat().st_size > 5_000
    probabilities = predictions[[f"probability/{name}" for name in matrix.index]].sum(axis=1)
    assert np.allclose(probabilities, 1, atol=1e-5)


def test_the_report_page_is_logged_with_learning_curves_and_named_in_the_summary(finished):
    page = artifact(finished, "evaluation/report.html").read_text(encoding="utf-8")
    assert f"The macro-F1 is {finished[0].metrics['test/f1_macro']:.3f} on" in page
    assert json.loads(artifact(finished, "data/audit.json").read_text())["verdict"] in html.unescape(page)
    assert 'aria-label="Loss. By optimizer step: training ends at' in page
    (named,) = re.findall(r"^Report page: `(.+)`$", finished[0].summary, re.MULTILINE)
    assert Path(named).read_text(encoding="utf-8") == page


def test_the_environment_is_logged(finished):
    environment = json.loads(artifact(finished, "environment.json").read_text())
    assert environment["packages"]["torch"].startswith("2.")


def test_prefect_shows_a_summary_with_the_mlflow_run(run):
    with get_client(sync_client=True) as client:
        artifacts = client.read_artifacts(
            artifact_filter=ArtifactFilter(
                flow_run_id=ArtifactFilterFlowRunId(any_=[run.data.tags["prefect.flow_run_id"]])
            )
        )
    by_key = {a.key: a for a in artifacts}
    assert run.info.run_id in by_key["train-summary"].data
    assert "broken.wav" in str(by_key["quarantine"].data)


def test_a_second_run_decodes_nothing_again(finished, tmp_path):
    result, params = finished
    store = next((params.workspace / "waveforms").iterdir())
    before = {p: p.stat().st_mtime_ns for p in store.glob("shards/*")}
    params_file = tmp_path / "again.yaml"
    params_file.write_text(yaml.safe_dump(params.model_dump(mode="json")))
    again = train_flow(str(params_file), ("training.max_steps=1",))
    assert {p: p.stat().st_mtime_ns for p in store.glob("shards/*")} == before
    assert again.run_id != result.run_id


def test_features_are_kept_where_that_is_asked_for(tones, tmp_path):
    model = {
        "family": "audio-spectrogram-transformer",
        "config": {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "num_mel_bins": 32},
    }
    audio = {"max_seconds": 0.4, "cache_features": "always"}
    params_file = write_params(tmp_path, tones, model=model, training={"max_steps": 1}, audio=audio)
    assert "cache_features" in train_flow(str(params_file)).seconds
    shards = list((tmp_path / "workspace").glob("features/*/shards/*.parquet"))
    assert sum(pq.read_metadata(path).num_rows for path in shards) == 48


def test_a_head_is_balanced_after_training_and_what_it_is_made_of_is_logged(tones, tmp_path):
    balance = {"method": "decoupled", "resampling": "smote", "neighbours": 3}
    params_file = write_params(tmp_path, tones, balance=balance, training={"max_steps": 1})
    result = train_flow(str(params_file))
    client = MlflowClient(load_params(params_file).tracking_uri)
    logged = Path(client.download_artifacts(result.run_id, "data/balance"))
    assert {"head.json", "rows.parquet", "embeddings.png"} < {path.name for path in logged.iterdir()}
    table = pd.read_parquet(logged / "rows.parquet")
    counts = json.loads(Path(client.download_artifacts(result.run_id, "data/class_counts.json")).read_text())
    assert counts["counts_after"] == table["label"].value_counts().to_dict()
    assert counts["rows_of_kind"]["synthetic"] == (table["kind"] == "synthetic").sum() > 0


def test_the_same_params_give_the_same_metrics_and_so_do_workers_as_a_gpu_has(finished, tmp_path, monkeypatch):
    result, params = finished
    params_file = tmp_path / "same.yaml"
    params_file.write_text(yaml.safe_dump(params.model_dump(mode="json")))
    for_gpu = replace(choose_loading("cuda", cores=3), pinned=False)  # pinning takes a GPU
    assert for_gpu.workers == 2
    for module in (arguments, held_out):
        monkeypatch.setattr(module, "choose_loading", lambda device: for_gpu)
    assert train_flow(str(params_file)).metrics == result.metrics


def test_the_command_line_ends_with_one_json_line_on_stdout(tones, tmp_path, capsys):
    params_file = write_params(tmp_path, tones)
    assert run_flow(train_flow, [str(params_file), "training.max_steps=2", "seed=3"]) == 0
    captured = capsys.readouterr()
    result = json.loads(captured.out.splitlines()[-1])
    assert set(result) == {"run_id", "model", "metrics", "verdict", "confounds", "seconds", "unsent"}
    assert Path(result["model"], "model.safetensors").exists()
    assert "macro" in captured.err
    assert "mlflow server" in captured.err


def test_mistakes_in_the_params_end_with_2_and_one_message(tones, tmp_path, capsys):
    params_file = write_params(
        tmp_path, tones, trainign={"epochs": 3}, split={"test_fraction": 0.9, "validation_fraction": 0.5}
    )
    assert run_flow(train_flow, [str(params_file), "training.epochs=many"]) == 2
    captured = capsys.readouterr()
    for expected in (str(params_file), "trainign", "training.epochs", "'many'", "split.test_fraction"):
        assert expected in captured.err
    assert "Traceback" not in captured.err
    assert captured.out == ""


def test_a_missing_folder_ends_with_2_and_one_message(tmp_path, capsys, caplog):
    params_file = write_params(tmp_path, tmp_path / "nowhere")
    assert run_flow(train_flow, [str(params_file)]) == 2
    captured = capsys.readouterr()
    assert "nowhere: no such directory" in captured.err
    assert "Traceback" not in captured.err


def test_too_many_broken_files_stop_the_run_and_are_still_logged(tones, tmp_path, capsys):
    source = tmp_path / "half-broken"
    for label in ("low", "high"):
        (source / label).mkdir(parents=True)
        for i in range(4):
            soundfile.write(source / label / f"{i}.wav", np.sin(np.arange(8_000) * (i + 1) / 9), 16_000)
        (source / label / "zero.wav").write_bytes(b"")
    params_file = write_params(tmp_path, source)
    assert run_flow(train_flow, [str(params_file)]) == 2
    captured = capsys.readouterr()
    assert "2 of 10 clips cannot be used" in captured.err
    assert "high/zero.wav (empty" in captured.err
    assert "Traceback" not in captured.err
    params = load_params(params_file)
    client = MlflowClient(params.tracking_uri)
    (failed,) = client.search_runs([client.get_experiment_by_name("tones").experiment_id])
    assert failed.info.status == "FAILED"
    assert "2 of 10 clips" in failed.data.tags["error"]
    table = pd.read_parquet(client.download_artifacts(failed.info.run_id, "data/quarantine.parquet"))
    assert len(table) == 2


def write_given_split(folder: Path, tones: Path, groups: dict[int, str], copy_of: dict[int, int]) -> Path:
    """Params of a table of the tones, the third of each three in test; some are of one group, or copies of another."""
    paths = sorted(tones.rglob("*.wav"))
    rows = []
    for i, path in enumerate(paths):
        split = ("train", "validation", "test")[i % 3]
        if i in copy_of:
            (folder / path.name).write_bytes(paths[copy_of[i]].read_bytes())
            path = folder / path.name
        rows.append((str(path), paths[i].parts[-3], groups.get(i, f"speaker-{i}"), split))
    pd.DataFrame(rows, columns=["path", "label", "group", "split"]).to_csv(folder / "table.csv", index=False)
    data = {"source": "table", "path": str(folder / "table.csv"), "group_column": "group", "split_column": "split"}
    return write_params(folder, tones, data=data)


def test_a_given_split_with_a_straddling_group_or_copy_stops_the_run_and_names_it(tones, tmp_path, capsys):
    for groups, copy_of, named in (
        ({0: "ann", 1: "ann"}, {}, r"'ann' \(1 in train, 1 in validation\)"),
        ({}, {5: 3}, r"1 recording is in more than one split .*\.wav \(test\) = .*\.wav \(train\)"),
    ):
        params_file = write_given_split(tmp_path, tones, groups, copy_of)
        assert run_flow(train_flow, [str(params_file)]) == 2
        captured = capsys.readouterr()
        assert re.search(named, captured.err)
        assert "Traceback" not in captured.err


def test_a_workspace_that_is_a_file_ends_with_2_and_one_message(tones, tmp_path, capsys):
    params_file = write_params(tmp_path, tones)
    (tmp_path / "workspace").write_text("in the way")
    assert run_flow(train_flow, [str(params_file)]) == 2
    captured = capsys.readouterr()
    assert f"error: workspace = {tmp_path / 'workspace'}: it is a file, and a folder is needed" in captured.err
    assert "Traceback" not in captured.err


def test_a_failed_stage_ends_with_1(tmp_path, capsys):
    params_file = write_params(tmp_path, tmp_path, data={"source": "sample"})
    # A store that is damaged is no mistake in the params: where the sample corpus belongs stands a file.
    (tmp_path / "workspace").mkdir()
    (tmp_path / "workspace" / "sample").write_text("in the way")
    assert run_flow(train_flow, [str(params_file)]) == 1
    captured = capsys.readouterr()
    assert "error: " in captured.err
    assert "Traceback" not in captured.err


def test_the_library_tells_epochs_to_prefect_at_info(finished):
    assert logging.getLogger("audiocls").isEnabledFor(logging.INFO)
