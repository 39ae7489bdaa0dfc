"""Events in recordings: several labels over time, which may overlap, and the windows that they label.

A manifest of events has one row per recording, whose column `events` lists them. The windows are placed once the
lengths of the recordings are known.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa

from audiocls.errors import DataError, name_some
from audiocls.files import masked
from audiocls.params import EventParams
from audiocls.sources.columns import REFUSAL, SEGMENT
from audiocls.sources.label_names import label_text

EVENTS: Final = "events"
_EVENT: Final = pa.struct([("label", pa.string()), ("start_seconds", pa.float64()), ("end_seconds", pa.float64())])
_WINDOWS: Final = pa.struct(
    [("window_seconds", pa.float64()), ("hop_seconds", pa.float64()), ("min_overlap", pa.float64())]
)
EVENTS_FIELD: Final = pa.field(EVENTS, pa.struct([("events", pa.list_(_EVENT)), ("windows", _WINDOWS)]))


def gather_events(rows: pd.DataFrame, params: EventParams) -> pd.DataFrame:
    """Return one row per recording, with the labels of its events, from one row per event.

    A row without a label and without times says that the recording has no events. A row with invalid times keeps its
    own row, with its reason; the recording is used without it. So does a row with times and without a label.

    Args:
        rows: Manifest columns; `start_seconds` and `end_seconds` are null for a whole file.
        params: The windows to cut the recordings into.

    Raises:
        DataError: The events of a recording are in several groups or splits.
    """
    rows = rows.reindex(columns=list(dict.fromkeys([*rows.columns, *REFUSAL])))
    timed = rows["start_seconds"].notna() | rows["end_seconds"].notna()
    unnamed = rows["reason"].isna() & rows["label"].isna() & timed
    rows.loc[unnamed, [*REFUSAL]] = ["unlabelled", "the event has no label; its recording is used without it"]
    good = rows["reason"].isna()
    windows = {
        "window_seconds": params.window_seconds,
        "hop_seconds": params.hop_seconds or params.window_seconds / 2,
        "min_overlap": params.min_overlap,
    }
    _check_consistent(rows[good])
    gathered = []
    for path, events in rows[good].groupby("path", sort=False):
        first = events.iloc[0]
        listed = [
            {"label": row.label, "start_seconds": _or(row.start_seconds, 0), "end_seconds": _or(row.end_seconds, None)}
            for row in events.itertuples()
            if row.label is not None
        ]
        labels = sorted({event["label"] for event in listed})
        gathered.append(
            first.to_dict()
            | {"clip_id": _file_id(first), "path": path, "label": label_text(labels), "labels": labels, "unknown": []}
            | dict.fromkeys([*SEGMENT, *REFUSAL], None)
            | {EVENTS: {"events": listed, "windows": windows}}
        )
    bad = rows[~good]
    bad = bad.assign(labels=[[] for _ in bad.index], unknown=[[] for _ in bad.index])
    return pd.concat([pd.DataFrame(gathered), bad], ignore_index=True)


def _check_consistent(rows: pd.DataFrame) -> None:
    for name in ("group", "split"):
        values = rows.groupby("path")[name].nunique()
        if (values > 1).any():
            raise DataError(
                f"{int((values > 1).sum())} recordings have events of more than one {name}: "
                f"{name_some(masked(str(path)) for path in values.index[values > 1])}. A recording cannot be divided: "
                f"give all its events one {name}."
            )


def _or(value: float | None, default: float | None) -> float | None:
    return default if value is None or math.isnan(value) else float(value)


def _file_id(row: pd.Series) -> str:
    """Return the id of a recording: that of its event without the times."""
    if row.get("start_seconds") is None or pd.isna(row["start_seconds"]):
        return str(row["clip_id"])
    return str(row["clip_id"]).rpartition("@")[0]


def event_windows(duration_seconds: float, annotated: Mapping[str, Any]) -> Iterator[tuple[float, float, list[str]]]:
    """Yield start, end and labels of each window of a recording; the last window ends with the recording.

    Args:
        duration_seconds: Of the recording.
        annotated: A cell of the column `events`.
    """
    windows = annotated["windows"]
    length, hop = min(windows["window_seconds"], duration_seconds), windows["hop_seconds"]
    count = 1 + max(0, math.ceil((duration_seconds - length) / hop - 1e-9))
    for number in range(count):
        start = min(number * hop, duration_seconds - length)
        yield start, start + length, _labels_within(start, start + length, annotated["events"], windows["min_overlap"])


def _labels_within(start: float, end: float, events: Sequence[Mapping[str, Any]], least: float) -> list[str]:
    found = set()
    for event in events:
        stop = math.inf if event["end_seconds"] is None else event["end_seconds"]
        if is_within(start, end, event["start_seconds"], stop, least):
            found.add(event["label"])
    return sorted(found)


def is_within(start: Any, end: Any, event_start: Any, event_end: Any, least: float) -> Any:
    """Return whether a stretch of a recording has the label of an event: floats, or arrays of the same shape.

    It does if it covers at least the fraction `least` of the event, or if the event covers as much of the stretch.
    """
    overlap = np.minimum(end, event_end) - np.maximum(start, event_start)
    shorter = np.minimum(end - start, event_end - event_start)
    return (overlap > 0) & (overlap >= least * shorter - 1e-9)
