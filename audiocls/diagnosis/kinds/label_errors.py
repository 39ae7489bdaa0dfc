"""Label errors: training clips that the model contradicts, although it recognizes clips that it never heard."""

from __future__ import annotations

from typing import Final

import numpy as np

from audiocls.diagnosis.error_parts import error_parts
from audiocls.diagnosis.evidence import Evidence
from audiocls.diagnosis.finding import Figure, Finding
from audiocls.diagnosis.measures import mean_interval, single
from audiocls.diagnosis.remedies import added_transforms, usable
from audiocls.errors import counted

_MOST_CLIPS: Final = 10


def find_label_errors(evidence: Evidence) -> Finding | None:
    """Ask whether the model is wrong on training clips more often than its probabilities say.

    Validation chose the temperature, so the probabilities are right for clips that the model did not hear. On clips
    that it was trained on it is right more often, unless their labels are wrong: it then also scores below validation.
    """
    parts, training = error_parts(evidence), evidence.training
    excess = mean_interval(training.probabilities.max(axis=1) - training.right)
    value, low, _ = single(excess)
    gap = single(parts.overfitting)[0]
    if not (low > 0 and gap < 0):
        return None
    suspects = _suspects(evidence)
    return Finding(
        "data",
        "label_errors",
        f"The model contradicts the labels of {1 - single(parts.training)[0]:.0%} of its training clips, {value:.0%} "
        "more than its confidence explains, and does better on validation: labels of training are wrong. Listen to "
        "these clips and correct them.",
        measured=(
            Figure.of("recall on training clips", parts.training),
            Figure.of("recall on validation", parts.validation),
            Figure.of("errors in training above what is expected", excess),
        ),
        look_at=("evaluation/label_errors.csv", *suspects) if len(evidence.label_errors) else suspects,
        overrides=usable(
            evidence.params,
            (
                "training.ema_decay=0.98",
                "training.label_smoothing=0.2",
                added_transforms(evidence.params, [{"kind": "mixup", "alpha": 0.4}]),
            ),
        ),
        gain=max(value, -gap),
    )


def _suspects(evidence: Evidence) -> tuple[str, ...]:
    """Name the training clips whose label the model finds least likely."""
    training = evidence.training
    own = training.probabilities[np.arange(len(training)), training.targets]
    wrong = np.flatnonzero(~training.right)
    worst = wrong[np.argsort(own[wrong], kind="stable")]
    ids = training.clips["clip_id"]
    named = [
        f"{ids.iloc[i]}: {evidence.labels[training.targets[i]]} -> {evidence.labels[training.predicted[i]]}"
        for i in worst[:_MOST_CLIPS]
    ]
    more = len(worst) - len(named)
    return (*named, f"{counted(more, 'more clip')} of the sample") if more > 0 else tuple(named)
