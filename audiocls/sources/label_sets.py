"""Clips with any number of labels: the columns that hold them, and what classes, counts and targets they give.

A table of clips with several labels has two more columns than one of clips with exactly one: `labels`, the sorted
labels of each clip, and `unknown`, the labels that nobody checked. Its column `label` is the set as text, `one + three`
or `(none)`, for people and for comparing sets. A clip whose `label` is null has no annotation at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from audiocls.sources.label_names import LABEL_SETS, LABELS, UNKNOWN_LABELS, label_text

LABEL_SET_FIELDS: Final = tuple(pa.field(name, pa.list_(pa.string())) for name in LABEL_SETS)


def is_multi_label(table: pd.DataFrame) -> bool:
    """Return whether the clips of a table have any number of labels each."""
    return LABELS in table.columns


def label_columns(columns: Iterable[str]) -> list[str]:
    """Return the columns with labels, given the names of a table's columns."""
    found = set(columns)
    return ["label", *(name for name in LABEL_SETS if name in found)]


def with_label_sets(clips: pd.DataFrame, labels: Iterable[Sequence[str | None] | None]) -> pd.DataFrame:
    """Set the columns with labels from the labels of each clip; None: the clip has no annotation."""
    listed = [None if given is None else sorted({label for label in given if label}) for given in labels]
    return clips.assign(
        label=pd.Series([None if each is None else label_text(each) for each in listed], clips.index, dtype=object),
        labels=pd.Series([each or [] for each in listed], clips.index, dtype=object),
        unknown=pd.Series([[] for _ in listed], clips.index, dtype=object),
    )


def by_label(table: pd.DataFrame) -> pd.DataFrame:
    """Return one row for each clip and label, with the label as `label`; clips without labels have no row.

    A table of clips with one label each is returned as it is. The index is that of the clips.
    """
    if not is_multi_label(table):
        return table
    exploded = table.assign(label=table[LABELS]).explode("label")
    return exploded[exploded["label"].notna()]


def class_names(table: pd.DataFrame) -> list[str]:
    """Return the classes in sorted order; the position of a name is its class index."""
    return sorted(by_label(table)["label"].unique())


def targets_of(table: pd.DataFrame, labels: Sequence[str]) -> NDArray[Any]:
    """Return what a model should answer.

    Args:
        table: The clips.
        labels: Class names; the position is the class index.

    Returns:
        Of clips with one label each: class indices, int64, shape (num_clips,). Of clips with several: 1 for the labels
        of a clip, 0 for the others, and NaN for unknown ones, float32, shape (num_clips, num_classes).
    """
    index = {name: i for i, name in enumerate(labels)}
    if not is_multi_label(table):
        return table["label"].map(index).to_numpy(np.int64)
    targets = np.zeros((len(table), len(labels)), np.float32)
    for column, value in ((UNKNOWN_LABELS, np.nan), (LABELS, 1.0)):
        cells = table[column].reset_index(drop=True).explode().map(index).dropna()
        targets[cells.index.to_numpy(np.int64), cells.to_numpy(np.int64)] = value
    return targets
