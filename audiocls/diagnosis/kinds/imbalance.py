"""Imbalance: classes with few training clips are recognized less often."""

from __future__ import annotations

from typing import Final

import numpy as np

from audiocls.diagnosis.error_parts import error_parts
from audiocls.diagnosis.evidence import Evidence
from audiocls.diagnosis.finding import Figure, Finding
from audiocls.diagnosis.measures import single
from audiocls.diagnosis.remedies import usable

_METHODS: Final = (
    "balance={method: oversample}",
    "balance={method: weighted_loss}",
    "balance={method: logit_adjusted}",
    "balance={method: decoupled}",
)


def find_imbalance(evidence: Evidence) -> Finding | None:
    """Compare recall weighted as in training with the mean recall of the classes."""
    lost = error_parts(evidence).imbalance
    value, low, _ = single(lost)
    if not low > 0:
        return None
    most, least = int(evidence.counts.argmax()), int(evidence.counts.argmin())
    names, counts, method = evidence.labels, evidence.counts, evidence.params.balance.method
    despite = "" if method == "none" else f" despite balance.method={method}"
    return Finding(
        "imbalance",
        "counts",
        f"Classes with few training clips are recognized less often{despite}: {names[least]!r} has {counts[least]} "
        f"clips and a recall of {_recall(evidence, least):.2f}, {names[most]!r} has {counts[most]} and "
        f"{_recall(evidence, most):.2f}. Balance the classes.",
        measured=(Figure.of("recall lost to imbalance", lost),),
        look_at=("evaluation/confusion_matrix.png", "evaluation/classification_report.csv"),
        overrides=usable(evidence.params, _METHODS),
        gain=value,
    )


def _recall(evidence: Evidence, k: int) -> float:
    of_class = evidence.validation.targets == k
    return float(evidence.validation.right[of_class].mean()) if of_class.any() else float(np.nan)
