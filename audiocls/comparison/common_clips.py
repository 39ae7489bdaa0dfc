"""The test clips that several runs have in common, and what differs between their tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from audiocls.comparison.run_answers import CONTENT, RunAnswers, probability_column
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
        replaced: Clips that were left out because runs have other recordings under the same name.
    """

    tables: list[pd.DataFrame]
    labels: list[str]
    differences: list[str]
    only: list[int]
    relabelled: int
    replaced: int

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
    same_sound = np.logical_and.reduce([_may_be_same_file(tables[0], table) for table in tables[1:]])
    same_label = _same(tables, "label")
    kept = [table[same_sound & same_label].reset_index(drop=True) for table in tables]
    only = [len(run.clips) - len(shared) for run in runs]
    replaced, relabelled = int((~same_sound).sum()), int((same_sound & ~same_label).sum())
    differences = _differences(runs, kept, only, replaced, relabelled)
    if kept[0].empty:
        raise DataError(
            f"the runs have no test clip in common that is the same in all of them. {' '.join(differences)}"
        )
    told = ["label", "group", *(name for name in LABEL_SETS if name in kept[0])]
    kept = [kept[0], *(table.assign(**{name: kept[0][name] for name in told}) for table in kept[1:])]
    names = sorted({*class_names(kept[0]), *(label for run in runs for label in run.labels)})
    return CommonClips(kept, names, differences, only, relabelled, replaced)


def _may_be_same_file(first: pd.DataFrame, other: pd.DataFrame) -> NDArray[np.bool_]:
    """Return which clips have the same file, as far as both runs say what is in it."""
    unknown = first[CONTENT].isna() | other[CONTENT].isna()
    return (unknown | (first[CONTENT] == other[CONTENT])).to_numpy(bool)


def _same(tables: Sequence[pd.DataFrame], column: str) -> NDArray[np.bool_]:
    """Return for which clips all runs have the same value."""
    first = tables[0][column]
    equal = [((table[column] == first) | (table[column].isna() & first.isna())).to_numpy(bool) for table in tables]
    return np.logical_and.reduce(equal)


def _differences(
    runs: Sequence[RunAnswers], kept: Sequence[pd.DataFrame], only: Sequence[int], replaced: int, relabelled: int
) -> list[str]:
    said = []
    if any(only):
        alone = ", ".join(f"{run.name} has {counted(more, 'other')}" for run, more in zip(runs, only, strict=True))
        shared = len(kept[0]) + replaced + relabelled
        said.append(f"The test clips differ: {counted(shared, 'clip')} in common; {alone}.")
    if replaced:
        others = counted(
            replaced, "clip of the same name is another recording", "clips of the same name are other recordings"
        )
        said.append(f"{others} in another run, and left out.")
    if relabelled:
        said.append(f"{counted(relabelled, 'clip has', 'clips have')} different labels in the runs, and are left out.")
    regrouped = int((~_same(kept, "group")).sum())
    if regrouped:
        clips = counted(regrouped, "clip has", "clips have")
        said.append(f"{clips} another group in another run; the groups of the first run are used.")
    every = {label for run in runs for label in run.labels}
    for run in runs:
        missing = sorted(every - set(run.labels))
        if missing:
            said.append(f"{run.name} does not know {name_some(missing)}, which other runs know.")
    digests = {run.digest for run in runs}
    if len(digests) > 1 and None not in digests and not said:
        said.append("The corpora differ, but not in the test clips.")
    return said
