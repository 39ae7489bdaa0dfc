"""Copies of one recording under different labels."""

from __future__ import annotations

from audiocls.diagnosis.error_parts import error_parts
from audiocls.diagnosis.evidence import Evidence
from audiocls.diagnosis.finding import Figure, Finding
from audiocls.errors import counted


def find_conflicting_copies(evidence: Evidence) -> Finding | None:
    """Count the near-copies that the audit found and whose labels differ: one of the two is wrong.

    They are a finding if they are more clips than validation can miss: a single pair is in the audit already.
    """
    pairs = [pair for pair in evidence.audit.get("near_duplicates", ()) if len(set(pair["labels"])) > 1]
    clips = evidence.audit.get("corpus", {}).get("clips", 0)
    if not pairs or not clips or not len(pairs) / clips > error_parts(evidence).visible:
        return None
    return Finding(
        "data",
        "copies",
        f"{counted(len(pairs), 'pair')} of recordings sound the same and have different labels. Correct them.",
        measured=(Figure("fraction of the clips", len(pairs) / clips),),
        look_at=("data/audit.html",),
        gain=len(pairs) / clips,
    )
