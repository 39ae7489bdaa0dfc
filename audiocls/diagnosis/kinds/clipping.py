"""The front end: clips that were recorded too loud are recognized less often."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from audiocls.diagnosis.error_parts import error_parts
from audiocls.diagnosis.evidence import Evidence
from audiocls.diagnosis.finding import Figure, Finding
from audiocls.diagnosis.measures import counted, decided, single
from audiocls.diagnosis.remedies import added_transforms, usable
from audiocls.metrics import Jackknife, accuracy, jackknife

CLIPPED_FRACTION: Final = 1e-3
"""Of a clip's samples at full scale, as the audit counts clipped clips: it is audible."""


def find_clipping(evidence: Evidence) -> Finding | None:
    """Compare the accuracy on clipped and on other validation clips, by groups."""
    validation = evidence.validation
    is_clipped = validation.clips["clipped_fraction"].to_numpy(np.float64) >= CLIPPED_FRACTION
    if not 0 < is_clipped.sum() < len(validation):
        return None
    lost = decided(_accuracy(evidence, ~is_clipped).minus(_accuracy(evidence, is_clipped)))
    value, low, _ = single(lost)
    cost = value * is_clipped.mean()
    if not (low > 0 and cost > error_parts(evidence).visible):
        return None
    return Finding(
        "front_end",
        "clipped",
        f"{is_clipped.mean():.0%} of the validation clips are clipped, and the accuracy on them is {value:.2f} lower. "
        "Record at a lower level, or train with louder clips.",
        measured=(Figure.of("accuracy lost by clipping", lost),),
        look_at=("data/audit.html",),
        overrides=usable(
            evidence.params, (added_transforms(evidence.params, [{"kind": "codec"}, {"kind": "gain", "max_db": 12.0}]),)
        ),
        gain=cost,
    )


def _accuracy(evidence: Evidence, chosen: NDArray[Any]) -> Jackknife:
    """Return the accuracy on some clips, without each group of validation."""
    counts = counted(evidence.validation)
    group = np.unique(evidence.validation.groups, return_inverse=True)[1]
    number = counts.true.shape[-2]
    clips = np.bincount(group[chosen], minlength=number)
    right = np.bincount(group[chosen], evidence.validation.right[chosen], minlength=number)
    totals = clips.sum() - clips, right.sum() - right
    whole = np.array([right.sum() / clips.sum()])
    without = np.where(totals[0] > 0, totals[1] / np.maximum(totals[0], 1), whole)
    return Jackknife(whole, without[None], jackknife(counts, accuracy).effective_groups)
