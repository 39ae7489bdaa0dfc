"""Evaluations as a training leaves them, of invented answers to real recordings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile

from audiocls.evaluation.calibration import calibration_metrics, write_calibration
from audiocls.evaluation.scoring import Evaluation
from audiocls.evaluation.tables import label_set_rows, prediction_rows, predictions_file
from audiocls.metrics.classification import ranking_metrics, summary_metrics
from audiocls.metrics.clip_scores import LabelScores
from audiocls.params.run import RunParams
from audiocls.sources.label_sets import class_names, targets_of, with_label_sets
from audiocls.sources.manifest import list_clips
from audiocls.splits.prepared_data import PreparedData
from audiocls.waveforms.corpus import collect_corpus

RATE_HZ = 16_000
SECONDS = (0.4, 1.0, 2.5, 6.0)
GROUPS = 12


def record_clips(folder: Path, fill_store) -> PreparedData:
    """Write a store of chirps of SECONDS length."""
    (folder / "recordings" / "chirp").mkdir(parents=True)
    for number, seconds in enumerate(SECONDS):
        time = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
        sound = 0.3 * np.sin(2 * np.pi * (300 + 900 * time / seconds) * time)
        soundfile.write(folder / "recordings" / "chirp" / f"{number}.wav", sound, RATE_HZ)
    data = {"source": "folder", "path": str(folder / "recordings")}
    params = RunParams.model_validate({"experiment": "made", "workspace": str(folder), "data": data})
    manifest = list_clips(params.data, folder)
    corpus = collect_corpus(manifest, fill_store(manifest, folder), folder)
    return PreparedData(corpus.clips, corpus.store, params)


def make_evaluation(
    folder: Path, recorded: PreparedData, labels: Sequence[str], num_clips: int, name: str = "clips/{}.wav"
) -> tuple[Evaluation, PreparedData]:
    """Write the tables of test clips with one label each, of which about a tenth is wrong; `name` is of the clips."""
    rng = np.random.default_rng(len(labels))
    clips = _clips(recorded, num_clips, name).assign(label=[labels[i % len(labels)] for i in range(num_clips)])
    classes = class_names(clips)
    targets = targets_of(clips, classes)
    logits = rng.normal(0, 1, (num_clips, len(classes))).astype(np.float32)
    logits[np.arange(num_clips), targets] += rng.choice([0.0, 6.0], num_clips, p=[0.1, 0.9])
    folder.mkdir()
    with predictions_file(clips, classes, folder / "predictions.parquet") as write:
        write(prediction_rows(clips, logits, classes, np.ones(num_clips, np.int64)))
    probabilities = pd.read_parquet(folder / "predictions.parquet").filter(like="probability/").to_numpy()
    write_calibration(targets, probabilities, folder)
    found = summary_metrics(targets, logits.argmax(axis=1)) | ranking_metrics(targets, probabilities)
    found |= calibration_metrics(targets, probabilities)
    return _finished(folder, found), _kept(clips, recorded, folder)


def make_label_sets(folder: Path, recorded: PreparedData, num_clips: int) -> tuple[Evaluation, PreparedData]:
    """Write the tables of test clips with none, one or two of three labels."""
    rng = np.random.default_rng(0)
    sets = [["dog"], ["cat", "dog"], [], ["bird"], ["bird", "cat"]]
    clips = with_label_sets(
        _clips(recorded, num_clips, "clips/{}.wav"), [sets[i % len(sets)] for i in range(num_clips)]
    )
    labels = class_names(clips)
    targets = targets_of(clips, labels)
    scores, thresholds = LabelScores(np.arange(num_clips), targets), np.full(len(labels), 0.5)
    scores.add((rng.normal(0, 1.5, targets.shape) + 4 * targets - 2).astype(np.float32))
    folder.mkdir()
    with predictions_file(clips, labels, folder / "predictions.parquet") as write:
        write(label_set_rows(clips, scores, thresholds, labels, np.ones(num_clips, np.int64)))
    return _finished(folder, scores.metrics(thresholds)), _kept(clips, recorded, folder)


def _clips(recorded: PreparedData, num_clips: int, name: str) -> pd.DataFrame:
    """Return rows of the clips table that share the recordings."""
    rows = pd.read_parquet(recorded.split_clips)
    clips = rows.iloc[np.arange(num_clips) % len(rows)].reset_index(drop=True)
    names = [name.format(i) for i in range(num_clips)]
    groups = [f"group-{i}" for i in np.random.default_rng(0).integers(0, GROUPS, num_clips)]
    return clips.assign(clip_id=names, path=[f"/recordings/{each}" for each in names], group=groups, split="test")


def _kept(clips: pd.DataFrame, recorded: PreparedData, folder: Path) -> PreparedData:
    table = folder.with_name(f"{folder.name}-clips.parquet")
    clips.to_parquet(table)
    return PreparedData(table, recorded.waveforms, recorded.params)


def _finished(folder: Path, metrics: dict[str, float]) -> Evaluation:
    return Evaluation({f"test/{name}": value for name, value in metrics.items()}, folder)
