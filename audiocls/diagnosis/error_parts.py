"""Where the errors on validation come from: parts that add up to what macro recall lacks of 1.

With accuracy on training clips T, recall on validation weighted as training weights the classes W, and macro recall on
validation M:

    1 - M  =  (1 - T)  +  (T - W)  +  (W - M)

The first part is underfitting, the second overfitting, and the third imbalance: classes that training has few clips of
are recognized less often. If T is below W, the labels of training are wrong: a model is not worse on the clips that it
was trained on. This part is then taken out of the first.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from audiocls.diagnosis.evidence import Evidence
from audiocls.diagnosis.measures import counted, counted_by_clip, decided, jackknifed, single
from audiocls.metrics import Interval


@dataclass(frozen=True, slots=True)
class ErrorParts:
    """The scores and their differences, each with its interval."""

    training: Interval  # T
    validation: Interval  # M
    underfitting: Interval  # 1 - T
    overfitting: Interval  # T - W; negative if labels of training are wrong
    imbalance: Interval  # W - M

    @property
    def unlearned(self) -> float:
        """What the model did not learn of training, without what wrong labels explain."""
        return max(0.0, single(self.underfitting)[0] + min(0.0, single(self.overfitting)[0]))

    @property
    def visible(self) -> float:
        """The least difference that validation can show: half the width of its interval, NaN if it has none."""
        _, low, high = single(self.validation)
        return (high - low) / 2


def error_parts(evidence: Evidence) -> ErrorParts:
    """Split the errors on validation."""
    seen = counted_by_clip(evidence.training)
    unseen = counted(evidence.validation)
    uniform = np.full(len(evidence.labels), 1 / len(evidence.labels))
    training = jackknifed(seen, evidence.priors)
    weighted, macro = jackknifed(unseen, evidence.priors), jackknifed(unseen, uniform)
    learned = decided(training, fraction=True)
    return ErrorParts(
        training=learned,
        validation=decided(macro, fraction=True),
        underfitting=Interval(1 - learned.value, 1 - learned.high, 1 - learned.low),
        overfitting=decided(training.apart_from(weighted)),
        imbalance=decided(weighted.minus(macro)),
    )
