"""The result of a run in one line."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from audiocls.audit import read_doubts
from audiocls.evaluation.model_card import score_interval
from audiocls.evaluation.scoring import Evaluation
from audiocls.markdown import escaped


def result_line(model_folder: Path, evaluation: Evaluation, audit: Path) -> str:
    """Return the test score with its interval, and what the audit says about it, as Markdown.

    Args:
        model_folder: With `inference.json`.
        evaluation: Of this model.
        audit: The run's `audit.json`.
    """
    name, found = score_interval(model_folder, evaluation)
    interval = (
        "too few groups for an interval"
        if np.isnan(found.low)
        else f"95 % interval over groups: {found.low:.3f} to {found.high:.3f}"
    )
    doubts = read_doubts(audit)
    return f"**Test {name} {found.value:.3f}** ({interval}). Audit of the data: {escaped(doubts.line)}"
