"""Predictions in files: tables of `audiocls predict`, and label files of other tools, by recording."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Final

import pyarrow as pa

from audiocls.errors import DataError, counted, name_some
from audiocls.inference import UNKNOWN, Detection, read_label_file, recording_of
from audiocls.sources import NO_LABEL, TABLE_SUFFIXES, column_names, read_columns, text_cells

LABEL_SUFFIXES: Final = (".txt",)
_KEY: Final = "predictions"


@dataclass(frozen=True, slots=True)
class Detections:
    """What was found in the recordings.

    Attributes:
        of: By path of a recording; a recording without an answer is not in it.
        ranked: The same for what only adds to the scores: labels that were not given, with their probability.
        unmatched: Names of recordings or label files that belong to no recording of the corpus.
        refused: Paths of recordings that could not be used.
        is_whole: Whether nothing was found in a recording that is not in `of`; else it was not asked for.
    """

    of: dict[str, list[Detection]] = field(default_factory=dict)
    ranked: dict[str, list[Detection]] = field(default_factory=dict)
    unmatched: list[str] = field(default_factory=list)
    refused: set[str] = field(default_factory=set)
    is_whole: bool = True

    @property
    def have_scores(self) -> bool:
        """Whether each answer has a probability."""
        return all(each.score is not None for found in self.of.values() for each in found)


def is_predictions(asked: str) -> bool:
    """Return whether a path is a file or a folder of predictions, and not a model."""
    path = Path(asked)
    if path.is_file():
        return path.suffix.lower() in (*TABLE_SUFFIXES, *LABEL_SUFFIXES)
    has_model = any((path / name).is_file() for name in ("config.json", "model/config.json"))
    return path.is_dir() and not has_model and any(_label_files(path))


def _label_files(folder: Path) -> Iterator[Path]:
    return (file for file in sorted(folder.rglob("*")) if file.suffix.lower() in LABEL_SUFFIXES and file.is_file())


def read_detections(asked: Path, recordings: Sequence[str], label_column: str | None = None) -> Detections:
    """Read predictions, and find the recording that each belongs to.

    Args:
        asked: A table of `audiocls predict` or a folder of label files, which are of all recordings; or a label file,
            which is of the recordings that it names.
        recordings: Paths of the corpus.
        label_column: Of Raven's tables.

    Raises:
        DataError: A file cannot be read, or belongs to several recordings, or none belongs to any.
    """
    found = Detections(is_whole=asked.suffix.lower() not in LABEL_SUFFIXES or asked.is_dir())
    if asked.is_dir():
        for file in _label_files(asked):
            _add_label_file(found, file, file.relative_to(asked), recordings, label_column)
    elif asked.suffix.lower() in LABEL_SUFFIXES:
        _add_label_file(found, asked, Path(asked.name), recordings, label_column)
    else:
        _add_table(found, asked, recordings)
    if not found.of:
        raise DataError(
            f"{asked}: no prediction is of a recording of the corpus. The predictions name "
            f"{name_some(found.unmatched, 3) or 'none'}, and the corpus has {name_some(recordings, 3)}."
        )
    return found


def _add_label_file(
    found: Detections, file: Path, below: Path, recordings: Sequence[str], label_column: str | None
) -> None:
    own = recording_of(below, recordings)
    try:
        detections = read_label_file(file, label_column)
    except DataError:
        if own is not None:
            raise
        detections = []  # any other text, such as a README
    if own is not None:
        found.of.setdefault(own, [])  # an empty file says that nothing was found
    elif not any(each.recording for each in detections):
        found.unmatched.append(str(below))
        return
    by_name = _by_name(recordings)
    for each in detections:
        path = _match(each.recording, by_name) if each.recording else own
        if path is None:
            found.unmatched.append(str(each.recording))
        else:
            found.of.setdefault(path, []).append(each)


def _add_table(found: Detections, file: Path, recordings: Sequence[str]) -> None:
    columns = column_names(file)
    needed = [
        name for name in ("path", "label", "probability", "start_seconds", "end_seconds", "reason") if name in columns
    ]
    if not {"path", "label"} <= set(needed):
        raise DataError(
            f"{file}: no columns path and label; there are {', '.join(columns)}. Give a table of audiocls predict, or "
            "the label files of another tool."
        )
    ranks = [name for name in columns if name.startswith(("label_", "probability_")) and name[-1].isdigit()]
    table = read_columns(file, {f"{_KEY}.{name}": name for name in [*needed, *ranks]}, _KEY)
    by_name = _by_name(recordings)
    for row in _rows(file, table, [*needed, *ranks]):
        path = _match(row.text("path") or "", by_name)
        if path is None:
            found.unmatched.append(row.text("path") or row.place)
        elif row.text("reason"):
            found.refused.add(path)
        else:
            span = row.number("start_seconds") or 0.0, row.number("end_seconds") or float("inf")
            score = row.number("probability")
            given = [Detection(label, *span, score) for label in _labels(row.text("label"))]
            found.of.setdefault(path, []).extend(given)
            found.ranked.setdefault(path, []).extend(_ranked(row, span))


@dataclass(frozen=True, slots=True)
class _Row:
    """A row of a table of predictions."""

    place: str
    cells: dict[str, str | None]

    def text(self, name: str) -> str | None:
        """Return a cell; None if it is empty, or there is no such column."""
        return self.cells.get(name)

    def number(self, name: str) -> float | None:
        cell = self.cells.get(name)
        if not cell:
            return None
        try:
            return float(cell)
        except ValueError as error:
            raise DataError(f"{self.place}: {name} = {cell!r} is not a number.") from error


def _rows(file: Path, table: pa.Table, names: Sequence[str]) -> Iterator[_Row]:
    columns = [_cells(file, table, name) for name in names]
    for number, cells in enumerate(zip(*columns, strict=True), 1):
        yield _Row(f"{file}: data row {number}", dict(zip(names, cells, strict=True)))


def _cells(file: Path, table: pa.Table, name: str) -> list[str | None]:
    if pa.types.is_floating(table[name].type):
        return [None if value is None else repr(value) for value in table[name].to_pylist()]
    return list(text_cells(str(file), table, name))


def _labels(cell: str | None) -> list[str]:
    """Return the labels of a cell: one, or of a model of several labels `a + b`, or none."""
    return [label for label in (cell or "").split(" + ") if label not in ("", NO_LABEL, UNKNOWN)]


def _ranked(row: _Row, span: tuple[float, float]) -> Iterator[Detection]:
    rank = 1
    while label := row.text(f"label_{rank}"):
        yield Detection(label, *span, row.number(f"probability_{rank}"))
        rank += 1


def _by_name(recordings: Sequence[str]) -> dict[str, list[str]]:
    named: dict[str, list[str]] = {}
    for path in recordings:
        named.setdefault(PurePath(path).name, []).append(path)
    return named


def _match(named: str, by_name: dict[str, list[str]]) -> str | None:
    """Return the recording with the longest end of its path in common with a name.

    Raises:
        DataError: Several have the same.
    """
    parts = PurePath(named.replace("\\", "/")).parts
    best: list[str] = []
    longest = 0
    for path in by_name.get(parts[-1] if parts else "", []):
        shared = 0
        for one, other in zip(reversed(parts), reversed(PurePath(path).parts), strict=False):
            if one != other:
                break
            shared += 1
        if shared > longest:
            best, longest = [path], shared
        elif shared == longest:
            best.append(path)
    if len(best) > 1:
        raise DataError(f"predictions: {named} may be {counted(len(best), 'recording')}: {name_some(best, 3)}.")
    return best[0] if best else None
