"""Whatever habits a checkpoint has, the model that is trained from it scores in a pipeline as it was evaluated."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from odd_checkpoints import AUDIO, ODD, Odd, write_checkpoint
from safetensors import safe_open
from transformers import AutoConfig, pipeline
from variants import some

from audiocls.balance.selection import balance
from audiocls.evaluation.scoring import evaluate
from audiocls.models.families import build_model
from audiocls.params.run import RunParams
from audiocls.sources.manifest import list_clips
from audiocls.splits.assignment import assign_splits
from audiocls.splits.prepared_data import PreparedData
from audiocls.training.run import fit
from audiocls.waveforms.corpus import collect_corpus
from audiocls.waveforms.shards import write_shard
from audiocls.waveforms.store import plan_store

LABELS = {0: "high", 1: "low", 2: "middle"}


def run_params(workspace: Path, recordings: Path, odd: Odd = ODD["fp16"], checkpoint: Path | None = None, **training):
    return RunParams.model_validate(
        {
            "workspace": str(workspace),
            "data": {"source": "folder", "path": str(recordings), "group_by": "file"},
            "audio": {"max_seconds": 0.3},
            "split": {"test_fraction": 0.25, "validation_fraction": 0.25},
            "model": {"family": odd.family, "pretrained": None if checkpoint is None else str(checkpoint)},
            "evaluation": {"robustness_clips": 0},
            "training": {"batch_size": 4, "max_steps": 1, "learning_rate": 1.0e-3, **training},
        }
    )


@pytest.fixture(scope="module")
def recordings(tmp_path_factory, tone):
    """12 clips exactly as long as the model's input, so that a pipeline, which pads nothing, sees the same."""
    folder = tmp_path_factory.mktemp("recordings")
    for label, hz in (("high", 3_500.0), ("low", 250.0), ("middle", 1_000.0)):
        (folder / label).mkdir()
        for i in range(4):
            # With noise: what rounding does to empty bands shows in frames that are normalised by band.
            noise = np.random.default_rng([i, int(hz)]).normal(0, 0.02, 4_800).astype(np.float32)
            soundfile.write(folder / label / f"{label}-{i}.wav", tone(hz, 0.3) + noise, 16_000)
    return folder


@pytest.fixture(scope="module")
def prepared(recordings, tmp_path_factory):
    """(split clips, balanced, store)."""
    workspace = tmp_path_factory.mktemp("prepared")
    params = run_params(workspace, recordings)
    manifest = list_clips(params.data, workspace)
    plan = plan_store(manifest, params.audio, workspace)
    for shard in plan.shards:
        write_shard(shard, params.audio)
    corpus = collect_corpus(manifest, plan, workspace)
    splits = assign_splits(corpus.clips, params.split, params.seed, workspace)
    return splits, balance(splits, params.balance, params.seed, workspace), corpus.store


def train_and_evaluate(prepared, params: RunParams, folder: Path) -> tuple[Path, pd.DataFrame]:
    """Return the model's folder and the table of predictions."""
    splits, balanced, store = prepared
    data = PreparedData(splits, store, params)
    model = fit(data, balanced, folder, lambda metrics, step: None)
    evaluate(model.folder, data, folder / "evaluation")
    return model.folder, pd.read_parquet(folder / "evaluation" / "predictions.parquet")


def assert_scores_are_the_pipelines(folder: Path, predictions: pd.DataFrame, recordings: Path) -> None:
    classify = pipeline("audio-classification", model=str(folder), device="cpu", top_k=None)
    for row in predictions.to_dict("records"):
        waveform, _ = soundfile.read(recordings / row["label"] / Path(row["path"]).name, dtype="float32")
        scores = {each["label"]: each["score"] for each in classify(waveform)}
        expected = {name: row[f"probability/{name}"] for name in LABELS.values()}
        assert scores == pytest.approx(expected, abs=1e-4)


QUICK = (
    "fp16", "bf16 and tuples, our own", "regression", "several labels", "labels that are no names", "a sum of layers",
    "speech recognition by CTC", "whisper with its decoder", "a whole clap", "padding in front",
)  # fmt: skip


@pytest.mark.parametrize("habit", some(ODD, QUICK))
def test_a_model_from_an_odd_checkpoint_scores_in_a_pipeline_as_it_was_evaluated(habit, prepared, recordings, tmp_path):
    checkpoint = write_checkpoint(ODD[habit], tmp_path / "checkpoint")
    params = run_params(tmp_path, recordings, ODD[habit], checkpoint)
    folder, predictions = train_and_evaluate(prepared, params, tmp_path)
    assert len(predictions) == 6
    assert_scores_are_the_pipelines(folder, predictions, recordings)
    config = AutoConfig.from_pretrained(folder)
    assert (config.problem_type, config.id2label) == ("single_label_classification", LABELS)
    with safe_open(folder / "model.safetensors", "pt") as weights:
        kinds = {weights.get_slice(name).get_dtype() for name in weights.keys()}  # noqa: SIM118
    assert kinds <= {"F32", "I64"}


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_weights_stored_as_fp16_are_trained_as_float32_whatever_the_precision(
    precision, prepared, recordings, tmp_path
):
    checkpoint = write_checkpoint(ODD["fp16"], tmp_path / "checkpoint")
    params = run_params(tmp_path, recordings, checkpoint=checkpoint, precision=precision)
    model, _ = build_model(params.model, AUDIO, list(LABELS.values()))
    assert {weight.dtype for weight in model.parameters()} == {torch.float32}
    assert model.config.dtype == torch.float32
    assert_scores_are_the_pipelines(*train_and_evaluate(prepared, params, tmp_path), recordings)
