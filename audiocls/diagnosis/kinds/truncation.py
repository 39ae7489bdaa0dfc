"""Long audio: the part of the sound that the model's input does not hold tells the class."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from audiocls.diagnosis.error_parts import error_parts
from audiocls.diagnosis.evidence import Answered, Evidence
from audiocls.diagnosis.finding import Figure, Finding
from audiocls.diagnosis.measures import counted, decided, grouped_mean, jackknifed, single
from audiocls.diagnosis.remedies import rounded, usable
from audiocls.metrics import Interval
from audiocls.params import RunParams


def find_truncation(evidence: Evidence) -> Finding | None:
    """Compare how well a simple classifier does from whole clips and from what a model input holds of them."""
    lost = explained_by_truncation(evidence)
    if not lost > 0 or evidence.probed is None:
        return None
    parts, gained = error_parts(evidence), _gained(evidence)
    assert gained is not None
    thrown = _thrown_away(evidence)
    return Finding(
        "long_audio",
        "truncated",
        f"A model input of {evidence.params.audio.max_seconds:g} s leaves out {single(thrown)[0]:.0%} of the sound, "
        f"which tells the class: from whole clips, a simple classifier has {single(gained)[0]:.2f} more recall. Raise "
        "audio.max_seconds.",
        measured=(
            Figure.of("fraction of the sound left out", thrown),
            Figure.of("recall gained by whole clips", gained),
        ),
        look_at=("evaluation/windows.parquet",),
        overrides=usable(evidence.params, _remedies(evidence)),
        gain=parts.unlearned * lost + max(0.0, single(parts.overfitting)[0]) * lost,
    )


def explained_by_truncation(evidence: Evidence) -> float:
    """Return the fraction of the errors that the truncation of clips explains, 0 if it is not clear that it does any.

    It is what a simple classifier loses by the truncation, as a fraction of what it does better than chance.
    """
    gained = _gained(evidence)
    if gained is None or not single(gained)[1] > 0:
        return 0.0
    probed, chance = evidence.probed, 1 / len(evidence.labels)
    assert probed is not None
    targets = evidence.training.targets[probed.rows]
    whole = float(np.mean([(probed.whole[targets == k] == k).mean() for k in np.unique(targets)]))
    return float(np.clip(single(gained)[0] / max(whole - chance, 1e-9), 0, 1))


def _gained(evidence: Evidence) -> Interval | None:
    """Return the recall that a simple classifier gains from whole clips."""
    probed = evidence.probed
    if probed is None:
        return None
    training = evidence.training
    clips = Answered(
        training.clips.iloc[probed.rows], training.targets[probed.rows], training.probabilities[probed.rows]
    )
    uniform = np.full(len(evidence.labels), 1 / len(evidence.labels))
    whole, kept = (jackknifed(counted(clips, predicted=each), uniform) for each in (probed.whole, probed.kept))
    return decided(whole.minus(kept))


def _thrown_away(evidence: Evidence) -> Interval:
    """Return the fraction of the sound of training clips that no model input holds, or not in one epoch."""
    seconds = evidence.training.clips["duration_seconds"].to_numpy(np.float64)
    left_out = np.maximum(seconds - evidence.params.audio.max_seconds, 0)
    found = grouped_mean(left_out, evidence.training.groups)
    return Interval(*(end / seconds.mean() for end in (found.value, found.low, found.high)))


def _remedies(evidence: Evidence) -> Iterator[str]:
    params: RunParams = evidence.params
    seconds = evidence.training.clips["duration_seconds"].to_numpy(np.float64)
    longest = float(np.quantile(seconds, 0.95))
    if params.audio.chunk is None:
        yield f"audio.max_seconds={rounded(longest * 1.03)}"
        yield "audio.truncate=random"
        hop = rounded(params.audio.max_seconds / 2)
        yield f"audio.chunk={{seconds: {params.audio.max_seconds:g}, hop: {hop}}}"
    else:
        yield f"audio.chunk={{seconds: {rounded(longest * 1.03)}, hop: {rounded(longest / 2)}}}"
