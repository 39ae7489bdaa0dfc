"""What an audit finds, one record a finding, the gravest first."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

Severity = Literal["problem", "warning", "note"]
SEVERITIES: Final[tuple[Severity, ...]] = ("problem", "warning", "note")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that whoever reads a score should know of the data."""

    severity: Severity
    title: str
    text: str
    spoils_score: bool = False  # the test score will not say how new groups will fare


def by_severity(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Sort findings: problems, warnings, notes; among these, what spoils the score first."""
    return tuple(sorted(findings, key=lambda f: (SEVERITIES.index(f.severity), not f.spoils_score)))


def verdict(findings: Iterable[Finding]) -> str:
    """Say in one sentence what the findings come to."""
    found = tuple(findings)
    counts = [sum(f.severity == severity for f in found) for severity in SEVERITIES]
    if any(f.spoils_score and f.severity == "problem" for f in found):
        return "The test score will not tell how the model does on new speakers, places or devices."
    if any(f.spoils_score for f in found):
        return "The test score may say less of new speakers, places or devices than it seems to."
    if counts[0]:
        return "Something is wrong with the data; the scores are worth what the labels are."
    if counts[1]:
        return "Usable, with something to look at first."
    return "No problem was found."
