"""Overfitting: the model recognizes its training clips more often than clips of groups that it did not hear."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from audiocls.diagnosis.error_parts import error_parts
from audiocls.diagnosis.evidence import Evidence
from audiocls.diagnosis.finding import Figure, Finding
from audiocls.diagnosis.kinds.truncation import explained_by_truncation
from audiocls.diagnosis.measures import single
from audiocls.diagnosis.remedies import added_transforms, rounded, usable
from audiocls.metrics import FEWEST_GROUPS
from audiocls.params import RunParams

_OTHER_VOICES: Final = (
    {"kind": "speed", "min_factor": 0.7, "max_factor": 1.4},
    {"kind": "pitch", "min_semitones": -6.0, "max_semitones": 6.0},
)  # fmt: skip
_OTHER_SOUND: Final = (
    {"kind": "speed"}, {"kind": "noise", "probability": 0.5}, {"kind": "frequency_mask"}, {"kind": "time_mask"},
)  # fmt: skip


def find_overfitting(evidence: Evidence) -> Finding | None:
    """Compare the score of training clips, under evaluation conditions, with that of validation."""
    parts = error_parts(evidence)
    value, low, _ = single(parts.overfitting)
    gain = value * (1 - explained_by_truncation(evidence))
    if not (low > 0 and gain > 0):
        return None
    few = evidence.effective_groups < FEWEST_GROUPS
    return Finding(
        "overfitting",
        "few_groups" if few else "gap",
        f"Recall is {single(parts.training)[0]:.2f} on training clips and {value:.2f} lower on groups that the model "
        f"did not hear{_over_time(evidence)}. {_advice(evidence, few=few)}",
        measured=(
            Figure.of("recall on training clips", parts.training),
            Figure.of("recall on validation", parts.validation),
            Figure.of("gap", parts.overfitting),
        ),
        look_at=_worst_groups(evidence),
        overrides=usable(evidence.params, _remedies(evidence.params, few=few)),
        gain=gain,
    )


def _advice(evidence: Evidence, *, few: bool) -> str:
    if few:
        return (
            f"Training has only {evidence.groups} groups: recordings of more groups help, more clips of the same ones "
            "do not."
        )
    return "Vary the training clips, or restrain the model."


def _over_time(evidence: Evidence) -> str:
    """Say when the validation loss was lowest, if training went on for long after."""
    losses = evidence.measured("validation/loss")
    best = int(losses.argmin()) + 1 if len(losses) else 0
    return f"; the validation loss was lowest after epoch {best} of {len(losses)}" if best < len(losses) else ""


def _remedies(params: RunParams, *, few: bool) -> Iterator[str]:
    yield added_transforms(params, _OTHER_VOICES if few else _OTHER_SOUND)
    if params.model.pretrained is not None:
        yield "model.freeze=encoder"
        yield "model.freeze=feature_encoder"
    if params.model.family == "logmel-resnet":
        yield f"model.config.dropout={max(0.3, float(params.model.config.get('dropout', 0.1)))}"
    yield f"training.weight_decay={rounded(max(0.1, 3 * params.training.weight_decay))}"
    yield "training.early_stopping_patience=3"
    yield added_transforms(params, [{"kind": "mixup"}])


def _worst_groups(evidence: Evidence) -> tuple[str, ...]:
    """Name the groups of validation with the lowest accuracy."""
    names, group = np.unique(evidence.validation.groups, return_inverse=True)
    right = np.bincount(group, evidence.validation.right) / np.bincount(group)
    return tuple(f"group {names[i]}: accuracy {right[i]:.2f}" for i in np.argsort(right, kind="stable")[:3])
