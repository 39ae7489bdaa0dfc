"""What the audit of a run says about its test score, read from `audit.json`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Doubts:
    """The verdict of an audit, and the titles of the findings that make a test score doubtful."""

    verdict: str
    confounds: tuple[str, ...]

    @property
    def line(self) -> str:
        """Both in one line, to stand beside a score."""
        return f"{self.verdict} {'; '.join(self.confounds)}." if self.confounds else self.verdict


def read_doubts(audit: Path) -> Doubts:
    """Return the doubts of an audit.

    Args:
        audit: The run's `audit.json`.
    """
    found = json.loads(audit.read_text(encoding="utf-8"))
    return Doubts(found["verdict"], tuple(each["title"] for each in found["findings"] if each["spoils_score"]))
