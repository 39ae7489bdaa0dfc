"""Segments in the formats of annotation tools: Audacity, Raven and RTTM."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from audiocls.files import replacing
from audiocls.inference.choices import LabelFormat
from audiocls.inference.segments import Segment

SUFFIXES: Final[dict[LabelFormat, str]] = {"audacity": ".txt", "raven": ".selections.txt", "rttm": ".rttm"}
"""Of a recording's label file in each format."""

_RAVEN_COLUMNS: Final = (
    "Selection", "View", "Channel", "Begin Time (s)", "End Time (s)", "Low Freq (Hz)", "High Freq (Hz)", "Label",
    "Probability",
)  # fmt: skip


def write_labels(
    segments: Sequence[Segment], target: Path, label_format: LabelFormat, recording: str, highest_hz: float
) -> Path:
    """Write the segments of one recording, whole or not at all.

    Args:
        segments: Of the recording.
        target: The file.
        label_format: `audacity`: a label track, tab-separated; `raven`: a selection table; `rttm`: NIST's Rich
            Transcription Time Marked, with labels in the place of speakers.
        recording: Its name, of which RTTM has the stem in every line.
        highest_hz: Half of the sample rate; Raven draws selections up to it.
    """
    write: dict[LabelFormat, Callable[[], list[str]]] = {
        "audacity": lambda: [_audacity(segment) for segment in segments],
        "raven": lambda: ["\t".join(_RAVEN_COLUMNS), *(_raven(i, s, highest_hz) for i, s in enumerate(segments, 1))],
        "rttm": lambda: [_rttm(segment, recording) for segment in segments],
    }
    text = "".join(f"{line}\n" for line in write[label_format]())
    with replacing(target) as part:
        part.write_text(text, encoding="utf-8")
    return target


def _audacity(segment: Segment) -> str:
    return f"{segment.start_seconds:.6f}\t{segment.end_seconds:.6f}\t{_one_line(segment.label)}"


def _raven(number: int, segment: Segment, highest_hz: float) -> str:
    times = (f"{segment.start_seconds:.6f}", f"{segment.end_seconds:.6f}", "0.0", f"{highest_hz:.1f}")
    return "\t".join(
        (str(number), "Spectrogram 1", "1", *times, _one_line(segment.label), f"{segment.probability:.6f}")
    )


def _rttm(segment: Segment, recording: str) -> str:
    length = segment.end_seconds - segment.start_seconds
    name, label = (re.sub(r"\s+", "_", text) or "_" for text in (Path(recording).stem, segment.label))
    return f"SPEAKER {name} 1 {segment.start_seconds:.6f} {length:.6f} <NA> <NA> {label} {segment.probability:.6f} <NA>"


def _one_line(label: str) -> str:
    return re.sub(r"[\t\r\n]+", " ", label)
