"""The test clips that several runs have in common, and what differs between their tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from audiocls.comparison.run_answers import RunAnswers, probability_column
from audiocls.errors import DataError, counted, name_some
from audiocls.sources import LABEL_SETS, class_names, targets_of


@dataclass(frozen=True, slots=True)
class CommonClips:
    """The clips that all runs were tested on, with the same label, in the same order.

    Attributes:
        tables: Predictions of each run, (num_clips,) rows; labels and groups are those of the first.
        labels: All class names that a run knows or a clip has.
        differences: What differs between the tests, a sentence each.
        only: Test clips of each run that another run was not tested on.
        relabelled: Clips that were left out because runs have different labels for them.
    """

    tables: list[pd.DataFrame]
    labels: list[str]
    differences: list[str]
    only: list[int]
    relabelled: int

    @property
    def clips(self) -> pd.DataFrame:
        """The clips, with labels and groups."""
        return self.tables[0]

    @property
    def targets(self) -> NDArray[Any]:
        """What the models should answer, see `sources.targets_of`."""
        return targets_of(self.clips, self.labels)

    @property
    def groups(self) -> NDArray[np.str_]:
        """The group of each clip, (num_clips,)."""
        return self.clips["group"].to_numpy(str)

    def probabilities(self, run: int) -> NDArray[np.float64]:
        """Return a run's probabilities, (num_clips, num_classes); 0 for labels that its model does not know."""
        table = self.tables[run]
        columns = [probability_column(label) for label in self.labels]
        known: NDArray[np.float64] = table.reindex(columns=columns, fill_value=0.0).to_numpy(np.float64)
        return known

    def knows(self, run: int) -> NDArray[np.bool_]:
        """Return which labels a run's model knows, (num_classes,)."""
        return np.array([probability_column(label) in self.tables[run] for label in self.labels])


def find_common(runs: Sequence[RunAnswers]) -> CommonClips:
    """Find the clips that all runs were tested on.

    Raises:
        DataError: There are none, or only some of the runs have any number of labels for a clip.
    """
    kinds = {run.is_multi_label for run in runs}
    if len(kinds) > 1:
        several = name_some(run.name for run in runs if run.is_multi_label)
        raise DataError(f"{several}: clips have any number of labels, and in the other runs one. They share no metric.")
    ids = [pd.Index(run.clips["clip_id"]) for run in runs]
    shared = reduce(pd.Index.intersection, ids).sort_values()
    if shared.empty:
        sizes = ", ".join(f"{run.name} {counted(len(run.clips), 'test clip')}" for run in runs)
        raise DataError(
            f"the runs have no test clip in common ({sizes}), so they cannot be compared. Evaluate one of the models "
            "on the other's corpus: audiocls evaluate MODEL PARAMS."
        )
    tables = [run.clips.set_index("clip_id", drop=False).loc[shared].reset_index(drop=True) for run in runs]
    same = _same(tables, "label")
    only = [len(run.clips) - len(shared) for run in runs]
    differences = _differences(runs, tables, only, int((~same).sum()))
    if not same.any():
        raise DataError("the runs have different labels for every clip that they have in common.")
    kept = [table[same].reset_index(drop=True) for table in tables]
    told = ["label", "group", *(name for name in LABEL_SETS if name in kept[0])]
    kept = [kept[0], *(table.assign(**{name: kept[0][name] for name in told}) for table in kept[1:])]
    names = sorted({*class_names(kept[0]), *(label for run in runs for label in run.labels)})
    return CommonClips(kept, names, differences, only, int((~same).sum()))


def _same(tables: Sequence[pd.DataFrame], column: str) -> NDArray[np.bool_]:
    """Return for which clips all runs have the same value."""
    first = tables[0][column]
    equal = [((table[column] == first) | (table[column].isna() & first.isna())).to_numpy(bool) for table in tables]
    return np.logical_and.reduce(equal)


def _differences(
    runs: Sequence[RunAnswers], tables: Sequence[pd.DataFrame], only: Sequence[int], relabelled: int
) -> list[str]:
    said = []
    if any(only):
        alone = ", ".join(f"{run.name} has {counted(more, 'other')}" for run, more in zip(runs, only, strict=True))
        said.append(f"The test clips differ: {counted(len(tables[0]), 'clip')} in common; {alone}.")
    if relabelled:
        said.append(f"{counted(relabelled, 'clip has', 'clips have')} different labels in the runs, and are left out.")
    for column, what in (("audio_hash", "audio"), ("group", "group")):
        known = np.logical_and.reduce([table[column].notna().to_numpy(bool) for table in tables])
        other = int((known & ~_same(tables, column)).sum())
        if other:
            clips = counted(other, "common clip has", "common clips have")
            used = "; the groups of the first run are used" if column == "group" else ""
            said.append(f"{clips} another {what} in another run{used}.")
    every = {label for run in runs for label in run.labels}
    for run in runs:
        missing = sorted(every - set(run.labels))
        if missing:
            said.append(f"{run.name} does not know {name_some(missing)}, which other runs know.")
    digests = {run.digest for run in runs}
    if len(digests) > 1 and None not in digests and not said:
        said.append("The corpora differ, but not in the test clips.")
    return said
