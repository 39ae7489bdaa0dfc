"""Clips whose label is probably wrong, found by confident learning with cleanlab.

A clip is judged by probabilities of a model that did not train on it: validation and test by the trained model, and
training clips by heads of `out_of_fold`.

Source:
    Northcutt, Jiang and Chuang 2021, "Confident Learning: Estimating Uncertainty in Dataset Labels", arXiv:1911.00068.
"""

from __future__ import annotations

import logging
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from audiocls.errors import counted
from audiocls.evaluation.out_of_fold import out_of_fold
from audiocls.features import mel_statistics
from audiocls.files import replacing
from audiocls.sources import is_multi_label, label_text, targets_of
from audiocls.splits import PreparedData

logger = logging.getLogger(__name__)

LABEL_ERRORS: Final = "label_errors.csv"
COLUMNS: Final = ("clip_id", "path", "group", "split", "label", "suggested", "quality", "rank")
MISSING: Final = (
    "Wrong labels were not searched for: that needs cleanlab, pip install 'audiocls[label-errors]'; or set "
    "evaluation.label_error_clips to 0."
)


def write_label_errors(table: pd.DataFrame, labels: list[str], data: PreparedData, folder: Path) -> str:
    """Search for wrong labels, and write the found clips as `label_errors.csv`, the most certain first.

    Args:
        table: All clips with their splits.
        labels: Class names of the model.
        data: The run's.
        folder: With `predictions.parquet`; gets the list.

    Returns:
        What was found, or why nothing was searched, in a sentence; "" if the params want no search.
    """
    (folder / LABEL_ERRORS).unlink(missing_ok=True)
    most = data.params.evaluation.label_error_clips
    if not most:
        return ""
    if find_spec("cleanlab") is None:
        logger.warning(MISSING)
        return MISSING
    training = table[table["split"] == "train"]
    judged = [judge_held_out(pd.read_parquet(folder / "predictions.parquet"), labels)]
    if len(training) and not is_multi_label(table):  # none, if a saved model is tested
        judged.append(judge_training(_some(training, most, data.params.seed), labels, data))
    ranked = rank(pd.concat(judged))
    with replacing(folder / LABEL_ERRORS) as part:
        ranked.to_csv(part, index=False)
    return _sentence(ranked, sum(map(len, judged)), len(training) - (len(judged[1]) if judged[1:] else 0))


def _some(clips: pd.DataFrame, most: int, seed: int) -> pd.DataFrame:
    return clips if len(clips) <= most else clips.sample(most, random_state=seed).sort_index()


def _sentence(ranked: pd.DataFrame, judged: int, left_out: int) -> str:
    without = f"; {counted(left_out, 'training clip was', 'training clips were')} not judged" if left_out else ""
    found = f"{counted(len(ranked), 'label')} of {counted(judged, 'clip')} may be wrong{without}"
    return f"{found}. {LABEL_ERRORS} lists them." if len(ranked) else f"{found}."


def judge_held_out(predictions: pd.DataFrame, labels: list[str]) -> pd.DataFrame:
    """Judge the labels of clips by the probabilities of a model that did not train on them.

    Args:
        predictions: Rows of `predictions.parquet`.
        labels: Class names.

    Returns:
        The columns of COLUMNS but `rank`, and `wrong`: whether confident learning calls the label wrong.
    """
    probabilities = predictions[[f"probability/{name}" for name in labels]].to_numpy(np.float64)
    if is_multi_label(predictions):
        return _judge_label_sets(predictions, targets_of(predictions, labels), probabilities, labels)
    return _judge(predictions, targets_of(predictions, labels), probabilities, labels)


def judge_training(clips: pd.DataFrame, labels: list[str], data: PreparedData) -> pd.DataFrame:
    """Judge the labels of training clips by heads that did not train on them; returns what `judge_held_out` does.

    Clips of a class that only one group has are left out: no head can know the class without them.
    """
    features = mel_statistics(clips, data.waveforms, data.params.audio.sample_rate_hz)
    rows, probabilities = out_of_fold(clips, features, labels, data.params.seed)
    scored = clips.iloc[rows]
    return _judge(scored, targets_of(scored, labels), probabilities, labels)


def rank(judged: pd.DataFrame) -> pd.DataFrame:
    """Return the clips whose label is called wrong, the lowest quality first, with the columns of COLUMNS."""
    found = judged[judged["wrong"]].sort_values(["quality", "clip_id"], ignore_index=True)
    return found.assign(rank=np.arange(1, len(found) + 1))[[*COLUMNS]]


def _judge(
    clips: pd.DataFrame, targets: NDArray[np.int64], probabilities: NDArray[np.float64], labels: list[str]
) -> pd.DataFrame:
    quality, wrong = confident_learning(targets, probabilities)
    others = probabilities.copy()
    others[np.arange(len(targets)), targets] = -1
    suggested = np.array(labels, dtype=object)[others.argmax(axis=1)]
    return _table(clips, suggested, quality, wrong)


def _table(clips: pd.DataFrame, suggested: Any, quality: NDArray[np.float64], wrong: NDArray[np.bool_]) -> pd.DataFrame:
    identity = clips[["clip_id", "path", "group", "split", "label"]].reset_index(drop=True)
    return identity.assign(suggested=suggested, quality=quality, wrong=wrong)


def _judge_label_sets(
    clips: pd.DataFrame, targets: NDArray[np.float32], probabilities: NDArray[np.float64], labels: list[str]
) -> pd.DataFrame:
    """Judge each class by itself, among the clips where it is known; a clip has the quality of its worst class."""
    quality, wrong = np.ones(targets.shape), np.zeros(targets.shape, bool)
    for k in range(len(labels)):
        known = ~np.isnan(targets[:, k])
        both = np.stack([1 - probabilities[known, k], probabilities[known, k]], axis=1)
        quality[known, k], wrong[known, k] = confident_learning(targets[known, k].astype(np.int64), both)
    better = (targets == 1) ^ wrong
    suggested = [label_text([labels[k] for k in np.flatnonzero(row)]) for row in better]
    return _table(clips, suggested, quality.min(axis=1), np.any(wrong, axis=1))


def confident_learning(
    targets: NDArray[np.int64], probabilities: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return the quality of each label, in [0, 1], and whether it is called wrong, both (num_clips,).

    The quality is the margin of the label's probability over the highest other one, mapped to [0, 1]. Nothing is called
    wrong if there are fewer than two classes.

    Args:
        targets: Class indices as labelled, (num_clips,).
        probabilities: By a model that did not train on the clips, (num_clips, num_classes).
    """
    from cleanlab.filter import find_label_issues  # the extra `label-errors`
    from cleanlab.rank import get_label_quality_scores

    if len(np.unique(targets)) < 2:
        return np.ones(len(targets)), np.zeros(len(targets), bool)
    quality = get_label_quality_scores(targets, probabilities, method="normalized_margin")
    return quality, find_label_issues(targets, probabilities, n_jobs=1)
