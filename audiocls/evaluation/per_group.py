"""Scores of each group of the test clips: which speaker, session or machine a model fails on."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from audiocls.metrics import FEWEST_GROUPS, GroupCounts, accuracy, balanced_accuracy, f1_macro, interval, jackknife

COLUMNS: Final = (
    "group", "clips", "files", "classes", "accuracy", "accuracy_low", "accuracy_high", "balanced_accuracy", "f1_macro",
    "no_interval",
)  # fmt: skip
_FEW_FILES: Final = f"fewer than {FEWEST_GROUPS} files"


def per_group(
    clips: pd.DataFrame, targets: NDArray[Any], predicted: NDArray[Any], correct: NDArray[np.bool_], num_classes: int
) -> pd.DataFrame:
    """Return a row for each group, the lowest accuracy first.

    Clips of one group are right or wrong together, so a group has no interval over groups. Its interval is over its own
    files, and holds for other files of the same group; with fewer than five files, `no_interval` says so. Balanced
    accuracy and macro-F1 are empty for groups of one class, and if clips may have any number of labels.

    Args:
        clips: Rows of the clips table.
        targets: Class indices, (num_clips,); or (num_clips, num_classes), see `sources.targets_of`.
        predicted: The same shape.
        correct: Whether all known labels of a clip are right, (num_clips,).
        num_classes: Number of classes.
    """
    names, group = np.unique(clips["group"].to_numpy(str), return_inverse=True)
    file = _files(clips)
    sizes = np.bincount(group)
    table = pd.DataFrame({"group": names, "clips": sizes, "accuracy": np.bincount(group, correct) / sizes})
    table["files"] = np.bincount(np.unique(np.stack([group, file]), axis=1)[0])
    if targets.ndim == 1:
        counts = GroupCounts.of(targets, predicted[None], group, num_classes)
        of_groups = [each[0].astype(np.float64) for each in (counts.true, counts.found, counts.right)]
        table["classes"] = (of_groups[0] > 0).sum(axis=1)
        several = table["classes"] > 1
        for name, metric in (("balanced_accuracy", balanced_accuracy), ("f1_macro", f1_macro)):
            table[name] = np.where(several, metric(*of_groups), np.nan)
    table["accuracy_low"], table["accuracy_high"] = _over_files(group, file, correct, table["files"].to_numpy())
    table["no_interval"] = np.where(table["accuracy_low"].isna(), _FEW_FILES, "")
    return table.reindex(columns=[*COLUMNS]).sort_values(
        ["accuracy", "clips", "group"], ascending=[True, False, True], ignore_index=True
    )


def _files(clips: pd.DataFrame) -> NDArray[np.int64]:
    """Number the files of clips, which may be segments of one; (num_clips,)."""
    return clips.groupby(["source", "path"], dropna=False, sort=False).ngroup().to_numpy(np.int64)


def _over_files(
    group: NDArray[np.int64], file: NDArray[np.int64], correct: NDArray[np.bool_], files: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the ends of the interval of each group's accuracy; those of the same number of files at once."""
    cells, of_clip = np.unique(np.stack([group, file]), axis=1, return_inverse=True)
    clips, right = np.bincount(of_clip), np.bincount(of_clip, correct)
    low, high = np.full((2, len(files)), np.nan)
    for number in np.unique(files[files >= FEWEST_GROUPS]):
        chosen = np.flatnonzero(files == number)
        inside = np.isin(cells[0], chosen)
        shape = len(chosen), 1, number, 1
        counts = GroupCounts(*(each[inside].reshape(shape) for each in (clips, clips, right)))
        found = interval(jackknife(counts, accuracy), fraction=True)
        low[chosen], high[chosen] = found.low, found.high
    return low, high
