"""A validation split that is too small to choose a checkpoint by."""

from __future__ import annotations

import numpy as np

from audiocls.diagnosis.error_parts import error_parts
from audiocls.diagnosis.evidence import Evidence
from audiocls.diagnosis.finding import Figure, Finding
from audiocls.diagnosis.measures import ERROR_RATE, single
from audiocls.diagnosis.remedies import rounded, usable
from audiocls.errors import counted, name_some
from audiocls.metrics import FEWEST_GROUPS


def find_small_validation(evidence: Evidence) -> Finding | None:
    """Ask whether validation could tell a class from chance, and one epoch from another.

    A class is too small if the interval of its recall would reach chance even if all its clips were right.
    """
    validation = evidence.validation
    groups = len(np.unique(validation.groups))
    small = _small_classes(evidence)
    unclear = _is_unclear(evidence)
    if groups >= FEWEST_GROUPS and not small and not unclear:
        return None
    return Finding(
        "data",
        "small_validation",
        f"Validation has {counted(len(validation), 'clip')} of {counted(groups, 'group')}: {_why(groups, small)}. It "
        "chooses the checkpoint, so use more.",
        measured=(
            Figure("clips of validation", float(len(validation))),
            Figure.of("recall on validation", error_parts(evidence).validation),
        ),
        overrides=usable(evidence.params, _remedies(evidence)),
        gain=_unseen(groups),
    )


def _unseen(groups: int) -> float:
    """Return what can be missed: one minus the recall that as many right answers prove."""
    return float(1 - (ERROR_RATE / 2) ** (1 / max(groups, 1)))


def _small_classes(evidence: Evidence) -> list[str]:
    """Name the classes whose recall, if all groups were right, could still be chance."""
    chance, small = 1 / len(evidence.labels), []
    for k, label in enumerate(evidence.labels):
        groups = len(np.unique(evidence.validation.groups[evidence.validation.targets == k]))
        if (ERROR_RATE / 2) ** (1 / max(groups, 1)) <= chance:
            small.append(label)
    return small


def _is_unclear(evidence: Evidence) -> bool:
    """Return whether the interval is wider than all differences between the epochs that it chose among."""
    scores = evidence.measured(f"validation/{evidence.params.best_metric}")
    _, low, high = single(error_parts(evidence).validation)
    stops = evidence.params.training.early_stopping_patience is not None
    return bool(stops and evidence.params.best_metric != "loss" and len(scores) > 1 and high - low > np.ptp(scores))


def _why(groups: int, small: list[str]) -> str:
    if groups < FEWEST_GROUPS:
        return f"with fewer than {FEWEST_GROUPS} groups, no score on it has an interval"
    if small:
        return f"even if all were right, these classes could be recognized by chance: {name_some(small, 3)}"
    return "its interval is wider than the differences between epochs"


def _remedies(evidence: Evidence) -> tuple[str, ...]:
    """Suggest a larger fraction, unless the data give the split."""
    given = getattr(evidence.params.data, "split_column", None) is not None
    fraction = evidence.params.split.validation_fraction
    return () if given else (f"split.validation_fraction={rounded(max(0.15, min(0.3, 2 * fraction)))}",)
