"""What a model answered to some clips, and the scores of any part of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from audiocls.metrics import (
    GroupCounts,
    Jackknife,
    accuracy,
    f1_macro,
    jackknife,
    lwlrap_parts,
    multi_label_jackknife,
)

Floats = NDArray[np.floating[Any]]

NAMES: Final = {False: ("accuracy", "f1_macro"), True: ("exact_match", "map_macro", "lwlrap")}
"""The scores of clips with one label, and with any number; the last one is compared with chance."""


@dataclass(frozen=True, slots=True)
class Answers:
    """The answers of a model to some clips.

    `tested` is the score that is compared with chance: macro-F1, or `lwlrap` if clips may have any number of labels.
    Both are functions of sums over the clips, so that thousands of parts of the clips are scored at once. The mean
    average precision is not.
    """

    targets: NDArray[Any]  # (num_clips,), class indices; or (num_clips, num_classes), see `sources.targets_of`
    predicted: NDArray[Any]  # (num_clips,), class indices; or (num_clips, num_classes), bool
    groups: NDArray[Any]  # (num_clips,)
    num_classes: int
    probabilities: Floats | None = None  # (num_clips, num_classes), if clips may have any number of labels

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the scores; the last one is `tested`."""
        return NAMES[self.probabilities is not None]

    @property
    def tested(self) -> str:
        """Name of the score that is compared with chance."""
        return self.names[-1]

    def take(self, rows: NDArray[Any]) -> Answers:
        """Return the answers to some of the clips."""
        probabilities = None if self.probabilities is None else self.probabilities[rows]
        return Answers(self.targets[rows], self.predicted[rows], self.groups[rows], self.num_classes, probabilities)

    def jackknifes(self) -> dict[str, Jackknife]:
        """Compute the scores of `names` without each group."""
        if self.probabilities is not None:
            scores = multi_label_jackknife(self.targets, self.probabilities, self.predicted, self.groups)
            return {name: scores[name] for name in self.names}
        counts = GroupCounts.of(self.targets, self.predicted[None], self.groups, self.num_classes)
        return {"accuracy": jackknife(counts, accuracy), "f1_macro": jackknife(counts, f1_macro)}

    def parts(self) -> csr_array:
        """Return what `score_sums` needs of each clip, (num_clips, num_parts)."""
        if self.probabilities is not None:
            return csr_array(np.stack(lwlrap_parts(self.targets, self.probabilities), axis=1))
        clips, right = np.arange(len(self)), np.flatnonzero(self.targets == self.predicted)
        rows = np.concatenate([clips, clips, right])
        classes = (self.targets, self.predicted + self.num_classes, self.targets[right] + 2 * self.num_classes)
        return csr_array((np.ones(len(rows)), (rows, np.concatenate(classes))), shape=(len(self), 3 * self.num_classes))

    def summing(self) -> Callable[[NDArray[np.int64]], NDArray[np.float64]]:
        """Return a function that sums `parts` over chosen clips: from (choices, clips of each) to (choices, num_parts).

        It is faster than a product with `parts` if the choices are long.
        """
        if self.probabilities is not None:
            parts = lwlrap_parts(self.targets, self.probabilities)
            return lambda rows: np.stack([part[rows].sum(axis=1, dtype=np.float64) for part in parts], axis=1)
        # Wrong clips are counted beyond the last class.
        right = np.where(self.targets == self.predicted, self.targets, self.num_classes)
        columns, kept, bins = (self.targets, self.predicted, right), slice(self.num_classes), self.num_classes + 1

        def count(rows: NDArray[np.int64]) -> NDArray[np.float64]:
            counts = [[np.bincount(column[each], minlength=bins)[kept] for each in rows] for column in columns]
            return np.concatenate(counts, axis=1, dtype=np.float64)

        return count

    def score_sums(self, sums: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the score `tested` of parts of the clips, (...,), from sums of `parts` over them, (..., num_parts)."""
        if self.probabilities is not None:
            return np.where(sums[..., 1] > 0, sums[..., 0] / np.maximum(sums[..., 1], 1), np.nan)
        return f1_macro(*np.split(sums, 3, axis=-1))
