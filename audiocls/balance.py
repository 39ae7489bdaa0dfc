"""Class balance: which training clips are seen how often, and how much each class weighs in the loss.

Everything here happens after the split and on training clips only: a copy of a test clip in training would inflate
every score.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from imblearn.over_sampling import RandomOverSampler
from imblearn.under_sampling import RandomUnderSampler
from numpy.typing import NDArray

from audiocls.atomic import write_table
from audiocls.errors import BalanceError, LeakageError, name_some
from audiocls.params import NoBalance, Oversample, Undersample, WeightedLoss

BalanceParams = NoBalance | Oversample | Undersample | WeightedLoss


@dataclass(frozen=True, slots=True)
class Balanced:
    """What training sees of the training split."""

    rows: (
        Path  # Parquet: the column `row` is a position in the split's table; a clip that is repeated stands repeatedly
    )
    class_weights: dict[str, float] | None  # mean 1.0; None where the loss is not weighted
    counts_before: dict[str, int]
    counts_after: dict[str, int]


def balance(split_clips: Path, params: BalanceParams, seed: int, workspace: Path) -> Balanced:
    """Apply a balance method to the training clips of a split.

    Raises:
        BalanceError: The class counts do not allow the method.
    """
    table = pd.read_parquet(split_clips, columns=["clip_id", "label", "split"])
    training = np.flatnonzero(table["split"] == "train")
    labels = table["label"].to_numpy()
    rows = resample(training, labels[training], params, seed)
    check_training_only(table, rows)
    before, after = _counts(labels[training]), _counts(labels[rows])
    settings = f"{split_clips.stem} {params.model_dump_json()} {seed}"
    name = hashlib.sha256(settings.encode()).hexdigest()[:16]
    written = write_table(pd.DataFrame({"row": rows}), workspace / "balance" / f"{name}.parquet")
    return Balanced(written, class_weights(before, params), before, after)


def resample(
    rows: NDArray[np.int64], labels: NDArray[np.object_], params: BalanceParams, seed: int
) -> NDArray[np.int64]:
    """Repeat or leave out rows as the method says.

    Args:
        rows: Positions of the training clips, shape (num_clips,).
        labels: Their classes, shape (num_clips,).
        params: The method; those that weigh the loss change no rows.
        seed: Draws the copies, or the clips that stay.

    Returns:
        Shape (num_rows,); with `oversample` the originals come first, in their order.

    Raises:
        BalanceError: There is one class alone, and nothing to balance it with.
    """
    match params:
        case NoBalance() | WeightedLoss():
            return rows
        case Oversample():
            sampler = RandomOverSampler(random_state=seed)
        case Undersample():
            sampler = RandomUnderSampler(random_state=seed)
    classes = np.unique(labels.astype(str))
    if len(classes) < 2:
        raise BalanceError(
            f"balance.method = {params.method}: all {len(rows)} training clips are of the class "
            f"{name_some(map(repr, classes.tolist()))}; two classes or more can be balanced."
        )
    resampled: NDArray[np.int64] = sampler.fit_resample(rows.reshape(-1, 1), labels)[0].ravel()
    return resampled


def class_weights(counts: dict[str, int], params: BalanceParams) -> dict[str, float] | None:
    """Return the weight of each class in the loss, or None where the method does not weigh."""
    if not isinstance(params, WeightedLoss):
        return None
    values = np.array(list(counts.values()))
    if params.weighting == "inverse_frequency":
        weights = inverse_frequency_weights(values)
    else:
        weights = effective_number_weights(values, 0.999 if params.beta is None else params.beta)
    return dict(zip(counts, weights.tolist(), strict=True))


def inverse_frequency_weights(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Weigh each class by 1 / count.

    Args:
        counts: Training clips per class, shape (num_classes,), each >= 1.

    Returns:
        Shape (num_classes,), mean 1.0 over the clips, so that the loss keeps its scale.
    """
    _require_clips(counts)
    return _mean_one(1.0 / counts, counts)


def effective_number_weights(counts: NDArray[np.int64], beta: float) -> NDArray[np.float64]:
    """Weigh each class by the inverse of its effective number of examples.

    Args:
        counts: Training clips per class, shape (num_classes,), each >= 1.
        beta: In [0, 1). 0 weighs all classes alike; near 1 approaches 1 / count.

    Returns:
        Shape (num_classes,), mean 1.0 over the clips, so that the loss keeps its scale.

    Raises:
        BalanceError: A class has no training clips.

    Source:
        Cui et al. 2019, "Class-Balanced Loss Based on Effective Number of Samples", arXiv:1901.05555.
    """
    _require_clips(counts)
    return _mean_one((1 - beta) / (1 - np.power(beta, counts, dtype=np.float64)), counts)


def _mean_one(weights: NDArray[np.float64], counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Scale so that the average over the clips, not over the classes, is one: a batch's loss then keeps its size."""
    scaled: NDArray[np.float64] = weights * (counts.sum() / (weights * counts).sum())
    return scaled


def _require_clips(counts: NDArray[np.int64]) -> None:
    missing = np.flatnonzero(counts == 0)
    if missing.size:
        raise BalanceError(f"classes {missing.tolist()} have no training clips, so they cannot be weighted. Drop them.")


def check_training_only(table: pd.DataFrame, rows: NDArray[np.int64]) -> None:
    """Stop where a clip of validation or test is among the rows to train on.

    Raises:
        LeakageError: Names the first ten such clips.
    """
    leaked = table.iloc[rows].query("split != 'train'")
    if not leaked.empty:
        raise LeakageError(
            f"{len(leaked)} rows to train on are not of the training split: {name_some(leaked['clip_id'])}."
        )


def _counts(labels: NDArray[np.object_]) -> dict[str, int]:
    names, counts = np.unique(labels.astype(str), return_counts=True)
    return dict(zip(names.tolist(), counts.tolist(), strict=True))
