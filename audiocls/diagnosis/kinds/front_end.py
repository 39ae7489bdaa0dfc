"""The front end: recordings whose rate, format or level the model does not cope with."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from audiocls.diagnosis.error_parts import error_parts
from audiocls.diagnosis.evidence import Evidence
from audiocls.diagnosis.finding import Figure, Finding
from audiocls.diagnosis.measures import counted
from audiocls.diagnosis.remedies import added_transforms, usable
from audiocls.metrics import f1_macro

_COLUMNS: Final = {
    "source_rate_hz": "recorded at", "source_format": "in the format", "source_channels": "with channels:",
    "rms_db": "at a level in dB of", "silence_fraction": "with a silent fraction of",
    "snr_estimate_db": "with an SNR of", "duration_seconds": "with a length in seconds of",
}  # fmt: skip


def find_lost_sound(evidence: Evidence) -> Finding | None:
    """Take the slices of test that score lower than random slices, by the permutation test of the evaluation.

    That test has an error rate of 2.5 %, so the interval of the slice has to be below the score as well, and what the
    slice costs has to be more than validation can miss.
    """
    if evidence.slices.empty:
        return None
    slices = evidence.slices
    worse = (slices["verdict"] == "fail") & (slices["f1_macro_high"] < _score(evidence))
    failed = slices[worse & slices["column"].isin(_COLUMNS)]
    if failed.empty:
        return None
    total = len(evidence.test)
    losses = failed["clips"] / total * (_score(evidence) - failed["f1_macro"])
    if not losses.max() > error_parts(evidence).visible:
        return None
    worst = failed.loc[losses.idxmax()]
    column, value = str(worst["column"]), str(worst["value"])
    is_length = column == "duration_seconds"
    return Finding(
        "long_audio" if is_length else "front_end",
        "by_duration" if is_length else column,
        f"Clips {_COLUMNS[column]} {value} score lower than chance explains: macro-F1 {worst['f1_macro']:.2f} on "
        f"{int(worst['clips'])} clips of test, {_score(evidence):.2f} on all.",
        measured=(
            Figure(
                "macro-F1 of these",
                float(worst["f1_macro"]),
                float(worst["f1_macro_low"]),
                float(worst["f1_macro_high"]),
            ),
            Figure("lowest by chance", float(worst["limit"])),
        ),
        look_at=("evaluation/slices.csv",),
        overrides=usable(evidence.params, _remedies(evidence, column)),
        gain=float(losses.max()),
    )


def _score(evidence: Evidence) -> float:
    return float(counted(evidence.test).score(f1_macro)[0])


def _remedies(evidence: Evidence, column: str) -> Iterator[str]:
    params = evidence.params
    if column == "duration_seconds":
        seconds = evidence.training.clips["duration_seconds"]
        if seconds.max() > params.audio.max_seconds:
            yield f"audio.max_seconds={float(seconds.quantile(0.95)):.2g}"
            yield "audio.truncate=random"
        yield "audio.pad=repeat"
        yield added_transforms(params, [{"kind": "speed"}])
    elif column in ("source_rate_hz", "source_format", "source_channels"):
        yield f"audio.sample_rate_hz={int(evidence.training.clips['source_rate_hz'].min())}"
        yield added_transforms(params, [{"kind": "low_pass"}, {"kind": "codec", "probability": 0.5}])
    elif column == "rms_db":
        yield added_transforms(params, [{"kind": "gain", "min_db": -18.0, "max_db": 6.0}])
    else:
        yield added_transforms(params, [{"kind": "noise", "min_snr_db": 0.0}, {"kind": "reverb", "probability": 0.5}])
