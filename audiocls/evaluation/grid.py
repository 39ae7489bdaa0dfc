"""Predictions against annotations on a fixed time grid: each cell of a recording has any number of labels.

A cell has the label of an event or a prediction if that covers at least half of the cell, or if the cell covers at
least half of it. The last cell of a recording ends with the recording.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from audiocls.evaluation.annotations import Annotated
from audiocls.evaluation.detections import Detections
from audiocls.inference import Detection
from audiocls.metrics import GroupCounts, event_f1
from audiocls.sources import is_within, label_text

_LEAST_OVERLAP: Final = 0.5
_SHORTEST_SECONDS: Final = 1e-6  # of a label at one point in time, and of the last cell


@dataclass(frozen=True, slots=True)
class Grid:
    """The cells of all recordings, in their order.

    Attributes:
        cells: `clip_id`, `path`, `group`, `start_seconds` and `end_seconds`.
        labels: Those that are annotated; the position is the column of the arrays.
        true: Which cells have a label, (num_cells, num_labels).
        given: Which are predicted, the same shape.
        scores: The highest probability of each label in each cell, 0 without one; None if not all predictions have one.
    """

    cells: pd.DataFrame
    labels: list[str]
    true: NDArray[np.bool_]
    given: NDArray[np.bool_]
    scores: NDArray[np.float32] | None

    @property
    def groups(self) -> NDArray[np.str_]:
        """The group of each cell."""
        return self.cells["group"].to_numpy(str)


def build_grid(recordings: Sequence[Annotated], found: Detections, grid_seconds: float) -> Grid:
    """Mark the cells of recordings with their labels and with those that were predicted.

    Args:
        recordings: With at least one event among them.
        found: The predictions.
        grid_seconds: Length of a cell.
    """
    labels = sorted({event.label for each in recordings for event in each.events})
    shared = os.path.commonpath([os.path.dirname(each.path) for each in recordings])  # noqa: PTH120  # or a URI
    tables, marks = [], []
    for each in recordings:
        count = max(1, math.ceil(each.seconds / grid_seconds - _SHORTEST_SECONDS))
        starts: NDArray[Any] = np.arange(count) * grid_seconds
        ends = np.minimum(starts + grid_seconds, each.seconds)
        name = each.path.removeprefix(shared).lstrip("/")
        ids = [f"{name}@{start:.2f}-{end:.2f}" for start, end in zip(starts, ends, strict=True)]
        spans = {"start_seconds": starts, "end_seconds": ends}
        tables.append(pd.DataFrame({"clip_id": ids, "path": each.path, "group": each.group} | spans))
        given, ranked = found.of.get(each.path, []), found.ranked.get(each.path, [])
        marks.append(
            (
                _marked(starts, ends, each.events, labels) > 0,
                _marked(starts, ends, given, labels) > 0,
                _marked(starts, ends, [*given, *ranked], labels, by_score=True),
            )
        )
    true, predicted, scores = (np.concatenate(parts) for parts in zip(*marks, strict=True))
    return Grid(pd.concat(tables, ignore_index=True), labels, true, predicted, scores if found.have_scores else None)


def _marked(
    starts: NDArray[Any],
    ends: NDArray[Any],
    events: Iterable[Detection],
    labels: Sequence[str],
    *,
    by_score: bool = False,
) -> NDArray[np.float32]:
    """Return for each cell and label 1 or the highest score of the events that are in it, else 0."""
    index = {label: column for column, label in enumerate(labels)}
    marks = np.zeros((len(starts), len(labels)), np.float32)
    for event in events:
        if event.label not in index:
            continue
        stop = max(min(event.end_seconds, ends[-1]), event.start_seconds + _SHORTEST_SECONDS)
        first, last = np.searchsorted(ends, event.start_seconds, "right"), np.searchsorted(starts, stop, "left")
        cells = slice(int(first), int(last))
        inside = is_within(starts[cells], ends[cells], event.start_seconds, stop, _LEAST_OVERLAP)
        value = np.float32(event.score if by_score and event.score is not None else 1)
        column = marks[cells, index[event.label]]
        np.maximum(column, np.where(inside, value, 0), out=column)
    return marks


def label_rows(grid: Grid) -> pd.DataFrame:
    """Return the cells as rows of `predictions.parquet` of clips with any number of labels."""
    scores = grid.given.astype(np.float32) if grid.scores is None else grid.scores
    names = np.array(grid.labels, object)
    true, given = ([names[row].tolist() for row in marks] for marks in (grid.true, grid.given))
    table = grid.cells.assign(
        source=None,
        split="test",
        label=[label_text(each) for each in true],
        content_sha256=None,
        labels=pd.Series(true, dtype=object),
        unknown=pd.Series([[] for _ in true], dtype=object),
        predicted=pd.Series(given, dtype=object),
        correct=(grid.true == grid.given).all(axis=1),
        windows=1,
        probability=scores.max(axis=1),
    )
    return table.join(pd.DataFrame(scores, columns=[f"probability/{label}" for label in grid.labels]))


def count_events(
    recordings: Sequence[Annotated], found: Mapping[str, list[Detection]], labels: Sequence[str], collar_seconds: float
) -> GroupCounts | None:
    """Count the events of each label that there are, that were found and that match, by group.

    Returns:
        None if predictions of a label overlap in a recording: they are windows, and not events.
    """
    groups = sorted({each.group for each in recordings})
    counts = np.zeros((3, 1, len(groups), len(labels)), np.int64)
    for each in recordings:
        group = groups.index(each.group)
        for column, label in enumerate(labels):
            true = [event for event in each.events if event.label == label]
            given = [event for event in found.get(each.path, []) if event.label == label]
            given.sort(key=lambda event: event.start_seconds)
            if any(one.end_seconds > other.start_seconds + 1e-6 for one, other in pairwise(given)):
                return None
            scores = event_f1([true], [given], collar_seconds)
            hits = scores.true_positives
            counts[:, 0, group, column] += [len(true), len(given), hits]
    return GroupCounts(*counts)
