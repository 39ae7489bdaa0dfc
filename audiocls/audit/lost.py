"""Losses between the source and the corpus."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from audiocls.audit.findings import Finding
from audiocls.errors import counted, name_some
from audiocls.waveforms import LEFT_OUT, Counts, name_lost_classes, name_reasons

_MOSTLY: Final = 0.5  # fraction of a class's clips in quarantine from which on it is reported


def count_findings(counts: Counts) -> Iterator[Finding]:
    """Yield what was lost between the source and the corpus."""
    if counts.lost_classes:
        title, _, named = name_lost_classes(counts).partition(": ")
        yield Finding("problem", title, f"{named}. A model trained on this corpus cannot predict what is not in it.")
    for what, lost in (("given split", counts.lost_splits), ("source", counts.lost_sources)):
        if lost:
            names = name_some(f"{name} ({name_reasons(reasons)})" for name, reasons in lost.items())
            yield Finding("problem", f"No usable clip is left in a {what}", f"{names}.")
    shrunk = _shrunk(counts)
    if shrunk:
        yield Finding(
            "warning",
            f"{len(shrunk)} of {len(counts.listed.classes)} classes lost at least half of their clips",
            f"They are in quarantine: {name_some(shrunk)}.",
        )
    if counts.lost_groups:
        yield Finding(
            "note",
            f"{len(counts.lost_groups)} of {counted(counts.listed.groups, 'group')} have no usable clip",
            f"{name_some(counts.lost_groups)}.",
        )
    if left_out := {reason: n for reason, n in counts.left_out.items() if reason != "hidden"}:
        shown = "; ".join(f"{count} {LEFT_OUT.get(reason, reason)}" for reason, count in left_out.items())
        files = counted(sum(left_out.values()), "file or clip of the source is", "files or clips of the source are")
        yield Finding("note", f"{files} not listed", f"{shown}.")


def _shrunk(counts: Counts) -> list[str]:
    """List the classes with many but not all clips in quarantine, such as "no (3 of 4 clips)"."""
    bad = {name: sum(reasons.values()) for name, reasons in counts.quarantined_of_class.items()}
    return [
        f"{name} ({bad[name]} of {counted(total, 'clip')})"
        for name, total in counts.listed.classes.items()
        if name not in counts.lost_classes and bad.get(name, 0) >= _MOSTLY * total
    ]
