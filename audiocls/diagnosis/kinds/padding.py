"""Padding: most of what the model sees is not sound."""

from __future__ import annotations

import numpy as np

from audiocls.diagnosis.evidence import Evidence
from audiocls.diagnosis.finding import Figure, Finding
from audiocls.diagnosis.measures import grouped_mean, single
from audiocls.diagnosis.remedies import rounded, usable


def find_padding(evidence: Evidence) -> Finding | None:
    """Measure the padded fraction of model inputs; most means that the interval is above one half."""
    audio = evidence.params.audio
    seconds = evidence.training.clips["duration_seconds"].to_numpy(np.float64)
    padded = grouped_mean(np.maximum(1 - seconds / audio.max_seconds, 0), evidence.training.groups)
    value, low, _ = single(padded)
    if not low > 0.5 or audio.pad != "zero" or evidence.params.training.group_by_length:
        return None
    return Finding(
        "long_audio",
        "padding",
        f"{value:.0%} of what the model sees is padding: clips are {np.median(seconds):.2g} s long, and its input is "
        f"{audio.max_seconds:g} s. Shorten the input, which also trains faster.",
        measured=(Figure.of("padded fraction", padded),),
        overrides=usable(
            evidence.params,
            (
                f"audio.max_seconds={rounded(float(seconds.max()) * 1.03)}",
                "audio.pad=repeat",
                "training.group_by_length=true",
            ),
        ),
    )
