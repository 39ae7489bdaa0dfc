"""Evaluate 200,000 stored predictions: every metric with its interval, every table and every picture.

    OMP_NUM_THREADS=1 python benchmarks/predictions_scale.py

The predictions are drawn: classes in Zipf's proportions, groups of different sizes, and a model that is right more
often in some groups than in others. They are read from a file as `predictions.parquet` has them.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from audiocls.evaluation.answers import Answers
from audiocls.evaluation.calibration import calibration_metrics
from audiocls.evaluation.class_report import write_class_report
from audiocls.evaluation.label_errors import judge_held_out, rank
from audiocls.evaluation.slices import score_slices, slices_table
from audiocls.evaluation.tables import IDENTITY, prediction_rows, predictions_file
from audiocls.metrics.classification import ranking_metrics
from audiocls.metrics.clip_scores import ClipScores
from audiocls.sources.label_sets import targets_of

AT_A_TIME = 8_192


def write_predictions(clips: int, labels: list[str], groups: int, target: Path) -> None:
    rng = np.random.default_rng(0)
    frequency = 1 / np.arange(1, len(labels) + 1)
    targets = rng.choice(len(labels), clips, p=frequency / frequency.sum())
    group = rng.choice(groups, clips, p=rng.dirichlet(np.full(groups, 2.0)))
    skill = rng.normal(4, 1, groups)[group]
    table = pd.DataFrame({"clip_id": [f"clips/{i:06d}.wav" for i in range(clips)], "source": "a"})
    table["path"], table["group"], table["split"] = table["clip_id"], [f"speaker {g:04d}" for g in group], "test"
    table["start_seconds"], table["end_seconds"], table["content_sha256"] = 0.0, 1.0, table["clip_id"]
    table["label"] = np.array(labels, dtype=object)[targets]
    with predictions_file(table, labels, target) as write:
        for start in range(0, clips, AT_A_TIME):
            part = slice(start, start + AT_A_TIME)
            logits = rng.normal(size=(len(targets[part]), len(labels)))
            logits[np.arange(len(logits)), targets[part]] += skill[part]
            rows = table.iloc[part]
            write(prediction_rows(rows, logits.astype(np.float32), labels, np.ones(len(rows), np.int64)))


def evaluate(file: Path, labels: list[str], folder: Path, stage: Callable[[str], None]) -> dict[str, float]:
    predictions = pd.read_parquet(file)
    probabilities = predictions[[f"probability/{name}" for name in labels]].to_numpy(np.float32)
    clips = predictions[[*IDENTITY]]
    rng = np.random.default_rng(1)
    for name in ("duration_seconds", "rms_db", "silence_fraction", "snr_estimate_db"):
        clips = clips.assign(**{name: rng.random(len(clips))})
    scores = ClipScores(np.arange(len(clips)), targets_of(clips, labels))
    scores.add(np.log(np.maximum(probabilities, 1e-30)))
    stage("read")
    found = scores.metrics() | ranking_metrics(scores.targets, probabilities)
    found |= calibration_metrics(scores.targets, probabilities)
    metrics = {f"test/{name}": value for name, value in found.items()}
    stage("metrics")
    metrics |= write_class_report(scores, probabilities, clips, labels, metrics, folder)
    stage("report_with_intervals")
    answers = Answers(scores.targets, scores.predicted, clips["group"].to_numpy(str), len(labels))
    slices_table(score_slices(clips, answers, seed=0), answers.names).to_csv(folder / "slices.csv", index=False)
    stage("slices_with_1000_random_slices")
    rank(judge_held_out(predictions, labels)).to_csv(folder / "label_errors.csv", index=False)
    stage("label_errors")
    return metrics


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=200_000)
    parser.add_argument("--classes", type=int, default=50)
    parser.add_argument("--groups", type=int, default=2_000)
    options = parser.parse_args()
    labels = [f"class {k:03d}" for k in range(options.classes)]
    facts: dict[str, Any] = vars(options)
    seconds: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "predictions.parquet"
        write_predictions(options.clips, labels, options.groups, file)
        start, last = time.perf_counter(), time.process_time()

        def stage(name: str) -> None:
            nonlocal last
            seconds[name], last = round(time.process_time() - last, 1), time.process_time()

        metrics = evaluate(file, labels, Path(scratch), stage)
        wall = time.perf_counter() - start
    facts |= {"wall_seconds": round(wall, 1), "cpu_seconds": round(sum(seconds.values()), 1)}
    facts |= {
        "cpu_seconds_of_stages": seconds,
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }
    print(json.dumps(facts | {"f1_macro": round(metrics["test/f1_macro"], 4)}))


if __name__ == "__main__":
    main()
