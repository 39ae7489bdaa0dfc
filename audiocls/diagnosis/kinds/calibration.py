"""Calibration: the model is confident and wrong."""

from __future__ import annotations

import numpy as np

from audiocls.diagnosis.evidence import Evidence
from audiocls.diagnosis.finding import Figure, Finding
from audiocls.diagnosis.measures import grouped_mean, single
from audiocls.diagnosis.remedies import usable


def find_miscalibration(evidence: Evidence) -> Finding | None:
    """Compare the mean confidence on test, after the temperature that validation chose, with the accuracy."""
    test = evidence.test
    excess = grouped_mean(test.probabilities.max(axis=1) - test.right, test.groups)
    value, low, _ = single(excess)
    if not low > 0:
        return None
    confident = np.flatnonzero(~test.right)
    worst = confident[np.argsort(-test.probabilities[confident].max(axis=1), kind="stable")[:5]]
    return Finding(
        "calibration",
        "overconfident",
        f"On test, the model is right in {test.right.mean():.0%} of the clips and believes to be in "
        f"{test.right.mean() + value:.0%}, although validation chose its temperature.",
        measured=(Figure.of("confidence above accuracy", excess),),
        look_at=("evaluation/calibration.png", *(str(test.clips["clip_id"].iloc[i]) for i in worst)),
        overrides=usable(evidence.params, ("training.label_smoothing=0.1",)),
    )
