"""Confounds: something other than the sound gives the class away."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from audiocls.diagnosis.error_parts import error_parts
from audiocls.diagnosis.evidence import Evidence
from audiocls.diagnosis.finding import Figure, Finding
from audiocls.diagnosis.measures import single
from audiocls.diagnosis.remedies import added_transforms, usable


def find_confound(evidence: Evidence) -> Finding | None:
    """Take the properties that the audit reports, and the score that may rest on the strongest one."""
    reported = [each for each in evidence.audit.get("confounds", ()) if each["reported"]]
    if not reported:
        return None
    worst = max(reported, key=_skill)
    score, chance = single(error_parts(evidence).validation)[0], 1 / len(evidence.labels)
    others = [each["nuisance"] for each in reported if each is not worst]
    also = f"; the {' and the '.join(others)} {'does' if len(others) == 1 else 'do'} as well" if others else ""
    return Finding(
        "data",
        "confound",
        f"The {worst['nuisance']} alone predicts the class of {worst['balanced_accuracy']:.0%} of unseen clips "
        f"(chance: {worst['chance']:.0%}){also}. The scores may rest on it. Record all classes in the same "
        "way, or hide it.",
        measured=(
            Figure(f"balanced accuracy from the {worst['nuisance']} alone", worst["balanced_accuracy"]),
            Figure("reported above", worst["threshold"]),
        ),
        look_at=("data/audit.html",),
        overrides=usable(evidence.params, _remedies(evidence, worst["nuisance"])),
        gain=float(np.clip(_skill(worst) * max(0.0, score - chance), 0, 1)),
    )


def _skill(found: Mapping[str, Any]) -> float:
    """Return the fraction of the way from chance to 1."""
    return float((found["balanced_accuracy"] - found["chance"]) / (1 - found["chance"]))


def _remedies(evidence: Evidence, nuisance: str) -> Iterator[str]:
    params = evidence.params
    noise = {"kind": "noise", "min_snr_db": 0.0, "max_snr_db": 30.0}
    if nuisance == "background":
        yield added_transforms(params, [noise, {"kind": "frequency_mask", "max_fraction": 0.3}, {"kind": "gain"}])
        yield added_transforms(params, [noise])
    elif nuisance == "file format":
        rates = evidence.training.clips["source_rate_hz"]
        if rates.min() < params.audio.sample_rate_hz:
            yield f"audio.sample_rate_hz={int(rates.min())}"
        yield added_transforms(params, [{"kind": "low_pass"}, {"kind": "codec", "probability": 0.5}])
    elif nuisance == "level":
        yield added_transforms(params, [{"kind": "gain", "min_db": -18.0, "max_db": 6.0}])
    elif nuisance == "duration":
        yield added_transforms(params, [{"kind": "speed", "min_factor": 0.7, "max_factor": 1.4}])
        yield "audio.pad=repeat"
    else:
        yield added_transforms(params, [noise, {"kind": "reverb", "probability": 0.5}, {"kind": "gain"}])
