"""The front end: recordings of training have other sample rates than those that the model is tested on."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from audiocls.diagnosis.evidence import Evidence
from audiocls.diagnosis.finding import Figure, Finding
from audiocls.diagnosis.measures import ERROR_RATE
from audiocls.diagnosis.remedies import added_transforms, usable

_PERMUTATIONS: Final = 1_000


def find_other_rates(evidence: Evidence) -> Finding | None:
    """Compare the sample rates of the recordings between splits, with the groups of the splits permuted."""
    parts = (evidence.training, evidence.validation, evidence.test)
    rates = np.concatenate([part.clips["source_rate_hz"].to_numpy(np.float64) for part in parts])
    groups = np.concatenate([part.groups for part in parts])
    held_out = np.repeat([False, True, True], list(map(len, parts)))
    used = evidence.params.audio.sample_rate_hz
    keeps_less = rates < used
    if not 0 < keeps_less.sum() < len(rates):
        return None
    group = np.unique(groups, return_inverse=True)[1]
    clips, low = np.bincount(group), np.bincount(group, keeps_less)
    tested = np.bincount(group, held_out) > 0
    difference = _difference(clips, low, tested)
    rng = np.random.default_rng([evidence.params.seed, 6])
    drawn = np.array([_difference(clips, low, rng.permutation(tested)) for _ in range(_PERMUTATIONS)])
    by_chance = (1 + (np.abs(drawn) >= abs(difference)).sum()) / (1 + _PERMUTATIONS)
    if by_chance > ERROR_RATE / 2:
        return None
    lowest = max(4_000, int(rates.min()))
    return Finding(
        "front_end",
        "source_rates",
        f"Recordings below audio.sample_rate_hz = {used} are {keeps_less[~held_out].mean():.0%} of training and "
        f"{keeps_less[held_out].mean():.0%} of validation and test: the model meets other bandwidths than it learned.",
        measured=(Figure("difference of the fractions", difference), Figure("probability by chance", float(by_chance))),
        look_at=("data/audit.html",),
        overrides=usable(
            evidence.params,
            (f"audio.sample_rate_hz={lowest}", added_transforms(evidence.params, [{"kind": "low_pass"}])),
        ),
    )


def _difference(clips: NDArray[Any], low: NDArray[Any], tested: NDArray[Any]) -> float:
    """Return the fraction of low rates in the tested groups, less that in the others."""
    return float(low[tested].sum() / clips[tested].sum() - low[~tested].sum() / clips[~tested].sum())
