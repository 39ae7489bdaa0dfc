"""Thresholds of segments are tuned on the events of validation recordings, and come with the model."""

from __future__ import annotations

import logging
import shutil

import numpy as np
import pandas as pd
import pytest
import soundfile

from audiocls.balance.selection import balance
from audiocls.evaluation.scoring import evaluate
from audiocls.inference.classifier import Classifier
from audiocls.inference.segments import Segment, SegmentParams
from audiocls.metrics.events import event_f1
from audiocls.models.inference_settings import load_settings
from audiocls.params.data import TableData
from audiocls.params.run import RunParams
from audiocls.sources.manifest import list_clips
from audiocls.splits.prepared_data import PreparedData
from audiocls.training.run import fit
from audiocls.waveforms.corpus import collect_corpus

RATE_HZ = 16_000
HZ = {"low": 400, "high": 2_500}
RECORDINGS = {"train": 8, "validation": 4, "test": 4}


def write_recording(path, seed: int) -> list[tuple[str, float, float]]:
    """Six seconds of noise in which two tones sound; return all that sounds as (label, start, end)."""
    rng = np.random.default_rng(seed)
    sound = rng.normal(0, 0.03, 6 * RATE_HZ)
    events, end = [], 0.0
    for label, earliest in zip(rng.permutation([*HZ]), (0.5, 3.2), strict=True):
        start, seconds = round(earliest + rng.uniform(0, 1), 2), round(rng.uniform(0.8, 1.4), 2)
        first, last = round(start * RATE_HZ), round((start + seconds) * RATE_HZ)
        sound[first:last] += 0.3 * np.sin(np.arange(last - first) * 2 * np.pi * HZ[label] / RATE_HZ)
        events += [("noise", end, start), (str(label), start, round(start + seconds, 2))]
        end = events[-1][2]
    soundfile.write(path, sound.astype(np.float32), RATE_HZ)
    return [*events, ("noise", end, 6.0)]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory, fill_store):
    """(split clips, waveform store, workspace): the clips are segments of recordings."""
    workspace, rows = tmp_path_factory.mktemp("recordings"), []
    for split, count in RECORDINGS.items():
        for number in range(count):
            path = workspace / f"{split}-{number}.wav"
            rows += [(str(path), *event, split) for event in write_recording(path, len(rows))]
    columns = ["path", "label", "start", "end", "split"]
    pd.DataFrame(rows, columns=columns).to_csv(workspace / "events.csv", index=False)
    table = TableData(
        source="table", path=workspace / "events.csv", split_column="split", start_column="start", end_column="end"
    )
    manifest = list_clips(table, workspace)
    corpus = collect_corpus(manifest, fill_store(manifest, workspace), workspace)
    return corpus.clips, corpus.store, workspace


def data_of(prepared, workspace, **evaluation) -> PreparedData:
    params = RunParams.model_validate(
        {
            "workspace": str(workspace),
            "data": {"source": "sample"},
            "audio": {"chunk": {"seconds": 0.3, "hop": 0.1}},
            "model": {"config": {"channels": [4, 8]}},
            "training": {"batch_size": 16, "epochs": 2, "learning_rate": 1.0e-2},
            "evaluation": evaluation,
        }
    )
    return PreparedData(*prepared[:2], params)


@pytest.fixture(scope="module")
def trained(prepared, tmp_path_factory):
    """(model folder, evaluation)."""
    folder = tmp_path_factory.mktemp("trained")
    data = data_of(prepared, folder)
    balanced = balance(data.split_clips, data.params.balance, data.params.seed, folder)
    model = fit(data, balanced, folder, lambda metrics, step: None)
    return model.folder, evaluate(model.folder, data, folder / "evaluation")


def event_scores(prepared, folder, split, params=None):
    """The event scores of the classifier on the whole files of a split."""
    table = pd.read_parquet(prepared[0])
    classifier, true, found = Classifier.load(folder), [], []
    for path, events in table[table["split"] == split].groupby("path"):
        true.append([Segment(*row, 1.0) for row in events[["label", "start_seconds", "end_seconds"]].to_numpy()])
        found.append(classifier.segments(path, params=params))
    return event_f1(true, found, 0.2)


def test_the_tuned_thresholds_are_those_that_the_classifier_uses(trained, prepared):
    folder, evaluation = trained
    tuned = SegmentParams.of(load_settings(folder).segmentation)
    assert load_settings(folder).segmentation.keys() == tuned.as_settings().keys()
    for split in ("validation", "test"):
        scores = event_scores(prepared, folder, split)
        assert evaluation.metrics[f"{split}/event_f1"] == pytest.approx(scores.f1)
        assert scores == event_scores(prepared, folder, split, tuned)
    assert evaluation.metrics["test/event_recall"] == pytest.approx(scores.recall)
    assert evaluation.metrics["validation/event_f1"] > 0.7
    # The grid has values on both sides of the defaults, and these themselves.
    assert evaluation.metrics["validation/event_f1"] >= event_scores(prepared, folder, "validation", SegmentParams()).f1


def test_a_limit_of_minutes_takes_whole_recordings_and_none_keeps_the_defaults(trained, prepared, tmp_path, caplog):
    folder = shutil.copytree(trained[0], tmp_path / "model")  # evaluation writes into it
    with caplog.at_level(logging.INFO):
        some = evaluate(folder, data_of(prepared, tmp_path, segment_minutes=0.25), tmp_path / "some" / "evaluation")
    assert "2 of 4 validation recordings" in caplog.text
    assert "2 of 4 test recordings" in caplog.text
    assert "test/event_f1" in some.metrics
    before = load_settings(folder).segmentation
    none = evaluate(folder, data_of(prepared, tmp_path, segment_minutes=0), tmp_path / "none" / "evaluation")
    assert not [name for name in none.metrics if "event" in name]
    assert load_settings(folder).segmentation == before


def test_a_recording_whose_events_are_in_two_splits_is_not_used(trained, prepared, tmp_path, caplog):
    folder = shutil.copytree(trained[0], tmp_path / "model")
    table = pd.read_parquet(prepared[0])
    first = table.index[table["split"] == "validation"][0]
    table.loc[first, "split"] = "train"
    table.to_parquet(tmp_path / "clips.parquet")
    data = data_of((tmp_path / "clips.parquet", prepared[1]), tmp_path)
    with caplog.at_level(logging.INFO):
        evaluate(folder, data, tmp_path / "evaluation")
    assert "on 3 validation recordings" in caplog.text
