"""Read label files of annotation tools and other classifiers: label tracks of Audacity, selection tables of Raven."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePath
from typing import Final, NamedTuple

from audiocls.errors import DataError
from audiocls.files import EncodingFault, as_utf8

LABEL_COLUMNS: Final = (
    "Label", "Annotation", "Species", "Common Name", "Species Code", "Tag", "Tags", "Class", "Call Type", "Type",
)  # fmt: skip
"""Of Raven's tables, in which users name the columns; the first that is there has the labels."""

SCORE_COLUMNS: Final = ("Probability", "Confidence", "Score")
_RECORDING_COLUMNS: Final = ("Begin Path", "Begin File")
_BEGIN, _END, _OFFSET, _SELECTION = "Begin Time (s)", "End Time (s)", "File Offset (s)", "Selection"


class Detection(NamedTuple):
    """What a tool says of a stretch of a recording."""

    label: str
    start_seconds: float
    end_seconds: float
    score: float | None = None
    recording: str | None = None
    """Path or name of the recording, if the file says it."""


def read_label_file(file: Path, label_column: str | None = None) -> list[Detection]:
    """Read a label file; a table with the columns of Raven is one of Raven's, and any other text one of Audacity's.

    Args:
        file: Tab-separated text.
        label_column: Of a Raven table; None: the first of LABEL_COLUMNS.

    Raises:
        DataError: It cannot be read, or has no label column, or a time that is none.
    """
    try:
        lines = as_utf8(file.read_bytes()).decode().splitlines()
    except (OSError, EncodingFault) as error:
        raise DataError(f"{file}: cannot be read: {error}.") from error
    is_raven = bool(lines) and _BEGIN in lines[0].split("\t")
    found = list(_read_raven(file, lines, label_column) if is_raven else _read_audacity(file, lines))
    for each in found:
        if not 0 <= each.start_seconds <= each.end_seconds < math.inf:
            raise DataError(
                f"{file}: {each.label} has the times {each.start_seconds:g} to {each.end_seconds:g} s; a label starts "
                "at 0 or later, and does not end before it starts."
            )
    return found


def _read_audacity(file: Path, lines: Sequence[str]) -> Iterator[Detection]:
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("\\"):  # the frequencies of the label above
            continue
        cells = line.split("\t")
        if len(cells) < 2:
            raise DataError(f"{file}: line {number}: a label has a start, an end and a text, with tabs between them.")
        start, end = (_seconds(file, number, cell) for cell in cells[:2])
        label = cells[2].strip() if len(cells) > 2 else ""
        if not label:
            raise DataError(f"{file}: line {number}: the label has no text.")
        yield Detection(label, start, end, _score(file, number, cells[3]) if len(cells) > 3 else None)


def _read_raven(file: Path, lines: Sequence[str], label_column: str | None) -> Iterator[Detection]:
    rows = csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
    columns = list(rows.fieldnames or ())
    label = label_column or next((name for name in LABEL_COLUMNS if name in columns), None)
    if label not in columns or _END not in columns:
        missing = _END if _END not in columns else label or "with labels"
        raise DataError(f"{file}: no column {missing}; there are {', '.join(columns)}. Name one by --label-column.")
    score = next((name for name in SCORE_COLUMNS if name in columns), None)
    recording = next((name for name in _RECORDING_COLUMNS if name in columns), None)
    seen = set()
    for number, row in enumerate(rows, 2):
        # A selection has a row for each view: the waveform, and the spectrogram.
        selection = row.get(_SELECTION)
        if selection and selection in seen:
            continue
        seen.add(selection)
        start, end = (_seconds(file, number, row[name]) for name in (_BEGIN, _END))
        if recording and row.get(_OFFSET):
            # Times are from the start of the first of several files, and offsets from that of the recording.
            offset = _seconds(file, number, row[_OFFSET])
            start, end = offset, offset + end - start
        text = (row[label] or "").strip()
        if not text:
            raise DataError(f"{file}: line {number}: the column {label} is empty.")
        found = _score(file, number, row[score]) if score else None
        yield Detection(text, start, end, found, row[recording] or None if recording else None)


def _seconds(file: Path, number: int, cell: str | None) -> float:
    try:
        return float((cell or "").replace(",", "."))
    except ValueError as error:
        raise DataError(f"{file}: line {number}: {cell!r} is not a time in seconds.") from error


def _score(file: Path, number: int, cell: str | None) -> float | None:
    if not cell or not cell.strip():
        return None
    try:
        return float(cell.replace(",", "."))
    except ValueError as error:
        raise DataError(f"{file}: line {number}: {cell!r} is not a probability.") from error


def recording_of(file: Path, recordings: Sequence[str]) -> str | None:
    """Return the recording that a label file belongs to by its name; None if there is none.

    The name begins with that of the recording, with or without its suffix: `a.txt`, `a.wav.txt`,
    `a.Table.1.selections.txt`. Of several, the longest name counts, and then the folders that both have in common.

    Args:
        file: Its path below the folder of label files.
        recordings: Paths.
    """

    def length(path: str) -> int:
        pure = PurePath(path)
        return max((len(name) for name in (pure.name, pure.stem) if file.name.startswith(f"{name}.")), default=0)

    named = [(length(path), _shared_folders(file, path), path) for path in recordings]
    best = max(named, default=(0, 0, ""))
    if best[0] == 0:
        return None
    same = [path for size, shared, path in named if (size, shared) == best[:2]]
    if len(same) > 1:
        raise DataError(
            f"{file}: may belong to {' or '.join(same[:3])}; put it into the same subfolder as its recording."
        )
    return best[2]


def _shared_folders(file: PurePath, recording: str) -> int:
    """Return how many folders above both have the same names, from the lowest on."""
    count = 0
    for one, other in zip(reversed(file.parts[:-1]), reversed(PurePath(recording).parts[:-1]), strict=False):
        if one != other:
            break
        count += 1
    return count
