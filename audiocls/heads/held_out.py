"""What is fitted on validation, such as a shift of the logits, tried on folds of validation that it was not fitted on.

A shift always helps on the clips that it was fitted on. Here it is fitted on all folds but one of the groups, and
scored on that one; it is taken only where the gain over the plain head has an interval above zero.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from audiocls.heads.clips import Clips, Logits
from audiocls.heads.linear import LinearHead
from audiocls.metrics import GroupCounts, Interval, f1_macro, interval, jackknife

logger = logging.getLogger(__name__)

_FOLDS = 5


@dataclass(frozen=True, slots=True)
class HeldOut:
    """What changed heads say of the folds that they were not fitted on."""

    logits: Logits  # (num_clips, num_classes); the plain head's where it is kept
    plain: float  # macro-F1 of the plain head
    changed: float  # of the changed ones
    gain: Interval
    applied: bool

    def described(self) -> dict[str, Any]:
        """Return what head.json says of it; an end of an interval that there is not is null."""
        low, high = (None if np.isnan(end) else float(end) for end in (self.gain.low, self.gain.high))
        return {
            "applied": self.applied,
            "held_out_f1_macro_plain": self.plain,
            "held_out_f1_macro_changed": self.changed,
            "held_out_gain": float(self.gain.value),
            "held_out_gain_low": low,
            "held_out_gain_high": high,
        }


def try_held_out(name: str, fit: Callable[[Clips], LinearHead], plain: LinearHead, clips: Clips, seed: int) -> HeldOut:
    """Fit on all folds but one of the groups, and score on that one, for each fold.

    Args:
        name: Of the method, for the log.
        fit: Changes the plain head by what does best on some clips.
        plain: The head as it was trained.
        clips: Of validation.
        seed: Draws the folds.

    Returns:
        Whether to take what is fitted: the gain in macro-F1 has a 95 % interval above zero. Where there are too few
        groups for an interval, the plain head is kept.
    """
    groups = clips.groups.astype(str)
    folds = np.array_split(np.random.default_rng(seed).permutation(np.unique(groups)), _FOLDS)
    before = clips.logits(plain)
    after = before.copy()
    for fold in folds:
        scored = np.isin(groups, fold)
        if scored.any() and not scored.all():
            after[scored] = clips.some(scored).logits(fit(clips.some(~scored)))
    counted = (
        jackknife(GroupCounts.of(clips.targets, logits.argmax(axis=1)[None], groups, logits.shape[1]), f1_macro)
        for logits in (before, after)
    )
    was, found = counted
    gain = interval(found.minus(was))
    applied = bool(gain.low > 0)
    held_out = HeldOut(after if applied else before, float(was.whole[0]), float(found.whole[0]), gain, applied)
    _tell(name, held_out)
    return held_out


def _tell(name: str, held_out: HeldOut) -> None:
    gain = held_out.gain
    bracket = "too few groups for an interval" if np.isnan(gain.low) else f"95 % [{gain.low:+.3f}, {gain.high:+.3f}]"
    decision = "it is applied" if held_out.applied else "the plain decision is kept"
    logger.info(
        "%s: macro-F1 on held-out folds of validation changes by %+.3f (%s), so %s.",
        name, gain.value, bracket, decision,
    )  # fmt: skip
