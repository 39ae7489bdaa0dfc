"""The tables of predictions: a row per clip, and a row per window."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray

from audiocls.evaluation.held_out import HeldOut
from audiocls.files import replacing
from audiocls.metrics import LabelScores, probabilities_of
from audiocls.sources import LABEL_SET_FIELDS, LABEL_SETS, is_multi_label

logger = logging.getLogger(__name__)

IDENTITY: Final = (
    "clip_id", "source", "path", "start_seconds", "end_seconds", "group", "split", "label", "content_sha256",
)  # fmt: skip
MOST_WINDOW_PROBABILITIES: Final = 20_000_000
"""Of all windows together, in `windows.parquet`; more would be a file of over 80 MB."""

_ROW_GROUP_ROWS: Final = 8_192

WriteRows = Callable[[pd.DataFrame], None]
"""Receives the next rows."""


@contextmanager
def predictions_file(clips: pd.DataFrame, labels: list[str], target: Path) -> Iterator[WriteRows]:
    """Yield a function that appends rows of `prediction_rows` to a Parquet file, which appears once it is complete."""
    # Types from all clips, because a column may be empty in some of them.
    fields = [pa.Schema.from_pandas(clips[[*IDENTITY]], preserve_index=False).field(name) for name in IDENTITY]
    predicted = fields[0].type
    if is_multi_label(clips):
        fields += LABEL_SET_FIELDS
        predicted = LABEL_SET_FIELDS[0].type
    fields += [("predicted", predicted), ("correct", pa.bool_()), ("windows", pa.int64()), *_probabilities(labels)]
    with _rows_file(pa.schema(fields), target) as write:
        yield write


def prediction_rows(
    clips: pd.DataFrame, logits: NDArray[np.float32], labels: list[str], windows: NDArray[np.int64]
) -> pd.DataFrame:
    """Return a row per clip.

    Args:
        clips: Rows of the clips table.
        logits: Of the clips, (num_clips, num_classes).
        labels: Class names.
        windows: Number of windows of each clip.
    """
    probabilities = torch.softmax(torch.from_numpy(logits), dim=1).numpy()
    table = clips[[*IDENTITY]].reset_index(drop=True)
    table["predicted"] = [labels[i] for i in logits.argmax(axis=1)]
    table["correct"] = table["label"] == table["predicted"]
    table["windows"] = windows
    table["probability"] = probabilities.max(axis=1)
    return table.join(pd.DataFrame(probabilities, columns=[f"probability/{name}" for name in labels]))


def label_set_rows(
    clips: pd.DataFrame,
    scores: LabelScores,
    thresholds: NDArray[np.float64],
    labels: list[str],
    windows: NDArray[np.int64],
) -> pd.DataFrame:
    """Return a row per clip, if clips may have any number of labels.

    `correct` says whether all labels that are known of a clip are right, and `probability` is the highest.

    Args:
        clips: Rows of the clips table.
        scores: Of all these clips.
        thresholds: From which on a label is predicted, (num_classes,).
        labels: Class names.
        windows: Number of windows of each clip.
    """
    found = scores.probabilities >= thresholds
    table = clips[[*IDENTITY, *LABEL_SETS]].reset_index(drop=True)
    table["predicted"] = pd.Series([[labels[i] for i in np.flatnonzero(row)] for row in found], dtype=object)
    table["correct"] = (found == (scores.targets == 1)).all(axis=1, where=~np.isnan(scores.targets))
    table["windows"] = windows
    table["probability"] = scores.probabilities.max(axis=1)
    return table.join(pd.DataFrame(scores.probabilities, columns=[f"probability/{name}" for name in labels]))


def write_windows(
    splits: dict[str, HeldOut], labels: list[str], rate_hz: int, target: Path, temperature: float = 1.0
) -> None:
    """Write a row per window of the clips that have several, unless there are too many or none."""
    target.unlink(missing_ok=True)
    count = sum(int(held_out.per_clip[held_out.per_clip > 1].sum()) for held_out in splits.values())
    if count * len(labels) > MOST_WINDOW_PROBABILITIES:
        logger.info(
            "%s is not written: the %d probabilities of %d windows are more than %d.",
            target.name, count * len(labels), count, MOST_WINDOW_PROBABILITIES,
        )  # fmt: skip
    if not 0 < count * len(labels) <= MOST_WINDOW_PROBABILITIES:
        return
    fields = [("clip_id", pa.string()), ("split", pa.string()), ("label", pa.string())]
    fields += [("start_seconds", pa.float64()), ("end_seconds", pa.float64()), ("predicted", pa.string())]
    with _rows_file(pa.schema([*fields, *_probabilities(labels)]), target) as write:
        for split, held_out in splits.items():
            start = 0
            for logits in held_out.batches():
                part = slice(start, start + len(logits))
                scaled = logits / np.float32(temperature)
                rows = _window_rows(held_out, part, scaled, labels, rate_hz).assign(split=split)
                write(rows[held_out.per_clip[held_out.windows.clip[part]] > 1])
                start = part.stop


def _window_rows(
    held_out: HeldOut, part: slice, logits: NDArray[np.float32], labels: list[str], rate_hz: int
) -> pd.DataFrame:
    clip, start, length = (column[part] for column in held_out.windows)
    probabilities = probabilities_of(logits, multi_label=held_out.is_multi_label)
    table = held_out.clips[["clip_id", "label"]].iloc[clip].reset_index(drop=True)
    table["start_seconds"], table["end_seconds"] = start / rate_hz, (start + length) / rate_hz
    table["predicted"] = [labels[i] for i in logits.argmax(axis=1)]
    table["probability"] = probabilities.max(axis=1)
    return table.join(pd.DataFrame(probabilities, columns=[f"probability/{name}" for name in labels]))


def _probabilities(labels: list[str]) -> list[tuple[str, pa.DataType]]:
    return [("probability", pa.float32()), *((f"probability/{label}", pa.float32()) for label in labels)]


@contextmanager
def _rows_file(schema: pa.Schema, target: Path) -> Iterator[WriteRows]:
    waiting: list[pa.Table] = []

    def flush() -> None:
        writer.write_table(pa.concat_tables([schema.empty_table(), *waiting]).combine_chunks())
        waiting.clear()

    def write(rows: pd.DataFrame) -> None:
        waiting.append(pa.Table.from_pandas(rows, schema=schema, preserve_index=False))
        if sum(map(len, waiting)) >= _ROW_GROUP_ROWS:
            flush()

    with replacing(target) as part, pq.ParquetWriter(part, schema, compression="zstd") as writer:
        yield write
        flush()
