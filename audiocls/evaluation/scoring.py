"""Score the saved model on held-out clips: probabilities, metrics, and the tables and plots of a report."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from transformers import PreTrainedModel

from audiocls.batches import WindowAverager, count_windows
from audiocls.evaluation.calibration import calibration_metrics, choose_temperature
from audiocls.evaluation.class_report import write_class_report
from audiocls.evaluation.event_segments import tune_on_events
from audiocls.evaluation.held_out import HeldOut, score_windows, window_logits
from audiocls.evaluation.label_errors import write_label_errors
from audiocls.evaluation.label_report import chosen_thresholds, validation_metrics, write_label_report
from audiocls.evaluation.pooling_choice import PoolingChoice, choose_pooling
from audiocls.evaluation.projection import write_projection
from audiocls.evaluation.tables import WriteRows, label_set_rows, prediction_rows, predictions_file, write_windows
from audiocls.evaluation.weak_spots import write_weak_spots
from audiocls.files import replacing
from audiocls.inference import SegmentParams
from audiocls.metrics import (
    DEFAULT_THRESHOLD,
    ClipScores,
    LabelScores,
    probabilities_of,
    ranking_metrics,
)
from audiocls.models import InferenceSettings, has_settings, labels_of, load_model, note_choices
from audiocls.params import Pooling
from audiocls.progress import progress_bar
from audiocls.splits import PreparedData
from audiocls.training import choose_device, prepare_model

WINDOWED: Final = "clips_scored_by_windows"


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The result of `evaluate`.

    Attributes:
        metrics: Named `test/...` and `validation/...`.
        folder: Of their tables and plots.
        pooling: As chosen on validation.
        notes: Sentences for the summary of the run.
    """

    metrics: dict[str, float]
    folder: Path
    pooling: Pooling = "mean"
    notes: tuple[str, ...] = ()


def evaluate(
    model_folder: Path, data: PreparedData, folder: Path, fixed: InferenceSettings | None = None
) -> Evaluation:
    """Score the saved model on validation and, once, on test.

    What is chosen on validation, how windows are pooled and the thresholds of segments, is written into the
    `inference.json` of the model, so that its use is what was evaluated.

    Args:
        model_folder: The saved model; it is reloaded, so that exactly the saved model is scored.
        data: The run's.
        folder: Gets `predictions.parquet`, the files of `write_class_report` or `write_label_report`, `slices.csv` and
            `robustness.csv`, which show where and under what conditions the model is worse, `label_errors.csv` and
            `projection.parquet`; with clips of several windows also `windows.parquet` and `pooling.json`.
        fixed: Of a model that is used as it is: nothing is chosen and nothing is written, and only test is scored.
    """
    table, params = pd.read_parquet(data.split_clips), data.params
    model, extractor = load_model(model_folder)
    prepare_model(model, params.training)
    model.to(choose_device(params.training))
    labels = labels_of(model)
    folder.mkdir(parents=True, exist_ok=True)
    clips = {
        split: table[table["split"] == split] for split in (("validation", "test") if fixed is None else ("test",))
    }
    num_windows = sum(int(count_windows(each, params.audio).sum()) for each in clips.values())
    with tempfile.TemporaryDirectory(prefix="logits-", dir=folder.parent) as logits:
        with progress_bar("evaluating", num_windows, "windows") as bar:
            splits = {
                split: score_windows(model, extractor, each, data, Path(logits) / split, bar.advance)
                for split, each in clips.items()
            }
        choice = (
            choose_pooling(splits["validation"], params.evaluation, len(labels))
            if fixed is None
            else PoolingChoice(fixed.pooling, {})
        )
        _write_choice(choice, folder / "pooling.json")
        with predictions_file(table, labels, folder / "predictions.parquet") as write:
            score = _score_label_sets if params.is_multi_label else _score_classes
            scored = score(splits, labels, choice.pooling, params.seed, write, fixed)
        rate_hz = params.audio.sample_rate_hz
        write_windows(splits, labels, rate_hz, folder / "windows.parquet", scored.temperature)
    segments = None if fixed is None else SegmentParams.of(fixed.segmentation)
    tuned = tune_on_events(model, extractor, table, data, scored.temperature, segments)
    if fixed is None and has_settings(model_folder):
        segmentation = tuned.params.as_settings() if tuned.params else None
        note_choices(model_folder, choice.pooling, segmentation, scored.thresholds_of(labels), scored.temperature)
    metrics = scored.metrics | tuned.metrics
    metrics |= {f"{split}/{WINDOWED}": float((each.per_clip > 1).sum()) for split, each in splits.items()}
    metrics |= _write_test_report(scored, clips["test"], labels, metrics, folder)
    metrics |= write_weak_spots(model, extractor, clips["test"], scored.test, scored.thresholds, data, folder)
    notes = (
        write_label_errors(table, labels, data, folder),
        write_projection(model, extractor, clips["test"], data, folder),
    )
    return Evaluation(metrics, folder, choice.pooling, tuple(filter(None, notes)))


