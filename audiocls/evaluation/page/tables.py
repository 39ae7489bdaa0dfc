"""The tables of an evaluation folder that a page shows; those that are not there are None."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pandas as pd
from transformers.trainer import TRAINER_STATE_NAME

from audiocls.errors import DataError
from audiocls.evaluation.page.records import CorruptionRow, Pair, SliceRow
from audiocls.evaluation.slices import Scored
from audiocls.files import replacing

LEARNING_CURVES: Final = "learning_curves.csv"
LABEL_ERRORS: Final = "label_errors.csv"
PAIRS: Final = "confusable_pairs.csv"
PROJECTION: Final = "projection.parquet"

_CLIP_TEXT: Final = ("clip_id", "path", "group", "split", "label", "suggested")
_TEXT: Final = frozenset(("column", "value", "verdict", "corruption", "metric", "label_a", "label_b", *_CLIP_TEXT))


@dataclass(frozen=True, slots=True)
class Tables:
    """The optional tables of an evaluation folder; `metrics` and `classes` are read for their intervals."""

    metrics: pd.DataFrame | None
    classes: pd.DataFrame | None
    slices: pd.DataFrame | None
    robustness: pd.DataFrame | None
    reliability: pd.DataFrame | None
    risk_coverage: pd.DataFrame | None
    learning_curves: pd.DataFrame | None
    label_errors: pd.DataFrame | None
    pairs: pd.DataFrame | None
    projection: pd.DataFrame | None


def read_tables(folder: Path) -> Tables:
    """Read the tables of a folder.

    Raises:
        DataError: A table lacks a column.
    """
    projection = folder / PROJECTION
    return Tables(
        metrics=_read(folder / "metrics.csv", ("metric", "test_low", "test_high")),
        classes=_read(folder / "classification_report.csv", ("label",)),
        slices=_read(folder / "slices.csv", ("column", "value", "clips", "groups", "limit", "verdict")),
        robustness=_read(folder / "robustness.csv", ("corruption", "clips", "loss", "unchanged", "limit", "verdict")),
        reliability=_read(folder / "reliability.csv", ("confidence", "accuracy", "clips")),
        risk_coverage=_read(folder / "risk_coverage.csv", ("threshold", "coverage", "risk")),
        learning_curves=_read(folder / LEARNING_CURVES, ("step", "metric", "value")),
        label_errors=_read(folder / LABEL_ERRORS, ("clip_id", "split", "label", "suggested", "quality", "rank")),
        pairs=_read(folder / PAIRS, ("label_a", "label_b", "clips", "errors", "rate", "low", "high")),
        projection=_checked(pd.read_parquet(projection), projection, ("clip_id", "x", "y"))
        if projection.exists()
        else None,
    )


def _read(file: Path, needed: Sequence[str]) -> pd.DataFrame | None:
    """Read a CSV file; numbers may be empty, texts are kept as they are. None if there is no file or no row."""
    if not file.exists():
        return None
    table = _checked(pd.read_csv(file, dtype=str, keep_default_na=False), file, needed)
    text = _TEXT - ({"value"} if "metric" in table.columns else set())
    for name in table.columns.difference([*text]):
        table[name] = pd.to_numeric(table[name])
    return None if table.empty else table


def _checked(table: pd.DataFrame, file: Path, needed: Sequence[str]) -> pd.DataFrame:
    missing = [name for name in needed if name not in table.columns]
    if missing:
        raise DataError(
            f"{file}: it has no column {', '.join(missing)}, so the page cannot show it. Remove the file, or evaluate "
            "again."
        )
    return table


def given_ends(table: pd.DataFrame | None, key: str, score: str) -> dict[str, tuple[float, float]]:
    """Return the ends of the 95 % intervals that a table has.

    Args:
        table: With the columns SCORE_low and SCORE_high, or without.
        key: The column that names the rows.
        score: What the intervals are of.
    """
    if table is None or f"{score}_low" not in table:
        return {}
    known = table[table[f"{score}_low"].notna()]
    return dict(zip(known[key], zip(known[f"{score}_low"], known[f"{score}_high"], strict=True), strict=True))


def tested_score(table: pd.DataFrame | None) -> str:
    """Return the name of the score that slices are judged by: the last one that has an interval."""
    names = [name.removesuffix("_low") for name in (() if table is None else table.columns) if name.endswith("_low")]
    return names[-1] if names else ""


def slice_rows(table: pd.DataFrame | None) -> Iterator[SliceRow]:
    """Yield the rows of `slices.csv`, in its order."""
    score = tested_score(table)
    for row in _records(table):
        scored = Scored(row[score], row[f"{score}_low"], row[f"{score}_high"])
        yield SliceRow(
            row["column"].removeprefix("column/"), row["value"], int(row["clips"]), int(row["groups"]), scored,
            row["limit"], row["verdict"],
        )  # fmt: skip


def corruption_rows(table: pd.DataFrame | None) -> Iterator[CorruptionRow]:
    """Yield the rows of `robustness.csv`, in its order; its fourth column is the score."""
    for row in _records(table):
        loss = Scored(row["loss"], row["loss_low"], row["loss_high"])
        score = row[list(row)[3]]
        yield CorruptionRow(
            row["corruption"], int(row["clips"]), score, loss, row["unchanged"], row["limit"], row["verdict"]
        )


def pair_rows(table: pd.DataFrame | None) -> Iterator[Pair]:
    """Yield the rows of `confusable_pairs.csv`, in its order."""
    for row in _records(table):
        rate = Scored(row["rate"], row["low"], row["high"])
        yield Pair(row["label_a"], row["label_b"], int(row["clips"]), int(row["errors"]), rate)


def _records(table: pd.DataFrame | None) -> list[dict[str, Any]]:
    return [] if table is None else table.to_dict(orient="records")


def write_learning_curves(checkpoints: Path, folder: Path) -> Path | None:
    """Write the metrics that Trainer kept in its newest checkpoint to `learning_curves.csv`; None if there is none."""
    target = folder / LEARNING_CURVES
    target.unlink(missing_ok=True)
    states = sorted(checkpoints.glob(f"*/{TRAINER_STATE_NAME}"), key=lambda path: int(path.parent.name.split("-")[-1]))
    if not states:
        return None
    history = json.loads(states[-1].read_text(encoding="utf-8"))["log_history"]
    rows = [
        {"step": entry["step"], "metric": name, "value": value}
        for entry in history
        for name, value in entry.items()
        if name not in ("step", "epoch") and not name.endswith(("_runtime", "_per_second"))
    ]
    with replacing(target) as part:
        pd.DataFrame(rows, columns=["step", "metric", "value"]).to_csv(part, index=False)
    return target
