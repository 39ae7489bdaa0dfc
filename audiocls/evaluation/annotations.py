"""What is where in the recordings of a corpus, as its source says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from audiocls.errors import DataError, counted
from audiocls.inference import Detection
from audiocls.sources import EVENTS, LABELS
from audiocls.waveforms import StorePlan, look_up


@dataclass(frozen=True, slots=True)
class Annotated:
    """A recording and its events; a label of a whole file is an event that lasts as long as the file."""

    path: str
    group: str
    seconds: float
    events: list[Detection]


def read_annotations(
    manifest: Path, plan: StorePlan, names: Mapping[str, str] | None = None, *, test_only: bool = False
) -> list[Annotated]:
    """Return the usable recordings of a corpus, by path, with their events.

    Args:
        manifest: Of the corpus: rows are events, segments, windows or whole files.
        plan: Of the filled waveform store, which knows how long the recordings are.
        names: New labels by the labels of the corpus.
        test_only: Take the recordings of the given split `test` alone.

    Raises:
        DataError: No recording can be used, or no split is given.
    """
    rows = pq.read_table(manifest).to_pandas()
    rows = rows[rows["reason"].isna()]
    if test_only:
        rows = rows[rows["split"] == "test"]
        if rows.empty:
            raise DataError("--part test: the data give no split for test; set data.split_column, or leave out --part.")
    found = look_up(plan)
    lengths = found[found["reason"].isna()].set_index("path")["duration_seconds"].to_dict()
    renamed = names or {}
    recordings = []
    for path, clips in rows.groupby("path", sort=True):
        if path not in lengths:
            continue
        seconds = float(lengths[path])
        events = {
            Detection(renamed.get(label, label), start, min(end, seconds))
            for row in clips.to_dict(orient="records")
            for label, start, end in _events(row)
            if start < seconds
        }
        recordings.append(Annotated(str(path), str(clips["group"].iloc[0]), seconds, sorted(events)))
    if not recordings:
        raise DataError(
            f"none of {counted(rows['path'].nunique(), 'annotated recording')} can be decoded. Their lengths must be "
            "known: correct data.path, so that the recordings are found."
        )
    return recordings


def _events(row: Mapping[str, Any]) -> Iterator[tuple[str, float, float]]:
    """Yield the label, start and end of each event of a row of a manifest."""
    annotated = row.get(EVENTS)
    if annotated is not None:
        for event in annotated["events"]:
            yield event["label"], float(event["start_seconds"]), _or_end(event["end_seconds"])
        return
    start = row["start_seconds"]
    for label in row[LABELS] if LABELS in row else [row["label"]]:
        if label is not None:
            yield label, 0.0 if pd.isna(start) else float(start), _or_end(row["end_seconds"])


def _or_end(value: Any) -> float:
    return np.inf if value is None or pd.isna(value) else float(value)
