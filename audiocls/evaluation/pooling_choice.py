"""Choose on validation how the windows of a long clip become one answer."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Final, get_args

import numpy as np
from numpy.typing import NDArray

from audiocls.evaluation.held_out import HeldOut
from audiocls.metrics import GroupCounts, Jackknife, WindowPooler, f1_macro, fixed_pooling, interval, jackknife
from audiocls.params import EvaluationParams, Pooling

_PLAIN: Final[Pooling] = "mean"


@dataclass(frozen=True, slots=True)
class PooledScore:
    """Macro-F1 of a pooling on validation, and the 95 % interval of its gain over the mean; NaN if there is none."""

    f1_macro: float
    gain: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class PoolingChoice:
    """The pooling to use, and the scores that it was chosen by, if there was a choice."""

    pooling: Pooling
    scores: dict[Pooling, PooledScore]

    def described(self) -> dict[str, Any]:
        """Return it as JSON values."""
        scores = {name: {k: _or_none(v) for k, v in asdict(score).items()} for name, score in self.scores.items()}
        return {"pooling": self.pooling, "validation": scores}


def choose_pooling(held_out: HeldOut, params: EvaluationParams, num_classes: int) -> PoolingChoice:
    """Choose the pooling that is best in macro-F1 on validation, if it is clearly better than the mean.

    Clearly: the low end of the 95 % interval over groups of the difference to the mean is above 0. Without an interval,
    with fewer than five groups, the mean is kept.

    Args:
        held_out: Validation.
        params: A pooling other than `auto` is used as it is.
        num_classes: Number of classes.
    """
    if params.pooling != "auto" or not (held_out.per_clip > 1).any():
        return PoolingChoice(fixed_pooling(params), {})
    groups = held_out.clips["group"].to_numpy(str)
    counted: dict[Pooling, Jackknife] = {}
    for pooling in get_args(Pooling):
        counts = GroupCounts.of(held_out.targets, _predicted(held_out, pooling)[None], groups, num_classes)
        counted[pooling] = jackknife(counts, f1_macro)
    scores: dict[Pooling, PooledScore] = {}
    for pooling, scored in counted.items():
        gain = interval(scored.minus(counted[_PLAIN]))
        ends = (np.nan, np.nan) if pooling == _PLAIN else (float(gain.low), float(gain.high))
        scores[pooling] = PooledScore(float(scored.whole[0]), float(gain.value), *ends)
    better = [pooling for pooling, score in scores.items() if score.low > 0]
    return PoolingChoice(max(better, key=lambda pooling: scores[pooling].f1_macro, default=_PLAIN), scores)


def _predicted(held_out: HeldOut, pooling: Pooling) -> NDArray[np.int64]:
    pooler = WindowPooler(held_out.windows.clip, pooling)
    return np.concatenate([pooler.add(batch).argmax(axis=1) for batch in held_out.batches()])


def _or_none(value: float) -> float | None:
    return None if np.isnan(value) else value
