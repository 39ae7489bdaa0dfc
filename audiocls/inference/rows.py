"""Rows of the tables of predictions: one a recording, or one a segment or window."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple, Protocol

import pyarrow as pa

from audiocls.files import masked
from audiocls.inference.answers import Answer
from audiocls.inference.choices import LabelFormat, PartKind
from audiocls.inference.classifier import UNKNOWN
from audiocls.inference.segments import Segment

Row = dict[str, Any]
_PATH: Final = {"path": pa.string()}
_SPAN: Final = {"start_seconds": pa.float64(), "end_seconds": pa.float64()}
_LABEL: Final = {"label": pa.string(), "probability": pa.float64()}
_SIZE: Final = {"seconds": pa.float64(), "windows": pa.int64()}
_REASON: Final = {"reason": pa.string(), "detail": pa.string()}


class TableParams(NamedTuple):
    """How answers are written."""

    top: int = 1
    """Above 1: as many columns `label_1`, `probability_1`, `label_2`, ..., from the most probable label on."""
    threshold: float | None = None
    """Where the highest probability is below it, `label` is "unknown"."""
    label_format: LabelFormat | None = None
    """Of the files with the segments of each recording; None: one table."""


class RowMaker(Protocol):
    """Makes the rows of an answer; all rows have the same columns."""

    @property
    def schema(self) -> pa.Schema:
        """The columns and their types."""

    def rows(self, path: str, answer: Answer) -> Iterator[Row]:
        """Yield the rows of a file."""


def row_maker(labels: Sequence[str], params: TableParams, parts: PartKind | None) -> RowMaker:
    """Return what makes rows of answers that have these parts, or none."""
    match parts:
        case "segments":
            return _SegmentRows()
        case "windows":
            return _WindowRows(labels, params)
        case None:
            return _RecordingRows(labels, params)


class _Ranking:
    """Columns with the most probable labels."""

    def __init__(self, labels: Sequence[str], params: TableParams) -> None:
        self._labels = labels
        self._threshold = params.threshold
        self._top = min(params.top, len(labels)) if params.top > 1 else 0
        self.columns = {
            f"{name}_{rank}": kind
            for rank in range(1, self._top + 1)
            for name, kind in _LABEL.items()
        }  # fmt: skip

    def row(self, probabilities: Sequence[float]) -> Row:
        ranked = sorted(range(len(self._labels)), key=lambda index: -probabilities[index])
        highest = probabilities[ranked[0]]
        is_known = self._threshold is None or highest >= self._threshold
        row: Row = {"label": self._labels[ranked[0]] if is_known else UNKNOWN, "probability": highest}
        for rank, index in enumerate(ranked[: self._top], start=1):
            row |= {f"label_{rank}": self._labels[index], f"probability_{rank}": probabilities[index]}
        return row


class _RecordingRows:
    def __init__(self, labels: Sequence[str], params: TableParams) -> None:
        self._ranking = _Ranking(labels, params)
        self.schema = pa.schema(_PATH | _LABEL | _SIZE | _REASON | self._ranking.columns)

    def rows(self, path: str, answer: Answer) -> Iterator[Row]:
        if answer.reason is not None:
            yield refused_row(self.schema, path, answer)
            return
        row = {"seconds": answer.seconds, "windows": answer.windows} | self._ranking.row(answer.probabilities)
        yield _empty(self.schema, path) | row


class _SegmentRows:
    schema = pa.schema(_PATH | _SPAN | _LABEL | _REASON)

    def rows(self, path: str, answer: Answer) -> Iterator[Row]:
        if answer.reason is not None:
            yield refused_row(self.schema, path, answer)
        for part in answer.parts:
            yield _empty(self.schema, path) | Segment(*part)._asdict()


class _WindowRows:
    def __init__(self, labels: Sequence[str], params: TableParams) -> None:
        self._ranking = _Ranking(labels, params)
        self.schema = pa.schema(_PATH | _SPAN | _LABEL | _REASON | self._ranking.columns)

    def rows(self, path: str, answer: Answer) -> Iterator[Row]:
        if answer.reason is not None:
            yield refused_row(self.schema, path, answer)
        for start, end, probabilities in answer.parts:
            span = {"start_seconds": start, "end_seconds": end}
            yield _empty(self.schema, path) | span | self._ranking.row(probabilities)


REFUSED: Final = pa.schema(_PATH | _REASON)
"""Columns of a table of files that cannot be used."""


def refused_row(schema: pa.Schema, path: str, answer: Answer) -> Row:
    """Return the row of a file that cannot be used."""
    return _empty(schema, path) | {"reason": answer.reason, "detail": _writable(answer.detail or "")}


def _empty(schema: pa.Schema, path: str) -> Row:
    return dict.fromkeys(schema.names) | {"path": _writable(path)}


def _writable(text: str) -> str:
    """Mask passwords of URIs, and escape what is not UTF-8, as names of files may be."""
    return masked(text).encode("utf-8", "backslashreplace").decode()
