"""The result of a run in one line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np

from audiocls.evaluation.model_card import score_interval
from audiocls.evaluation.scoring import Evaluation
from audiocls.markdown import escaped

_FIRST: Final = tuple(
    f"{split}/{name}"
    for split in ("test", "validation")
    for name in ("map_macro", "f1_macro", "accuracy", "balanced_accuracy")
)


def result_line(model_folder: Path, evaluation: Evaluation, audit: Path) -> str:
    """Return the test score with its interval, and the verdict of the audit, as Markdown.

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
    verdict = json.loads(audit.read_text(encoding="utf-8"))["verdict"]
    return f"**Test {name} {found.value:.3f}** ({interval}). Audit of the data: {escaped(verdict)}"


def headline_first(metrics: Mapping[str, float]) -> dict[str, float]:
    """Return metrics with the most important ones first, and those of single classes and windows last."""
    first = {name: metrics[name] for name in _FIRST if name in metrics}
    return first | dict(sorted(metrics.items(), key=lambda item: item[0].count("/")))
