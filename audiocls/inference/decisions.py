"""From the probabilities of a recording to its label, or to its labels if it may have any number of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from audiocls.errors import ParamsError
from audiocls.metrics import DEFAULT_THRESHOLD
from audiocls.models import InferenceSettings
from audiocls.sources import label_text

UNKNOWN: Final = "unknown"


@dataclass(frozen=True, slots=True)
class Decisions:
    """How a model's probabilities are read.

    Attributes:
        labels: Class names; the position is the class index.
        multi_label: Whether a recording may have any number of labels.
        thresholds: With `multi_label`, the probability from which on a label is given; 0.5 for those not named.
    """

    labels: tuple[str, ...]
    multi_label: bool = False
    thresholds: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, settings: InferenceSettings) -> Decisions:
        """Return those of a model."""
        return cls(tuple(settings.labels), settings.multi_label, settings.thresholds)

    @classmethod
    def averaged(cls, several: Sequence[Decisions]) -> Decisions:
        """Return those of models that are averaged; each threshold is the mean of theirs.

        Raises:
            ParamsError: Only some of them give any number of labels.
        """
        first = several[0]
        if any(each.multi_label != first.multi_label for each in several):
            raise ParamsError(
                "some of the models give one label and others any number of labels, so they cannot be averaged."
            )
        means = {label: sum(each.threshold_of(label) for each in several) / len(several) for label in first.labels}
        return cls(first.labels, first.multi_label, means if first.multi_label else {})

    def threshold_of(self, label: str) -> float:
        """Return the threshold of a label."""
        return self.thresholds.get(label, DEFAULT_THRESHOLD)

    def given(self, probabilities: Sequence[float], threshold: float | None = None) -> tuple[str, ...]:
        """Return the labels of a recording, the most probable first.

        Args:
            probabilities: Of the labels, shape (num_classes,).
            threshold: If a recording has one label: that of a lower probability is not given. If it may have any
                number: replaces the thresholds of all labels.
        """
        ranked = sorted(zip(self.labels, probabilities, strict=True), key=lambda pair: -pair[1])
        if not self.multi_label:
            label, highest = ranked[0]
            return (label,) if threshold is None or highest >= threshold else ()
        return tuple(
            label
            for label, probability in ranked
            if probability >= (self.threshold_of(label) if threshold is None else threshold)
        )

    def text_of(self, given: Sequence[str]) -> str:
        """Return labels as one text: the label, or "unknown" for none; of any number, `a + b`, or "(none)"."""
        if self.multi_label:
            return label_text(given)
        return given[0] if given else UNKNOWN
