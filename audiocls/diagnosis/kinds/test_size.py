"""A test split that is too small for its score to mean anything."""

from __future__ import annotations

import numpy as np

from audiocls.diagnosis.evidence import Evidence
from audiocls.diagnosis.finding import Figure, Finding
from audiocls.diagnosis.measures import counted, decided, jackknifed, single
from audiocls.diagnosis.remedies import rounded, usable
from audiocls.errors import counted as number_of
from audiocls.metrics import FEWEST_GROUPS


def find_small_test(evidence: Evidence) -> Finding | None:
    """Ask whether the interval of the test score reaches chance, or whether there is none."""
    classes = len(evidence.labels)
    scores = jackknifed(counted(evidence.test), np.full(classes, 1 / classes))
    found = decided(scores, fraction=True)
    (value, low, high), chance = single(found), 1 / classes
    groups = len(np.unique(evidence.test.groups))
    if value <= chance or low > chance:
        return None
    needed = FEWEST_GROUPS if np.isnan(low) else int(np.ceil(groups * ((high - low) / 2 / (value - chance)) ** 2)) + 1
    given = getattr(evidence.params.data, "split_column", None) is not None
    fraction = min(0.4, evidence.params.split.test_share * max(2.0, needed / groups))
    return Finding(
        "data",
        "small_test",
        f"Test has {number_of(len(evidence.test), 'clip')} of {number_of(groups, 'group')}, and its recall of "
        f"{value:.2f} could be chance. About {number_of(max(needed, groups + 1), 'group')} would settle it.",
        measured=(Figure.of("recall on test", found), Figure("chance", chance)),
        overrides=() if given else usable(evidence.params, (f"split.test_fraction={rounded(fraction)}",)),
    )
