"""What is measured of a run; the diagnoses see nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from audiocls.params import RunParams


@dataclass(frozen=True, slots=True)
class Answered:
    """The answers of the model to clips of a split, under evaluation conditions.

    Attributes:
        clips: Their rows of the clips table: ids, groups, durations, levels, source rates.
        targets: Class indices, shape (num_clips,).
        probabilities: Calibrated, shape (num_clips, num_classes).
    """

    clips: pd.DataFrame
    targets: NDArray[np.int64]
    probabilities: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def predicted(self) -> NDArray[np.int64]:
        """Class indices, shape (num_clips,)."""
        return self.probabilities.argmax(axis=1)

    @property
    def right(self) -> NDArray[np.bool_]:
        """Which answers are correct, shape (num_clips,)."""
        return self.predicted == self.targets

    @property
    def groups(self) -> NDArray[np.str_]:
        """The group of each clip, shape (num_clips,)."""
        return self.clips["group"].to_numpy(str)


@dataclass(frozen=True, slots=True)
class Probed:
    """The answers of a simple classifier to some training clips, each while its group was left out.

    Attributes:
        rows: Positions of these clips in the sample of training clips.
        kept: Predicted class indices from the part of each clip that a model input holds, shape (num_rows,).
        whole: The same from the whole clips.
    """

    rows: NDArray[np.int64]
    kept: NDArray[np.int64]
    whole: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything that the diagnoses of a run use, measured once.

    Attributes:
        params: Of the run, with only the keys that its user set marked as set.
        labels: Class names; the position is the class index.
        training: A sample of at most 2,000 training clips, without augmentation and balance.
        validation: All its clips.
        test: All its clips.
        counts: Training clips of each class, shape (num_classes,).
        groups: Number of groups that the training clips are of.
        effective_groups: Equivalent number of groups of equal size.
        history: One row per measurement: `step` and the metrics of that step.
        weight_size: Root mean square of the weight matrices before training; NaN if they were pretrained.
        probed: By a simple classifier; None if there are too few groups for it.
        audit: `audit.json` of the corpus; empty if there is none.
        slices: `slices.csv` of the evaluation; empty if there is none.
        label_errors: Clips of `label_errors.csv`, if the evaluation wrote it.
    """

    params: RunParams
    labels: tuple[str, ...]
    training: Answered
    validation: Answered
    test: Answered
    counts: NDArray[np.int64]
    groups: int
    effective_groups: float
    history: pd.DataFrame
    weight_size: float = np.nan
    probed: Probed | None = None
    audit: Mapping[str, Any] = field(default_factory=dict)
    slices: pd.DataFrame = field(default_factory=pd.DataFrame)
    label_errors: pd.DataFrame = field(default_factory=pd.DataFrame)

    @property
    def priors(self) -> NDArray[np.float64]:
        """The fraction of the training clips in each class, shape (num_classes,)."""
        return self.counts / self.counts.sum()

    def measured(self, name: str) -> NDArray[np.float64]:
        """Return a metric in the order of its steps, shape (times,); empty if it was never measured."""
        if name not in self.history:
            return np.empty(0)
        return self.history[name].dropna().to_numpy(np.float64)
