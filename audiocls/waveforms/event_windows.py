"""Cuts recordings with events into the windows that are the clips."""

from __future__ import annotations

import pandas as pd

from audiocls.sources import EVENTS, event_windows, label_text


def cut_into_event_windows(rows: pd.DataFrame) -> pd.DataFrame:
    """Return one row for each window of the usable recordings with events; other rows are unchanged.

    Args:
        rows: Recordings with `events`, `duration_seconds` and `reason`.
    """
    cut = rows["reason"].isna() & rows[EVENTS].notna()
    windows = [
        row
        | {
            "clip_id": f"{row['clip_id']}@{start:.2f}-{end:.2f}",
            "start_seconds": start,
            "end_seconds": end,
            "label": label_text(labels),
            "labels": labels,
        }
        for row in rows[cut].to_dict(orient="records")
        for start, end, labels in event_windows(row["duration_seconds"], row[EVENTS])
    ]
    return pd.concat([pd.DataFrame(windows, columns=rows.columns), rows[~cut]], ignore_index=True).drop(columns=EVENTS)
