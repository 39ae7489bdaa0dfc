"""Findings of an audit, ordered by severity."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

Severity = Literal["problem", "warning", "note"]
SEVERITIES: Final[tuple[Severity, ...]] = ("problem", "warning", "note")


@dataclass(frozen=True, slots=True)
class Finding:
    """One fact about the data that matters when reading a score."""

    severity: Severity
    title: str
    text: str
    spoils_score: bool = False  # the test score does not show the performance on new groups


def by_severity(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Sort findings: problems, warnings, notes; within each, those that spoil the score first."""
    return tuple(sorted(findings, key=lambda f: (SEVERITIES.index(f.severity), not f.spoils_score)))


def verdict(findings: Iterable[Finding]) -> str:
    """Summarize the findings in one sentence."""
    found = tuple(findings)
    counts = [sum(f.severity == severity for f in found) for severity in SEVERITIES]
    if any(f.spoils_score and f.severity == "problem" for f in found):
        return "The test score does not show how the model performs on new speakers, places or devices."
    if any(f.spoils_score for f in found):
        return "The test score may be too optimistic for new speakers, places or devices."
    if counts[0]:
        return "Something is wrong with the data; the scores are only as good as the labels."
    if counts[1]:
        return "Usable, but look at the warnings first."
    return "No problem was found."