@dataclass(frozen=True, slots=True)
class _Scored:
    """The metrics of both splits, the scores of test, and what was fitted on validation.

    Attributes:
        metrics: Named `validation/...` and `test/...`.
        test: Scores of the test clips.
        probabilities: Of the test clips, (num_clips, num_classes).
        thresholds: Of the labels, if clips may have any number.
        temperature: That logits are divided by.
    """

    metrics: dict[str, float]
    test: ClipScores | LabelScores
    probabilities: NDArray[np.float32]
    thresholds: NDArray[np.float64] | None = None
    temperature: float = 1.0

    def thresholds_of(self, labels: list[str]) -> dict[str, float] | None:
        return None if self.thresholds is None else dict(zip(labels, self.thresholds.tolist(), strict=True))


def _score_classes(
    splits: dict[str, HeldOut],
    labels: list[str],
    pooling: Pooling,
    seed: int,
    write: WriteRows,
    fixed: InferenceSettings | None,
) -> _Scored:
    metrics: dict[str, float] = {}
    if fixed is None:
        temperature = choose_temperature(splits["validation"], pooling)
        metrics["validation/temperature"] = temperature
    else:
        temperature = fixed.temperature
    for split, held_out in splits.items():
        scores, probabilities = _score(held_out, labels, pooling, temperature, write)
        found = scores.metrics() | ranking_metrics(scores.targets, probabilities)
        found |= calibration_metrics(scores.targets, probabilities)
        metrics |= {f"{split}/{name}": value for name, value in found.items()}
    return _Scored(metrics, scores, probabilities, temperature=temperature)


def _score_label_sets(
    splits: dict[str, HeldOut],
    labels: list[str],
    pooling: Pooling,
    seed: int,
    write: WriteRows,
    fixed: InferenceSettings | None,
) -> _Scored:
    """Score clips that may have any number of labels, with thresholds that are chosen on validation."""
    scores = {split: _label_scores(held_out, pooling) for split, held_out in splits.items()}
    metrics: dict[str, float] = {}
    if fixed is None:
        thresholds = chosen_thresholds(scores["validation"])
        of_validation = validation_metrics(scores["validation"], splits["validation"].clips["group"].to_numpy(), seed)
        metrics |= {f"validation/{name}": value for name, value in of_validation.items()}
    else:
        thresholds = np.array([fixed.thresholds.get(label, DEFAULT_THRESHOLD) for label in labels])
    for split, held_out in splits.items():
        write(label_set_rows(held_out.clips, scores[split], thresholds, labels, held_out.per_clip))
    metrics |= {f"test/{name}": value for name, value in scores["test"].metrics(thresholds).items()}
    return _Scored(metrics, scores["test"], scores["test"].probabilities, thresholds)


def _label_scores(held_out: HeldOut, pooling: Pooling) -> LabelScores:
    scores = LabelScores(held_out.windows.clip, held_out.targets, pooling)
    for batch in held_out.batches():
        scores.add(batch)
    return scores


def predict(model: PreTrainedModel, extractor: Any, clips: pd.DataFrame, data: PreparedData) -> NDArray[np.float32]:
    """Return the logits of each clip, shape (num_clips, num_classes), averaged over the windows of long clips."""
    averager = WindowAverager(np.repeat(np.arange(len(clips)), count_windows(clips, data.params.audio)))
    return np.concatenate([averager.add(batch) for batch in window_logits(model, extractor, clips, data)])


def _score(
    held_out: HeldOut, labels: list[str], pooling: Pooling, temperature: float, write: WriteRows
) -> tuple[ClipScores, NDArray[np.float32]]:
    """Score clips from the logits of their windows, and write one row per clip; return their probabilities as well."""
    scores = ClipScores(held_out.windows.clip, held_out.targets, pooling)
    probabilities = np.empty((len(held_out.clips), len(labels)), np.float32)
    done = 0
    for batch in held_out.batches():
        pooled = scores.add(batch / np.float32(temperature))
        part = slice(done, done + len(pooled))
        probabilities[part] = probabilities_of(pooled)
        write(prediction_rows(held_out.clips.iloc[part], pooled, labels, held_out.per_clip[part]))
        done = part.stop
    return scores, probabilities


def _write_choice(choice: PoolingChoice, target: Path) -> None:
    target.unlink(missing_ok=True)
    if choice.scores:
        with replacing(target) as part:
            part.write_text(json.dumps(choice.described(), indent=2) + "\n", encoding="utf-8")


def _write_test_report(
    scored: _Scored, clips: pd.DataFrame, labels: list[str], metrics: dict[str, float], folder: Path
) -> dict[str, float]:
    """Write tables and plots of the test split; return the scores of each class."""
    if isinstance(scored.test, ClipScores):
        return write_class_report(scored.test, scored.probabilities, clips, labels, metrics, folder)
    assert scored.thresholds is not None
    return write_label_report(scored.test, scored.thresholds, clips, labels, metrics, folder)
