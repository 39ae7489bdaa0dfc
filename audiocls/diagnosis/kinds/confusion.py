"""Classes that cannot be told apart: between two of them, the model answers at random."""

from __future__ import annotations

from itertools import combinations

import numpy as np

from audiocls.diagnosis.error_parts import error_parts
from audiocls.diagnosis.evidence import Evidence
from audiocls.diagnosis.finding import Figure, Finding
from audiocls.diagnosis.measures import grouped_mean, single
from audiocls.metrics import FEWEST_GROUPS, Interval


def find_confusion(evidence: Evidence) -> Finding | None:
    """Look for a pair that is told apart no better than by chance, and clearly worse than the other pairs."""
    if len(evidence.labels) < 3:
        return None
    pairs = {
        pair: found for pair in combinations(range(len(evidence.labels)), 2) if (found := _told_apart(evidence, *pair))
    }
    if len(pairs) < 2:
        return None
    pair = min(pairs, key=lambda each: single(pairs[each])[0])
    others = min((single(found)[0] for other, found in pairs.items() if other != pair), default=1.0)
    value, low, high = single(pairs[pair])
    if not low <= 0.5 <= high < others or _is_imbalanced(evidence, pair):
        return None
    first, second = (evidence.labels[k] for k in pair)
    return Finding(
        "data",
        "confusable",
        f"{first!r} and {second!r} are told apart in {value:.0%} of their clips, which is chance. Listen to both: "
        "merge them, or label them again.",
        measured=(Figure.of(f"{first} or {second}", pairs[pair]), Figure("the next pair", others)),
        look_at=("evaluation/confusion_matrix.png",),
        gain=(1 - value) * 2 / len(evidence.labels),
    )


def _is_imbalanced(evidence: Evidence, pair: tuple[int, int]) -> bool:
    """Return whether one of the pair has few training clips, so that imbalance explains the confusion."""
    fewer = evidence.counts[list(pair)].min() < np.median(evidence.counts)
    return bool(fewer and single(error_parts(evidence).imbalance)[1] > 0)


def _told_apart(evidence: Evidence, first: int, second: int) -> Interval | None:
    """Return how often the right one of two classes is found the more probable one; None with too few groups."""
    validation = evidence.validation
    rows = np.isin(validation.targets, (first, second))
    groups = validation.groups[rows]
    if len(np.unique(groups)) < FEWEST_GROUPS or len(np.unique(validation.targets[rows])) < 2:
        return None
    is_first = validation.probabilities[rows, first] >= validation.probabilities[rows, second]
    return grouped_mean((is_first == (validation.targets[rows] == first)).astype(np.float64), groups)
