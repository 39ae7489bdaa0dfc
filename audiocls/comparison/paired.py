"""Scores of several runs on the same clips, and their paired differences from the first, in all and by class.

All intervals are those of `metrics/intervals.py`, over the groups of the clips. They hold for these models on other
groups: a run is one seed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from audiocls.comparison.common_clips import CommonClips
from audiocls.comparison.scores import calibration_jackknife
from audiocls.metrics import (
    FEWEST_GROUPS,
    GroupCounts,
    Interval,
    Jackknife,
    accuracy,
    balanced_accuracy,
    correlation_interval,
    f1_macro,
    interval,
    jackknife,
    jackknife_auroc,
    jackknife_average_precision,
    matthews,
    mean_jackknife,
    multi_label_jackknife,
    precision_macro,
)

Verdict = Literal["better", "worse", "no difference shown", "the same", "too few groups"]

LOWER_IS_BETTER: Final = frozenset({"loss", "calibration_error"})
NAMES: Final = {
    "f1_macro": "F1, macro",
    "accuracy": "Accuracy",
    "balanced_accuracy": "Balanced accuracy",
    "matthews": "Matthews' correlation",
    "auroc_macro": "Area under the ROC curve, macro",
    "loss": "Log loss",
    "calibration_error": "Calibration error",
    "map_macro": "Average precision, macro (mAP)",
    "map_micro": "Average precision, micro",
    "lwlrap": "Label-ranking average precision",
    "f1_micro": "F1, micro",
    "exact_match": "All labels right",
    "f1": "F1",
    "precision": "Precision",
    "recall": "Recall",
    "average_precision": "Average precision",
}
_OF_LABEL_SETS: Final = ("map_macro", "f1_macro", "lwlrap", "map_micro", "auroc_macro", "f1_micro", "exact_match")
_UNRANKED: Final = ("f1_macro", "f1_micro", "exact_match")
_LEAST_PROBABILITY: Final = 1e-7
_OF_CLASS: Final = {"f1": f1_macro, "precision": precision_macro, "recall": balanced_accuracy}


@dataclass(frozen=True, slots=True)
class Compared:
    """A metric of every run, and the difference of each to the first."""

    metric: str
    scores: list[Interval]
    differences: list[Interval]  # of the second run, the third, ...; positive: higher than the first run's
    verdicts: list[Verdict]


@dataclass(frozen=True, slots=True)
class ComparedClass:
    """The metrics of one class."""

    label: str
    clips: int
    groups: int  # with clips of the class
    metrics: list[Compared]


def compare_metrics(common: CommonClips) -> list[Compared]:
    """Compare the metrics over all clips."""
    several = common.targets.ndim == 2
    systems = [(_label_set_scores if several else _class_scores)(common, run) for run in range(len(common.tables))]
    return [_compared(name, [system[name] for system in systems]) for name in systems[0] if _in_all(name, systems)]


def _in_all(name: str, systems: Sequence[Mapping[str, Jackknife]]) -> bool:
    return all(name in system and not np.isnan(system[name].whole).any() for system in systems)


def compare_classes(common: CommonClips) -> list[ComparedClass]:
    """Compare the metrics of every class that has clips."""
    targets, groups = common.targets, common.groups
    counts = [_counts(common, run) for run in range(len(common.tables))]
    true = counts[0].true[0]
    runs = range(len(counts))
    is_ranked = targets.ndim == 2 and all(_is_ranked(common, run) for run in runs)
    probabilities = [common.probabilities(run) for run in runs] if is_ranked else []
    found = []
    for index, label in enumerate(common.labels):
        clips, of_groups = int(true[:, index].sum()), int((true[:, index] > 0).sum())
        if not clips:
            continue
        own = [each.of_classes(np.array([index])) for each in counts]
        metrics = [
            _compared(name, [jackknife(each, metric) for each in own], of_groups) for name, metric in _OF_CLASS.items()
        ]
        if is_ranked:
            known = ~np.isnan(targets[:, index])
            present = targets[known, index] == 1
            ranked = [jackknife_average_precision(present, each[known, index], groups[known]) for each in probabilities]
            metrics.insert(0, _compared("average_precision", ranked, of_groups))
        found.append(ComparedClass(label, clips, of_groups, metrics))
    return found


def _compared(metric: str, scores: Sequence[Jackknife], num_groups: int | None = None) -> Compared:
    """Compare a metric.

    Args:
        metric: Its name.
        scores: Of each run.
        num_groups: With clips of the class, if it is of a class; with fewer than FEWEST_GROUPS there is no interval.
    """
    few = num_groups is not None and num_groups < FEWEST_GROUPS
    levels = [_level(metric, each) for each in scores]
    gains = [interval(each.minus(scores[0])) for each in scores[1:]]
    if few:
        levels, gains = ([Interval(each.value, np.nan, np.nan) for each in part] for part in (levels, gains))
    return Compared(metric, levels, gains, [judge(each, lower_is_better=metric in LOWER_IS_BETTER) for each in gains])


def _level(metric: str, scores: Jackknife) -> Interval:
    if metric == "matthews":
        return correlation_interval(scores)
    found = interval(scores, fraction=metric != "loss")
    return Interval(found.value, np.maximum(found.low, 0), found.high)  # no loss is below 0


def judge(gain: Interval, *, lower_is_better: bool = False) -> Verdict:
    """Say in words what the interval of a difference shows."""
    if np.isnan(gain.low):
        return "too few groups"
    if gain.low == gain.high == 0:
        return "the same"
    if gain.low <= 0 <= gain.high:
        return "no difference shown"
    return "better" if (gain.low > 0) != lower_is_better else "worse"


def _counts(common: CommonClips, run: int) -> GroupCounts:
    """Count true, predicted and right labels by group and class."""
    if common.targets.ndim == 1:
        return GroupCounts.of(common.targets, predicted_classes(common, run)[None], common.groups, len(common.labels))
    known, found = ~np.isnan(common.targets), predicted_labels(common, run)
    true = known & (common.targets == 1)
    return GroupCounts.of_label_sets(true, known & found, common.groups)


def predicted_classes(common: CommonClips, run: int) -> NDArray[np.int64]:
    """Return the class index that a run predicts for each clip, (num_clips,)."""
    index = {label: i for i, label in enumerate(common.labels)}
    predicted: NDArray[np.int64] = common.tables[run]["predicted"].map(index).to_numpy(np.int64)
    return predicted


def predicted_labels(common: CommonClips, run: int) -> NDArray[np.bool_]:
    """Return which labels a run predicts, (num_clips, num_classes)."""
    index = {label: i for i, label in enumerate(common.labels)}
    found = np.zeros((len(common.clips), len(common.labels)), bool)
    for row, labels in enumerate(common.tables[run]["predicted"]):
        found[row, [index[label] for label in labels]] = True
    return found


def _class_scores(common: CommonClips, run: int) -> dict[str, Jackknife]:
    targets, groups, counts = common.targets, common.groups, _counts(common, run)
    found = {
        "f1_macro": jackknife(counts, f1_macro),
        "accuracy": jackknife(counts, accuracy),
        "balanced_accuracy": jackknife(counts, balanced_accuracy),
        "matthews": jackknife(counts, matthews),
    }
    present = np.unique(targets)
    if not common.knows(run)[present].all():
        return found  # no probability of a label that the model does not know
    probabilities = common.probabilities(run)
    if len(present) > 1:
        found["auroc_macro"] = _mean(
            [jackknife_auroc(probabilities[None, :, k], targets == k, groups) for k in present]
        )
    of_target = probabilities[np.arange(len(targets)), targets]
    found["loss"] = mean_jackknife(-np.log(np.maximum(of_target, _LEAST_PROBABILITY)), groups)
    right = predicted_classes(common, run) == targets
    found["calibration_error"] = calibration_jackknife(probabilities.max(axis=1), right, groups)
    return found


def _mean(of_classes: Sequence[Jackknife]) -> Jackknife:
    whole, without = (np.mean([getattr(each, name) for each in of_classes], axis=0) for name in ("whole", "without"))
    return Jackknife(whole, without, of_classes[0].effective_groups)


def _label_set_scores(common: CommonClips, run: int) -> dict[str, Jackknife]:
    predicted = predicted_labels(common, run)
    found = multi_label_jackknife(common.targets, common.probabilities(run), predicted, common.groups)
    return {name: found[name] for name in _OF_LABEL_SETS if name in _UNRANKED or _is_ranked(common, run)}


def _is_ranked(common: CommonClips, run: int) -> bool:
    """Return whether a run has probabilities; label files of other tools may have none, which are 0 and 1 then."""
    probabilities = common.probabilities(run)
    return not np.isin(probabilities, (0.0, 1.0)).all()


def as_numbers(found: Interval) -> dict[str, Any]:
    """Return value, low and high for JSON; None if there is none."""
    ends = {name: float(np.squeeze(getattr(found, name))) for name in ("value", "low", "high")}
    return {name: None if np.isnan(value) else value for name, value in ends.items()}
