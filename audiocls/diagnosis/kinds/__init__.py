"""The kinds of faults, a module each: a function from the evidence to a finding, or None."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from audiocls.diagnosis.evidence import Evidence
from audiocls.diagnosis.finding import Finding
from audiocls.diagnosis.kinds.calibration import find_miscalibration
from audiocls.diagnosis.kinds.clipping import find_clipping
from audiocls.diagnosis.kinds.confounds import find_confound
from audiocls.diagnosis.kinds.confusion import find_confusion
from audiocls.diagnosis.kinds.copies import find_conflicting_copies
from audiocls.diagnosis.kinds.front_end import find_lost_sound
from audiocls.diagnosis.kinds.imbalance import find_imbalance
from audiocls.diagnosis.kinds.label_errors import find_label_errors
from audiocls.diagnosis.kinds.overfitting import find_overfitting
from audiocls.diagnosis.kinds.padding import find_padding
from audiocls.diagnosis.kinds.source_rates import find_other_rates
from audiocls.diagnosis.kinds.test_size import find_small_test
from audiocls.diagnosis.kinds.truncation import find_truncation
from audiocls.diagnosis.kinds.underfitting import find_underfitting
from audiocls.diagnosis.kinds.validation_size import find_small_validation

Diagnosis = Callable[[Evidence], Finding | None]

DIAGNOSES: Final[tuple[Diagnosis, ...]] = (
    find_confound,
    find_small_validation,
    find_label_errors,
    find_truncation,
    find_imbalance,
    find_overfitting,
    find_underfitting,
    find_padding,
    find_lost_sound,
    find_clipping,
    find_other_rates,
    find_confusion,
    find_conflicting_copies,
    find_miscalibration,
    find_small_test,
)
"""In the order of findings with the same expected gain."""
