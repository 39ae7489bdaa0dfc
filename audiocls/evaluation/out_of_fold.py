"""Probabilities of training clips by heads that did not train on them.

The heads are logistic regressions on `features.mel_statistics`, because the embeddings of the trained model would not
do: it has learned the label of each training clip, wrong ones included, and its embeddings show that. Of labels that
were changed on purpose, heads on the embeddings found a quarter (`benchmarks/label_errors.py`).
"""

from __future__ import annotations

from typing import Final

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from audiocls.heads import Scaling, train_head
from audiocls.splits import fold_groups, linked_groups

FOLDS: Final = 5
_PENALTIES: Final = (10.0, 30.0, 100.0)


def out_of_fold(
    clips: pd.DataFrame, features: NDArray[np.float32], labels: list[str], seed: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return which clips could be scored, ascending (num_scored,), and their probabilities, (num_scored, num_classes).

    Groups, and groups that share sound, are in one fold. A clip whose class is in no other fold cannot be scored. The
    penalty is the one with the lowest loss on the first fold.

    Args:
        clips: Training clips, each with one label.
        features: Of these clips, (num_clips, dim).
        labels: Class names.
        seed: Of the folds.
    """
    units = linked_groups(clips)
    targets = clips["label"].map({name: i for i, name in enumerate(labels)}).to_numpy(np.int64)
    fold = fold_groups(units, clips["label"], max(2, min(FOLDS, units.nunique())), seed).to_numpy()
    probabilities = np.zeros((len(clips), len(labels)))
    scored = np.zeros(len(clips), bool)
    penalty = None
    for number in np.unique(fold):
        inside = fold == number
        known = inside & np.isin(targets, targets[~inside])
        if not known.any():
            continue
        if penalty is None:
            tried = {each: _predict(features, targets, ~inside, known, len(labels), each) for each in _PENALTIES}
            penalty = min(tried, key=lambda each: _loss(tried[each], targets[known]))
            probabilities[known] = tried[penalty]
        else:
            probabilities[known] = _predict(features, targets, ~inside, known, len(labels), penalty)
        scored |= known
    return np.flatnonzero(scored), probabilities[scored]


def _predict(
    features: NDArray[np.float32],
    targets: NDArray[np.int64],
    trained: NDArray[np.bool_],
    scored: NDArray[np.bool_],
    num_classes: int,
    penalty: float,
) -> NDArray[np.float64]:
    """Train a head on some clips, and return the probabilities of others."""
    scaling = Scaling.of(features[trained])
    head = train_head(scaling.apply(features[trained]), targets[trained], num_classes, penalty, "cpu")
    found: NDArray[np.float64] = torch.from_numpy(head.logits(scaling.apply(features[scored]))).softmax(1).numpy()
    return found


def _loss(probabilities: NDArray[np.float64], targets: NDArray[np.int64]) -> float:
    return float(-np.log(np.maximum(probabilities[np.arange(len(targets)), targets], 1e-12)).mean())
