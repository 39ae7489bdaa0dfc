"""What a comparison of runs finds out, before it is written."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from string import ascii_uppercase
from typing import Any, Final

import numpy as np
import pandas as pd

from audiocls.comparison.common_clips import CommonClips, find_common
from audiocls.comparison.flips import KINDS, find_flips
from audiocls.comparison.paired import Compared, ComparedClass, compare_classes, compare_metrics, predicted_classes
from audiocls.comparison.run_answers import RunAnswers
from audiocls.errors import counted
from audiocls.metrics import FEWEST_GROUPS, confusion

logger = logging.getLogger(__name__)

# They say where and when a run was, not what it did.
_NOT_COMPARED: Final = ("workspace", "tracking.", "runner.", "audio.store")


@dataclass(frozen=True, slots=True)
class Facts:
    """All that is known of a comparison, for the page, the summary and the JSON."""

    runs: list[RunAnswers]
    names: list[str]  # a letter for each
    common: CommonClips
    metrics: list[Compared]
    classes: list[ComparedClass]
    params: dict[str, list[str | None]]
    flips: list[pd.DataFrame]  # of the second run, the third, ...
    confusions: list[pd.DataFrame]  # of each run; empty if clips have any number of labels

    @property
    def legend(self) -> list[tuple[str, str]]:
        """The letter of each run, and what it stands for."""
        described = []
        for name, run in zip(self.names, self.runs, strict=True):
            known = "" if run.run_id is None or run.run_id == run.name else f", {run.run_id[:8]}"
            described.append((name, f"{run.name}{known}, {counted(len(run.clips), 'test clip')}"))
        return described

    @property
    def num_groups(self) -> int:
        """Groups of the clips in common."""
        return len(np.unique(self.common.groups))


def gather_facts(runs: list[RunAnswers]) -> Facts:
    """Compare runs with the first of them.

    Raises:
        DataError: The runs have no test clip in common.
    """
    common = find_common(runs)
    for each in common.differences:
        logger.warning(each)
    groups = len(np.unique(common.groups))
    if groups < FEWEST_GROUPS:
        logger.warning("The clips in common are of %d groups; intervals need at least %d.", groups, FEWEST_GROUPS)
    several = common.targets.ndim == 2
    numbers = range(len(runs))
    return Facts(
        runs=runs,
        names=short_names(len(runs)),
        common=common,
        metrics=compare_metrics(common),
        classes=compare_classes(common),
        params=differing_params([run.params for run in runs]),
        flips=[find_flips(common, run) for run in numbers[1:]],
        confusions=[]
        if several
        else [confusion(common.targets, predicted_classes(common, run), common.labels) for run in numbers],
    )


def short_names(count: int) -> list[str]:
    """Return a letter for each run, as the names of runs are too long for the head of a table."""
    return [ascii_uppercase[number] if number < len(ascii_uppercase) else f"R{number + 1}" for number in range(count)]


def differing_params(params: Sequence[Mapping[str, str]]) -> dict[str, list[str | None]]:
    """Return the params that are not the same in all runs, with the value of each run; None if it has none.

    A run of which nothing is known in a section, such as `training`, is not compared in it.
    """
    sections = [{key.partition(".")[0] for key in each} for each in params]
    keys = sorted({key for each in params for key in each if not key.startswith(_NOT_COMPARED)})
    differing = {}
    for key in keys:
        known = [each for each, there in zip(params, sections, strict=True) if key.partition(".")[0] in there]
        if len({each.get(key) for each in known}) > 1:
            differing[key] = [each.get(key) for each in params]
    return differing


def count_flips(flips: pd.DataFrame) -> dict[str, int]:
    """Count the flipped clips of each kind."""
    return {kind: int((flips["kind"] == kind).sum()) for kind in KINDS}


def changed_cells(before: pd.DataFrame, now: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the cells of two confusion matrices that differ, the largest difference first."""
    old, new = before.to_numpy(), now.to_numpy()
    rows, columns = np.nonzero(old != new)
    names = [str(name) for name in before.columns]
    cells = [
        {"true": names[i], "predicted": names[j], "before": int(old[i, j]), "now": int(new[i, j])}
        | {"difference": int(new[i, j] - old[i, j])}
        for i, j in zip(rows.tolist(), columns.tolist(), strict=True)
    ]
    return sorted(cells, key=lambda cell: -abs(cell["difference"]))
