"""Selects the training clips, and checks that no other clips are among them.

Balancing happens after the split and only on training clips: a copy of a test clip in training would inflate every
score.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from numpy.typing import NDArray

from audiocls.balance.draws import class_counts, draw, wanted_counts
from audiocls.balance.label_set_draws import draw_expected, expected_draws, label_counts
from audiocls.balance.weights import class_weights, label_weights
from audiocls.errors import LeakageError, counted, name_some
from audiocls.files import replacing, write_table
from audiocls.params import BalanceParams, Resampled
from audiocls.sources import LABELS, is_multi_label, label_columns


@dataclass(frozen=True, slots=True)
class Balanced:
    """The balanced training clips."""

    rows: Path
    """Parquet, one row per training clip: `row` (its position in the split's table), `clip_id`, `label`, and `seen`
    (how often it is drawn in the first epoch, or with `progressive` in the last)."""
    class_weights: dict[str, float] | None
    """Mean 1.0 over the clips; of clips with any number of labels, those of present labels. None if the loss is not
    weighted."""
    counts_before: dict[str, int]
    counts_after: dict[str, int]  # in an epoch; with `progressive` in the last one
    rows_of_kind: dict[str, int] = field(default_factory=dict)
    """How many rows of an epoch are `original`, `copy` and `synthetic`, and how many clips are `left_out`."""


def write_class_counts(balanced: Balanced, target: Path) -> Path:
    """Write the training clips of each class before and after balancing as CSV."""
    columns = {"training_clips": balanced.counts_before, "after_balance": balanced.counts_after}
    with replacing(target) as part:
        pd.DataFrame(columns).rename_axis("label").to_csv(part)
    return target


def balance(split_clips: Path, params: BalanceParams, seed: int, workspace: Path) -> Balanced:
    """Apply a balance method to the training clips of a split.

    Methods that add synthetic embeddings or adjust a trained head act after training; here they change nothing.

    Raises:
        BalanceError: The class counts do not allow the method.
    """
    columns = label_columns(pq.read_schema(split_clips).names)
    table = pd.read_parquet(split_clips, columns=["clip_id", *columns, "split"])
    training = np.flatnonzero(table["split"] == "train")
    clips = table.iloc[training]
    before = _count_labels(clips)
    drawn = np.arange(len(training))
    if isinstance(params, Resampled):
        drawn = _drawn(clips, before, params, np.random.default_rng([seed, 0]))
    check_training_only(table, training[drawn], table["clip_id"].to_numpy(object)[training[drawn]])
    seen = np.bincount(drawn, minlength=len(training))
    settings = f"{split_clips.stem} {params.model_dump_json()} {seed}"
    name = hashlib.sha256(settings.encode()).hexdigest()[:16]
    rows = clips[["clip_id", "label"]].assign(row=training, seen=seen)
    written = write_table(rows, workspace / "balance" / f"{name}.parquet")
    multi_label = is_multi_label(clips)
    weights = label_weights(before, len(clips), params) if multi_label else class_weights(before, params)
    return Balanced(written, weights, before, _count_labels(clips.iloc[drawn]), _kinds(seen))


def _count_labels(clips: pd.DataFrame) -> dict[str, int]:
    return label_counts(clips[LABELS]) if is_multi_label(clips) else class_counts(clips["label"].to_numpy(str))


def _drawn(
    clips: pd.DataFrame, counts: dict[str, int], params: Resampled, rng: np.random.Generator
) -> NDArray[np.int64]:
    if is_multi_label(clips):
        return draw_expected(expected_draws(clips[LABELS].tolist(), params), rng)
    return draw(clips["label"].to_numpy(str), wanted_counts(counts, params), rng)


def check_training_only(table: pd.DataFrame, rows: NDArray[np.int64], clip_ids: NDArray[np.object_]) -> None:
    """Check that no clip of validation or test is among the rows to train on.

    Args:
        table: The clips with their splits.
        rows: Positions in the table to train on.
        clip_ids: Expected ids of the clips at these positions, same shape.

    Raises:
        LeakageError: A row is not a training clip, or not the expected clip; the message names the first ten.
    """
    found = table.iloc[rows]
    leaked = found[found["split"] != "train"]
    if not leaked.empty:
        raise LeakageError(
            f"{counted(len(leaked), 'row to train on is', 'rows to train on are')} not in the training split: "
            f"{name_some(leaked['clip_id'])}."
        )
    other = clip_ids != found["clip_id"].to_numpy(object)
    if other.any():
        mixed_up = counted(
            other.sum(),
            "row to train on is not the clip that it is",
            "rows to train on are not the clips that they are",
        )
        raise LeakageError(
            f"{mixed_up} listed as: {name_some(clip_ids[other])}. The list belongs to another table of clips."
        )


def _kinds(seen: NDArray[np.int64]) -> dict[str, int]:
    originals = int((seen > 0).sum())
    return {
        "original": originals,
        "copy": int(seen.sum()) - originals,
        "synthetic": 0,
        "left_out": int((seen == 0).sum()),
    }
