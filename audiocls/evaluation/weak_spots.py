"""Where and under what conditions a model is worse: the tables of slices and of corruptions."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from transformers import PreTrainedModel

from audiocls.errors import name_some
from audiocls.evaluation.answers import Answers
from audiocls.evaluation.robustness import answer_corruptions, compare, robustness_table
from audiocls.evaluation.slices import SNR, estimate_snr_db, score_slices, slices_table
from audiocls.files import replacing, write_table
from audiocls.metrics import ClipScores, LabelScores
from audiocls.models import labels_of
from audiocls.splits import PreparedData

logger = logging.getLogger(__name__)

CORRUPTED: Final = "corrupted.parquet"
"""The answers to test clips with each corruption, which two models are compared by."""


def write_weak_spots(
    model: PreTrainedModel,
    extractor: Any,
    clips: pd.DataFrame,
    scores: ClipScores | LabelScores,
    thresholds: NDArray[np.float64] | None,
    data: PreparedData,
    folder: Path,
) -> dict[str, float]:
    """Score slices of the test clips, and the clips with corruptions; write `slices.csv` and `robustness.csv`.

    Args:
        model: On the device to compute on.
        extractor: Its feature extractor.
        clips: The test clips, rows of the clips table.
        scores: Of these clips.
        thresholds: From which on a label is predicted, if clips may have any number of labels.
        data: The run's.
        folder: Gets the tables.

    Returns:
        `test/worst_slice`, the score of the slice that is the furthest below random ones, `test/failed_slices`, and
        `test/robustness/KIND`, the loss of the score with each corruption.
    """
    answers = _answers(clips, scores, thresholds, len(labels_of(model)))
    levels = estimate_snr_db(clips, data.waveforms, data.params.audio.sample_rate_hz)
    slices = score_slices(clips.assign(**{SNR: levels}), answers, data.params.seed)
    _write(slices_table(slices, answers.names), folder / "slices.csv")
    judged = [each for each in slices if each.verdict]
    failed = [each for each in judged if each.verdict == "fail"]
    found = {"test/failed_slices": float(len(failed))}
    if judged:
        found["test/worst_slice"] = judged[0].scores[answers.tested].value
    if failed:
        names = name_some(f"{each.column} = {each.value}" for each in failed)
        logger.warning("%d of %d slices of test score lower than chance explains: %s.", len(failed), len(judged), names)
    for name in ("robustness.csv", CORRUPTED):
        (folder / name).unlink(missing_ok=True)
    if data.params.evaluation.robustness_clips:
        asked = answer_corruptions(model, extractor, clips, data, thresholds)
        write_table(asked.table(labels_of(model)), folder / CORRUPTED)
        corruptions = compare(asked.plain, asked.corrupted, data.params.seed)
        _write(robustness_table(corruptions, answers.tested), folder / "robustness.csv")
        found |= {f"test/robustness/{each.kind}": each.loss for each in corruptions}
    return found


def _answers(
    clips: pd.DataFrame, scores: ClipScores | LabelScores, thresholds: NDArray[np.float64] | None, num_classes: int
) -> Answers:
    groups = clips["group"].to_numpy(str)
    if isinstance(scores, ClipScores):
        return Answers(scores.targets, scores.predicted, groups, num_classes)
    assert thresholds is not None
    predicted = scores.probabilities >= thresholds
    return Answers(scores.targets, predicted, groups, num_classes, scores.probabilities)


def _write(table: pd.DataFrame, target: Path) -> None:
    with replacing(target) as part:
        table.to_csv(part, index=False)
