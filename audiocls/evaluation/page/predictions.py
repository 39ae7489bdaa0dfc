"""The predictions for the test clips, as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from audiocls.errors import DataError
from audiocls.sources import is_multi_label, label_text, targets_of

_PREFIX: Final = "probability/"


@dataclass(frozen=True, slots=True)
class Predictions:
    """The test rows of `predictions.parquet`, with a common index from 0, and what they say as arrays."""

    rows: pd.DataFrame
    labels: tuple[str, ...]
    targets: NDArray[Any]  # (num_clips,), class indices; or (num_clips, num_classes), see `sources.targets_of`
    predicted: NDArray[Any]  # (num_clips,), class indices; or (num_clips, num_classes), bool
    probabilities: NDArray[np.float32]  # (num_clips, num_classes)

    @property
    def is_multi_label(self) -> bool:
        """Whether clips may have any number of labels."""
        return self.targets.ndim == 2

    @property
    def groups(self) -> NDArray[np.str_]:
        """Groups of the clips, (num_clips,)."""
        return self.rows["group"].to_numpy(str)

    @property
    def present(self) -> NDArray[np.bool_]:
        """Which labels the clips have, (num_clips, num_classes)."""
        return self.targets == 1 if self.is_multi_label else self.targets[:, None] == np.arange(len(self.labels))

    @property
    def found(self) -> NDArray[np.bool_]:
        """Which labels are predicted, (num_clips, num_classes)."""
        if self.is_multi_label:
            return self.predicted
        return self.predicted[:, None] == np.arange(len(self.labels))

    @property
    def known(self) -> NDArray[np.bool_]:
        """Which labels of which clips are known, (num_clips, num_classes)."""
        return ~np.isnan(self.targets) if self.is_multi_label else np.ones(self.probabilities.shape, bool)

    @property
    def wrongness(self) -> NDArray[np.float32]:
        """How wrong each clip is, (num_clips,): 0 if it is right, near 1 if the model is certain of a wrong answer.

        It is by how much the probability of the predicted class exceeds that of the true one; with several labels it is
        the largest distance of the probability of a wrong label from its truth.
        """
        if self.is_multi_label:
            wrong = self.known & (self.found != self.present)
            return np.where(wrong, np.abs(self.probabilities - self.present), 0).max(axis=1)
        clips = np.arange(len(self.rows))
        margin = self.probabilities[clips, self.predicted] - self.probabilities[clips, self.targets]
        return np.where(self.predicted == self.targets, 0, np.maximum(margin, 1e-6)).astype(np.float32)


def read_predictions(file: Path) -> Predictions:
    """Read the test rows.

    Raises:
        DataError: There is none.
    """
    table = pd.read_parquet(file)
    labels = [name.removeprefix(_PREFIX) for name in table.columns if name.startswith(_PREFIX)]
    test = table[table["split"] == "test"].reset_index(drop=True)
    if test.empty:
        raise DataError(f"{file}: it has no test clips, so there is nothing to report. Evaluate a test split first.")
    targets = targets_of(test, labels)
    index = {label: i for i, label in enumerate(labels)}
    predicted = _label_matrix(test["predicted"], index) if is_multi_label(test) else _indices(test["predicted"], index)
    return Predictions(
        test.drop(columns=[f"{_PREFIX}{label}" for label in labels]),
        tuple(labels),
        targets,
        predicted,
        test[[f"{_PREFIX}{label}" for label in labels]].to_numpy(np.float32),
    )


def label_of(value: Any) -> str:
    """Return the label of a clip as text, or its labels."""
    return value if isinstance(value, str) else label_text(value)


def _indices(predicted: pd.Series, index: dict[str, int]) -> NDArray[np.int64]:
    return predicted.map(index).to_numpy(np.int64)


def _label_matrix(predicted: pd.Series, index: dict[str, int]) -> NDArray[np.bool_]:
    found = np.zeros((len(predicted), len(index)), bool)
    for row, labels in enumerate(predicted):
        given: Sequence[str] = labels
        found[row, [index[label] for label in given]] = True
    return found
