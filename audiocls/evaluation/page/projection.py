"""The projection of the clips' embeddings, as data for the page's script."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pandas as pd

from audiocls.evaluation.page.predictions import Predictions, label_of

MOST_POINTS: Final = 10_000
_STEPS: Final = 1_000  # in each direction
_LONGEST_NAME: Final = 120


def projection_data(table: pd.DataFrame, predictions: Predictions, seed: int) -> dict[str, Any]:
    """Return the points of test clips: places, labels, names, and which are wrong.

    Args:
        table: As `projection.parquet` has it.
        predictions: Of test.
        seed: Of the choice of points, if there are more than MOST_POINTS.
    """
    rows = predictions.rows.assign(wrong=predictions.wrongness > 0, text=predictions.rows["label"].map(label_of))
    joined = rows.merge(table[["clip_id", "x", "y"]], on="clip_id")
    joined = joined[np.isfinite(joined["x"]) & np.isfinite(joined["y"])]
    total = len(joined)
    if total > MOST_POINTS:
        joined = joined.iloc[np.sort(np.random.default_rng(seed).choice(total, MOST_POINTS, replace=False))]
    # The most frequent first: these have colors.
    labels = joined["text"].value_counts().index.tolist()
    index = {label: i for i, label in enumerate(labels)}
    return {
        "labels": labels,
        "x": _placed(joined["x"]),
        "y": _placed(joined["y"]),
        "label": joined["text"].map(index).tolist(),
        "predicted": [label_of(each) for each in joined["predicted"][joined["wrong"]]],
        "wrong": joined["wrong"].astype(int).tolist(),
        "clip": [_shortened(clip_id) for clip_id in joined["clip_id"]],
        "left_out": total - len(joined),
    }


def _placed(values: pd.Series) -> list[int]:
    spread = max(float(values.max() - values.min()), 1e-12) if len(values) else 1.0
    return ((values - values.min()) / spread * _STEPS).round().astype(int).tolist()


def _shortened(name: str) -> str:
    """Leave out the beginning of a long name: its end tells more."""
    return name if len(name) <= _LONGEST_NAME else f"…{name[1 - _LONGEST_NAME :]}"
