"""Cross-validate changes that are fitted on validation, such as a shift of the logits.

A shift always helps on the clips that it was fitted on. So it is fitted on all folds of the groups except one, and
scored on that one. It is used only if the interval of the gain over the plain head is above zero.
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
    """The scores of changed heads on held-out folds."""

    logits: Logits  # (num_clips, num_classes); of the plain head if it is kept
    plain: float  # macro-F1 of the plain head
    changed: float  # macro-F1 of the changed heads
    gain: Interval
    applied: bool

    def described(self) -> dict[str, Any]:
        """Return the entries for head.json; missing ends of an interval are null."""
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
    """Fit on all folds of the groups except one, and score on that one, for each fold.

    Args:
        name: Name of the method, for the log.
        fit: Returns the plain head with the change that is best on some clips.
        plain: The trained head.
        clips: The validation clips.
        seed: Seed of the folds.

    Returns:
        The scores, and whether to apply the change: if the 95 % interval of the gain in macro-F1 is above zero. With
        too few groups for an interval, the plain head is kept.
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
    _log_gain(name, held_out)
    return held_out


def _log_gain(name: str, held_out: HeldOut) -> None:
    gain = held_out.gain
    bracket = "too few groups for an interval" if np.isnan(gain.low) else f"95 % [{gain.low:+.3f}, {gain.high:+.3f}]"
    decision = "the change is applied" if held_out.applied else "the plain head is kept"
    logger.info(
        "%s: macro-F1 on held-out folds of validation changes by %+.3f (%s), so %s.",
        name, gain.value, bracket, decision,
    )  # fmt: skip
