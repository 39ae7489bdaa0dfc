"""One answer for each file, if clips are segments of files: the mean of the probabilities of its segments."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from audiocls.metrics import ClassificationIntervals, Interval

FILE: Final = "file"


def file_scores(
    clips: pd.DataFrame, targets: NDArray[np.int64], probabilities: NDArray[np.floating[Any]]
) -> tuple[dict[str, Interval], int]:
    """Return the metrics of files, named `file/...`, and how many files have segments of several classes.

    Such files have no class of their own, and are left out. There are no metrics if each clip is a whole file, or if no
    file is left.

    Args:
        clips: Rows of the clips table, of one split.
        targets: Class indices, (num_clips,).
        probabilities: Shape (num_clips, num_classes).
    """
    file = clips.groupby(["source", "path"], dropna=False, sort=False).ngroup().to_numpy(np.int64)
    size = np.bincount(file)
    if len(size) == len(clips):
        return {}, 0
    first = np.unique(file, return_index=True)[1]
    differs = np.bincount(file, targets != targets[first][file]) > 0
    kept = np.flatnonzero(~differs)
    if not len(kept):
        return {}, int(differs.sum())
    sums = np.zeros((len(size), probabilities.shape[1]))
    np.add.at(sums, file, probabilities)
    means, true = (sums / size[:, None])[kept], targets[first][kept]
    losses = -np.log(np.maximum(means[np.arange(len(kept)), true], np.finfo(np.float32).tiny))
    groups = clips["group"].to_numpy(str)[first][kept]
    found = ClassificationIntervals(true, means, losses, groups).overall()
    return {f"{FILE}/{name}": each for name, each in found.items()}, int(differs.sum())
