"""The error browser: the worst errors, errors of the most confused pairs, and likely label errors."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from audiocls.evaluation.page.media import Excerpt, Excerpts, telling_starts
from audiocls.evaluation.page.predictions import Predictions, label_of
from audiocls.evaluation.page.records import ErrorList, Errors, Pair
from audiocls.splits import PreparedData

MOST_MEDIA_BYTES: Final = 9_000_000
"""Of all pictures and sounds together; the page stays below 15 MB."""

_MOST_WORST: Final = 120
_PAIRS: Final = 12
_MOST_OF_PAIR: Final = 5
_MOST_LABEL_ERRORS: Final = 80
_MOST_PROBABILITIES: Final = 5


@dataclass
class _Items:
    """The clips of all lists, each once."""

    found: list[dict[str, Any]] = field(default_factory=list)
    positions: dict[str, int] = field(default_factory=dict)

    def add(self, item: dict[str, Any]) -> int:
        position = self.positions.setdefault(item["clip"], len(self.found))
        if position == len(self.found):
            self.found.append(item)
        return position


def collect_errors(
    predictions: Predictions,
    pairs: Sequence[Pair],
    label_errors: pd.DataFrame | None,
    data: PreparedData,
    folder: Path,
    most_media_bytes: int = MOST_MEDIA_BYTES,
) -> Errors:
    """Choose the clips to show, with their pictures and sounds.

    Args:
        predictions: Of test.
        pairs: The most confused first.
        label_errors: As `label_errors.csv` has them, or None.
        data: The run's.
        folder: Of the evaluation; its `windows.parquet` says where long clips are cut.
        most_media_bytes: Of all pictures and sounds; clips beyond have neither.
    """
    items = _Items()
    lists = [
        _worst(predictions, items),
        *([] if predictions.is_multi_label else [_of_pairs(predictions, pairs, items)]),
        *([] if label_errors is None else [_label_errors(predictions, label_errors, items)]),
    ]
    _add_excerpts(items.found, data, folder, most_media_bytes)
    return Errors(tuple(items.found), tuple(each for each in lists if each.entries))


def _worst(predictions: Predictions, items: _Items) -> ErrorList:
    wrongness = predictions.wrongness
    order = [row for row in np.argsort(-wrongness, kind="stable") if wrongness[row] > 0]
    shown = order[:_MOST_WORST]
    what = "a wrong label" if predictions.is_multi_label else "a wrong answer"
    which = f"All {len(order)}" if len(shown) == len(order) else f"{len(shown)} of {len(order)}"
    about = f"{which} clips with {what}, first those in which the model is the most certain of it."
    return ErrorList("worst", "Worst errors", about, _entries(predictions, shown, items))


def _of_pairs(predictions: Predictions, pairs: Sequence[Pair], items: _Items) -> ErrorList:
    index = {label: k for k, label in enumerate(predictions.labels)}
    entries: list[tuple[int, str]] = []
    for pair in pairs[:_PAIRS]:
        if pair.first in index and pair.second in index:
            rows = _between(predictions, index[pair.first], index[pair.second])[:_MOST_OF_PAIR]
            remark = f"{pair.first} and {pair.second}: {pair.errors} errors in {pair.clips} clips"
            entries += _entries(predictions, rows, items, remark)
    about = f"Up to {_MOST_OF_PAIR} clips of each of the {_PAIRS} most confused pairs of classes."
    return ErrorList("pairs", "Most confused pairs", about, tuple(entries))


def _between(predictions: Predictions, first: int, second: int) -> NDArray[np.int64]:
    """Return the clips of either class that are taken for the other, the worst first."""
    rows = np.flatnonzero(
        ((predictions.targets == first) & (predictions.predicted == second))
        | ((predictions.targets == second) & (predictions.predicted == first))
    )
    return rows[np.argsort(-predictions.wrongness[rows], kind="stable")]


def _label_errors(predictions: Predictions, table: pd.DataFrame, items: _Items) -> ErrorList:
    rows = {clip_id: row for row, clip_id in enumerate(predictions.rows["clip_id"])}
    entries = []
    shown = table.sort_values("rank", kind="stable").head(_MOST_LABEL_ERRORS)
    for found in shown.to_dict(orient="records"):
        row = rows.get(found["clip_id"])
        item = _unscored(found) if row is None else _item(predictions, row)
        remark = f"labelled {found['label']}, may be {found['suggested']}; label quality {found['quality']:.2f}"
        entries.append((items.add(item), remark))
    about = (
        f"The {len(shown)} clips, of {len(table)}, whose label is the least likely to be right. Listen, and correct."
    )
    return ErrorList("labels", "Likely label errors", about, tuple(entries))


def _entries(
    predictions: Predictions, rows: Iterable[Any], items: _Items, remark: str = ""
) -> tuple[tuple[int, str], ...]:
    return tuple((items.add(_item(predictions, int(row))), remark) for row in rows)


def _item(predictions: Predictions, row: int) -> dict[str, Any]:
    clip, probabilities = predictions.rows.iloc[row], predictions.probabilities[row]
    true = [predictions.labels[k] for k in np.flatnonzero(predictions.present[row])]
    found = [predictions.labels[k] for k in np.flatnonzero(predictions.found[row])]
    likely = np.argsort(-probabilities, kind="stable")[:_MOST_PROBABILITIES].tolist()
    likely += [k for k in np.flatnonzero(predictions.present[row]).tolist() if k not in likely]
    return {
        "clip": clip["clip_id"],
        "file": clip["path"],
        "group": clip["group"],
        "split": clip["split"],
        "true": true,
        "predicted": found,
        "probabilities": [(predictions.labels[k], round(float(probabilities[k]), 4)) for k in likely],
    }


def _unscored(found: dict[str, Any]) -> dict[str, Any]:
    """Return the item of a clip that is not in test."""
    return {
        "clip": found["clip_id"],
        "file": found.get("path", found["clip_id"]),
        "group": found.get("group", ""),
        "split": found["split"],
        "true": [label_of(found["label"])],
        "predicted": [label_of(found["suggested"])],
        "probabilities": [],
    }


def _add_excerpts(items: list[dict[str, Any]], data: PreparedData, folder: Path, most_bytes: int) -> None:
    """Add pictures and sounds to the items, the first ones if not all fit."""
    predicted = {item["clip"]: (item["predicted"] or item["true"] or [""])[0] for item in items}
    excerpts = Excerpts([*predicted], data, telling_starts(folder / "windows.parquet", predicted))
    size = 0
    for item in items:
        excerpt = excerpts.cut(item["clip"]) if size < most_bytes else None
        if excerpt is not None:
            size += excerpt.size
            item |= {"picture": excerpt.picture, "sound": excerpt.sound, "part": _part(excerpt)}


def _part(excerpt: Excerpt) -> str:
    if excerpt.clip_seconds <= excerpt.seconds:
        return f"{excerpt.seconds:.2f} s"
    end = excerpt.start_seconds + excerpt.seconds
    return f"{excerpt.start_seconds:.1f} to {end:.1f} s of {excerpt.clip_seconds:.1f} s"
